//! How the application of a bundle is started: what its manifest says, as a program with arguments.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::super::{bundles, manifest};
use super::environment::{Environments, PythonNeeds, Say};

/// What serves a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Wsgi,
    Asgi,
    Plumber,
}

/// An application that can be started as often as is needed.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    kind: Kind,
    entrypoint: String,
    /// The bundle's files.
    pub(super) directory: PathBuf,
    program: PathBuf,
}

/// Names of content that is served as the files that it has.
const FILES: [&str; 5] = ["static", "rmd-static", "jupyter-static", "quarto-static", "python-script"];

/// What a bundle of that mode needs to be served: a process of that kind, or none (`Ok(None)`). The error says what the
/// sandbox cannot do.
fn kind_of(mode: &str) -> Result<Option<Kind>, String> {
    match mode {
        "python-api" | "python-dash" => Ok(Some(Kind::Wsgi)),
        "python-fastapi" | "python-shiny" => Ok(Some(Kind::Asgi)),
        "api" => Ok(Some(Kind::Plumber)),
        files if FILES.contains(&files) => Ok(None),
        other => Err(format!(
            "the sandbox has no real processes for {other} (it has for python-api, python-fastapi, python-dash, \
             python-shiny, api and files); simulated content takes it: --content simulated"
        )),
    }
}

/// Restores what a deployed bundle needs. `None`: its files are served as they are.
pub(super) async fn restore(
    environments: &Environments,
    directory: &Path,
    (document, bundle): (&Value, i64),
    say: Say<'_>,
) -> Result<Option<Spec>, String> {
    let mode = manifest::app_mode(document).ok_or("the manifest names no type of content")?;
    let Some(kind) = kind_of(mode)? else {
        if mode != "static" {
            say(format!("The sandbox renders nothing: the files of this {mode} are served as they are."));
        }
        return Ok(None);
    };
    let text = |pointer| manifest::version(document, pointer);
    let program = if kind == Kind::Plumber {
        let platform = text("/platform").unwrap_or("of no version");
        environments.r(platform, document.get("packages").unwrap_or(&Value::Null), say).await?;
        super::environment::which("Rscript").ok_or("Rscript is not in PATH")?
    } else {
        let file = text("/python/package_manager/package_file").unwrap_or("requirements.txt");
        let package_file = bundles::inside(directory, file).ok_or("the package file is not in the bundle")?;
        let version = text("/python/version").unwrap_or("3").to_owned();
        let needs = PythonNeeds { version, directory: directory.to_owned(), package_file, bundle };
        environments.python(&needs, say).await?
    };
    say("Packages restored.".to_owned());
    let entrypoint = text("/metadata/entrypoint").unwrap_or("app").to_owned();
    Ok(Some(Spec { kind, entrypoint, directory: directory.to_owned(), program }))
}

impl Spec {
    /// The program and its arguments, to serve on that socket so many requests at once.
    pub(super) fn command(&self, scripts: &Path, socket: &Path, slots: usize) -> (PathBuf, Vec<OsString>) {
        let text = OsString::from;
        let path = |path: &Path| path.as_os_str().to_owned();
        let arguments = match self.kind {
            Kind::Plumber => vec![text("--vanilla"), path(&scripts.join("serve.R")), path(socket)],
            Kind::Wsgi | Kind::Asgi => vec![
                text("-u"),
                path(&scripts.join("serve.py")),
                text(if self.kind == Kind::Wsgi { "wsgi" } else { "asgi" }),
                text(&self.entrypoint),
                path(socket),
                text(&slots.to_string()),
            ],
        };
        (self.program.clone(), arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_has_a_process_or_files_or_is_refused_with_a_reason() {
        assert_eq!(kind_of("python-api"), Ok(Some(Kind::Wsgi)));
        assert_eq!(kind_of("python-fastapi"), Ok(Some(Kind::Asgi)));
        assert_eq!(kind_of("api"), Ok(Some(Kind::Plumber)));
        assert_eq!(kind_of("static"), Ok(None));
        assert!(kind_of("shiny").unwrap_err().contains("--content simulated"));
    }
}
