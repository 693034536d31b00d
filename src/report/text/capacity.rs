//! What to buy, as text.

use std::path::Path;

use super::super::number::{MISSING, change, count, duration, maybe, percent, short, significant, vus};
use super::{table, what, wrap};
use crate::capacity::sizing::answer::Answer;
use crate::capacity::sizing::demand::Headroom;
use crate::capacity::sizing::validation::Validation;
use crate::capacity::sizing::{FORECASTABLE, Target};
use crate::plan;

/// The answer, the evidence for it and what it does not say.
#[must_use]
pub fn capacity(answer: &Answer, target: &plan::Target, run_dir: &Path) -> String {
    let mut out = format!("{}\n", what(target));
    out.push_str(&sentence(answer));
    out.push_str(&users(answer));
    out.push_str(&forecasts(answer));
    if let Some(v) = &answer.validation {
        out.push_str(&validation(v));
    }
    if let Some(headroom) = &answer.headroom {
        out.push_str(&demand(headroom));
    }
    out.push_str(&tiers(answer));
    out.push_str(&cost(answer));
    out.push_str(&references(answer));
    out.push_str(&second_views(answer));
    out.push_str("\nNotes\n");
    for note in &answer.notes {
        out.push_str(&wrap(note, "  ", 2));
    }
    let percentage = percent(FORECASTABLE);
    let planning = percent(answer.planning_share);
    out.push_str(&wrap(
        &format!(
            "Plan is {planning} of the model's users. * is beyond {percentage} of the greatest throughput, where pauses \
             of the server decide: hold such a rate with an open-model scenario before relying on it."
        ),
        "  ",
        2,
    ));
    out.push_str("\nNot tested\n");
    for line in &answer.not_tested {
        out.push_str(&wrap(line, "  - ", 4));
    }
    out.push_str(&format!("\nfrom run directory: {}\n", run_dir.display()));
    out
}

/// `p(95) < 500 ms`.
fn name(target: Target) -> String {
    let which = target.quantile.map_or_else(|| "mean".to_owned(), |q| format!("p({})", short(q * 100.0)));
    format!("{which} < {} ms", short(target.limit_ms))
}

fn each(answer: &Answer) -> String {
    let b = answer.behaviour;
    let requests = match b.requests_per_action {
        1.0 => String::new(),
        n => format!(" and make {} requests each time", short(n)),
    };
    format!("users who act every {} s{requests}", short(b.think_s))
}

fn sentence(answer: &Answer) -> String {
    let nodes = if answer.nodes == 1 { "1 node".to_owned() } else { format!("{} nodes", answer.nodes) };
    let per_s = significant(answer.requests_per_second);
    let row = answer.rows.iter().find(|row| row.nodes == answer.nodes);
    let strictest = row.and_then(|row| row.users.iter().min_by_key(|users| users.plan));
    let text = match strictest {
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
    };
    wrap(&text, "", 2)
}

fn users(answer: &Answer) -> String {
    let Some(first) = answer.rows.first() else { return String::new() };
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
    let last = rows[0].len() - 1;
    format!("\nUsers at once ({})\n{}", each(answer), table(&rows, 2, &[last]))
}

fn forecasts(answer: &Answer) -> String {
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
    let nodes = if answer.nodes == 1 { "the node".to_owned() } else { format!("the {} nodes", answer.nodes) };
    format!("\nWhat they get from {nodes} measured\n{}", table(&rows, 2, &[]))
}

fn validation(v: &Validation) -> String {
    let kept = if v.target_kept { "kept" } else { "NOT KEPT" };
    let held = match v.forecast_held {
        Some(true) => "the forecast held",
        Some(false) => "the forecast did NOT hold",
        None => "there is no forecast to hold it against",
    };
    let text = format!(
        "Validated: {} requests per second in the open model for {}: expected {} ms, measured {} ms, {} lost; {} {kept}, \
         {held}.",
        significant(v.requests_per_second),
        duration(v.seconds),
        maybe(v.expected_ms),
        maybe(v.measured_ms),
        percent(v.lost),
        name(v.target),
    );
    format!("\n{}", wrap(&text, "", 2))
}

fn demand(headroom: &Headroom) -> String {
    let d = headroom.demand;
    let mut out = format!("\nDemand: {} users at once", count(u64::from(d.users)));
    if d.growth_per_month > 0.0 {
        out.push_str(&format!(", growing {} a month", percent(d.growth_per_month)));
    }
    out.push('\n');
    let verdict = match (headroom.headroom, headroom.months) {
        (Some(h), _) if h < 0.0 => format!("NOT ENOUGH: the plan of what was measured is {} below it.", percent(-h)),
        (Some(h), Some(months)) => {
            format!("Headroom {}; used up in {} months at this growth.", change(h), significant(months))
        }
        (Some(h), None) => format!("Headroom {}.", change(h)),
        (None, _) => "No target to hold it against.".to_owned(),
    };
    out.push_str(&wrap(&verdict, "  ", 2));
    if let Some(f) = &headroom.forecast {
        let got = format!(
            "They would get a mean of {} ms and a 95th percentile of {} ms, at {} of the greatest throughput.",
            significant(f.mean_ms),
            maybe(f.p95_ms),
            percent(f.utilisation)
        );
        out.push_str(&wrap(&got, "  ", 2));
    }
    let spare = format!("with {} spare", d.spare);
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
    out.push_str(&table(&rows, 2, &[]));
    out.push_str(&wrap(&format!("Nodes at most {} busy.", percent(d.utilisation)), "  ", 2));
    out
}

fn tiers(answer: &Answer) -> String {
    if answer.tiers.is_empty() {
        return String::new();
    }
    let mut rows = vec![["shared tier", "utilisation", "full at rps"].map(str::to_owned).to_vec()];
    for tier in &answer.tiers {
        let full = significant(answer.requests_per_second / tier.utilisation);
        rows.push(vec![tier.name.clone(), percent(tier.utilisation), full]);
    }
    format!("\nWhat the nodes share, at the plateau\n{}", table(&rows, 2, &[0]))
}

fn cost(answer: &Answer) -> String {
    let Some(currency) = &answer.currency else { return String::new() };
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
    let note =
        "  → nothing that costs no more serves more. Sizes: linear in virtual CPUs of one family, an assumption.\n";
    format!("\nCost\n{}{note}", table(&rows, 2, &[0, 1, 7, 8]))
}

fn references(answer: &Answer) -> String {
    if answer.documented.is_empty() {
        return String::new();
    }
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
    let note = "Their hardware differs, so that one divided by the other is no factor of scaling. Users by their rule \
                act every 10 s, with no room left.";
    format!("\n{}{}", table(&rows, 2, &[0]), wrap(note, "  ", 2))
}

fn second_views(answer: &Answer) -> String {
    let mut out = String::new();
    for load in &answer.loads {
        let text = format!(
            "A load test at {} VUs had {} requests per second; the curve says {}.",
            vus(load.vus),
            significant(load.requests_per_second),
            change(load.difference)
        );
        out.push_str(&wrap(&text, "  ", 2));
    }
    if let Some(usl) = &answer.usl {
        let peak = usl.peak_vus.map_or_else(|| "no peak".to_owned(), |n| format!("a peak at {} VUs", significant(n)));
        let text = format!(
            "Universal Scalability Law (a second view; not used): σ {}, κ {}, {peak}.",
            significant(usl.sigma),
            significant(usl.kappa)
        );
        out.push_str(&wrap(&text, "  ", 2));
    }
    if out.is_empty() { out } else { format!("\nHeld against\n{out}") }
}
