//! One worker: a thread's share of the VUs, its recorder, and the windows that leave it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::task::spawn_local;
use tokio::time::Instant;

use super::program::Program;
use super::vu::{Handle, Shared, Vu};
use crate::http::{ClientConfig, Dial, guard::SWEEP};
use crate::plan::{Executor, Plan};
use crate::recorder::Recorder;
use crate::schedule::{share, start_offset};
use crate::window::Window;

/// What a worker is told while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// So many VUs in a scenario, over all workers; new ones start spread over the given time.
    SetVus {
        /// Index of the scenario.
        scenario: usize,
        /// VUs over all workers.
        vus: u32,
        /// Time over which new VUs start.
        over: Duration,
    },
    /// No further iterations; VUs finish what they have begun, up to the plan's graceful stop.
    Stop,
    /// Cut off what is under way.
    Kill,
}

/// What a worker reports.
#[derive(Debug)]
pub enum Report {
    /// The window of one second.
    Window {
        /// The second since the start of the run.
        second: u64,
        /// What was measured in it. Boxed: a report crosses a channel.
        window: Box<Window>,
    },
    /// Something happened, for `events.ndjson`.
    Event(serde_json::Value),
}

/// Makes the program of a VU. Called on the worker's thread.
pub trait Programs: Send + Sync + 'static {
    /// The program of VU number `vu` (from 0, over all workers) of a scenario.
    fn program(&self, scenario: usize, vu: u32) -> Box<dyn Program>;
}

/// What a worker needs to run.
pub struct Task<D: Dial> {
    /// The run's plan.
    pub plan: Arc<Plan>,
    /// Which worker of the plan this is.
    pub index: usize,
    /// Opens its connections.
    pub dial: D,
    /// What the VUs' HTTP clients share.
    pub client: ClientConfig,
    /// Makes the programs.
    pub programs: Arc<dyn Programs>,
    /// The start of the run, the same for all workers.
    pub start: Instant,
    /// What it is told.
    pub orders: UnboundedReceiver<Order>,
    /// Where its windows go.
    pub reports: UnboundedSender<Report>,
}

/// Runs a worker to its end. To be called in a runtime that can spawn local tasks.
pub async fn run<D: Dial>(task: Task<D>) {
    let Task { plan, index, dial, client, programs, start, mut orders, reports } = task;
    let recorder = RefCell::new(Recorder::new(plan.series().len(), plan.scenarios.len()));
    let shared = Rc::new(Shared {
        dial: Rc::new(dial),
        client: Rc::new(client),
        recorder,
        events: RefCell::default(),
        start,
        reset_cookies: plan.http.reset_cookies,
    });
    let mut crew = Crew { shared, plan, programs, index, vus: Vec::new(), courses: Vec::new() };
    crew.begin();
    let mut thread = ThreadClock::now();
    let mut tick = start.max(Instant::now()) + SWEEP;
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::SetVus { scenario, vus, over }) => crew.set(scenario, vus, over),
                Some(Order::Stop) => crew.stop(Instant::now()),
                Some(Order::Kill) | None => crew.kill(),
            },
            () = tokio::time::sleep_until(tick) => {
                let now = Instant::now();
                crew.tick(now, tick, &mut thread);
                crew.report(&reports);
                // A late tick is measured as lag, not made up for.
                tick = (tick + SWEEP).max(now);
            }
        }
        if crew.is_over() {
            break;
        }
    }
    crew.finish(&reports, &mut thread);
}

/// A worker's VUs.
struct Crew<D: Dial> {
    shared: Rc<Shared<D>>,
    plan: Arc<Plan>,
    programs: Arc<dyn Programs>,
    index: usize,
    /// Those that run or are still finishing, with their scenario.
    vus: Vec<(usize, Rc<Handle>)>,
    /// By scenario.
    courses: Vec<Course>,
}

/// Where a scenario stands on this worker.
struct Course {
    /// How many VUs were ever started: numbers them.
    started: u32,
    /// When no further iteration begins.
    ends: Instant,
    /// When what is still under way is cut off; `None` until it has ended.
    cut_off: Option<Instant>,
}

impl<D: Dial> Crew<D> {
    fn begin(&mut self) {
        let (plan, start) = (self.plan.clone(), self.shared.start);
        for (scenario, scenario_plan) in plan.scenarios.iter().enumerate() {
            let (start_time, duration, over) = match scenario_plan.executor {
                Executor::ConstantVus { start_time, duration, start_over, .. } => (start_time, duration, start_over),
                Executor::Searched { .. } => (Duration::ZERO, plan.duration, Duration::from_secs(1)),
            };
            self.courses.push(Course { started: 0, ends: start + start_time + duration, cut_off: None });
            self.spread(scenario, self.share(scenario, scenario_plan.executor.start_vus()), start + start_time, over);
        }
    }

    /// This worker's share of so many VUs of a scenario.
    fn share(&self, scenario: usize, total: u32) -> u32 {
        let workers = self.plan.workers;
        // A single VU of a second scenario goes to the last worker, beside the smaller share of the first.
        let worker = if scenario.is_multiple_of(2) { self.index } else { workers - 1 - self.index };
        share(total, worker, workers)
    }

    /// Brings the scenario to this worker's share of `total` VUs.
    fn set(&mut self, scenario: usize, total: u32, over: Duration) {
        if self.courses[scenario].cut_off.is_some() {
            return;
        }
        let target = self.share(scenario, total);
        let active: Vec<Rc<Handle>> = self.active(scenario);
        for handle in active.iter().skip(target as usize) {
            handle.leaving.set(true);
        }
        let missing = target.saturating_sub(u32::try_from(active.len()).unwrap_or(u32::MAX));
        self.spread(scenario, missing, Instant::now().max(self.shared.start), over);
    }

