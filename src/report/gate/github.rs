//! The gate in GitHub Actions: annotations, and outputs of the step. The summary is the Markdown.

use super::{GateDocument, words};
use crate::gate::Verdict;

/// Workflow commands: one line for each thing that a reviewer has to know.
#[must_use]
pub fn annotations(document: &GateDocument) -> String {
    let level = match document.verdict {
        Verdict::Pass | Verdict::Improved => "notice",
        Verdict::Warn => "warning",
        _ => "error",
    };
    let mut lines = vec![(level, document.headline.clone())];
    for against in &document.against {
        let objecting = against.checks.iter().filter(|check| words::objects(check));
        lines.extend(objecting.map(|check| (level, format!("{}: {}", words::finding(check), words::sentence(check)))));
    }
    lines.extend(document.limits.iter().filter(|l| !l.passed).map(|l| ("error", format!("limit {}", words::limit(l)))));
    lines.iter().map(|(level, line)| format!("::{level} title=connect-bench gate::{}\n", data(line))).collect()
}

/// `name=value` lines for the file that `GITHUB_OUTPUT` names.
#[must_use]
pub fn outputs(document: &GateDocument) -> String {
    let verdict = document.verdict.words().replace(' ', "_");
    let run = document.runs.last();
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    let values = [
        ("verdict", verdict),
        ("exit_code", document.exit_code.to_string()),
        ("headline", document.headline.clone()),
        ("rps", number(run.map(|run| run.requests_per_second))),
        ("p95_ms", number(run.and_then(|run| run.latency_p95_ms))),
        ("error_rate", number(run.and_then(|run| run.error_rate))),
        ("run_dir", run.map_or_else(String::new, |run| run.run_dir.clone())),
    ];
    values.iter().map(|(name, value)| format!("{name}={}\n", value.replace(['\n', '\r'], " "))).collect()
}

/// The data of a workflow command: a line break or a percent sign would end or change it.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}
