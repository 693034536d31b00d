//! A distribution of latencies as scripts read it.

use serde::Serialize;

use crate::histogram::Latency;

/// Latencies in ms.
#[derive(Debug, Serialize)]
pub struct LatencyDocument {
    /// Number of values.
    pub n: u64,
    /// Mean, exact.
    pub mean: Option<f64>,
    /// Median.
    pub p50: Option<f64>,
    /// 90th percentile.
    pub p90: Option<f64>,
    /// 95th percentile.
    pub p95: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// 99.9th percentile; `null` below 10 000 values.
    pub p999: Option<f64>,
    /// Greatest value.
    pub max: Option<f64>,
}

/// Fewest values of which a 99.9th percentile says anything.
const LEAST_FOR_P999: u64 = 10_000;

impl LatencyDocument {
    /// The usual figures of a distribution.
    #[must_use]
    pub fn of(latency: &Latency) -> LatencyDocument {
        LatencyDocument {
            n: latency.count(),
            mean: latency.mean_ms(),
            p50: latency.quantile_ms(0.5),
            p90: latency.quantile_ms(0.9),
            p95: latency.quantile_ms(0.95),
            p99: latency.quantile_ms(0.99),
            p999: latency.quantile_ms(0.999).filter(|_| latency.count() >= LEAST_FOR_P999),
            max: latency.max_ms(),
        }
    }

    /// The same, or nothing where there are no values.
    #[must_use]
    pub fn some(latency: &Latency) -> Option<LatencyDocument> {
        (!latency.is_empty()).then(|| LatencyDocument::of(latency))
    }
}
