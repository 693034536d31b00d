//! Rules about time: what changed during the run, and whether the generator was the reason.

use std::collections::BTreeMap;

use super::{Facts, Seen, Severity, percent};
use crate::generator::STOOD_STILL;
use crate::outcome::ErrorKind;
use crate::stats::little::LittleVerdict;
use crate::steady::{DriftVerdict, fall};

/// We were the limit.
pub(super) fn generator_bound(facts: &Facts<'_>) -> Option<Seen> {
    let health = &facts.summary.generator;
    // A search leaves such stages out by itself.
    if health.kept_up() || facts.summary.search.is_some() {
        return None;
    }
    let reasons: Vec<&str> = health.reasons.keys().map(String::as_str).collect();
    Some(Seen {
        severity: Severity::Spoils,
        finding: format!(
            "the generator was the limit in {} of {} s: {}",
            health.limited_seconds,
            health.seconds,
            reasons.join(", ")
        ),
        evidence: vec![
            ("limited_s", health.limited_seconds as f64),
            ("measured_s", health.seconds as f64),
            ("busiest_worker", health.busiest_worker),
            ("steal_share_max", health.steal_share_max.unwrap_or(f64::NAN)),
        ],
        advice: generator_advice(&health.reasons),
    })
}

/// What to do about the seconds that were limited for these reasons. Failures of our own come first, for they are certain;
/// of the others the one that most seconds have.
fn generator_advice(reasons: &BTreeMap<String, u64>) -> &'static str {
    if reasons.contains_key(&ErrorKind::Ports.describe()) {
        return "Each connection takes a local port of this machine, and may hold it for a minute after its end: keep connections, \
                widen the range (sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"), or connect from several addresses \
                (--local-ips).";
    }
    if reasons.contains_key(&ErrorKind::Descriptors.describe()) {
        return "Each connection is an open file: raise the hard limit of this process (ulimit -Hn, LimitNOFILE of a service), \
                or run with fewer VUs from several machines.";
    }
    match reasons.iter().max_by_key(|(_, seconds)| **seconds) {
        Some((reason, _)) if reason == STOOD_STILL => {
            "This process was stopped (Ctrl-Z, a paused container or virtual machine), or the machine slept or had no core for \
             it. In that time no request was sent: run again on a machine that stays awake."
        }
        _ => {
            "These are figures of this machine, not of the server. Run from one with more cores that does nothing else, and not \
             from a burstable one."
        }
    }
}

/// Somebody set the clock, or the machine was suspended.
pub(super) fn clock_jump(facts: &Facts<'_>) -> Option<Seen> {
    let jumps = &facts.summary.course.clock_jumps;
    let first = jumps.first()?;
    let most = jumps.iter().map(|jump| jump.by_ms.abs()).fold(0.0, f64::max);
    Some(Seen {
        severity: Severity::Warns,
        finding: format!("the wall clock of this machine jumped {} times, by up to {:.1} s", jumps.len(), most / 1e3),
        evidence: vec![("jumps", jumps.len() as f64), ("first_at_s", first.at_s), ("greatest_ms", most)],
        advice: "Latencies are of the monotonic clock and stay right, but times of day in this run cannot be held against the \
                 server's logs, and a suspended machine sends nothing. Fix the time service, and do not suspend or migrate \
                 the generator during a run.",
    })
}

/// Part of the slices in which Little's law may fail.
const SOME_SLICES: f64 = 0.1;

/// VUs have time that no request accounts for.
pub(super) fn little_open(facts: &Facts<'_>) -> Option<Seen> {
    let little = &facts.steady.little;
    let invalid = little.iter().filter(|slice| slice.audit.verdict == LittleVerdict::Invalid).count();
    if facts.steady.slices == 0 || (little.len() as f64) <= SOME_SLICES * facts.steady.slices as f64 {
        return None;
    }
    let worst = little.iter().max_by(|a, b| a.audit.share.abs().total_cmp(&b.audit.share.abs()))?;
    Some(Seen {
        severity: if invalid > 0 { Severity::Spoils } else { Severity::Warns },
        finding: format!(
            "Little's law does not close in {} of {} parts of the run: at {:.0} s {} of the VUs' time lies outside requests",
            little.len(),
            facts.steady.slices,
            worst.from_s,
            percent(worst.audit.share)
        ),
        evidence: vec![
            ("parts", facts.steady.slices as f64),
            ("parts_open", little.len() as f64),
            ("worst_share", worst.audit.share),
            ("worst_at_s", worst.from_s),
        ],
        advice: "VUs that wait outside requests load the server less than their number says: look for failed connections and \
                 back-off, and for a generator that is short of CPU at that time.",
    })
}

/// A transient this long and this large spoils the mean.
const TRANSIENT_S: f64 = 15.0;
const TRANSIENT: f64 = 0.05;
/// And so many standard deviations of later pieces: a speed that wanders is no transient.
const TRANSIENT_SD: f64 = 4.0;

