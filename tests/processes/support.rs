//! A sandbox with real processes, what is deployed to it, and a look at what is left.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use connect_bench::sandbox::{Config, Limits, ProcessOptions, Profile, Sandbox};
use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

use crate::watched::canary;

/// Nothing here takes as long, however busy the machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_connect-bench");

/// An application without any package: it answers what it is asked for.
pub(crate) const WSGI: &str = r#"
import json, os, sys, threading, time
lock, now, most = threading.Lock(), 0, 0
print("the application is loaded")
def app(environ, start_response):
    global now, most
    path = environ["PATH_INFO"]
    text = "hello"
    if path == "/env":
        text = json.dumps({**dict(os.environ), "cwd": os.getcwd()})
    elif path == "/headers":
        text = json.dumps({name: value for name, value in environ.items() if isinstance(value, str)})
    elif path == "/body":
        text = str(len(environ["wsgi.input"].read()))
    elif path == "/pid":
        text = str(os.getpid())
    elif path == "/crash":
        print("crashing now", flush=True)
        os._exit(3)
    elif path == "/held":
        # Until the file `go` is there. How many are in here is told beside it, and the most in the answer.
        with lock:
            now += 1
            most = max(most, now)
            with open(f"{os.environ['GO']}.{os.getpid()}", "w") as file:
                file.write(str(now))
        while not os.path.exists(os.environ["GO"]):
            time.sleep(0.005)
        with lock:
            now -= 1
        text = json.dumps({"pid": os.getpid(), "most": most})
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))])
    return [text.encode()]
"#;

/// Whether Python can be had here; says why not.
pub(crate) fn python() -> bool {
    there("python3", &["-c", "import venv, ensurepip"])
}

/// Whether R with plumber can be had here; says why not.
pub(crate) fn plumber() -> bool {
    there("Rscript", &["-e", "library(plumber)"])
}

fn there(program: &str, arguments: &[&str]) -> bool {
    let found = Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success());
    assert!(found || std::env::var_os("CI").is_none(), "{program} {arguments:?} does not work here");
    if !found {
        eprintln!("skipped: {program} {arguments:?} does not work here");
    }
    found
}

/// Where environments are kept from test to test.
pub(crate) fn environments() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("environments")
}

/// A sandbox with real processes.
pub(crate) fn config() -> Config {
    let limits = Limits::default();
    let processes = ProcessOptions { guard: PROGRAM.into(), limits, environments: Some(environments()) };
    Config {
        api_key: Some(canary::KEY.to_owned()),
        processes: Some(processes),
        ..Config::new(Profile::Small.shape().unwrap())
    }
}

/// A bundle of these files, with a manifest of that mode before them.
pub(crate) fn python_bundle(mode: &str, files: &[(&str, &str)]) -> Vec<u8> {
    let manifest = json!({
        "version": 1, "metadata": {"appmode": mode, "entrypoint": "app"},
        "python": {"version": "3.11.7", "package_manager": {"name": "pip", "package_file": "requirements.txt"}},
    });
    let mut all = vec![("manifest.json", manifest.to_string())];
    if !files.iter().any(|(path, _)| *path == "requirements.txt") {
        all.push(("requirements.txt", String::new()));
    }
    all.extend(files.iter().map(|(path, text)| (*path, (*text).to_owned())));
    tarball(&all)
}

/// The WSGI application above.
pub(crate) fn wsgi() -> Vec<u8> {
    python_bundle("python-api", &[("app.py", WSGI)])
}

pub(crate) fn tarball(files: &[(&str, String)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

/// A fixture of ours as a bundle.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let read = |path: &PathBuf| std::fs::read_to_string(path).unwrap();
    let files: Vec<(String, String)> =
        files.iter().map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), read(path))).collect();
    tarball(&files.iter().map(|(name, text)| (name.as_str(), text.clone())).collect::<Vec<_>>())
}

/// A client.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) http: Client,
    pub(crate) url: String,
    pub(crate) key: String,
}

