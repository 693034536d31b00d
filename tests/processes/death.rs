//! Nothing is left, however the sandbox ends.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::support::{Api, PROGRAM, alive, environments, python, python_bundle, until};

/// Its child has left its group and its session; it ignores being asked to end.
const APP: &str = r#"
import os, signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(9999)"], start_new_session=True)
def app(environ, start_response):
    start_response("200 OK", [])
    return [f"{os.getppid()} {os.getpid()} {child.pid}".encode()]
"#;

#[tokio::test]
async fn processes_and_their_children_end_when_the_sandbox_is_killed_or_told_to_end() {
    if !python() {
        return;
    }
    for signal in [Signal::KILL, Signal::TERM] {
        let mut child = Command::new(PROGRAM)
            .args(["sandbox", "--content", "processes", "--environments"])
            .arg(environments())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut value = || lines.next().unwrap().unwrap().split_once('=').unwrap().1.to_owned();
        let api = Api { http: reqwest::Client::new(), url: value(), key: value() };
        let guid = api.serving("stubborn", json!({}), python_bundle("python-api", &[("app.py", APP)])).await;
        let (_, text) = api.fetch(&guid, "/").await;
        let pids: Vec<i32> = text.split(' ').map(|pid| pid.parse().unwrap()).collect();
        assert!(pids.len() == 3 && pids.iter().all(|pid| alive(*pid)), "guard, process, child: {text}");
        kill_process(Pid::from_child(&child), signal).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.success(), signal == Signal::TERM, "{status}");
        if signal == Signal::TERM {
            assert!(!pids.iter().any(|pid| alive(*pid)), "it waits for their end: {text}");
        }
        until("all are gone", async || !pids.iter().any(|pid| alive(*pid))).await;
    }
}
