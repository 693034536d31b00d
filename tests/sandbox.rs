//! The sandbox over its real door: the whole publish flow, the refusals, the nodes, the counts.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail where the test does")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use base64::Engine as _;
use connect_bench::sandbox::{BalancerKind, Config, ExtraUser, Profile, Restart, Sandbox, Stall};
use flate2::Compression;
use flate2::write::GzEncoder;
use md5::{Digest as _, Md5};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

const FLASK: &str = r#"{"version":1,"locale":"en_US.UTF-8","metadata":{"appmode":"python-api","entrypoint":"app"},
    "python":{"version":"3.11.7","package_manager":{"name":"pip","version":"24","package_file":"requirements.txt"}},
    "files":{"requirements.txt":{"checksum":""},"app.py":{"checksum":""}}}"#;
const PLUMBER: &str = r#"{"version":1,"locale":"en_US","platform":"4.4.2","metadata":{"appmode":"api"},
    "packages":null,"files":{"plumber.R":{"checksum":""}},"users":null}"#;

fn tarball(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

fn flask() -> Vec<u8> {
    tarball(&[("manifest.json", FLASK), ("requirements.txt", "flask\n"), ("app.py", "app = 1\n")])
}

fn plumber() -> Vec<u8> {
    tarball(&[("manifest.json", PLUMBER), ("plumber.R", "#* @get /price\n")])
}

/// Quick, so that the tests are.
fn quick() -> Config {
    Config {
        api_key: Some("the-key".to_owned()),
        spawn_delay: Duration::from_millis(20),
        deploy_time: Duration::from_millis(60),
        ..Config::new(Profile::Small.shape().unwrap())
    }
}

fn two_nodes(balancer: BalancerKind) -> Config {
    Config { nodes: 2, balancer, ..quick() }
}

/// A client with a key and, perhaps, a cookie jar.
struct Api {
    http: Client,
    url: String,
    key: String,
}

impl Api {
    fn of(sandbox: &Sandbox) -> Self {
        Self { http: Client::new(), url: sandbox.url(), key: sandbox.api_key().to_owned() }
    }

    fn with_jar(sandbox: &Sandbox) -> Self {
        Self { http: Client::builder().cookie_store(true).build().unwrap(), ..Self::of(sandbox) }
    }

    fn with_key(&self, key: &str) -> Self {
        Self { http: Client::new(), url: self.url.clone(), key: key.to_owned() }
    }

    async fn send(&self, method: Method, path: &str, body: impl Into<reqwest::Body>, kind: Option<&str>) -> Response {
        let mut request = self.http.request(method, format!("{}{path}", self.url)).body(body);
        if !self.key.is_empty() {
            request = request.header("Authorization", format!("Key {}", self.key));
        }
        if let Some(kind) = kind {
            request = request.header("Content-Type", kind);
        }
        request.send().await.unwrap()
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let path = format!("/__api__/v1{path}");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let response = self.send(method, &path, body, Some("application/json")).await;
        let status = response.status().as_u16();
        (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default())
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.call(Method::GET, path, Value::Null).await
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.call(Method::POST, path, body).await
    }

    /// The status and Connect's error code.
    async fn refusal(&self, method: Method, path: &str, body: Value) -> (u16, u64) {
        let (status, body) = self.call(method, path, body).await;
        assert!(body["error"].is_string() && body.get("payload").is_some(), "{status} {body}");
        (status, body["code"].as_u64().unwrap())
    }

    async fn create(&self, body: Value) -> String {
        let (status, content) = self.post("/content", body).await;
        assert_eq!(status, 200, "{content}");
        content["guid"].as_str().unwrap().to_owned()
    }

    async fn upload(&self, guid: &str, bytes: Vec<u8>) -> String {
        let path = format!("/__api__/v1/content/{guid}/bundles");
        let response = self.send(Method::POST, &path, bytes, Some("application/gzip")).await;
        assert_eq!(response.status(), 200);
        id_of(&response.json().await.unwrap())
    }

    async fn deploy(&self, guid: &str, body: Value) -> Value {
        let (status, task) = self.post(&format!("/content/{guid}/deploy"), body).await;
        assert_eq!(status, 202, "{task}");
        self.finished(task["task_id"].as_str().unwrap()).await
    }

    async fn finished(&self, task: &str) -> Value {
        loop {
            let (status, task) = self.get(&format!("/tasks/{task}?wait=5")).await;
            assert_eq!(status, 200, "{task}");
            if task["finished"] == true {
                return task;
            }
        }
    }

    /// Content that is published: its guid and its bundle.
    async fn published(&self, name: &str, access: &str, bytes: Vec<u8>) -> (String, String) {
        let guid = self.create(json!({"name": name, "access_type": access})).await;
        let bundle = self.upload(&guid, bytes).await;
        let task = self.deploy(&guid, json!({ "bundle_id": bundle })).await;
        assert_eq!((&task["code"], &task["error"]), (&json!(0), &json!("")), "{task}");
        (guid, bundle)
    }

    async fn fetch(&self, path: &str) -> (u16, String) {
        let response = self.send(Method::GET, path, "", None).await;
        (response.status().as_u16(), response.text().await.unwrap())
    }
}

fn id_of(object: &Value) -> String {
    object["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn everything_says_that_it_is_a_sandbox() {
    let sandbox = Sandbox::start(quick()).unwrap();
    for path in ["/__ping__", "/__api__/server_settings", "/__api__/nothing", "/content/x/", "/", "/__sandbox__/stats"]
    {
        let response = reqwest::get(format!("{}{path}", sandbox.url())).await.unwrap();
        let server = response.headers()["server"].to_str().unwrap();
        assert!(
            server.starts_with("connect-bench-sandbox/") && server.contains("not Posit Connect"),
            "{path}: {server}"
        );
    }
    let settings: Value =
        reqwest::get(format!("{}/__api__/server_settings", sandbox.url())).await.unwrap().json().await.unwrap();
    assert_eq!(
        (&settings["sandbox"], &settings["version"], &settings["hostname"]),
        (&json!(true), &json!("2025.09.0"), &json!("sandbox-1"))
    );
    let ping = reqwest::get(format!("{}/__ping__", sandbox.url())).await.unwrap();
    assert_eq!(ping.headers()["content-type"], "application/json; charset=utf-8");
    assert_eq!(ping.text().await.unwrap(), "{}");
}

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

fn multipart(archive: &[u8], metadata: &str) -> Vec<u8> {
    let mut form = b"--XX\r\nContent-Disposition: form-data; name=\"archive\"; filename=\"bundle.tar.gz\"\r\n\
        Content-Type: application/x-tar\r\n\r\n"
        .to_vec();
    form.extend_from_slice(archive);
    form.extend_from_slice(
        format!("\r\n--XX\r\nContent-Disposition: form-data; name=\"metadata\"\r\n\r\n{metadata}\r\n--XX--\r\n")
            .as_bytes(),
    );
    form
}

fn chunked(sandbox: &Sandbox, path: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(sandbox.url().trim_start_matches("http://")).unwrap();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Key the-key\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    for chunk in bytes.chunks(100) {
        write!(stream, "{:x}\r\n", chunk.len()).unwrap();
        stream.write_all(chunk).unwrap();
        stream.write_all(b"\r\n").unwrap();
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
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
        let response = request.header("X-RSC-Authorization", "the-key").body(flask()).send().await.unwrap();
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
async fn refusals_have_connects_codes() {
    let sandbox = Sandbox::start(quick()).unwrap();
    let api = Api::of(&sandbox);
    let nobody = api.with_key("");
    assert_eq!(nobody.refusal(Method::GET, "/user", Value::Null).await, (401, 24));
    assert_eq!(api.with_key("wrong").refusal(Method::GET, "/user", Value::Null).await, (401, 30));
    assert_eq!(api.refusal(Method::GET, "/nothing", Value::Null).await, (404, 2));
    assert_eq!(api.refusal(Method::GET, "/content/nothing", Value::Null).await, (404, 4));
    assert_eq!(api.refusal(Method::POST, "/content", json!({"name": "x"})).await, (400, 5));
    assert_eq!(api.refusal(Method::POST, "/content", json!([])).await, (400, 121));
    assert_eq!(api.refusal(Method::GET, "/tasks/nothing", Value::Null).await, (404, 141));
    let (one, bundle) = api.published("one", "acl", flask()).await;
    assert_eq!(api.refusal(Method::POST, "/content", json!({"name": "one"})).await, (409, 26));
    let two = api.create(json!({"name": "two"})).await;
    let deploy = |guid: &str| format!("/content/{guid}/deploy");
    assert_eq!(api.refusal(Method::POST, &deploy(&two), json!({})).await, (404, 28));
    assert_eq!(api.refusal(Method::POST, &deploy(&two), json!({ "bundle_id": bundle })).await, (400, 82));
    assert_eq!(api.refusal(Method::POST, &deploy(&one), json!({"bundle_id": "x"})).await, (400, 3));
    let other = api.upload(&one, plumber()).await;
    assert_eq!(api.refusal(Method::POST, &deploy(&one), json!({ "bundle_id": other })).await, (403, 48));
    let active = format!("/content/{one}/bundles/{bundle}");
    assert_eq!(api.refusal(Method::DELETE, &active, Value::Null).await, (400, 75));
    let inactive = format!("/content/{one}/bundles/{other}");
    assert_eq!(api.call(Method::DELETE, &inactive, Value::Null).await.0, 204);
    assert_eq!(api.refusal(Method::GET, &inactive, Value::Null).await, (404, 4));
    assert_eq!(api.refusal(Method::GET, &format!("/content/{one}?include=x"), Value::Null).await, (400, 161));
    assert_eq!(api.call(Method::DELETE, &format!("/content/{one}"), Value::Null).await.0, 204);
    assert_eq!(api.refusal(Method::GET, &format!("/content/{one}"), Value::Null).await, (404, 4));
    assert_eq!(api.fetch(&format!("/content/{one}/")).await.0, 404);
    assert_eq!(api.post("/content", json!({"name": "one"})).await.0, 200, "the name is free again");
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
async fn process_settings_are_kept_and_checked() {
    let sandbox = Sandbox::start(quick()).unwrap();
    let api = Api::of(&sandbox);
    let guid = api.create(json!({"name": "app", "max_processes": 5})).await;
    let path = format!("/content/{guid}");
    let (status, content) =
        api.call(Method::PATCH, &path, json!({"min_processes": 2, "title": "Title", "load_factor": 0.0})).await;
    assert_eq!(status, 200);
    assert_eq!(
        (&content["max_processes"], &content["min_processes"], &content["title"]),
        (&json!(5), &json!(2), &json!("Title"))
    );
    assert_eq!(api.refusal(Method::PATCH, &path, json!({"min_processes": 6})).await, (400, 114));
    assert_eq!(api.refusal(Method::PATCH, &path, json!({"idle_timeout": -1})).await, (400, 151));
    assert_eq!(api.call(Method::PATCH, &path, json!({})).await.0, 200);
    let (_, found) = api.get("/content?name=app").await;
    assert_eq!(found.as_array().unwrap().len(), 1);
    assert_eq!(api.get("/content?name=ap").await.1, json!([]));
    assert_eq!(api.get("/search/content?q=TIT").await.1["total"], 1);
    let settings = api.fetch("/__api__/server_settings/scheduler/python-api").await.1;
    assert!(settings.contains("\"max_processes\":3"), "{settings}");
    assert!(api.fetch("/__api__/server_settings/applications").await.1.contains("logged_in"));
    for (name, status) in [("python", 200), ("r", 200), ("quarto", 200), ("nodejs", 404)] {
        assert_eq!(api.get(&format!("/server_settings/{name}")).await.0, status, "{name}");
    }
    assert_eq!(api.get("/user").await.1["user_role"], "administrator");
}

#[tokio::test]
async fn environment_vanity_and_tags() {
    let sandbox = Sandbox::start(quick()).unwrap();
    let api = Api::of(&sandbox);
    let (guid, _) = api.published("app", "all", flask()).await;
    let environment = format!("/content/{guid}/environment");
    let set = json!([{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]);
    assert_eq!(api.call(Method::PATCH, &environment, set).await, (200, json!(["A", "B"])));
    assert_eq!(api.call(Method::PATCH, &environment, json!([{"name": "A", "value": null}])).await.1, json!(["B"]));
    assert_eq!(api.call(Method::PUT, &environment, json!([{"name": "C", "value": "3"}])).await.1, json!(["C"]));
    assert_eq!(api.get(&environment).await.1, json!(["C"]));

    let vanity = format!("/content/{guid}/vanity");
    assert_eq!(api.refusal(Method::GET, &vanity, Value::Null).await, (404, 4));
    assert_eq!(api.call(Method::PUT, &vanity, json!({"path": "/shares"})).await.1["path"], "/shares/");
    assert_eq!(api.fetch("/shares/stocks/").await.0, 200);
    assert_eq!(api.fetch("/shares").await.0, 200, "redirected to the slash");
    let other = api.create(json!({})).await;
    let theirs = format!("/content/{other}/vanity");
    assert_eq!(api.refusal(Method::PUT, &theirs, json!({"path": "/shares/"})).await, (409, 51));
    assert_eq!(api.refusal(Method::PUT, &theirs, json!({"path": "/content/"})).await, (400, 52));
    assert_eq!(api.call(Method::PUT, &theirs, json!({"path": "/shares/", "force": true})).await.0, 200);
    assert_eq!(api.get("/vanities").await.1[0]["content_guid"], json!(other));
    assert_eq!(api.call(Method::DELETE, &theirs, Value::Null).await.0, 204);
    assert_eq!(api.fetch("/shares/stocks/").await.0, 404);

    let (status, tag) = api.post("/tags", json!({"name": "bench"})).await;
    assert_eq!(status, 201);
    api.post(&format!("/content/{guid}/tags"), json!({"tag_id": tag["id"]})).await;
    let (_, content) = api.get(&format!("/content/{guid}?include=owner,tags,vanity_url")).await;
    assert_eq!((&content["tags"][0]["name"], &content["owner"]["username"]), (&json!("bench"), &json!("admin")));
}

#[tokio::test]
async fn who_may_fetch_and_change_what() {
    let user = |name: &str, role: &str| ExtraUser {
        name: name.to_owned(),
        role: role.to_owned(),
        api_key: Some(format!("key-of-{name}")),
    };
    let config = Config { extra_users: vec![user("pat", "publisher"), user("vic", "viewer")], ..quick() };
    let sandbox = Sandbox::start(config).unwrap();
    let admin = Api::of(&sandbox);
    let (pat, vic, nobody) = (admin.with_key("key-of-pat"), admin.with_key("key-of-vic"), admin.with_key(""));
    for (access, key, without) in [("all", 200, 200), ("logged_in", 200, 401), ("acl", 403, 401)] {
        let (guid, _) = pat.published(&format!("app-{access}"), access, flask()).await;
        let path = format!("/content/{guid}/stocks/");
        assert_eq!((pat.fetch(&path).await.0, admin.fetch(&path).await.0), (200, 200), "{access}");
        assert_eq!((vic.fetch(&path).await.0, nobody.fetch(&path).await.0), (key, without), "{access}");
    }
    assert_eq!(vic.refusal(Method::POST, "/content", json!({})).await, (403, 22));
    let (_, mine) = pat.get("/content?name=app-acl").await;
    let guid = mine[0]["guid"].as_str().unwrap();
    let path = format!("/content/{guid}");
    assert_eq!(vic.refusal(Method::GET, &path, Value::Null).await, (404, 4));
    let (_, people) = pat.get("/users").await;
    let people = people["results"].as_array().unwrap();
    let vics = &people.iter().find(|person| person["username"] == "vic").unwrap()["guid"];
    let grant = json!({"principal_guid": vics, "principal_type": "user", "role": "viewer"});
    let (status, permission) = pat.post(&format!("{path}/permissions"), grant).await;
    assert_eq!(status, 200, "{permission}");
    assert_eq!(vic.get(&path).await.1["app_role"], "viewer");
    assert_eq!(vic.refusal(Method::PATCH, &path, json!({})).await, (403, 22));
    assert_eq!(vic.fetch(&format!("/content/{guid}/stocks/")).await.0, 200);
    let permission = format!("{path}/permissions/{}", id_of(&permission));
    assert_eq!(pat.call(Method::DELETE, &permission, Value::Null).await.0, 204);
    assert_eq!(vic.fetch(&format!("/content/{guid}/stocks/")).await.0, 403);
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
            Ok(response) if response.status() == 502 => bad_gateway += 1,
            Ok(response) => moved = response.headers().contains_key("set-cookie"),
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
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
    let lost = api.http.get(&path).header("Authorization", "Key the-key").send().await;
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
