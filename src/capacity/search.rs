//! The saturation search "sweep – fit – probe": finds N_sat, the fewest VUs with 98 % of the plateau's throughput.
//!
//! A state machine over one-second bins: it is told what happened in each second and answers with the VUs to set.
//!
//! 1. Warm-up at a few VUs until throughput no longer rises.
//! 2. Sweep: the VUs double (at first quadruple) from 1, with stages that end as early as they can, until two doublings in a row gain
//!    nothing, throughput drops, errors begin, the generator is the limit or `max_vus` is reached.
//! 3. Fit of the knee model, then probes: further stages at the estimate, until it stays where it is.
//!
//! Where this differs from the published rule (each for a case that the rule did not have):
//! kappa starts without a unit, so that slow systems are fitted like fast ones; a count of n requests is at least
//! uncertain by one request at its ends, which keeps stages with few answers from looking exact; settling takes
//! three mean latencies and the stage's length grows with it; fewer than three failures in five seconds are an
//! accident; a last step to `max_vus` of less than ×1.5 is no doubling and cannot count as flat. And kappa has to earn
//! its place (see [`super::knee::estimate`]).
//!
//! A sweep quadruples while throughput grows in proportion to few VUs. How good it is, and on which systems it is not, is
//! measured by `cargo bench --bench search` and written down in `benches/STATISTICS.md`.

mod config;
mod ladder;
mod objective;
mod outcome;
mod policy;
mod stage;
#[cfg(test)]
mod tests;
mod text;
mod warmup;

use serde::{Deserialize, Serialize};

pub use config::{Raised, SearchConfig};
pub use ladder::{Kept, Method};
pub use objective::{NoObjective, Objective};
use policy::{Measured, Sweep};
use stage::{Purpose, Stage};
use warmup::{Warm, WarmUp};

use super::knee::Knee;
use crate::histogram::Latency;

/// One second of the run, all workers merged.
#[derive(Debug, Clone, PartialEq)]
pub struct Bin {
    /// End of the bin, seconds since the run began.
    pub t_s: f64,
    /// Fetching VUs that were active at its end.
    pub vus: u32,
    /// Requests that completed in it.
    pub completed: u64,
    /// Requests that failed in it.
    pub failed: u64,
    /// Latency of the completed requests.
    pub latency: Latency,
    /// Whether what was measured is the server's doing.
    pub generator: GeneratorState,
    /// Of the open model, where the latency counts from when a request was due.
    pub open: Option<OpenBin>,
}

/// What a second of the open model has besides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpenBin {
    /// Requests that were due in it.
    pub due: u64,
    /// Those of them that no VU was free for, because the server held all.
    pub dropped: u64,
    /// Requests that were under way at its end.
    pub under_way: u64,
}

/// Whether the load generator itself kept up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GeneratorState {
    /// It did.
    Healthy,
    /// It was the limit; what was measured is its own.
    Limited {
        /// A short phrase for people: "CPU 91 %".
        reason: String,
    },
}

/// What to do until the next bin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// Keep the VUs.
    Hold,
    /// Have this many fetching VUs from now on; new ones spread over a second.
    SetVus(u32),
    /// Let so many requests per second begin from now on; 0 is none.
    SetRate(u32),
    /// Stop: the result stands.
    Finished,
}

/// How a stage counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepKind {
    /// The first stage, short.
    First,
    /// Ended early, because throughput still grows much.
    Grow,
    /// Measured in full.
    Full,
    /// Ended by errors or by the generator's limit: not used.
    Unusable,
}

/// One finished stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// VUs held; of the open model the most that were busy at the end of a second.
    pub vus: u32,
    /// Requests per second that were due, of the open model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
    /// Throughput after the cut.
    pub requests_per_second: f64,
    /// Its standard error; ±1.96 times it is a 95 % interval.
    pub standard_error: f64,
    /// Change against the best stage before, as a share; `None` for the first and for unusable ones.
    pub change_vs_best: Option<f64>,
    /// Mean latency of completed requests after the cut, ms.
    pub mean_ms: Option<f64>,
    /// Median latency, ms.
    pub p50_ms: Option<f64>,
    /// 95th percentile, ms.
    pub p95_ms: Option<f64>,
    /// 99th percentile, ms.
    pub p99_ms: Option<f64>,
    /// Failed share of the requests after the cut.
    pub error_rate: f64,
    /// How long it lasted.
    pub seconds: f64,
    /// How much of its beginning was left out.
    pub cut_s: f64,
    /// How it counts.
    pub kind: StepKind,
    /// What followed from it, for people: "+98 %, growing".
    pub decision: String,
}

