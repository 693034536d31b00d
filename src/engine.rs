//! The engine: schedules become VUs, VUs make exchanges, what is measured leaves as windows. Never prints.

pub mod fetch;
pub mod program;
pub mod run;
mod vu;
pub mod worker;