    /// Starts so many VUs, evenly over a time.
    fn spread(&mut self, scenario: usize, count: u32, from: Instant, over: Duration) {
        for at in 0..count {
            self.start_vu(scenario, from + start_offset(at, count, over));
        }
    }

    fn active(&self, scenario: usize) -> Vec<Rc<Handle>> {
        let of_scenario = |(s, handle): &&(usize, Rc<Handle>)| *s == scenario && !handle.leaving.get();
        self.vus.iter().filter(of_scenario).map(|(_, handle)| handle.clone()).collect()
    }

    fn start_vu(&mut self, scenario: usize, from: Instant) {
        let worker = u32::try_from(self.index).unwrap_or(0);
        let workers = u32::try_from(self.plan.workers).unwrap_or(1);
        let course = &mut self.courses[scenario];
        let number = course.started * workers + worker;
        course.started += 1;
        let handle = Rc::new(Handle::default());
        let seed = self.plan.seed ^ (u64::from(number) << 16) ^ scenario as u64;
        let program = self.programs.program(scenario, number);
        let vu = Vu { shared: self.shared.clone(), handle: handle.clone(), program, scenario, seed };
        spawn_local(vu.run(from));
        self.vus.push((scenario, handle));
    }

    fn tick(&mut self, now: Instant, due: Instant, thread: &mut ThreadClock) {
        let since_start = now.saturating_duration_since(self.shared.start);
        let mut recorder = self.shared.recorder.borrow_mut();
        recorder.lag(since_start, now.saturating_duration_since(due));
        if let Some((cpu, wall, queued)) = thread.lap(now) {
            recorder.cpu(cpu, wall, queued);
        }
        drop(recorder);
        self.end_scenarios(now);
        for (_, handle) in &self.vus {
            handle.guard.sweep(now);
        }
        self.vus.retain(|(_, handle)| !handle.gone.get());
    }

    /// Hands out the windows that are over.
    fn report(&self, reports: &UnboundedSender<Report>) {
        send(reports, self.shared.recorder.borrow_mut().take_closed(), &mut self.shared.events.borrow_mut());
    }

    /// Ends the scenarios whose time has come, and cuts off what did not finish in time.
    fn end_scenarios(&mut self, now: Instant) {
        for scenario in 0..self.courses.len() {
            let course = &mut self.courses[scenario];
            if course.cut_off.is_none() && course.ends <= now {
                course.cut_off = Some(now + self.plan.scenarios[scenario].graceful_stop);
                self.tell(scenario, |handle| handle.leaving.set(true));
            }
            if self.courses[scenario].cut_off.is_some_and(|at| at <= now) {
                self.tell(scenario, |handle| handle.guard.stop());
            }
        }
    }

    fn tell(&self, scenario: usize, what: impl Fn(&Handle)) {
        self.vus.iter().filter(|(s, _)| *s == scenario).for_each(|(_, handle)| what(handle));
    }

    /// No further iterations, in no scenario.
    fn stop(&mut self, now: Instant) {
        for course in &mut self.courses {
            course.ends = course.ends.min(now);
        }
        self.end_scenarios(now);
    }

    /// Cuts off what is under way.
    fn kill(&mut self) {
        let now = Instant::now();
        for course in &mut self.courses {
            course.ends = course.ends.min(now);
            course.cut_off = Some(now);
        }
        for (_, handle) in &self.vus {
            handle.leaving.set(true);
            handle.guard.stop();
        }
    }

    fn is_over(&self) -> bool {
        self.courses.iter().all(|course| course.cut_off.is_some())
            && self.vus.iter().all(|(_, handle)| handle.gone.get())
    }

    fn finish(self, reports: &UnboundedSender<Report>, thread: &mut ThreadClock) {
        let now = self.shared.now();
        let mut recorder = self.shared.recorder.replace(Recorder::new(0, 0));
        if let Some((cpu, wall, queued)) = thread.lap(Instant::now()) {
            recorder.cpu(cpu, wall, queued);
        }
        send(reports, recorder.finish(now), &mut self.shared.events.borrow_mut());
    }
}

/// Nobody listening any more is no fault: the run is being abandoned.
fn send(reports: &UnboundedSender<Report>, windows: Vec<(u64, Window)>, events: &mut Vec<serde_json::Value>) {
    for event in events.drain(..) {
        let _ = reports.send(Report::Event(event));
    }
    for (second, window) in windows {
        let _ = reports.send(Report::Window { second, window: Box::new(window) });
    }
}

/// CPU, wall and run-queue time of this thread, lap by lap.
struct ThreadClock {
    cpu: Duration,
    wall: Instant,
    queued: Duration,
}

/// A share of the CPU is worth the name only over some time.
const LAP: Duration = Duration::from_millis(500);

impl ThreadClock {
    fn now() -> ThreadClock {
        ThreadClock { cpu: thread_cpu(), wall: Instant::now(), queued: thread_queued() }
    }

    fn lap(&mut self, now: Instant) -> Option<(Duration, Duration, Duration)> {
        let wall = now.saturating_duration_since(self.wall);
        if wall < LAP {
            return None;
        }
        let next = ThreadClock { cpu: thread_cpu(), wall: now, queued: thread_queued() };
        let used = next.cpu.saturating_sub(self.cpu);
        let queued = next.queued.saturating_sub(self.queued);
        *self = next;
        Some((used, wall, queued))
    }
}

fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Time in which this thread was ready to run and others ran on its core; zero where the system does not say.
fn thread_queued() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = stat.split_ascii_whitespace().nth(1).and_then(|field| field.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}
