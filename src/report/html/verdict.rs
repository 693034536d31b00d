//! The verdict: one sentence, a word with a sign, and what a reader should know besides.

use super::Run;
use super::publish::worst;
use crate::capacity::search::Outcome;
use crate::report::number::{MISSING, change, duration, maybe, percent, significant};
use crate::report::text;
use crate::stats::trend::{mann_kendall, theil_sen};
use crate::summary::{Figures, RunState, Search, Summary};
use crate::window::Part;

/// How a verdict is shown: colour by class, sign and word for those who do not see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) class: &'static str,
    pub(super) sign: &'static str,
    pub(super) word: &'static str,
}

pub(super) const GOOD: (&str, &str) = ("good", "✓");
pub(super) const BAD: (&str, &str) = ("bad", "✗");
pub(super) const OPEN: (&str, &str) = ("open", "?");

pub(super) fn status((class, sign): (&'static str, &'static str), word: &'static str) -> Status {
    Status { class, sign, word }
}

/// The status of a run.
pub(super) fn of(summary: &Summary, figures: &Figures) -> Status {
    match (&summary.state, &summary.search) {
        (RunState::Partial, _) => return status(OPEN, "partial"),
        (RunState::Interrupted, _) => return status(OPEN, "interrupted"),
        (RunState::Stopped, _) => return status(OPEN, "stopped"),
        (RunState::Aborted { .. }, _) => return status(BAD, "aborted"),
        (RunState::Finished, Some(search)) => return of_search(&search.result.outcome),
        (RunState::Finished, None) => {}
    }
    let kept = summary.thresholds.iter().all(|verdict| verdict.passed);
    match kept {
        false => status(BAD, "threshold failed"),
        true if figures.requests.completed == 0 => status(OPEN, "no data"),
        true if !figures.invalid(summary).is_empty() => status(OPEN, "not valid"),
        true if summary.thresholds.is_empty() => status(GOOD, "valid"),
        true => status(GOOD, "thresholds kept"),
    }
}

fn of_search(outcome: &Outcome) -> Status {
    match outcome {
        Outcome::Saturated => status(GOOD, "saturated"),
        Outcome::ObjectivesKept => status(GOOD, "objectives kept"),
        Outcome::HighestStage => status(GOOD, "highest stage"),
        Outcome::NotSaturated => status(OPEN, "not saturated"),
        Outcome::GeneratorLimited => status(OPEN, "generator limited"),
        Outcome::Aborted { .. } => status(BAD, "aborted"),
    }
}

/// The verdict of a load test in a sentence: the same as in the terminal.
pub(super) fn load(summary: &Summary, figures: &Figures) -> String {
    text::load_sentences(summary, figures).join(" ")
}

/// The verdict of a ramp in a sentence: the same as in the terminal.
pub(super) fn ramp(summary: &Summary, search: &Search) -> String {
    text::ramp_sentence(summary, &search.result)
}

/// What stands out, in sentences; the most important first.
pub(super) fn insights(run: &Run<'_>) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    if let Some(search) = &run.summary.search {
        out.extend(search.result.notes.iter().cloned());
    } else {
        out.extend(drift(run));
        out.extend(waiting(run));
        // In a search the VUs change along with the publishes.
        out.extend(publishing(run));
    }
    out.extend(imbalance(run));
    out.extend(dropped(run));
    out
}

/// Whether the server got slower or faster while the load was the same.
fn drift(run: &Run<'_>) -> Option<String> {
    let steady: Vec<_> = run.course.slots.iter().filter(|slot| slot.part == Part::Steady).collect();
    let values: Vec<f64> = steady.iter().filter_map(|slot| slot.p95_ms).collect();
    if values.len() < 20 {
        return None;
    }
    let (trend, slope) = (mann_kendall(&values)?, theil_sen(&values)?);
    let middle = values.iter().sum::<f64>() / values.len() as f64;
    let whole = slope * values.len() as f64 / middle;
    let said = trend.p_two_sided < 0.01 && whole.abs() > 0.05;
    Some(match said {
        true => format!(
            "p95 {} over the run: by {} from its beginning to its end (Mann–Kendall p = {}).",
            if whole > 0.0 { "rose" } else { "fell" },
            change(whole),
            significant(trend.p_two_sided),
        ),
        false => "p95 shows no drift over the run.".to_owned(),
    })
}

fn waiting(run: &Run<'_>) -> Option<String> {
    let fetch = &run.figures.fetch;
    let all = (fetch.blocked.sum_ns() + fetch.duration.sum_ns()) as f64;
    let connecting = (fetch.blocked.sum_ns() as f64) / all.max(1.0);
    (connecting > 0.1).then(|| {
        format!("{} of the time of fetches goes into opening connections: does the server, or what is before it, close them?", percent(connecting))
    })
}

fn publishing(run: &Run<'_>) -> Option<String> {
    let (worst, calm, more) = worst(&run.course.interference)?;
    (more > 0.1).then(|| {
        format!(
            "Publishing slows fetches: p95 is {} ms at “{}”, {} against “{}”.",
            maybe(worst.p95_ms),
            worst.phase,
            change(more),
            calm.phase
        )
    })
}

fn imbalance(run: &Run<'_>) -> Option<String> {
    let nodes = &run.figures.nodes;
    let most = nodes.iter().map(|n| n.share).fold(0.0, f64::max) * nodes.len() as f64;
    (nodes.len() > 1 && most > 1.2)
        .then(|| format!("The nodes share the load unevenly: the busiest has {most:.2} times its part."))
}

fn dropped(run: &Run<'_>) -> Option<String> {
    let dropped: u64 = run.summary.steady.scenarios.iter().map(|s| s.iterations.dropped).sum();
    let due: u64 = run.summary.steady.scenarios.iter().map(|s| s.iterations.scheduled).sum();
    (dropped > 0).then(|| {
        format!("{} of the iterations that were due never began.", percent(dropped as f64 / due.max(1) as f64))
    })
}

/// How long a run was measured, or how much of it there is.
pub(super) fn length(summary: &Summary, figures: &Figures) -> String {
    match &summary.search {
        Some(search) => duration(search.result.elapsed_s),
        None if figures.seconds > 0.0 => duration(figures.seconds),
        None => MISSING.to_owned(),
    }
}
