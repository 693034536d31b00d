//! The run on one time axis: requests per second, VUs, p95 and failures, with warm-up and publishes marked.

use maud::{Markup, html};

use super::Run;
use super::chart::{Area, Scale, WIDE, clock, end_labels, headroom, path, px, raw, stairs, x_axis, y_axis};
use super::figure::{Figure, Table};
use crate::report::course::{Course, Slot};
use crate::report::number::{count, maybe, percent, significant, vus};
use crate::window::Part;

/// The time axis of a course.
pub(super) fn time(area: Area, course: &Course) -> Scale {
    Scale::linear(0.0, course.end_s().max(1) as f64, area.left, area.right)
}

/// The middle of a slot.
pub(super) fn middle(slot: &Slot) -> f64 {
    slot.from_s as f64 + slot.seconds as f64 / 2.0
}

/// A part of a run in a word.
fn word(part: Part) -> &'static str {
    match part {
        Part::WarmUp => "warm-up",
        Part::Steady => "measured",
        Part::Paused => "paused",
        Part::Stopping => "stopping",
    }
}

/// Shades what is not measured, and says what it is.
pub(super) fn parts(area: Area, scale: &Scale, course: &Course) -> Markup {
    let ends = course.parts.iter().skip(1).map(|part| part.second).chain([course.end_s()]);
    let apart = course.parts.iter().zip(ends).filter(|(part, _)| part.part != Part::Steady);
    html! {
        @for (part, end) in apart {
            @let (from, to) = (scale.at(part.second as f64), scale.at(end as f64));
            rect.apart x=(px(from)) y=(px(area.top)) width=(px(to - from)) height=(px(area.bottom - area.top)) {}
            @if to - from > 54.0 {
                text.tick x=(px(from + 4.0)) y=(px(area.bottom - 6.0)) {
                    (word(part.part))
                }
            }
        }
    }
}

fn per_s(slot: &Slot, n: u64) -> f64 {
    n as f64 / slot.seconds.max(1) as f64
}

const PANEL: f64 = 92.0;
const GAP: f64 = 40.0;

fn panel(at: usize) -> Area {
    let top = 22.0 + at as f64 * (PANEL + GAP);
    Area::wide(top, top + PANEL)
}

/// The plot.
pub(super) fn overview(run: &Run<'_>) -> Option<Figure> {
    let course = run.course;
    course.slots.first()?;
    let scale = time(panel(0), course);
    let panels = [rate(course, scale), vu_count(course, scale), latency(course, scale), failures(course, scale)];
    let last = panel(panels.len() - 1);
    let body = html! {
        @for (at, panel_body) in panels.into_iter().enumerate() { (parts(panel(at), &scale, course)) (panel_body) }
        (publish_marks(run, &scale, last.bottom))
        (x_axis(Area { top: panel(0).top, ..last }, &scale, &panel(0).time_ticks(course.end_s()), "time since the start, min:s"))
    };
    Some(Figure {
        id: run.id("overview"),
        title: "The run over time".to_owned(),
        finding: finding(run),
        how: "all four share one time axis; a level line is a steady server, shaded parts are not in the figures, and \
              ticks below the last panel are the ends of publishes.",
        height: last.bottom + 40.0,
        body,
        x: Some(scale),
        table: table(course),
        wide: true,
    })
}

fn rate(course: &Course, scale: Scale) -> Markup {
    let area = panel(0);
    let of = |slot: &Slot| per_s(slot, slot.completed);
    let y = Scale::linear(0.0, headroom(course.slots.iter().map(of)), area.bottom, area.top);
    let points = course.slots.iter().map(|slot| (scale.at(middle(slot)), Some(y.at(of(slot)))));
    let last = course.slots.iter().rev().find(|slot| slot.part == Part::Steady).map_or(0.0, of);
    html! {
        (y_axis(area, &y, "requests per second", 3))
        path.line.c1 d=(raw(path(points))) {}
        (end_labels(area.right, vec![(y.at(last), "c1", "completed".to_owned())]))
    }
}

fn vu_count(course: &Course, scale: Scale) -> Markup {
    let area = panel(1);
    let y = Scale::linear(0.0, headroom(course.slots.iter().map(|slot| slot.vus)), area.bottom, area.top);
    let steps: Vec<(f64, f64)> =
        course.slots.iter().map(|slot| (scale.at(slot.from_s as f64), y.at(slot.vus))).collect();
    let last = course.slots.iter().rev().find(|slot| slot.part == Part::Steady).map_or(0.0, |slot| slot.vus);
    html! {
        (y_axis(area, &y, "fetching VUs", 3))
        path.line.c4 d=(raw(stairs(&steps, scale.at(course.end_s() as f64)))) {}
        (end_labels(area.right, vec![(y.at(last), "c4", "VUs".to_owned())]))
    }
}

