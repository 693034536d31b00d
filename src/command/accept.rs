//! `connect-bench baselines accept`: a person says that a run is what later ones are compared with.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use serde::Serialize;

use super::evidence::Evidence;
use super::failure::Failure;
use super::gate::{append, write};
use super::output;
use super::references::{Profile, profiles};
use crate::cli::AcceptArgs;
use crate::exit::Exit;
use crate::gate::fingerprint::Differences;
use crate::gate::settings::Settings;
use crate::gate::{Record, Reference, Verdict, history, judge};
use crate::report::text::wrap;

/// What was done with one run.
#[derive(Serialize)]
struct Accepted {
    run: String,
    profile: String,
    epoch: u32,
    /// Whether the epoch begins with it.
    begins: bool,
    why: String,
    /// The files that belong into git.
    files: [String; 2],
}

pub(super) fn run(args: &AcceptArgs) -> Result<Exit, Failure> {
    let runs = args.runs.iter().map(|run| Evidence::read(run)).collect::<Result<Vec<_>, Failure>>()?;
    // All of them or none.
    runs.iter().try_for_each(refuse)?;
    let mut done = Vec::new();
    for (at, run) in runs.iter().enumerate() {
        // Of several runs that are accepted together the first begins the epoch.
        done.push(accept(run, args, args.new_epoch && at == 0)?);
    }
    let text = if args.json {
        serde_json::to_string_pretty(&done).context("the result has no JSON form")? + "\n"
    } else {
        done.iter().map(describe).collect()
    };
    output::print(&text)?;
    Ok(Exit::Pass)
}

/// Refuses what later runs cannot be compared with.
fn refuse(run: &Evidence) -> Result<(), Failure> {
    let run_dir = run.directory.display();
    if run.is_ramp() {
        return Err(Failure::usage(format!("{run_dir}: a ramp has no level to compare; accept a run of load or run")));
    }
    if run.record.objections.is_empty() {
        return Ok(());
    }
    let why = run.record.objections.join("; ");
    Err(Failure::new(Exit::Inconclusive, anyhow!("{run_dir}: not accepted, for it says nothing of the server: {why}")))
}

fn accept(run: &Evidence, args: &AcceptArgs, new_epoch: bool) -> Result<Accepted, Failure> {
    let name = args.profile.clone().map_or_else(|| fitting(&args.dir, &run.record), Ok)?;
    if name.is_empty() || name.contains(['/', '\\']) || name.starts_with('.') {
        return Err(Failure::usage(format!("--profile {name}: a name, not a path; the directory is --dir")));
    }
    let profile = Profile::read(&args.dir, &name)?;
    let newest = history::epoch(&profile.records);
    if newest.iter().any(|record| record.run == run.record.run) && !new_epoch {
        return Err(Failure::usage(format!("{} is in {} already", run.record.run, profile.history_path.display())));
    }
    let (verdict, differences) = against(&profile, &newest, &run.record);
    let (epoch, why) = history::place(&profile.records, verdict, &differences, new_epoch);
    let mut record = run.record.clone();
    (record.epoch, record.verdict, record.note) = (epoch, verdict, args.note.clone());
    if !profile.settings_path.exists() {
        let about = record.fingerprint.get("load").unwrap_or(&name);
        write(&profile.settings_path, &Settings::template(about))?;
    }
    append(&profile.history_path, &record)?;
    Ok(Accepted {
        run: record.run,
        profile: name,
        epoch,
        begins: epoch > history::newest_epoch(&profile.records),
        why,
        files: [&profile.settings_path, &profile.history_path].map(|path| path.display().to_string()),
    })
}

/// What the gate says of the run, without limits.
fn against(profile: &Profile, newest: &[&Record], record: &Record) -> (Option<Verdict>, Differences) {
    let Some(last) = newest.last() else { return (None, Differences::default()) };
    let settings = &profile.settings;
    let differences = record.fingerprint.differences(&last.fingerprint, &settings.may_differ, &settings.must_match);
    let runs = newest.iter().copied().cloned().collect();
    let reference = Reference::Runs { name: profile.name.clone(), epoch: Some(last.epoch), runs };
    let judgement = judge(std::slice::from_ref(record), &[(reference, settings.clone())]);
    (Some(judgement.verdict), differences)
}

/// The profile whose runs were made in this way, or the name of a new one.
fn fitting(directory: &Path, record: &Record) -> Result<String, Failure> {
    for name in profiles(directory) {
        let profile = Profile::read(directory, &name)?;
        let settings = &profile.settings;
        let same = |last: &&Record| {
            let ours = &record.fingerprint;
            ours.differences(&last.fingerprint, &settings.may_differ, &settings.must_match).refused.is_empty()
        };
        if history::epoch(&profile.records).last().is_some_and(same) {
            return Ok(name);
        }
    }
    let target = record.fingerprint.get("sandbox_profile").map(|profile| format!("sandbox-{profile}"));
    let target = target.or_else(|| record.fingerprint.get("target").map(str::to_owned)).unwrap_or_default();
    let safe: String =
        target.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let base = format!("{}-{:.0}vus", safe.trim_matches('-'), record.vus);
    let taken = profiles(directory);
    // The same VUs, but made in another way.
    let names = std::iter::once(base.clone()).chain((2..).map(|n| format!("{base}-{n}")));
    Ok(names.into_iter().find(|name| !taken.contains(name)).unwrap_or(base))
}

fn describe(accepted: &Accepted) -> String {
    let Accepted { run, profile, epoch, begins, why, files: [settings, history] } = accepted;
    let what = if *begins { "begins" } else { "belongs to" };
    let mut out = wrap(&format!("{run} {what} epoch {epoch} of {profile}: {why}"), "", 2);
    out.push_str(&wrap(&format!("commit {settings} and {history}"), "  ", 2));
    out
}
