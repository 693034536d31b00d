//! Several nodes, counts, and faults.

use std::time::{Duration, Instant};

use connect_bench::sandbox::{BalancerKind, Config, Restart, Sandbox, Stall};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::*;

#[tokio::test]
async fn a_task_is_known_on_its_node_only() {
    let sandbox = Sandbox::start(two_nodes(BalancerKind::AppGw)).unwrap();
    let sticky = Api::with_jar(&sandbox);
    let (guid, bundle) = sticky.published("app", "all", flask()).await;
    let node = |api: Api| async move {
        let settings: Value = serde_json::from_str(&api.fetch("/__api__/server_settings").await.1).unwrap();
        settings["hostname"].as_str().unwrap().to_owned()
    };
    let (_, task) = sticky.post(&format!("/content/{guid}/deploy"), json!({ "bundle_id": bundle })).await;
    let task = format!("/tasks/{}", task["task_id"].as_str().unwrap());
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(Api::of(&sandbox).get(&task).await.0);
        assert_eq!(sticky.get(&task).await.0, 200);
    }
    answers.sort_unstable();
    assert_eq!(answers, [200, 200, 404, 404], "without a jar requests go round");
    let (mine, again) = (node(Api::with_jar(&sandbox)).await, node(Api::with_jar(&sandbox)).await);
    assert_ne!(mine, again);

    let response = Api::of(&sandbox).send(Method::GET, "/__ping__", "", None).await;
    let cookies: Vec<&str> = response.headers().get_all("set-cookie").iter().map(|c| c.to_str().unwrap()).collect();
    assert!(cookies[0].starts_with("ApplicationGatewayAffinity="), "{cookies:?}");
    assert!(cookies[1].starts_with("ApplicationGatewayAffinityCORS=") && cookies[1].contains("SameSite=None; Secure"));
    let alb = Sandbox::start(two_nodes(BalancerKind::Alb)).unwrap();
    let api = Api::with_jar(&alb);
    let one = api.send(Method::GET, "/__ping__", "", None).await.headers()["set-cookie"].clone();
    let two = api.send(Method::GET, "/__ping__", "", None).await.headers()["set-cookie"].clone();
    assert!(one != two && two.to_str().unwrap().starts_with("AWSALB="));
    for _ in 0..4 {
        api.fetch("/__ping__").await;
    }
    let stats = alb.stats();
    let counts: Vec<&Value> =
        stats["nodes"].as_array().unwrap().iter().map(|node| &node["requests"]["total"]).collect();
    assert!(counts.contains(&&json!(6)) && counts.contains(&&json!(0)), "{counts:?}");
}

#[tokio::test]
async fn every_request_is_counted_once() {
    let sandbox = Sandbox::start(two_nodes(BalancerKind::AppGw)).unwrap();
    let api = Api::of(&sandbox);
    let (guid, _) = {
        let sticky = Api::with_jar(&sandbox);
        sticky.published("app", "all", flask()).await
    };
    let before = sandbox.stats();
    for _ in 0..7 {
        api.fetch(&format!("/content/{guid}/stocks/")).await;
    }
    for _ in 0..3 {
        api.get("/user").await;
    }
    api.fetch("/__ping__").await;
    api.fetch("/connect/").await;
    // A client that goes away while it is served counts all the same.
    let path = format!("{}/content/{guid}/stocks/AAPL", api.url);
    let gone = api.http.get(path).timeout(Duration::from_millis(5)).send().await;
    assert!(gone.unwrap_err().is_timeout());
    tokio::time::sleep(Duration::from_millis(100)).await;
    let stats: Value =
        reqwest::get(format!("{}/__sandbox__/stats", sandbox.url())).await.unwrap().json().await.unwrap();
    let more = |class: &str| stats["requests"][class].as_u64().unwrap() - before["requests"][class].as_u64().unwrap();
    assert_eq!([more("content"), more("api"), more("ping"), more("other"), more("total")], [8, 3, 1, 1, 13]);
    assert_eq!(stats["unanswered"], 1);
    let at_nodes: u64 =
        stats["nodes"].as_array().unwrap().iter().map(|n| n["requests"]["total"].as_u64().unwrap()).sum();
    assert_eq!(at_nodes, stats["requests"]["total"].as_u64().unwrap());
    assert_eq!(stats["capacity"]["n_sat"], 58);
}

