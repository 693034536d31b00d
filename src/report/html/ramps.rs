//! Ramps side by side: their curves over each other, and what changed.

use maud::{Markup, html};

use super::Run;
use super::chart::{Area, Scale, end_labels, headroom, marker, path, px, raw, x_axis, y_axis};
use super::compare::{Page, chip, class, with_runs};
use super::figure::{Figure, Table};
use super::forest::{self, Row};
use super::knee::{doublings, usable};
use super::tile::Tile;
use crate::capacity::search::{SearchResult, Step};
use crate::report::archive::Archive;
use crate::report::compare::letter;
use crate::report::compare::ramps::{ComparedRamp, RampsDocument, rows};
use crate::report::number::{change, maybe, plus_minus, significant};

/// The page of a comparison of ramps; the archive has them, in their order.
///
/// # Errors
/// Where the data has no JSON form.
pub fn page(document: &RampsDocument, archive: &Archive) -> std::io::Result<String> {
    with_runs(archive, |runs| {
        let sentence: Vec<&str> = document.runs.iter().filter_map(|run| run.headline.as_deref()).collect();
        let sentence = sentence.join(" ");
        let found = |finding| document.runs.iter().any(|run| run.finding == Some(finding));
        let differs = |(at, run): (usize, &ComparedRamp)| -> Vec<String> {
            run.differs.iter().map(|why| format!("{} differs: {why}", letter(at))).collect()
        };
        Page {
            of: "ramp",
            status: chip(found, ["not comparable", "carries more", "carries less"]),
            sentence: &sentence,
            tiles: tiles(document),
            differences: document.runs.iter().enumerate().flat_map(differs).collect(),
            plots: [forest(document, &sentence), curves(runs)].into_iter().flatten().collect(),
            table: (rows(document), "What the ramps found", document.note),
            method: method(),
        }
        .render(runs, archive)
    })
}

fn method() -> Vec<Markup> {
    vec![
        html! { "A ramp says where one server saturates, with an interval; two of them differ where the interval of the change leaves zero out." },
        html! { "The intervals of both are taken to be independent and lognormal. What differs beside the server is listed, and not corrected for." },
    ]
}

/// Of the last ramp, beside the first.
fn tiles(document: &RampsDocument) -> Vec<Tile> {
    let (Some(first), Some(last)) = (document.runs.first(), document.runs.last()) else { return Vec::new() };
    let at = document.runs.len() - 1;
    let tile = |what: &str, of: fn(&ComparedRamp) -> Option<f64>, field: &str| {
        let note = format!("A had {}", maybe(of(first)));
        Tile::of(&format!("{what}, {}", letter(at)), of(last), note, &format!("runs.{at}.{field}"))
    };
    vec![
        tile("plateau, requests per second", |r| r.saturation.requests_per_second, "saturation.requests_per_second"),
        tile("saturating VUs", |r| r.saturation.vus.map(f64::from), "saturation.vus")
            .said(last.saturation.vus.map_or_else(|| maybe(None), |vus| vus.to_string())),
        tile("mean latency there, ms", |r| r.mean_ms_at_vus, "mean_ms_at_vus"),
        tile("found in, s", |r| Some(r.elapsed_s), "elapsed_s"),
    ]
}

fn forest(document: &RampsDocument, sentence: &str) -> Option<Figure> {
    let mut rows = Vec::new();
    let mut table = Table::new(&["figure", "ramp", "change", "95 % from", "to", "says"]).left(&[0, 1, 5]);
    for (at, run) in document.runs.iter().enumerate().skip(1) {
        for found in &run.changes {
            let says = if found.is_seen() { "changed" } else { "within chance" };
            let several = document.runs.len() > 2;
            rows.push(Row {
                name: if several { format!("{}: {}", letter(at), found.name()) } else { found.name().to_owned() },
                change: found.change,
                interval: found.interval_95,
                limit: None,
                class: class(at - 1),
                words: format!("{}, {says}", change(found.change)),
            });
            let [low, high] = found.interval_95.map(change);
            let cells = [found.name().to_owned(), letter(at).to_string(), change(found.change), low, high];
            table.row(cells.into_iter().chain([says.to_owned()]).collect());
        }
    }
    rows.first()?;
    let (body, height) = forest::plot(&rows);
    Some(Figure {
        id: "compare-forest".to_owned(),
        title: "What changed against A".to_owned(),
        finding: sentence.to_owned(),
        how: "each line is a change with its 95 % interval; one that touches the line at 0 % is no change that was seen. A \
              higher plateau is better; more saturating VUs at the same plateau mean that answers take longer.",
        height,
        body,
        x: None,
        table,
        wide: true,
    })
}

