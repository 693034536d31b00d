//! Arguments of `connect-bench sandbox`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::architecture::spec::Link;
use crate::fault_proxy::Faults;
use crate::sandbox::{BalancerKind, CurveSpec, DatabaseUrl, ExtraUser, Profile, Restart, Stall, parse_duration};

/// `connect-bench sandbox`: a server, or a part of something larger.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  connect-bench sandbox --profile azure-load-balanced\n  \
                  connect-bench sandbox up azure-load-balanced      # PostgreSQL, two nodes, HAProxy\n  \
                  connect-bench sandbox tell 'node kill 2' --cluster SOCKET    # while that is up"
)]
pub struct SandboxCommands {
    /// What to start, instead of one server.
    #[command(subcommand)]
    pub command: Option<SandboxCommand>,
    /// The one server.
    #[command(flatten)]
    pub serve: SandboxArgs,
}

/// What there is to start besides one server.
#[derive(Debug, Subcommand)]
pub enum SandboxCommand {
    /// One node of several on one database and one folder, to be put behind a balancer
    Node(Box<NodeArgs>),
    /// A whole architecture out of real parts: PostgreSQL, nodes, HAProxy; until Ctrl-C
    Up(UpArgs),
    /// Do something to an architecture that is up, or ask how it is
    Tell(TellArgs),
    /// A link that delays, narrows, cuts or swallows what passes; needs no rights
    Proxy(ProxyArgs),
}

/// Arguments of `connect-bench sandbox node`.
#[derive(Debug, Args)]
pub struct NodeArgs {
    /// Its name, which the API tells as `hostname`
    #[arg(long, value_name = "NAME", default_value = "node-1")]
    pub name: String,
    /// What every server has.
    #[command(flatten)]
    pub serve: SandboxArgs,
}

/// Arguments of `connect-bench sandbox up`.
#[derive(Debug, Args)]
#[command(
    after_help = "Prints CONNECT_SERVER=…, CONNECT_API_KEY=…, CONNECT_CA_CERTIFICATE=… and CONNECT_BENCH_CLUSTER=… once all is\n\
                  healthy, and takes everything down at Ctrl-C. Needs Debian's postgresql and haproxy;\n\
                  with --content processes also python3-venv, and r-cran-plumber for Plumber applications."
)]
pub struct UpArgs {
    /// aws-single-server-robust, azure-load-balanced, or a file such as those in scenarios/architectures
    #[arg(value_name = "NAME|FILE")]
    pub architecture: String,
    /// Where clients come in; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// The administrator's API key, instead of a random one
    #[arg(long, value_name = "KEY", env = "CONNECT_BENCH_SANDBOX_API_KEY", hide_env_values = true)]
    pub api_key: Option<String>,
    /// Put fault proxies into these links: generator-balancer, balancer-node, node-database
    #[arg(long, value_name = "LINK", value_delimiter = ',')]
    pub links: Vec<Link>,
    /// What answers for deployed content on each node, whatever the file says: simulated; or processes, which are really
    /// restored and started here, as the user that runs the nodes: deploy only what you trust
    #[arg(long, value_name = "KIND")]
    pub content: Option<ContentKind>,
    /// Keep the environments of Python content here, for the next time as well, instead of with the other data
    #[arg(long, value_name = "DIR")]
    pub environments: Option<PathBuf>,
    /// Where its logs and data are while it is up [default: connect-bench-UID-NAME in the temporary directory]
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// End when stdin is closed
    #[arg(long)]
    pub exit_with_parent: bool,
}

/// Arguments of `connect-bench sandbox tell`.
#[derive(Debug, Args)]
#[command(
    after_help = "Actions: node kill|stop|start|freeze|thaw|drain|ready N · database kill|stop|start|restart ·\n\
                  storage read-only|full|ok · link generator-balancer FAULTS · link balancer-node|node-database N FAULTS ·\n\
                  status · down"
)]
pub struct TellArgs {
    /// What: 'node kill 2', 'status', …
    #[arg(required = true, num_args = 1.., value_name = "ACTION")]
    pub action: Vec<String>,
    /// The architecture: its socket, as `up` prints it
    #[arg(long, value_name = "SOCKET", env = "CONNECT_BENCH_CLUSTER")]
    pub cluster: PathBuf,
}

/// Arguments of `connect-bench sandbox proxy`.
#[derive(Debug, Args)]
#[command(
    after_help = "Faults: delay 50ms · jitter 10ms · bandwidth 1MB (per second) · reset-after 64KB · blackhole · refuse · clear.\n\
                  Each line on stdin is what is wrong with the link from then on."
)]
pub struct ProxyArgs {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Where connections go
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub to: SocketAddr,
    /// What is wrong with the link from the beginning: 'delay 50ms jitter 10ms'
    #[arg(long, value_name = "FAULTS", default_value = "clear")]
    pub faults: Faults,
}

