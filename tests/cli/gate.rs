//! The gate from the command line: verdicts, exit codes, files for git and for CI.

use std::path::PathBuf;

use serde_json::Value;

use crate::made::Made;
use crate::servers::{Answer, Server};
use crate::support::{Bench, Ended, number};

const HISTORY: &str = "bench/baselines/url-20vus.history.jsonl";

fn write(bench: &Bench, made: &Made) -> String {
    let path = made.write(&bench.path().join("runs"));
    path.strip_prefix(bench.path()).unwrap().display().to_string()
}

/// A place where five runs of about 400 per second were accepted.
async fn accepted() -> Bench {
    let bench = Bench::new();
    let runs: Vec<String> =
        [400, 404, 396, 401, 399].iter().zip(0..).map(|(per_s, hour)| write(&bench, &Made::at(hour, *per_s))).collect();
    let line: Vec<&str> = ["baselines", "accept"].into_iter().chain(runs.iter().map(String::as_str)).collect();
    let ended = bench.run(&line).await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(ended.stdout.contains("begins epoch 1 of url-20vus") && ended.stdout.contains("belongs to epoch 1"));
    bench
}

async fn gate(bench: &Bench, made: &Made, flags: &[&str]) -> Ended {
    let run = write(bench, made);
    bench.run(&[&["gate", &run][..], flags].concat()).await
}

