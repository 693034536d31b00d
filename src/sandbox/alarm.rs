//! A clock in seconds and a timer that is late by microseconds.
//!
//! tokio's timer is late by up to a millisecond, 5 % of a response of 20 ms. On Linux a timerfd in the same event
//! loop is late by about 30 µs; elsewhere tokio's timer has to do.

pub(super) use platform::Alarm;

#[cfg(target_os = "linux")]
mod platform {
    use std::io;
    use std::os::fd::OwnedFd;

    use rustix::time::{
        ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
        timerfd_settime,
    };
    use tokio::io::unix::AsyncFd;

    /// Seconds since it was made, and one instant to wait for.
    #[derive(Debug)]
    pub(in super::super) struct Alarm {
        fd: AsyncFd<OwnedFd>,
        origin: Timespec,
    }

    impl Alarm {
        /// Starts at 0 s. Needs a running event loop.
        #[expect(deprecated, reason = "its successor is unsafe; we own the descriptor and never replace it")]
        pub(in super::super) fn new() -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let fd = AsyncFd::new(timerfd_create(TimerfdClockId::Monotonic, flags)?)?;
            Ok(Self { fd, origin: clock_gettime(ClockId::Monotonic) })
        }

        /// Seconds since the start, monotonic.
        pub(in super::super) fn now_s(&self) -> f64 {
            let now = clock_gettime(ClockId::Monotonic);
            (now.tv_sec - self.origin.tv_sec) as f64 + (now.tv_nsec - self.origin.tv_nsec) as f64 / 1e9
        }

        /// Rings at `at_s`, or at once when that is past; `None` silences it. Replaces what was set before.
        pub(in super::super) fn set(&self, at_s: Option<f64>) {
            let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
            let it_value = at_s.map_or(zero, |at_s| {
                let whole = at_s.max(0.0).floor();
                let nsec = self.origin.tv_nsec + ((at_s.max(0.0) - whole) * 1e9).ceil() as i64;
                Timespec {
                    tv_sec: self.origin.tv_sec + whole as i64 + nsec / 1_000_000_000,
                    tv_nsec: nsec % 1_000_000_000,
                }
            });
            let spec = Itimerspec { it_interval: zero, it_value };
            // Fails only for a bad descriptor or nanoseconds out of range, which neither can be here.
            let _ = timerfd_settime(self.fd.get_ref(), TimerfdTimerFlags::ABSTIME, &spec);
        }

        /// Waits until it rings. It must be set anew before it can ring again.
        ///
        /// The expiry is not read off the descriptor: the event loop reports each one once, and setting the timer
        /// forgets it. That saves two system calls for each ring.
        pub(in super::super) async fn rings(&self) {
            if let Ok(mut ready) = self.fd.readable().await {
                ready.clear_ready();
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    use std::io;
    use std::time::Duration;

    use tokio::sync::watch;
    use tokio::time::Instant;

    /// Seconds since it was made, and one instant to wait for.
    #[derive(Debug)]
    pub(in super::super) struct Alarm {
        origin: Instant,
        due: watch::Sender<Option<Instant>>,
    }

    impl Alarm {
        /// Starts at 0 s.
        pub(in super::super) fn new() -> io::Result<Self> {
            Ok(Self { origin: Instant::now(), due: watch::Sender::new(None) })
        }

        /// Seconds since the start, monotonic.
        pub(in super::super) fn now_s(&self) -> f64 {
            self.origin.elapsed().as_secs_f64()
        }

        /// Rings at `at_s`, or at once when that is past; `None` silences it. Replaces what was set before.
        pub(in super::super) fn set(&self, at_s: Option<f64>) {
            let due = at_s.map(|s| self.origin + Duration::from_secs_f64(s.max(0.0)));
            self.due.send_replace(due);
        }

        /// Waits until it rings.
        pub(in super::super) async fn rings(&self) {
            let mut changes = self.due.subscribe();
            loop {
                let due = *changes.borrow_and_update();
                let changed = match due {
                    None => changes.changed().await,
                    Some(due) => tokio::select! {
                        () = tokio::time::sleep_until(due) => return,
                        changed = changes.changed() => changed,
                    },
                };
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}
