//! The live view as it looks in terminals of several sizes, and that nothing in it is obeyed by one.

use std::sync::Arc;
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;
use serde_json::json;

use super::*;
use crate::capacity::search::{Phase, Progress, Step, StepKind};
use crate::outcome::ErrorKind;
use crate::plan::{Executor, FetchPlan, Plan, ProgramPlan, PublishPlan, ScenarioPlan, Target};
use crate::threshold::{Judge, Limit};
use crate::window::{HostSample, Part, Second, Window};

fn fetch_plan() -> ProgramPlan {
    ProgramPlan::Fetch(FetchPlan::of("/"))
}

fn publish_plan() -> ProgramPlan {
    ProgramPlan::Publish(PublishPlan::of("connect-bench-plumber", "plumber-stocks"))
}

fn plan(command: &str, fetching: Executor, sandbox: bool) -> Plan {
    let target = Target {
        sandbox,
        connect_version: Some("2026.06.0".to_owned()),
        sandbox_profile: sandbox.then(|| "small".to_owned()),
        content_guid: Some("c0ffee".to_owned()),
        ..Target::at("https://connect.example.com/".parse().unwrap())
    };
    let scenarios = vec![
        ScenarioPlan::of("fetch", fetching, fetch_plan()),
        ScenarioPlan::of("publish", constant(1), publish_plan()),
    ];
    Plan {
        version: "0.1.0".to_owned(),
        command: command.to_owned(),
        run_id: "7f3a0c1d".to_owned(),
        workers: 2,
        warm_up: Duration::from_secs(10),
        duration: Duration::from_secs(1800),
        thresholds: vec![
            Limit::new("http_req_duration{scenario:fetch}", "p(95)<800"),
            Limit::new("http_req_failed", "rate<0.0001"),
        ],
        ..Plan::of(target, scenarios)
    }
}

fn constant(vus: u32) -> Executor {
    Executor::ConstantVus {
        vus,
        start_time: Duration::ZERO,
        duration: Duration::from_secs(1800),
        start_over: Duration::ZERO,
    }
}

/// A second with latencies that wander, a few failures, and two nodes.
fn second(at: u64, rate: u64, vus: u64) -> Second {
    let mut window = Window::new(2, 2);
    window.span_ns = Some((at * 1_000_000_000, (at + 1) * 1_000_000_000));
    let series = &mut window.series[0];
    for n in 0..rate {
        let ms = 40 + (at % 7) * 4 + n * n * 300 / (rate * rate);
        series.duration.record(Duration::from_millis(ms));
        series.waiting.record(Duration::from_millis(ms - 3));
    }
    series.requests.scheduled = rate + 1;
    series.requests.completed = rate;
    series.requests.failed = u64::from(at % 9 == 4);
    series.requests.scheduled = series.requests.completed + series.requests.failed;
    series.statuses.insert(200, rate);
    if at % 9 == 4 {
        series.statuses.insert(503, 1);
        series.errors.insert(ErrorKind::Status(503), 1);
    }
    for (node, share) in [("3c0d", 51), ("a91f", 49)] {
        let node = series.nodes.entry(node.to_owned()).or_default();
        node.completed = rate * share / 100;
        node.duration.record_n(Duration::from_millis(50), node.completed);
    }
    window.scenarios[0].vus = vus;
    window.scenarios[1].vus = 1;
    window.scenarios[0].iterations.completed = rate;
    window.scenarios[0].iterations.scheduled = rate;
    window.generator.lag.record_n(Duration::from_micros(200), 50);
    window.generator.busiest_permille = 310;
    let host = HostSample {
        open_files: Some(210),
        open_files_limit: Some(65_536),
        memory_bytes: Some(48_000_000),
        ..HostSample::default()
    };
    let part = if at < 10 { Part::WarmUp } else { Part::Steady };
    Second { second: at, part, window, host }
}

fn publish(n: u64, ok: bool) -> serde_json::Value {
    let error = (!ok).then(|| json!({"step": "deploy", "text": "packrat restore failed\u{1b}]0;owned\u{7}"}));
    json!({"event": "publish", "n": n, "ok": ok, "started_ms": 1000.0, "finished_ms": 42_200.0, "error": error,
        "phases_ms": {"publish_create": 20.0, "publish_upload": 1100.0, "publish_queue": 300.0,
            "publish_restore": 28_400.0, "publish_launch": 9900.0, "publish_first_response": 1480.0}})
}

