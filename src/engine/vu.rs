//! One VU: drives a program, exchange by exchange, until it is told to stop. Knows no program.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::Instant;

use super::program::{Action, Exchange, Notes, Outcome, Program};
use crate::http::{Cancel, Client, ClientConfig, Dial, Exchanged, Guard};
use crate::outcome::{Ended, ErrorKind};
use crate::recorder::{Recorder, Sample};
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
    pub(super) gone: Cell<bool>,
}

/// One VU and what it needs.
pub(super) struct Vu<D: Dial> {
    pub(super) shared: Rc<Shared<D>>,
    pub(super) handle: Rc<Handle>,
    pub(super) program: Box<dyn Program>,
    pub(super) scenario: usize,
    pub(super) seed: u64,
}

impl<D: Dial> Vu<D> {
    /// Runs from `from` on: iterations until it is told to leave, or cut off.
    pub(super) async fn run(mut self, from: Instant) {
        let waited = self.handle.guard.wait(None, tokio::time::sleep_until(from)).await;
        if waited.is_ok() && !self.handle.leaving.get() {
            let shared = self.shared.clone();
            shared.recorder.borrow_mut().vu_started(shared.now(), self.scenario);
            self.iterate().await;
            shared.recorder.borrow_mut().vu_stopped(shared.now(), self.scenario);
        }
        self.handle.gone.set(true);
    }

    async fn iterate(&mut self) {
        let mut client = Client::new(self.shared.dial.clone(), self.shared.client.clone());
        let mut driver = Driver { failures: 0, random: SmallRng::seed_from_u64(self.seed), notes: Notes::default() };
        while !self.handle.leaving.get() && !self.handle.guard.is_stopped() {
            if self.shared.reset_cookies {
                client.reset_cookies();
            }
            let began = self.shared.now();
            self.shared.recorder.borrow_mut().iteration_started(began, self.scenario);
            let ended = self.iteration(&mut client, &mut driver).await;
            let now = self.shared.now();
            self.shared.recorder.borrow_mut().iteration_ended(now, self.scenario, ended, now - began);
        }
    }

    async fn iteration(&mut self, client: &mut Client<D>, driver: &mut Driver) -> Ended {
        let mut action = self.program.next(self.shared.now(), None, &mut driver.notes);
        loop {
            self.publish_notes(&mut driver.notes);
            let next = match action {
                Action::Exchange(exchange) => self.exchange(&exchange, client, driver).await,
                Action::Wait(pause) => {
                    self.pause(pause).await.map(|()| self.program.next(self.shared.now(), None, &mut driver.notes))
                }
                Action::End(true) => return Ended::Completed,
                // The requests have counted their own failures; an iteration needs no kind.
                Action::End(false) => return Ended::Failed(ErrorKind::Body),
            };
            match next {
                Some(next) => action = next,
                None => {
                    self.program.interrupted(self.shared.now(), &mut driver.notes);
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
        let shared = self.shared.clone();
        let series = usize::from(exchange.series.0);
        shared.recorder.borrow_mut().request_started(shared.now(), series);
        let done = client.exchange(exchange, &self.handle.guard).await;
        shared.record(series, &done, client.affinity());
        if done.ended == Ended::Interrupted {
            return None;
        }
        let mut now = done.span.1.saturating_duration_since(shared.start);
        driver.failures = if unconnected(&done) { driver.failures + 1 } else { 0 };
        if driver.failures > 0 {
            self.pause(back_off(driver.failures, driver.random.random())).await?;
            now = shared.now();
        }
        let kept = client.body();
        let outcome = Outcome {
            ended: done.ended,
            status: done.status,
            headers: done.headers.as_ref(),
            body: &kept[..kept.len().min(exchange.keep_body)],
            phases: done.phases,
            started: done.span.0.saturating_duration_since(shared.start),
            finished: done.span.1.saturating_duration_since(shared.start),
        };
        Some(self.program.next(now, Some(outcome), &mut driver.notes))
    }

    /// Waits on purpose; `None` when the hard stop came first.
    async fn pause(&mut self, pause: Duration) -> Option<()> {
        let began = self.shared.now();
        let waited = self.handle.guard.wait(None, tokio::time::sleep(pause)).await;
        let now = self.shared.now();
        self.shared.recorder.borrow_mut().paused(now, self.scenario, now - began);
        match waited {
            Ok(()) | Err(Cancel::Timeout) => Some(()),
            Err(Cancel::Stop) => None,
        }
    }

    fn publish_notes(&self, notes: &mut Notes) {
        if !notes.trends.is_empty() {
            let now = self.shared.now();
            let mut recorder = self.shared.recorder.borrow_mut();
            for (name, value) in notes.trends.drain(..) {
                recorder.trend(now, name, value);
            }
        }
        if !notes.events.is_empty() {
            self.shared.events.borrow_mut().append(&mut notes.events);
        }
    }
}

/// What a VU keeps between iterations, beside its program and its connection.
struct Driver {
    /// Connections in a row that could not be opened.
    failures: u32,
    random: SmallRng,
    notes: Notes,
}

/// Whether a request failed before it had a connection; then the VU waits before it tries again.
fn unconnected(done: &Exchanged) -> bool {
    match done.ended {
        Ended::Failed(kind) => !done.sent && !matches!(kind, ErrorKind::Status(_) | ErrorKind::Body),
        _ => false,
    }
}

impl<D: Dial> Shared<D> {
    fn record(&self, series: usize, done: &Exchanged, affinity: Option<&str>) {
        let mut recorder = self.recorder.borrow_mut();
        let node = affinity.map(|label| recorder.node(label));
        let sample = Sample {
            ended: done.ended,
            status: done.status,
            phases: done.phases,
            elapsed: done.span.1.saturating_duration_since(done.span.0),
            sent: done.sent,
            retried: done.retried,
            connections: done.connections,
            bytes: done.bytes,
            delay: done.delay,
            unstamped: done.unstamped,
            node,
        };
        recorder.request_ended(done.span.1.saturating_duration_since(self.start), series, &sample);
    }
}
