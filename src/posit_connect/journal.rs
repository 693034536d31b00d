//! The journal: what we are about to make on a server is written down, and on disk, before it is made. So that after
//! any end of this process, kill -9 included, there is a list of what to delete. Never holds a key.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::settings::Change;

/// Name of the journal in a run's directory.
pub const JOURNAL: &str = "journal.ndjson";
/// What every name that we give begins with.
pub const PREFIX: &str = "connect-bench-";
/// What every description that we give ends with; together with the name and the owner it says that an item is ours.
pub const MARKER: &str = "connect-bench cleanup removes it.";

/// The journal cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Reading or writing failed.
    #[error("cannot {doing} the journal {path}: {detail}; without it nothing is made on a server")]
    File {
        /// `open` or `write`.
        doing: &'static str,
        /// Which file.
        path: String,
        /// Why.
        detail: String,
    },
    /// Another process writes it.
    #[error("the journal {path} is in use by another process: its run is still going")]
    Held {
        /// Which file.
        path: String,
    },
}

/// What an intent is to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One content item of this name.
    Content,
    /// Any number of content items whose names begin so.
    ContentPrefix,
    /// Nothing that is made: process settings of somebody's own content item, which were changed.
    Settings,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
enum Record {
    Intent { kind: Kind, name: String, run_id: String, server: String },
    Changing { change: Change, run_id: String, server: String },
    Created { name: String, guid: String },
    Deleted { name: String },
}

/// Something that was intended, and whose deletion is not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remaining {
    /// One item, or all whose names begin so.
    pub kind: Kind,
    /// Name, or beginning of the names.
    pub name: String,
    /// The run that intended it.
    pub run_id: String,
    /// The server, as its address.
    pub server: String,
    /// The identifier, where the server confirmed that it made it. Never that of an item which is not ours.
    pub guid: Option<String>,
    /// Of settings that were changed: what they were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
}

/// A journal: appended to, one JSON object per line.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    records: Vec<Record>,
}

impl Journal {
    /// Opens the journal of a run's directory, and makes it where there is none. It is locked until it is dropped.
    ///
    /// # Errors
    /// Where the file cannot be opened, read, or brought to the disk, or another process has it open.
    pub fn open(run_directory: &Path) -> Result<Journal, JournalError> {
        let path = run_directory.join(JOURNAL);
        let fail = |error: std::io::Error| failure("open", &path, &error);
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(&path).map_err(fail)?;
        // Held while the run goes on, so that a clean-up leaves its items alone.
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(JournalError::Held { path: path.display().to_string() }),
            Err(TryLockError::Error(error)) => return Err(fail(error)),
        }
        let mut text = Vec::new();
        file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_end(&mut text)).map_err(fail)?;
        if !text.is_empty() && !text.ends_with(b"\n") {
            // A line that was cut off must not swallow the next one.
            file.write_all(b"\n").map_err(fail)?;
        }
        // The directory's entry has to be on disk too.
        File::open(run_directory).and_then(|folder| folder.sync_all()).map_err(fail)?;
        Ok(Journal { file, records: parse(&text), path })
    }

    /// Opens the journal of a run's directory; `None` where there is none.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn open_existing(run_directory: &Path) -> Result<Option<Journal>, JournalError> {
        if run_directory.join(JOURNAL).is_file() { Journal::open(run_directory).map(Some) } else { Ok(None) }
    }

    /// Notes that something is about to be made. It is on disk when this returns.
    ///
    /// # Errors
    /// Where that fails; then nothing may be made.
    pub fn intent(&mut self, kind: Kind, name: &str, run_id: &str, server: &str) -> Result<(), JournalError> {
        let (name, run_id, server) = (name.to_owned(), run_id.to_owned(), server.to_owned());
        self.append(Record::Intent { kind, name, run_id, server })
    }

    /// Notes that settings of an item that is not ours are about to be changed. It is on disk when this returns.
    ///
    /// # Errors
    /// Where that fails; then nothing may be changed.
    pub fn changing(&mut self, change: &Change, run_id: &str, server: &str) -> Result<(), JournalError> {
        let (change, run_id, server) = (change.clone(), run_id.to_owned(), server.to_owned());
        self.append(Record::Changing { change, run_id, server })
    }

    /// Notes that the item of this name was made.
    ///
    /// # Errors
    /// Where it cannot be written; the intent is still there.
    pub fn created(&mut self, name: &str, guid: &str) -> Result<(), JournalError> {
        self.append(Record::Created { name: name.to_owned(), guid: guid.to_owned() })
    }

    /// Notes that what was intended under this name is gone from the server, or settings of this name are put back.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn deleted(&mut self, name: &str) -> Result<(), JournalError> {
        self.append(Record::Deleted { name: name.to_owned() })
    }

    /// What was intended and is not confirmed to be deleted, in the order of the intents.
    #[must_use]
    pub fn remaining(&self) -> Vec<Remaining> {
        remaining(&self.records)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn append(&mut self, record: Record) -> Result<(), JournalError> {
        let fail = |error: std::io::Error| failure("write", &self.path, &error);
        let mut line = serde_json::to_vec(&record).map_err(|error| fail(error.into()))?;
        line.push(b'\n');
        self.file.write_all(&line).and_then(|()| self.file.sync_data()).map_err(fail)?;
        self.records.push(record);
        Ok(())
    }
}

/// What remains of the journal in a run's directory, without opening it for writing: also while its run goes on.
#[must_use]
pub fn peek(run_directory: &Path) -> Vec<Remaining> {
    let text = std::fs::read(run_directory.join(JOURNAL)).unwrap_or_default();
    remaining(&parse(&text))
}

