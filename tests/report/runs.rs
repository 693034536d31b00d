//! Run directories of runs that never were, written as a run writes its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use connect_bench::capacity::knee::Knee;
use connect_bench::capacity::search::{Kept, Outcome, Prediction, SearchResult, Step, StepKind};
use connect_bench::host::Environment;
use connect_bench::outcome::ErrorKind;
use connect_bench::plan::{Executor, FetchPlan, Plan, ProgramPlan, PublishPlan, ScenarioPlan, Target};
use connect_bench::rundir::{PlanFile, RunDir};
use connect_bench::server_metrics::{Scrape, read};
use connect_bench::summary::{Builder, RunState, Search, Summary};
use connect_bench::threshold::Limit;
use connect_bench::window::{CheckWindow, HostSample, Part, Second, Window};
use serde_json::{Value, json};

const SECOND_NS: u64 = 1_000_000_000;
/// VUs that fetch in a load test.
const VUS: u32 = 24;

/// What a run is made of.
#[derive(Clone)]
pub(crate) struct Shape {
    pub(crate) command: &'static str,
    pub(crate) warm_up: u64,
    pub(crate) steady: u64,
    pub(crate) per_second: u64,
    /// Names of nodes, scenarios, checks and messages: what others may have written.
    pub(crate) foreign: String,
    pub(crate) publishes: bool,
    /// Whether `summary.json` is written: a killed run has none.
    pub(crate) finished: bool,
    /// A run that the gate accepts: its seconds are alike, and Little's law closes.
    pub(crate) even: bool,
    /// Whether servers were asked how they are.
    pub(crate) servers: bool,
    /// Whether a ramp raises requests per second until objectives break, not VUs.
    pub(crate) rates: bool,
    /// Days after the first of January on which it was made.
    pub(crate) day: i64,
}

impl Shape {
    pub(crate) fn load(steady: u64) -> Shape {
        Shape {
            command: "load",
            warm_up: 5,
            steady,
            per_second: 240,
            foreign: "node".to_owned(),
            publishes: true,
            finished: true,
            even: false,
            servers: false,
            rates: false,
            day: 0,
        }
    }
}

fn scenario(name: &str, executor: Executor, steps: &[&str], program: ProgramPlan) -> ScenarioPlan {
    ScenarioPlan {
        name: name.to_owned(),
        executor,
        graceful_stop: Duration::from_secs(30),
        pacing: Duration::ZERO,
        tags: BTreeMap::new(),
        steps: steps.iter().map(|step| (*step).to_owned()).collect(),
        program,
    }
}

fn constant(vus: u32, length: u64) -> Executor {
    Executor::constant_vus(vus, Duration::from_secs(length))
}

fn plan(shape: &Shape) -> Plan {
    let length = shape.warm_up + shape.steady;
    let fetching = match shape.command {
        "ramp" if shape.rates => {
            Executor::SearchedRate { start_rate: 10, max_rate: 2000, pre_allocated_vus: 20, max_vus: 512 }
        }
        "ramp" => Executor::Searched { start_vus: 1, max_vus: 512 },
        _ => constant(VUS, length),
    };
    let fetch = FetchPlan::of(&format!("/content/c0ffee/stocks/{}", shape.foreign));
    let publish = PublishPlan::of("connect-bench-plumber", "plumber-stocks");
    let mut scenarios =
        vec![scenario(&format!("fetch {}", shape.foreign), fetching, &["fetch"], ProgramPlan::Fetch(fetch))];
    if shape.publishes {
        scenarios.push(scenario("publish", constant(1, length), &["upload"], ProgramPlan::Publish(publish)));
    }
    let limit = |text: &str| Limit::from_flag(text).unwrap();
    let target = Target {
        connect_version: Some(format!("2026.06.0 {}", shape.foreign)),
        content_guid: Some(format!("c0ffee-{}", shape.foreign)),
        ..Target::at("https://connect.example.com/".parse().unwrap())
    };
    Plan {
        version: "0.1.0".to_owned(),
        command: shape.command.to_owned(),
        run_id: "synthetic".to_owned(),
        workers: 2,
        warm_up: Duration::from_secs(shape.warm_up),
        duration: Duration::from_secs(length),
        thresholds: vec![limit("http_req_duration: p(95)<500"), limit("http_req_failed: rate<0.0001")],
        ..Plan::of(target, scenarios)
    }
}

