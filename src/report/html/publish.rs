//! Publishing: the Gantt chart of publishes, and what publishing does to fetching.

use maud::{Markup, html};

use super::Run;
use super::chart::{Area, Scale, headroom, legend, marker, plain_ticks, px, raw, x_axis};
use super::figure::{Figure, Table};
use crate::report::course::{BETWEEN, During, PHASES, Publish};
use crate::report::number::{MISSING, change, count, in_seconds, maybe, percent, significant};

/// Rows of the Gantt chart at most.
const MOST_ROWS: usize = 28;
const ROW: f64 = 9.0;

fn took_ms(publish: &Publish) -> f64 {
    (publish.finished_ms - publish.started_ms).max(0.0)
}

/// The publishes that are drawn: those that failed and the slowest, in the order of their time.
fn drawn(publishes: &[Publish]) -> Vec<&Publish> {
    let mut chosen: Vec<&Publish> = publishes.iter().filter(|publish| publish.interrupted.is_none()).collect();
    chosen.sort_by(|a, b| a.ok.cmp(&b.ok).then(took_ms(b).total_cmp(&took_ms(a))));
    chosen.truncate(MOST_ROWS);
    chosen.sort_by(|a, b| a.started_ms.total_cmp(&b.started_ms));
    chosen
}

/// Each publish as a bar of its phases.
pub(super) fn gantt(run: &Run<'_>) -> Option<Figure> {
    let all = &run.publishes.publishes;
    let rows = drawn(all);
    rows.first()?;
    let area = Area::half(30.0, 30.0 + ROW * rows.len() as f64);
    let scale = Scale::linear(0.0, headroom(rows.iter().map(|p| took_ms(p) / 1000.0)), area.left, area.right);
    let used: Vec<(String, String)> = PHASES
        .iter()
        .enumerate()
        .filter(|(at, _)| rows.iter().any(|p| p.phases.iter().any(|(phase, took)| phase == at && *took > 0.0)))
        .map(|(at, (_, words))| (format!("g{at}"), (*words).to_owned()))
        .collect();
    let body = html! {
        (x_axis(area, &scale, &plain_ticks(&scale, 6), "seconds since the publish began"))
        (legend(area.left, area.top - 12.0, &used))
        @for (at, publish) in rows.iter().enumerate() {
            @let y = area.top + ROW * at as f64;
            @if at % 4 == 0 || rows.len() < 12 {
                text.tick x=(px(area.left - 7.0)) y=(px(y + 8.0)) text-anchor="end" { "#" (publish.n) }
            }
            (bar(publish, &scale, y))
        }
    };
    let omitted = (all.len() + usize::try_from(run.publishes.more).unwrap_or(usize::MAX)).saturating_sub(rows.len());
    Some(Figure {
        id: run.id("gantt"),
        title: "Publishes and their phases".to_owned(),
        finding: finding(run, omitted),
        how: "one bar for each publish, one colour for each phase; a bar with a cross at its end failed. Restore installs \
              packages, launch starts the process, first response is when content can be fetched.",
        height: area.bottom + 42.0,
        body,
        x: None,
        table: phases(run),
        wide: false,
    })
}

fn bar(publish: &Publish, scale: &Scale, y: f64) -> Markup {
    let mut from = 0.0;
    let parts: Vec<(usize, f64, f64)> = publish
        .phases
        .iter()
        .map(|(phase, took)| {
            let part = (*phase, from, from + took / 1000.0);
            from = part.2;
            part
        })
        .collect();
    let end = took_ms(publish) / 1000.0;
    html! {
        @for (phase, from, to) in parts {
            @let width = scale.at(to) - scale.at(from);
            @if width > 0.05 {
                rect class={ "fill g" (phase) } x=(px(scale.at(from))) y=(px(y)) width=(format!("{width:.2}")) height=(px(ROW - 2.0)) {}
            }
        }
        @if !publish.ok { path class="rug c2" d=(raw(format!("M{},{}l7,7m0,-7l-7,7", px(scale.at(end) + 3.0), px(y)))) {} }
    }
}

fn finding(run: &Run<'_>, omitted: usize) -> String {
    let Some(publish) = &run.figures.publish else {
        return format!("{} publishes during the search.", count(run.publishes.publishes.len() as u64));
    };
    let total = publish.phases.get("publish_total");
    let mean = |name: &str| publish.phases.get(name).and_then(crate::histogram::Latency::mean_ms);
    let longest = PHASES.iter().filter_map(|(name, words)| mean(name).map(|ms| (ms, *words)));
    let longest = longest.max_by(|a, b| a.0.total_cmp(&b.0));
    let share = longest.zip(mean("publish_total")).map_or_else(String::new, |((ms, words), all)| {
        format!(" {} takes {} of that.", capital(words), percent(ms / all.max(1e-9)))
    });
    let omitted = match omitted {
        0 => String::new(),
        n => format!(" Drawn are those that failed and the slowest; {} more are not.", count(n as u64)),
    };
    format!(
        "{} publishes succeeded and {} failed; one took {} s on average.{share}{omitted}",
        count(publish.publishes.completed),
        count(publish.publishes.failed),
        in_seconds(total.and_then(crate::histogram::Latency::mean_ms)),
    )
}

