//! connect-bench: load tests for Posit Connect.
//!
//! Three values carry the program: **Plan → Window → Summary**. A plan is everything that will happen, a
//! window what one worker measured in one second, a summary what the run measured. ARCHITECTURE.md has the map.

pub mod architecture;
pub mod baseline;
pub mod capacity;
pub mod cli;
pub mod command;
pub mod connection_options;
pub mod control;
pub mod disruption;
pub mod door;
pub mod engine;
pub mod exit;
pub mod fault_proxy;
pub mod gate;
pub mod generator;
pub mod histogram;
pub mod host;
pub mod http;
pub mod incident;
pub mod insight;
pub mod metric;
pub mod outcome;
pub mod plan;
pub mod posit_connect;
pub mod rails;
pub mod recorder;
pub mod report;
pub mod rundir;
pub mod sandbox;
pub mod scenario;
pub mod schedule;
pub mod secret;
pub mod selftest;
pub mod server_metrics;
pub mod stats;
pub mod steady;
pub mod steps;
pub mod summary;
pub mod threshold;
pub mod units;
pub mod web;
pub mod window;
