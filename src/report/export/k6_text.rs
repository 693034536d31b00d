//! k6's end-of-test summary as text, for people who know it: thresholds, totals, checks, HTTP, execution, network.

use std::fmt::Write as _;

use super::super::archive::Recorded;
use super::super::foreign;
use super::{Read, readings, vus};
use crate::histogram::Latency;
use crate::metric::Kind;
use crate::threshold::Verdict;

/// As wide as the longest name and its dots.
const COLUMN: usize = 34;

/// A duration as k6 writes it: `412.3ms`, `1.23s`, `1m30s`.
fn time(ms: Option<f64>) -> String {
    let trimmed = |value: f64, unit: &str| {
        let text = format!("{value:.2}");
        format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
    };
    match ms {
        None | Some(0.0) => "0s".to_owned(),
        Some(ms) if ms < 1.0 => trimmed(ms * 1e3, "µs"),
        Some(ms) if ms < 1e3 => trimmed(ms, "ms"),
        Some(ms) if ms < 60e3 => trimmed(ms / 1e3, "s"),
        Some(ms) => format!("{}m{}s", (ms / 60e3).floor(), ((ms % 60e3) / 1e3).floor()),
    }
}

/// Bytes in powers of ten, one decimal below ten.
fn data(bytes: f64) -> String {
    let (mut value, mut unit) = (bytes, 0);
    let units = ["B", "kB", "MB", "GB", "TB"];
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit > 0 && value < 10.0 { format!("{value:.1} {}", units[unit]) } else { format!("{value:.0} {}", units[unit]) }
}

/// A share cut, not rounded, to two decimals.
fn share(part: u64, of: u64) -> String {
    format!("{:.2}%", (part as f64 / of.max(1) as f64 * 1e4).floor() / 100.0)
}

fn line(out: &mut String, name: &str, values: &str) {
    let name = foreign::line(name, 80);
    let dots = ".".repeat(COLUMN.saturating_sub(name.chars().count()).max(1));
    // Writing to a String cannot fail.
    let _ = writeln!(out, "    {name}{dots}: {values}");
}

fn trend(latency: &Latency) -> String {
    let q = |q| time(latency.quantile_ms(q));
    format!(
        "avg={:<9} min={:<9} med={:<9} max={:<9} p(90)={:<9} p(95)={}",
        time(latency.mean_ms()),
        time(latency.min_ms()),
        q(0.5),
        time(latency.max_ms()),
        q(0.9),
        q(0.95),
    )
}

fn values(read: &Read, seconds: f64) -> String {
    let reading = &read.reading;
    match (read.metric.kind, read.metric.unit) {
        (Kind::Counter, "bytes") => {
            let bytes = reading.count as f64;
            format!("{:<8} {}/s", data(bytes), data(bytes / seconds.max(1e-9)))
        }
        (Kind::Counter | Kind::Gauge, _) => {
            format!("{:<8} {:.6}/s", reading.count, reading.count as f64 / seconds.max(1e-9))
        }
        (Kind::Rate, _) => {
            format!("{:<8} {} out of {}", share(reading.count, reading.total), reading.count, reading.total)
        }
        (Kind::Trend, _) => trend(&reading.latency),
    }
}

fn thresholds(out: &mut String, verdicts: &[Verdict]) {
    if verdicts.is_empty() {
        return;
    }
    out.push_str("\n  █ THRESHOLDS\n");
    let mut before = "";
    for verdict in verdicts {
        if verdict.metric != before {
            let _ = writeln!(out, "\n    {}", foreign::line(&verdict.metric, 120));
            before = &verdict.metric;
        }
        let mark = if verdict.passed { "✓" } else { "✗" };
        let end = verdict.expression.find(['<', '>', '=', '!']).unwrap_or(verdict.expression.len());
        let observed = match (verdict.observed, verdict.unit.as_str()) {
            (None, _) => "no data".to_owned(),
            (Some(ms), "ms") => time(Some(ms)),
            (Some(value), _) => format!("{value}"),
        };
        let (name, expression) = (verdict.expression[..end].trim(), foreign::line(&verdict.expression, 120));
        let _ = writeln!(out, "    {mark} '{expression}' {}={observed}", foreign::line(name, 120));
    }
}

