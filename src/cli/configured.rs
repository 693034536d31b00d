//! `connect-bench.toml`: flags that are always the same, kept in a file.
//!
//! A key is a long flag without its dashes; a table with the name of a command is of that command alone, keys outside of
//! tables are of every command that has such a flag. What the file says is put into the command line where nothing was
//! typed and no environment variable is set: flag > environment > file > default, with one set of rules for values.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use toml::de::{DeTable, DeValue};

use crate::units::nearest;

/// Its name in the working directory.
pub const FILE: &str = "connect-bench.toml";
/// Flags that have no place in a file, and what to do instead.
const NOT_HERE: [(&str, &str); 5] = [
    ("api-key", "a key does not belong in such a file: use CONNECT_API_KEY, api-key-file, or a saved server (name)"),
    ("config", "it says which file is read, and cannot stand in it"),
    ("verbose", "give it on the command line"),
    ("help", "it is no setting"),
    ("version", "it is no setting"),
];
/// Commands that no file speaks to: what they do must not depend on where they are called.
const DEAF: [&str; 4] = ["init", "completions", "man", "sandbox"];
/// One of them is what a command is aimed at: who gives one wants none of the others.
const AIMS: [&str; 5] = ["server", "name", "sandbox", "sandbox-curve", "url"];

/// A file that makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFault {
    /// It cannot be read.
    #[error("{}: {source}", .path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no TOML.
    #[error("{}, line {line}: {message}", .path.display())]
    Syntax {
        /// Which.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A key that is no flag, or a value that the flag does not take.
    #[error("{}, line {line}: {key}: {what}", .path.display())]
    Key {
        /// Which file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// The key.
        key: String,
        /// What is wrong with it.
        what: String,
    },
    /// The flags that follow from it are refused.
    #[error("{}: with what it adds to the command line ({added}): {refused}", .path.display())]
    Refused {
        /// Which file.
        path: PathBuf,
        /// What it adds.
        added: String,
        /// Why that is refused.
        refused: String,
    },
}

/// The file to be read: the one that was named, that of the working directory, or that of the user.
pub(super) fn find(named: Option<PathBuf>, env: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name: &str| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(named) = named.or_else(|| set("CONNECT_BENCH_CONFIG")) {
        return Some(named);
    }
    let own = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
    let own = own.map(|folder| folder.join("connect-bench").join("config.toml"));
    [Some(PathBuf::from(FILE)), own].into_iter().flatten().find(|path| path.is_file())
}

/// A file and what it is read for.
pub(super) struct Reading<'c> {
    pub(super) path: &'c Path,
    pub(super) text: &'c str,
    /// The whole command line.
    pub(super) cli: &'c Command,
}

impl Reading<'_> {
    fn line(&self, at: usize) -> usize {
        self.text[..at.min(self.text.len())].matches('\n').count() + 1
    }

    fn fault(&self, at: usize, key: &str, what: impl Into<String>) -> ConfigFault {
        ConfigFault::Key { path: self.path.to_owned(), line: self.line(at), key: key.to_owned(), what: what.into() }
    }

    /// What is to be added to the command line, `--flag=value` each, given what was typed. All of the file is checked,
    /// whatever the command, but for those that no file speaks to.
    ///
    /// # Errors
    /// Where it is no TOML, names a flag that there is not, or gives one what it does not take.
    pub(super) fn arguments(&self, typed: &ArgMatches) -> Result<Vec<String>, ConfigFault> {
        let (name, matches) = typed.subcommand().unwrap_or(("", typed));
        if DEAF.contains(&name) {
            return Ok(Vec::new());
        }
        let table = DeTable::parse(self.text).map_err(|error| ConfigFault::Syntax {
            path: self.path.to_owned(),
            line: self.line(error.span().map_or(0, |span| span.start)),
            message: error.message().to_owned(),
        })?;
        let mut own: Vec<(String, Vec<String>)> = Vec::new();
        let mut common = Vec::new();
        for (key, value) in table.get_ref() {
            let (at, key) = (key.span().start, key.get_ref().as_ref());
            if let DeValue::Table(inner) = value.get_ref() {
                let Some(command) = self.cli.find_subcommand(key) else {
                    let known = self.cli.get_subcommands().map(Command::get_name);
                    return Err(self.fault(at, &format!("[{key}]"), unknown("command", "", key, known)));
                };
                for (key, value) in inner {
                    let (at, key) = (key.span().start, key.get_ref().as_ref());
                    let added = self.one(at, (key, value.get_ref()), &[command])?;
                    if command.get_name() == name {
                        own.push((key.to_owned(), added));
                    }
                }
            } else {
                let all: Vec<&Command> = self.cli.get_subcommands().collect();
                common.push((key.to_owned(), self.one(at, (key, value.get_ref()), &all)?));
            }
        }
        let Some(command) = self.cli.find_subcommand(name) else { return Ok(Vec::new()) };
        common.retain(|(key, _)| own.iter().all(|(own, _)| own != key));
        let given = Given { command, matches };
        let chosen = own.into_iter().chain(common).filter(|(key, _)| given.leaves_open(key));
        Ok(chosen.flat_map(|(_, arguments)| arguments).collect())
    }

    /// A key with its value as arguments of the first of these commands that has such a flag.
    fn one(
        &self,
        at: usize,
        (key, value): (&str, &DeValue<'_>),
        commands: &[&Command],
    ) -> Result<Vec<String>, ConfigFault> {
        if let Some((_, instead)) = NOT_HERE.iter().find(|(name, _)| *name == key) {
            return Err(self.fault(at, key, *instead));
        }
        let Some(flag) = commands.iter().find_map(|command| find_flag(command, key)) else {
            let known = commands.iter().flat_map(|command| command.get_arguments()).filter_map(Arg::get_long);
            return Err(self.fault(at, key, unknown("flag", "--", key, known)));
        };
        arguments(flag, key, value).map_err(|what| self.fault(at, key, what))
    }
}

