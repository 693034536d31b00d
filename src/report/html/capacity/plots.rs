//! The plots of a capacity plan.

use maud::{Markup, html};

use super::class;
use crate::capacity::sizing::answer::{Answer, plan_of};
use crate::capacity::sizing::demand::Headroom;
use crate::capacity::sizing::nodes::Row;
use crate::capacity::sizing::{Basis, Forecast};
use crate::report::foreign;
use crate::report::html::chart::{
    Area, HALF, Scale, WIDE, band, end_labels, headroom, marker, path, plain_ticks, px, raw, x_axis, y_axis,
};
use crate::report::html::figure::{Figure, Table};
use crate::report::number::{change, count, maybe, percent, short, significant};
use crate::report::sizing;

/// Those that there is something to draw of.
pub(super) fn all(answer: &Answer) -> Vec<Figure> {
    let asked = answer.headroom.as_ref();
    [bars(answer), asked.and_then(|asked| growth(answer, asked)), latency(answer), nodes(answer), cost(answer)]
        .into_iter()
        .flatten()
        .collect()
}

fn users(n: u32) -> String {
    count(u64::from(n))
}

/// What is asked beside what there is.
fn bars(answer: &Answer) -> Option<Figure> {
    let row = answer.rows.iter().find(|row| row.nodes == answer.nodes)?;
    let mut bars: Vec<(String, u32, &str)> = Vec::new();
    if let Some(asked) = &answer.headroom {
        bars.push(("asked for".to_owned(), asked.demand.users, "fill c2"));
    }
    for users in &row.users {
        bars.push((format!("plan, {}", sizing::name(users.target)), users.plan, "basis-bar measured"));
        let basis = if users.uncertain { "basis-bar extrapolated" } else { "basis-bar interpolated" };
        bars.push((format!("model, {}", sizing::name(users.target)), users.model, basis));
    }
    let most = bars.iter().map(|(_, n, _)| f64::from(*n)).fold(1.0, f64::max);
    let bottom = 10.0 + 30.0 * bars.len() as f64;
    let area = Area { left: 190.0, right: WIDE - 110.0, top: 10.0, bottom };
    let x = Scale::linear(0.0, most, area.left, area.right);
    let mut table = Table::new(&["what", "users at once"]);
    let body = html! {
        (x_axis(area, &x, &plain_ticks(&x, 6), "users at once"))
        @for (at, (name, n, class)) in bars.iter().enumerate() {
            @let y = area.top + 30.0 * at as f64 + 5.0;
            @let to = x.at(f64::from(*n));
            text.label x="2" y=(px(y + 14.0)) { (name) }
            rect class=(class) x=(px(area.left)) y=(px(y)) width=(px((to - area.left).max(1.0))) height="20" {}
            text.label x=(px(to + 8.0)) y=(px(y + 14.0)) { (users(*n)) }
        }
    };
    bars.iter().for_each(|(name, n, _)| table.row(vec![name.clone(), users(*n)]));
    let finding = match &answer.headroom {
        Some(asked) => sizing::headroom(asked),
        None => sizing::sentence(answer),
    };
    Some(Figure {
        id: "capacity-headroom".to_owned(),
        title: "What is asked, and what there is".to_owned(),
        finding,
        how: "the plan is what to promise, the model what the curve says without any room; dashed bars are met only near the \
              greatest throughput and want a run that shows it.",
        height: bottom + 40.0,
        body,
        x: None,
        table,
        wide: true,
    })
}

const MONTHS: u32 = 24;

