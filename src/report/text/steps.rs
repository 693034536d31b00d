//! Steps and checks as text.

use std::fmt::Write as _;

use super::super::number::{MISSING, count, maybe, percent, significant};
use super::table;
use crate::summary::{self, Summary};

/// The steps that fetch, where there is more than one, and the iterations that did not do what they were for.
pub(super) fn steps(summary: &Summary) -> String {
    figures(summary) + &failed_iterations(summary)
}

fn failed_iterations(summary: &Summary) -> String {
    let mut all = crate::window::Counts::default();
    for (_, scenario) in summary.steady.scenarios.iter().enumerate().filter(|(at, _)| summary.plan.has_steps(*at)) {
        all.merge(&scenario.iterations);
    }
    match all.failed {
        0 => String::new(),
        failed => {
            let of = count(failed + all.completed);
            format!(
                "\nIterations: {} of {of} failed; events.ndjson in the run directory has the reasons\n",
                count(failed)
            )
        }
    }
}

fn figures(summary: &Summary) -> String {
    // A step that is a WebSocket session makes no requests.
    let requests = |step: &summary::StepFigures<'_>| step.fetches && step.window.sockets.is_none();
    let steps: Vec<_> = summary::steps(summary).into_iter().filter(requests).collect();
    if steps.len() < 2 {
        return String::new();
    }
    let head = ["step", "requests", "rps", "mean ms", "p50", "p95", "p99", "max", "errors", ""];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let one = summary.plan.fetch_scenarios().nth(1).is_none();
    for step in &steps {
        let name = if one { step.step.clone() } else { format!("{}: {}", step.scenario, step.step) };
        let latency = &step.window.duration;
        let quantile = |q| maybe(latency.quantile_ms(q));
        rows.push(vec![
            name,
            count(step.window.requests.completed),
            significant(step.per_s),
            maybe(latency.mean_ms()),
            quantile(0.5),
            quantile(0.95),
            quantile(0.99),
            maybe(latency.max_ms()),
            step.error_rate.map_or_else(|| MISSING.to_owned(), percent),
            step.group.map_or_else(String::new, |group| format!("in {group}")),
        ]);
    }
    format!("\nSteps\n{}", table(&rows, 2, &[0, 9]))
}

/// The checks, one a line, as k6 shows them.
pub(super) fn checks(summary: &Summary) -> String {
    let checks = &summary.steady.checks;
    if checks.is_empty() {
        return String::new();
    }
    let mut all = crate::window::CheckWindow::default();
    checks.values().for_each(|check| all.merge(check));
    let rate = |check: &crate::window::CheckWindow| check.rate().map_or_else(|| MISSING.to_owned(), percent);
    let mut out = format!("\nChecks: {} of {} passed\n", rate(&all), count(all.passes + all.fails));
    for (name, check) in checks {
        let _ = match check.fails {
            0 => writeln!(out, "  ✓ {name}"),
            fails => writeln!(out, "  ✗ {name} {} (✓ {} / ✗ {})", rate(check), count(check.passes), count(fails)),
        };
    }
    out
}
