//! What to buy: the document, the text, and the program on a run directory.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use connect_bench::capacity::search::Outcome;
use connect_bench::capacity::sizing::answer::{Answer, Evidence, Question, answer};
use connect_bench::capacity::sizing::cost::{Prices, Size};
use connect_bench::capacity::sizing::demand::Demand;
use connect_bench::capacity::sizing::nodes::Tier;
use connect_bench::capacity::sizing::{Basis, Behaviour, Target};
use connect_bench::histogram::Latency;
use connect_bench::report::{json, text};
use connect_bench::rundir::{PlanFile, RunDir};
use connect_bench::summary::{Search, Summary};
use serde_json::{Value, json};

use super::synthetic::{aborted, saturated, without_saturation};
use super::{baselines, schema, value};

const RUN_DIR: &str = "runs/20260101T000000Z-ramp-0f1e2d3c";

fn question() -> Question {
    let size = |name: &str, vcpus, per_hour| Size { name: name.to_owned(), vcpus, per_hour };
    Question {
        behaviour: Behaviour { think_s: 10.0, requests_per_action: 1.0 },
        targets: vec![Target { quantile: Some(0.95), limit_ms: 500.0 }, Target { quantile: None, limit_ms: 100.0 }],
        demand: Some(Demand { users: 3000, growth_per_month: 0.05, utilisation: 0.7, spare: 1 }),
        nodes: 1,
        most_nodes: 4,
        tiers: vec![Tier { name: "db".to_owned(), utilisation: 0.35 }],
        prices: Some(Prices {
            currency: "USD".to_owned(),
            measured_on: "m6i.2xlarge".to_owned(),
            fixed_per_hour: 0.25,
            size: vec![size("m6i.xlarge", 4, 0.192), size("m6i.2xlarge", 8, 0.384)],
        }),
    }
}

/// Latencies that go with the stages: evenly from a half to one and a half of the mean.
fn latencies(search: &Search) -> Vec<(u32, Latency)> {
    let of = |mean_ms: f64| {
        let mut latency = Latency::default();
        (1..=1000)
            .for_each(|at| latency.record(Duration::from_secs_f64(mean_ms * (0.5 + f64::from(at) / 1000.0) / 1e3)));
        latency
    };
    search.steps.iter().map(|step| (step.vus, of(step.mean_ms.unwrap()))).collect()
}

fn answered(question: &Question, search: &Search) -> Result<Answer, String> {
    let latencies = latencies(search);
    let evidence = Evidence {
        result: &search.result,
        steps: &search.steps,
        latencies: &latencies,
        loads: &[(30.0, 380.0)],
        with_publish: true,
    };
    answer(question, &evidence, &baselines()).map_err(|missing| missing.to_string())
}

#[test]
fn the_document_is_as_its_schema_says() {
    let (summary, search) = saturated();
    let bare = Question { demand: None, prices: None, tiers: Vec::new(), ..question() };
    for question in [question(), bare] {
        let answer = answered(&question, &search).unwrap();
        let document = value(&json::capacity(&answer, &summary, Path::new(RUN_DIR)));
        let faults = faults(&document);
        assert!(faults.is_empty(), "{}", faults.join("\n"));
        for lost in ["rows", "forecasts", "headroom", "choices", "notes", "not_tested", "documented"] {
            let mut less = document.clone();
            less["capacity"].as_object_mut().unwrap().remove(lost);
            assert!(!self::faults(&less).is_empty(), "without {lost} it passes");
        }
    }
}

fn faults(document: &Value) -> Vec<String> {
    let (load, capacity) = (schema("load.schema.json"), schema("capacity.schema.json"));
    let registry = jsonschema::Registry::new().add("json-schema:///load.schema.json", load).unwrap();
    let registry = registry.prepare().unwrap();
    let validator = jsonschema::options().with_registry(&registry).build(&capacity).unwrap();
    validator.iter_errors(document).map(|fault| format!("{}: {fault}", fault.instance_path())).collect()
}

#[test]
fn what_people_read_of_it() {
    let (summary, search) = saturated();
    let read = |question: &Question| {
        text::capacity(&answered(question, &search).unwrap(), &summary.plan.target, Path::new(RUN_DIR))
    };
    insta::assert_snapshot!("capacity", read(&question()));
    let bare = Question { demand: None, prices: None, tiers: Vec::new(), most_nodes: 6, ..question() };
    insta::assert_snapshot!("capacity_bare", read(&bare));
}

