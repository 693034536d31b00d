//! One VU: drives a program, exchange by exchange, until it is told to stop. Knows no program.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::Instant;

use super::course::Course;
use super::fall::Fallen;
use super::program::{Action, Exchange, Notes, Outcome, Program};
use super::socket::Session;
use crate::http::{Cancel, Client, ClientConfig, Dial, Exchanged, Guard};
use crate::outcome::{Ended, ErrorKind};
use crate::recorder::{NodeId, Recorder, Sample};
use crate::schedule::back_off;

/// What all VUs of a worker share. Lives on one thread.
pub(super) struct Shared<D: Dial> {
    pub(super) dial: Rc<D>,
    pub(super) client: Rc<ClientConfig>,
    pub(super) recorder: RefCell<Recorder>,
    pub(super) events: RefCell<Vec<serde_json::Value>>,
    /// The start of the run: all times are since then.
    pub(super) start: Instant,
    pub(super) reset_cookies: bool,
    /// A connection is for one iteration.
    pub(super) disconnects: bool,
    pub(super) fallen: Fallen,
}

impl<D: Dial> Shared<D> {
    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

/// How a VU is told what to do.
#[derive(Debug, Default)]
pub(super) struct Handle {
    /// The hard stop, and the deadlines of its waits.
    pub(super) guard: Guard,
    /// No further iteration.
    pub(super) leaving: Cell<bool>,
    /// When its iteration is cut off although the scenario goes on: the end of its graceful ramp-down.
    pub(super) cut_off: Cell<Option<Instant>>,
    /// Open model: an iteration that it has to begin, and when that was due.
    pub(super) arrival: Cell<Option<Instant>>,
    /// Iterations begun, where they are counted per VU.
    pub(super) begun: Cell<u64>,
    pub(super) gone: Cell<bool>,
}

impl Handle {
    /// Waits for `future`, but not beyond the hard stop, nor once it is to leave.
    async fn unless_leaving<F: Future>(&self, future: F) {
        let mut future = pin!(future);
        let either =
            poll_fn(|cx| if self.leaving.get() { Poll::Ready(()) } else { future.as_mut().poll(cx).map(|_| ()) });
        // The hard stop is noticed by whoever asks next.
        let _ = self.guard.wait(None, either).await;
    }
}

/// One VU and what it needs.
pub(super) struct Vu<D: Dial> {
    pub(super) course: Rc<Course<D>>,
    pub(super) handle: Rc<Handle>,
    pub(super) program: Box<dyn Program>,
    pub(super) seed: u64,
    /// Its number in its scenario, over all workers.
    pub(super) number: u32,
}

impl<D: Dial> Vu<D> {
    /// Runs from `from` on: iterations until it is told to leave, or cut off.
    pub(super) async fn run(mut self, from: Instant) {
        let shared = self.shared();
        let _fall = shared.fallen.by_vu(&self.handle);
        if from > Instant::now() {
            self.handle.unless_leaving(self.course.place.timer.until(from)).await;
        }
        let client = Client::new(shared.dial.clone(), shared.client.clone()).for_vu(self.number);
        let mut client = client.with_small_bodies(self.program.is_plain());
        let random = SmallRng::seed_from_u64(self.seed);
        let at = Instant::now();
        let now = at.saturating_duration_since(shared.start);
        let mut driver =
            Driver { failures: 0, random, notes: Notes::default(), due: None, session: None, node: None, at, now };
        if self.course.executor().is_open() {
            while let Some(due) = self.arrival().await {
                driver.due = Some(due.saturating_duration_since(shared.start));
                driver.read_clock(&shared);
                shared.recorder.borrow_mut().vu_started(driver.now, self.course.scenario);
                self.turn(&mut client, &mut driver).await;
                shared.recorder.borrow_mut().vu_stopped(driver.now, self.course.scenario);
            }
        } else if self.goes_on(driver.at) {
            shared.recorder.borrow_mut().vu_started(driver.now, self.course.scenario);
            while self.goes_on(driver.at) {
                if self.course.place.pauses.is_on() {
                    // Boxed: no VU is larger for what hardly ever happens.
                    Box::pin(self.hold(&mut driver)).await;
                } else if self.course.claim(&self.handle) {
                    self.turn(&mut client, &mut driver).await;
                } else {
                    break;
                }
            }
            shared.recorder.borrow_mut().vu_stopped(shared.now(), self.course.scenario);
        }
        self.course.left_by(&self.handle);
        self.handle.gone.set(true);
    }

