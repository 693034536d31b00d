//! The lines of accepted runs, one JSON document each: made for git, where two branches' lines are merged by keeping
//! both (`merge=union`). So their order in the file means nothing, and a line may be there twice.
//!
//! An epoch is a level that a person accepted. Runs are compared within the newest one only: a slow drift is not
//! absorbed by comparing each run with the one before, and a change that was meant is not held against every later run.

use std::collections::BTreeMap;

use super::Verdict;
use super::fingerprint::Differences;
use super::record::{Record, SCHEMA};

/// Earlier runs that are compared with: the newest of the epoch.
pub const NEWEST: usize = 20;
/// The first runs of an epoch, which a slow drift is held against.
pub const FIRST: usize = 5;

/// A line that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HistoryFault {
    /// It is no record.
    #[error("line {line}: {what}")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
}

/// Reads the lines, in the order of time, each run once.
///
/// # Errors
/// The first line that is no record, with its number.
pub fn read(text: &str) -> Result<Vec<Record>, HistoryFault> {
    let mut runs: BTreeMap<String, Record> = BTreeMap::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let fault = |what: String| HistoryFault::Line { line: at + 1, what };
        if ["<<<<<<<", "=======", ">>>>>>>", "|||||||"].iter().any(|mark| line.starts_with(mark)) {
            let what = "a conflict of a merge: keep the lines of both sides (merge=union in .gitattributes does)";
            return Err(fault(what.to_owned()));
        }
        let record: Record = serde_json::from_str(line).map_err(|e| fault(e.to_string()))?;
        if record.schema > SCHEMA {
            return Err(fault(format!("written by a newer connect-bench (form {})", record.schema)));
        }
        // Of a run that was recorded and then accepted as a new level, the later epoch holds.
        match runs.get(&record.run) {
            Some(there) if there.epoch >= record.epoch => {}
            _ => drop(runs.insert(record.run.clone(), record)),
        }
    }
    let mut records: Vec<Record> = runs.into_values().collect();
    records.sort_by(|a, b| (a.started, &a.run).cmp(&(b.started, &b.run)));
    Ok(records)
}

/// A record as a line, with its line break.
///
/// # Errors
/// Never with the records that we make.
pub fn line(record: &Record) -> Result<String, serde_json::Error> {
    serde_json::to_string(record).map(|line| line + "\n")
}

/// The newest epoch; 0 without runs.
#[must_use]
pub fn newest_epoch(records: &[Record]) -> u32 {
    records.iter().map(|record| record.epoch).max().unwrap_or(0)
}

/// The runs of the newest epoch, in the order of time.
#[must_use]
pub fn epoch(records: &[Record]) -> Vec<&Record> {
    let newest = newest_epoch(records);
    records.iter().filter(|record| record.epoch == newest).collect()
}

/// The epoch that a run begins or belongs to when a person accepts it, and why.
#[must_use]
pub fn place(records: &[Record], verdict: Option<Verdict>, differences: &Differences, asked: bool) -> (u32, String) {
    let newest = newest_epoch(records);
    let next = |why: &str| (newest + 1, why.to_owned());
    match verdict {
        _ if records.is_empty() => next("the first of this profile"),
        _ if asked => next("as asked for"),
        _ if !differences.refused.is_empty() => next("it was made in another way than those before"),
        Some(Verdict::Regressed) => next("it is slower than the level before"),
        Some(Verdict::Improved) => next("it is faster than the level before"),
        _ => (newest, "its level is that of the runs before".to_owned()),
    }
}
