//! A server over in-memory pipes, and runs in virtual time against it.

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
use connect_bench::engine::worker::Programs;
use connect_bench::http::{ClientConfig, Dial, DialFault, Dialled};
use connect_bench::outcome::ErrorKind;
use connect_bench::plan::{Executor, FetchPlan, Http1Engine, HttpPlan, Plan, ProgramPlan, ScenarioPlan, Target};
use connect_bench::window::{Part, Window};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::runtime::{Builder, LocalOptions};

pub(crate) type Answer = std::pin::Pin<Box<dyn Future<Output = http::Response<Full<Bytes>>>>>;
pub(crate) type Handler = dyn Fn(http::Request<hyper::body::Incoming>) -> Answer;

/// A server over in-memory pipes.
#[derive(Clone)]
pub(crate) struct Pipe {
    pub(crate) handler: Rc<Handler>,
    /// Requests that reached the handler.
    pub(crate) received: Rc<Cell<u64>>,
    pub(crate) dials: Rc<Cell<u64>>,
    pub(crate) refuse: Rc<Cell<bool>>,
    /// Tasks of open connections, to cut them.
    pub(crate) open: Rc<RefCell<Vec<tokio::task::AbortHandle>>>,
}

impl Pipe {
    pub(crate) fn new<F, A>(handler: F) -> Pipe
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

    pub(crate) fn cut(&self) {
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

pub(crate) struct Fetches {
    pub(crate) timeout: Duration,
    pub(crate) expect: Expect,
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

pub(crate) fn fetches() -> Arc<dyn Programs> {
    Arc::new(Fetches { timeout: Duration::from_secs(60), expect: Expect::default() })
}

pub(crate) fn plan(vus: u32, seconds: u64, workers: usize) -> Plan {
    let fetch = FetchPlan { statuses: vec![200], ..FetchPlan::of("/stocks/AAPL") };
    let executor = Executor::constant_vus(vus, Duration::from_secs(seconds));
    let scenarios = vec![ScenarioPlan::of("fetch", executor, ProgramPlan::Fetch(fetch))];
    let http = HttpPlan { http1_engine: HTTP1, kernel_timestamps: false, ..HttpPlan::default() };
    Plan { http, workers, ..Plan::of(Target::at("http://pipe/".parse().unwrap()), scenarios) }
}

/// `tests/virtual_own.rs` makes the same runs with the other engine.
const HTTP1: Http1Engine = if OWN { Http1Engine::Own } else { Http1Engine::Hyper };
const OWN: bool = env!("CARGO_CRATE_NAME").len() > "virtual".len();

pub(crate) fn client() -> ClientConfig {
    ClientConfig::new("http://pipe/".parse().unwrap(), HTTP1).unwrap()
}

/// Runs a future in a local runtime whose clock is virtual.
pub(crate) fn in_virtual_time<F: Future>(future: F) -> F::Output {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build_local(LocalOptions::default());
    runtime.unwrap().block_on(future)
}

pub(crate) async fn collect(run: &mut Run) -> Vec<(Part, Window)> {
    let mut seconds = Vec::new();
    while let Some(delivery) = run.next().await {
        if let Delivery::Second(second) = delivery {
            assert!(second.window.balanced());
            seconds.push((second.part, second.window));
        }
    }
    seconds
}

pub(crate) fn total(seconds: &[(Part, Window)]) -> Window {
    let mut all = Window::default();
    for (_, window) in seconds {
        all.merge(window);
    }
    all
}

pub(crate) fn run_to_end(plan: Plan, pipe: &Pipe, programs: &Arc<dyn Programs>) -> Vec<(Part, Window)> {
    in_virtual_time(async {
        let dials = vec![pipe.clone(); plan.workers];
        let mut run = Run::start_local(Arc::new(plan), dials, &client, programs);
        collect(&mut run).await
    })
}

pub(crate) fn ok(body: &'static str) -> http::Response<Full<Bytes>> {
    http::Response::new(Full::new(Bytes::from_static(body.as_bytes())))
}

pub(crate) async fn after(ms: u64, body: &'static str) -> http::Response<Full<Bytes>> {
    tokio::time::sleep(Duration::from_millis(ms)).await;
    ok(body)
}

/// A histogram keeps three significant digits.
pub(crate) fn near(value: Option<f64>, expected: f64) {
    let value = value.unwrap();
    assert!((value / expected - 1.0).abs() < 1e-3, "{value} is not {expected}");
}
