//! `connect-bench ramp`: find the VUs that saturate the server, and with `--then-load` hold them.

use std::path::Path;
use std::time::Duration;

use anyhow::anyhow;

use super::connection;
use super::drive::Log;
use super::dry;
use super::failure::Failure;
use super::live::Live;
use super::load::{conclude, warm_up, whole_seconds};
use super::output;
use super::outs::Outs;
use super::pages;
use super::rails::Rails;
use super::run::{Place, Shape, aborted, check_files, check_run, execute, verdict};
use super::scrape::Scrapes;
use super::session::{Session, prepare};
use super::signals::Signals;
use super::target;
use super::view::View;
use crate::baseline::Baseline;
use crate::capacity::agreement::Agreement;
use crate::capacity::search::{Objective, Outcome, Search, SearchConfig, SearchResult};
use crate::cli::{ContentKind, RampArgs, RampMethod};
use crate::exit::Exit;
use crate::plan::{Executor, Spacing};
use crate::report;
use crate::summary::{RunState, Summary};

/// Requests per second of the open model, where nothing else is said.
const MAX_RATE: u32 = 10_000;
/// VUs of the open model that are there at its beginning.
const PRE_ALLOCATED: u32 = 64;

/// What a ramp came to, and the load test that followed it.
struct Ramped {
    ramp: Summary,
    load: Option<(Summary, Place)>,
}

pub(super) async fn run(args: &RampArgs) -> Result<Exit, Failure> {
    let mut view = View::of_run(&args.run);
    output::check(&args.run.output)?;
    check_run(&args.run)?;
    let choices = args.run.connection.choices().map_err(Failure::usage)?;
    let baselines = output::baselines(&args.baseline)?;
    let config = config(args)?;
    let then_load = args.then_load.map(|length| whole_seconds(length, "--then-load")).transpose()?;
    check_files(args.max_vus)?;
    let expected = expected(args, &config, then_load);
    if args.run.rails.dry_run {
        return dry::run(&args.run, &expected);
    }
    let live = Live::open(&args.run.live, args.run.output.quiet, &view)?;
    let outs = Outs::open(&args.run.outs)?;
    let (mut aim, mut signals) =
        target::resolve(&args.run.server, &args.run.target, args.run.engine.seed, &view).await?;
    (signals.live, signals.outs) = (live, outs);
    let connections = connection::resolve(&choices, &mut aim, &view)?;
    signals.scrapes = Scrapes::of(&args.run.scrapes, &aim, &connections)?;
    signals.rails = Rails::of(&aim, &args.run.rails)?;
    signals.rails.check(expected.executors(&args.run), expected.duration)?;
    let place = Place::new("ramp", &args.run.output);
    let mut log = Log::create(&place.directory)?;
    let made = (&args.run.content, &args.run.engine, connections);
    let made = prepare(aim, made, (&place.id, &place.directory), (&view, &mut signals)).await;
    let session = made.inspect_err(|_| place.forget_if_empty())?;
    let ramped =
        Box::pin(both(args, session, (&place, &mut log), (config, then_load), (&mut view, &mut signals))).await?;
    deliver(&ramped, &baselines, &place.directory, args, &view)?;
    let load = ramped.load.as_ref().map_or(Exit::Pass, |(summary, _)| verdict(summary));
    Ok(match ramp_verdict(&ramped.ramp) {
        Exit::Pass => load,
        ramp => ramp.and(load),
    })
}

