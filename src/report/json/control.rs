//! What people did to a run while it was on.

use serde::Serialize;

use crate::summary::{ControlEvent, Controlled, Origin, Summary};

/// One of the things that were done.
#[derive(Debug, Serialize)]
pub struct ControlDocument {
    /// When, since the start of the run.
    pub at_s: f64,
    /// `pause`, `resume`, `vus` or `stop`.
    pub what: Controlled,
    /// `terminal` or `rest`.
    pub from: Origin,
    /// The scenario whose VUs were changed; `null` of everything else.
    pub scenario: Option<String>,
    /// VUs that were asked for before.
    pub vus_before: Option<u32>,
    /// VUs that are asked for since.
    pub vus: Option<u32>,
}

pub(super) fn events(summary: &Summary) -> Vec<ControlDocument> {
    let document = |event: &ControlEvent| ControlDocument {
        at_s: event.at_s,
        what: event.what,
        from: event.from,
        scenario: event.scenario.clone(),
        vus_before: event.vus_before,
        vus: event.vus,
    };
    summary.control.iter().map(document).collect()
}
