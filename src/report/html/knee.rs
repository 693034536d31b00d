//! A saturation search: throughput and latency against the VUs, against each other, and the search over time.

use maud::{Markup, html};

use super::chart::{
    Area, HALF, Scale, band, clock, end_labels, headroom, marker, path, plain_ticks, px, raw, stairs, x_axis, y_axis,
};
use super::figure::{Figure, Table};
use super::overview::{middle, time};
use super::{Run, verdict};
use crate::baseline::Baseline;
use crate::capacity::search::{SearchResult, Step, StepKind};
use crate::report::number::{MISSING, change, count, maybe, percent, plus_minus, significant};
use crate::summary::Search;

/// A documented point is drawn where it is at most so many times beyond what was measured.
const NEAR: f64 = 4.0;

pub(super) fn usable(search: &Search) -> Vec<&Step> {
    search.steps.iter().filter(|step| step.kind != StepKind::Unusable && step.requests_per_second > 0.0).collect()
}

/// Whether requests per second were raised, and not VUs.
fn is_open(search: &Search) -> bool {
    search.steps.iter().any(|step| step.rate.is_some())
}

/// What was raised, for an axis and for a sentence.
fn raised(search: &Search) -> (&'static str, &'static str) {
    match is_open(search) {
        true => ("requests per second that were due (logarithmic)", "requests per second"),
        false => ("fetching VUs (logarithmic)", "VUs"),
    }
}

/// Powers of two, and what they are.
pub(super) fn doublings(scale: &Scale) -> Vec<(f64, String)> {
    (0..=17).map(|n| f64::from(1 << n)).filter(|v| scale.has(*v)).map(|v| (v, count(v as u64))).collect()
}

/// The baselines that fit into the plot, as (VUs, requests per second, name).
fn documented<'b>(baselines: &'b [Baseline], vus: f64, per_s: f64) -> Vec<(f64, f64, &'b str)> {
    let near = |b: &'b Baseline| {
        let documented = f64::from(b.vus?);
        let fits = documented <= NEAR * vus && b.requests_per_second <= NEAR * per_s;
        fits.then_some((documented, b.requests_per_second, b.id.as_str()))
    };
    baselines.iter().filter_map(near).collect()
}

/// Where things lie in the knee plot.
struct Knee<'r> {
    area: Area,
    x: Scale,
    y: Scale,
    steps: Vec<&'r Step>,
    points: Vec<(f64, f64, &'r str)>,
    most_vus: f64,
}

