//! The result of a ramp as text.

use std::fmt::Write as _;
use std::path::Path;

use super::super::number::{MISSING, change, duration, maybe, percent, significant};
use super::{table, what};
use crate::capacity::search::{Outcome, SearchResult, Step};
use crate::summary::{RunState, Search, Summary};

/// The result of a ramp, and the command to run next.
#[must_use]
pub fn ramp(summary: &Summary, search: &Search, run_dir: &Path) -> String {
    let mut out = format!("{}\n", what(&summary.plan.target));
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{}\n", verdict(summary, &search.result));
    out.push_str(&table(&steps(&search.steps), 2));
    for note in &search.result.notes {
        let _ = writeln!(out, "  {note}");
    }
    let result = &search.result;
    if let (Some(knee), Some(rate)) = (result.knee_vus, result.requests_per_second) {
        let interval = result.requests_per_second_ci.map_or_else(String::new, |(low, high)| {
            format!(" (90 % interval {} to {})", significant(low), significant(high))
        });
        let _ = writeln!(
            out,
            "\nPlateau {} requests per second{interval}; knee N* at {} VUs.",
            significant(rate),
            significant(knee)
        );
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
    let stopped = if summary.state == RunState::Interrupted { "Interrupted; so far: " } else { "" };
    let took = duration(result.elapsed_s);
    match &result.outcome {
        Outcome::Saturated => format!(
            "{stopped}Saturates at {vus} VUs{interval} with {rate} requests per second: 98 % of the plateau. Found in {took}."
        ),
        Outcome::NotSaturated => format!(
            "{stopped}NOT SATURATED: throughput still grew at the most VUs that were tried; {rate} requests per second at \
             {vus} VUs, in {took}. Raise --max-vus."
        ),
        Outcome::GeneratorLimited => format!(
            "{stopped}NO ANSWER: the generator was the limit, not the server. Clean up to {vus} VUs with {rate} requests \
             per second, in {took}. Use a machine with more or quieter cores."
        ),
        Outcome::Aborted { reason } => format!("{stopped}ABORTED after {took}: {reason}"),
    }
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
