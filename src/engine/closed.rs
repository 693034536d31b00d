//! The driver of the closed model: brings VUs and takes them away as the executor says. When an iteration begins is
//! up to the VUs: each as soon as the one before is over.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::course::Course;
use crate::http::Dial;
use crate::plan::Executor;

/// VUs are made this long before they start.
const AHEAD: Duration = Duration::from_millis(100);

/// What there is to do: from when on how many VUs, and the time over which new ones start.
type Change = (Duration, u32, Duration);

fn changes(executor: &Executor) -> Box<dyn Iterator<Item = Change>> {
    match executor {
        Executor::ConstantVus { vus, start_over, .. } => Box::new(std::iter::once((Duration::ZERO, *vus, *start_over))),
        Executor::Searched { start_vus, .. } => {
            Box::new(std::iter::once((Duration::ZERO, *start_vus, Duration::from_secs(1))))
        }
        _ => match executor.vu_curve() {
            Some(curve) => Box::new(curve.steps().map(|(at, vus)| (at, vus, Duration::ZERO))),
            None => Box::new(std::iter::once((Duration::ZERO, executor.start_vus(), Duration::ZERO))),
        },
    }
}

/// Brings and takes away this worker's VUs of a scenario.
pub(super) async fn drive<D: Dial>(course: Rc<Course<D>>) {
    let (begins, timer) = (course.begins(), course.place.timer.clone());
    let mut share = 0;
    for (offset, vus, over) in changes(course.executor()) {
        let wanted = course.share(vus);
        if wanted == share {
            continue;
        }
        let at = begins + offset;
        if offset.is_zero() {
            timer.until(at.checked_sub(AHEAD).unwrap_or(at)).await;
        } else if at > Instant::now() {
            timer.until(at).await;
        }
        if course.is_ordered() {
            break;
        }
        course.set(wanted, at, over);
        share = wanted;
    }
    course.driven();
}
