//! The grammar, a table of verdicts, windows.

use super::*;
use crate::outcome::{Ended, ErrorKind};
use crate::plan::{FetchPlan, ProgramPlan, ScenarioPlan, Target};
use crate::schedule::Executor;
use crate::window::{HostSample, Part, Second, Window};
use proptest::prelude::*;

fn scenario(name: &str) -> ScenarioPlan {
    let executor = Executor::constant_vus(2, Duration::from_secs(20));
    ScenarioPlan {
        tags: BTreeMap::from([("kind".to_owned(), format!("kind-of-{name}"))]),
        steps: vec!["one".to_owned(), "two".to_owned()],
        ..ScenarioPlan::of(name, executor, ProgramPlan::Fetch(FetchPlan::of("/")))
    }
}

fn plan(thresholds: Vec<Limit>) -> Plan {
    let scenarios = vec![scenario("fetch"), scenario("other")];
    let target = Target::at("http://127.0.0.1/".parse().unwrap());
    Plan { command: "run".to_owned(), warm_up: Duration::from_secs(2), thresholds, ..Plan::of(target, scenarios) }
}

/// A second in which the first step of the first scenario completed ten requests of `ms`, and one failed with 503.
fn second(at: u64, part: Part, ms: u64) -> Second {
    let mut window = Window::new(4, 2);
    window.span_ns = Some((at * 1_000_000_000, (at + 1) * 1_000_000_000));
    let series = &mut window.series[0];
    series.requests.scheduled = 11;
    (0..10).for_each(|_| series.requests.end(Ended::Completed));
    series.requests.end(Ended::Failed(ErrorKind::Status(503)));
    series.statuses.extend([(200, 10), (503, 1)]);
    series.bytes_received = 1000;
    series.duration.record_n(Duration::from_millis(ms), 10);
    series.failed_duration.record(Duration::from_millis(700));
    let node = series.nodes.entry("n1".to_owned()).or_default();
    (node.completed, node.failed) = (10, 1);
    node.duration.record_n(Duration::from_millis(ms), 10);
    let scenario = &mut window.scenarios[0];
    scenario.vus = 2;
    scenario.iterations.scheduled = 11;
    (0..9).for_each(|_| scenario.iterations.end(Ended::Completed));
    scenario.iterations.dropped = 2;
    scenario.iteration_duration.record_n(Duration::from_millis(ms), 9);
    Second { second: at, part, window, host: HostSample::default() }
}

/// Two seconds of warm-up, eighteen measured, of 1 ms and from the tenth on of 2 ms, two of stopping.
fn judged(limit: Limit) -> Verdict {
    let mut judge = Judge::new(&plan(vec![limit]));
    for at in 0..22 {
        let part = match at {
            0..2 => Part::WarmUp,
            2..20 => Part::Steady,
            _ => Part::Stopping,
        };
        judge.add(&second(
            at,
            part,
            if at < 2 {
                5000
            } else if at < 10 {
                1
            } else {
                2
            },
        ));
    }
    judge.verdicts().remove(0)
}

