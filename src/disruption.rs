//! What a failure in the middle of a run did: how long there were errors, what was lost, who moved, when it was over, and
//! whether the claim of the documentation held. A pure function of seconds and of what was done in them.
//!
//! The claim, of Connect's architectures with several nodes: a failure of either node disrupts the user sessions on that
//! node but not the service.

mod judge;
mod record;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::outcome::ErrorKind;
pub use judge::judge;
pub use record::Recording;

/// Something that was done to the server or around it while the run was on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// When, seconds since the start of the run.
    pub at_s: f64,
    /// When it was done, seconds since the start of the run; `None`: not before the end.
    pub done_s: Option<f64>,
    /// What, as it was asked for.
    pub action: String,
    /// Why it could not be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One node in one second: the fetches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeRow {
    /// Completed fetches.
    pub completed: u64,
    /// Failed fetches of VUs that were bound to it.
    pub failed: u64,
    /// VUs that were answered by another node from then on.
    pub left: u64,
}

/// One second.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Seconds since the start of the run.
    pub second: u64,
    /// Completed fetches.
    pub completed: u64,
    /// Failures of all scenarios by kind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub errors: BTreeMap<ErrorKind, u64>,
    /// By node, where nodes can be told apart.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub nodes: BTreeMap<String, NodeRow>,
}

impl Row {
    fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    fn left(&self) -> u64 {
        self.nodes.values().map(|node| node.left).sum()
    }
}

/// What was done, and the seconds around it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rehearsal {
    /// In the order in which they began.
    pub events: Vec<Event>,
    /// In order.
    pub rows: Vec<Row>,
}

impl Rehearsal {
    /// Whether nothing was done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Gives the nodes the names that are known for their labels.
    pub fn rename(&mut self, names: &BTreeMap<String, String>) {
        for row in &mut self.rows {
            for (label, node) in std::mem::take(&mut row.nodes) {
                let mine = row.nodes.entry(names.get(&label).cloned().unwrap_or(label)).or_default();
                mine.completed += node.completed;
                mine.failed += node.failed;
                mine.left += node.left;
            }
        }
    }
}

/// Whether the claim held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    /// It did.
    Held,
    /// It did not: what was seen.
    Broken(String),
    /// It says nothing about this, or it cannot be seen: why.
    NotJudged(String),
}

/// What one event did, from it to the next one or to the end.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Disruption {
    /// What was done.
    pub event: Event,
    /// End of what is looked at, seconds since the start of the run.
    pub until_s: f64,
    /// From the first to the last second with failures, seconds since the start of the run.
    pub error_window_s: Option<(f64, f64)>,
    /// Failures by kind, of all scenarios.
    pub lost: BTreeMap<ErrorKind, u64>,
    /// VUs that another node answered than before.
    pub vus_moved: u64,
    /// From the event to the end of the first second in which VUs that failed were answered again; `None`: never. Zero
    /// where nothing failed.
    pub first_success_s: Option<f64>,
    /// From the event to the beginning of the steady state after it; `None`: it was not reached.
    pub steady_s: Option<f64>,
    /// Completed fetches per second before.
    pub before_per_s: Option<f64>,
    /// And in the steady state after.
    pub after_per_s: Option<f64>,
    /// The node that it was about, where there is one and nodes can be told apart.
    pub node: Option<String>,
    /// Failed fetches of VUs bound to the other nodes.
    pub others_failed: u64,
    /// VUs that left the other nodes, though nothing was done to those.
    pub others_left: u64,
    /// Completed fetches per second of the other nodes, before and in the steady state after.
    pub others_per_s: Option<(f64, f64)>,
    /// Whether the claim held.
    pub claim: Claim,
}
