//! JUnit's XML: a suite for the run, a case for each threshold and each check, and one for whether the run is valid.

use std::fmt::Write as _;

use super::super::archive::Recorded;
use super::super::foreign;
use super::super::number::significant;
use crate::summary::Figures;

/// Text for XML, in content and in attributes: escaped, in one line, and only characters that XML has.
fn xml(text: &str) -> String {
    let mut out = String::new();
    for c in foreign::line(text, 500).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

enum Became {
    Passed,
    Failed(String),
    Skipped(String),
}

fn cases(run: &Recorded) -> Vec<(String, &'static str, Became)> {
    let mut cases = Vec::new();
    let figures = Figures::of(&run.summary);
    let invalid = figures.invalid(&run.summary);
    let valid = match figures.requests.completed {
        0 => Became::Skipped("no request was completed".to_owned()),
        _ if invalid.is_empty() => Became::Passed,
        _ => Became::Skipped(invalid.join("; ")),
    };
    cases.push(("the run is valid".to_owned(), "run", valid));
    for verdict in &run.summary.thresholds {
        let name = format!("{} {}", verdict.metric, verdict.expression);
        let observed = verdict.observed.map_or_else(|| "no data".to_owned(), significant);
        let became = match verdict.passed {
            true => Became::Passed,
            false => Became::Failed(format!("observed {observed} {}, asked for {}", verdict.unit, verdict.expression)),
        };
        cases.push((name, "thresholds", became));
    }
    for (name, check) in &run.summary.steady.checks {
        let became = match check.fails {
            0 => Became::Passed,
            fails => Became::Failed(format!("{fails} of {} responses did not pass", fails + check.passes)),
        };
        cases.push((name.clone(), "checks", became));
    }
    cases
}

/// The document.
#[must_use]
pub fn junit(run: &Recorded) -> String {
    let cases = cases(run);
    let count = |is: fn(&Became) -> bool| cases.iter().filter(|(_, _, became)| is(became)).count();
    let (failures, skipped) = (count(|b| matches!(b, Became::Failed(_))), count(|b| matches!(b, Became::Skipped(_))));
    let seconds = run.summary.measured_s();
    let (tests, started) = (cases.len(), run.summary.environment.started.strftime("%Y-%m-%dT%H:%M:%S"));
    let name = xml(&format!("connect-bench {}", run.summary.plan.command));
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a String cannot fail.
    let _ = writeln!(out, "<testsuites tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" time=\"{seconds:.3}\">");
    let _ = writeln!(
        out,
        "  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\" \
         time=\"{seconds:.3}\" timestamp=\"{started}\" hostname=\"{}\">\n    <properties>",
        xml(&run.summary.environment.host),
    );
    let target = &run.summary.plan.target;
    let properties = [
        ("run", run.name.clone()),
        ("server", target.url.to_string()),
        ("sandbox", target.sandbox.to_string()),
        ("connect-bench", run.summary.version.clone()),
    ];
    for (name, value) in properties {
        let _ = writeln!(out, "      <property name=\"{name}\" value=\"{}\"/>", xml(&value));
    }
    out.push_str("    </properties>\n");
    for (name, class, became) in &cases {
        let head = format!("    <testcase name=\"{}\" classname=\"{class}\" time=\"0\"", xml(name));
        let _ = match became {
            Became::Passed => writeln!(out, "{head}/>"),
            Became::Failed(why) => {
                writeln!(out, "{head}><failure message=\"{0}\" type=\"limit\">{0}</failure></testcase>", xml(why))
            }
            Became::Skipped(why) => writeln!(out, "{head}><skipped>{}</skipped></testcase>", xml(why)),
        };
    }
    out.push_str("  </testsuite>\n</testsuites>\n");
    out
}
