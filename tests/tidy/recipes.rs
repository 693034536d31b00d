//! The recipes in `ci/`: they can be read, and every command line in them, and in the pages, is one that the program takes.

use std::path::Path;
use std::process::Command;

use clap::CommandFactory as _;
use connect_bench::cli::Cli;

/// Pages with command lines in code blocks and between backquotes.
const PAGES: [&str; 8] = [
    "README.md",
    "docs/ci.md",
    "docs/configuration.md",
    "docs/container.md",
    "docs/gate.md",
    "docs/live-control.md",
    "docs/process-settings.md",
    "docs/server-metrics.md",
];

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The words of the first command of a shell line: up to what the shell itself obeys. `None` where a quote is open.
fn words(line: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut characters = line.chars().peekable();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                word.get_or_insert_default();
                quote = Some(c);
            }
            (None, '\\') => word.get_or_insert_default().extend(characters.next()),
            (None, '|' | '&' | ';' | '>' | '<' | ')' | '#' | '`') => break,
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    // `2>` belongs to the shell.
    Some(words).filter(|_| quote.is_none())
}

/// Command lines of ours in a text.
pub(crate) fn command_lines(text: &str) -> Vec<Vec<String>> {
    let text = text.replace("\\\n", " ");
    let mut out = Vec::new();
    for line in text.lines() {
        for (at, _) in line.match_indices("connect-bench ") {
            let before = line[..at].trim_end();
            // Where a command begins: of a line, a list, a quoted script; after an operator; not in a sentence.
            let begins = before.is_empty()
                || ["-", "'", "\"", "`", ";", "&&", "||", "|", "run:", "$("].iter().any(|end| before.ends_with(end));
            let is_comment = line.trim_start().starts_with(['#', '/']);
            let ends_before = line[..at].ends_with('\'').then_some('\'');
            let rest = match ends_before.and_then(|quote| line[at..].split_once(quote)) {
                Some((inside, _)) => inside,
                None => &line[at..],
            };
            if begins && !is_comment {
                out.extend(words(rest));
            }
        }
    }
    out
}

pub(crate) fn refused(words: &[String]) -> Option<String> {
    let fault = Cli::command().try_get_matches_from(words).err()?;
    let asks = [clap::error::ErrorKind::DisplayHelp, clap::error::ErrorKind::DisplayVersion];
    (!asks.contains(&fault.kind())).then(|| format!("{}\n{fault}", words.join(" ")))
}

#[test]
fn every_command_line_of_a_recipe_is_one_that_the_program_takes() {
    for (path, least) in
        [("ci/github.yml", 4), ("ci/gitlab-ci.yml", 4), ("ci/Jenkinsfile", 4), ("ci/kubernetes-cronjob.yaml", 3)]
    {
        let lines = command_lines(&read(path));
        assert!(lines.len() >= least, "{path}: only {} command lines were found: {lines:?}", lines.len());
        let refused: Vec<String> = lines.iter().filter_map(|words| refused(words)).collect();
        assert!(refused.is_empty(), "{path}:\n{}", refused.join("\n"));
        for needed in ["load", "gate"] {
            assert!(lines.iter().any(|words| words[1] == needed), "{path} has no {needed}");
        }
    }
}

#[test]
fn every_command_line_of_a_page_is_one_that_the_program_takes() {
    let mut found = 0;
    for path in PAGES {
        // Lines of code blocks alone: in sentences a command is often named without what it needs.
        let text = read(path);
        let code: String =
            text.lines().filter_map(|line| line.strip_prefix("    ")).map(|l| l.to_owned() + "\n").collect();
        let lines = command_lines(&code);
        found += lines.len();
        let refused: Vec<String> = lines.iter().filter_map(|words| refused(words)).collect();
        assert!(refused.is_empty(), "{path}:\n{}", refused.join("\n"));
    }
    assert!(found >= 15, "only {found}");
}

#[test]
fn the_recipes_are_yaml_with_what_such_a_file_needs() {
    let documents = |path: &str| -> Vec<serde_json::Value> {
        serde_saphyr::from_multiple(&read(path)).unwrap_or_else(|fault| panic!("{path}: {fault}"))
    };
    let github = documents("ci/github.yml").remove(0);
    let steps = github["jobs"]["load"]["steps"].as_array().unwrap();
    assert!(steps.iter().any(|step| step["uses"].as_str().is_some_and(|uses| uses.contains("upload-artifact"))));
    assert!(steps.iter().all(|step| step["run"].is_string() || step["uses"].is_string()));
    assert!(steps.iter().any(|step| step["run"].as_str().is_some_and(|run| run.contains("comment.md"))));
    let gitlab = documents("ci/gitlab-ci.yml").remove(0);
    let job = &gitlab["load-test"];
    assert!(job["script"].as_array().unwrap().iter().all(serde_json::Value::is_string));
    assert_eq!(job["artifacts"]["reports"]["junit"], "gate.xml");
    let kubernetes = documents("ci/kubernetes-cronjob.yaml");
    let kinds: Vec<&str> = kubernetes.iter().map(|document| document["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["PersistentVolumeClaim", "CronJob"]);
    let pod = &kubernetes[1]["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(container["resources"]["requests"], container["resources"]["limits"]);
    let image = container["image"].as_str().unwrap();
    for path in ["ci/container", "docs/container.md"] {
        assert!(read(path).contains(image), "{path} names another image than {image}");
    }
    let jenkins = read("ci/Jenkinsfile");
    let count = |c: char| jenkins.matches(c).count();
    assert!(count('{') == count('}') && count('(') == count(')') && jenkins.contains("archiveArtifacts"));
}

#[test]
fn a_wrong_line_is_found() {
    let text = "run: connect-bench load --vuss 3 || true\n- connect-bench gate --retries 1 \\\n  --junit a.xml; echo\n\
                # connect-bench is\nsh 'connect-bench doctor --vus 3'\nthe connect-bench command\n";
    let lines = command_lines(text);
    assert_eq!(
        lines.iter().map(|words| words[1..].join(" ")).collect::<Vec<_>>(),
        ["load --vuss 3", "gate --retries 1 --junit a.xml", "doctor --vus 3"]
    );
    assert_eq!(lines.iter().filter(|words| refused(words).is_some()).count(), 1);
}

/// Building takes minutes and buildah; what cannot become an image is refused before that.
#[test]
fn the_container_script_refuses_what_could_not_run_in_an_empty_image() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("ci/container");
    let run = |arguments: &[&str]| {
        let output = Command::new(&script).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let program = env!("CARGO_BIN_EXE_connect-bench");
    let (code, said) = run(&["--ca", script.to_str().unwrap(), "--binary", program]);
    assert!(code == Some(1) && said.contains("wants a loader"), "{code:?}: {said}");
    let (code, said) = run(&["--ca", "/nowhere.pem"]);
    assert!(code == Some(1) && said.contains("certificate authorities: /nowhere.pem"), "{code:?}: {said}");
    for wrong in [&["--tagg", "x"][..], &["--tag"], &["x"]] {
        let (code, said) = run(wrong);
        assert!(code == Some(2) && said.contains("usage: ci/container"), "{wrong:?}: {code:?}: {said}");
    }
    assert!(read("ci/Containerfile").lines().any(|line| line == "ARG BASE=scratch"));
}
