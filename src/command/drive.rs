//! Drives one run from its start to its summary: windows to the disk, to the view and to the search; signals to the engine.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use url::Url;

use super::connection::Connections;
use super::failure::Failure;
use super::live::{Live, Noticed};
use super::outs::Outs;
use super::rails::Health;
use super::rehearsal::{Happened, Script};
use super::resume::{Before, Shift};
use super::signals::Signals;
use super::silence::Silence;
use super::view::View;
use crate::capacity::search::{Bin, Move, OpenBin, Outcome, Phase, Search};
use crate::control::{Ask, Asked};
use crate::engine::run::{Delivery, Parts, Run, RunFault};
use crate::engine::worker::{Order, Programs};
use crate::generator;
use crate::histogram::Latency;
use crate::host::{Environment, Monitor};
use crate::http::dial::NetDial;
use crate::http::{ClientConfig, DialFault};
use crate::plan::{Http1Engine, Plan};
use crate::rails::{Action, Watch};
use crate::recorder::Sampling;
use crate::rundir::{PlanFile, RunDir};
use crate::server_metrics::Scrape;
use crate::summary::{self, Builder, Cause, Controlled, Origin, RunState, Summary};
use crate::window::Second;

/// A load test in which nothing at all was completed for so many seconds is over: the server is gone.
const GONE_AFTER: u32 = 30;
/// So many of them at the end of a load test, and it ended without the server.
const GONE_AT_END: u32 = 3;

/// Thresholds that can end a run are looked at every so many seconds, as in k6.
const EVALUATED_EVERY_S: u64 = 2;

/// Within this time all workers have heard of another rate.
const HEARD_WITHIN: Duration = Duration::from_millis(20);

/// What a run is made of.
pub(super) struct Job {
    pub(super) plan: Arc<Plan>,
    pub(super) environment: Environment,
    pub(super) programs: Arc<dyn Programs>,
    /// How the server's certificate is verified; `None` over plain http.
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
    /// How connections are made, with what a plan must not hold.
    pub(super) connections: Connections,
    pub(super) search: Option<Search>,
    /// The first part of a run that is gone on with.
    pub(super) before: Option<Before>,
    /// What goes wrong in the middle of it.
    pub(super) rehearsal: Script,
    /// The command line that it was asked for with.
    pub(super) invocation: Vec<String>,
}

/// A run that writes itself down. When the disk says no it goes on, and says so once.
pub(super) struct Log {
    directory: RunDir,
    broken: Option<String>,
}

impl Log {
    pub(super) fn create(path: &Path) -> Result<Log, Failure> {
        let directory = RunDir::create(path).map_err(Failure::invalid)?;
        Ok(Log { directory, broken: None })
    }

    fn note(&mut self, written: Result<(), crate::rundir::RunDirFault>, view: &View) {
        if let Err(e) = written
            && self.broken.is_none()
        {
            view.warn(&format!("{e}; the run goes on, its result will be complete, its seconds on disk will not"));
            self.broken = Some(e.to_string());
        }
    }

    pub(super) fn event(&mut self, event: &serde_json::Value, view: &View) {
        let written = self.directory.event(event);
        self.note(written, view);
    }

    pub(super) fn summary(&mut self, summary: &Summary, view: &View) {
        let written = self.directory.write_summary(summary);
        self.note(written, view);
    }
}

/// Runs a job to its end. The summary lacks only what happens afterwards: the clean-up.
pub(super) async fn drive(
    job: Job,
    log: &mut Log,
    (view, signals): (&mut View, &mut Signals),
    mut health: Option<&mut Health>,
) -> Result<Summary, Failure> {
    let Job { plan, mut environment, programs, tls, connections, search, before, rehearsal, invocation } = job;
    let mut whole = (*plan).clone();
    if let Some(before) = &before {
        (whole, environment.started) = (before.whole(&plan), before.started());
    }
    let about = environment.clone();
    let file = PlanFile { plan: whole.clone(), environment: environment.clone(), invocation };
    log.note(log.directory.write_plan(&file), view);
    let mut outs = std::mem::replace(&mut signals.outs, Outs::none());
    let mut run = start(&plan, programs, (tls, &connections), outs.sampling())?;
    outs.begin(&plan, run.started());
    let (mut rehearsal, started) = (rehearsal.begin(plan.warm_up), run.started());
    let mut scrapes = std::mem::take(&mut signals.scrapes).start(started);
    let mut course = Course::new(Builder::new(whole, environment), &plan, search, signals);
    if let Some(before) = before {
        course.go_on(before, log, view)?;
    }
    course.live.begin(&course.plan, about, view);
    loop {
        tokio::select! {
            delivery = run.next() => match delivery {
                None => break,
                Some(Delivery::Event(event)) => course.event(&event, &run, log, view),
                Some(Delivery::Second(second)) => {
                    outs.second(&plan, &second);
                    course.second(*second, &run, log, view);
                }
                Some(Delivery::Points(points)) => outs.points(points),
                Some(Delivery::Fell(worker)) => course.fell(worker, &run),
            },
            noticed = course.live.next() => match noticed {
                Noticed::Asked(asked) => course.asked(asked, &run, log, view),
                Noticed::Key(key) => course.live.key(key, view),
            },
            () = until(course.resume_at) => course.resume(&run, log, view),
            why = sick(&mut health) => course.act(Action::Stop(why), &run, log, view),
            happened = rehearsal.next(started) => course.happened(happened, log, view),
            told = scrapes.next() => course.scraped(told, log, view),
            count = signals.next() => course.signal(count, &run, view),
        }
    }
    course.live.end(view);
    for event in rehearsal.finish().await {
        course.happened(Happened::Done(event), log, view);
    }
    for (told, warning) in outs.flush().await {
        log.event(&told, view);
        warning.iter().for_each(|warning| view.warn(warning));
    }
    (signals.outs, signals.scrapes) = (outs, scrapes.end());
    signals.live = std::mem::replace(&mut course.live, Live::closed());
    course.joined(run.join());
    Ok(course.finish(view))
}

