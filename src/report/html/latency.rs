//! Latency: the heat map over time, the percentile curve, and the phases of a request.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use maud::{Markup, html};

use super::Run;
use super::chart::{Area, Scale, band, clock, end_labels, headroom, legend, path, px, raw, x_axis, y_axis};
use super::figure::{Figure, Table};
use super::overview::{middle, parts, time};
use crate::histogram::Latency;
use crate::report::course::Slot;
use crate::report::number::{MISSING, count, maybe, percent, significant};
use crate::summary::OpenFigures;
use crate::window::SeriesWindow;

/// Columns of the heat map at most: a pixel needs no more.
const MOST_COLUMNS: usize = 240;
/// Shades of it.
const SHADES: usize = 8;

/// Where a bucket of the heat map begins, ms.
fn bucket_ms(bucket: f64) -> f64 {
    10_f64.powf(bucket / crate::report::course::PER_DECADE) / 1000.0
}

/// The heat map.
pub(super) fn heat(run: &Run<'_>) -> Option<Figure> {
    let course = run.course;
    let buckets = || course.slots.iter().flat_map(|slot| &slot.heat).map(|(bucket, _)| *bucket);
    let (least, most) = (buckets().min()?, buckets().max()?);
    let area = Area::wide(22.0, 272.0);
    let scale = time(area, course);
    let y = Scale::log(bucket_ms(f64::from(least)), bucket_ms(f64::from(most) + 1.0), area.bottom, area.top);
    let line = |of: fn(&Slot) -> Option<f64>| {
        path(course.slots.iter().map(|slot| (scale.at(middle(slot)), of(slot).map(|v| y.at(v)))))
    };
    let last = |of: fn(&Slot) -> Option<f64>| course.slots.iter().rev().find_map(of).map_or(area.bottom, |v| y.at(v));
    let body = html! {
        (cells(&course.slots, &scale, &y))
        (y_axis(area, &y, "fetch latency, ms (logarithmic)", 5))
        (x_axis(area, &scale, &area.time_ticks(course.end_s()), "time since the start, min:s"))
        path.halo d=(raw(line(|s| s.p99_ms))) {}
        path.line.c2 d=(raw(line(|s| s.p99_ms))) {}
        path.halo d=(raw(line(|s| s.p50_ms))) {}
        path.line.c1 d=(raw(line(|s| s.p50_ms))) {}
        (end_labels(area.right, vec![(last(|s| s.p99_ms), "c2", "p99".to_owned()), (last(|s| s.p50_ms), "c1", "median".to_owned())]))
        (scale_of_shades(area))
    };
    let latency = &run.figures.fetch.duration;
    let finding = format!(
        "Half of the fetches took at most {} ms, 99 % at most {} ms; the slowest {} ms.",
        maybe(latency.quantile_ms(0.5)),
        maybe(latency.quantile_ms(0.99)),
        maybe(latency.max_ms()),
    );
    Some(Figure {
        id: run.id("heat"),
        title: "Latency over time".to_owned(),
        finding,
        how: "each column is a moment, stronger where more fetches took so long; two bands are two kinds of answers, \
              a band that rises is a server that slows down.",
        height: 312.0,
        body,
        x: Some(scale),
        table: heat_table(&course.slots),
        wide: true,
    })
}

fn scale_of_shades(area: Area) -> Markup {
    html! {
        text.tick x=(px(area.right - 176.0)) y=(px(area.top - 8.0)) text-anchor="end" { "fewer" }
        @for shade in 0..SHADES {
            rect class={ "heat h" (shade) } x=(px(area.right - 170.0 + 16.0 * shade as f64)) y=(px(area.top - 17.0)) width="16" height="10" {}
        }
        text.tick x=(px(area.right - 36.0)) y=(px(area.top - 8.0)) { "more" }
    }
}

