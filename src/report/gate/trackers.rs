//! Figures for trackers that keep their own history: github-action-benchmark, whose files have one direction each, and
//! Bencher's metric format.

use serde_json::{Map, Value, json};

use super::{GateDocument, RunDocument};
use crate::report::number::significant;

/// What the figures are named after: the sandbox's never after Connect.
fn benchmark(document: &GateDocument) -> String {
    let target = if document.target.sandbox { "sandbox" } else { "connect" };
    let vus = document.runs.first().map_or(0.0, |run| run.vus);
    format!("{target} fetch, {vus:.0} VUs")
}

fn figure(name: &str, unit: &str, value: f64, (range, run): (Option<[f64; 2]>, &RunDocument)) -> Value {
    let mut figure = json!({ "name": name, "unit": unit, "value": value, "extra": format!("run {}", run.run) });
    if let Some([low, high]) = range {
        figure["range"] = json!(format!("± {}", significant(0.5 * (high - low))));
    }
    figure
}

/// For github-action-benchmark: what is better when it is bigger (`customBiggerIsBetter`), and what when it is smaller
/// (`customSmallerIsBetter`).
#[must_use]
pub fn benchmark_action(document: &GateDocument) -> [Value; 2] {
    let name = |what: &str| format!("{}: {what}", benchmark(document));
    let (mut bigger, mut smaller) = (Vec::new(), Vec::new());
    if let Some(run) = document.runs.last() {
        let interval = run.requests_per_second_interval_95;
        bigger.push(figure(&name("throughput"), "requests/s", run.requests_per_second, (interval, run)));
        if let Some(p95) = run.latency_p95_ms {
            smaller.push(figure(&name("p95"), "ms", p95, (run.latency_p95_interval_95_ms, run)));
        }
        if let Some(errors) = run.error_rate {
            smaller.push(figure(&name("error rate"), "%", 100.0 * errors, (None, run)));
        }
    }
    [Value::Array(bigger), Value::Array(smaller)]
}

/// For Bencher: benchmark → measure → value with the ends of its interval.
#[must_use]
pub fn bencher(document: &GateDocument) -> Value {
    let Some(run) = document.runs.last() else { return json!({}) };
    let measure = |value: f64, interval: Option<[f64; 2]>| match interval {
        Some([low, high]) => json!({ "value": value, "lower_value": low, "upper_value": high }),
        None => json!({ "value": value }),
    };
    let mut measures = Map::new();
    let throughput = measure(run.requests_per_second, run.requests_per_second_interval_95);
    measures.insert("throughput".to_owned(), throughput);
    if let Some(p95) = run.latency_p95_ms {
        measures.insert("latency-p95".to_owned(), measure(p95, run.latency_p95_interval_95_ms));
    }
    if let Some(errors) = run.error_rate {
        measures.insert("error-rate".to_owned(), measure(errors, None));
    }
    json!({ benchmark(document): measures })
}