fn load_with(plan: Plan, seconds: u64) -> Watch {
    let mut judge = Judge::new(&plan);
    let mut watch = Watch::new(Arc::new(plan));
    for at in 0..seconds {
        let second = second(at, 900 + at % 60, 48);
        judge.add(&second);
        watch.second(&second, None, &judge.verdicts());
    }
    watch
}

fn load() -> Watch {
    let mut watch = load_with(plan("load", constant(48), false), 100);
    watch.event(&publish(16, false));
    watch.event(&publish(17, true));
    watch.say("fetch: 44 → 48 VUs", false);
    watch
}

fn step(vus: u32, rate: f64) -> Step {
    Step {
        vus,
        requests_per_second: rate,
        standard_error: rate * 0.01,
        change_vs_best: None,
        mean_ms: None,
        p50_ms: None,
        p95_ms: None,
        p99_ms: None,
        error_rate: 0.0,
        seconds: 20.0,
        rate: None,
        cut_s: 3.0,
        kind: StepKind::Full,
        decision: "+93 %, growing".to_owned(),
    }
}

fn ramp() -> Watch {
    let plan =
        Plan { thresholds: Vec::new(), ..plan("ramp", Executor::Searched { start_vus: 1, max_vus: 2048 }, true) };
    let mut watch = Watch::new(Arc::new(plan));
    let steps: Vec<Step> =
        [(1, 20.0), (2, 40.1), (4, 79.5), (8, 158.0), (16, 299.0), (32, 393.0)].map(|(n, x)| step(n, x)).into();
    for at in 0..120 {
        let progress = Progress {
            rate: None,
            phase: Phase::Sweep,
            vus: 64,
            stage_s: 17.0,
            requests_per_second: Some(400.2),
            plus_minus: Some(4.7),
            next: "1 of 2 doublings without gain; another one ends the sweep".to_owned(),
            remaining_s: 131.0,
        };
        watch.second(&second(at, 400, 64), Some((progress, &steps)), &[]);
    }
    watch.event(&publish(3, true));
    watch
}

/// A search for the highest rate that keeps objectives, in its sixth stage.
fn rates() -> Watch {
    let executor = Executor::SearchedRate { start_rate: 10, max_rate: 2000, pre_allocated_vus: 20, max_vus: 512 };
    let mut watch = Watch::new(Arc::new(Plan { thresholds: Vec::new(), ..plan("ramp", executor, true) }));
    let steps = [10, 20, 40, 80, 160].map(|rate| Step {
        rate: Some(rate),
        p95_ms: Some(90.0),
        decision: "keeps the objectives".to_owned(),
        ..step(rate / 20 + 1, f64::from(rate))
    });
    for at in 0..120 {
        let progress = Progress {
            rate: Some(320),
            phase: Phase::Sweep,
            vus: 0,
            stage_s: 17.0,
            requests_per_second: Some(318.4),
            plus_minus: Some(4.7),
            next: "looking whether 320 requests per second keep the objectives".to_owned(),
            remaining_s: 131.0,
        };
        watch.second(&second(at, 320, 17), Some((progress, &steps)), &[]);
    }
    watch
}

fn drawn(watch: &Watch, look: Look, (width, height): (u16, u16)) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(watch, look, frame.area(), frame.buffer_mut())).unwrap();
    terminal
}

fn shown(watch: &Watch, page: Page, size: (u16, u16)) -> String {
    drawn(watch, Look { page, ..Look::default() }, size).backend().to_string()
}

#[test]
fn a_load_at_80_by_24() {
    insta::assert_snapshot!(shown(&load(), Page::Overview, (80, 24)));
}

#[test]
fn a_load_on_a_large_terminal() {
    insta::assert_snapshot!(shown(&load(), Page::Overview, (132, 40)));
}

#[test]
fn a_ramp_at_80_by_24() {
    insta::assert_snapshot!(shown(&ramp(), Page::Overview, (80, 24)));
}

#[test]
fn a_ramp_of_the_rate_at_80_by_24() {
    insta::assert_snapshot!(shown(&rates(), Page::Overview, (80, 24)));
}

#[test]
fn a_ramp_on_a_large_terminal() {
    insta::assert_snapshot!(shown(&ramp(), Page::Overview, (140, 40)));
}

#[test]
fn the_other_pages() {
    let watch = load();
    for (name, page) in
        [("errors", Page::Errors), ("nodes", Page::Nodes), ("histogram", Page::Histogram), ("help", Page::Help)]
    {
        insta::assert_snapshot!(name, shown(&watch, page, (80, 24)));
    }
}