/// Arguments of `connect-bench sandbox`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  connect-bench sandbox > sandbox.env &\n  connect-bench sandbox --profile azure-load-balanced \
                  --listen 127.0.0.1:3939\n  connect-bench sandbox --fault-error-rate 0.01 --nodes 2"
)]
pub struct SandboxArgs {
    /// Nodes, their speed, and what is in front of them: small, aws-single-server-robust, azure-load-balanced
    #[arg(long, default_value = "small")]
    pub profile: Profile,
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Keep database and bundles in this directory, instead of a temporary one
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Metadata in this PostgreSQL database, which several nodes may use, instead of SQLite in the data directory
    #[arg(long, value_name = "postgres://USER@HOST:PORT/NAME", env = "CONNECT_BENCH_DATABASE", hide_env_values = true)]
    pub database: Option<DatabaseUrl>,
    /// The administrator's API key, instead of a random one
    #[arg(long, value_name = "KEY", env = "CONNECT_BENCH_SANDBOX_API_KEY", hide_env_values = true)]
    pub api_key: Option<String>,
    /// One more key holder, ROLE being viewer, publisher or administrator
    #[arg(long = "extra-user", value_name = "NAME:ROLE[:KEY]")]
    pub extra_users: Vec<ExtraUser>,
    /// The version that it says it has; empty hides it
    #[arg(long, value_name = "VERSION", default_value = "2025.09.0")]
    pub connect_version: String,
    /// How fast each node is, instead of the profile's curve: ceiling in requests per second, response time without
    /// queueing in ms, sharpness, loss in seconds per pair
    #[arg(long, value_name = "XMAX,R0_MS,P,KAPPA[,NODES]")]
    pub curve: Option<CurveSpec>,
    /// How many nodes, instead of the profile's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub nodes: Option<u8>,
    /// What is in front of the nodes, instead of the profile's (with several nodes appgw): none, appgw, alb
    #[arg(long, value_name = "KIND")]
    pub balancer: Option<BalancerKind>,
    /// Coefficient of variation of the work that requests ask for
    #[arg(long, value_name = "CV", default_value = "0.5", value_parser = parse_cv)]
    pub demand_cv: f64,
    /// Seed of everything random about the load
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How long a process takes to start
    #[arg(long, value_name = "TIME", default_value = "200ms", value_parser = parse_duration)]
    pub spawn_delay: Duration,
    /// How long a first deploy takes; later ones find the packages in the cache
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration)]
    pub deploy_time: Duration,
    /// Deploy tasks that a node runs at once; more wait in a queue
    #[arg(long, value_name = "K", default_value = "2", value_parser = clap::value_parser!(u16).range(1..))]
    pub deploy_slots: u16,
    /// Share of a node's capacity that running deploy tasks take
    #[arg(long, value_name = "SHARE", default_value = "0.01", value_parser = parse_share)]
    pub publish_share: f64,
    /// Check bundles as strictly as can be, and already when they are uploaded
    #[arg(long)]
    pub strict_bundles: bool,
    /// Answer this share of content requests with 500 or 503
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = parse_share)]
    pub fault_error_rate: f64,
    /// A node answers nothing for a while, again and again, the nodes in turn: 60s,1s
    #[arg(long, value_name = "EVERY,FOR")]
    pub fault_stall: Option<Stall>,
    /// A node, counted from 1, goes away at a time after the start: 1@60s,5s
    #[arg(long, value_name = "NODE@T[,DOWN]")]
    pub fault_restart: Vec<Restart>,
    /// The licence has expired: /__ping__ answers 402 and nothing can be deployed
    #[arg(long)]
    pub fault_license: bool,
    /// The API answers pages of HTML
    #[arg(long)]
    pub fault_html: bool,
    /// What answers for content that was deployed: simulated, at the speed of the curve; or processes, which are really
    /// restored and started here, as the user that runs the sandbox: deploy only what you trust
    #[arg(long, value_name = "KIND", default_value = "simulated")]
    pub content: ContentKind,
    /// Keep the environments of Python content here, for the next sandbox as well, instead of with the other data
    #[arg(long, value_name = "DIR")]
    pub environments: Option<PathBuf>,
    /// Most memory of a process of content, in MiB
    #[arg(long, value_name = "MIB", default_value = "4096", value_parser = clap::value_parser!(u64).range(64..))]
    pub process_memory: u64,
    /// Log these on stderr
    #[arg(long, value_name = "WHAT")]
    pub log: Option<SandboxLog>,
    /// End when stdin is closed, so that a parent that was killed leaves no sandbox behind
    #[arg(long)]
    pub exit_with_parent: bool,
}

/// What answers for deployed content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ContentKind {
    /// The routes of the built-in applications, at the speed that the curve says.
    Simulated,
    /// The application itself, in processes of its own.
    Processes,
}

/// What the sandbox logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SandboxLog {
    /// A line per request.
    Requests,
}

fn parse_share(text: &str) -> Result<f64, String> {
    text.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| "a share is 0 to 1".to_owned())
}

fn parse_cv(text: &str) -> Result<f64, String> {
    text.parse::<f64>().ok().filter(|cv| (0.0..=5.0).contains(cv)).ok_or_else(|| "a variation is 0 to 5".to_owned())
}
