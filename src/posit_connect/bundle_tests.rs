//! What goes into a bundle, and that the same files make the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;

use serde_json::Value;

use super::*;

fn runtimes() -> Runtimes {
    Runtimes { python: vec!["3.10.2".into(), "3.12.4".into()], r: vec!["4.2.3".into(), "4.4.2".into()] }
}

fn options() -> BundleOptions {
    BundleOptions { runtimes: runtimes(), ..BundleOptions::default() }
}

/// The names in an archive, in their order, and its manifest.
fn open(bundle: &Bundle) -> (Vec<String>, Value) {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&bundle.bytes[..]));
    let (mut names, mut manifest) = (Vec::new(), Value::Null);
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header();
        assert_eq!((header.mtime().unwrap(), header.uid().unwrap(), header.mode().unwrap()), (0, 0, 0o644));
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        if name == MANIFEST {
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            manifest = serde_json::from_str(&text).unwrap();
        }
        names.push(name);
    }
    (names, manifest)
}

fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn bundle_of(files: &[(&str, &str)]) -> Result<Bundle, BundleError> {
    Bundle::from_directory(directory(files).path(), &options())
}

#[test]
fn the_fixtures_make_bundles_for_what_the_server_has() {
    let flask = Bundle::fixture(Fixture::FlaskStocks, &runtimes()).unwrap();
    assert_eq!((flask.app_mode.as_str(), flask.entrypoint.as_deref(), flask.files), ("python-api", Some("app"), 4));
    let (names, manifest) = open(&flask);
    assert_eq!(names, ["manifest.json", "README.md", "app.py", "requirements.txt"]);
    assert_eq!(manifest["python"]["version"], "3.12.4");
    let plumber = Bundle::fixture(Fixture::PlumberStocks, &runtimes()).unwrap();
    let (names, manifest) = open(&plumber);
    assert_eq!(plumber.app_mode, "api");
    assert_eq!(names, ["manifest.json", "README.md", "plumber.R"]);
    assert_eq!(manifest["platform"], "4.2.3", "the newest of the manifest's own 4.2");
}

#[test]
fn without_knowledge_of_the_server_the_fixtures_keep_their_versions() {
    let plumber = Bundle::fixture(Fixture::PlumberStocks, &Runtimes::default()).unwrap();
    assert_eq!(open(&plumber).1["platform"], "4.2.2");
}

#[test]
fn the_fixtures_manifests_have_the_checksums_of_their_files() {
    for fixture in [Fixture::FlaskStocks, Fixture::PlumberStocks] {
        let files: BTreeMap<&str, &[u8]> = fixture.files().iter().copied().collect();
        let manifest: Value = serde_json::from_slice(files[MANIFEST]).unwrap();
        let listed = manifest["files"].as_object().unwrap();
        assert_eq!(listed.len() + 1, files.len(), "{fixture:?} lists all its files");
        for (name, entry) in listed {
            assert_eq!(entry["checksum"], md5_hex(files[name.as_str()]), "{fixture:?} {name}");
        }
    }
}

#[test]
fn the_plumber_manifest_names_everything_that_plumber_needs() {
    const BASE: [&str; 14] = [
        "base",
        "compiler",
        "datasets",
        "graphics",
        "grDevices",
        "grid",
        "methods",
        "parallel",
        "splines",
        "stats",
        "stats4",
        "tcltk",
        "tools",
        "utils",
    ];
    let files: BTreeMap<&str, &[u8]> = Fixture::PlumberStocks.files().iter().copied().collect();
    let manifest: Value = serde_json::from_slice(files[MANIFEST]).unwrap();
    let packages = manifest["packages"].as_object().unwrap();
    let mut needed = BTreeSet::from(["plumber".to_owned()]);
    for (name, package) in packages {
        let description = &package["description"];
        assert_eq!(description["Package"], name.as_str());
        assert!(description["Version"].is_string() && package["Source"] == "CRAN", "{name}");
        assert!(package["Repository"].as_str().unwrap().starts_with("https://"), "{name}");
        for field in ["Depends", "Imports", "LinkingTo"] {
            for entry in description[field].as_str().unwrap_or("").split(',') {
                let needs = entry.split('(').next().unwrap().trim();
                if !needs.is_empty() && needs != "R" && !BASE.contains(&needs) {
                    assert!(packages.contains_key(needs), "{name} needs {needs}");
                    needed.insert(needs.to_owned());
                }
            }
        }
    }
    assert_eq!(needed, packages.keys().cloned().collect(), "nothing that nobody needs");
}

#[test]
fn the_same_files_make_the_same_bytes() {
    let files = [("app.py", "from flask import Flask\napp = Flask(__name__)\n"), ("requirements.txt", "flask\n")];
    let reversed = [files[1], files[0]];
    let first = bundle_of(&files).unwrap();
    assert_eq!(first, bundle_of(&reversed).unwrap());
    assert_eq!(first.md5, md5_hex(&first.bytes));
}