fn lines(bench: &Bench) -> Vec<Value> {
    let text = std::fs::read_to_string(bench.path().join(HISTORY)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn the_same_level_passes_and_a_tenth_less_does_not() {
    let bench = accepted().await;
    let same = gate(&bench, &Made::at(10, 398), &[]).await;
    assert_eq!(same.code, Some(0), "{same:#?}");
    assert!(same.stdout.contains("PASS: ") && same.stdout.contains("would have been seen in four of five cases"));
    let slower = gate(&bench, &Made::at(11, 360), &["--json"]).await;
    assert_eq!(slower.code, Some(120), "{slower:#?}");
    let document = slower.json();
    assert_eq!((&document["verdict"], &document["exit_code"]), (&"regressed".into(), &120.into()));
    let rps = &document["against"][0]["checks"][0];
    assert!((number(rps, "/baseline") - 400.0).abs() < 1e-9 && (number(rps, "/change") + 0.1).abs() < 1e-9, "{rps:#}");
    assert!((0.05..0.09).contains(&number(rps, "/detectable")), "{rps:#}");
    assert!(document["retries"]["problem"].as_str().unwrap().contains("not confirmed"));
    let faster = gate(&bench, &Made::at(12, 460), &[]).await;
    assert_eq!(faster.code, Some(0));
    assert!(faster.stdout.contains("IMPROVED") && faster.stdout.contains("baselines accept"), "{faster:#?}");
}

#[tokio::test]
async fn without_a_name_the_newest_run_is_judged() {
    let bench = accepted().await;
    write(&bench, &Made::at(20, 350));
    assert_eq!(bench.run(&["gate"]).await.code, Some(120));
    write(&bench, &Made::at(21, 400));
    assert_eq!(bench.run(&["gate"]).await.code, Some(0));
}

#[tokio::test]
async fn what_cannot_be_compared_is_no_regression() {
    let bench = accepted().await;
    let limited = gate(&bench, &Made { limited: true, ..Made::at(10, 200) }, &[]).await;
    limited.fails(121, &[]);
    assert!(limited.stdout.contains("NOT COMPARABLE") && limited.stdout.contains("the generator was the limit"));
    let other = gate(&bench, &Made { vus: 40, ..Made::at(11, 200) }, &[]).await;
    other.fails(121, &[]);
    assert!(other.stdout.contains("fetch: 20 VUs, fetches / → fetch: 40 VUs"), "{other:#?}");
    let allowed = gate(&bench, &Made { vus: 21, ..Made::at(12, 400) }, &["--may-differ", "load"]).await;
    assert_eq!(allowed.code, Some(0), "{allowed:#?}");
    let short = gate(&bench, &Made { seconds: 5, ..Made::at(13, 400) }, &[]).await;
    short.fails(121, &[]);
    assert!(short.stdout.contains("fewer than 10"));
    let refused =
        bench.run(&["baselines", "accept", &write(&bench, &Made { limited: true, ..Made::at(14, 400) })]).await;
    refused.fails(121, &["not accepted", "the generator was the limit"]);
    assert_eq!(lines(&bench).len(), 5);
}

#[tokio::test]
async fn before_anything_was_accepted_there_is_no_pass() {
    let bench = Bench::new();
    let ended = gate(&bench, &Made::at(1, 400), &[]).await;
    ended.fails(121, &[]);
    assert!(ended.stdout.contains("no run was accepted yet") && ended.stdout.contains("baselines accept runs/"));
    bench.run(&["gate", "--runs-dir", "nowhere"]).await.fails(2, &["there is no run"]);
    bench.run(&["gate", "--baseline", "nothing"]).await.fails(2, &["no such file", "aws-single-server-robust"]);
    bench.run(&["gate", "--may-differ", "colour"]).await.fails(2, &["no property"]);
}

#[tokio::test]
async fn limits_stand_beside_the_comparison() {
    let bench = accepted().await;
    let limit = ["--threshold", "http_req_duration: p(95)<40"];
    let kept = gate(&bench, &Made::at(10, 400), &["--threshold", "http_req_duration: p(95)<60"]).await;
    assert_eq!(kept.code, Some(0), "{kept:#?}");
    let broken = gate(&bench, &Made::at(11, 400), &limit).await;
    assert_eq!(broken.code, Some(99), "{broken:#?}");
    assert!(broken.stdout.contains("NOT KEPT") && broken.stdout.contains("PASS"));
    assert_eq!(gate(&bench, &Made::at(12, 360), &limit).await.code, Some(120));
    gate(&bench, &Made::at(13, 400), &["--threshold", "http_req_durations: p(95)<40"])
        .await
        .fails(104, &["did you mean"]);
    // A profile's own.
    let settings = bench.path().join("bench/baselines/url-20vus.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(
        &settings,
        text.replace("# limits = [\"http_req_duration: p(95)<500\"]", "limits = [\"http_reqs: count>1e9\"]"),
    )
    .unwrap();
    assert_eq!(gate(&bench, &Made::at(14, 400), &[]).await.code, Some(99));
    std::fs::write(&settings, "schema = 1\nlimts = []\n").unwrap();
    gate(&bench, &Made::at(15, 400), &[]).await.fails(104, &["url-20vus.toml", "did you mean `limits`?"]);
}

#[tokio::test]
async fn errors_are_judged_by_their_interval() {
    let bench = accepted().await;
    let few = gate(&bench, &Made { failed: 4, ..Made::at(10, 396) }, &["--json"]).await;
    assert_eq!(few.code, Some(120), "{few:#?}");
    let document = few.json();
    let errors = document["against"][0]["checks"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&errors["metric"], &errors["finding"]), (&"error_rate".into(), &"regressed".into()));
    assert!(number(&errors, "/detectable") > 1e-4 && number(&errors, "/detectable") < 2e-3, "{errors:#}");
}

#[tokio::test]
async fn passing_runs_are_recorded_and_a_person_accepts_another_level() {
    let bench = accepted().await;
    let recorded = gate(&bench, &Made::at(10, 402), &["--record"]).await;
    assert_eq!(recorded.code, Some(0));
    assert_eq!((lines(&bench).len(), lines(&bench)[5]["epoch"].as_u64()), (6, Some(1)));
    let slower = Made::at(11, 340);
    let ended = gate(&bench, &slower, &["--record"]).await;
    assert_eq!((ended.code, lines(&bench).len()), (Some(120), 6), "{ended:#?}");
    let run = bench.runs().into_iter().max().unwrap();
    let run = run.strip_prefix(bench.path()).unwrap().display().to_string();
    let accepted = bench.run(&["baselines", "accept", &run, "--note", "half the cores"]).await;
    assert!(accepted.stdout.contains("begins epoch 2") && accepted.stdout.contains("slower"), "{accepted:#?}");
    assert_eq!((&lines(&bench)[6]["epoch"], &lines(&bench)[6]["note"]), (&2.into(), &"half the cores".into()));
    assert_eq!(gate(&bench, &Made::at(12, 338), &[]).await.code, Some(0));
    bench.run(&["baselines", "accept", &run]).await.fails(2, &["already"]);
}

#[tokio::test]
async fn every_dialect_says_the_same() {
    let bench = accepted().await;
    let bench = bench.with("GITHUB_OUTPUT", "output").with("GITHUB_STEP_SUMMARY", "summary.md");
    let flags = [
        "--junit",
        "out/junit.xml",
        "--github",
        "--gitlab",
        "gl",
        "--markdown",
        "c.md",
        "--benchmark-action",
        "ba",
        "--bencher",
        "b.json",
    ];
    let ended = gate(&bench, &Made::at(10, 360), &flags).await;
    assert_eq!(ended.code, Some(120), "{ended:#?}");
    let read = |name: &str| std::fs::read_to_string(bench.path().join(name)).unwrap();
    let junit = read("out/junit.xml");
    assert!(
        junit.contains("failures=\"2\" errors=\"0\"") && junit.contains("<failure message=\"requests per second −10"),
        "{junit}"
    );
    assert!(ended.stderr.contains("::error title=connect-bench gate::REGRESSED"), "{ended:#?}");
    // What a workflow command would take for its own is escaped.
    let commands: Vec<&str> = ended.stderr.lines().filter(|line| line.starts_with("::")).collect();
    assert!(commands.len() >= 3 && commands.iter().all(|line| line.replace("%25", "").matches('%').count() == 0));
    assert!(read("output").contains("verdict=regressed\n") && read("output").contains("rps=360\n"));
    assert_eq!(read("summary.md"), read("c.md"));
    assert!(read("c.md").lines().count() <= 25 && read("c.md").starts_with("<!-- connect-bench gate -->"));
    assert!(
        read("gl/metrics.txt").contains("connect_bench_gate_verdict 3\n")
            && read("gl/metrics.txt").ends_with("# EOF\n")
    );
    let json = |name: &str| serde_json::from_str::<Value>(&read(name)).unwrap();
    let performance = json("gl/load-performance.json");
    assert_eq!(number(&performance, "/metrics/http_reqs/rate"), 360.0);
    assert!(number(&performance, "/metrics/http_req_waiting/p(95)") > 50.0);
    assert_eq!(number(&json("ba/bench-bigger.json"), "/0/value"), 360.0);
    assert_eq!(json("ba/bench-smaller.json")[0]["unit"], "ms");
    assert_eq!(number(&json("b.json"), "/connect fetch, 20 VUs/throughput/value"), 360.0);
}

#[tokio::test]
async fn runs_and_directories_of_them_are_baselines_too() {
    let bench = Bench::new();
    let runs: Vec<String> = (0..4).map(|hour| write(&bench, &Made::at(hour, 400))).collect();
    let one = gate(&bench, &Made::at(10, 399), &["--baseline", &runs[0]]).await;
    assert_eq!(one.code, Some(0), "{one:#?}");
    let all = gate(&bench, &Made::at(11, 350), &["--baseline", "runs", "--json"]).await;
    assert_eq!(all.code, Some(120), "{all:#?}");
    assert_eq!((&all.json()["against"][0]["runs"], &all.json()["against"][0]["kind"]), (&5.into(), &"runs".into()));
    let documented =
        gate(&bench, &Made { vus: 250, ..Made::at(12, 1260) }, &["--baseline", "aws-single-server-robust"]).await;
    assert_eq!(documented.code, Some(0), "{documented:#?}");
    assert!(documented.stdout.contains("meets the documented 1270 requests per second"));
    let below =
        gate(&bench, &Made { vus: 250, ..Made::at(13, 1000) }, &["--baseline", "aws-single-server-robust"]).await;
    assert_eq!(below.code, Some(120), "{below:#?}");
    let elsewhere = gate(&bench, &Made::at(14, 1000), &["--baseline", "aws-single-server-robust"]).await;
    elsewhere.fails(121, &[]);
    assert!(elsewhere.stdout.contains("documented at 250 VUs"));
}

#[tokio::test]
async fn a_conflict_in_a_history_is_said_with_its_line() {
    let bench = accepted().await;
    let path: PathBuf = bench.path().join(HISTORY);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("<<<<<<< HEAD\n{text}")).unwrap();
    gate(&bench, &Made::at(10, 400), &["--baseline", HISTORY]).await.fails(104, &[HISTORY, "line 1", "merge=union"]);
    // Both sides' lines in any order, and some of them twice, are the same history.
    let lines: Vec<&str> = text.lines().rev().chain(text.lines()).collect();
    std::fs::write(&path, lines.join("\n")).unwrap();
    let ended = gate(&bench, &Made::at(11, 400), &["--json", "--record"]).await;
    assert_eq!((ended.code, &ended.json()["against"][0]["runs"]), (Some(0), &5.into()), "{ended:#?}");
    assert_eq!(self::lines(&bench).len(), 11, "the line is added behind one without a line break");
}