fn capital(words: &str) -> String {
    let mut chars = words.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn phases(run: &Run<'_>) -> Table {
    let mut table = Table::new(&["phase", "n", "mean s", "median s", "p95 s", "max s"]);
    let Some(publish) = &run.figures.publish else { return table };
    for (name, words) in PHASES.into_iter().chain([("publish_total", "total")]) {
        if let Some(latency) = publish.phases.get(name) {
            let q = |q| in_seconds(latency.quantile_ms(q));
            let (mean, max) = (in_seconds(latency.mean_ms()), in_seconds(latency.max_ms()));
            table.row(vec![words.to_owned(), count(latency.count()), mean, q(0.5), q(0.95), max]);
        }
    }
    table
}

/// The phase that slows fetches most, against the time in which nothing is published or the phase that slows least.
fn worst(during: &[During]) -> Option<(&During, &During, f64)> {
    let enough = || during.iter().filter(|d| d.completed >= 200 && d.p95_ms.is_some_and(|ms| ms > 0.0));
    let by = |a: &&During, b: &&During| a.p95_ms.unwrap_or(0.0).total_cmp(&b.p95_ms.unwrap_or(0.0));
    let calm = enough().find(|d| d.phase == BETWEEN).or_else(|| enough().min_by(by))?;
    let worst = enough().filter(|d| d.phase != BETWEEN && d.phase != calm.phase).max_by(by)?;
    Some((worst, calm, worst.p95_ms? / calm.p95_ms? - 1.0))
}

/// Fetch latency by what the publish loop did.
pub(super) fn interference(run: &Run<'_>) -> Option<Figure> {
    let during = &run.course.interference;
    // Publishes that are shorter than a second cannot be told apart by seconds.
    during.iter().filter(|d| d.p95_ms.is_some()).nth(1)?;
    let area = Area { left: 132.0, ..Area::half(28.0, 28.0 + 26.0 * during.len() as f64) };
    let scale = Scale::linear(0.0, headroom(during.iter().filter_map(|d| d.p99_ms)), area.left, area.right);
    let body = html! {
        (x_axis(area, &scale, &plain_ticks(&scale, 6), "fetch latency, ms"))
        @for (at, d) in during.iter().enumerate() {
            @let y = area.top + 26.0 * at as f64 + 13.0;
            text.tick x=(px(area.left - 8.0)) y=(px(y + 4.0)) text-anchor="end" { (d.phase) " (" (d.seconds) " s)" }
            @if let (Some(p50), Some(p95), Some(p99)) = (d.p50_ms, d.p95_ms, d.p99_ms) {
                line.line.c1 x1=(px(scale.at(p50))) x2=(px(scale.at(p99))) y1=(px(y)) y2=(px(y)) {}
                (marker(scale.at(p50), y, "c1"))
                (marker(scale.at(p95), y, "c2"))
                (marker(scale.at(p99), y, "c3"))
            }
        }
        (marker(area.left + 6.0, 12.0, "c1")) text.tick x=(px(area.left + 16.0)) y="16" { "median" }
        (marker(area.left + 86.0, 12.0, "c2")) text.tick x=(px(area.left + 96.0)) y="16" { "p95" }
        (marker(area.left + 146.0, 12.0, "c3")) text.tick x=(px(area.left + 156.0)) y="16" { "p99" }
    };
    let finding = match worst(during) {
        Some((worst, calm, more)) => format!(
            "While the publish loop is at “{}”, p95 of fetches is {} ms: {} against {} ms at “{}”.",
            worst.phase,
            maybe(worst.p95_ms),
            change(more),
            maybe(calm.p95_ms),
            calm.phase,
        ),
        None => "Too few fetches fell into different phases of a publish to tell them apart.".to_owned(),
    };
    Some(Figure {
        id: run.id("interference"),
        title: "Fetching while publishing".to_owned(),
        finding,
        how: "each measured second belongs to the phase that took most of it; markers far to the right are phases of a \
              publish that make fetches slow.",
        height: area.bottom + 42.0,
        body,
        x: None,
        table: interference_table(during),
        wide: false,
    })
}

fn interference_table(during: &[During]) -> Table {
    let mut table =
        Table::new(&["while publishing is at", "seconds", "fetches", "fetches per s", "median ms", "p95 ms", "p99 ms"]);
    for d in during {
        let rate = if d.seconds > 0 { significant(d.completed as f64 / d.seconds as f64) } else { MISSING.to_owned() };
        let [p50, p95, p99] = [d.p50_ms, d.p95_ms, d.p99_ms].map(maybe);
        table.row(vec![d.phase.clone(), count(d.seconds), count(d.completed), rate, p50, p95, p99]);
    }
    table
}
