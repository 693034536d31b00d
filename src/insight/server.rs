//! Rules about Connect's processes, publishes and the network's timers.

use std::time::Duration;

use super::{Facts, Seen, Severity, percent};
use crate::capacity::search::Outcome;
use crate::server_metrics::{Figure, Metric};
use crate::steady::Publishing;
use crate::summary::Point;

/// Saturation this near to the limit of the processes is that limit.
const NEAR: f64 = 0.12;

/// The content item's processes take so many requests at once, and no more.
pub(super) fn process_limit(facts: &Facts<'_>) -> Option<Seen> {
    let processes = facts.plan.target.processes?;
    let slots = processes.slots() as f64 * facts.nodes();
    let advice = "A content item takes max_processes × max_conns_per_process requests at once on each node; what comes beyond \
                  waits or is refused. If the CPU of the nodes is not used up at this load, raise max_processes of the item \
                  (Content settings, Runtime); if it is, the limit is not what costs you throughput.";
    let mut evidence = vec![
        ("max_processes", f64::from(processes.max)),
        ("max_conns_per_process", f64::from(processes.max_conns)),
        ("nodes", facts.nodes()),
        ("requests_at_once", slots),
    ];
    if let Some(search) = &facts.summary.search {
        let vus = search.result.saturation_vus.filter(|_| search.result.outcome == Outcome::Saturated)?;
        if (vus / slots - 1.0).abs() > NEAR {
            return None;
        }
        evidence.push(("saturation_vus", vus));
        let finding =
            format!("saturation at {vus:.0} VUs is what the item's processes take at once: {slots:.0} requests");
        return Some(Seen { severity: Severity::Warns, finding, evidence, advice });
    }
    let vus = facts.figures.vus;
    if vus <= slots || facts.plan.fetch_scenarios().any(|at| facts.plan.scenarios[at].executor.is_open()) {
        return None;
    }
    evidence.push(("vus", vus));
    let finding =
        format!("{vus:.0} VUs load an item whose processes take {slots:.0} requests at once: the others wait");
    Some(Seen { severity: Severity::Informs, finding, evidence, advice })
}

/// A machine whose cores are at work for this share of the time has none to spare.
const USED_UP: f64 = 0.9;
/// Fewest answers of a server that show it.
const FEWEST_ANSWERS: u64 = 6;

/// A machine under load has no CPU left: of a load test on average, of a search in so many answers.
pub(super) fn cpu(facts: &Facts<'_>) -> Option<Seen> {
    let places = &facts.summary.server_metrics;
    let shares = places.iter().flat_map(|place| &place.figures);
    let shares: Vec<&Figure> = shares.filter(|figure| figure.metric == Metric::MachineCpuShare).collect();
    let is_ramp = facts.plan.fetch_scenarios().any(|at| facts.plan.scenarios[at].executor.is_searched());
    let used_up = |figure: &&&Figure| match is_ramp {
        true => figure.points.iter().filter(|(_, share)| *share >= USED_UP).count() as u64 >= FEWEST_ANSWERS,
        false => figure.samples >= FEWEST_ANSWERS && figure.mean.is_some_and(|mean| mean >= USED_UP),
    };
    let busy: Vec<&&Figure> = shares.iter().filter(used_up).collect();
    let most = busy.iter().filter_map(|figure| figure.max).fold(0.0, f64::max);
    let mean = busy.iter().filter_map(|figure| figure.mean).fold(0.0, f64::max);
    let when = if is_ramp { "at the highest loads" } else { "on average" };
    (!busy.is_empty()).then(|| Seen {
        severity: Severity::Informs,
        finding: format!(
            "{} of {} machines that were asked had no CPU to spare {when}: at most {} at work",
            busy.len(),
            shares.len(),
            percent(most)
        ),
        evidence: vec![
            ("machines", shares.len() as f64),
            ("machines_without_spare_cpu", busy.len() as f64),
            ("highest_mean_share", mean),
            ("highest_share", most),
        ],
        advice: "The processors are the limit: more processes will not help. Add cores or nodes, or make what is fetched \
                 cheaper; where several nodes share the load, look whether all of them are busy.",
    })
}

/// Slow answers that come at the beginning only.
const EARLY: f64 = 0.1;
/// Fewest of them.
const FEWEST_SLOW: f64 = 3.0;

