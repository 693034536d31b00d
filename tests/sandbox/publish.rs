//! Publishing: uploads, deploys, polls, what is served afterwards.

use std::time::{Duration, Instant};

use base64::Engine as _;
use connect_bench::sandbox::{Config, Sandbox};
use md5::{Digest as _, Md5};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::*;

#[tokio::test]
async fn the_whole_publish_flow() {
    let sandbox = Sandbox::start(quick()).unwrap();
    let api = Api::of(&sandbox);
    let (status, content) =
        api.post("/content", json!({"name": "bench-flask", "title": "Bench", "access_type": "all"})).await;
    let guid = content["guid"].as_str().unwrap().to_owned();
    assert_eq!(status, 200);
    assert_eq!(
        (&content["app_mode"], &content["bundle_id"], &content["app_role"]),
        (&json!("unknown"), &Value::Null, &json!("owner"))
    );
    assert_eq!(content["content_url"], format!("{}/content/{guid}/", sandbox.url()));
    assert_eq!(api.fetch(&format!("/content/{guid}/stocks/")).await.0, 404, "nothing is deployed yet");

    let bundle = api.upload(&guid, flask()).await;
    let task = api.deploy(&guid, json!({ "bundle_id": bundle })).await;
    assert_eq!((&task["code"], &task["last"]), (&json!(0), &json!(task["output"].as_array().unwrap().len())));
    let log = task["output"].to_string();
    assert!(
        log.contains("Python 3.11.7") && log.contains("Restoring packages...") && log.contains("complete"),
        "{log}"
    );

    let (_, content) = api.get(&format!("/content/{guid}")).await;
    assert_eq!(
        (&content["app_mode"], &content["bundle_id"], &content["py_version"]),
        (&json!("python-api"), &json!(bundle), &json!("3.11.7"))
    );
    let (status, body) = api.fetch(&format!("/content/{guid}/stocks/")).await;
    assert!(status == 200 && body.contains("AAPL"), "{body}");
    let (status, body) = api.fetch(&format!("/content/{guid}/stocks/NOPE")).await;
    assert_eq!((status, body.as_str()), (404, r#"{"message":"Ticker `NOPE` not found"}"#));
    assert_eq!(api.fetch(&format!("/content/{guid}")).await.0, 200, "redirected to the slash");

    let again = api.upload(&guid, flask()).await;
    let task = api.deploy(&guid, json!({ "bundle_id": null })).await;
    assert!(task["output"].to_string().contains("from the cache"), "{task}");
    assert_eq!(api.get(&format!("/content/{guid}")).await.1["bundle_id"], json!(bundle), "null is the active one");
    api.deploy(&guid, json!({ "bundle_id": again })).await;
    assert_eq!(api.get(&format!("/content/{guid}")).await.1["bundle_id"], json!(again));
    api.fetch(&format!("/content/{guid}/")).await;
    let (_, jobs) = api.get(&format!("/content/{guid}/jobs")).await;
    assert_eq!(jobs.as_array().unwrap().len(), 2, "the old process was replaced: {jobs}");
    let key = jobs[0]["key"].as_str().unwrap();
    assert_eq!(api.get(&format!("/content/{guid}/jobs/{key}/log")).await.1["entries"].as_array().unwrap().len(), 1);
    assert_eq!(api.call(Method::DELETE, &format!("/content/{guid}/jobs/{key}"), Value::Null).await.0, 200);
    assert_eq!(api.get(&format!("/content/{guid}/jobs/{key}")).await.1["status"], json!(2));
}

#[tokio::test]
async fn bundles_come_in_five_forms() {
    let sandbox = Sandbox::start(quick()).unwrap();
    let api = Api::of(&sandbox);
    let guid = api.create(json!({})).await;
    let path = format!("/__api__/v1/content/{guid}/bundles");
    for kind in [None, Some("application/x-gzip"), Some("application/gzip")] {
        let response = api.send(Method::POST, &path, flask(), kind).await;
        assert_eq!(response.status(), 200, "{kind:?}");
    }
    let form =
        multipart(&flask(), r#"{"source":"git","source_commit":"c0ffee","source_branch":"main","source_repo":"r"}"#);
    let response = api.send(Method::POST, &path, form, Some("multipart/form-data; boundary=XX")).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.json::<Value>().await.unwrap()["metadata"]["source_commit"], "c0ffee");
    let answer = chunked(&sandbox, &path, &flask());
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    let (_, list) = api.get(&format!("/content/{guid}/bundles")).await;
    let sizes: Vec<&Value> = list.as_array().unwrap().iter().map(|bundle| &bundle["size"]).collect();
    assert_eq!(sizes, [&json!(flask().len()); 5]);
    let response = api.send(Method::GET, &format!("{path}/{}/download", id_of(&list[0])), "", None).await;
    assert_eq!(response.bytes().await.unwrap(), flask());
    for bundle in list.as_array().unwrap() {
        assert_eq!(api.deploy(&guid, json!({"bundle_id": bundle["id"]})).await["code"], 0);
    }
}

#[tokio::test]
async fn uploads_are_checked() {
    let sandbox = Sandbox::start(Config { max_upload: 5000, ..quick() }).unwrap();
    let api = Api::of(&sandbox);
    let guid = api.create(json!({})).await;
    let path = format!("/__api__/v1/content/{guid}/bundles");
    assert_eq!(api.refusal(Method::POST, &format!("/content/{guid}/bundles"), Value::Null).await, (400, 125));
    let response = api.send(Method::POST, &path, vec![0; 5001], None).await;
    assert_eq!(response.status(), 413);
    let sum = base64::engine::general_purpose::STANDARD.encode(Md5::digest(flask()));
    for (sum, status) in [(sum.as_str(), 200), ("AAAAAAAAAAAAAAAAAAAAAA==", 400)] {
        let request = api.http.post(format!("{}{path}", api.url)).header("X-Content-Checksum", sum);
        let response = request.header("X-RSC-Authorization", &api.key).body(flask()).send().await.unwrap();
        assert_eq!(response.status().as_u16(), status);
    }
    for (bytes, said) in [
        (b"not a gzip".to_vec(), "extracted"),
        (tarball(&[("app.py", "")]), "manifest"),
        (
            tarball(&[
                ("manifest.json", &FLASK.replace("\"entrypoint\":\"app\"", "\"x\":1")),
                ("requirements.txt", ""),
            ]),
            "entrypoint",
        ),
        (tarball(&[("manifest.json", &PLUMBER.replace("platform", "x"))]), "platform"),
    ] {
        let bundle = api.upload(&guid, bytes).await;
        let task = api.deploy(&guid, json!({ "bundle_id": bundle })).await;
        assert_eq!(task["code"], 1);
        assert!(task["error"].as_str().unwrap().contains(said), "{task}");
    }
    let strict = Sandbox::start(Config { strict_bundles: true, ..quick() }).unwrap();
    let api = Api::of(&strict);
    let guid = api.create(json!({})).await;
    for (bytes, code) in [(b"not a gzip".to_vec(), 135), (tarball(&[("app.py", "")]), 38)] {
        let response = api.send(Method::POST, &format!("/__api__/v1/content/{guid}/bundles"), bytes, None).await;
        assert_eq!(response.json::<Value>().await.unwrap()["code"], code);
    }
}

#[tokio::test]
async fn a_draft_is_served_beside_the_active_bundle_and_older_servers_know_none() {
    let sandbox = Sandbox::start(quick()).unwrap();
    let api = Api::of(&sandbox);
    let guid = api.create(json!({"access_type": "all"})).await;
    let bundle = api.upload(&guid, flask()).await;
    let task = api.deploy(&guid, json!({"bundle_id": bundle, "activate": false})).await;
    assert_eq!(task["code"], 0);
    assert_eq!(api.get(&format!("/content/{guid}")).await.1["bundle_id"], Value::Null);
    assert_eq!(api.fetch(&format!("/content/{guid}/_bundle{bundle}/stocks/")).await.0, 200);
    assert_eq!(api.fetch(&format!("/content/{guid}/stocks/")).await.0, 404);
    api.deploy(&guid, json!({ "bundle_id": bundle })).await;
    assert_eq!(api.fetch(&format!("/content/{guid}/stocks/")).await.0, 200);

    for (version, status) in [("2024.09.0", 400), ("2025.06.0", 202), ("", 202)] {
        let sandbox = Sandbox::start(Config { version: version.to_owned(), ..quick() }).unwrap();
        let api = Api::of(&sandbox);
        let guid = api.create(json!({})).await;
        let bundle = api.upload(&guid, flask()).await;
        let deploy = format!("/content/{guid}/deploy");
        assert_eq!(api.post(&deploy, json!({"bundle_id": bundle, "activate": false})).await.0, status, "{version}");
    }
}

#[tokio::test]
async fn a_poll_waits_and_gives_the_rest_of_the_log() {
    let sandbox = Sandbox::start(Config { deploy_time: Duration::from_secs(1), ..quick() }).unwrap();
    let api = Api::of(&sandbox);
    let guid = api.create(json!({})).await;
    api.upload(&guid, flask()).await;
    let (_, task) = api.post(&format!("/content/{guid}/deploy"), json!({})).await;
    let task = task["task_id"].as_str().unwrap();
    let started = Instant::now();
    let (mut first, mut polls, mut lines) = (0, 0, Vec::new());
    loop {
        let (_, answer) = api.get(&format!("/tasks/{task}?first={first}&wait=1")).await;
        lines.extend(answer["output"].as_array().unwrap().clone());
        first = answer["last"].as_u64().unwrap();
        polls += 1;
        if answer["finished"] == true {
            break;
        }
    }
    assert!(started.elapsed() > Duration::from_millis(900) && polls < 9, "{polls} polls in {:?}", started.elapsed());
    assert_eq!(lines.len() as u64, first);
    assert_eq!(api.refusal(Method::GET, &format!("/tasks/{task}?wait=x"), Value::Null).await, (400, 25));
}

#[tokio::test]
async fn deploys_beyond_the_slots_wait_in_a_queue() {
    let sandbox =
        Sandbox::start(Config { deploy_slots: 1, deploy_time: Duration::from_millis(300), ..quick() }).unwrap();
    let api = Api::of(&sandbox);
    let guid = api.create(json!({})).await;
    api.upload(&guid, flask()).await;
    let deploy = format!("/content/{guid}/deploy");
    let (_, one) = api.post(&deploy, json!({})).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let (_, two) = api.post(&deploy, json!({})).await;
    let (one, two) =
        (api.finished(one["task_id"].as_str().unwrap()).await, api.finished(two["task_id"].as_str().unwrap()).await);
    assert!(!one["output"].to_string().contains("queue"), "{one}");
    assert!(two["output"].to_string().contains("queue") && two["code"] == 0, "{two}");
}

#[tokio::test]
async fn other_app_modes_answer_as_they_should() {
    let sandbox = Sandbox::start(quick()).unwrap();
    let api = Api::of(&sandbox);
    let (guid, _) = api.published("plumber", "all", plumber()).await;
    assert_eq!(api.fetch(&format!("/content/{guid}/")).await.0, 404, "no / route");
    assert_eq!(api.fetch(&format!("/content/{guid}/price?ticker=AMZN")).await.0, 200);
    assert_eq!(api.fetch(&format!("/content/{guid}/volatility?ticker=X")).await.0, 400);
    let page = tarball(&[
        (
            "site/manifest.json",
            r#"{"version":1,"metadata":{"appmode":"static","primary_html":"index.html"},"files":{}}"#,
        ),
        ("site/index.html", "<h1>hello</h1>"),
    ]);
    let (guid, _) = api.published("page", "all", page).await;
    assert_eq!(api.fetch(&format!("/content/{guid}/")).await, (200, "<h1>hello</h1>".to_owned()));
    assert_eq!(api.fetch(&format!("/content/{guid}/%2e%2e/1.tar.gz")).await.0, 404);
}

#[tokio::test]
async fn the_first_request_waits_for_the_process() {
    let sandbox = Sandbox::start(Config { spawn_delay: Duration::from_millis(400), ..quick() }).unwrap();
    let api = Api::of(&sandbox);
    let (guid, _) = api.published("app", "all", flask()).await;
    let path = format!("/content/{guid}/stocks/");
    let started = Instant::now();
    api.fetch(&path).await;
    assert!(started.elapsed() >= Duration::from_millis(400));
    let started = Instant::now();
    api.fetch(&path).await;
    assert!(started.elapsed() < Duration::from_millis(390));
}

#[tokio::test]
async fn a_data_directory_is_kept_and_a_temporary_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { data_dir: Some(dir.path().to_owned()), api_key: None, ..quick() };
    let sandbox = Sandbox::start(config.clone()).unwrap();
    let key = sandbox.api_key().to_owned();
    let (guid, _) = Api::of(&sandbox).published("app", "all", flask()).await;
    let counts = sandbox.stop();
    assert!(counts["requests"]["total"].as_u64().unwrap() >= 4);
    let sandbox = Sandbox::start(config).unwrap();
    assert_eq!(sandbox.api_key(), key);
    assert_eq!(Api::of(&sandbox).fetch(&format!("/content/{guid}/stocks/")).await.0, 200);
    let taken = sandbox.url().rsplit(':').next().unwrap().parse::<u16>().unwrap();
    let clash = Config { listen: ([127, 0, 0, 1], taken).into(), ..quick() };
    assert!(Sandbox::start(clash).unwrap_err().to_string().contains("cannot listen"));
}
