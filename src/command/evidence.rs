//! A run as the gate looks at it: its summary, its record, and what became of limits on it.

use std::path::{Path, PathBuf};

use super::failure::Failure;
use super::pages;
use super::view::View;
use crate::gate::Record;
use crate::report::archive::Recorded;
use crate::report::course::Slot;
use crate::report::foreign;
use crate::rundir;
use crate::summary::Summary;
use crate::threshold::{self, Judge, Limit, Verdict};
use crate::window::{Part, Second};

/// Most seconds of a slot that are counted one by one: more than a slot of a run of a month has.
const MOST_SECONDS: u64 = 10_000;

/// A run that was read.
pub(super) struct Evidence {
    pub(super) directory: PathBuf,
    pub(super) summary: Summary,
    pub(super) record: Record,
    /// The run as its page has it, where it was read from one.
    page: Option<Box<Recorded>>,
}

impl Evidence {
    /// Reads a run's directory, or the run that a page has in it.
    pub(super) fn read(directory: &Path) -> Result<Evidence, Failure> {
        if directory.is_file() {
            return Evidence::of_page(directory);
        }
        let summary = rundir::read(directory).map_err(Failure::invalid)?;
        let mut per_s = Vec::new();
        // What was measured is in the summary; without the seconds nothing is known of their course.
        for second in rundir::seconds(directory).into_iter().flatten() {
            let second = second.map_err(Failure::invalid)?;
            if second.part == Part::Steady && second.window.seconds() > 0.5 {
                per_s.push(completed(&second) / second.window.seconds());
            }
        }
        let record = Record::of(&summary, &name(directory), &per_s);
        Ok(Evidence { directory: directory.to_owned(), summary, record, page: None })
    }

    /// Of a page: its run, or the load test that followed its ramp.
    fn of_page(file: &Path) -> Result<Evidence, Failure> {
        let archive = pages::from_page(file)?;
        if archive.told.as_ref().is_some_and(|told| told.command != "gate") {
            let what = "it is no page of one run; name the page of a run, or a run's directory";
            return Err(Failure::usage(format!("{}: {what}", file.display())));
        }
        let is_load = |run: &Recorded| run.summary.search.is_none() && run.summary.plan.command != "ramp";
        let run = archive.runs.iter().find(|run| is_load(run)).or(archive.runs.first());
        let run = run.ok_or_else(|| Failure::usage(format!("{}: there is no run in it", file.display())))?;
        // A slot of the course is a second or some of them: each counts as what it was on average.
        let steady = run.course.slots.iter().filter(|slot| slot.part == Part::Steady && slot.seconds > 0);
        let rate = |slot: &Slot| slot.completed as f64 / slot.seconds as f64;
        let most = |slot: &Slot| usize::try_from(slot.seconds.min(MOST_SECONDS)).unwrap_or(1);
        let per_s: Vec<f64> = steady.flat_map(|slot| std::iter::repeat_n(rate(slot), most(slot))).collect();
        let record = Record::of(&run.summary, &foreign::line(&run.name, 200), &per_s);
        let page = Some(Box::new(run.clone()));
        Ok(Evidence { directory: file.to_owned(), summary: run.summary.clone(), record, page })
    }

    /// The run with its course, for a page.
    pub(super) fn recorded(&self, view: &View) -> Recorded {
        match &self.page {
            Some(run) => (**run).clone(),
            None => pages::recorded(&self.directory, self.summary.clone(), view),
        }
    }

    /// Whether it is a run that can be compared: not a search.
    pub(super) fn is_ramp(&self) -> bool {
        self.summary.search.is_some() || self.summary.plan.command == "ramp"
    }

    /// Judges limits on the run, from its seconds.
    pub(super) fn limits(&self, limits: &[Limit]) -> Result<Vec<Verdict>, Failure> {
        if limits.is_empty() {
            return Ok(Vec::new());
        }
        if self.page.is_some() {
            let what = "limits are judged second by second, and a page has no seconds; name the run's directory";
            return Err(Failure::usage(format!("{}: {what}", self.directory.display())));
        }
        threshold::check(limits, &self.summary.plan).map_err(Failure::invalid)?;
        let mut plan = self.summary.plan.clone();
        plan.thresholds = limits.to_vec();
        let mut judge = Judge::new(&plan);
        for second in rundir::seconds(&self.directory).map_err(Failure::invalid)? {
            judge.add(&second.map_err(Failure::invalid)?);
        }
        Ok(judge.verdicts())
    }
}

fn completed(second: &Second) -> f64 {
    second.window.series.iter().map(|series| series.requests.completed).sum::<u64>() as f64
}

/// The name of a run's directory, also where it was given as `.` or with a slash at its end.
fn name(directory: &Path) -> String {
    let whole = directory.canonicalize().unwrap_or_else(|_unresolved| directory.to_owned());
    whole.file_name().map_or_else(|| whole.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// The newest run that is no ramp.
pub(super) fn newest(runs_dir: &Path) -> Result<PathBuf, Failure> {
    let is_load = |path: &PathBuf| rundir::read_plan(path).is_ok_and(|file| file.plan.command != "ramp");
    rundir::list(runs_dir).into_iter().find(is_load).ok_or_else(|| {
        Failure::usage(format!("{}: there is no run of load or run; make one, or name one", runs_dir.display()))
    })
}
