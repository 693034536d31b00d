//! k6's two JSON shapes: what `handleSummary` gets, and what `--summary-export` writes. Of the measured part of a run,
//! which k6 has not: counts, rates and the length are all without the warm-up. Times are in ms, as k6's are.

use md5::{Digest as _, Md5};
use serde_json::{Map, Value, json};

use super::super::archive::Recorded;
use super::{Read, readings, vus};
use crate::histogram::Latency;
use crate::metric::Kind;
use crate::threshold::Verdict;

/// A statistic of a trend: k6's name, and how it is read.
type Stat = (&'static str, fn(&Latency) -> Option<f64>);

/// The statistics of a trend, in the order in which `options.summaryTrendStats` names them.
const STATS: [Stat; 8] = [
    ("avg", Latency::mean_ms),
    ("min", Latency::min_ms),
    ("med", |l| l.quantile_ms(0.5)),
    ("max", Latency::max_ms),
    ("p(90)", |l| l.quantile_ms(0.9)),
    ("p(95)", |l| l.quantile_ms(0.95)),
    ("p(99)", |l| l.quantile_ms(0.99)),
    ("count", |l| Some(l.count() as f64)),
];

fn contains(read: &Read) -> &'static str {
    match read.metric.unit {
        "ms" => "time",
        "bytes" => "data",
        _ => "default",
    }
}

fn values(read: &Read, seconds: f64) -> Map<String, Value> {
    let reading = &read.reading;
    let pairs: Vec<(&str, Value)> = match read.metric.kind {
        Kind::Counter => {
            let rate = if seconds > 0.0 { reading.count as f64 / seconds } else { 0.0 };
            vec![("count", json!(reading.count)), ("rate", json!(rate))]
        }
        // k6 counts what is not zero as passed: for http_req_failed the failures.
        Kind::Rate => vec![
            ("rate", json!(reading.count as f64 / reading.total.max(1) as f64)),
            ("passes", json!(reading.count)),
            ("fails", json!(reading.total - reading.count)),
        ],
        Kind::Trend => STATS.iter().map(|(name, of)| (*name, json!(of(&reading.latency)))).collect(),
        Kind::Gauge => Vec::new(),
    };
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn kind(read: &Read) -> &'static str {
    match read.metric.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Rate => "rate",
        Kind::Trend => "trend",
    }
}

/// All metrics by name: kind, what its values are, values.
fn metrics(run: &Recorded) -> Vec<(String, &'static str, &'static str, Map<String, Value>)> {
    let seconds = run.summary.measured_s();
    let mut metrics: Vec<_> = readings(run)
        .iter()
        .map(|read| (read.metric.name.to_owned(), kind(read), contains(read), values(read, seconds)))
        .collect();
    let [last, least, most] = vus(run);
    let gauge = |value: f64, min: f64, max: f64| {
        [("value", value), ("min", min), ("max", max)]
            .map(|(name, v)| (name.to_owned(), json!(v)))
            .into_iter()
            .collect()
    };
    let planned = f64::from(run.summary.plan.max_vus());
    metrics.push(("vus".to_owned(), "gauge", "default", gauge(last, least, most)));
    metrics.push(("vus_max".to_owned(), "gauge", "default", gauge(planned, planned, planned)));
    metrics
}

/// The thresholds on a metric, as they were written.
fn thresholds<'r>(run: &'r Recorded, name: &'r str) -> impl Iterator<Item = &'r Verdict> {
    run.summary.thresholds.iter().filter(move |verdict| verdict.metric == name)
}

/// Thresholds on a part of a metric: k6 has a metric of its own for each.
fn narrowed(run: &Recorded) -> Vec<&str> {
    let mut names: Vec<&str> =
        run.summary.thresholds.iter().map(|v| v.metric.as_str()).filter(|name| name.contains('{')).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn id(path: &str) -> String {
    Md5::digest(path.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn checks(run: &Recorded) -> Vec<Value> {
    let check = |(name, check): (&String, &crate::window::CheckWindow)| {
        let path = format!("::{name}");
        json!({"name": name, "path": path, "id": id(&path), "passes": check.passes, "fails": check.fails})
    };
    run.summary.steady.checks.iter().map(check).collect()
}

/// What k6 gives to `handleSummary`: what its reporters read.
#[must_use]
pub fn handle_summary(run: &Recorded) -> Value {
    let ok = |verdict: &Verdict| (verdict.expression.clone(), json!({"ok": verdict.passed}));
    let mut all = Map::new();
    for (name, kind, contains, values) in metrics(run) {
        let limits: Map<String, Value> = thresholds(run, &name).map(ok).collect();
        let mut metric = json!({"type": kind, "contains": contains, "values": values});
        if !limits.is_empty() {
            metric["thresholds"] = Value::Object(limits);
        }
        all.insert(name, metric);
    }
    for name in narrowed(run) {
        let limits: Map<String, Value> = thresholds(run, name).map(ok).collect();
        let base = name.split('{').next().and_then(|base| all.get(base)).cloned().unwrap_or(Value::Null);
        let observed = observed(run, name);
        all.insert(
            name.to_owned(),
            json!({"type": base["type"], "contains": base["contains"], "values": observed, "thresholds": limits}),
        );
    }
    json!({
        "root_group": {"name": "", "path": "", "id": id(""), "groups": [], "checks": checks(run)},
        "options": {"summaryTrendStats": STATS.map(|(name, _)| name), "summaryTimeUnit": "", "noColor": true},
        "state": {"isStdOutTTY": false, "isStdErrTTY": false,
                  "testRunDurationMs": 1000.0 * run.summary.measured_s()},
        "metrics": all,
    })
}

/// Of a narrowed metric what its thresholds looked at, by the name of the aggregation.
fn observed(run: &Recorded, name: &str) -> Map<String, Value> {
    let one = |verdict: &Verdict| {
        let end = verdict.expression.find(['<', '>', '=', '!']).unwrap_or(verdict.expression.len());
        (verdict.expression[..end].trim().to_owned(), json!(verdict.observed))
    };
    thresholds(run, name).map(one).collect()
}

/// What `k6 run --summary-export` writes: flat, a rate's value is `value`, and a threshold is `true` where it FAILED.
#[must_use]
pub fn summary_export(run: &Recorded) -> Value {
    let failed = |verdict: &Verdict| (verdict.expression.clone(), json!(!verdict.passed));
    let mut all = Map::new();
    for (name, kind, _, mut values) in metrics(run) {
        if kind == "rate"
            && let Some(rate) = values.remove("rate")
        {
            values.insert("value".to_owned(), rate);
        }
        let limits: Map<String, Value> = thresholds(run, &name).map(failed).collect();
        if !limits.is_empty() {
            values.insert("thresholds".to_owned(), Value::Object(limits));
        }
        all.insert(name, Value::Object(values));
    }
    for name in narrowed(run) {
        let mut values = observed(run, name);
        values.insert("thresholds".to_owned(), Value::Object(thresholds(run, name).map(failed).collect()));
        all.insert(name.to_owned(), Value::Object(values));
    }
    let by_name: Map<String, Value> =
        checks(run).into_iter().map(|check| (check["name"].as_str().unwrap_or_default().to_owned(), check)).collect();
    json!({"root_group": {"name": "", "path": "", "id": id(""), "groups": {}, "checks": by_name}, "metrics": all})
}
