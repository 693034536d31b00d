//! One or more runs of the same build against what was accepted before, and against documented figures.

use serde::Serialize;

use super::Verdict;
use super::history::{FIRST, NEWEST};
use super::inference::{Better, Finding, Rule, Test, test};
use super::record::Record;
use super::settings::{Measure, Settings};
use crate::baseline::Baseline;
use crate::stats::descriptive::median;
use crate::stats::proportion::failure_rate_interval_90;
use crate::stats::special::beta_quantile;

/// VUs that differ by more than this are another load.
const VUS_TOLERANCE: f64 = 0.05;
/// Chance to see errors that are there, for the smallest rate that would have been seen.
const POWER: f64 = 0.80;

/// What runs are held against.
#[derive(Debug, Clone, PartialEq)]
pub enum Reference {
    /// Runs of our own, in the order of time.
    Runs {
        /// For people: a file, a directory.
        name: String,
        /// The epoch they belong to; `None` where nobody accepted them.
        epoch: Option<u32>,
        /// The runs.
        runs: Vec<Record>,
    },
    /// A documented figure: a point without variance.
    Documented(Box<Baseline>),
    /// Nothing: why.
    Missing {
        /// For people: a file, a directory.
        name: String,
        /// Why there is nothing to compare with, and what to do.
        why: Vec<String>,
    },
}

/// What kind of baseline it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Runs that a person accepted.
    Accepted,
    /// Runs that nobody accepted.
    Runs,
    /// A documented figure.
    Documented,
    /// There is none.
    Missing,
}

/// One metric.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// Its name; the unit is last in it.
    pub metric: &'static str,
    /// Whether it decides; otherwise it is only shown.
    pub judged: bool,
    /// Which way is better.
    pub better: Better,
    /// What is expected: the median of the earlier runs, the documented figure, the error rate that is allowed.
    pub baseline: Option<f64>,
    /// What was measured: the median of the runs that are judged.
    pub measured: Option<f64>,
    /// Measured / baseline − 1.
    pub change: Option<f64>,
    /// 95 % interval of the change, from the variation between runs.
    pub change_interval_95: Option<[f64; 2]>,
    /// The value beyond which a change for the worse is large.
    pub limit: Option<f64>,
    /// Variation from run to run that was reckoned with, as a share.
    pub run_cv: Option<f64>,
    /// The smallest change for the worse that would have been seen in four of five cases, as a share of the baseline;
    /// of errors, the rate.
    pub detectable: Option<f64>,
    /// One-sided p value against "not worse".
    pub p_worse: Option<f64>,
    /// What follows.
    pub finding: Finding,
}

/// The runs against one reference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Against {
    /// For people: a file, a directory, an id.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Earlier runs that were compared with.
    pub runs: usize,
    /// The epoch they belong to.
    pub epoch: Option<u32>,
    /// What follows.
    pub verdict: Verdict,
    /// Why it is not comparable; empty where it is.
    pub not_comparable: Vec<String>,
    /// What differs and was not refused.
    pub differs: Vec<String>,
    /// By metric.
    pub checks: Vec<Check>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// What the gate says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Judgement {
    /// The most serious of all.
    pub verdict: Verdict,
    /// Why the runs say nothing about the server; empty where they do.
    pub not_valid: Vec<String>,
    /// By reference.
    pub against: Vec<Against>,
}

/// Judges runs of one build: the first one, and those that were made again to confirm it. Each reference has the
/// settings that belong to it.
#[must_use]
pub fn judge(runs: &[Record], references: &[(Reference, Settings)]) -> Judgement {
    let objection =
        |run: &Record| -> Vec<String> { run.objections.iter().map(|why| format!("{}: {why}", run.run)).collect() };
    let not_valid: Vec<String> = runs.iter().flat_map(objection).collect();
    let Some(latest) = runs.last().filter(|_| not_valid.is_empty()) else {
        return Judgement { verdict: Verdict::NotComparable, not_valid, against: Vec::new() };
    };
    let against: Vec<Against> = references
        .iter()
        .map(|(reference, settings)| match reference {
            Reference::Runs { name, epoch, runs: earlier } => {
                let kind = if epoch.is_some() { Kind::Accepted } else { Kind::Runs };
                let empty = Against { name: name.clone(), kind, epoch: *epoch, ..nothing() };
                with_runs(empty, (runs, latest), earlier, settings)
            }
            Reference::Documented(baseline) => with_documented(runs, latest, baseline, settings),
            Reference::Missing { name, why } => {
                Against { name: name.clone(), not_comparable: why.clone(), ..nothing() }
            }
        })
        .collect();
    let verdict = against.iter().map(|a| a.verdict).max().unwrap_or(Verdict::Pass);
    Judgement { verdict, not_valid, against }
}

