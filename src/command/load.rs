//! `connect-bench load`: hold a number of VUs, and compare with the documented baselines.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::anyhow;

use super::drive::Log;
use super::failure::Failure;
use super::live::Live;
use super::outs::Outs;
use super::rails::Rails;
use super::rehearsal::Script;
use super::resume::Before;
use super::run::{FETCH, PUBLISH, Place, Shape, check_engine, check_files, execute, verdict};
use super::scrape::Scrapes;
use super::session::prepare;
use super::signals::Signals;
use super::target::{self, Aim};
use super::view::View;
use super::{connection, dry, output, pages, relative, session};
use crate::baseline::Baseline;
use crate::capacity::search::Outcome;
use crate::cli::{LoadArgs, OutputArgs};
use crate::exit::Exit;
use crate::report;
use crate::rundir;
use crate::summary::{Cause, RunState, Summary};
use crate::threshold::{Limit, Threshold};

/// The share of a load test that goes before it as warm-up, where nothing else is asked for.
const WARM_UP_SHARE: u32 = 15;

/// The warm-up before a load test of this length: a fifteenth, from 5 s to 2 min, in whole seconds.
pub(super) fn warm_up(duration: Duration) -> Duration {
    let share = duration / WARM_UP_SHARE;
    Duration::from_secs(share.as_secs().clamp(5, 120))
}

/// A length that windows of one second can measure.
pub(super) fn whole_seconds(duration: Duration, what: &str) -> Result<Duration, Failure> {
    if duration < Duration::from_secs(1) {
        return Err(Failure::usage(format!("{what}: at least 1s, because figures are taken by the second")));
    }
    Ok(Duration::from_secs(duration.as_secs()))
}

pub(super) async fn run(args: &LoadArgs) -> Result<Exit, Failure> {
    match &args.resume {
        None => Box::pin(measure(args, None)).await,
        Some(directory) => {
            let before = Before::read(directory)?;
            Box::pin(measure(&before.arguments(args)?, Some(before))).await
        }
    }
}

async fn measure(args: &LoadArgs, before: Option<Before>) -> Result<Exit, Failure> {
    let mut view = View::of_run(&args.run);
    output::check(&args.run.output)?;
    check_engine(&args.run.engine)?;
    let choices = args.run.connection.choices().map_err(Failure::usage)?;
    let baselines = output::baselines(&args.baseline)?;
    let mut thresholds = thresholds(&args.threshold)?;
    expect_scenarios(&thresholds)?;
    relative::resolve(&mut thresholds, args.threshold_baseline.as_deref(), &args.run.output.runs_dir)?;
    let duration = whole_seconds(args.duration, "--duration")?;
    let warm_up = args.warmup.map_or_else(|| warm_up(args.duration), |w| Duration::from_secs(w.as_secs()));
    if args.run.rails.dry_run {
        let aim = target::aim_of_dry_run(&args.run)?;
        let vus = vus(args, aim.as_ref())?;
        return dry::run(&args.run, &Shape::constant(vus, duration, warm_up, &args.run.engine));
    }
    let live = Live::open(&args.run.live, args.run.output.quiet, &view)?;
    let outs = Outs::open(&args.run.outs)?;
    let (mut aim, mut signals) =
        target::resolve(&args.run.server, &args.run.target, args.run.engine.seed, &view).await?;
    (signals.live, signals.outs) = (live, outs);
    let connections = connection::resolve(&choices, &mut aim, &view)?;
    signals.scrapes = Scrapes::of(&args.run.scrapes, &aim, &connections)?;
    let vus = vus(args, Some(&aim))?;
    check_files(vus)?;
    signals.rails = Rails::of(&aim, &args.run.rails)?;
    let rehearsal = Script::of(&args.rehearsal, duration).await?;
    let shape = Shape { thresholds, before, rehearsal, ..Shape::constant(vus, duration, warm_up, &args.run.engine) };
    signals.rails.check(shape.executors(&args.run), shape.duration)?;
    let place = Place::new("load", &args.run.output);
    let mut log = Log::create(&place.directory)?;
    let made = (&args.run.content, &args.run.engine, connections);
    let made = prepare(aim, made, (&place.id, &place.directory), (&view, &mut signals)).await;
    let mut session = made.inspect_err(|_| place.forget_if_empty())?;
    let ran = execute(&mut session, (&place, &mut log), shape, &args.run.engine, (&mut view, &mut signals)).await;
    let summary = conclude(ran, session, &mut log, (&mut view, &mut signals)).await?;
    deliver(&summary, &baselines, &place.directory, &args.run.output, &view)?;
    Ok(verdict(&summary))
}

