//! The rules for source files. Each takes one file and says where it is broken.

use super::Violation;
use crate::source::{Source, words};

/// Modules that know neither a clock nor a runtime: time comes in as an argument.
const PURE: &[&str] = &[
    "baseline",
    "capacity",
    "connection_options",
    "disruption",
    "exit",
    "gate",
    "generator",
    "histogram",
    "incident",
    "insight",
    "metric",
    "outcome",
    "plan",
    "rails",
    "recorder",
    "scenario",
    "schedule",
    "secret",
    "selftest",
    "server_metrics",
    "stats",
    "steady",
    "summary",
    "threshold",
    "units",
    "window",
];
const CLOCKS: &[&str] =
    &["tokio", "Instant", "SystemTime", "Timestamp::now", "Zoned::now", "Environment::now", "thread::sleep"];
const PRINTING: &[&str] = &["println!", "print!", "eprintln!", "eprint!", "io::stdout", "io::stderr", "stdout()"];

/// Who may import whom, besides the pure modules, which all may. A new module needs a row here.
const IMPORTS: &[(&str, &[&str])] = &[
    ("architecture", &["fault_proxy"]),
    ("fault_proxy", &[]),
    ("door", &[]),
    ("sandbox", &[]),
    (
        "cli",
        &[
            "architecture",
            "baseline",
            "connection_options",
            "fault_proxy",
            "posit_connect",
            "rails",
            "rundir",
            "sandbox",
            "secret",
            "units",
        ],
    ),
    ("control", &["door", "engine"]),
    ("host", &[]),
    ("summary", &["host"]),
    ("rundir", &["host"]),
    ("http", &[]),
    ("engine", &["http"]),
    ("posit_connect", &["engine", "http"]),
    ("report", &[]),
    ("steps", &["engine"]),
    ("web", &["door", "host", "report"]),
    (
        "command",
        &[
            "architecture",
            "cli",
            "control",
            "engine",
            "fault_proxy",
            "host",
            "http",
            "posit_connect",
            "report",
            "rundir",
            "sandbox",
            "steps",
            "web",
        ],
    ),
    ("main", &["cli", "command"]),
    ("lib", &[]),
];

/// Words that the project says otherwise, and what it says: DESIGN's list, as far as a program can tell.
const WORDS: &[(&str, &str)] = &[
    ("transaction", "request or iteration"),
    ("transactions", "requests or iterations"),
    ("hit", "request"),
    ("hits", "requests"),
    ("virtual user", "VU"),
    ("virtual users", "VUs"),
    ("cycle", "iteration (only `cycle time` is a term)"),
    ("cycles", "iterations"),
    ("task", "iteration; a Connect task belongs to posit_connect and sandbox"),
];
const CYCLE_TIME: &[&str] = &["cycle time", "cycle ms", "cycle N/X"];

const MOST_LINES: usize = 500;
const MOST_LINES_OF_A_FUNCTION: usize = 70;

/// All rules, on one file.
pub(crate) fn check(source: &Source) -> Vec<Violation> {
    let rules = [purity, printing, imports, command_line, size, functions, attributes, module_doc, vocabulary];
    rules.iter().flat_map(|rule| rule(source)).collect()
}

fn at(source: &Source, byte: usize, rule: &'static str, why: String) -> Violation {
    Violation { file: source.path.clone(), line: source.line(byte), rule, why }
}

fn purity(source: &Source) -> Vec<Violation> {
    if !PURE.contains(&source.module()) {
        return Vec::new();
    }
    let found = CLOCKS.iter().flat_map(|word| source.find(word).into_iter().map(move |byte| (byte, *word)));
    let why = |word: &str| format!("`{word}`: `{}` knows no clock and no runtime; pass time in", source.module());
    found.map(|(byte, word)| at(source, byte, "purity", why(word))).collect()
}

fn printing(source: &Source) -> Vec<Violation> {
    if !source.path.starts_with("src/") || ["command", "report", "main"].contains(&source.module()) {
        return Vec::new();
    }
    let found = PRINTING.iter().flat_map(|word| source.find(word).into_iter().map(move |byte| (byte, *word)));
    let why = |word: &str| format!("`{word}`: only command, report and main write to stdout and stderr");
    found.map(|(byte, word)| at(source, byte, "printing", why(word))).collect()
}

