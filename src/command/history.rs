//! `connect-bench history`: how runs developed, and where their level changed.

use super::evidence::Evidence;
use super::failure::Failure;
use super::pages::Said;
use super::references::of_file;
use super::view::View;
use super::{output, pages};
use crate::cli::HistoryArgs;
use crate::exit::Exit;
use crate::gate::{Record, Settings};
use crate::report::history::{document, text};
use crate::report::html;
use crate::rundir;

pub(super) fn run(args: &HistoryArgs) -> Result<Exit, Failure> {
    let view = View::new(args.output.quiet);
    output::check(&args.output)?;
    let from = args.from.clone().unwrap_or_else(|| args.output.runs_dir.clone());
    let (mut records, settings): (Vec<Record>, Settings) = if from.is_file() {
        let profile = of_file(&from)?;
        (profile.records, profile.settings)
    } else {
        let runs = rundir::list(&from).into_iter().filter_map(|path| Evidence::read(&path).ok());
        (runs.filter(|run| !run.is_ramp()).map(|run| run.record).collect(), Settings::default())
    };
    records.sort_by(|a, b| (a.started, &a.run).cmp(&(b.started, &b.run)));
    let all = records.len();
    let Some(newest) = records.iter().rfind(|record| record.objections.is_empty()).cloned() else {
        let what = "there is no valid run in it; name a profile's history, or a directory of runs";
        return Err(Failure::usage(format!("{}: {what}", from.display())));
    };
    records.retain(|record| {
        let (may, must) = (&settings.may_differ, &settings.must_match);
        let differences = newest.fingerprint.differences(&record.fingerprint, may, must);
        record.objections.is_empty() && differences.refused.is_empty()
    });
    let document = document(&from.display().to_string(), &records, all - records.len());
    let text = text(&document);
    output::deliver(&args.output, &document, &text, &view).map_err(Failure::from)?;
    let said = Said { command: "history", directory: None, document: output::value(&document)?, text: &text };
    pages::tell(&args.output, said, Vec::new, |archive| html::history(&document, archive), &view)?;
    Ok(Exit::Pass)
}
