//! `connect-bench compare`: runs side by side, for people.

use super::evidence::Evidence;
use super::failure::Failure;
use super::output;
use super::view::View;
use crate::cli::CompareArgs;
use crate::exit::Exit;
use crate::report::compare::{Given, document, text};

pub(super) fn run(args: &CompareArgs) -> Result<Exit, Failure> {
    let view = View::new(args.output.quiet);
    output::check(&args.output)?;
    let runs = args.runs.iter().map(|run| Evidence::read(run)).collect::<Result<Vec<_>, Failure>>()?;
    if let Some(ramp) = runs.iter().find(|run| run.is_ramp()) {
        let what = "a ramp has no level to compare; give runs of load or run";
        return Err(Failure::usage(format!("{}: {what}", ramp.directory.display())));
    }
    let names: Vec<String> = runs.iter().map(|run| run.directory.display().to_string()).collect();
    let given: Vec<Given<'_>> = runs
        .iter()
        .zip(&names)
        .map(|(run, name)| Given { run_dir: name, summary: &run.summary, record: &run.record })
        .collect();
    let document = document(&given);
    output::deliver(&args.output, &document, &text(&document, &given), &view).map_err(Failure::from)?;
    Ok(Exit::Pass)
}