#[tokio::test]
async fn a_regression_that_cannot_be_confirmed_is_inconclusive() {
    let server = Server::start(Answer::Text(200, "hello")).await;
    let bench = accepted().await;
    let url = format!("--url={}", server.url);
    // Too short to be compared, so it does not count.
    let invocation = ["load", &url, "--vus=2", "--duration=2s", "--warmup=0s"].map(str::to_owned).to_vec();
    let made = Made { invocation, ..Made::at(10, 300) };
    let before = bench.runs().len();
    let ended = gate(&bench, &made, &["--retries", "1", "--json"]).await;
    assert_eq!(ended.code, Some(121), "{ended:#?}");
    let document = ended.json();
    assert_eq!((&document["verdict"], &document["retries"]["made"]), (&"inconclusive".into(), &1.into()));
    assert!(document["retries"]["problem"].as_str().unwrap().contains("does not count"), "{document:#}");
    assert!(document["headline"].as_str().unwrap().contains("looks regressed, and was not confirmed"), "{document:#}");
    assert_eq!(bench.runs().len(), before + 2, "the run and its repeat");
    let unknown = gate(&bench, &Made::at(11, 300), &["--retries", "1"]).await;
    assert!(unknown.code == Some(121) && unknown.stdout.contains("not written down"), "{unknown:#?}");
}

