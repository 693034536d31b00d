//! The driver of the open model: releases each iteration when it is due, whatever became of those before.
//!
//! An idle VU takes it, or a new one as long as there may be more; otherwise it is dropped, and counted.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::course::Course;
use super::timer::Timer;
use crate::http::Dial;

/// What is released later than this while no VU is free is dropped by the generator's fault: its own delay brought
/// several arrivals at once.
const LATE: Duration = Duration::from_millis(5);
/// Arrivals per second of one worker from which on the timer is set no more often than every [`QUANTUM`]: a wake-up
/// per arrival would cost more than the requests.
const MANY_PER_SECOND: f64 = 10_000.0;
const QUANTUM: Duration = Duration::from_micros(200);

/// Releases this worker's arrivals of a scenario.
pub(super) async fn drive<D: Dial>(course: Rc<Course<D>>, timer: Timer) {
    let (begins, workers) = (course.begins(), course.pools() as f64);
    if let Some(mut arrivals) = course.arrivals() {
        for _ in 0..course.pool(course.executor().start_vus()) {
            course.start_vu(Instant::now(), None);
        }
        let most = course.pool(course.executor().max_vus());
        let mut woke = begins;
        let mut next = arrivals.next();
        while let Some(due) = next.filter(|due| begins + *due <= course.ends()) {
            let now = Instant::now();
            if begins + due > now {
                let many = arrivals.per_second(due) / workers > MANY_PER_SECOND;
                let earliest = if many { woke + QUANTUM } else { woke };
                timer.until(earliest.max(begins + due)).await;
                woke = Instant::now();
                continue;
            }
            release(&course, begins + due, now, most);
            next = arrivals.next();
            if next.is_some_and(|due| begins + due > now && begins + due <= Instant::now()) {
                // Behind the schedule: the VUs come first, or nothing that was released would ever run.
                tokio::task::yield_now().await;
            }
        }
    }
    course.driven();
}

fn release<D: Dial>(course: &Rc<Course<D>>, due: Instant, now: Instant, most: u32) {
    if let Some(idle) = course.idle.borrow_mut().pop() {
        idle.arrival.set(Some(due));
        idle.guard.wake();
        return;
    }
    if course.count() < most {
        course.start_vu(now, Some(due));
        return;
    }
    let late = now.saturating_duration_since(due) > LATE;
    course.dropped(1, late);
}
