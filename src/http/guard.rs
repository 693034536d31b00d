//! Cancelling what a VU waits for, without a timer per request.
//!
//! A timer per request costs more than the rest of our code. Instead a VU writes its deadline into a cell, and the
//! worker sweeps over the cells of its VUs every [`SWEEP`]; so a time-out is late by at most that much.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

/// How often deadlines are looked at.
pub const SWEEP: Duration = Duration::from_millis(20);

/// Why a wait was cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    /// The deadline passed.
    Timeout,
    /// The hard stop at the end of the run.
    Stop,
}

/// The cell of one VU.
#[derive(Debug, Default)]
pub struct Guard {
    deadline: Cell<Option<Instant>>,
    cancel: Cell<Option<Cancel>>,
    stopped: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Guard {
    /// Waits for `future`, but not beyond `deadline` or the hard stop.
    ///
    /// # Errors
    /// Which of the two came first; the future is dropped.
    pub async fn wait<F: Future>(&self, deadline: Option<Instant>, future: F) -> Result<F::Output, Cancel> {
        self.deadline.set(deadline);
        self.cancel.set(None);
        let mut future = pin!(future);
        let ended = poll_fn(|cx| {
            if self.stopped.get() {
                return Poll::Ready(Err(Cancel::Stop));
            }
            if let Some(cancel) = self.cancel.take() {
                return Poll::Ready(Err(cancel));
            }
            let mut waker = self.waker.borrow_mut();
            if !waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
            drop(waker);
            future.as_mut().poll(cx).map(Ok)
        })
        .await;
        self.deadline.set(None);
        ended
    }

    /// Cuts off the wait, and every later one.
    pub fn stop(&self) {
        self.stopped.set(true);
        self.wake();
    }

    /// Whether [`Guard::stop`] was called.
    pub fn is_stopped(&self) -> bool {
        self.stopped.get()
    }

    /// Cuts off the wait if its deadline has passed at `now`.
    pub fn sweep(&self, now: Instant) {
        if self.deadline.get().is_some_and(|deadline| deadline <= now) {
            self.deadline.set(None);
            self.cancel.set(Some(Cancel::Timeout));
            self.wake();
        }
    }

    /// Wakes the VU, to look at what was asked of it.
    pub fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }
}
