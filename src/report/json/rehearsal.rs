//! What failures in the middle of a run did.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::disruption::{Claim, Disruption, judge};
use crate::summary::Summary;

/// What one event did, from it to the next one or to the end.
#[derive(Debug, Serialize)]
pub struct DisruptionDocument {
    /// What was done.
    pub action: String,
    /// When, since the start of the run.
    pub at_s: f64,
    /// How long doing it took; `null` where it was not done.
    pub took_s: Option<f64>,
    /// Why it was not done.
    pub error: Option<String>,
    /// End of what is looked at, since the start of the run.
    pub until_s: f64,
    /// First and last second with failures, since the start of the run.
    pub error_window_s: Option<(f64, f64)>,
    /// Failed requests.
    pub lost: u64,
    /// By kind, in words.
    pub lost_by_kind: BTreeMap<String, u64>,
    /// VUs that another node answered than before.
    pub vus_moved: u64,
    /// From the event until VUs that failed were answered again.
    pub first_success_s: Option<f64>,
    /// From the event to the steady state after it.
    pub steady_s: Option<f64>,
    /// Completed fetches per second before.
    pub before_per_s: Option<f64>,
    /// And in the steady state after.
    pub after_per_s: Option<f64>,
    /// The node that it was about.
    pub node: Option<String>,
    /// Failed fetches of VUs on the other nodes.
    pub others_failed: u64,
    /// VUs that left the other nodes.
    pub others_left: u64,
    /// Completed fetches per second of the other nodes, before and after.
    pub others_per_s: Option<(f64, f64)>,
    /// `held`, `broken` or `not_judged`: "a failure of either node disrupts the user sessions on that node but not the
    /// service".
    pub claim: &'static str,
    /// Why.
    pub claim_reason: Option<String>,
}

pub(super) fn disruptions(summary: &Summary) -> Vec<DisruptionDocument> {
    judge(&summary.rehearsal).into_iter().map(document).collect()
}

fn document(d: Disruption) -> DisruptionDocument {
    let (claim, claim_reason) = match d.claim {
        Claim::Held => ("held", None),
        Claim::Broken(why) => ("broken", Some(why)),
        Claim::NotJudged(why) => ("not_judged", Some(why)),
    };
    DisruptionDocument {
        at_s: d.event.at_s,
        took_s: d.event.done_s.map(|done_s| done_s - d.event.at_s),
        action: d.event.action,
        error: d.event.error,
        until_s: d.until_s,
        error_window_s: d.error_window_s,
        lost: d.lost.values().sum(),
        lost_by_kind: d.lost.iter().map(|(kind, n)| (kind.describe(), *n)).collect(),
        vus_moved: d.vus_moved,
        first_success_s: d.first_success_s,
        steady_s: d.steady_s,
        before_per_s: d.before_per_s,
        after_per_s: d.after_per_s,
        node: d.node,
        others_failed: d.others_failed,
        others_left: d.others_left,
        others_per_s: d.others_per_s,
        claim,
        claim_reason,
    }
}
