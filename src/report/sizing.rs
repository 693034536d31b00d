//! The words and rows of a capacity plan, for the text and the page.

use super::number::{MISSING, change, count, duration, maybe, percent, short, significant, vus};
use crate::capacity::sizing::answer::Answer;
use crate::capacity::sizing::demand::Headroom;
use crate::capacity::sizing::validation::Validation;
use crate::capacity::sizing::{FORECASTABLE, Target, Users};

/// Rows of a table; the first one is its head.
pub(super) type Rows = Vec<Vec<String>>;

/// `p(95) < 500 ms`.
pub(super) fn name(target: Target) -> String {
    let which = target.quantile.map_or_else(|| "mean".to_owned(), |q| format!("p({})", short(q * 100.0)));
    format!("{which} < {} ms", short(target.limit_ms))
}

/// `users who act every 10 s`.
pub(super) fn each(answer: &Answer) -> String {
    let b = answer.behaviour;
    let requests = match b.requests_per_action {
        1.0 => String::new(),
        n => format!(" and make {} requests each time", short(n)),
    };
    format!("users who act every {} s{requests}", short(b.think_s))
}

fn some_nodes(nodes: u32) -> String {
    if nodes == 1 { "1 node".to_owned() } else { format!("{nodes} nodes") }
}

/// The users of the measured nodes under the strictest target.
pub(super) fn strictest(answer: &Answer) -> Option<&Users> {
    let row = answer.rows.iter().find(|row| row.nodes == answer.nodes)?;
    row.users.iter().min_by_key(|users| users.plan)
}

/// The answer in a sentence.
pub(super) fn sentence(answer: &Answer) -> String {
    let (nodes, per_s) = (some_nodes(answer.nodes), significant(answer.requests_per_second));
    match strictest(answer) {
        Some(users) if users.plan > 0 => format!(
            "{nodes}, {per_s} requests per second: plan for {} {} with {} (the model says {}).",
            count(u64::from(users.plan)),
            each(answer),
            name(users.target),
            count(u64::from(users.model)),
        ),
        Some(users) => {
            format!("{nodes}, {per_s} requests per second; {} is not met even for one user.", name(users.target))
        }
        None => format!("{nodes}, {per_s} requests per second."),
    }
}

/// Users by nodes and target.
pub(super) fn users(answer: &Answer) -> Rows {
    let Some(first) = answer.rows.first() else { return Rows::new() };
    let mut head = vec!["nodes".to_owned(), "rps".to_owned()];
    for users in &first.users {
        head.push(format!("plan {}", name(users.target)));
        head.push("model".to_owned());
    }
    head.push("basis".to_owned());
    let mut rows = vec![head];
    for row in &answer.rows {
        let mut cells = vec![row.nodes.to_string(), significant(row.requests_per_second)];
        for users in &row.users {
            cells.push(count(u64::from(users.plan)));
            cells.push(format!("{}{}", count(u64::from(users.model)), if users.uncertain { "*" } else { " " }));
        }
        let limit = row.limit.as_ref().map_or_else(String::new, |tier| format!(", {tier} is the limit"));
        cells.push(format!("{}{limit}", row.basis.word()));
        rows.push(cells);
    }
    rows
}

/// What users get.
pub(super) fn forecasts(answer: &Answer) -> Rows {
    let head = ["users", "rps", "of the most", "mean ms", "p50", "p95", "p99"].map(str::to_owned).to_vec();
    let mut rows = vec![head];
    for f in &answer.forecasts {
        let mark = if f.uncertain { "*" } else { " " };
        let uncertain = |ms: Option<f64>| format!("{}{mark}", maybe(ms));
        rows.push(vec![
            count(u64::from(f.users)),
            significant(f.requests_per_second),
            percent(f.utilisation),
            uncertain(Some(f.mean_ms)),
            uncertain(f.p50_ms),
            uncertain(f.p95_ms),
            uncertain(f.p99_ms),
        ]);
    }
    rows
}

/// The heading of [`forecasts`].
pub(super) fn forecasts_of(answer: &Answer) -> String {
    let nodes = if answer.nodes == 1 { "the node".to_owned() } else { format!("the {} nodes", answer.nodes) };
    format!("What they get from {nodes} measured")
}

/// What a run at the planned rate showed.
pub(super) fn validation(v: &Validation) -> String {
    let kept = if v.target_kept { "kept" } else { "NOT KEPT" };
    let held = match v.forecast_held {
        Some(true) => "the forecast held",
        Some(false) => "the forecast did NOT hold",
        None => "there is no forecast to hold it against",
    };
    format!(
        "Validated: {} requests per second in the open model for {}: expected {} ms, measured {} ms, {} lost; {} {kept}, \
         {held}.",
        significant(v.requests_per_second),
        duration(v.seconds),
        maybe(v.expected_ms),
        maybe(v.measured_ms),
        percent(v.lost),
        name(v.target),
    )
}

/// What was asked.
pub(super) fn demand(headroom: &Headroom) -> String {
    let d = headroom.demand;
    let growth = match d.growth_per_month {
        growth if growth > 0.0 => format!(", growing {} a month", percent(growth)),
        _ => String::new(),
    };
    format!("Demand: {} users at once{growth}", count(u64::from(d.users)))
}

