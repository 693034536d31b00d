//! The run directory: `runs/<utc>-<command>-<id>/`. Never overwritten, append-only while the run lasts, readable after
//! a kill at any moment.
//!
//! | file | what |
//! |---|---|
//! | `plan.json` | the plan and the environment, before the first request |
//! | `windows.ndjson` | one line per second, histograms inside; synced every few seconds |
//! | `events.ndjson` | what happened: steps of a search, publishes, faults, what was done to the run |
//! | `journal.ndjson` | what we made on the server, written before it was made |
//! | `summary.json` | the result |

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use serde::{Deserialize, Serialize};

use crate::disruption;
use crate::host::Environment;
use crate::plan::{self, Plan};
use crate::server_metrics::Scrape;
use crate::summary::{Builder, ControlEvent, RunState, SCHEMA, Summary};
use crate::window::{Second, Window};

/// A directory that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum RunDirFault {
    /// The system said no.
    #[error("{}: cannot {what}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: {what}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// No run is there.
    #[error("{}: not a run directory (it has no plan.json)", .0.display())]
    NotARun(PathBuf),
}

/// `plan.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanFile {
    /// What is to happen.
    pub plan: Plan,
    /// Where and when.
    pub environment: Environment,
    /// The command line that made it, without the program's name and without a key: by it a run is made again. Empty
    /// where it was not written down.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub invocation: Vec<String>,
}

/// A run's directory, while the run writes it.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    windows: Lines,
    events: Lines,
    unsynced: u32,
    syncer: Syncer,
}

/// Brings what was appended to the disk, on a thread of its own: a busy disk takes seconds for it, and whoever appends has the
/// whole run to look after.
#[derive(Debug)]
struct Syncer {
    wanted: SyncSender<()>,
    fault: Arc<Mutex<Option<io::Error>>>,
}

impl Syncer {
    fn start(file: &File) -> io::Result<Syncer> {
        let file = file.try_clone()?;
        let (wanted, asked) = sync_channel(1);
        let fault = Arc::<Mutex<Option<io::Error>>>::default();
        let told = Arc::clone(&fault);
        let sync = move || {
            while asked.recv().is_ok() {
                if let Err(e) = file.sync_data() {
                    told.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(e);
                }
            }
        };
        thread::Builder::new().name("sync".to_owned()).spawn(sync)?;
        Ok(Syncer { wanted, fault })
    }

    /// Asks for a sync; says how an earlier one failed.
    fn sync(&self) -> io::Result<()> {
        // One that has not begun yet brings this, too.
        let _ = self.wanted.try_send(());
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner).take();
        fault.map_or(Ok(()), Err)
    }
}

/// A file of lines that is appended to.
#[derive(Debug)]
struct Lines {
    path: PathBuf,
    file: File,
    /// Bytes of the whole lines.
    length: u64,
}

impl Lines {
    fn create(path: PathBuf) -> Result<Lines, RunDirFault> {
        let file =
            OpenOptions::new().append(true).create_new(true).open(&path).map_err(fault(&path, "make the file"))?;
        Ok(Lines { path, file, length: 0 })
    }

    fn append<T: Serialize>(&mut self, value: &T) -> Result<(), RunDirFault> {
        let mut line = serde_json::to_vec(value).map_err(|e| content(&self.path, &e))?;
        line.push(b'\n');
        // One write per line: a kill leaves at most the last one torn.
        if let Err(e) = self.file.write_all(&line) {
            // A full disk takes a part of a line, and the next line must not follow it.
            let _ = self.file.set_len(self.length);
            return Err(fault(&self.path, "append")(e));
        }
        self.length += line.len() as u64;
        Ok(())
    }
}

/// What a line of `events.ndjson` is called that says what was done to a run while it was on.
const CONTROL: &str = "control";
/// And the one that says what was done to the server.
const REHEARSAL: &str = "rehearsal";

/// And the one with what a server told of itself.
const SCRAPE: &str = "server_metrics";

/// Lines of `windows.ndjson` between two syncs to the disk: what a power failure can cost, in seconds.
const SYNC_EVERY: u32 = 5;

fn fault<'a>(path: &'a Path, what: &'static str) -> impl FnOnce(io::Error) -> RunDirFault + 'a {
    move |source| RunDirFault::Io { path: path.to_owned(), what, source }
}

