//! Lists of steps in virtual time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use connect_bench::engine::program::Program;
use connect_bench::engine::worker::Programs;
use connect_bench::plan::{Executor, Plan, ProgramPlan, StepList, StepsPlan};
use connect_bench::window::{Part, Window};
use connect_bench::{scenario, steps};

use super::support::{Pipe, after, plan, run_to_end, total};

const TWO_STEPS: &str = r#"
[scenarios.browse]
executor = "constant-vus"
exec = "s"
vus = 10
duration = "30s"

[[steps.s]]
name = "list"
get = "/old"
checks = [{ name = "has a", json = "$.a" }, { name = "has none", json = "$.none" }, { durationBelow = "50ms" }]
extract = { a = { json = "$.a" } }
think = "200ms"

[[steps.s]]
name = "one"
get = "/${a}"
think = { min = "700ms", max = "700ms" }
"#;

/// A plan of steps, and what makes its programs.
fn two_steps() -> (Plan, Arc<dyn Programs>) {
    let file = scenario::read(TWO_STEPS).unwrap();
    let mut plan = plan(10, 30, 2);
    plan.scenarios[0].executor = Executor::ConstantVus {
        vus: 10,
        start_time: Duration::ZERO,
        duration: Duration::from_millis(29_500),
        start_over: Duration::ZERO,
    };
    let steps_plan = StepsPlan {
        lists: vec![StepList { name: "s".to_owned(), weight: 1, steps: file.steps.lists["s"].clone() }],
        env: BTreeMap::new(),
        data: Vec::new(),
        content_root: "/".to_owned(),
        server_root: "/".to_owned(),
        with_key: false,
        timeout: Duration::from_secs(60),
        bundles: Vec::new(),
    };
    let given = steps::Given {
        headers: http::HeaderMap::new(),
        key: None,
        origin: plan.target.url.clone(),
        data: BTreeMap::new(),
        files: BTreeMap::new(),
        first: 0,
        scenario: "browse".to_owned(),
        seed: 1,
        parts: None,
    };
    let recipe = Arc::new(steps::Recipe::new(&steps_plan, &given).unwrap());
    plan.scenarios[0].steps = steps_plan.series();
    plan.scenarios[0].program = ProgramPlan::Steps(steps_plan);
    (plan, Arc::new(StepPrograms(recipe)))
}

struct StepPrograms(Arc<steps::Recipe>);

impl Programs for StepPrograms {
    fn program(&self, _scenario: usize, vu: u32) -> Box<dyn Program> {
        Box::new(steps::Steps::new(self.0.clone(), vu))
    }
}

#[test]
fn steps_are_counted_one_by_one_and_pauses_to_the_last_digit() {
    let answer = |request: http::Request<hyper::body::Incoming>| async move {
        match request.uri().path() {
            "/old" => {
                let mut response = after(20, "").await;
                *response.status_mut() = http::StatusCode::FOUND;
                response.headers_mut().insert("location", http::HeaderValue::from_static("/list"));
                response
            }
            "/list" => after(40, r#"{"a":"x y"}"#).await,
            "/x%20y" => after(40, "x").await,
            other => panic!("{other}"),
        }
    };
    let pipe = Pipe::new(answer);
    // An iteration takes 20 + 40 + 200 + 40 + 700 = 1000 ms, so 30 of them are begun and ended by each VU.
    let (plan, programs) = two_steps();
    let seconds = run_to_end(plan.clone(), &pipe, &programs);
    for (at, (_, window)) in seconds[..30].iter().enumerate() {
        assert_eq!(window.series[0].requests.completed, 20);
        assert_eq!(window.series[1].requests.completed, 10);
        // What ends at the very end of a second belongs to the next one.
        assert_eq!(window.scenarios[0].iterations.completed, if at == 0 { 0 } else { 10 });
        assert_eq!(window.scenarios[0].vu_time_ns, 10_000_000_000);
        assert_eq!(window.scenarios[0].pause_ns, 9_000_000_000);
        assert_eq!(window.checks["has a"].passes, 10);
    }
    let all = total(&seconds);
    assert_eq!(all.series[0].duration.mean_ms(), Some(30.0));
    assert_eq!(all.series[1].duration.mean_ms(), Some(40.0));
    assert_eq!(all.series[0].statuses, BTreeMap::from([(200, 300), (302, 300)]));
    let checks: Vec<(&str, u64, u64)> = all.checks.iter().map(|(n, c)| (n.as_str(), c.passes, c.fails)).collect();
    assert_eq!(checks, [("has a", 300, 0), ("has none", 0, 300), ("list: durationBelow 50ms", 300, 0)]);
    assert_eq!(all.series[0].connections, 10);
    let again = run_to_end(plan, &pipe, &two_steps().1);
    let bytes = |seconds: &[(Part, Window)]| serde_json::to_string(&total(seconds).checks).unwrap();
    assert_eq!(bytes(&again), bytes(&seconds));
}
