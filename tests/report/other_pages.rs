//! The pages of what is said of more than one run, or of what to buy: a comparison, a gate, a history, a capacity plan.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::runs::{Shape, write};
use crate::{bench, printed};

/// A page and the JSON document of the same command.
pub(crate) struct Made {
    pub(crate) page: PathBuf,
    pub(crate) document: Value,
}

/// Runs a command with `--html`; what it exits with is its own affair.
fn made(place: &Path, arguments: &[&str], name: &str) -> Made {
    let output = bench(place, &[arguments, &["--html", name, "--json", "--quiet"]].concat());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(place.join(name).is_file(), "{arguments:?}: {error}");
    Made { page: place.join(name), document: serde_json::from_slice(&output.stdout).unwrap() }
}

fn run(place: &Path, shape: &Shape) -> String {
    write(place, shape).0.to_string_lossy().into_owned()
}

/// A run that the gate accepts.
fn even(day: i64, per_second: u64, steady: u64) -> Shape {
    Shape { day, per_second, even: true, ..Shape::load(steady) }
}

/// Two runs of the same load, the second one half as slow again.
pub(crate) fn compared(place: &Path) -> Made {
    let a = run(place, &even(1, 240, 40));
    let b = run(place, &even(2, 200, 40));
    made(place, &["compare", &a, &b], "compare.html")
}

/// Two ramps, of which the second found a plateau that is lower by a sixth.
pub(crate) fn ramps_compared(place: &Path) -> Made {
    let ramp = |day, per_second| run(place, &Shape { command: "ramp", day, per_second, ..Shape::load(96) });
    made(place, &["compare", &ramp(1, 240), &ramp(2, 200)], "compare.html")
}

/// A run against five that were accepted.
pub(crate) fn gated(place: &Path) -> Made {
    let before: Vec<String> = (1..6).map(|day| run(place, &even(day, 238 + day.unsigned_abs(), 20))).collect();
    let mut accept = vec!["baselines", "accept"];
    accept.extend(before.iter().map(String::as_str));
    printed(place, &accept);
    let slow = run(place, &even(9, 180, 20));
    made(place, &["gate", &slow, "--threshold", "http_req_duration: p(95)<50"], "gate.html")
}

/// Fourteen runs, of which the last seven are slower.
pub(crate) fn developed(place: &Path) -> Made {
    for day in 0_i64..14 {
        let per_second = (if day < 7 { 240 } else { 190 }) + day.unsigned_abs() * 7 % 5;
        run(&place.join("runs"), &even(day, per_second, 12));
    }
    made(place, &["history", "runs"], "history.html")
}

/// What to buy, from a ramp.
pub(crate) fn sized(place: &Path) -> Made {
    let ramp = run(place, &Shape { command: "ramp", ..Shape::load(96) });
    let prices = "currency = \"USD\"\nmeasured_on = \"m6i.2xlarge\"\nfixed_per_hour = 0.25\n\
                  [[size]]\nname = \"m6i.2xlarge\"\nvcpus = 8\nper_hour = 0.384\n\
                  [[size]]\nname = \"m6i.4xlarge\"\nvcpus = 16\nper_hour = 0.768\n";
    std::fs::write(place.join("prices.toml"), prices).unwrap();
    let asked = ["--users", "9000", "--growth", "5%/month", "--tier", "db=35%", "--prices", "prices.toml"];
    made(
        place,
        &[&["capacity", &ramp, "--target", "mean<500ms", "--target", "mean<1s"], &asked[..]].concat(),
        "capacity.html",
    )
}

