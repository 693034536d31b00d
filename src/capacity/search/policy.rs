//! What follows from a finished stage: the next one, or the end.

use super::stage::{Ending, Purpose, Rate, Stage};
use super::text::{change, percent};
use super::{Method, Move, Outcome, Search, StepKind};
use crate::capacity::knee::estimate::{Estimate, Point, estimate};

/// A stage that counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Measured {
    pub(super) vus: u32,
    pub(super) rate: Rate,
    pub(super) kind: StepKind,
}

/// Why the VUs were not doubled any further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SweepEnd {
    Plateau,
    Dropped,
    MaxVus,
    Errors,
    Generator(String),
}

/// What the sweep and the probes remember.
#[derive(Debug, Clone, Default)]
pub(super) struct Sweep {
    /// The stage with the greatest throughput.
    pub(super) best: Option<(u32, Rate)>,
    /// Doublings in a row that gained nothing.
    pub(super) flat: u32,
    pub(super) end: Option<SweepEnd>,
    /// From here on stages are not used: throughput dropped, errors began or the generator was the limit.
    pub(super) unusable_from: Option<u32>,
    pub(super) probes: u32,
    /// Probes that were of no use.
    failed_probes: u32,
    /// N_sat as estimated before the latest probe.
    probed: Option<f64>,
    /// A stage between the best and the first unusable one was run.
    looked_between: bool,
    /// The VUs of the stage that the generator spoilt last, how often in a row, and how many stages it spoilt in all.
    spoilt: (u32, u32, u32),
}

/// How often a stage is measured again that the generator spoilt: another program may have taken the CPU for a moment,
/// while a generator that is really too small is so every time.
const AGAIN: u32 = 2;
/// How many stages of a search are measured again at most.
const AGAIN_IN_ALL: u32 = 8;

/// From as many VUs on they are doubled and not quadrupled.
const MOST_QUADRUPLED: u32 = 4;
/// Throughput of a VU, as a share of that of the fastest before, that is no sign of a knee.
const IN_PROPORTION: f64 = 0.9;

/// A step up that is a doubling: less says nothing about flatness.
const DOUBLING: f64 = 1.5;

impl Search {
    pub(super) fn end_stage(&mut self, stage: &Stage, ending: Ending) -> Move {
        match ending {
            Ending::Measured(kind) => self.measured(stage, kind),
            Ending::Errors(storm) => match self.config.method.clone() {
                Method::Objectives { all } => self.next_rung(stage, &all, Some(storm.text())),
                _ => self.unusable(stage, &storm.text(), SweepEnd::Errors),
            },
            Ending::Generator(why) if self.may_repeat(stage.vus) => {
                let decision = format!("the generator was the limit ({why}): measured again");
                self.steps.push(stage.step(StepKind::Unusable, None, decision, &self.config));
                self.hold(stage.vus, stage.purpose, (stage.vus, stage.mean_latency_s()))
            }
            Ending::Generator(why) => {
                self.unusable(stage, &format!("the generator was the limit ({why})"), SweepEnd::Generator(why))
            }
            Ending::Silent(seconds) => {
                let reason = format!("no request completed for {seconds} s at {}", self.config.load(stage.vus));
                self.steps.push(stage.step(StepKind::Unusable, None, reason.clone(), &self.config));
                self.finish(Outcome::Aborted { reason })
            }
        }
    }

    fn may_repeat(&mut self, vus: u32) -> bool {
        let (last, in_a_row, in_all) = self.sweep.spoilt;
        let in_a_row = if last == vus { in_a_row + 1 } else { 1 };
        self.sweep.spoilt = (vus, in_a_row, in_all + 1);
        in_a_row <= AGAIN && in_all < AGAIN_IN_ALL
    }

