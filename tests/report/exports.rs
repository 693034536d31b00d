//! The forms of other programs, read by programs that were made for them and not by us.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::runs::{Shape, write};
use crate::{bench, printed, tools};

fn exported(place: &Path, shape: &Shape, kinds: &[&str]) -> (PathBuf, Value) {
    let (run, _) = write(place, shape);
    let mut arguments = vec!["report", run.to_str().unwrap(), "--json"];
    kinds.iter().for_each(|kind| arguments.extend(["--export", kind]));
    let output = bench(place, &arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (run, serde_json::from_slice(&output.stdout).unwrap())
}

fn json(path: PathBuf) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn hdrhistogram_junit_and_openmetrics_are_read_by_libraries_of_others() {
    let place = tempfile::tempdir().unwrap();
    let (run, document) = exported(place.path(), &Shape::load(30), &["hlog", "junit", "openmetrics"]);
    let Some(python) = tools::interpreter() else { return };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/report/read.py");
    let files = ["latency.hlog", "junit.xml", "metrics.txt"].map(|name| run.join(name));
    let output = Command::new(python).arg(script).args(files).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read: Value = serde_json::from_slice(&output.stdout).unwrap();
    // 35 seconds of 240 fetches, two of which have failures, too.
    assert_eq!((read["count"].as_u64(), read["lines"].as_u64()), (Some(35 * 240), Some(37)));
    // And a log of each metric that has durations.
    for (metric, count) in [("http_req_waiting", 35 * 240), ("http_req_receiving", 35 * 240), ("publish_total", 3)] {
        assert_eq!(read["counts"][metric], count, "{metric} in {}", read["counts"]);
    }
    let p50 = document["fetch_latency_ms"]["p50"].as_f64().unwrap();
    assert!((read["p50_us"].as_f64().unwrap() / 1000.0 / p50 - 1.0).abs() < 0.02, "{read} {p50}");
    assert_eq!((read["suite"]["tests"].as_u64(), read["suite"]["failures"].as_u64()), (Some(4), Some(3)));
    let failed: Vec<&str> = read["cases"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|c| c["result"][0] == "failed")
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    assert_eq!(failed, ["http_req_duration p(95)<500", "http_req_failed rate<0.0001", "is right node"]);
    assert_eq!(read["requests"]["completed"].as_f64(), Some(30.0 * 240.0));
    assert_eq!(read["rate"].as_f64(), document["requests_per_second"]["all"].as_f64());
    let p95 = document["fetch_latency_ms"]["p95"].as_f64().unwrap();
    assert!((read["p95_s"].as_f64().unwrap() * 1000.0 - p95).abs() < 1e-6);
}

/// Both files that are JUnit's.
#[test]
fn junit_is_valid_by_a_published_schema() {
    let place = tempfile::tempdir().unwrap();
    let (run, _) =
        exported(place.path(), &Shape { foreign: "a<&>\"'\u{1b}".to_owned(), ..Shape::load(20) }, &["junit"]);
    let gate = ["gate", run.to_str().unwrap(), "--baseline", "aws-single-server", "--junit", "gate.xml"];
    bench(place.path(), &gate);
    let files = [run.join("junit.xml"), place.path().join("gate.xml")];
    assert!(std::fs::read_to_string(&files[1]).unwrap().contains("<testcase"), "nothing to look at");
    let (Some(python), Some(schema)) = (tools::interpreter(), tools::junit_schema()) else { return };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/report/schema.py");
    let told = Command::new(python).arg(script).arg(schema).args(files).output().unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    assert_eq!(String::from_utf8_lossy(&told.stdout), "");
}

#[test]
fn k6_s_shapes_have_the_figures_and_a_reporter_of_k6_s_takes_them() {
    let place = tempfile::tempdir().unwrap();
    let (run, document) = exported(place.path(), &Shape::load(30), &["k6", "k6-summary-export"]);
    let (new, old) = (json(run.join("k6-summary.json")), json(run.join("k6-summary-export.json")));
    let (metrics, flat) = (&new["metrics"], &old["metrics"]);
    assert_eq!(metrics["http_reqs"]["values"]["count"], 30 * 240 + 4);
    assert_eq!(metrics["http_req_duration"]["values"]["p(95)"], document["fetch_latency_ms"]["p95"]);
    assert_eq!(metrics["http_req_failed"]["values"]["passes"], 4, "k6 counts failures as passed");
    assert_eq!(metrics["http_req_failed"]["thresholds"]["rate<0.0001"]["ok"], false);
    assert_eq!(flat["http_req_failed"]["thresholds"]["rate<0.0001"], true, "true is failed there");
    assert_eq!(flat["http_req_failed"]["value"], metrics["http_req_failed"]["values"]["rate"]);
    assert_eq!(new["root_group"]["id"], "d41d8cd98f00b204e9800998ecf8427e");
    assert_eq!(old["root_group"]["checks"]["is right node"]["passes"], 7200);
    let Some(reporter) = tools::k6_reporter() else { return };
    let program = "const [home, file, out] = process.argv.slice(1);
        require(home + '/k6-html-reporter').generateSummaryReport({jsonFile: file, output: out});";
    let out = place.path().join("k6");
    let told =
        Command::new("node").args(["-e", program]).arg(reporter).arg(run.join("k6-summary.json")).arg(&out).output();
    let told = told.unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    for shown in ["http_req_duration", "http_reqs", "7204", "is right node", "rate&lt;0.0001"] {
        assert!(page.contains(shown) || page.contains(&shown.replace("&lt;", "<")), "{shown}");
    }
}

#[test]
fn by_the_second_nothing_is_lost() {
    let place = tempfile::tempdir().unwrap();
    let (run, _) = exported(place.path(), &Shape::load(30), &["csv", "influx", "hgrm", "markdown"]);
    let text = std::fs::read_to_string(run.join("seconds.csv")).unwrap();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!((rows.len(), rows[0][3], rows[36 - 1][0]), (36, "requests_completed", "34"));
    assert!(rows.iter().all(|row| row.len() == rows[0].len()));
    assert_eq!(rows[1..].iter().map(|row| row[3].parse::<u64>().unwrap()).sum::<u64>(), 35 * 240);
    let lines = std::fs::read_to_string(run.join("seconds.influx")).unwrap();
    assert_eq!(lines.lines().count(), 35);
    assert!(lines.starts_with("connect_bench,command=load,run=20260101T000000Z-load-30,server=connect.example.com,part=warm_up vus=24,completed=240i,"), "{lines}");
    assert!(lines.lines().all(|line| line.rsplit(' ').next().unwrap().len() == 19));
    let hgrm = std::fs::read_to_string(run.join("latency.hgrm")).unwrap();
    assert!(hgrm.contains("Total count    =         7200]") && hgrm.contains(" 1.000000000000       7200\n"), "{hgrm}");
    let markdown = std::fs::read_to_string(run.join("result.md")).unwrap();
    assert!(
        markdown.starts_with("## connect-bench load\n") && markdown.contains("| requests per second | 240 |"),
        "{markdown}"
    );
}

#[test]
fn hostile_text_leaves_every_form_harmless() {
    let place = tempfile::tempdir().unwrap();
    let evil = "\u{1b}[2J</a><script>\r\nx 1\n# EOF\u{202e} \"',=\\|`]]>";
    let shape = Shape { foreign: format!("{evil}{}", "y".repeat(100_000)), ..Shape::load(10) };
    let kinds = ["junit", "openmetrics", "markdown", "influx", "csv", "hgrm", "hlog"];
    let (run, _) = exported(place.path(), &shape, &kinds);
    for name in
        ["junit.xml", "metrics.txt", "result.md", "seconds.influx", "seconds.csv", "latency.hgrm", "latency.hlog"]
    {
        let text = std::fs::read_to_string(run.join(name)).unwrap();
        let obeyed = text.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
        assert_eq!(obeyed, None, "{name}");
        // In a label of OpenMetrics it is text like any other.
        assert!(name == "metrics.txt" || !text.contains("<script>"), "{name}");
        assert!(text.len() < 200_000, "{name}: {}", text.len());
    }
    let metrics = std::fs::read_to_string(run.join("metrics.txt")).unwrap();
    assert!(metrics.lines().all(|line| line.starts_with("connect_bench_") || line.starts_with("# ")), "{metrics}");
    assert_eq!(metrics.matches("\n# EOF").count(), 1);
    let text = printed(place.path(), &["report", run.to_str().unwrap(), "--summary", "k6"]);
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "k6");
}

