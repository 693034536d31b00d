//! `connect-bench compare`: runs side by side, for people.

use anyhow::anyhow;

use super::evidence::Evidence;
use super::failure::Failure;
use super::pages::Said;
use super::view::View;
use super::{output, pages};
use crate::cli::CompareArgs;
use crate::exit::Exit;
use crate::report::compare::{Given, document, ramps, text};
use crate::report::html;

pub(super) fn run(args: &CompareArgs) -> Result<Exit, Failure> {
    let view = View::new(args.output.quiet);
    output::check(&args.output)?;
    let runs = args.runs.iter().map(|run| Evidence::read(run)).collect::<Result<Vec<_>, Failure>>()?;
    let searches = runs.iter().filter(|run| run.is_ramp()).count();
    if let Some(ramp) = runs.iter().find(|run| run.is_ramp()).filter(|_| searches < runs.len()) {
        let what = "a ramp has no level to compare a load test with; give ramps alone, or runs of load or run";
        return Err(Failure::usage(format!("{}: {what}", ramp.directory.display())));
    }
    if let Some(run) = runs.iter().find(|run| run.is_ramp() && run.summary.search.is_none()) {
        let what = "this ramp ended before it had searched: there is nothing to compare";
        return Err(Failure::invalid(anyhow!("{}: {what}", run.directory.display())));
    }
    let names: Vec<String> = runs.iter().map(|run| run.directory.display().to_string()).collect();
    let given: Vec<Given<'_>> = runs
        .iter()
        .zip(&names)
        .map(|(run, name)| Given { run_dir: name, summary: &run.summary, record: &run.record })
        .collect();
    let recorded = || runs.iter().map(|run| run.recorded(&view)).collect();
    if searches > 0 {
        let document = ramps::document(&given);
        let text = ramps::text(&document, &given);
        output::deliver(&args.output, &document, &text, &view).map_err(Failure::from)?;
        let said = Said { command: "compare", directory: None, document: output::value(&document)?, text: &text };
        pages::tell(&args.output, said, recorded, |archive| html::compare_ramps(&document, archive), &view)?;
        return Ok(Exit::Pass);
    }
    let document = document(&given);
    let text = text(&document, &given);
    output::deliver(&args.output, &document, &text, &view).map_err(Failure::from)?;
    let said = Said { command: "compare", directory: None, document: output::value(&document)?, text: &text };
    pages::tell(&args.output, said, recorded, |archive| html::compare(&document, archive), &view)?;
    Ok(Exit::Pass)
}
