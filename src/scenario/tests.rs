//! Scenario files, right and wrong.

use super::*;
use crate::schedule::{Spacing, Stage};
use proptest::prelude::*;

const SMALL: &str = "[scenarios.a]\nexecutor = \"constant-vus\"\nvus = 3\nduration = \"1m\"\nstartTime = \"5s\"\n";

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn one(text: &str) -> Executor {
    read(&format!("[scenarios.a]\n{text}")).unwrap().scenarios["a"].executor.clone()
}

fn wrong(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

#[test]
fn a_scenario_has_k6s_defaults() {
    let read = read(SMALL).unwrap();
    let scenario = &read.scenarios["a"];
    assert_eq!((scenario.executor.max_vus(), &scenario.exec), (3, &Exec::Fetch));
    assert_eq!((scenario.graceful_stop, scenario.pacing), (secs(30), Duration::ZERO));
    assert_eq!((read.duration(), read.max_vus()), (secs(65), 3));
}

#[test]
fn every_executor_has_k6s_keys_and_defaults() {
    let text = "executor = \"ramping-vus\"\nstages = [{ duration = \"10s\", target = 5 }]";
    let stages = vec![Stage { duration: secs(10), target: 5 }];
    let ramping = Executor::RampingVus {
        start_time: Duration::ZERO,
        start_vus: 1,
        stages: stages.clone(),
        graceful_ramp_down: secs(30),
    };
    assert_eq!(one(text), ramping);
    let text = "executor = \"constant-arrival-rate\"\nrate = 9\nduration = \"3s\"\npreAllocatedVUs = 4";
    let constant = Executor::ConstantArrivalRate {
        start_time: Duration::ZERO,
        rate: 9,
        time_unit: secs(1),
        duration: secs(3),
        pre_allocated_vus: 4,
        max_vus: 4,
        spacing: Spacing::Even,
    };
    assert_eq!(one(text), constant);
    let text = "executor = \"ramping-arrival-rate\"\ntimeUnit = \"1m\"\npreAllocatedVUs = 1\nmaxVUs = 7\n\
                arrivals = \"poisson\"\nstages = [{ duration = \"10s\", target = 5 }]";
    let ramping = Executor::RampingArrivalRate {
        start_time: Duration::ZERO,
        start_rate: 0,
        time_unit: secs(60),
        stages,
        pre_allocated_vus: 1,
        max_vus: 7,
        spacing: Spacing::Poisson,
    };
    assert_eq!(one(text), ramping);
    let (start_time, max_duration) = (Duration::ZERO, secs(600));
    let shared = Executor::SharedIterations { start_time, vus: 1, iterations: 1, max_duration };
    assert_eq!(one("executor = \"shared-iterations\""), shared);
    let each = Executor::PerVuIterations { start_time, vus: 2, iterations: 1, max_duration };
    assert_eq!(one("executor = \"per-vu-iterations\"\nvus = 2"), each);
}

#[test]
fn all_faults_are_said_at_once_with_their_places() {
    let text = SMALL.replace("vus =", "vu =") + "stages = []\ncolour = 1\n[tresholds]\n[steps]\nx = 1\n";
    assert_eq!(
        wrong(&text.replace("1m", "60")),
        "6 faults\n  \
           line 3, column 1: scenarios.a: unknown key `vu`; did you mean `vus`?\n  \
           line 4, column 12: scenarios.a: `duration`: which unit? `60s` for seconds, `60m` for minutes\n  \
           line 6, column 1: scenarios.a: `stages` is no key of constant-vus, but of ramping-vus and \
           ramping-arrival-rate\n  \
           line 7, column 1: scenarios.a: unknown key `colour`; there are vus, duration, executor, exec, startTime, \
           gracefulStop, pacing, env, tags, path, expectBody\n  \
           line 8, column 2: unknown key `tresholds`; did you mean `thresholds`?\n  \
           line 10, column 1: steps.x: a list of steps is expected: [[steps.x]]"
    );
    let said = wrong(&SMALL.replace("vus = 3", "vus = 0").replace("1m", "10ms"));
    assert!(said.contains("line 3, column 7: scenarios.a: `vus` is a whole number from 1") && said.contains("line 4"));
    let said = wrong(&SMALL.replace("constant-vus", "constant-users").replace("vus =", "vu ="));
    assert!(said.contains("there is no `constant-users`") && said.contains("did you mean `constant-vus`?"), "{said}");
    assert!(said.contains("line 3, column 1: scenarios.a: unknown key `vu`") && !said.contains("missing"), "{said}");
    let said = wrong("[scenarios.a]\nvus = 1 2");
    assert!(said.starts_with("line 2, column ") && said.contains(": TOML: "), "{said}");
    assert!(wrong("scenarios = 3").contains("line 1, column 13: `scenarios` is a table, not a number"));
}

#[test]
fn parts_that_do_not_go_together_are_faults() {
    let open =
        "[scenarios.a]\nexecutor = \"constant-arrival-rate\"\nrate = 9\nduration = \"3s\"\npreAllocatedVUs = 4\n";
    let ramp = "[scenarios.a]\nexecutor = \"ramping-vus\"\n";
    let shared = "[scenarios.a]\nexecutor = \"shared-iterations\"\n";
    for (text, what) in [
        (SMALL.replace("duration = \"1m\"\n", ""), "`duration` is missing"),
        (format!("{SMALL}exec = \"publish\""), "no scenario fetches"),
        (format!("{SMALL}exec = \"publish\"\npath = \"/\""), "belongs to exec"),
        (format!("warmUp = \"2m\"\n{SMALL}"), "`warmUp` leaves nothing"),
        (SMALL.replace("scenarios.a", "scenarios.\"a b\""), "letters, digits"),
        ("[scenarios]".to_owned(), "no scenario fetches"),
        (open.replace("rate = 9\n", ""), "`rate` is missing"),
        (open.replace("rate = 9", "rate = 0"), "from 1 to"),
        (open.replace("preAllocatedVUs = 4\n", ""), "`preAllocatedVUs` is missing"),
        (format!("{open}maxVUs = 3"), "`maxVUs` is at least `preAllocatedVUs`"),
        (open.replace("VUs = 4", "VUs = 0"), "at least 1"),
        (format!("{open}timeUnit = \"0s\""), "`timeUnit` is more"),
        (format!("{ramp}stages = []"), "`stages` has at least one"),
        (format!("{ramp}startVUs = 0\nstages = [{{ duration = \"9s\", target = 0 }}]"), "more than 0"),
        (format!("{ramp}stages = [{{ duration = \"9s\", targets = 0 }}]"), "targets"),
        (format!("{shared}vus = 5\niterations = 4"), "at least `vus`"),
        (format!("{shared}iterations = 0"), "from 1 to"),
        (format!("{shared}maxDuration = \"10ms\""), "`maxDuration` is at least"),
        (format!("{SMALL}[thresholds]\nhttp_reg_failed = [\"rate<1\"]"), "line 7, column 1"),
        (format!("{SMALL}[thresholds]\nhttp_reqs = [\"p(95)<1\"]"), "http_reqs"),
    ] {
        let said = wrong(&text);
        assert!(said.contains(what), "{text}\n{said}");
    }
}

#[test]
fn thresholds_are_text_or_a_table_each() {
    let text = format!(
        "{SMALL}[thresholds]\nhttp_req_failed = [\"rate<0.01\"]\n\"http_req_duration{{scenario:a}}\" = [\n\
         {{ threshold = \"p(95)<500\", abortOnFail = true, delayAbortEval = \"10s\", window = \"1m\", after = \"30s\" }},\n]"
    );
    let thresholds = read(&text).unwrap().thresholds;
    assert_eq!(thresholds.len(), 2);
    let limit = &thresholds[0];
    assert_eq!((limit.metric.as_str(), limit.expression.as_str()), ("http_req_duration{scenario:a}", "p(95)<500"));
    assert!(limit.abort_on_fail);
    assert_eq!((limit.delay_abort_eval, limit.window, limit.after), (secs(10), Some(secs(60)), secs(30)));
    assert_eq!(thresholds[1].expression, "rate<0.01");
}

proptest! {
    #[test]
    fn no_text_is_a_panic(text in "[\\[\\]a-z=\"\n .0-9]{0,80}") {
        let _ = read(&text);
    }
}