/// Users as they grow against what numbers of nodes carry.
fn growth(answer: &Answer, asked: &Headroom) -> Option<Figure> {
    let demand = asked.demand;
    if demand.growth_per_month <= 0.0 {
        return None;
    }
    let at = |month: f64| f64::from(demand.users) * (1.0 + demand.growth_per_month).powf(month);
    let most = at(f64::from(MONTHS));
    // The first number of nodes that is beyond all that is asked is drawn, further ones say nothing.
    let mut rows: Vec<&Row> = Vec::new();
    for row in &answer.rows {
        rows.push(row);
        if f64::from(plan_of(row)) > most {
            break;
        }
    }
    let tallest = rows.iter().map(|row| f64::from(plan_of(row))).chain([most]).fold(1.0, f64::max);
    let area = Area { right: WIDE - 190.0, ..Area::wide(22.0, 252.0) };
    let x = Scale::linear(0.0, f64::from(MONTHS), area.left, area.right);
    let y = Scale::linear(0.0, tallest.min(most * 2.0) * 1.08, area.bottom, area.top);
    let ticks: Vec<(f64, String)> = (0..=MONTHS).step_by(3).map(|m| (f64::from(m), m.to_string())).collect();
    let grown = || (0..=MONTHS * 2).map(|n| f64::from(n) / 2.0);
    let body = html! {
        (y_axis(area, &y, "users at once", 5))
        (x_axis(area, &x, &ticks, "months from now"))
        (interval(answer, (&x, &y)))
        @for row in &rows {
            @let level = px(y.at(f64::from(plan_of(row))));
            @if y.has(f64::from(plan_of(row))) {
                path class={ "basis-line " (class(row.basis)) } d=(raw(format!("M{},{level}H{}", px(area.left), px(area.right)))) {}
            }
        }
        path.line.c2 d=(raw(path(grown().map(|m| (x.at(m), Some(y.at(at(m)))))))) {}
        @if let Some(months) = asked.months.filter(|m| *m > 0.0 && *m <= f64::from(MONTHS)) {
            path.drop d=(raw(format!("M{},{}V{}", px(x.at(months)), px(y.at(at(months))), px(area.bottom)))) {}
            (marker(x.at(months), y.at(at(months)), "c2"))
        }
        (end_labels(area.right, level_labels(&rows, &y, (y.at(most), format!("asked for, {}", percent(demand.growth_per_month))))))
    };
    Some(Figure {
        id: "capacity-growth".to_owned(),
        title: "Demand against capacity".to_owned(),
        finding: growth_finding(asked, at),
        how: "where the rising line crosses a level line, that many nodes are no longer enough for the plan; the shaded band \
              is the interval of the measured plateau, and the growth is what you gave.",
        height: 292.0,
        body,
        x: Some(x),
        table: growth_table(&rows, demand.spare, asked, at),
        wide: true,
    })
}

fn level_labels(rows: &[&Row], y: &Scale, asked: (f64, String)) -> Vec<(f64, &'static str, String)> {
    let seen = rows.iter().filter(|row| y.has(f64::from(plan_of(row))));
    let levels = seen.map(|row| {
        let nodes = if row.nodes == 1 { "1 node".to_owned() } else { format!("{} nodes", row.nodes) };
        (y.at(f64::from(plan_of(row))), "c1", format!("{nodes}, {}", row.basis.word()))
    });
    levels.chain([(asked.0, "c2", asked.1)]).collect()
}

/// The plan of the measured nodes as wide as the interval of their plateau.
fn interval(answer: &Answer, (x, y): (&Scale, &Scale)) -> Markup {
    let row = answer.rows.iter().find(|row| row.nodes == answer.nodes);
    let Some((row, (low, high))) = row.zip(answer.requests_per_second_ci) else { return html! {} };
    let plan = f64::from(plan_of(row)) / answer.requests_per_second;
    let (from, to) = (x.at(0.0), x.at(f64::from(MONTHS)));
    let edge = |per_s: f64| vec![(from, y.at(plan * per_s)), (to, y.at(plan * per_s))];
    html! { path.area.c1 d=(raw(band(&edge(high), &edge(low)))) {} }
}

fn growth_finding(asked: &Headroom, at: impl Fn(f64) -> f64) -> String {
    let year = users(at(12.0).round() as u32);
    match asked.months {
        Some(months) if months > 0.0 => format!(
            "The plan of the measured nodes is used up in {} months; in a year {year} users are there.",
            significant(months)
        ),
        _ => format!("The plan of the measured nodes is not enough now; in a year {year} users are there."),
    }
}

