//! Was it the server, or was it us: the generator's health; and who answered: nodes, errors, statuses.

use std::collections::{BTreeMap, BTreeSet};

use maud::html;

use super::Run;
use super::chart::{Area, Scale, clock, end_labels, headroom, path, px, raw, x_axis, y_axis};
use super::figure::{Figure, Table};
use super::overview::{middle, parts, share, time};
use crate::report::course::{NodeSlot, Slot};
use crate::report::foreign;
use crate::report::number::{MISSING, bytes, count, maybe, percent, significant};

/// Characters of a foreign name that are shown.
pub(super) const NAME: usize = 60;

/// The generator's health over time.
pub(super) fn generator(run: &Run<'_>) -> Option<Figure> {
    let course = run.course;
    course.slots.first()?;
    let upper = Area::half(22.0, 112.0);
    let lower = Area::half(154.0, 244.0);
    let scale = time(upper, course);
    let busy = Scale::linear(0.0, 100.0, upper.bottom, upper.top);
    let own = |slot: &Slot| slot.delay_p99_ms.or(slot.lag_p99_ms);
    let late = Scale::linear(0.0, headroom(course.slots.iter().filter_map(own)), lower.bottom, lower.top);
    let busiest = |slot: &Slot| (scale.at(middle(slot)), Some(busy.at(100.0 * slot.busiest)));
    let last = course.slots.last().map_or(0.0, |slot| 100.0 * slot.busiest);
    let delay = course.slots.iter().any(|slot| slot.delay_p99_ms.is_some());
    let name = if delay { "responses waited for us, p99, ms" } else { "event loop late, p99, ms" };
    let limited: Vec<&Slot> = course.slots.iter().filter(|slot| slot.limited_s > 0).collect();
    let body = html! {
        @for area in [upper, lower] {
            (parts(area, &scale, course))
            @for slot in &limited {
                @let (from, to) = (scale.at(slot.from_s as f64), scale.at((slot.from_s + slot.seconds) as f64));
                rect.limited x=(px(from)) y=(px(area.top)) width=(px(to - from)) height=(px(area.bottom - area.top)) {}
            }
        }
        (y_axis(upper, &busy, "busiest worker, % of its core", 4))
        line.limit x1=(px(upper.left)) x2=(px(upper.right)) y1=(px(busy.at(85.0))) y2=(px(busy.at(85.0))) {}
        path.line.c1 d=(raw(path(course.slots.iter().map(busiest)))) {}
        (end_labels(upper.right, vec![(busy.at(85.0), "limit-text", "limit 85 %".to_owned()), (busy.at(last), "c1", "busiest".to_owned())]))
        (y_axis(lower, &late, name, 3))
        path.line.c3 d=(raw(path(course.slots.iter().map(|slot| (scale.at(middle(slot)), own(slot).map(|v| late.at(v))))))) {}
        (x_axis(lower, &scale, &lower.time_ticks(course.end_s()), "time since the start, min:s"))
    };
    Some(Figure {
        id: run.id("generator"),
        title: "The generator's own health".to_owned(),
        finding: finding(run),
        how: "this is the machine that made the load, not the server; marked seconds are those in which the generator was \
              the limit, and with more than 5 % of them the figures are not the server's.",
        height: 284.0,
        body,
        x: Some(scale),
        table: table(&course.slots),
        wide: false,
    })
}

fn finding(run: &Run<'_>) -> String {
    let health = &run.summary.generator;
    let word = if health.kept_up() { "The generator kept up" } else { "The generator was the limit" };
    let memory =
        health.peak_memory_bytes.map_or_else(String::new, |peak| format!(", {} of memory at most", bytes(peak)));
    let files = health
        .open_files
        .map_or_else(String::new, |(open, limit)| format!(", {} of {} files open", count(open), count(limit)));
    format!(
        "{word}: limited in {} of {} s; its busiest worker used {} of a core in the worst second{memory}{files}.",
        count(health.limited_seconds),
        count(health.seconds),
        percent(health.busiest_worker),
    )
}

