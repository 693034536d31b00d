//! The live page of a run that is on, in a real browser, and by what others might ask of it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::{tools, watched};

/// A run with a live page; killed with this value if it is still on.
struct Run {
    child: Child,
    place: tempfile::TempDir,
    url: String,
}

impl Run {
    fn start(flags: &[&str]) -> Run {
        let place = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_connect-bench"));
        for name in ["CONNECT_SERVER", "CONNECT_BENCH_RUNS", "CONNECT_BENCH_LOG", "CI"] {
            command.env_remove(name);
        }
        let out = std::fs::File::create(place.path().join("out.json")).unwrap();
        watched::with_key(&mut command)
            .current_dir(place.path())
            .args(["load", "--sandbox=small", "--web", "--json", "-q"])
            .args(flags);
        let mut child = command.stdin(Stdio::null()).stdout(out).stderr(Stdio::piped()).spawn().unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        errors.read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("live page: ");
        assert!(url.is_some(), "{line}");
        let url = url.unwrap_or_default().to_owned();
        // What else it says must not fill the pipe.
        let said = place.path().join("err");
        std::thread::spawn(move || std::io::copy(&mut errors, &mut std::fs::File::create(said).unwrap()));
        Run { child, place, url }
    }

    fn document(&mut self) -> Value {
        self.child.wait().unwrap();
        watched::has_no_key(&[], self.place.path());
        serde_json::from_str(&std::fs::read_to_string(self.place.path().join("out.json")).unwrap()).unwrap()
    }

    /// The head of the answer to a request.
    fn ask(&self, method: &str, path: &str, headers: &str) -> String {
        let address = self.url.strip_prefix("http://").unwrap().split('/').next().unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "{method} {path} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n").unwrap();
        let mut lines = BufReader::new(stream).lines();
        let head = lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty());
        let head: String = head.map(|line| line + "\n").collect();
        watched::has_no_key(&[head.as_bytes()], self.place.path());
        head
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // One that has ended needs nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_live_page_shows_the_run_says_when_it_is_stale_and_ends_with_the_figures_of_the_report() {
    let (Some(chromium), Some(axe), Some(python)) = (tools::chromium(), tools::axe(), tools::interpreter()) else {
        return;
    };
    let mut run = Run::start(&["-u", "4", "--warmup", "1s", "-d", "30s"]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/report/live.py");
    let pid = run.child.id().to_string();
    let output =
        Command::new(python).arg("-B").arg(script).arg(chromium).arg(axe).args([&run.url, &pid]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["console"], serde_json::json!([]));
    assert_eq!(told["violations"], serde_json::json!([]));
    assert_eq!(told["wider_than_a_phone"], false);
    assert!(told["stale"].as_str().unwrap().contains("nothing was heard for"), "{told}");
    assert_eq!((&told["kept_open"], &told["scripts"]), (&true.into(), &1.into()));
    assert!(told["first_second"].as_str().unwrap().starts_with("0:00"), "seen from its beginning: {told}");
    assert!(told["now"].as_str().unwrap().contains("4 VUs"), "{told}");
    assert!(told["last"].as_str().unwrap().starts_with("The run is over"), "{told}");
    for request in told["requests"].as_array().unwrap() {
        assert!(request.as_str().unwrap().starts_with(&run.url), "{request}");
    }
    let document = run.document();
    let figures = told["figures"].as_object().unwrap();
    assert!(figures.len() >= 4, "{figures:?}");
    for (path, shown) in figures {
        let exact = path.split('.').fold(&document, |value, key| &value[key]);
        assert_eq!(shown.as_f64(), exact.as_f64(), "{path}");
        assert!(shown.is_number(), "{path} is nothing");
    }
}

#[test]
fn without_the_token_by_another_name_or_from_another_page_there_is_nothing() {
    let run = Run::start(&["-u", "1", "--warmup", "0s", "-d", "60s", "--no-publish"]);
    let rest = run.url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let path = format!("/{path}");
    assert!(path.len() > 30 && host.starts_with("127.0.0.1:"), "{}", run.url);
    let own = format!("Host: {host}\r\n");
    let status = |head: &str| head.split(' ').nth(1).unwrap_or_default().parse::<u16>().unwrap();
    let good = run.ask("GET", &path, &own);
    assert_eq!(status(&good), 200, "{good}");
    let lower = good.to_lowercase();
    for seal in ["content-security-policy: default-src 'none'", "frame-ancestors 'none'", "nosniff", "no-store"] {
        assert!(lower.contains(seal), "{seal}: {good}");
    }
    assert!(!lower.contains("access-control"), "{good}");
    let guess = format!("/{}/", "0".repeat(32));
    for (method, path, headers, expected) in [
        ("GET", "/", own.clone(), 404),
        ("GET", guess.as_str(), own.clone(), 404),
        ("GET", &format!("{guess}events"), own.clone(), 404),
        ("GET", &path, "Host: connect-bench.example.com\r\n".to_owned(), 403),
        ("GET", &path, String::new(), 403),
        ("GET", &format!("{path}events"), format!("{own}Origin: https://example.com\r\n"), 403),
        ("POST", &path, own.clone(), 403),
        ("DELETE", &path, own.clone(), 403),
    ] {
        let head = run.ask(method, path, &headers);
        // A request without a Host is none for the server either.
        let status = status(&head);
        assert!(status == expected || (headers.is_empty() && status == 400), "{method} {path} {headers:?}: {head}");
    }
    let events = run.ask("GET", &format!("{path}events"), &format!("{own}Origin: http://{host}\r\n"));
    assert!(status(&events) == 200 && events.contains("text/event-stream"), "{events}");
}
