//! What people and scripts read: pure functions of a summary, one file per format.

pub mod compare;
pub mod gate;
pub mod history;
pub mod json;
pub mod number;
pub mod text;