impl Step {
    /// What was raised from step to step: VUs, or of the open model requests per second.
    #[must_use]
    pub fn level(&self) -> u32 {
        self.rate.unwrap_or(self.vus)
    }
}

/// What the search has come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Throughput was seen to level off.
    Saturated,
    /// It still grew at the largest number of VUs that could be used; `vus` is the best seen.
    NotSaturated,
    /// The generator was the limit before the server; `vus`, or `rate`, is the largest that was clean, and kept the
    /// objectives where there are any.
    GeneratorLimited,
    /// `vus`, or `rate`, is the most that keeps the objectives; `kept` says more.
    ObjectivesKept,
    /// Of a staircase: `vus` is the stage with the greatest throughput.
    HighestStage,
    /// Ended without an answer.
    Aborted {
        /// Why, for people.
        reason: String,
    },
}

/// The search's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchResult {
    /// How it ended; says what `vus` means.
    pub outcome: Outcome,
    /// VUs to load the server with: N_sat rounded up, never beyond the largest number tested.
    pub vus: Option<u32>,
    /// In its place of the open model: requests per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
    /// N_sat as estimated, not rounded.
    pub saturation_vus: Option<f64>,
    /// 90 % interval of N_sat.
    pub vus_ci: Option<(u32, u32)>,
    /// N* = X_max · R0, where the asymptotes meet; not a load to test with.
    pub knee_vus: Option<f64>,
    /// Throughput of the plateau.
    pub requests_per_second: Option<f64>,
    /// Its 90 % interval.
    pub requests_per_second_ci: Option<(f64, f64)>,
    /// What to expect at `vus`.
    pub at_vus: Option<Prediction>,
    /// The fitted curve.
    pub knee: Option<Knee>,
    /// The curve does not describe the stages, and the figures come from isotonic regression.
    pub misfit: bool,
    /// What a search for objectives found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
    /// The smallest and the largest number of VUs that was measured.
    pub tested_vus: Option<(u32, u32)>,
    /// Length of the warm-up in it.
    pub warm_up_s: f64,
    /// Length of the search.
    pub elapsed_s: f64,
    /// What a reader should know, in sentences.
    pub notes: Vec<String>,
}

/// Throughput and latency at a number of VUs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prediction {
    /// Requests per second.
    pub requests_per_second: f64,
    /// Mean latency in ms, N/X: what a VU that does nothing else sees.
    pub mean_ms: f64,
}

/// What the search is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// A few VUs until the server is warm.
    WarmUp,
    /// Doubling the VUs.
    Sweep,
    /// Stages at the estimate.
    Probe,
    /// Done.
    Finished,
}

/// Where the search stands, for a live view.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// What it is doing.
    pub phase: Phase,
    /// VUs it asked for; none of the open model.
    pub vus: u32,
    /// Requests per second it asked for, of the open model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
    /// Seconds into the warm-up or stage.
    pub stage_s: f64,
    /// Throughput of this stage so far, requests per second.
    pub requests_per_second: Option<f64>,
    /// Half-width of its 95 % interval.
    pub plus_minus: Option<f64>,
    /// What comes next and why, a short sentence.
    pub next: String,
    /// Rough estimate of the time left, seconds.
    pub remaining_s: f64,
}

impl Progress {
    /// The load that it asked for, for people: "40 VUs", or of the open model "120 per second".
    #[must_use]
    pub fn load(&self) -> String {
        self.rate.map_or_else(|| format!("{} VUs", self.vus), |rate| format!("{rate} per second"))
    }
}

/// A search that is fed with bins.
#[derive(Debug, Clone)]
pub struct Search {
    config: SearchConfig,
    seed: u64,
    state: State,
    sweep: Sweep,
    measured: Vec<Measured>,
    /// Stages by whether they kept the objectives.
    rungs: Vec<ladder::Rung>,
    steps: Vec<Step>,
    outcome: Option<Outcome>,
    notes: Vec<String>,
    warm_up_s: f64,
    /// Number of bins and the end of the last.
    clock: (u32, f64),
}

#[derive(Debug, Clone)]
enum State {
    WarmUp(WarmUp),
    // Boxed, because it is an order of magnitude larger than the others.
    Stage(Box<Stage>),
    Drain(Drain),
    Finished,
}

/// A pause after a rate that was too much: what is left of it would be answered in the next stage.
#[derive(Debug, Clone, Copy)]
struct Drain {
    seconds: u32,
    /// Seconds since something was completed.
    silent: u32,
    /// The stage that follows.
    next: u32,
    /// That before, and its mean latency.
    before: (u32, Option<f64>),
}

/// Nothing is waited for that nothing was completed of for so long.
const DRAIN_SILENT_S: u32 = 30;

