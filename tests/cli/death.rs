//! Sudden ends: of the program, and of the server.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Bench, Sandbox, number};

#[tokio::test]
async fn a_killed_run_reports_as_partial_and_is_cleaned_up_after() {
    let sandbox = Sandbox::quick(&[]).await;
    sandbox.create("connect-bench-notes").await;
    let bench = Bench::on(&sandbox);
    let mut running = bench.start(&["load", "-u", "4", "-d", "60s", "--warmup", "0s"]);
    running.seconds(3).await;
    running.signal(Signal::KILL);
    assert_eq!(running.end().await.code, None);
    assert_eq!(sandbox.items().await.len(), 3, "the run's two items are still there");

    let run = bench.runs().pop().unwrap().display().to_string();
    let report = bench.run(&["report", &run]).await;
    assert_eq!(report.code, Some(0), "{report:#?}");
    assert!(
        report.stdout.contains("PARTIAL, 3 s of 1 min") || report.stdout.contains("PARTIAL, 4 s of 1 min"),
        "{report:#?}"
    );
    assert!(report.stderr.contains("connect-bench cleanup"), "{report:#?}");
    let document = bench.run(&["report", &run, "--json"]).await.json();
    assert_eq!(document["state"], "partial");
    assert!(number(&document, "/requests/completed") > 0.0);

    let dry = bench.run(&["cleanup", "--dry-run"]).await;
    assert!(dry.code == Some(0) && dry.stdout.matches("would delete").count() == 2, "{dry:#?}");
    assert!(dry.stdout.contains("left alone connect-bench-notes"), "{dry:#?}");
    assert_eq!(sandbox.items().await.len(), 3);
    let young = bench.run(&["cleanup", "--older-than", "1h"]).await;
    assert!(young.code == Some(0) && !young.stdout.contains("deleted"), "{young:#?}");
    let done = bench.run(&["cleanup"]).await;
    assert!(done.code == Some(0) && done.stdout.matches("deleted").count() == 2, "{done:#?}");
    assert_eq!(sandbox.items().await, ["connect-bench-notes"], "what is not ours stays");
    let again = bench.run(&["cleanup", "--json"]).await;
    assert!(again.code == Some(0) && again.json()["deleted"].as_array().unwrap().is_empty(), "{again:#?}");
    assert!(bench.run(&["report", &run]).await.stderr.is_empty(), "nothing is left to warn of");
}

#[tokio::test]
async fn a_clean_up_leaves_alone_what_a_run_still_uses_and_works_without_the_journal() {
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::on(&sandbox);
    let mut running = bench.start(&["load", "-u", "4", "-d", "60s", "--warmup", "0s", "--no-publish"]);
    running.seconds(1).await;
    let meanwhile = bench.run(&["cleanup"]).await;
    assert!(meanwhile.code == Some(0) && meanwhile.stdout.contains("still going"), "{meanwhile:#?}");
    assert_eq!(sandbox.items().await.len(), 1);
    running.signal(Signal::KILL);
    running.end().await;
    // Another machine has no journal; name, description and owner say enough.
    let elsewhere = Bench::on(&sandbox);
    let done = elsewhere.run(&["cleanup"]).await;
    assert!(done.code == Some(0) && done.stdout.contains("deleted"), "{done:#?}");
    assert!(sandbox.items().await.is_empty());
}

#[tokio::test]
async fn a_server_that_dies_ends_the_run_by_itself() {
    let mut sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::on(&sandbox);
    let mut running = bench.start(&["load", "-u", "4", "-d", "10m", "--warmup", "0s", "--json"]);
    running.seconds(2).await;
    sandbox.kill().await;
    let ended = running.end().await;
    ended.fails(122, &[]);
    assert!(ended.took < Duration::from_secs(80), "{ended:#?}");
    let document = ended.json();
    assert!(document["state"]["aborted"]["reason"].as_str().unwrap().contains("no request was completed"));
    assert!(document["errors"].as_array().unwrap().iter().any(|error| error["kind"] == "refused"), "{document:#}");
    assert_eq!(document["left_behind"].as_array().unwrap().len(), 2, "{document:#}");
    let report = bench.run(&["report"]).await;
    assert_eq!(report.code, Some(0));
    assert!(report.stdout.contains("Aborted") && report.stdout.contains("left on the server"), "{report:#?}");
}

