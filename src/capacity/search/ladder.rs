//! Two other ways to raise the load: the classical staircase, for comparison, and the search for the most VUs, or the
//! highest rate of the open model, that keep objectives of latency and errors.

use serde::{Deserialize, Serialize};

use super::objective::Objective;
use super::stage::{Purpose, Stage};
use super::text::change;
use super::{Move, Outcome, Raised, Search, StepKind};

/// Upper and lower end of a bracket are as near as they need be.
const NEAR: f64 = 1.1;
/// Most stages between the ends of the first bracket.
const MOST_BETWEEN: usize = 10;

/// How the VUs are raised.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Sweep, fit, probe: N_sat.
    #[default]
    Sweep,
    /// So many VUs more with each stage, to the most allowed; the answer is the stage with the greatest throughput.
    Staircase {
        /// VUs more.
        step: u32,
    },
    /// Doubling until an objective is broken, then halving the (logarithmic) distance: the most VUs that keep them all.
    Objectives {
        /// All of them have to hold.
        all: Vec<Objective>,
    },
}

/// What a search for objectives found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// What was to be kept, as it was written.
    pub objectives: Vec<String>,
    /// The most VUs that kept all of them, with no fewer that did not; of the open model the most that were busy at `rate`.
    pub vus: u32,
    /// Of the open model, what was raised: the most requests per second that kept all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
    /// Throughput at them.
    pub requests_per_second: f64,
    /// The fewest VUs that broke one; `None` where none did up to the most allowed.
    pub broken_at_vus: Option<u32>,
    /// The same of the open model, in requests per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken_at_rate: Option<u32>,
    /// Which one they broke.
    pub broken: Option<String>,
}

/// A stage by whether it kept the objectives.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rung {
    /// What was raised to it: VUs, or requests per second.
    vus: u32,
    /// VUs that were busy.
    held: u32,
    per_s: f64,
    /// Which objective it broke.
    broken: Option<String>,
}

/// What follows from the rungs so far.
#[derive(Debug, PartialEq)]
enum Next {
    Hold(u32),
    Done,
}

impl Search {
    /// A stage of the staircase is over.
    pub(super) fn next_stair(&mut self, stage: &Stage, step: u32, gain: Option<f64>) -> Move {
        let text = gain.map_or_else(|| "first stage".to_owned(), |gain| format!("{} against the best", change(gain)));
        self.steps.push(stage.step(StepKind::Full, gain, text, &self.config));
        match stage.vus.checked_add(step).filter(|next| *next <= self.config.max_vus) {
            Some(next) => self.hold(next, Purpose::Probe, (stage.vus, stage.mean_latency_s())),
            None => self.end_of_stairs(),
        }
    }

    pub(super) fn end_of_stairs(&mut self) -> Move {
        self.notes.push(
            "The stage with the greatest throughput is what a staircase finds. On a plateau which one that is is chance, and it \
             often has three times the VUs and the latency of saturation."
                .to_owned(),
        );
        self.finish(Outcome::HighestStage)
    }

    /// A stage is over that was to keep objectives; `storm`: it was ended by errors.
    pub(super) fn next_rung(&mut self, stage: &Stage, all: &[Objective], storm: Option<String>) -> Move {
        let kind = if storm.is_some() { StepKind::Unusable } else { StepKind::Full };
        let mut step = stage.step(kind, None, String::new(), &self.config);
        let latency = stage.latency(&self.config);
        let broken = storm
            .or_else(|| all.iter().find_map(|objective| objective.broken(&latency, step.error_rate)))
            .or_else(|| stage.left_behind(&self.config));
        step.decision = broken.clone().unwrap_or_else(|| "keeps the objectives".to_owned());
        let is_too_much = broken.is_some();
        self.rungs.push(Rung { vus: stage.vus, held: step.vus, per_s: step.requests_per_second, broken });
        let next = next(&self.rungs, self.config.max_vus);
        if let Next::Hold(vus) = next
            && self.rungs.iter().any(|rung| rung.vus == vus)
        {
            let more = if self.config.raised == Raised::Vus { "more VUs" } else { "higher rates" };
            step.decision.push_str(&format!(", but {more} kept them: {vus} again"));
        }
        self.steps.push(step);
        let before = (stage.vus, stage.mean_latency_s());
        match next {
            Next::Hold(vus) if is_too_much && self.config.raised == Raised::Rate => self.drain(vus, before),
            Next::Hold(vus) => self.hold(vus, Purpose::Probe, before),
            Next::Done if self.kept().is_some() => self.finish(Outcome::ObjectivesKept),
            Next::Done => {
                let least = self.rungs.iter().min_by_key(|rung| rung.vus);
                let broken = least.and_then(|rung| rung.broken.clone()).unwrap_or_default();
                let least = self.config.load(least.map_or(self.config.first_vus, |rung| rung.vus));
                let reason = format!("the objectives are not kept by {least}: {broken}");
                self.finish(Outcome::Aborted { reason })
            }
        }
    }

