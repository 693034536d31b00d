//! Pages of HTML: what they show is collected from run directories, and they are written where they were asked for.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};

use super::failure::Failure;
use super::view::View;
use crate::baseline::Baseline;
use crate::cli::OutputArgs;
use crate::report::archive::{Archive, MOST_BYTES, MOST_RUNS, Recorded, Told};
use crate::report::course::{Builder, Event, Publishes};
use crate::report::html;
use crate::rundir::{self, write_whole};
use crate::summary::Summary;

/// Most bytes of a line of `events.ndjson` that are read: what is longer is no event of ours.
const MOST_OF_A_LINE: u64 = 1 << 20;

/// The files that pages go to; `--html` without a file means the run directory.
fn files(output: &OutputArgs, directory: Option<&Path>) -> Vec<PathBuf> {
    files_as(output, directory, "report.html")
}

fn files_as(output: &OutputArgs, directory: Option<&Path>, name: &str) -> Vec<PathBuf> {
    let named = output.output.iter().filter(|path| is_html(path)).cloned();
    let html = match &output.html {
        Some(Some(file)) => Some(file.clone()),
        Some(None) => Some(directory.unwrap_or(Path::new(".")).join(name)),
        None => None,
    };
    named.chain(html).collect()
}

/// What a command says that is no report of a run, for its page.
pub(super) struct Said<'s> {
    /// The command; its page is `<command>.html` where no file is named.
    pub(super) command: &'static str,
    /// Where that is; `None` for here.
    pub(super) directory: Option<&'s Path>,
    /// The JSON document.
    pub(super) document: serde_json::Value,
    /// What is printed.
    pub(super) text: &'s str,
}

/// Writes the pages of what a command says, where any were asked for. `runs` are read only then.
pub(super) fn tell(
    output: &OutputArgs,
    said: Said<'_>,
    runs: impl FnOnce() -> Vec<Recorded>,
    page: impl FnOnce(&Archive) -> std::io::Result<String>,
    view: &View,
) -> Result<(), Failure> {
    let name = format!("{}.html", said.command);
    let files = files_as(output, said.directory, &name);
    if files.is_empty() {
        return Ok(());
    }
    let runs = runs();
    if runs.len() > MOST_RUNS {
        return Err(Failure::usage(format!(
            "--html: a page has at most {MOST_RUNS} runs in it, and these are {}",
            runs.len()
        )));
    }
    let told = Told { command: said.command.to_owned(), document: said.document, text: said.text.to_owned() };
    let page = page(&Archive::telling(runs, told)).context("the result has no page")?;
    put(&files, &page, (output.quiet, view));
    Ok(())
}

/// Whether a file's extension says that it is a page.
pub(super) fn is_html(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "html")
}

/// Checks what can be checked of `--html` before anything happens.
pub(super) fn check(output: &OutputArgs) -> Result<(), Failure> {
    match &output.html {
        Some(Some(file)) if file.is_dir() => Err(Failure::usage(format!(
            "--html {0}: that is a directory; name a file, or write the run first: connect-bench report {0} --html",
            file.display()
        ))),
        _ => Ok(()),
    }
}

/// Writes the pages that were asked for. What cannot be written is said, and costs nothing else.
pub(super) fn write(
    output: &OutputArgs,
    runs: &[(&Summary, &Path)],
    baselines: &[Baseline],
    view: &View,
) -> Result<(), Failure> {
    let files = files(output, runs.first().map(|(_, directory)| *directory));
    if files.is_empty() {
        return Ok(());
    }
    let runs = runs.iter().map(|(summary, directory)| recorded(directory, (*summary).clone(), view)).collect();
    write_archive(&files, &Archive::of(runs), baselines, (output.quiet, view))
}

/// Writes pages of what a page had in it.
pub(super) fn rewrite(
    output: &OutputArgs,
    archive: &Archive,
    baselines: &[Baseline],
    view: &View,
) -> Result<(), Failure> {
    write_archive(&files(output, None), archive, baselines, (output.quiet, view))
}

fn write_archive(
    files: &[PathBuf],
    archive: &Archive,
    baselines: &[Baseline],
    (quiet, view): (bool, &View),
) -> Result<(), Failure> {
    if files.is_empty() {
        return Ok(());
    }
    let page = html::page(archive, baselines).context("the result has no page")?;
    put(files, &page, (quiet, view));
    Ok(())
}

fn put(files: &[PathBuf], page: &str, (quiet, view): (bool, &View)) {
    for file in files {
        match write_whole(file, page.as_bytes()) {
            Ok(()) if quiet => {}
            Ok(()) => view.note(&format!("page: {}", file.display())),
            Err(e) => view.warn(&e.to_string()),
        }
    }
}

/// A run with its course, as far as its directory has it: a torn or missing file costs the plots over time.
pub(super) fn recorded(directory: &Path, summary: Summary, view: &View) -> Recorded {
    let publishes = publishes(directory);
    let mut builder = Builder::new(&summary.plan, &publishes);
    let read = rundir::seconds(directory).and_then(|mut seconds| {
        seconds.try_for_each(|second| {
            builder.add(&second?);
            Ok(())
        })
    });
    if let Err(e) = read {
        view.warn(&format!("{e}; the page shows what could be read"));
    }
    let name = directory.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    Recorded { name, summary, course: builder.finish(), publishes }
}

fn publishes(directory: &Path) -> Publishes {
    let mut publishes = Publishes::default();
    // A run that was killed at its beginning has none.
    let Ok(file) = File::open(directory.join("events.ndjson")) else { return publishes };
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(MOST_OF_A_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return publishes,
            // The rest of a longer line is no event either.
            Ok(_) => {
                if let Ok(event) = serde_json::from_slice::<Event>(&line) {
                    publishes.add(event);
                }
            }
        }
    }
}

/// Reads the runs that a page has in it.
pub(super) fn from_page(file: &Path) -> Result<Archive, Failure> {
    let bad = |e: &dyn std::fmt::Display| Failure::invalid(anyhow!("{}: {e}", file.display()));
    let mut page = Vec::new();
    let opened = File::open(file).map_err(|e| bad(&e))?;
    opened.take(MOST_BYTES as u64 + 1).read_to_end(&mut page).map_err(|e| bad(&e))?;
    Archive::from_page(&page).map_err(|e| bad(&e))
}
