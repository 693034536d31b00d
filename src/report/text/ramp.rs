//! The result of a ramp as text.

use std::fmt::Write as _;
use std::path::Path;

use super::super::number::{MISSING, change, duration, maybe, percent, significant};
use super::{WIDTH, insights, servers, settings, table, what, wrap};
use crate::capacity::agreement::Agreement;
use crate::capacity::search::{Outcome, SearchResult, Step};
use crate::insight;
use crate::plan::Executor;
use crate::steady::SteadyState;
use crate::summary::{Figures, RunState, Search, Summary};

/// The result of a ramp, and the command to run next.
#[must_use]
pub fn ramp(summary: &Summary, search: &Search, run_dir: &Path) -> String {
    let mut out = format!("{}\n{}", what(&summary.plan.target), settings(&summary.plan.target));
    // Writing to a String cannot fail.
    out.push_str(&verdict(summary, &search.result));
    if !search.steps.is_empty() {
        out.push('\n');
        out.push_str(&table(&fitting(steps(&search.steps)), 2, &[10]));
    }
    for note in &search.result.notes {
        out.push_str(&wrap(note, "  ", 2));
    }
    out.push_str(&servers::servers(summary));
    out.push_str(&insights::insights(&insight::of(summary, &Figures::of(summary), &SteadyState::of(summary))));
    let _ = writeln!(out, "\nrun directory: {}", run_dir.display());
    for left in &summary.left_behind {
        let _ = writeln!(out, "left on the server: {left} (remove it with: connect-bench cleanup)");
    }
    out
}

/// The ramp and the load test that followed it, held against each other: a line, and what to look at where they differ.
#[must_use]
pub fn agreement(agreement: &Agreement) -> String {
    let Agreement { vus, said_per_s, plateau_per_s, measured_per_s, difference, .. } = *agreement;
    let text = format!(
        "Ramp and load {} at {vus} VUs: the load made {} fetches per second, {} against the ramp's {} (plateau {}).",
        if agreement.agree { "agree" } else { "DISAGREE" },
        significant(measured_per_s),
        change(difference),
        significant(said_per_s),
        significant(plateau_per_s),
    );
    wrap(&text, "", 2) + &agreement.advice().map_or_else(String::new, |advice| wrap(advice, "  ", 2))
}

fn verdict(summary: &Summary, result: &SearchResult) -> String {
    let [answer, plateau] = sentences(summary, result);
    let plateau = plateau.map(|plateau| wrap(&plateau, "", 0));
    answer.map_or_else(String::new, |answer| wrap(&answer, "", 0)) + &plateau.unwrap_or_default()
}

/// The verdict, and where there is an answer, what the server can do at most.
pub(in crate::report) fn sentences(summary: &Summary, result: &SearchResult) -> [Option<String>; 2] {
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
        Outcome::GeneratorLimited => {
            let clean = match (result.rate, result.vus) {
                (Some(per_s), _) => format!("Clean up to {per_s} requests per second that were due, in {took}."),
                (_, Some(vus)) => format!("Clean up to {vus} VUs with {rate} requests per second, in {took}."),
                _ => format!("No stage before that gives an answer, in {took}."),
            };
            format!(
                "{stopped}NO ANSWER: the generator was the limit, not the server. {clean} Use a machine with more or \
                 quieter cores."
            )
        }
        Outcome::ObjectivesKept => format!("{stopped}{}", objectives(summary, result)),
        Outcome::HighestStage => format!(
            "{stopped}Staircase: the highest stage has {vus} VUs and {rate} requests per second, in {took}. That is no \
             saturation; leave out --method for the fewest VUs with the plateau's throughput."
        ),
        Outcome::Aborted { reason } => {
            // What ended the run says more than that the search was not done.
            let reason = if let RunState::Aborted { reason, .. } = &summary.state { reason } else { reason };
            format!("{stopped}ABORTED after {took}: {reason}")
        }
    };
    [Some(text), plateau(result)]
}