/// VUs of the stages of a ramp; of [`STAGE_S`] seconds each.
const STAGES: [u32; 12] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 190, 205];
const STAGE_S: u64 = 8;

/// Five times as fast as a load of the same shape.
fn knee(shape: &Shape) -> Knee {
    Knee { x_max_per_s: 5.0 * shape.per_second as f64, r0_s: 0.12, p: 4.0, kappa_s: 1e-6 }
}

fn vus(shape: &Shape, second: u64) -> u32 {
    let stage = usize::try_from(second.saturating_sub(shape.warm_up) / STAGE_S).unwrap();
    if shape.command == "ramp" { STAGES[stage.min(STAGES.len() - 1)] } else { VUS }
}

/// What a second measured: latencies over the whole range that a server has, so that histograms are as large as they get.
fn window(shape: &Shape, second: u64) -> Window {
    let mut window = Window::new(if shape.publishes { 2 } else { 1 }, if shape.publishes { 2 } else { 1 });
    window.span_ns = Some((second * SECOND_NS, (second + 1) * SECOND_NS));
    let fetch = &mut window.series[0];
    let kinds = 80;
    // From 8 ms to 8 s, most of them at the fast end; another one each second.
    let share = |at: u64| (at as f64 + (second % 17) as f64 / 17.0) / kinds as f64;
    let raw = |at: u64| 0.008 * 1000_f64.powf(share(at).powi(3));
    let vus = vus(shape, second);
    let per_second = if shape.command == "ramp" {
        knee(shape).throughput(f64::from(vus)).round() as u64
    } else if shape.even {
        shape.per_second + second * 7919 % 11
    } else {
        shape.per_second
    };
    let each = |at: u64| per_second / kinds + u64::from(at < per_second % kinds);
    let slow = match shape.even || shape.command == "ramp" {
        // As long as so many VUs need for so many requests.
        true => 0.98 * f64::from(vus) / (0..kinds).map(|at| each(at) as f64 * raw(at)).sum::<f64>(),
        false if second % 60 > 50 => 2.5,
        false => 1.0,
    };
    for at in 0..kinds {
        let n = each(at);
        let took = Duration::from_secs_f64(slow * raw(at));
        if n == 0 {
            continue;
        }
        fetch.duration.record_n(took, n);
        fetch.waiting.record_n(took.mul_f64(0.9), n);
        fetch.receiving.record_n(took.mul_f64(0.08), n);
        fetch.sending.record_n(took.mul_f64(0.02), n);
        fetch.generator_delay.record_n(Duration::from_micros(30 + at), n);
        fetch.duration_corrected.record_n(took, n);
        let node = fetch.nodes.entry(format!("{}{}", shape.foreign, at % 2)).or_default();
        node.completed += n;
        node.duration.record_n(took, n);
    }
    fetch.requests.completed = per_second;
    fetch.statuses.insert(200, per_second);
    if second % 20 == 7 && !shape.even {
        fetch.requests.failed = 2;
        fetch.failed_duration.record_n(Duration::from_secs(1), 2);
        fetch.errors.insert(ErrorKind::Status(503), 2);
        fetch.statuses.insert(503, 2);
    }
    fetch.requests.scheduled = fetch.requests.completed + fetch.requests.failed;
    fetch.sent = fetch.requests.scheduled;
    window.scenarios[0].vu_time_ns = u128::from(vus) * u128::from(SECOND_NS);
    window.scenarios[0].vus = u64::from(vus);
    let check = CheckWindow { passes: fetch.requests.completed, fails: fetch.requests.failed };
    window.checks.insert(format!("is right {}", shape.foreign), check);
    window.generator.lag.record_n(Duration::from_micros(400), 50);
    window.generator.cpu_ns = 300_000_000;
    window.generator.wall_ns = 2 * SECOND_NS;
    window.generator.busiest_permille = 210;
    if shape.publishes && second % 10 == 9 {
        publish(&mut window);
    }
    window
}

const PHASES: [(&str, u64); 5] =
    [("upload", 200), ("queue", 100), ("restore", 4200), ("launch", 2500), ("first_response", 500)];

