//! connect-bench: load tests for Posit Connect.
//!
//! Three values carry the program: **Plan → Window → Summary**. A plan is everything that will happen, a
//! window what one worker measured in one second, a summary what the run measured. ARCHITECTURE.md has the map.

pub mod cli;
pub mod command;
pub mod engine;
pub mod exit;
pub mod histogram;
pub mod outcome;
pub mod posit_connect;
pub mod sandbox;
pub mod secret;