/// The most VUs that keep what was to be kept.
fn objectives(summary: &Summary, result: &SearchResult) -> String {
    let Some(kept) = &result.kept else { return MISSING.to_owned() };
    let rate = significant(kept.requests_per_second);
    let what = kept.objectives.join(" and ");
    let took = duration(result.elapsed_s);
    let executor = summary.plan.fetch_scenario().map(|at| &summary.plan.scenarios[at].executor);
    let unbroken = |reached: u32, most: Option<u64>, flag: &str| match most {
        Some(most) if u64::from(reached) < most => "none was broken in the time there was".to_owned(),
        _ => format!("none was broken; raise {flag} to see where they are"),
    };
    if let Some(per_s) = kept.rate {
        let end = match (&kept.broken_at_rate, &kept.broken) {
            (Some(rate), Some(broken)) => format!("{rate} per second are too many: {broken}"),
            _ => unbroken(per_s, executor.and_then(Executor::max_rate), "--max-rate"),
        };
        return format!(
            "{what}: kept by up to {per_s} requests per second that come at random times (open model), with up to {} VUs \
             busy, in {took}; {end}.",
            kept.vus
        );
    }
    let end = match (&kept.broken_at_vus, &kept.broken) {
        (Some(vus), Some(broken)) => format!("{vus} VUs are too many: {broken}"),
        _ => unbroken(kept.vus, executor.map(|executor| u64::from(executor.max_vus())), "--max-vus"),
    };
    format!("{what}: kept by up to {} VUs, at {rate} requests per second, in {took}; {end}.", kept.vus,)
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
fn plateau(result: &SearchResult) -> Option<String> {
    let (Outcome::Saturated, Some(rate)) = (&result.outcome, result.requests_per_second) else { return None };
    let interval = result.requests_per_second_ci.map_or_else(String::new, |(low, high)| {
        format!(" (90 % interval {} to {})", significant(low), significant(high))
    });
    let knee = result.knee_vus.map_or_else(String::new, |knee| format!(", knee N* at {} VUs", significant(knee)));
    let took = duration(result.elapsed_s);
    Some(format!("Found in {took}: plateau {} requests per second{interval}{knee}.", significant(rate)))
}

/// Rows whose last column, in words, goes on below itself where a line would be wider than a terminal.
fn fitting(rows: Vec<Vec<String>>) -> Vec<Vec<String>> {
    let last = rows.first().map_or(0, |head| head.len() - 1);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let taken: usize = 2 + (0..last).map(|column| width(column) + 2).sum::<usize>();
    let room = WIDTH.saturating_sub(taken).max(16);
    let mut out = Vec::new();
    for mut row in rows {
        let words = std::mem::take(&mut row[last]);
        let mut lines = vec![String::new()];
        for word in words.split(' ') {
            let length = lines.last().map_or(0, |line| line.chars().count());
            match lines.last_mut() {
                Some(line) if length == 0 => line.push_str(word),
                Some(line) if length + 1 + word.chars().count() <= room => line.extend([" ", word]),
                _ => lines.push(word.to_owned()),
            }
        }
        let mut lines = lines.into_iter();
        row[last] = lines.next().unwrap_or_default();
        out.push(row);
        out.extend(lines.map(|line| [vec![String::new(); last], vec![line]].concat()));
    }
    out
}

fn steps(steps: &[Step]) -> Vec<Vec<String>> {
    let is_open = steps.iter().any(|step| step.rate.is_some());
    let head = [
        if is_open { "due/s" } else { "VUs" },
        "rps",
        "± 95 %",
        "change",
        "mean ms",
        "p50",
        "p95",
        "p99",
        "errors",
        "s",
        "decision",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for step in steps {
        rows.push(vec![
            step.level().to_string(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_reason_does_not_make_the_table_wider_than_a_terminal() {
        let row = |decision: &str| [vec!["1".to_owned(); 10], vec![decision.to_owned()]].concat();
        let long = "the generator was the limit (responses that had arrived waited for us: 8 ms, and more): not usable";
        let text = table(&fitting(vec![row("decision"), row("growing"), row(long)]), 2, &[10]);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        let words: Vec<&str> = text.split_whitespace().filter(|word| *word != "1").collect();
        assert_eq!(words.join(" "), format!("decision growing {long}"), "{text}");
    }
}
