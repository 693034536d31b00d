//! What every command has that sends load: the engine, live control, where results go.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{ConnectionArgs, ContentArgs, RailsArgs, ServerArgs, TargetArgs};
use crate::units::{duration, loopback};

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
    /// Show the run in a browser while it is on; the address is printed, with a random token in it. Others than this
    /// machine can look only at an address that they can reach, and only with the token.
    #[arg(long, value_name = "IP:PORT", num_args = 0..=1, require_equals = true, default_missing_value = "127.0.0.1:0")]
    pub web: Option<SocketAddr>,
    /// On a terminal, one line that is rewritten instead of the live view.
    #[arg(long)]
    pub no_tui: bool,
}

/// Where a run is told of while it is on.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Live outputs")]
pub struct OutArgs {
    /// Tell of the run while it is on: `json=FILE` or `csv=FILE` (each request, as k6 writes it; `.gz` packs it),
    /// `prometheus=URL` (remote write), `otlp=URL` (metrics over HTTP). May be repeated.
    #[arg(long, value_name = "KIND=WHERE")]
    pub out: Vec<String>,
    /// Of single requests write one in N.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub out_sample: u32,
}

/// Who is asked how servers are.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server metrics")]
pub struct ScrapeArgs {
    /// Ask this for its metrics while the run is on: Connect's or node-exporter's page for Prometheus, or a path of the
    /// server itself. May be repeated.
    #[arg(long, value_name = "URL|/PATH")]
    pub server_metrics: Vec<String>,
    /// How often, from 1s to 1m.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub server_metrics_every: Duration,
}

/// Where results go.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Print the result as one JSON document on stdout.
    #[arg(long)]
    pub json: bool,
    /// Also write the result to a file: `.json`, `.txt`, `.html`. May be repeated.
    #[arg(short, long, value_name = "FILE")]
    pub output: Vec<PathBuf>,
    /// Also write the result as one page of HTML, which needs nothing else [default: report.html in the run directory;
    /// gate.html, capacity.html there; compare.html, history.html here].
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    pub html: Option<Option<PathBuf>>,
    /// No progress: only the result, and what must be known of it.
    #[arg(short, long)]
    pub quiet: bool,
    /// Where run directories are made.
    #[arg(long, value_name = "DIR", default_value = "runs", env = "CONNECT_BENCH_RUNS")]
    pub runs_dir: PathBuf,
    /// What was typed, without a key (see [`super::parse`]): written down, so that the run can be made again.
    #[arg(skip)]
    pub invocation: Vec<String>,
    /// What the configuration file adds to what was typed: said once.
    #[arg(skip)]
    pub configured: Option<String>,
}

/// What `ramp` and `load` have in common.
#[derive(Clone, Args)]
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
    /// How much harm it may do.
    #[command(flatten)]
    pub rails: RailsArgs,
    /// Control while it is on.
    #[command(flatten)]
    pub live: LiveArgs,
    /// How connections are made.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// Where it is told of while it is on.
    #[command(flatten)]
    pub outs: OutArgs,
    /// Who is asked how servers are, while it is on.
    #[command(flatten)]
    pub scrapes: ScrapeArgs,
    /// Where results go.
    #[command(flatten)]
    pub output: OutputArgs,
}
