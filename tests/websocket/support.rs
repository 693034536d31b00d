//! Servers at the other end of a pipe, and runs of step lists against them in virtual time.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use connect_bench::engine::program::Program;
use connect_bench::engine::run::{Delivery, Run};
use connect_bench::engine::worker::Programs;
use connect_bench::http::{ClientConfig, Dial, DialFault, Dialled};
use connect_bench::plan::{
    Executor, Http1Engine, HttpPlan, Plan, ProgramPlan, ScenarioPlan, StepList, StepsPlan, Target,
};
use connect_bench::window::{SocketWindow, Window};
use connect_bench::{scenario, steps};
use tokio::io::DuplexStream;
use tokio::runtime::{Builder, LocalOptions};

type Serving = Pin<Box<dyn Future<Output = ()>>>;

/// A server that is a function of its connection.
#[derive(Clone)]
pub(crate) struct Pipe(Rc<dyn Fn(DuplexStream) -> Serving>);

impl Pipe {
    pub(crate) fn new<F: Future<Output = ()> + 'static>(serve: impl Fn(DuplexStream) -> F + 'static) -> Pipe {
        Pipe(Rc::new(move |stream| Box::pin(serve(stream))))
    }
}

impl Dial for Pipe {
    type Stream = DuplexStream;

    async fn dial(&self, _vu: u32) -> Result<Dialled<DuplexStream>, DialFault> {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        tokio::task::spawn_local((self.0)(theirs));
        Ok(Dialled::at_once(ours))
    }
}

struct StepPrograms(Arc<steps::Recipe>);

impl Programs for StepPrograms {
    fn program(&self, _scenario: usize, vu: u32) -> Box<dyn Program> {
        Box::new(steps::Steps::new(self.0.clone(), vu))
    }
}

/// What a run measured: second by second, and what it told.
pub(crate) struct Ran {
    pub(crate) seconds: Vec<Window>,
    pub(crate) all: Window,
    pub(crate) events: Vec<serde_json::Value>,
    /// How long it took, in virtual time.
    pub(crate) took: Duration,
}

impl Ran {
    pub(crate) fn sockets(&self) -> &SocketWindow {
        self.all.series.iter().find_map(|series| series.sockets.as_deref()).unwrap()
    }
}

/// VUs that run the list `s` for so long, or so often.
pub(crate) fn run(steps: &str, executor: Executor, server: &Pipe) -> Ran {
    let head = "[scenarios.a]\nexecutor = \"constant-vus\"\nexec = \"s\"\nduration = \"30s\"\n";
    let file = scenario::read(&format!("{head}{steps}")).unwrap();
    let lists = vec![StepList { name: "s".to_owned(), weight: 1, steps: file.steps.lists["s"].clone() }];
    let steps_plan = StepsPlan {
        lists,
        env: BTreeMap::new(),
        data: Vec::new(),
        content_root: "/content/1/".to_owned(),
        server_root: "/".to_owned(),
        with_key: false,
        timeout: Duration::from_secs(20),
        bundles: Vec::new(),
    };
    let plan = plan(executor, steps_plan.clone());
    let given = steps::Given {
        headers: http::HeaderMap::new(),
        key: None,
        origin: plan.target.url.clone(),
        data: BTreeMap::new(),
        files: BTreeMap::new(),
        first: 0,
        scenario: "a".to_owned(),
        seed: 1,
        parts: None,
    };
    let recipe = Arc::new(steps::Recipe::new(&steps_plan, &given).unwrap());
    let programs: Arc<dyn Programs> = Arc::new(StepPrograms(recipe));
    let client = || ClientConfig::new("http://pipe/".parse().unwrap(), Http1Engine::Own).unwrap();
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build_local(LocalOptions::default());
    runtime.unwrap().block_on(async {
        let began = tokio::time::Instant::now();
        let dials = vec![server.clone(); plan.workers];
        let mut run = Run::start_local(Arc::new(plan), dials, &client, &programs);
        let (mut seconds, mut events, mut all) = (Vec::new(), Vec::new(), Window::default());
        while let Some(delivery) = run.next().await {
            match delivery {
                Delivery::Second(second) => {
                    assert!(second.window.balanced());
                    all.merge(&second.window);
                    seconds.push(second.window);
                }
                Delivery::Event(event) => events.push(event),
                Delivery::Points(_) | Delivery::Fell(_) => {}
            }
        }
        Ran { seconds, all, events, took: began.elapsed() }
    })
}

fn plan(executor: Executor, steps: StepsPlan) -> Plan {
    let scenario = ScenarioPlan {
        graceful_stop: Duration::from_secs(2),
        steps: steps.series(),
        ..ScenarioPlan::of("a", executor, ProgramPlan::Steps(steps))
    };
    let http = HttpPlan { kernel_timestamps: false, ..HttpPlan::default() };
    Plan { http, ..Plan::of(Target::at("http://pipe/".parse().unwrap()), vec![scenario]) }
}

pub(crate) fn once() -> Executor {
    Executor::PerVuIterations {
        start_time: Duration::ZERO,
        vus: 1,
        iterations: 1,
        max_duration: Duration::from_secs(60),
    }
}

pub(crate) fn vus(vus: u32, duration: Duration) -> Executor {
    Executor::ConstantVus { vus, start_time: Duration::ZERO, duration, start_over: Duration::ZERO }
}