async fn until(time: Option<tokio::time::Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

async fn sick(health: &mut Option<&mut Health>) -> String {
    match health {
        Some(health) => health.next().await,
        None => std::future::pending().await,
    }
}

pub(super) fn start(
    plan: &Arc<Plan>,
    programs: Arc<dyn Programs>,
    (tls, connections): (Option<Arc<rustls::ClientConfig>>, &Connections),
    sampling: Option<Sampling>,
) -> Result<Run, Failure> {
    let (host, port, config) = address(&plan.target.url, connections)?;
    let config = ClientConfig { http1: plan.http.http1_engine, ..config };
    let client = move || config.clone();
    let stamps = plan.http.kernel_timestamps;
    let (options, credentials) = (plan.http.connection.clone(), connections.credentials.clone());
    // Each worker chooses among addresses in its own order.
    let seed = Cell::new(plan.seed);
    let dial = move || -> Result<NetDial, DialFault> {
        let to = (host.as_str(), port);
        let dial =
            NetDial::with_options(to, tls.clone(), &options, credentials.as_ref(), seed.replace(seed.get() + 1))?;
        Ok(if stamps { dial.with_kernel_timestamps() } else { dial })
    };
    let parts = Parts { dial, client: Arc::new(client), programs, sampling };
    Run::start(plan.clone(), &parts).context("the run cannot start").map_err(Failure::from)
}

/// Where connections go, and what every client on them says.
pub(super) fn address(url: &Url, connections: &Connections) -> Result<(String, u16, ClientConfig), Failure> {
    let host = url.host_str().unwrap_or_default().to_owned();
    let port = url.port_or_known_default().unwrap_or(80);
    let mut origin = url.clone();
    origin.set_path("/");
    // The default, where no plan says otherwise.
    let config = ClientConfig::new(origin, Http1Engine::default()).context("the host cannot stand in a request")?;
    Ok((host, port, config.with_options(&connections.options, connections.credentials.as_ref())))
}

/// Where a run stands.
struct Course {
    plan: Arc<Plan>,
    builder: Builder,
    shift: Shift,
    monitor: Monitor,
    search: Option<Search>,
    steps_logged: usize,
    silence: Silence,
    watch: Watch,
    incidents_logged: usize,
    /// When a back-off is over.
    resume_at: Option<tokio::time::Instant>,
    state: RunState,
    live: Live,
}

impl Course {
    fn new(builder: Builder, plan: &Arc<Plan>, search: Option<Search>, signals: &mut Signals) -> Course {
        Course {
            builder,
            shift: Shift::default(),
            monitor: Monitor::new(),
            steps_logged: 0,
            silence: Silence::default(),
            watch: signals.rails.watch(),
            incidents_logged: 0,
            resume_at: None,
            state: RunState::Finished,
            search,
            live: std::mem::replace(&mut signals.live, Live::closed()),
            plan: plan.clone(),
        }
    }

    fn second(&mut self, mut second: Second, run: &Run, log: &mut Log, view: &mut View) {
        second.host = self.monitor.sample();
        self.shift.apply(&mut second);
        let written = log.directory.append(&second);
        log.note(written, view);
        self.builder.add(&second);
        for incident in &self.builder.incidents()[self.incidents_logged..] {
            log.event(&serde_json::json!({"event": "incident", "incident": incident}), view);
            view.say(&incident.describe());
        }
        self.incidents_logged = self.builder.incidents().len();
        if let Some(action) = self.watch.second(&second) {
            self.act(action, run, log, view);
        }
        match &mut self.search {
            Some(search) => {
                follow(search, &self.plan, &second, run);
                for step in &search.steps()[self.steps_logged..] {
                    log.event(&serde_json::json!({"event": "step", "second": second.second, "step": step}), view);
                }
                self.steps_logged = search.steps().len();
                if search.progress().phase == Phase::Finished {
                    self.live.stopped();
                }
            }
            None => {
                self.watch(&second, run);
                self.judge(&second, run);
            }
        }
        if self.state != RunState::Finished {
            self.live.stopped();
        }
        self.live.second(&second, self.search.as_ref(), &self.builder);
        view.second(&second, &self.plan, self.search.as_ref(), &self.builder);
    }

    /// Takes over what was measured before, and the gap.
    fn go_on(&mut self, mut before: Before, log: &mut Log, view: &View) -> Result<(), Failure> {
        let gap = before.gap(Environment::now().started);
        for second in before.seconds()?.chain([gap.clone()]) {
            let written = log.directory.append(&second);
            log.note(written, view);
            self.builder.add(&second);
        }
        for scrape in before.scrapes() {
            let written = log.directory.scraped(&scrape);
            log.note(written, view);
            self.builder.scrape(scrape);
        }
        self.shift = Shift::after(&gap);
        let line = serde_json::json!({"event": "resumed", "second": gap.second, "gap_s": gap.window.seconds()});
        log.event(&line, view);
        view.say(&format!("going on after {} s and a gap of {:.0} s", gap.second, gap.window.seconds()));
        Ok(())
    }

    /// A VU has something to tell.
    fn event(&mut self, event: &serde_json::Value, run: &Run, log: &mut Log, view: &mut View) {
        view.event(event);
        self.live.event(event);
        log.event(event, view);
        if event["event"] == "publish"
            && let Some(action) = self.watch.published()
        {
            self.act(action, run, log, view);
        }
    }

    /// A safety rail holds the run back, or ends it.
    fn act(&mut self, action: Action, run: &Run, log: &mut Log, view: &mut View) {
        match action {
            Action::BackOff(wait) if self.search.is_none() => {
                if self.resume_at.is_none() && self.state == RunState::Finished {
                    view.warn(&format!("the server answers 429: no requests for {} s", wait.as_secs()));
                    self.resume_at = Some(tokio::time::Instant::now() + wait);
                    self.asked(Asked { asks: vec![Ask::Pause], from: Origin::Rail, reply: None }, run, log, view);
                }
            }
            // A pause would spoil a stage, and the server has said how much is too much.
            Action::BackOff(_) => {
                self.abort("the server answers 429 (too many requests)".to_owned(), Cause::Server, run);
            }
            Action::Stop(reason) => self.abort(reason, Cause::Server, run),
            Action::Capped(reason) => self.abort(reason, Cause::Cap, run),
        }
    }

    fn abort(&mut self, reason: String, cause: Cause, run: &Run) {
        if self.state == RunState::Finished {
            self.state = RunState::Aborted { reason, cause };
            run.order(Order::Stop);
        }
    }

    /// A worker panicked: half a load is none. What was measured until then is the result.
    fn fell(&mut self, worker: usize, run: &Run) {
        self.joined(Err(RunFault::Worker(worker)));
        run.order(Order::Stop);
    }

    /// Whatever else ended it, a fault of ours says more.
    fn joined(&mut self, ended: Result<(), RunFault>) {
        if let Err(fault) = ended {
            self.state = RunState::Aborted { reason: fault.to_string(), cause: Cause::Fault };
        }
    }

    /// A back-off is over.
    fn resume(&mut self, run: &Run, log: &mut Log, view: &mut View) {
        self.resume_at = None;
        self.asked(Asked { asks: vec![Ask::Resume], from: Origin::Rail, reply: None }, run, log, view);
    }

    /// Somebody asks for something: in the terminal, or through the REST endpoint.
    fn asked(&mut self, asked: Asked, run: &Run, log: &mut Log, view: &mut View) {
        let at = run.started().elapsed();
        let effect = self.live.take(asked, at, view);
        effect.orders.into_iter().for_each(|order| run.order(order));
        for event in effect.events {
            if event.what == Controlled::Stop && self.state == RunState::Finished {
                self.state = RunState::Stopped;
            }
            let written = log.directory.control(&event);
            log.note(written, view);
            self.builder.control(event);
        }
    }

    /// Something was done to the server.
    fn happened(&mut self, happened: Happened, log: &mut Log, view: &View) {
        match happened {
            Happened::Began(action) => view.say(&action),
            Happened::Done(event) => {
                if let Some(error) = &event.error {
                    view.warn(&format!("{}: {error}", event.action));
                }
                let written = log.directory.rehearsed(&event);
                log.note(written, view);
                self.builder.rehearse(event);
            }
        }
    }

    /// A server told of itself, or did not.
    fn scraped(&mut self, (mut scrape, warning): (Scrape, Option<String>), log: &mut Log, view: &View) {
        warning.iter().for_each(|warning| view.warn(warning));
        scrape.at_s += self.shift.seconds();
        let written = log.directory.scraped(&scrape);
        log.note(written, view);
        self.builder.scrape(scrape);
    }

    /// A load test against a server that is gone ends by itself.
    fn watch(&mut self, second: &Second, run: &Run) {
        self.silence.add(second);
        if self.state == RunState::Finished && self.silence.is_hopeless(GONE_AFTER, self.plan.max_vus()) {
            self.state = self.gone();
            run.order(Order::Stop);
        }
    }

    /// A threshold with `abortOnFail` ends the run.
    fn judge(&mut self, second: &Second, run: &Run) {
        let passed = Duration::from_secs(second.second + 1);
        if self.state != RunState::Finished || !passed.as_secs().is_multiple_of(EVALUATED_EVERY_S) {
            return;
        }
        if let Some(limit) = self.builder.breach(passed) {
            let reason = format!("threshold {} {} failed", limit.metric, limit.expression);
            self.state = RunState::Aborted { reason, cause: Cause::Server };
            run.order(Order::Stop);
        }
    }

    fn gone(&self) -> RunState {
        let reason = format!("no request was completed in the last {} s", self.silence.seconds);
        RunState::Aborted { reason, cause: Cause::Server }
    }

    fn signal(&mut self, count: u32, run: &Run, view: &View) {
        match count {
            1 => {
                view.say("stopping: what was begun is finished; again to cut it off");
                self.state = RunState::Interrupted;
                run.order(Order::Stop);
            }
            2 => {
                view.say("cutting off what is under way");
                run.order(Order::Kill);
            }
            // Nothing is left to cut off; the clean-up has a way out of its own.
            _ => {}
        }
    }

    fn finish(mut self, view: &mut View) -> Summary {
        view.doing("");
        if let Some(search) = &self.search
            && self.state == RunState::Finished
            && let Outcome::Aborted { reason } = search.result().outcome
        {
            self.state = RunState::Aborted { reason, cause: Cause::Server };
        }
        let dead = !self.silence.answered && self.silence.is_hopeless(GONE_AT_END, self.plan.max_vus());
        if self.state == RunState::Finished && self.search.is_none() && dead {
            self.state = self.gone();
        }
        let mut summary = self.builder.finish(self.state);
        summary.search =
            self.search.map(|search| summary::Search { result: search.result(), steps: search.steps().to_vec() });
        summary
    }
}

/// Tells the search what happened, and the engine what the search wants.
fn follow(search: &mut Search, plan: &Plan, second: &Second, run: &Run) {
    let scenario = plan.fetch_scenario().unwrap_or(0);
    match search.observe(&bin(plan, second)) {
        Move::Hold => {}
        Move::SetVus(vus) => run.order(Order::SetVus { scenario, vus, over: Duration::from_secs(1) }),
        Move::SetRate(rate) => {
            run.order(Order::SetRate { scenario, rate, from: tokio::time::Instant::now() + HEARD_WITHIN });
        }
        Move::Finished => run.order(Order::Stop),
    }
}

/// A second as the search wants it: the fetches.
fn bin(plan: &Plan, second: &Second) -> Bin {
    let fetch = plan.fetch_scenario().unwrap_or(0);
    let is_open = plan.scenarios.get(fetch).is_some_and(|scenario| scenario.executor.is_open());
    let (mut completed, mut failed, mut latency, mut under_way) = (0, 0, Latency::default(), 0);
    for (at, series) in plan.series().iter().enumerate() {
        if series.scenario == fetch {
            let measured = &second.window.series[at];
            completed += measured.requests.completed;
            failed += measured.requests.failed;
            under_way += measured.requests.carried_out;
            latency.merge(if is_open { &measured.response_time } else { &measured.duration });
        }
    }
    let scenario = &second.window.scenarios[fetch];
    let dropped = scenario.iterations.dropped.saturating_sub(scenario.dropped_late);
    let open = OpenBin { due: scenario.iterations.scheduled, dropped, under_way };
    Bin {
        t_s: second.window.span_ns.map_or(0.0, |(_, to)| to as f64 / 1e9),
        vus: u32::try_from(scenario.vus).unwrap_or(u32::MAX),
        completed,
        failed,
        latency,
        generator: generator::state(second),
        open: is_open.then_some(open),
    }
}