impl<'r> Knee<'r> {
    fn of(run: &Run<'r>, search: &'r Search) -> Option<Knee<'r>> {
        let steps = usable(search);
        let vus = || steps.iter().map(|step| f64::from(step.level()));
        let (least, tested) = (vus().reduce(f64::min)?, vus().reduce(f64::max)?);
        let fastest = steps.iter().map(|step| step.requests_per_second + 2.0 * step.standard_error).fold(0.0, f64::max);
        // What is documented was measured with VUs.
        let baselines = if is_open(search) { &[] } else { run.baselines };
        let points = documented(baselines, tested, fastest);
        let most_vus = points.iter().map(|(vus, ..)| *vus).fold(tested, f64::max);
        let top = headroom(points.iter().map(|(_, per_s, _)| *per_s).chain([fastest]));
        let area = Area::wide(22.0, 302.0);
        let x = Scale::log((least / 1.15).max(0.8), most_vus * 1.15, area.left, area.right);
        let y = Scale::linear(0.0, top, area.bottom, area.top);
        Some(Knee { area, x, y, steps, points, most_vus })
    }

    /// The intervals: of the saturating VUs, upright; of the plateau, level.
    fn intervals(&self, result: &SearchResult) -> Markup {
        let Area { left, right, top, bottom } = self.area;
        html! {
            @if let Some((low, high)) = result.vus_ci {
                @let (from, to) = (self.x.at(f64::from(low)), self.x.at(f64::from(high)));
                rect.interval x=(px(from)) y=(px(top)) width=(px((to - from).max(1.0))) height=(px(bottom - top)) {}
                text.tick x=(px(to + 4.0)) y=(px(bottom - 8.0)) { "90 % interval of the VUs" }
            }
            @if let Some((low, high)) = result.requests_per_second_ci {
                @let (from, to) = (self.y.at(high), self.y.at(low));
                rect.interval x=(px(left)) y=(px(from)) width=(px(right - left)) height=(px((to - from).max(1.0))) {}
            }
        }
    }

    /// The fitted curve, and what there would be without queueing.
    fn curve(&self, result: &SearchResult) -> Markup {
        let Some(knee) = result.knee.filter(|_| !result.misfit) else { return html! {} };
        let from = self.steps.iter().map(|step| f64::from(step.level())).fold(f64::INFINITY, f64::min);
        let grid = || (0..=90).map(|n| from * (self.most_vus / from).powf(f64::from(n) / 90.0));
        let fitted = path(grid().map(|vus| (self.x.at(vus), Some(self.y.at(knee.throughput(vus))))));
        let ideal = grid().map(|vus| (vus, vus / knee.r0_s)).filter(|(_, per_s)| self.y.has(*per_s));
        let ideal: Vec<(f64, f64)> = ideal.map(|(vus, per_s)| (self.x.at(vus), self.y.at(per_s))).collect();
        let named = ideal.iter().rev().find(|(_, y)| *y > self.area.top + 70.0).copied();
        html! {
            path.ideal d=(raw(path(ideal.into_iter().map(|(x, y)| (x, Some(y)))))) {}
            @if let Some((x, y)) = named { text.tick x=(px(x - 8.0)) y=(px(y)) text-anchor="end" { "without queueing" } }
            path.line.c1 d=(raw(fitted)) {}
        }
    }

    fn measured(&self) -> Markup {
        html! {
            @for step in &self.steps {
                @let (x, half) = (self.x.at(f64::from(step.level())), 1.96 * step.standard_error);
                @let (high, low) = (self.y.at(step.requests_per_second + half), self.y.at(step.requests_per_second - half));
                path.error-bar d=(raw(format!("M{0},{1}V{2}m-3,0h6M{3},{1}h6", px(x), px(high), px(low), px(x - 3.0)))) {}
                (marker(x, self.y.at(step.requests_per_second), "c1"))
            }
            @for (vus, per_s, name) in &self.points {
                (marker(self.x.at(*vus), self.y.at(*per_s), "c4"))
                text.label.c4 x=(px(self.x.at(*vus) - 9.0)) y=(px(self.y.at(*per_s) + 4.0)) text-anchor="end" { "documented: " (name) }
            }
        }
    }

    fn answer(&self, result: &SearchResult) -> Markup {
        let vus = result.vus.zip(result.at_vus).map(|(vus, at)| (vus, at.requests_per_second));
        let Some((level, per_s)) = vus.or(result.rate.zip(result.requests_per_second)) else { return html! {} };
        let (x, y) = (self.x.at(f64::from(level)), self.y.at(per_s));
        let word = match (result.kept.is_some(), result.vus_ci.is_some()) {
            (true, _) => "kept up to",
            (_, true) => "saturates at",
            _ => "best seen at",
        };
        let unit = if result.vus.is_some() { " VUs" } else { " per second" };
        // Near the edge on its other side, and below the stages that lie there.
        let is_near = x > self.area.right - 190.0;
        let (aside, below, anchor) = if is_near { (-12.0, 64.0, "end") } else { (12.0, 26.0, "start") };
        html! {
            path.drop d=(raw(format!("M{},{}V{}", px(x), px(y), px(self.area.bottom)))) {}
            (marker(x, y, "c2"))
            text.label.c2 x=(px(x + aside)) y=(px(y + below)) text-anchor=(anchor) { (word) " " (level) (unit) }
        }
    }
}

/// The knee plot.
pub(super) fn knee(run: &Run<'_>, search: &Search) -> Option<Figure> {
    let plot = Knee::of(run, search)?;
    let result = &search.result;
    let documented = if is_open(search) { 0 } else { run.baselines.iter().filter(|b| b.vus.is_some()).count() };
    let beyond = documented - plot.points.len();
    let body = html! {
        (plot.intervals(result))
        (y_axis(plot.area, &plot.y, "requests per second", 6))
        (x_axis(plot.area, &plot.x, &doublings(&plot.x), raised(search).0))
        (plot.curve(result))
        (plot.measured())
        (plot.answer(result))
    };
    let beyond = match beyond {
        0 => String::new(),
        n => format!(" {n} of the documented baselines lie far beyond this plot; a table below has them."),
    };
    Some(Figure {
        id: run.id("knee"),
        title: format!("Throughput against {}", if is_open(search) { "the rate that was due" } else { "VUs" }),
        finding: verdict::ramp(run.summary, search) + &beyond,
        how: match is_open(search) {
            true => {
                "points are stages with their 95 % intervals. Below saturation as many requests are answered as are due; \
                     where points fall behind the server holds what it cannot answer."
            }
            false => {
                "points are stages with their 95 % intervals, the line is the fitted curve; where it bends away from “without \
                      queueing” requests begin to wait, and right of the shaded interval more VUs only make them wait longer."
            }
        },
        height: 342.0,
        body,
        x: Some(plot.x),
        table: steps(search),
        wide: true,
    })
}

