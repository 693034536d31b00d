//! Pauses of a run: VUs hold before their next iteration, and arrivals that fall due are not scheduled. The clock goes on.

use std::cell::{Cell, RefCell};

use tokio::time::Instant;

/// When a run was paused: from when to when, oldest first; the last one has no end while it lasts.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    /// Asked before every iteration: one comparison.
    on: Cell<bool>,
    spans: RefCell<Vec<(Instant, Option<Instant>)>>,
}

impl Pauses {
    /// Whether the run is paused.
    pub(super) fn is_on(&self) -> bool {
        self.on.get()
    }

    /// Begins a pause, unless there is one.
    pub(super) fn begin(&self, now: Instant) {
        if !self.on.replace(true) {
            self.spans.borrow_mut().push((now, None));
        }
    }

    /// Ends the pause, if there is one.
    pub(super) fn end(&self, now: Instant) {
        if self.on.replace(false) {
            let mut spans = self.spans.borrow_mut();
            match spans.last_mut() {
                // One that took no time was none.
                Some(last) if last.0 == now => drop(spans.pop()),
                Some(last) => last.1 = Some(now),
                None => {}
            }
        }
    }

    /// Whether a moment lies in a pause: its beginning does, its end does not.
    pub(super) fn cover(&self, at: Instant) -> bool {
        let spans = self.spans.borrow();
        let before = spans.iter().rev().find(|(from, _)| *from <= at);
        before.is_some_and(|(_, to)| to.is_none_or(|to| at < to))
    }

    /// Whether a time, without its end, has a pause in it.
    pub(super) fn overlap(&self, from: Instant, to: Instant) -> bool {
        let spans = self.spans.borrow();
        spans.iter().rev().any(|(begin, end)| *begin < to && end.is_none_or(|end| end > from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_pause_has_its_beginning_and_not_its_end() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let pauses = Pauses::default();
        pauses.end(at(0));
        pauses.begin(at(100));
        pauses.begin(at(150));
        assert!(pauses.is_on() && pauses.cover(at(100)) && pauses.cover(at(9_000)) && !pauses.cover(at(99)));
        pauses.end(at(200));
        pauses.begin(at(400));
        pauses.end(at(400));
        pauses.begin(at(500));
        assert_eq!([199, 200, 400, 499, 500].map(|ms| pauses.cover(at(ms))), [true, false, false, false, true]);
        let overlaps = [(0, 100), (0, 101), (199, 300), (200, 500), (300, 501)];
        assert_eq!(overlaps.map(|(a, b)| pauses.overlap(at(a), at(b))), [false, true, true, false, true]);
    }
}