/// Rectangles, one path for each shade.
fn cells(slots: &[Slot], scale: &Scale, y: &Scale) -> Markup {
    let together = slots.len().div_ceil(MOST_COLUMNS).max(1);
    let mut paths = vec![String::new(); SHADES];
    for column in slots.chunks(together) {
        let (Some(first), Some(last)) = (column.first(), column.last()) else { continue };
        let mut counts: BTreeMap<u8, u64> = BTreeMap::new();
        for (bucket, n) in column.iter().flat_map(|slot| &slot.heat) {
            *counts.entry(*bucket).or_default() += n;
        }
        let all = counts.values().sum::<u64>() as f64;
        let (left, right) = (scale.at(first.from_s as f64), scale.at((last.from_s + last.seconds) as f64));
        for (bucket, n) in counts {
            // By the share of the column, logarithmic: one in ten thousand is still seen.
            let share = (n as f64 / all).log10();
            let shade = (((share + 4.0) / 3.7) * SHADES as f64).clamp(0.0, SHADES as f64 - 1.0) as usize;
            let (bottom, top) = (y.at(bucket_ms(f64::from(bucket))), y.at(bucket_ms(f64::from(bucket) + 1.0)));
            let (width, height) = (px(right - left + 0.2), px(bottom - top + 0.2));
            // Writing to a String cannot fail.
            let _ = write!(paths[shade], "M{},{}h{width}v{height}h-{width}z", px(left), px(top));
        }
    }
    html! {
        @for (shade, d) in paths.into_iter().enumerate() {
            @if !d.is_empty() { path class={ "heat h" (shade) } d=(raw(d)) {} }
        }
    }
}

fn heat_table(slots: &[Slot]) -> Table {
    let mut table = Table::new(&["from, min:s", "fetches", "median ms", "p95 ms", "p99 ms", "max ms"]);
    for slot in slots {
        let figures = [slot.p50_ms, slot.p95_ms, slot.p99_ms, slot.max_ms].map(maybe);
        let mut row = vec![clock(slot.from_s as f64), count(slot.fetched)];
        row.extend(figures);
        table.row_at(middle(slot), row);
    }
    table
}

/// A quantile on the axis of nines: 0 is 0, 0.9 is 1, 0.99 is 2.
pub(super) fn nines(q: f64) -> f64 {
    -(1.0 - q).max(1e-7).log10()
}

/// The curves that there are: name, class, distribution.
fn curves(run: &Run<'_>) -> Vec<(&'static str, &'static str, Latency)> {
    let fetch = &run.figures.fetch;
    let response = OpenFigures::of(run.summary).map(|open| open.response_time).unwrap_or_default();
    let all = [
        ("fetches", "c1", fetch.duration.clone()),
        ("corrected", "c3", fetch.duration_corrected.clone()),
        ("from schedule", "c4", response),
        ("failed", "c2", fetch.failed_duration.clone()),
    ];
    all.into_iter().filter(|(_, _, latency)| latency.count() >= 10).collect()
}

/// The percentile curve.
pub(super) fn percentiles(run: &Run<'_>) -> Option<Figure> {
    let n = run.figures.fetch.duration.count();
    let (p90, p99) = (run.figures.fetch.duration.quantile_ms(0.9), run.figures.fetch.duration.quantile_ms(0.99));
    let ratio = p99.zip(p90).map_or_else(|| MISSING.to_owned(), |(a, b)| significant(a / b));
    let finding = format!(
        "Of {} fetches 90 % took at most {} ms and 99 % at most {} ms, {ratio} times as long.",
        count(n),
        maybe(p90),
        maybe(p99)
    );
    over_each_other(run.id("percentiles"), finding, &curves(run))
}

/// A distribution in a plot: its name, its class, and what it is.
pub(super) type Curve<'c> = (&'c str, &'c str, Latency);

