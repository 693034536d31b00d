//! A timer for arrivals. tokio's is late by up to a millisecond; on Linux a timerfd in the same event loop is late by
//! some tens of microseconds. In virtual time tokio's is exact, and the only one there is.

use tokio::time::Instant;

/// Which timers a worker may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// The system's, where there are any.
    Precise,
    /// The runtime's: its clock may be virtual.
    Virtual,
}

/// One instant to wait for.
#[derive(Debug)]
pub(super) struct Timer {
    kernel: Option<kernel::Timer>,
}

impl Timer {
    /// A timer of that kind; the runtime's where the system gives none.
    pub(super) fn new(timing: Timing) -> Timer {
        let kernel = match timing {
            Timing::Precise => kernel::Timer::new(),
            Timing::Virtual => None,
        };
        Timer { kernel }
    }

    /// Waits until that instant.
    pub(super) async fn until(&self, at: Instant) {
        match &self.kernel {
            Some(timer) => timer.until(at).await,
            None => tokio::time::sleep_until(at).await,
        }
    }
}

#[cfg(target_os = "linux")]
mod kernel {
    use std::os::fd::OwnedFd;

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
    };
    use tokio::io::unix::AsyncFd;
    use tokio::time::Instant;

    #[derive(Debug)]
    pub(super) struct Timer {
        fd: AsyncFd<OwnedFd>,
    }

    impl Timer {
        #[expect(deprecated, reason = "its successor is unsafe; we own the descriptor and never replace it")]
        pub(super) fn new() -> Option<Timer> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let fd = timerfd_create(TimerfdClockId::Monotonic, flags).ok()?;
            AsyncFd::new(fd).ok().map(|fd| Timer { fd })
        }

        pub(super) async fn until(&self, at: Instant) {
            loop {
                // From now, not absolute: tokio's instants do not tell their clock's value.
                let left = at.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return;
                }
                let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
                let seconds = i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
                let it_value = Timespec { tv_sec: seconds, tv_nsec: i64::from(left.subsec_nanos()) };
                let spec = Itimerspec { it_interval: zero, it_value };
                // Fails only for a bad descriptor or nanoseconds out of range, which neither can be here.
                let _ = timerfd_settime(self.fd.get_ref(), TimerfdTimerFlags::empty(), &spec);
                // The expiry is not read off the descriptor: setting the timer anew forgets it, and a system call
                // per arrival is saved. What was reported of an earlier one is noticed above.
                match self.fd.readable().await {
                    Ok(mut ready) => ready.clear_ready(),
                    Err(_closing) => return,
                }
            }
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
    }
}