/// The name of a run's directory: when it began, what it does, which it is.
#[must_use]
pub fn name(environment: &Environment, command: &str, run_id: &str) -> String {
    format!("{}-{command}-{run_id}", environment.started.strftime("%Y%m%dT%H%M%SZ"))
}

impl RunDir {
    /// Makes the directory. It must not exist.
    ///
    /// # Errors
    /// Where it exists or cannot be made.
    pub fn create(path: &Path) -> Result<RunDir, RunDirFault> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(fault(parent, "make the directory"))?;
        }
        fs::create_dir(path).map_err(fault(path, "make the directory"))?;
        let windows = Lines::create(path.join("windows.ndjson"))?;
        Ok(RunDir {
            syncer: Syncer::start(&windows.file).map_err(fault(&windows.path, "sync"))?,
            windows,
            events: Lines::create(path.join("events.ndjson"))?,
            path: path.to_owned(),
            unsynced: 0,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes `plan.json`.
    ///
    /// # Errors
    /// Where the disk says no.
    pub fn write_plan(&self, file: &PlanFile) -> Result<(), RunDirFault> {
        write_json(&self.path.join("plan.json"), file)
    }

    /// Appends a second.
    ///
    /// # Errors
    /// Where the disk says no; what was appended before stays readable.
    pub fn append(&mut self, second: &Second) -> Result<(), RunDirFault> {
        self.windows.append(second)?;
        self.unsynced += 1;
        if self.unsynced >= SYNC_EVERY {
            self.unsynced = 0;
            self.syncer.sync().map_err(fault(&self.windows.path, "sync"))?;
        }
        Ok(())
    }

    /// Appends an event.
    ///
    /// # Errors
    /// Where the disk says no.
    pub fn event(&mut self, event: &serde_json::Value) -> Result<(), RunDirFault> {
        self.events.append(event)
    }

    /// Appends what was done to the server.
    ///
    /// # Errors
    /// Where the disk says no.
    pub fn rehearsed(&mut self, event: &disruption::Event) -> Result<(), RunDirFault> {
        self.happened(REHEARSAL, event)
    }

    /// Appends what somebody did to the run.
    ///
    /// # Errors
    /// Where the disk says no.
    pub fn control(&mut self, event: &ControlEvent) -> Result<(), RunDirFault> {
        self.happened(CONTROL, event)
    }

    /// Appends what a server told of itself.
    ///
    /// # Errors
    /// Where the disk says no.
    pub fn scraped(&mut self, scrape: &Scrape) -> Result<(), RunDirFault> {
        self.happened(SCRAPE, scrape)
    }

    fn happened<T: Serialize>(&mut self, kind: &str, what: &T) -> Result<(), RunDirFault> {
        let mut line = serde_json::to_value(what).map_err(|e| content(&self.events.path, &e))?;
        line["event"] = kind.into();
        self.events.append(&line)
    }

    /// Writes `summary.json`, whole or not at all.
    ///
    /// # Errors
    /// Where the disk says no.
    pub fn write_summary(&self, summary: &Summary) -> Result<(), RunDirFault> {
        write_json(&self.path.join("summary.json"), summary)
    }
}

fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), RunDirFault> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|e| content(path, &e))?;
    text.push(b'\n');
    write_whole(path, &text)
}

/// Writes a file whole or not at all: beside it first, then in its place.
///
/// # Errors
/// Where the disk says no; the file that was there before is untouched.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), RunDirFault> {
    let beside = path.with_extension("partial");
    let written = File::create(&beside).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let placed = written.and_then(|()| fs::rename(&beside, path));
    placed.map_err(|e| {
        // What could not be written whole must not lie about.
        let _ = fs::remove_file(&beside);
        fault(path, "write")(e)
    })
}

fn content(path: &Path, what: &dyn std::fmt::Display) -> RunDirFault {
    RunDirFault::Content { path: path.to_owned(), what: what.to_string() }
}

