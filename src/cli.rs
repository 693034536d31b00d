//! The command line as typed: clap types and nothing else. `command` resolves them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::units::{duration, loopback};

mod capacity;
mod connection;
mod gate;
mod invocation;
mod sandbox;

pub use capacity::{CapacityArgs, DemandArgs};
pub use connection::ConnectionArgs;
pub use gate::{AcceptArgs, BASELINES, BaselinesCommand, CompareArgs, GateArgs, HistoryArgs};
pub use invocation::{flags, parse};
pub use sandbox::{SandboxArgs, SandboxLog};

/// Load tests for Posit Connect: find the VUs that saturate a server, hold them, compare with Posit's documented
/// reference architectures.
#[derive(Debug, Parser)]
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
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands, one file each in `command/`.
#[derive(Debug, Subcommand)]
pub enum Command {
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
    /// Posit's documented load-test results; `accept` makes a run of yours one to compare with.
    Baselines(BaselinesArgs),
    /// A stand-in Connect server to try everything on (it always says that it is one).
    Sandbox(SandboxArgs),
}

/// Which server, and as whom. Letters as in rsconnect-python.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server")]
pub struct ServerArgs {
    /// URL of the Connect server.
    #[arg(short, long, env = "CONNECT_SERVER", value_name = "URL")]
    pub server: Option<String>,
    /// API key of a publisher; `-` reads it from stdin. Prefer the environment: arguments show in the process list.
    #[arg(short = 'k', long, env = "CONNECT_API_KEY", hide_env_values = true, value_name = "KEY")]
    pub api_key: Option<String>,
    /// File that holds the API key.
    #[arg(long, value_name = "FILE", conflicts_with = "api_key")]
    pub api_key_file: Option<PathBuf>,
    /// A server saved by `rsconnect add` (read only).
    #[arg(short, long, value_name = "NAME")]
    pub name: Option<String>,
    /// Do not verify the server's certificate.
    #[arg(short, long, env = "CONNECT_INSECURE", value_parser = clap::builder::FalseyValueParser::new())]
    pub insecure: bool,
    /// PEM file of certificate authorities to trust besides the system's.
    #[arg(short, long, env = "CONNECT_CA_CERTIFICATE", value_name = "FILE")]
    pub cacert: Option<PathBuf>,
    /// Send the key over plain http beyond this machine.
    #[arg(long)]
    pub allow_http: bool,
    /// Put load on this host, which is not this machine, without asking. May be repeated.
    #[arg(long, value_name = "HOST")]
    pub allow_host: Vec<String>,
}

/// What is loaded instead of a Connect server of one's own.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Target")]
pub struct TargetArgs {
    /// Start our stand-in server and measure that: `small`, `aws-single-server-robust`, `azure-load-balanced`.
    #[arg(long, value_name = "PROFILE", num_args = 0..=1, require_equals = true, default_missing_value = "small")]
    pub sandbox: Option<String>,
    /// Start our stand-in server with this curve per node.
    #[arg(long, value_name = "XMAX,R0_MS,P,KAPPA[,NODES]", conflicts_with = "sandbox", allow_hyphen_values = true)]
    pub sandbox_curve: Option<String>,
    /// Fetch this URL, whatever serves it: no Connect API, no key, nothing published.
    #[arg(long, value_name = "URL", conflicts_with_all = ["sandbox", "sandbox_curve", "content", "fetch_bundle"])]
    pub url: Option<String>,
}

/// Who may fetch the content item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FetchAuth {
    /// Anyone: the content item's access type is `all`.
    All,
    /// The key goes with every fetch; the access type stays as the server sets it.
    Key,
}

