//! Several nodes on one PostgreSQL and one folder; the database goes away and comes back.

use std::path::Path;
use std::time::Duration;

use connect_bench::architecture::postgres::{End, Postgres};
use connect_bench::sandbox::{Config, Sandbox};
use reqwest::Method;
use serde_json::{Value, json};

use crate::parts::{database, until};
use crate::support::*;

/// A node on that database, with its files in that folder.
fn node(name: &str, database: &Postgres, folder: &Path) -> Sandbox {
    let config = Config {
        database: Some(database.url(database.port()).parse().unwrap()),
        data_dir: Some(folder.to_owned()),
        hostname: Some(name.to_owned()),
        ..quick()
    };
    Sandbox::start(config).unwrap()
}

#[tokio::test(flavor = "current_thread")]
async fn nodes_share_a_database_and_a_folder() {
    let Some((database, place)) = database().await else { return };
    let folder = place.path().join("data");
    // At once, so that both want to make the tables.
    let (one, two) = std::thread::scope(|scope| {
        let other = scope.spawn(|| node("node-2", &database, &folder));
        (node("node-1", &database, &folder), other.join().unwrap())
    });
    let (a, b) = (Api::of(&one), Api::of(&two));
    let (guid, first) = a.published("app", "all", flask()).await;
    let stocks = format!("/content/{guid}/stocks/");
    assert_eq!((a.fetch(&stocks).await.0, b.fetch(&stocks).await.0), (200, 200));
    let host = |text: String| serde_json::from_str::<Value>(&text).unwrap()["hostname"].clone();
    assert_eq!(host(a.fetch("/__api__/server_settings").await.1), "node-1");
    assert_eq!(host(b.fetch("/__api__/server_settings").await.1), "node-2");

    // A task is known where it runs and nowhere else.
    let second = b.upload(&guid, flask()).await;
    assert!(second.parse::<u64>().unwrap() > first.parse::<u64>().unwrap(), "ids are given out once");
    let (_, task) = a.post(&format!("/content/{guid}/deploy"), json!({ "bundle_id": second })).await;
    let task = task["task_id"].as_str().unwrap().to_owned();
    assert_eq!(b.refusal(Method::GET, &format!("/tasks/{task}"), Value::Null).await, (404, 141));
    assert_eq!(a.finished(&task).await["code"], 0);

    // What was deleted, closed or given a path on one node is so on the other, which had it in memory, a moment later.
    assert_eq!(a.call(Method::PATCH, &format!("/content/{guid}"), json!({"access_type": "acl"})).await.0, 200);
    let anonymous = b.with_key("");
    until("closed", async || anonymous.fetch(&stocks).await.0 == 401).await;
    assert_eq!(a.call(Method::PUT, &format!("/content/{guid}/vanity"), json!({"path": "/bench/"})).await.0, 200);
    until("a path", async || b.fetch("/bench/stocks/").await.0 == 200).await;
    assert_eq!(b.call(Method::DELETE, &format!("/content/{guid}"), Value::Null).await.0, 204);
    until("gone", async || a.fetch(&stocks).await.0 == 404).await;
    for node in ["node-1", "node-2"] {
        assert_eq!(std::fs::read_dir(folder.join("incoming").join(node)).unwrap().count(), 0);
    }
    drop((one, two));
}

#[tokio::test(flavor = "current_thread")]
async fn a_database_that_restarts_costs_one_deploy_and_nothing_else() {
    let Some((mut database, place)) = database().await else { return };
    let folder = place.path().join("data");
    let slow = Config {
        database: Some(database.url(database.port()).parse().unwrap()),
        data_dir: Some(folder),
        deploy_time: Duration::from_millis(800),
        ..quick()
    };
    let sandbox = Sandbox::start(slow).unwrap();
    let api = Api::of(&sandbox);
    let (guid, first) = api.published("app", "all", flask()).await;
    let stocks = format!("/content/{guid}/stocks/");
    for end in [End::Immediate, End::Fast] {
        assert_eq!(api.fetch(&stocks).await.0, 200);
        let bundle = api.upload(&guid, flask()).await;
        let (_, task) = api.post(&format!("/content/{guid}/deploy"), json!({ "bundle_id": bundle })).await;
        database.stop(end).await;
        let task = api.finished(task["task_id"].as_str().unwrap()).await;
        let error = task["error"].as_str().unwrap();
        assert!(task["code"] == 1 && error.contains("could not be recorded: the database cannot be reached"), "{task}");
        let (status, body) = api.get(&format!("/content/{guid}")).await;
        assert_eq!((status, body["error"].as_str().unwrap().contains("database cannot be reached")), (500, true));
        assert_eq!(api.fetch(&stocks).await.0, 200, "what is deployed is served meanwhile");

        database.run().await.unwrap();
        let (_, content) = api.get(&format!("/content/{guid}")).await;
        assert_eq!(content["bundle_id"], json!(first), "the failed deploy changed nothing");
        let task = api.deploy(&guid, json!({ "bundle_id": bundle })).await;
        assert_eq!(task["code"], 0, "{task}");
        assert_eq!(api.get(&format!("/content/{guid}")).await.1["bundle_id"], json!(bundle));
        // And back, for the next round.
        assert_eq!(api.deploy(&guid, json!({ "bundle_id": first })).await["code"], 0);
    }
}
