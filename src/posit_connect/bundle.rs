//! Bundles: what is uploaded to be published. The same files make the same bytes, on any machine and at any time.

use std::path::{Component, Path};

use bytes::Bytes;
use flate2::{Compression, GzBuilder};

use super::fixtures::Fixture;
use super::manifest::{AppMode, Files, MANIFEST, Manifest, REQUIREMENTS, Runtimes, best, md5_hex};

/// The most files of a bundle.
const MAX_FILES: usize = 2_000;
/// The most bytes of a bundle's files.
const MAX_BYTES: u64 = 256 << 20;
/// Directories that are no part of an application.
const SKIPPED: [&str; 8] =
    [".git", ".venv", "venv", "__pycache__", "rsconnect-python", "rsconnect", "node_modules", ".Rproj.user"];

/// Why no bundle can be made.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A file or directory cannot be read.
    #[error("cannot read {path}: {detail}")]
    Unreadable {
        /// Which.
        path: String,
        /// Why.
        detail: String,
    },
    /// The manifest is of no use.
    #[error("manifest.json cannot be used: {detail}")]
    Manifest {
        /// Why.
        detail: String,
    },
    /// The manifest lists a file that is not there.
    #[error("manifest.json lists {file:?}, which is not in {folder}")]
    MissingFile {
        /// Which file.
        file: String,
        /// Where it was looked for.
        folder: String,
    },
    /// A path that leads out of the directory.
    #[error("{path:?} is not a path inside the application's directory")]
    Outside {
        /// Which path.
        path: String,
    },
    /// A symbolic link.
    #[error("{path} is a symbolic link; a bundle holds only files: put the file itself there")]
    Symlink {
        /// Which.
        path: String,
    },
    /// Too much of it.
    #[error("{folder} has more than {MAX_FILES} files or {} MiB: is it the application's own directory?", MAX_BYTES >> 20)]
    TooLarge {
        /// Which directory.
        folder: String,
    },
    /// A Python application without a list of packages.
    #[error("a Python application needs {file} with the packages that it imports")]
    NoRequirements {
        /// The file.
        file: String,
    },
    /// An R application without a list of packages.
    #[error(
        "an R application needs a manifest.json with its packages: run rsconnect::writeManifest() in R in its directory"
    )]
    NoPackages,
    /// The kind of application cannot be told.
    #[error(
        "cannot tell what kind of application is in {folder}: it has neither manifest.json, nor app.py or main.py that imports flask or fastapi, nor plumber.R; say it with --appmode and --entrypoint"
    )]
    UnknownKind {
        /// Which directory.
        folder: String,
    },
    /// The server has no Python.
    #[error("the server has no Python installation, which this application needs")]
    NoPython,
}

/// A bundle ready to be uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// The gzipped tar archive.
    pub bytes: Bytes,
    /// Connect's name for the kind of application.
    pub app_mode: String,
    /// Where the application begins, for Python `module` or `module:object`.
    pub entrypoint: Option<String>,
    /// MD5 of the archive, in hexadecimal.
    pub md5: String,
    /// How many files are in it, the manifest included.
    pub files: usize,
}

/// What the caller knows about an application and the server.
#[derive(Debug, Clone, Default)]
pub struct BundleOptions {
    /// The kind of application, where it was said.
    pub app_mode: Option<AppMode>,
    /// The entry point, where it was said.
    pub entrypoint: Option<String>,
    /// What the server can run; empty lists where that is not known.
    pub runtimes: Runtimes,
}

impl Bundle {
    /// The bundle of an application that is part of this program.
    ///
    /// # Errors
    /// None in practice: a test makes both.
    pub fn fixture(fixture: Fixture, runtimes: &Runtimes) -> Result<Bundle, BundleError> {
        let mut files: Files =
            fixture.files().iter().map(|(name, bytes)| ((*name).to_owned(), Bytes::from_static(bytes))).collect();
        let manifest = Manifest::parse(&files.remove(MANIFEST).unwrap_or_default())?;
        finish(manifest, &files, runtimes)
    }