fn imports(source: &Source) -> Vec<Violation> {
    let from = source.module();
    if !source.path.starts_with("src/") {
        return Vec::new();
    }
    let row = IMPORTS.iter().find(|(module, _)| *module == from).map(|(_, may)| *may);
    let Some(may) = row.or_else(|| PURE.contains(&from).then_some(&[])) else {
        let why = format!("`{from}` has no row in tests/tidy/rules.rs: say what it may import");
        return vec![at(source, 0, "imports", why)];
    };
    let mut out = Vec::new();
    for root in ["crate::", "connect_bench::"] {
        for byte in source.find(root) {
            let name: String =
                source.code[byte + root.len()..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let why = match name.as_str() {
                // A group hides what it names from this rule.
                "" => "name the module: one `use` for each of ours".to_owned(),
                name if name == from || may.contains(&name) => continue,
                name if PURE.contains(&name) && !["sandbox", "cli"].contains(&from) => continue,
                name => format!("`{from}` does not import `{name}`"),
            };
            out.push(at(source, byte, "imports", why));
        }
    }
    out.extend(climbing(source));
    out
}

/// `super::super::…` up to the crate's root would get around the rule above.
fn climbing(source: &Source) -> Vec<Violation> {
    let found = source.find("super::").into_iter().filter(|&byte| {
        let steps = source.code[byte..].split("super::").take_while(|between| between.is_empty()).count();
        !source.code[..byte].ends_with("super::") && steps >= source.depth()
    });
    found.map(|byte| at(source, byte, "imports", "begin with `crate::` what lies at the root".to_owned())).collect()
}

fn command_line(source: &Source) -> Vec<Violation> {
    if !source.path.starts_with("src/") || ["cli", "main"].contains(&source.module()) {
        return Vec::new();
    }
    let why = "clap belongs to cli: nothing else derives its traits";
    source.find("clap").into_iter().map(|byte| at(source, byte, "command line", why.to_owned())).collect()
}

fn size(source: &Source) -> Vec<Violation> {
    let lines = source.text.lines().count();
    let why = format!("{lines} lines: at most {MOST_LINES}; split it by what its parts are about");
    if lines > MOST_LINES { vec![at(source, source.code.len(), "size", why)] } else { Vec::new() }
}

fn functions(source: &Source) -> Vec<Violation> {
    let long = source.functions().into_iter().filter(|(.., lines)| *lines > MOST_LINES_OF_A_FUNCTION);
    let why = |name: &str, lines| format!("`{name}` has {lines} lines: at most {MOST_LINES_OF_A_FUNCTION}");
    long.map(|(name, byte, lines)| at(source, byte, "function", why(&name, lines))).collect()
}

/// Also in tests: what is switched off there is switched off for good, too.
fn attributes(source: &Source) -> Vec<Violation> {
    let code = &source.code;
    let allows = code.match_indices("#[allow(").chain(code.match_indices("#![allow(")).map(|(byte, _)| byte);
    let allows =
        allows.map(|byte| (byte, "write #[expect(…, reason = \"…\")], which says when it is no longer needed"));
    let unfinished = ["todo!", "unimplemented!", "dbg!"];
    let unfinished = unfinished.into_iter().flat_map(|word| words(code, word)).map(|byte| (byte, "left unfinished"));
    allows.chain(unfinished).map(|(byte, why)| at(source, byte, "attributes", why.to_owned())).collect()
}

fn module_doc(source: &Source) -> Vec<Violation> {
    let why = "begin with `//!`: what it is for, and what it must not know";
    if source.text.starts_with("//!") { Vec::new() } else { vec![at(source, 0, "module doc", why.to_owned())] }
}

/// What people read: strings, and the comments of `cli`, which are the help texts.
fn vocabulary(source: &Source) -> Vec<Violation> {
    // The sandbox has tasks and SQL; what it says is what Connect says.
    if !source.path.starts_with("src/") || source.module() == "sandbox" {
        return Vec::new();
    }
    let texts = if source.module() == "cli" { vec![&source.strings, &source.comments] } else { vec![&source.strings] };
    let mut out = Vec::new();
    for text in texts {
        for (word, instead) in WORDS {
            // Where the names of a publish's requests are: one of them polls Connect's task.
            // And what its instrumentation API calls a request to content is a part of a path.
            let path = *word == "hits" && source.path == "src/posit_connect/api.rs";
            let tasks =
                *word == "task" && (source.module() == "posit_connect" || source.path.ends_with("/steps/connect.rs"));
            for byte in words(text, word).filter(|&byte| !tasks && !path && !source.is_test(byte)) {
                if !CYCLE_TIME.iter().any(|term| text[byte..].starts_with(term)) {
                    out.push(at(source, byte, "words", format!("`{word}`: we say {instead}")));
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the rules find, as `line rule`.
    fn found(path: &str, text: &str) -> Vec<String> {
        let text = format!("//! Doc.\n{text}");
        check(&Source::new(path, &text)).iter().map(|v| format!("{} {}", v.line, v.rule)).collect()
    }

    #[test]
    fn a_clock_or_a_runtime_in_a_pure_module() {
        let text = "use std::time::Instant;\nfn a() { tokio::spawn(b); }\n// Instant\nconst C: &str = \"tokio\";\n";
        assert_eq!(found("src/stats/fit.rs", text), ["3 purity", "2 purity"]);
        assert_eq!(found("src/host.rs", text), [""; 0]);
        assert_eq!(found("src/summary.rs", "fn a() { Environment::now(); }"), ["2 purity"]);
        assert_eq!(found("src/window.rs", "#[cfg(test)]\nmod t { use std::time::Instant; }"), [""; 0]);
    }

    #[test]
    fn printing_outside_of_commands_and_reports() {
        let text = "fn a() {\n    eprintln!(\"x\");\n    std::io::stdout().flush();\n}\n";
        assert_eq!(found("src/engine/run.rs", text), ["3 printing", "4 printing", "4 printing"]);
        assert_eq!(found("src/command/view.rs", text), [""; 0]);
        assert_eq!(found("tests/x.rs", text), [""; 0]);
    }

    #[test]
    fn imports_against_the_arrows() {
        assert_eq!(found("src/engine/vu.rs", "use crate::cli::Cli;\n"), ["2 imports"]);
        assert_eq!(found("src/http/dial.rs", "use crate::sandbox::Profile;\n"), ["2 imports"]);
        assert_eq!(
            found("src/sandbox/api.rs", "use crate::outcome::Phases;\nuse crate::sandbox::error;\n"),
            ["2 imports"]
        );
        assert_eq!(found("src/stats.rs", "use crate::host::cores;\nuse crate::histogram::Latency;\n"), ["2 imports"]);
        assert_eq!(found("src/plan.rs", "use crate::{cli, stats};\n"), ["2 imports"]);
        assert_eq!(found("src/novel.rs", ""), ["1 imports"]);
        assert_eq!(found("src/plan.rs", "use super::cli::Cli;\n"), ["2 imports"]);
        assert_eq!(found("src/report/text/load.rs", "use super::super::number;\n"), [""; 0]);
        assert_eq!(found("src/report/text/load.rs", "use super::super::super::cli;\n"), ["2 imports"]);
        assert_eq!(found("src/command/load.rs", "use crate::cli::LoadArgs;\nuse crate::plan::Plan;\n"), [""; 0]);
    }

    #[test]
    fn clap_outside_of_the_command_line() {
        assert_eq!(found("src/sandbox/profile.rs", "#[derive(clap::ValueEnum)]\nenum P {}\n"), ["2 command line"]);
        assert_eq!(found("src/cli/values.rs", "use clap::Args;\n"), [""; 0]);
    }

    #[test]
    fn what_is_too_long() {
        let body = "    x();\n".repeat(69);
        assert_eq!(found("src/exit.rs", &format!("fn long() {{\n{body}}}\n")), ["2 function"]);
        assert_eq!(found("src/exit.rs", &format!("fn most() {{\n{}}}\n", &body[9..])), [""; 0]);
        assert_eq!(found("tests/x.rs", &format!("fn long() {{\n{body}}}\n")), [""; 0]);
        assert_eq!(found("tests/x.rs", &"\n".repeat(500)), ["502 size"]);
    }

    #[test]
    fn what_is_switched_off_or_unfinished() {
        let text = "#[allow(dead_code)]\nfn a() { todo!() }\n#![allow(x)]\n// todo!()\n";
        assert_eq!(found("tests/x.rs", text), ["2 attributes", "4 attributes", "3 attributes"]);
    }

    #[test]
    fn a_file_without_a_doc() {
        let found = check(&Source::new("src/exit.rs", "use std::fmt;\n"));
        assert_eq!((found.len(), found[0].rule), (1, "module doc"));
    }

    #[test]
    fn words_that_we_do_not_say() {
        assert_eq!(found("src/report/a.rs", "const A: &str = \"12 hits\";\nfn hits() {}\n"), ["2 words"]);
        assert_eq!(found("src/report/a.rs", "const A: &str = \"cycle time, cycle of\";\n"), ["2 words"]);
        assert_eq!(found("src/cli.rs", "/// Number of virtual users.\nstruct A;\n"), ["2 words"]);
        assert_eq!(found("src/posit_connect/a.rs", "const A: &str = \"the task failed\";\n"), [""; 0]);
        assert_eq!(found("src/report/a.rs", "const A: &str = \"the task failed\";\n"), ["2 words"]);
    }
}
