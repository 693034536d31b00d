//! What a search is allowed to do, and how long it looks.

use serde::{Deserialize, Serialize};

use super::ladder::Method;
use super::objective::Objective;

/// What a search raises. Where it is requests per second, every number of VUs in [`SearchConfig`] is one of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Raised {
    /// Fetching VUs: the closed model.
    #[default]
    Vus,
    /// Requests per second, at random times: the open model.
    Rate,
}

/// Parameters of a search. Times in seconds; one bin is one second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchConfig {
    /// Saturation is (1 − eps) of the plateau's throughput.
    pub eps: f64,
    /// Never more VUs than this.
    pub max_vus: u32,
    /// VUs of the first stage.
    pub first_vus: u32,
    /// Two flat stages end the sweep only from this many VUs on: Connect starts more processes only when there
    /// are many connections per process, which makes false plateaus at few VUs.
    pub min_stop_vus: u32,
    /// T1: a stage clearly below the knee ends after this.
    pub short_s: u32,
    /// T2: a stage near the knee lasts at least this; should cover one publish.
    pub normal_s: u32,
    /// T3: and at most this.
    pub long_s: u32,
    /// Least part of a stage that is not measured; three mean latencies where that is more.
    pub settle_s: u32,
    /// How many stages at the estimate, at most.
    pub probes: u32,
    /// Probing ends when two estimates in a row differ by less, as a share.
    pub tolerance: f64,
    /// Throughput that falls by this share below the best ends the sweep.
    pub drop: f64,
    /// A stage with a greater share of failures within five seconds is not usable.
    pub max_error_share: f64,
    /// VUs of the warm-up.
    pub warm_up_vus: u32,
    /// The warm-up lasts at least this …
    pub warm_up_min_s: u32,
    /// … and at most this.
    pub warm_up_max_s: u32,
    /// The search ends after this many seconds, whatever it knows by then.
    pub deadline_s: u32,
    /// How the VUs are raised.
    #[serde(default)]
    pub method: Method,
    /// What is raised.
    #[serde(default)]
    pub raised: Raised,
}

/// Requests per second that a search of the open model begins with.
const FIRST_RATE: u32 = 10;

impl SearchConfig {
    /// The default: stages of 10 to 60 s, about 7 minutes.
    #[must_use]
    pub fn standard() -> Self {
        Self {
            eps: 0.02,
            max_vus: 2048,
            first_vus: 1,
            min_stop_vus: 32,
            short_s: 10,
            normal_s: 30,
            long_s: 60,
            settle_s: 3,
            probes: 4,
            tolerance: 0.07,
            drop: 0.15,
            max_error_share: 0.01,
            warm_up_vus: 16,
            warm_up_min_s: 60,
            warm_up_max_s: 180,
            deadline_s: 1200,
            method: Method::Sweep,
            raised: Raised::Vus,
        }
    }

    /// Shorter stages near the knee: about 5½ minutes, with more spread.
    #[must_use]
    pub fn quick() -> Self {
        Self { normal_s: 20, long_s: 40, ..Self::standard() }
    }

    /// With stages near the knee that cover a publish of `seconds`, so that none is measured without one.
    #[must_use]
    pub fn covering_publish(self, seconds: f64) -> Self {
        // A publish longer than five minutes would leave no time for the search.
        let seconds = seconds.clamp(0.0, 300.0).ceil() as u32;
        let normal_s = self.normal_s.max(seconds);
        Self { normal_s, long_s: self.long_s.max(normal_s), ..self }
    }

    /// The classical staircase: `step` VUs more every `stage_s` seconds, to the most VUs allowed. Stages are looked at every
    /// five seconds, and end at the next such time.
    #[must_use]
    pub fn staircase(self, step: u32, stage_s: u32) -> Self {
        let stairs = self.max_vus / step.max(1) + 1;
        let deadline_s = self.deadline_s.max(self.warm_up_max_s.saturating_add(stairs.saturating_mul(2 * stage_s)));
        let (first_vus, method) = (step, Method::Staircase { step: step.max(1) });
        Self { first_vus, short_s: stage_s, normal_s: stage_s, long_s: stage_s, deadline_s, method, ..self }
    }

    /// The most VUs that keep `all` objectives.
    #[must_use]
    pub fn keeping(self, all: Vec<Objective>) -> Self {
        Self { method: Method::Objectives { all }, ..self }
    }

    /// The same in the open model, up to so many requests per second.
    #[must_use]
    pub fn open(self, max_rate: u32) -> Self {
        let first = FIRST_RATE.min(max_rate);
        Self { raised: Raised::Rate, max_vus: max_rate, first_vus: first, warm_up_vus: first, ..self }
    }

    /// So much load, for people.
    pub(super) fn load(&self, level: u32) -> String {
        match self.raised {
            Raised::Vus => format!("{level} VUs"),
            Raised::Rate => format!("{level} requests per second"),
        }
    }

    /// The same with every figure in its possible range, so that the search need not ask again.
    #[must_use]
    pub(super) fn sane(self) -> Self {
        let max_vus = self.max_vus.max(1);
        let normal_s = self.normal_s.max(self.short_s);
        Self {
            eps: if self.eps.is_finite() { self.eps.clamp(1e-4, 0.5) } else { 0.02 },
            max_vus,
            first_vus: self.first_vus.clamp(1, max_vus),
            warm_up_vus: self.warm_up_vus.clamp(1, max_vus),
            normal_s,
            long_s: self.long_s.max(normal_s),
            deadline_s: self.deadline_s.max(1),
            ..self
        }
    }
}
