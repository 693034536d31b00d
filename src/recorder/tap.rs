//! Single requests, iterations and checks as they ended, for outputs that ask for each: in a buffer that is made before it
//! is needed and never grows. What does not fit is counted.

use std::sync::Arc;
use std::time::Duration;

use super::Sample;
use crate::outcome::{Ended, Phases};

/// What outputs ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling {
    /// One request of so many is kept; at least 1, which is every one.
    pub every: u32,
    /// Most that a worker keeps until it hands them over, about once a second.
    pub most: usize,
}

/// Something that ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// When, since the start of the run.
    pub at: Duration,
    /// What.
    pub what: What,
}

/// What ended.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A request.
    Request {
        /// Index of its series in the plan.
        series: u32,
        /// How it ended; never interrupted.
        ended: Ended,
        /// The status, where a response head came.
        status: Option<u16>,
        /// Its parts.
        phases: Phases,
        /// From the VU turning to it to its end.
        elapsed: Duration,
        /// Bytes written and read.
        bytes: (u64, u64),
    },
    /// An iteration that was not cut off.
    Iteration {
        /// Index of its scenario in the plan.
        scenario: u32,
        /// How long it took.
        took: Duration,
        /// Whether it was completed.
        completed: bool,
    },
    /// A check.
    Check {
        /// Its name.
        name: Arc<str>,
        /// Whether the response passed it.
        passed: bool,
    },
}

/// What a worker hands over.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Points {
    /// In the order in which they ended.
    pub points: Vec<Point>,
    /// Those for which there was no room.
    pub dropped: u64,
}

/// A worker's buffer.
#[derive(Debug)]
pub(super) struct Tap {
    sampling: Sampling,
    kept: Points,
    /// Requests since the last one that was kept.
    since: u32,
    checks: Vec<Arc<str>>,
}

/// Names of checks that are kept; one of more is not looked up, and its points are dropped.
const MOST_CHECKS: usize = 1000;

impl Tap {
    pub(super) fn new(sampling: Sampling) -> Tap {
        Tap { sampling, kept: Tap::empty(sampling), since: 0, checks: Vec::new() }
    }

    fn empty(sampling: Sampling) -> Points {
        Points { points: Vec::with_capacity(sampling.most), dropped: 0 }
    }

    fn keep(&mut self, point: Point) {
        if self.kept.points.len() < self.sampling.most {
            self.kept.points.push(point);
        } else {
            self.kept.dropped += 1;
        }
    }

    pub(super) fn request(&mut self, at: Duration, series: usize, sample: &Sample) {
        if sample.ended == Ended::Interrupted {
            return;
        }
        self.since += 1;
        if self.since < self.sampling.every {
            return;
        }
        self.since = 0;
        let what = What::Request {
            series: u32::try_from(series).unwrap_or(u32::MAX),
            ended: sample.ended,
            status: sample.status,
            phases: sample.phases,
            elapsed: sample.elapsed,
            bytes: sample.bytes,
        };
        self.keep(Point { at, what });
    }

    pub(super) fn iteration(&mut self, at: Duration, scenario: usize, ended: Ended, took: Duration) {
        if ended != Ended::Interrupted && self.sampling.every == 1 {
            let scenario = u32::try_from(scenario).unwrap_or(u32::MAX);
            self.keep(Point { at, what: What::Iteration { scenario, took, completed: ended == Ended::Completed } });
        }
    }

    pub(super) fn check(&mut self, at: Duration, name: &str, passed: bool) {
        if self.sampling.every > 1 {
            return;
        }
        let known = self.checks.iter().find(|known| &***known == name).cloned();
        let name = match known {
            Some(name) => name,
            None if self.checks.len() < MOST_CHECKS => {
                let name: Arc<str> = name.into();
                self.checks.push(name.clone());
                name
            }
            None => {
                self.kept.dropped += 1;
                return;
            }
        };
        self.keep(Point { at, what: What::Check { name, passed } });
    }

    /// What was kept since the last call; `None` where nothing was.
    pub(super) fn take(&mut self) -> Option<Points> {
        if self.kept.points.is_empty() && self.kept.dropped == 0 {
            return None;
        }
        Some(std::mem::replace(&mut self.kept, Tap::empty(self.sampling)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(ended: Ended) -> Sample {
        Sample {
            ended,
            status: Some(200),
            phases: Phases::default(),
            elapsed: Duration::from_millis(3),
            sent: true,
            retried: false,
            connections: 0,
            resumed: 0,
            http2: 0,
            bytes: (1, 2),
            delay: None,
            unstamped: 0,
            node: None,
            left: None,
        }
    }

    #[test]
    fn a_full_buffer_counts_what_it_has_no_room_for_and_never_grows() {
        let mut tap = Tap::new(Sampling { every: 1, most: 3 });
        for n in 0..10 {
            tap.request(Duration::from_millis(n), 0, &sample(Ended::Completed));
        }
        tap.check(Duration::from_millis(11), "a", true);
        let first = tap.take().unwrap();
        assert_eq!((first.points.len(), first.points.capacity(), first.dropped), (3, 3, 8));
        assert_eq!(tap.take(), None);
        tap.check(Duration::from_millis(12), "a", false);
        tap.iteration(Duration::from_millis(13), 1, Ended::Interrupted, Duration::ZERO);
        assert_eq!(tap.take().unwrap().points.len(), 1, "an iteration that was cut off is none");
    }

    #[test]
    fn one_of_so_many_requests_is_kept() {
        let mut tap = Tap::new(Sampling { every: 10, most: 100 });
        for n in 0..95 {
            tap.request(Duration::from_millis(n), 0, &sample(Ended::Completed));
            tap.request(Duration::from_millis(n), 0, &sample(Ended::Interrupted));
        }
        let kept = tap.take().unwrap();
        let at: Vec<u128> = kept.points.iter().map(|point| point.at.as_millis()).collect();
        assert_eq!((at, kept.dropped), (vec![9, 19, 29, 39, 49, 59, 69, 79, 89], 0));
    }
}
