//! What killed runs may have left on a server, said by whatever command comes next.

use std::path::{Path, PathBuf};

use crate::cli::Command;
use crate::posit_connect::journal::{Remaining, abandoned};

/// Says it on stderr, if there is something to say.
pub(super) fn tell(command: &Command) {
    let Some(runs_dir) = runs_dir(command) else { return };
    let left = found(&runs_dir);
    let Some(first) = left.first() else { return };
    let more = match left.len() {
        1 => String::new(),
        n => format!(" and {} more", n - 1),
    };
    let (name, server) = (&first.name, &first.server);
    super::say(&format!(
        "warning: a run that was killed may have left {name}{more} on {server}: connect-bench cleanup"
    ));
}

/// Where the command's runs are; `None` of those that say it themselves, or have no runs.
fn runs_dir(command: &Command) -> Option<PathBuf> {
    Some(match command {
        Command::Cleanup(_) | Command::Report(_) | Command::Sandbox(_) => return None,
        Command::Completions(_) | Command::Man(_) | Command::Check(_) => return None,
        Command::Load(args) => args.run.output.runs_dir.clone(),
        Command::Ramp(args) => args.run.output.runs_dir.clone(),
        Command::Run(args) => args.run.output.runs_dir.clone(),
        Command::Runs(args) => args.runs_dir.clone(),
        _ => std::env::var_os("CONNECT_BENCH_RUNS").map_or_else(|| PathBuf::from("runs"), PathBuf::from),
    })
}

/// What remains of runs that are over.
fn found(runs_dir: &Path) -> Vec<Remaining> {
    let entries = std::fs::read_dir(runs_dir).into_iter().flatten().flatten();
    let mut runs: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    runs.sort();
    runs.iter().flat_map(|run| abandoned(run)).collect()
}
