//! What a worker waits for time with: arrivals, pauses, its own ticks.
//!
//! tokio's timer is late by up to two milliseconds. On Linux each worker has one timerfd in its event loop, late by
//! some tens of microseconds, that serves all who wait. In virtual time tokio's is exact, and the only one there is.

#[cfg(target_os = "linux")]
mod pace;
#[cfg(target_os = "linux")]
mod queue;

use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

/// Which timers a worker may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// The system's, where there are any.
    Precise,
    /// The runtime's: its clock may be virtual.
    Virtual,
}

/// A worker's timer.
#[derive(Debug, Clone)]
pub(super) struct Timer {
    kernel: Option<Rc<kernel::Timer>>,
}

impl Timer {
    /// A timer of that kind; the runtime's where the system gives none.
    pub(super) fn new(timing: Timing) -> Timer {
        let kernel = match timing {
            Timing::Precise => kernel::Timer::new().map(Rc::new),
            Timing::Virtual => None,
        };
        Timer { kernel }
    }

    /// By how much it may be late without anybody being to blame.
    pub(super) fn resolution(&self) -> Duration {
        if self.kernel.is_some() { Duration::from_micros(500) } else { Duration::from_millis(2) }
    }

    /// By how much it is late by itself: tokio's has a resolution of 1 ms, and never comes too early.
    pub(super) fn granularity(&self) -> Duration {
        if self.kernel.is_some() { Duration::ZERO } else { Duration::from_millis(1) }
    }

    /// Waits until that instant.
    pub(super) async fn until(&self, at: Instant) {
        match &self.kernel {
            Some(timer) => timer.until(at).await,
            None => tokio::time::sleep_until(at).await,
        }
    }

    /// Waits for so long.
    pub(super) async fn pause(&self, pause: Duration) {
        match &self.kernel {
            Some(timer) => timer.until(Instant::now() + pause).await,
            None => tokio::time::sleep(pause).await,
        }
    }

    /// Wakes those who wait, for as long as it is polled.
    pub(super) async fn serve(&self) {
        match &self.kernel {
            Some(timer) => timer.serve().await,
            None => std::future::pending().await,
        }
    }

    /// What share of its core the worker uses: one that is nearly full is woken less often.
    pub(super) fn set_load(&self, share: f64) {
        if let Some(timer) = &self.kernel {
            timer.set_load(share);
        }
    }
}

#[cfg(target_os = "linux")]
mod kernel {
    use std::cell::{Cell, RefCell};
    use std::future::poll_fn;
    use std::os::fd::OwnedFd;
    use std::task::Poll;
    use std::time::Duration;

    use rustix::time::{
        ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
        timerfd_settime,
    };
    use tokio::io::unix::AsyncFd;
    use tokio::time::Instant;

    use super::pace::Pace;
    use super::queue::{Place, Queue};

    /// Share of its core from which on a worker is woken less often.
    const BUSY: f64 = 0.70;

    #[derive(Debug)]
    pub(super) struct Timer {
        fd: AsyncFd<OwnedFd>,
        /// The same moment by both clocks: tokio's instants do not tell their value.
        anchor: (Instant, Duration),
        queue: RefCell<Queue>,
        pace: RefCell<Pace>,
        /// For when it is set.
        armed: Cell<Option<Instant>>,
        /// Whether those who were woken have not all come back yet: it is set once, when they have.
        waking: Cell<bool>,
    }

    impl Timer {
        #[expect(deprecated, reason = "its successor is unsafe; we own the descriptor and never replace it")]
        pub(super) fn new() -> Option<Timer> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let fd = AsyncFd::new(timerfd_create(TimerfdClockId::Monotonic, flags).ok()?).ok()?;
            Some(Timer {
                fd,
                anchor: anchor(),
                queue: RefCell::default(),
                pace: RefCell::default(),
                armed: Cell::new(None),
                waking: Cell::new(false),
            })
        }

        pub(super) fn set_load(&self, share: f64) {
            self.pace.borrow_mut().set_busy(share > BUSY);
        }

        pub(super) async fn until(&self, at: Instant) {
            let mut wait = Wait { timer: self, place: None };
            poll_fn(|cx| {
                if Instant::now() >= at {
                    return Poll::Ready(());
                }
                match wait.place {
                    Some(place) => self.queue.borrow_mut().stay(place, cx.waker()),
                    None => {
                        wait.place = Some(self.queue.borrow_mut().enter(at, cx.waker().clone()));
                        self.arm();
                    }
                }
                Poll::Pending
            })
            .await;
        }

        pub(super) async fn serve(&self) {
            loop {
                match self.fd.readable().await {
                    // The expiry is not read off the descriptor: setting the timer anew forgets it, and a system call
                    // is saved.
                    Ok(mut ready) => ready.clear_ready(),
                    Err(_closing) => return,
                }
                let now = Instant::now();
                // What was reported may be an expiry from before it was set anew.
                if self.armed.get().is_some_and(|armed| armed > now) {
                    continue;
                }
                self.armed.set(None);
                self.pace.borrow_mut().woke(now);
                self.waking.set(true);
                self.queue.borrow_mut().wake(now);
                // Behind those who were just woken: they say when they want to be woken next.
                once_round().await;
                self.waking.set(false);
                self.arm();
            }
        }

