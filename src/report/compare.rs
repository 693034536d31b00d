//! Runs side by side, for people: figures, changes against the first one, and what else differs. No verdict: that is the
//! gate's, which knows how much runs of one build vary.

pub mod ramps;

use serde::Serialize;

use super::gate::words;
use super::json::TargetDocument;
use super::number::{MISSING, change, duration, maybe, percent, significant, vus};
use super::text::{table, what, wrap};
use crate::gate::inference::{Better, test};
use crate::gate::settings::Measure;
use crate::gate::{Record, Settings};
use crate::summary::Summary;

/// Version of the document.
pub const SCHEMA: u32 = 1;

/// `compare --json`.
#[derive(Debug, Serialize)]
pub struct CompareDocument {
    /// [`SCHEMA`].
    pub schema: u32,
    /// `compare`.
    pub kind: &'static str,
    /// Version of connect-bench.
    pub version: &'static str,
    /// The runs; the first is what the others are compared with.
    pub runs: Vec<ComparedRun>,
    /// How to read the changes.
    pub note: &'static str,
}

/// One run.
#[derive(Debug, Serialize)]
pub struct ComparedRun {
    /// Its directory.
    pub run_dir: String,
    /// What was measured.
    pub target: TargetDocument,
    /// Its figures.
    pub record: Record,
    /// What follows for it against the first, in a sentence; `None` of the first.
    pub headline: Option<String>,
    /// The same in a word; `None` of the first.
    pub finding: Option<Finding>,
    /// Against the first run; empty of the first.
    pub changes: Vec<Change>,
    /// In what it was made in another way than the first: not like for like.
    pub not_like_for_like: Vec<String>,
    /// In what it differs beside that.
    pub differs: Vec<String>,
}

/// What follows for a run against the first. No verdict: where to draw the line is the gate's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// One of the two says nothing about the server.
    NotValid,
    /// The two were made in another way.
    NotLikeForLike,
    /// No interval of a change leaves zero out.
    NoChangeSeen,
    /// Those that do are for the better.
    Better,
    /// Those that do are for the worse.
    Worse,
    /// Some are for the better, some for the worse.
    Mixed,
}

/// One metric against the first run.
#[derive(Debug, Serialize)]
pub struct Change {
    /// Its name; the unit is last in it.
    pub metric: &'static str,
    /// This run / the first − 1.
    pub change: f64,
    /// 95 % interval, if runs of one build vary as is assumed before anything is known of them.
    pub interval_95: [f64; 2],
    /// Variation from run to run that is assumed, as a share.
    pub run_cv: f64,
}

const NOTE: &str = "± is within one run. Runs of one and the same build differ by more than that: the intervals of the \
                    changes assume 2 % from run to run for requests per second, 4 % for p50 and p95, 8 % for p99. With \
                    runs of your own history, `gate` knows better.";

/// A run and where it came from.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// Its directory.
    pub run_dir: &'a str,
    /// What it measured.
    pub summary: &'a Summary,
    /// Its record.
    pub record: &'a Record,
}