fn publish(window: &mut Window) {
    let iterations = &mut window.scenarios[1].iterations;
    iterations.scheduled = 1;
    iterations.completed = 1;
    for (phase, ms) in PHASES.into_iter().chain([("total", 7500)]) {
        window.trends.entry(format!("publish_{phase}")).or_default().record(Duration::from_millis(ms));
    }
}

fn events(shape: &Shape) -> Vec<Value> {
    let mut events = Vec::new();
    if !shape.publishes {
        return events;
    }
    for n in 0..(shape.warm_up + shape.steady) / 10 {
        let phases: serde_json::Map<String, Value> =
            PHASES.iter().map(|(phase, ms)| (format!("publish_{phase}"), json!(ms))).collect();
        let failed = n % 7 == 3;
        let error = failed.then(|| json!({"step": "deploy", "kind": "failed", "text": shape.foreign}));
        let started = (n * 10_000 + 2000) as f64;
        events.push(json!({"event": "publish", "n": n, "ok": !failed, "started_ms": started,
            "finished_ms": started + 7500.0, "phases_ms": phases, "error": error}));
        events.push(json!({"event": "iteration_failed", "scenario": shape.foreign, "step": shape.foreign,
            "vu": 1, "iteration": n, "why": shape.foreign}));
    }
    events
        .push(json!({"event": "node", "label": format!("{}0", shape.foreign), "name": format!("{}0", shape.foreign)}));
    events
}

/// What two servers told: Connect's process, and its machine, which was silent for a while and started again.
fn scrapes(shape: &Shape) -> Vec<Scrape> {
    let connect = |at: u64| {
        let started = if at < 20 { 5.0 } else { at as f64 };
        format!(
            "connect_http_request_count{{route=\"{0}\"}} {1}\nprocess_cpu_seconds_total {2}\n\
             process_start_time_seconds {started}\nconnect_http_request_inflight_gauge {3}\n",
            shape.foreign.escape_default(),
            at * shape.per_second,
            at as f64 * 1.5,
            at % 13,
        )
    };
    let machine = |at: u64| {
        format!(
            "node_cpu_seconds_total{{mode=\"idle\"}} {}\nnode_cpu_seconds_total{{mode=\"user\"}} {}\n\
             node_memory_MemTotal_bytes 8e9\nnode_memory_MemAvailable_bytes {}e9\n",
            at,
            2 * at,
            2 + at % 3,
        )
    };
    let mut all = Vec::new();
    if !shape.servers {
        return all;
    }
    for at in (0..shape.warm_up + shape.steady).step_by(5) {
        let silent = (10..20).contains(&at).then(|| format!("refused {}", shape.foreign));
        let values = if silent.is_none() { read(&machine(at)) } else { BTreeMap::new() };
        let at_s = at as f64;
        let url = |name: &str| format!("http://{name}/{}", shape.foreign);
        all.push(Scrape { at_s, url: url("connect:3232"), values: read(&connect(at)), error: None });
        all.push(Scrape { at_s, url: url("connect:9100"), values, error: silent });
    }
    all
}

pub(crate) fn environment(day: i64) -> Environment {
    let first: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    Environment {
        started: first + jiff::SignedDuration::from_hours(24 * day),
        host: "generator".to_owned(),
        kernel: "6.0".to_owned(),
        cores: 2,
        memory_bytes: Some(8 << 30),
        open_files_limit: Some(20_000),
    }
}

/// Writes the run below `root` and returns its directory and its summary.
pub(crate) fn write(root: &Path, shape: &Shape) -> (PathBuf, Summary) {
    let (plan, environment) = (plan(shape), environment(shape.day));
    let path = root.join(format!("202601{:02}T000000Z-{}-{}", shape.day + 1, shape.command, shape.steady));
    let mut directory = RunDir::create(&path).unwrap();
    directory
        .write_plan(&PlanFile { plan: plan.clone(), environment: environment.clone(), invocation: Vec::new() })
        .unwrap();
    events(shape).iter().for_each(|event| directory.event(event).unwrap());
    let mut builder = Builder::new(plan, environment);
    for scrape in scrapes(shape) {
        directory.scraped(&scrape).unwrap();
        builder.scrape(scrape);
    }
    for at in 0..shape.warm_up + shape.steady {
        let part = if at < shape.warm_up { Part::WarmUp } else { Part::Steady };
        let host = HostSample { memory_bytes: Some(40_000_000 + at), ..HostSample::default() };
        let second = Second { second: at, part, window: window(shape, at), host };
        directory.append(&second).unwrap();
        builder.add(&second);
    }
    let mut summary = builder.finish(if shape.finished { RunState::Finished } else { RunState::Partial });
    if shape.command == "ramp" {
        summary.search = Some(if shape.rates { search_of_rates(shape) } else { search(shape) });
    }
    if shape.finished {
        directory.write_summary(&summary).unwrap();
    }
    (path, summary)
}

