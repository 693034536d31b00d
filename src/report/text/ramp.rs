//! The result of a ramp as text.

use std::fmt::Write as _;
use std::path::Path;

use super::super::number::{MISSING, change, duration, maybe, percent, significant};
use super::{table, what, wrap};
use crate::capacity::search::{Outcome, SearchResult, Step};
use crate::summary::{RunState, Search, Summary};

/// The result of a ramp, and the command to run next.
#[must_use]
pub fn ramp(summary: &Summary, search: &Search, run_dir: &Path) -> String {
    let mut out = format!("{}\n", what(&summary.plan.target));
    // Writing to a String cannot fail.
    out.push_str(&verdict(summary, &search.result));
    if !search.steps.is_empty() {
        out.push('\n');
        out.push_str(&table(&steps(&search.steps), 2, &[10]));
    }
    for note in &search.result.notes {
        out.push_str(&wrap(note, "  ", 2));
    }
    let _ = writeln!(out, "\nrun directory: {}", run_dir.display());
    for left in &summary.left_behind {
        let _ = writeln!(out, "left on the server: {left} (remove it with: connect-bench cleanup)");
    }
    out
}

fn verdict(summary: &Summary, result: &SearchResult) -> String {
    let vus = result.vus.map_or_else(|| MISSING.to_owned(), |vus| vus.to_string());
    let rate = maybe(result.at_vus.map(|at| at.requests_per_second));
    let interval = result.vus_ci.map_or_else(String::new, |(low, high)| format!(" (90 % interval {low} to {high})"));
    let stopped = match summary.state {
        RunState::Interrupted => "Interrupted; so far: ",
        RunState::Stopped => "Stopped; so far: ",
        _ => "",
    };
    let took = duration(result.elapsed_s);
    let text = match &result.outcome {
        Outcome::Saturated => {
            format!("{stopped}Saturates at {vus} VUs{interval}: {rate} requests per second, 98 % of the plateau.")
        }
        Outcome::NotSaturated => format!(
            "{stopped}NOT SATURATED: no plateau was found{}; {rate} requests per second at {vus} VUs, in {took}.",
            most_tried(summary, result),
        ),
        Outcome::GeneratorLimited => format!(
            "{stopped}NO ANSWER: the generator was the limit, not the server. Clean up to {vus} VUs with {rate} requests \
             per second, in {took}. Use a machine with more or quieter cores."
        ),
        Outcome::Aborted { reason } => format!("{stopped}ABORTED after {took}: {reason}"),
    };
    wrap(&text, "", 0) + &plateau(result)
}

/// Where the sweep ended, and what to do where that was the limit that was set.
fn most_tried(summary: &Summary, result: &SearchResult) -> String {
    let plan = &summary.plan;
    let allowed = plan.fetch_scenario().map(|at| plan.scenarios[at].executor.max_vus());
    match result.tested_vus {
        Some((_, most)) if allowed == Some(most) => format!(" up to {most} VUs (raise --max-vus)"),
        Some((_, most)) => format!(" up to {most} VUs"),
        None => String::new(),
    }
}

/// The plateau and the knee, where there is an answer.
fn plateau(result: &SearchResult) -> String {
    let (Outcome::Saturated, Some(rate)) = (&result.outcome, result.requests_per_second) else { return String::new() };
    let interval = result.requests_per_second_ci.map_or_else(String::new, |(low, high)| {
        format!(" (90 % interval {} to {})", significant(low), significant(high))
    });
    let knee = result.knee_vus.map_or_else(String::new, |knee| format!(", knee N* at {} VUs", significant(knee)));
    let took = duration(result.elapsed_s);
    wrap(&format!("Found in {took}: plateau {} requests per second{interval}{knee}.", significant(rate)), "", 0)
}

fn steps(steps: &[Step]) -> Vec<Vec<String>> {
    let head = ["VUs", "rps", "± 95 %", "change", "mean ms", "p50", "p95", "p99", "errors", "s", "decision"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for step in steps {
        rows.push(vec![
            step.vus.to_string(),
            significant(step.requests_per_second),
            significant(1.96 * step.standard_error),
            step.change_vs_best.map_or_else(|| MISSING.to_owned(), change),
            maybe(step.mean_ms),
            maybe(step.p50_ms),
            maybe(step.p95_ms),
            maybe(step.p99_ms),
            percent(step.error_rate),
            format!("{:.0}", step.seconds),
            step.decision.clone(),
        ]);
    }
    rows
}
