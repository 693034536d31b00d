//! Figures of each step.

use std::collections::BTreeMap;

use super::Summary;
use crate::window::SeriesWindow;

/// One step of a scenario in the measured part of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct StepFigures<'a> {
    /// Name of the scenario.
    pub scenario: &'a str,
    /// Name of the step.
    pub step: String,
    /// k6's group, where the step has one.
    pub group: Option<&'a str>,
    /// Tags of the scenario and of the step, which go before those.
    pub tags: BTreeMap<&'a str, &'a str>,
    /// Whether its requests fetch.
    pub fetches: bool,
    /// Completed requests per second.
    pub per_s: f64,
    /// Failed / (failed + completed).
    pub error_rate: Option<f64>,
    /// Everything that was measured.
    pub window: &'a SeriesWindow,
}

/// The steps of a run, in the plan's order.
#[must_use]
pub fn steps(summary: &Summary) -> Vec<StepFigures<'_>> {
    let (plan, seconds) = (&summary.plan, summary.measured_s());
    let mut all = Vec::new();
    for (at, series) in plan.series().into_iter().enumerate() {
        let Some(window) = summary.steady.series.get(at) else { continue };
        let scenario = &plan.scenarios[series.scenario];
        let mut tags = plan.labels(series.scenario, at - plan.first_series(series.scenario));
        tags.retain(|name, _| !["scenario", "step"].contains(name));
        let group = tags.remove("group");
        let fetches = plan.fetches_in(at, &series);
        let requests = &window.requests;
        let judged = requests.completed + requests.failed;
        all.push(StepFigures {
            scenario: &scenario.name,
            step: series.step,
            group,
            tags,
            fetches,
            per_s: if seconds > 0.0 { requests.completed as f64 / seconds } else { 0.0 },
            error_rate: (judged > 0).then(|| requests.failed as f64 / judged as f64),
            window,
        });
    }
    all
}
