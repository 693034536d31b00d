//! The engine: schedules become VUs, VUs make exchanges, what is measured leaves as windows. Never prints.

pub mod program;
