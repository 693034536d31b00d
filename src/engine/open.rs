//! The driver of the open model: releases each iteration when it is due, whatever became of those before.
//!
//! An idle VU takes it, or a new one as long as there may be more; otherwise it is dropped, and counted.

use std::rc::Rc;

use tokio::time::Instant;

use super::course::Course;
use crate::http::Dial;

/// Releases this worker's arrivals of a scenario.
pub(super) async fn drive<D: Dial>(course: Rc<Course<D>>) {
    let Some((mut arrivals, mut begins)) = course.arrivals() else { return course.driven() };
    let ends = course.ends();
    // They are idle until the first arrival; it must not have to wait for them.
    for _ in 0..course.pool(course.executor().start_vus()) {
        course.start_vu(Instant::now(), None);
    }
    let timer = course.place.timer.clone();
    let is_searched = course.executor().is_searched();
    let mut next = arrivals.next().map(|due| begins + due);
    // A search may ask for more when nothing is due any more.
    while let Some(due) = next.filter(|due| *due <= ends).or(is_searched.then_some(ends)) {
        if due > Instant::now() {
            let is_changed = tokio::select! {
                () = timer.until(due) => false,
                () = course.rate_changed(), if is_searched => true,
            };
            if is_changed {
                let Some(changed) = course.arrivals() else { break };
                (arrivals, begins) = changed;
                next = arrivals.next().map(|due| begins + due);
                continue;
            }
        } else if next.is_none_or(|next| next > ends) {
            break;
        } else {
            // Behind the schedule: the VUs come first, or nothing that was released would ever run.
            tokio::task::yield_now().await;
        }
        let mut batch = Batch::new(&course);
        while let Some(due) = next.filter(|due| *due <= batch.now.min(ends)) {
            if course.place.pauses.cover(due) {
                // Not scheduled, so not dropped either.
            } else if !batch.release(due) {
                batch.second_look().await;
                batch.release_or_drop(due);
            }
            next = arrivals.next().map(|due| begins + due);
        }
    }
    course.driven();
}

/// What is due at once.
struct Batch<'a, D: Dial> {
    course: &'a Rc<Course<D>>,
    /// When it was turned to.
    now: Instant,
    /// The most VUs that there may be.
    most: u32,
    /// Whether arrivals of it began later than the timer's own lateness explains. They hold VUs that might be free
    /// again, had they begun in time.
    late: bool,
    /// Whether the VUs were given the time to read what is here.
    looked: bool,
}

impl<'a, D: Dial> Batch<'a, D> {
    fn new(course: &'a Rc<Course<D>>) -> Batch<'a, D> {
        let most = course.pool(course.executor().max_vus());
        Batch { course, now: Instant::now(), most, late: false, looked: false }
    }

    /// Gives an arrival to an idle VU, or to a new one as long as there may be more; whether there was any.
    fn release(&mut self, due: Instant) -> bool {
        let idle = self.course.idle.borrow_mut().pop();
        match idle {
            Some(idle) => {
                idle.arrival.set(Some(due));
                idle.guard.wake();
            }
            None if self.course.count() < self.most => self.course.start_vu(self.now, Some(due)),
            None => return false,
        }
        self.late |= self.now.saturating_duration_since(due) > self.course.place.timer.resolution();
        true
    }

    /// A VU is free as soon as it has read a response that is here already. Once: what comes later was not due then.
    async fn second_look(&mut self) {
        if !std::mem::replace(&mut self.looked, true) {
            tokio::task::yield_now().await;
        }
    }

    /// Drops an arrival that no VU is free for. All VUs were busy already when it was due, and it is the VUs that were
    /// too few, unless they are busy with what the generator was late to begin.
    fn release_or_drop(&mut self, due: Instant) {
        if !self.release(due) {
            self.course.dropped(1, self.late);
        }
    }
}
