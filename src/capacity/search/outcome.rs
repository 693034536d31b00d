//! What the search says: its result, finished or not, and its progress.

use super::policy::SweepEnd;
use super::stage::{Purpose, Stage};
use super::text::round_up;
use super::{Drain, Method, Outcome, Phase, Prediction, Progress, Raised, Search, SearchResult, State};
use crate::capacity::knee::bootstrap::bootstrap;
use crate::capacity::knee::estimate::{Estimate, Point};

impl Search {
    /// The result: final once [`super::Move::Finished`] was said, before that what is known so far.
    #[must_use]
    pub fn result(&self) -> SearchResult {
        let outcome = self.outcome.clone().unwrap_or_else(|| match self.verdict() {
            Outcome::Saturated if self.sweep.probes > 0 => Outcome::Saturated,
            _ if self.kept().is_some() => Outcome::ObjectivesKept,
            _ => Outcome::Aborted { reason: "stopped before the search was done".to_owned() },
        });
        let points = self.points();
        let estimate = self.estimate().filter(|_| outcome == Outcome::Saturated);
        let mut result = self.frame(outcome, &points);
        match estimate {
            Some(estimate) => self.saturated(&mut result, &points, &estimate),
            None => self.best_seen(&mut result, &points),
        }
        result
    }

    /// The outcome by what was measured so far.
    pub(super) fn verdict(&self) -> Outcome {
        let Some(end) = &self.sweep.end else {
            return match self.measured.is_empty() {
                true => Outcome::Aborted { reason: "no stage was finished".to_owned() },
                false if matches!(self.config.method, Method::Objectives { .. }) => {
                    Outcome::Aborted { reason: "no stage kept the objectives in the time there was".to_owned() }
                }
                false => Outcome::NotSaturated,
            };
        };
        let saturated = self.estimate().is_some_and(|e| self.is_conclusive(&e));
        match end {
            _ if saturated => Outcome::Saturated,
            SweepEnd::Generator(_) => Outcome::GeneratorLimited,
            _ => Outcome::NotSaturated,
        }
    }

    fn frame(&self, outcome: Outcome, points: &[Point]) -> SearchResult {
        let is_open = self.config.raised == Raised::Rate;
        let tested = points.first().zip(points.last()).map(|(a, b)| (a.vus as u32, b.vus as u32));
        let outcome_is_kept = outcome == Outcome::ObjectivesKept;
        let mut notes = self.notes.clone();
        if outcome == Outcome::NotSaturated {
            notes.push(match self.sweep.end {
                Some(SweepEnd::Errors) => "Errors began before throughput levelled off.".to_owned(),
                Some(SweepEnd::MaxVus) => {
                    format!("Throughput still grew at {} VUs, the most allowed.", self.config.max_vus)
                }
                _ => "Throughput was not seen to level off.".to_owned(),
            });
        }
        SearchResult {
            outcome,
            vus: None,
            rate: None,
            saturation_vus: None,
            vus_ci: None,
            knee_vus: None,
            requests_per_second: None,
            requests_per_second_ci: None,
            at_vus: None,
            knee: None,
            misfit: false,
            kept: self.kept().filter(|_| outcome_is_kept),
            tested_vus: tested.filter(|_| !is_open),
            warm_up_s: self.warm_up_s,
            elapsed_s: f64::from(self.clock.0),
            notes,
        }
    }

    fn saturated(&self, result: &mut SearchResult, points: &[Point], estimate: &Estimate) {
        let largest = points.last().map_or(1.0, |p| p.vus);
        let vus = f64::from(round_up(estimate.vus)).min(largest.floor());
        let intervals = bootstrap(points, estimate, self.config.eps, self.seed);
        let curve = estimate.knee.filter(|_| !estimate.misfit);
        let per_s = curve.map_or((1.0 - self.config.eps) * estimate.plateau_per_s, |knee| knee.throughput(vus));
        result.vus = Some(vus as u32);
        result.saturation_vus = Some(estimate.vus);
        result.vus_ci = Some((intervals.vus.low.floor().max(1.0) as u32, intervals.vus.high.ceil() as u32));
        result.knee_vus = curve.map(|knee| knee.knee_vus());
        result.requests_per_second = Some(estimate.plateau_per_s);
        result.requests_per_second_ci = Some((intervals.plateau_per_s.low, intervals.plateau_per_s.high));
        result.at_vus = Some(Prediction { requests_per_second: per_s, mean_ms: 1000.0 * vus / per_s });
        result.knee = estimate.knee;
        result.misfit = estimate.misfit;
        if estimate.misfit {
            result.notes.push("The knee curve does not fit; figures come from isotonic regression.".to_owned());
        }
        if vus >= 0.9 * largest {
            result.notes.push("Saturation lies at the end of the tested range.".to_owned());
        }
    }