/// The server was not warm when it began to be measured.
pub(super) fn warm_up_too_short(facts: &Facts<'_>) -> Option<Seen> {
    let transient = facts.steady.transient.filter(|transient| transient.found && transient.cut_s >= TRANSIENT_S)?;
    let before = transient.per_s_before?;
    let began_s = facts.summary.course.points.first().map_or(0.0, |point| point.at_s);
    // A stall near the beginning looks like a transient to MSER, and is seen as what it is by the next rule.
    if facts.steady.stalls.list.iter().any(|stall| stall.at_s < began_s + transient.cut_s) {
        return None;
    }
    let lower = 1.0 - before / transient.per_s_after;
    if lower < TRANSIENT || transient.below_sd? < TRANSIENT_SD {
        return None;
    }
    Some(Seen {
        severity: Severity::Warns,
        finding: format!(
            "throughput was {} lower in the first {:.0} s of the measured part than after it",
            percent(lower),
            transient.cut_s
        ),
        evidence: vec![
            ("transient_s", transient.cut_s),
            ("per_s_before", before),
            ("per_s_after", transient.per_s_after),
            ("below_sd", transient.below_sd?),
            ("bias_of_the_mean", transient.bias),
        ],
        advice: "Give the run a longer --warmup (120s is enough for most servers): processes were starting or caches filling.",
    })
}

/// From which share on stalls matter, or from which length.
const STALLED: f64 = 0.01;
const STALL_S: f64 = 3.0;

/// Next to nothing was completed for a while.
pub(super) fn stalls(facts: &Facts<'_>) -> Option<Seen> {
    let stalls = &facts.steady.stalls;
    if stalls.count == 0 || (stalls.share < STALLED && stalls.longest_s < STALL_S) {
        return None;
    }
    let first = stalls.list.first()?;
    Some(Seen {
        severity: Severity::Warns,
        finding: format!(
            "{} times next to nothing was completed, {:.0} s in all; the longest took {:.0} s, the first began at {:.0} s",
            stalls.count, stalls.seconds, stalls.longest_s, first.at_s
        ),
        evidence: vec![
            ("stalls", stalls.count as f64),
            ("stalled_s", stalls.seconds),
            ("longest_s", stalls.longest_s),
            ("stalled_share", stalls.share),
            ("first_at_s", first.at_s),
        ],
        advice: "VUs that wait send nothing, so that a stall hides from percentiles. Look at that time of day for a restart of \
                 Connect, a failover of the database or balancer, a pause of shared storage, and a full disk.",
    })
}

/// Latency rises and throughput falls while the load stays the same.
pub(super) fn latency_rising(facts: &Facts<'_>) -> Option<Seen> {
    let rate = facts.steady.rate_drift?;
    let falls = rate.verdict == DriftVerdict::NotSteady && rate.over_run < 0.0 && rate.per_hour.high < 0.0;
    // In the open model throughput is given, and latency alone can rise.
    let open = facts.plan.fetch_scenarios().any(|at| facts.plan.scenarios[at].executor.is_open());
    let p99 = facts.steady.p99_drift.filter(|drift| drift.over_run > 0.0);
    let rises = p99.is_some_and(|drift| drift.verdict == DriftVerdict::NotSteady);
    if !(if open { rises } else { falls }) || fall(&facts.summary.course.slices).is_some() {
        return None;
    }
    let hours = facts.figures.seconds / 3600.0;
    let p99_change = p99.map_or(f64::NAN, |drift| drift.over_run);
    let finding = match open {
        true => format!("at a constant rate the 99th percentile rose by {} over the run", percent(p99_change)),
        false => format!(
            "at a constant load throughput fell steadily, by {} over the run: each request takes longer and longer",
            percent(-rate.over_run)
        ),
    };
    Some(Seen {
        severity: Severity::Warns,
        finding,
        evidence: vec![
            ("rate_change_over_run", rate.over_run),
            ("rate_change_per_h", rate.per_hour.estimate),
            ("rate_change_per_h_low_95", rate.per_hour.low),
            ("rate_change_per_h_high_95", rate.per_hour.high),
            ("p", rate.p),
            ("p99_change_over_run", p99_change),
            ("measured_h", hours),
        ],
        advice: "Something grows: watch memory and open files of the application's processes, the database's tables and the \
                 disk. Run longer (--duration 2h) to see whether it levels off; restarting the processes tells a leak in \
                 them from one in the server.",
    })
}

/// Throughput dropped at one moment and stayed down.
pub(super) fn throttled(facts: &Facts<'_>) -> Option<Seen> {
    let fall = fall(&facts.summary.course.slices).filter(|_| facts.steady.constant_load)?;
    let (before, after) = fall.per_s;
    Some(Seen {
        severity: Severity::Warns,
        finding: format!(
            "throughput fell from {before:.0} to {after:.0} per second after {:.1} min at a constant load, and stayed there",
            fall.at_s / 60.0
        ),
        evidence: vec![
            ("at_s", fall.at_s),
            ("per_s_before", before),
            ("per_s_after", after),
            ("change", after / before - 1.0),
            ("t", fall.t),
        ],
        advice: "Burstable machines (AWS t3, Azure B) run at full speed until their CPU credits are used up, disks until their \
                 burst balance is: look at CPUCreditBalance, BurstBalance and CPU steal at that time. Otherwise look for a node \
                 that left the cluster. Plan with the lower figure.",
    })
}
