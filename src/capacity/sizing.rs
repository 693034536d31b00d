//! What to buy: users, nodes and sizes from the curve of a ramp.
//!
//! Pure. Every number is marked with what it rests on: measured, between measurements, beyond them, or assumed.

pub mod answer;
pub mod cost;
pub mod demand;
pub mod measured;
pub mod nodes;
pub mod usage;
pub mod validation;

use serde::{Deserialize, Serialize};

use super::flow::{Curve, Flow, closed, open};
use super::latency::Latencies;
use crate::histogram::Latency;

/// Share of the model's users that is published as a plan. The model is optimistic by up to 13 % where a server pauses,
/// publishes or has a heavy tail (benches/STATISTICS.md).
pub const PLANNING: f64 = 0.85;
/// Beyond this share of the greatest throughput a percentile cannot be forecast: it depends on what pauses do.
pub const FORECASTABLE: f64 = 0.85;

/// What a figure rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// It was measured.
    Measured,
    /// It follows from what was measured around it.
    Interpolated,
    /// It lies beyond what was measured.
    Extrapolated,
    /// Nothing measured speaks for it.
    Assumed,
}

impl Basis {
    /// The word for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Basis::Measured => "measured",
            Basis::Interpolated => "interpolated",
            Basis::Extrapolated => "extrapolated",
            Basis::Assumed => "assumed",
        }
    }
}

/// How users behave.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Behaviour {
    /// Mean time between a response and the user's next action, seconds.
    pub think_s: f64,
    /// Requests that an action makes, one after the other; greater than 0.
    pub requests_per_action: f64,
}

impl Behaviour {
    /// Think time that falls on one request.
    #[must_use]
    pub fn think_per_request_s(&self) -> f64 {
        self.think_s / self.requests_per_action
    }
}

/// Which latency is to stay below which limit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The share of requests; `None` for the mean.
    pub quantile: Option<f64>,
    /// The limit, ms.
    pub limit_ms: f64,
}

impl Target {
    /// Its latency in a histogram, ms.
    #[must_use]
    pub fn of(self, latency: &Latency) -> Option<f64> {
        self.quantile.map_or_else(|| latency.mean_ms(), |q| latency.quantile_ms(q))
    }
}

/// A server as it was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Throughput over requests in it.
    pub curve: Curve,
    /// Latency over requests in it.
    pub latencies: Latencies,
}

/// The most users of a target.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Users {
    /// The target.
    pub target: Target,
    /// By the model; 0 where even one user gets more than the limit.
    pub model: u32,
    /// [`PLANNING`] of it: the number to plan with.
    pub plan: u32,
    /// Requests per second of the plan's users.
    pub requests_per_second: f64,
    /// Share of the greatest throughput that the model's users need.
    pub utilisation: f64,
    /// The limit is met only beyond [`FORECASTABLE`]: to be validated with a run.
    pub uncertain: bool,
}

/// What users of a number get.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forecast {
    /// Users at once.
    pub users: u32,
    /// Requests per second.
    pub requests_per_second: f64,
    /// Share of the greatest throughput.
    pub utilisation: f64,
    /// Mean latency, ms.
    pub mean_ms: f64,
    /// Median, ms.
    pub p50_ms: Option<f64>,
    /// 95th percentile, ms.
    pub p95_ms: Option<f64>,
    /// 99th percentile, ms.
    pub p99_ms: Option<f64>,
    /// Beyond [`FORECASTABLE`]: the percentiles are to be validated with a run.
    pub uncertain: bool,
}

/// Most users that are considered.
const MOST_USERS: u32 = 2_000_000;

impl Server {
    /// `times` such servers behind an even load balancer.
    #[must_use]
    pub fn scaled(&self, times: f64) -> Server {
        Server { curve: self.curve.scaled(times), latencies: self.latencies.scaled(times) }
    }

    /// What `users` at once get. `None` without users.
    #[must_use]
    pub fn forecast(&self, users: u32, behaviour: Behaviour) -> Option<Forecast> {
        let think_s = behaviour.think_per_request_s();
        let flow = closed(&self.curve, users, think_s)?;
        let found = self.found(users, think_s);
        let utilisation = flow.per_s / self.curve.most();
        Some(Forecast {
            users,
            requests_per_second: flow.per_s,
            utilisation,
            mean_ms: flow.response_s * 1000.0,
            p50_ms: self.latencies.quantile_ms(&found, 0.5),
            p95_ms: self.latencies.quantile_ms(&found, 0.95),
            p99_ms: self.latencies.quantile_ms(&found, 0.99),
            uncertain: utilisation > FORECASTABLE,
        })
    }

    /// The latency of a target where requests come at a rate whatever becomes of them (Poisson: they find what there is
    /// on average), ms. `None` where the server cannot keep up.
    #[must_use]
    pub fn expected_ms(&self, target: Target, per_s: f64) -> Option<f64> {
        let flow = open(&self.curve, per_s)?;
        match target.quantile {
            None => Some(flow.response_s * 1000.0),
            Some(q) => self.latencies.quantile_ms(&flow.probability, q),
        }
    }

