//! A table of thresholds: each is the only one that decides a run of its own in both tools, and its verdict and the
//! exit code must be those of the table. The load is exact: counts and shares do not depend on the machine, and limits
//! on times are far from what they limit.

use serde_json::json;

use crate::executors::offsets;
use crate::tools::{LoadTest, Request, Tools, after, attempts, until_it_passes};

/// What a tool says of a threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Says {
    Kept,
    Crossed,
    /// The configuration is invalid: nothing runs.
    Refused,
}
use Says::{Crossed, Kept, Refused};

impl Says {
    fn code(self) -> i32 {
        match self {
            Kept => 0,
            Crossed => 99,
            Refused => 104,
        }
    }

    fn verdict(self) -> Option<bool> {
        match self {
            Kept => Some(true),
            Crossed => Some(false),
            Refused => None,
        }
    }
}

/// Metric, expression, and what both say of it.
type Row = (&'static str, &'static str, Says);

/// Scenario `a`: 2 VUs, 4 iterations each, in each of them 5 requests: well, 404, 500, and a redirect of two hops.
/// Scenario `b`: one request that takes 400 ms.
const SAME: &[Row] = &[
    ("http_reqs", "count==41", Kept),
    ("http_reqs", "count!=41", Crossed),
    ("http_reqs", "count<=40", Crossed),
    ("http_reqs", "rate>0.5", Kept),
    ("http_reqs{scenario:a}", "count===40", Kept),
    ("http_reqs{scenario:b}", "count>1", Crossed),
    ("http_reqs{status:404}", "count==8", Kept),
    ("http_reqs{status:302}", "count==8", Kept),
    ("http_reqs{scenario:a,status:200}", "count==16", Kept),
    ("http_reqs{expected_response:true}", "count==25", Kept),
    ("http_reqs{expected_response:false}", "count<16", Crossed),
    ("http_reqs{kind:first}", "count==40", Kept),
    ("http_reqs{group:::slow}", "count==1", Kept),
    ("http_req_failed", "rate<0.39", Crossed),
    ("http_req_failed", "rate<0.4", Kept),
    ("http_req_failed{scenario:a}", "rate==0.4", Kept),
    ("http_req_failed{scenario:b}", "rate<=0", Kept),
    ("http_req_duration{scenario:b}", "min>=400", Kept),
    ("http_req_duration{scenario:b}", "p(95)<399", Crossed),
    ("http_req_duration", "max >= 400", Kept),
    ("http_req_duration{scenario:a}", "p(99.9)<20", Crossed),
    ("http_req_duration", "p(50)<1e4", Kept),
    ("http_req_waiting{scenario:a}", "min<20", Crossed),
    ("http_req_duration{expected_response:true}", "med>=20", Kept),
    ("http_req_duration{expected_response:false}", "avg>=40", Kept),
    ("http_req_duration{expected_response:false}", "avg<40", Crossed),
    ("http_req_connecting", "min<=0", Kept),
    ("http_req_tls_handshaking", "max==0", Kept),
    ("iterations", "count==9", Kept),
    ("iterations{scenario:a}", "count<8", Crossed),
    ("iteration_duration{scenario:b}", "avg>400", Kept),
    ("iteration_duration{scenario:b}", "max<400", Crossed),
    ("dropped_iterations", "count==0", Kept),
    ("dropped_iterations", "count>0", Crossed),
    ("checks", "rate>0.66", Kept),
    ("checks", "rate>0.67", Crossed),
    ("checks{check:status is 404}", "rate==1", Kept),
    ("checks{check:status is 200}", "rate>=1", Crossed),
    ("data_received", "count>41", Kept),
    ("data_sent", "count<41", Crossed),
];