fn growth_table(rows: &[&Row], spare: u32, asked: &Headroom, at: impl Fn(f64) -> f64) -> Table {
    let spare = format!("nodes with {spare} spare");
    let mut table = Table::new(&["in months", "users at once", "nodes whose plan is enough", spare.as_str()]);
    for month in (0..=MONTHS).step_by(3) {
        let need = at(f64::from(month));
        let enough = rows.iter().find(|row| f64::from(plan_of(row)) >= need);
        let enough = enough.map_or_else(|| "more".to_owned(), |row| row.nodes.to_string());
        let bought = asked.needed.iter().find(|needed| needed.months == month).and_then(|needed| needed.with_spare);
        let bought = bought.map_or_else(|| maybe(None), |n| n.to_string());
        table.row_at(f64::from(month), vec![month.to_string(), users(need.round() as u32), enough, bought]);
    }
    table
}

/// What users get.
fn latency(answer: &Answer) -> Option<Figure> {
    type Of = fn(&Forecast) -> Option<f64>;
    let lines: [(&str, &str, Of); 3] =
        [("p99", "c4", |f| f.p99_ms), ("p95", "c2", |f| f.p95_ms), ("median", "c1", |f| f.p50_ms.or(Some(f.mean_ms)))];
    let values = || lines.iter().flat_map(|(_, _, of)| answer.forecasts.iter().filter_map(of));
    let limits: Vec<f64> = answer.rows.first()?.users.iter().map(|users| users.target.limit_ms).collect();
    let least = values().fold(f64::INFINITY, f64::min);
    let most = values().chain(limits.iter().copied()).fold(0.0, f64::max);
    let area = Area { right: HALF - 84.0, ..Area::half(22.0, 252.0) };
    let end = answer.forecasts.iter().map(|f| f64::from(f.users)).fold(1.0, f64::max);
    let x = Scale::linear(0.0, end, area.left, area.right);
    let y = Scale::log(least * 0.8, most * 1.3, area.bottom, area.top);
    let line = |of: Of| path(answer.forecasts.iter().map(|f| (x.at(f64::from(f.users)), of(f).map(|v| y.at(v)))));
    let last = |of: Of| answer.forecasts.iter().rev().find_map(of).map(|v| y.at(v));
    let labels = lines.iter().filter_map(|(name, class, of)| Some((last(*of)?, *class, (*name).to_owned())));
    let plan = sizing::strictest(answer).filter(|users| users.plan > 0);
    let uncertain = answer.forecasts.iter().find(|f| f.uncertain).map(|f| x.at(f64::from(f.users)));
    let body = html! {
        @if let Some(from) = uncertain {
            rect.apart x=(px(from)) y=(px(area.top)) width=(px(area.right - from)) height=(px(area.bottom - area.top)) {}
            text.tick x=(px(from + 4.0)) y=(px(area.bottom - 6.0)) { "to be validated" }
        }
        (y_axis(area, &y, "latency, ms (logarithmic)", 5))
        (x_axis(area, &x, &plain_ticks(&x, 5), "users at once"))
        @for limit in &limits {
            line.limit x1=(px(area.left)) x2=(px(area.right)) y1=(px(y.at(*limit))) y2=(px(y.at(*limit))) {}
            text.limit-text x=(px(area.left + 4.0)) y=(px(y.at(*limit) - 4.0)) { (short(*limit)) " ms" }
        }
        @for (_, class, of) in &lines { path class={ "line " (class) } d=(raw(line(*of))) {} }
        @if let Some(users) = plan {
            path.drop d=(raw(format!("M{},{}V{}", px(x.at(f64::from(users.plan))), px(area.top), px(area.bottom)))) {}
            text.label.c2 x=(px(x.at(f64::from(users.plan)) - 4.0)) y=(px(area.top + 10.0)) text-anchor="end" { "plan" }
        }
        (end_labels(area.right, labels.collect()))
    };
    let mut table = Table::new(&["users", "requests per s", "of the most", "mean ms", "median ms", "p95 ms", "p99 ms"]);
    for f in &answer.forecasts {
        let ms = [Some(f.mean_ms), f.p50_ms, f.p95_ms, f.p99_ms].map(maybe);
        let row = [users(f.users), significant(f.requests_per_second), percent(f.utilisation)];
        table.row_at(f64::from(f.users), row.into_iter().chain(ms).collect());
    }
    Some(Figure {
        id: "capacity-latency".to_owned(),
        title: "What users get".to_owned(),
        finding: latency_finding(answer),
        how: "read up from a number of users: the lines are what they would wait, the dashed levels the limits; in the shaded \
              part pauses of the server decide, and a run at that rate has to show it.",
        height: 292.0,
        body,
        x: Some(x),
        table,
        wide: false,
    })
}