#[test]
fn a_table_of_verdicts() {
    for (metric, expression, passed, observed) in [
        ("http_req_duration", "p(95)<2.1", true, Some(2.0)),
        ("http_req_duration", "p(95) < 2", false, Some(2.0)),
        ("http_req_duration", "p(95)<=2e0", true, Some(2.0)),
        ("http_req_duration", "p(25)===1", true, Some(1.0)),
        ("http_req_duration", "med==2", true, Some(2.0)),
        ("http_req_duration", "min>=1", true, Some(1.0)),
        ("http_req_duration", "max<5000", true, Some(2.0)),
        ("http_req_duration", "avg != 1.6", false, Some(1.6)),
        ("http_req_duration{scenario:fetch}", "max<2.1", true, Some(2.0)),
        ("http_req_duration{scenario:fetch,step:one}", "max<2.1", true, Some(2.0)),
        ("http_req_duration{scenario:fetch,step:two}", "max<2.1", false, None),
        ("http_req_duration{scenario:other}", "max>=0", false, None),
        ("http_req_duration{ \"kind\": 'kind-of-fetch' }", "max<2.1", true, Some(2.0)),
        ("http_req_duration{node:n1}", "max<2.1", true, Some(2.0)),
        ("http_req_duration{expected_response:false}", "min>=699", true, Some(700.0)),
        ("http_reqs", "count>=220", true, Some(220.0)),
        ("http_reqs", "rate==11", true, Some(11.0)),
        ("http_reqs{status:503}", "count<20", false, Some(20.0)),
        ("http_reqs{status:404}", "count<1", true, Some(0.0)),
        ("http_reqs{node:n2}", "count==0", true, Some(0.0)),
        ("http_req_failed", "rate<0.1", true, Some(1.0 / 11.0)),
        ("http_req_failed{scenario:other}", "rate<0.1", false, None),
        ("http_req_connecting", "max==0", true, Some(0.0)),
        ("iterations", "count===180", true, Some(180.0)),
        ("iteration_duration", "p(0)>0.9", true, Some(1.0)),
        ("dropped_iterations", "count<40", false, Some(40.0)),
        ("dropped_iterations{scenario:other}", "count==0", true, Some(0.0)),
        ("vus", "value>1", true, Some(2.0)),
        ("data_received", "count>19999", true, Some(20_000.0)),
        ("publish_total", "p(95)<1", false, None),
        ("http_req_response_time", "p(95)<1", false, None),
    ] {
        let verdict = judged(Limit::new(metric, expression));
        assert_eq!(verdict.passed, passed, "{metric} {expression}: {verdict:?}");
        match (verdict.observed, observed) {
            (Some(value), Some(expected)) => {
                assert!((value / expected - 1.0).abs() < 1e-2 || value == expected, "{value}");
            }
            (value, expected) => assert_eq!(value, expected, "{metric} {expression}"),
        }
    }
}

#[test]
fn what_makes_no_sense_is_a_fault_that_helps() {
    for (metric, expression, what) in [
        ("http_req_duratoin", "p(95)<1", "did you mean http_req_duration?"),
        ("temperature", "p(95)<1", "no such metric"),
        ("http_req_duration", "p95<1", "write AGGREGATION"),
        ("http_req_duration", "p(95)<1ms", "write AGGREGATION"),
        ("http_req_duration", "p(95)", "write AGGREGATION"),
        ("http_req_duration", "p(95)=1", "write AGGREGATION"),
        ("http_req_duration", "p(95)<1 && max<2", "write AGGREGATION"),
        ("http_req_duration", "p(95)<inf", "write AGGREGATION"),
        ("http_req_duration", "p(101)<1", "from 0 to 100"),
        ("http_req_duration", "rate<1", "it has avg"),
        ("http_req_failed", "count<1", "it has rate"),
        ("http_reqs", "value<1", "it has count, rate"),
        ("vus", "max<1", "it has value"),
        ("http_reqs{scenario:fetch", "count<1", "write METRIC"),
        ("http_reqs{scenario}", "count<1", "write METRIC"),
        ("http_reqs{status:many}", "count<1", "no status"),
        ("http_req_duration{status:200}", "max<1", "not kept by status"),
        ("http_reqs{status:200,node:a}", "count<1", "only one of"),
        ("iterations{step:one}", "count<1", "not kept by step"),
        ("publish_total{scenario:a}", "max<1", "by no tag"),
    ] {
        let fault = Threshold::new(&Limit::new(metric, expression)).unwrap_err().to_string();
        assert!(fault.contains(what), "{metric} {expression}: {fault}");
    }
}

