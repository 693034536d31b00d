//! Summaries made through the library from seconds that never happened, with every kind of figure in them.

use std::ops::Range;
use std::time::Duration;

use connect_bench::capacity::search::{Kept, Outcome, Prediction, SearchResult, Step, StepKind};
use connect_bench::histogram::Latency;
use connect_bench::host::Environment;
use connect_bench::outcome::ErrorKind;
use connect_bench::plan::{
    Executor, FetchPlan, Http1Engine, HttpPlan, Plan, ProgramPlan, PublishPlan, ScenarioPlan, Setting, SettingFrom,
    Target,
};
use connect_bench::server_metrics::{Scrape, read};
use connect_bench::summary::{Builder, Cause, ControlEvent, Controlled, Origin, RunState, Search, Summary};
use connect_bench::window::{GeneratorWindow, HostSample, Part, ScenarioWindow, Second, Window};

const WARM_UP_S: u64 = 2;
const STEADY_S: u64 = 40;
const VUS: u64 = 10;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn fetch(executor: Executor) -> ScenarioPlan {
    let program = ProgramPlan::Fetch(FetchPlan {
        path: "/content/c0ffee/stocks/AAPL".to_owned(),
        with_key: false,
        statuses: Vec::new(),
        content_type: None,
        body_contains: Some("volatility".to_owned()),
        timeout: Duration::from_secs(60),
    });
    ScenarioPlan {
        name: "fetch".to_owned(),
        executor,
        graceful_stop: Duration::from_secs(30),
        pacing: Duration::ZERO,
        tags: std::collections::BTreeMap::new(),
        steps: vec!["fetch".to_owned()],
        program,
    }
}

fn publish(executor: Executor) -> ScenarioPlan {
    let program = ProgramPlan::Publish(PublishPlan {
        guid: Some("5ca1ab1e".to_owned()),
        name: "connect-bench-plumber".to_owned(),
        bundle: "plumber-stocks".to_owned(),
        bundle_md5: "d41d8cd98f00b204e9800998ecf8427e".to_owned(),
        bundle_bytes: 4096,
        path: "/price?ticker=AAPL".to_owned(),
        with_key: true,
        timeout: Duration::from_secs(60),
        deploy_timeout: Duration::from_secs(900),
    });
    ScenarioPlan {
        name: "publish".to_owned(),
        executor,
        graceful_stop: Duration::from_secs(30),
        pacing: Duration::ZERO,
        tags: std::collections::BTreeMap::new(),
        steps: vec!["upload".to_owned(), "first_response".to_owned()],
        program,
    }
}

fn plan(command: &str, target: Target, scenarios: Vec<ScenarioPlan>) -> Plan {
    let http = HttpPlan { http1_engine: Http1Engine::Hyper, ..HttpPlan::default() };
    Plan {
        version: "0.1.0".to_owned(),
        command: command.to_owned(),
        run_id: "20260101T000000Z-test".to_owned(),
        http: HttpPlan { user_agent: "connect-bench/0.1.0".to_owned(), ..http },
        workers: 2,
        warm_up: Duration::from_secs(WARM_UP_S),
        duration: Duration::from_secs(WARM_UP_S + STEADY_S),
        ..Plan::of(target, scenarios)
    }
}

fn setting(name: &str, value: u64, from: SettingFrom) -> Setting {
    Setting { name: name.to_owned(), value: value.into(), from }
}

fn server(sandbox: bool) -> Target {
    Target {
        sandbox,
        connect_version: Some("2025.09.0".to_owned()),
        node: Some("node-1".to_owned()),
        sandbox_profile: sandbox.then(|| "small".to_owned()),
        content_guid: Some("c0ffee".to_owned()),
        settings: vec![
            setting("max_processes", 6, SettingFrom::Run),
            setting("max_conns_per_process", 20, SettingFrom::Server),
        ],
        ..Target::at("https://connect.example.com/".parse().unwrap())
    }
}

fn environment() -> Environment {
    Environment {
        started: jiff::Timestamp::UNIX_EPOCH,
        host: "generator".to_owned(),
        kernel: "6.0".to_owned(),
        cores: 2,
        memory_bytes: Some(8 << 30),
        open_files_limit: Some(20_000),
    }
}