/// Reads a run: its summary, or where it has none, what its windows still say, as partial.
///
/// # Errors
/// Where it is no run, or written by a newer version.
pub fn read(path: &Path) -> Result<Summary, RunDirFault> {
    let summary = path.join("summary.json");
    if summary.exists() {
        let summary: Summary = read_json(&summary)?;
        known(&path.join("summary.json"), summary.schema, SCHEMA)?;
        if ![&summary.whole, &summary.steady].into_iter().all(Window::plausible) {
            return Err(content(&path.join("summary.json"), &"its counts do not add up, or are beyond what can be"));
        }
        return Ok(summary);
    }
    let PlanFile { plan, environment, .. } = read_plan(path)?;
    let mut builder = Builder::new(plan, environment);
    control_events(path).into_iter().for_each(|event| builder.control(event));
    rehearsed(path).into_iter().for_each(|event| builder.rehearse(event));
    scrapes(path).into_iter().for_each(|scrape| builder.scrape(scrape));
    for second in seconds(path)? {
        builder.add(&second?);
    }
    Ok(builder.finish(RunState::Partial))
}

/// What was done to a run while it was on. A line that cannot be read, as a kill leaves it, is left out.
fn control_events(path: &Path) -> Vec<ControlEvent> {
    events_of(path, CONTROL)
}

fn events_of<T: for<'de> Deserialize<'de>>(path: &Path, wanted: &str) -> Vec<T> {
    let text = fs::read(path.join("events.ndjson")).unwrap_or_default();
    let event = |line: &[u8]| {
        let mut event: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(line).ok()?;
        let kind = event.remove("event")?;
        if kind == wanted { serde_json::from_value(event.into()).ok() } else { None }
    };
    text.split(|byte| *byte == b'\n').filter_map(event).collect()
}

/// What was done to the server while a run was on.
fn rehearsed(path: &Path) -> Vec<disruption::Event> {
    events_of(path, REHEARSAL)
}

/// What servers told of themselves while a run was on, in order.
#[must_use]
pub fn scrapes(path: &Path) -> Vec<Scrape> {
    events_of(path, SCRAPE)
}

/// Reads `plan.json` of a run.
///
/// # Errors
/// Where it is no run, or written by a newer version.
pub fn read_plan(path: &Path) -> Result<PlanFile, RunDirFault> {
    let plan_path = path.join("plan.json");
    if !plan_path.exists() {
        return Err(RunDirFault::NotARun(path.to_owned()));
    }
    let file: PlanFile = read_json(&plan_path)?;
    known(&plan_path, file.plan.schema, plan::SCHEMA)?;
    Ok(file)
}

fn known(path: &Path, schema: u32, ours: u32) -> Result<(), RunDirFault> {
    if schema > ours {
        let what = format!("written by a newer connect-bench (form {schema}, this one reads up to {ours})");
        return Err(content(path, &what));
    }
    Ok(())
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, RunDirFault> {
    let text = fs::read(path).map_err(fault(path, "read"))?;
    serde_json::from_slice(&text).map_err(|e| content(path, &e))
}

/// The seconds of a run, in order. A torn last line, as a kill leaves it, is left out; torn in the middle is a fault.
///
/// # Errors
/// Where the file cannot be opened.
pub fn seconds(path: &Path) -> Result<impl Iterator<Item = Result<Second, RunDirFault>>, RunDirFault> {
    let path = path.join("windows.ndjson");
    let file = File::open(&path).map_err(fault(&path, "open"))?;
    let mut lines = BufReader::new(file).split(b'\n').enumerate().peekable();
    Ok(std::iter::from_fn(move || {
        let (number, line) = lines.next()?;
        let line = match line {
            Ok(line) => line,
            Err(e) => return Some(Err(fault(&path, "read")(e))),
        };
        match serde_json::from_slice::<Second>(&line) {
            Ok(second) if second.plausible() => Some(Ok(second)),
            Ok(_) => {
                let what = "its counts do not add up, or are beyond what can be";
                Some(Err(content(&path, &format!("line {}: {what}", number + 1))))
            }
            Err(_) if lines.peek().is_none() => None,
            Err(e) => Some(Err(content(&path, &format!("line {}: {e}", number + 1)))),
        }
    }))
}

/// Directories of runs below `root`, newest first. Empty where `root` does not exist.
#[must_use]
pub fn list(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let mut runs: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| path.join("plan.json").exists()).collect();
    runs.sort();
    runs.reverse();
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_that_fails_is_told_by_a_later_one() {
        // The system refuses to sync what is no file on a disk.
        let syncer = Syncer::start(&File::open("/dev/null").unwrap()).unwrap();
        let began = std::time::Instant::now();
        while syncer.sync().is_ok() {
            assert!(began.elapsed().as_secs() < 60, "the fault is never told");
            thread::yield_now();
        }
    }
}
