//! Load tests against real processes, as people run them.

use std::path::Path;
use std::process::{Command, Output};

use connect_bench::sandbox::Sandbox;
use serde_json::{Value, json};

use crate::watched;

use super::support::{Api, PROGRAM, config, plumber, python, python_bundle};

fn run(arguments: &[&str], runs: &Path) -> Output {
    let mut command = Command::new(PROGRAM);
    for name in ["CONNECT_SERVER", "HTTP_PROXY", "http_proxy", "CONNECT_BENCH_RUNS"] {
        command.env_remove(name);
    }
    let output = watched::with_key(&mut command).args(arguments).arg("--runs-dir").arg(runs).output().unwrap();
    watched::has_no_key(&[&output.stdout, &output.stderr], runs);
    output
}

/// The JSON document of a run; one that was not valid, the machine being busy, has it as well.
fn document(output: &Output) -> Value {
    let code = output.status.code();
    assert!(matches!(code, Some(0 | 121)), "{code:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_test_fetches_real_flask_and_publishes_real_plumber() {
    if !python() || !plumber() {
        return;
    }
    let runs = tempfile::tempdir().unwrap();
    let arguments = ["load", "--sandbox", "--sandbox-content", "processes", "-u", "4", "-d", "5s"];
    let output = tokio::task::block_in_place(|| run(&arguments, runs.path()));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.starts_with(
            "SANDBOX (small+processes), not Posit Connect: a stand-in that ran the content in real processes"
        ),
        "{text} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(matches!(output.status.code(), Some(0 | 121)), "{text}");
    assert!(!text.contains("known capacity"), "{text}");
    let run = std::fs::read_dir(runs.path()).unwrap().next().unwrap().unwrap().path();
    let shown = Command::new(PROGRAM).args(["report", "--json"]).arg(&run).output().unwrap();
    let json: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(json["target"]["sandbox_profile"], "small+processes");
    assert!(json["requests"]["completed"].as_u64().unwrap() > 0, "{json:#}");
    assert_eq!(json["requests"]["failed"], 0, "{json:#}");
}

/// How many requests are in it at once, it counts itself; the most are told in a file.
const COUNTS: &str = r#"
import os, threading, time
lock, now, most = threading.Lock(), 0, 0
def app(environ, start_response):
    global now, most
    with lock:
        now += 1
        most = max(most, now)
        with open(f"{os.environ['MOST']}/{os.getpid()}", "w") as file:
            file.write(str(most))
    time.sleep(0.1)
    with lock:
        now -= 1
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_the_processes_is_where_requests_begin_to_wait_and_the_insight_names_it() {
    if !python() {
        return;
    }
    let sandbox = Sandbox::start(config()).unwrap();
    let api = Api::of(&sandbox);
    for (max, conns) in [(2_u64, 2_u64), (2, 4)] {
        let told = tempfile::tempdir().unwrap();
        let settings = json!({"max_processes": max, "max_conns_per_process": conns});
        let guid = api.create(&format!("counts-{conns}"), settings).await;
        api.set_environment(&guid, "MOST", &told.path().to_string_lossy()).await;
        let task = api.deploy(&guid, python_bundle("python-api", &[("app.py", COUNTS)])).await;
        assert_eq!(task["code"], 0, "{task:#}");
        let runs = tempfile::tempdir().unwrap();
        let arguments = [
            "load",
            "-s",
            &api.url,
            "-k",
            &api.key,
            "--content",
            &guid,
            "--path",
            "/",
            "-u",
            "12",
            "-d",
            "5s",
            "--no-publish",
            "--json",
        ];
        let json = document(&tokio::task::block_in_place(|| run(&arguments, runs.path())));
        assert_eq!(json["requests"]["failed"], 0, "what does not fit waits: {json:#}");
        let insights = json["insights"].as_array().unwrap();
        let named = insights.iter().find(|insight| insight["id"] == "process-limit");
        let named = named.unwrap_or_else(|| panic!("{insights:#?}"));
        assert!(named.to_string().contains(&format!("{} requests at once", max * conns)), "{named:#}");
        // The processes themselves saw as many at once, all of them, and no more.
        let most: Vec<u64> = std::fs::read_dir(told.path())
            .unwrap()
            .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap().parse().unwrap())
            .collect();
        assert_eq!(most, vec![conns; usize::try_from(max).unwrap()]);
    }
}
