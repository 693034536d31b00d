//! What a run is compared with: profiles' files, runs, directories of them, documented figures.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};

use super::evidence::Evidence;
use super::failure::Failure;
use crate::baseline;
use crate::cli::BASELINES;
use crate::gate::{Record, Reference, Settings, history};
use crate::rundir;

/// The end of a history's file name, after the profile's.
pub(super) const HISTORY: &str = ".history.jsonl";

/// A profile: how its runs are judged, and those that were accepted.
pub(super) struct Profile {
    pub(super) name: String,
    pub(super) settings_path: PathBuf,
    pub(super) history_path: PathBuf,
    pub(super) settings: Settings,
    pub(super) records: Vec<Record>,
}

impl Profile {
    /// Reads the profile of that name; what is not there is empty.
    pub(super) fn read(directory: &Path, name: &str) -> Result<Profile, Failure> {
        let settings_path = directory.join(format!("{name}.toml"));
        let history_path = directory.join(format!("{name}{HISTORY}"));
        let settings = match text(&settings_path)? {
            Some(text) => Settings::read(&text).map_err(|e| at(&settings_path, e))?,
            None => Settings::default(),
        };
        let records = match text(&history_path)? {
            Some(text) => history::read(&text).map_err(|e| at(&history_path, e))?,
            None => Vec::new(),
        };
        Ok(Profile { name: name.to_owned(), settings_path, history_path, settings, records })
    }

    /// The runs of the newest epoch, without one of them.
    fn reference(&self, without: &str) -> Reference {
        let runs: Vec<Record> =
            history::epoch(&self.records).into_iter().filter(|r| r.run != without).cloned().collect();
        let epoch = history::newest_epoch(&self.records);
        Reference::Runs { name: self.name.clone(), epoch: Some(epoch), runs }
    }
}

fn at(path: &Path, fault: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::invalid(anyhow!(fault).context(format!("{}", path.display())))
}

/// The text of a file; `None` where there is none.
fn text(path: &Path) -> Result<Option<String>, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Failure::invalid(anyhow!(e).context(format!("{}", path.display())))),
    }
}

/// Names of the profiles in a directory, sorted.
pub(super) fn profiles(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter_map(|name| name.strip_suffix(HISTORY).map(str::to_owned)).collect();
    names.sort();
    names
}

/// What a run is held against.
pub(super) struct Found {
    pub(super) references: Vec<(Reference, Settings)>,
    /// Profiles among them, in whose histories a run may be recorded.
    pub(super) profiles: Vec<Profile>,
}

/// What was asked to be compared with.
pub(super) struct Wanted<'a> {
    /// Files, ids, runs, directories; none means the usual directory.
    pub(super) names: &'a [String],
    /// Which profile of a directory of them.
    pub(super) profile: Option<&'a str>,
    /// Properties in which runs may differ, beside those that a profile names.
    pub(super) may_differ: &'a [String],
}

impl Wanted<'_> {
    fn settings(&self, settings: &Settings) -> Settings {
        let may_differ = [&settings.may_differ[..], self.may_differ].concat();
        Settings { may_differ, ..settings.clone() }
    }
}

/// Resolves what was named; without a name the usual directory.
pub(super) fn resolve(wanted: &Wanted<'_>, run: &Evidence) -> Result<Found, Failure> {
    let usual = [BASELINES.to_owned()];
    let names = if wanted.names.is_empty() { &usual[..] } else { wanted.names };
    let mut found = Found { references: Vec::new(), profiles: Vec::new() };
    for name in names {
        let path = Path::new(name);
        if path.join("plan.json").exists() {
            let earlier = Evidence::read(path)?;
            one_run(&mut found, name, earlier.record, wanted);
        } else if path.is_dir() && profiles(path).is_empty() && !rundir::list(path).is_empty() {
            let settings = wanted.settings(&Settings::default());
            found.references.push((runs_before(path, run, &settings), settings));
        } else if path.is_dir() || name == BASELINES {
            of_directory(&mut found, path, wanted, run)?;
        } else if path.is_file() {
            let read = of_file(path)?;
            take(&mut found, read, wanted, run)?;
        } else {
            found.references.push((documented(name)?, Settings::default()));
        }
    }
    Ok(found)
}

/// Runs that were named one by one are one group: the more of them, the surer.
fn one_run(found: &mut Found, name: &str, record: Record, wanted: &Wanted<'_>) {
    let groups = found.references.iter_mut().map(|(reference, _)| reference);
    let group = groups.into_iter().find_map(|reference| match reference {
        Reference::Runs { name, epoch: None, runs } => Some((name, runs)),
        _ => None,
    });
    match group {
        Some((names, runs)) => {
            names.push_str(", ");
            names.push_str(name);
            runs.push(record);
        }
        None => {
            let reference = Reference::Runs { name: name.to_owned(), epoch: None, runs: vec![record] };
            found.references.push((reference, wanted.settings(&Settings::default())));
        }
    }
}

