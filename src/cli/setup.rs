//! Arguments of `connect-bench init` and `doctor`: before the first run.

use std::path::PathBuf;

use clap::Args;

use super::ServerArgs;

/// Arguments of `connect-bench init`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  connect-bench init\n  connect-bench init bench -n production\n  connect-bench init --server \
                        https://connect.example.com --force"
)]
pub struct InitArgs {
    /// The directory that connect-bench.toml and scenario.toml are written to; it is made if it is not there.
    #[arg(default_value = ".", value_name = "DIR")]
    pub dir: PathBuf,
    /// Overwrite files that are there.
    #[arg(long)]
    pub force: bool,
    /// Write down this server, saved by `rsconnect add`.
    #[arg(short, long, value_name = "NAME", conflicts_with = "server")]
    pub name: Option<String>,
    /// Write down this server.
    #[arg(short, long, value_name = "URL")]
    pub server: Option<String>,
}

/// Arguments of `connect-bench doctor`.
#[derive(Args)]
#[command(
    after_help = "Exit codes: 0 nothing failed; 121 this machine cannot do it; 122 the server, the key or its rights.\n\n\
                  Examples:\n  connect-bench doctor\n  connect-bench doctor -n production --vus 500\n  \
                  connect-bench doctor --no-measure --json | jq '.checks[] | select(.status != \"ok\")'"
)]
pub struct DoctorArgs {
    /// The server; without one, only this machine is looked at.
    #[command(flatten)]
    pub server: ServerArgs,
    /// VUs that this machine should be able to run.
    #[arg(short = 'u', long, value_name = "N", default_value_t = 250, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub vus: u32,
    /// Leave out the measurement of how much this machine can generate, which takes five seconds.
    #[arg(long)]
    pub no_measure: bool,
    /// Where run directories are.
    #[arg(long, value_name = "DIR", default_value = "runs", env = "CONNECT_BENCH_RUNS")]
    pub runs_dir: PathBuf,
    /// Print the result as one JSON document on stdout.
    #[arg(long)]
    pub json: bool,
    /// What the configuration file adds to what was typed.
    #[arg(skip)]
    pub configured: Option<String>,
}
