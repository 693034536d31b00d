//! A disk that fills up under the run directory costs the seconds on disk, and nothing else.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Bench, Sandbox, number};

/// A file system of its own for a directory, as small as is asked for. Unmounted with it.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`, and the reason on stderr, where this process may not mount; with `CI` in the environment it must.
    #[expect(clippy::print_stderr, reason = "a test that skips says why")]
    fn mount(at: &Path, size: &str) -> Option<SmallDisk> {
        std::fs::create_dir_all(at).unwrap();
        let options = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at).output();
        let refused = match mounted {
            Ok(output) if output.status.success() => return Some(SmallDisk(at.to_owned())),
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        assert!(std::env::var_os("CI").is_none(), "no small disk can be mounted: {refused}");
        eprintln!("skipped: no small disk can be mounted: {refused}");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_costs_the_seconds_on_disk_and_nothing_else() {
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::on(&sandbox);
    let Some(_disk) = SmallDisk::mount(&bench.path().join("runs"), "36k") else { return };
    let ended = bench.run(&["load", "-u", "20", "-d", "8s", "--warmup", "0s", "--json"]).await;
    ended.passes();
    assert_eq!(ended.stderr.matches("No space left").count(), 1, "it is said once: {ended:#?}");
    assert!(ended.stderr.contains("the run goes on"), "{ended:#?}");
    let document = ended.json();
    assert_eq!(number(&document, "/duration_s").round(), 8.0, "the result is complete");
    assert!(document["left_behind"].as_array().unwrap().is_empty(), "{document:#}");
    assert!(sandbox.items().await.is_empty(), "what was made is removed, also where that cannot be noted");
    let run = bench.runs().pop().unwrap().display().to_string();
    let report = bench.run(&["report", &run]).await;
    assert_eq!(report.code, Some(0), "{report:#?}");
    assert!(report.stdout.contains("PARTIAL"), "{report:#?}");
}

#[tokio::test]
async fn a_disk_that_is_full_from_the_start_is_said_before_anything_is_made() {
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::on(&sandbox);
    let Some(_disk) = SmallDisk::mount(&bench.path().join("runs"), "8k") else { return };
    let _ = std::fs::write(bench.path().join("runs/filler"), [0; 8192]);
    bench.load(&[]).await.fails(104, &["No space left"]);
    assert!(sandbox.items().await.is_empty());
}
