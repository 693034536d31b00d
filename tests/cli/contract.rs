//! What scripts read: one document on stdout, whose figures agree with each other.

use serde_json::Value;

use crate::servers::{Answer, Server};
use crate::support::{Bench, SHORT, Sandbox, number};

#[tokio::test]
async fn the_document_of_a_load_test_makes_sense() {
    let bench = Bench::new();
    let ended = bench.run(&["load", "--sandbox=small", "-u", "10", "-d", "5s", "--warmup", "1s", "--json", "-q"]).await;
    ended.passes();
    assert_eq!(ended.stderr, "", "quiet is quiet");
    let document = ended.json();
    let of = |pointer: &str| number(&document, pointer);
    assert_eq!((of("/duration_s").round(), of("/warm_up_s")), (5.0, 1.0));
    assert!((of("/vus") - 10.0).abs() < 0.5, "{document:#}");
    let fetched = of("/fetch_latency_ms/n");
    assert!((of("/requests_per_second/fetch") * of("/duration_s") - fetched).abs() < 1.0, "{document:#}");
    assert!(of("/requests_per_second/all") >= of("/requests_per_second/fetch"));
    assert!(of("/requests/completed") >= fetched, "the whole run has the warm-up too");
    let [p50, p90, p95, p99, max] = ["p50", "p90", "p95", "p99", "max"].map(|q| of(&format!("/fetch_latency_ms/{q}")));
    assert!(p50 <= p90 && p90 <= p95 && p95 <= p99 && p99 <= max * 1.001, "{document:#}");
    // One VU's cycle is its latency and what the generator adds to it.
    assert!(of("/cycle_ms") >= of("/fetch_latency_ms/mean") * 0.98, "{document:#}");
    for baseline in document["baselines"].as_array().unwrap() {
        let ratio = number(baseline, "/requests_per_second_ratio");
        let expected = of("/requests_per_second/all") / number(baseline, "/requests_per_second/documented");
        assert!((ratio - expected).abs() < 1e-6, "{baseline:#}");
        assert!(baseline["id"].is_string());
    }
    assert!(document["generator"]["valid"].is_boolean() && of("/generator/peak_memory_bytes") > 1e6);
    assert!(of("/generator/cpu_share") < 1.0);
    assert!(document["run_dir"].as_str().is_some_and(|run| bench.path().join(run).is_dir()));
    assert_eq!(document["target"]["sandbox"], true);
    assert!(document["target"]["connect_version"].is_string());
    let errors: u64 = document["errors"].as_array().unwrap().iter().map(|e| e["count"].as_u64().unwrap()).sum();
    assert_eq!(errors, 0);
}

#[tokio::test]
async fn results_go_to_files_too_and_baselines_are_chosen() {
    let server = Server::start(Answer::Text(200, "hello")).await;
    let bench = Bench::new();
    let flags = ["--url", &server.url, "-o", "a.json", "-o", "b.txt", "--baseline", "azure-load-balanced"];
    let ended = bench.load(&flags).await;
    ended.passes();
    assert!(ended.stdout.starts_with("http://127.0.0.1"), "{ended:#?}");
    assert_eq!(std::fs::read_to_string(bench.path().join("b.txt")).unwrap(), ended.stdout);
    let written: Value = serde_json::from_slice(&std::fs::read(bench.path().join("a.json")).unwrap()).unwrap();
    assert_eq!(written["baselines"].as_array().unwrap().len(), 1);
    assert_eq!(written["baselines"][0]["id"], "azure-load-balanced");
    let known = bench.run(&["baselines", "--json"]).await.json();
    assert!(known.as_array().unwrap().iter().any(|baseline| baseline["id"] == "aws-single-server-robust"));
}

#[tokio::test]
async fn a_reader_that_has_gone_away_is_no_fault() {
    let server = Server::start(Answer::Text(200, "hello")).await;
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::on(&sandbox);
    bench.load(&["--url", &server.url]).await.passes();
    let long = [&SHORT[..], &["--url", &server.url]].concat();
    for (command, codes) in [
        (&["baselines"][..], &[0][..]),
        (&["report"], &[0]),
        (&["report", "--json"], &[0]),
        (&["cleanup"], &[0]),
        (&long, &[0, 121]),
    ] {
        let mut running = bench.start(command);
        running.deafen();
        let ended = running.end().await;
        assert!(ended.code.is_some_and(|code| codes.contains(&code)), "{ended:#?}");
        assert!(!ended.stderr.contains("error"), "{ended:#?}");
    }
}

#[tokio::test]
async fn help_is_there_for_everything() {
    let bench = Bench::new();
    for command in ["ramp", "load", "report", "cleanup", "baselines", "sandbox"] {
        let ended = bench.run(&[command, "--help"]).await;
        assert!(ended.code == Some(0) && ended.stdout.contains("Usage: connect-bench"), "{ended:#?}");
        assert!(ended.stderr.is_empty());
    }
    assert!(bench.run(&["--help"]).await.stdout.contains("122 server unreachable"));
    bench.run::<&str>(&[]).await.fails(2, &["Usage"]);
    bench.run(&["laod"]).await.fails(2, &["load"]);
}