/// The stages of each, and its fitted curve.
fn curves(runs: &[Run<'_>]) -> Option<Figure> {
    let ramps: Vec<(usize, Vec<&Step>, &SearchResult)> = runs
        .iter()
        .enumerate()
        .filter_map(|(at, run)| run.summary.search.as_ref().map(|search| (at, usable(search), &search.result)))
        .collect();
    let vus = || ramps.iter().flat_map(|(_, steps, _)| steps.iter().map(|step| f64::from(step.vus)));
    let (least, most) = (vus().reduce(f64::min)?, vus().reduce(f64::max)?);
    let top = headroom(
        ramps
            .iter()
            .flat_map(|(_, steps, _)| steps.iter().map(|step| step.requests_per_second + 2.0 * step.standard_error)),
    );
    let area = Area::wide(22.0, 302.0);
    let x = Scale::log((least / 1.15).max(0.8), most * 1.15, area.left, area.right);
    let y = Scale::linear(0.0, top, area.bottom, area.top);
    let grid = || (0..=90).map(|n| least * (most / least).powf(f64::from(n) / 90.0));
    let fitted = |result: &SearchResult| {
        let knee = result.knee.filter(|_| !result.misfit)?;
        Some(path(grid().map(|vus| (x.at(vus), Some(y.at(knee.throughput(vus)))))))
    };
    let end = |steps: &[&Step]| steps.iter().max_by_key(|step| step.vus).map(|step| y.at(step.requests_per_second));
    let labels = ramps.iter().filter_map(|(at, steps, _)| Some((end(steps)?, class(*at), letter(*at).to_string())));
    let body = html! {
        (y_axis(area, &y, "requests per second", 6))
        (x_axis(area, &x, &doublings(&x), "fetching VUs (logarithmic)"))
        @for (at, steps, result) in &ramps {
            @if let Some(line) = fitted(result) { path class={ "line " (class(*at)) } d=(raw(line)) {} }
            @for step in steps { (marker(x.at(f64::from(step.vus)), y.at(step.requests_per_second), class(*at))) }
            @if let Some(vus) = result.saturation_vus {
                path.drop d=(raw(format!("M{},{}v-10", px(x.at(vus)), px(area.bottom)))) {}
            }
        }
        (end_labels(area.right, labels.collect()))
    };
    let mut table = Table::new(&["VUs", "ramp", "requests per s, ± 95 %", "mean ms", "p95 ms"]).left(&[1]);
    for (at, steps, _) in &ramps {
        for step in steps {
            table.row_at(
                f64::from(step.vus),
                vec![
                    step.vus.to_string(),
                    letter(*at).to_string(),
                    plus_minus(step.requests_per_second, 1.96 * step.standard_error),
                    maybe(step.mean_ms),
                    maybe(step.p95_ms),
                ],
            );
        }
    }
    let said = ramps.iter().map(|(at, _, result)| match (result.requests_per_second, result.vus) {
        (Some(per_s), Some(vus)) => format!("{}: {} requests per second at {vus} VUs", letter(*at), significant(per_s)),
        _ => format!("{}: no answer", letter(*at)),
    });
    Some(Figure {
        id: "compare-curves".to_owned(),
        title: "Throughput against VUs, over each other".to_owned(),
        finding: format!("{}.", said.collect::<Vec<_>>().join("; ")),
        how: "points are stages, lines are fitted curves, short strokes at the bottom are where each saturates; a curve that \
              lies lower on the right carries less, one that lies lower on the left answers more slowly.",
        height: 342.0,
        body,
        x: Some(x),
        table,
        wide: true,
    })
}
