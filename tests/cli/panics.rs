//! A panic in the middle of a run, and what used to be one: neither takes anything with it.

use std::fs::File;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Bench, Sandbox, number};

/// tokio panics where the system gives it no thread to ask for a name with: after ten seconds the last one is gone, after
/// eleven the name is asked for anew.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_panic_in_the_middle_of_a_run_is_cleaned_up_after_and_keeps_what_was_measured() {
    let sandbox = Sandbox::quick(&[]).await;
    let server = sandbox.url.replace("127.0.0.1", "localhost");
    let bench = Bench::new().with("CONNECT_API_KEY", &sandbox.key).with("CONNECT_SERVER", &server).panics();
    let mut line = vec!["load", "-u", "4", "-d", "90s", "--warmup", "0s", "--workers", "2", "--json"];
    line.extend(["--no-connection-reuse", "--dns", "ttl=11s"]);
    let mut running = bench.as_somebody(&line);
    running.seconds(2).await;
    assert_eq!(sandbox.items().await.len(), 2, "one to fetch and one to publish");
    running.no_more_threads().await;
    let said = running.hears("this is a bug in connect-bench").await;
    assert!(said.contains(" in worker-") && said.contains("thread"), "{said}");
    let ended = running.end().await;
    ended.fails(1, &[]);
    assert!(ended.took < Duration::from_secs(60), "it ends by itself: {ended:#?}");
    let document = ended.json();
    let aborted = &document["state"]["aborted"];
    assert!(aborted["cause"] == "fault" && aborted["reason"].as_str().unwrap().contains("worker"), "{document:#}");
    assert!(number(&document, "/requests/completed") > 10.0, "{document:#}");
    assert_eq!(document["left_behind"], serde_json::json!([]));
    assert!(sandbox.items().await.is_empty());
    let again = bench.run(&["report", "--json"]).await.json();
    assert_eq!((&again["requests"], &again["state"]), (&document["requests"], &document["state"]));
}

/// Where stderr is full, or its reader has gone away, nothing is said any more, and all else goes on.
#[tokio::test]
async fn a_stderr_that_takes_nothing_ends_no_run() {
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::on(&sandbox);
    let line = ["load", "-u", "2", "-d", "2s", "--warmup", "0s", "--address", "127.0.0.1:0"];
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    for deaf in [Stdio::from(File::options().write(true).open("/dev/full").unwrap()), Stdio::from(writer)] {
        let ended = bench.start_saying_to(deaf, &line).end().await;
        ended.passes();
        assert!(ended.stdout.contains("requests per second"), "{ended:#?}");
    }
    assert!(sandbox.items().await.is_empty());
}

/// The terminal is closed: a signal comes, and nothing can be written to it any more.
#[tokio::test]
async fn a_reader_that_goes_away_before_a_signal_does_not_keep_the_clean_up_from_being_made() {
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::on(&sandbox);
    let mut running = bench.start(&["load", "-u", "2", "-d", "90s", "--warmup", "0s", "-v"]);
    running.seconds(1).await;
    running.deafen();
    running.muffle();
    running.signal(Signal::HUP);
    running.end().await.fails(105, &[]);
    assert!(sandbox.items().await.is_empty());
}
