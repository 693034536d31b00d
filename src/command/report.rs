//! `connect-bench report`: the result of a run again, also of one that was killed, and of one that is in a page.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::failure::Failure;
use super::view::View;
use super::{export, output, pages};
use crate::baseline::Baseline;
use crate::cli::{ReportArgs, SummaryStyle};
use crate::exit::Exit;
use crate::posit_connect::journal;
use crate::report::archive::Told;
use crate::report::{self, json::LoadDocument};
use crate::rundir;
use crate::summary::Summary;

pub(super) fn run(args: &ReportArgs) -> Result<Exit, Failure> {
    let view = View::new(true);
    output::check(&args.output)?;
    let baselines = output::baselines(&args.baseline)?;
    export::check(&args.export, args.from.is_none())?;
    if let Some(page) = &args.from {
        return from_page(args, page, &baselines, &view);
    }
    let directory = directory(args)?;
    let summary = rundir::read(&directory).map_err(Failure::invalid)?;
    match args.summary {
        SummaryStyle::K6 if !args.output.json => {
            let run = pages::recorded(&directory, summary.clone(), &view);
            output::print(&report::export::k6_text(&run)).map_err(Failure::from)?;
        }
        _ if to_stdout(args) => {}
        _ => deliver(args, (&summary, &directory), None, &baselines, &view)?,
    }
    export::of_directory(&args.export, (&summary, &directory), &view)?;
    pages::write(&args.output, &[(&summary, &directory)], &baselines, &view)?;
    let remaining = journal::peek(&directory);
    for item in &remaining {
        view.warn(&format!("{} may still be on {}: connect-bench cleanup removes it", item.name, item.server));
    }
    Ok(Exit::Pass)
}

/// Whether an export takes the place of the result on stdout.
fn to_stdout(args: &ReportArgs) -> bool {
    args.export.iter().any(|export| export.ends_with("=-"))
}

/// The run that was named, or the newest.
fn directory(args: &ReportArgs) -> Result<PathBuf, Failure> {
    let newest = || rundir::list(&args.output.runs_dir).into_iter().next();
    args.run
        .clone()
        .or_else(newest)
        .ok_or_else(|| Failure::usage(format!("{}: no run is there; name one", args.output.runs_dir.display())))
}

/// Prints a result; `then` is that of the load test that followed a ramp.
fn deliver(
    args: &ReportArgs,
    (summary, directory): (&Summary, &Path),
    then: Option<(LoadDocument, String)>,
    baselines: &[Baseline],
    view: &View,
) -> Result<(), Failure> {
    let delivered = match &summary.search {
        Some(search) => {
            let mut text = report::text::ramp(summary, search, directory);
            let load = then.map(|(load, shown)| {
                text.push_str(&format!("\n────\n\n{shown}"));
                load
            });
            let document = report::json::ramp(summary, search, directory, load);
            output::deliver(&args.output, &document, &text, view)
        }
        None => {
            let document = report::json::load(summary, baselines, directory);
            output::deliver(&args.output, &document, &report::text::load(summary, baselines, directory), view)
        }
    };
    delivered.map_err(Failure::from)
}

/// The runs that a page has in it: one, or a ramp and the load test that followed it.
fn from_page(args: &ReportArgs, page: &Path, baselines: &[Baseline], view: &View) -> Result<Exit, Failure> {
    let archive = pages::from_page(page)?;
    if let Some(told) = &archive.told {
        return of_told(args, page, told);
    }
    let place = |name: &str| PathBuf::from(report::foreign::line(name, 200));
    if let [first, rest @ ..] = archive.runs.as_slice() {
        export::of(&args.export, first, None, view)?;
        let then = rest.first().map(|run| {
            let name = place(&run.name);
            let document = report::json::load(&run.summary, baselines, &name);
            (document, report::text::load(&run.summary, baselines, &name))
        });
        match args.summary {
            SummaryStyle::K6 => output::print(&report::export::k6_text(first)).map_err(Failure::from)?,
            SummaryStyle::Own if to_stdout(args) => {}
            SummaryStyle::Own => deliver(args, (&first.summary, &place(&first.name)), then, baselines, view)?,
        }
    }
    pages::rewrite(&args.output, &archive, baselines, view)?;
    Ok(Exit::Pass)
}

/// What a comparison, a capacity plan, a gate or a history said, as its page has it.
fn of_told(args: &ReportArgs, page: &Path, told: &Told) -> Result<Exit, Failure> {
    let asked = !args.export.is_empty() || args.summary == SummaryStyle::K6;
    if asked || args.output.html.is_some() || !args.output.output.is_empty() {
        let command = report::foreign::line(&told.command, 20);
        let what =
            format!("a page of `{command}` is read as text and with --json; its other forms are made from the runs");
        return Err(Failure::usage(format!("{}: {what}", page.display())));
    }
    if args.output.json {
        let json = serde_json::to_string_pretty(&told.document).context("the document has no JSON form")?;
        output::print(&(json + "\n")).map_err(Failure::from)?;
        return Ok(Exit::Pass);
    }
    // A page may come from anyone.
    let lines = told.text.lines().map(|line| report::foreign::line(line, 2000) + "\n");
    output::print(&lines.collect::<String>()).map_err(Failure::from)?;
    Ok(Exit::Pass)
}