#[tokio::test]
async fn a_server_that_is_gone_at_the_end_is_no_pass() {
    let mut sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::on(&sandbox);
    let mut running = bench.start(&["load", "-u", "4", "-d", "8s", "--warmup", "0s", "--no-publish"]);
    running.seconds(2).await;
    sandbox.kill().await;
    let ended = running.end().await;
    ended.fails(122, &[]);
    assert!(ended.stdout.contains("Aborted") && ended.took < Duration::from_secs(50), "{ended:#?}");
}

#[tokio::test]
async fn a_load_test_that_was_broken_off_is_gone_on_with_and_the_gap_counts_for_nothing() {
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::on(&sandbox);
    let mut running = bench.start(&["load", "-u", "4", "-d", "12s", "--warmup", "1s", "--seed", "7"]);
    running.seconds(6).await;
    running.signal(Signal::KILL);
    running.end().await;
    let run = bench.runs().pop().unwrap().display().to_string();
    let before = bench.run(&["report", &run, "--json"]).await.json();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let ended = bench.run(&["load", "--resume", &run, "--json"]).await;
    ended.passes();
    let document = ended.json();
    assert_eq!(document["state"], "finished");
    assert_eq!(number(&document, "/duration_s").round(), 12.0, "{document:#}");
    assert!(number(&document, "/paused_s") >= 2.0, "{document:#}");
    let completed = |document| number(document, "/requests/completed");
    assert!(completed(&document) > completed(&before) * 1.3, "both parts are in it: {document:#}");
    let counts =
        ["completed", "failed", "dropped", "interrupted"].map(|name| number(&document, &format!("/requests/{name}")));
    assert_eq!(number(&document, "/requests/scheduled"), counts.iter().sum::<f64>(), "{document:#}");
    let rate = number(&document, "/requests_per_second/fetch") / number(&before, "/requests_per_second/fetch");
    assert!((0.5..2.0).contains(&rate), "the gap is not in the figures: {rate}");
    // A third command reads the same from the disk, and there is nothing to go on with any more.
    let second = bench.runs().into_iter().map(|run| run.display().to_string()).find(|other| *other != run).unwrap();
    let again = bench.run(&["report", &second, "--json"]).await.json();
    assert_eq!(again["requests"], document["requests"]);
    bench.run(&["load", "--resume", &second]).await.fails(104, &["it has finished"]);
    let other = Sandbox::quick(&[]).await;
    let elsewhere = bench.run(&["load", "--resume", &run, "-s", &other.url]).await;
    elsewhere.fails(104, &["another server"]);
    bench.run(&["load", "--resume", &run, "-u", "3"]).await.fails(2, &["--resume"]);
    bench.run(&["cleanup"]).await;
    assert!(sandbox.items().await.is_empty() && other.items().await.is_empty());
}

#[tokio::test]
async fn any_command_says_what_a_killed_run_may_have_left() {
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::on(&sandbox);
    let mut running = bench.start(&["load", "-u", "2", "-d", "60s", "--warmup", "0s"]);
    running.seconds(1).await;
    let during = bench.run(&["runs", "list"]).await;
    assert!(!during.stderr.contains("cleanup"), "its run is still going: {during:#?}");
    running.signal(Signal::KILL);
    running.end().await;
    for line in [&["runs", "list"][..], &["baselines"], &["history"], &["load", "-u", "2", "--dry-run"]] {
        let ended = bench.run(line).await;
        assert!(ended.stderr.contains("and 1 more") && ended.stderr.contains("connect-bench cleanup"), "{ended:#?}");
    }
    bench.run(&["cleanup"]).await.passes();
    assert!(bench.run(&["runs", "list"]).await.stderr.is_empty());
}

#[tokio::test]
async fn what_a_killed_sandbox_left_is_removed_by_the_next_one() {
    let place = tempfile::tempdir().unwrap();
    let by = ["env".to_owned(), format!("TMPDIR={}", place.path().display())];
    let folders = || std::fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let mut killed = Sandbox::quick_by(&by, &[]).await;
    let left = folders();
    let alive = Sandbox::quick_by(&by, &[]).await;
    killed.kill().await;
    assert_eq!((left.len(), folders().len()), (1, 2));
    let next = Sandbox::quick_by(&by, &[]).await;
    assert!(folders().len() == 2 && !folders().contains(&left[0]), "{left:?} of {:?}", folders());
    // Of those that live nothing is missing.
    for sandbox in [&alive, &next] {
        assert!(!sandbox.create("still-works").await.is_empty());
    }
}