/// Every stage and what followed from it.
pub(super) fn steps(search: &Search) -> Table {
    let mut table = Table::new(&[
        if is_open(search) { "due per s" } else { "VUs" },
        "requests per s, ± 95 %",
        "change",
        "mean ms",
        "median ms",
        "p95 ms",
        "p99 ms",
        "failed",
        "length s",
        "decision",
    ])
    .left(&[9]);
    for step in &search.steps {
        table.row_at(
            f64::from(step.level()),
            vec![
                step.level().to_string(),
                plus_minus(step.requests_per_second, 1.96 * step.standard_error),
                step.change_vs_best.map_or_else(|| MISSING.to_owned(), change),
                maybe(step.mean_ms),
                maybe(step.p50_ms),
                maybe(step.p95_ms),
                maybe(step.p99_ms),
                percent(step.error_rate),
                format!("{:.0}", step.seconds),
                step.decision.clone(),
            ],
        );
    }
    table
}

/// One point for each number of VUs, ascending: the last stage that held it.
fn by_vus(search: &Search) -> Vec<&Step> {
    let mut steps: std::collections::BTreeMap<u32, &Step> = std::collections::BTreeMap::new();
    usable(search).into_iter().for_each(|step| {
        steps.insert(step.level(), step);
    });
    steps.into_values().collect()
}

/// A line: its name, its class, and what it shows of a stage.
type Line = (&'static str, &'static str, fn(&Step) -> Option<f64>);

/// Latency against the VUs.
pub(super) fn latency(run: &Run<'_>, search: &Search) -> Option<Figure> {
    let steps = by_vus(search);
    let (first, last) = (steps.first()?, steps.last()?);
    let area = Area::half(22.0, 232.0);
    let x =
        Scale::log((f64::from(first.level()) / 1.15).max(0.8), f64::from(last.level()) * 1.15, area.left, area.right);
    let least = steps.iter().filter_map(|s| s.p50_ms).reduce(f64::min)?;
    let y = Scale::log(least * 0.8, headroom(steps.iter().filter_map(|s| s.p99_ms)) * 1.1, area.bottom, area.top);
    let lines: [Line; 3] = [("p99", "c3", |s| s.p99_ms), ("p95", "c2", |s| s.p95_ms), ("median", "c1", |s| s.p50_ms)];
    let ends =
        lines.iter().map(|(name, class, of)| (of(last).map_or(area.top, |v| y.at(v)), *class, (*name).to_owned()));
    let body = html! {
        (y_axis(area, &y, "fetch latency, ms (logarithmic)", 5))
        (x_axis(area, &x, &doublings(&x), raised(search).0))
        @for (_, class, of) in &lines {
            path class={ "line " (class) } d=(raw(path(steps.iter().map(|s| (x.at(f64::from(s.level())), of(s).map(|v| y.at(v))))))) {}
            @for step in &steps { @if let Some(value) = of(step) { (marker(x.at(f64::from(step.level())), y.at(value), class)) } }
        }
        (end_labels(area.right, ends.collect()))
    };
    Some(Figure {
        id: run.id("latency"),
        title: format!("Latency against {}", if is_open(search) { "the rate that was due" } else { "VUs" }),
        finding: format!(
            "p95 is {} ms at {} {unit} and {} ms at {} {unit}.",
            maybe(first.p95_ms),
            first.level(),
            maybe(last.p95_ms),
            last.level(),
            unit = raised(search).1,
        ),
        how: match is_open(search) {
            true => {
                "latency counts from when a request was due. It rises slowly at first, and steeply as the server fills up: \
                     the objective decides how far one may go."
            }
            false => {
                "level means that VUs do not wait for each other; a line that rises as the VUs double is a full server, \
                      where each VU more only adds waiting."
            }
        },
        height: 272.0,
        body,
        x: Some(x),
        table: Table::default(),
        wide: false,
    })
}