    fn measured(&mut self, stage: &Stage, kind: StepKind) -> Move {
        let Some((rate, _)) = stage.rate(&self.config) else {
            return self.finish(Outcome::Aborted { reason: "a stage without a second".to_owned() });
        };
        let best = self.sweep.best;
        let previous = self.measured.last().map_or(0, |m| m.vus);
        let gain = best.map(|(_, best)| rate.gain_over(best));
        self.measured.push(Measured { vus: stage.vus, rate, kind });
        if best.is_none_or(|(_, best)| rate.per_s > best.per_s) {
            self.sweep.best = Some((stage.vus, rate));
        }
        let change = gain.map(|g| g.0);
        match self.config.method.clone() {
            Method::Sweep => {}
            Method::Staircase { step } => return self.next_stair(stage, step, change),
            Method::Objectives { all } => return self.next_rung(stage, &all, None),
        }
        if stage.purpose == Purpose::Probe {
            self.note_drop(stage.vus, change);
            let next = self.refine(stage);
            let decision = self.after_probe(change);
            self.steps.push(stage.step(kind, change, decision, &self.config));
            return next;
        }
        let is_doubling = f64::from(stage.vus) >= DOUBLING * f64::from(previous);
        let decision = self.judge_growth(stage.vus, gain, is_doubling);
        self.steps.push(stage.step(kind, change, decision, &self.config));
        if self.sweep.end.is_some() {
            return self.refine(stage);
        }
        let next = stage.vus.saturating_mul(self.factor(stage.vus)).min(self.config.max_vus);
        self.hold(next, Purpose::Sweep, (stage.vus, stage.mean_latency_s()))
    }

    /// How many times as many VUs come next: four while throughput has grown in proportion to few VUs, where a stage tells
    /// nothing that the one before has not told.
    fn factor(&self, vus: u32) -> u32 {
        let each = |m: &Measured| m.rate.per_s / f64::from(m.vus);
        let most = self.measured.iter().map(each).fold(0.0, f64::max);
        let in_proportion = self.measured.last().is_some_and(|last| each(last) >= IN_PROPORTION * most);
        if in_proportion && vus <= MOST_QUADRUPLED { 4 } else { 2 }
    }

    /// Sets `flat` and `end`; says so.
    fn judge_growth(&mut self, vus: u32, gain: Option<(f64, f64)>, is_doubling: bool) -> String {
        let (config, sweep) = (&self.config, &mut self.sweep);
        let mut text = "first stage".to_owned();
        if let Some((gain, se)) = gain {
            if gain < -config.drop {
                sweep.end = Some(SweepEnd::Dropped);
                sweep.unusable_from = Some(vus);
                return format!("dropped {}", percent(gain));
            }
            if gain > config.eps.max(se) {
                sweep.flat = 0;
                text = format!("{}, growing", change(gain));
            } else if is_doubling {
                sweep.flat += 1;
                text = format!("{}, flat {} of 2", change(gain), sweep.flat.min(2));
            } else {
                text = format!("{}, too small a step to tell", change(gain));
            }
        }
        if sweep.flat >= 2 && vus >= config.min_stop_vus {
            sweep.end = Some(SweepEnd::Plateau);
        } else if vus >= config.max_vus {
            sweep.end = Some(SweepEnd::MaxVus);
            text.push_str(", at max VUs");
        }
        text
    }

    /// A probe between the best stage and a drop may lie in the drop as well.
    fn note_drop(&mut self, vus: u32, change: Option<f64>) {
        let above_best = self.sweep.best.is_some_and(|(best, _)| vus > best);
        if above_best && change.is_some_and(|c| c < -self.config.drop) {
            self.sweep.unusable_from = Some(self.sweep.unusable_from.map_or(vus, |u| u.min(vus)));
        }
    }

    fn after_probe(&self, change_vs_best: Option<f64>) -> String {
        let vs_best = change_vs_best.map_or(String::new(), |c| format!("{} against the best, ", change(c)));
        match self.estimate() {
            Some(now) => format!("probe: {vs_best}saturation now at {:.0} VUs", now.vus),
            None => format!("probe: {vs_best}no estimate yet"),
        }
    }

    /// A stage that errors or the generator made useless.
    fn unusable(&mut self, stage: &Stage, why: &str, end: SweepEnd) -> Move {
        self.steps.push(stage.step(StepKind::Unusable, None, format!("{why}: not usable"), &self.config));
        let above_all = self.measured.iter().all(|m| m.vus < stage.vus);
        self.notes.push(format!("Stage at {} not used: {why}.", self.config.load(stage.vus)));
        if self.config.method != Method::Sweep {
            // There is no curve to go on with. That the generator was the limit is not the server's doing.
            let outcome = match end {
                SweepEnd::Generator(_) if self.kept().is_some_and(|kept| kept.broken.is_some()) => {
                    Outcome::ObjectivesKept
                }
                SweepEnd::Generator(_) => Outcome::GeneratorLimited,
                _ => self.verdict(),
            };
            return self.finish(outcome);
        }
        if stage.purpose == Purpose::Probe && !above_all {
            // More VUs were clean before: an accident, unless it happens again.
            self.sweep.failed_probes += 1;
            if self.sweep.failed_probes >= 2 {
                let outcome = self.verdict();
                return self.finish(outcome);
            }
            return self.refine(stage);
        }
        self.sweep.unusable_from = Some(self.sweep.unusable_from.map_or(stage.vus, |u| u.min(stage.vus)));
        if stage.purpose == Purpose::Probe {
            return self.refine(stage);
        }
        if end == SweepEnd::Errors && self.measured.len() < 3 {
            return self.finish(Outcome::Aborted { reason: format!("{why} at {} VUs", stage.vus) });
        }
        self.sweep.end = Some(end);
        self.refine(stage)
    }