    pub(super) fn shared(&self) -> Rc<Shared<D>> {
        self.course.place.shared.clone()
    }

    /// Whether the time for another iteration has not run out.
    fn goes_on(&self, now: Instant) -> bool {
        !self.handle.leaving.get() && !self.handle.guard.is_stopped() && now < self.course.ends()
    }

    /// Waits, on purpose, for the end of a pause of the run.
    async fn hold(&self, driver: &mut Driver) {
        let (shared, scenario) = (self.shared(), self.course.scenario);
        let pauses = &self.course.place.pauses;
        shared.recorder.borrow_mut().pause_started(shared.now(), scenario);
        let over = poll_fn(|_cx| if pauses.is_on() { Poll::Pending } else { Poll::Ready(()) });
        self.handle.unless_leaving(over).await;
        let now = driver.read_clock(&shared);
        shared.recorder.borrow_mut().pause_ended(now, scenario);
    }

    /// Waits, idle, for the next arrival: when it was due. `None` when there will be no more.
    async fn arrival(&self) -> Option<Instant> {
        let handle = &self.handle;
        if let Some(due) = handle.arrival.take() {
            return Some(due);
        }
        if handle.leaving.get() {
            return None;
        }
        self.course.idle.borrow_mut().push(handle.clone());
        let next = poll_fn(|_cx| match handle.arrival.take() {
            None if !handle.leaving.get() => Poll::Pending,
            arrival => Poll::Ready(arrival),
        });
        match handle.guard.wait(None, next).await {
            Ok(arrival) => arrival,
            Err(_stopped) => {
                // Released, and cut off before it began.
                self.course.dropped(u64::from(handle.arrival.take().is_some()), true);
                None
            }
        }
    }

    /// One iteration, from its beginning to when the next one may begin.
    async fn turn(&mut self, client: &mut Client<D>, driver: &mut Driver) {
        let (shared, scenario) = (self.shared(), self.course.scenario);
        if shared.reset_cookies {
            client.reset_cookies();
        }
        let (began, due) = (driver.now, driver.due);
        {
            let mut recorder = shared.recorder.borrow_mut();
            recorder.iteration_started(began, scenario);
            if let Some(due) = due {
                recorder.arrival_lateness(began, scenario, began.saturating_sub(due));
            }
        }
        let ended = self.iteration(client, driver).await;
        self.abandon(client, driver);
        if shared.disconnects {
            client.disconnect();
        }
        let now = driver.read_clock(&shared);
        {
            let mut recorder = shared.recorder.borrow_mut();
            recorder.iteration_ended(now, scenario, ended, now - began);
            if let Some(due) = due.filter(|_| ended == Ended::Completed) {
                recorder.iteration_response(now, scenario, now.saturating_sub(due));
            }
        }
        let rest = (began + self.course.plan().pacing).saturating_sub(now);
        if !rest.is_zero() && self.goes_on(driver.at) {
            let until = (driver.at + rest).min(self.course.ends());
            shared.recorder.borrow_mut().pause_started(now, scenario);
            self.handle.unless_leaving(self.course.place.timer.until(until)).await;
            let now = driver.read_clock(&shared);
            shared.recorder.borrow_mut().pause_ended(now, scenario);
        }
    }

    async fn iteration(&mut self, client: &mut Client<D>, driver: &mut Driver) -> Ended {
        let mut action = self.program.next(driver.now, None, &mut driver.notes);
        loop {
            self.publish_notes(&mut driver.notes);
            let next = match action {
                Action::Exchange(exchange) => self.exchange(&exchange, client, driver).await,
                Action::Wait(pause) => {
                    self.pause(pause, driver).await.map(|()| self.program.next(driver.now, None, &mut driver.notes))
                }
                Action::Socket(ask) => Box::pin(self.socket(ask, client, driver)).await,
                Action::End(true) => return Ended::Completed,
                // The requests have counted their own failures; an iteration needs no kind.
                Action::End(false) => return Ended::Failed(ErrorKind::Body),
            };
            match next {
                Some(next) => action = next,
                None => {
                    self.program.interrupted(self.shared().now(), &mut driver.notes);
                    self.publish_notes(&mut driver.notes);
                    return Ended::Interrupted;
                }
            }
        }
    }

