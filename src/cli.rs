//! The command line as typed: clap types and nothing else. `command` resolves them.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::units::duration;

mod capacity;
mod complete;
mod configured;
mod connection;
mod control;
mod engine;
mod gate;
mod invocation;
mod rehearsal;
mod report;
mod runs;
mod runtime;
mod sandbox;
mod selftest;
mod server;
mod setup;

pub use capacity::{CapacityArgs, DemandArgs};
pub use complete::{answer, script};
#[cfg(test)]
pub(crate) use configured::added_by;
pub use configured::{ConfigFault, FILE as CONFIG_FILE};
pub use connection::ConnectionArgs;
pub use control::{ControlAction, ControlArgs};
pub use engine::{EngineArgs, Http1Engine, LiveArgs, OutArgs, OutputArgs, RunArgs, ScrapeArgs};
pub use gate::{AcceptArgs, BASELINES, BaselinesCommand, CompareArgs, GateArgs, HistoryArgs};
pub use invocation::{flags, load, parse, reparse, typed_key};
pub use rehearsal::RehearsalArgs;
pub use report::{ReportArgs, SummaryStyle};
pub use runs::{CompletionsArgs, ManArgs, RunsAction, RunsArgs, pages};
pub use runtime::RuntimeArgs;
pub use sandbox::{
    ContentKind, NodeArgs, ProxyArgs, SandboxArgs, SandboxCommand, SandboxCommands, SandboxLog, TellArgs, UpArgs,
};
pub use selftest::SelftestArgs;
pub use server::{ContentArgs, FetchAuth, RailsArgs, ServerArgs, TargetArgs};
pub use setup::{DoctorArgs, InitArgs};

/// Load tests for Posit Connect: find the VUs that saturate a server, hold them, compare with Posit's documented
/// reference architectures.
#[derive(Parser)]
#[command(
    name = "connect-bench",
    version,
    max_term_width = 110,
    propagate_version = true,
    after_help = "Try it without a server:\n  connect-bench ramp --sandbox=small --then-load 30s\n\n\
                  On your own:\n  export CONNECT_SERVER=https://connect.example.com CONNECT_API_KEY=...\n  \
                  connect-bench ramp\n  connect-bench load --duration 30m\n\n\
                  Exit codes: 0 pass, 1 fault of ours, 2 usage, 99 threshold, 103 stopped by a key or REST, 104 invalid\n\
                  configuration, 105 interrupted, 106 control address not free, 119 clean-up incomplete, 120 regression, 121 inconclusive, 122 server unreachable, 123 refused."
)]
pub struct Cli {
    /// More about what happens, on stderr; twice for all of it.
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
    /// Read flags from this file [default: connect-bench.toml here, else connect-bench/config.toml of the user].
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands, one file each in `command/`.
#[derive(Subcommand)]
pub enum Command {
    /// Write a configuration file and a scenario file to begin with.
    Init(InitArgs),
    /// Look whether everything is there that a run needs: server, key, rights, this machine.
    Doctor(DoctorArgs),
    /// Find the VUs that saturate the server.
    Ramp(RampArgs),
    /// Hold a number of VUs, and compare with the documented baselines.
    Load(LoadArgs),
    /// Run a scenario file: k6's vocabulary, in TOML.
    Run(RunFileArgs),
    /// Validate a scenario file and print its plan, without any request.
    Check(CheckArgs),
    /// Show the result of a run again, also of one that was killed.
    Report(ReportArgs),
    /// Pause, resume or stop a run that is on, change its VUs, or ask how it goes.
    Control(ControlArgs),
    /// What to buy: users, nodes, cost and headroom, from a ramp.
    Capacity(CapacityArgs),
    /// Remove from the server what killed runs left on it.
    Cleanup(CleanupArgs),
    /// Compare a run with those that were accepted before: pass, regressed or inconclusive, for CI.
    Gate(GateArgs),
    /// Hold runs side by side.
    Compare(CompareArgs),
    /// Show how runs developed, and where their level changed.
    History(HistoryArgs),
    /// List the runs that there are, show one, remove old ones.
    Runs(RunsArgs),
    /// Completions for a shell, on stdout.
    Completions(CompletionsArgs),
    /// Write man pages into a directory.
    Man(ManArgs),
    /// Posit's documented load-test results; `accept` makes a run of yours one to compare with.
    Baselines(BaselinesArgs),
    /// A stand-in Connect server to try everything on (it always says that it is one).
    Sandbox(Box<SandboxCommands>),
    /// Try search, intervals, gate and forecasts on simulated systems whose truth is known.
    Selftest(SelftestArgs),
}

/// Arguments of `connect-bench ramp`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  connect-bench ramp --sandbox=small\n  connect-bench ramp -s https://connect.example.com \
                        --then-load 30m\n  connect-bench ramp --url http://127.0.0.1:8080/ --max-vus 400 --json\n  \
                        connect-bench ramp --sandbox=small --slo 'p(95)<500' --open   # the highest rate that keeps it"
)]
pub struct RampArgs {
    /// Never more fetching VUs than these; with --open as many requests can be under way.
    #[arg(long, value_name = "N", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub max_vus: u32,
    /// Shorter stages: about 5½ minutes instead of 7, with more spread in the answer.
    #[arg(long)]
    pub quick: bool,
    /// Find the most VUs that keep this, instead of saturation: 'p(95)<500' (ms), 'avg<200ms', 'error_rate<0.1%'. May be
    /// repeated; all have to hold.
    #[arg(long, value_name = "OBJECTIVE", conflicts_with_all = ["method", "quick"])]
    pub slo: Vec<String>,
    /// With --slo: raise the rate and not the VUs. Requests come at random times, as from users who do not wait for each
    /// other (the open model), and latency counts from when a request was due. The answer is the highest rate.
    #[arg(long, requires = "slo")]
    pub open: bool,
    /// With --open: never more requests per second than these [default: 10000].
    #[arg(long, value_name = "N", requires = "open", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_rate: Option<u32>,
    /// How the VUs are raised; `staircase` is the classical way, for comparison.
    #[arg(long, value_enum, default_value_t = RampMethod::Sweep, conflicts_with = "quick")]
    pub method: RampMethod,
    /// Of a staircase: so many VUs more with each stage, up to --max-vus.
    #[arg(long, value_name = "N", default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub step: u32,
    /// Of a staircase: how long a stage lasts, in whole multiples of 5 s.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub stage: Duration,
    /// Go on with a load test of this length at the VUs found, or at the rate.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub then_load: Option<Duration>,
    /// Hold the load test that follows against this documented baseline only. May be repeated.
    #[arg(long, value_name = "ID")]
    pub baseline: Vec<String>,
    /// What `ramp` and `load` have in common.
    #[command(flatten)]
    pub run: RunArgs,
}