/// The runs below a directory that were made before this one, in the same way, and are valid.
fn runs_before(root: &Path, run: &Evidence, settings: &Settings) -> Reference {
    let earlier = rundir::list(root).into_iter().filter_map(|path| Evidence::read(&path).ok());
    let same = |other: &Record| {
        other.started < run.record.started
            && other.objections.is_empty()
            && run.record.fingerprint.differences(&other.fingerprint, &settings.may_differ, &[]).refused.is_empty()
    };
    let mut runs: Vec<Record> =
        earlier.filter(|other| !other.is_ramp()).map(|other| other.record).filter(same).collect();
    runs.sort_by_key(|run| run.started);
    Reference::Runs { name: root.display().to_string(), epoch: None, runs }
}

/// The profile of a directory that was asked for, or whose runs were made in the same way.
fn of_directory(found: &mut Found, path: &Path, wanted: &Wanted<'_>, run: &Evidence) -> Result<(), Failure> {
    if let Some(name) = wanted.profile {
        let read = Profile::read(path, name)?;
        return take(found, read, wanted, run);
    }
    let mut all = Vec::new();
    for name in profiles(path) {
        let profile = Profile::read(path, &name)?;
        let Some(last) = history::epoch(&profile.records).last().map(|r| r.fingerprint.clone()) else { continue };
        let settings = wanted.settings(&profile.settings);
        let ours = &run.record.fingerprint;
        let refused = ours.differences(&last, &settings.may_differ, &settings.must_match).refused;
        all.push((refused, profile));
    }
    let same = all.iter().filter(|(refused, _)| refused.is_empty()).count();
    if same > 1 {
        let names: Vec<&str> = all.iter().filter(|(r, _)| r.is_empty()).map(|(_, p)| p.name.as_str()).collect();
        return Err(Failure::usage(format!("several profiles fit: {}; choose one with --profile", names.join(", "))));
    }
    all.sort_by_key(|(refused, _)| refused.len());
    match all.into_iter().next() {
        Some((refused, profile)) if refused.is_empty() => take(found, profile, wanted, run)?,
        nearest => {
            let mut why = vec![match &nearest {
                Some((_, profile)) => {
                    format!("no profile has runs that were made in this way; nearest is {}", profile.name)
                }
                None => "no run was accepted yet".to_owned(),
            }];
            why.extend(nearest.into_iter().flat_map(|(refused, _)| refused));
            why.push(format!("accept a run: connect-bench baselines accept {}", run.directory.display()));
            let reference = Reference::Missing { name: path.display().to_string(), why };
            found.references.push((reference, Settings::default()));
        }
    }
    Ok(())
}

/// A profile by one of its two files.
pub(super) fn of_file(path: &Path) -> Result<Profile, Failure> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let profile = name
        .strip_suffix(HISTORY)
        .or_else(|| name.strip_suffix(".toml"))
        .ok_or_else(|| Failure::usage(format!("{}: a profile's files end in .toml or {HISTORY}", path.display())))?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Profile::read(directory, profile)
}

/// Adds a profile, and the documented figure that its file names.
fn take(found: &mut Found, profile: Profile, wanted: &Wanted<'_>, run: &Evidence) -> Result<(), Failure> {
    let settings = wanted.settings(&profile.settings);
    let reference = if profile.records.is_empty() {
        let why = format!("no run was accepted yet: connect-bench baselines accept {}", run.directory.display());
        Reference::Missing { name: profile.name.clone(), why: vec![why] }
    } else {
        profile.reference(&run.record.run)
    };
    found.references.push((reference, settings.clone()));
    if let Some(id) = &settings.documented {
        found.references.push((documented(id)?, settings));
    }
    found.profiles.push(profile);
    Ok(())
}

fn documented(id: &str) -> Result<Reference, Failure> {
    let known = baseline::documented().context("the built-in baselines")?.baselines;
    let ids: Vec<String> = known.iter().map(|baseline| baseline.id.clone()).collect();
    let found = known.into_iter().find(|baseline| baseline.id == id);
    found.map(|baseline| Reference::Documented(Box::new(baseline))).ok_or_else(|| {
        Failure::usage(format!(
            "--baseline {id}: no such file, directory or run, nor a documented baseline ({})",
            ids.join(", ")
        ))
    })
}