    /// Without saturation: the stage with the greatest throughput, or the largest clean one if the generator was
    /// the limit; of a search for objectives the one that kept them, or nothing.
    fn best_seen(&self, result: &mut SearchResult, points: &[Point]) {
        let is_open = self.config.raised == Raised::Rate;
        let level = self.kept().map(|kept| f64::from(kept.rate.unwrap_or(kept.vus)));
        let kept = |point: &&Point| level == Some(point.vus);
        let best = match result.outcome {
            // However it ended: what broke the objectives is no answer to the question.
            _ if matches!(self.config.method, Method::Objectives { .. }) => points.iter().find(kept),
            Outcome::GeneratorLimited => points.last(),
            _ => points.iter().max_by(|a, b| a.per_s.total_cmp(&b.per_s)),
        };
        let Some(best) = best.filter(|p| p.per_s > 0.0) else { return };
        let level = Some(best.vus as u32);
        (result.vus, result.rate) = if is_open { (None, level) } else { (level, None) };
        result.requests_per_second = Some(best.per_s);
        let (low, high) = (best.per_s - 1.645 * best.sigma, best.per_s + 1.645 * best.sigma);
        result.requests_per_second_ci = Some((low.max(0.0), high));
        // A VU of the open model waits: N/X says nothing of latency.
        result.at_vus =
            (!is_open).then(|| Prediction { requests_per_second: best.per_s, mean_ms: 1000.0 * best.vus / best.per_s });
    }

    /// Where the search stands.
    #[must_use]
    pub fn progress(&self) -> Progress {
        match &self.state {
            State::WarmUp(warm_up) => Progress {
                phase: Phase::WarmUp,
                vus: self.vus(self.config.warm_up_vus),
                rate: self.rate(self.config.warm_up_vus),
                stage_s: warm_up.seconds() as f64,
                requests_per_second: warm_up.per_s(),
                plus_minus: None,
                next: format!(
                    "warming up until throughput no longer rises, then from {}",
                    self.config.load(self.config.first_vus)
                ),
                remaining_s: (f64::from(self.config.warm_up_min_s) - warm_up.seconds() as f64).max(5.0)
                    + self.stages_left_s(self.config.first_vus),
            },
            State::Stage(stage) => self.stage_progress(stage),
            State::Drain(drain) => self.drain_progress(drain),
            State::Finished => Progress {
                phase: Phase::Finished,
                vus: self.steps.last().map_or(0, |step| if step.rate.is_some() { 0 } else { step.vus }),
                rate: self.steps.last().and_then(|step| step.rate),
                stage_s: 0.0,
                requests_per_second: None,
                plus_minus: None,
                next: "done".to_owned(),
                remaining_s: 0.0,
            },
        }
    }

    /// VUs that are asked for, where VUs are raised.
    fn vus(&self, level: u32) -> u32 {
        if self.config.raised == Raised::Vus { level } else { 0 }
    }

    fn rate(&self, level: u32) -> Option<u32> {
        (self.config.raised == Raised::Rate).then_some(level)
    }

    fn drain_progress(&self, drain: &Drain) -> Progress {
        Progress {
            phase: Phase::Probe,
            vus: 0,
            rate: Some(0),
            stage_s: f64::from(drain.seconds),
            requests_per_second: None,
            plus_minus: None,
            next: format!("waiting for what is under way, then {}", self.config.load(drain.next)),
            remaining_s: self.stages_left_s(drain.next),
        }
    }

    fn stage_progress(&self, stage: &Stage) -> Progress {
        let rate = stage.rate(&self.config).map(|(rate, _)| rate);
        let is_probe = stage.purpose == Purpose::Probe;
        let next = if let Method::Objectives { .. } = self.config.method {
            format!("looking whether {} keep the objectives", self.config.load(stage.vus))
        } else if is_probe {
            format!("holding {} VUs, the estimate of saturation, to confirm it", stage.vus)
        } else if self.sweep.flat > 0 {
            format!("{} of 2 doublings without gain; another one ends the sweep", self.sweep.flat.min(2))
        } else {
            let next = stage.vus.saturating_mul(2).min(self.config.max_vus);
            format!("throughput grows; next {next} VUs")
        };
        let full = if stage.purpose == Purpose::First { self.config.short_s } else { self.config.normal_s };
        let stage_left = (f64::from(full) - stage.seconds() as f64).max(2.0);
        Progress {
            phase: if is_probe { Phase::Probe } else { Phase::Sweep },
            vus: self.vus(stage.vus),
            rate: self.rate(stage.vus),
            stage_s: stage.seconds() as f64,
            requests_per_second: rate.map(|r| r.per_s),
            plus_minus: rate.map(|r| 1.96 * r.se),
            next,
            remaining_s: stage_left + self.stages_left_s(stage.vus.saturating_mul(2)),
        }
    }

    /// Doublings to go (to 64 VUs at least, and two flat ones) and about two and a half probes.
    fn stages_left_s(&self, next_vus: u32) -> f64 {
        let config = &self.config;
        let probe_s = 0.5 * f64::from(config.normal_s + config.long_s);
        let deadline_s = f64::from(config.deadline_s.saturating_sub(self.clock.0));
        if let Method::Objectives { .. } = config.method {
            return (probe_s * self.rungs_left()).min(deadline_s);
        }
        let probes = (2.5 - f64::from(self.sweep.probes)).max(0.0) * probe_s;
        if self.sweep.end.is_some() {
            return probes;
        }
        let goal = config.min_stop_vus.saturating_mul(2).min(config.max_vus);
        let growing = (f64::from(goal) / f64::from(next_vus.max(1))).log2().max(0.0);
        let flat = f64::from(2_u32.saturating_sub(self.sweep.flat));
        let left = growing * 1.5 * f64::from(config.short_s) + flat * f64::from(config.normal_s) + probes;
        left.min(deadline_s)
    }
}
