//! Runs side by side: what changed, how the distributions differ, and what else does.

use maud::{Markup, html};

use super::chart::{Area, Scale, end_labels, headroom, path, px, raw, x_axis, y_axis};
use super::figure::{Figure, Table};
use super::forest::{self, Row};
use super::latency::{Curve, nines, over_each_other, trimmed};
use super::tile::{self, Tile};
use super::verdict::{BAD, GOOD, OPEN, Status, status};
use super::{Head, Run, card, frame};
use crate::histogram::Latency;
use crate::report::archive::Archive;
use crate::report::compare::{CompareDocument, ComparedRun, Finding, direction, letter, rows, within};
use crate::report::course::Slot;
use crate::report::gate::words;
use crate::report::number::{change, count, maybe, percent, significant, vus};
use crate::report::{foreign, text};
use crate::summary::Figures;
use crate::window::Part;

/// Colours and dashes of the runs, in their order; more than these share the last one.
const CLASSES: [&str; 4] = ["c1", "c2", "c3", "c4"];

pub(super) fn class(at: usize) -> &'static str {
    CLASSES[at.min(CLASSES.len() - 1)]
}

/// What a page of a comparison has, of whatever.
pub(super) struct Page<'p> {
    /// Of what: "run", "ramp".
    pub(super) of: &'p str,
    pub(super) status: Status,
    pub(super) sentence: &'p str,
    pub(super) tiles: Vec<Tile>,
    /// What else differs.
    pub(super) differences: Vec<String>,
    pub(super) plots: Vec<Figure>,
    /// Its rows with their head, what stands over them, and how to read them.
    pub(super) table: (Vec<Vec<String>>, &'p str, &'p str),
    /// Method and limits, point by point.
    pub(super) method: Vec<Markup>,
}

