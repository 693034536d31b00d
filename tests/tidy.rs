//! The rules of this project that a program can see, as a test. ARCHITECTURE.md says why they are.
//!
//! `tidy/source.rs` tells code, strings and comments apart, `tidy/rules.rs` has the rules for source files; here are
//! those that hold between files: documentation, command line, exit codes.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail where the test does")]

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use clap::CommandFactory as _;
use connect_bench::cli::Cli;
use connect_bench::exit::Exit;

#[path = "tidy/recipes.rs"]
mod recipes;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;

use source::{Source, files, words};

/// A rule that is broken somewhere.
struct Violation {
    file: String,
    line: usize,
    rule: &'static str,
    why: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.file, self.line, self.rule, self.why)
    }
}

/// Documents and the most lines that they may have: what is longer is not read.
const DOCUMENTS: [(&str, usize); 3] = [("README.md", 320), ("ARCHITECTURE.md", 160), ("CHANGELOG.md", 500)];
/// What the project consists of. Runs and results of a user beside it are none of our business.
const PLACES: [&str; 20] = [
    ".ci",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "benches",
    "ci",
    "clippy.toml",
    "deny.toml",
    "docs",
    "fixtures",
    "fuzz/targets.rs",
    "rustfmt.toml",
    "scenarios",
    "schemas",
    "src",
    "tests",
];
/// Written by a script from an installed R, repositories included.
const GENERATED: [&str; 1] = ["fixtures/plumber-stocks/manifest.json"];
/// Hosts that a checkout must not depend on, and paths of one machine. In parts, for this file is checked, too.
const FOREIGN: [&str; 9] = [
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("crates", ".io"),
    concat!("cran.", "r-project.org"),
    concat!("cran.", "rstudio.com"),
    concat!("packagemanager", ".posit.co"),
    concat!("proxy.", "golang.org"),
    concat!("/work", "/"),
    concat!("/tmp/", "bash_jobs"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

fn none(violations: &[Violation]) {
    let list: Vec<String> = violations.iter().map(Violation::to_string).collect();
    assert!(list.is_empty(), "{} broken:\n{}", list.len(), list.join("\n"));
}

#[test]
fn source_files_keep_the_rules() {
    let sources: Vec<Source> = files(root(), &["src", "tests", "benches"], &[".rs"])
        .iter()
        .map(|(path, text)| Source::new(path, text))
        .collect();
    assert!(sources.len() > 100, "only {} files were found", sources.len());
    let tests: BTreeSet<String> = sources.iter().flat_map(Source::test_files).collect();
    let marked = sources.into_iter().map(|s| if tests.contains(&s.path) { s.into_test() } else { s });
    let violations: Vec<Violation> = marked.flat_map(|source| rules::check(&source)).collect();
    none(&violations);
}

#[test]
fn no_file_depends_on_a_registry_host_or_on_one_machine() {
    let mut violations = Vec::new();
    for (path, text) in files(root(), &PLACES, &[""]) {
        if !GENERATED.contains(&path.as_str()) {
            violations.extend(foreign(&path, &text));
        }
    }
    none(&violations);
}

fn foreign(path: &str, text: &str) -> Vec<Violation> {
    let mut out = Vec::new();
    for (at, line) in text.lines().enumerate() {
        for what in FOREIGN.iter().filter(|what| line.contains(**what)) {
            let why = format!("`{what}`: another machine or network does not have it");
            out.push(Violation { file: path.to_owned(), line: at + 1, rule: "foreign", why });
        }
    }
    out
}

#[test]
fn documents_are_short_and_say_our_words() {
    for (path, most) in DOCUMENTS {
        let text = read(path);
        let lines = text.lines().count();
        assert!(lines <= most, "{path} has {lines} lines, at most {most}");
        for word in ["transaction", "transactions", "hit", "hits"] {
            let at = words(&text, word).next();
            assert!(at.is_none(), "{path}:{}: `{word}`", text[..at.unwrap_or(0)].lines().count());
        }
    }
}

#[test]
fn the_readme_has_every_exit_code_with_its_meaning() {
    let missing = missing_exit_codes(&read("README.md"));
    assert!(missing.is_empty(), "README.md has no row for {missing:?}; rows are `| code | meaning |` as in exit.rs");
}

fn missing_exit_codes(readme: &str) -> Vec<u8> {
    let row = |exit: Exit, meaning: &str| format!("| {} | {meaning} |", exit.code());
    Exit::TABLE.iter().filter(|(exit, meaning)| !readme.contains(&row(*exit, meaning))).map(|(e, _)| e.code()).collect()
}

/// Subcommands with their long flags, without those that clap adds.
fn commands() -> Vec<(String, BTreeSet<String>)> {
    let cli = Cli::command();
    fn flags(command: &clap::Command) -> BTreeSet<String> {
        let visible = command.get_arguments().filter(|argument| !argument.is_hide_set());
        let own = visible.filter_map(|argument| argument.get_long()).map(str::to_owned);
        own.chain(command.get_subcommands().flat_map(flags)).collect()
    }
    cli.get_subcommands().map(|command| (command.get_name().to_owned(), flags(command))).collect()
}

#[test]
fn the_readme_and_its_pages_have_every_subcommand_and_every_flag() {
    let readme = read("README.md");
    let pages = |name: String| readme.contains(&format!("docs/{name}")).then(|| read(&format!("docs/{name}")));
    let docs = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")).unwrap();
    let names =
        docs.map(|entry| entry.unwrap().file_name().into_string().unwrap()).filter(|name| name.ends_with(".md"));
    let all = names.filter_map(pages).fold(readme.clone(), |all, page| all + &page);
    for (name, flags) in commands() {
        assert!(words(&readme, &format!("connect-bench {name}")).next().is_some(), "README.md lacks `{name}`");
        // A stand-in has a flag for every kind of trouble; its own help lists them.
        let flags = if name == "sandbox" { BTreeSet::new() } else { flags };
        let missing: Vec<&String> = flags.iter().filter(|flag| !mentions(&all, flag)).collect();
        assert!(missing.is_empty(), "README.md and the pages that it names lack these flags of {name}: {missing:?}");
    }
}

fn mentions(text: &str, flag: &str) -> bool {
    named_flags(text).contains(flag)
}

/// Everything that looks like a long flag.
fn named_flags(text: &str) -> BTreeSet<String> {
    let is_flag = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-';
    let starts = text.match_indices("--").filter(|(at, _)| {
        let before = text[..*at].chars().next_back();
        before.is_none_or(|c| c.is_whitespace() || "`('\"[,".contains(c))
    });
    let names = starts.map(|(at, _)| text[at + 2..].chars().take_while(is_flag).collect::<String>());
    names.filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase())).collect()
}

