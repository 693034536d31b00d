//! The gate in a terminal: the verdict first, then the evidence.

use super::{GateDocument, words};
use crate::gate::{Against, Check};
use crate::report::number::{MISSING, change, percent, significant, vus};
use crate::report::text::{table, wrap};

/// The gate's verdict as people read it.
#[must_use]
pub fn text(document: &GateDocument) -> String {
    let mut out = format!("{}\n{}\n", document.about, wrap(&document.headline, "", 2));
    for why in document.not_valid.iter().skip(1) {
        out.push_str(&wrap(why, "  ", 4));
    }
    document.against.iter().for_each(|against| out.push_str(&section(against)));
    if !document.smallest_change.is_empty() {
        out.push_str("The smallest change that would have been seen\n");
        document.smallest_change.iter().for_each(|line| out.push_str(&wrap(line, "  ", 4)));
    }
    if !document.limits.is_empty() {
        out.push_str("Limits\n");
        document.limits.iter().for_each(|limit| out.push_str(&wrap(&words::limit(limit), "  ", 4)));
    }
    out.push_str(&runs(document));
    if let Some(accept) = &document.accept {
        out.push_str(&wrap(&format!("if this is the new level: {accept}"), "", 2));
    }
    out
}

fn section(against: &Against) -> String {
    let mut out = wrap(&format!("{}: against {}", against.verdict.words(), words::reference(against)), "", 2);
    for why in &against.not_comparable {
        out.push_str(&wrap(why, "  ", 4));
    }
    if !against.checks.is_empty() {
        let head = ["", "baseline", "between runs", "this run", "change", "95 % interval", "limit", "verdict"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(against.checks.iter().map(row));
        out.push_str(&table(&rows, 2, &[0, 7]));
    }
    for note in &against.notes {
        out.push_str(&wrap(note, "  ", 4));
    }
    for differs in &against.differs {
        out.push_str(&wrap(differs, "  differs: ", 4));
    }
    out.push('\n');
    out
}

fn row(check: &Check) -> Vec<String> {
    let missing = || MISSING.to_owned();
    let value = |value| words::value(check.metric, value);
    let interval = check.change_interval_95.map(|[low, high]| format!("{} to {}", change(low), change(high)));
    vec![
        words::metric(check.metric),
        value(check.baseline),
        check.run_cv.map_or_else(missing, |cv| format!("± {}", percent(cv))),
        value(check.measured),
        check.change.map_or_else(missing, change),
        interval.unwrap_or_else(missing),
        value(check.limit),
        words::finding(check),
    ]
}

fn runs(document: &GateDocument) -> String {
    let mut out = String::new();
    for (at, run) in document.runs.iter().enumerate() {
        let what = if at == 0 { "run" } else { "made again" };
        let rps = significant(run.requests_per_second);
        let line = format!("{what}: {} ({rps} per second at {} VUs)", run.run_dir, vus(run.vus));
        out.push_str(&wrap(&line, "", 2));
    }
    if let Some(problem) = &document.retries.problem {
        out.push_str(&wrap(problem, "", 2));
    }
    out
}
