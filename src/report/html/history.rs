//! How runs developed: each figure over the runs, and where its level changed.

use maud::{Markup, html};

use super::chart::{Area, Scale, WIDE, headroom, marker, path, px, raw, x_axis, y_axis};
use super::figure::{Figure, Table};
use super::tile::{self, Tile};
use super::verdict::{GOOD, OPEN, status};
use super::{Head, card, frame};
use crate::report::archive::Archive;
use crate::report::foreign;
use crate::report::history::{HistoryDocument, HistoryRun, LevelChange, sentence};
use crate::report::number::{MISSING, change, duration, maybe, percent, significant, vus};

/// The page of a history.
///
/// # Errors
/// Where the data has no JSON form.
pub fn page(document: &HistoryDocument, archive: &Archive) -> std::io::Result<String> {
    let title = "History of runs";
    let sandbox = document.load.as_deref().is_some_and(|load| load.to_lowercase().contains("sandbox"));
    let what = document.load.as_deref().unwrap_or(&document.from);
    let said = sentence(document);
    let status = match document.changes.is_empty() {
        true => status(GOOD, "one level"),
        false => status(OPEN, "level changed"),
    };
    let head = Head { id: "history-title", what, sandbox, title, status, sentence: &said };
    let plots: Vec<Figure> = METRICS.iter().filter_map(|metric| trend(document, metric)).collect();
    let body = html! {
        article aria-labelledby="history-title" {
            (head.render())
            h2.unseen { "Figures" }
            (tile::render(&tiles(document)))
            (changes(document))
            h2 { "Plots" }
            div.figures { @for figure in &plots { (figure.render()) } }
            h2 { "Tables" }
            section.table {
                h3 { "Runs" }
                p.note { (foreign::line(&from(document), 300)) }
                (runs(document).render("Runs"))
            }
            (method())
        }
        (card::glossary())
    };
    frame(title, &body, archive)
}

fn from(document: &HistoryDocument) -> String {
    let left_out = match document.left_out {
        0 => String::new(),
        n => format!("; {n} left out: made in another way than the newest, or not valid"),
    };
    format!("{} runs of {}{left_out}", document.runs.len(), document.from)
}

fn tiles(document: &HistoryDocument) -> Vec<Tile> {
    let Some((at, newest)) = document.runs.iter().enumerate().next_back() else { return Vec::new() };
    let first = document.runs.first().filter(|_| at > 0);
    let note = |of: fn(&HistoryRun) -> Option<f64>| {
        let before = first.and_then(of).filter(|before| *before > 0.0);
        before.zip(of(newest)).map_or_else(String::new, |(a, b)| format!("{} against the first", change(b / a - 1.0)))
    };
    let path = |field: &str| format!("runs.{at}.{field}");
    let rate: fn(&HistoryRun) -> Option<f64> = |run| Some(run.requests_per_second);
    let p95: fn(&HistoryRun) -> Option<f64> = |run| run.latency_p95_ms;
    let exact = |name: &str, value: Option<f64>, note: String, field: &str| Tile::of(name, value, note, &path(field));
    vec![
        exact("newest: requests per second", rate(newest), note(rate), "requests_per_second"),
        exact("newest: p95 latency, ms", p95(newest), note(p95), "latency_p95_ms"),
        exact("newest: failed requests", newest.error_rate, String::new(), "error_rate")
            .said(newest.error_rate.map_or_else(|| MISSING.to_owned(), percent)),
        exact("newest: fetching VUs", Some(newest.vus), String::new(), "vus").said(vus(newest.vus)),
        Tile::of("runs", Some(document.runs.len() as f64), String::new(), "").said(document.runs.len().to_string()),
        Tile::of("changes of level", Some(document.changes.len() as f64), String::new(), "")
            .said(document.changes.len().to_string()),
    ]
}

fn changes(document: &HistoryDocument) -> Markup {
    html! {
        @if !document.changes.is_empty() {
            h2 { "Where the level changed" }
            ul.insights { @for level in &document.changes { li { (foreign::line(&told(level), 300)) } } }
        }
    }
}

fn told(level: &LevelChange) -> String {
    let (before, after) = (significant(level.before), significant(level.after));
    format!(
        "{} {before} → {after} ({}) from {} on, p = {:.1e}.",
        level.metric.replace('_', " "),
        change(level.change),
        level.run,
        level.p
    )
}

/// A figure of the runs.
struct Metric {
    /// As in changes of level; empty where none are looked for.
    name: &'static str,
    id: &'static str,
    title: &'static str,
    axis: &'static str,
    of: fn(&HistoryRun) -> Option<f64>,
}

const METRICS: [Metric; 3] = [
    Metric {
        name: "requests_per_second",
        id: "history-rps",
        title: "Requests per second, run by run",
        axis: "requests per second",
        of: |run| Some(run.requests_per_second),
    },
    Metric {
        name: "latency_p95_ms",
        id: "history-p95",
        title: "p95 latency, run by run",
        axis: "p95 latency, ms",
        of: |run| run.latency_p95_ms,
    },
    Metric {
        name: "",
        id: "history-errors",
        title: "Failed requests, run by run",
        axis: "failed requests, %",
        of: |run| run.error_rate.map(|rate| 100.0 * rate),
    },
];