#[test]
fn a_tag_that_no_scenario_has_is_a_fault() {
    let plan = plan(Vec::new());
    let scope = |metric: &str| Threshold::new(&Limit::new(metric, "count<1")).unwrap().scope(&plan);
    assert_eq!(scope("http_reqs{scenario:other}").unwrap(), Scope { series: vec![2, 3], scenarios: vec![1] });
    assert_eq!(scope("http_reqs{step:two}").unwrap().series, [1, 3]);
    assert_eq!(scope("http_reqs{kind:kind-of-other}").unwrap().scenarios, [1]);
    assert!(scope("http_reqs{scenario:fetsch}").is_err());
    assert!(scope("http_reqs{step:three}").is_err());
    assert!(scope("http_reqs{colour:red}").is_err());
    assert!(check(&[Limit::new("http_reqs{colour:red}", "count<1")], &plan).is_err());
}

#[test]
fn a_group_may_be_written_as_k6_writes_it() {
    let group = |value: &str| vec![("group".to_owned(), value.to_owned())];
    assert_eq!(key("http_reqs{group:::a::b}"), Ok(("http_reqs", group("a::b"))));
    assert_eq!(key("http_reqs{group:a::b}"), Ok(("http_reqs", group("a::b"))));
    assert_eq!(key("http_reqs{tag:::a}"), Ok(("http_reqs", vec![("tag".to_owned(), "::a".to_owned())])));
}

#[test]
fn a_window_is_the_last_of_the_measured_time() {
    let limit = Limit::new("http_req_duration", "min>=2");
    let window = Some(Duration::from_secs(5));
    assert!(judged(Limit { window, ..limit.clone() }).passed);
    assert!(judged(Limit { after: Duration::from_secs(10), ..limit.clone() }).passed);
    let verdict = judged(limit);
    assert!(!verdict.passed && verdict.observed == Some(1.0));
    let rate = judged(Limit { window, ..Limit::new("http_reqs", "rate==11") });
    assert!(rate.passed, "{rate:?}");
}

#[test]
fn in_a_pause_what_ends_counts_and_what_is_per_time_does_not() {
    // Eight seconds of 1 ms, two of a pause in which what was begun ends after 30 ms, and ten of 1 ms.
    let verdict = |limit: Limit| {
        let mut judge = Judge::new(&plan(vec![limit]));
        for at in 0..20 {
            let paused = (8..10).contains(&at);
            let part = if paused { Part::Paused } else { Part::Steady };
            judge.add(&second(at, part, if paused { 30 } else { 1 }));
        }
        let tainted: Vec<bool> = judge.tainted().map(|(_, fails)| fails).collect();
        let verdict = judge.verdicts().remove(0);
        assert_eq!(tainted, [!verdict.passed]);
        verdict
    };
    let slowest = verdict(Limit::new("http_req_duration", "max<20"));
    assert!(!slowest.passed && slowest.observed.unwrap() >= 29.9);
    assert!(verdict(Limit::new("http_reqs", "count==220")).passed);
    assert!(verdict(Limit::new("http_reqs", "rate==11")).passed);
    let last = Limit { window: Some(Duration::from_secs(11)), ..Limit::new("http_req_duration", "max<20") };
    assert!(verdict(last).passed, "a window is of measured seconds");
}

#[test]
fn no_run_at_all_is_no_pass() {
    for (metric, expression) in [("http_reqs", "count<1"), ("http_req_failed", "rate<1"), ("vus", "value<1")] {
        let verdict = Judge::new(&plan(vec![Limit::new(metric, expression)])).verdicts().remove(0);
        assert!(!verdict.passed && verdict.observed.is_none());
    }
}

#[test]
fn only_what_may_end_a_run_ends_it_and_not_too_early() {
    let limit = Limit { abort_on_fail: true, ..Limit::new("http_req_duration", "max<20") };
    let mut judge = Judge::new(&plan(vec![Limit::new("http_req_duration", "max<1"), limit.clone()]));
    assert!(judge.breach(Duration::from_secs(1)).is_none(), "no data yet");
    judge.add(&second(2, Part::Steady, 10));
    assert!(judge.breach(Duration::from_secs(3)).is_none());
    judge.add(&second(3, Part::Steady, 30));
    assert_eq!(judge.breach(Duration::from_secs(4)), Some(&limit));
    let verdicts = judge.verdicts();
    assert!(verdicts[1].aborted && !verdicts[0].aborted);
    let later = Limit { delay_abort_eval: Duration::from_secs(9), ..limit };
    let mut judge = Judge::new(&plan(vec![later]));
    judge.add(&second(3, Part::Steady, 30));
    assert!(judge.breach(Duration::from_secs(9)).is_none());
    assert!(judge.breach(Duration::from_secs(10)).is_some());
}

