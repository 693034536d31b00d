//! Whole runs in virtual time: the real engine and a real HTTP server over an in-memory pipe, with exact numbers.
//!
//! The clock is paused and jumps to the next timer when nothing is left to do, so 60 virtual seconds take milliseconds,
//! and a latency of 20 ms is 20 ms to the last digit.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "virtual/steps.rs"]
mod steps;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use connect_bench::engine::fetch::Fetch;
use connect_bench::engine::program::{Exchange, Expect, Program, Request, SeriesId};
use connect_bench::engine::run::{Delivery, Run};
use connect_bench::engine::worker::{Order, Programs};
use connect_bench::http::{ClientConfig, Dial, DialFault, Dialled};
use connect_bench::outcome::ErrorKind;
use connect_bench::plan::{self, Executor, FetchPlan, Http1Engine, HttpPlan, Plan, ProgramPlan, ScenarioPlan, Target};
use connect_bench::window::{Part, Window};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::runtime::{Builder, LocalOptions};

type Answer = std::pin::Pin<Box<dyn Future<Output = http::Response<Full<Bytes>>>>>;
type Handler = dyn Fn(http::Request<hyper::body::Incoming>) -> Answer;

/// A server over in-memory pipes.
#[derive(Clone)]
struct Pipe {
    handler: Rc<Handler>,
    /// Requests that reached the handler.
    received: Rc<Cell<u64>>,
    dials: Rc<Cell<u64>>,
    refuse: Rc<Cell<bool>>,
    /// Tasks of open connections, to cut them.
    open: Rc<RefCell<Vec<tokio::task::AbortHandle>>>,
}

impl Pipe {
    fn new<F, A>(handler: F) -> Pipe
    where
        F: Fn(http::Request<hyper::body::Incoming>) -> A + 'static,
        A: Future<Output = http::Response<Full<Bytes>>> + 'static,
    {
        Pipe {
            handler: Rc::new(move |request| Box::pin(handler(request)) as Answer),
            received: Rc::default(),
            dials: Rc::default(),
            refuse: Rc::default(),
            open: Rc::default(),
        }
    }

    fn cut(&self) {
        for connection in self.open.borrow_mut().drain(..) {
            connection.abort();
        }
    }
}

impl Dial for Pipe {
    type Stream = DuplexStream;

