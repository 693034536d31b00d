//! The gate as JUnit XML: a suite for each baseline and one for the limits, a case for each metric that decides.

use super::{GateDocument, words};
use crate::gate::{Against, Check, Finding};

struct Case {
    name: String,
    /// `failure`, `skipped`, `error`, with its message; nothing where it passed.
    outcome: Option<(&'static str, String)>,
    /// What is said where it passed.
    output: String,
}

/// The gate's verdict as JUnit XML.
#[must_use]
pub fn junit(document: &GateDocument) -> String {
    let mut suites: Vec<(String, Vec<Case>)> = document.against.iter().map(suite).collect();
    if !document.not_valid.is_empty() {
        let case = Case {
            name: "the run is valid".to_owned(),
            outcome: Some(("error", document.not_valid.join("; "))),
            output: String::new(),
        };
        suites.push(("run".to_owned(), vec![case]));
    }
    if !document.limits.is_empty() {
        suites.push(("limits".to_owned(), document.limits.iter().map(limit).collect()));
    }
    let count = |kind: &str| suites.iter().flat_map(|(_, cases)| cases).filter(|case| case.is(kind)).count();
    let tests: usize = suites.iter().map(|(_, cases)| cases.len()).sum();
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"connect-bench gate\" tests=\"{tests}\" \
         failures=\"{}\" errors=\"{}\">\n",
        count("failure"),
        count("error"),
    );
    suites.iter().for_each(|(name, cases)| out.push_str(&written(name, cases, document)));
    out.push_str("</testsuites>\n");
    out
}

impl Case {
    fn is(&self, kind: &str) -> bool {
        self.outcome.as_ref().is_some_and(|(outcome, _)| *outcome == kind)
    }
}

fn suite(against: &Against) -> (String, Vec<Case>) {
    let name = words::reference(against);
    if !against.not_comparable.is_empty() {
        let outcome = Some(("error", against.not_comparable.join("; ")));
        return (name, vec![Case { name: "comparable".to_owned(), outcome, output: String::new() }]);
    }
    (name, against.checks.iter().filter(|check| check.judged).map(case).collect())
}

fn case(check: &Check) -> Case {
    let said = words::sentence(check);
    let limit = words::value(check.metric, check.limit);
    let measured = words::value(check.metric, check.measured);
    let outcome = match check.finding {
        Finding::Regressed => Some(("failure", format!("{said}: measured {measured}, limit {limit}"))),
        Finding::Inconclusive => {
            Some(("skipped", format!("inconclusive: {said}; more history or repeats are missing")))
        }
        _ => None,
    };
    let output = format!("{}: {said}", words::finding(check));
    Case { name: words::metric(check.metric), outcome, output }
}

fn limit(limit: &crate::threshold::Verdict) -> Case {
    let said = words::limit(limit);
    let outcome = (!limit.passed).then(|| ("failure", said.clone()));
    Case { name: format!("{} {}", limit.metric, limit.expression), outcome, output: said }
}

fn written(name: &str, cases: &[Case], document: &GateDocument) -> String {
    let count = |kind: &str| cases.iter().filter(|case| case.is(kind)).count();
    let time: f64 = document.runs.iter().map(|run| run.duration_s).sum();
    let mut out = format!(
        "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{time:.3}\">\n",
        escape(name),
        cases.len(),
        count("failure"),
        count("error"),
        count("skipped"),
    );
    let mut properties = vec![
        ("verdict", document.verdict.words().to_owned()),
        ("target", document.about.clone()),
        ("connect-bench", document.version.to_owned()),
    ];
    properties.extend(document.runs.iter().map(|run| ("run", run.run_dir.clone())));
    out.push_str("    <properties>\n");
    for (name, value) in properties {
        out.push_str(&format!("      <property name=\"{name}\" value=\"{}\"/>\n", escape(&value)));
    }
    out.push_str("    </properties>\n");
    for case in cases {
        let head = format!("    <testcase classname=\"gate\" name=\"{}\" time=\"0\">", escape(&case.name));
        let inside = match &case.outcome {
            Some((kind, message)) => format!("<{kind} message=\"{}\"/>", escape(message)),
            None => format!("<system-out>{}</system-out>", escape(&case.output)),
        };
        out.push_str(&format!("{head}{inside}</testcase>\n"));
    }
    out.push_str("  </testsuite>\n");
    out
}

/// XML 1.0 has no place for other control characters, not even escaped.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push(' '),
            other => out.push(other),
        }
    }
    out
}
