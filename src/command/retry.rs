//! Makes a run again, by the command line that is written down in its directory.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, anyhow};
use tokio::process::Command;

use super::failure::Failure;
use super::signals::Signals;
use crate::cli;
use crate::exit::Exit;
use crate::plan::{Executor, Plan};
use crate::rundir::{self, PlanFile};

/// Flags of the run that are the gate's business when it is made again.
const OURS: [&str; 8] = ["--json", "--quiet", "--output", "--html", "--out", "--out-sample", "--runs-dir", "--from"];

/// The command line that makes a run again into `runs_dir`.
fn again(file: &PlanFile, runs_dir: &Path) -> anyhow::Result<Vec<String>> {
    let PlanFile { plan, invocation, .. } = file;
    let (Some(command), rest) = (invocation.first(), invocation.get(1..).unwrap_or_default()) else {
        return Err(anyhow!("its command line was not written down"));
    };
    let name = |argument: &str| argument.split('=').next().unwrap_or_default().to_owned();
    let ours = |argument: &&String| !OURS.contains(&name(argument).as_str());
    let mut line: Vec<String> = rest.iter().filter(ours).cloned().collect();
    let load = cli::flags("load");
    let command = if command == "ramp" && plan.command == "load" {
        // The load test that followed a ramp: the same without the search.
        line.retain(|argument| argument.strip_prefix("--").is_some_and(|flag| load.contains(&name(flag))));
        line.push(format!("--duration={}s", plan.duration.saturating_sub(plan.warm_up).as_secs()));
        line.push(format!("--warmup={}s", plan.warm_up.as_secs()));
        "load"
    } else {
        command
    };
    if command == "load" && !line.iter().any(|argument| name(argument) == "--vus") {
        // Those that a ramp had found; since then another may have found others.
        line.push(format!("--vus={}", vus(plan).context("its VUs are not known")?));
    }
    line.insert(0, command.to_owned());
    line.extend(["--json".to_owned(), "--quiet".to_owned(), format!("--runs-dir={}", runs_dir.display())]);
    Ok(line)
}

fn vus(plan: &Plan) -> Option<u32> {
    match plan.scenarios.get(plan.fetch_scenario()?)?.executor {
        Executor::ConstantVus { vus, .. } => Some(vus),
        _ => None,
    }
}

/// Passes a signal on.
fn interrupt(id: Option<u32>) {
    let id = id.and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(id) = id {
        // Where it has ended in the meantime, there is nobody to tell.
        let _ = rustix::process::kill_process(id, rustix::process::Signal::INT);
    }
}

/// Makes a run again, and returns the directory of the new one. Whether it is valid is for others to say.
pub(super) async fn run_again(directory: &Path, runs_dir: &Path, signals: &mut Signals) -> Result<PathBuf, Failure> {
    let file = rundir::read_plan(directory).map_err(Failure::invalid)?;
    let line = again(&file, runs_dir).map_err(Failure::invalid)?;
    let program = std::env::current_exe().context("cannot find the program itself")?;
    let mut command = Command::new(program);
    // A group of its own: a signal reaches it through us alone, once, and it cleans up before it ends.
    command.args(&line).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).process_group(0);
    let child = command.spawn().context("cannot start the program again")?;
    let id = child.id();
    let ended = child.wait_with_output();
    tokio::pin!(ended);
    let output = loop {
        tokio::select! {
            output = &mut ended => break output.context("cannot read what the run says")?,
            _ = signals.next() => interrupt(id),
        }
    };
    let code = output.status.code();
    if code == Some(i32::from(Exit::Interrupted.code())) {
        return Err(Failure::new(Exit::Interrupted, anyhow!("interrupted while the run was made again")));
    }
    let document: Option<serde_json::Value> = serde_json::from_slice(&output.stdout).ok();
    let made = document.as_ref().and_then(|document| document["run_dir"].as_str()).map(PathBuf::from);
    made.ok_or_else(|| {
        let code = code.map_or_else(|| "by a signal".to_owned(), |code| format!("with exit code {code}"));
        let line = line.join(" ");
        Failure::new(Exit::Inconclusive, anyhow!("`connect-bench {line}` ended {code} and made no run"))
    })
}
