//! The arguments of `gate`, `compare`, `history` and `baselines accept`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::OutputArgs;

/// Where accepted runs are kept, where nothing else is said.
pub const BASELINES: &str = "bench/baselines";

/// Arguments of `connect-bench gate`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 pass, improved or warn; 99 a limit is not kept; 120 regressed; 121 inconclusive or not \
                  comparable.\n\nExamples:\n  connect-bench baselines accept runs/20260101T000000Z-load-0f1e2d3c\n  \
                  connect-bench load -u 250 -d 10m && connect-bench gate --retries 2 --junit gate.xml\n  \
                  connect-bench gate runs/NEW --baseline runs/OLD --threshold 'http_req_duration: p(95)<500'"
)]
pub struct GateArgs {
    /// Directory of the run to judge [default: the newest that is no ramp].
    pub run: Option<PathBuf>,
    /// What to compare with: a profile's .toml or .history.jsonl file, a directory of them, a run, a directory of runs, or
    /// the id of a documented baseline. May be repeated [default: bench/baselines].
    #[arg(long, value_name = "FILE|ID|RUN|DIR")]
    pub baseline: Vec<String>,
    /// Which profile of a directory of them [default: the one whose runs were made in the same way].
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Make the run again so many times before it is called regressed.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=10))]
    pub retries: u32,
    /// An absolute limit, as in a scenario file: 'http_req_duration: p(95)<500'. Exceeded, the exit code is 99. May be
    /// repeated.
    #[arg(long, value_name = "METRIC: EXPR")]
    pub threshold: Vec<String>,
    /// Compare runs that differ in this property, too (docs/gate.md lists them). May be repeated.
    #[arg(long, value_name = "PROPERTY")]
    pub may_differ: Vec<String>,
    /// Add the run to the profile's history if it passes, also with a warning.
    #[arg(long)]
    pub record: bool,
    /// Write JUnit XML: a case for each metric and limit.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// In GitHub Actions: annotations, the step's summary and its outputs.
    #[arg(long)]
    pub github: bool,
    /// For GitLab: write metrics.txt and load-performance.json here.
    #[arg(long, value_name = "DIR")]
    pub gitlab: Option<PathBuf>,
    /// Write Markdown for a comment on a change.
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// For github-action-benchmark: write bench-bigger.json and bench-smaller.json here.
    #[arg(long, value_name = "DIR")]
    pub benchmark_action: Option<PathBuf>,
    /// Write Bencher's metric format.
    #[arg(long, value_name = "FILE")]
    pub bencher: Option<PathBuf>,
    /// Where results go.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What to do with runs that are compared with.
#[derive(Debug, Subcommand)]
pub enum BaselinesCommand {
    /// Accept runs as what later ones are compared with; a run of another level begins a new epoch.
    Accept(AcceptArgs),
}

/// Arguments of `connect-bench baselines accept`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  connect-bench baselines accept runs/20260101T000000Z-load-0f1e2d3c\n  \
                  connect-bench baselines accept runs/*-load-* --profile nightly --new-epoch --note 'Connect 2026.06'")]
pub struct AcceptArgs {
    /// Directories of the runs.
    #[arg(required = true)]
    pub runs: Vec<PathBuf>,
    /// Directory of the profiles' files, meant for git.
    #[arg(long, value_name = "DIR", default_value = BASELINES)]
    pub dir: PathBuf,
    /// Name of the profile [default: from what was measured, and the VUs].
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Begin a new epoch, whatever the level.
    #[arg(long)]
    pub new_epoch: bool,
    /// A note to keep with it: a commit, a reason.
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    /// Print what was done as one JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `connect-bench compare`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  connect-bench compare runs/OLD runs/NEW\n  connect-bench compare runs/A runs/B runs/C --json"
)]
pub struct CompareArgs {
    /// Directories of the runs, or pages that were written with `--html`; the first is what the others are compared with.
    #[arg(required = true, num_args = 2.., value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// Where results go.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `connect-bench history`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  connect-bench history\n  connect-bench history bench/baselines/nightly.history.jsonl"
)]
pub struct HistoryArgs {
    /// A profile's .toml or .history.jsonl file, or a directory of runs [default: where runs are made].
    #[arg(value_name = "FILE|DIR")]
    pub from: Option<PathBuf>,
    /// Where results go.
    #[command(flatten)]
    pub output: OutputArgs,
}
