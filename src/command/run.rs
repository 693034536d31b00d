//! What `ramp` and `load` have in common: the plan, the run, the result on disk.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::drive::{Job, Log, drive};
use super::failure::Failure;
use super::panics::caught;
use super::programs::{AGENT, Kitchen, PUBLISH_STEPS};
use super::rehearsal::Script;
use super::resume::Before;
use super::runtime;
use super::session::Session;
use super::signals::Signals;
use super::view::View;
use crate::capacity::search::Search;
use crate::cli::{self, EngineArgs, OutputArgs, RunArgs};
use crate::exit::Exit;
use crate::host::{self, Environment};
use crate::plan::{self, Executor, FetchPlan, Http1Engine, HttpPlan, Plan, ProgramPlan, ScenarioPlan, StepsPlan};
use crate::posit_connect::types::RuntimeSettings;
use crate::rundir;
use crate::summary::{Cause, Figures, RunState, Summary};
use crate::threshold::{self, Limit};

/// The scenario that fetches.
pub(super) const FETCH: &str = "fetch";
/// The scenario that publishes.
pub(super) const PUBLISH: &str = "publish";
/// VUs of a load test start over this time.
const START_OVER: Duration = Duration::from_secs(1);

/// A run that has an id and a directory, and nothing else yet.
pub(super) struct Place {
    pub(super) id: String,
    pub(super) environment: Environment,
    pub(super) directory: PathBuf,
    /// The command line, to make the run again by.
    invocation: Vec<String>,
}

impl Place {
    pub(super) fn new(command: &str, output: &OutputArgs) -> Place {
        let environment = Environment::now();
        let id = Uuid::new_v4().simple().to_string()[..8].to_owned();
        let directory = output.runs_dir.join(rundir::name(&environment, command, &id));
        Place { id, environment, directory, invocation: output.invocation.clone() }
    }

    /// Removes the directory if nothing worth keeping is in it: a run that never began leaves no trace.
    pub(super) fn forget_if_empty(&self) {
        let keeps = |name: &str| self.directory.join(name).metadata().is_ok_and(|file| file.len() > 0);
        if !["plan.json", "windows.ndjson", "events.ndjson"].into_iter().any(keeps)
            && crate::posit_connect::journal::peek(&self.directory).is_empty()
        {
            // Whatever cannot be removed does no harm.
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}

/// What a scenario does.
#[derive(Clone)]
pub(super) enum Work {
    /// Fetches what the session fetches.
    Fetch,
    /// Fetches another path of it.
    FetchPath { path: Option<String>, expect_body: Option<String> },
    /// Publishes.
    Publish,
    /// Runs lists of steps; roots, time-out and key are the session's.
    Steps(Box<StepsPlan>),
}

/// One scenario of a run.
pub(super) struct Slot {
    pub(super) name: String,
    pub(super) executor: Executor,
    pub(super) graceful_stop: Duration,
    pub(super) pacing: Duration,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) work: Work,
}

/// What runs, and for how long.
pub(super) struct Shape {
    pub(super) command: &'static str,
    pub(super) slots: Vec<Slot>,
    pub(super) warm_up: Duration,
    pub(super) duration: Duration,
    pub(super) search: Option<Search>,
    pub(super) thresholds: Vec<Limit>,
    /// The first part of a run that is gone on with.
    pub(super) before: Option<Before>,
    /// What goes wrong in the middle of it.
    pub(super) rehearsal: Script,
}

impl Shape {
    /// The reference workload: fetching VUs, and beside them one that publishes.
    pub(super) fn reference(
        command: &'static str,
        fetching: Executor,
        duration: Duration,
        engine: &EngineArgs,
    ) -> Shape {
        let publishing =
            Executor::ConstantVus { vus: 1, start_time: Duration::ZERO, duration, start_over: Duration::ZERO };
        let slot = |name: &str, executor, work| Slot {
            name: name.to_owned(),
            executor,
            graceful_stop: engine.graceful_stop,
            pacing: Duration::ZERO,
            tags: BTreeMap::new(),
            work,
        };
        let slots = vec![slot(FETCH, fetching, Work::Fetch), slot(PUBLISH, publishing, Work::Publish)];
        Shape {
            command,
            slots,
            warm_up: Duration::ZERO,
            duration,
            search: None,
            thresholds: Vec::new(),
            before: None,
            rehearsal: Script::default(),
        }
    }