fn latency(course: &Course, scale: Scale) -> Markup {
    let area = panel(2);
    let y = Scale::linear(0.0, headroom(course.slots.iter().filter_map(|s| s.p95_ms)), area.bottom, area.top);
    let line = |of: fn(&Slot) -> Option<f64>| {
        path(course.slots.iter().map(|slot| (scale.at(middle(slot)), of(slot).map(|v| y.at(v)))))
    };
    let last = |of: fn(&Slot) -> Option<f64>| course.slots.iter().rev().find_map(of).map_or(area.bottom, |v| y.at(v));
    let labels = vec![(last(|s| s.p95_ms), "c2", "p95".to_owned()), (last(|s| s.p50_ms), "c1", "median".to_owned())];
    html! {
        (y_axis(area, &y, "fetch latency, ms", 3))
        path.line.c2 d=(raw(line(|s| s.p95_ms))) {}
        path.line.c1 d=(raw(line(|s| s.p50_ms))) {}
        (end_labels(area.right, labels))
    }
}

fn failures(course: &Course, scale: Scale) -> Markup {
    let area = panel(3);
    let of = |slot: &Slot| per_s(slot, slot.failed + slot.dropped);
    let y = Scale::linear(0.0, headroom(course.slots.iter().map(of)), area.bottom, area.top);
    let steps: Vec<(f64, f64)> =
        course.slots.iter().map(|slot| (scale.at(slot.from_s as f64), y.at(of(slot)))).collect();
    let none = course.slots.iter().all(|slot| slot.failed + slot.dropped == 0);
    html! {
        (y_axis(area, &y, "failed and dropped per second", 2))
        path.line.c2 d=(raw(stairs(&steps, scale.at(course.end_s() as f64)))) {}
        @if none { text.note x=(px((area.left + area.right) / 2.0)) y=(px(area.top + 40.0)) text-anchor="middle" { "none" } }
    }
}

/// A tick at the end of each publish; a cross where it failed.
fn publish_marks(run: &Run<'_>, scale: &Scale, y: f64) -> Markup {
    let ends = run.publishes.publishes.iter().filter(|publish| publish.interrupted.is_none());
    let mark = |x: f64, ok: bool| match ok {
        true => format!("M{},{}v5", px(x), px(y + 1.0)),
        false => format!("M{},{}l5,5m0,-5l-5,5", px(x - 3.0), px(y + 1.0)),
    };
    let [good, bad] = [true, false].map(|ok| {
        ends.clone().filter(|p| p.ok == ok).map(|p| mark(scale.at(p.finished_ms / 1000.0), ok)).collect::<String>()
    });
    html! {
        path.rug.c3 d=(raw(good)) {}
        path.rug.c2 d=(raw(bad)) {}
        @if !run.publishes.publishes.is_empty() {
            text.label.c3 x=(px(WIDE - 86.0)) y=(px(y + 9.0)) { "publishes" }
        }
    }
}

fn finding(run: &Run<'_>) -> String {
    let f = run.figures;
    let steady = run.course.slots.iter().filter(|slot| slot.part == Part::Steady);
    let rates: Vec<f64> = steady.map(|slot| per_s(slot, slot.completed)).collect();
    let least = rates.iter().copied().fold(f64::INFINITY, f64::min);
    let most = rates.iter().copied().fold(0.0, f64::max);
    if rates.is_empty() {
        return "Nothing was measured after the warm-up.".to_owned();
    }
    let width = match run.course.width_s {
        1 => "second".to_owned(),
        n => format!("{n} s"),
    };
    format!(
        "{} requests per second on average with {} fetching VUs; between {} and {} in any {width}. {} of {} requests failed.",
        significant(f.all_per_s),
        vus(f.vus),
        significant(least),
        significant(most),
        count(f.requests.failed),
        count(f.requests.failed + f.requests.completed),
    )
}

fn table(course: &Course) -> Table {
    let mut table = Table::new(&[
        "from, min:s",
        "requests per s",
        "VUs",
        "median ms",
        "p95 ms",
        "p99 ms",
        "max ms",
        "failed",
        "dropped",
        "part",
    ])
    .left(&[0, 9]);
    for slot in &course.slots {
        table.row_at(
            middle(slot),
            vec![
                clock(slot.from_s as f64),
                significant(per_s(slot, slot.completed)),
                vus(slot.vus),
                maybe(slot.p50_ms),
                maybe(slot.p95_ms),
                maybe(slot.p99_ms),
                maybe(slot.max_ms),
                count(slot.failed),
                count(slot.dropped),
                word(slot.part).to_owned(),
            ],
        );
    }
    table
}

/// The share of an amount, in words; a dash for nothing of nothing.
pub(super) fn share(part: u64, of: u64) -> String {
    if of == 0 { crate::report::number::MISSING.to_owned() } else { percent(part as f64 / of as f64) }
}