fn latency_finding(answer: &Answer) -> String {
    let near = |share: f64| {
        answer.forecasts.iter().min_by(|a, b| (a.utilisation - share).abs().total_cmp(&(b.utilisation - share).abs()))
    };
    let one = |f: &Forecast| {
        format!(
            "{} users, {} of the most, would get a p95 of {} ms",
            users(f.users),
            percent(f.utilisation),
            maybe(f.p95_ms)
        )
    };
    let some: Vec<String> = [0.5, 0.9].into_iter().filter_map(near).map(one).collect();
    format!("{}.", some.join("; "))
}

/// What more nodes bring.
fn nodes(answer: &Answer) -> Option<Figure> {
    if answer.rows.len() < 2 {
        return None;
    }
    let most = answer.rows.iter().map(|row| f64::from(plan_of(row))).fold(1.0, f64::max);
    let area = Area { right: HALF - 12.0, ..Area::half(22.0, 252.0) };
    let y = Scale::linear(0.0, most * 1.15, area.bottom, area.top);
    let width = (area.right - area.left) / answer.rows.len() as f64;
    let asked = answer.headroom.as_ref().map(|asked| f64::from(asked.demand.users)).filter(|n| y.has(*n));
    let body = html! {
        (y_axis(area, &y, "users to plan with", 5))
        @for (at, row) in answer.rows.iter().enumerate() {
            @let (left, plan) = (area.left + width * at as f64, f64::from(plan_of(row)));
            @let middle = px(left + width / 2.0);
            rect class={ "basis-bar " (class(row.basis)) } x=(px(left + width * 0.18)) y=(px(y.at(plan))) width=(px(width * 0.64)) height=(px(area.bottom - y.at(plan))) {}
            text.label x=(middle) y=(px(y.at(plan) - 5.0)) text-anchor="middle" { (users(plan_of(row))) }
            text.tick x=(middle) y=(px(area.bottom + 16.0)) text-anchor="middle" { (row.nodes) }
        }
        text.axis x=(px(area.right)) y=(px(area.bottom + 32.0)) text-anchor="end" { "nodes" }
        @if let Some(asked) = asked {
            line.limit x1=(px(area.left)) x2=(px(area.right)) y1=(px(y.at(asked))) y2=(px(y.at(asked))) {}
            text.limit-text x=(px(area.left + 4.0)) y=(px(y.at(asked) - 4.0)) { "asked for" }
        }
    };
    let mut table = Table::new(&["nodes", "requests per s", "users to plan with", "rests on"]).left(&[3]);
    for row in &answer.rows {
        let limit =
            row.limit.as_ref().map_or_else(String::new, |tier| format!(", {} is the limit", foreign::line(tier, 60)));
        let basis = format!("{}{limit}", row.basis.word());
        table.row(vec![row.nodes.to_string(), significant(row.requests_per_second), users(plan_of(row)), basis]);
    }
    Some(Figure {
        id: "capacity-nodes".to_owned(),
        title: "What more nodes bring".to_owned(),
        finding: nodes_finding(&answer.rows),
        how: "full bars were measured, pale ones follow from measurements, dashed ones lie beyond them or are assumed; bars \
              that stop growing are limited by what the nodes share.",
        height: 292.0,
        body,
        x: None,
        table,
        wide: false,
    })
}

