//! Scenario files: all that are shipped, thresholds and their exit codes, `check`.

use std::path::{Path, PathBuf};

use connect_bench::scenario;
use serde_json::Value;

use crate::support::{Bench, Ended, Sandbox, number};

fn shipped() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    files
}

async fn run(bench: &Bench, file: &Path, flags: &[&str]) -> Ended {
    let file = file.display().to_string();
    bench.run(&[&["run", &file, "--json", "-q"], flags].concat()).await
}

/// Every iteration and every request of a document ended in exactly one way.
fn conserved(document: &Value) {
    let count = |what: &str| number(document, &format!("/requests/{what}"));
    let ended = count("completed") + count("failed") + count("dropped") + count("interrupted");
    assert_eq!(count("scheduled"), ended, "{document:#}");
}

#[test]
fn every_shipped_file_is_a_load_test_of_at_most_forty_seconds() {
    let files = shipped();
    assert!(files.len() >= 7, "{files:?}");
    for file in files {
        let load_test = scenario::read_in(&std::fs::read_to_string(&file).unwrap(), file.parent().unwrap());
        let load_test = load_test.unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        assert!(load_test.duration().as_secs() <= 40, "{}", file.display());
    }
}

#[tokio::test]
async fn check_prints_the_plan_of_every_shipped_file() {
    let bench = Bench::new();
    for file in shipped() {
        let file = file.display().to_string();
        bench.run(&["check", &file]).await.passes();
        let ended = bench.run(&["check", &file, "--json"]).await;
        assert_eq!(ended.code, Some(0));
        let plan = ended.json();
        assert!(number(&plan, "/max_vus") >= 1.0 && number(&plan, "/longest_s") >= number(&plan, "/duration_s"));
    }
    assert!(bench.runs().is_empty(), "check runs nothing");
}

#[tokio::test]
async fn check_prints_the_schema_of_such_files() {
    let bench = Bench::new();
    let ended = bench.run(&["check", "--schema"]).await;
    assert_eq!((ended.code, ended.json()), (Some(0), scenario::schema::schema()));
    // It is of no file, and no plan.
    bench.run(&["check", "--schema", "a.toml"]).await.fails(2, &["--schema"]);
    bench.run(&["check", "--schema", "--json"]).await.fails(2, &["--schema"]);
    bench.run(&["check"]).await.fails(2, &["<FILE>"]);
}

/// Those that no other test runs; `reference.toml` and `two-paths.toml` have nothing that these lack.
#[tokio::test]
async fn the_shipped_files_run_against_the_sandbox() {
    let sandbox = Sandbox::quick(&["--profile", "small"]).await;
    let bench = Bench::on(&sandbox);
    for name in ["open-model", "spike", "soak", "ramping", "iterations"] {
        let file = shipped().into_iter().find(|file| file.ends_with(format!("{name}.toml"))).unwrap();
        let ended = run(&bench, &file, &[]).await;
        // A busy machine may be the limit; what was to happen happens anyway.
        assert!([Some(0), Some(99), Some(121)].contains(&ended.code), "{name}: {ended:#?}");
        let document = ended.json();
        conserved(&document);
        assert!(!document["thresholds"].as_array().unwrap().is_empty());
        match name {
            "open-model" | "spike" => {
                let open = &document["open_model"];
                assert!(number(open, "/scheduled") > 100.0 && number(open, "/response_time_ms/n") > 100.0, "{open:#}");
            }
            "iterations" => {
                assert_eq!(number(&document, "/requests/scheduled"), 500.0);
                assert_eq!(document["thresholds"][0]["passed"], true, "{document:#}");
                assert!(document["open_model"].is_null());
            }
            _ => assert!(document["open_model"].is_null(), "a closed model has no response time"),
        }
    }
    assert_eq!(sandbox.items().await, [""; 0]);
}

const TINY: &str = "[scenarios.a]\nexecutor = \"per-vu-iterations\"\nvus = 2\niterations = 5\nmaxDuration = \"5s\"\n";

