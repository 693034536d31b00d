//! `connect-bench check`: validates a scenario file and prints what it would do (k6's `inspect`), or prints the schema of such files.

use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

use super::failure::Failure;
use super::{output, run_file};
use crate::cli::CheckArgs;
use crate::exit::Exit;
use crate::report::number::{count, duration};
use crate::report::text::table;
use crate::scenario::{LoadTest, Scenario, schema};
use crate::schedule::Executor;
use crate::threshold::Limit;

/// What a load test would do.
#[derive(Serialize)]
struct PlanDocument<'l> {
    /// To the end of the last scenario, without its graceful stop.
    duration_s: f64,
    /// Until the last VU is cut off at the latest.
    longest_s: f64,
    warm_up_s: f64,
    max_vus: u32,
    /// `null` where a closed scenario makes as many as the server lets it.
    iterations: Option<u64>,
    scenarios: Vec<ScenarioDocument<'l>>,
    thresholds: &'l [Limit],
}

#[derive(Serialize)]
struct ScenarioDocument<'l> {
    name: &'l str,
    exec: String,
    /// The executor with its options.
    executor: &'l Executor,
    /// `open` or `closed`.
    model: &'static str,
    start_vus: u32,
    max_vus: u32,
    begins_s: f64,
    ends_s: f64,
    graceful_stop_s: f64,
    pacing_s: f64,
    /// Iterations where the executor says how many; each fetch is one request.
    iterations: Option<u64>,
}

impl<'l> ScenarioDocument<'l> {
    fn of(name: &'l str, scenario: &'l Scenario) -> ScenarioDocument<'l> {
        let executor = &scenario.executor;
        let begins = executor.start_time();
        ScenarioDocument {
            name,
            exec: scenario.exec.name(),
            executor,
            model: if executor.is_open() { "open" } else { "closed" },
            start_vus: executor.start_vus(),
            max_vus: executor.max_vus(),
            begins_s: begins.as_secs_f64(),
            ends_s: (begins + executor.duration().unwrap_or_default()).as_secs_f64(),
            graceful_stop_s: scenario.graceful_stop.as_secs_f64(),
            pacing_s: scenario.pacing.as_secs_f64(),
            iterations: executor.iterations(),
        }
    }
}

impl<'l> PlanDocument<'l> {
    fn of(load_test: &'l LoadTest) -> PlanDocument<'l> {
        let scenarios: Vec<ScenarioDocument<'l>> =
            load_test.scenarios.iter().map(|(name, scenario)| ScenarioDocument::of(name, scenario)).collect();
        PlanDocument {
            duration_s: load_test.duration().as_secs_f64(),
            longest_s: scenarios.iter().map(|s| s.ends_s + s.graceful_stop_s).fold(0.0, f64::max),
            warm_up_s: load_test.warm_up.as_secs_f64(),
            max_vus: load_test.max_vus(),
            iterations: scenarios.iter().map(|s| s.iterations).try_fold(0, |sum: u64, n| Some(sum.saturating_add(n?))),
            scenarios,
            thresholds: &load_test.thresholds,
        }
    }

    fn text(&self, file: &Path) -> String {
        let head = ["scenario", "executor", "does", "VUs", "from", "to", "iterations"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        for s in &self.scenarios {
            let vus = if s.start_vus == s.max_vus { count(s.max_vus.into()) } else { range(s.start_vus, s.max_vus) };
            rows.push(vec![
                s.name.to_owned(),
                format!("{} ({})", s.executor.name(), s.model),
                s.exec.clone(),
                vus,
                duration(s.begins_s),
                duration(s.ends_s),
                s.iterations.map_or_else(|| "as the server lets it".to_owned(), count),
            ]);
        }
        let mut out = format!(
            "{}: {}, then up to {} to stop; warm-up {}; at most {} VUs\n\n{}",
            file.display(),
            duration(self.duration_s),
            duration(self.longest_s - self.duration_s),
            duration(self.warm_up_s),
            count(self.max_vus.into()),
            table(&rows, 2, &[0, 1, 2]),
        );
        if !self.thresholds.is_empty() {
            out.push_str("\nThresholds\n");
        }
        for limit in self.thresholds {
            let abort = if limit.abort_on_fail { " (ends the run)" } else { "" };
            out.push_str(&format!("  {} {}{abort}\n", limit.metric, limit.expression));
        }
        out
    }
}

fn range(from: u32, to: u32) -> String {
    format!("{} to {}", count(from.into()), count(to.into()))
}

pub(super) fn run(args: &CheckArgs) -> Result<Exit, Failure> {
    let Some(file) = &args.file else {
        // The command line has seen to it: without a file it is the schema that is asked for.
        let text = serde_json::to_string_pretty(&schema::schema()).context("the schema has no JSON form")?;
        output::print(&(text + "\n"))?;
        return Ok(Exit::Pass);
    };
    let load_test = run_file::read(file)?;
    let plan = PlanDocument::of(&load_test);
    let text = if args.json {
        serde_json::to_string_pretty(&plan).context("the plan has no JSON form")? + "\n"
    } else {
        plan.text(file)
    };
    output::print(&text)?;
    Ok(Exit::Pass)
}