fn constant(vus: u32) -> Executor {
    Executor::constant_vus(vus, Duration::from_secs(WARM_UP_S + STEADY_S))
}

/// 98 to 100 fetches on two nodes, two of which fail; a publish every fourth second.
fn window(second: u64) -> Window {
    let mut window = Window::new(3, 2);
    window.span_ns = Some((second * 1_000_000_000, (second + 1) * 1_000_000_000));
    let fetches = &mut window.series[0];
    for at in 0..98 + second % 3 {
        let took = ms([80, 90, 95, 100, 110, 130][usize::try_from(at % 6).unwrap()]);
        let node = fetches.nodes.entry(format!("node-{}", 1 + u64::from(at % 5 > 2))).or_default();
        fetches.requests.scheduled += 1;
        fetches.sent += 1;
        if at < 2 {
            let kind = if second.is_multiple_of(2) { ErrorKind::Status(503) } else { ErrorKind::Timeout };
            fetches.requests.failed += 1;
            fetches.failed_duration.record(took);
            *fetches.errors.entry(kind).or_default() += 1;
            node.failed += 1;
        } else {
            fetches.requests.completed += 1;
            fetches.duration.record(took);
            let delay = Duration::from_micros(50 + 10 * (at % 4));
            fetches.generator_delay.record(delay);
            fetches.duration_corrected.record(took - delay);
            node.completed += 1;
            node.duration.record(took);
        }
    }
    window.scenarios[0] =
        ScenarioWindow { vus: VUS, vu_time_ns: u128::from(VUS) * 1_000_000_000, ..ScenarioWindow::default() };
    if second.is_multiple_of(4) {
        publish_into(&mut window, second);
    }
    window.generator = GeneratorWindow {
        cpu_ns: 60_000_000,
        wall_ns: 2_000_000_000,
        busiest_permille: 41,
        ..GeneratorWindow::default()
    };
    window.generator.lag.record_n(Duration::from_micros(700), 20);
    window
}

fn publish_into(window: &mut Window, second: u64) {
    for series in &mut window.series[1..] {
        series.requests.scheduled += 1;
        series.requests.completed += 1;
        series.sent += 1;
        series.duration.record(ms(250));
    }
    let iterations = &mut window.scenarios[1].iterations;
    iterations.scheduled += 1;
    if second == 12 {
        iterations.failed += 1;
    } else {
        iterations.completed += 1;
    }
    let phases = [
        ("upload", 42),
        ("queue", 0),
        ("restore", 1830),
        ("launch", 12_400),
        ("first_response", 310),
        ("total", 14_600),
    ];
    for (phase, took) in phases {
        let trend: &mut Latency = window.trends.entry(format!("publish_{phase}")).or_default();
        trend.record(ms(took) + Duration::from_micros(80));
    }
}

fn seconds(builder: &mut Builder, paused: &Range<u64>) {
    for second in 0..WARM_UP_S + STEADY_S {
        let part = match second {
            _ if paused.contains(&second) => Part::Paused,
            0..WARM_UP_S => Part::WarmUp,
            _ => Part::Steady,
        };
        let host = HostSample {
            cpu_share: Some(0.05),
            steal_share: Some(0.0),
            memory_bytes: Some(30_000_000),
            peak_memory_bytes: Some(31_000_000 + second),
            open_files: Some(38),
            open_files_limit: Some(20_000),
            wall_ahead_ms: Some(0.0),
        };
        builder.add(&Second { second, part, window: window(second), host });
    }
}

/// A load test of a real server, with errors, publishes and two nodes; something was left behind.
pub(crate) fn full_load() -> Summary {
    let scenarios = vec![fetch(constant(10)), publish(constant(1))];
    let mut builder = Builder::new(plan("load", server(false), scenarios), environment());
    seconds(&mut builder, &(0..0));
    for at in (0..=40).step_by(5) {
        let text = format!(
            "process_cpu_seconds_total {}\nconnect_http_request_inflight_gauge {}\n",
            1.5 * f64::from(at),
            at % 7
        );
        let url = "http://connect.example.com:3232/metrics".to_owned();
        let error = (at == 20).then(|| "Connection refused".to_owned());
        let values = if error.is_some() { std::collections::BTreeMap::new() } else { read(&text) };
        builder.scrape(Scrape { at_s: f64::from(at), url, values, error });
    }
    let mut summary = builder.finish(RunState::Finished);
    summary.api_requests_sent = 41;
    summary.left_behind = vec!["connect-bench-plumber-test".to_owned()];
    summary
}