/// How a ramp raises the VUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RampMethod {
    /// Double until throughput levels off, fit a curve, and check the estimate.
    Sweep,
    /// Step by step to the most VUs allowed; the answer is the highest stage.
    Staircase,
}

/// Arguments of `connect-bench load`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  connect-bench load --duration 30m               # the VUs that the last ramp found here\n  \
                        connect-bench load -u 250 -d 30m --baseline aws-single-server-robust\n  \
                        connect-bench load --sandbox=small -u 40 -d 1m --json -o summary.json"
)]
pub struct LoadArgs {
    /// Fetching VUs [default: those that the last ramp against this server found].
    #[arg(short = 'u', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub vus: Option<u32>,
    /// How long they are held, after the warm-up.
    #[arg(short, long, value_name = "TIME", default_value = "30m", value_parser = duration)]
    pub duration: Duration,
    /// Time before that is kept apart from the figures [default: a fifteenth of the duration, 5 s to 2 min].
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub warmup: Option<Duration>,
    /// Take the VUs from this run directory of a ramp.
    #[arg(long, value_name = "RUN", conflicts_with = "vus")]
    pub from: Option<PathBuf>,
    /// Go on with this run directory of a load test that was broken off, with its flags; the time in between is a gap that
    /// counts for nothing.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["vus", "duration", "warmup", "from"])]
    pub resume: Option<PathBuf>,
    /// Compare with this documented baseline only. May be repeated.
    #[arg(long, value_name = "ID")]
    pub baseline: Vec<String>,
    /// A limit, as in a scenario file: 'http_req_duration: p(95)<500'. Exceeded, the exit code is 99. May be repeated.
    #[arg(long, value_name = "METRIC: EXPR")]
    pub threshold: Vec<String>,
    /// What limits in percent are relative to, 'http_req_duration: p(95)<=110%': a run directory, or a documented ID.
    #[arg(long, value_name = "RUN|ID")]
    pub threshold_baseline: Option<String>,
    /// What goes wrong in the middle of it.
    #[command(flatten)]
    pub rehearsal: RehearsalArgs,
    /// What `ramp` and `load` have in common.
    #[command(flatten)]
    pub run: RunArgs,
}

