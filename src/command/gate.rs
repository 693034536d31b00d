//! `connect-bench gate`: a run against those that were accepted before, for CI.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};

use super::evidence::{Evidence, newest};
use super::failure::Failure;
use super::load::thresholds;
use super::pages::Said;
use super::references::{Found, Profile, Wanted, resolve};
use super::retry::run_again;
use super::signals::Signals;
use super::view::View;
use super::{output, pages};
use crate::cli::GateArgs;
use crate::exit::Exit;
use crate::gate::settings::known;
use crate::gate::{Judgement, Record, Verdict, history, judge};
use crate::report::gate::{self as report, Context, GateDocument, Retries};
use crate::report::html;
use crate::rundir::write_whole;
use crate::threshold;

pub(super) async fn run(args: &GateArgs) -> Result<Exit, Failure> {
    let view = View::new(args.output.quiet);
    output::check(&args.output)?;
    known("--may-differ", &args.may_differ).map_err(Failure::usage)?;
    let mut limits = thresholds(&args.threshold)?;
    let directory = args.run.clone().map_or_else(|| newest(&args.output.runs_dir), Ok)?;
    let first = Evidence::read(&directory)?;
    if first.is_ramp() {
        let what = "a ramp has no level to compare; give a run of `load` or `run`";
        return Err(Failure::usage(format!("{}: {what}", directory.display())));
    }
    let wanted = Wanted { names: &args.baseline, profile: args.profile.as_deref(), may_differ: &args.may_differ };
    let found = resolve(&wanted, &first)?;
    for profile in &found.profiles {
        limits.extend(profile.settings.limits().map_err(Failure::invalid)?);
    }
    let mut judged = Judged::new(first, &found, args.retries);
    judged.confirm(&found, args, &view).await?;
    let verdicts = judged.limits(&limits)?;
    let exit = exit(judged.judgement.verdict, &verdicts);
    let document = judged.document(verdicts, exit);
    if args.record {
        record(&found.profiles, &judged, &view)?;
    }
    deliver(&document, &judged, args, &view)?;
    Ok(exit)
}

/// What the process exits with: a regression before a limit, a limit before no verdict.
fn exit(verdict: Verdict, limits: &[threshold::Verdict]) -> Exit {
    match verdict.exit() {
        Exit::Regression => Exit::Regression,
        _ if limits.iter().any(|limit| !limit.passed) => Exit::Threshold,
        other => other,
    }
}

/// The runs, and what is said of them.
struct Judged {
    runs: Vec<Evidence>,
    judgement: Judgement,
    retries: Retries,
}

impl Judged {
    fn new(first: Evidence, found: &Found, allowed: u32) -> Judged {
        let judgement = judge(std::slice::from_ref(&first.record), &found.references);
        Judged { runs: vec![first], judgement, retries: Retries { allowed, made: 0, problem: None } }
    }

    /// Makes a run that looks regressed again, and judges them all together.
    async fn confirm(&mut self, found: &Found, args: &GateArgs, view: &View) -> Result<(), Failure> {
        if self.judgement.verdict != Verdict::Regressed {
            return Ok(());
        }
        if args.retries == 0 {
            let what = "not confirmed: with --retries 2 it would be made again before it is called regressed";
            self.retries.problem = Some(what.to_owned());
            return Ok(());
        }
        // From here on a Ctrl-C is the run's that is under way, which cleans up; then we end, too.
        let mut signals = Signals::listen().context("signals cannot be received")?;
        let directory = self.runs[0].directory.clone();
        for n in 1..=args.retries {
            view.say(&format!("looks regressed; making the run again, {n} of {}", args.retries));
            let made = run_again(&directory, &args.output.runs_dir, &mut signals).await;
            match made.and_then(|made| Evidence::read(&made)) {
                Ok(run) if run.record.objections.is_empty() => self.runs.push(run),
                Ok(run) => {
                    let why = run.record.objections.join("; ");
                    self.retries.problem = Some(format!("{} does not count: {why}", run.directory.display()));
                }
                Err(failure) if failure.exit == Exit::Interrupted => return Err(failure),
                Err(failure) => self.retries.problem = Some(format!("not made again: {:#}", failure.error)),
            }
            self.retries.made = n;
        }
        let records: Vec<Record> = self.runs.iter().map(|run| run.record.clone()).collect();
        self.judgement = judge(&records, &found.references);
        if self.runs.len() == 1 && self.judgement.verdict == Verdict::Regressed {
            // It was to be confirmed, and could not be.
            self.judgement.verdict = Verdict::Inconclusive;
        }
        Ok(())
    }

    /// Limits on the run, those that it had itself included. They hold of the run that was named, not of a repeat.
    fn limits(&self, limits: &[threshold::Limit]) -> Result<Vec<threshold::Verdict>, Failure> {
        let first = &self.runs[0];
        let mut verdicts = first.summary.thresholds.clone();
        verdicts.extend(first.limits(limits)?);
        Ok(verdicts)
    }

