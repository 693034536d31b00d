//! What servers told of themselves, on the time axis of the run.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::Run;
use super::chart::{Area, Scale, clock, end_labels, headroom, path, px, raw, x_axis, y_axis};
use super::figure::{Figure, Table};
use super::health::NAME;
use super::overview::{parts, time};
use crate::report::course::Course;
use crate::report::foreign;
use crate::report::number::MISSING;
use crate::report::text::servers::{figures, shown, silences};
use crate::server_metrics::{Metric, Place};

/// The classes of servers, in order: so many are drawn, and all are in the table.
const CLASSES: [&str; 4] = ["c1", "c2", "c3", "c4"];
/// Most panels.
const PANELS: usize = 3;
const PANEL: f64 = 62.0;
const GAP: f64 = 38.0;
const MIB: f64 = 1_048_576.0;

/// The plot; none where nobody was asked, or nobody answered.
pub(super) fn servers(run: &Run<'_>) -> Option<Figure> {
    let course = run.course;
    course.slots.first()?;
    // Who never answered has no line, and marks nothing: it is said.
    let places: Vec<&Place> = run.summary.server_metrics.iter().filter(|place| !place.figures.is_empty()).collect();
    let has = |metric: &Metric| places.iter().any(|place| points(place, *metric).is_some());
    let metrics: Vec<Metric> = Metric::ALL.into_iter().filter(has).take(PANELS).collect();
    if metrics.is_empty() {
        return None;
    }
    let area = |at: usize| {
        let top = 22.0 + at as f64 * (PANEL + GAP);
        Area::half(top, top + PANEL)
    };
    let (first, last) = (area(0), area(metrics.len() - 1));
    let scale = time(first, course);
    let body = html! {
        @for (at, metric) in metrics.iter().enumerate() { (panel(&places, *metric, (area(at), &scale), course)) }
        (x_axis(Area { top: first.top, ..last }, &scale, &first.time_ticks(course.end_s()), "time since the start, min:s"))
    };
    Some(Figure {
        id: run.id("servers"),
        title: "What the servers said of themselves".to_owned(),
        finding: finding(&run.summary.server_metrics),
        how: "a line that is level at its ceiling while throughput no longer grows is what the server lacks; marked times \
              are those in which a server did not answer.",
        height: last.bottom + 40.0,
        body,
        x: Some(scale),
        table: table(&places, &metrics),
        wide: false,
    })
}

fn points(place: &Place, metric: Metric) -> Option<&[(f64, f64)]> {
    let figure = place.figures.iter().find(|figure| figure.metric == metric)?;
    (!figure.points.is_empty()).then_some(figure.points.as_slice())
}

/// What is drawn of a value, and what the axis is called.
fn drawn(metric: Metric) -> (f64, String) {
    match metric {
        Metric::MachineCpuShare | Metric::MachineMemoryShare => (100.0, format!("{}, %", metric.words())),
        Metric::ProcessMemoryBytes => (1.0 / MIB, format!("{}, MiB", metric.words())),
        _ => (1.0, metric.words().to_owned()),
    }
}

fn panel(places: &[&Place], metric: Metric, (area, x): (Area, &Scale), course: &Course) -> Markup {
    let (factor, name) = drawn(metric);
    let lines: Vec<_> =
        places.iter().zip(CLASSES).filter_map(|(place, class)| Some((points(place, metric)?, class, place))).collect();
    let most = headroom(lines.iter().flat_map(|(points, ..)| points.iter().map(|(_, value)| value * factor)));
    let y = Scale::linear(0.0, if factor == 100.0 { 100.0 } else { most }, area.bottom, area.top);
    let ends = lines.iter().map(|(points, class, place)| {
        let last = points.last().map_or(0.0, |(_, value)| value * factor);
        (y.at(last), *class, foreign::line(&host(place), 11))
    });
    let ends = ends.collect();
    let end_s = course.end_s() as f64;
    html! {
        (parts(area, x, course))
        @for outage in places.iter().flat_map(|place| &place.outages) {
            @let (from, to) = (x.at(outage.from_s), x.at(outage.to_s.unwrap_or(end_s)));
            rect.limited x=(px(from)) y=(px(area.top)) width=(px((to - from).max(1.0))) height=(px(area.bottom - area.top)) {}
        }
        (y_axis(area, &y, &name, 3))
        @for (points, class, _) in &lines {
            path class={ "line " (class) } d=(raw(path(points.iter().map(|(at, value)| (x.at(*at), Some(y.at(value * factor))))))) {}
        }
        (end_labels(area.right, ends))
    }
}

/// Where it is, without what all of them have.
fn host(place: &Place) -> String {
    let rest = place.url.split_once("://").map_or(place.url.as_str(), |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest).to_owned()
}

fn finding(places: &[Place]) -> String {
    let one = |place: &Place| {
        let silences = silences(place).map_or_else(String::new, |silences| format!("; {silences}"));
        format!("{}: {}{silences}.", foreign::line(&host(place), NAME), figures(place))
    };
    places.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn table(places: &[&Place], metrics: &[Metric]) -> Table {
    let mut table = Table::new(&["at, min:s", "server"]).left(&[0, 1]);
    table.head.extend(metrics.iter().map(|metric| metric.words().to_owned()));
    for place in places {
        // Rates lie between two answers, and have a time of their own: rows are by time.
        let mut rows: BTreeMap<u64, Vec<Option<f64>>> = BTreeMap::new();
        for (column, metric) in metrics.iter().enumerate() {
            for (at, value) in points(place, *metric).unwrap_or_default() {
                let row = rows.entry((at.max(0.0) * 10.0) as u64).or_insert_with(|| vec![None; metrics.len()]);
                row[column] = Some(*value);
            }
        }
        for (at, values) in rows {
            let at_s = at as f64 / 10.0;
            let cell = |(metric, value): (&Metric, Option<f64>)| {
                value.map_or_else(|| MISSING.to_owned(), |v| shown(*metric, v))
            };
            let mut cells = vec![clock(at_s), foreign::line(&host(place), NAME)];
            cells.extend(metrics.iter().zip(values).map(cell));
            table.row_at(at_s, cells);
        }
    }
    table
}
