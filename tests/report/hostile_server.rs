//! A server that answers with markup, terminal escapes and megabytes: every output of a run against it is harmless.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::bench;

const EVIL: &str = "</script><script>alert(1)</script>\u{1b}]0;owned\u{7}\u{1b}[2J\u{202e}<img src=x onerror=alert(2)>";

/// Requests that are answered in a way that can be read: those before the run, which would not begin otherwise.
const BEFORE: usize = 6;

/// What the `n`th request is answered with.
fn answer(n: usize) -> Vec<u8> {
    let n = n.saturating_sub(BEFORE);
    let long = format!("{EVIL}{}", "<b>x".repeat(500_000));
    match n % 4 {
        // A node's name out of a cookie, which is in every table where there are two of them.
        0 => format!(
            "HTTP/1.1 200 OK\r\nset-cookie: posit-connect=\"><script>alert(3)</script>{}{}; path=/\r\nserver: <script>\u{202e}\r\n\
             content-length: 2\r\n\r\nok",
            n / 4 % 2,
            "n".repeat(300)
        ),
        1 => format!("HTTP/1.1 503 {EVIL}\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n{long}", long.len()),
        2 => format!("HTTP/1.1 200 OK\r\n{EVIL}\r\n\r\n"),
        _ => format!("{EVIL} 999 \u{1b}[31m\r\n\r\n{long}"),
    }
    .into_bytes()
}

fn serve(mut stream: TcpStream, count: &AtomicUsize) {
    let mut head = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(read) = stream.read(&mut piece) {
        if read == 0 {
            return;
        }
        head.extend_from_slice(&piece[..read]);
        while let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            head.drain(..end + 4);
            if stream.write_all(&answer(count.fetch_add(1, Ordering::Relaxed))).is_err() {
                return;
            }
        }
    }
}

/// The address of such a server; its threads end with the test's process.
fn server() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let count: Arc<AtomicUsize> = Arc::default();
        for stream in listener.incoming().flatten() {
            let count = count.clone();
            std::thread::spawn(move || serve(stream, &count));
        }
    });
    format!("http://{address}")
}

/// No character that a terminal obeys.
fn expect_harmless(name: &str, text: &str) {
    let obeyed = text.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
    assert_eq!(obeyed, None, "{name}: {text:.2000}");
}

/// That, and not much of it.
fn expect_tame(name: &str, text: &str) {
    expect_harmless(name, text);
    assert!(text.len() < 1_500_000, "{name}: {} bytes", text.len());
}

fn read(place: &Path, name: &str) -> String {
    std::fs::read_to_string(place.join(name)).unwrap_or_else(|e| format!("\u{7}{name}: {e}"))
}

#[test]
fn every_output_of_a_run_against_a_hostile_server_is_harmless() {
    let place = tempfile::tempdir().unwrap();
    let url = server();
    let outs = ["--out", "json=points.json", "--out", "csv=points.csv"];
    let line = ["load", "--url", &url, "-u", "4", "-d", "3s", "--warmup", "1s", "--html", "page.html", "-o", "a.json"];
    let ended = bench(place.path(), &[&line[..], &outs].concat());
    let (said, error) = (String::from_utf8(ended.stdout).unwrap(), String::from_utf8(ended.stderr).unwrap());
    expect_tame("stdout", &said);
    expect_tame("stderr", &error);
    assert!(said.contains("requests per second"), "{said}{error}");
    let run = std::fs::read_dir(place.path().join("runs")).unwrap().next().unwrap().unwrap().path();
    let run = run.to_str().unwrap();
    let kinds = ["k6", "k6-summary-export", "markdown", "junit", "openmetrics", "hgrm", "hlog", "csv", "influx"];
    for kind in kinds {
        let output = bench(place.path(), &["report", run, "--export", &format!("{kind}={kind}.out"), "--quiet"]);
        expect_tame("report", &String::from_utf8_lossy(&output.stdout));
    }
    let gate = ["gate", run, "--baseline", "aws-single-server", "--junit", "gate.xml", "--markdown", "gate.md"];
    let forms = ["--gitlab", "gitlab", "--bencher", "bencher.json", "--html", "gate.html", "--github"];
    let ended = bench(place.path(), &[&gate[..], &forms].concat());
    expect_tame("gate", &String::from_utf8_lossy(&ended.stdout));
    expect_tame("annotations", &String::from_utf8_lossy(&ended.stderr));
    bench(place.path(), &["compare", run, run, "--html", "compare.html", "--quiet"]);
    // A line for each figure of each request.
    for name in ["points.json", "points.csv"] {
        expect_harmless(name, &read(place.path(), name));
    }
    let files = ["a.json", "gate.xml", "gate.md", "gitlab/metrics.txt", "bencher.json"];
    let exported = kinds.map(|kind| format!("{kind}.out"));
    for name in files.into_iter().chain(exported.iter().map(String::as_str)) {
        expect_tame(name, &read(place.path(), name));
    }
    for name in ["markdown.out", "gate.md", "junit.out", "gate.xml"] {
        assert!(!read(place.path(), name).contains("<script"), "{name}");
    }
    for name in ["page.html", "gate.html", "compare.html"] {
        let page = read(place.path(), name);
        expect_tame(name, &page);
        assert_eq!(page.matches("<script").count(), 2, "{name}: only ours");
        assert!(!page.contains("<img") && !page.contains("alert(3)</script>"), "{name}");
    }
    // The name of the node is shown, as text.
    assert!(read(place.path(), "page.html").contains("&lt;script&gt;alert(3)"), "it is not seen at all");
}

#[test]
fn what_a_hostile_server_says_to_the_preflight_is_harmless() {
    let place = tempfile::tempdir().unwrap();
    let url = server();
    for _ in 0..4 {
        let ended = bench(place.path(), &["load", "-s", &url, "-k", "a-key-of-ours", "-u", "1", "-d", "1s"]);
        assert_eq!(ended.status.code(), Some(122), "{}", String::from_utf8_lossy(&ended.stderr));
        let error = String::from_utf8(ended.stderr).unwrap();
        expect_tame("stderr", &error);
        assert!(error.len() < 10_000, "{} bytes", error.len());
        assert!(!error.contains("a-key-of-ours"));
    }
}
