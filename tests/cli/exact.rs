//! What the server counted is what the generator counted, to the last request; and every request has one end.

use std::time::Duration;

use serde_json::Value;

use crate::support::{Bench, Ended, Sandbox, number};

/// Slow enough that requests are under way when the run ends.
const SLOW: &str = "40,300,1,0";

fn whole(document: &Value, name: &str) -> u64 {
    document["requests"][name].as_u64().unwrap()
}

fn balanced(document: &Value) {
    let ends: u64 = ["completed", "failed", "dropped", "interrupted"].iter().map(|name| whole(document, name)).sum();
    assert_eq!(whole(document, "scheduled"), ends, "{document:#}");
}

async fn agrees(sandbox: &Sandbox, ended: &Ended) -> Value {
    ended.passes();
    let document = ended.json();
    balanced(&document);
    // What was written just before the end is read by the server a moment later.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let counted = whole(&document, "sent") + whole(&document, "api_sent");
    assert_eq!(sandbox.requests().await, counted, "{document:#}");
    assert!(sandbox.items().await.is_empty());
    document
}

#[tokio::test]
async fn a_run_with_publishes_is_counted_as_the_server_counts_it() {
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::on(&sandbox);
    let document =
        agrees(&sandbox, &bench.run(&["load", "-u", "4", "-d", "3s", "--warmup", "0s", "--json"]).await).await;
    assert!(number(&document, "/publish/completed") >= 1.0, "{document:#}");
}

#[tokio::test]
async fn requests_that_the_end_cuts_off_are_counted_on_both_sides() {
    for graceful in ["0s", "1s"] {
        let sandbox = Sandbox::quick(&["--curve", SLOW]).await;
        let bench = Bench::on(&sandbox);
        let flags = ["load", "-u", "20", "-d", "3s", "--warmup", "0s", "--json", "--graceful-stop", graceful];
        let document = agrees(&sandbox, &bench.run(&flags).await).await;
        if graceful == "0s" {
            assert!(whole(&document, "interrupted") > 0, "{document:#}");
        }
    }
}

#[tokio::test]
async fn two_nodes_behind_a_balancer_are_counted_too() {
    let sandbox = Sandbox::quick(&["--profile", "azure-load-balanced"]).await;
    let bench = Bench::on(&sandbox);
    let flags = ["load", "-u", "16", "-d", "3s", "--warmup", "0s", "--json", "--graceful-stop", "0s"];
    let document = agrees(&sandbox, &bench.run(&flags).await).await;
    assert_eq!(document["nodes"].as_array().unwrap().len(), 2, "{document:#}");
}

#[tokio::test]
async fn new_content_items_each_time_are_counted_and_removed() {
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::on(&sandbox);
    for graceful in ["30s", "0s"] {
        let before = sandbox.requests().await;
        // Asking for the items is a request, too; it is not the run's.
        let flags = ["load", "-u", "2", "-d", "4s", "--warmup", "0s", "--json", "--publish-new-content"];
        let ended = bench.run(&[&flags[..], &["--graceful-stop", graceful]].concat()).await;
        ended.passes();
        let document = ended.json();
        balanced(&document);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let counted = whole(&document, "sent") + whole(&document, "api_sent");
        assert_eq!(sandbox.requests().await - before, counted, "{document:#}");
        assert!(sandbox.items().await.is_empty(), "{document:#}");
    }
}