/// What is published and fetched.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Content")]
pub struct ContentArgs {
    /// Directory of the application that is fetched, instead of the built-in Flask one.
    #[arg(long, value_name = "DIR")]
    pub fetch_bundle: Option<PathBuf>,
    /// Directory of the application that is published again and again, instead of the built-in Plumber one.
    #[arg(long, value_name = "DIR")]
    pub publish_bundle: Option<PathBuf>,
    /// What a bundle without manifest.json is (`python-api`, `python-fastapi`, `api`, `static`, …).
    #[arg(long, value_name = "MODE")]
    pub appmode: Option<String>,
    /// What a bundle without manifest.json starts with (`app`, `module:object`, a file).
    #[arg(long, value_name = "ENTRYPOINT")]
    pub entrypoint: Option<String>,
    /// Fetch this content item, which is deployed already, instead of publishing one.
    #[arg(long, value_name = "GUID|URL", conflicts_with = "fetch_bundle")]
    pub content: Option<String>,
    /// Path below the content item that is fetched [default: /stocks/AAPL of the built-in application, else /].
    #[arg(long, value_name = "PATH")]
    pub path: Option<String>,
    /// Text that every fetched body must contain [default: what tells the built-in application's answer].
    #[arg(long, value_name = "TEXT")]
    pub expect_body: Option<String>,
    /// Who may fetch the content item.
    #[arg(long, value_enum, default_value_t = FetchAuth::All)]
    pub fetch_auth: FetchAuth,
    /// Leave the publish loop out.
    #[arg(long)]
    pub no_publish: bool,
    /// Publish to a new content item each time and delete it afterwards, instead of to the same one.
    #[arg(long)]
    pub publish_new_content: bool,
}

/// Who speaks HTTP/1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Http1Engine {
    /// hyper.
    Hyper,
    /// Our own codec.
    Own,
}

/// How the load is made.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Engine")]
pub struct EngineArgs {
    /// Worker threads [default: one per core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: Option<u16>,
    /// Time-out of one request.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub timeout: Duration,
    /// How long VUs may finish what they have begun at the end.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub graceful_stop: Duration,
    /// Empty each VU's cookie jar before each request, as k6 does: an affinity cookie is lost then.
    #[arg(long)]
    pub reset_cookies: bool,
    /// Who speaks HTTP/1.1: our own codec, which needs less CPU, or hyper, which it is held against.
    #[arg(long, value_enum, default_value_t = Http1Engine::Own)]
    pub http1_engine: Http1Engine,
    /// Do not ask the kernel when responses arrived: durations are not corrected by our own delay in reading them.
    #[arg(long)]
    pub no_kernel_timestamps: bool,
    /// Seed of everything random.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
}

/// Control of a run while it is on.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Live control")]
pub struct LiveArgs {
    /// Listen here, on loopback, for `connect-bench control` and for scripts: k6's REST shapes. Port 0 is any free one.
    #[arg(long, value_name = "IP:PORT", value_parser = loopback)]
    pub address: Option<SocketAddr>,
}

/// Where results go.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Print the result as one JSON document on stdout.
    #[arg(long)]
    pub json: bool,
    /// Also write the result to a file: `.json`, `.txt`. May be repeated.
    #[arg(short, long, value_name = "FILE")]
    pub output: Vec<PathBuf>,
    /// No progress: only the result, and what must be known of it.
    #[arg(short, long)]
    pub quiet: bool,
    /// Where run directories are made.
    #[arg(long, value_name = "DIR", default_value = "runs", env = "CONNECT_BENCH_RUNS")]
    pub runs_dir: PathBuf,
    /// What was typed, without a key (see [`parse`]): written down, so that the run can be made again.
    #[arg(skip)]
    pub invocation: Vec<String>,
}