#[tokio::test]
async fn a_threshold_decides_the_exit_code() {
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::on(&sandbox);
    let file = bench.file("tiny.toml", TINY);
    run(&bench, &file, &["--threshold", "iterations: count==10"]).await.passes();
    let ended = run(&bench, &file, &["--threshold", "iterations{scenario:a}: count<10"]).await;
    assert_eq!(ended.code, Some(99), "{ended:#?}");
    let verdict = &ended.json()["thresholds"][0];
    assert_eq!((&verdict["passed"], number(verdict, "/observed")), (&Value::Bool(false), 10.0));
    // Nothing was published: no data is no pass.
    let ended = run(&bench, &file, &["--threshold", "publish_total: p(95)<60000"]).await;
    assert_eq!(ended.code, Some(99), "{ended:#?}");
    assert!(ended.json()["thresholds"][0]["observed"].is_null());
    let file = file.display().to_string();
    let ended = bench.run(&["run", &file, "-q", "--threshold", "http_reqs: count>1000"]).await;
    assert!(ended.stdout.contains("✗ http_reqs count>1000: 10"), "{ended:#?}");
    let ended = bench.load(&["-q", "--threshold", "http_req_failed{scenario:fetch}: rate>=0"]).await;
    assert!(ended.stdout.contains("✓ http_req_failed{scenario:fetch} rate>=0: 0"), "{ended:#?}");
    ended.passes();
}

#[tokio::test]
async fn a_threshold_may_be_relative_to_an_earlier_run() {
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::on(&sandbox);
    let file = bench.file("tiny.toml", TINY);
    let before = run(&bench, &file, &[]).await;
    let directory = before.json()["run_dir"].as_str().unwrap().to_owned();
    let same = ["--threshold", "iterations: count<=100%", "--threshold-baseline", &directory];
    let ended = run(&bench, &file, &same).await;
    ended.passes();
    let to = &ended.json()["thresholds"][0]["relative"];
    assert_eq!(
        (&to["baseline"], number(to, "/value"), number(to, "/limit")),
        (&Value::String(directory.clone()), 10.0, 10.0)
    );
    // In the file, and by the name of the run alone.
    let name = directory.rsplit('/').next().unwrap();
    let text = format!("{TINY}[thresholds]\niterations = {{ threshold = \"count<90%\", baseline = \"{name}\" }}\n");
    let ended = run(&bench, &bench.file("relative.toml", &text), &[]).await;
    assert_eq!(ended.code, Some(99), "{ended:#?}");
    for (flags, says) in [
        (&["--threshold", "iterations: count<=100%"][..], "percent of what?"),
        (&["--threshold", "iterations: count<=100%", "--threshold-baseline", "runs/none"], "is no run directory"),
        (
            &["--threshold", "iterations: count<=9%", "--threshold-baseline", "azure-load-balanced"],
            "does not document it",
        ),
        (&["--threshold", "publish_total: max<9%", "--threshold-baseline", &directory], "has no data"),
    ] {
        let ended = run(&bench, &file, flags).await;
        assert_eq!(ended.code, Some(104), "{ended:#?}");
        assert!(ended.stderr.contains(says), "{ended:#?}");
    }
}

#[tokio::test]
async fn a_threshold_can_end_the_run() {
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::on(&sandbox);
    let text = "[scenarios.a]\nexecutor = \"constant-arrival-rate\"\nrate = 20\nduration = \"5m\"\npreAllocatedVUs = 9\n\
                gracefulStop = \"2s\"\n[thresholds]\n\
                http_reqs = [{ threshold = \"count<30\", abortOnFail = true, delayAbortEval = \"3s\" }]\n";
    let file = bench.file("abort.toml", text);
    let ended = run(&bench, &file, &[]).await;
    assert_eq!(ended.code, Some(99), "{ended:#?}");
    assert!(ended.took.as_secs() < 60, "{:?}", ended.took);
    let document = ended.json();
    assert_eq!(document["thresholds"][0]["aborted"], true);
    assert!(document["state"]["aborted"]["reason"].as_str().unwrap().contains("http_reqs count<30"));
    assert_eq!(sandbox.items().await, [""; 0], "the server is not gone: what was made is removed");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_before_the_first_request() {
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::on(&sandbox);
    let before = sandbox.requests().await;
    let file = bench.file("tiny.toml", TINY);
    run(&bench, &file, &["--threshold", "http_req_duratoin: p(95)<1"]).await.fails(104, &["did you mean"]);
    run(&bench, &file, &["--threshold", "http_reqs{scenario:b}: count<1"]).await.fails(104, &["scenario:b"]);
    bench.load(&["--threshold", "http_reqs: p(95)<1"]).await.fails(104, &["it has count, rate"]);
    bench.load(&["--threshold", "http_reqs{scenario:b}: count<1"]).await.fails(104, &["scenario:b"]);
    let wrong = bench.file("wrong.toml", &TINY.replace("vus =", "vu ="));
    run(&bench, &wrong, &[]).await.fails(104, &["wrong.toml", "line 3, column 1", "did you mean `vus`?"]);
    let wrong = wrong.display().to_string();
    bench.run(&["check", &wrong]).await.fails(104, &["line 3, column 1"]);
    assert_eq!(sandbox.requests().await, before);
}
