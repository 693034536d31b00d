//! `connect-bench runs`: what was measured from this directory, one run again, and the end of old ones. And what a shell
//! and `man` want to know of the program.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use jiff::Timestamp;
use serde_json::json;

use super::failure::Failure;
use super::output::print;
use super::view::View;
use crate::cli::{CompletionsArgs, ManArgs, RunsAction, RunsArgs, pages, script};
use crate::exit::Exit;
use crate::host::Environment;
use crate::posit_connect::journal;
use crate::report;
use crate::report::foreign;
use crate::report::number::{MISSING, maybe, percent};
use crate::rundir::{self, write_whole};
use crate::summary::{Figures, RunState, Summary};

/// How many runs are listed, where not all are asked for.
const LISTED: usize = 20;
/// A run without a summary that was written to so lately may still be under way.
const UNDER_WAY: Duration = Duration::from_secs(600);

pub(super) fn run(args: &RunsArgs) -> Result<Exit, Failure> {
    match &args.action {
        RunsAction::List { all, json } => list(&args.runs_dir, *all, *json),
        RunsAction::Show { run } => show(&find(&args.runs_dir, run)?),
        RunsAction::Prune { keep, older_than, dry_run } => prune(&args.runs_dir, (*keep, *older_than), *dry_run),
    }
}

fn name(directory: &Path) -> String {
    directory.file_name().map_or_else(String::new, |name| foreign::line(&name.to_string_lossy(), 120))
}

fn state(summary: &Summary) -> &'static str {
    match summary.state {
        RunState::Finished => "finished",
        RunState::Interrupted => "interrupted",
        RunState::Stopped => "stopped",
        RunState::Aborted { .. } => "aborted",
        RunState::Partial => "partial",
    }
}

/// VUs and requests per second: what a search found, or what was measured.
fn answer(summary: &Summary, figures: &Figures) -> (Option<f64>, Option<f64>) {
    match &summary.search {
        Some(search) => (search.result.vus.map(f64::from), search.result.requests_per_second),
        None if figures.requests.completed > 0 => (Some(figures.vus), Some(figures.all_per_s)),
        None => (None, None),
    }
}

fn list(root: &Path, all: bool, as_json: bool) -> Result<Exit, Failure> {
    let runs = rundir::list(root);
    let shown = if all { runs.len() } else { runs.len().min(LISTED) };
    let mut rows = vec![["run", "state", "VUs", "rps", "p95 ms", "errors"].map(str::to_owned).to_vec()];
    let mut documents = Vec::new();
    for directory in &runs[..shown] {
        let Ok(summary) = rundir::read(directory) else {
            rows.push(vec![name(directory), "cannot be read".to_owned()]);
            documents.push(json!({"run": name(directory), "state": null}));
            continue;
        };
        let figures = Figures::of(&summary);
        let (vus, rate) = answer(&summary, &figures);
        let p95 = figures.fetch.duration.quantile_ms(0.95).filter(|_| summary.search.is_none());
        let errors = figures.error_rate.map_or_else(|| MISSING.to_owned(), percent);
        rows.push(vec![name(directory), state(&summary).to_owned(), maybe(vus), maybe(rate), maybe(p95), errors]);
        documents.push(json!({"run": name(directory), "command": summary.plan.command, "state": state(&summary),
            "started": summary.environment.started.to_string(), "vus": vus, "requests_per_second": rate,
            "p95_ms": p95, "error_rate": figures.error_rate}));
    }
    let text = match (as_json, runs.is_empty()) {
        (true, _) => serde_json::to_string_pretty(&documents).context("the runs have no JSON form")? + "\n",
        (_, true) => format!("{}: no run is there\n", root.display()),
        _ => {
            let more = runs.len() - shown;
            let more = if more > 0 { format!("and {more} more: --all\n") } else { String::new() };
            report::text::table(&rows, 0, &[0, 1]) + &more
        }
    };
    print(&text).map_err(Failure::from)?;
    Ok(Exit::Pass)
}

