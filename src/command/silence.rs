//! A server that answers nothing any more.

use crate::window::{Part, Second};

/// The time since a request was last completed.
#[derive(Default)]
pub(super) struct Silence {
    /// Whole seconds.
    pub(super) seconds: u32,
    /// Requests that failed in them.
    failed: u64,
    /// Whether one of those was answered.
    pub(super) answered: bool,
}

impl Silence {
    pub(super) fn add(&mut self, second: &Second) {
        let series = &second.window.series;
        if second.part == Part::Paused {
            // Nobody asks the server anything.
            return;
        }
        let sockets = || series.iter().filter_map(|s| s.sockets.as_deref());
        let talks = sockets().any(|s| s.sessions.completed + s.received > 0);
        if talks || series.iter().any(|s| s.requests.completed > 0) {
            *self = Silence::default();
            return;
        }
        self.seconds += 1;
        self.failed += series.iter().map(|s| s.requests.failed).sum::<u64>();
        self.failed += sockets().map(|s| s.sessions.failed).sum::<u64>();
        self.answered |= series.iter().any(|s| !s.statuses.is_empty()) || sockets().any(|s| s.is_answered());
    }

    /// Whether to give up: as many failures as VUs, lest a slow server with one failure be taken for a dead one.
    pub(super) fn is_hopeless(&self, least: u32, vus: u32) -> bool {
        self.seconds >= least && self.failed >= u64::from(vus)
    }
}