fn checks(out: &mut String, run: &Recorded, seconds: f64) {
    let checks = &run.summary.steady.checks;
    let (passes, fails) = checks.values().fold((0, 0), |(p, f), check| (p + check.passes, f + check.fails));
    let all = passes + fails;
    if all == 0 {
        return;
    }
    line(out, "checks_total", &format!("{all:<8} {:.6}/s", all as f64 / seconds.max(1e-9)));
    line(out, "checks_succeeded", &format!("{:<8} {passes} out of {all}", share(passes, all)));
    line(out, "checks_failed", &format!("{:<8} {fails} out of {all}", share(fails, all)));
    out.push('\n');
    for (name, check) in checks {
        let name = foreign::line(name, 120);
        let _ = match check.fails {
            0 => writeln!(out, "    ✓ {name}"),
            fails => {
                let of = check.passes + fails;
                let percent = (check.passes as f64 / of as f64 * 100.0).floor();
                writeln!(out, "    ✗ {name}\n      ↳  {percent:.0}% — ✓ {} / ✗ {fails}", check.passes)
            }
        };
    }
}

/// Metrics that k6 shows without being asked, by block; what else there is goes under CUSTOM.
const HTTP: [&str; 3] = ["http_req_duration", "http_req_failed", "http_reqs"];
const EXECUTION: [&str; 4] = ["dropped_iterations", "iteration_duration", "iterations", "interrupted_iterations"];
const NETWORK: [&str; 2] = ["data_received", "data_sent"];
/// What k6's compact summary hides.
const HIDDEN: [&str; 7] = [
    "checks",
    "http_req_blocked",
    "http_req_connecting",
    "http_req_tls_handshaking",
    "http_req_sending",
    "http_req_waiting",
    "http_req_receiving",
];

/// The text.
#[must_use]
pub fn summary(run: &Recorded) -> String {
    let seconds = run.summary.measured_s();
    let reads = readings(run);
    let mut out = String::new();
    thresholds(&mut out, &run.summary.thresholds);
    out.push_str("\n\n  █ TOTAL RESULTS\n\n");
    checks(&mut out, run, seconds);
    let known = |name: &str| HTTP.contains(&name) || EXECUTION.contains(&name) || NETWORK.contains(&name);
    let block = |out: &mut String, title: &str, is: &dyn Fn(&str) -> bool| {
        let mut chosen: Vec<&Read> = reads.iter().filter(|read| is(read.metric.name)).collect();
        chosen.sort_by_key(|read| read.metric.name);
        if !chosen.is_empty() {
            let _ = writeln!(out, "\n    {title}");
            chosen.iter().for_each(|read| line(out, read.metric.name, &values(read, seconds)));
        }
    };
    block(&mut out, "CUSTOM", &|name| !known(name) && !HIDDEN.contains(&name));
    block(&mut out, "HTTP", &|name| HTTP.contains(&name));
    block(&mut out, "EXECUTION", &|name| EXECUTION.contains(&name));
    let [last, least, most] = vus(run);
    line(&mut out, "vus", &format!("{last:<8} min={least:<8} max={most}"));
    let planned = run.summary.plan.max_vus();
    line(&mut out, "vus_max", &format!("{planned:<8} min={planned:<8} max={planned}"));
    block(&mut out, "NETWORK", &|name| NETWORK.contains(&name));
    let (mut complete, mut interrupted) = (0, 0);
    for scenario in &run.summary.whole.scenarios {
        complete += scenario.iterations.completed + scenario.iterations.failed;
        interrupted += scenario.iterations.interrupted;
    }
    let (minutes, rest) = ((seconds / 60.0).floor(), seconds % 60.0);
    let _ = writeln!(
        out,
        "\n\nrunning ({minutes:02.0}m{rest:04.1}s), 0/{planned} VUs, {complete} complete and {interrupted} interrupted iterations",
    );
    out
}
