//! Rules about failures.

use super::{Facts, Seen, Severity, percent};
use crate::histogram::Latency;
use crate::outcome::ErrorKind;
use crate::plan::ProgramPlan;
use std::time::Duration;

/// Time-outs that people configure, in seconds.
const ROUND_S: [u64; 12] = [5, 10, 15, 20, 30, 60, 90, 100, 120, 180, 300, 600];
/// Fewest failures that are a pattern.
const FEWEST: u64 = 5;

fn count(facts: &Facts<'_>, is: fn(ErrorKind) -> bool) -> u64 {
    facts.fetch.errors.iter().filter(|(kind, _)| is(**kind)).map(|(_, n)| n).sum()
}

/// Values within a hundredth, and at most a second, after a time.
fn at(latency: &Latency, seconds: u64) -> u64 {
    let from = Duration::from_secs(seconds) - Duration::from_millis(20);
    let to = Duration::from_secs(seconds) + Duration::from_millis(10 * seconds).min(Duration::from_secs(1));
    latency.longer_than(from) - latency.longer_than(to)
}

/// Failures that take a round number of seconds are somebody's time-out, and not ours.
pub(super) fn round_timeout(facts: &Facts<'_>) -> Option<Seen> {
    let failed = &facts.fetch.failed_duration;
    let theirs = count(facts, |kind| {
        matches!(kind, ErrorKind::Status(408 | 500 | 502 | 503 | 504) | ErrorKind::Closed | ErrorKind::Reset)
    });
    let own_s = |at: usize| match &facts.plan.scenarios[at].program {
        ProgramPlan::Fetch(fetch) => Some(fetch.timeout.as_secs()),
        ProgramPlan::Steps(steps) => Some(steps.timeout.as_secs()),
        ProgramPlan::Publish(_) => None,
    };
    let own: Vec<u64> = facts.plan.fetch_scenarios().filter_map(own_s).collect();
    let ours = count(facts, |kind| kind == ErrorKind::Timeout);
    let candidates = ROUND_S.into_iter().filter(|seconds| ours == 0 || !own.contains(seconds));
    let (seconds, n) = candidates.map(|seconds| (seconds, at(failed, seconds))).max_by_key(|(_, n)| *n)?;
    if n < FEWEST || theirs < FEWEST || n as f64 * 2.0 < theirs as f64 {
        return None;
    }
    Some(Seen {
        severity: Severity::Warns,
        finding: format!("{n} failures came after {seconds} s, which is somebody's time-out"),
        evidence: vec![
            ("timeout_s", seconds as f64),
            ("failures_at_it", n as f64),
            ("failures_of_the_server", theirs as f64),
        ],
        advice: "A request that fails after a round number of seconds was given up by a balancer, proxy or by Connect, not \
                 answered. 30 s and 60 s are usual defaults of balancers (idle or response time-out), 60 s is Connect's \
                 usual time for a process to start. Raise the shorter of the two only when you know why the answer took so long.",
    })
}

/// Refusals for want of room.
pub(super) fn unavailable(facts: &Facts<'_>) -> Option<Seen> {
    let n = count(facts, |kind| matches!(kind, ErrorKind::Status(503 | 429)));
    let share = n as f64 / facts.ended();
    if n < 2 * FEWEST || share < 0.0005 {
        return None;
    }
    let failed_ms = facts.fetch.failed_duration.quantile_ms(0.5)?;
    let usual_ms = facts.fetch.duration.quantile_ms(0.5);
    let how = match usual_ms.map(|usual| failed_ms / usual) {
        Some(ratio) if ratio > 1.5 => {
            "only after they had waited longer than an answer takes: there is a queue, and it is full"
        }
        Some(ratio) if ratio < 0.5 => "at once: the server does not queue what it cannot take",
        _ => "after about as long as an answer takes",
    };
    Some(Seen {
        severity: Severity::Warns,
        finding: format!("{} of the fetches were refused with status 503 or 429, {how}", percent(share)),
        evidence: vec![
            ("refused", n as f64),
            ("refused_share", share),
            ("failure_p50_ms", failed_ms),
            ("success_p50_ms", usual_ms.unwrap_or(f64::NAN)),
        ],
        advice: "All processes of the content item were busy, or the balancer had no healthy node. Raise max_processes or \
                 max_conns_per_process of the item if the CPU has room, or add a node; look in Connect's log for processes \
                 that could not start. Throughput at this load is not one that you can plan with.",
    })
}
