//! `--out`: who is told of a run while it is on gets the numbers that its summary has, and harms nothing where he is gone.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use connect_bench::rundir;
use connect_bench::summary::Summary;
use flate2::read::GzDecoder;
use serde_json::Value;

use crate::{bench, tools};

/// A short run against a sandbox of its own, told to these; its summary, its directory, and what it said.
fn load(place: &Path, outs: &[&str]) -> (Summary, PathBuf, String) {
    let mut line = vec!["load", "--sandbox=small", "-u", "3", "-d", "3s", "--warmup", "1s", "--json"];
    outs.iter().for_each(|out| line.extend(["--out", out]));
    let output = bench(place, &line);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    // 121: the machine was too busy to judge a server. What was measured is told all the same.
    assert!(matches!(output.status.code(), Some(0 | 121)), "{error}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let directory = place.join(document["run_dir"].as_str().unwrap());
    (rundir::read(&directory).unwrap(), directory, error)
}

/// Completed and failed requests of the whole run.
fn ended(summary: &Summary) -> u64 {
    summary.whole.series.iter().map(|s| s.requests.completed + s.requests.failed).sum()
}

/// What the run says of its outputs.
fn events(directory: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(directory.join("events.ndjson")).unwrap();
    let all = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.filter(|event| event["event"] == "out").collect()
}

#[test]
fn each_request_is_written_as_k6_writes_it() {
    let place = tempfile::tempdir().unwrap();
    let (summary, directory, error) = load(place.path(), &["json=points.json", "csv=points.csv.gz"]);
    assert!(!error.contains("--out"), "{error}");
    let text = std::fs::read_to_string(place.path().join("points.json")).unwrap();
    let (mut declared, mut counts, mut values) = (Vec::new(), BTreeMap::<String, u64>::new(), Vec::new());
    for line in text.lines() {
        let parsed: Value = serde_json::from_str(line).unwrap();
        let name = parsed["metric"].as_str().unwrap().to_owned();
        if parsed["type"] == "Metric" {
            assert!(line.starts_with("{\"type\":\"Metric\",\"data\":{\"name\":\""), "{line}");
            declared.push(name);
            continue;
        }
        assert!(
            line.starts_with(&format!("{{\"metric\":\"{name}\",\"type\":\"Point\",\"data\":{{\"time\":\"2")),
            "{line}"
        );
        assert!(declared.contains(&name), "{name} before its declaration");
        let tags = &parsed["data"]["tags"];
        if name == "http_req_duration" {
            let keys: Vec<&String> = tags.as_object().unwrap().keys().collect();
            assert_eq!(
                keys[..3],
                ["expected_response", "group", if tags["method"].is_null() { "name" } else { "method" }]
            );
            if tags["scenario"] == "fetch" && tags["expected_response"] == "true" {
                values.push(parsed["data"]["value"].as_f64().unwrap());
            }
        }
        *counts.entry(name).or_default() += 1;
    }
    let all = ended(&summary);
    for metric in ["http_reqs", "http_req_duration", "http_req_failed", "http_req_waiting", "data_sent"] {
        assert_eq!(counts[metric], all, "{metric}");
    }
    let iterations: u64 = summary.whole.scenarios.iter().map(|s| s.iterations.completed + s.iterations.failed).sum();
    assert_eq!((counts["iterations"], counts["iteration_duration"]), (iterations, iterations));
    // What the points say is what the histograms say.
    values.sort_by(f64::total_cmp);
    let fetch = &summary.whole.series[0].duration;
    assert_eq!(values.len() as u64, fetch.count());
    let p95 = values[(values.len() as f64 * 0.95).ceil() as usize - 1];
    assert!((p95 / fetch.quantile_ms(0.95).unwrap() - 1.0).abs() < 0.005, "{p95}");
    csv(&place.path().join("points.csv.gz"), all);
    for event in events(&directory) {
        assert_eq!((&event["dropped"], &event["fault"]), (&0.into(), &Value::Null), "{event}");
    }
    let Some(python) = tools::interpreter() else { return };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/report/k6_points.py");
    let read = Command::new(python).arg(script).arg(place.path().join("points.json")).output().unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let read: Value = serde_json::from_slice(&read.stdout).unwrap();
    let seen: u64 = read["transactions"].as_array().unwrap().iter().map(|row| row["count"].as_u64().unwrap()).sum();
    assert_eq!((read["format"].as_str(), seen), (Some("k6json"), all), "{read}");
}

fn csv(path: &Path, requests: u64) {
    let mut text = String::new();
    GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    assert!(text.starts_with("metric_name,timestamp,metric_value,check,error,error_code,expected_response,group,"));
    assert!(rows.iter().all(|row| row.len() == rows[0].len()), "a row is torn");
    assert_eq!(rows.iter().filter(|row| row[0] == "http_reqs").count() as u64, requests);
}

/// A program of others that ends with the test.
struct Part(Child);

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What is answered to a GET; `None` where nobody answers, or not well.
fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nhost: 127.0.0.1\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.split(' ').nth(1)?.starts_with('2').then(|| body.to_owned())
}

