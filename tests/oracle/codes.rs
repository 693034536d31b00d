//! Exit codes: what is refused before the first request, and how runs end that no threshold decides.

use serde_json::json;

use crate::tools::{LoadTest, Request, Tools, after};

/// Expressions on `http_req_duration`, and the exit codes of k6 and of ours.
const EXPRESSIONS: &[(&str, i32, i32)] = &[
    ("", 104, 104),
    ("p(95)<", 104, 104),
    ("p95<1", 104, 104),
    ("P(95)<1", 104, 104),
    ("p( 95 )<1", 104, 104),
    ("median<1", 104, 104),
    ("count<1", 104, 104),
    ("avg=1", 104, 104),
    ("avg<=>1", 104, 104),
    ("avg!==1", 104, 104),
    ("avg<1 && max<2", 104, 104),
    ("avg<1ms", 104, 104),
    ("avg<0x10", 104, 104),
    ("1<avg", 104, 104),
    // Named differences. Go's numbers have NaN, which no value is below, and Inf, which all are: ours refuses both.
    ("avg<NaN", 99, 104),
    ("avg<Inf", 0, 104),
    // k6 looks at the range of percentiles from v2.1 on; before, it lets them pass.
    ("p(101)<1e9", 0, 104),
];

#[test]
fn expressions_that_are_none_are_refused() {
    let Some(tools) = Tools::get() else { return };
    for &(expression, k6, ours) in EXPRESSIONS {
        let once = json!({"executor": "per-vu-iterations"});
        let test = LoadTest::new("a", once, &[after(0)]).limit("http_req_duration", json!(expression));
        let pair = tools.run(&test);
        assert_eq!(pair.each(|ran| ran.code), [Some(k6), Some(ours)], "{expression:?}");
        assert_eq!(pair.each(|ran| ran.seen.is_empty()), [k6 == 104, ours == 104], "{expression:?}");
    }
}

#[test]
fn metrics_and_scenarios_that_make_no_sense_are_refused() {
    let Some(tools) = Tools::get() else { return };
    for (metric, expression) in [("http_req_duratoin", "max<1"), ("iterations", "p(95)<1"), ("checks", "count<1")] {
        let once = json!({"executor": "per-vu-iterations"});
        let test = LoadTest::new("a", once, &[after(0)]).limit(metric, json!(expression));
        tools.run(&test).ended(104);
    }
    for scenario in [
        json!({"executor": "constant-vu", "duration": "1s"}),
        json!({"executor": "constant-vus", "duration": "1s", "vuss": 1}),
        json!({"executor": "constant-vus"}),
        json!({"executor": "constant-vus", "duration": "500ms"}),
        json!({"executor": "constant-vus", "duration": "1s", "vus": 0}),
        json!({"executor": "constant-vus", "duration": "1s", "iterations": 2}),
        json!({"executor": "shared-iterations", "vus": 3, "iterations": 2}),
        json!({"executor": "per-vu-iterations", "iterations": 0}),
        json!({"executor": "ramping-vus", "stages": []}),
        json!({"executor": "ramping-vus", "stages": [{"duration": "1s"}]}),
        json!({"executor": "constant-arrival-rate", "rate": 1, "duration": "1s"}),
        json!({"executor": "constant-arrival-rate", "rate": 0, "duration": "1s", "preAllocatedVUs": 1}),
        json!({"executor": "constant-arrival-rate", "rate": 1, "duration": "1s", "preAllocatedVUs": 2, "maxVUs": 1}),
        json!({"executor": "ramping-arrival-rate", "stages": [], "preAllocatedVUs": 1}),
    ] {
        let about = scenario.to_string();
        let pair = tools.run(&LoadTest::new("a", scenario, &[after(0)]));
        assert_eq!(pair.each(|ran| ran.code), [Some(104); 2], "{about} {} {}", pair.k6.stderr, pair.ours.stderr);
        assert_eq!(pair.each(|ran| ran.seen.len()), [0, 0], "{about}");
    }
}

#[test]
fn failures_without_a_threshold_fail_no_run() {
    let Some(tools) = Tools::get() else { return };
    let once = json!({"executor": "per-vu-iterations", "iterations": 2});
    let broken = Request { status: 500, check: Some(200), ..after(20) };
    let test = LoadTest::new("a", once.clone(), &[after(20), Request { name: "two", ..broken }]);
    tools.run(&test).ended(0);
    // Difference on purpose: where nothing at all was completed, there is nothing to pass.
    let pair = tools.run(&LoadTest::new("a", once, &[broken]));
    assert_eq!(pair.each(|ran| ran.code), [Some(0), Some(121)]);
}

#[test]
fn an_interrupted_run_says_so() {
    let Some(tools) = Tools::get() else { return };
    let long = json!({"executor": "constant-vus", "vus": 2, "duration": "60s"});
    let pair = tools.interrupt(&LoadTest::new("a", long, &[after(50)]), 20);
    pair.ended(105);
    assert!(pair.both().iter().all(|(_, ran)| ran.took.as_secs() < 30));
    // Difference on purpose: k6 cuts off what is under way, ours lets it end; a second Ctrl-C cuts it off.
    let cut = pair.each(|ran| ran.seen.iter().filter(|seen| seen.answered.is_none()).count());
    assert_eq!(cut[1], 0);
    assert!(cut[0] > 0, "{cut:?}");
}

#[test]
fn what_cannot_be_read() {
    let Some(tools) = Tools::get() else { return };
    // Named difference: a script that cannot be parsed is an exception to k6, a file that cannot be is invalid here.
    let pair = tools.run_texts("export default function () {", "[scenarios.a\n");
    assert_eq!(pair.each(|ran| ran.code), [Some(107), Some(104)]);
    // Named difference: a key at the top that k6 does not know is a warning, so a typing error in `thresholds` is none.
    let script = "export const options = { treshholds: {} }; export default function () {}";
    let file = "treshholds = {}\n[scenarios.a]\nexecutor = \"per-vu-iterations\"\n";
    let pair = tools.run_texts(script, file);
    assert_eq!(pair.each(|ran| ran.code), [Some(0), Some(104)]);
    assert!(pair.ours.stderr.contains("did you mean `thresholds`?"), "{}", pair.ours.stderr);
}