    async fn exchange(
        &mut self,
        exchange: &Rc<Exchange>,
        client: &mut Client<D>,
        driver: &mut Driver,
    ) -> Option<Action> {
        let series = usize::from(exchange.series.0);
        self.course.place.shared.recorder.borrow_mut().request_started(driver.now, series);
        // What only looks at how a request ended has taken no time since.
        let started = if self.program.is_plain() { driver.at } else { Instant::now() };
        let done = client.exchange_from(started, exchange, &self.handle.guard).await;
        // Handed on whole: what is kept over a wait makes every VU larger, and this wait is rare.
        match self.counted(done, exchange, client, driver) {
            Ok(action) => action,
            Err(done) => {
                Box::pin(self.connected(!unconnected(&done), driver)).await?;
                let times = self.course.place.shared.times(&done);
                Some(self.judged(times, exchange, &done, (client, driver)))
            }
        }
    }

    /// Counts an exchange. What the program wants next, `None` after the hard stop; the exchange itself where connections
    /// fail, or did before it.
    fn counted(
        &mut self,
        done: Exchanged,
        exchange: &Exchange,
        client: &Client<D>,
        driver: &mut Driver,
    ) -> Result<Option<Action>, Box<Exchanged>> {
        let (shared, series) = (&self.course.place.shared, usize::from(exchange.series.0));
        let (began, ended) = if done.span.0 == driver.at {
            (driver.now, done.span.1.saturating_duration_since(shared.start))
        } else {
            shared.times(&done)
        };
        (driver.at, driver.now) = (done.span.1, ended);
        driver.node = shared.record((began, ended), series, &done, (client.affinity(), driver.node));
        // Only the iteration is scheduled: of its requests the first one has a response time.
        if let Some(due) = driver.due.take().filter(|_| done.ended == Ended::Completed) {
            shared.recorder.borrow_mut().request_response(ended, series, ended.saturating_sub(due));
        }
        if done.ended == Ended::Interrupted {
            return Ok(None);
        }
        if unconnected(&done) || driver.failures > 0 {
            return Err(Box::new(done));
        }
        Ok(Some(self.judged((began, ended), exchange, &done, (client, driver))))
    }

    /// What the program wants after an exchange.
    fn judged(
        &mut self,
        (started, finished): (Duration, Duration),
        exchange: &Exchange,
        done: &Exchanged,
        (client, driver): (&Client<D>, &mut Driver),
    ) -> Action {
        let kept = client.body();
        let outcome = Outcome {
            ended: done.ended,
            status: done.status,
            headers: done.headers.as_ref(),
            body: &kept[..kept.len().min(exchange.keep_body)],
            phases: done.phases,
            started,
            finished,
        };
        self.program.next(driver.now, Some(outcome), &mut driver.notes)
    }

    /// After a try that found no connection a VU waits before the next one. `None` when the hard stop came first.
    pub(super) async fn connected(&mut self, connected: bool, driver: &mut Driver) -> Option<()> {
        driver.failures = if connected { 0 } else { driver.failures + 1 };
        if driver.failures == 0 {
            return Some(());
        }
        let pause = back_off(driver.failures, driver.random.random());
        self.pause(pause, driver).await
    }

    /// Waits on purpose; `None` when the hard stop came first.
    async fn pause(&mut self, pause: Duration, driver: &mut Driver) -> Option<()> {
        let (shared, scenario) = (self.shared(), self.course.scenario);
        shared.recorder.borrow_mut().pause_started(shared.now(), scenario);
        let waited = self.handle.guard.wait(None, self.course.place.timer.pause(pause)).await;
        let now = driver.read_clock(&shared);
        shared.recorder.borrow_mut().pause_ended(now, scenario);
        match waited {
            Ok(()) | Err(Cancel::Timeout) => Some(()),
            Err(Cancel::Stop) => None,
        }
    }

