//! What a manifest says: which kind of content, for which versions, and whether it can be deployed.

use std::path::Path;

use md5::{Digest as _, Md5};
use serde_json::Value;

/// What answers for a piece of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum App {
    /// The Flask jumpstart's routes.
    Python,
    /// The Plumber jumpstart's routes.
    Plumber,
    /// The files of the bundle.
    Files,
}

/// A manifest that can be deployed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Deployable {
    pub(super) app_mode: String,
    /// `R 4.4.2` or `Python 3.11.7`, for the log.
    pub(super) runtime: Option<String>,
    /// The same packages have the same fingerprint: they are restored once.
    pub(super) packages: String,
}

const PYTHON: [&str; 8] = [
    "python-api",
    "python-fastapi",
    "python-dash",
    "python-streamlit",
    "python-bokeh",
    "python-shiny",
    "python-gradio",
    "python-panel",
];
const R: [&str; 4] = ["api", "shiny", "rmd-shiny", "rmd-static"];
const OTHER: [&str; 8] = [
    "static",
    "tensorflow-saved-model",
    "jupyter-static",
    "jupyter-voila",
    "quarto-shiny",
    "quarto-static",
    "nodejs",
    "python-script",
];

impl App {
    /// What answers for an app mode.
    pub(super) fn of(app_mode: &str) -> Self {
        if PYTHON.contains(&app_mode) {
            Self::Python
        } else if app_mode == "api" {
            Self::Plumber
        } else {
            Self::Files
        }
    }
}

/// The app mode, once the manifest names one that exists.
pub(super) fn app_mode(manifest: &Value) -> Option<&str> {
    let mode = manifest.pointer("/metadata/appmode")?.as_str()?;
    [&PYTHON[..], &R, &OTHER].iter().any(|modes| modes.contains(&mode)).then_some(mode)
}

/// A version that a manifest names: `/python/version`, `/platform`, `/quarto/version`.
pub(super) fn version<'m>(manifest: &'m Value, pointer: &str) -> Option<&'m str> {
    manifest.pointer(pointer)?.as_str().filter(|text| !text.is_empty())
}

/// Checks a manifest against the files that came with it. The error is a sentence for the task's log.
pub(super) fn check(manifest: &Value, files: &Path, strict: bool) -> Result<Deployable, String> {
    let mode = app_mode(manifest).ok_or("the manifest's metadata.appmode is missing or names no type of content")?;
    let (mut runtime, mut packages) = (None, format!("{mode}:none"));
    if PYTHON.contains(&mode) {
        if version(manifest, "/metadata/entrypoint").is_none() {
            return Err(format!("the manifest of a {mode} needs metadata.entrypoint: it names the module to run"));
        }
        let python = version(manifest, "/python/version").ok_or("the manifest has no python.version")?;
        let file = version(manifest, "/python/package_manager/package_file")
            .ok_or("the manifest has no python.package_manager.package_file")?;
        let text = super::bundles::inside(files, file)
            .and_then(|path| std::fs::read(path).ok())
            .ok_or_else(|| format!("the package file {file} is not in the bundle"))?;
        packages = fingerprint(&[python.as_bytes(), &text]);
        runtime = Some(format!("Python {python}"));
    } else if R.contains(&mode) {
        let platform = version(manifest, "/platform").ok_or("the manifest has no platform: the version of R")?;
        let list = manifest.get("packages").filter(|list| list.is_object() || list.is_null());
        let list = list.ok_or("the manifest has no packages: the list of R packages to restore")?;
        packages = fingerprint(&[platform.as_bytes(), list.to_string().as_bytes()]);
        runtime = Some(format!("R {platform}"));
    }
    if strict {
        check_files(manifest, files)?;
    }
    Ok(Deployable { app_mode: mode.to_owned(), runtime, packages })
}

/// Whether every file that the manifest lists came. Connect seems not to insist, so only on request.
fn check_files(manifest: &Value, files: &Path) -> Result<(), String> {
    let listed = manifest.get("files").and_then(Value::as_object).ok_or("the manifest has no files")?;
    let missing = listed.keys().find(|name| !super::bundles::inside(files, name).is_some_and(|path| path.exists()));
    missing.map_or(Ok(()), |name| Err(format!("the manifest lists {name}, which is not in the bundle")))
}

fn fingerprint(parts: &[&[u8]]) -> String {
    let mut hash = Md5::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn flask() -> Value {
        json!({"version": 1, "metadata": {"appmode": "python-api", "entrypoint": "app"},
               "python": {"version": "3.11.7", "package_manager": {"name": "pip", "package_file": "requirements.txt"}},
               "files": {"requirements.txt": {"checksum": ""}, "gone.py": {"checksum": ""}}})
    }

    #[test]
    fn a_python_bundle_needs_an_entrypoint_and_its_package_file() {
        let files = tempfile::tempdir().unwrap();
        assert!(check(&flask(), files.path(), false).unwrap_err().contains("requirements.txt"));
        std::fs::write(files.path().join("requirements.txt"), "flask\n").unwrap();
        let good = check(&flask(), files.path(), false).unwrap();
        assert_eq!((good.app_mode.as_str(), good.runtime.as_deref()), ("python-api", Some("Python 3.11.7")));
        assert!(check(&flask(), files.path(), true).unwrap_err().contains("gone.py"));
        let mut without = flask();
        without["metadata"]["entrypoint"] = Value::Null;
        assert!(check(&without, files.path(), false).unwrap_err().contains("entrypoint"));
    }

    #[test]
    fn an_r_bundle_needs_a_platform_and_packages() {
        let files = tempfile::tempdir().unwrap();
        let mut plumber = json!({"metadata": {"appmode": "api"}, "packages": null, "platform": "4.4.2"});
        assert!(check(&plumber, files.path(), false).is_ok());
        plumber["platform"] = Value::Null;
        assert!(check(&plumber, files.path(), false).unwrap_err().contains("platform"));
    }

    #[test]
    fn the_app_mode_decides_what_answers() {
        assert_eq!(App::of("python-fastapi"), App::Python);
        assert_eq!(App::of("api"), App::Plumber);
        assert_eq!(App::of("quarto-static"), App::Files);
        assert_eq!(app_mode(&json!({"metadata": {"appmode": "cobol"}})), None);
    }
}