    /// The bundle of an application in a directory: by its manifest where it has one, else by what is in it.
    ///
    /// # Errors
    /// Where the directory cannot be read, or is no application that can be published.
    pub fn from_directory(folder: &Path, options: &BundleOptions) -> Result<Bundle, BundleError> {
        let manifest_path = folder.join(MANIFEST);
        if manifest_path.symlink_metadata().is_ok() {
            let mut manifest = Manifest::parse(&read(folder, MANIFEST)?)?;
            manifest.set_mode(options.app_mode.as_ref(), options.entrypoint.as_deref());
            let files = listed(folder, &manifest)?;
            return finish(manifest, &files, &options.runtimes);
        }
        let mut files = Files::new();
        let mut total = 0;
        walk(folder, Path::new(""), &mut files, &mut total)?;
        let manifest = make_manifest(folder, &files, options)?;
        finish(manifest, &files, &options.runtimes)
    }
}

fn finish(mut manifest: Manifest, files: &Files, runtimes: &Runtimes) -> Result<Bundle, BundleError> {
    manifest.fit(runtimes);
    manifest.set_files(files);
    manifest.check(files)?;
    let unwritable =
        |error: std::io::Error| BundleError::Unreadable { path: "the archive".to_owned(), detail: error.to_string() };
    let bytes = archive(&manifest.to_bytes(), files).map_err(unwritable)?;
    Ok(Bundle {
        app_mode: manifest.app_mode()?.name().to_owned(),
        entrypoint: manifest.entrypoint().map(str::to_owned),
        md5: md5_hex(&bytes),
        files: files.len() + 1,
        bytes,
    })
}

/// A gzipped tar archive: the manifest, then the files by name; no time, no owner, one mode.
fn archive(manifest: &[u8], files: &Files) -> std::io::Result<Bytes> {
    let gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::new(6));
    let mut tar = tar::Builder::new(gzip);
    let all = std::iter::once((MANIFEST, manifest)).chain(files.iter().map(|(name, data)| (name.as_str(), &data[..])));
    for (name, data) in all {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_entry_type(tar::EntryType::Regular);
        tar.append_data(&mut header, name, data)?;
    }
    Ok(tar.into_inner()?.finish()?.into())
}

/// The files that a manifest lists.
fn listed(folder: &Path, manifest: &Manifest) -> Result<Files, BundleError> {
    let names = manifest.listed()?;
    let too_large = || BundleError::TooLarge { folder: folder.display().to_string() };
    if names.len() > MAX_FILES {
        return Err(too_large());
    }
    let mut files = Files::new();
    let mut total = 0;
    for name in names.into_iter().filter(|name| name != MANIFEST) {
        let bytes = read(folder, &name)?;
        total += bytes.len() as u64;
        if total > MAX_BYTES {
            return Err(too_large());
        }
        files.insert(name, bytes);
    }
    Ok(files)
}

/// A file inside the directory, reached without a symbolic link.
fn read(folder: &Path, name: &str) -> Result<Bytes, BundleError> {
    let plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if name.is_empty() || name.contains('\\') || !plain {
        return Err(BundleError::Outside { path: name.to_owned() });
    }
    let mut path = folder.to_owned();
    for part in Path::new(name).components() {
        path.push(part);
        let Ok(metadata) = path.symlink_metadata() else {
            return Err(BundleError::MissingFile { file: name.to_owned(), folder: folder.display().to_string() });
        };
        if metadata.is_symlink() {
            return Err(BundleError::Symlink { path: path.display().to_string() });
        }
    }
    std::fs::read(&path).map(Bytes::from).map_err(|error| unreadable(&path, &error))
}

fn unreadable(path: &Path, error: &std::io::Error) -> BundleError {
    BundleError::Unreadable { path: path.display().to_string(), detail: error.to_string() }
}

/// All files below a directory, but for what is no part of an application.
fn walk(folder: &Path, below: &Path, files: &mut Files, total: &mut u64) -> Result<(), BundleError> {
    let here = folder.join(below);
    let entries = std::fs::read_dir(&here).map_err(|error| unreadable(&here, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| unreadable(&here, &error))?;
        let metadata = entry.path().symlink_metadata().map_err(|error| unreadable(&entry.path(), &error))?;
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
            return Err(BundleError::Outside { path: entry.path().display().to_string() });
        };
        // A virtual environment and the like may hold links; what is skipped is not looked at.
        if SKIPPED.contains(&name.as_str()) || name == ".DS_Store" {
            continue;
        }
        let path = below.join(&name);
        if metadata.is_symlink() {
            return Err(BundleError::Symlink { path: entry.path().display().to_string() });
        } else if metadata.is_dir() {
            walk(folder, &path, files, total)?;
        } else if metadata.is_file() {
            *total += metadata.len();
            if files.len() >= MAX_FILES || *total > MAX_BYTES {
                return Err(BundleError::TooLarge { folder: folder.display().to_string() });
            }
            let bytes = std::fs::read(entry.path()).map_err(|error| unreadable(&entry.path(), &error))?;
            files.insert(slashed(&path), bytes.into());
        }
    }
    Ok(())
}