#[test]
fn before_the_first_second_nothing_is_claimed() {
    let watch = load_with(plan("load", constant(48), true), 0);
    let text = shown(&watch, Page::Overview, (80, 24));
    assert!(text.contains("SANDBOX (small), not Posit Connect") && text.contains("starting"), "{text}");
    assert!(text.contains("– rps") && text.contains("no data"), "{text}");
    for page in [Page::Errors, Page::Nodes, Page::Histogram, Page::Help] {
        shown(&watch, page, (80, 24));
    }
}

#[test]
fn whatever_the_size_the_first_and_the_last_line_are_there_and_nothing_is_drawn_outside() {
    for watch in [load(), ramp(), rates()] {
        for width in (1..200).step_by(7) {
            for height in (1..60).step_by(3) {
                for page in [Page::Overview, Page::Errors, Page::Nodes, Page::Histogram, Page::Help] {
                    let text = shown(&watch, page, (width, height));
                    if width >= 40 && height >= 8 {
                        assert!(text.contains("connect-bench") && text.contains(" stop"), "{width}×{height}\n{text}");
                    }
                    if page == Page::Overview && width >= 80 && height >= 12 {
                        assert!(text.contains("p99") && text.contains("Generator"), "{width}×{height}\n{text}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_generator_that_is_the_limit_and_a_threshold_that_fails_lead() {
    let mut watch = load();
    let mut late = second(100, 900, 48);
    late.window.generator.busiest_permille = 990;
    let mut judge = Judge::new(watch.plan());
    judge.add(&late);
    watch.second(&late, None, &judge.verdicts());
    let text = shown(&watch, Page::Overview, (100, 24));
    assert!(text.contains("LIMITED: a worker thread was busy: 99 % of its core"), "{text}");
    let failing = load_with(plan("load", constant(48), false), 15);
    let text = shown(&failing, Page::Overview, (100, 24));
    let (fails, ok) = (text.find("✗ FAILS").unwrap(), text.find("✓ OK").unwrap());
    assert!(fails < ok, "what fails comes first\n{text}");
}

#[test]
fn without_colours_there_are_none_and_with_them_the_text_is_the_same() {
    let watch = load();
    let look = |has_colour| Look { palette: Palette { has_colour }, ..Look::default() };
    let (plain, coloured) = (drawn(&watch, look(false), (100, 30)), drawn(&watch, look(true), (100, 30)));
    let colours = |terminal: &Terminal<TestBackend>| {
        let cells = terminal.backend().buffer().content().to_vec();
        cells.iter().filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset).count()
    };
    assert_eq!(colours(&plain), 0);
    assert!(colours(&coloured) > 100);
    assert_eq!(plain.backend().to_string(), coloured.backend().to_string());
}

#[test]
fn what_a_server_says_is_obeyed_by_no_terminal() {
    let bad = "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\r\n\u{202e}";
    let mut plan = plan("load", constant(48), false);
    plan.target.connect_version = Some(bad.to_owned());
    plan.scenarios[0].name = bad.to_owned();
    plan.scenarios[0].steps = vec![bad.to_owned()];
    plan.thresholds = vec![Limit::new("http_req_failed", "rate<0.5")];
    let mut watch = load_with(plan, 5);
    let mut one = second(5, 10, 48);
    one.window.series[0].nodes.entry(bad.to_owned()).or_default().completed = 10;
    watch.second(&one, None, &[]);
    watch.say(bad, true);
    watch.event(&publish(1, false));
    watch.event(&json!({"event": "iteration_failed", "scenario": bad, "step": bad, "why": bad.repeat(10_000)}));
    for page in [Page::Overview, Page::Errors, Page::Nodes, Page::Histogram, Page::Help] {
        let terminal = drawn(&watch, Look { page, ..Look::default() }, (120, 50));
        let obeyed = |symbol: &str| symbol.chars().any(|c| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c));
        let cells = terminal.backend().buffer().content();
        assert!(!cells.iter().any(|cell| obeyed(cell.symbol())), "{page:?}");
    }
}

#[test]
fn memory_is_bounded_however_long_it_lasts_and_whatever_fails() {
    let mut watch = load_with(plan("load", constant(48), false), 700);
    assert_eq!(watch.seconds.len(), super::super::watch::MOST_SECONDS);
    assert_eq!(watch.elapsed_s(), 700);
    for n in 0..1000 {
        watch.say(&format!("message {n}"), false);
        let why = format!("failure {n}");
        watch.event(&json!({"event": "iteration_failed", "scenario": "s", "step": "x", "why": why}));
    }
    assert!(watch.messages.len() <= 50 && watch.failures.len() <= 20);
    let figures = watch.fetches_per_s().unwrap();
    assert!((900.0..960.0).contains(&figures), "{figures}");
}