#[test]
fn the_summary_of_k6_and_exports_to_stdout() {
    let place = tempfile::tempdir().unwrap();
    let (run, _) = write(place.path(), &Shape::load(30));
    let run = run.to_str().unwrap();
    let text = printed(place.path(), &["report", run, "--summary", "k6"]);
    for line in [
        "  █ THRESHOLDS",
        "    ✗ 'rate<0.0001' rate=",
        "  █ TOTAL RESULTS",
        "    ✗ is right node",
        "      ↳  99% — ✓ 7200 / ✗ 4",
        "    http_reqs.........................: 7204     240.133333/s",
        "running (00m30.0s), 0/25 VUs, ",
    ] {
        assert!(text.contains(line), "{line:?} in\n{text}");
    }
    let xml = printed(place.path(), &["report", run, "--export", "junit=-"]);
    assert!(xml.starts_with("<?xml") && xml.trim_end().ends_with("</testsuites>"), "{xml}");
    for (kind, says) in [("pdf", "there is no such form"), ("csv=", "name a file")] {
        let refused = bench(place.path(), &["report", run, "--export", kind]);
        assert_eq!(refused.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&refused.stderr).contains(says));
    }
    let wrong = bench(place.path(), &["report", "--from", "page.html", "--export", "hlog"]);
    assert_eq!(wrong.status.code(), Some(2));
}