#[test]
fn what_a_page_says_is_read_from_it_again() {
    let place = tempfile::tempdir().unwrap();
    let Made { page, document } = compared(place.path());
    let page = page.to_str().unwrap();
    let again: Value = serde_json::from_str(&printed(place.path(), &["report", "--from", page, "--json"])).unwrap();
    assert_eq!(again, document);
    let text = printed(place.path(), &["report", "--from", page]);
    assert!(text.starts_with("B is worse than A: ") && text.contains("requests per second"), "{text}");
    // The first thing it says is what the page says first.
    assert!(text.replace('\n', " ").contains(&document["runs"][1]["headline"].as_str().unwrap()[..60]), "{text}");
    for arguments in
        [vec!["report", "--from", page, "--html", "again.html"], vec!["report", "--from", page, "--export", "junit"]]
    {
        let refused = bench(place.path(), &arguments);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("a page of `compare`"), "{arguments:?}");
    }
    let twice = bench(place.path(), &["compare", page, page]);
    assert_eq!(twice.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&twice.stderr).contains("no page of one run"));
}

/// What is compared of two pages is what is compared of their runs.
#[test]
fn pages_are_compared_as_their_runs_are() {
    let place = tempfile::tempdir().unwrap();
    let runs = [(1, 240), (2, 200)].map(|(day, per_second)| run(place.path(), &even(day, per_second, 12)));
    for (run, page) in runs.iter().zip(["a.html", "b.html"]) {
        printed(place.path(), &["report", run, "--html", page, "--quiet"]);
    }
    let of = |a: &str, b: &str| -> Value {
        let mut document: Value = serde_json::from_str(&printed(place.path(), &["compare", a, b, "--json"])).unwrap();
        document["runs"].as_array_mut().unwrap().iter_mut().for_each(|run| run["run_dir"] = Value::Null);
        document
    };
    let direct = of(&runs[0], &runs[1]);
    assert_eq!(direct["runs"][1]["finding"], "worse");
    assert_eq!(of("a.html", "b.html"), direct);
    assert_eq!(of("a.html", &runs[1]), direct);
    // A gate may judge a page, but has no seconds for a limit.
    let limited = bench(place.path(), &["gate", "a.html", "--threshold", "http_req_duration: p(95)<50"]);
    assert_eq!(limited.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&limited.stderr).contains("a page has no seconds"));
}

#[test]
fn a_run_that_is_not_valid_is_said_to_be_before_anything_else() {
    let place = tempfile::tempdir().unwrap();
    let (a, b) = (run(place.path(), &even(1, 240, 30)), run(place.path(), &Shape { day: 2, ..Shape::load(30) }));
    let Made { page, document } = made(place.path(), &["compare", &a, &b], "compare.html");
    assert_eq!(document["runs"][1]["finding"], "not_valid");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(
        page.contains("</span>not valid</span> B is NOT VALID (Little&#39;s law")
            || page.contains("</span>not valid</span> B is NOT VALID (Little's law")
    );
}

/// What ramps found is compared with intervals; a ramp and a load test are not.
#[test]
fn ramps_are_compared_with_each_other_and_with_nothing_else() {
    let place = tempfile::tempdir().unwrap();
    let Made { page, document } = ramps_compared(place.path());
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/compare-ramps.schema.json");
    let schema: Value = serde_json::from_slice(&std::fs::read(schema).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    assert!(validator.is_valid(&document), "{document:#}");
    assert_eq!((&document["kind"], &document["runs"][1]["finding"]), (&"compare_ramps".into(), &"worse".into()));
    let plateau = &document["runs"][1]["changes"][0];
    assert!((plateau["change"].as_f64().unwrap() + 1.0 / 6.0).abs() < 1e-9, "{plateau}");
    assert!(plateau["interval_95"][1].as_f64().unwrap() < 0.0, "{plateau}");
    // The VUs are the same in both.
    let vus = &document["runs"][1]["changes"][1];
    assert!(vus["change"] == 0.0 && vus["interval_95"][0].as_f64().unwrap() < -0.1, "{vus}");
    let text = printed(place.path(), &["report", "--from", page.to_str().unwrap()]);
    assert!(text.starts_with("B carries less than A: plateau −17 % [−21 %, −12 %]; saturating VUs 0 % ["), "{text}");
    let ramp = document["runs"][0]["run_dir"].as_str().unwrap();
    let mixed = bench(place.path(), &["compare", ramp, &run(place.path(), &even(3, 240, 12))]);
    assert_eq!(mixed.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&mixed.stderr).contains("give ramps alone"));
}