/// The run of that name: a directory, or the only one below `root` whose name has `wanted` in it.
fn find(root: &Path, wanted: &str) -> Result<PathBuf, Failure> {
    if Path::new(wanted).join("plan.json").exists() {
        return Ok(PathBuf::from(wanted));
    }
    let mut found = rundir::list(root).into_iter().filter(|path| !wanted.is_empty() && name(path).contains(wanted));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => {
            Err(Failure::invalid(anyhow!("{}: there is no run {wanted}; see connect-bench runs list", root.display())))
        }
        (Some(a), Some(b)) => {
            let both = format!("{} and {}", name(&a), name(&b));
            Err(Failure::invalid(anyhow!("{wanted}: more than one run has that in its name: {both}")))
        }
    }
}

fn show(directory: &Path) -> Result<Exit, Failure> {
    let summary = rundir::read(directory).map_err(Failure::invalid)?;
    let text = match &summary.search {
        Some(search) => report::text::ramp(&summary, search, directory),
        None => report::text::load(&summary, &super::output::baselines(&[])?, directory),
    };
    print(&text).map_err(Failure::from)?;
    Ok(Exit::Pass)
}

/// How long ago a file was written; `None` where its time is not before ours.
fn age(now: Timestamp, written: std::time::SystemTime) -> Option<Duration> {
    Duration::try_from(now.duration_since(Timestamp::try_from(written).ok()?)).ok()
}

/// Why a run is kept although it would have to go.
fn spared(directory: &Path, now: Timestamp) -> Option<&'static str> {
    let is_link = directory.symlink_metadata().is_ok_and(|file| file.file_type().is_symlink());
    if is_link {
        return Some("it is a link");
    }
    if !journal::peek(directory).is_empty() {
        return Some("something of it may still be on a server; connect-bench cleanup removes that");
    }
    let written = directory.join("windows.ndjson").metadata().and_then(|file| file.modified());
    let lately = written.is_ok_and(|at| age(now, at).is_none_or(|age| age < UNDER_WAY));
    (lately && !directory.join("summary.json").exists()).then_some("it may still be under way")
}

fn prune(root: &Path, (keep, older_than): (Option<usize>, Option<Duration>), dry_run: bool) -> Result<Exit, Failure> {
    let view = View::new(true);
    let now = Environment::now().started;
    let is_old = |directory: &PathBuf| match older_than {
        None => true,
        // What cannot be read is of no known age.
        Some(age) => rundir::read_plan(directory).is_ok_and(|file| {
            Duration::try_from(now.duration_since(file.environment.started)).is_ok_and(|past| past > age)
        }),
    };
    let mut said = String::new();
    for directory in rundir::list(root).into_iter().skip(keep.unwrap_or(0)).filter(is_old) {
        if let Some(why) = spared(&directory, now) {
            said.push_str(&format!("kept {}: {why}\n", name(&directory)));
            continue;
        }
        if !dry_run && let Err(e) = std::fs::remove_dir_all(&directory) {
            view.warn(&format!("{}: {e}", directory.display()));
            continue;
        }
        let word = if dry_run { "would remove" } else { "removed" };
        said.push_str(&format!("{word} {}\n", name(&directory)));
    }
    print(if said.is_empty() { "nothing to remove\n" } else { &said }).map_err(Failure::from)?;
    Ok(Exit::Pass)
}

/// A shell's completions, on stdout.
pub(super) fn complete(args: &CompletionsArgs) -> Result<Exit, Failure> {
    let script = script(args.shell).context("the completions")?;
    print(&String::from_utf8_lossy(&script)).map_err(Failure::from)?;
    Ok(Exit::Pass)
}

/// The man pages, into a directory.
pub(super) fn man(args: &ManArgs) -> Result<Exit, Failure> {
    if !args.dir.is_dir() {
        return Err(Failure::usage(format!("{}: there is no such directory", args.dir.display())));
    }
    for (name, text) in pages().context("the man pages").map_err(Failure::from)? {
        write_whole(&args.dir.join(name), &text).map_err(Failure::invalid)?;
    }
    Ok(Exit::Pass)
}