        /// Sets the timer for the first of those who wait, unless it is.
        fn arm(&self) {
            if self.waking.get() {
                return;
            }
            let Some(first) = self.queue.borrow_mut().first() else { return };
            let at = self.pace.borrow().next(first);
            if self.armed.get().is_some_and(|armed| armed <= at) {
                return;
            }
            let (instant, value) = self.anchor;
            let value = value + at.saturating_duration_since(instant);
            let seconds = i64::try_from(value.as_secs()).unwrap_or(i64::MAX);
            let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
            let it_value = Timespec { tv_sec: seconds, tv_nsec: i64::from(value.subsec_nanos()) };
            let spec = Itimerspec { it_interval: zero, it_value };
            // Fails only for a bad descriptor or nanoseconds out of range, which neither can be here.
            let _ = timerfd_settime(self.fd.get_ref(), TimerfdTimerFlags::ABSTIME, &spec);
            self.armed.set(Some(at));
        }
    }

    /// One who waits; gives up his place when he is dropped.
    struct Wait<'a> {
        timer: &'a Timer,
        place: Option<Place>,
    }

    impl Drop for Wait<'_> {
        fn drop(&mut self) {
            if let Some(place) = self.place {
                self.timer.queue.borrow_mut().leave(place);
            }
        }
    }

    /// The value of the monotonic clock at an instant: of several readings the one with the least time in between.
    fn anchor() -> (Instant, Duration) {
        let read = || {
            let before = Instant::now();
            let value = clock_gettime(ClockId::Monotonic);
            let value =
                Duration::new(u64::try_from(value.tv_sec).unwrap_or(0), u32::try_from(value.tv_nsec).unwrap_or(0));
            (before.elapsed(), (before, value))
        };
        let (_, anchor) = (0..16).map(|_| read()).min_by_key(|(between, _)| *between).unwrap_or_else(read);
        anchor
    }

    /// Lets everybody else run who can.
    async fn once_round() {
        let mut been = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut been, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use std::rc::Rc;

        use tokio::runtime::{Builder, LocalOptions};
        use tokio::task::spawn_local;

        /// Runs in a worker's kind of runtime, with a timer that is served.
        fn served<F: Future<Output = ()>>(body: impl FnOnce(Rc<Timer>) -> F) {
            let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
            runtime.block_on(async {
                let timer = Rc::new(Timer::new().unwrap());
                let serving = timer.clone();
                let serving = spawn_local(async move { serving.serve().await });
                body(timer).await;
                serving.abort();
            });
        }

        #[test]
        fn the_anchor_is_the_same_moment_by_both_clocks() {
            let (instant, value) = anchor();
            let now = clock_gettime(ClockId::Monotonic);
            let now = Duration::new(now.tv_sec.try_into().unwrap(), now.tv_nsec.try_into().unwrap());
            let apart = (now - value).abs_diff(instant.elapsed());
            assert!(apart < Duration::from_millis(100), "{apart:?}");
        }

        #[test]
        fn nobody_is_woken_too_early_whatever_the_order_of_coming() {
            served(|timer| async move {
                let start = Instant::now();
                let waits: Vec<_> = [7u64, 3, 5, 1, 3, 0, 9, 2]
                    .map(|ms| {
                        let timer = timer.clone();
                        spawn_local(async move {
                            let at = start + Duration::from_millis(ms);
                            timer.until(at).await;
                            assert!(Instant::now() >= at);
                        })
                    })
                    .into();
                for wait in waits {
                    wait.await.unwrap();
                }
                assert!(timer.queue.borrow_mut().first().is_none());
            });
        }

        #[test]
        fn a_wait_that_is_given_up_does_not_hold_up_the_others() {
            served(|timer| async move {
                let start = Instant::now();
                let given_up = {
                    let timer = timer.clone();
                    spawn_local(async move { timer.until(start + Duration::from_millis(2)).await })
                };
                let other = {
                    let timer = timer.clone();
                    spawn_local(async move { timer.until(start + Duration::from_millis(6)).await })
                };
                tokio::task::yield_now().await;
                given_up.abort();
                other.await.unwrap();
                assert!(start.elapsed() >= Duration::from_millis(6));
            });
        }

        #[test]
        fn one_who_waits_again_and_again_is_served_again_and_again() {
            served(|timer| async move {
                let start = Instant::now();
                for step in 1..=2_000u32 {
                    timer.until(start + Duration::from_micros(10) * step).await;
                }
                assert!(start.elapsed() >= Duration::from_millis(20));
                assert!(timer.queue.borrow_mut().first().is_none());
            });
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    use tokio::time::Instant;

    #[derive(Debug)]
    pub(super) struct Timer;

    impl Timer {
        pub(super) fn new() -> Option<Timer> {
            None
        }

        pub(super) async fn until(&self, _at: Instant) {}

        pub(super) async fn serve(&self) {}

        pub(super) fn set_load(&self, _share: f64) {}
    }
}
