//! connect-bench: load tests for Posit Connect.
//!
//! Three values carry the program: **Plan → Window → Summary**. A [`plan`] is everything that will happen, a
//! [`window`] what one worker measured in one second, a [`summary`] what the run measured. ARCHITECTURE.md has the map.

pub mod capacity;
pub mod cli;
pub mod command;
pub mod exit;
pub mod histogram;
pub mod sandbox;
pub mod stats;