    /// The executors of what will really be: without the publish loop where there is none.
    pub(super) fn executors<'s>(&'s self, args: &RunArgs) -> impl Iterator<Item = &'s Executor> + Clone + use<'s> {
        let publishes = !args.content.no_publish && args.target.url.is_none();
        let slots = self.slots.iter().filter(move |slot| publishes || !matches!(slot.work, Work::Publish));
        slots.map(|slot| &slot.executor)
    }

    /// So many VUs for so long.
    pub(super) fn constant(vus: u32, duration: Duration, warm_up: Duration, engine: &EngineArgs) -> Shape {
        let duration = warm_up + duration;
        let fetching = Executor::ConstantVus { vus, start_time: Duration::ZERO, duration, start_over: START_OVER };
        Shape { warm_up, ..Shape::reference("load", fetching, duration, engine) }
    }
}

/// Shortest time-out that makes sense: deadlines are looked at every 20 ms.
const LEAST_TIMEOUT: Duration = Duration::from_millis(100);

/// Refuses what no request could keep to, and what no server takes.
pub(super) fn check_run(args: &RunArgs) -> Result<(), Failure> {
    if args.engine.timeout < LEAST_TIMEOUT {
        return Err(Failure::usage("--timeout: at least 100ms"));
    }
    if runtime::wanted(&args.content.runtime)? != RuntimeSettings::default() && args.target.url.is_some() {
        return Err(Failure::usage(
            "--max-processes and its like are settings of Connect's: --url knows no Connect (--content names an item)",
        ));
    }
    Ok(())
}

/// Raises the number of open files, and refuses what cannot be reached with it.
pub(super) fn check_files(vus: u32) -> Result<(), Failure> {
    let needed = u64::from(vus) + 64;
    match host::raise_open_files() {
        Some(limit) if limit < needed => Err(Failure::usage(format!(
            "{vus} VUs need {needed} open files and this process may have {limit}; raise it with `ulimit -n {needed}`"
        ))),
        _ => Ok(()),
    }
}

fn scenario(session: &Session, slot: &Slot) -> Option<ScenarioPlan> {
    let discards = session.connections.options.discard_response_bodies;
    let (steps, program) = match &slot.work {
        Work::Fetch => (
            vec![FETCH.to_owned()],
            ProgramPlan::Fetch(FetchPlan {
                body_contains: session.fetch.body_contains.clone().filter(|_| !discards),
                ..session.fetch.clone()
            }),
        ),
        Work::FetchPath { path, expect_body } => {
            let mut fetch = session.fetch.clone();
            if let Some(path) = path {
                // What was seen of one path says nothing about another.
                fetch = FetchPlan { statuses: Vec::new(), content_type: None, body_contains: None, ..fetch };
                fetch.path = format!("{}{}", session.root, path.trim_start_matches('/'));
            }
            fetch.body_contains = expect_body.clone().or(fetch.body_contains).filter(|_| !discards);
            (vec![FETCH.to_owned()], ProgramPlan::Fetch(fetch))
        }
        Work::Steps(steps) => {
            let steps = StepsPlan {
                content_root: session.root.clone(),
                server_root: format!("{}/", session.ingredients.base_path.trim_end_matches('/')),
                with_key: session.fetch.with_key,
                timeout: session.fetch.timeout,
                bundles: session.ingredients.step_bundles.plan(steps),
                ..steps.as_ref().clone()
            };
            (steps.series(), ProgramPlan::Steps(steps))
        }
        Work::Publish => (PUBLISH_STEPS.map(str::to_owned).to_vec(), ProgramPlan::Publish(session.publish.clone()?)),
    };
    let (name, executor) = (slot.name.clone(), slot.executor.clone());
    let (graceful_stop, pacing, tags) = (slot.graceful_stop, slot.pacing, slot.tags.clone());
    Some(ScenarioPlan { name, executor, graceful_stop, pacing, tags, steps, program })
}