async fn both(
    args: &RampArgs,
    mut session: Session,
    (place, log): (&Place, &mut Log),
    (config, then_load): (SearchConfig, Option<Duration>),
    (view, signals): (&mut View, &mut Signals),
) -> Result<Ramped, Failure> {
    let shape = shape(args, config, &session);
    let engine = &args.run.engine;
    let ran = execute(&mut session, (place, log), shape, engine, (view, signals)).await;
    let ramp = match ran {
        Ok(ramp) => ramp,
        Err(failure) => {
            let ended = conclude(Err(failure), session, log, (view, signals)).await;
            return ended.map(|ramp| Ramped { ramp, load: None });
        }
    };
    let found = ramp.search.as_ref().and_then(|search| held(args, &search.result, then_load?));
    let (Some(load_shape), Exit::Pass) = (found, ramp_verdict(&ramp)) else {
        let ramp = conclude(Ok(ramp), session, log, (view, signals)).await?;
        return Ok(Ramped { ramp, load: None });
    };
    // Written now, so that nothing of the ramp is lost whatever happens to the load test.
    log.summary(&ramp, view);
    if let Some(search) = &ramp.search {
        view.say(&report::text::ramp(&ramp, search, &place.directory));
    }
    let load_place = Place::new("load", &args.run.output);
    let mut load_log = Log::create(&load_place.directory)?;
    let ran = execute(&mut session, (&load_place, &mut load_log), load_shape, engine, (view, signals)).await;
    let load = conclude(ran, session, &mut load_log, (view, signals)).await?;
    let mut ramp = ramp;
    ramp.left_behind.clone_from(&load.left_behind);
    log.summary(&ramp, view);
    Ok(Ramped { ramp, load: Some((load, load_place)) })
}

/// How the VUs are to be raised.
fn config(args: &RampArgs) -> Result<SearchConfig, Failure> {
    let mut config = if args.quick { SearchConfig::quick() } else { SearchConfig::standard() };
    config.max_vus = args.max_vus;
    if args.method == RampMethod::Staircase {
        let stage_s = args.stage.as_secs();
        if stage_s < 10 || !stage_s.is_multiple_of(5) || stage_s > 3600 {
            return Err(Failure::usage(
                "--stage: from 10s to 1h in multiples of 5s, because stages are judged every 5 s",
            ));
        }
        return Ok(config.staircase(args.step.min(args.max_vus), u32::try_from(stage_s).unwrap_or(u32::MAX)));
    }
    if args.slo.is_empty() {
        return Ok(config);
    }
    let all: Result<Vec<Objective>, _> = args.slo.iter().map(|text| text.parse()).collect();
    let config = config.keeping(all.map_err(|e| Failure::usage(format!("--slo: {e}")))?);
    Ok(if args.open { config.open(args.max_rate.unwrap_or(MAX_RATE)) } else { config })
}

/// What a search raises, from its first value on.
fn searched(args: &RampArgs, first: u32) -> Executor {
    match args.open {
        true => Executor::SearchedRate {
            start_rate: first,
            max_rate: args.max_rate.unwrap_or(MAX_RATE),
            pre_allocated_vus: PRE_ALLOCATED.min(args.max_vus),
            max_vus: args.max_vus,
        },
        false => Executor::Searched { start_vus: first, max_vus: args.max_vus },
    }
}

/// The load test that holds what was found.
fn held(args: &RampArgs, result: &SearchResult, length: Duration) -> Option<Shape> {
    let (engine, warm_up) = (&args.run.engine, warm_up(length));
    let Some(rate) = result.rate else { return Some(Shape::constant(result.vus?, length, warm_up, engine)) };
    let executor = Executor::ConstantArrivalRate {
        start_time: Duration::ZERO,
        rate,
        time_unit: Duration::from_secs(1),
        duration: warm_up + length,
        pre_allocated_vus: PRE_ALLOCATED.min(args.max_vus),
        max_vus: args.max_vus,
        spacing: Spacing::Poisson,
    };
    Some(Shape { warm_up, ..Shape::reference("load", executor, warm_up + length, engine) })
}

/// The shape as far as it is known before anything was published, and the load test that may follow.
fn expected(args: &RampArgs, config: &SearchConfig, then_load: Option<Duration>) -> Shape {
    let duration = Duration::from_secs(u64::from(config.deadline_s) + 60) + then_load.unwrap_or_default();
    Shape::reference("ramp", searched(args, 1), duration, &args.run.engine)
}