#[tokio::test]
async fn a_node_that_goes_away_resets_its_requests_and_loses_its_clients() {
    let mut config = two_nodes(BalancerKind::AppGw);
    config.faults.restarts = vec![Restart { node: 0, at: Duration::from_millis(1500), down: Duration::from_secs(3) }];
    let sandbox = Sandbox::start(config).unwrap();
    let mut sticky = Api::with_jar(&sandbox);
    while !sticky.fetch("/__api__/server_settings").await.1.contains("sandbox-1") {
        sticky = Api::with_jar(&sandbox);
    }
    let (guid, bundle) = sticky.published("app", "all", flask()).await;
    let (_, task) = sticky.post(&format!("/content/{guid}/deploy"), json!({ "bundle_id": bundle })).await;
    sticky.finished(task["task_id"].as_str().unwrap()).await;
    let (mut reset, deadline) = (false, Instant::now() + Duration::from_secs(4));
    let (mut bad_gateway, mut moved) = (0, false);
    while Instant::now() < deadline && !moved {
        let request = sticky.http.get(format!("{}/content/{guid}/stocks/", sticky.url));
        match request.send().await {
            Err(_) => reset = true,
            Ok(response) if response.status() == 502 => {
                bad_gateway += 1;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            // No pause here: the node has to go away while a request is under way.
            Ok(response) => moved = response.headers().contains_key("set-cookie"),
        }
    }
    assert!(reset && bad_gateway > 0 && moved, "reset {reset}, {bad_gateway} times 502, moved {moved}");
    assert!(sticky.fetch("/__api__/server_settings").await.1.contains("sandbox-2"));
    let stats = sandbox.stats();
    assert!(stats["resets"].as_u64().unwrap() >= 1);
    assert_eq!((&stats["nodes"][0]["up"], &stats["nodes"][0]["processes"]), (&json!(false), &json!(0)));
}

#[tokio::test]
async fn a_deploy_on_a_node_that_goes_away_fails() {
    let mut config = Config { deploy_time: Duration::from_secs(30), ..quick() };
    config.faults.restarts =
        vec![Restart { node: 0, at: Duration::from_millis(500), down: Duration::from_millis(200) }];
    let sandbox = Sandbox::start(config).unwrap();
    let api = Api::of(&sandbox);
    let guid = api.create(json!({})).await;
    api.upload(&guid, flask()).await;
    let (_, task) = api.post(&format!("/content/{guid}/deploy"), json!({})).await;
    let path = format!("{}/__api__/v1/tasks/{}?first=1&wait=20", api.url, task["task_id"].as_str().unwrap());
    let lost = api.http.get(&path).header("Authorization", format!("Key {}", api.key)).send().await;
    assert!(lost.is_err(), "the poll was in flight: {lost:?}");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let task = api.finished(task["task_id"].as_str().unwrap()).await;
    assert!(task["code"] == 1 && task["error"].as_str().unwrap().contains("interrupted"), "{task}");
}

#[tokio::test]
async fn faults_by_flag() {
    let mut config = quick();
    config.faults.license_expired = true;
    let sandbox = Sandbox::start(config).unwrap();
    let api = Api::of(&sandbox);
    assert_eq!(api.fetch("/__ping__").await.0, 402);
    let guid = api.create(json!({})).await;
    api.upload(&guid, flask()).await;
    assert_eq!(api.refusal(Method::POST, &format!("/content/{guid}/deploy"), json!({})).await, (403, 65));

    let mut config = quick();
    config.faults.error_rate = 1.0;
    let sandbox = Sandbox::start(config).unwrap();
    let api = Api::of(&sandbox);
    let (guid, _) = api.published("app", "all", flask()).await;
    for _ in 0..5 {
        let status = api.fetch(&format!("/content/{guid}/")).await.0;
        assert!(status == 500 || status == 503, "{status}");
    }

    let mut config = quick();
    config.faults.stall = Some(Stall { every: Duration::from_millis(1000), lasts: Duration::from_millis(600) });
    let sandbox = Sandbox::start(config).unwrap();
    let api = Api::of(&sandbox);
    tokio::time::sleep(Duration::from_millis(600)).await;
    let started = Instant::now();
    api.fetch("/__ping__").await;
    assert!(started.elapsed() > Duration::from_millis(200), "{:?}", started.elapsed());

    let mut config = quick();
    config.faults.html = true;
    let sandbox = Sandbox::start(config).unwrap();
    assert!(Api::of(&sandbox).fetch("/__api__/v1/user").await.1.contains("<html>"));
}