    fn publish_notes(&self, notes: &mut Notes) {
        if !notes.is_empty() {
            self.publish(notes);
        }
    }

    fn publish(&self, notes: &mut Notes) {
        if !notes.trends.is_empty() {
            let shared = self.shared();
            let now = shared.now();
            let mut recorder = shared.recorder.borrow_mut();
            for (name, value) in notes.trends.drain(..) {
                recorder.trend(now, name, value);
            }
        }
        if !notes.checks.is_empty() {
            let shared = self.shared();
            let now = shared.now();
            let mut recorder = shared.recorder.borrow_mut();
            for (name, passed) in notes.checks.drain(..) {
                recorder.check(now, &name, passed);
            }
        }
        if !notes.published.is_empty() {
            let shared = self.shared();
            let now = shared.now();
            let mut recorder = shared.recorder.borrow_mut();
            notes.published.drain(..).for_each(|ok| recorder.published(now, self.course.scenario, ok));
        }
        if !notes.expected.is_empty() {
            let shared = self.shared();
            let now = shared.now();
            let mut recorder = shared.recorder.borrow_mut();
            for (series, after) in notes.expected.drain(..) {
                recorder.session_expected(now, usize::from(series.0), after);
            }
        }
        if !notes.events.is_empty() {
            self.shared().events.borrow_mut().append(&mut notes.events);
        }
    }
}

/// What a VU keeps between iterations, beside its program and its connection.
pub(super) struct Driver {
    /// Connections in a row that could not be opened.
    failures: u32,
    random: SmallRng,
    pub(super) notes: Notes,
    /// Open model: when the iteration was due, until its first request is over.
    pub(super) due: Option<Duration>,
    /// The WebSocket session that is open.
    pub(super) session: Option<Box<Session>>,
    /// The node that answered last.
    node: Option<NodeId>,
    /// When the clock was last read: good until the next wait. A request has five moments that are worth a reading.
    pub(super) at: Instant,
    /// The same, since the start of the run.
    pub(super) now: Duration,
}

impl Driver {
    pub(super) fn read_clock<D: Dial>(&mut self, shared: &Shared<D>) -> Duration {
        self.at = Instant::now();
        self.now = self.at.saturating_duration_since(shared.start);
        self.now
    }
}

/// Whether a request failed before it had a connection; then the VU waits before it tries again.
fn unconnected(done: &Exchanged) -> bool {
    match done.ended {
        Ended::Failed(kind) => !done.sent && !matches!(kind, ErrorKind::Status(_) | ErrorKind::Body),
        _ => false,
    }
}

impl<D: Dial> Shared<D> {
    /// When an exchange began and was over, since the start of the run.
    fn times(&self, done: &Exchanged) -> (Duration, Duration) {
        let since = |at: Instant| at.saturating_duration_since(self.start);
        (since(done.span.0), since(done.span.1))
    }

    /// Returns the node that the VU is on now: that of this response, or else the last that one named.
    fn record(
        &self,
        (began, ended): (Duration, Duration),
        series: usize,
        done: &Exchanged,
        (affinity, last): (Option<&str>, Option<NodeId>),
    ) -> Option<NodeId> {
        let mut recorder = self.recorder.borrow_mut();
        let node = affinity.map(|label| recorder.node(label));
        let sample = Sample {
            ended: done.ended,
            status: done.status,
            phases: done.phases,
            elapsed: ended.saturating_sub(began),
            sent: done.sent,
            retried: done.retried,
            connections: done.connections,
            resumed: done.resumed,
            http2: done.http2,
            bytes: done.bytes,
            delay: done.delay,
            unstamped: done.unstamped,
            node,
            left: last.filter(|_| node.is_some() && node != last),
        };
        recorder.request_ended(ended, series, &sample);
        node.or(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::dial::NetDial;

    /// The size of what a function returns, without calling it.
    fn size<T, U, F>(_function: fn(T, U) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_vu_is_small() {
        let bytes = size(Vu::<NetDial>::run);
        // Ten thousand of them in 100 MB, each with a socket: what is rare goes on the heap.
        assert!(bytes <= 2300, "{bytes} bytes");
    }
}
