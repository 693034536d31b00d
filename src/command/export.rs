//! `report --export KIND[=FILE]`: a run in the forms of other programs, each to a file.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};

use super::failure::Failure;
use super::pages;
use super::view::View;
use crate::report::archive::Recorded;
use crate::report::course::Slots;
use crate::report::export::{
    Csv, Influx, IntervalLog, handle_summary, junit, markdown, openmetrics, percentiles, summary_export,
};
use crate::rundir::{self, write_whole};
use crate::summary::{Figures, Summary};

/// The kinds: name, file in the run directory, and whether the run's seconds are needed.
const KINDS: [(&str, &str, bool); 9] = [
    ("k6", "k6-summary.json", false),
    ("k6-summary-export", "k6-summary-export.json", false),
    ("markdown", "result.md", false),
    ("junit", "junit.xml", false),
    ("openmetrics", "metrics.txt", false),
    ("hgrm", "latency.hgrm", false),
    ("hlog", "latency.hlog", true),
    ("csv", "seconds.csv", true),
    ("influx", "seconds.influx", true),
];

/// One export that was asked for.
struct Export {
    kind: &'static str,
    file: PathBuf,
}

impl Export {
    fn read(text: &str, directory: Option<&Path>) -> Result<Export, Failure> {
        let (name, file) = text.split_once('=').map_or((text, None), |(name, file)| (name, Some(file)));
        let known = KINDS.iter().find(|(kind, ..)| *kind == name);
        let Some((kind, default, seconds)) = known else {
            let kinds: Vec<&str> = KINDS.iter().map(|(kind, ..)| *kind).collect();
            return Err(Failure::usage(format!(
                "--export {name}: there is no such form; there are {}",
                kinds.join(", ")
            )));
        };
        if *seconds && directory.is_none() {
            let why = "it is made of the run's seconds, which a page has not: name the run's directory";
            return Err(Failure::usage(format!("--export {kind}: {why}")));
        }
        let file = match file {
            Some("") => {
                return Err(Failure::usage(format!("--export {text}: name a file after the =, or - for stdout")));
            }
            Some(file) => PathBuf::from(file),
            None => directory.unwrap_or(Path::new(".")).join(default),
        };
        Ok(Export { kind, file })
    }
}

/// Refuses what is no export before anything is read.
pub(super) fn check(exports: &[String], has_directory: bool) -> Result<(), Failure> {
    let place = has_directory.then_some(Path::new("."));
    exports.iter().try_for_each(|text| Export::read(text, place).map(|_| ()))
}

/// Writes the exports of a run in its directory.
pub(super) fn of_directory(
    exports: &[String],
    (summary, directory): (&Summary, &Path),
    view: &View,
) -> Result<(), Failure> {
    if exports.is_empty() {
        return Ok(());
    }
    let run = pages::recorded(directory, summary.clone(), view);
    of(exports, &run, Some(directory), view)
}

/// Writes the exports of a recorded run.
pub(super) fn of(exports: &[String], run: &Recorded, directory: Option<&Path>, view: &View) -> Result<(), Failure> {
    for text in exports {
        let export = Export::read(text, directory)?;
        let made = make(export.kind, run, directory).map_err(Failure::from)?;
        if export.file.as_os_str() == "-" {
            super::output::print(&made).map_err(Failure::from)?;
            continue;
        }
        write_whole(&export.file, made.as_bytes()).map_err(Failure::invalid)?;
        view.note(&format!("{}: {}", export.kind, export.file.display()));
    }
    // What went to stdout is whole before anything else is said.
    std::io::stdout().flush().context("cannot write to stdout").map_err(Failure::from)
}

fn make(kind: &str, run: &Recorded, directory: Option<&Path>) -> anyhow::Result<String> {
    let json = |value: &serde_json::Value| serde_json::to_string_pretty(value).map(|text| text + "\n");
    Ok(match kind {
        "k6" => json(&handle_summary(run))?,
        "k6-summary-export" => json(&summary_export(run))?,
        "markdown" => markdown(run),
        "junit" => junit(run),
        "openmetrics" => openmetrics(run),
        "hgrm" => percentiles(&Figures::of(&run.summary).fetch.duration),
        _ => by_second(kind, run, directory.ok_or_else(|| anyhow!("--export {kind} needs the run's directory"))?)?,
    })
}

fn by_second(kind: &str, run: &Recorded, directory: &Path) -> anyhow::Result<String> {
    let plan = &run.summary.plan;
    let slots = Slots::of(plan);
    let (mut csv, mut influx) = (Csv::new(), Influx::new(run));
    let mut log = IntervalLog::new(plan, run.summary.environment.started);
    for second in rundir::seconds(directory)? {
        let second = second?;
        match kind {
            "csv" => csv.add(&second, &slots.slot(&second)),
            "influx" => influx.add(&second, &slots.slot(&second)),
            _ => log.add(&second),
        }
    }
    match kind {
        "csv" => Ok(csv.finish()),
        "influx" => Ok(influx.finish()),
        _ => log.finish().ok_or_else(|| anyhow!("a histogram of this run cannot be encoded")),
    }
}
