//! Steps and checks in the document of a load test.

use std::collections::BTreeMap;

use serde::Serialize;

use super::LatencyDocument;
use super::sockets::SocketDocument;
use crate::summary::{self, Summary};

/// One step of a scenario.
#[derive(Debug, Serialize)]
pub struct SeriesDocument {
    /// Name of the scenario.
    pub scenario: String,
    /// Name of the step; `list/step` where a scenario has several lists.
    pub step: String,
    /// k6's group.
    pub group: Option<String>,
    /// Tags of the scenario and of the step.
    pub tags: BTreeMap<String, String>,
    /// Requests that were completed, redirects among them.
    pub completed: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Completed requests per second.
    pub requests_per_second: f64,
    /// Failed / (failed + completed).
    pub error_rate: Option<f64>,
    /// Latency of the completed ones.
    pub latency_ms: LatencyDocument,
    /// Bytes read from the sockets.
    pub bytes_received: u64,
    /// Its WebSocket sessions; absent where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub websocket: Option<SocketDocument>,
}

/// One check.
#[derive(Debug, Serialize)]
pub struct CheckDocument {
    /// Its name.
    pub check: String,
    /// Responses that passed.
    pub passes: u64,
    /// Those that did not.
    pub fails: u64,
    /// Share of those that passed.
    pub rate: Option<f64>,
}

pub(super) fn steps(summary: &Summary) -> Vec<SeriesDocument> {
    let document = |step: summary::StepFigures<'_>| SeriesDocument {
        scenario: step.scenario.to_owned(),
        step: step.step,
        group: step.group.map(str::to_owned),
        tags: step.tags.into_iter().map(|(name, tag)| (name.to_owned(), tag.to_owned())).collect(),
        completed: step.window.requests.completed,
        failed: step.window.requests.failed,
        requests_per_second: step.per_s,
        error_rate: step.error_rate,
        latency_ms: LatencyDocument::of(&step.window.duration),
        bytes_received: step.window.bytes_received,
        websocket: step.window.sockets.as_deref().map(SocketDocument::of),
    };
    summary::steps(summary).into_iter().map(document).collect()
}

pub(super) fn checks(summary: &Summary) -> Vec<CheckDocument> {
    let document = |(name, check): (&String, &crate::window::CheckWindow)| CheckDocument {
        check: name.clone(),
        passes: check.passes,
        fails: check.fails,
        rate: check.rate(),
    };
    summary.steady.checks.iter().map(document).collect()
}
