//! The words that all dialects share.

use crate::gate::{Against, Check, Finding, Judgement, Kind, Verdict};
use crate::report::number::{change, maybe, percent, significant};
use crate::threshold;

/// A metric's name for people.
pub(in crate::report) fn metric(name: &str) -> String {
    match name {
        "requests_per_second" => "requests per second".to_owned(),
        "error_rate" => "error rate".to_owned(),
        other => match other.strip_prefix("latency_").and_then(|rest| rest.strip_suffix("_ms")) {
            Some(percentile) => format!("{percentile} latency, ms"),
            None => other.to_owned(),
        },
    }
}

/// A value of a metric.
pub(in crate::report) fn value(name: &str, value: Option<f64>) -> String {
    if name == "error_rate" { value.map_or_else(|| maybe(None), percent) } else { maybe(value) }
}

/// What a check says of itself: `regressed`, or that it is only shown.
pub(in crate::report) fn finding(check: &Check) -> String {
    let words = Verdict::from(check.finding).words();
    if check.judged { words.to_owned() } else { format!("({words})") }
}

/// What was compared with: `5 accepted runs of bench/baselines/small.history.jsonl (epoch 1)`.
pub(in crate::report) fn reference(against: &Against) -> String {
    let runs = if against.runs == 1 { "1 run".to_owned() } else { format!("{} runs", against.runs) };
    match (against.kind, against.epoch) {
        (Kind::Accepted, Some(epoch)) => format!("{runs} of {}, epoch {epoch}", against.name),
        (Kind::Accepted | Kind::Runs, _) => format!("{runs} of {}, accepted by nobody", against.name),
        (Kind::Documented, _) => format!("Posit's documented {}", against.name),
        (Kind::Missing, _) => against.name.clone(),
    }
}

/// A change with its interval: `−10.2 % [−14 %, −6.1 %]`.
pub(in crate::report) fn changed(check: &Check) -> Option<String> {
    let [low, high] = check.change_interval_95?;
    Some(format!("{} [{}, {}]", change(check.change?), change(low), change(high)))
}

/// One sentence: the verdict, and the checks that brought it about.
pub(in crate::report) fn headline(judgement: &Judgement, limits: &[threshold::Verdict]) -> String {
    let broken = limits.iter().filter(|limit| !limit.passed).count();
    let limits = match broken {
        0 => String::new(),
        1 => "; 1 limit is not kept".to_owned(),
        n => format!("; {n} limits are not kept"),
    };
    let verdict = judgement.verdict.words().to_uppercase();
    let because = because(judgement);
    if because.is_empty() { format!("{verdict}{limits}") } else { format!("{verdict}: {because}{limits}") }
}

fn because(judgement: &Judgement) -> String {
    if let Some(why) = judgement.not_valid.first() {
        return why.clone();
    }
    let Some(against) = judgement.against.iter().max_by_key(|against| against.verdict) else {
        return "no baseline to compare with".to_owned();
    };
    // It was to be confirmed by repeats, and could not be.
    let unconfirmed =
        if against.verdict == judgement.verdict { "" } else { "looks regressed, and was not confirmed: " };
    if let Some(why) = against.not_comparable.first() {
        return format!("{why} (against {})", reference(against));
    }
    let because = |check: &&Check| check.judged && Verdict::from(check.finding) == against.verdict;
    let mut checks: Vec<String> = against.checks.iter().filter(because).map(sentence).collect();
    if matches!(judgement.verdict, Verdict::Pass) {
        checks.retain(|check| !check.starts_with("error"));
    }
    if checks.is_empty() {
        checks.extend(against.notes.first().cloned());
    }
    format!("{unconfirmed}{} against {}", checks.join("; "), reference(against))
}

/// A check in words: `requests per second −10.2 % [−14 %, −6.1 %]`.
pub(in crate::report) fn sentence(check: &Check) -> String {
    let name = metric(check.metric);
    let name = name.trim_end_matches(", ms");
    match changed(check) {
        Some(changed) => format!("{name} {changed}"),
        None => {
            let (is, allowed) = (value(check.metric, check.measured), value(check.metric, check.baseline));
            format!("{name} {is}, allowed {allowed}")
        }
    }
}

/// The smallest changes that would have been seen.
pub(in crate::report) fn smallest_change(against: &Against) -> Option<String> {
    let one = |check: &Check| {
        let detectable = check.detectable?;
        let name = metric(check.metric);
        let name = name.trim_end_matches(", ms");
        Some(match check.metric {
            "error_rate" => format!("{name} {}", percent(detectable)),
            "requests_per_second" => format!("{name} {}", change(-detectable)),
            _ => format!("{name} {}", change(detectable)),
        })
    };
    let seen: Vec<String> = against.checks.iter().filter(|check| check.judged).filter_map(one).collect();
    (!seen.is_empty()).then(|| {
        format!("against {}: {} would have been seen in four of five cases", reference(against), seen.join(", "))
    })
}

/// What a threshold's verdict says.
pub(in crate::report) fn limit(limit: &threshold::Verdict) -> String {
    let is = limit.observed.map_or_else(|| "no data".to_owned(), significant);
    let unit = if limit.unit.is_empty() { String::new() } else { format!(" {}", limit.unit) };
    let kept = if limit.passed { "kept" } else { "NOT KEPT" };
    format!("{} {}: {is}{unit}, {kept}", limit.metric, limit.expression)
}

/// Whether a check is an objection of the verdict's.
pub(in crate::report) fn objects(check: &Check) -> bool {
    check.judged && check.finding > Finding::Pass
}
