//! What a gate says, in every dialect of CI: all from one document, so that none can say something else.

mod github;
mod gitlab;
mod junit;
mod markdown;
mod text;
mod trackers;
pub(super) mod words;

use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;

pub use github::{annotations, outputs};
pub use gitlab::{load_performance, open_metrics};
pub use junit::junit;
pub use markdown::{MARKER, markdown};
pub use text::text;
pub use trackers::{bencher, benchmark_action};

use super::json::TargetDocument;
use super::text::what;
use crate::exit::Exit;
use crate::gate::{Against, Judgement, Record, Verdict};
use crate::summary::Summary;
use crate::threshold;

/// Version of the document.
pub const SCHEMA: u32 = 1;

/// `gate --json`.
#[derive(Debug, Clone, Serialize)]
pub struct GateDocument {
    /// [`SCHEMA`].
    pub schema: u32,
    /// `gate`.
    pub kind: &'static str,
    /// Version of connect-bench.
    pub version: &'static str,
    /// The verdict of the comparison.
    pub verdict: Verdict,
    /// What the process exits with; limits are in it, too.
    pub exit_code: u8,
    /// One sentence for people.
    pub headline: String,
    /// What was measured, in a line; says so where it is the sandbox.
    pub about: String,
    /// What was measured.
    pub target: TargetDocument,
    /// The run, and those that were made again to confirm it.
    pub runs: Vec<RunDocument>,
    /// Runs that could be made again, and that were.
    pub retries: Retries,
    /// Why the runs say nothing about the server.
    pub not_valid: Vec<String>,
    /// By baseline.
    pub against: Vec<Against>,
    /// The smallest changes that would have been seen, for people.
    pub smallest_change: Vec<String>,
    /// Absolute limits: those of the run, of the profile and of the command line.
    pub limits: Vec<threshold::Verdict>,
    /// How a person accepts the run.
    pub accept: Option<String>,
}

/// Runs that were made again.
#[derive(Debug, Clone, Serialize)]
pub struct Retries {
    /// So many were allowed.
    pub allowed: u32,
    /// So many were made.
    pub made: u32,
    /// Why fewer than needed were, or counted.
    pub problem: Option<String>,
}

/// One run.
#[derive(Debug, Clone, Serialize)]
pub struct RunDocument {
    /// Its directory.
    pub run_dir: String,
    /// Name of the directory.
    pub run: String,
    /// When it began, UTC.
    pub started: Timestamp,
    /// Measured time.
    pub duration_s: f64,
    /// Fetching VUs, mean.
    pub vus: f64,
    /// Completed requests per second.
    pub requests_per_second: f64,
    /// Its 95 % interval within the run.
    pub requests_per_second_interval_95: Option<[f64; 2]>,
    /// Median latency of fetches.
    pub latency_p50_ms: Option<f64>,
    /// 95th percentile.
    pub latency_p95_ms: Option<f64>,
    /// Its 95 % interval within the run.
    pub latency_p95_interval_95_ms: Option<[f64; 2]>,
    /// 99th percentile.
    pub latency_p99_ms: Option<f64>,
    /// Failed share.
    pub error_rate: Option<f64>,
    /// Completed requests.
    pub completed: u64,
    /// Failed requests.
    pub failed: u64,
}

impl RunDocument {
    fn of(record: &Record, directory: &Path) -> RunDocument {
        RunDocument {
            run_dir: directory.display().to_string(),
            run: record.run.clone(),
            started: record.started,
            duration_s: record.duration_s,
            vus: record.vus,
            requests_per_second: record.requests_per_second,
            requests_per_second_interval_95: record.requests_per_second_interval,
            latency_p50_ms: record.p50_ms,
            latency_p95_ms: record.p95_ms,
            latency_p95_interval_95_ms: record.p95_interval_ms,
            latency_p99_ms: record.p99_ms,
            error_rate: record.error_rate(),
            completed: record.completed,
            failed: record.failed,
        }
    }
}

/// What a document is made of beside the judgement.
#[derive(Debug)]
pub struct Context<'a> {
    /// Summary of the first run.
    pub summary: &'a Summary,
    /// The runs, each with its directory.
    pub runs: &'a [(Record, std::path::PathBuf)],
    /// What became of the limits.
    pub limits: Vec<threshold::Verdict>,
    /// Runs that were made again.
    pub retries: Retries,
    /// What the process exits with.
    pub exit: Exit,
}

/// The document.
#[must_use]
pub fn document(judgement: &Judgement, context: &Context<'_>) -> GateDocument {
    let accepts = matches!(judgement.verdict, Verdict::Regressed | Verdict::Improved | Verdict::NotComparable);
    let first = context.runs.first().filter(|_| accepts && judgement.not_valid.is_empty());
    GateDocument {
        schema: SCHEMA,
        kind: "gate",
        version: env!("CARGO_PKG_VERSION"),
        verdict: judgement.verdict,
        exit_code: context.exit.code(),
        headline: words::headline(judgement, &context.limits),
        about: what(&context.summary.plan.target),
        target: TargetDocument::of(&context.summary.plan.target),
        runs: context.runs.iter().map(|(record, directory)| RunDocument::of(record, directory)).collect(),
        retries: context.retries.clone(),
        not_valid: judgement.not_valid.clone(),
        against: judgement.against.clone(),
        smallest_change: judgement.against.iter().filter_map(words::smallest_change).collect(),
        limits: context.limits.clone(),
        accept: first.map(|(_, directory)| format!("connect-bench baselines accept {}", directory.display())),
    }
}