    fn document(&self, limits: Vec<threshold::Verdict>, exit: Exit) -> GateDocument {
        let runs: Vec<(Record, PathBuf)> =
            self.runs.iter().map(|run| (run.record.clone(), run.directory.clone())).collect();
        let summary = &self.runs[0].summary;
        let retries = self.retries.clone();
        report::document(&self.judgement, &Context { summary, runs: &runs, limits, retries, exit })
    }
}

/// Adds the run to the profiles' histories, in their newest epoch: where it passed, and a person accepted a level.
fn record(profiles: &[Profile], judged: &Judged, view: &View) -> Result<(), Failure> {
    let verdict = judged.judgement.verdict;
    for profile in profiles {
        let epoch = history::newest_epoch(&profile.records);
        let mut record = judged.runs[0].record.clone();
        let there = profile.records.iter().any(|other| other.run == record.run);
        if !matches!(verdict, Verdict::Pass | Verdict::Warn) || epoch == 0 || there {
            let why =
                if there { "it is there already".to_owned() } else { format!("the verdict is {}", verdict.words()) };
            view.say(&format!("not recorded in {}: {why}", profile.history_path.display()));
            continue;
        }
        (record.epoch, record.verdict) = (epoch, Some(verdict));
        append(&profile.history_path, &record)?;
        view.say(&format!("recorded in {}, epoch {epoch}", profile.history_path.display()));
    }
    Ok(())
}

/// Appends a line to a history, in one write.
pub(super) fn append(path: &Path, record: &Record) -> Result<(), Failure> {
    let line = history::line(record).context("the record has no JSON form")?;
    let opened = OpenOptions::new().append(true).create(true).read(true).open(path);
    let appended = opened.and_then(|mut file| {
        // A hand-edited file may lack its last line break.
        let torn = !std::fs::read(path)?.is_empty() && !std::fs::read(path)?.ends_with(b"\n");
        let line = if torn { format!("\n{line}") } else { line };
        file.write_all(line.as_bytes())
    });
    appended.map_err(|e| Failure::invalid(anyhow!(e).context(format!("{}", path.display()))))
}

/// Writes every form that was asked for. One that cannot be written is a failure: a pipeline would miss it.
fn deliver(document: &GateDocument, judged: &Judged, args: &GateArgs, view: &View) -> Result<(), Failure> {
    if let Some(path) = &args.junit {
        write(path, &report::junit(document))?;
    }
    if let Some(path) = &args.markdown {
        write(path, &report::markdown(document))?;
    }
    if let Some(path) = &args.bencher {
        write(path, &pretty(&report::bencher(document))?)?;
    }
    if let Some(directory) = &args.benchmark_action {
        let [bigger, smaller] = report::benchmark_action(document);
        write(&directory.join("bench-bigger.json"), &pretty(&bigger)?)?;
        write(&directory.join("bench-smaller.json"), &pretty(&smaller)?)?;
    }
    if let (Some(directory), Some(last)) = (&args.gitlab, judged.runs.last()) {
        write(&directory.join("metrics.txt"), &report::open_metrics(document))?;
        write(&directory.join("load-performance.json"), &pretty(&report::load_performance(document, &last.summary))?)?;
    }
    if args.github {
        github(document, view)?;
    }
    let text = report::text(document);
    output::deliver(&args.output, document, &text, view).map_err(Failure::from)?;
    // In the directory of the run; beside its page where it was read from one.
    let directory = judged.runs.first().map(|run| run.directory.as_path());
    let directory = directory.map(|path| if path.is_file() { path.parent().unwrap_or(path) } else { path });
    let said = Said { command: "gate", directory, document: output::value(document)?, text: &text };
    let recorded = || judged.runs.iter().map(|run| run.recorded(view)).collect();
    pages::tell(&args.output, said, recorded, |archive| html::gate(document, archive), view)
}

/// Annotations on stderr, which the runner reads as well as stdout; summary and outputs into the files that it names.
fn github(document: &GateDocument, view: &View) -> Result<(), Failure> {
    // A runner that does not read it still has the files.
    let _ = std::io::stderr().write_all(report::annotations(document).as_bytes());
    for (variable, text) in
        [("GITHUB_STEP_SUMMARY", report::markdown(document)), ("GITHUB_OUTPUT", report::outputs(document))]
    {
        match std::env::var_os(variable) {
            Some(path) => add(Path::new(&path), &text)?,
            None => view.warn(&format!("--github: {variable} is not set; its part is left out")),
        }
    }
    Ok(())
}

fn add(path: &Path, text: &str) -> Result<(), Failure> {
    let opened = OpenOptions::new().append(true).create(true).open(path);
    let added = opened.and_then(|mut file| file.write_all(text.as_bytes()));
    added.map_err(|e| Failure::invalid(anyhow!(e).context(format!("{}", path.display()))))
}

fn pretty(value: &serde_json::Value) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(value).context("the result has no JSON form")?;
    Ok(text + "\n")
}

/// Writes a file whole, in a directory that is made where it is missing.
pub(super) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent)
            .map_err(|e| Failure::invalid(anyhow!(e).context(format!("{}", parent.display()))))?;
    }
    write_whole(path, text.as_bytes()).map_err(Failure::invalid)
}