fn nothing() -> Against {
    Against {
        name: String::new(),
        kind: Kind::Missing,
        runs: 0,
        epoch: None,
        verdict: Verdict::NotComparable,
        not_comparable: Vec::new(),
        differs: Vec::new(),
        checks: Vec::new(),
        notes: Vec::new(),
    }
}

/// Against runs of our own.
fn with_runs(empty: Against, (runs, latest): (&[Record], &Record), earlier: &[Record], settings: &Settings) -> Against {
    let Some(last) = earlier.last() else {
        let why = "there is no earlier run in it".to_owned();
        return Against { not_comparable: vec![why], ..empty };
    };
    let differences = latest.fingerprint.differences(&last.fingerprint, &settings.may_differ, &settings.must_match);
    let mut not_comparable = differences.refused;
    let may_differ = settings.may_differ.iter().any(|name| name == "load");
    if (latest.vus / last.vus - 1.0).abs() > VUS_TOLERANCE && not_comparable.is_empty() && !may_differ {
        not_comparable.push(format!("VUs: {:.1} → {:.1}", last.vus, latest.vus));
    }
    let compared = &earlier[earlier.len().saturating_sub(NEWEST)..];
    let against = Against { runs: compared.len(), differs: differences.said, ..empty };
    if !not_comparable.is_empty() {
        return Against { not_comparable, ..against };
    }
    let mut checks: Vec<Check> = Measure::ALL.iter().map(|m| metric(*m, runs, compared, settings)).collect();
    let worst = compared.iter().filter_map(Record::error_rate).fold(settings.gate.errors.max_rate, f64::max);
    checks.push(errors(runs, worst));
    let mut verdict = verdict_of(&checks);
    let mut notes = length(latest, last);
    if let Some(note) = drift(runs, earlier, settings) {
        notes.push(note);
        verdict = verdict.max(Verdict::Warn);
    }
    Against { verdict, checks, notes, ..against }
}

/// A run that is much shorter than those before varies more.
fn length(latest: &Record, last: &Record) -> Vec<String> {
    let ratio = latest.duration_s / last.duration_s;
    let note = format!("measured over {:.0} s, the run before over {:.0} s", latest.duration_s, last.duration_s);
    if (0.5..=2.0).contains(&ratio) { Vec::new() } else { vec![note] }
}

/// The verdict of the checks that decide. Better in one and worse in another is not better.
fn verdict_of(checks: &[Check]) -> Verdict {
    let judged = checks.iter().filter(|check| check.judged);
    judged.map(|check| Verdict::from(check.finding)).max().unwrap_or(Verdict::NotComparable)
}

fn metric(measure: Measure, runs: &[Record], earlier: &[Record], settings: &Settings) -> Check {
    let values = |records: &[Record]| records.iter().map(|r| measure.of(r)).collect::<Option<Vec<f64>>>();
    let rule = settings.rule(measure);
    let found = values(earlier).zip(values(runs)).and_then(|(h, x)| {
        let all = test(&h, &x, measure.better(), &rule)?;
        // What is confirmed is what was suspected: one metric in the first run, another in the next are two chances.
        let first = test(&h, &x[..1], measure.better(), &rule)?;
        let confirmed = all.finding != Finding::Regressed || first.finding == Finding::Regressed;
        Some(if confirmed { all } else { Test { finding: Finding::Warn, ..all } })
    });
    let empty = Check { metric: measure.name(), judged: measure.is_judged(), ..unknown(measure.better()) };
    found.map_or_else(|| empty.clone(), |found| tested(&empty, &found))
}

fn unknown(better: Better) -> Check {
    Check {
        metric: "",
        judged: true,
        better,
        baseline: None,
        measured: None,
        change: None,
        change_interval_95: None,
        limit: None,
        run_cv: None,
        detectable: None,
        p_worse: None,
        finding: Finding::Inconclusive,
    }
}

fn tested(empty: &Check, found: &Test) -> Check {
    Check {
        baseline: Some(found.baseline),
        measured: Some(found.measured),
        change: Some(found.change.estimate),
        change_interval_95: Some([found.change.low, found.change.high]),
        limit: Some(found.baseline * (1.0 + found.limit)),
        run_cv: Some(found.run_cv),
        detectable: Some(found.detectable),
        p_worse: Some(found.p_worse),
        finding: found.finding,
        ..empty.clone()
    }
}

