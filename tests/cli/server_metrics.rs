//! `--server-metrics`: on the time line of a run, from the sandbox, from Prometheus itself, from servers that are hostile,
//! slow or gone.

use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use crate::support::{Bench, Sandbox, canary, number};

const OFTEN: [&str; 2] = ["--server-metrics-every", "1s"];

fn place<'d>(document: &'d Value, part: &str) -> &'d Value {
    let all = document["server_metrics"].as_array().unwrap();
    all.iter().find(|place| place["url"].as_str().unwrap().contains(part)).unwrap_or_else(|| panic!("{document:#}"))
}

fn figure<'d>(place: &'d Value, metric: &str) -> &'d Value {
    let all = place["figures"].as_array().unwrap();
    all.iter().find(|figure| figure["metric"] == metric).unwrap_or_else(|| panic!("no {metric} in {place:#}"))
}

/// A server that answers each request with what is given for its number, and remembers what it was asked.
async fn server(answer: impl Fn(usize) -> Vec<u8> + Send + 'static) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let heard = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 8192];
            let n = stream.read(&mut request).await.unwrap_or(0);
            let number = heard.lock().unwrap().len();
            heard.lock().unwrap().push(String::from_utf8_lossy(&request[..n]).into_owned());
            let answer = answer(number);
            // Whoever has had enough hangs up.
            tokio::spawn(async move {
                let _ = stream.write_all(&answer).await;
                if answer.is_empty() {
                    // It never answers, and keeps the connection.
                    let _ = stream.read(&mut [0; 1]).await;
                }
            });
        }
    });
    (address, asked)
}

fn page(text: &str) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close", text.len());
    format!("{head}\r\n\r\n{text}").into_bytes()
}

#[tokio::test]
async fn the_sandbox_tells_of_the_requests_that_the_run_made() {
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::on(&sandbox);
    let flags =
        ["load", "-u", "6", "-d", "6s", "--warmup", "1s", "--no-publish", "--json", "--server-metrics", "/metrics"];
    let ended = bench.run(&[&flags[..], &OFTEN, &["-o", "page.html", "-o", "said.txt"]].concat()).await;
    ended.passes();
    let document = ended.json();
    let place = place(&document, &sandbox.url);
    assert_eq!((place["failures"].as_u64(), place["outages"].as_array().unwrap().len()), (Some(0), 0), "{place:#}");
    assert!(number(place, "/answers") >= 4.0, "{place:#}");
    // What the server counted of a second is what we counted of about the same one.
    let (theirs, ours) =
        (number(figure(place, "requests_per_s"), "/mean"), number(&document, "/requests_per_second/all"));
    assert!(theirs > 0.5 * ours && theirs < 2.0 * ours, "{theirs} against {ours}");
    let flight = figure(place, "requests_in_flight");
    assert!((0.0..=6.0).contains(&number(flight, "/mean")) && number(flight, "/max") <= 6.0, "{flight:#}");
    let points = flight["points"].as_array().unwrap();
    assert!(points.iter().all(|point| (0.0..60.0).contains(&point[0].as_f64().unwrap())), "{flight:#}");
    // From the run directory alone the same, and as text and page.
    let run = bench.runs().pop().unwrap();
    let again = bench.run(&["report", run.to_str().unwrap(), "--json"]).await.json();
    assert_eq!(again["server_metrics"], document["server_metrics"]);
    let said = std::fs::read_to_string(bench.path().join("said.txt")).unwrap();
    let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains(&format!("Server {}/metrics: ", sandbox.url.trim_end_matches('/'))), "{said}");
    assert!(words.contains(" requests in flight (at most "), "{said}");
    let page = std::fs::read_to_string(bench.path().join("page.html")).unwrap();
    assert!(page.contains("What the servers said of themselves"));
}

#[tokio::test]
async fn what_a_killed_run_was_told_is_in_its_report() {
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::on(&sandbox);
    let flags = ["load", "-u", "2", "-d", "60s", "--warmup", "0s", "--no-publish", "--server-metrics", "/metrics"];
    let mut running = bench.start(&[&flags[..], &OFTEN].concat());
    running.seconds(4).await;
    running.signal(rustix::process::Signal::KILL);
    running.end().await;
    let run = bench.runs().pop().unwrap();
    let document = bench.run(&["report", run.to_str().unwrap(), "--json"]).await.json();
    assert!(number(place(&document, "/metrics"), "/answers") >= 2.0, "{document:#}");
    bench.run(&["cleanup"]).await;
}