    async fn dial(&self, _vu: u32) -> Result<Dialled<DuplexStream>, DialFault> {
        self.dials.set(self.dials.get() + 1);
        if self.refuse.get() {
            return Err(DialFault { kind: ErrorKind::Refused, detail: String::new() });
        }
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let pipe = self.clone();
        let service = service_fn(move |request| {
            pipe.received.set(pipe.received.get() + 1);
            let answer = (pipe.handler)(request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let task = tokio::task::spawn_local(http1::Builder::new().serve_connection(TokioIo::new(theirs), service));
        self.open.borrow_mut().push(task.abort_handle());
        Ok(Dialled::at_once(ours))
    }
}

struct Fetches {
    timeout: Duration,
    expect: Expect,
}

impl Programs for Fetches {
    fn program(&self, _scenario: usize, _vu: u32) -> Box<dyn Program> {
        let request = Request {
            method: http::Method::GET,
            target: "/stocks/AAPL".parse().unwrap(),
            headers: http::HeaderMap::new(),
            body: Bytes::new(),
        };
        let exchange =
            Exchange { series: SeriesId(0), request, expect: self.expect.clone(), keep_body: 0, timeout: self.timeout };
        Box::new(Fetch::new(Rc::new(exchange)))
    }
}

fn fetches() -> Arc<dyn Programs> {
    Arc::new(Fetches { timeout: Duration::from_secs(60), expect: Expect::default() })
}

fn plan(vus: u32, seconds: u64, workers: usize) -> Plan {
    let fetch = FetchPlan {
        path: "/stocks/AAPL".to_owned(),
        with_key: false,
        statuses: vec![200],
        content_type: None,
        body_contains: None,
        timeout: Duration::from_secs(60),
    };
    Plan {
        schema: plan::SCHEMA,
        version: "test".to_owned(),
        command: "load".to_owned(),
        run_id: "test".to_owned(),
        seed: 1,
        target: Target {
            url: "http://pipe/".parse().unwrap(),
            sandbox: false,
            connect_version: None,
            node: None,
            sandbox_profile: None,
            content_guid: None,
            fetch_with_key: false,
        },
        http: HttpPlan {
            user_agent: "test".to_owned(),
            insecure: false,
            reset_cookies: false,
            http1_engine: HTTP1,
            kernel_timestamps: false,
            connection: connect_bench::connection_options::ConnectionOptions::default(),
        },
        workers,
        warm_up: Duration::ZERO,
        duration: Duration::from_secs(seconds),
        scenarios: vec![ScenarioPlan {
            name: "fetch".to_owned(),
            executor: Executor::ConstantVus {
                vus,
                start_time: Duration::ZERO,
                duration: Duration::from_secs(seconds),
                start_over: Duration::ZERO,
            },
            graceful_stop: Duration::from_secs(30),
            pacing: Duration::ZERO,
            tags: std::collections::BTreeMap::new(),
            steps: vec!["fetch".to_owned()],
            program: ProgramPlan::Fetch(fetch),
        }],
    }
}

/// `tests/virtual_own.rs` makes the same runs with the other engine.
const HTTP1: Http1Engine = if OWN { Http1Engine::Own } else { Http1Engine::Hyper };
const OWN: bool = env!("CARGO_CRATE_NAME").len() > "virtual".len();

fn client() -> ClientConfig {
    ClientConfig::new("http://pipe/".parse().unwrap(), HTTP1).unwrap()
}

/// Runs a future in a local runtime whose clock is virtual.
fn in_virtual_time<F: Future>(future: F) -> F::Output {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build_local(LocalOptions::default());
    runtime.unwrap().block_on(future)
}

async fn collect(run: &mut Run) -> Vec<(Part, Window)> {
    let mut seconds = Vec::new();
    while let Some(delivery) = run.next().await {
        if let Delivery::Second(second) = delivery {
            assert!(second.window.balanced());
            seconds.push((second.part, second.window));
        }
    }
    seconds
}

fn total(seconds: &[(Part, Window)]) -> Window {
    let mut all = Window::default();
    for (_, window) in seconds {
        all.merge(window);
    }
    all
}

fn run_to_end(plan: Plan, pipe: &Pipe, programs: &Arc<dyn Programs>) -> Vec<(Part, Window)> {
    in_virtual_time(async {
        let dials = vec![pipe.clone(); plan.workers];
        let mut run = Run::start_local(Arc::new(plan), dials, &client, programs);
        collect(&mut run).await
    })
}

fn ok(body: &'static str) -> http::Response<Full<Bytes>> {
    http::Response::new(Full::new(Bytes::from_static(body.as_bytes())))
}

async fn after(ms: u64, body: &'static str) -> http::Response<Full<Bytes>> {
    tokio::time::sleep(Duration::from_millis(ms)).await;
    ok(body)
}

#[test]
fn ten_vus_at_twenty_ms_make_exactly_five_hundred_requests_a_second() {
    let pipe = Pipe::new(|_| after(20, "x"));
    let seconds = run_to_end(plan(10, 60, 2), &pipe, &fetches());
    for (at, (part, window)) in seconds[..60].iter().enumerate() {
        assert_eq!(*part, Part::Steady);
        // What ends at the very end of a second belongs to the next one.
        assert_eq!(window.series[0].requests.completed, if at == 0 { 490 } else { 500 });
        assert_eq!(window.scenarios[0].vus, 10);
        assert_eq!(window.scenarios[0].vu_time_ns, 10_000_000_000);
    }
    let all = total(&seconds);
    let requests = all.series[0].requests;
    assert_eq!(requests.scheduled, requests.completed);
    assert_eq!(all.series[0].duration.mean_ms(), Some(20.0));
    near(all.series[0].waiting.quantile_ms(1.0), 20.0);
    // One connection per VU for the whole run.
    assert_eq!((all.series[0].connections, pipe.dials.get()), (10, 10));
    assert_eq!((all.series[0].sent, pipe.received.get()), (requests.scheduled, requests.scheduled));
}

#[test]
fn the_same_plan_gives_the_same_windows_byte_for_byte() {
    let once = || {
        let count = Cell::new(0u64);
        let pipe = Pipe::new(move |_| {
            count.set(count.get() + 1);
            after(5 + (count.get() * 7919) % 31, "x")
        });
        let mut seconds = run_to_end(plan(7, 20, 2), &pipe, &fetches());
        for (_, window) in &mut seconds {
            // What is not virtual: the CPU time of the thread, and its time in the run queue.
            window.generator.cpu_ns = 0;
            window.generator.queued_ns = 0;
            window.generator.busiest_permille = 0;
        }
        serde_json::to_string(&seconds).unwrap()
    };
    assert_eq!(once(), once());
}

#[test]
fn a_stall_shows_in_the_latencies_and_in_the_second_it_happened() {
    let stalled = Rc::new(Cell::new(false));
    let pipe = Pipe::new(move |_| {
        let stalled = stalled.clone();
        async move {
            if !stalled.replace(true) {
                tokio::time::sleep(Duration::from_secs(3)).await;
            } else {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            ok("x")
        }
    });
    let seconds = run_to_end(plan(1, 10, 1), &pipe, &fetches());
    let completed: Vec<u64> = seconds[..5].iter().map(|(_, w)| w.series[0].requests.completed).collect();
    assert_eq!(completed, [0, 0, 0, 100, 100]);
    near(total(&seconds).series[0].duration.max_ms(), 3000.0);
}

#[test]
fn what_never_answers_times_out_and_what_is_cut_at_the_end_is_counted() {
    let pipe = Pipe::new(|_| async {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        ok("x")
    });
    let programs: Arc<dyn Programs> = Arc::new(Fetches { timeout: Duration::from_secs(4), expect: Expect::default() });
    let mut plan = plan(10, 10, 1);
    plan.scenarios[0].graceful_stop = Duration::from_secs(1);
    let seconds = run_to_end(plan, &pipe, &programs);
    let all = total(&seconds);
    let requests = all.series[0].requests;
    assert_eq!((requests.completed, requests.failed, requests.interrupted), (0, 20, 10));
    assert_eq!(all.series[0].errors[&ErrorKind::Timeout], 20);
    assert_eq!(requests.scheduled, pipe.received.get());
    assert_eq!(all.series[0].sent, pipe.received.get());
    assert_eq!(all.series[0].duration.count(), 0);
    let age = all.series[0].interrupted_age.max_ms().unwrap();
    assert!((2_900.0..3_200.0).contains(&age), "{age}");
    assert_eq!(all.scenarios[0].iterations.interrupted, 10);
}

#[test]
fn statuses_and_bodies_are_checked_and_failures_are_kept_apart() {
    let turn = Cell::new(0u32);
    let pipe = Pipe::new(move |_| {
        turn.set(turn.get() + 1);
        let turn = turn.get() % 4;
        async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            match turn {
                0 => {
                    let mut error = ok("error page");
                    *error.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
                    error
                }
                1 => ok("<html>please log in</html>"),
                _ => ok(r#"{"ticker":"AAPL"}"#),
            }
        }
    });
    let expect = Expect {
        statuses: vec![200],
        body_contains: Some(Bytes::from_static(br#""ticker":"AAPL""#)),
        content_type: None,
        ..Expect::default()
    };
    let programs: Arc<dyn Programs> = Arc::new(Fetches { timeout: Duration::from_secs(4), expect });
    let seconds = run_to_end(plan(1, 4, 1), &pipe, &programs);
    let series = &total(&seconds).series[0];
    assert_eq!((series.requests.completed, series.requests.failed), (200, 200));
    assert_eq!(series.errors[&ErrorKind::Status(503)], 100);
    assert_eq!(series.errors[&ErrorKind::Body], 100);
    assert_eq!(series.statuses[&200], 300);
    assert_eq!(series.duration.count(), 200);
    assert_eq!(series.failed_duration.count(), 200);
}

#[test]
fn a_server_that_closes_idle_connections_is_met_again_without_a_failure() {
    let pipe = Pipe::new(|_| async {
        let mut response = after(10, "x").await;
        response.headers_mut().insert("connection", http::HeaderValue::from_static("close"));
        response
    });
    let seconds = run_to_end(plan(2, 5, 1), &pipe, &fetches());
    let series = &total(&seconds).series[0];
    assert_eq!(series.requests.failed, 0);
    assert_eq!(series.connections, series.requests.completed);
}

#[test]
fn a_server_that_is_gone_is_tried_again_with_back_off() {
    let pipe = Pipe::new(|_| after(10, "x"));
    let control = pipe.clone();
    let seconds = in_virtual_time(async {
        let mut run = Run::start_local(Arc::new(plan(10, 60, 1)), vec![pipe.clone()], &client, &fetches());
        tokio::task::spawn_local(async move {
            tokio::time::sleep(Duration::from_millis(10_100)).await;
            control.refuse.set(true);
            control.cut();
            tokio::time::sleep(Duration::from_secs(20)).await;
            control.refuse.set(false);
        });
        collect(&mut run).await
    });
    let all = total(&seconds);
    let refused = all.series[0].errors[&ErrorKind::Refused];
    assert!((40..400).contains(&refused), "{refused} attempts by 10 VUs in 20 s");
    assert_eq!(all.series[0].requests.completed + refused, all.series[0].requests.scheduled);
    assert_eq!(seconds[55].1.series[0].requests.completed, 1000);
    assert!(all.scenarios[0].pause_ns > 100_000_000_000, "back-off is not time in requests");
    // The ten that were under way when the connections were cut had reached the server, and were sent again.
    assert_eq!(all.series[0].retried, 10);
    assert_eq!(all.series[0].sent + all.series[0].retried, pipe.received.get());
}

/// A histogram keeps three significant digits.
fn near(value: Option<f64>, expected: f64) {
    let value = value.unwrap();
    assert!((value / expected - 1.0).abs() < 1e-3, "{value} is not {expected}");
}

#[test]
fn vus_follow_orders_up_and_down() {
    let pipe = Pipe::new(|_| after(100, "x"));
    let mut plan = plan(1, 3600, 2);
    plan.scenarios[0].executor = Executor::Searched { start_vus: 4, max_vus: 100 };
    let seconds = in_virtual_time(async {
        let mut run = Run::start_local(Arc::new(plan), vec![pipe.clone(), pipe.clone()], &client, &fetches());
        let mut seconds = Vec::new();
        while let Some(delivery) = run.next().await {
            let Delivery::Second(second) = delivery else { continue };
            match second.second {
                4 => run.order(Order::SetVus { scenario: 0, vus: 15, over: Duration::from_secs(1) }),
                9 => run.order(Order::SetVus { scenario: 0, vus: 3, over: Duration::from_secs(1) }),
                14 => run.order(Order::Stop),
                _ => {}
            }
            seconds.push((second.part, second.window));
        }
        seconds
    });
    let vus: Vec<u64> = seconds.iter().map(|(_, w)| w.scenarios[0].vus).collect();
    assert_eq!(vus[1..5], [4, 4, 4, 4]);
    assert_eq!(vus[6..10], [15, 15, 15, 15]);
    assert_eq!(vus[11..15], [3, 3, 3, 3]);
    let rates: Vec<u64> = seconds.iter().map(|(_, w)| w.series[0].requests.completed).collect();
    assert_eq!((rates[3], rates[8], rates[13]), (40, 150, 30));
    let all = total(&seconds);
    assert_eq!(all.series[0].requests.interrupted, 0);
    assert_eq!(all.series[0].requests.scheduled, all.series[0].requests.completed);
}

#[test]
fn scenarios_run_side_by_side_and_one_after_the_other() {
    let pipe = Pipe::new(|_| after(100, "x"));
    let mut plan = plan(2, 10, 2);
    let mut second = plan.scenarios[0].clone();
    second.name = "later".to_owned();
    let seconds = Duration::from_secs;
    second.executor =
        Executor::ConstantVus { vus: 5, start_time: seconds(4), duration: seconds(3), start_over: Duration::ZERO };
    plan.scenarios.push(second);
    let programs: Arc<dyn Programs> = Arc::new(Scenarios);
    let windows = run_to_end(plan, &pipe, &programs);
    let vus: Vec<(u64, u64)> = windows[..10].iter().map(|(_, w)| (w.scenarios[0].vus, w.scenarios[1].vus)).collect();
    assert_eq!(vus[2], (2, 0));
    assert_eq!(vus[5], (2, 5));
    assert_eq!(vus[8], (2, 0));
    let all = total(&windows);
    assert_eq!(all.series[1].requests.completed, 150);
    assert_eq!(all.series[0].requests.scheduled, all.series[0].requests.completed);
}

/// Fetches, counted under the scenario's own series.
struct Scenarios;

impl Programs for Scenarios {
    fn program(&self, scenario: usize, _vu: u32) -> Box<dyn Program> {
        let request = Request {
            method: http::Method::GET,
            target: "/".parse().unwrap(),
            headers: http::HeaderMap::new(),
            body: Bytes::new(),
        };
        let series = SeriesId(scenario as u16);
        let timeout = Duration::from_secs(60);
        Box::new(Fetch::new(Rc::new(Exchange { series, request, expect: Expect::default(), keep_body: 0, timeout })))
    }
}

#[test]
fn the_hard_stop_cuts_off_at_once() {
    let pipe = Pipe::new(|_| after(5_000, "x"));
    let seconds = in_virtual_time(async {
        let mut run = Run::start_local(Arc::new(plan(8, 60, 1)), vec![pipe.clone()], &client, &fetches());
        let mut seconds = Vec::new();
        while let Some(delivery) = run.next().await {
            let Delivery::Second(second) = delivery else { continue };
            if second.second == 1 {
                run.order(Order::Kill);
            }
            seconds.push((second.part, second.window));
        }
        assert!(run.started().elapsed() < Duration::from_millis(2_200));
        seconds
    });
    let requests = total(&seconds).series[0].requests;
    assert_eq!((requests.scheduled, requests.interrupted), (8, 8));
}
