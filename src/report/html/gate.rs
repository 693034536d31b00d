//! The verdict of a gate: what changed against what was accepted, how sure that is, and what would have been seen.

use maud::{Markup, html};

use super::figure::{Figure, Table};
use super::forest::{self, Row};
use super::latency::{Curve, over_each_other};
use super::tile::{self, Tile};
use super::verdict::{BAD, GOOD, OPEN, Status, status};
use super::{Head, Run, card, frame};
use crate::exit::Exit;
use crate::gate::{Against, Check, Finding, Verdict};
use crate::report::archive::Archive;
use crate::report::foreign;
use crate::report::gate::{GateDocument, words};
use crate::report::number::{MISSING, change, count, duration, maybe, percent, significant, vus};
use crate::summary::Figures;

/// The page of a verdict; the archive has the runs, the judged one first.
///
/// # Errors
/// Where the data has no JSON form.
pub fn page(document: &GateDocument, archive: &Archive) -> std::io::Result<String> {
    let figures: Vec<Figures> = archive.runs.iter().map(|run| Figures::of(&run.summary)).collect();
    let runs: Vec<Run<'_>> =
        archive.runs.iter().zip(&figures).enumerate().map(|(at, (run, f))| Run::of(at, run, f, &[])).collect();
    let title = "Regression gate";
    let head = Head {
        id: "gate-title",
        what: &document.about,
        sandbox: document.target.sandbox,
        title,
        status: chip(document),
        sentence: &document.headline,
    };
    let plots = document.against.iter().enumerate().map(|(at, against)| forest(at, against));
    let plots: Vec<Figure> = plots.chain([curves(&runs)]).flatten().collect();
    let body = html! {
        article aria-labelledby="gate-title" {
            (head.render())
            h2.unseen { "Figures" }
            (tile::render(&tiles(document)))
            (remarks(document))
            @if !plots.is_empty() {
                h2 { "Plots" }
                div.figures { @for figure in plots { (figure.render()) } }
            }
            (tables(document))
            @if let Some(run) = runs.first() { h2 { "The run" } (card::card(run)) }
            (method(document))
        }
        (card::glossary())
    };
    frame(title, &body, archive)
}

fn chip(document: &GateDocument) -> Status {
    let word = document.verdict.words();
    match document.verdict {
        Verdict::Regressed => status(BAD, word),
        // A limit that is not kept decides where the comparison does not.
        _ if document.exit_code == Exit::Threshold.code() => status(BAD, "limit not kept"),
        Verdict::Pass | Verdict::Improved => status(GOOD, word),
        Verdict::Warn | Verdict::Inconclusive | Verdict::NotComparable => status(OPEN, word),
    }
}

fn tiles(document: &GateDocument) -> Vec<Tile> {
    let Some(run) = document.runs.first() else { return Vec::new() };
    let found = |metric: &str| {
        let checks = document.against.iter().flat_map(|against| &against.checks);
        checks.filter(|check| check.metric == metric).find_map(words::changed).unwrap_or_default()
    };
    let tile =
        |name, exact, metric: &str, field: &str| Tile::of(name, exact, found(metric), &format!("runs.0.{field}"));
    vec![
        tile("requests per second", Some(run.requests_per_second), "requests_per_second", "requests_per_second"),
        tile("median latency, ms", run.latency_p50_ms, "latency_p50_ms", "latency_p50_ms"),
        tile("p95 latency, ms", run.latency_p95_ms, "latency_p95_ms", "latency_p95_ms"),
        tile("p99 latency, ms", run.latency_p99_ms, "latency_p99_ms", "latency_p99_ms"),
        tile("failed requests", run.error_rate, "error_rate", "error_rate")
            .said(run.error_rate.map_or_else(|| MISSING.to_owned(), percent)),
        tile("fetching VUs", Some(run.vus), "", "vus").said(vus(run.vus)),
        Tile::of("exit code", Some(f64::from(document.exit_code)), String::new(), "exit_code")
            .said(document.exit_code.to_string()),
        Tile::of("measured", Some(run.duration_s), format!("{} completed", count(run.completed)), "runs.0.duration_s")
            .said(duration(run.duration_s)),
    ]
}

/// What a reader must know besides, the most important first.
fn remarks(document: &GateDocument) -> Markup {
    let mut lines: Vec<String> = document.not_valid.iter().map(|why| format!("Not valid: {why}")).collect();
    for against in &document.against {
        lines.extend(against.not_comparable.iter().map(|why| format!("Not comparable with {}: {why}", against.name)));
        lines.extend(against.notes.iter().cloned());
        lines.extend(against.differs.iter().map(|why| format!("Differs from {}: {why}", against.name)));
    }
    lines.extend(document.retries.problem.iter().cloned());
    lines.extend(
        document.smallest_change.iter().map(|line| format!("The smallest change that would have been seen {line}.")),
    );
    html! {
        @if !lines.is_empty() {
            h2 { "What stands out" }
            ul.insights { @for line in lines { li { (foreign::line(&line, 500)) } } }
        }
    }
}

fn row(check: &Check) -> Option<Row> {
    let name = words::metric(check.metric);
    let limit = check.limit.zip(check.baseline).map(|(limit, baseline)| limit / baseline - 1.0);
    Some(Row {
        name: name.trim_end_matches(", ms").to_owned(),
        change: check.change?,
        interval: check.change_interval_95?,
        limit: limit.filter(|limit| limit.is_finite()),
        class: if check.finding == Finding::Regressed { "c2" } else { "c1" },
        words: format!("{}, {}", change(check.change?), words::finding(check)),
    })
}