    /// A guess at the stages to go: a few doublings until an objective is broken, then halvings of the bracket.
    pub(super) fn rungs_left(&self) -> f64 {
        let halvings = |ratio: f64| (ratio.ln() / NEAR.ln()).log2().ceil().max(0.0);
        match bracket(&self.rungs) {
            (Some(kept), Some(broken)) => halvings(f64::from(broken.vus) / f64::from(kept.vus)),
            (None, Some(broken)) => f64::from(broken.vus).log2() + halvings(2.0),
            (_, None) => 3.0 + halvings(2.0),
        }
    }

    /// The answer so far; `None` where no stage kept the objectives.
    pub(super) fn kept(&self) -> Option<Kept> {
        let Method::Objectives { all } = &self.config.method else { return None };
        let (kept, broken) = bracket(&self.rungs);
        let (kept, is_open) = (kept?, self.config.raised == Raised::Rate);
        let broken_at = broken.map(|rung| rung.vus);
        Some(Kept {
            objectives: all.iter().map(ToString::to_string).collect(),
            vus: kept.held,
            rate: is_open.then_some(kept.vus),
            requests_per_second: kept.per_s,
            broken_at_vus: broken_at.filter(|_| !is_open),
            broken_at_rate: broken_at.filter(|_| is_open),
            broken: broken.and_then(|rung| rung.broken.clone()),
        })
    }
}

/// The last word on a number of VUs.
fn last(rungs: &[Rung], vus: u32) -> Option<&Rung> {
    rungs.iter().rev().find(|rung| rung.vus == vus)
}

/// The most VUs that kept the objectives below the fewest that did not, and those.
fn bracket(rungs: &[Rung]) -> (Option<&Rung>, Option<&Rung>) {
    let latest = || rungs.iter().filter(|rung| last(rungs, rung.vus).is_some_and(|last| std::ptr::eq(last, *rung)));
    let broken = latest().filter(|rung| rung.broken.is_some()).min_by_key(|rung| rung.vus);
    let below = |rung: &&Rung| broken.is_none_or(|broken| rung.vus < broken.vus);
    let kept = latest().filter(|rung| rung.broken.is_none()).filter(below).max_by_key(|rung| rung.vus);
    (kept, broken)
}

fn next(rungs: &[Rung], max_vus: u32) -> Next {
    let (kept, broken) = bracket(rungs);
    let Some(broken) = broken else {
        let most = kept.map_or(1, |rung| rung.vus);
        return if most >= max_vus { Next::Done } else { Next::Hold(most.saturating_mul(2).min(max_vus)) };
    };
    // More VUs kept what these broke: chance, until they break it again.
    let contradicted = rungs.iter().any(|rung| rung.broken.is_none() && rung.vus > broken.vus);
    if contradicted && rungs.iter().filter(|rung| rung.vus == broken.vus).count() < 2 {
        return Next::Hold(broken.vus);
    }
    let (low, high) = (kept.map_or(0, |rung| rung.vus), broken.vus);
    let is_near = f64::from(high) <= NEAR * f64::from(low) || high - low <= 1;
    let between = rungs.iter().filter(|rung| rung.vus > low / 2).count();
    if low == 0 && high > 1 {
        return Next::Hold(high / 2);
    }
    if low == 0 || is_near || between > MOST_BETWEEN {
        return Next::Done;
    }
    let middle = (f64::from(low) * f64::from(high)).sqrt().round() as u32;
    Next::Hold(middle.clamp(low + 1, high - 1))
}

#[cfg(test)]
#[path = "ladder_tests.rs"]
mod tests;