    /// Probability of finding 0, 1, … others: what one user less leaves in the server (arrival theorem).
    fn found(&self, users: u32, think_s: f64) -> Vec<f64> {
        closed(&self.curve, users - 1, think_s).map_or_else(|| vec![1.0], |flow: Flow| flow.probability)
    }

    fn meets(&self, users: u32, think_s: f64, target: Target) -> bool {
        let got = match target.quantile {
            None => closed(&self.curve, users, think_s).map(|flow| flow.response_s * 1000.0),
            Some(q) => self.latencies.quantile_ms(&self.found(users, think_s), q),
        };
        got.is_some_and(|ms| ms <= target.limit_ms)
    }

    /// The most users for whom the target holds, by bisection: latency rises with the users.
    #[must_use]
    pub fn users(&self, behaviour: Behaviour, target: Target) -> Users {
        let think_s = behaviour.think_per_request_s();
        let meets = |users: u32| self.meets(users, think_s, target);
        let (mut low, mut high) = (0, 1);
        while high < MOST_USERS && meets(high) {
            (low, high) = (high, high.saturating_mul(2).min(MOST_USERS));
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if meets(middle) { low = middle } else { high = middle }
        }
        let plan = (f64::from(low) * PLANNING).floor() as u32;
        let rate = |users: u32| closed(&self.curve, users, think_s).map_or(0.0, |flow| flow.per_s);
        let utilisation = rate(low) / self.curve.most();
        let uncertain = utilisation > FORECASTABLE;
        Users { target, model: low, plan, requests_per_second: rate(plan), utilisation, uncertain }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capacity::knee::Knee;
    use std::time::Duration;

    pub(super) fn server() -> Server {
        let knee = Knee { x_max_per_s: 1270.0, r0_s: 0.06, p: 10.0, kappa_s: 0.0 };
        let latencies: Vec<(u32, Latency)> = [1, 16, 64, 128, 256]
            .into_iter()
            .map(|n| {
                let mut latency = Latency::default();
                // Evenly from half to one and a half of the mean: p95 is 1.45 times it.
                let mean = f64::from(n) / knee.throughput(f64::from(n));
                (1..=1000)
                    .for_each(|at| latency.record(Duration::from_secs_f64(mean * (0.5 + f64::from(at) / 1000.0))));
                (n, latency)
            })
            .collect();
        Server { curve: Curve::of_knee(&knee, 256).unwrap(), latencies: Latencies::new(&latencies) }
    }

    pub(super) const CLICKS: Behaviour = Behaviour { think_s: 10.0, requests_per_action: 1.0 };

    /// docs/stats.md D.2: X_max = 1270, R0 = 60 ms, Z = 10 s. That table was made with a knee of its own sharpness;
    /// throughput does not depend on it.
    #[test]
    fn users_and_throughput_of_the_documented_example() {
        for (users, per_s) in [(8_890, 884.0), (10_160, 1010.0), (11_430, 1135.0), (12_700, 1255.0), (13_335, 1270.0)] {
            let got = server().forecast(users, CLICKS).unwrap();
            assert!((got.requests_per_second / per_s - 1.0).abs() < 0.003, "{users}: {got:?}");
            assert_eq!(got.uncertain, users > 10_900, "{got:?}");
        }
        let half = server().forecast(6_000, CLICKS).unwrap();
        assert!((half.mean_ms - 60.0).abs() < 1.0 && (half.p95_ms.unwrap() - 87.0).abs() < 2.0, "{half:?}");
    }

    #[test]
    fn the_most_users_of_a_target_meet_it_and_one_more_would_not() {
        for target in [Target { quantile: None, limit_ms: 100.0 }, Target { quantile: Some(0.95), limit_ms: 200.0 }] {
            let got = server().users(CLICKS, target);
            assert!(got.model > 11_000 && got.model < 13_500, "{got:?}");
            assert!(server().meets(got.model, 10.0, target) && !server().meets(got.model + 1, 10.0, target));
            assert_eq!(got.plan, (f64::from(got.model) * 0.85) as u32);
        }
        let never = server().users(CLICKS, Target { quantile: Some(0.95), limit_ms: 20.0 });
        assert_eq!((never.model, never.plan), (0, 0));
    }

    #[test]
    fn actions_of_several_requests_need_as_many_times_the_throughput() {
        let target = Target { quantile: Some(0.95), limit_ms: 200.0 };
        let one = server().users(CLICKS, target).model;
        let four = server().users(Behaviour { requests_per_action: 4.0, ..CLICKS }, target).model;
        // A little less than four times: the time of its requests is a part of a user's cycle time, too.
        let times = f64::from(one) / f64::from(four);
        assert!((3.8..4.0).contains(&times), "{one} {four}");
    }
}
