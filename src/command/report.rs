//! `connect-bench report`: the result of a run again, also of one that was killed.

use super::failure::Failure;
use super::output;
use super::view::View;
use crate::cli::ReportArgs;
use crate::exit::Exit;
use crate::posit_connect::journal;
use crate::report;
use crate::rundir;

pub(super) fn run(args: &ReportArgs) -> Result<Exit, Failure> {
    let view = View::new(true);
    output::check(&args.output)?;
    let baselines = output::baselines(&args.baseline)?;
    let directory = match &args.run {
        Some(run) => run.clone(),
        None => rundir::list(&args.output.runs_dir)
            .into_iter()
            .next()
            .ok_or_else(|| Failure::usage(format!("{}: no run is there; name one", args.output.runs_dir.display())))?,
    };
    let summary = rundir::read(&directory).map_err(Failure::invalid)?;
    let delivered = match &summary.search {
        Some(search) => {
            let document = report::json::ramp(&summary, search, &directory, None);
            output::deliver(&args.output, &document, &report::text::ramp(&summary, search, &directory), &view)
        }
        None => {
            let document = report::json::load(&summary, &baselines, &directory);
            output::deliver(&args.output, &document, &report::text::load(&summary, &baselines, &directory), &view)
        }
    };
    delivered.map_err(Failure::from)?;
    let remaining = journal::peek(&directory);
    for item in &remaining {
        view.warn(&format!("{} may still be on {}: connect-bench cleanup removes it", item.name, item.server));
    }
    Ok(Exit::Pass)
}