fn forest(at: usize, against: &Against) -> Option<Figure> {
    let rows: Vec<Row> = against.checks.iter().filter_map(row).collect();
    rows.first()?;
    let (body, height) = forest::plot(&rows);
    let said: Vec<String> = against.checks.iter().filter(|check| words::objects(check)).map(words::sentence).collect();
    let finding = match said.as_slice() {
        [] => format!("Nothing that is judged is worse than {}.", words::reference(against)),
        some => format!("{} against {}.", some.join("; "), words::reference(against)),
    };
    Some(Figure {
        id: format!("gate-forest-{at}"),
        title: format!("Changes against {}", foreign::line(&words::reference(against), 80)),
        finding: foreign::line(&finding, 600),
        how: "each line is a change with its 95 % interval, from the variation between runs; the dashed mark is the change \
              that is too large. Worse is a line that lies beyond 0 % and beyond its mark; names in brackets are shown, not \
              judged.",
        height,
        body,
        x: None,
        table: checks(against),
        wide: true,
    })
}

fn checks(against: &Against) -> Table {
    let head = [
        "",
        "baseline",
        "between runs",
        "this run",
        "change",
        "95 % interval",
        "limit",
        "p, not worse",
        "detectable",
        "verdict",
    ];
    let mut table = Table::new(&head).left(&[0, 9]);
    if let Some(first) = table.head.first_mut() {
        "metric".clone_into(first);
    }
    for check in &against.checks {
        let value = |value| words::value(check.metric, value);
        let share = |share: Option<f64>| share.map_or_else(|| MISSING.to_owned(), percent);
        let interval = check.change_interval_95.map(|[low, high]| format!("{} to {}", change(low), change(high)));
        table.row(vec![
            words::metric(check.metric),
            value(check.baseline),
            check.run_cv.map_or_else(|| MISSING.to_owned(), |cv| format!("± {}", percent(cv))),
            value(check.measured),
            check.change.map_or_else(|| MISSING.to_owned(), change),
            interval.unwrap_or_else(|| MISSING.to_owned()),
            value(check.limit),
            check
                .p_worse
                .map_or_else(|| MISSING.to_owned(), |p| if p < 0.001 { format!("{p:.0e}") } else { format!("{p:.3}") }),
            share(check.detectable),
            words::finding(check),
        ]);
    }
    table
}

fn curves(runs: &[Run<'_>]) -> Option<Figure> {
    const CLASSES: [&str; 4] = ["c1", "c2", "c3", "c4"];
    let name = |at: usize| if at == 0 { "the run".to_owned() } else { format!("again, {at}") };
    let names: Vec<String> = (0..runs.len()).map(name).collect();
    let all: Vec<Curve<'_>> = runs
        .iter()
        .zip(&names)
        .enumerate()
        .map(|(at, (run, name))| (name.as_str(), CLASSES[at.min(3)], run.figures.fetch.duration.clone()))
        .filter(|(_, _, latency)| latency.count() >= 10)
        .collect();
    let (_, _, first) = all.first()?;
    let finding = format!(
        "Of {} fetches 95 % took at most {} ms and 99 % at most {} ms.",
        count(first.count()),
        maybe(first.quantile_ms(0.95)),
        maybe(first.quantile_ms(0.99))
    );
    over_each_other("gate-percentiles".to_owned(), finding, &all)
}

fn section(name: &str, table: &Table, note: Option<&str>) -> Markup {
    html! {
        @if !table.rows.is_empty() {
            section.table {
                h3 { (foreign::line(name, 160)) }
                @if let Some(note) = note { p.note { (note) } }
                (table.render(&foreign::line(name, 160)))
            }
        }
    }
}

fn tables(document: &GateDocument) -> Markup {
    let mut limits = Table::new(&["limit", "kept"]).left(&[0, 1]);
    for limit in &document.limits {
        let kept = if limit.passed { "✓ kept" } else { "✗ not kept" };
        limits.row(vec![foreign::line(&words::limit(limit), 200), kept.to_owned()]);
    }
    let mut runs = Table::new(&[
        "run",
        "started, UTC",
        "measured",
        "VUs",
        "requests per s",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "failed",
    ]);
    for run in &document.runs {
        runs.row(vec![
            foreign::line(&run.run, 120),
            run.started.strftime("%Y-%m-%d %H:%M:%S").to_string(),
            duration(run.duration_s),
            vus(run.vus),
            significant(run.requests_per_second),
            maybe(run.latency_p50_ms),
            maybe(run.latency_p95_ms),
            maybe(run.latency_p99_ms),
            run.error_rate.map_or_else(|| MISSING.to_owned(), percent),
        ]);
    }
    html! {
        h2 { "Tables" }
        @for against in &document.against {
            (section(&format!("{}: against {}", against.verdict.words(), words::reference(against)), &checks(against), None))
        }
        (section("Limits", &limits, None))
        (section("Runs", &runs, None))
    }
}

fn method(document: &GateDocument) -> Markup {
    html! {
        section.method {
            h3 { "Method and limits" }
            ul {
                li { "The run is the unit of inference: a change is held against how much earlier runs vary from one to the next, not against the seconds of one run." }
                li { "A change is a regression where it is larger than its limit and significant, and still is after the run was made again (" (document.retries.made) " of " (document.retries.allowed) " repeats that were allowed)." }
                li { "No data is never a pass; a run in which the generator was the limit is inconclusive." }
                @if document.target.sandbox { li { b { "This was the sandbox, a stand-in with a known capacity. Nothing here is a result of Posit Connect." } } }
            }
            @if let Some(accept) = &document.accept {
                h3 { "If this is the new level" }
                pre tabindex="0" { code { (foreign::line(accept, 400)) } }
            }
        }
    }
}