#[test]
fn the_kind_of_an_application_is_told_from_its_files() {
    let told = |files: &[(&str, &str)]| {
        let bundle = bundle_of(files).unwrap();
        (bundle.app_mode, bundle.entrypoint.unwrap())
    };
    let requirements = ("requirements.txt", "Flask>=3\nfastapi\n");
    let flask = told(&[requirements, ("app.py", "import os\nfrom flask import Flask, jsonify\napp = Flask(__name__)")]);
    assert_eq!(flask, ("python-api".into(), "app".into()), "imports say more than requirements");
    let fastapi = told(&[requirements, ("main.py", "import fastapi\n\napi: fastapi.FastAPI = fastapi.FastAPI()\n")]);
    assert_eq!(fastapi, ("python-fastapi".into(), "main:api".into()));
    let by_requirements = told(&[("requirements.txt", "flask==3.0"), ("app.py", "from server import app")]);
    assert_eq!(by_requirements, ("python-api".into(), "app".into()));
}

#[test]
fn what_cannot_be_published_says_why() {
    let error = |files: &[(&str, &str)]| bundle_of(files).unwrap_err().to_string();
    assert!(error(&[("app.py", "import flask")]).contains("requirements.txt"));
    assert!(error(&[("plumber.R", "")]).contains("rsconnect::writeManifest()"));
    assert!(error(&[("entrypoint.R", "library(plumber)\npr() |> pr_run()")]).contains("rsconnect::writeManifest()"));
    assert!(error(&[("notes.txt", "")]).contains("--appmode"));
    assert!(error(&[("manifest.json", "[")]).contains("manifest.json cannot be used"));
    assert!(error(&[("manifest.json", "[]")]).contains("no JSON object"));
    assert!(error(&[("manifest.json", "{}")]).contains("no list of files"));
    let gone = r#"{"metadata":{"appmode":"python-api"},"files":{"sub/gone.py":{}}}"#;
    assert!(error(&[("manifest.json", gone)]).contains("sub/gone.py"));
    let bare = r#"{"metadata":{"appmode":"api"},"files":{},"packages":null}"#;
    assert!(error(&[("manifest.json", bare)]).contains("writeManifest"));
    let no_python = Bundle::from_directory(
        directory(&[("app.py", "import flask"), ("requirements.txt", "flask")]).path(),
        &BundleOptions::default(),
    );
    assert!(matches!(no_python, Err(BundleError::NoPython)));
}

#[test]
fn a_manifest_cannot_reach_outside_its_directory() {
    for path in ["../secret", "/etc/passwd", "a/../../b", "a\\b", "", "./a"] {
        let manifest = serde_json::json!({"metadata": {"appmode": "python-api"}, "files": {path: {}}}).to_string();
        let error = bundle_of(&[("manifest.json", &manifest)]).unwrap_err();
        assert!(matches!(error, BundleError::Outside { .. }) || path == "./a", "{path}: {error}");
    }
}

#[cfg(unix)]
#[test]
fn symbolic_links_are_refused_but_in_what_is_skipped() {
    let folder = directory(&[
        ("app.py", "import flask"),
        ("requirements.txt", "flask"),
        (".venv/bin/x", ""),
        ("__pycache__/app.pyc", ""),
        (".git/HEAD", ""),
    ]);
    std::os::unix::fs::symlink("/etc/hosts", folder.path().join(".venv/bin/python")).unwrap();
    let bundle = Bundle::from_directory(folder.path(), &options()).unwrap();
    assert_eq!(open(&bundle).0, ["manifest.json", "app.py", "requirements.txt"]);
    std::os::unix::fs::symlink("/etc/hosts", folder.path().join("data.txt")).unwrap();
    assert!(matches!(Bundle::from_directory(folder.path(), &options()), Err(BundleError::Symlink { .. })));
    let manifest = r#"{"metadata":{"appmode":"python-api"},"files":{"data.txt":{}}}"#;
    fs::write(folder.path().join(MANIFEST), manifest).unwrap();
    assert!(matches!(Bundle::from_directory(folder.path(), &options()), Err(BundleError::Symlink { .. })));
}

#[test]
fn a_given_mode_and_entry_point_win() {
    let folder = directory(&[("server.py", "x = 1"), ("requirements.txt", "bottle")]);
    let given = BundleOptions {
        app_mode: Some(AppMode::from_name("python-api")),
        entrypoint: Some("server:x".into()),
        runtimes: runtimes(),
    };
    let bundle = Bundle::from_directory(folder.path(), &given).unwrap();
    assert_eq!((bundle.app_mode.as_str(), bundle.entrypoint.as_deref()), ("python-api", Some("server:x")));
    assert_eq!(open(&bundle).1["python"]["version"], "3.12.4");
}

#[test]
fn too_many_files_are_refused() {
    let folder = directory(&[]);
    for n in 0..=MAX_FILES {
        fs::write(folder.path().join(format!("{n}.txt")), "").unwrap();
    }
    assert!(matches!(Bundle::from_directory(folder.path(), &options()), Err(BundleError::TooLarge { .. })));
}