/// What `ramp` and `load` have in common.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// The server.
    #[command(flatten)]
    pub server: ServerArgs,
    /// What is loaded instead.
    #[command(flatten)]
    pub target: TargetArgs,
    /// What is published and fetched.
    #[command(flatten)]
    pub content: ContentArgs,
    /// How the load is made.
    #[command(flatten)]
    pub engine: EngineArgs,
    /// Control while it is on.
    #[command(flatten)]
    pub live: LiveArgs,
    /// How connections are made.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// Where results go.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `connect-bench ramp`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  connect-bench ramp --sandbox=small\n  connect-bench ramp -s https://connect.example.com \
                        --then-load 30m\n  connect-bench ramp --url http://127.0.0.1:8080/ --max-vus 400 --json"
)]
pub struct RampArgs {
    /// Never more fetching VUs than these.
    #[arg(long, value_name = "N", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub max_vus: u32,
    /// Shorter stages: about 5½ minutes instead of 7, with more spread in the answer.
    #[arg(long)]
    pub quick: bool,
    /// Go on with a load test of this length at the VUs found.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub then_load: Option<Duration>,
    /// Hold the load test that follows against this documented baseline only. May be repeated.
    #[arg(long, value_name = "ID")]
    pub baseline: Vec<String>,
    /// What `ramp` and `load` have in common.
    #[command(flatten)]
    pub run: RunArgs,
}

/// Arguments of `connect-bench load`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  connect-bench load --duration 30m               the VUs that the last ramp found here\n  \
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
    /// Compare with this documented baseline only. May be repeated.
    #[arg(long, value_name = "ID")]
    pub baseline: Vec<String>,
    /// A limit, as in a scenario file: 'http_req_duration: p(95)<500'. Exceeded, the exit code is 99. May be repeated.
    #[arg(long, value_name = "METRIC: EXPR")]
    pub threshold: Vec<String>,
    /// What limits in percent are relative to, 'http_req_duration: p(95)<=110%': a run directory, or a documented ID.
    #[arg(long, value_name = "RUN|ID")]
    pub threshold_baseline: Option<String>,
    /// What `ramp` and `load` have in common.
    #[command(flatten)]
    pub run: RunArgs,
}

/// Arguments of `connect-bench run`.
#[derive(Debug, Args)]
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
                        \"$.price\", above = 0 }]"
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
#[command(after_help = "Exit code 0: `run` would run it; 104: what is wrong is said, with line and column.")]
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

/// Arguments of `connect-bench report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Directory of a run [default: the newest].
    pub run: Option<PathBuf>,
    /// Compare with this documented baseline only. May be repeated.
    #[arg(long, value_name = "ID")]
    pub baseline: Vec<String>,
    /// Where results go.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `connect-bench control`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  connect-bench load -u 50 -d 30m --address 127.0.0.1:6565\n\n  and in another terminal:\n  \
                        connect-bench control pause\n  connect-bench control resume\n  connect-bench control vus 80\n  \
                        connect-bench control metrics http_req_duration\n\nIn the run's own terminal: p pauses and \
                        resumes, + and - change the VUs by a tenth, q stops.\nExit codes: 0 done, 2 the run refuses it, \
                        122 no run answers."
)]
pub struct ControlArgs {
    /// What to ask [default: status].
    #[command(subcommand)]
    pub action: Option<ControlAction>,
    /// Where the run listens: its own --address.
    #[arg(long, value_name = "IP:PORT", value_parser = loopback, default_value = "127.0.0.1:6565", global = true)]
    pub address: SocketAddr,
    /// Print the answer as one JSON document on stdout.
    #[arg(long, global = true)]
    pub json: bool,
}

/// What a run that is on can be asked.
#[derive(Debug, Subcommand)]
pub enum ControlAction {
    /// How it goes.
    Status,
    /// No further iterations until it is resumed; what was begun is finished. The clock goes on.
    Pause,
    /// The end of a pause.
    Resume,
    /// Another number of VUs, of a scenario of the executor constant-vus.
    Vus {
        /// How many.
        vus: u32,
        /// Of this scenario [default: the one that fetches].
        #[arg(long, value_name = "NAME")]
        scenario: Option<String>,
    },
    /// End it: what was begun is finished, the result is printed, what was made is removed.
    Stop,
    /// Its metrics so far.
    Metrics {
        /// This one alone.
        metric: Option<String>,
    },
}

/// Arguments of `connect-bench cleanup`.
#[derive(Debug, Args)]
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
#[command(args_conflicts_with_subcommands = true)]
pub struct BaselinesArgs {
    /// What to do with runs of yours.
    #[command(subcommand)]
    pub command: Option<BaselinesCommand>,
    /// Print them as one JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}
