//! The runtime settings do what Connect documents.

use std::path::PathBuf;

use connect_bench::sandbox::Sandbox;
use reqwest::Method;
use serde_json::{Value, json};

use super::support::{Api, config, python, python_bundle, until, wsgi};

/// Content whose `/held` answers once a file is there.
struct Held {
    folder: tempfile::TempDir,
    go: PathBuf,
    guid: String,
}

impl Held {
    async fn new(api: &Api, name: &str, settings: Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let go = folder.path().join("go");
        let guid = api.create(name, settings).await;
        api.set_environment(&guid, "GO", &go.to_string_lossy()).await;
        let task = api.deploy(&guid, wsgi()).await;
        assert_eq!(task["code"], 0, "{task:#}");
        Self { folder, go, guid }
    }

    /// How many requests are in the handlers of all processes.
    fn inside(&self) -> usize {
        let files = std::fs::read_dir(self.folder.path()).unwrap();
        files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap().parse::<usize>().unwrap_or(0)).sum()
    }

    fn ask(&self, api: &Api) -> tokio::task::JoinHandle<(u16, String)> {
        let (api, guid) = (api.clone(), self.guid.clone());
        tokio::spawn(async move { api.fetch(&guid, "/held").await })
    }
}

#[tokio::test]
async fn processes_times_connections_are_served_at_once_the_rest_waits_or_is_refused() {
    if !python() {
        return;
    }
    let sandbox = Sandbox::start(config()).unwrap();
    let api = Api::of(&sandbox);
    for (max, conns) in [(2, 2), (2, 4), (3, 1)] {
        let slots = max * conns;
        let settings = json!({"max_processes": max, "max_conns_per_process": conns});
        let held = Held::new(&api, &format!("held-{max}-{conns}"), settings).await;
        // The queue takes four times as many as the processes; three more are refused.
        let asked: Vec<_> = (0..5 * slots + 3).map(|_| held.ask(&api)).collect();
        until("the processes are full and so is the queue", async || {
            let node = api.node().await;
            node["in_flight"] == slots && node["waiting_for_a_process"] == 4 * slots && held.inside() == slots
        })
        .await;
        until("the others are refused", async || asked.iter().filter(|asked| asked.is_finished()).count() == 3).await;
        assert_eq!(api.jobs(&held.guid).await.1, max);
        std::fs::write(&held.go, "").unwrap();
        let (mut served, mut refused, mut most) = (0, 0, std::collections::BTreeMap::new());
        for asked in asked {
            match asked.await.unwrap() {
                (200, text) => {
                    let told: Value = serde_json::from_str(&text).unwrap();
                    let seen = most.entry(told["pid"].as_u64().unwrap()).or_insert(0);
                    *seen = told["most"].as_u64().unwrap().max(*seen);
                    served += 1;
                }
                (503, text) => {
                    assert!(text.contains("at capacity"), "{text}");
                    refused += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((served, refused), (5 * slots, 3));
        assert_eq!(most.into_values().collect::<Vec<_>>(), vec![conns as u64; max], "each process, by its own count");
    }
}

#[tokio::test]
async fn processes_stop_when_idle_and_the_next_request_starts_one() {
    if !python() {
        return;
    }
    let sandbox = Sandbox::start(config()).unwrap();
    let api = Api::of(&sandbox);
    let guid = api.serving("idles", json!({"idle_timeout": 0}), wsgi()).await;
    until("it stops", async || api.jobs(&guid).await.1 == 0).await;
    assert_eq!(api.fetch(&guid, "/").await.0, 200);
    until("it stops again", async || api.jobs(&guid).await.1 == 0).await;
    let (jobs, _) = api.jobs(&guid).await;
    assert!(jobs.len() == 2 && jobs[0]["exit_code"] == 143, "{jobs:?}");

    // Those that are to be kept start without a request, and stay.
    let (status, _) = api.call(Method::PATCH, &format!("/content/{guid}"), r#"{"min_processes":2}"#).await;
    assert_eq!(status, 200);
    until("two are kept", async || api.jobs(&guid).await.1 == 2).await;
    assert_eq!(api.fetch(&guid, "/").await.0, 200);
}

#[tokio::test]
async fn what_is_kept_starts_with_the_server() {
    if !python() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let config = || connect_bench::sandbox::Config { data_dir: Some(folder.path().to_owned()), ..config() };
    let sandbox = Sandbox::start(config()).unwrap();
    let guid = Api::of(&sandbox).serving("kept", json!({"min_processes": 1}), wsgi()).await;
    let pid: i32 = Api::of(&sandbox).fetch(&guid, "/pid").await.1.parse().unwrap();
    let _ = sandbox.stop();
    assert!(!super::support::alive(pid), "it ended with its sandbox");
    let sandbox = Sandbox::start(config()).unwrap();
    let api = Api::of(&sandbox);
    until("it starts by itself", async || api.jobs(&guid).await.1 == 1).await;
}

#[tokio::test]
async fn a_process_that_hangs_costs_its_client_the_connection_timeout() {
    if !python() {
        return;
    }
    let sandbox = Sandbox::start(config()).unwrap();
    let api = Api::of(&sandbox);
    let held = Held::new(&api, "hangs", json!({"connection_timeout": 1})).await;
    let (status, text) = api.fetch(&held.guid, "/held").await;
    assert!(status == 504 && text.contains("connection timeout"), "{status} {text}");
    assert_eq!(api.fetch(&held.guid, "/").await.0, 200);
}

#[tokio::test]
async fn a_process_that_takes_too_long_to_start_is_told_and_ended() {
    if !python() {
        return;
    }
    let sandbox = Sandbox::start(config()).unwrap();
    let api = Api::of(&sandbox);
    let folder = tempfile::tempdir().unwrap();
    // It starts well the first time, and never again.
    let app = "import os, time\nif os.path.exists(os.environ['ONCE']):\n    time.sleep(9999)\n\
               open(os.environ['ONCE'], 'w').close()\n"
        .to_owned()
        + super::support::WSGI;
    let guid = api.create("late", json!({"init_timeout": 60, "idle_timeout": 0})).await;
    api.set_environment(&guid, "ONCE", &folder.path().join("once").to_string_lossy()).await;
    let task = api.deploy(&guid, python_bundle("python-api", &[("app.py", &app)])).await;
    assert_eq!(task["code"], 0, "{task:#}");
    until("it stops", async || api.jobs(&guid).await.1 == 0).await;
    let (status, _) = api.call(Method::PATCH, &format!("/content/{guid}"), r#"{"init_timeout":1}"#).await;
    assert_eq!(status, 200);
    let (status, text) = api.fetch(&guid, "/").await;
    assert_eq!(status, 503, "{text}");
    assert!(text.contains("Unable to connect to worker after 1.00 seconds; startup took too long"), "{text}");
    until("it is ended", async || api.jobs(&guid).await.1 == 0).await;
}

#[tokio::test]
async fn a_crash_is_an_error_page_and_a_new_process() {
    if !python() {
        return;
    }
    let sandbox = Sandbox::start(config()).unwrap();
    let api = Api::of(&sandbox);
    let guid = api.serving("crashes", json!({}), wsgi()).await;
    for round in 1..=2 {
        let (status, text) = api.fetch(&guid, "/crash").await;
        assert!(status == 502 && text.contains("not Posit Connect"), "{status} {text}");
        until("its end is known", async || api.jobs(&guid).await.1 == 0).await;
        assert_eq!(api.fetch(&guid, "/").await, (200, "hello".to_owned()));
        let (jobs, run) = api.jobs(&guid).await;
        assert_eq!((jobs.len(), run, &jobs[1]["exit_code"]), (round + 1, 1, &json!(3)));
        let log = api.get(&format!("/content/{guid}/jobs/{}/log", jobs[1]["key"].as_str().unwrap())).await;
        assert!(log.to_string().contains("crashing now"), "{log}");
    }
}

#[tokio::test]
async fn a_redeploy_lets_old_requests_finish_in_the_old_process() {
    if !python() {
        return;
    }
    let sandbox = Sandbox::start(config()).unwrap();
    let api = Api::of(&sandbox);
    let held = Held::new(&api, "replaced", json!({})).await;
    let old = held.ask(&api);
    until("the old process has it", async || held.inside() == 1).await;
    let (_, pid) = api.fetch(&held.guid, "/pid").await;
    let task = api.deploy(&held.guid, wsgi()).await;
    assert_eq!(task["code"], 0, "{task:#}");
    let (status, new_pid) = api.fetch(&held.guid, "/pid").await;
    assert!(status == 200 && new_pid != pid, "{pid} {new_pid}");
    assert!(!old.is_finished());
    std::fs::write(&held.go, "").unwrap();
    let (status, text) = old.await.unwrap();
    assert!(status == 200 && text.contains(&pid), "{status} {text}");
    until("the old process ends", async || api.jobs(&held.guid).await.1 == 1).await;
}