/// Processes started while it was measured: fetches of a second and more, many times the usual, at the beginning only.
pub(super) fn cold_start(facts: &Facts<'_>) -> Option<Seen> {
    let points = &facts.summary.course.points;
    let (first, last) = (points.first()?, points.last()?);
    let length = last.at_s + last.seconds - first.at_s;
    let usual_ms = facts.fetch.duration.quantile_ms(0.5)?;
    let early_s = (EARLY * length).max(10.0);
    // Where a second is nothing unusual, slow fetches say nothing.
    if usual_ms > 100.0 || length < 3.0 * early_s {
        return None;
    }
    let slow = |points: &mut dyn Iterator<Item = &Point>| points.map(|point| point.slow).sum::<f64>();
    let early = slow(&mut points.iter().filter(|point| point.at_s < first.at_s + early_s));
    let late = slow(&mut points.iter().filter(|point| point.at_s >= first.at_s + early_s));
    let late_per_early = late / (length - early_s) / (early / early_s);
    if early < FEWEST_SLOW || late_per_early > 0.05 {
        return None;
    }
    let min = facts.plan.target.processes.map_or(f64::NAN, |processes| f64::from(processes.min));
    Some(Seen {
        severity: Severity::Warns,
        finding: format!(
            "{early:.0} fetches of the first {early_s:.0} s took longer than a second, {late:.0} of all later ones: processes \
             started while it was measured"
        ),
        evidence: vec![("slow_early", early), ("slow_later", late), ("usual_p50_ms", usual_ms), ("min_processes", min)],
        advice: "Set min_processes of the item to 1 or more, so that one is always warm, or give the run a longer --warmup. \
                 The first user after an idle time sees such a start; it is no part of a steady state.",
    })
}

/// A change that matters.
const INTERFERES: f64 = 0.05;

/// Fetches are slower while something is deployed.
pub(super) fn publish_interference(facts: &Facts<'_>) -> Option<Seen> {
    let Publishing::Measured(effect) = facts.steady.publishing else { return None };
    let (rate, latency) = (effect.rate_change, effect.latency_change);
    let slower = rate.high < 0.0 && rate.estimate <= -INTERFERES;
    let longer = latency.low > 0.0 && latency.estimate >= INTERFERES;
    // One of two at 2.5 % would be a false alarm in twenty; both are needed.
    if !(slower && longer) {
        return None;
    }
    Some(Seen {
        severity: Severity::Warns,
        finding: format!(
            "while a publish was deployed there were {} fewer fetches per second, and they took {} longer ({} deployments)",
            percent(-rate.estimate),
            percent(latency.estimate),
            effect.pairs
        ),
        evidence: vec![
            ("rate_change", rate.estimate),
            ("rate_change_low_95", rate.low),
            ("rate_change_high_95", rate.high),
            ("latency_change", latency.estimate),
            ("deploying_share", effect.deploying_share),
            ("deployments", effect.pairs as f64),
        ],
        advice: "Restoring packages and starting processes takes CPU from those that serve. Publish outside busy hours, keep a \
                 package cache on fast storage, or let builds run elsewhere (off-host execution); plan with the throughput \
                 during publishes, not with the mean.",
    })
}

/// Responses that small are one or two segments.
const SMALL_BYTES: f64 = 16_384.0;

/// A part of a response waits for Linux' delayed acknowledgement of 40 ms.
pub(super) fn delayed_ack(facts: &Facts<'_>) -> Option<Seen> {
    let fetch = facts.fetch;
    let bytes = fetch.bytes_received as f64 / fetch.requests.completed.max(1) as f64;
    if bytes > SMALL_BYTES || fetch.requests.completed < 100 {
        return None;
    }
    let us = Duration::from_micros;
    let spike = |latency: &crate::histogram::Latency| -> Option<f64> {
        let at = latency.share_between(us(39_900), us(44_500))?;
        // A timer has a sharp edge: next to nothing lies before it, and little after it.
        let before = latency.share_between(us(34_000), us(39_500))?;
        let after = latency.share_between(us(44_600), us(60_000))?;
        (at >= 0.3 && before <= 0.04 * at && after <= 0.3 * at).then_some(at)
    };
    let parts = [("waiting", &fetch.waiting), ("receiving", &fetch.receiving), ("duration", &fetch.duration)];
    let (part, share) = parts.into_iter().find_map(|(name, latency)| spike(latency).map(|share| (name, share)))?;
    Some(Seen {
        severity: Severity::Warns,
        finding: format!("{} of the fetches have {part} of 40 to 44 ms, with next to none just below", percent(share)),
        evidence: vec![("share_at_40_ms", share), ("response_bytes", bytes)],
        advice: "That is Nagle's algorithm against delayed acknowledgements: somebody writes a response in two small pieces and \
                 waits for the first to be acknowledged. Turn on TCP_NODELAY (nginx: tcp_nodelay on) in the proxy or the \
                 application's server, or let it write head and body at once.",
    })
}