/// A saturation search over nine stages on a curve that is known.
fn search(shape: &Shape) -> Search {
    let knee = knee(shape);
    let of = |per_s: f64| per_s * shape.per_second as f64 / 240.0;
    let step = |(at, vus): (usize, u32)| {
        let per_s = knee.throughput(f64::from(vus));
        let ms = 1000.0 * f64::from(vus) / per_s;
        Step {
            vus,
            requests_per_second: per_s,
            standard_error: per_s / 150.0,
            change_vs_best: (at > 0).then_some(0.1),
            mean_ms: Some(ms),
            p50_ms: Some(0.9 * ms),
            p95_ms: Some(1.7 * ms),
            p99_ms: Some(2.4 * ms),
            error_rate: 0.0,
            seconds: 20.0,
            rate: None,
            cut_s: 3.0,
            kind: if vus == 512 { StepKind::Unusable } else { StepKind::Full },
            decision: "+10 %, growing".to_owned(),
        }
    };
    let steps = STAGES.into_iter().enumerate().map(step).collect();
    let result = SearchResult {
        outcome: Outcome::Saturated,
        vus: Some(205),
        rate: None,
        saturation_vus: Some(204.2),
        vus_ci: Some((180, 236)),
        knee_vus: Some(knee.knee_vus()),
        requests_per_second: Some(of(1180.0)),
        requests_per_second_ci: Some((of(1165.0), of(1196.0))),
        at_vus: Some(Prediction { requests_per_second: of(1156.4), mean_ms: 177.3 }),
        knee: Some(knee),
        misfit: false,
        kept: None,
        tested_vus: Some((1, 256)),
        warm_up_s: 5.0,
        elapsed_s: 341.0,
        notes: vec!["A note of the search.".to_owned()],
    };
    Search { result, steps }
}

/// A search for the highest rate that keeps two objectives on the same curve: twelve stages, of which 1100 per second
/// is the best.
fn search_of_rates(shape: &Shape) -> Search {
    let (kept, broken) = (1100, 1200);
    let step = |rate: u32| {
        // The p95 of a queue that takes 1250 per second.
        let p95_ms = 60.0 + 20_000.0 / (1250.0 - f64::from(rate)).max(10.0);
        let objective = "http_req_duration: p(95)<200";
        Step {
            vus: rate / 20 + 1,
            rate: Some(rate),
            change_vs_best: None,
            requests_per_second: f64::from(rate),
            mean_ms: Some(0.5 * p95_ms),
            p50_ms: Some(0.4 * p95_ms),
            p95_ms: Some(p95_ms),
            p99_ms: Some(1.6 * p95_ms),
            decision: if rate > kept { format!("broke {objective}") } else { "keeps the objectives".to_owned() },
            ..search(shape).steps[0].clone()
        }
    };
    let rates = [10, 20, 40, 80, 160, 320, 640, 1280, 900, 1000, kept, broken];
    let Search { result, .. } = search(shape);
    let result = SearchResult {
        outcome: Outcome::ObjectivesKept,
        vus: None,
        rate: Some(kept),
        saturation_vus: None,
        vus_ci: None,
        knee_vus: None,
        requests_per_second: Some(f64::from(kept)),
        at_vus: None,
        knee: None,
        tested_vus: None,
        kept: Some(Kept {
            objectives: vec!["p(95)<200".to_owned()],
            vus: kept / 20 + 1,
            rate: Some(kept),
            requests_per_second: f64::from(kept),
            broken_at_vus: None,
            broken_at_rate: Some(broken),
            broken: Some("p(95)<200".to_owned()),
        }),
        ..result
    };
    Search { result, steps: rates.map(step).to_vec() }
}