/// Throughput against p95: what each request more costs.
pub(super) fn hockey_stick(run: &Run<'_>, search: &Search) -> Option<Figure> {
    let steps: Vec<&Step> = by_vus(search).into_iter().filter(|step| step.p95_ms.is_some()).collect();
    steps.get(1)?;
    let area = Area::half(22.0, 232.0);
    let x = Scale::linear(0.0, headroom(steps.iter().map(|s| s.requests_per_second)), area.left, area.right);
    let y = Scale::linear(0.0, headroom(steps.iter().filter_map(|s| s.p95_ms)), area.bottom, area.top);
    let at = |step: &Step| (x.at(step.requests_per_second), y.at(step.p95_ms.unwrap_or(0.0)));
    let mut last = (f64::NEG_INFINITY, f64::NEG_INFINITY);
    let labels: Vec<(f64, f64, u32)> = steps
        .iter()
        .filter_map(|step| {
            let (x, y) = at(step);
            // Labels that would cover each other are left out; the table has all.
            let apart = (x - last.0).abs() > 26.0 || (y - last.1).abs() > 13.0;
            last = if apart { (x, y) } else { last };
            apart.then_some((x, y, step.level()))
        })
        .collect();
    let body = html! {
        (y_axis(area, &y, "p95 of fetch latency, ms", 5))
        (x_axis(area, &x, &plain_ticks(&x, 8), "requests per second"))
        path.line.c1 d=(raw(path(steps.iter().map(|s| (at(s).0, Some(at(s).1)))))) {}
        @for step in &steps { (marker(at(step).0, at(step).1, "c1")) }
        @for (x, y, vus) in labels { text.tick x=(px(x - 8.0)) y=(px(y - 7.0)) text-anchor="end" { (vus) } }
    };
    let best = steps.iter().max_by(|a, b| a.requests_per_second.total_cmp(&b.requests_per_second))?;
    Some(Figure {
        id: run.id("hockey"),
        title: "Throughput against p95".to_owned(),
        finding: format!(
            "The most was {} requests per second, at {} {} with a p95 of {} ms.",
            significant(best.requests_per_second),
            best.level(),
            if is_open(search) { "that were due" } else { "VUs" },
            maybe(best.p95_ms),
        ),
        how: "follow the line from stage to stage, labelled with its load; where it turns upwards more load buys only \
              latency, and where it bends back throughput collapses.",
        height: 272.0,
        body,
        x: None,
        table: Table::default(),
        wide: false,
    })
}

/// The search over time: what was asked for and what came of it.
pub(super) fn timeline(run: &Run<'_>, search: &Search) -> Option<Figure> {
    let course = run.course;
    course.slots.first()?;
    let (upper, lower) = (Area::half(22.0, 122.0), Area::half(164.0, 274.0));
    let scale = time(upper, course);
    let vus = Scale::linear(0.0, headroom(course.slots.iter().map(|slot| slot.vus)), upper.bottom, upper.top);
    let rate = |slot: &crate::report::course::Slot| slot.fetched as f64 / slot.seconds.max(1) as f64;
    let per_s = Scale::linear(0.0, headroom(course.slots.iter().map(rate)), lower.bottom, lower.top);
    let held: Vec<(f64, f64)> = course.slots.iter().map(|s| (scale.at(s.from_s as f64), vus.at(s.vus))).collect();
    let floor: Vec<(f64, f64)> = held.iter().map(|(x, _)| (*x, upper.bottom)).collect();
    let end = scale.at(course.end_s() as f64);
    let body = html! {
        (y_axis(upper, &vus, "fetching VUs", 4))
        path.area.c4 d=(raw(band(&held, &floor))) {}
        path.line.c4 d=(raw(stairs(&held, end))) {}
        (y_axis(lower, &per_s, "fetches per second", 4))
        path.line.c1 d=(raw(path(course.slots.iter().map(|s| (scale.at(middle(s)), Some(per_s.at(rate(s)))))))) {}
        (x_axis(Area { top: upper.top, ..lower }, &scale, &lower.time_ticks(course.end_s()), "time since the start, min:s"))
        text.tick x=(px(HALF - 76.0)) y=(px(upper.top + 8.0)) { (search.steps.len()) " stages" }
    };
    let mut table = Table::new(&["from, min:s", "VUs", "fetches per s", "p95 ms", "failed", "generator limited s"]);
    for slot in &course.slots {
        table.row_at(
            middle(slot),
            vec![
                clock(slot.from_s as f64),
                significant(slot.vus),
                significant(rate(slot)),
                maybe(slot.p95_ms),
                slot.failed.to_string(),
                slot.limited_s.to_string(),
            ],
        );
    }
    Some(Figure {
        id: run.id("timeline"),
        title: "The search over time".to_owned(),
        finding: format!(
            "{} stages in {}: first the {}, then stages close to the answer narrow it down.",
            search.steps.len(),
            clock(search.result.elapsed_s),
            if is_open(search) { "rate doubles" } else { "VUs double" },
        ),
        how: "each level of the upper line is a stage; the lower line should settle within it, and rise with it only \
              as long as the server has something left.",
        height: 314.0,
        body,
        x: Some(scale),
        table,
        wide: false,
    })
}
