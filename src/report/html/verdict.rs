//! The verdict: one sentence, a word with a sign, and what a reader should know besides.

use maud::{Markup, html};

use super::Run;
use crate::capacity::search::Outcome;
use crate::insight::{self, Severity};
use crate::report::number::{MISSING, duration, percent};
use crate::report::{foreign, text};
use crate::summary::{Figures, RunState, Search, Summary};

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

/// What stands out: a word for how much it matters, what was seen, and what may be done about it.
pub(super) struct Remark {
    pub(super) mark: Option<(&'static str, &'static str)>,
    /// The rule that saw it.
    pub(super) id: &'static str,
    pub(super) finding: String,
    pub(super) advice: &'static str,
}

impl Remark {
    pub(super) fn render(&self) -> Markup {
        html! {
            @if let Some((class, word)) = self.mark { b class=(class) { (word) ": " } }
            (foreign::line(&self.finding, 400))
            @if !self.advice.is_empty() { " " span.advice { "→ " (self.advice) } }
            @if !self.id.is_empty() { " " code.rule { (self.id) } }
        }
    }

    fn plain(finding: String) -> Remark {
        Remark { mark: None, id: "", finding, advice: "" }
    }
}

/// What stands out, the most important first: what the rules saw, and the notes of a search.
pub(super) fn remarks(run: &Run<'_>) -> Vec<Remark> {
    let seen = insight::of(run.summary, run.figures, &run.steady).into_iter().map(|insight| Remark {
        mark: Some(match insight.severity {
            Severity::Spoils => ("bad", "spoils the result"),
            Severity::Warns => ("open", "warning"),
            Severity::Informs => ("good", "worth knowing"),
        }),
        id: insight.id,
        finding: insight.finding + ".",
        advice: insight.advice,
    });
    let notes = run.summary.search.iter().flat_map(|search| search.result.notes.iter().cloned());
    seen.chain(notes.map(Remark::plain)).chain(dropped(run).map(Remark::plain)).collect()
}

/// How steady the measured part was, in sentences; nothing of a search, whose load changes.
pub(super) fn steady(run: &Run<'_>) -> Vec<String> {
    if run.summary.search.is_some() || run.figures.requests.ended() == 0 {
        return Vec::new();
    }
    text::steady_lines(&run.steady)
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