#[test]
fn documents_name_no_flag_that_there_is_not() {
    let known: BTreeSet<String> = commands().into_iter().flat_map(|(_, flags)| flags).collect();
    // Of cargo, and of every command.
    let others =
        ["config", "release", "locked", "check", "test", "bench", "open", "no-deps", "help", "version", "verbose"];
    for (path, _) in DOCUMENTS {
        let unknown: Vec<String> = named_flags(&read(path))
            .into_iter()
            .filter(|name| !known.contains(name) && !others.contains(&name.as_str()))
            .collect();
        assert!(unknown.is_empty(), "{path} names flags that there are not: {unknown:?}");
    }
}

/// What stands in backticks in the last cell of the rows of a table, and what stands there that looks like a test.
fn named_tests(text: &str) -> BTreeSet<String> {
    let is_test =
        |name: &str| name.len() > 20 && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let rows = text.lines().filter(|line| line.starts_with('|'));
    rows.flat_map(|row| row.split('`').skip(1).step_by(2)).filter(|name| is_test(name)).map(str::to_owned).collect()
}

#[test]
fn every_test_and_every_case_that_the_reliability_page_names_is_there() {
    let sources: String = files(root(), &["src", "tests"], &[".rs"]).into_iter().map(|(_, text)| text).collect();
    let (page, security) = (read("docs/reliability.md"), read("SECURITY.md"));
    let names: BTreeSet<String> = named_tests(&page).into_iter().chain(named_tests(&security)).collect();
    assert!(names.len() >= 60, "only {}", names.len());
    let missing: Vec<&String> = names
        .iter()
        .filter(|name| !sources.contains(&format!("fn {name}(")) && !sources.contains(&format!("    {name}: ")))
        .collect();
    assert!(missing.is_empty(), "there are no such tests: {missing:?}");
    // Rows are numbered, and those of the codec name a case.
    let rows: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("| ") && line[2..].starts_with(|c: char| c.is_ascii_digit()))
        .collect();
    assert!(rows.len() >= 60, "{} faults", rows.len());
    for (at, row) in rows.iter().enumerate() {
        assert!(row.starts_with(&format!("| {} |", at + 1)), "{row}");
        let last = row.trim_end_matches(" |").rsplit("| ").next().unwrap_or_default().trim_matches('`');
        assert!(sources.contains(last), "no test or case {last:?}: {row}");
    }
}

#[test]
fn the_help_of_every_command_has_an_example_that_the_program_takes() {
    let cli = Cli::command();
    for command in cli.get_subcommands() {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let (_, examples) = help.split_once("Examples:\n").unwrap_or_else(|| panic!("{}", command.get_name()));
        let lines = recipes::command_lines(examples);
        assert!(!lines.is_empty(), "{}", command.get_name());
        let refused: Vec<String> = lines.iter().filter_map(|words| recipes::refused(words)).collect();
        assert!(refused.is_empty(), "{}", refused.join("\n"));
    }
}

#[test]
fn the_map_has_every_module() {
    let map = read("ARCHITECTURE.md");
    let lib = read("src/lib.rs");
    let modules = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let missing: Vec<&str> = modules.filter(|module| !map.contains(&format!("`{module}`"))).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md has no line for the modules {missing:?}");
}

#[test]
fn the_checks_between_files_can_fail() {
    let line = format!("see https://{}/simple\n", FOREIGN[0]);
    assert_eq!(foreign("a.md", &line).len(), 1);
    assert_eq!(foreign("a.md", "see https://docs.posit.co/connect/\n").len(), 0);
    assert_eq!(missing_exit_codes("| 0 | pass |").len(), Exit::TABLE.len() - 1);
    let flags = named_flags("`--vus N`, --then-load 30m; a--b, --- | --- | (`--json`)");
    assert_eq!(flags, ["json", "then-load", "vus"].map(str::to_owned).into());
    let violation = Violation { file: "a.rs".to_owned(), line: 3, rule: "size", why: "long".to_owned() };
    assert_eq!(violation.to_string(), "a.rs:3: size: long");
}
