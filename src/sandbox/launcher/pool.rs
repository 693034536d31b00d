//! Which process takes a request, and when processes start and stop: what the runtime settings decide. Pure; it knows
//! neither a process nor a clock, time comes in as an argument and what is to be done goes out as a list.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::settings::Runtime;

/// Requests that wait when all processes are full, as a multiple of those that the processes take at once; more are
/// refused. While processes start, as many more wait as they will take.
pub(super) const QUEUE_PER_SLOT: usize = 4;
/// After a failed start the next one waits, twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// A request that waits or is served.
pub(super) type Ticket = u64;
/// One process of the pool.
pub(super) type Id = u64;

/// Why a request is not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// All processes are full, and so is the queue.
    Full,
    /// No process could be started: why.
    Start(String),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Start a process with that many slots.
    Start(Id, usize),
    /// Have the process serve the request.
    Serve(Ticket, Id),
    /// Tell the client.
    Refuse(Ticket, Refusal),
    /// Stop a process that has no request.
    Stop(Id),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Starting,
    Ready,
    /// Takes no more requests; stops when it has none.
    Leaving,
}

#[derive(Debug)]
struct Worker {
    id: Id,
    phase: Phase,
    active: usize,
    slots: usize,
    idle_since: Instant,
}

/// The processes of one bundle on one node.
#[derive(Debug)]
pub(super) struct Pool {
    workers: Vec<Worker>,
    waiting: VecDeque<Ticket>,
    next_id: Id,
    retired: bool,
    failures: u32,
    /// No start before this, after one failed; and why it did.
    pause: Option<(Instant, String)>,
}

impl Pool {
    /// Without a process.
    pub(super) fn new() -> Self {
        Self { workers: Vec::new(), waiting: VecDeque::new(), next_id: 1, retired: false, failures: 0, pause: None }
    }

    /// A request came.
    pub(super) fn arrive(&mut self, now: Instant, ticket: Ticket, runtime: &Runtime) -> Vec<Action> {
        if let Some((until, why)) = &self.pause
            && now < *until
            && self.usable() == 0
        {
            return vec![Action::Refuse(ticket, Refusal::Start(why.clone()))];
        }
        let mut actions = self.replace_stale(now, runtime);
        self.waiting.push_back(ticket);
        self.serve(&mut actions);
        if self.waiting.len() + self.active() > runtime.slots().saturating_mul(1 + QUEUE_PER_SLOT)
            && let Some(last) = self.waiting.pop_back()
        {
            actions.push(Action::Refuse(last, Refusal::Full));
        }
        self.grow(now, runtime, &mut actions);
        actions
    }

    /// A request that waited does no longer.
    pub(super) fn leave(&mut self, ticket: Ticket) {
        self.waiting.retain(|waiting| *waiting != ticket);
    }

    /// A process accepts connections.
    pub(super) fn ready(&mut self, now: Instant, id: Id) -> Vec<Action> {
        let mut actions = Vec::new();
        if let Some(worker) = self.workers.iter_mut().find(|worker| worker.id == id) {
            worker.idle_since = now;
            if worker.phase == Phase::Starting {
                worker.phase = Phase::Ready;
                self.failures = 0;
                self.pause = None;
            }
        }
        self.serve(&mut actions);
        self.stop_left(&mut actions);
        actions
    }

    /// A process has served a request.
    pub(super) fn done(&mut self, now: Instant, id: Id, runtime: &Runtime) -> Vec<Action> {
        let mut actions = Vec::new();
        if let Some(worker) = self.workers.iter_mut().find(|worker| worker.id == id) {
            worker.active = worker.active.saturating_sub(1);
            worker.idle_since = now;
        }
        self.serve(&mut actions);
        self.stop_idle(now, runtime, &mut actions);
        actions
    }

    /// A process ended, `why` when it had not yet accepted connections.
    pub(super) fn gone(&mut self, now: Instant, id: Id, why: Option<String>, runtime: &Runtime) -> Vec<Action> {
        let mut actions = Vec::new();
        let Some(at) = self.workers.iter().position(|worker| worker.id == id) else { return actions };
        let worker = self.workers.swap_remove(at);
        if worker.phase == Phase::Starting {
            let why = why.unwrap_or_else(|| "the process ended before it accepted connections".to_owned());
            self.failures += 1;
            let pause = FIRST_PAUSE.saturating_mul(1 << (self.failures - 1).min(16)).min(LONGEST_PAUSE);
            self.pause = Some((now + pause, why.clone()));
            if self.usable() == 0 {
                let refuse = |ticket| Action::Refuse(ticket, Refusal::Start(why.clone()));
                actions.extend(self.waiting.drain(..).map(refuse));
            }
        } else {
            self.grow(now, runtime, &mut actions);
        }
        actions
    }

    /// Time passes: idle processes stop, those that are to be kept start.
    pub(super) fn tick(&mut self, now: Instant, runtime: &Runtime) -> Vec<Action> {
        let mut actions = self.replace_stale(now, runtime);
        self.stop_idle(now, runtime, &mut actions);
        self.grow(now, runtime, &mut actions);
        let paused = self.pause.as_ref().is_some_and(|(until, _)| now < *until);
        while !self.retired && !paused && self.usable() < runtime.min {
            self.start(now, runtime, &mut actions);
        }
        actions
    }

