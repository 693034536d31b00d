//! What goes wrong in the middle of a run.

use std::path::PathBuf;

use clap::Args;

/// Failure as part of a run.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Rehearsal")]
pub struct RehearsalArgs {
    /// At this time after the warm-up do this: 'node kill 2', 'database restart', … to what `sandbox up` started, or
    /// 'exec COMMAND' on this machine. May be repeated.
    #[arg(long, num_args = 2, value_names = ["TIME", "ACTION"], action = clap::ArgAction::Append)]
    pub at: Vec<String>,
    /// The architecture that it is done to: its socket, as `sandbox up` prints it.
    #[arg(long, value_name = "SOCKET", env = "CONNECT_BENCH_CLUSTER")]
    pub cluster: Option<PathBuf>,
}