/// The same, paused in the middle of it, with other VUs afterwards, and stopped by hand.
pub(crate) fn controlled_load(paused: &Range<u64>) -> Summary {
    let scenarios = vec![fetch(constant(10)), publish(constant(1))];
    let mut builder = Builder::new(plan("load", server(false), scenarios), environment());
    let event = |at_s, what, from| ControlEvent { at_s, what, from, scenario: None, vus_before: None, vus: None };
    let (from, to) = (paused.start as f64 + 0.25, paused.end as f64 - 0.25);
    builder.control(event(from, Controlled::Pause, Origin::Terminal));
    let vus = event(to, Controlled::Vus, Origin::Rest);
    builder.control(ControlEvent { scenario: Some("fetch".to_owned()), vus_before: Some(10), vus: Some(12), ..vus });
    builder.control(event(to, Controlled::Resume, Origin::Rest));
    builder.control(event(42.0, Controlled::Stop, Origin::Terminal));
    seconds(&mut builder, paused);
    builder.finish(RunState::Stopped)
}

/// A load test of a URL that was stopped before its first second was over.
pub(crate) fn empty_load() -> Summary {
    let target = Target {
        url: "http://127.0.0.1:8080/".parse().unwrap(),
        connect_version: None,
        node: None,
        content_guid: None,
        ..server(false)
    };
    let reason = "the server is gone".to_owned();
    Builder::new(plan("load", target, vec![fetch(constant(10))]), environment())
        .finish(RunState::Aborted { reason, cause: Cause::Server })
}

fn step(vus: u32, per_s: f64, change: Option<f64>, decision: &str) -> Step {
    let ms = 1000.0 * f64::from(vus) / per_s;
    Step {
        vus,
        requests_per_second: per_s,
        standard_error: per_s / 200.0,
        change_vs_best: change,
        mean_ms: Some(ms),
        p50_ms: Some(0.9 * ms),
        p95_ms: Some(1.9 * ms),
        p99_ms: Some(2.6 * ms),
        error_rate: 0.0,
        seconds: 30.0,
        rate: None,
        cut_s: 3.0,
        kind: StepKind::Full,
        decision: decision.to_owned(),
    }
}

fn ramp(result: SearchResult, steps: Vec<Step>) -> (Summary, Search) {
    let searched = Executor::Searched { start_vus: 16, max_vus: 2048 };
    let plan = plan("ramp", server(true), vec![fetch(searched), publish(constant(1))]);
    let mut builder = Builder::new(plan, environment());
    if !steps.is_empty() {
        seconds(&mut builder, &(0..0));
    }
    let mut summary = builder.finish(RunState::Finished);
    let search = Search { result, steps };
    summary.search = Some(search.clone());
    (summary, search)
}

/// A ramp that found the saturation.
pub(crate) fn saturated() -> (Summary, Search) {
    let steps = vec![
        step(1, 21.3, None, "first stage"),
        step(16, 303.0, Some(0.93), "+93 %, growing"),
        step(64, 402.0, Some(0.021), "+2.1 %, growing"),
        step(128, 399.0, Some(-0.007), "−0.7 %, flat 1 of 2"),
        step(256, 393.0, Some(-0.023), "−2.3 %, flat 2 of 2"),
        step(30, 389.0, Some(-0.032), "probe: −3.2 % against the best, saturation now at 30 VUs"),
    ];
    let result = SearchResult {
        outcome: Outcome::Saturated,
        vus: Some(30),
        rate: None,
        saturation_vus: Some(29.4),
        vus_ci: Some((22, 39)),
        knee_vus: Some(20.2),
        requests_per_second: Some(399.4),
        requests_per_second_ci: Some((394.0, 407.0)),
        at_vus: Some(Prediction { requests_per_second: 391.2, mean_ms: 76.7 }),
        knee: None,
        misfit: false,
        kept: None,
        tested_vus: Some((1, 256)),
        warm_up_s: 58.0,
        elapsed_s: 341.0,
        notes: vec!["Saturation lies at the end of the tested range.".to_owned()],
    };
    ramp(result, steps)
}

