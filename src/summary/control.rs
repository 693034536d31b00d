//! What people did to a run while it was on.

use serde::{Deserialize, Serialize};

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Controlled {
    /// No further iterations until it is resumed.
    Pause,
    /// The end of a pause.
    Resume,
    /// Another number of VUs.
    Vus,
    /// The end of the run: what was begun is finished.
    Stop,
}

/// Where it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Keys in the terminal of the run.
    Terminal,
    /// The loopback REST endpoint.
    Rest,
    /// Nobody: a safety rail, because the server answered 429.
    Rail,
}

/// Something that people did to a run while it was on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlEvent {
    /// When, since the start of the run, seconds.
    pub at_s: f64,
    /// What.
    pub what: Controlled,
    /// Where it was asked for.
    pub from: Origin,
    /// The scenario whose VUs are others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario: Option<String>,
    /// VUs that were asked for before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vus_before: Option<u32>,
    /// VUs that are asked for since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vus: Option<u32>,
}