impl Api {
    pub(crate) fn of(sandbox: &Sandbox) -> Self {
        Self { http: Client::new(), url: sandbox.url(), key: sandbox.api_key().to_owned() }
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
        let response = self.request(method, &format!("/__api__/v1{path}"), body).await;
        let (status, body) = (response.status().as_u16(), response.text().await.unwrap());
        // Logs of content are among what is asked for.
        assert_eq!(canary::found(body.as_bytes(), canary::KEY), None, "{path}: {body}");
        (status, serde_json::from_str(&body).unwrap_or_default())
    }

    pub(crate) async fn request(&self, method: Method, path: &str, body: impl Into<reqwest::Body>) -> Response {
        let request = self.http.request(method, format!("{}{path}", self.url)).body(body);
        request.header("Authorization", format!("Key {}", self.key)).send().await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, value) = self.call(Method::GET, path, "").await;
        assert_eq!(status, 200, "{path}: {value}");
        value
    }

    /// What a content item answers: status and text.
    pub(crate) async fn fetch(&self, guid: &str, path: &str) -> (u16, String) {
        let response = self.http.get(format!("{}/content/{guid}{path}", self.url)).send().await.unwrap();
        let (status, body) = (response.status().as_u16(), response.text().await.unwrap());
        assert_eq!(canary::found(body.as_bytes(), canary::KEY), None, "{path}: {body}");
        (status, body)
    }

    pub(crate) async fn create(&self, name: &str, settings: Value) -> String {
        let mut body = json!({"name": name, "access_type": "all"});
        body.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let (status, content) = self.call(Method::POST, "/content", body.to_string()).await;
        assert_eq!(status, 200, "{content}");
        content["guid"].as_str().unwrap().to_owned()
    }

    /// Uploads and deploys: the task at its end.
    pub(crate) async fn deploy(&self, guid: &str, bundle: Vec<u8>) -> Value {
        let (status, made) = self.call(Method::POST, &format!("/content/{guid}/bundles"), bundle).await;
        assert_eq!(status, 200, "{made}");
        let body = json!({"bundle_id": made["id"]}).to_string();
        let (status, task) = self.call(Method::POST, &format!("/content/{guid}/deploy"), body).await;
        assert_eq!(status, 202, "{task}");
        loop {
            let state = self.get(&format!("/tasks/{}?wait=5", task["task_id"].as_str().unwrap())).await;
            if state["finished"] == true {
                return state;
            }
        }
    }

    /// New content that serves this bundle.
    pub(crate) async fn serving(&self, name: &str, settings: Value, bundle: Vec<u8>) -> String {
        let guid = self.create(name, settings).await;
        let task = self.deploy(&guid, bundle).await;
        assert_eq!(task["code"], 0, "{task:#}");
        guid
    }

    pub(crate) async fn set_environment(&self, guid: &str, name: &str, value: &str) {
        let body = json!([{"name": name, "value": value}]).to_string();
        let (status, answer) = self.call(Method::PATCH, &format!("/content/{guid}/environment"), body).await;
        assert_eq!(status, 200, "{answer}");
    }

    /// The processes of a content item, newest first, and how many of them run.
    pub(crate) async fn jobs(&self, guid: &str) -> (Vec<Value>, usize) {
        let jobs = self.get(&format!("/content/{guid}/jobs")).await.as_array().unwrap().clone();
        let run = jobs.iter().filter(|job| job["end_time"].is_null()).count();
        (jobs, run)
    }

    /// The figures of the first node.
    pub(crate) async fn node(&self) -> Value {
        let response = self.http.get(format!("{}/__sandbox__/stats", self.url)).send().await.unwrap();
        response.json::<Value>().await.unwrap()["nodes"][0].clone()
    }
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is().await {
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Whether a process is there; one that has ended and was not collected is not.
pub(crate) fn alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with(['Z', 'X']))
}

/// The lines of a task's log.
pub(crate) fn log(task: &Value) -> String {
    let lines = task["output"].as_array().unwrap().iter().map(|line| line.as_str().unwrap());
    lines.collect::<Vec<_>>().join("\n")
}
