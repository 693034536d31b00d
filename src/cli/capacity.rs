//! Arguments of `connect-bench capacity`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::RunArgs;
use crate::units::duration;

/// Who is to be served.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Demand")]
pub struct DemandArgs {
    /// Users at once, at the busiest time.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=2_000_000))]
    pub users: Option<u32>,
    /// Mean time between a response and the same user's next action.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub think: Duration,
    /// Requests that an action makes, one after the other.
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    pub requests_per_action: f64,
    /// Growth of the users: `5%/month`.
    #[arg(long, value_name = "SHARE", requires = "users")]
    pub growth: Option<String>,
    /// Highest utilisation of the nodes that is wanted.
    #[arg(long, value_name = "SHARE", default_value = "70%")]
    pub utilisation: String,
    /// Nodes that may fail at once.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=16))]
    pub spare: u32,
}

/// Arguments of `connect-bench capacity`.
#[derive(Args)]
#[command(after_help = "Examples:\n  connect-bench capacity --users 3000 --think 10s --growth 5%/month\n  \
                        connect-bench capacity runs/20261121T120000Z-ramp-ab12 --target 'p(95)<500ms' --tier db=35%\n  \
                        connect-bench capacity --users 3000 --prices prices.toml\n  \
                        connect-bench capacity --validate=10m -s https://connect.example.com\n  \
                        connect-bench capacity --usage=30d -s https://connect.example.com\n\n\
                  A file of prices:\n  currency = \"USD\"\n  measured_on = \"m6i.2xlarge\"\n  fixed_per_hour = 0.25\n  \
                        [[size]]\n  name = \"m6i.2xlarge\"\n  vcpus = 8\n  per_hour = 0.384\n\n\
                  Exit codes: 0; 99: validated, and the target was not kept; 104: no ramp that carries an answer, and which\n\
                  run is missing; 121: validated, and this machine was the limit; 2: usage.")]
pub struct CapacityArgs {
    /// Directory of a ramp [default: the newest that found an answer], and of load tests to hold it against.
    pub runs: Vec<PathBuf>,
    /// A limit of latency: 'p(95)<500ms', 'mean<200ms'. May be repeated [default: p(95)<500ms, p(95)<1s].
    #[arg(long, value_name = "LIMIT")]
    pub target: Vec<String>,
    /// Nodes that were measured [default: those that could be told apart, or one].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub nodes: Option<u32>,
    /// Most nodes that are shown.
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub max_nodes: u32,
    /// How busy something was at the plateau that all nodes share: `db=35%`. May be repeated.
    #[arg(long, value_name = "NAME=SHARE")]
    pub tier: Vec<String>,
    /// File of prices (TOML): what sizes of nodes cost.
    #[arg(long, value_name = "FILE")]
    pub prices: Option<PathBuf>,
    /// Put the planned rate on the server for so long, in the open model, and say whether the forecast held.
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "10m", value_parser = duration)]
    pub validate: Option<Duration>,
    /// Hold the busiest hour of so many days of the server's own history against it (instrumentation API; needs the server
    /// and a key that may read it).
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "30d", value_parser = duration)]
    pub usage: Option<Duration>,
    /// Who is to be served.
    #[command(flatten)]
    pub demand: DemandArgs,
    /// The server and how load is made, for `--validate`; and where results go.
    #[command(flatten)]
    pub run: RunArgs,
}
