//! Who waits for when. Knows no clock: a timer says what time it is.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::task::Waker;

use tokio::time::Instant;

/// A place in the queue; of use until it is woken or leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    slot: usize,
    turn: u64,
}

#[derive(Debug, Default)]
struct Slot {
    /// Tells the one who waits here from those who did before.
    turn: u64,
    waker: Option<Waker>,
}

/// Waits in the order of their ends. Allocates nothing once it has had its greatest length.
#[derive(Debug, Default)]
pub(super) struct Queue {
    order: BinaryHeap<Reverse<(Instant, Place)>>,
    slots: Vec<Slot>,
    free: Vec<usize>,
}

impl Queue {
    /// Comes to wait until `at`.
    pub(super) fn enter(&mut self, at: Instant, waker: Waker) -> Place {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        });
        self.slots[slot].waker = Some(waker);
        let place = Place { slot, turn: self.slots[slot].turn };
        self.order.push(Reverse((at, place)));
        place
    }

    /// Says whom to wake, where that has changed.
    pub(super) fn stay(&mut self, place: Place, waker: &Waker) {
        if let Some(known) = self.waits(place)
            && !known.will_wake(waker)
        {
            known.clone_from(waker);
        }
    }

    /// Waits no longer; nothing where that one was woken.
    pub(super) fn leave(&mut self, place: Place) {
        if self.waits(place).is_some() {
            self.vacate(place);
        }
        // Whoever left is forgotten at the end of his wait. That may be an hour off.
        if self.order.len() > 64 && self.order.len() > 2 * (self.slots.len() - self.free.len()) {
            let slots = &self.slots;
            self.order.retain(|Reverse((_, place))| slots[place.slot].turn == place.turn);
        }
    }

    /// Wakes all whose time has come.
    pub(super) fn wake(&mut self, now: Instant) {
        while self.first().is_some_and(|at| at <= now) {
            if let Some(Reverse((_, place))) = self.order.pop()
                && let Some(waker) = self.vacate(place)
            {
                waker.wake();
            }
        }
    }

    /// When the first of those who wait is to be woken.
    pub(super) fn first(&mut self) -> Option<Instant> {
        while let Some(Reverse((at, place))) = self.order.peek() {
            if self.slots[place.slot].turn == place.turn {
                return Some(*at);
            }
            self.order.pop();
        }
        None
    }

    fn waits(&mut self, place: Place) -> Option<&mut Waker> {
        let slot = self.slots.get_mut(place.slot).filter(|slot| slot.turn == place.turn)?;
        slot.waker.as_mut()
    }

    fn vacate(&mut self, place: Place) -> Option<Waker> {
        let slot = &mut self.slots[place.slot];
        slot.turn += 1;
        self.free.push(place.slot);
        slot.waker.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use std::time::Duration;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn waker() -> (Arc<Woken>, Waker) {
        let woken = Arc::new(Woken::default());
        (woken.clone(), Waker::from(woken))
    }

    #[test]
    fn everybody_is_woken_once_when_his_time_has_come() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let mut queue = Queue::default();
        let wakers: Vec<_> = [30, 10, 20, 10].map(|at| (at, waker())).into();
        for (at, (_, waker)) in &wakers {
            queue.enter(start + ms(*at), waker.clone());
        }
        let woken = || wakers.iter().map(|(_, (woken, _))| woken.0.load(Ordering::Relaxed)).collect::<Vec<_>>();
        assert_eq!(queue.first(), Some(start + ms(10)));
        queue.wake(start + ms(9));
        assert_eq!(woken(), [0, 0, 0, 0]);
        queue.wake(start + ms(10));
        assert_eq!((woken(), queue.first()), (vec![0, 1, 0, 1], Some(start + ms(20))));
        queue.wake(start + ms(99));
        assert_eq!((woken(), queue.first()), (vec![1, 1, 1, 1], None));
    }

    #[test]
    fn who_left_is_not_woken_nor_is_who_came_in_his_place() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let mut queue = Queue::default();
        let (first, waker_of_first) = waker();
        let (second, waker_of_second) = waker();
        let place = queue.enter(start + ms(10), waker_of_first);
        queue.leave(place);
        let later = queue.enter(start + ms(20), waker_of_second);
        assert_eq!((later.slot, queue.first()), (place.slot, Some(start + ms(20))));
        // Leaving twice takes nobody else's place.
        queue.leave(place);
        queue.wake(start + ms(15));
        assert_eq!((first.0.load(Ordering::Relaxed), second.0.load(Ordering::Relaxed)), (0, 0));
        queue.wake(start + ms(20));
        assert_eq!((first.0.load(Ordering::Relaxed), second.0.load(Ordering::Relaxed)), (0, 1));
    }

    #[test]
    fn waits_that_are_given_up_leave_nothing_behind() {
        let start = Instant::now();
        let mut queue = Queue::default();
        let (_, waker) = waker();
        for _ in 0..10_000 {
            let place = queue.enter(start + Duration::from_secs(3600), waker.clone());
            queue.leave(place);
        }
        assert!(queue.order.len() <= 66 && queue.slots.len() == 1, "{} {}", queue.order.len(), queue.slots.len());
    }

    #[test]
    fn who_is_polled_by_another_is_woken_there() {
        let start = Instant::now();
        let mut queue = Queue::default();
        let (before, waker_before) = waker();
        let (after, waker_after) = waker();
        let place = queue.enter(start, waker_before);
        queue.stay(place, &waker_after);
        queue.wake(start);
        assert_eq!((before.0.load(Ordering::Relaxed), after.0.load(Ordering::Relaxed)), (0, 1));
    }
}