fn nodes_finding(rows: &[Row]) -> String {
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return String::new() };
    let beyond = rows.iter().filter(|row| row.basis != Basis::Measured).count();
    let limit = rows.iter().find_map(|row| Some((row.nodes, row.limit.as_ref()?)));
    let limit = limit
        .map_or_else(String::new, |(n, tier)| format!(" From {n} nodes on {} is the limit.", foreign::line(tier, 60)));
    let grown = f64::from(plan_of(last)) / f64::from(plan_of(first).max(1)) - 1.0;
    format!(
        "{} nodes against {}: {} users.{limit} {beyond} of {} were not measured.",
        last.nodes,
        first.nodes,
        change(grown),
        rows.len()
    )
}

/// Users against cost.
fn cost(answer: &Answer) -> Option<Figure> {
    let currency = answer.currency.as_ref()?;
    answer.choices.first()?;
    let area = Area { right: WIDE - 130.0, ..Area::wide(22.0, 252.0) };
    let of = |of: fn(&crate::capacity::sizing::cost::Choice) -> f64| headroom(answer.choices.iter().map(of));
    let x = Scale::linear(0.0, of(|c| c.per_hour), area.left, area.right);
    let y = Scale::linear(0.0, of(|c| f64::from(c.users)), area.bottom, area.top);
    let asked = answer.headroom.as_ref().map(|asked| f64::from(asked.demand.users)).filter(|n| y.has(*n));
    let mut best: Vec<_> = answer.choices.iter().filter(|c| c.pareto).collect();
    // Two choices of one place have one name.
    best.dedup_by(|b, a| (x.at(a.per_hour) - x.at(b.per_hour)).abs() < 4.0);
    let body = html! {
        (y_axis(area, &y, "users to plan with", 5))
        (x_axis(area, &x, &plain_ticks(&x, 6), &format!("{} per hour", foreign::line(currency, 12))))
        @if let Some(asked) = asked {
            line.limit x1=(px(area.left)) x2=(px(area.right)) y1=(px(y.at(asked))) y2=(px(y.at(asked))) {}
            text.limit-text x=(px(area.left + 4.0)) y=(px(y.at(asked) - 4.0)) { "asked for" }
        }
        @for c in &answer.choices {
            (marker(x.at(c.per_hour), y.at(f64::from(c.users)), if c.pareto { "c3" } else { "c1" }))
        }
        @for c in &best {
            text.tick x=(px(x.at(c.per_hour) + 8.0)) y=(px(y.at(f64::from(c.users)) + 12.0)) { (c.nodes) " × " (foreign::line(&c.size, 20)) }
        }
    };
    let cheapest =
        answer.choices.iter().filter(|c| c.enough == Some(true)).min_by(|a, b| a.per_hour.total_cmp(&b.per_hour));
    let finding = match (cheapest, &answer.headroom) {
        (Some(c), _) => format!(
            "The cheapest that is enough: {} × {}, {:.2} {} per hour, {} users to plan with ({}).",
            c.nodes,
            foreign::line(&c.size, 40),
            c.per_hour,
            foreign::line(currency, 12),
            users(c.users),
            c.basis.word()
        ),
        (None, Some(_)) => "Nothing that is shown is enough for the demand.".to_owned(),
        (None, None) => format!("{} choices, {} of which nothing cheaper beats.", answer.choices.len(), best.len()),
    };
    let mut rows = super::cost_rows(answer).into_iter();
    let mut table = Table { head: rows.next().unwrap_or_default(), rows: Vec::new(), left: vec![0, 1, 7, 8] };
    rows.zip(&answer.choices).for_each(|(row, c)| {
        table.row_at(c.per_hour, row.iter().map(|cell| foreign::line(cell, 60)).collect());
    });
    Some(Figure {
        id: "capacity-cost".to_owned(),
        title: "Users against cost".to_owned(),
        finding,
        how: "squares are choices that nothing cheaper beats; to the upper left is better. Sizes other than the measured one \
              are reckoned by their virtual CPUs, an assumption.",
        height: 292.0,
        body,
        x: Some(x),
        table,
        wide: true,
    })
}
