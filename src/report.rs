//! The result as text, as JSON for scripts, as a page of HTML, and in the forms of other programs: a file for each. Pure
//! functions of a summary and the course of its run; only what is written to, a terminal or a file, is the caller's.

pub mod archive;
pub mod compare;
pub mod course;
pub mod export;
pub mod foreign;
pub mod gate;
pub mod history;
pub mod html;
pub mod json;
pub mod live;
pub mod number;
pub mod points;
pub mod screen;
mod sizing;
pub mod text;
pub mod watch;