fn table(slots: &[Slot]) -> Table {
    let mut table = Table::new(&[
        "from, min:s",
        "busiest worker",
        "event loop late p99, ms",
        "responses waited p99, ms",
        "memory",
        "limited s",
    ]);
    for slot in slots {
        table.row_at(
            middle(slot),
            vec![
                clock(slot.from_s as f64),
                percent(slot.busiest),
                maybe(slot.lag_p99_ms),
                maybe(slot.delay_p99_ms),
                slot.memory_bytes.map_or_else(|| MISSING.to_owned(), bytes),
                count(slot.limited_s),
            ],
        );
    }
    table
}

/// The classes of series, in order.
const CLASSES: [&str; 4] = ["c1", "c2", "c3", "c4"];

/// Requests per second by node, over time.
pub(super) fn nodes(run: &Run<'_>) -> Option<Figure> {
    let course = run.course;
    let figures = &run.figures.nodes;
    if figures.len() < 2 {
        return None;
    }
    // By the course's own names: in a run that is older than the events that name nodes they are the cookies' values.
    let names: BTreeSet<&str> = course.slots.iter().flat_map(|slot| slot.nodes.keys()).map(String::as_str).collect();
    let mut order: Vec<&str> = names.into_iter().collect();
    order.sort_by_key(|name| std::cmp::Reverse(completed(&course.slots, name)));
    let shown = &order[..order.len().min(CLASSES.len())];
    let area = Area::half(22.0, 182.0);
    let scale = time(area, course);
    let rate =
        |slot: &Slot, name: &str| slot.nodes.get(name).map(|node| node.completed as f64 / slot.seconds.max(1) as f64);
    let most = shown.iter().flat_map(|name| course.slots.iter().filter_map(move |slot| rate(slot, name)));
    let y = Scale::linear(0.0, headroom(most), area.bottom, area.top);
    let ends = shown.iter().zip(CLASSES).map(|(name, class)| {
        let last = course.slots.iter().rev().find_map(|slot| rate(slot, name)).unwrap_or(0.0);
        (y.at(last), class, foreign::line(name, 11))
    });
    let body = html! {
        (parts(area, &scale, course))
        (y_axis(area, &y, "fetches per second, by node", 4))
        (x_axis(area, &scale, &area.time_ticks(course.end_s()), "time since the start, min:s"))
        @for (name, class) in shown.iter().zip(CLASSES) {
            path class={ "line " (class) } d=(raw(path(course.slots.iter().map(|slot| (scale.at(middle(slot)), rate(slot, name).map(|v| y.at(v))))))) {}
        }
        (end_labels(area.right, ends.collect()))
    };
    let most = figures.iter().map(|n| n.share).fold(0.0, f64::max);
    let busiest = figures.iter().find(|n| n.share >= most).map_or("", |n| n.node.as_str());
    Some(Figure {
        id: run.id("nodes"),
        title: "Nodes".to_owned(),
        finding: format!(
            "{} nodes answered; {} had the most, {} of the requests: imbalance {:.2}, where 1 is even.",
            figures.len(),
            foreign::line(busiest, NAME),
            percent(most),
            most * figures.len() as f64,
        ),
        how: "lines that lie together are an even balance; a node that answers more slowly, or not at all for a while, \
              shows here first.",
        height: 222.0,
        body,
        x: Some(scale),
        table: node_table(run),
        wide: false,
    })
}

fn completed(slots: &[Slot], name: &str) -> u64 {
    slots.iter().filter_map(|slot| slot.nodes.get(name)).map(|node: &NodeSlot| node.completed).sum()
}

fn node_table(run: &Run<'_>) -> Table {
    let mut table = Table::new(&["node", "share", "requests per s", "mean ms", "p95 ms", "failed"]);
    for node in &run.figures.nodes {
        table.row(vec![
            foreign::line(&node.node, NAME),
            percent(node.share),
            significant(node.requests_per_second),
            maybe(node.mean_ms),
            maybe(node.p95_ms),
            node.error_rate.map_or_else(|| MISSING.to_owned(), percent),
        ]);
    }
    table
}