/// The document of two runs or more.
#[must_use]
pub fn document(runs: &[Given<'_>]) -> CompareDocument {
    let compared = |(at, run): (usize, &Given<'_>)| {
        let first = runs[0].record;
        let differences = run.record.fingerprint.differences(&first.fingerprint, &[], &[]);
        let (changes, differences) =
            if at == 0 { (Vec::new(), Default::default()) } else { (changes(first, run.record), differences) };
        let (finding, headline) = match at {
            0 => (None, None),
            _ => {
                let (finding, headline) = found((first, run.record), letter(at), &differences.refused, &changes);
                (Some(finding), Some(headline))
            }
        };
        ComparedRun {
            headline,
            finding,
            run_dir: run.run_dir.to_owned(),
            target: TargetDocument::of(&run.summary.plan.target),
            record: run.record.clone(),
            changes,
            not_like_for_like: differences.refused,
            differs: differences.said,
        }
    };
    let runs = runs.iter().enumerate().map(compared).collect();
    CompareDocument { schema: SCHEMA, kind: "compare", version: env!("CARGO_PKG_VERSION"), runs, note: NOTE }
}

fn changes(first: &Record, run: &Record) -> Vec<Change> {
    let settings = Settings::default();
    let one = |measure: &Measure| {
        let (before, now) = (measure.of(first)?, measure.of(run)?);
        let found = test(&[before], &[now], measure.better(), &settings.rule(*measure))?;
        Some(Change {
            metric: measure.name(),
            change: found.change.estimate,
            interval_95: [found.change.low, found.change.high],
            run_cv: found.run_cv,
        })
    };
    Measure::ALL.iter().filter_map(one).collect()
}

/// What a run is called.
pub(super) fn letter(at: usize) -> char {
    ('A'..='Z').nth(at).unwrap_or('?')
}

/// What a change says: `requests per second +12 % [+7 %, +17 %]`.
pub(super) fn said(change: &Change) -> String {
    let name = words::metric(change.metric);
    format!("{} {}", name.trim_end_matches(", ms"), within(change))
}

/// A change with its interval.
pub(super) fn within(found: &Change) -> String {
    let [low, high] = found.interval_95.map(change);
    format!("{} [{low}, {high}]", change(found.change))
}

/// Whether an interval leaves zero out, and on which side: for the better or not.
pub(super) fn direction(change: &Change) -> Option<bool> {
    let [low, high] = change.interval_95;
    let more = if low > 0.0 {
        true
    } else if high < 0.0 {
        false
    } else {
        return None;
    };
    let better = Measure::ALL.into_iter().find(|measure| measure.name() == change.metric)?.better();
    Some(more == (better == Better::Higher))
}

fn found((first, run): (&Record, &Record), letter: char, refused: &[String], changes: &[Change]) -> (Finding, String) {
    if let Some((name, why)) = [('A', first), (letter, run)].iter().find_map(|(n, r)| Some((n, r.objections.first()?)))
    {
        return (Finding::NotValid, format!("{name} is NOT VALID ({why}): nothing follows from its figures."));
    }
    let list = |better: bool| {
        let some = changes.iter().filter(|change| direction(change) == Some(better)).map(said);
        some.collect::<Vec<_>>().join(", ")
    };
    let (better, worse) = (list(true), list(false));
    let (finding, sentence) = match (better.is_empty(), worse.is_empty()) {
        (true, true) => {
            let all = changes.iter().map(said).collect::<Vec<_>>().join(", ");
            let all = if all.is_empty() { String::new() } else { format!(": {all}") };
            (Finding::NoChangeSeen, format!("No change from A to {letter} beyond what runs of one build vary{all}."))
        }
        (false, true) => (Finding::Better, format!("{letter} is better than A: {better}.")),
        (true, false) => (Finding::Worse, format!("{letter} is worse than A: {worse}.")),
        (false, false) => (Finding::Mixed, format!("{letter} is better than A in {better}; worse in {worse}.")),
    };
    match refused.first() {
        None => (finding, sentence),
        Some(why) => {
            let not_the_server =
                format!("{letter} is not like for like with A ({why}), so not only the server differs. {sentence}");
            (Finding::NotLikeForLike, not_the_server)
        }
    }
}

/// The comparison as people read it.
#[must_use]
pub fn text(document: &CompareDocument, runs: &[Given<'_>]) -> String {
    let headlines = document.runs.iter().filter_map(|run| run.headline.as_deref());
    let differences = document.runs.iter().zip('A'..).skip(1).flat_map(|(run, letter)| {
        let refused =
            run.not_like_for_like.iter().map(move |why| (format!("{letter} is not like for like with A: "), why));
        refused.chain(run.differs.iter().map(move |why| (format!("{letter} differs: "), why)))
    });
    sheet(headlines, (runs, &|run| &run.record.objections), &rows(document), differences, document.note)
}

/// Why a run's figures say nothing of its server.
type Objections<'f> = &'f dyn for<'r> Fn(&'r Given<'_>) -> &'r [String];

/// What a comparison is as text, of whatever: what follows, the runs, a table, what else differs, how to read it.
fn sheet<'t>(
    headlines: impl Iterator<Item = &'t str>,
    (runs, objections): (&[Given<'_>], Objections<'_>),
    rows: &[Vec<String>],
    differences: impl Iterator<Item = (String, &'t String)>,
    note: &str,
) -> String {
    let mut out: String = headlines.map(|headline| wrap(headline, "", 2)).collect();
    out.push('\n');
    for (given, letter) in runs.iter().zip('A'..) {
        let line =
            format!("{letter}: {} ({}), {}", given.record.run, what(&given.summary.plan.target), given.record.started);
        out.push_str(&wrap(&line, "", 3));
        objections(given).iter().for_each(|why| out.push_str(&wrap(why, "   NOT VALID: ", 5)));
    }
    out.push('\n');
    out.push_str(&table(rows, 2, &[0]));
    out.push('\n');
    differences.for_each(|(who, why)| out.push_str(&wrap(why, &who, 2)));
    out + &wrap(note, "", 0)
}

/// The head of a table of so many runs: each, and from the second on its change.
fn head(runs: usize) -> Vec<String> {
    let columns =
        (0..runs).flat_map(|at| [Some(letter(at).to_string()), (at > 0).then(|| format!("{}/A", letter(at)))]);
    [String::new()].into_iter().chain(columns.flatten()).collect()
}

/// A row of it: a name, and of each run its value; from the second on its change, where it has one.
fn row<R>(runs: &[R], name: &str, value: &dyn Fn(&R) -> String, changed: &dyn Fn(&R) -> Option<String>) -> Vec<String> {
    let cells = |(at, run)| [Some(value(run)), (at > 0).then(|| changed(run).unwrap_or_default())];
    [name.to_owned()].into_iter().chain(runs.iter().enumerate().flat_map(cells).flatten()).collect()
}

/// A row for each metric; from the second run on with its change.
pub(super) fn rows(document: &CompareDocument) -> Vec<Vec<String>> {
    let runs = &document.runs;
    let half = |interval: Option<[f64; 2]>| interval.map(|[low, high]| 0.5 * (high - low));
    let spread = |value: f64, interval: Option<[f64; 2]>| match half(interval) {
        Some(half) => super::number::plus_minus(value, half),
        None => significant(value),
    };
    let row = |name: &str, measure: Option<Measure>, value: &dyn Fn(&Record) -> String| {
        let found = |run: &ComparedRun| {
            run.changes.iter().find(|change| Some(change.metric) == measure.map(Measure::name)).map(within)
        };
        row(runs, name, &|run| value(&run.record), &found)
    };
    vec![
        head(runs.len()),
        row("requests per second", Some(Measure::Rps), &|r| {
            spread(r.requests_per_second, r.requests_per_second_interval)
        }),
        row("cycle time N/X, ms", None, &|r| maybe(r.cycle_ms)),
        row("mean latency, ms", None, &|r| maybe(r.mean_ms)),
        row("p50 latency, ms", Some(Measure::P50), &|r| maybe(r.p50_ms)),
        row("p95 latency, ms", Some(Measure::P95), &|r| {
            r.p95_ms.map_or_else(|| MISSING.to_owned(), |p95| spread(p95, r.p95_interval_ms))
        }),
        row("p99 latency, ms", Some(Measure::P99), &|r| maybe(r.p99_ms)),
        row("error rate", None, &|r| r.error_rate().map_or_else(|| MISSING.to_owned(), percent)),
        row("VUs", None, &|r| vus(r.vus)),
        row("measured", None, &|r| duration(r.duration_s)),
    ]
}
