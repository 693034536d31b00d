//! `connect-bench compare`: runs side by side, for people.

use super::evidence::Evidence;
use super::failure::Failure;
use super::pages::Said;
use super::view::View;
use super::{output, pages};
use crate::cli::CompareArgs;
use crate::exit::Exit;
use crate::report::compare::{Given, document, text};
use crate::report::html;

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
    let text = text(&document, &given);
    output::deliver(&args.output, &document, &text, &view).map_err(Failure::from)?;
    let said = Said { command: "compare", directory: None, document: output::value(&document)?, text: &text };
    let recorded = || runs.iter().map(|run| run.recorded(&view)).collect();
    pages::tell(&args.output, said, recorded, |archive| html::compare(&document, archive), &view)?;
    Ok(Exit::Pass)
}
