//! The parts of a result that only some load tests have: the open model, and thresholds.

use std::fmt::Write as _;

use super::super::number::{MISSING, count, maybe, percent, significant};
use super::table;
use crate::summary::{OpenFigures, Summary};
use crate::threshold::Verdict;

/// What the latencies of a result are.
pub(super) fn latencies(summary: &Summary) -> &'static str {
    let open = summary.plan.scenarios.iter().filter(|scenario| scenario.executor.is_open()).count();
    if open == 0 {
        "  Latencies are service times at this many VUs: a closed model has no schedule to be late for.\n"
    } else {
        "  Latencies are service times, from the request on; response times, from the schedule on, are below.\n"
    }
}

/// What the open model asked for and what came of it.
pub(super) fn open_model(summary: &Summary) -> String {
    let Some(f) = OpenFigures::of(summary) else { return String::new() };
    let row = |name: &str, value: String, note: String| vec![name.to_owned(), value, note];
    let latency = |name: &str, latency: &crate::histogram::Latency, q: f64| {
        row(name, maybe(latency.quantile_ms(q)), String::new())
    };
    let dropped = f.iterations.dropped;
    let blame = match dropped {
        0 => String::new(),
        _ => format!("no free VU: {}; generator late: {}", count(dropped - f.dropped_late), count(f.dropped_late)),
    };
    let share = f.dropped_share().map_or_else(|| MISSING.to_owned(), percent);
    let rows = vec![
        row("iterations due per second", significant(f.offered_per_s), "offered".to_owned()),
        row("iterations completed per second", significant(f.achieved_per_s), "achieved".to_owned()),
        row("dropped iterations", format!("{} ({share})", count(dropped)), blame),
        row("response time, ms: mean", maybe(f.response_time.mean_ms()), "from the schedule on".to_owned()),
        latency("  p50", &f.response_time, 0.5),
        latency("  p95", &f.response_time, 0.95),
        latency("  p99", &f.response_time, 0.99),
        row("  max", maybe(f.response_time.max_ms()), String::new()),
        row(
            "iterations began late, ms: p99",
            maybe(f.arrival_lateness.quantile_ms(0.99)),
            format!("p50 {}, max {}", maybe(f.arrival_lateness.quantile_ms(0.5)), maybe(f.arrival_lateness.max_ms())),
        ),
    ];
    format!("\nOpen model\n{}", table(&rows, 2, &[0, 2]))
}

/// What became of the thresholds.
pub(super) fn thresholds(verdicts: &[Verdict]) -> String {
    if verdicts.is_empty() {
        return String::new();
    }
    let mut out = "\nThresholds\n".to_owned();
    for verdict in verdicts {
        let mark = if verdict.passed { "✓" } else { "✗" };
        let observed = match verdict.observed {
            Some(value) => format!("{} {}", significant(value), verdict.unit).trim_end().to_owned(),
            None => "no data".to_owned(),
        };
        let mut notes = Vec::new();
        notes.extend(
            verdict
                .relative
                .as_ref()
                .map(|to| format!("against {}: {} had {}", significant(to.limit), to.baseline, significant(to.value))),
        );
        notes.extend(verdict.window_s.map(|s| format!("last {s} s")));
        notes.extend((verdict.after_s > 0.0).then(|| format!("after {} s", verdict.after_s)));
        notes.extend(verdict.aborted.then(|| "ended the run".to_owned()));
        let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join(", ")) };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "  {mark} {} {}: {observed}{notes}", verdict.metric, verdict.expression);
    }
    out
}
