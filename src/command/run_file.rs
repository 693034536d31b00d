//! `connect-bench run FILE`: a scenario file.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};

use super::connection;
use super::drive::Log;
use super::dry;
use super::failure::Failure;
use super::live::Live;
use super::load::{conclude, deliver, thresholds};
use super::output;
use super::outs::Outs;
use super::rails::Rails;
use super::relative;
use super::run::{Place, Shape, Slot, Work, check_engine, check_files, execute, verdict};
use super::scrape::Scrapes;
use super::session::{prepare, with_left};
use super::target::{self, Aim};
use super::view::View;
use crate::cli::RunFileArgs;
use crate::exit::Exit;
use crate::plan::{DataPlan, StepList, StepsPlan};
use crate::scenario::{self, Exec, LoadTest, Scenario};

pub(super) async fn run(args: &RunFileArgs) -> Result<Exit, Failure> {
    let mut view = View::of_run(&args.run);
    output::check(&args.run.output)?;
    check_engine(&args.run.engine)?;
    let baselines = output::baselines(&args.baseline)?;
    let choices = args.run.connection.choices().map_err(Failure::usage)?;
    let mut load_test = read(&args.file)?;
    let choices = choices.or(load_test.connection.clone());
    // Posit's documented figures are of another workload than steps of one's own, unless somebody asks for them.
    let own = load_test.scenarios.values().any(|scenario| !scenario.exec.lists().is_empty());
    let baselines = if own && args.baseline.is_empty() { Vec::new() } else { baselines };
    for limit in thresholds(&args.threshold)? {
        load_test.expects(&limit).map_err(Failure::invalid)?;
        load_test.thresholds.push(limit);
    }
    let runs_dir = &args.run.output.runs_dir;
    relative::resolve(&mut load_test.thresholds, args.threshold_baseline.as_deref(), runs_dir)?;
    check_files(load_test.max_vus())?;
    if args.run.rails.dry_run {
        return dry::run(&args.run, &shape(&load_test));
    }
    let live = Live::open(&args.run.live, args.run.output.quiet, &view)?;
    let outs = Outs::open(&args.run.outs)?;
    let (mut aim, mut signals) =
        target::resolve(&args.run.server, &args.run.target, args.run.engine.seed, &view).await?;
    (signals.live, signals.outs) = (live, outs);
    let connections = connection::resolve(&choices, &mut aim, &view)?;
    signals.scrapes = Scrapes::of(&args.run.scrapes, &aim, &connections)?;
    let publishes = load_test.scenarios.values().any(|s| s.exec == Exec::Publish);
    if publishes && matches!(aim, Aim::Url { .. }) && !args.run.content.no_publish {
        let error = anyhow!("a plain URL cannot be published to; add --no-publish to leave those scenarios out");
        return Err(Failure::invalid(error));
    }
    let step_publishes = load_test.publishing_steps().next().is_some();
    if step_publishes && (matches!(aim, Aim::Url { .. }) || args.run.content.no_publish) {
        let why = if args.run.content.no_publish { "--no-publish" } else { "a plain URL" };
        let error = anyhow!("{why}: this load test has steps that publish, and cannot be run without them");
        return Err(Failure::invalid(error));
    }
    let mut content = args.run.content.clone();
    content.no_publish |= !publishes;
    let shape = shape(&load_test);
    signals.rails = Rails::of(&aim, &args.run.rails)?;
    signals.rails.check(shape.executors(&args.run), shape.duration)?;
    let place = Place::new("run", &args.run.output);
    let mut log = Log::create(&place.directory)?;
    let made = (&content, &args.run.engine, connections);
    let made = prepare(aim, made, (&place.id, &place.directory), (&view, &mut signals)).await;
    let mut session = made.inspect_err(|_| place.forget_if_empty())?;
    if let Err(failure) = session.publishes(&load_test, directory(&args.file), &place.id) {
        let left = session.finish(false, &view, &mut signals).await;
        return Err(with_left(failure, &left));
    }
    session.ingredients.materials = Arc::new(load_test.steps);
    let ran = execute(&mut session, (&place, &mut log), shape, &args.run.engine, (&mut view, &mut signals)).await;
    let summary = conclude(ran, session, &mut log, (&mut view, &mut signals)).await?;
    deliver(&summary, &baselines, &place.directory, &args.run.output, &view)?;
    Ok(verdict(&summary))
}

/// Reads a scenario file.
pub(super) fn read(file: &Path) -> Result<LoadTest, Failure> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(|| format!("{name}: cannot be read"));
    let text = text.map_err(Failure::invalid)?;
    scenario::read_in(&text, directory(file)).with_context(|| name).map_err(Failure::invalid)
}

/// Where the files are that a scenario file names.
fn directory(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new("."))
}

/// What of the plan of a scenario's steps is known before there is a session.
fn steps(load_test: &LoadTest, scenario: &Scenario, lists: &[(String, u32)]) -> StepsPlan {
    let list = |(name, weight): &(String, u32)| {
        let steps = load_test.steps.lists.get(name).cloned().unwrap_or_default();
        StepList { name: name.clone(), weight: *weight, steps }
    };
    let lists: Vec<StepList> = lists.iter().map(list).collect();
    let data = load_test.steps.data.iter().map(|(name, data)| DataPlan {
        name: name.clone(),
        file: data.file.clone(),
        order: data.order,
        columns: data.set.columns.clone(),
        rows: data.set.rows.len(),
    });
    StepsPlan {
        lists,
        env: load_test.env(scenario),
        data: data.collect(),
        content_root: String::new(),
        server_root: String::new(),
        with_key: false,
        timeout: Duration::ZERO,
        bundles: Vec::new(),
    }
}

fn shape(load_test: &LoadTest) -> Shape {
    // Windows are seconds: a part of one at the end is not measured.
    let duration = Duration::from_secs(load_test.duration().as_secs());
    let slot = |(name, scenario): (&String, &Scenario)| Slot {
        name: name.clone(),
        executor: scenario.executor.clone(),
        graceful_stop: scenario.graceful_stop,
        pacing: scenario.pacing,
        tags: scenario.tags.clone(),
        work: match &scenario.exec {
            Exec::Fetch => Work::FetchPath { path: scenario.path.clone(), expect_body: scenario.expect_body.clone() },
            Exec::Publish => Work::Publish,
            Exec::Steps(lists) => Work::Steps(Box::new(steps(load_test, scenario, lists))),
        },
    };
    Shape {
        command: "run",
        slots: load_test.scenarios.iter().map(slot).collect(),
        warm_up: load_test.warm_up,
        duration,
        search: None,
        thresholds: load_test.thresholds.clone(),
        before: None,
        rehearsal: Default::default(),
    }
}
