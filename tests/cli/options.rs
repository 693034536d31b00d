//! What is published, what is fetched, and how.

use serde_json::json;

use crate::support::{Bench, Sandbox, number};

#[tokio::test]
async fn without_the_publish_loop_only_the_application_is_published() {
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::on(&sandbox);
    let ended = bench.load(&["--no-publish", "--json", "--workers", "1", "--path", "/stocks/"]).await;
    ended.passes();
    assert!(ended.json()["publish"].is_null());
    assert!(sandbox.items().await.is_empty());
    bench.load(&["--path", "/nowhere"]).await.fails(122, &["404", "no such path"]);
    assert!(sandbox.items().await.is_empty(), "also after a failed preflight");
}

#[tokio::test]
async fn an_existing_content_item_is_loaded_and_stays() {
    let sandbox = Sandbox::quick(&[]).await;
    // A run that is killed leaves an application that works.
    let bench = Bench::on(&sandbox);
    let mut running = bench.start(&["load", "-u", "1", "-d", "60s", "--warmup", "0s", "--no-publish"]);
    running.seconds(1).await;
    running.signal(rustix::process::Signal::KILL);
    running.end().await;
    let items = sandbox.items().await;
    let all = sandbox.api("GET", "/__api__/v1/content", &json!(null)).await;
    let guid = all[0]["guid"].as_str().unwrap().to_owned();
    let bench = Bench::on(&sandbox);
    let address = format!("{}/content/{guid}/", sandbox.url);
    for content in [&guid, &address] {
        let flags = ["--content", content, "--path", "stocks/AAPL", "--no-publish", "--json"];
        let ended = bench.load(&flags).await;
        ended.passes();
        assert!(number(&ended.json(), "/requests/completed") > 10.0);
        assert_eq!(sandbox.items().await, items, "it is not ours to delete");
    }
    bench.load(&["--content", &guid, "--path", "/stocks/AAPL", "--fetch-auth", "key"]).await.passes();
    assert_eq!(sandbox.items().await, items);
    let nobody = "00000000-0000-4000-8000-000000000000";
    bench.load(&["--content", nobody]).await.fails(122, &[nobody, "404"]);
}

#[tokio::test]
async fn a_viewer_may_load_what_is_there_already() {
    let sandbox = Sandbox::quick(&["--extra-user", "vera:viewer:veraskey0000000000000000000000"]).await;
    let owner = Bench::on(&sandbox);
    let mut running = owner.start(&["load", "-u", "1", "-d", "60s", "--warmup", "0s", "--no-publish"]);
    running.seconds(1).await;
    let all = sandbox.api("GET", "/__api__/v1/content", &json!(null)).await;
    let guid = all[0]["guid"].as_str().unwrap().to_owned();
    let viewer = Bench::new().with("CONNECT_SERVER", &sandbox.url);
    let viewer = viewer.with("CONNECT_API_KEY", "veraskey0000000000000000000000");
    viewer.load(&["--content", &guid, "--path", "/stocks/AAPL", "--no-publish"]).await.passes();
    viewer.load(&["--content", &guid, "--path", "/stocks/AAPL"]).await.fails(122, &["vera", "publisher"]);
    running.signal(rustix::process::Signal::INT);
    running.end().await.fails(105, &[]);
}

#[tokio::test]
async fn fetching_with_the_key_needs_no_access_for_everyone() {
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::on(&sandbox);
    let ended = bench.run(&["load", "-u", "4", "-d", "3s", "--warmup", "0s", "--fetch-auth", "key", "--json"]).await;
    ended.passes();
    let document = ended.json();
    assert_eq!(number(&document, "/requests/failed"), 0.0, "{document:#}");
    assert!(number(&document, "/publish/completed") >= 1.0, "{document:#}");
    assert!(sandbox.items().await.is_empty());
}

#[tokio::test]
async fn a_body_that_is_not_the_expected_one_is_a_failure() {
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::on(&sandbox);
    let ended = bench.load(&["--no-publish", "--expect-body", "no such text", "--json"]).await;
    assert_eq!(ended.code, Some(121), "{ended:#?}");
    assert_eq!(ended.json()["errors"][0]["kind"], "body");
    assert!(sandbox.items().await.is_empty());
}

#[tokio::test]
async fn without_cookies_a_vu_is_sent_to_every_node() {
    let sandbox = Sandbox::quick(&["--profile", "azure-load-balanced"]).await;
    let bench = Bench::on(&sandbox);
    let flags = ["load", "-u", "1", "-d", "3s", "--warmup", "0s", "--no-publish", "--json"];
    let sticky = bench.run(&flags).await;
    sticky.passes();
    assert_eq!(sticky.json()["nodes"].as_array().unwrap().len(), 1, "{sticky:#?}");
    let reset = bench.run(&[&flags[..], &["--reset-cookies"]].concat()).await;
    reset.passes();
    assert_eq!(reset.json()["nodes"].as_array().unwrap().len(), 2, "{reset:#?}");
}

#[tokio::test]
async fn a_sandbox_takes_the_key_that_was_typed() {
    let sandbox = Sandbox::quick(&["--api-key", "typed-key-0123456789"]).await;
    assert_eq!(sandbox.key, "typed-key-0123456789");
    assert!(sandbox.items().await.is_empty());
}