#[test]
fn a_flag_is_a_metric_and_an_expression() {
    let limit = Limit::from_flag("http_req_duration{scenario:fetch}: p(95)<500").unwrap();
    assert_eq!((limit.metric.as_str(), limit.expression.as_str()), ("http_req_duration{scenario:fetch}", "p(95)<500"));
    assert_eq!(Limit::from_flag("http_reqs:count>0").unwrap().expression, "count>0");
    assert!(Limit::from_flag("http_reqs count>0").unwrap_err().to_string().contains("METRIC: EXPRESSION"));
    assert!(Limit::from_flag("http_reqs: p(95)<1").is_err());
}

#[test]
fn a_limit_is_read_back_from_the_plan() {
    let limit = Limit {
        window: Some(Duration::from_secs(60)),
        abort_on_fail: true,
        ..Limit::new("http_req_duration", "max<20")
    };
    let json = serde_json::to_string(&plan(vec![limit.clone()])).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&json).unwrap().thresholds, [limit]);
}

proptest! {
    #[test]
    fn no_text_is_a_panic(metric in ".{0,20}", expression in ".{0,20}", flag in ".{0,30}") {
        let _ = Threshold::new(&Limit::new(&metric, &expression));
        let _ = Limit::from_flag(&flag);
    }
}

#[test]
fn a_limit_in_percent_is_a_share_of_what_a_baseline_had() {
    let relative = |expression: &str, had: Option<f64>| {
        let baseline = Some("runs/before".to_owned());
        judged(Limit { baseline, baseline_value: had, ..Limit::new("http_req_duration", expression) })
    };
    // 2 ms were measured.
    for (expression, had, passed) in [
        ("p(95)<=110%", Some(2.0), true),
        ("p(95)<=110%", Some(1.8), false),
        ("p(95) < 112 %", Some(1.8), true),
        ("p(95)>=90%", Some(2.3), false),
        // What nobody looked up cannot be kept.
        ("p(95)<=110%", None, false),
    ] {
        let verdict = relative(expression, had);
        assert_eq!(verdict.passed, passed, "{expression} of {had:?}: {verdict:?}");
        assert_eq!(verdict.relative.as_ref().map(|to| to.value), had);
    }
    let to = relative("p(95)<=110%", Some(1.8)).relative.unwrap();
    assert!((to.limit - 1.98).abs() < 1e-12 && to.baseline == "runs/before", "{to:?}");
    assert!(!Limit::new("http_reqs", "rate>5").is_relative());
    assert!(Expression::parse("rate>%").is_err());
}

#[test]
fn what_a_run_that_is_over_had() {
    let plan = plan(Vec::new());
    let steady = second(3, Part::Steady, 2).window;
    let had = |metric: &str, expression: &str| measured(&Limit::new(metric, expression), &plan, &steady);
    assert_eq!(had("http_req_duration", "p(95)<=110%"), Ok(Some(2.0)));
    assert_eq!(had("http_reqs", "rate>=90%"), Ok(Some(11.0)));
    assert_eq!(had("http_req_duration{scenario:other}", "max<=110%"), Ok(None));
    assert!(had("http_req_duration{scenario:none}", "max<=110%").is_err());
    // The times of the limit are of the run that is judged.
    let later = Limit { after: Duration::from_secs(60), ..Limit::new("http_reqs", "count>=90%") };
    assert_eq!(measured(&later, &plan, &steady), Ok(Some(11.0)));
}