fn shape(args: &RampArgs, mut config: SearchConfig, session: &Session) -> Shape {
    if session.publish.is_some() && args.method != RampMethod::Staircase {
        config = config.covering_publish(session.publish_took.as_secs_f64());
    }
    let duration = Duration::from_secs(u64::from(config.deadline_s) + 60);
    let mut search = Search::new(config, args.run.engine.seed);
    let first = search.begin();
    Shape { search: Some(search), ..Shape::reference("ramp", searched(args, first), duration, &args.run.engine) }
}

/// What the process exits with after a ramp.
fn ramp_verdict(summary: &Summary) -> Exit {
    let outcome = summary.search.as_ref().map(|search| &search.result.outcome);
    let ran = match (&summary.state, outcome) {
        (RunState::Interrupted, _) => Exit::Interrupted,
        (RunState::Stopped, _) => Exit::Stopped,
        (RunState::Aborted { cause, .. }, _) => aborted(*cause),
        (_, Some(Outcome::Aborted { .. })) => Exit::Unreachable,
        (_, Some(Outcome::GeneratorLimited) | None) => Exit::Inconclusive,
        _ => Exit::Pass,
    };
    if summary.left_behind.is_empty() { ran } else { ran.and(Exit::CleanupIncomplete) }
}

fn deliver(
    ramped: &Ramped,
    baselines: &[Baseline],
    directory: &Path,
    args: &RampArgs,
    view: &View,
) -> Result<(), Failure> {
    let search = ramped.ramp.search.as_ref().ok_or_else(|| anyhow!("the ramp has no search"))?;
    let load = ramped.load.as_ref();
    let agreement = load.and_then(|(summary, _)| Agreement::with(&search.result, summary));
    let document = load.map(|(summary, place)| (report::json::load(summary, baselines, &place.directory), agreement));
    let document = report::json::ramp(&ramped.ramp, search, directory, document);
    let mut text = report::text::ramp(&ramped.ramp, search, directory);
    match load {
        Some((summary, place)) => {
            text.push_str("\n────\n\n");
            text.push_str(&agreement.map_or_else(String::new, |agreement| report::text::agreement(&agreement)));
            text.push_str(&report::text::load(summary, baselines, &place.directory));
        }
        None => {
            // No answer, no command: these VUs would be the generator's limit, or chance.
            let answered = !matches!(search.result.outcome, Outcome::GeneratorLimited | Outcome::Aborted { .. });
            if let Some(vus) = search.result.vus.filter(|_| answered) {
                text.push_str(&format!("next: connect-bench load --vus {vus} --duration 30m{}\n", same_target(args)));
            } else if let Some(rate) = search.result.rate.filter(|_| answered) {
                text.push_str(&format!(
                    "next: hold it with a scenario file, executor constant-arrival-rate, rate = {rate}; or ramp with \
                     --then-load 30m\n"
                ));
            }
        }
    }
    output::deliver(&args.run.output, &document, &text, view).map_err(Failure::from)?;
    let load = load.map(|(summary, place)| (summary, place.directory.as_path()));
    let runs: Vec<_> = [(&ramped.ramp, directory)].into_iter().chain(load).collect();
    pages::write(&args.run.output, &runs, baselines, view)
}

/// The flags that aim the next command at the same target. Never a key.
fn same_target(args: &RampArgs) -> String {
    let target = &args.run.target;
    let server = &args.run.server;
    let content = match target.sandbox_content {
        ContentKind::Simulated => "",
        ContentKind::Processes => " --sandbox-content processes",
    };
    match (&target.url, &target.sandbox_curve, &target.sandbox, &server.name) {
        (Some(url), ..) => format!(" --url '{url}'"),
        (_, Some(curve), ..) => format!(" --sandbox-curve {curve}{content}"),
        (_, _, Some(profile), _) => format!(" --sandbox={profile}{content}"),
        (_, _, _, Some(name)) => format!(" --name {name}"),
        // The server comes from the environment, or has to be named again.
        _ => server
            .server
            .as_ref()
            .filter(|_| std::env::var_os("CONNECT_SERVER").is_none())
            .map_or_else(String::new, |s| format!(" -s {s}")),
    }
}
