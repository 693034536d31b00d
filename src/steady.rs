//! Was the measured part of a run steady? Drift, stalls and outages, the transient at its beginning, what publishes did to
//! the fetches, and Little's law slice by slice.
//!
//! Pure functions of a [`Summary`]. Where the data cannot answer, the answer is `None`, and not "no".

mod drift;
mod publishing;
mod stalls;
mod transient;

pub use drift::{Drift, DriftVerdict, Fall, fall};
pub use publishing::{PublishEffect, Publishing};
pub use stalls::{Stall, StallKind, Stalls};
pub use transient::Transient;

use std::time::Duration;

use serde::Serialize;

use crate::plan::{Executor, Plan};
use crate::stats::little::{LittleAudit, LittleVerdict, audit};
use crate::summary::{Slice, Summary};

/// How steady a run was.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SteadyState {
    /// Whether the plan asks for the same load all the time; without that a change says nothing of the server.
    pub constant_load: bool,
    /// Of the fetches per second; `None` where the run is too short to tell drift from noise, or its load was not constant.
    pub rate_drift: Option<Drift>,
    /// Of the 99th percentile of latency.
    pub p99_drift: Option<Drift>,
    /// Times in which next to nothing was completed; not looked for where the load was not constant.
    pub stalls: Stalls,
    /// Where the transient at the beginning ends.
    pub transient: Option<Transient>,
    /// Fetches while a publish was deployed, and while none was.
    pub publishing: Publishing,
    /// Slices of the run in which Little's law does not close.
    pub little: Vec<LittleSlice>,
    /// Slices that were looked at.
    pub slices: usize,
    /// The greatest failed share of the fetches in a slice: errors come in clusters.
    pub worst_error_rate: Option<f64>,
}

/// A slice of the run in which the VUs' time and their requests differ.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LittleSlice {
    /// Its beginning, seconds since that of the measured part.
    pub from_s: f64,
    /// Its length.
    pub seconds: f64,
    /// The audit.
    pub audit: LittleAudit,
}

impl SteadyState {
    /// Of a run.
    #[must_use]
    pub fn of(summary: &Summary) -> SteadyState {
        let (course, slices) = (&summary.course, &summary.course.slices);
        // Who controls a run while it runs changes its load, or stops it for a while.
        let constant_load = constant_load(&summary.plan) && summary.control.is_empty();
        let drift = |value: fn(&Slice) -> Option<f64>, limits| {
            constant_load.then(|| drift::of(slices, value, limits)).flatten()
        };
        let rates = slices.iter().filter(|slice| slice.fetched + slice.failed > 0);
        let rates = rates.map(|slice| slice.failed as f64 / (slice.fetched + slice.failed) as f64);
        SteadyState {
            constant_load,
            rate_drift: drift(|slice| Some(slice.per_s()), drift::RATE),
            p99_drift: drift(|slice| slice.p99_ms, drift::P99),
            stalls: if constant_load { stalls::of(&course.points) } else { Stalls::default() },
            transient: if constant_load { transient::of(&course.points) } else { None },
            publishing: publishing::of(&course.points),
            little: if constant_load { little(slices) } else { Vec::new() },
            slices: slices.len(),
            worst_error_rate: rates.reduce(f64::max),
        }
    }
}

/// Whether all fetching scenarios hold their load over the measured part.
fn constant_load(plan: &Plan) -> bool {
    // The VUs of a load test start over a second.
    let from = plan.warm_up + Duration::from_secs(1);
    let holds =
        |start: Duration, length: Duration| start <= from && start + length + Duration::from_secs(1) >= plan.duration;
    let mut fetching = plan.fetch_scenarios().peekable();
    fetching.peek().is_some()
        && fetching.all(|at| match plan.scenarios[at].executor {
            Executor::ConstantVus { start_time, duration, .. }
            | Executor::ConstantArrivalRate { start_time, duration, .. } => holds(start_time, duration),
            _ => false,
        })
}

/// Shortest slice that is audited: in a shorter one, requests over its edges are too large a part.
const LEAST_AUDITED_S: f64 = 10.0;

/// The slices whose VU time no request accounts for, by more than requests over their edges can explain.
fn little(slices: &[Slice]) -> Vec<LittleSlice> {
    let (mut from_s, mut open) = (0.0, Vec::new());
    for slice in slices {
        let ended = (slice.fetched + slice.failed) as f64;
        if ended > 0.0 && slice.seconds >= LEAST_AUDITED_S {
            // Each VU may have a request over each edge; it is counted in the slice in which it ended.
            let vus = slice.vu_s / slice.seconds;
            let pacing_s = slice.pause_s / ended;
            let (unexplained, edge_s) =
                ((slice.vu_s - slice.pause_s - slice.busy_s) / ended, vus / ended * slice.busy_s / ended);
            let explained = unexplained.clamp(-edge_s, edge_s);
            let audited = audit(vus, ended / slice.seconds, slice.busy_s / ended + explained, pacing_s);
            let broken = audited.filter(|audit| audit.verdict != LittleVerdict::Ok);
            open.extend(broken.map(|audit| LittleSlice { from_s, seconds: slice.seconds, audit }));
        }
        from_s += slice.seconds;
    }
    open
}

#[cfg(test)]
#[path = "steady/tests.rs"]
mod tests;
