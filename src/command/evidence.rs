//! A run as the gate looks at it: its summary, its record, and what became of limits on it.

use std::path::{Path, PathBuf};

use super::failure::Failure;
use crate::gate::Record;
use crate::rundir;
use crate::summary::Summary;
use crate::threshold::{self, Judge, Limit, Verdict};
use crate::window::{Part, Second};

/// A run that was read.
pub(super) struct Evidence {
    pub(super) directory: PathBuf,
    pub(super) summary: Summary,
    pub(super) record: Record,
}

impl Evidence {
    /// Reads a run's directory.
    pub(super) fn read(directory: &Path) -> Result<Evidence, Failure> {
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
        Ok(Evidence { directory: directory.to_owned(), summary, record })
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
