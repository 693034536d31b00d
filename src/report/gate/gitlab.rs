//! The gate in GitLab: a metrics report (OpenMetrics text), and the keys of k6's summary that the merge request's load
//! performance widget reads.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::GateDocument;
use crate::gate::Verdict;
use crate::histogram::Latency;
use crate::summary::{Figures, Summary};

/// `metrics.txt`: what a merge request shows beside the target branch's.
#[must_use]
pub fn open_metrics(document: &GateDocument) -> String {
    let run = document.runs.last();
    let verdict = match document.verdict {
        Verdict::Pass | Verdict::Improved => 0.0,
        Verdict::Warn => 1.0,
        Verdict::Inconclusive | Verdict::NotComparable => 2.0,
        Verdict::Regressed => 3.0,
    };
    let values = [
        ("requests_per_second", "Completed requests per second", run.map(|r| r.requests_per_second)),
        ("latency_p50_ms", "Median latency of fetches", run.and_then(|r| r.latency_p50_ms)),
        ("latency_p95_ms", "95th percentile of latency", run.and_then(|r| r.latency_p95_ms)),
        ("latency_p99_ms", "99th percentile of latency", run.and_then(|r| r.latency_p99_ms)),
        ("error_rate", "Share of failed requests", run.and_then(|r| r.error_rate)),
        ("vus", "Fetching VUs", run.map(|r| r.vus)),
        ("gate_verdict", "0 pass, 1 warn, 2 inconclusive or not comparable, 3 regressed", Some(verdict)),
    ];
    let mut out = String::new();
    for (name, help, value) in values {
        if let Some(value) = value {
            let _ = writeln!(
                out,
                "# TYPE connect_bench_{name} gauge\n# HELP connect_bench_{name} {help}\nconnect_bench_{name} {value}"
            );
        }
    }
    out.push_str("# EOF\n");
    out
}

/// `load-performance.json`: k6's summary export, as far as the widget reads it; `last` is the last run. Checks are those of the gate.
#[must_use]
pub fn load_performance(document: &GateDocument, last: &Summary) -> Value {
    let run = document.runs.last();
    let judged = document.against.iter().flat_map(|against| &against.checks).filter(|check| check.judged);
    let (mut passes, mut fails) = (0, 0);
    let kept = judged.map(|check| Verdict::from(check.finding).exit() == crate::exit::Exit::Pass);
    for kept in kept.chain(document.limits.iter().map(|limit| limit.passed)) {
        if kept { passes += 1 } else { fails += 1 }
    }
    let fetch = Figures::of(last).fetch;
    let trend = |latency: &Latency| {
        let at = |q| latency.quantile_ms(q);
        json!({ "avg": latency.mean_ms(), "med": at(0.5), "p(90)": at(0.9), "p(95)": at(0.95), "p(99)": at(0.99) })
    };
    json!({ "metrics": {
        "http_reqs": { "count": run.map(|r| r.completed + r.failed), "rate": run.map(|r| r.requests_per_second) },
        "http_req_duration": trend(&fetch.duration),
        "http_req_waiting": trend(&fetch.waiting),
        "http_req_failed": { "value": run.and_then(|r| r.error_rate) },
        "checks": { "passes": passes, "fails": fails },
        "vus": { "value": run.map(|r| r.vus) },
    } })
}
