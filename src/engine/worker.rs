//! One worker: a thread's share of the VUs, its recorder, and the windows that leave it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::Instant;

use super::course::{Course, Place};
use super::fall::Fallen;
use super::pause::Pauses;
use super::program::Program;
use super::timer::Timer;
pub use super::timer::Timing;
use super::vu::Shared;
use crate::connection_options::Reuse;
use crate::http::{ClientConfig, Dial, guard::SWEEP};
use crate::plan::Plan;
use crate::recorder::{Points, Recorder, Sampling};
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
    /// So many arrivals per second of a searched rate, over all workers.
    SetRate {
        /// Index of the scenario.
        scenario: usize,
        /// Arrivals per second; 0 is none.
        rate: u32,
        /// When the first of them is due: the same for all workers.
        from: Instant,
    },
    /// No further iterations until [`Order::Resume`]: VUs finish what they have begun and hold, arrivals that fall due are
    /// not scheduled. The run's clock goes on.
    Pause,
    /// The end of a pause.
    Resume,
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
    /// Single requests, where outputs asked for them.
    Points(Points),
    /// This worker panicked: what it did has come to nothing since, and what was under way on it is cut off.
    Fell(usize),
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
    /// Iterations taken of each scenario's, by all workers.
    pub taken: Arc<[AtomicU64]>,
    /// Which timers it may use.
    pub timing: Timing,
    /// Whether single requests are kept, and which.
    pub sampling: Option<Sampling>,
}

/// Runs a worker to its end. To be called in a runtime that can spawn local tasks.
pub async fn run<D: Dial>(task: Task<D>) {
    let Task { plan, index, dial, client, programs, start, mut orders, reports, taken, timing, sampling } = task;
    let recorder = Recorder::new(plan.series().len(), plan.scenarios.len());
    let recorder = RefCell::new(match sampling {
        Some(sampling) => recorder.tapped(sampling),
        None => recorder,
    });
    let shared = Rc::new(Shared {
        dial: Rc::new(dial),
        client: Rc::new(client),
        recorder,
        events: RefCell::default(),
        start,
        reset_cookies: plan.http.reset_cookies,
        disconnects: plan.http.connection.reuse == Reuse::Iteration,
        fallen: Fallen::default(),
    });
    let timer = Timer::new(timing);
    let serving = timer.clone();
    let mut serving = tokio::task::spawn_local(async move { serving.serve().await });
    let place =
        Rc::new(Place { shared, plan, programs, index, taken, timer: timer.clone(), pauses: Pauses::default() });
    let courses = (0..place.plan.scenarios.len()).map(|scenario| Course::begin(&place, scenario)).collect();
    let crew = Crew { place, courses };
    let mut thread = ThreadClock::new(timing);
    let mut tick = start.max(Instant::now()) + SWEEP;
    let mut fell = false;
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::SetVus { scenario, vus, over }) => crew.courses[scenario].order(vus, over),
                Some(Order::SetRate { scenario, rate, from }) => crew.courses[scenario].order_rate(rate, from),
                Some(Order::Pause) => crew.place.pauses.begin(Instant::now()),
                Some(Order::Resume) => crew.resume(),
                Some(Order::Stop) => crew.courses.iter().for_each(|course| course.stop(Instant::now())),
                Some(Order::Kill) | None => crew.courses.iter().for_each(|course| course.kill(Instant::now())),
            },
            () = timer.until(tick) => {
                let now = Instant::now();
                crew.tick(now, tick, &mut thread);
                crew.report(&reports);
                // A late tick is measured as lag, not made up for.
                tick = (tick + SWEEP).max(now);
            }
            // Without it no time passes here.
            _ = &mut serving => crew.place.shared.fallen.set(),
        }
        if crew.place.shared.fallen.get() && !std::mem::replace(&mut fell, true) {
            let _ = reports.send(Report::Fell(index));
            crew.courses.iter().for_each(|course| course.kill(Instant::now()));
        }
        if serving.is_finished() {
            break;
        }
        if crew.courses.iter().all(|course| course.is_over()) {
            break;
        }
    }
    serving.abort();
    crew.finish(&reports, &mut thread);
}

/// A worker's VUs, by scenario.
struct Crew<D: Dial> {
    place: Rc<Place<D>>,
    courses: Vec<Rc<Course<D>>>,
}

impl<D: Dial> Crew<D> {
    /// Lets those go on who hold.
    fn resume(&self) {
        self.place.pauses.end(Instant::now());
        self.courses.iter().for_each(|course| course.wake());
    }

    fn tick(&self, now: Instant, due: Instant, thread: &mut ThreadClock) {
        let shared = &self.place.shared;
        let since_start = now.saturating_duration_since(shared.start);
        let mut recorder = shared.recorder.borrow_mut();
        // What the timer adds by itself is not the event loop's fault.
        recorder.lag(since_start, now.saturating_duration_since(due + self.place.timer.granularity()));
        if let Some((cpu, wall, queued)) = thread.lap(now) {
            recorder.cpu(cpu, wall, queued);
            self.place.timer.set_load(cpu.as_secs_f64() / wall.as_secs_f64());
        }
        drop(recorder);
        self.courses.iter().for_each(|course| course.tick(now));
    }

    /// Hands out the windows that are over.
    fn report(&self, reports: &UnboundedSender<Report>) {
        let shared = &self.place.shared;
        let mut recorder = shared.recorder.borrow_mut();
        let closed = recorder.take_closed();
        // Together with the second's window: a reader that is behind is behind by whole seconds.
        let points = if closed.is_empty() { None } else { recorder.take_points() };
        drop(recorder);
        send(reports, closed, &mut shared.events.borrow_mut());
        give(reports, points);
    }

    fn finish(self, reports: &UnboundedSender<Report>, thread: &mut ThreadClock) {
        let shared = &self.place.shared;
        let now = shared.now();
        let mut recorder = shared.recorder.replace(Recorder::new(0, 0));
        if shared.fallen.get() {
            recorder.abandon(now);
        }
        if let Some((cpu, wall, queued)) = thread.lap(Instant::now()) {
            recorder.cpu(cpu, wall, queued);
        }
        let points = recorder.take_points();
        send(reports, recorder.finish(now), &mut shared.events.borrow_mut());
        give(reports, points);
    }
}

fn give(reports: &UnboundedSender<Report>, points: Option<Points>) {
    if let Some(points) = points {
        let _ = reports.send(Report::Points(points));
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
    timing: Timing,
    cpu: Duration,
    wall: Instant,
    queued: Duration,
}

/// A share of the CPU is worth the name only over some time.
const LAP: Duration = Duration::from_millis(500);

impl ThreadClock {
    fn new(timing: Timing) -> ThreadClock {
        let (cpu, queued) = ThreadClock::read(timing);
        ThreadClock { timing, cpu, wall: Instant::now(), queued }
    }

    /// In virtual time nothing takes any: a run is the same each time.
    fn read(timing: Timing) -> (Duration, Duration) {
        match timing {
            Timing::Precise => (thread_cpu(), thread_queued()),
            Timing::Virtual => (Duration::ZERO, Duration::ZERO),
        }
    }

    fn lap(&mut self, now: Instant) -> Option<(Duration, Duration, Duration)> {
        let wall = now.saturating_duration_since(self.wall);
        if wall < LAP {
            return None;
        }
        let (cpu, queued) = ThreadClock::read(self.timing);
        let lap = (cpu.saturating_sub(self.cpu), wall, queued.saturating_sub(self.queued));
        *self = ThreadClock { timing: self.timing, cpu, wall: now, queued };
        Some(lap)
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