/// Failures over time by kind; none where nothing failed.
pub(super) fn errors(run: &Run<'_>) -> Option<Figure> {
    let course = run.course;
    if course.errors.is_empty() {
        return None;
    }
    let mut kinds: Vec<_> = course.errors.iter().collect();
    kinds.sort_by_key(|(_, seen)| std::cmp::Reverse(seen.count));
    let area = Area::half(22.0, 162.0);
    let scale = time(area, course);
    let rate = |slot: &Slot, kind| slot.errors.get(kind).copied().unwrap_or(0) as f64 / slot.seconds.max(1) as f64;
    let shown = &kinds[..kinds.len().min(CLASSES.len())];
    let most = shown.iter().flat_map(|(kind, _)| course.slots.iter().map(move |slot| rate(slot, *kind)));
    let y = Scale::linear(0.0, headroom(most), area.bottom, area.top);
    let ends = shown.iter().zip(CLASSES).map(|((kind, _), class)| {
        let last = course.slots.last().map_or(0.0, |slot| rate(slot, kind));
        (y.at(last), class, foreign::line(&kind.to_string(), 13))
    });
    let body = html! {
        (parts(area, &scale, course))
        (y_axis(area, &y, "failed per second, by kind", 3))
        (x_axis(area, &scale, &area.time_ticks(course.end_s()), "time since the start, min:s"))
        @for ((kind, _), class) in shown.iter().zip(CLASSES) {
            path class={ "line " (class) } d=(raw(path(course.slots.iter().map(|slot| (scale.at(middle(slot)), Some(y.at(rate(slot, kind)))))))) {}
        }
        (end_labels(area.right, ends.collect()))
    };
    let worst = kinds.first().map_or_else(String::new, |(kind, seen)| {
        format!(
            "Most often, {} times: {}; first at {}, last at {}.",
            count(seen.count),
            kind.describe(),
            clock(seen.first_s as f64),
            clock(seen.last_s as f64)
        )
    });
    Some(Figure {
        id: run.id("errors"),
        title: "Failures".to_owned(),
        finding: worst,
        how: "failures that come in one peak are an event, such as a restart; those that go along with the load are a limit.",
        height: 202.0,
        body,
        x: Some(scale),
        table: error_table(run),
        wide: false,
    })
}

fn error_table(run: &Run<'_>) -> Table {
    let mut kinds: Vec<_> = run.course.errors.iter().collect();
    kinds.sort_by_key(|(_, seen)| std::cmp::Reverse(seen.count));
    let mut table =
        Table::new(&["what happened", "count, whole run", "share", "first, min:s", "last, min:s", "k6 error_code"]);
    let all = kinds.iter().map(|(_, seen)| seen.count).sum();
    for (kind, seen) in kinds {
        table.row(vec![
            kind.describe(),
            count(seen.count),
            share(seen.count, all),
            clock(seen.first_s as f64),
            clock(seen.last_s as f64),
            kind.k6_code().to_string(),
        ]);
    }
    table
}

/// Responses by status, and messages of failures.
pub(super) fn answers(run: &Run<'_>) -> (Table, Table) {
    let mut statuses: BTreeMap<u16, u64> = BTreeMap::new();
    for (status, n) in run.summary.steady.series.iter().flat_map(|series| &series.statuses) {
        *statuses.entry(*status).or_default() += n;
    }
    let all = statuses.values().sum();
    let mut by_status = Table::new(&["status", "responses", "share"]);
    for (status, n) in statuses {
        by_status.row(vec![status.to_string(), count(n), share(n, all)]);
    }
    let mut messages = Table::new(&["where", "message", "count"]).left(&[0, 1]);
    for failure in &run.publishes.failures {
        messages.row(vec![failure.place.clone(), failure.why.clone(), count(failure.count)]);
    }
    (by_status, messages)
}