#[test]
fn otlp_is_decoded_by_the_published_messages_and_told_again_after_a_refusal() {
    let Some(python) = tools::interpreter() else { return };
    let place = tempfile::tempdir().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/report/receiver.py");
    let mut child = Command::new(python).arg(script).stdout(Stdio::piped()).spawn().unwrap();
    let mut port = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let (_part, port): (Part, u16) = (Part(child), port.trim().parse().unwrap());
    let (summary, directory, error) = load(place.path(), &[&format!("otlp=http://127.0.0.1:{port}")]);
    assert!(!error.contains("--out"), "{error}");
    let told: Value = serde_json::from_str(&get(port, "/told").unwrap()).unwrap();
    assert_eq!((told["service"].as_str(), told["refused"].as_u64()), (Some("connect-bench"), Some(1)));
    let headers = told["headers"].as_array().unwrap();
    assert!(!headers.iter().any(|name| name == "authorization" || name == "cookie"), "{headers:?}");
    let metrics = &told["metrics"];
    let requests =
        ["fetch", "publish"].map(|scenario| metrics[format!("http_reqs/{scenario}")]["value"].as_f64().unwrap());
    assert_eq!(requests.iter().sum::<f64>() as u64, ended(&summary));
    let sum = &metrics["http_reqs/fetch"];
    assert_eq!(
        (sum["kind"].as_str(), sum["temporality"].as_u64(), &sum["monotonic"]),
        (Some("sum"), Some(2), &true.into())
    );
    let fetch = &summary.whole.series[0].duration;
    let histogram = &metrics["http_req_duration/fetch"];
    assert_eq!((histogram["count"].as_u64(), histogram["unit"].as_str()), (Some(fetch.count()), Some("ms")));
    let buckets: u64 = histogram["buckets"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(buckets, fetch.count());
    assert!((histogram["sum"].as_f64().unwrap() - fetch.sum_ns() as f64 / 1e6).abs() < 1e-3);
    let event = &events(&directory)[0];
    assert!(event["retries"].as_u64().unwrap() >= 1 && event["lost"] == 0, "{event}");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "it is another program that is waited for, outside of any runtime")]
fn prometheus_has_the_numbers_of_the_summary() {
    let Some(prometheus) = tools::prometheus() else { return };
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("prometheus.yml"), "global: {}\n").unwrap();
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let child = Command::new(prometheus)
        .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--web.enable-remote-write-receiver"])
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .current_dir(place.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _part = Part(child.unwrap());
    let since = Instant::now();
    while get(port, "/-/ready").is_none() {
        assert!(since.elapsed() < Duration::from_secs(100), "Prometheus does not begin");
        std::thread::sleep(Duration::from_millis(50));
    }
    let (summary, _, error) = load(place.path(), &[&format!("experimental-prometheus-rw=http://127.0.0.1:{port}")]);
    assert!(!error.contains("--out"), "{error}");
    // The last second's end may be ahead of now.
    let at = jiff::Timestamp::now().as_second() + 10;
    let query = |text: &str| -> f64 {
        let text = text.replace('[', "%5B").replace(']', "%5D");
        let answer: Value =
            serde_json::from_str(&get(port, &format!("/api/v1/query?time={at}&query={text}")).unwrap()).unwrap();
        answer["data"]["result"][0]["value"][1].as_str().unwrap_or_else(|| panic!("{answer}")).parse().unwrap()
    };
    assert_eq!(query("sum(k6_http_reqs_total)") as u64, ended(&summary));
    let received: u64 = summary.whole.series.iter().map(|s| s.bytes_received).sum();
    assert_eq!(query("sum(k6_data_received_total)") as u64, received);
    assert_eq!(query("sum(max_over_time(k6_vus[10m]))"), 4.0, "three that fetch, one that publishes");
    // In seconds, as Prometheus and k6 have it; the slowest second's slowest is the run's.
    let most = summary.whole.series[0].duration.max_ms().unwrap();
    let told = query("max(max_over_time(k6_http_req_duration_max{scenario=\"fetch\"}[10m]))");
    assert!((told * 1000.0 / most - 1.0).abs() < 0.002, "{told} s, {most} ms");
}

#[test]
fn a_receiver_that_is_gone_harms_nothing_and_is_said() {
    let place = tempfile::tempdir().unwrap();
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let (summary, directory, error) = load(place.path(), &[&format!("otlp=http://me:s3cret@127.0.0.1:{port}")]);
    assert!(ended(&summary) > 0);
    assert!(
        error.contains("seconds did not get there") && error.contains("the run's own result has them all"),
        "{error}"
    );
    assert!(!error.contains("s3cret"), "{error}");
    let event = &events(&directory)[0];
    assert!(event["lost"].as_u64().unwrap() >= 4 && event["seconds"] == 0, "{event}");
    for file in ["plan.json", "events.ndjson"] {
        assert!(!std::fs::read_to_string(directory.join(file)).unwrap().contains("s3cret"), "{file}");
    }
}

#[test]
fn an_output_that_cannot_be_is_refused_before_anything_happens() {
    let place = tempfile::tempdir().unwrap();
    let refused = |arguments: &[&str], code: i32, says: &str| {
        let output = bench(place.path(), &[&["load", "--sandbox=small"][..], arguments].concat());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{error}");
        assert!(error.contains(says), "{error}");
        assert!(!place.path().join("runs").exists(), "{arguments:?}");
    };
    refused(&["--out", "statsd=localhost"], 2, "there is no such output");
    refused(&["--out", "otlp=localhost:4317"], 2, "write an address");
    refused(&["--out", "json=nowhere/a.json"], 104, "--out json=nowhere/a.json");
    refused(&["--out", "otlp", "--out-sample", "10"], 2, "--out-sample is of single requests");
}