impl Page<'_> {
    pub(super) fn render(self, runs: &[Run<'_>], archive: &Archive) -> std::io::Result<String> {
        let Some(first) = runs.first() else { return frame("Comparison", &html! {}, archive) };
        let title = format!("Comparison of {} {}s", runs.len(), self.of);
        let head = Head {
            id: "compare-title",
            what: &text::what(&first.summary.plan.target),
            sandbox: runs.iter().any(|run| run.summary.plan.target.sandbox),
            title: &title,
            status: self.status,
            sentence: self.sentence,
        };
        let (rows, name, note) = self.table;
        let body = html! {
            article aria-labelledby="compare-title" {
                (head.render())
                h2.unseen { "Figures" }
                (tile::render(&self.tiles))
                @if !self.differences.is_empty() {
                    h2 { "What else differs" }
                    ul.insights { @for line in &self.differences { li { (foreign::line(line, 400)) } } }
                }
                h2 { "Plots" }
                div.figures { @for figure in self.plots { (figure.render()) } }
                h2 { "Tables" }
                section.table {
                    h3 { (name) }
                    p.note { (note) }
                    (headed(rows).render(name))
                }
                @for (at, run) in runs.iter().enumerate() {
                    h2 { (capital(self.of)) " " (letter(at)) }
                    (card::card(run))
                }
                section.method {
                    h3 { "Method and limits" }
                    ul { @for point in &self.method { li { (point) } } }
                    p.note { code { "connect-bench report --from" } " reads this page, which has its " (self.of) "s in it." }
                }
            }
            (card::glossary())
        };
        frame(&title, &body, archive)
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

/// The runs of an archive, in their order.
pub(super) fn with_runs<T>(archive: &Archive, then: impl FnOnce(&[Run<'_>]) -> T) -> T {
    let figures: Vec<Figures> = archive.runs.iter().map(|run| Figures::of(&run.summary)).collect();
    let runs: Vec<Run<'_>> =
        archive.runs.iter().zip(&figures).enumerate().map(|(at, (run, f))| Run::of(at, run, f, &[])).collect();
    then(&runs)
}

/// The page of a comparison; the archive has its runs, in their order.
///
/// # Errors
/// Where the data has no JSON form.
pub fn page(document: &CompareDocument, archive: &Archive) -> std::io::Result<String> {
    with_runs(archive, |runs| {
        let sentence: Vec<&str> = document.runs.iter().filter_map(|run| run.headline.as_deref()).collect();
        let sentence = sentence.join(" ");
        let plots = [forest(document, &sentence), curves(runs), shift(runs), over_time(runs)];
        let found = |finding| document.runs.iter().any(|run| run.finding == Some(finding));
        Page {
            of: "run",
            status: chip(found, ["not valid", "better", "worse"]),
            sentence: &sentence,
            tiles: tiles(document),
            differences: differences(document),
            plots: plots.into_iter().flatten().collect(),
            table: (rows(document), "Figures of the runs", document.note),
            method: method(),
        }
        .render(runs, archive)
    })
}

/// The finding that matters most, as a chip: what nothing follows from, what is better and what is worse are called so.
pub(super) fn chip(found: impl Fn(Finding) -> bool, [nothing, better, worse]: [&'static str; 3]) -> Status {
    if found(Finding::NotValid) {
        status(OPEN, nothing)
    } else if found(Finding::NotLikeForLike) {
        status(OPEN, "not like for like")
    } else if found(Finding::Mixed) || (found(Finding::Better) && found(Finding::Worse)) {
        status(OPEN, "mixed")
    } else if found(Finding::Worse) {
        status(BAD, worse)
    } else if found(Finding::Better) {
        status(GOOD, better)
    } else {
        status(GOOD, "no change seen")
    }
}

/// Of the last run, beside the first.
fn tiles(document: &CompareDocument) -> Vec<Tile> {
    let (Some(first), Some(last)) = (document.runs.first(), document.runs.last()) else { return Vec::new() };
    let at = document.runs.len() - 1;
    let name = letter(at);
    let tile = |what: &str, of: fn(&ComparedRun) -> Option<f64>, metric: &str, field: &str| {
        let found = last.changes.iter().find(|change| change.metric == metric);
        let note = format!("A had {}", maybe(of(first)));
        let note = found.map_or(note.clone(), |found| format!("{note}; {}", within(found)));
        Tile::of(&format!("{what}, {name}"), of(last), note, &format!("runs.{at}.record.{field}"))
    };
    let errors = Tile::of(
        &format!("failed requests, {name}"),
        last.record.error_rate(),
        format!("A had {}", first.record.error_rate().map_or_else(|| maybe(None), percent)),
        "",
    );
    vec![
        tile(
            "requests per second",
            |r| Some(r.record.requests_per_second),
            "requests_per_second",
            "requests_per_second",
        ),
        tile("median latency, ms", |r| r.record.p50_ms, "latency_p50_ms", "p50_ms"),
        tile("p95 latency, ms", |r| r.record.p95_ms, "latency_p95_ms", "p95_ms"),
        tile("p99 latency, ms", |r| r.record.p99_ms, "latency_p99_ms", "p99_ms"),
        tile("mean latency, ms", |r| r.record.mean_ms, "", "mean_ms"),
        tile("fetching VUs", |r| Some(r.record.vus), "", "vus").said(vus(last.record.vus)),
        errors.said(last.record.error_rate().map_or_else(|| maybe(None), percent)),
        tile("measured, s", |r| Some(r.record.duration_s), "", "duration_s"),
    ]
}

/// What else differs, before anybody explains a change by the server.
fn differences(document: &CompareDocument) -> Vec<String> {
    let of = |(at, run): (usize, &ComparedRun)| -> Vec<String> {
        let name = letter(at);
        let not_valid = run.record.objections.iter().map(|why| format!("{name} is NOT VALID: {why}"));
        let refused = run.not_like_for_like.iter().map(|why| format!("{name} is not like for like with A: {why}"));
        let said = run.differs.iter().map(|why| format!("{name} differs: {why}"));
        not_valid.chain(refused).chain(said).collect()
    };
    document.runs.iter().enumerate().flat_map(of).collect()
}

fn forest(document: &CompareDocument, sentence: &str) -> Option<Figure> {
    let mut rows = Vec::new();
    let mut table =
        Table::new(&["metric", "run", "change", "95 % from", "to", "assumed from run to run", "says"]).left(&[0, 1, 6]);
    for (at, run) in document.runs.iter().enumerate().skip(1) {
        for found in &run.changes {
            let says = match direction(found) {
                Some(true) => "better",
                Some(false) => "worse",
                None => "within what runs vary",
            };
            let name = words::metric(found.metric);
            let name = name.trim_end_matches(", ms");
            rows.push(Row {
                name: if document.runs.len() > 2 { format!("{}: {name}", letter(at)) } else { name.to_owned() },
                change: found.change,
                interval: found.interval_95,
                limit: None,
                class: class(at - 1),
                words: format!("{}, {says}", change(found.change)),
            });
            let [low, high] = found.interval_95.map(change);
            let cells =
                [name.to_owned(), letter(at).to_string(), change(found.change), low, high, percent(found.run_cv)];
            table.row(cells.into_iter().chain([says.to_owned()]).collect());
        }
    }
    rows.first()?;
    let (body, height) = forest::plot(&rows);
    Some(Figure {
        id: "compare-forest".to_owned(),
        title: "What changed against A".to_owned(),
        finding: sentence.to_owned(),
        how: "each line is a change with its 95 % interval, which has in it what runs of one build vary by; one that touches \
              the line at 0 % is no change that was seen. More requests per second are better, more latency is worse.",
        height,
        body,
        x: None,
        table,
        wide: true,
    })
}

fn curves(runs: &[Run<'_>]) -> Option<Figure> {
    let names: Vec<String> = (0..runs.len()).map(|at| letter(at).to_string()).collect();
    let all: Vec<Curve<'_>> = runs
        .iter()
        .zip(&names)
        .enumerate()
        .map(|(at, (run, name))| (name.as_str(), class(at), run.figures.fetch.duration.clone()))
        .filter(|(_, _, latency)| latency.count() >= 10)
        .collect();
    let said: Vec<String> = all
        .iter()
        .map(|(name, _, latency)| {
            let (p90, p99) = (maybe(latency.quantile_ms(0.9)), maybe(latency.quantile_ms(0.99)));
            format!("{name}: 90 % of {} fetches took at most {p90} ms, 99 % at most {p99} ms", count(latency.count()))
        })
        .collect();
    let figure = over_each_other("compare-percentiles".to_owned(), format!("{}.", said.join("; ")), &all)?;
    Some(Figure { title: "Percentile curves over each other".to_owned(), ..figure })
}

/// Where the distributions differ: quantile against quantile.
fn shift(runs: &[Run<'_>]) -> Option<Figure> {
    let first = &runs.first()?.figures.fetch.duration;
    let others: Vec<(usize, &Latency)> =
        runs.iter().enumerate().skip(1).map(|(at, run)| (at, &run.figures.fetch.duration)).collect();
    let least = runs.iter().map(|run| run.figures.fetch.duration.count()).min().filter(|n| *n >= 100)?;
    let end = nines(1.0 - 10.0 / least as f64).clamp(1.0, 4.0);
    let ratio =
        |latency: &Latency, q: f64| Some(latency.quantile_ms(q)? / first.quantile_ms(q).filter(|v| *v > 0.0)? - 1.0);
    let grid: Vec<f64> = (0..=80).map(|n| f64::from(n) * 0.05).filter(|at| *at <= end + 1e-9).collect();
    let share = |at: f64| (1.0 - 10_f64.powf(-at)).max(0.01);
    let values = || others.iter().flat_map(|(_, latency)| grid.iter().filter_map(|at| ratio(latency, share(*at))));
    let low = values().fold(-0.02, f64::min).max(-1.0) * 1.1;
    let high = values().fold(0.02, f64::max).min(5.0) * 1.1;
    let area = Area::half(22.0, 252.0);
    let x = Scale::linear(0.0, end, area.left, area.right);
    let y = Scale::linear(100.0 * low, 100.0 * high, area.bottom, area.top);
    let ticks = [0.0, 0.9, 0.99, 0.999, 0.9999].into_iter().filter(|q| nines(*q) <= end + 1e-6);
    let ticks: Vec<(f64, String)> = ticks.map(|q| (nines(q), format!("{} %", trimmed(q * 100.0)))).collect();
    let line = |latency: &Latency| {
        path(grid.iter().map(|at| (x.at(*at), ratio(latency, share(*at)).map(|v| y.at(100.0 * v)))))
    };
    let last =
        |latency: &Latency| grid.last().and_then(|at| ratio(latency, share(*at))).map_or(area.top, |v| y.at(100.0 * v));
    let body = html! {
        (y_axis(area, &y, "latency against A, %", 5))
        (x_axis(area, &x, &ticks, "share of the fetches"))
        line.zero x1=(px(area.left)) x2=(px(area.right)) y1=(px(y.at(0.0))) y2=(px(y.at(0.0))) {}
        @for (at, latency) in &others { path class={ "line " (class(*at)) } d=(raw(line(latency))) {} }
        (end_labels(area.right, others.iter().map(|(at, latency)| (last(latency), class(*at), format!("{} / A", letter(*at)))).collect()))
    };
    let mut table = Table { head: vec!["percentile".to_owned()], ..Table::new(&[]) };
    table.head.extend(others.iter().map(|(at, _)| format!("{} against A", letter(*at))));
    for q in [0.01, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999].into_iter().filter(|q| nines(*q) <= end + 1e-6) {
        let cell = |latency: &Latency| ratio(latency, q).map_or_else(|| maybe(None), change);
        let row =
            [format!("{} %", trimmed(q * 100.0))].into_iter().chain(others.iter().map(|(_, latency)| cell(latency)));
        table.row_at(nines(q), row.collect());
    }
    Some(Figure {
        id: "compare-shift".to_owned(),
        title: "Where the distributions differ".to_owned(),
        finding: shift_finding(&others, ratio),
        how: "a level line is the same change for fast and slow answers; one that rises at its end is a tail that got \
              worse. Within one run each: this has no interval.",
        height: 292.0,
        body,
        x: Some(x),
        table,
        wide: false,
    })
}

fn shift_finding(others: &[(usize, &Latency)], ratio: impl Fn(&Latency, f64) -> Option<f64>) -> String {
    let one = |(at, latency): &(usize, &Latency)| {
        let at_quantile = |q| ratio(latency, q).map_or_else(|| maybe(None), change);
        let (fast, middle, slow) = (at_quantile(0.1), at_quantile(0.5), at_quantile(0.95));
        format!("{} against A: the fastest tenth {fast}, the median {middle}, p95 {slow}.", letter(*at))
    };
    others.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// Requests per second over the measured time of each.
fn over_time(runs: &[Run<'_>]) -> Option<Figure> {
    let per_s = |slot: &Slot| slot.completed as f64 / slot.seconds.max(1) as f64;
    let points: Vec<Vec<(f64, f64)>> = runs
        .iter()
        .map(|run| {
            let steady = || run.course.slots.iter().filter(|slot| slot.part == Part::Steady);
            let start = steady().next().map_or(0, |slot| slot.from_s);
            steady()
                .map(|slot| (slot.from_s.saturating_sub(start) as f64 + slot.seconds as f64 / 2.0, per_s(slot)))
                .collect()
        })
        .collect();
    let end = points.iter().flatten().map(|(s, _)| *s).fold(0.0, f64::max).ceil();
    if end == 0.0 {
        return None;
    }
    let area = Area::wide(22.0, 182.0);
    let x = Scale::linear(0.0, end, area.left, area.right);
    let y = Scale::linear(0.0, headroom(points.iter().flatten().map(|(_, v)| *v)), area.bottom, area.top);
    let line = |points: &[(f64, f64)]| path(points.iter().map(|(s, v)| (x.at(*s), Some(y.at(*v)))));
    let last = |points: &[(f64, f64)]| points.last().map_or(area.bottom, |(_, v)| y.at(*v));
    let body = html! {
        (y_axis(area, &y, "requests per second", 4))
        (x_axis(area, &x, &area.time_ticks(end as u64), "measured time, min:s"))
        @for (at, points) in points.iter().enumerate() { path class={ "line " (class(at)) } d=(raw(line(points))) {} }
        (end_labels(area.right, points.iter().enumerate().map(|(at, points)| (last(points), class(at), letter(at).to_string())).collect()))
    };
    let mut table = Table::new(&["run", "least in a slot", "mean", "most in a slot"]);
    for (at, (points, run)) in points.iter().zip(runs).enumerate() {
        let values = || points.iter().map(|(_, v)| *v);
        let (least, most) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
        let least = if points.is_empty() { maybe(None) } else { significant(least) };
        table.row(vec![letter(at).to_string(), least, significant(run.figures.all_per_s), significant(most)]);
    }
    let said =
        runs.iter().enumerate().map(|(at, run)| format!("{} had {}", letter(at), significant(run.figures.all_per_s)));
    Some(Figure {
        id: "compare-time".to_owned(),
        title: "Throughput over the measured time".to_owned(),
        finding: format!("Requests per second on average: {}.", said.collect::<Vec<_>>().join(", ")),
        how: "from the end of each warm-up; lines that lie over each other are runs that did the same.",
        height: 222.0,
        body,
        x: None,
        table,
        wide: true,
    })
}

fn headed(rows: Vec<Vec<String>>) -> Table {
    let mut rows = rows.into_iter();
    let mut table = Table { head: rows.next().unwrap_or_default(), ..Table::new(&[]) };
    if let Some(head) = table.head.first_mut() {
        "figure".clone_into(head);
    }
    table.left = vec![0];
    rows.for_each(|row| table.row(row));
    table
}

fn method() -> Vec<Markup> {
    vec![
        html! { "The run, not the request, is the unit: an interval of a change has in it how much runs of one build vary, which is assumed here and known to the gate." },
        html! { "A comparison has no verdict of its own: " code { "connect-bench gate" } " holds a run against those that were accepted, and may ask for a repeat." },
        html! { "Latency is k6's http_req_duration of completed fetches, in HDR histograms with three significant digits." },
    ]
}
