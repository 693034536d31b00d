//! What of a run is kept for later comparisons: raw figures and their circumstances, so that the method may change.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Fingerprint, Verdict, validity};
use crate::summary::{Figures, Summary};

/// Version of a line of a history; a reader refuses a newer one.
pub const SCHEMA: u32 = 1;

/// One run: a line of a history file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Name of its run directory: unique.
    pub run: String,
    /// When it began, UTC.
    pub started: Timestamp,
    /// The level that a person accepted, from 1; 0 where none did.
    pub epoch: u32,
    /// What the gate said when it was written down.
    pub verdict: Option<Verdict>,
    /// What a person or a pipeline noted: a commit, a reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Measured time, seconds.
    pub duration_s: f64,
    /// Fetching VUs, mean.
    pub vus: f64,
    /// Completed requests per second, of all scenarios.
    pub requests_per_second: f64,
    /// Its 95 % interval within the run, from ten batches. Says nothing about other runs.
    pub requests_per_second_interval: Option<[f64; 2]>,
    /// Mean latency of fetches, ms.
    pub mean_ms: Option<f64>,
    /// Cycle time N/X, ms.
    pub cycle_ms: Option<f64>,
    /// Median latency of fetches, ms.
    pub p50_ms: Option<f64>,
    /// 95th percentile, ms.
    pub p95_ms: Option<f64>,
    /// Its 95 % interval within the run.
    pub p95_interval_ms: Option<[f64; 2]>,
    /// 99th percentile, ms.
    pub p99_ms: Option<f64>,
    /// Completed requests in the measured time.
    pub completed: u64,
    /// Failed ones.
    pub failed: u64,
    /// Requests per second of the batches, in order.
    pub batches_per_s: Vec<f64>,
    /// Why it says nothing about the server; empty where it does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objections: Vec<String>,
    /// Its circumstances.
    pub fingerprint: Fingerprint,
}

impl Record {
    /// A run of 250 VUs over ten minutes as a simulation makes one up: requests per second, and p95 in ms where it is measured.
    /// Without requests, so that errors say nothing.
    #[must_use]
    pub fn simulated(requests_per_second: f64, p95_ms: Option<f64>) -> Record {
        Record {
            schema: SCHEMA,
            run: String::new(),
            started: Timestamp::UNIX_EPOCH,
            epoch: 1,
            verdict: None,
            note: None,
            duration_s: 600.0,
            vus: 250.0,
            requests_per_second,
            requests_per_second_interval: None,
            mean_ms: None,
            cycle_ms: None,
            p50_ms: None,
            p95_ms,
            p95_interval_ms: None,
            p99_ms: None,
            completed: 0,
            failed: 0,
            batches_per_s: Vec::new(),
            objections: Vec::new(),
            fingerprint: Fingerprint::default(),
        }
    }

    /// Of a run; `run` is the name of its directory, `per_s` its measured seconds (see [`validity::objections`]).
    #[must_use]
    pub fn of(summary: &Summary, run: &str, per_s: &[f64]) -> Record {
        let figures = Figures::of(summary);
        let ends = |interval: Option<crate::stats::Interval>| interval.map(|i| [i.low, i.high]);
        let latency = &figures.fetch.duration;
        Record {
            schema: SCHEMA,
            run: run.to_owned(),
            started: summary.environment.started,
            epoch: 0,
            verdict: None,
            note: None,
            duration_s: figures.seconds,
            vus: figures.vus,
            requests_per_second: figures.all_per_s,
            requests_per_second_interval: ends(figures.all_per_s_interval),
            mean_ms: latency.mean_ms(),
            cycle_ms: figures.cycle_ms,
            p50_ms: latency.quantile_ms(0.5),
            p95_ms: latency.quantile_ms(0.95),
            p95_interval_ms: ends(figures.fetch_quantile_intervals[2]),
            p99_ms: latency.quantile_ms(0.99),
            completed: figures.requests.completed,
            failed: figures.requests.failed,
            batches_per_s: summary.batches.iter().map(|b| b.completed as f64 / b.seconds).collect(),
            objections: validity::objections(summary, &figures, per_s),
            fingerprint: Fingerprint::of(summary, figures.nodes.len()),
        }
    }

    /// Failed / (failed + completed); `None` without requests.
    #[must_use]
    pub fn error_rate(&self) -> Option<f64> {
        let ended = self.failed + self.completed;
        (ended > 0).then(|| self.failed as f64 / ended as f64)
    }
}
