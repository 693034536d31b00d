//! The stages of a search.

use serde::Serialize;

use crate::capacity::search::Step;

/// One stage of the search.
#[derive(Debug, Serialize)]
pub struct StepDocument {
    /// VUs held; with `--open` the most that were busy at the end of a second.
    pub vus: u32,
    /// With `--open`: requests per second that were due.
    pub rate: Option<u32>,
    /// Throughput.
    pub requests_per_second: f64,
    /// Half-width of its 95 % interval.
    pub requests_per_second_plus_minus: f64,
    /// Change against the best stage before, as a share.
    pub change: Option<f64>,
    /// Latency of completed requests.
    pub latency_ms: StepLatency,
    /// Failed share.
    pub error_rate: f64,
    /// How long it lasted.
    pub duration_s: f64,
    /// What followed from it.
    pub decision: String,
}

/// Latency in one stage, ms.
#[derive(Debug, Serialize)]
pub struct StepLatency {
    /// Mean.
    pub mean: Option<f64>,
    /// Median.
    pub p50: Option<f64>,
    /// 95th percentile.
    pub p95: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
}

impl StepDocument {
    pub(super) fn of(step: &Step) -> StepDocument {
        StepDocument {
            vus: step.vus,
            rate: step.rate,
            requests_per_second: step.requests_per_second,
            requests_per_second_plus_minus: 1.96 * step.standard_error,
            change: step.change_vs_best,
            latency_ms: StepLatency { mean: step.mean_ms, p50: step.p50_ms, p95: step.p95_ms, p99: step.p99_ms },
            error_rate: step.error_rate,
            duration_s: step.seconds,
            decision: step.decision.clone(),
        }
    }
}
