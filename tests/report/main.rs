//! The page, and the other forms in which a result is handed out: made by the program from run directories, read by
//! programs that are not ours.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail where the test does")]

use std::path::Path;
use std::process::{Command, Output, Stdio};

mod browser;
mod exports;
mod hostile;
mod hostile_server;
mod housekeeping;
mod live;
mod other_pages;
mod outs;
mod page;
mod runs;
mod tools;
#[path = "../shared/watched.rs"]
mod watched;

/// The program, in a directory of its own, with nothing of the environment that would change what it does.
fn bench(place: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_connect-bench"));
    for name in ["CONNECT_SERVER", "CONNECT_API_KEY", "CONNECT_BENCH_RUNS", "CONNECT_BENCH_LOG", "CI"] {
        command.env_remove(name);
    }
    command.env("CONNECT_BENCH_SANDBOX_API_KEY", watched::canary::KEY);
    let output = command.current_dir(place).args(arguments).stdin(Stdio::null()).output().unwrap();
    watched::has_no_key(&[&output.stdout, &output.stderr], place);
    output
}

/// What the program printed; that it ended well is expected.
fn printed(place: &Path, arguments: &[&str]) -> String {
    let output = bench(place, arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    assert!(!error.contains("warning"), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}