fn unknown<'k>(what: &str, dashes: &str, key: &str, known: impl Iterator<Item = &'k str>) -> String {
    let near = nearest(key, known).map_or_else(String::new, |near| format!("; did you mean {near}?"));
    format!("there is no {what} {dashes}{key}{near}")
}

fn find_flag<'c>(command: &'c Command, long: &str) -> Option<&'c Arg> {
    command.get_arguments().find(|argument| argument.get_long() == Some(long))
}

/// A value as arguments.
fn arguments(flag: &Arg, key: &str, value: &DeValue<'_>) -> Result<Vec<String>, String> {
    let takes = flag.get_action().takes_values();
    let needs = takes && flag.get_num_args().is_none_or(|number| number.min_values() > 0);
    match value {
        DeValue::Boolean(false) if !needs => Ok(Vec::new()),
        DeValue::Boolean(true) if !needs => Ok(vec![format!("--{key}")]),
        DeValue::Array(values) if matches!(flag.get_action(), clap::ArgAction::Append) => {
            values.iter().map(|value| scalar(key, value.get_ref())).collect()
        }
        DeValue::Array(_) => Err("it can be given only once, so it takes no list".to_owned()),
        _ if !takes => Err("it is true or false".to_owned()),
        value => scalar(key, value).map(|argument| vec![argument]),
    }
}

fn scalar(key: &str, value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(format!("--{key}={text}")),
        DeValue::Integer(number) => Ok(format!("--{key}={number}")),
        DeValue::Float(number) => Ok(format!("--{key}={number}")),
        DeValue::Boolean(truth) => Ok(format!("--{key}={truth}")),
        _ => Err("a text, a number, or a list of them".to_owned()),
    }
}

/// What was typed, or is in the environment.
struct Given<'c> {
    command: &'c Command,
    matches: &'c ArgMatches,
}

impl Given<'_> {
    fn is_given(&self, flag: &Arg) -> bool {
        let source = self.matches.value_source(flag.get_id().as_str());
        matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable))
    }

    /// Whether a flag is still to be decided: neither it nor anything that excludes it is given.
    fn leaves_open(&self, long: &str) -> bool {
        let Some(flag) = find_flag(self.command, long) else { return false };
        let excludes = |a: &Arg, b: &Arg| {
            let of = self.command.get_arg_conflicts_with(a);
            of.iter().any(|other| other.get_id() == b.get_id())
        };
        let aims = |other: &Arg| {
            let is_aim = |flag: &Arg| flag.get_long().is_some_and(|long| AIMS.contains(&long));
            is_aim(flag) && is_aim(other)
        };
        !self.command.get_arguments().filter(|other| self.is_given(other)).any(|other| {
            other.get_id() == flag.get_id() || excludes(flag, other) || excludes(other, flag) || aims(other)
        })
    }
}