    /// Another bundle takes its place: what was begun is finished, then every process stops.
    pub(super) fn retire(&mut self) -> Vec<Action> {
        self.retired = true;
        let mut actions = Vec::new();
        if self.waiting.is_empty() {
            self.let_go(|_| true, &mut actions);
        }
        actions
    }

    /// Whether there is nothing left of a retired pool.
    pub(super) fn is_over(&self) -> bool {
        self.retired && self.workers.is_empty() && self.waiting.is_empty()
    }

    /// Whether it has neither a process nor a request.
    pub(super) fn is_empty(&self) -> bool {
        self.workers.is_empty() && self.waiting.is_empty()
    }

    /// Processes that there are, requests that are served, requests that wait.
    pub(super) fn figures(&self) -> (usize, usize, usize) {
        (self.workers.len(), self.workers.iter().map(|worker| worker.active).sum(), self.waiting.len())
    }

    fn usable(&self) -> usize {
        self.workers.iter().filter(|worker| worker.phase != Phase::Leaving).count()
    }

    /// Gives the requests that wait to those processes that have room, the least busy first.
    fn serve(&mut self, actions: &mut Vec<Action>) {
        while let Some(&ticket) = self.waiting.front() {
            let free = |worker: &&mut Worker| worker.phase == Phase::Ready && worker.active < worker.slots;
            let Some(worker) = self.workers.iter_mut().filter(free).min_by_key(|worker| worker.active) else { return };
            worker.active += 1;
            self.waiting.pop_front();
            actions.push(Action::Serve(ticket, worker.id));
        }
    }

    /// Starts one more process, when the load asks for it and the limit allows it.
    fn grow(&mut self, now: Instant, runtime: &Runtime, actions: &mut Vec<Action>) {
        let paused = self.pause.as_ref().is_some_and(|(until, _)| now < *until);
        let (usable, load) = (self.usable(), self.waiting.len() + self.active());
        if usable >= runtime.max || load == 0 || paused {
            return;
        }
        let slots: usize = self.workers.iter().filter(|w| w.phase != Phase::Leaving).map(|w| w.slots).sum();
        // Leaving processes keep what they have, which is no load on the others.
        if usable == 0 && !self.waiting.is_empty() || usable > 0 && load as f64 > runtime.load_factor * slots as f64 {
            self.start(now, runtime, actions);
        }
    }

    fn active(&self) -> usize {
        self.workers.iter().filter(|worker| worker.phase != Phase::Leaving).map(|worker| worker.active).sum()
    }

    fn start(&mut self, now: Instant, runtime: &Runtime, actions: &mut Vec<Action>) {
        let (id, slots) = (self.next_id, runtime.conns);
        self.next_id += 1;
        self.workers.push(Worker { id, phase: Phase::Starting, active: 0, slots, idle_since: now });
        actions.push(Action::Start(id, slots));
    }

    /// A process has as many slots as when it started; where that is no longer what is set, another takes its place.
    fn replace_stale(&mut self, now: Instant, runtime: &Runtime) -> Vec<Action> {
        let mut actions = Vec::new();
        let stale = |worker: &Worker| worker.slots != runtime.conns && worker.phase == Phase::Ready;
        if self.workers.iter().any(stale) {
            self.let_go(stale, &mut actions);
            self.grow(now, runtime, &mut actions);
        }
        actions
    }

    fn stop_idle(&mut self, now: Instant, runtime: &Runtime, actions: &mut Vec<Action>) {
        if self.retired {
            if self.waiting.is_empty() {
                self.let_go(|_| true, actions);
            }
            return;
        }
        self.stop_left(actions);
        // From the longest idle one on, down to those that are to be kept.
        let mut ids: Vec<(Instant, Id)> = self
            .workers
            .iter()
            .filter(|worker| worker.phase == Phase::Ready && worker.active == 0)
            .map(|worker| (worker.idle_since, worker.id))
            .collect();
        ids.sort_unstable();
        for (idle_since, id) in ids {
            let over = self.usable() > runtime.max;
            let idle = self.usable() > runtime.min && now.saturating_duration_since(idle_since) >= runtime.idle;
            if over || idle {
                self.let_go(|worker| worker.id == id, actions);
            }
        }
    }

    /// These take no more requests, and stop when they have none.
    fn let_go(&mut self, which: impl Fn(&Worker) -> bool, actions: &mut Vec<Action>) {
        for worker in self.workers.iter_mut().filter(|worker| which(worker)) {
            worker.phase = Phase::Leaving;
        }
        self.stop_left(actions);
    }

    fn stop_left(&mut self, actions: &mut Vec<Action>) {
        self.workers.retain(|worker| {
            let stops = worker.phase == Phase::Leaving && worker.active == 0;
            if stops {
                actions.push(Action::Stop(worker.id));
            }
            !stops
        });
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
