//! The command line as typed: clap types and nothing else. `command` resolves them.

use clap::{Parser, Subcommand};

mod sandbox;

pub use sandbox::{SandboxArgs, SandboxLog};

/// Load tests for Posit Connect: find the VUs that saturate a server, hold them, compare with Posit's documented
/// reference architectures.
#[derive(Debug, Parser)]
#[command(name = "connect-bench", version, max_term_width = 110, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands, one file each in `command/`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// A stand-in Connect server to try everything on (it always says that it is one).
    Sandbox(SandboxArgs),
}
