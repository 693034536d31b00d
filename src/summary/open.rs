//! The figures of the open model: what was asked for, what came of it, and the response time from the schedule on.

use super::Summary;
use crate::histogram::Latency;
use crate::window::{Counts, ScenarioWindow};

/// The figures of all open scenarios in the measured part of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenFigures {
    /// Iterations that were due per second.
    pub offered_per_s: f64,
    /// Iterations that were completed per second.
    pub achieved_per_s: f64,
    /// Iterations and their ends.
    pub iterations: Counts,
    /// Of the dropped ones those that are the generator's fault.
    pub dropped_late: u64,
    /// From when an iteration was due to the end of its first request.
    pub response_time: Latency,
    /// From when an iteration was due to its end.
    pub iteration_response_time: Latency,
    /// From when an iteration was due to its beginning.
    pub arrival_lateness: Latency,
}

impl OpenFigures {
    /// `None` where the plan has no open scenario.
    #[must_use]
    pub fn of(summary: &Summary) -> Option<OpenFigures> {
        let open = |scenario: usize| summary.plan.scenarios.get(scenario).is_some_and(|s| s.executor.is_open());
        if !(0..summary.plan.scenarios.len()).any(open) {
            return None;
        }
        let window = &summary.steady;
        let (mut all, mut response_time) = (ScenarioWindow::default(), Latency::default());
        let measured = window.scenarios.iter().enumerate().filter(|(at, _)| open(*at));
        measured.for_each(|(_, scenario)| all.merge(scenario));
        let series = summary.plan.series();
        let measured = window.series.iter().zip(&series).filter(|(_, series)| open(series.scenario));
        measured.for_each(|(measured, _)| response_time.merge(&measured.response_time));
        let seconds = summary.measured_s();
        let per_s = |n: u64| if seconds > 0.0 { n as f64 / seconds } else { 0.0 };
        Some(OpenFigures {
            offered_per_s: per_s(all.iterations.scheduled),
            achieved_per_s: per_s(all.iterations.completed),
            iterations: all.iterations,
            dropped_late: all.dropped_late,
            response_time,
            iteration_response_time: all.response_time,
            arrival_lateness: all.arrival_lateness,
        })
    }

    /// Dropped / due.
    #[must_use]
    pub fn dropped_share(&self) -> Option<f64> {
        let due = self.iterations.scheduled;
        (due > 0).then(|| self.iterations.dropped as f64 / due as f64)
    }
}