/// Errors against the rate that is allowed: a run is regressed where even the lower end of its rate's interval is above
/// it, and of several runs the middle one decides.
fn errors(runs: &[Record], allowed: f64) -> Check {
    let finding = |run: &Record| match run.error_rate() {
        None => Finding::Inconclusive,
        Some(_) if failure_rate_interval_90(run.failed, run.failed + run.completed).0 > allowed => Finding::Regressed,
        Some(rate) if rate > allowed => Finding::Warn,
        Some(_) => Finding::Pass,
    };
    let mut findings: Vec<Finding> = runs.iter().map(finding).collect();
    findings.sort();
    let (failed, completed) = runs.iter().fold((0, 0), |(f, c), run| (f + run.failed, c + run.completed));
    let ended = failed + completed;
    Check {
        metric: "error_rate",
        baseline: Some(allowed),
        measured: (ended > 0).then(|| failed as f64 / ended as f64),
        limit: Some(allowed),
        detectable: runs.last().and_then(|run| detectable_rate(run.failed + run.completed, allowed)),
        finding: findings.get(findings.len() / 2).copied().unwrap_or(Finding::Inconclusive),
        ..unknown(Better::Lower)
    }
}

/// The smallest rate that a run of so many requests would have shown to be above `allowed` in four of five cases: with
/// the fewest failures whose interval lies above it.
fn detectable_rate(requests: u64, allowed: f64) -> Option<f64> {
    let shows = |failed: u64| failure_rate_interval_90(failed, requests).0 > allowed;
    if requests == 0 || !shows(requests) {
        return None;
    }
    let (mut low, mut high) = (0, requests);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if shows(middle) { high = middle } else { low = middle }
    }
    Some(beta_quantile(POWER, high as f64, (requests - high) as f64 + 1.0))
}

/// Whether the level crept away from the epoch's first runs, step by step: each run in order, all together worse.
fn drift(runs: &[Record], earlier: &[Record], settings: &Settings) -> Option<String> {
    if earlier.len() <= FIRST {
        return None;
    }
    let rule: Rule = settings.gate.rps;
    let rps = |records: &[Record]| records.iter().map(|r| r.requests_per_second).collect::<Vec<f64>>();
    // The newest half beside the new runs: a single run is the gate's own business.
    let recent: Vec<f64> = rps(&earlier[earlier.len() - FIRST..]).into_iter().chain(rps(runs)).collect();
    let (first, now) = (median(&rps(&earlier[..FIRST]))?, median(&recent)?);
    let change = now / first - 1.0;
    (change < -rule.min_effect).then(|| {
        format!(
            "slow drift: the last runs have {:+.1} % requests per second against the first {FIRST} of the epoch",
            100.0 * change
        )
    })
}

/// Against a documented figure: requests per second and errors; latency follows the VUs and does not close.
fn with_documented(runs: &[Record], latest: &Record, baseline: &Baseline, settings: &Settings) -> Against {
    let mut not_comparable = Vec::new();
    let mut differs = Vec::new();
    if let Some(vus) = baseline.vus.map(f64::from).filter(|vus| (latest.vus / vus - 1.0).abs() > VUS_TOLERANCE) {
        not_comparable.push(format!("documented at {vus:.0} VUs; {:.1} here", latest.vus));
    }
    if let Some(nodes) = latest.fingerprint.get("nodes").filter(|nodes| *nodes != baseline.nodes.count.to_string()) {
        not_comparable.push(format!("documented on {} node(s); {nodes} here", baseline.nodes.count));
    }
    if let Some(seconds) = baseline.duration_s.filter(|seconds| latest.duration_s < 0.9 * *seconds as f64) {
        differs.push(format!("documented over {} min; {:.0} s here", seconds / 60, latest.duration_s));
    }
    let nodes = &baseline.nodes;
    differs.push(format!("documented on {} × {} ({} vCPU)", nodes.count, nodes.instance, nodes.vcpus));
    differs.extend(baseline.caution.clone());
    let against =
        Against { name: baseline.id.clone(), kind: Kind::Documented, runs: 1, differs, not_comparable, ..nothing() };
    if !against.not_comparable.is_empty() {
        return against;
    }
    let rps: Vec<f64> = runs.iter().map(|run| run.requests_per_second).collect();
    let empty = Check { metric: Measure::Rps.name(), ..unknown(Better::Higher) };
    let found = test(&[baseline.requests_per_second], &rps, Better::Higher, &settings.gate.documented);
    let check = found.map_or_else(|| empty.clone(), |found| tested(&empty, &found));
    let allowed = baseline.error_rate.unwrap_or(0.0) + settings.gate.errors.max_rate;
    let standing = match check.change {
        Some(change) if change < -0.3 => "far below",
        Some(change) if change < -settings.gate.documented.min_effect => "below",
        Some(change) if change > settings.gate.documented.min_effect => "above",
        _ => "meets",
    };
    let documented = baseline.requests_per_second;
    let mut notes = vec![format!("{standing} the documented {documented:.0} requests per second")];
    if let Some((ours, theirs)) = latest.cycle_ms.zip(baseline.cycle_ms()) {
        notes.push(format!("cycle time N/X: {ours:.1} ms, documented {theirs:.1} ms; latency is not judged"));
    }
    let checks = vec![check, errors(runs, allowed)];
    Against { verdict: verdict_of(&checks), checks, notes, ..against }
}