    /// The next probe, or the end.
    fn refine(&mut self, stage: &Stage) -> Move {
        let before = (stage.vus, stage.mean_latency_s());
        if let Some(between) = self.vus_between() {
            self.sweep.looked_between = true;
            return self.hold(between, Purpose::Probe, before);
        }
        let settled = |now: f64| {
            let moved = self.sweep.probed.map_or(f64::INFINITY, |old| (now / old).ln().abs());
            self.sweep.probes >= 2 && moved < self.config.tolerance
        };
        match self.estimate() {
            Some(now) if self.is_conclusive(&now) && self.sweep.probes < self.config.probes && !settled(now.vus) => {
                self.sweep.probes += 1;
                self.sweep.probed = Some(now.vus);
                self.hold(now.vus.round().max(1.0) as u32, Purpose::Probe, before)
            }
            _ => {
                let outcome = self.verdict();
                self.finish(outcome)
            }
        }
    }

    /// After a drop or errors, once: the geometric mean of the best stage and the first unusable one.
    fn vus_between(&self) -> Option<u32> {
        let is_edge = matches!(self.sweep.end, Some(SweepEnd::Dropped | SweepEnd::Errors));
        let (best, unusable) = (self.sweep.best?.0, self.sweep.unusable_from?);
        let between = (f64::from(best) * f64::from(unusable)).sqrt().round() as u32;
        let is_new = between < unusable && self.measured.iter().all(|m| m.vus != between);
        (is_edge && !self.sweep.looked_between && is_new && between > best).then_some(between)
    }

    /// Usable stages, pooled per number of VUs by inverse variance. A curve is never exact: 1 % of model error is
    /// added to full stages and 4 % to short ones.
    pub(super) fn points(&self) -> Vec<Point> {
        let limit = self.sweep.unusable_from.unwrap_or(u32::MAX);
        let mut usable: Vec<&Measured> = self.measured.iter().filter(|m| m.vus < limit).collect();
        usable.sort_by_key(|m| m.vus);
        usable.chunk_by(|a, b| a.vus == b.vus).map(pool).collect()
    }

    pub(super) fn estimate(&self) -> Option<Estimate> {
        estimate(&self.points(), self.config.eps)
    }

    /// Whether the sweep showed that throughput levels off, by itself or by a curve that has turned well before
    /// the largest stage.
    pub(super) fn is_conclusive(&self, estimate: &Estimate) -> bool {
        if matches!(self.sweep.end, Some(SweepEnd::Plateau | SweepEnd::Dropped)) || self.sweep.flat >= 1 {
            return self.sweep.end.is_some();
        }
        let largest = self.points().last().map_or(1.0, |p| p.vus);
        let turned =
            |knee: crate::capacity::knee::Knee| knee.saturation_vus(self.config.eps, 100.0 * largest) <= 0.9 * largest;
        self.sweep.end.is_some() && !estimate.misfit && estimate.knee.is_some_and(turned)
    }
}

fn pool(stages: &[&Measured]) -> Point {
    let weight = |m: &Measured| 1.0 / (m.rate.se * m.rate.se + (1e-3 * m.rate.per_s).powi(2)).max(1e-12);
    let total: f64 = stages.iter().map(|m| weight(m)).sum();
    let per_s = stages.iter().map(|m| weight(m) * m.rate.per_s).sum::<f64>() / total;
    let share = if stages.iter().any(|m| m.kind == StepKind::Full) { 0.01 } else { 0.04 };
    let vus = stages.first().map_or(1.0, |m| f64::from(m.vus));
    Point { vus, per_s, sigma: (1.0 / total).sqrt().hypot(share * per_s) }
}
