//! Markdown for a merge request, a wiki or a job's summary: verdict, figures, thresholds, failures.

use std::fmt::Write as _;

use super::super::archive::Recorded;
use super::super::number::{MISSING, maybe, percent, significant, vus};
use super::super::{foreign, text};
use crate::summary::{self, Figures};

/// Foreign text in a cell of a table, as text only.
fn cell(text: &str) -> String {
    let mut out = String::new();
    for c in foreign::line(text, 200).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            c if "\\`*_{}[]()#!|~@:".contains(c) => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

fn table(out: &mut String, head: &[&str], rows: &[Vec<String>]) {
    if rows.is_empty() {
        return;
    }
    // Writing to a String cannot fail.
    let _ = writeln!(out, "\n| {} |\n|{}", head.join(" | "), "---|".repeat(head.len()));
    for row in rows {
        let _ = writeln!(out, "| {} |", row.join(" | "));
    }
}

/// The document.
#[must_use]
pub fn markdown(run: &Recorded) -> String {
    let summary = &run.summary;
    let figures = Figures::of(summary);
    let verdict = match &summary.search {
        Some(search) => text::ramp_sentence(summary, &search.result),
        None => text::load_sentences(summary, &figures).join(" "),
    };
    let mut out = format!("## connect-bench {}\n\n**{}**\n\n", cell(&summary.plan.command), cell(&verdict));
    let _ = writeln!(out, "{}", cell(&text::what(&summary.plan.target)));
    match &summary.search {
        Some(search) => stages(&mut out, search),
        None => load(&mut out, &figures),
    }
    let kept = |passed: bool| if passed { "✓ kept" } else { "✗ failed" }.to_owned();
    let thresholds: Vec<Vec<String>> = summary
        .thresholds
        .iter()
        .map(|v| {
            let observed =
                v.observed.map_or_else(|| "no data".to_owned(), |o| format!("{} {}", significant(o), v.unit));
            vec![cell(&v.metric), cell(&v.expression), observed, kept(v.passed)]
        })
        .collect();
    table(&mut out, &["metric", "threshold", "observed", ""], &thresholds);
    let errors: Vec<Vec<String>> =
        figures.errors.iter().map(|(kind, n)| vec![cell(&kind.describe()), n.to_string()]).collect();
    table(&mut out, &["failures", "count"], &errors);
    let _ = writeln!(out, "\nRun {}, connect-bench {}", cell(&run.name), cell(&summary.version));
    out
}

fn load(out: &mut String, f: &Figures) {
    let latency = &f.fetch.duration;
    let q = |q| maybe(latency.quantile_ms(q));
    let rows = vec![
        vec!["requests per second".to_owned(), significant(f.all_per_s)],
        vec!["fetching VUs".to_owned(), vus(f.vus)],
        vec!["fetch latency, ms: mean".to_owned(), maybe(latency.mean_ms())],
        vec!["p50".to_owned(), q(0.5)],
        vec!["p95".to_owned(), q(0.95)],
        vec!["p99".to_owned(), q(0.99)],
        vec!["error rate".to_owned(), f.error_rate.map_or_else(|| MISSING.to_owned(), percent)],
    ];
    table(out, &["figure", "value"], &rows);
}

fn stages(out: &mut String, search: &summary::Search) {
    let rows: Vec<Vec<String>> = search
        .steps
        .iter()
        .map(|s| {
            vec![
                s.level().to_string(),
                significant(s.requests_per_second),
                maybe(s.p95_ms),
                percent(s.error_rate),
                cell(&s.decision),
            ]
        })
        .collect();
    let head = if search.result.rate.is_some() { "due per s" } else { "VUs" };
    table(out, &[head, "requests per s", "p95 ms", "failed", "decision"], &rows);
}