/// Holds a document against its schema, which has to miss any field that is gone.
fn valid(name: &str, document: &Value) {
    let path = format!("{}/schemas/{name}.schema.json", env!("CARGO_MANIFEST_DIR"));
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let faults: Vec<String> =
        validator.iter_errors(document).map(|fault| format!("{}: {fault}", fault.instance_path())).collect();
    assert!(faults.is_empty(), "{name}:\n{}", faults.join("\n"));
    for field in document.as_object().unwrap().keys() {
        let mut less = document.clone();
        less.as_object_mut().unwrap().remove(field);
        assert!(!validator.is_valid(&less), "{name} without {field} passes");
    }
}

#[tokio::test]
async fn the_documents_are_as_their_schemas_say() {
    let bench = accepted().await;
    let limit = ["--json", "--threshold", "http_req_duration: p(95)<40"];
    valid("gate", &gate(&bench, &Made::at(10, 360), &limit).await.json());
    valid("gate", &gate(&bench, &Made { limited: true, ..Made::at(11, 360) }, &["--json"]).await.json());
    valid("gate", &gate(&bench, &Made { vus: 30, ..Made::at(12, 360) }, &["--json"]).await.json());
    let runs: Vec<String> = bench.runs().into_iter().map(|run| run.display().to_string()).collect();
    valid("compare", &bench.run(&["compare", &runs[0], &runs[1], "--json"]).await.json());
    valid("history", &bench.run(&["history", HISTORY, "--json"]).await.json());
}

#[tokio::test]
async fn runs_are_held_side_by_side() {
    let bench = Bench::new();
    let (a, b) = (write(&bench, &Made::at(1, 400)), write(&bench, &Made { vus: 40, ..Made::at(2, 440) }));
    let ended = bench.run(&["compare", &a, &b]).await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(
        ended.stdout.contains("+10.0 % [") && ended.stdout.contains("B is not like for like with A: the load"),
        "{ended:#?}"
    );
    bench.run(&["compare", &a]).await.fails(2, &["2"]);
    bench.run(&["compare", &a, "nowhere"]).await.fails(104, &["nowhere", "not a run directory"]);
}

#[tokio::test]
async fn a_history_shows_where_the_level_changed() {
    let bench = Bench::new();
    for hour in 0..16 {
        let level = if hour < 10 { 400 } else { 340 };
        write(&bench, &Made::at(hour, level + u64::try_from(hour % 3).unwrap()));
    }
    write(&bench, &Made { vus: 99, ..Made::at(-5, 400) });
    let ended = bench.run(&["history"]).await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(
        ended.stdout.contains("1 more is left out") && ended.stdout.contains("◆ requests per second 401 → 341 (−15 %)"),
        "{ended:#?}"
    );
    let document = bench.run(&["history", "--json"]).await.json();
    assert_eq!((&document["changes"][0]["index"], document["runs"].as_array().unwrap().len()), (&10.into(), 16));
    bench.run(&["history", "nowhere"]).await.fails(2, &["no valid run"]);
}
