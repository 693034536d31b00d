//! The gate as a comment on a change: at most a screen, to be replaced in place by the next one.

use super::{GateDocument, words};
use crate::gate::{Against, Check, Verdict};
use crate::report::number::{MISSING, change, duration, percent, significant, vus};

/// The first line, by which a pipeline finds the comment that it replaces.
pub const MARKER: &str = "<!-- connect-bench gate -->";

/// The gate's verdict as Markdown.
#[must_use]
pub fn markdown(document: &GateDocument) -> String {
    let mut out = format!("{MARKER}\n### {} {}\n\n", symbol(document.verdict), escape(&document.headline));
    if document.target.sandbox {
        out.push_str(&format!("**{}**\n\n", escape(&document.about)));
    }
    document.against.iter().for_each(|against| out.push_str(&section(against)));
    for line in &document.smallest_change {
        out.push_str(&format!("Smallest change that would have been seen {}.\n\n", escape(line)));
    }
    let broken: Vec<String> = document.limits.iter().filter(|l| !l.passed).map(words::limit).collect();
    broken.iter().for_each(|limit| out.push_str(&format!("- limit {}\n", escape(limit))));
    if let Some(run) = document.runs.first() {
        let rps = significant(run.requests_per_second);
        let again = if document.retries.made > 0 {
            format!(", made again {} times", document.retries.made)
        } else {
            String::new()
        };
        let (vus, length) = (vus(run.vus), duration(run.duration_s));
        out.push_str(&format!("`{}`: {rps} requests per second, {vus} VUs, {length}{again}.\n", run.run));
    }
    if let Some(accept) = &document.accept {
        out.push_str(&format!("If this is the new level: `{accept}`\n"));
    }
    out
}

fn symbol(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "✅",
        Verdict::Improved => "🚀",
        Verdict::Warn => "⚠️",
        Verdict::Regressed => "❌",
        Verdict::Inconclusive | Verdict::NotComparable => "❔",
    }
}

fn section(against: &Against) -> String {
    let mut out = format!("Against {}: **{}**\n\n", escape(&words::reference(against)), against.verdict.words());
    for why in against.not_comparable.iter().chain(&against.notes) {
        out.push_str(&format!("- {}\n", escape(why)));
    }
    if !against.checks.is_empty() {
        out.push_str("\n| | baseline | between runs | this run | change [95 %] | limit | |\n|---|---:|---:|---:|---:|---:|---|\n");
        against.checks.iter().for_each(|check| out.push_str(&row(check)));
    }
    out.push('\n');
    let differs: Vec<String> = against.differs.iter().map(|d| escape(d)).collect();
    if !differs.is_empty() {
        out.push_str(&format!("Differs: {}\n\n", differs.join("; ")));
    }
    out
}

fn row(check: &Check) -> String {
    let value = |value| words::value(check.metric, value);
    let changed = words::changed(check).or_else(|| check.change.map(change));
    format!(
        "| {} | {} | {} | {} | {} | {} | {} |\n",
        words::metric(check.metric),
        value(check.baseline),
        check.run_cv.map_or_else(|| MISSING.to_owned(), |cv| format!("± {}", percent(cv))),
        value(check.measured),
        changed.unwrap_or_else(|| MISSING.to_owned()),
        value(check.limit),
        words::finding(check),
    )
}

/// What a server or a path says of itself must not become a table, a link or a tag.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '|' | '[' | ']' | '`' | '*' | '_' | '@' | '#' | '\\' => out.extend(['\\', c]),
            '\n' | '\r' => out.push(' '),
            other => out.push(other),
        }
    }
    out
}