/// Arguments of `connect-bench run`.
#[derive(Args)]
#[command(
    after_help = "Example file:\n  [scenarios.fetch]\n  executor = \"constant-vus\"\n  exec = \"fetch\"\n  vus = 20\n  \
                        duration = \"30s\"\n\n  [scenarios.publish]\n  executor = \"constant-vus\"\n  exec = \"publish\"\n  \
                        duration = \"30s\"\n\n  [thresholds]\n  http_req_failed = [\"rate<0.01\"]\n\n\
                  Executors: constant-vus, ramping-vus, shared-iterations, per-vu-iterations (closed model),\n\
                  constant-arrival-rate, ramping-arrival-rate (open model).\n\n\
                  Steps of your own (scenarios/ has more):\n  [scenarios.browse]\n  \
                        executor = \"constant-vus\"\n  exec = \"browse\"\n  vus = 5\n  duration = \"30s\"\n\n  \
                        [[steps.browse]]\n  name = \"list\"\n  get = \"/stocks/\"\n  extract = { ticker = { json = \
                        \"$.tickers[*]\", pick = \"random\" } }\n  think = \"1s\"\n\n  [[steps.browse]]\n  name = \
                        \"one\"\n  get = \"/stocks/${ticker}\"\n  checks = [{ name = \"has a price\", json = \
                        \"$.price\", above = 0 }]\n\n\
                  Examples:\n  connect-bench run scenario.toml --sandbox=small\n  \
                  connect-bench run scenarios/mixed.toml -n production --threshold 'http_req_failed: rate<0.01'"
)]
pub struct RunFileArgs {
    /// The scenario file.
    pub file: PathBuf,
    /// Compare with this documented baseline only. May be repeated.
    #[arg(long, value_name = "ID")]
    pub baseline: Vec<String>,
    /// A limit, as in a scenario file: 'http_req_duration: p(95)<500'. Exceeded, the exit code is 99. May be repeated.
    #[arg(long, value_name = "METRIC: EXPR")]
    pub threshold: Vec<String>,
    /// What limits in percent are relative to, 'http_req_duration: p(95)<=110%': a run directory, or a documented ID.
    #[arg(long, value_name = "RUN|ID")]
    pub threshold_baseline: Option<String>,
    /// What `ramp`, `load` and `run` have in common.
    #[command(flatten)]
    pub run: RunArgs,
}

/// Arguments of `connect-bench check`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit code 0: `run` would run it; 104: what is wrong is said, with line and column.\n\nExamples:\n  \
                  connect-bench check scenario.toml\n  connect-bench check scenario.toml --json | jq .max_vus\n  \
                  connect-bench check --schema > connect-bench.schema.json"
)]
pub struct CheckArgs {
    /// The scenario file.
    #[arg(required_unless_present = "schema")]
    pub file: Option<PathBuf>,
    /// Print the plan as one JSON document on stdout.
    #[arg(long)]
    pub json: bool,
    /// Print the JSON Schema of scenario files, for editors.
    #[arg(long, conflicts_with_all = ["file", "json"])]
    pub schema: bool,
}

/// Arguments of `connect-bench cleanup`.
#[derive(Args)]
#[command(
    after_help = "Deleted is what the journals of the runs name, and what has our name, our description and your user as its \
                  owner.\n\nExamples:\n  connect-bench cleanup --dry-run\n  connect-bench cleanup -n production --older-than 1d"
)]
pub struct CleanupArgs {
    /// The server.
    #[command(flatten)]
    pub server: ServerArgs,
    /// Only say what would be removed.
    #[arg(long)]
    pub dry_run: bool,
    /// Only what was made longer ago than this.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub older_than: Option<Duration>,
    /// Where run directories are.
    #[arg(long, value_name = "DIR", default_value = "runs", env = "CONNECT_BENCH_RUNS")]
    pub runs_dir: PathBuf,
    /// Print the result as one JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `connect-bench baselines`.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  connect-bench baselines\n  connect-bench baselines --json | jq '.baselines[].id'\n  \
                  connect-bench baselines accept runs/20260101T000000Z-load-0f1e2d3c --note 'after the upgrade'"
)]
pub struct BaselinesArgs {
    /// What to do with runs of yours.
    #[command(subcommand)]
    pub command: Option<BaselinesCommand>,
    /// Print them as one JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}
