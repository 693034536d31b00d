//! Bundles that are malicious or broken: a failed task with the log that a person needs, and a sandbox that goes on.

use std::io::Write as _;

use connect_bench::sandbox::{Config, Sandbox};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::support::{Api, alive, config, log, python, python_bundle, until, wsgi};

const MANIFEST: &str = r#"{"version":1,"metadata":{"appmode":"python-api","entrypoint":"app"},
    "python":{"version":"3.11.7","package_manager":{"package_file":"requirements.txt"}}}"#;

/// Deploys a bundle that must fail: the task. Afterwards the sandbox serves a good one as ever, no process of the bad one is
/// left, and nothing was written outside of the data directory.
async fn fails(bundle: Vec<u8>, settings: Value, expected: &[&str]) -> Value {
    let outer = tempfile::tempdir().unwrap();
    let config = Config { data_dir: Some(outer.path().join("data")), ..config() };
    let sandbox = Sandbox::start(config).unwrap();
    let api = Api::of(&sandbox);
    let good = api.serving("good", json!({}), wsgi()).await;
    let guid = api.create("bad", settings).await;
    let task = api.deploy(&guid, bundle).await;
    let text = log(&task);
    assert_eq!(task["code"], 1, "{task:#}");
    for words in expected {
        assert!(text.contains(words), "the log does not say `{words}`:\n{text}");
    }
    let error = task["error"].as_str().unwrap();
    assert!(text.contains(&format!("ERROR: {error}")), "the error is the log's last line: {text}");
    assert_eq!(api.get(&format!("/content/{guid}")).await["bundle_id"], Value::Null, "nothing is active");
    assert_eq!(api.fetch(&guid, "/").await.0, 404);
    assert_eq!(api.fetch(&good, "/").await, (200, "hello".to_owned()));
    until("no process of it is left", async || api.jobs(&guid).await.1 == 0).await;
    assert_eq!(api.node().await["processes"], 1, "the good one");
    let beside: Vec<_> = std::fs::read_dir(outer.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(beside, ["data"]);
    let apps = std::fs::read_dir(outer.path().join("data/apps")).unwrap();
    let left = apps.flat_map(|content| std::fs::read_dir(content.unwrap().path()).unwrap());
    let unfinished = left.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'));
    assert_eq!(unfinished.count(), 0, "half-unpacked folders");
    task
}

/// A bundle with one entry besides its manifest, whose header is made by hand.
fn with_entry(name: &str, text: &[u8], make: impl Fn(&mut tar::Header)) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::best()));
    for (path, text, special) in [("manifest.json", MANIFEST.as_bytes(), false), (name, text, true)] {
        let mut header = tar::Header::new_gnu();
        // Written straight into the header: `set_path` would refuse what we want to try.
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        if special {
            make(&mut header);
        }
        header.set_cksum();
        tar.append(&header, text).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

#[tokio::test]
async fn a_path_that_leaves_the_bundle() {
    if python() {
        for name in ["../../../../evil", "/evil", "a/../../evil"] {
            fails(with_entry(name, b"x", |_| {}), json!({}), &[name, "leaves it"]).await;
        }
    }
}

#[tokio::test]
async fn links_symbolic_and_hard() {
    if python() {
        for kind in [tar::EntryType::Symlink, tar::EntryType::Link] {
            let link = with_entry("link", b"", |header| {
                header.set_entry_type(kind);
                header.set_link_name("/etc/passwd").unwrap();
            });
            fails(link, json!({}), &["`link` is neither a file nor a directory"]).await;
        }
    }
}

#[tokio::test]
async fn device_files_and_pipes() {
    if python() {
        for kind in [tar::EntryType::Char, tar::EntryType::Block, tar::EntryType::Fifo] {
            let device = with_entry("device", b"", |header| {
                header.set_entry_type(kind);
                header.set_device_major(1).unwrap();
                header.set_device_minor(5).unwrap();
            });
            fails(device, json!({}), &["`device` is neither a file nor a directory"]).await;
        }
    }
}

#[tokio::test]
async fn a_bomb_is_not_unpacked() {
    if python() {
        let bomb = with_entry("zeros", &vec![0; 80 << 20], |_| {});
        assert!(bomb.len() < 1 << 20, "80 MiB in {} bytes", bomb.len());
        fails(bomb, json!({}), &["`zeros` makes it", "bytes unpacked"]).await;
    }
}

#[tokio::test]
async fn ten_gigabytes_that_are_only_announced() {
    if python() {
        let mut header = tar::Header::new_gnu();
        header.set_path("huge").unwrap();
        header.set_size(10_000_000_000);
        header.set_cksum();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(header.as_bytes()).unwrap();
        fails(gzip.finish().unwrap(), json!({}), &["`huge` makes it 10000000000 bytes unpacked"]).await;
    }
}

#[tokio::test]
async fn an_error_of_syntax() {
    if python() {
        let bundle = python_bundle("python-api", &[("app.py", "def app(environ\n    pass\n")]);
        fails(bundle, json!({}), &["SyntaxError", "app.py", "(exit status 1)"]).await;
    }
}

#[tokio::test]
async fn a_package_that_is_missing() {
    if python() {
        let bundle = python_bundle("python-api", &[("app.py", "import flask_that_is_not_there\n")]);
        fails(bundle, json!({}), &["ModuleNotFoundError: No module named 'flask_that_is_not_there'"]).await;
        // And one that no index has: a name that no package can have there.
        let files = [("app.py", "app = 1\n"), ("requirements.txt", "./no-such-folder\n")];
        let bundle = python_bundle("python-api", &files);
        fails(bundle, json!({}), &["no-such-folder", "the packages could not be restored"]).await;
    }
}

#[tokio::test]
async fn an_application_that_never_listens() {
    if python() {
        let app = "import time\nprint('here I sit')\ntime.sleep(9999)\n";
        let bundle = python_bundle("python-api", &[("app.py", app)]);
        let late = "Unable to connect to worker after 2.00 seconds; startup took too long";
        fails(bundle, json!({"init_timeout": 2}), &["here I sit", late]).await;
    }
}

#[tokio::test]
async fn an_application_that_dies_at_once() {
    if python() {
        let app = "import os, signal\nprint('farewell', flush=True)\nos.kill(os.getpid(), signal.SIGSEGV)\n";
        let bundle = python_bundle("python-api", &[("app.py", app)]);
        fails(bundle, json!({}), &["farewell", "ended before it accepted connections (exit status 139)"]).await;
    }
}

#[tokio::test]
async fn an_application_that_forks_and_forks() {
    if !python() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    // Children in sessions of their own, so that no group and no parent leads to them; more than are allowed.
    let app = format!(
        "import os, time\nfor n in range(100):\n    if os.fork() == 0:\n        os.setsid()\n        if os.fork() == 0:\n            \
         with open({:?}, 'a') as file:\n                file.write(f'{{os.getpid()}}\\n')\n            time.sleep(9999)\n        \
         os._exit(0)\ntime.sleep(9999)\n",
        pids.to_str().unwrap()
    );
    let bundle = python_bundle("python-api", &[("app.py", &app)]);
    fails(bundle, json!({}), &["[sandbox] killed: it had", "64 are allowed", "(exit status 137)"]).await;
    let text = std::fs::read_to_string(pids).unwrap();
    let pids: Vec<i32> = text.lines().map(|pid| pid.parse().unwrap()).collect();
    // How many got so far before they were too many is up to the machine.
    assert!(!pids.is_empty(), "it did fork: {text}");
    until("all children are gone", async || !pids.iter().any(|pid| alive(*pid))).await;
}

#[tokio::test]
async fn more_memory_than_is_allowed() {
    if python() {
        let app = "import sys\ntry:\n    x = bytearray(3 << 30)\nexcept MemoryError:\n    sys.exit('no memory')\n";
        let bundle = python_bundle("python-api", &[("app.py", app)]);
        fails(bundle, json!({"memory_limit": 1 << 30}), &["no memory", "(exit status 1)"]).await;
    }
}