#[cfg(test)]
/// What a file adds to a command line, or what is wrong with it.
pub(crate) fn added_by(text: &str, line: &[&str]) -> Result<Vec<String>, String> {
    let cli = <super::Cli as clap::CommandFactory>::command();
    let typed = cli.clone().get_matches_from(line);
    Reading { path: Path::new(FILE), text, cli: &cli }.arguments(&typed).map_err(|fault| fault.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(text: &str, line: &[&str]) -> Result<Vec<String>, String> {
        added_by(text, &[&["connect-bench"], line].concat())
    }

    #[test]
    fn a_table_is_of_its_command_and_what_is_typed_comes_first() {
        let text = "runs-dir = \"elsewhere\"\nvus = 5\nquick = true\n[load]\nvus = 40\nno-publish = true\n\
                    threshold = [\"http_reqs: count>1\", \"http_req_failed: rate<1\"]\n";
        let load = added(text, &["load", "-d", "5s"]).unwrap();
        let expected = [
            "--no-publish",
            "--threshold=http_reqs: count>1",
            "--threshold=http_req_failed: rate<1",
            "--vus=40",
            "--runs-dir=elsewhere",
        ];
        assert!(expected.iter().all(|argument| load.contains(&(*argument).to_owned())), "{load:?}");
        assert_eq!(load.len(), expected.len());
        let typed = added(text, &["load", "-u", "3", "--runs-dir", "here"]).unwrap();
        assert!(!typed.iter().any(|a| a.starts_with("--vus") || a.starts_with("--runs-dir")), "{typed:?}");
        assert_eq!(added(text, &["ramp"]).unwrap().len(), 2);
        assert_eq!(added(text, &["completions", "bash"]).unwrap(), [""; 0]);
        assert_eq!(added("no-publish = false", &["load"]).unwrap(), [""; 0]);
        assert_eq!(added("html = true", &["load"]).unwrap(), ["--html"]);
        assert_eq!(added("html = \"a.html\"", &["load"]).unwrap(), ["--html=a.html"]);
    }

    #[test]
    fn what_excludes_something_that_was_typed_is_left_out() {
        assert_eq!(added("name = \"prod\"", &["ramp", "--sandbox"]).unwrap(), [""; 0]);
        assert_eq!(added("name = \"prod\"", &["ramp", "-s", "http://localhost"]).unwrap(), [""; 0]);
        assert_eq!(added("name = \"prod\"", &["ramp"]).unwrap(), ["--name=prod"]);
        assert_eq!(added("[ramp]\nmethod = \"staircase\"", &["ramp", "--quick"]).unwrap(), [""; 0]);
        assert_eq!(added("[ramp]\nquick = true", &["ramp", "--method", "staircase"]).unwrap(), [""; 0]);
        assert_eq!(added("[load]\nfrom = \"runs/x\"", &["load", "-u", "3"]).unwrap(), [""; 0]);
    }

    #[test]
    fn what_makes_no_sense_is_said_with_its_line_and_what_may_be_meant() {
        let fault = |text| added(text, &["load"]).unwrap_err();
        assert_eq!(
            fault("\n[load]\nvuss = 3"),
            "connect-bench.toml, line 3: vuss: there is no flag --vuss; did you mean vus?"
        );
        assert!(fault("[laod]\nvus = 3").contains("there is no command laod; did you mean load?"));
        assert!(fault("api-key = \"x\"").contains("CONNECT_API_KEY"));
        assert!(fault("vus = [1, 2]").contains("only once"));
        assert!(fault("no-publish = \"yes\"").contains("true or false"));
        assert!(fault("a = 1\nb = = 2").contains("line 2"));
        // Of another command than the one that runs, too.
        assert!(fault("[ramp]\nvus = 3").contains("line 2: vus: there is no flag --vus"));
        assert!(fault("[load]\nvus = { a = 1 }").contains("a text, a number"));
    }

    #[test]
    fn the_nearest_file_is_read() {
        let env = |pairs: &'static [(&str, &str)]| {
            move |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        };
        assert_eq!(find(Some("a.toml".into()), env(&[("CONNECT_BENCH_CONFIG", "b")])), Some("a.toml".into()));
        assert_eq!(find(None, env(&[("CONNECT_BENCH_CONFIG", "b.toml")])), Some("b.toml".into()));
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("connect-bench");
        std::fs::create_dir(&own).unwrap();
        std::fs::write(own.join("config.toml"), "").unwrap();
        let home = folder.path().as_os_str().to_owned();
        let found = find(None, |name| (name == "XDG_CONFIG_HOME").then(|| home.clone()));
        assert_eq!(found, Some(own.join("config.toml")));
        assert_eq!(find(None, |_| None), None);
    }
}
