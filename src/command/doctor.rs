//! `connect-bench doctor`: is everything there that a run needs? Looks at this machine and at the server, puts no load on
//! the server, changes nothing, and says for each thing whether it is well and what to do.

mod machine;
mod measure;
mod server;

use anyhow::Context as _;
use serde::Serialize;

use super::failure::Failure;
use super::output;
use crate::cli::DoctorArgs;
use crate::exit::Exit;
use crate::report::foreign;

/// Version of the document.
const SCHEMA: u32 = 1;
/// Characters of a text that somebody else wrote.
const MOST_CHARACTERS: usize = 300;

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// As it should be.
    Ok,
    /// Not looked at.
    Skipped,
    /// A run is possible, and something may be wrong with it.
    Warn,
    /// No run is possible, or it would say nothing.
    Fail,
}

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Of {
    /// This machine.
    Machine,
    /// The server.
    Server,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Check {
    of: Of,
    /// What, in a word or two: stable, for scripts.
    name: &'static str,
    status: Status,
    /// What was seen.
    seen: String,
    /// What to do about it; `null` where nothing is.
    advice: Option<String>,
}

impl Check {
    fn new(of: Of, name: &'static str, status: Status, seen: impl Into<String>) -> Check {
        let seen = foreign::line(&seen.into(), MOST_CHARACTERS);
        Check { of, name, status, seen, advice: None }
    }

    fn advise(mut self, advice: impl Into<String>) -> Check {
        self.advice = Some(foreign::line(&advice.into(), MOST_CHARACTERS));
        self
    }
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Document<'c> {
    schema: u32,
    version: &'static str,
    /// The worst of the checks.
    status: Status,
    checks: &'c [Check],
}

pub(super) async fn run(args: &DoctorArgs) -> Result<Exit, Failure> {
    let mut checks = machine::look(args);
    if args.no_measure {
        let check = Check::new(Of::Machine, "capacity", Status::Skipped, "not measured, as asked");
        checks.push(check);
    } else {
        checks.push(measure::look().await);
    }
    checks.extend(server::look(args).await);
    let worst = checks.iter().map(|check| check.status).max().unwrap_or(Status::Ok);
    let text = if args.json {
        let document = Document { schema: SCHEMA, version: env!("CARGO_PKG_VERSION"), status: worst, checks: &checks };
        serde_json::to_string_pretty(&document).context("the result has no JSON form")? + "\n"
    } else {
        text(&checks)
    };
    output::print(&text)?;
    let fails = |of: Of| checks.iter().any(|check| check.of == of && check.status == Status::Fail);
    Ok(match (fails(Of::Server), fails(Of::Machine)) {
        (true, _) => Exit::Unreachable,
        (false, true) => Exit::Inconclusive,
        (false, false) => Exit::Pass,
    })
}

fn text(checks: &[Check]) -> String {
    let mut out = String::new();
    for (of, title) in [(Of::Machine, "This machine"), (Of::Server, "The server")] {
        out.push_str(title);
        out.push('\n');
        for check in checks.iter().filter(|check| check.of == of) {
            let word = match check.status {
                Status::Ok => "ok  ",
                Status::Skipped => "–   ",
                Status::Warn => "WARN",
                Status::Fail => "FAIL",
            };
            out.push_str(&format!("  {word}  {:14} {}\n", check.name, check.seen));
            if let Some(advice) = &check.advice {
                out.push_str(&format!("        {:14} → {advice}\n", ""));
            }
        }
    }
    let count = |status: Status| checks.iter().filter(|check| check.status == status).count();
    let (warn, fail) = (count(Status::Warn), count(Status::Fail));
    out.push_str(&match (fail, warn) {
        (0, 0) => "nothing is in the way\n".to_owned(),
        (0, warn) => format!("a run is possible; {warn} to look at\n"),
        (fail, warn) => format!("{fail} in the way, {warn} to look at\n"),
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_says_how_it_is_and_what_to_do_and_no_escape_gets_through() {
        let checks = [
            Check::new(Of::Machine, "files", Status::Ok, "65 536"),
            Check::new(Of::Server, "version", Status::Warn, "\u{1b}[31m").advise("look"),
            Check::new(Of::Server, "key", Status::Fail, "401"),
        ];
        let expected = "This machine\n  ok    files          65 536\nThe server\n  WARN  version        \u{fffd}[31m\n                       → look\n  \
                        FAIL  key            401\n1 in the way, 1 to look at\n";
        assert_eq!(text(&checks), expected);
        assert_eq!(checks.iter().map(|check| check.status).max(), Some(Status::Fail));
        assert!(text(&checks[..1]).ends_with("nothing is in the way\n"));
    }
}
