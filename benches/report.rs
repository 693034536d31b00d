//! How long a page takes, and how large it is: `cargo bench --bench report`. A run of half an hour with 10⁹ requests, whose
//! histograms are as large as they get; at most 2 s and 1.5 MB.

#![expect(clippy::unwrap_used, reason = "a bench that cannot set itself up has nothing to say")]
#![expect(clippy::print_stdout, reason = "this is the result")]

use std::process::Command;
use std::time::Instant;

#[path = "../tests/report/runs.rs"]
mod runs;

fn main() {
    let place = tempfile::tempdir().unwrap();
    let shape = runs::Shape { warm_up: 120, per_second: 520_834, ..runs::Shape::load(1800) };
    let (run, _) = runs::write(place.path(), &shape);
    let page = place.path().join("page.html");
    let mut times = Vec::new();
    for _ in 0..5 {
        let began = Instant::now();
        let mut command = Command::new(env!("CARGO_BIN_EXE_connect-bench"));
        let ended = command.arg("report").arg(&run).arg("--html").arg(&page).arg("--quiet").output().unwrap();
        times.push(began.elapsed().as_secs_f64());
        assert!(ended.status.success());
    }
    times.sort_by(f64::total_cmp);
    let bytes = page.metadata().unwrap().len();
    let windows = run.join("windows.ndjson").metadata().unwrap().len();
    println!(
        "page of 10^9 requests in 30 min: {:.2} s (median of 5; best {:.2} s), {bytes} bytes, from {windows} bytes",
        times[2], times[0]
    );
}