impl Search {
    /// A search that has not begun. The seed is for the interval's resampling.
    #[must_use]
    pub fn new(config: SearchConfig, seed: u64) -> Self {
        Self {
            config: config.sane(),
            seed,
            state: State::WarmUp(WarmUp::default()),
            sweep: Sweep::default(),
            measured: Vec::new(),
            rungs: Vec::new(),
            steps: Vec::new(),
            outcome: None,
            notes: Vec::new(),
            warm_up_s: 0.0,
            clock: (0, 0.0),
        }
    }

    /// VUs to start with, or of the open model requests per second.
    #[must_use]
    pub fn begin(&mut self) -> u32 {
        self.config.warm_up_vus
    }

    /// Takes the bins in order, one a second, and says what to do.
    pub fn observe(&mut self, bin: &Bin) -> Move {
        let seconds = self.tick(bin.t_s);
        let next = match std::mem::replace(&mut self.state, State::Finished) {
            State::WarmUp(warm_up) => self.observe_warm_up(warm_up, bin),
            State::Stage(stage) => self.observe_stage(stage, bin, seconds),
            State::Drain(drain) => self.observe_drain(drain, bin),
            State::Finished => Move::Finished,
        };
        if next != Move::Finished && self.clock.0 >= self.config.deadline_s {
            return self.stop_at_deadline();
        }
        next
    }

    /// Length of the bin. A time that cannot be a second's end is taken for one.
    fn tick(&mut self, t_s: f64) -> f64 {
        let seconds = t_s - self.clock.1;
        self.clock = (self.clock.0.saturating_add(1), t_s);
        if (0.2..=5.0).contains(&seconds) { seconds } else { 1.0 }
    }

    fn observe_warm_up(&mut self, mut warm_up: WarmUp, bin: &Bin) -> Move {
        let warm = warm_up.observe(bin, &self.config);
        self.warm_up_s = warm_up.seconds() as f64;
        match warm {
            Warm::NotYet => {
                self.state = State::WarmUp(warm_up);
                Move::Hold
            }
            Warm::Done => {
                let before = (self.config.warm_up_vus, warm_up.mean_latency_s());
                if self.config.raised == Raised::Rate {
                    return self.drain(self.config.first_vus, before);
                }
                let purpose = if self.config.method == Method::Sweep { Purpose::First } else { Purpose::Probe };
                self.hold(self.config.first_vus, purpose, before)
            }
            Warm::Failed(reason) => self.finish(Outcome::Aborted { reason }),
        }
    }

    fn observe_stage(&mut self, mut stage: Box<Stage>, bin: &Bin, seconds: f64) -> Move {
        let best = self.sweep.best.map(|(_, rate)| rate);
        let Some(ending) = stage.observe(bin, seconds, best, &self.config) else {
            self.state = State::Stage(stage);
            return Move::Hold;
        };
        self.end_stage(&stage, ending)
    }

    fn hold(&mut self, vus: u32, purpose: Purpose, before: (u32, Option<f64>)) -> Move {
        self.state = State::Stage(Box::new(Stage::new(vus, purpose, before)));
        match self.config.raised {
            Raised::Vus => Move::SetVus(vus),
            Raised::Rate => Move::SetRate(vus),
        }
    }

    /// Lets nothing begin until all is answered; then the next stage.
    fn drain(&mut self, next: u32, before: (u32, Option<f64>)) -> Move {
        self.state = State::Drain(Drain { seconds: 0, silent: 0, next, before });
        Move::SetRate(0)
    }

    fn observe_drain(&mut self, drain: Drain, bin: &Bin) -> Move {
        let silent = if bin.completed + bin.failed > 0 { 0 } else { drain.silent + 1 };
        if silent >= DRAIN_SILENT_S || bin.open.is_none_or(|open| open.under_way == 0) {
            return self.hold(drain.next, Purpose::Probe, drain.before);
        }
        self.state = State::Drain(Drain { seconds: drain.seconds + 1, silent, ..drain });
        Move::Hold
    }

    fn finish(&mut self, outcome: Outcome) -> Move {
        self.state = State::Finished;
        self.outcome = Some(outcome);
        Move::Finished
    }

    fn stop_at_deadline(&mut self) -> Move {
        self.notes.push(format!("Stopped at the deadline of {} s.", self.config.deadline_s));
        if matches!(self.config.method, Method::Staircase { .. }) && !self.measured.is_empty() {
            return self.end_of_stairs();
        }
        let outcome = if self.kept().is_some() { Outcome::ObjectivesKept } else { self.verdict() };
        self.finish(outcome)
    }

    /// One per finished stage, in order.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }
}
