//! What a shell completes that only this machine knows: servers that were saved, runs, baselines. The shell's script asks
//! the program itself (`COMPLETE=bash connect-bench …`), so that the answer is never old. Says nothing where something
//! cannot be read.

use std::ffi::OsStr;
use std::io;

use clap::{Arg, Command, CommandFactory as _};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter as _};
use clap_complete::env::Shells;
use clap_complete::{CompleteEnv, Shell};

use super::{BASELINES, Cli};
use crate::baseline;
use crate::posit_connect::servers::{self, SavedServers};
use crate::rundir;

/// The variable by which a shell's script asks.
const VARIABLE: &str = "COMPLETE";
/// Runs that are offered, the newest.
const MOST_RUNS: usize = 50;

/// Answers a shell that asks, and ends the process then; does nothing otherwise.
pub fn answer() {
    CompleteEnv::with_factory(command).var(VARIABLE).bin("connect-bench").complete();
}

/// The script of a shell that asks.
///
/// # Errors
/// Where the shell is not one that can.
pub fn script(shell: Shell) -> io::Result<Vec<u8>> {
    let name = shell.to_string();
    let shells = Shells::builtins();
    let completer = shells.completer(&name).ok_or_else(|| io::Error::other(format!("no completions for {name}")))?;
    let mut script = Vec::new();
    completer.write_registration(VARIABLE, "connect-bench", "connect-bench", "connect-bench", &mut script)?;
    Ok(script)
}

/// The command line with what completes its values.
fn command() -> Command {
    with_values(Cli::command())
}

fn with_values(command: Command) -> Command {
    command.mut_args(completed).mut_subcommands(with_values)
}

/// An argument, by what its value is called.
fn completed(argument: Arg) -> Arg {
    let called: Vec<String> =
        argument.get_value_names().unwrap_or_default().iter().map(|name| name.as_str().to_lowercase()).collect();
    let called = called.first().map_or("", String::as_str);
    let has = |word: &str| called.split('|').any(|part| part == word);
    let (id, positional) = (argument.get_id().as_str().to_owned(), argument.is_positional());
    if id == "name" && has("name") {
        return argument.add(ArgValueCompleter::new(saved));
    }
    let runs_of = positional && ["run", "runs"].contains(&id.as_str());
    match (runs_of || has("run"), has("id")) {
        (true, true) => argument.add(ArgValueCompleter::new(runs_and_baselines)),
        (true, false) => argument.add(ArgValueCompleter::new(runs)),
        (false, true) => argument.add(ArgValueCompleter::new(baselines)),
        (false, false) => argument,
    }
}

fn beginning(current: &OsStr, values: impl IntoIterator<Item = String>) -> Vec<CompletionCandidate> {
    let begun = current.to_string_lossy();
    values.into_iter().filter(|value| value.starts_with(begun.as_ref())).map(CompletionCandidate::new).collect()
}

/// Servers saved by rsconnect-python.
fn saved(current: &OsStr) -> Vec<CompletionCandidate> {
    let paths = servers::paths(|name| std::env::var_os(name));
    beginning(current, SavedServers::read(&paths).map(|store| store.names()).unwrap_or_default())
}

/// Runs, the newest first, and files.
fn runs(current: &OsStr) -> Vec<CompletionCandidate> {
    let root = std::env::var_os("CONNECT_BENCH_RUNS").unwrap_or_else(|| "runs".into());
    let newest = rundir::list(root.as_ref()).into_iter().take(MOST_RUNS);
    let mut out = beginning(current, newest.map(|run| run.display().to_string()));
    // A directory of a run is one of them already.
    let files = PathCompleter::any().complete(current);
    let known: Vec<_> = out.iter().map(|run| run.get_value().to_owned()).collect();
    let is_known = |file: &CompletionCandidate| {
        let path = file.get_value().to_string_lossy().trim_end_matches('/').to_owned();
        known.iter().any(|run| run.to_string_lossy() == path)
    };
    out.extend(files.into_iter().filter(|file| !is_known(file)));
    out
}

fn runs_and_baselines(current: &OsStr) -> Vec<CompletionCandidate> {
    let mut all = runs(current);
    all.extend(baselines(current));
    all
}

/// Documented baselines, and profiles of accepted runs.
fn baselines(current: &OsStr) -> Vec<CompletionCandidate> {
    let documented = baseline::documented().map(|all| all.baselines).unwrap_or_default();
    let profiles = std::fs::read_dir(BASELINES).into_iter().flatten().flatten().map(|entry| entry.path());
    let profiles = profiles.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    let mut all: Vec<String> = documented.into_iter().map(|baseline| baseline.id).collect();
    all.extend(profiles.map(|path| path.display().to_string()));
    beginning(current, all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_has_a_script_that_asks_the_program() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell, Shell::Elvish] {
            let script = String::from_utf8(script(shell).unwrap()).unwrap();
            assert!(script.contains(VARIABLE) && script.contains("connect-bench"), "{shell}");
        }
    }

    #[test]
    fn what_is_called_a_run_an_id_or_a_server_is_completed() {
        let command = command();
        let completed = |name: &str, id: &str| {
            let sub = command.find_subcommand(name).unwrap();
            let argument = sub.get_arguments().find(|argument| argument.get_id() == id).unwrap();
            argument.get::<ArgValueCompleter>().is_some()
        };
        for (name, id) in [
            ("load", "name"),
            ("load", "from"),
            ("load", "baseline"),
            ("ramp", "name"),
            ("doctor", "name"),
            ("report", "run"),
            ("compare", "runs"),
            ("gate", "run"),
            ("gate", "baseline"),
            ("capacity", "runs"),
        ] {
            assert!(completed(name, id), "{name} {id}");
        }
        assert!(!completed("load", "vus") && !completed("load", "cacert"));
        let found = baselines(OsStr::new("aws-single-server-r"));
        assert_eq!(
            found.iter().map(|found| found.get_value().to_str().unwrap()).collect::<Vec<_>>(),
            ["aws-single-server-robust"]
        );
    }
}
