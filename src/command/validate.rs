//! `capacity --validate`: the planned rate on the server, in the open model.

use std::time::Duration;

use anyhow::anyhow;

use super::connection;
use super::drive::Log;
use super::failure::Failure;
use super::load::{conclude, warm_up, whole_seconds};
use super::rails::Rails;
use super::run::{Place, Shape, check_files, check_run, execute, verdict};
use super::session::prepare;
use super::target;
use super::view::View;
use crate::capacity::sizing::validation::{Trial, Validation};
use crate::cli::CapacityArgs;
use crate::exit::Exit;
use crate::plan::Target;
use crate::schedule::{Executor, Spacing};
use crate::summary::{Figures, OpenFigures};

/// Makes the run: what became of it, why it is not valid where it is not, and what the process exits with because of it.
pub(super) async fn run(
    args: &CapacityArgs,
    trial: Trial,
    length: Duration,
    ramped: &Target,
) -> Result<(Validation, Vec<String>, Exit), Failure> {
    let mut view = View::new(args.run.output.quiet);
    let length = whole_seconds(length, "--validate")?;
    check_run(&args.run)?;
    let choices = args.run.connection.choices().map_err(Failure::usage)?;
    let seed = args.run.engine.seed;
    let (mut aim, mut signals) = target::resolve(&args.run.server, &args.run.target, seed, &view).await?;
    let connections = connection::resolve(&choices, &mut aim, &view)?;
    let (first, most) = trial.vus();
    check_files(most)?;
    signals.rails = Rails::of(&aim, &args.run.rails)?;
    let place = Place::new("capacity", &args.run.output);
    let mut log = Log::create(&place.directory)?;
    let made = (&args.run.content, &args.run.engine, connections);
    let made = prepare(aim, made, (&place.id, &place.directory), (&view, &mut signals)).await;
    let mut session = made.inspect_err(|_| place.forget_if_empty())?;
    if !same(&session.target, ramped) {
        view.warn(&format!("the ramp was of {}, and this is {}", ramped.url, session.target.url));
    }
    let warm_up = warm_up(length);
    // In tenths, because a rate is a whole number per time unit.
    let executor = Executor::ConstantArrivalRate {
        start_time: Duration::ZERO,
        rate: (trial.per_s * 10.0).round().max(1.0) as u32,
        time_unit: Duration::from_secs(10),
        duration: warm_up + length,
        pre_allocated_vus: first,
        max_vus: most,
        spacing: Spacing::Poisson,
    };
    let shape = Shape { warm_up, ..Shape::reference("capacity", executor, warm_up + length, &args.run.engine) };
    let ran = execute(&mut session, (&place, &mut log), shape, &args.run.engine, (&mut view, &mut signals)).await;
    let summary = conclude(ran, session, &mut log, (&mut view, &mut signals)).await?;
    let open = OpenFigures::of(&summary).ok_or_else(|| anyhow!("the run has no open scenario"))?;
    let figures = Figures::of(&summary);
    let counts = (open.iterations.completed, open.iterations.ended());
    let validation = trial.judge(&open.response_time, counts, figures.seconds);
    let exit = match verdict(&summary) {
        Exit::Pass if !validation.target_kept => Exit::Threshold,
        exit => exit,
    };
    Ok((validation, figures.invalid(&summary), exit))
}

/// Whether two runs were of the same server; a sandbox listens elsewhere each time.
fn same(a: &Target, b: &Target) -> bool {
    if a.sandbox || b.sandbox {
        return a.sandbox_profile == b.sandbox_profile;
    }
    a.url.host() == b.url.host()
}
