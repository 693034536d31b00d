//! Runs that are told to stop: at once or gracefully, what was measured is printed, and what was made is removed.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Bench, Sandbox, number};

const LONG: [&str; 8] = ["load", "-u", "4", "-d", "60s", "--warmup", "0s", "--json"];

#[tokio::test]
async fn each_signal_that_asks_to_stop_ends_a_run_with_its_result() {
    let sandbox = Sandbox::quick(&[]).await;
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let bench = Bench::on(&sandbox);
        let mut running = bench.start(&LONG);
        running.seconds(2).await;
        running.signal(signal);
        let ended = running.end().await;
        ended.fails(105, &["stopping"]);
        let document = ended.json();
        assert_eq!(document["state"], "interrupted");
        assert!(number(&document, "/requests/completed") > 0.0);
        assert!(document["left_behind"].as_array().unwrap().is_empty());
        assert!(sandbox.items().await.is_empty());
        let report = bench.run(&["report"]).await;
        assert!(report.code == Some(0) && report.stdout.contains("Interrupted"), "{report:#?}");
    }
}

#[tokio::test]
async fn a_second_signal_cuts_off_what_the_first_lets_finish() {
    let sandbox = Sandbox::quick(&["--curve", "100,20000,1,0"]).await;
    let bench = Bench::on(&sandbox);
    // An answer takes 20 s, so one graceful stop would take as long.
    let mut running = bench.start(&[&LONG[..], &["--no-publish"]].concat());
    running.seconds(1).await;
    let told = Instant::now();
    running.signal(Signal::INT);
    tokio::time::sleep(Duration::from_millis(300)).await;
    running.signal(Signal::INT);
    let ended = running.end().await;
    ended.fails(105, &["cutting off"]);
    assert!(told.elapsed() < Duration::from_secs(10), "{ended:#?}");
    assert_eq!(number(&ended.json(), "/requests/interrupted"), 4.0, "{ended:#?}");
    assert!(sandbox.items().await.is_empty());
}

#[tokio::test]
async fn a_run_that_is_stopped_while_it_publishes_leaves_nothing() {
    let sandbox = Sandbox::start(&["--deploy-time", "30s"]).await;
    for command in [&LONG[..], &["ramp", "--json"]] {
        let bench = Bench::on(&sandbox);
        let running = bench.start(command);
        while sandbox.items().await.is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        running.signal(Signal::INT);
        let ended = running.end().await;
        ended.fails(105, &["interrupted before the run began"]);
        assert!(ended.took < Duration::from_secs(15), "{ended:#?}");
        assert!(sandbox.items().await.is_empty(), "{ended:#?}");
        assert!(ended.stdout.is_empty() && bench.runs().is_empty(), "{ended:#?}");
    }
}

#[tokio::test]
async fn a_run_whose_steps_publish_leaves_nothing_when_it_is_cut_off() {
    let sandbox = Sandbox::start(&["--deploy-time", "300ms", "--spawn-delay", "10ms"]).await;
    let bench = Bench::on(&sandbox);
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/publishing.toml");
    let running = bench.start(&["run", file, "--json", "-q"]);
    let step = |items: &[String]| items.iter().filter(|name| name.contains("-step-")).count();
    while step(&sandbox.items().await) < 2 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    running.signal(Signal::INT);
    tokio::time::sleep(Duration::from_millis(300)).await;
    // In the midst of their iterations.
    running.signal(Signal::INT);
    let ended = running.end().await;
    assert_eq!(ended.code, Some(105), "{ended:#?}");
    assert!(sandbox.items().await.is_empty(), "{ended:#?}");
    assert_eq!(ended.json()["left_behind"], serde_json::json!([]));
}

#[tokio::test]
async fn steps_that_cannot_publish_are_refused_and_leave_nothing() {
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::on(&sandbox);
    let shipped = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/publishing.toml")).unwrap();
    let good = bench.file("good.toml", &shipped).display().to_string();
    let missing = shipped.replace("provision = \"flask-stocks\"", "provision = \"no-such-directory\"");
    let missing = bench.file("missing.toml", &missing).display().to_string();
    bench.run(&["run", &good, "-q", "--no-publish"]).await.fails(104, &["--no-publish", "steps that publish"]);
    bench.run(&["run", &good, "-q", "--url", &sandbox.url]).await.fails(104, &["a plain URL", "steps that publish"]);
    bench.run(&["run", &missing, "-q"]).await.fails(104, &["no-such-directory"]);
    assert!(sandbox.items().await.is_empty());
}

#[tokio::test]
async fn a_signal_during_the_ramp_prints_what_there_is() {
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::on(&sandbox);
    let mut running = bench.start(&["ramp", "--json", "--then-load", "10s"]);
    running.seconds(3).await;
    running.signal(Signal::INT);
    let ended = running.end().await;
    assert_eq!(ended.code, Some(105), "{ended:#?}");
    assert_eq!(ended.json()["state"], "interrupted");
    assert!(ended.json()["load"].is_null(), "the load test does not begin");
    assert!(sandbox.items().await.is_empty());
}

#[tokio::test]
async fn a_sandbox_that_waits_for_its_database_ends_when_it_is_told_to() {
    // Takes connections and never says a word.
    let database = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://nobody@{}/none", database.local_addr().unwrap());
    for signal in [Signal::INT, Signal::TERM] {
        let temporary = tempfile::tempdir().unwrap();
        let bench = Bench::new().with("TMPDIR", temporary.path().to_str().unwrap());
        let running = bench.start(&["sandbox", "--database", &url]);
        let _silent = database.accept().await.unwrap();
        running.signal(signal);
        let ended = running.end().await;
        ended.passes();
        assert!(ended.stdout.is_empty() && !ended.stderr.contains("error"), "{ended:#?}");
        assert_eq!(temporary.path().read_dir().unwrap().count(), 0, "it leaves nothing");
        // It would go on trying for longer.
        assert!(ended.took < Duration::from_secs(20), "{ended:#?}");
    }
}
