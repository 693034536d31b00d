//! OpenMetrics 1.0 text: what GitLab's metrics reports and a node exporter's text files read.

use std::fmt::Write as _;

use super::super::archive::Recorded;
use super::super::foreign;
use crate::capacity::search::SearchResult;
use crate::histogram::Latency;
use crate::summary::Figures;

/// A label's value, escaped as the format wants it.
fn label(text: &str) -> String {
    foreign::line(text, 200).replace('\\', "\\\\").replace('"', "\\\"")
}

struct Writer {
    out: String,
    /// Labels of every sample, without braces.
    common: String,
}

impl Writer {
    fn family(&mut self, name: &str, kind: &str, unit: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.out, "# TYPE {name} {kind}");
        if !unit.is_empty() {
            let _ = writeln!(self.out, "# UNIT {name} {unit}");
        }
        let _ = writeln!(self.out, "# HELP {name} {help}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: f64) {
        let comma = if labels.is_empty() { "" } else { "," };
        if value.is_finite() {
            let _ = writeln!(self.out, "{name}{{{}{comma}{labels}}} {value}", self.common);
        }
    }

    fn gauge(&mut self, name: &str, unit: &str, help: &str, value: Option<f64>) {
        if let Some(value) = value {
            self.family(name, "gauge", unit, help);
            self.sample(name, "", value);
        }
    }

    fn seconds(&mut self, name: &str, help: &str, latency: &Latency) {
        if latency.is_empty() {
            return;
        }
        self.family(name, "summary", "seconds", help);
        for q in [0.5, 0.9, 0.95, 0.99] {
            if let Some(ms) = latency.quantile_ms(q) {
                self.sample(name, &format!("quantile=\"{q}\""), ms / 1e3);
            }
        }
        self.sample(&format!("{name}_count"), "", latency.count() as f64);
        self.sample(&format!("{name}_sum"), "", latency.sum_ns() as f64 / 1e9);
    }

    /// What a search found.
    fn search(&mut self, result: &SearchResult) {
        let rate = result.rate.map(f64::from);
        let plateau = result.requests_per_second.filter(|_| rate.is_none());
        let kept = "Requests per second at random times that keep the objectives, at most.";
        self.gauge("connect_bench_saturation_vus", "", "VUs that saturate the server.", result.vus.map(f64::from));
        self.gauge("connect_bench_kept_per_second", "", kept, rate);
        self.gauge("connect_bench_plateau_per_second", "", "Requests per second of the plateau.", plateau);
    }
}

/// The document.
#[must_use]
pub fn openmetrics(run: &Recorded) -> String {
    let summary = &run.summary;
    let f = Figures::of(summary);
    let common = format!("command=\"{}\",run=\"{}\"", label(&summary.plan.command), label(&run.name));
    let mut w = Writer { out: String::new(), common };
    w.family("connect_bench_run", "info", "", "What was measured.");
    let target = &summary.plan.target;
    let labels = format!(
        "version=\"{}\",connect=\"{}\",server=\"{}\",sandbox=\"{}\"",
        label(&summary.version),
        label(target.connect_version.as_deref().unwrap_or("")),
        label(target.url.as_str()),
        target.sandbox,
    );
    w.sample("connect_bench_run_info", &labels, 1.0);
    w.gauge(
        "connect_bench_requests_per_second",
        "",
        "Completed requests per second, measured part.",
        Some(f.all_per_s),
    );
    w.gauge("connect_bench_fetching_vus", "", "Mean number of fetching VUs.", Some(f.vus));
    w.gauge("connect_bench_error_ratio", "ratio", "Failed share of the requests.", f.error_rate);
    w.family("connect_bench_requests", "counter", "", "Requests of the measured part by their end.");
    for (end, n) in
        [("completed", f.requests.completed), ("failed", f.requests.failed), ("dropped", f.requests.dropped)]
    {
        w.sample("connect_bench_requests_total", &format!("end=\"{end}\""), n as f64);
    }
    w.seconds("connect_bench_fetch_duration_seconds", "Latency of completed fetches.", &f.fetch.duration);
    w.seconds("connect_bench_fetch_waiting_seconds", "Wait for the first byte.", &f.fetch.waiting);
    if let Some(total) = f.publish.as_ref().and_then(|publish| publish.phases.get("publish_total")) {
        w.seconds("connect_bench_publish_duration_seconds", "Length of a publish.", total);
    }
    if !f.errors.is_empty() {
        w.family("connect_bench_errors", "counter", "", "Failures of the measured part by kind.");
        for (kind, n) in &f.errors {
            w.sample("connect_bench_errors_total", &format!("kind=\"{kind}\""), *n as f64);
        }
    }
    if !summary.thresholds.is_empty() {
        w.family("connect_bench_threshold_kept", "gauge", "", "1 where a threshold was kept.");
        for verdict in &summary.thresholds {
            let labels = format!("metric=\"{}\",expression=\"{}\"", label(&verdict.metric), label(&verdict.expression));
            w.sample("connect_bench_threshold_kept", &labels, f64::from(u8::from(verdict.passed)));
        }
    }
    if let Some(search) = &summary.search {
        w.search(&search.result);
    }
    w.gauge(
        "connect_bench_valid",
        "",
        "1 where the figures are the server's.",
        Some(f64::from(u8::from(f.invalid(summary).is_empty()))),
    );
    w.out.push_str("# EOF\n");
    w.out
}
