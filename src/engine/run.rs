//! A run from outside: starts the workers, passes orders on, puts their windows together second by second.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use super::fall::ThreadFall;
use super::pause::Pauses;
use super::worker::{self, Order, Programs, Report, Task, Timing};
use crate::http::{ClientConfig, Dial, DialFault};
use crate::plan::Plan;
use crate::recorder::{Points, Sampling};
use crate::window::{Alignment, HostSample, Part, Second, Window};

/// Time between the order to start and the start: all workers are up by then.
const LEAD: Duration = Duration::from_millis(100);

/// A run that could not be started or did not end as it should.
#[derive(Debug, thiserror::Error)]
pub enum RunFault {
    /// The system gave no thread.
    #[error("cannot start a worker thread: {0}")]
    Thread(#[source] io::Error),
    /// The connections to be made cannot be described.
    #[error("cannot prepare connections: {}", .0.detail)]
    Dial(DialFault),
    /// A worker ended by a fault of ours.
    #[error("worker {0} ended by a fault of connect-bench itself")]
    Worker(usize),
}

/// What a run delivers while it runs.
#[derive(Debug)]
pub enum Delivery {
    /// One second of all workers.
    Second(Box<Second>),
    /// Something happened.
    Event(serde_json::Value),
    /// Single requests of one worker, where outputs asked for them.
    Points(Points),
    /// A worker panicked: the run has to end.
    Fell(usize),
}

/// A run that is under way.
pub struct Run {
    plan: Arc<Plan>,
    orders: Vec<UnboundedSender<Order>>,
    reports: UnboundedReceiver<Report>,
    threads: Vec<JoinHandle<()>>,
    alignment: Option<Alignment>,
    ready: std::collections::VecDeque<Delivery>,
    start: Instant,
    pauses: Pauses,
    /// When it was told to stop.
    stopped: Cell<Option<Instant>>,
}

/// What a run is started with, beside its plan.
pub struct Parts<F> {
    /// Makes the dialler of each worker.
    pub dial: F,
    /// What the VUs' HTTP clients share.
    pub client: Arc<dyn Fn() -> ClientConfig + Send + Sync>,
    /// Makes the programs of the VUs.
    pub programs: Arc<dyn Programs>,
    /// Whether single requests are kept, and which.
    pub sampling: Option<Sampling>,
}

impl Run {
    /// Starts the workers, each on a thread of its own.
    ///
    /// # Errors
    /// Where the system gives no threads or the target cannot be dialled.
    pub fn start<D, F>(plan: Arc<Plan>, parts: &Parts<F>) -> Result<Run, RunFault>
    where
        D: Dial + Send,
        F: Fn() -> Result<D, DialFault>,
    {
        let start = Instant::now() + LEAD;
        let (reports_in, reports) = unbounded_channel();
        let (mut orders, mut threads) = (Vec::new(), Vec::new());
        let taken = none_taken(&plan);
        for index in 0..plan.workers {
            let (order, order_out) = unbounded_channel();
            orders.push(order);
            let dial = (parts.dial)().map_err(RunFault::Dial)?;
            let (plan, programs, client) = (plan.clone(), parts.programs.clone(), parts.client.clone());
            let (reports, taken, sampling) = (reports_in.clone(), taken.clone(), parts.sampling);
            let body = move || {
                let _fall = ThreadFall { worker: index, reports: reports.clone() };
                let client = client();
                let orders = order_out;
                let timing = Timing::Precise;
                let task =
                    Task { plan, index, dial, client, programs, start, orders, reports, taken, timing, sampling };
                match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
                    Ok(runtime) => runtime.block_on(worker::run(task)),
                    Err(e) => tracing::error!("worker {index}: no runtime: {e}"),
                }
            };
            let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(body);
            threads.push(thread.map_err(RunFault::Thread)?);
        }
        Ok(Run::assemble(plan, orders, reports, threads, start))
    }