/// Percentile curves in one plot.
pub(super) fn over_each_other(id: String, finding: String, curves: &[Curve<'_>]) -> Option<Figure> {
    let most_n = curves.iter().map(|(_, _, latency)| latency.count()).max()?;
    let end = nines(1.0 - 1.0 / most_n as f64).clamp(1.0, 6.0);
    let area = Area::half(22.0, 252.0);
    let x = Scale::linear(0.0, end, area.left, area.right);
    let top = headroom(curves.iter().filter_map(|(_, _, latency)| latency.max_ms()));
    let least = curves.iter().filter_map(|(_, _, latency)| latency.quantile_ms(0.01)).fold(f64::INFINITY, f64::min);
    let y = Scale::log((least * 0.9).max(1e-3), top, area.bottom, area.top);
    let drawn = curves.iter().map(|(name, class, latency)| {
        let points: Vec<(f64, Option<f64>)> = quantiles(latency);
        let end = points.last().and_then(|(_, v)| *v).map_or(area.top, |v| y.at(v));
        let d = path(points.into_iter().map(|(at, v)| (x.at(at), v.map(|v| y.at(v)))));
        (*name, *class, d, end)
    });
    let drawn: Vec<_> = drawn.collect();
    let ticks: Vec<(f64, String)> = [0.0, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999_999]
        .into_iter()
        .filter(|q| nines(*q) <= end + 1e-6)
        .map(|q| (nines(q), format!("{} %", trimmed(q * 100.0))))
        .collect();
    let body = html! {
        (y_axis(area, &y, "latency, ms (logarithmic)", 5))
        (x_axis(area, &x, &ticks, "share of the requests that took at most so long"))
        @for (_, class, d, _) in &drawn { path class={ "line " (class) } d=(raw(d.clone())) {} }
        (end_labels(area.right, drawn.iter().map(|(name, class, _, end)| (*end, *class, (*name).to_owned())).collect()))
    };
    Some(Figure {
        id,
        title: "Percentile curve of latency".to_owned(),
        finding,
        how: "each step to the right leaves ten times fewer requests; a curve that climbs steeply at its end has a few \
              very slow answers behind a good mean.",
        height: 292.0,
        body,
        x: Some(x),
        table: percentile_table(curves),
        wide: false,
    })
}

pub(super) fn trimmed(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Points of a curve, no finer than it has values.
fn quantiles(latency: &Latency) -> Vec<(f64, Option<f64>)> {
    let Some(histogram) = latency.histogram() else { return Vec::new() };
    let end = nines(1.0 - 1.0 / latency.count() as f64);
    let points = (0..=120).map(|n| f64::from(n) * 0.05).take_while(|at| *at < end).chain([end]);
    points.map(|at| (at, Some(histogram.value_at_quantile(1.0 - 10_f64.powf(-at)) as f64 / 1e3))).collect()
}

fn percentile_table(curves: &[Curve<'_>]) -> Table {
    let mut head = vec!["percentile".to_owned()];
    head.extend(curves.iter().map(|(name, _, latency)| format!("{name}, ms (n = {})", count(latency.count()))));
    let mut table = Table { head, ..Table::new(&[]) };
    for q in [0.0, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999, 0.99999] {
        let enough = |latency: &Latency| latency.count() as f64 * (1.0 - q) >= 1.0;
        if curves.iter().any(|(_, _, latency)| enough(latency)) {
            let cell = |(_, _, latency): &Curve<'_>| maybe(latency.quantile_ms(q).filter(|_| enough(latency)));
            let mut row = vec![format!("{} %", trimmed(q * 100.0))];
            row.extend(curves.iter().map(cell));
            table.row_at(nines(q), row);
        }
    }
    let mut row = vec!["greatest".to_owned()];
    row.extend(curves.iter().map(|(_, _, latency)| maybe(latency.max_ms())));
    table.row(row);
    table
}

/// The phases, as k6 calls them, in the order in which they are drawn.
const PHASES: [(&str, &str); 6] = [
    ("connecting", "c3"),
    ("TLS handshake", "c6"),
    ("sending", "c5"),
    ("waiting", "c1"),
    ("receiving", "c4"),
    ("other blocked", "c2"),
];

/// Means as they are stacked: blocked has connecting and TLS in it.
fn stacked(phases: [f64; 6]) -> [f64; 6] {
    let [blocked, connecting, tls, sending, waiting, receiving] = phases;
    [connecting, tls, sending, waiting, receiving, (blocked - connecting - tls).max(0.0)]
}

/// Where the time of a fetch goes.
pub(super) fn phases(run: &Run<'_>) -> Option<Figure> {
    let slots: Vec<&Slot> = run.course.slots.iter().filter(|slot| slot.phases_ms.is_some()).collect();
    slots.first()?;
    let area = Area::half(22.0, 202.0);
    let scale = time(area, run.course);
    let sums = || slots.iter().filter_map(|slot| slot.phases_ms).map(stacked);
    let y = Scale::linear(0.0, headroom(sums().map(|phases| phases.iter().sum())), area.bottom, area.top);
    let layer = |upto: usize| -> Vec<(f64, f64)> {
        let height = |slot: &&Slot| stacked(slot.phases_ms.unwrap_or_default())[..upto].iter().sum::<f64>();
        slots.iter().map(|slot| (scale.at(middle(slot)), y.at(height(slot)))).collect()
    };
    // Only what can be seen has a name.
    let seen: Vec<usize> =
        (0..PHASES.len()).filter(|&at| sums().any(|phases| phases[at] > 0.002 * phases.iter().sum::<f64>())).collect();
    let entries: Vec<(String, String)> =
        seen.iter().map(|&at| (PHASES[at].1.to_owned(), PHASES[at].0.to_owned())).collect();
    let body = html! {
        (parts(area, &scale, run.course))
        @for &at in &seen {
            path class={ "fill " (PHASES[at].1) } d=(raw(band(&layer(at + 1), &layer(at)))) {}
        }
        (y_axis(area, &y, "mean per fetch, ms", 4))
        (x_axis(area, &scale, &area.time_ticks(run.course.end_s()), "time since the start, min:s"))
        (legend(area.left + 100.0, area.top - 8.0, &entries))
    };
    Some(Figure {
        id: run.id("phases"),
        title: "Where the time of a fetch goes".to_owned(),
        finding: phases_finding(&run.figures.fetch),
        how: "the height is the mean time of a fetch, each colour one phase of it; waiting is the server's, connecting and \
              TLS are what new connections cost, receiving is the size of the answer and the network.",
        height: 242.0,
        body,
        x: Some(scale),
        table: phase_table(&run.figures.fetch),
        wide: false,
    })
}

fn phases_finding(fetch: &SeriesWindow) -> String {
    let n = fetch.requests.completed.max(1) as f64;
    let whole = (fetch.blocked.sum_ns() + fetch.duration.sum_ns()) as f64;
    let waiting = fetch.waiting.sum_ns() as f64;
    format!(
        "{} of the time of a fetch is waiting for the first byte: {} of {} ms on average; {} connections were opened for {} fetches.",
        percent(waiting / whole.max(1.0)),
        significant(waiting / n / 1e6),
        significant(whole / n / 1e6),
        count(fetch.connections),
        count(fetch.requests.completed),
    )
}

fn phase_table(fetch: &SeriesWindow) -> Table {
    let mut table = Table::new(&["phase (k6's name)", "n", "mean ms", "median ms", "p95 ms", "p99 ms", "max ms"]);
    let rows = [
        ("http_req_blocked", &fetch.blocked),
        ("http_req_connecting", &fetch.connecting),
        ("http_req_tls_handshaking", &fetch.tls_handshaking),
        ("http_req_sending", &fetch.sending),
        ("http_req_waiting", &fetch.waiting),
        ("http_req_receiving", &fetch.receiving),
        ("http_req_duration", &fetch.duration),
    ];
    for (name, latency) in rows.into_iter().filter(|(_, latency)| !latency.is_empty()) {
        let q = |q| maybe(latency.quantile_ms(q));
        let mean = maybe(latency.mean_ms());
        table.row(vec![
            name.to_owned(),
            count(latency.count()),
            mean,
            q(0.5),
            q(0.95),
            q(0.99),
            maybe(latency.max_ms()),
        ]);
    }
    table
}