/// What follows for it.
pub(super) fn headroom(headroom: &Headroom) -> String {
    match (headroom.headroom, headroom.months) {
        (Some(h), _) if h < 0.0 => format!("NOT ENOUGH: the plan of what was measured is {} below it.", percent(-h)),
        (Some(h), Some(months)) => {
            format!("Headroom {}; used up in {} months at this growth.", change(h), significant(months))
        }
        (Some(h), None) => format!("Headroom {}.", change(h)),
        (None, _) => "No target to hold it against.".to_owned(),
    }
}

/// What those who are asked for would get from the nodes that were measured.
pub(super) fn would_get(headroom: &Headroom) -> Option<String> {
    let f = headroom.forecast.as_ref()?;
    Some(format!(
        "They would get a mean of {} ms and a 95th percentile of {} ms, at {} of the greatest throughput.",
        significant(f.mean_ms),
        maybe(f.p95_ms),
        percent(f.utilisation)
    ))
}

/// Nodes needed now and later.
pub(super) fn needed(headroom: &Headroom) -> Rows {
    let spare = format!("with {} spare", headroom.demand.spare);
    let head = ["in months", "users", "rps", "nodes", spare.as_str(), "utilisation", "spare failed"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for n in &headroom.needed {
        let nodes = |nodes: Option<u32>| nodes.map_or_else(|| "more".to_owned(), |n| n.to_string());
        let share = |share: Option<f64>| share.map_or_else(|| MISSING.to_owned(), percent);
        rows.push(vec![
            n.months.to_string(),
            count(u64::from(n.users)),
            significant(n.requests_per_second),
            nodes(n.nodes),
            nodes(n.with_spare),
            share(n.utilisation),
            share(n.utilisation_degraded),
        ]);
    }
    rows
}

/// What the nodes share.
pub(super) fn tiers(answer: &Answer) -> Rows {
    let mut rows = vec![["shared tier", "utilisation", "full at rps"].map(str::to_owned).to_vec()];
    for tier in &answer.tiers {
        let full = significant(answer.requests_per_second / tier.utilisation);
        rows.push(vec![tier.name.clone(), percent(tier.utilisation), full]);
    }
    rows
}

/// What it costs; nothing without prices.
pub(super) fn cost(answer: &Answer) -> Rows {
    let Some(currency) = &answer.currency else { return Rows::new() };
    let (per_hour, per_month) = (format!("{currency}/h"), format!("{currency}/month per 1000"));
    let head = ["", "size", "nodes", "rps", "plan users", &per_hour, &per_month, "demand", "basis"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for c in &answer.choices {
        let enough = match c.enough {
            Some(true) => "enough",
            Some(false) => "too few",
            None => MISSING,
        };
        rows.push(vec![
            if c.pareto { "→" } else { "" }.to_owned(),
            c.size.clone(),
            c.nodes.to_string(),
            significant(c.requests_per_second),
            count(u64::from(c.users)),
            format!("{:.3}", c.per_hour),
            c.per_month_and_1000_users.map_or_else(|| MISSING.to_owned(), |cost| format!("{cost:.2}")),
            enough.to_owned(),
            c.basis.word().to_owned(),
        ]);
    }
    rows
}

/// How to read [`cost`].
pub(super) const COST_NOTE: &str =
    "→ nothing that costs no more serves more. Sizes: linear in virtual CPUs of one family, an assumption.";

/// Posit's architectures.
pub(super) fn references(answer: &Answer) -> Rows {
    let head = ["documented by Posit", "nodes", "vCPU", "rps", "per node", "per vCPU", "users (rps × 10)"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for d in &answer.documented {
        rows.push(vec![
            d.id.clone(),
            d.nodes.to_string(),
            d.vcpus.to_string(),
            significant(d.requests_per_second),
            significant(d.per_node),
            significant(d.per_vcpu),
            count(d.users.round() as u64),
        ]);
    }
    rows
}

/// How to read [`references`].
pub(super) const REFERENCES_NOTE: &str = "Their hardware differs, so that one divided by the other is no factor of \
                                          scaling. Users by their rule act every 10 s, with no room left.";

/// What else speaks for the curve, or against it.
pub(super) fn held_against(answer: &Answer) -> Vec<String> {
    let load = answer.loads.iter().map(|load| {
        format!(
            "A load test at {} VUs had {} requests per second; the curve says {}.",
            vus(load.vus),
            significant(load.requests_per_second),
            change(load.difference)
        )
    });
    let usl = answer.usl.as_ref().map(|usl| {
        let peak = usl.peak_vus.map_or_else(|| "no peak".to_owned(), |n| format!("a peak at {} VUs", significant(n)));
        format!(
            "Universal Scalability Law (a second view; not used): σ {}, κ {}, {peak}.",
            significant(usl.sigma),
            significant(usl.kappa)
        )
    });
    load.chain(usl).collect()
}

/// What the plan is, and what the asterisk says.
pub(super) fn planning(answer: &Answer) -> String {
    format!(
        "Plan is {} of the model's users. * is beyond {} of the greatest throughput, where pauses of the server decide: \
         hold such a rate with an open-model scenario before relying on it.",
        percent(answer.planning_share),
        percent(FORECASTABLE)
    )
}