/// Metric in k6, metric in ours, expression, what k6 says, what ours says.
type Difference = (&'static str, &'static str, &'static str, Says, Says);

const DIFFERENT: &[Difference] = &[
    // No data: k6 passes what it has not measured, ours fails it. A counter without events is 0 in both.
    ("http_req_duration{scenario:b,expected_response:false}", "", "p(95)<500", Kept, Crossed),
    ("http_req_failed{scenario:idle}", "", "rate<0.1", Kept, Crossed),
    ("checks{check:nobody makes it}", "", "rate>=1", Kept, Crossed),
    ("http_reqs{status:503}", "", "count<1", Kept, Kept),
    // Failed requests are in k6's durations: 40 of the 60 ms of the slow failures are in its mean, none in ours.
    ("http_req_duration{scenario:a}", "", "max>=60", Kept, Crossed),
    // Nothing is called that: k6 runs, and counts nothing; ours refuses it before the start.
    ("http_reqs{scenario:nobody}", "", "count<1", Kept, Refused),
    ("http_req_duration{colour:red}", "", "max<1", Kept, Refused),
    // What is not kept apart cannot be limited: statuses have counts, no durations; checks belong to the run.
    ("http_req_duration{status:200}", "", "max>0", Kept, Refused),
    ("checks{scenario:a}", "", "rate>0", Kept, Refused),
    // In k6 a gauge that is read once a second, so that of a shorter run may be none at all: and that is kept.
    ("vus_max", "", "value>=0", Kept, Refused),
    // k6's tag `name` is our step.
    ("http_reqs{name:moved}", "http_reqs{step:moved}", "count==16", Kept, Kept),
    (
        "http_req_duration{name:broken}",
        "http_req_duration{step:broken,expected_response:false}",
        "min<60",
        Crossed,
        Crossed,
    ),
];

fn load() -> LoadTest {
    let request = |name, ms, status, check| Request { name, ms, status, check, group: None };
    let requests = [
        request("well", 20, 200, Some(200)),
        request("missing", 20, 404, Some(404)),
        request("broken", 60, 500, Some(200)),
        request("moved", 20, 302, None),
    ];
    let a = json!({"executor": "per-vu-iterations", "vus": 2, "iterations": 4, "tags": {"kind": "first"}});
    let slow = Request { group: Some("slow"), ..after(400) };
    let b = json!({"executor": "per-vu-iterations", "vus": 1, "iterations": 1});
    LoadTest::new("a", a, &requests).with("b", b, &[slow])
}

fn row(tools: &Tools, test: LoadTest, (k6, ours, expression): (&str, &str, &str), says: [Says; 2]) {
    let ours = if ours.is_empty() { k6 } else { ours };
    let pair = tools.run(&test.limit_as(k6, ours, expression));
    for (((tool, ran), metric), says) in pair.both().into_iter().zip([k6, ours]).zip(says) {
        let about = || format!("{tool}: {metric} {expression} {:#} {}", ran.document, ran.stderr);
        assert_eq!(ran.passed(metric, expression), says.verdict(), "{}", about());
        // Where this machine was too busy to measure on, ours says so instead of passing.
        let busy = says == Kept && ran.code == Some(121) && ran.document["generator"]["valid"] == json!(false);
        assert!(busy || ran.code == Some(says.code()), "{:?}: {}", ran.code, about());
        assert_eq!(ran.seen.is_empty(), says == Refused, "{}", about());
    }
}

/// Rows at a time.
fn at_once<T: Sync>(rows: &[T], row: impl Fn(&T) + Sync) {
    for some in rows.chunks(3) {
        std::thread::scope(|scope| {
            for one in some {
                scope.spawn(|| row(one));
            }
        });
    }
}

#[test]
fn a_table_of_verdicts_and_exit_codes() {
    let Some(tools) = Tools::get() else { return };
    at_once(SAME, |&(metric, expression, says)| {
        until_it_passes(|| row(&tools, load(), (metric, metric, expression), [says, says]));
    });
}

#[test]
fn a_table_of_named_differences() {
    let Some(tools) = Tools::get() else { return };
    // Half an arrival in all, and so none.
    let idle = json!({"executor": "ramping-arrival-rate", "preAllocatedVUs": 1,
                      "stages": [{"duration": "1s", "target": 1}]});
    at_once(DIFFERENT, |&(k6, ours, expression, k6_says, ours_says)| {
        let test = if k6.contains("{scenario:idle}") { load().with("idle", idle.clone(), &[after(0)]) } else { load() };
        // Durations of 20 and 60 ms are told apart, unless something holds the machine up.
        until_it_passes(|| row(&tools, test.clone(), (k6, ours, expression), [k6_says, ours_says]));
    });
}

#[test]
fn a_threshold_that_ends_the_run() {
    attempts(|tools| {
        let constant = json!({"executor": "constant-vus", "vus": 1, "duration": "9s"});
        // Both look every two seconds; with the delay the first look that counts is the one after it.
        for (delay, due) in [(None, 2e3), (Some("3s"), 4e3)] {
            let mut limit = json!({"threshold": "p(50)<20", "abortOnFail": true});
            if let Some(delay) = delay {
                limit["delayAbortEval"] = json!(delay);
            }
            let test = LoadTest::new("a", constant.clone(), &[after(50)]).limit("http_req_duration", limit);
            let pair = tools.run(&test);
            pair.ended(99);
            for (tool, ran) in pair.both() {
                assert_eq!(ran.passed("http_req_duration", "p(50)<20"), Some(false), "{tool}");
                let last = offsets(ran, "a").pop().unwrap();
                assert!((last - due).abs() < 900.0, "{tool}: the last request came at {last} ms, not near {due}");
            }
        }
        // The same limit without abortOnFail lets the run end as planned.
        let constant = json!({"executor": "constant-vus", "vus": 1, "duration": "3s"});
        let test = LoadTest::new("a", constant, &[after(50)]).limit("http_req_duration", json!("p(50)<20"));
        let pair = tools.run(&test);
        pair.ended(99);
        assert!(pair.each(|ran| offsets(ran, "a").pop().unwrap()).iter().all(|last| *last > 2700.0));
    });
}