/// What remains of the journal of a run that no process is at any more.
#[must_use]
pub fn abandoned(run_directory: &Path) -> Vec<Remaining> {
    let Ok(file) = File::open(run_directory.join(JOURNAL)) else { return Vec::new() };
    // Whoever writes it holds it; ours is given back at once.
    match file.try_lock() {
        Ok(()) => peek(run_directory),
        Err(_) => Vec::new(),
    }
}

fn remaining(records: &[Record]) -> Vec<Remaining> {
    let mut open: Vec<Remaining> = Vec::new();
    for record in records {
        match record.clone() {
            Record::Intent { kind, name, run_id, server } => {
                open.retain(|item| item.name != name);
                open.push(Remaining { kind, name, run_id, server, guid: None, change: None });
            }
            Record::Changing { change, run_id, server } => {
                let (kind, name) = (Kind::Settings, change.name());
                // The first one knows what they were before all of them.
                if !open.iter().any(|item| item.name == name) {
                    open.push(Remaining { kind, name, run_id, server, guid: None, change: Some(change) });
                }
            }
            Record::Created { name, guid } => {
                if let Some(item) = open.iter_mut().find(|item| item.name == name) {
                    item.guid = Some(guid);
                }
            }
            Record::Deleted { name } => open.retain(|item| item.name != name),
        }
    }
    open
}

fn failure(doing: &'static str, path: &Path, error: &std::io::Error) -> JournalError {
    JournalError::File { doing, path: path.display().to_string(), detail: error.to_string() }
}

/// The records of a journal. A line that is none was cut off by the end of a process: what it was about was not done
/// yet, because the line comes first.
fn parse(text: &[u8]) -> Vec<Record> {
    text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

/// The name of a content item of a run: `connect-bench-<run id>-<role>`, within the 64 characters that Connect takes.
#[must_use]
pub fn item_name(run_id: &str, role: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let run: String = run_id.chars().map(|c| if allowed(c) { c } else { '-' }).collect();
    let room = 64_usize.saturating_sub(PREFIX.len() + 1 + role.len());
    // The end of a run's name tells runs apart, its beginning is the date.
    let run = run.get(run.len().saturating_sub(room)..).unwrap_or(&run);
    format!("{PREFIX}{run}-{role}")
}

/// The beginning of the names of a run's content items that are told apart by a number of up to eight digits.
#[must_use]
pub fn item_prefix(run_id: &str, role: &str) -> String {
    const DIGITS: &str = "00000000";
    let longest = item_name(run_id, &format!("{role}-{DIGITS}"));
    longest.strip_suffix(DIGITS).unwrap_or(&longest).to_owned()
}

/// The description of a content item of a run.
#[must_use]
pub fn description(run_id: &str) -> String {
    format!("Made by the load test {run_id} of connect-bench, and deleted at its end; if it is still here, {MARKER}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_confirmed_to_be_deleted_remains() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path()).unwrap();
        journal.intent(Kind::Content, "a", "r1", "http://c/").unwrap();
        journal.created("a", "g-a").unwrap();
        journal.intent(Kind::Content, "b", "r1", "http://c/").unwrap();
        journal.intent(Kind::ContentPrefix, "p-", "r1", "http://c/").unwrap();
        journal.deleted("a").unwrap();
        let kept = journal.remaining();
        assert!(matches!(Journal::open(folder.path()), Err(JournalError::Held { .. })));
        assert!(abandoned(folder.path()).is_empty(), "its run is still going");
        drop(journal);
        let reread = Journal::open_existing(folder.path()).unwrap().unwrap();
        let peeked = peek(folder.path());
        let (reread, _) = (reread.remaining(), drop(reread));
        for remaining in [kept, reread, peeked, abandoned(folder.path())] {
            let names: Vec<_> = remaining.into_iter().map(|item| (item.name, item.guid)).collect();
            assert_eq!(names, [("b".to_owned(), None), ("p-".to_owned(), None)]);
        }
    }

    #[test]
    fn a_torn_tail_is_passed_over_and_does_not_swallow_the_next_line() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path()).unwrap();
        journal.intent(Kind::Content, "a", "r1", "s").unwrap();
        journal.created("a", "g").unwrap();
        let path = journal.path().to_owned();
        drop(journal);
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let mut torn = Journal::open(folder.path()).unwrap();
            torn.intent(Kind::Content, "b", "r1", "s").unwrap();
            drop(torn);
            let names: Vec<_> = Journal::open(folder.path()).unwrap().remaining();
            assert_eq!(names.last().unwrap().name, "b", "cut at {cut}");
        }
    }

    #[test]
    fn there_is_no_journal_where_none_was_made() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Journal::open_existing(folder.path()).unwrap().is_none());
        assert!(Journal::open(&folder.path().join("none")).is_err());
    }

    #[test]
    fn names_fit_what_connect_takes() {
        assert_eq!(item_name("20250601-load-ab12", "fetch"), "connect-bench-20250601-load-ab12-fetch");
        let long = item_name(&"x:".repeat(100), "publish-123456");
        assert!(long.len() <= 64 && long.ends_with("-publish-123456") && !long.contains(':'), "{long}");
        assert_eq!(item_prefix("r1", "publish"), "connect-bench-r1-publish-");
        assert_eq!(item_prefix(&"x".repeat(100), "publish").len(), 56);
        assert!(description("r").ends_with(MARKER));
    }
}