fn trend(document: &HistoryDocument, metric: &Metric) -> Option<Figure> {
    let values: Vec<Option<f64>> = document.runs.iter().map(metric.of).collect();
    let known = || values.iter().flatten().copied();
    known().next()?;
    let area = Area { right: WIDE - 110.0, ..Area::wide(26.0, 206.0) };
    let last = values.len().saturating_sub(1).max(1) as f64;
    let x = Scale::linear(-0.4, last + 0.4, area.left, area.right);
    let y = Scale::linear(0.0, headroom(known()), area.bottom, area.top);
    let levels: Vec<&LevelChange> = document.changes.iter().filter(|level| level.metric == metric.name).collect();
    let points = values.iter().enumerate().map(|(at, value)| (x.at(at as f64), value.map(|v| y.at(v))));
    let body = html! {
        (y_axis(area, &y, metric.axis, 4))
        (x_axis(area, &x, &ticks(&document.runs), "runs in the order of time, evenly spaced; by the day they began"))
        @for run in epochs(&document.runs) {
            @let at = x.at(run as f64 - 0.5);
            line.grid x1=(px(at)) x2=(px(at)) y1=(px(area.top - 4.0)) y2=(px(area.bottom)) {}
            text.tick x=(px(at + 3.0)) y=(px(area.top + 8.0)) { "epoch " (document.runs[run].epoch) }
        }
        path.line.c1 d=(raw(path(points))) {}
        @for (at, value) in values.iter().enumerate() {
            @if let Some(value) = value { (marker(x.at(at as f64), y.at(*value), "c1")) }
        }
        @for (n, level) in levels.iter().enumerate() {
            @let (from, at) = (levels.get(n.wrapping_sub(1)).map_or(0, |before| before.index), level.index);
            @let to = levels.get(n + 1).map_or(values.len() - 1, |next| next.index - 1);
            path.level d=(raw(format!("M{},{1}H{2}", px(x.at(from as f64 - 0.3)), px(y.at(level.before)), px(x.at(at as f64 - 0.7))))) {}
            path.level d=(raw(format!("M{},{1}H{2}", px(x.at(at as f64 - 0.3)), px(y.at(level.after)), px(x.at(to as f64 + 0.3))))) {}
            path.drop d=(raw(format!("M{},{}V{}", px(x.at(at as f64 - 0.5)), px(area.top), px(area.bottom)))) {}
            text.label.c2 x=(px(x.at(at as f64 - 0.5) + 4.0)) y=(px(area.top - 8.0)) { "◆ " (change(level.change)) }
        }
    };
    let mut table = Table::new(&["run", "started, UTC", metric.axis, "level"]).left(&[0, 3]);
    for (at, (run, value)) in document.runs.iter().zip(&values).enumerate() {
        let level = levels.iter().find(|level| level.index == at);
        table.row_at(
            at as f64,
            vec![foreign::line(&run.run, 80), day(run), maybe(*value), level.map_or_else(String::new, |l| told(l))],
        );
    }
    Some(Figure {
        id: metric.id.to_owned(),
        title: metric.title.to_owned(),
        finding: finding(&values, &levels, metric),
        how: "each point is a run; level lines are the means before and after a change of level, which is seen from about \
              three runs after it on. It is only shown: the gate decides by itself.",
        height: 246.0,
        body,
        x: Some(x),
        table,
        wide: true,
    })
}

fn finding(values: &[Option<f64>], levels: &[&LevelChange], metric: &Metric) -> String {
    if !levels.is_empty() {
        return foreign::line(&levels.iter().map(|level| told(level)).collect::<Vec<_>>().join(" "), 500);
    }
    let known: Vec<f64> = values.iter().flatten().copied().collect();
    let (least, most) =
        (known.iter().copied().fold(f64::INFINITY, f64::min), known.iter().copied().fold(0.0, f64::max));
    let looked = if metric.name.is_empty() { "" } else { "; no change of level was seen" };
    format!(
        "{}: between {} and {} in {} runs{looked}.",
        metric.axis,
        significant(least),
        significant(most),
        known.len()
    )
}

fn day(run: &HistoryRun) -> String {
    run.started.strftime("%Y-%m-%d %H:%M").to_string()
}

/// Days, about nine of them.
fn ticks(runs: &[HistoryRun]) -> Vec<(f64, String)> {
    let every = runs.len().div_ceil(9).max(1);
    let tick = |(at, run): (usize, &HistoryRun)| (at as f64, run.started.strftime("%m-%d").to_string());
    runs.iter().enumerate().step_by(every).map(tick).collect()
}

/// Where a new epoch begins: a person accepted another level.
fn epochs(runs: &[HistoryRun]) -> Vec<usize> {
    (1..runs.len()).filter(|at| runs[*at].epoch != runs[at - 1].epoch).collect()
}

fn runs(document: &HistoryDocument) -> Table {
    let head = ["run", "started, UTC", "epoch", "requests per s", "p95 ms", "failed", "VUs", "measured"];
    let noted = document.runs.iter().any(|run| run.verdict.is_some() || run.note.is_some());
    let mut table = Table::new(&head).left(&[0, 8, 9]);
    if noted {
        table.head.extend(["verdict", "note"].map(str::to_owned));
    }
    for run in &document.runs {
        let mut row = vec![
            foreign::line(&run.run, 120),
            day(run),
            run.epoch.to_string(),
            significant(run.requests_per_second),
            maybe(run.latency_p95_ms),
            run.error_rate.map_or_else(|| MISSING.to_owned(), percent),
            vus(run.vus),
            duration(run.duration_s),
        ];
        if noted {
            row.push(run.verdict.map_or_else(String::new, |verdict| verdict.words().to_owned()));
            row.push(foreign::line(run.note.as_deref().unwrap_or_default(), 120));
        }
        table.row(row);
    }
    table
}

fn method() -> Markup {
    html! {
        section.method {
            h3 { "Method and limits" }
            ul {
                li { "Runs that were made in the same way as the newest, and are valid; those of another load, server or version of the content are left out." }
                li { "Changes of level by E-divisive's statistic, kept where Student's t test between the neighbouring levels has p at most 0.001 and the change is at least 5 %." }
            }
            p.note { code { "connect-bench report --from" } " reads this page, which has its data in it." }
        }
    }
}