#[tokio::test]
async fn servers_that_are_gone_slow_or_hostile_are_events_and_no_fault_of_the_run() {
    let sandbox = Sandbox::quick(&[]).await;
    let huge = format!("node_load1 1\n{}", "x{y=\"z\"} 1\n".repeat(600_000));
    let (endless, _) = server(move |_| page(&huge)).await;
    let (mute, _) = server(|_| Vec::new()).await;
    let (garbage, _) = server(|_| page("\u{1b}[31m<html>\u{0}node_load1\n{{{{\nprocess_open_fds NaN\n")).await;
    let (moody, asked) = server(|n| match n {
        1 | 2 => b"HTTP/1.1 503 X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec(),
        n => page(&format!("process_start_time_seconds 5\nprocess_open_fds {n}\nprocess_cpu_seconds_total {n}\n")),
    })
    .await;
    let (elsewhere, _) =
        server(|_| b"HTTP/1.1 302 X\r\nlocation: /y\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec()).await;
    let bench = Bench::on(&sandbox).secret("s3cret-of-metrics");
    let urls =
        [&endless, &mute, &garbage, &moody, &elsewhere].map(|address| format!("--server-metrics=http://{address}/m"));
    let gone = "--server-metrics=http://me:s3cret-of-metrics@127.0.0.1:1/metrics".to_owned();
    let mut line: Vec<String> =
        ["load", "-u", "2", "-d", "6s", "--warmup", "0s", "--no-publish", "--json"].map(str::to_owned).into();
    line.extend(OFTEN.map(str::to_owned).into_iter().chain(urls).chain([gone]));
    let ended = bench.run(&line).await;
    ended.passes();
    let document = ended.json();
    let reason = |part: &str| place(&document, part)["outages"][0]["reason"].as_str().unwrap().to_owned();
    assert_eq!(reason(&endless), "its answer is longer than 4 MiB");
    assert_eq!(reason(&mute), "no answer within 3 s");
    assert_eq!(reason(&garbage), "it has none of the metrics that are followed");
    assert!(reason(&elsewhere).starts_with("it answered 302"), "{document:#}");
    assert!(reason("127.0.0.1:1/").contains("refused"), "{document:#}");
    let moody = place(&document, &moody);
    assert!(moody["outages"][0]["reason"].as_str().unwrap().starts_with("it answered 503"), "{moody:#}");
    assert!(number(moody, "/outages/0/to_s") > number(moody, "/outages/0/from_s"), "{moody:#}");
    assert!(number(figure(moody, "process_open_files"), "/samples") >= 2.0, "{moody:#}");
    // Said once for each, and again where it was silent again.
    assert_eq!(ended.stderr.matches("it is asked again every 1 s").count(), 6, "{}", ended.stderr);
    // Nobody but Connect is told the key.
    let asked = asked.lock().unwrap().join("\n").to_lowercase();
    assert!(asked.starts_with("get /m http/1.1") && !asked.contains("authorization"), "{asked}");
    assert_eq!(canary::found(asked.as_bytes(), &sandbox.key), None);
}

#[tokio::test]
async fn what_cannot_be_asked_is_a_wrong_command_line() {
    let bench = Bench::new();
    let refused = |value: &'static str, words: &'static [&'static str]| {
        let bench = &bench;
        async move { bench.load(&["--sandbox", "--server-metrics", value]).await.fails(2, words) }
    };
    refused("ftp://x/metrics", &["--server-metrics", "only http and https", "http://HOST:PORT/metrics"]).await;
    refused("node:9100", &["--server-metrics", "http://HOST:PORT/metrics"]).await;
    let twice = ["--sandbox", "--server-metrics=/metrics", "--server-metrics=/metrics"];
    bench.load(&twice).await.fails(2, &["given twice"]);
    bench.load(&["--sandbox", "--server-metrics-every=100ms"]).await.fails(2, &["from 1s to 1m"]);
}

/// A program of Debian's that serves `/metrics`, which `.ci/run` installs; none where it is missing.
async fn exporter(name: &str, folder: &Path, args: &[&str]) -> Option<(Child, String)> {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut command = Command::new(name);
    command.arg(format!("--web.listen-address={free}")).args(args).current_dir(folder).kill_on_drop(true);
    let Ok(mut child) = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
        assert!(std::env::var_os("CI").is_none(), "{name} is not installed");
        return None;
    };
    while reqwest::get(format!("http://{free}/metrics")).await.is_err() {
        assert!(child.try_wait().unwrap().is_none(), "{name} ended");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    Some((child, format!("http://{free}")))
}

/// What Go programs with Prometheus' own client really write, and node-exporter of the machine.
#[tokio::test]
async fn prometheus_and_node_exporter_themselves_are_understood() {
    let bench = Bench::new();
    bench.file("prometheus.yml", "global: {}\n");
    let own = ["--config.file=prometheus.yml", "--storage.tsdb.path=data"];
    let of_itself = exporter("prometheus", bench.path(), &own).await;
    let of_the_machine = exporter("prometheus-node-exporter", bench.path(), &[]).await;
    let (Some((mut prometheus, url)), Some((mut machine, machine_url))) = (of_itself, of_the_machine) else {
        eprintln!("skipped: prometheus or prometheus-node-exporter is not installed");
        return;
    };
    let (target, machine_page) = (format!("{url}/-/ready"), format!("--server-metrics={machine_url}/metrics"));
    let flags = ["load", "--url", &target, "-u", "2", "-d", "6s", "--warmup", "0s", "--json", &machine_page];
    let ended = bench.run(&[&flags[..], &["--server-metrics", "/metrics"], &OFTEN].concat()).await;
    ended.passes();
    let document = ended.json();
    let place = |part: &str| {
        let place = place(&document, part);
        let restarts = place["restarts_s"].as_array().unwrap().len();
        assert_eq!((place["failures"].as_u64(), restarts), (Some(0), 0), "{place:#}");
        place
    };
    let within = |place: &Value, metric: &str, which: &str, range: std::ops::RangeInclusive<f64>| {
        let value = number(figure(place, metric), which);
        assert!(range.contains(&value), "{metric} {value}: {place:#}");
    };
    let process = place(&url);
    within(process, "process_cpu_cores", "/mean", 1e-6..=1e3);
    within(process, "process_memory_bytes", "/max", 1e7..=2e9);
    within(process, "process_open_files", "/min", 5.0..=1e6);
    let machine_says = place(&machine_url);
    within(machine_says, "machine_cpu_share", "/max", 1e-6..=1.0);
    within(machine_says, "machine_memory_share", "/mean", 1e-6..=1.0);
    within(machine_says, "machine_load_1m", "/min", 0.0..=1e4);
    prometheus.kill().await.unwrap();
    machine.kill().await.unwrap();
}
