//! Where a result goes: one document or text on stdout, and the files that were asked for.

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use serde::Serialize;

use super::failure::Failure;
use super::view::View;
use crate::baseline::{self, Baseline};
use crate::cli::OutputArgs;
use crate::rundir::write_whole;

/// Checks what can be checked of the outputs before anything happens.
pub(super) fn check(output: &OutputArgs) -> Result<(), Failure> {
    super::pages::check(output)?;
    for path in output.output.iter().filter(|path| !super::pages::is_html(path)) {
        form(path).map_err(|e| Failure::usage(format!("{e}")))?;
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty())
            && !parent.is_dir()
        {
            return Err(Failure::usage(format!(
                "--output {}: there is no directory {}",
                path.display(),
                parent.display()
            )));
        }
    }
    Ok(())
}

enum Form {
    Json,
    Text,
}

fn form(path: &Path) -> anyhow::Result<Form> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => Ok(Form::Json),
        Some("txt") => Ok(Form::Text),
        _ => Err(anyhow!("--output {}: the form is told by the extension, .json, .txt or .html", path.display())),
    }
}

/// Prints the result and writes the files but for pages. A file that cannot be written is said, and costs nothing else.
pub(super) fn deliver<T: Serialize>(output: &OutputArgs, document: &T, text: &str, view: &View) -> anyhow::Result<()> {
    let json = serde_json::to_string_pretty(document).context("the result has no JSON form")? + "\n";
    for path in output.output.iter().filter(|path| !super::pages::is_html(path)) {
        let bytes = match form(path)? {
            Form::Json => json.as_bytes(),
            Form::Text => text.as_bytes(),
        };
        if let Err(e) = write_whole(path, bytes) {
            view.warn(&e.to_string());
        }
    }
    print(if output.json { &json } else { text })
}

/// A document as a value.
pub(super) fn value<T: Serialize>(document: &T) -> Result<serde_json::Value, Failure> {
    serde_json::to_value(document).context("the result has no JSON form").map_err(Failure::from)
}

/// Writes a result to stdout.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    // A reader that has gone away, as `head` does, wants no more.
    if let Err(e) = out.write_all(text.as_bytes()).and_then(|()| out.flush())
        && e.kind() != std::io::ErrorKind::BrokenPipe
    {
        return Err(e).context("cannot write to stdout");
    }
    Ok(())
}

/// The documented baselines that were chosen, or all.
pub(super) fn baselines(ids: &[String]) -> Result<Vec<Baseline>, Failure> {
    let known = baseline::documented().context("the built-in baselines")?.baselines;
    if ids.is_empty() {
        return Ok(known);
    }
    let find = |id: &String| {
        known.iter().find(|baseline| &baseline.id == id).cloned().ok_or_else(|| {
            let names: Vec<&str> = known.iter().map(|baseline| baseline.id.as_str()).collect();
            Failure::usage(format!("--baseline {id}: there is none of that name; there are {}", names.join(", ")))
        })
    };
    ids.iter().map(find).collect()
}
