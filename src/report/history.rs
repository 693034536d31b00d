//! How runs developed, for people: one line a run, and where the level changed. Annotates; decides nothing.

use jiff::Timestamp;
use serde::Serialize;

use super::number::{change, duration, maybe, percent, significant, vus};
use super::text::{table, wrap};
use crate::gate::settings::Measure;
use crate::gate::{Record, Verdict};
use crate::stats::changepoint::{Search, changes};

/// Version of the document.
pub const SCHEMA: u32 = 1;

/// `history --json`.
#[derive(Debug, Serialize)]
pub struct HistoryDocument {
    /// [`SCHEMA`].
    pub schema: u32,
    /// `history`.
    pub kind: &'static str,
    /// Version of connect-bench.
    pub version: &'static str,
    /// Where the runs are from.
    pub from: String,
    /// How they were made, all in the same way.
    pub load: Option<String>,
    /// Runs that were made in another way than the newest, or are not valid: left out.
    pub left_out: usize,
    /// The runs, in the order of time.
    pub runs: Vec<HistoryRun>,
    /// Where the level of a metric changed.
    pub changes: Vec<LevelChange>,
}

/// One run.
#[derive(Debug, Serialize)]
pub struct HistoryRun {
    /// Name of its directory.
    pub run: String,
    /// When it began, UTC.
    pub started: Timestamp,
    /// The level that a person accepted; 0 where none did.
    pub epoch: u32,
    /// What the gate said.
    pub verdict: Option<Verdict>,
    /// What was noted.
    pub note: Option<String>,
    /// Completed requests per second.
    pub requests_per_second: f64,
    /// 95th percentile of latency.
    pub latency_p95_ms: Option<f64>,
    /// Failed share.
    pub error_rate: Option<f64>,
    /// Measured time.
    pub duration_s: f64,
    /// Fetching VUs.
    pub vus: f64,
}

/// A change of level.
#[derive(Debug, Serialize)]
pub struct LevelChange {
    /// The metric; its unit is last in its name.
    pub metric: &'static str,
    /// The first run of the new level.
    pub run: String,
    /// Its index in `runs`.
    pub index: usize,
    /// Mean of the level before.
    pub before: f64,
    /// Mean of the new level.
    pub after: f64,
    /// After / before − 1.
    pub change: f64,
    /// p value of the change.
    pub p: f64,
}

/// The document of runs in the order of time; `left_out` were not comparable with the newest.
#[must_use]
pub fn document(from: &str, records: &[Record], left_out: usize) -> HistoryDocument {
    let run = |record: &Record| HistoryRun {
        run: record.run.clone(),
        started: record.started,
        epoch: record.epoch,
        verdict: record.verdict,
        note: record.note.clone(),
        requests_per_second: record.requests_per_second,
        latency_p95_ms: record.p95_ms,
        error_rate: record.error_rate(),
        duration_s: record.duration_s,
        vus: record.vus,
    };
    let mut found: Vec<LevelChange> =
        [Measure::Rps, Measure::P95].iter().flat_map(|measure| levels(*measure, records)).collect();
    found.sort_by_key(|change| change.index);
    HistoryDocument {
        schema: SCHEMA,
        kind: "history",
        version: env!("CARGO_PKG_VERSION"),
        from: from.to_owned(),
        load: records.last().and_then(|record| record.fingerprint.get("load")).map(str::to_owned),
        left_out,
        runs: records.iter().map(run).collect(),
        changes: found,
    }
}

fn levels(measure: Measure, records: &[Record]) -> Vec<LevelChange> {
    // A run without the figure would shift the others.
    let Some(values) = records.iter().map(|record| measure.of(record)).collect::<Option<Vec<f64>>>() else {
        return Vec::new();
    };
    let level = |found: crate::stats::changepoint::Change| LevelChange {
        metric: measure.name(),
        run: records[found.at].run.clone(),
        index: found.at,
        before: found.before,
        after: found.after,
        change: found.after / found.before - 1.0,
        p: found.p,
    };
    changes(&values, &Search::default()).into_iter().map(level).collect()
}

/// What became of the level, in a sentence.
#[must_use]
pub(super) fn sentence(document: &HistoryDocument) -> String {
    let n = match document.runs.len() {
        1 => "1 run".to_owned(),
        n => format!("{n} runs"),
    };
    let Some(last) = document.changes.last() else { return format!("No change of level was seen in {n}.") };
    let times = match document.changes.len() {
        1 => "The level changed once".to_owned(),
        n => format!("The level changed {n} times"),
    };
    let metric = last.metric.replace('_', " ");
    let (before, after) = (significant(last.before), significant(last.after));
    format!("{times} in {n}, last at {}: {metric} {before} → {after} ({}).", last.run, change(last.change))
}

/// The history as people read it.
#[must_use]
pub fn text(document: &HistoryDocument) -> String {
    let mut out = wrap(&sentence(document), "", 2);
    out.push_str(&wrap(&format!("{} runs of {}", document.runs.len(), document.from), "", 2));
    if let Some(load) = &document.load {
        out.push_str(&wrap(load, "  ", 4));
    }
    if document.left_out > 0 {
        let left = document.left_out;
        let are = if left == 1 { "is" } else { "are" };
        out.push_str(&format!("  {left} more {are} left out: made in another way than the newest, or not valid\n"));
    }
    let head = ["", "run", "epoch", "rps", "p95 ms", "errors", "VUs", "measured", "verdict", ""];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for (at, run) in document.runs.iter().enumerate() {
        let changed = document.changes.iter().any(|change| change.index == at);
        rows.push(vec![
            if changed { "◆".to_owned() } else { String::new() },
            run.run.clone(),
            run.epoch.to_string(),
            significant(run.requests_per_second),
            maybe(run.latency_p95_ms),
            run.error_rate.map_or_else(String::new, percent),
            vus(run.vus),
            duration(run.duration_s),
            run.verdict.map_or_else(String::new, |verdict| verdict.words().to_owned()),
            run.note.clone().unwrap_or_default(),
        ]);
    }
    out.push_str(&table(&rows, 0, &[0, 1, 8, 9]));
    for level in &document.changes {
        let metric = level.metric.replace('_', " ");
        let (before, after, p) = (significant(level.before), significant(level.after), level.p);
        let line = format!("{metric} {before} → {after} ({}) from {} on, p = {p:.1e}", change(level.change), level.run);
        out.push_str(&wrap(&line, "◆ ", 4));
    }
    let note = "A change is seen from about three runs after it on, and only shown: the gate decides by itself.";
    out.push_str(&wrap(note, "", 2));
    out
}
