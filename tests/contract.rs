//! The contract for scripts: what `ramp --json` and `load --json` print, and what people read in their place.
//!
//! The lists of fields are typed here from the promise that was made to scripts, not taken from the code: a field that
//! is renamed or lost fails a test. Fields may be added.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail where the test does")]

use std::path::Path;
use std::process::{Command, Stdio};

use connect_bench::baseline::{Baseline, documented};
use connect_bench::capacity::agreement::Agreement;
use connect_bench::capacity::search::Outcome;
use connect_bench::report::{json, text};
use connect_bench::summary::{Search, Summary};
use serde::Serialize;
use serde_json::{Value, json};

#[path = "contract/capacity.rs"]
mod capacity;
#[path = "contract/synthetic.rs"]
mod synthetic;
#[path = "shared/watched.rs"]
mod watched;

use synthetic::{
    aborted, controlled_load, empty_load, full_load, highest_rate, saturated, spoilt_load, without_saturation,
};

const RAMP: &[&str] = &[
    "/result",
    "/saturation/vus",
    "/saturation/vus_ci/0",
    "/saturation/vus_ci/1",
    "/saturation/knee_vus",
    "/saturation/requests_per_second",
    "/saturation/requests_per_second_ci/0",
    "/saturation/requests_per_second_ci/1",
    "/steps/0/vus",
    "/steps/0/requests_per_second",
    "/steps/0/latency_ms/mean",
    "/steps/0/latency_ms/p50",
    "/steps/0/latency_ms/p95",
    "/steps/0/latency_ms/p99",
    "/steps/0/error_rate",
    "/steps/0/decision",
    "/elapsed_s",
    "/run_dir",
    "/target/url",
    "/target/sandbox",
    "/target/connect_version",
];
const LOAD: &[&str] = &[
    "/requests/scheduled",
    "/requests/completed",
    "/requests/failed",
    "/requests/dropped",
    "/requests/interrupted",
    "/requests_per_second/all",
    "/requests_per_second/fetch",
    "/fetch_latency_ms/mean",
    "/fetch_latency_ms/p50",
    "/fetch_latency_ms/p90",
    "/fetch_latency_ms/p95",
    "/fetch_latency_ms/p99",
    "/fetch_latency_ms/p999",
    "/fetch_latency_ms/max",
    "/error_rate",
    "/errors/0/kind",
    "/errors/0/count",
    "/publish/completed",
    "/publish/failed",
    "/publish/phases_ms",
    "/vus",
    "/duration_s",
    "/baselines/0/id",
    "/baselines/0/requests_per_second_ratio",
    "/baselines/0/latency_ratio",
    "/generator/valid",
    "/generator/cpu_share",
    "/generator/lag_ms",
    "/generator/peak_memory_bytes",
    "/nodes/0",
    "/run_dir",
    "/target/url",
    "/target/sandbox",
    "/target/connect_version",
];

