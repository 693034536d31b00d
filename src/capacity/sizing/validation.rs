//! Whether a forecast held: a run of the open model at the planned rate, and what was expected of it.

use serde::{Deserialize, Serialize};

use super::answer::Answer;
use super::{Server, Target, Users};
use crate::histogram::Latency;

/// A forecast that is off by more than this has not held: on undisturbed systems the model errs by a third of it.
const TOLERANCE: f64 = 0.25;
/// Below this, milliseconds apart are no difference to anybody.
const LEAST_MS: f64 = 2.0;

/// The run that is to be made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trial {
    /// The strictest target.
    pub target: Target,
    /// Requests per second of the plan's users.
    pub per_s: f64,
    /// The latency that is expected, ms.
    pub expected_ms: Option<f64>,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validation {
    /// The target.
    pub target: Target,
    /// Requests per second that were sent, whatever became of them.
    pub requests_per_second: f64,
    /// How long, seconds.
    pub seconds: f64,
    /// Expected latency, ms.
    pub expected_ms: Option<f64>,
    /// Measured, from the schedule on, ms.
    pub measured_ms: Option<f64>,
    /// Share of the requests that failed or were dropped.
    pub lost: f64,
    /// The target was kept, and nothing was lost beyond a thousandth.
    pub target_kept: bool,
    /// The measured latency is near the expected one; `None` where one of them is not known.
    pub forecast_held: Option<bool>,
}

/// The run that would show whether the plan holds; `None` where there is nothing to plan with.
#[must_use]
pub fn trial(answer: &Answer, server: &Server) -> Option<Trial> {
    let row = answer.rows.iter().find(|row| row.nodes == answer.nodes)?;
    let strictest = row.users.iter().min_by_key(|users| users.plan).filter(|users| users.plan > 0)?;
    let Users { target, requests_per_second: per_s, .. } = *strictest;
    Some(Trial { target, per_s, expected_ms: server.expected_ms(target, per_s) })
}

impl Trial {
    /// VUs that are there at first, and at most: what is in the server on average with room for its pauses.
    #[must_use]
    pub fn vus(&self) -> (u32, u32) {
        let in_server = self.per_s * self.expected_ms.unwrap_or(self.target.limit_ms) / 1000.0;
        let first = (4.0 * in_server).ceil().max(10.0) as u32;
        let most = (self.per_s * 10.0 * self.target.limit_ms / 1000.0).ceil() as u32;
        (first, most.clamp(first, first.max(5_000)))
    }

    /// Judges what was measured: response times from the schedule on, and (completed, all) requests.
    #[must_use]
    pub fn judge(&self, response_time: &Latency, (completed, all): (u64, u64), seconds: f64) -> Validation {
        let measured_ms = self.target.of(response_time);
        let lost = if all > 0 { all.saturating_sub(completed) as f64 / all as f64 } else { 1.0 };
        let near = |(expected, measured): (f64, f64)| {
            (measured / expected - 1.0).abs() <= TOLERANCE || (measured - expected).abs() <= LEAST_MS
        };
        Validation {
            target: self.target,
            requests_per_second: self.per_s,
            seconds,
            expected_ms: self.expected_ms,
            measured_ms,
            lost,
            target_kept: lost <= 0.001 && measured_ms.is_some_and(|ms| ms <= self.target.limit_ms),
            forecast_held: self.expected_ms.zip(measured_ms).map(near),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const TRIAL: Trial =
        Trial { target: Target { quantile: Some(0.5), limit_ms: 500.0 }, per_s: 340.0, expected_ms: Some(100.0) };

    fn all_of(ms: u64) -> Latency {
        let mut latency = Latency::default();
        latency.record_n(Duration::from_millis(ms), 1000);
        latency
    }

    #[test]
    fn a_table_of_judgements() {
        for (ms, completed, kept, held) in [
            (100, 1000, true, true),
            (124, 1000, true, true),
            (130, 1000, true, false),
            (600, 1000, false, false),
            (100, 998, false, true),
            (60, 999, true, false),
        ] {
            let got = TRIAL.judge(&all_of(ms), (completed, 1000), 600.0);
            assert_eq!((got.target_kept, got.forecast_held), (kept, Some(held)), "{ms} ms, {completed}: {got:?}");
        }
        let nothing = TRIAL.judge(&Latency::default(), (0, 0), 600.0);
        assert_eq!((nothing.target_kept, nothing.forecast_held, nothing.lost), (false, None, 1.0));
    }

    #[test]
    fn there_are_vus_enough_for_the_target() {
        let (first, most) = TRIAL.vus();
        assert_eq!((first, most), (136, 1700));
        let slow = Trial { per_s: 4000.0, expected_ms: None, ..TRIAL };
        assert_eq!(slow.vus(), (8000, 8000));
    }
}
