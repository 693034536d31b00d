//! A client of the sandbox, and bundles to publish.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use connect_bench::sandbox::{BalancerKind, Config, Profile, Sandbox};
use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

use crate::canary;

pub(crate) const FLASK: &str = r#"{"version":1,"locale":"en_US.UTF-8","metadata":{"appmode":"python-api","entrypoint":"app"},
    "python":{"version":"3.11.7","package_manager":{"name":"pip","version":"24","package_file":"requirements.txt"}},
    "files":{"requirements.txt":{"checksum":""},"app.py":{"checksum":""}}}"#;
pub(crate) const PLUMBER: &str = r#"{"version":1,"locale":"en_US","platform":"4.4.2","metadata":{"appmode":"api"},
    "packages":null,"files":{"plumber.R":{"checksum":""}},"users":null}"#;

pub(crate) fn tarball(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

pub(crate) fn flask() -> Vec<u8> {
    tarball(&[("manifest.json", FLASK), ("requirements.txt", "flask\n"), ("app.py", "app = 1\n")])
}

pub(crate) fn plumber() -> Vec<u8> {
    tarball(&[("manifest.json", PLUMBER), ("plumber.R", "#* @get /price\n")])
}

/// Quick, so that the tests are.
pub(crate) fn quick() -> Config {
    Config {
        api_key: Some(canary::KEY.to_owned()),
        spawn_delay: Duration::from_millis(20),
        deploy_time: Duration::from_millis(60),
        ..Config::new(Profile::Small.shape().unwrap())
    }
}

pub(crate) fn two_nodes(balancer: BalancerKind) -> Config {
    Config { nodes: 2, balancer, ..quick() }
}

/// A client with a key and, perhaps, a cookie jar.
pub(crate) struct Api {
    pub(crate) http: Client,
    pub(crate) url: String,
    pub(crate) key: String,
}

impl Api {
    pub(crate) fn of(sandbox: &Sandbox) -> Self {
        Self { http: Client::new(), url: sandbox.url(), key: sandbox.api_key().to_owned() }
    }

    pub(crate) fn with_jar(sandbox: &Sandbox) -> Self {
        Self { http: Client::builder().cookie_store(true).build().unwrap(), ..Self::of(sandbox) }
    }

    pub(crate) fn with_key(&self, key: &str) -> Self {
        Self { http: Client::new(), url: self.url.clone(), key: key.to_owned() }
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: impl Into<reqwest::Body>,
        kind: Option<&str>,
    ) -> Response {
        let mut request = self.http.request(method, format!("{}{path}", self.url)).body(body);
        if !self.key.is_empty() {
            request = request.header("Authorization", format!("Key {}", self.key));
        }
        if let Some(kind) = kind {
            request = request.header("Content-Type", kind);
        }
        request.send().await.unwrap()
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let path = format!("/__api__/v1{path}");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let response = self.send(method, &path, body, Some("application/json")).await;
        let status = response.status().as_u16();
        let (head, body) = (format!("{:?}", response.headers()), response.text().await.unwrap());
        for told in [&head, &body] {
            assert_eq!(canary::found(told.as_bytes(), canary::KEY), None, "{path}: {told}");
        }
        (status, serde_json::from_str(&body).unwrap_or_default())
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.call(Method::GET, path, Value::Null).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.call(Method::POST, path, body).await
    }

    /// The status and Connect's error code.
    pub(crate) async fn refusal(&self, method: Method, path: &str, body: Value) -> (u16, u64) {
        let (status, body) = self.call(method, path, body).await;
        assert!(body["error"].is_string() && body.get("payload").is_some(), "{status} {body}");
        (status, body["code"].as_u64().unwrap())
    }

    pub(crate) async fn create(&self, body: Value) -> String {
        let (status, content) = self.post("/content", body).await;
        assert_eq!(status, 200, "{content}");
        content["guid"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn upload(&self, guid: &str, bytes: Vec<u8>) -> String {
        let path = format!("/__api__/v1/content/{guid}/bundles");
        let response = self.send(Method::POST, &path, bytes, Some("application/gzip")).await;
        assert_eq!(response.status(), 200);
        id_of(&response.json().await.unwrap())
    }

    pub(crate) async fn deploy(&self, guid: &str, body: Value) -> Value {
        let (status, task) = self.post(&format!("/content/{guid}/deploy"), body).await;
        assert_eq!(status, 202, "{task}");
        self.finished(task["task_id"].as_str().unwrap()).await
    }

    pub(crate) async fn finished(&self, task: &str) -> Value {
        loop {
            let (status, task) = self.get(&format!("/tasks/{task}?wait=5")).await;
            assert_eq!(status, 200, "{task}");
            if task["finished"] == true {
                return task;
            }
        }
    }

    /// Content that is published: its guid and its bundle.
    pub(crate) async fn published(&self, name: &str, access: &str, bytes: Vec<u8>) -> (String, String) {
        let guid = self.create(json!({"name": name, "access_type": access})).await;
        let bundle = self.upload(&guid, bytes).await;
        let task = self.deploy(&guid, json!({ "bundle_id": bundle })).await;
        assert_eq!((&task["code"], &task["error"]), (&json!(0), &json!("")), "{task}");
        (guid, bundle)
    }

    pub(crate) async fn fetch(&self, path: &str) -> (u16, String) {
        let response = self.send(Method::GET, path, "", None).await;
        (response.status().as_u16(), response.text().await.unwrap())
    }
}

pub(crate) fn id_of(object: &Value) -> String {
    object["id"].as_str().unwrap().to_owned()
}

pub(crate) fn multipart(archive: &[u8], metadata: &str) -> Vec<u8> {
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

pub(crate) fn chunked(sandbox: &Sandbox, path: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(sandbox.url().trim_start_matches("http://")).unwrap();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Key {}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
        canary::KEY
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