#[test]
fn each_number_says_what_it_rests_on() {
    let got = answered(&question(), &saturated().1).unwrap();
    let rows: Vec<(u32, Basis)> = got.rows.iter().map(|row| (row.nodes, row.basis)).collect();
    let beyond = Basis::Extrapolated;
    assert_eq!(rows, [(1, Basis::Measured), (2, beyond), (3, beyond), (4, beyond)]);
    assert!(got.choices.iter().all(|c| (c.basis == Basis::Assumed) == (c.size == "m6i.xlarge")));
    // The database is full at 399.4/0.35 = 1141 per second: the fourth node brings nothing.
    assert_eq!(got.rows[3].limit.as_deref(), Some("db"));
    assert!((got.rows[3].requests_per_second - 399.4 / 0.35).abs() < 1e-9);
    assert!((got.loads[0].difference - (389.0 / 380.0 - 1.0)).abs() < 1e-9, "{:?}", got.loads);
}

#[test]
fn a_ramp_that_does_not_carry_an_answer_says_which_run_is_missing() {
    let refused = |search: &Search| answered(&question(), search).unwrap_err();
    assert!(refused(&aborted().1).contains("what is missing is a whole one"), "{}", refused(&aborted().1));
    let limited = refused(&without_saturation(Outcome::GeneratorLimited).1);
    assert!(limited.contains("quieter cores"), "{limited}");
    let few = refused(&without_saturation(Outcome::NotSaturated).1);
    assert!(few.contains("measured 2 numbers of VUs, and a curve needs three"), "{few}");
    assert!(few.contains("connect-bench ramp"), "{few}");
}

/// A run directory as a ramp leaves it, without windows.
fn written(name: &str, (summary, _): &(Summary, Search)) -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&root);
    let directory = root.join("20260101T000000Z-ramp-0f1e2d3c");
    let run = RunDir::create(&directory).unwrap();
    let environment = summary.environment.clone();
    run.write_plan(&PlanFile { plan: summary.plan.clone(), environment, invocation: Vec::new() }).unwrap();
    run.write_summary(summary).unwrap();
    directory
}

fn program(args: &[&str], runs: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_connect-bench"))
        .arg("capacity")
        .args(args)
        .env("CONNECT_BENCH_RUNS", runs)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn the_program_takes_the_newest_ramp() {
    let directory = written("capacity-newest", &saturated());
    let runs = directory.parent().unwrap();
    let output = program(&["--users", "3000", "--growth", "5%/month", "--target", "mean<100ms", "--json"], runs);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(faults(&document).is_empty(), "{:?}", faults(&document));
    assert_eq!(document["run_dir"], json!(directory.display().to_string()));
    let capacity = &document["capacity"];
    assert_eq!(capacity["headroom"]["demand"]["growth_per_month"], json!(0.05));
    // Without windows there are no percentiles, and that is said.
    assert_eq!(capacity["forecasts"][0]["p95_ms"], json!(null));
    assert!(capacity["notes"].to_string().contains("windows.ndjson"), "{capacity:#}");
    // Its two nodes were told apart.
    let measured = capacity["rows"].as_array().unwrap().iter().find(|row| row["basis"] == "measured").unwrap();
    assert_eq!(measured["nodes"], json!(2));
    assert!(measured["users"][0]["plan"].as_u64().unwrap() > 2500, "{capacity:#}");
    std::fs::remove_dir_all(runs).unwrap();
}

#[test]
fn what_is_wrong_is_said_with_its_flag() {
    let directory = written("capacity-wrong", &saturated());
    let runs = directory.parent().unwrap();
    std::fs::write(runs.join("prices.toml"), "currency = \"USD\"\nmeasured_on = \"a\"\nsize = []\n").unwrap();
    let prices = runs.join("prices.toml").display().to_string();
    for (args, code, says) in [
        (vec!["--target", "fast"], 2, "`fast` is no limit"),
        (vec!["--target", "p(200)<1s"], 2, "is no limit"),
        (vec!["--tier", "db"], 2, "--tier: `db`"),
        (vec!["--tier", "db=120%"], 2, "db=35%"),
        (vec!["--users", "10", "--growth", "fast"], 2, "write 5%/month"),
        (vec!["--growth", "5%"], 2, "--users"),
        (vec!["--utilisation", "0"], 2, "write 70%"),
        (vec!["--requests-per-action", "0"], 2, "--requests-per-action"),
        (vec!["--prices", "/nowhere/prices.toml"], 104, "/nowhere/prices.toml"),
        (vec!["--prices", &prices], 104, "measured_on"),
        (vec!["/nowhere"], 104, "/nowhere"),
    ] {
        let output = program(&args, runs);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {errors}");
        assert!(errors.contains(says), "{args:?}: {errors}");
    }
    let none = program(&[], Path::new("/nowhere/runs"));
    assert_eq!(none.status.code(), Some(104));
    assert!(String::from_utf8_lossy(&none.stderr).contains("run `connect-bench ramp` first"));
    std::fs::remove_dir_all(runs).unwrap();
}
