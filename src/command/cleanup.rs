//! `connect-bench cleanup`: remove from the server what killed runs left on it.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;

use super::failure::Failure;
use super::{output, target};
use crate::cli::CleanupArgs;
use crate::exit::Exit;
use crate::host::Environment;
use crate::posit_connect::Client;
use crate::posit_connect::cleanup::{CleanupItem, CleanupOptions, CleanupReport, cleanup};
use crate::posit_connect::journal::JOURNAL;

pub(super) async fn run(args: &CleanupArgs) -> Result<Exit, Failure> {
    let config = target::connect(&args.server)?;
    let client = Client::new(config).map_err(Failure::api)?;
    let options =
        CleanupOptions { dry_run: args.dry_run, older_than: args.older_than, now: Environment::now().started };
    let report = cleanup(&client, &journals(args), &options).await.map_err(Failure::api)?;
    let text = if args.json {
        serde_json::to_string_pretty(&report).context("the result has no JSON form")? + "\n"
    } else {
        text(&report, args.dry_run)
    };
    output::print(&text)?;
    Ok(if report.failed.is_empty() { Exit::Pass } else { Exit::CleanupIncomplete })
}

/// Directories of runs that have a journal, also of those that never began.
fn journals(args: &CleanupArgs) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(&args.runs_dir).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries.map(|e| e.path()).filter(|path| path.join(JOURNAL).is_file()).collect();
    found.sort();
    found
}

fn text(report: &CleanupReport, dry_run: bool) -> String {
    let mut out = String::new();
    let mut list = |title: &str, items: &[CleanupItem]| {
        for item in items {
            let guid = item.guid.as_deref().map_or_else(String::new, |guid| format!(" {guid}"));
            let reason = item.reason.as_deref().map_or_else(String::new, |reason| format!(": {reason}"));
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{title} {}{guid}{reason}", item.name);
        }
    };
    list(if dry_run { "would delete" } else { "deleted" }, &report.deleted);
    list(if dry_run { "would restore" } else { "restored" }, &report.restored);
    list("left alone", &report.kept);
    list("NOT DONE", &report.failed);
    if out.is_empty() { "nothing of ours is there\n".to_owned() } else { out }
}