/// The thresholds of the command line.
pub(super) fn thresholds(flags: &[String]) -> Result<Vec<Limit>, Failure> {
    flags.iter().map(|text| Limit::from_flag(text).map_err(Failure::invalid)).collect()
}

/// Refuses thresholds on scenarios that a load test does not have.
fn expect_scenarios(limits: &[Limit]) -> Result<(), Failure> {
    for limit in limits {
        let threshold = Threshold::new(limit).map_err(Failure::invalid)?;
        let scenarios = [FETCH, PUBLISH].map(|name| BTreeMap::from([("scenario", name)]));
        threshold.expect_one_of(scenarios).map_err(Failure::invalid)?;
    }
    Ok(())
}

/// Cleans up, whatever happened, and writes the summary.
pub(super) async fn conclude(
    ran: Result<Summary, Failure>,
    mut session: session::Session,
    log: &mut Log,
    (view, signals): (&mut View, &mut Signals),
) -> Result<Summary, Failure> {
    let gone = ran.as_ref().is_ok_and(|summary| {
        matches!(summary.state, RunState::Aborted { cause: Cause::Server, .. })
            && !summary.thresholds.iter().any(|verdict| verdict.aborted)
    });
    let left = session.finish(gone, view, signals).await;
    let mut summary = ran.map_err(|failure| session::with_left(failure, &left))?;
    summary.left_behind = left;
    summary.api_requests_sent += session.further_requests();
    log.summary(&summary, view);
    signals.live.ended(&summary);
    view.finish();
    Ok(summary)
}

/// Hands out the result of a load test.
pub(super) fn deliver(
    summary: &Summary,
    baselines: &[Baseline],
    directory: &Path,
    output: &OutputArgs,
    view: &View,
) -> Result<(), Failure> {
    let document = report::json::load(summary, baselines, directory);
    let text = report::text::load(summary, baselines, directory);
    output::deliver(output, &document, &text, view).map_err(Failure::from)?;
    pages::write(output, &[(summary, directory)], baselines, view)
}

/// The VUs: as asked for, or as the last ramp against the same target found.
fn vus(args: &LoadArgs, aim: Option<&Aim>) -> Result<u32, Failure> {
    if let Some(vus) = args.vus {
        return Ok(vus);
    }
    if let Some(run) = &args.from {
        let summary = rundir::read(run).map_err(Failure::invalid)?;
        return found(&summary).ok_or_else(|| {
            Failure::invalid(anyhow!("{}: this run is no ramp that found a saturation; give --vus", run.display()))
        });
    }
    let same = |summary: &Summary| match aim {
        // A sandbox that a dry run does not start.
        None => args.run.target.sandbox.is_some() && summary.plan.target.sandbox_profile == args.run.target.sandbox,
        Some(Aim::Url { url, .. }) => {
            let (ours, theirs) = (url, &summary.plan.target.url);
            (ours.origin(), ours.path()) == (theirs.origin(), theirs.path())
        }
        Some(Aim::Connect(aim)) => match &aim.profile {
            // Every sandbox has a port of its own; the profile is what makes two of them the same.
            Some(profile) => summary.plan.target.sandbox_profile.as_ref() == Some(profile),
            None => summary.plan.target.url == *aim.config.server.url(),
        },
    };
    let ramps = rundir::list(&args.run.output.runs_dir).into_iter().filter(|path| is_ramp(path.as_path()));
    let last =
        ramps.filter_map(|path| rundir::read(&path).ok()).find(|summary| same(summary) && found(summary).is_some());
    last.as_ref().and_then(found).ok_or_else(|| {
        let runs = args.run.output.runs_dir.display();
        Failure::usage(format!(
            "how many VUs? Give --vus, or run `connect-bench ramp` first: {runs} has none of this target"
        ))
    })
}

fn is_ramp(path: &Path) -> bool {
    rundir::read_plan(path).is_ok_and(|file| file.plan.command == "ramp")
}

fn found(summary: &Summary) -> Option<u32> {
    let search = summary.search.as_ref()?;
    match search.result.outcome {
        Outcome::Saturated | Outcome::NotSaturated => search.result.vus,
        _ => None,
    }
}