/// A ramp that came to nothing.
pub(crate) fn aborted() -> (Summary, Search) {
    let result = SearchResult {
        outcome: Outcome::Aborted { reason: "no stage was finished".to_owned() },
        vus: None,
        rate: None,
        saturation_vus: None,
        vus_ci: None,
        knee_vus: None,
        requests_per_second: None,
        requests_per_second_ci: None,
        at_vus: None,
        knee: None,
        misfit: false,
        kept: None,
        tested_vus: None,
        warm_up_s: 0.0,
        elapsed_s: 4.0,
        notes: Vec::new(),
    };
    ramp(result, Vec::new())
}

/// A ramp that ended at the most VUs that were allowed, or that this machine could make.
pub(crate) fn without_saturation(outcome: Outcome) -> (Summary, Search) {
    let (mut summary, mut search) = saturated();
    search.result = SearchResult {
        outcome,
        vus: Some(2048),
        rate: None,
        saturation_vus: None,
        vus_ci: None,
        knee_vus: None,
        requests_per_second: Some(38_000.0),
        requests_per_second_ci: Some((37_400.0, 38_600.0)),
        at_vus: Some(Prediction { requests_per_second: 38_000.0, mean_ms: 53.9 }),
        tested_vus: Some((1, 2048)),
        notes: vec!["Throughput still grew at 2048 VUs, the most allowed.".to_owned()],
        ..search.result
    };
    search.steps = vec![step(1024, 19_500.0, None, "first stage"), step(2048, 38_000.0, Some(0.95), "+95 %, growing")];
    summary.search = Some(search.clone());
    (summary, search)
}

/// A search of the open model that found the highest rate.
pub(crate) fn highest_rate() -> (Summary, Search) {
    let (mut summary, mut search) = saturated();
    let at = |rate: u32, per_s: f64, p95_ms: f64, decision: &str| Step {
        rate: Some(rate),
        p95_ms: Some(p95_ms),
        ..step(rate / 8, per_s, None, decision)
    };
    search.steps = vec![
        at(160, 160.2, 210.0, "keeps the objectives"),
        at(320, 319.1, 881.0, "breaks p(95)<500: 881 ms"),
        at(226, 225.7, 340.0, "keeps the objectives"),
        at(247, 246.0, 522.0, "breaks p(95)<500: 522 ms"),
    ];
    let kept = Kept {
        objectives: vec!["p(95)<500".to_owned(), "error_rate<0.1%".to_owned()],
        vus: 41,
        rate: Some(226),
        requests_per_second: 225.7,
        broken_at_vus: None,
        broken_at_rate: Some(247),
        broken: Some("breaks p(95)<500: 522 ms".to_owned()),
    };
    search.result = SearchResult {
        outcome: Outcome::ObjectivesKept,
        vus: None,
        rate: Some(226),
        saturation_vus: None,
        vus_ci: None,
        knee_vus: None,
        requests_per_second: Some(225.7),
        requests_per_second_ci: Some((223.1, 228.3)),
        at_vus: None,
        kept: Some(kept),
        tested_vus: None,
        notes: Vec::new(),
        ..search.result
    };
    summary.search = Some(search.clone());
    (summary, search)
}

/// The full load test as a kill and a generator that was too slow leave it.
pub(crate) fn spoilt_load() -> Summary {
    let mut summary = full_load();
    summary.state = RunState::Partial;
    summary.generator.limited_seconds = 31;
    summary.generator.reasons = [("a worker thread was busy", 30), ("the event loop was late", 1)]
        .map(|(reason, seconds)| (reason.to_owned(), seconds))
        .into();
    summary.generator.busiest_worker = 0.99;
    summary
}