fn schema(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// What is wrong with a document, by the schema of that name.
fn faults(name: &str, document: &Value) -> Vec<String> {
    let (load, ramp) = (schema("load.schema.json"), schema("ramp.schema.json"));
    let registry = jsonschema::Registry::new().add("json-schema:///load.schema.json", load.clone()).unwrap();
    let registry = registry.prepare().unwrap();
    let root = if name == "load" { &load } else { &ramp };
    let validator = jsonschema::options().with_registry(&registry).build(root).unwrap();
    validator.iter_errors(document).map(|fault| format!("{}: {fault}", fault.instance_path())).collect()
}

fn value(document: &impl Serialize) -> Value {
    serde_json::to_value(document).unwrap()
}

fn baselines() -> Vec<Baseline> {
    documented().unwrap().baselines
}

fn load(summary: &Summary) -> Value {
    value(&json::load(summary, &baselines(), Path::new("runs/load")))
}

fn ramp((summary, search): &(Summary, Search), then: Option<&Summary>) -> Value {
    let document = |load: &Summary| json::load(load, &baselines(), Path::new("runs/load"));
    let then = then.map(|load| (document(load), Agreement::with(&search.result, load)));
    value(&json::ramp(summary, search, Path::new("runs/ramp"), then))
}

fn valid(name: &str, document: &Value) {
    let faults = faults(name, document);
    assert!(faults.is_empty(), "{name}:\n{}", faults.join("\n"));
}

fn complete(document: &Value, fields: &[&str]) {
    let missing: Vec<&&str> = fields.iter().filter(|field| document.pointer(field).is_none()).collect();
    assert!(missing.is_empty(), "promised to scripts, and not there: {missing:?}");
}

/// The document without one field, or with one element less.
fn without(document: &Value, field: &str) -> Value {
    let mut document = document.clone();
    let (parent, name) = field.rsplit_once('/').unwrap();
    match document.pointer_mut(parent).unwrap() {
        Value::Array(list) => drop(list.remove(name.parse().unwrap())),
        parent => drop(parent.as_object_mut().unwrap().remove(name)),
    }
    document
}

#[test]
fn the_documents_have_every_promised_field() {
    complete(&load(&full_load()), LOAD);
    complete(&ramp(&saturated(), None), RAMP);
    // In a ramp without an answer the same fields are there; only intervals and steps have no elements.
    let there: Vec<&str> = RAMP.iter().copied().filter(|f| !f.contains("_ci/") && !f.starts_with("/steps/")).collect();
    let document = ramp(&aborted(), None);
    complete(&document, &there);
    complete(&document, &["/saturation/vus_ci", "/saturation/requests_per_second_ci", "/steps"]);
}

#[test]
fn the_documents_are_as_their_schemas_say() {
    valid("load", &load(&full_load()));
    valid("load", &load(&empty_load()));
    valid("load", &load(&spoilt_load()));
    valid("ramp", &ramp(&saturated(), None));
    valid("ramp", &ramp(&saturated(), Some(&full_load())));
    valid("ramp", &ramp(&aborted(), None));
    valid("ramp", &ramp(&highest_rate(), None));
    for outcome in [Outcome::NotSaturated, Outcome::GeneratorLimited] {
        valid("ramp", &ramp(&without_saturation(outcome), None));
    }
}

#[test]
fn the_schemas_miss_every_promised_field_and_welcome_new_ones() {
    for (name, fields, document) in
        [("load", LOAD, load(&full_load())), ("ramp", RAMP, ramp(&saturated(), Some(&full_load())))]
    {
        // An element of a list may be missing, a field of it not.
        for field in fields.iter().filter(|field| **field != "/nodes/0") {
            assert!(!faults(name, &without(&document, field)).is_empty(), "{name} without {field} passes");
        }
        let mut more = document.clone();
        more["a_field_of_the_future"] = json!(1);
        more["target"]["another"] = json!(null);
        valid(name, &more);
    }
    let mut wrong = load(&full_load());
    wrong["requests"]["completed"] = json!("many");
    assert_eq!(faults("load", &wrong).len(), 1);
    let nested = without(&ramp(&saturated(), Some(&full_load())), "/load/vus");
    assert!(!faults("ramp", &nested).is_empty(), "the load test inside a ramp is not checked");
}

#[test]
fn the_figures_of_the_documents_are_those_of_the_run() {
    let summary = full_load();
    let document = load(&summary);
    let requests = &document["requests"];
    let sum: u64 =
        ["completed", "failed", "dropped", "interrupted"].iter().map(|k| requests[*k].as_u64().unwrap()).sum();
    assert_eq!(requests["scheduled"], json!(sum));
    assert_eq!(document["publish"]["phases_ms"].as_object().unwrap().len(), summary.steady.trends.len());
    assert_eq!((&document["duration_s"], &document["vus"]), (&json!(40.0), &json!(10.0)));
    // Without data there is no figure; a zero would be one.
    let empty = load(&empty_load());
    assert_eq!(
        (&empty["fetch_latency_ms"]["p50"], &empty["error_rate"], &empty["publish"]),
        (&json!(null), &json!(null), &json!(null))
    );
    assert_eq!(empty["state"], json!({"aborted": {"reason": "the server is gone", "cause": "server"}}));
}

#[test]
fn what_was_done_to_a_run_is_in_its_document_and_pauses_are_in_no_figure() {
    // In the middle, at the end, and from the warm-up on; nothing but the time that is measured differs.
    for (paused, measured_s) in [(20..26, 34.0), (36..42, 34.0), (1..4, 38.0)] {
        let summary = controlled_load(&paused);
        let document = load(&summary);
        valid("load", &document);
        assert_eq!((&document["state"], &document["duration_s"]), (&json!("stopped"), &json!(measured_s)));
        assert_eq!(document["paused_s"], json!((paused.end - paused.start) as f64));
        // The same every second, so the rates and VUs are those of the run without a pause.
        let whole = load(&full_load());
        let rate = |document: &Value| document["requests_per_second"]["fetch"].as_f64().unwrap();
        assert!((rate(&document) / rate(&whole) - 1.0).abs() < 0.02, "{} {}", rate(&document), rate(&whole));
        assert_eq!(document["vus"], json!(10.0));
        let vus = json!({"at_s": paused.end as f64 - 0.25, "what": "vus", "from": "rest", "scenario": "fetch",
            "vus_before": 10, "vus": 12});
        assert_eq!(document["control"].as_array().unwrap().len(), 4);
        assert_eq!(document["control"][1], vus);
        // What is written is read back as it was.
        let text = serde_json::to_string(&summary).unwrap();
        assert_eq!(serde_json::from_str::<Summary>(&text).unwrap(), summary);
    }
    assert_eq!(load(&full_load())["control"], json!([]));
}

#[test]
fn the_binary_prints_one_valid_document_on_stdout() {
    let runs = Path::new(env!("CARGO_TARGET_TMPDIR")).join("contract-runs");
    let mut command = Command::new(env!("CARGO_BIN_EXE_connect-bench"));
    let output = watched::with_key(&mut command)
        .args(["load", "--sandbox=small", "-u", "2", "-d", "2s", "--warmup", "1s", "--json", "--quiet", "--runs-dir"])
        .arg(&runs)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    watched::has_no_key(&[&output.stdout, &output.stderr], &runs);
    let errors = String::from_utf8_lossy(&output.stderr);
    // 121: a machine that is busy with other things may be too slow to judge, and says so.
    assert!(matches!(output.status.code(), Some(0 | 121)), "{:?}: {errors}", output.status);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    valid("load", &document);
    let lists = ["/errors/0", "/nodes/0"];
    let fields: Vec<&str> = LOAD.iter().copied().filter(|f| !lists.iter().any(|list| f.starts_with(list))).collect();
    complete(&document, &fields);
    assert_eq!(document["target"]["sandbox"], json!(true));
    assert!(document["requests"]["completed"].as_u64().unwrap() > 20, "{document:#}");
    assert_eq!(document["left_behind"], json!([]));
    assert!(Path::new(document["run_dir"].as_str().unwrap()).join("summary.json").is_file());
    std::fs::remove_dir_all(&runs).unwrap();
}

#[test]
fn what_people_read_of_a_load_test() {
    let run_dir = Path::new("runs/20260101T000000Z-load-0f1e2d3c");
    insta::assert_snapshot!("load", text::load(&full_load(), &baselines(), run_dir));
    insta::assert_snapshot!("load_one_baseline", text::load(&full_load(), &baselines()[..1], run_dir));
    insta::assert_snapshot!("load_not_valid", text::load(&spoilt_load(), &[], run_dir));
    insta::assert_snapshot!("load_controlled", text::load(&controlled_load(&(20..26)), &[], run_dir));
    insta::assert_snapshot!("load_empty", text::load(&empty_load(), &[], run_dir));
}

#[test]
fn what_people_read_of_a_ramp() {
    let run_dir = Path::new("runs/20260101T000000Z-ramp-0f1e2d3c");
    let read = |(summary, search): (Summary, Search)| text::ramp(&summary, &search, run_dir);
    insta::assert_snapshot!("ramp_saturated", read(saturated()));
    insta::assert_snapshot!("ramp_not_saturated", read(without_saturation(Outcome::NotSaturated)));
    insta::assert_snapshot!("ramp_generator_limited", read(without_saturation(Outcome::GeneratorLimited)));
    insta::assert_snapshot!("ramp_aborted", read(aborted()));
    insta::assert_snapshot!("ramp_highest_rate", read(highest_rate()));
}