fn slashed(path: &Path) -> String {
    let parts: Vec<_> = path.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    parts.join("/")
}

/// A manifest for a directory that has none.
fn make_manifest(folder: &Path, files: &Files, options: &BundleOptions) -> Result<Manifest, BundleError> {
    let told = tell_kind(files);
    let mode = options.app_mode.clone().or_else(|| told.as_ref().map(|(mode, _)| mode.clone()));
    let Some(mode) = mode else {
        return Err(BundleError::UnknownKind { folder: folder.display().to_string() });
    };
    if mode == AppMode::Api {
        return Err(BundleError::NoPackages);
    }
    if !mode.name().starts_with("python-") {
        return Err(BundleError::Manifest {
            detail: format!("there is none, and for the application mode {:?} none can be made", mode.name()),
        });
    }
    if !files.contains_key(REQUIREMENTS) {
        return Err(BundleError::NoRequirements { file: REQUIREMENTS.to_owned() });
    }
    let entrypoint = options.entrypoint.clone().or_else(|| told.map(|(_, entrypoint)| entrypoint));
    let entrypoint = entrypoint.unwrap_or_else(|| "app".to_owned());
    let version = best(&options.runtimes.python, None).ok_or(BundleError::NoPython)?;
    Ok(Manifest::python(&mode, &entrypoint, &version))
}

/// What an application is and where it begins, as its files tell.
fn tell_kind(files: &Files) -> Option<(AppMode, String)> {
    let text = |name: &str| files.get(name).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    if files.contains_key("plumber.R") || text("entrypoint.R").is_some_and(|code| code.contains("pr(")) {
        return Some((AppMode::Api, String::new()));
    }
    let requirements = text(REQUIREMENTS).unwrap_or_default();
    for module in ["app", "main"] {
        let Some(code) = text(&format!("{module}.py")) else { continue };
        // What is imported says more than what is installed.
        let kind = imported(&code).or_else(|| required(&requirements));
        if let Some((mode, class)) = kind {
            let object = object_of(&code, class).filter(|object| object != "app");
            let entrypoint = object.map_or_else(|| module.to_owned(), |object| format!("{module}:{object}"));
            return Some((mode, entrypoint));
        }
    }
    None
}

fn imported(code: &str) -> Option<(AppMode, &'static str)> {
    let imports = |module: &str| {
        code.lines().map(str::trim_start).any(|line| {
            let rest = line.strip_prefix("import ").or_else(|| line.strip_prefix("from "));
            rest.is_some_and(|rest| rest.split([' ', '.', ',']).next() == Some(module))
        })
    };
    if imports("fastapi") {
        Some((AppMode::PythonFastapi, "FastAPI"))
    } else if imports("flask") || imports("flask_restx") {
        Some((AppMode::PythonApi, "Flask"))
    } else {
        None
    }
}

fn required(requirements: &str) -> Option<(AppMode, &'static str)> {
    let names = |package: &str| {
        requirements.lines().any(|line| {
            let name = line.trim().split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_')).next();
            name.is_some_and(|name| name.eq_ignore_ascii_case(package))
        })
    };
    if names("fastapi") {
        Some((AppMode::PythonFastapi, "FastAPI"))
    } else if names("flask") {
        Some((AppMode::PythonApi, "Flask"))
    } else {
        None
    }
}

/// The name in `name = Flask(`, at the beginning of a line.
fn object_of(code: &str, class: &str) -> Option<String> {
    code.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        let name = name.split(':').next().unwrap_or(name).trim_end();
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let value = value.trim_start();
        let value = value.rsplit_once('.').filter(|(before, _)| !before.contains('(')).map_or(value, |(_, last)| last);
        let makes = value.strip_prefix(class).is_some_and(|rest| rest.starts_with('('));
        (is_name && makes).then(|| name.to_owned())
    })
}

#[cfg(test)]
#[path = "bundle_tests.rs"]
mod tests;
