//! Insights and the steady state as text.

use std::fmt::Write as _;

use super::super::number::{change, count, duration, percent, significant};
use super::wrap;
use crate::insight::{Insight, Severity};
use crate::stats::Interval;
use crate::steady::{Drift, DriftVerdict, Publishing, StallKind, SteadyState};

const NO_DRIFT: &str = "drift: not judged below 4 minutes";
const NO_STALLS: &str = "stalls: none";
const INSEPARABLE: &str = "publishes: no time between them, so their effect is in every figure";

/// What the rules saw, with what may be done about it; nothing where they saw nothing.
pub(super) fn insights(insights: &[Insight]) -> String {
    let mut out = String::new();
    for insight in insights {
        let mark = match insight.severity {
            Severity::Spoils => "!!",
            Severity::Warns => "! ",
            Severity::Informs => "i ",
        };
        out.push_str(&wrap(&format!("{}.", insight.finding), &format!("  {mark} {}: ", insight.id), 5));
        out.push_str(&wrap(insight.advice, "     → ", 7));
    }
    if out.is_empty() { out } else { format!("\nInsights (docs/insights.md)\n{out}") }
}

/// How steady the measured part was; nothing where it was too short to say.
pub(super) fn steady(steady: &SteadyState) -> String {
    let lines = steady_lines(steady);
    // What was looked for and not found is one line, and decides nothing by itself.
    let is_nothing = |line: &str| [NO_DRIFT, NO_STALLS, INSEPARABLE].iter().any(|nothing| line.starts_with(nothing));
    let (nothing, found): (Vec<&String>, Vec<&String>) = lines.iter().partition(|line| is_nothing(line));
    let nothing: Vec<&str> = nothing.into_iter().map(String::as_str).collect();
    let mut out: String = found.into_iter().map(|line| wrap(line, "  ", 4)).collect();
    if !nothing.is_empty() {
        out.push_str(&wrap(&nothing.join("; "), "  ", 4));
    }
    if out.is_empty() { out } else { format!("\nSteady state\n{out}") }
}

/// The same line by line.
pub(super) fn steady_lines(steady: &SteadyState) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(steady.rate_drift.map(|drift| drifted("throughput", &drift)));
    lines.extend(steady.p99_drift.map(|drift| drifted("p99", &drift)));
    if steady.constant_load && steady.rate_drift.is_none() && steady.slices > 0 {
        lines.push(NO_DRIFT.to_owned());
    }
    lines.push(stalls(steady));
    lines.extend(transient(steady));
    lines.extend(publishing(&steady.publishing));
    if !steady.little.is_empty() {
        let open = steady.little.len();
        lines.push(format!("Little's law does not close in {open} of {} parts of the run", steady.slices));
    }
    if let Some(worst) = steady.worst_error_rate.filter(|rate| *rate > 0.0) {
        lines.push(format!("errors: at most {} in one of {} parts of the run", percent(worst), steady.slices));
    }
    lines.retain(|line| !line.is_empty());
    lines
}

fn range(interval: &Interval) -> String {
    format!("{} (95 %: {} to {})", change(interval.estimate), change(interval.low), change(interval.high))
}

fn drifted(what: &str, drift: &Drift) -> String {
    let word = match drift.verdict {
        DriftVerdict::Steady => "steady",
        DriftVerdict::Drifts => "DRIFTS",
        DriftVerdict::NotSteady => "NOT STEADY",
    };
    format!("{what}: {word}, {} per hour, n = {} parts, p = {:.2}", range(&drift.per_hour), drift.n, drift.p)
}

fn stalls(steady: &SteadyState) -> String {
    let stalls = &steady.stalls;
    if !stalls.seen {
        return String::new();
    }
    if stalls.count == 0 {
        return format!("{NO_STALLS} of {} or longer", duration(stalls.resolution_s));
    }
    let mut out = format!(
        "stalls: {}, {} together ({} of the time), the longest {}:",
        count(stalls.count as u64),
        duration(stalls.seconds),
        percent(stalls.share),
        duration(stalls.longest_s)
    );
    for stall in stalls.list.iter().take(5) {
        let kind = if stall.kind == StallKind::Outage { " of errors" } else { "" };
        // Writing to a String cannot fail.
        let _ = write!(out, " {}{kind} at {},", duration(stall.seconds), duration(stall.at_s));
    }
    out.pop();
    if stalls.count > 5 {
        out.push_str(", …");
    }
    out
}

fn transient(steady: &SteadyState) -> Option<String> {
    let transient = steady.transient?;
    Some(match (transient.found, transient.cut_s > 0.0) {
        (false, _) => "transient: no steady part was found, the run is too short for this server".to_owned(),
        (true, false) => return None,
        (true, true) => format!(
            "transient: {} at the beginning (MSER-5); without it {} fetches per second, {}",
            duration(transient.cut_s),
            significant(transient.per_s_after),
            change(-transient.bias)
        ),
    })
}

fn publishing(publishing: &Publishing) -> Option<String> {
    Some(match publishing {
        Publishing::None => return None,
        Publishing::Inseparable => INSEPARABLE.to_owned(),
        Publishing::Measured(effect) => format!(
            "publishes: while one is deployed ({} of the time, n = {}) fetches per second {}, mean latency {}",
            percent(effect.deploying_share),
            effect.pairs,
            range(&effect.rate_change),
            range(&effect.latency_change)
        ),
    })
}
