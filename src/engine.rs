//! The engine: schedules become VUs, VUs make exchanges, what is measured leaves as windows. Never prints.

mod closed;
mod course;
mod fall;
pub mod fetch;
mod open;
mod pause;
pub mod program;
pub mod run;
mod socket;
mod timer;
mod vu;
pub mod worker;