    fn assemble(
        plan: Arc<Plan>,
        orders: Vec<UnboundedSender<Order>>,
        reports: UnboundedReceiver<Report>,
        threads: Vec<JoinHandle<()>>,
        start: Instant,
    ) -> Run {
        let alignment = Some(Alignment::new(plan.workers));
        let ready = std::collections::VecDeque::new();
        let (pauses, stopped) = (Pauses::default(), Cell::new(None));
        Run { plan, orders, reports, threads, alignment, ready, start, pauses, stopped }
    }

    /// Starts the workers as tasks of the caller's own local runtime: whole runs in virtual time.
    pub fn start_local<D: Dial>(
        plan: Arc<Plan>,
        dials: Vec<D>,
        client: &dyn Fn() -> ClientConfig,
        programs: &Arc<dyn Programs>,
    ) -> Run {
        let start = Instant::now() + LEAD;
        let (reports_in, reports) = unbounded_channel();
        let mut orders = Vec::new();
        let taken = none_taken(&plan);
        for (index, dial) in dials.into_iter().enumerate() {
            let (order, order_out) = unbounded_channel();
            orders.push(order);
            let (plan, programs, reports) = (plan.clone(), programs.clone(), reports_in.clone());
            let (client, orders, taken, timing) = (client(), order_out, taken.clone(), Timing::Virtual);
            let sampling = None;
            let task = Task { plan, index, dial, client, programs, start, orders, reports, taken, timing, sampling };
            tokio::task::spawn_local(worker::run(task));
        }
        Run::assemble(plan, orders, reports, Vec::new(), start)
    }

    /// The start of the run.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.start
    }

    /// Passes an order on to all workers.
    pub fn order(&self, order: Order) {
        let now = Instant::now();
        match order {
            Order::Pause => self.pauses.begin(now),
            Order::Resume => self.pauses.end(now),
            Order::Stop | Order::Kill => self.stopped.set(self.stopped.get().or(Some(now))),
            Order::SetVus { .. } | Order::SetRate { .. } => {}
        }
        for worker in &self.orders {
            // A worker that is gone needs no orders.
            let _ = worker.send(order);
        }
    }

    /// The next second or event; `None` once all workers have ended and everything was delivered.
    ///
    /// Can be dropped and called again at any time: nothing is lost.
    pub async fn next(&mut self) -> Option<Delivery> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Some(ready);
            }
            let Some(report) = self.reports.recv().await else {
                let left = self.alignment.take()?.finish();
                self.hand_out(left);
                continue;
            };
            match report {
                Report::Event(event) => return Some(Delivery::Event(event)),
                Report::Points(points) => return Some(Delivery::Points(points)),
                Report::Fell(worker) => return Some(Delivery::Fell(worker)),
                Report::Window { second: at, window } => {
                    let Some(alignment) = &mut self.alignment else { continue };
                    let complete = alignment.push(at, *window);
                    self.hand_out(complete);
                }
            }
        }
    }

    fn hand_out(&mut self, windows: Vec<(u64, Window)>) {
        for (second, window) in windows {
            let part = self.part(Duration::from_secs(second));
            let second = Second { second, part, window, host: HostSample::default() };
            self.ready.push_back(Delivery::Second(Box::new(second)));
        }
    }

    /// Which part of the run the second that begins then belongs to.
    fn part(&self, from: Duration) -> Part {
        let to = from + Duration::from_secs(1);
        let stopped = self.stopped.get().map(|at| at.saturating_duration_since(self.start));
        if to > stopped.map_or(self.plan.duration, |stopped| stopped.min(self.plan.duration)) {
            Part::Stopping
        } else if self.pauses.overlap(self.start + from, self.start + to) {
            Part::Paused
        } else if from < self.plan.warm_up {
            Part::WarmUp
        } else {
            Part::Steady
        }
    }

    /// Waits for the threads, which have nothing left to do once [`Run::next`] said `None`.
    ///
    /// # Errors
    /// Where a worker panicked.
    pub fn join(self) -> Result<(), RunFault> {
        drop(self.orders);
        for (index, thread) in self.threads.into_iter().enumerate() {
            if thread.join().is_err() {
                return Err(RunFault::Worker(index));
            }
        }
        Ok(())
    }
}

fn none_taken(plan: &Plan) -> Arc<[AtomicU64]> {
    plan.scenarios.iter().map(|_| AtomicU64::new(0)).collect()
}