/// Everything that will happen, from the session and the flags.
pub(super) fn plan(session: &Session, place: &Place, shape: &Shape, engine: &EngineArgs) -> Plan {
    let scenarios: Vec<ScenarioPlan> = shape.slots.iter().filter_map(|slot| scenario(session, slot)).collect();
    let most = usize::try_from(scenarios.iter().map(|s| s.executor.max_vus()).sum::<u32>()).unwrap_or(usize::MAX);
    let workers = engine.workers.map_or_else(|| host::cores().min(most.div_ceil(4).max(1)), usize::from);
    Plan {
        schema: plan::SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        command: shape.command.to_owned(),
        run_id: place.id.clone(),
        seed: engine.seed,
        target: session.target.clone(),
        http: HttpPlan {
            user_agent: AGENT.to_owned(),
            insecure: session.insecure,
            reset_cookies: engine.reset_cookies,
            http1_engine: match engine.http1_engine {
                cli::Http1Engine::Hyper => Http1Engine::Hyper,
                cli::Http1Engine::Own => Http1Engine::Own,
            },
            kernel_timestamps: !engine.no_kernel_timestamps,
            connection: session.connections.options.clone(),
        },
        workers,
        warm_up: shape.warm_up,
        duration: shape.duration,
        scenarios,
        thresholds: shape.thresholds.clone(),
    }
}

/// Runs a shape in a session, and names the nodes that were seen. A panic is a failure like others: the session is
/// still there to be cleaned up.
pub(super) async fn execute(
    session: &mut Session,
    place: (&Place, &mut Log),
    shape: Shape,
    engine: &EngineArgs,
    shown: (&mut View, &mut Signals),
) -> Result<Summary, Failure> {
    caught(Box::pin(measure(session, place, shape, engine, shown))).await
}

async fn measure(
    session: &mut Session,
    (place, log): (&Place, &mut Log),
    shape: Shape,
    engine: &EngineArgs,
    (view, signals): (&mut View, &mut Signals),
) -> Result<Summary, Failure> {
    let plan = plan(session, place, &shape, engine);
    threshold::check(&plan.thresholds, &plan).map_err(Failure::invalid)?;
    // Once more, of what was resolved: nothing gets around it.
    signals.rails.check_plan(&plan)?;
    if let Some(before) = &shape.before {
        before.check(&plan)?;
    }
    let programs = Kitchen::new(&plan, &session.ingredients).map_err(Failure::invalid)?;
    let job = Job {
        plan: Arc::new(plan),
        environment: place.environment.clone(),
        programs,
        tls: session.tls.clone(),
        connections: session.connections.clone(),
        search: shape.search,
        before: shape.before,
        rehearsal: shape.rehearsal,
        invocation: place.invocation.clone(),
    };
    let mut health = if signals.rails.asks() { session.health()? } else { None };
    let ran = drive(job, log, (view, signals), health.as_mut()).await;
    if let Some(health) = health {
        session.unreported += health.end().await;
    }
    let mut summary = ran?;
    for (label, name) in session.name_nodes(&mut summary).await {
        // The windows have the cookies' values: what reads them again learns the names here.
        log.event(&serde_json::json!({"event": "node", "label": label, "name": name}), view);
    }
    summary.api_requests_sent = session.further_requests();
    Ok(summary)
}

/// What the process exits with after a run that one of our rules ended.
pub(super) fn aborted(cause: Cause) -> Exit {
    match cause {
        Cause::Server => Exit::Unreachable,
        Cause::Cap => Exit::Refused,
        Cause::Fault => Exit::Fault,
    }
}

/// What the process exits with after a load test.
pub(super) fn verdict(summary: &Summary) -> Exit {
    let figures = Figures::of(summary);
    let ran = match &summary.state {
        RunState::Interrupted => Exit::Interrupted,
        RunState::Stopped => Exit::Stopped,
        RunState::Aborted { cause, .. } if !summary.thresholds.iter().any(|verdict| verdict.aborted) => aborted(*cause),
        _ if summary.thresholds.iter().any(|verdict| !verdict.passed) => Exit::Threshold,
        // No data is never a pass, and neither are figures of our own limits.
        _ if figures.is_empty() || !figures.invalid(summary).is_empty() => Exit::Inconclusive,
        _ => Exit::Pass,
    };
    if summary.left_behind.is_empty() { ran } else { ran.and(Exit::CleanupIncomplete) }
}
