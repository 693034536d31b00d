//! The measured part in the order in which it happened: what drift, stalls and steps in throughput are read from.
//!
//! Bounded: when there are more points than [`MOST_POINTS`], neighbours are put together.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Batch;
use crate::window::Second;

/// Most points that are kept: half an hour by the second.
pub(super) const MOST_POINTS: usize = 2048;
/// A fetch that took so long is counted as slow.
pub(super) const SLOW: Duration = Duration::from_secs(1);
/// A change of the wall clock against the monotonic one between two seconds that is worth keeping, ms.
const JUMP_MS: f64 = 500.0;
/// Most jumps that are kept.
const MOST_JUMPS: usize = 32;
/// Phases of a publish in which the server works on it.
const DEPLOYING: [&str; 4] = ["publish_queue", "publish_restore", "publish_launch", "publish_first_response"];

/// The measured part, in order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Course {
    /// By the second, or by as many as `MOST_POINTS` demands.
    pub points: Vec<Point>,
    /// In at most fifteen parts.
    pub slices: Vec<Slice>,
    /// When the wall clock jumped.
    pub clock_jumps: Vec<Jump>,
}

/// A second of the fetches, or a few. Written as a list of its fields in their order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "[f64; 8]", into = "[f64; 8]")]
pub struct Point {
    /// When it begins, seconds since the run began.
    pub at_s: f64,
    /// Its length.
    pub seconds: f64,
    /// Completed fetches.
    pub fetched: f64,
    /// Failed fetches.
    pub failed: f64,
    /// Sum of the latencies of the completed fetches, seconds.
    pub latency_s: f64,
    /// Completed fetches that took longer than `SLOW`.
    pub slow: f64,
    /// VU time, VU·s.
    pub vu_s: f64,
    /// Part of the time in which a publish was being deployed, seconds.
    pub deploying_s: f64,
}

impl From<[f64; 8]> for Point {
    fn from([at_s, seconds, fetched, failed, latency_s, slow, vu_s, deploying_s]: [f64; 8]) -> Point {
        Point { at_s, seconds, fetched, failed, latency_s, slow, vu_s, deploying_s }
    }
}

impl From<Point> for [f64; 8] {
    fn from(p: Point) -> [f64; 8] {
        [p.at_s, p.seconds, p.fetched, p.failed, p.latency_s, p.slow, p.vu_s, p.deploying_s]
    }
}

impl Point {
    /// Completed fetches per second.
    #[must_use]
    pub fn per_s(&self) -> f64 {
        if self.seconds > 0.0 { self.fetched / self.seconds } else { 0.0 }
    }

    fn merge(&mut self, later: &Point) {
        self.seconds += later.seconds;
        self.fetched += later.fetched;
        self.failed += later.failed;
        self.latency_s += later.latency_s;
        self.slow += later.slow;
        self.vu_s += later.vu_s;
        self.deploying_s += later.deploying_s;
    }
}

/// A fifteenth of the measured part, or as much as there is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slice {
    /// Its length.
    pub seconds: f64,
    /// Completed fetches.
    pub fetched: u64,
    /// Failed fetches.
    pub failed: u64,
    /// VU time, VU·s.
    pub vu_s: f64,
    /// Part of it that VUs waited on purpose.
    pub pause_s: f64,
    /// Part of it that requests account for.
    pub busy_s: f64,
    /// Mean latency of completed fetches, ms.
    pub mean_ms: Option<f64>,
    /// Median latency, ms.
    pub p50_ms: Option<f64>,
    /// 99th percentile, ms.
    pub p99_ms: Option<f64>,
}

impl Slice {
    pub(super) fn of(batch: &Batch) -> Slice {
        let latency = &batch.fetch_duration;
        Slice {
            seconds: batch.seconds,
            fetched: batch.fetched,
            failed: batch.fetches_failed,
            vu_s: batch.vu_s,
            pause_s: batch.pause_s,
            busy_s: batch.busy_s,
            mean_ms: latency.mean_ms(),
            p50_ms: latency.quantile_ms(0.5),
            p99_ms: latency.quantile_ms(0.99),
        }
    }

    /// Completed fetches per second.
    #[must_use]
    pub fn per_s(&self) -> f64 {
        if self.seconds > 0.0 { self.fetched as f64 / self.seconds } else { 0.0 }
    }
}

/// The wall clock moved against the monotonic one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jump {
    /// Seconds since the run began.
    pub at_s: f64,
    /// By how much; negative: back.
    pub by_ms: f64,
}

/// A course that is being recorded.
#[derive(Debug, Clone, Default)]
pub(super) struct Recording {
    points: Vec<Point>,
    /// Seconds in a full point, less one: zero to begin with.
    more_seconds: usize,
    /// Seconds in the last point.
    open: usize,
    wall_ahead_ms: Option<f64>,
    jumps: Vec<Jump>,
}

impl Recording {
    /// Takes a second, and its fetches.
    pub(super) fn add(&mut self, second: &Second, batch: &Batch) {
        let point = Point {
            at_s: second.window.span_ns.map_or(second.second as f64, |(from, _)| from as f64 / 1e9),
            seconds: batch.seconds,
            fetched: batch.fetched as f64,
            failed: batch.fetches_failed as f64,
            latency_s: batch.fetch_duration.sum_ns() as f64 / 1e9,
            slow: batch.fetch_duration.longer_than(SLOW) as f64,
            vu_s: batch.vu_s,
            deploying_s: 0.0,
        };
        match self.points.last_mut() {
            Some(last) if self.open <= self.more_seconds => last.merge(&point),
            _ => {
                self.points.push(point);
                self.open = 0;
            }
        }
        self.open += 1;
        let deploying = DEPLOYING.iter().filter_map(|phase| second.window.trends.get(*phase));
        self.deployed(deploying.map(|phase| phase.sum_ns() as f64 / 1e9).sum());
        self.clock(point.at_s, second.host.wall_ahead_ms);
        if self.points.len() > MOST_POINTS {
            self.halve();
        }
    }

    /// A publish is known when it is over: the time before it was spent on it.
    fn deployed(&mut self, mut seconds: f64) {
        for point in self.points.iter_mut().rev() {
            if seconds <= 0.0 {
                break;
            }
            let here = seconds.min(point.seconds - point.deploying_s).max(0.0);
            point.deploying_s += here;
            // What lies before another publish's time is not this one's, but a second that two share is no gap.
            seconds -= if here > 0.0 { here } else { point.seconds };
        }
    }

    fn clock(&mut self, at_s: f64, ahead_ms: Option<f64>) {
        let (Some(before), Some(now)) = (std::mem::replace(&mut self.wall_ahead_ms, ahead_ms), ahead_ms) else {
            return;
        };
        if (now - before).abs() > JUMP_MS && self.jumps.len() < MOST_JUMPS {
            self.jumps.push(Jump { at_s, by_ms: now - before });
        }
    }

    fn halve(&mut self) {
        // What the open point has so far is that of a whole one, or the pair is left open.
        let odd = self.points.len() % 2;
        let full = self.more_seconds + 1;
        self.open += if odd == 1 { 0 } else { full };
        let pairs = self.points.chunks(2).map(|pair| {
            let mut point = pair[0];
            pair[1..].iter().for_each(|later| point.merge(later));
            point
        });
        self.points = pairs.collect();
        self.more_seconds = 2 * full - 1;
    }

    pub(super) fn finish(self, slices: Vec<Slice>) -> Course {
        Course { points: self.points, slices, clock_jumps: self.jumps }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::{HostSample, Part, Window};

    fn second(at: u64, ahead_ms: f64) -> Second {
        let mut window = Window::new(0, 0);
        window.span_ns = Some((at * 1_000_000_000, (at + 1) * 1_000_000_000));
        let host = HostSample { wall_ahead_ms: Some(ahead_ms), ..HostSample::default() };
        Second { second: at, part: Part::Steady, window, host }
    }

    fn recorded(seconds: u64) -> Course {
        let mut recording = Recording::default();
        for at in 0..seconds {
            let batch = Batch { seconds: 1.0, fetched: at, ..Batch::default() };
            recording.add(&second(at, 0.0), &batch);
        }
        recording.finish(Vec::new())
    }

    #[test]
    fn a_long_run_has_longer_points_and_loses_nothing() {
        for seconds in [1, 1800, 2048, 2049, 2050, 5000, 20_001, 90_000] {
            let course = recorded(seconds);
            assert!(course.points.len() <= MOST_POINTS);
            let (length, fetched) =
                course.points.iter().fold((0.0, 0.0), |(s, n), point| (s + point.seconds, n + point.fetched));
            assert_eq!((length, fetched), (seconds as f64, (seconds * (seconds - 1) / 2) as f64));
            let (first, others) = (course.points[0].seconds, &course.points[..course.points.len() - 1]);
            assert!(others.iter().all(|point| point.seconds == first), "{seconds}: points of different lengths");
        }
        assert_eq!(recorded(1800).points.len(), 1800);
    }

    #[test]
    fn the_time_before_the_end_of_a_publish_is_the_publish_s() {
        let mut recording = Recording::default();
        let batch = Batch { seconds: 1.0, ..Batch::default() };
        for at in 0..10 {
            let mut second = second(at, 0.0);
            if at == 6 {
                let trends = &mut second.window.trends;
                trends.entry("publish_restore".to_owned()).or_default().record(Duration::from_millis(2500));
                trends.entry("publish_total".to_owned()).or_default().record(Duration::from_secs(6));
            }
            recording.add(&second, &batch);
        }
        let deploying: Vec<f64> = recording.finish(Vec::new()).points.iter().map(|point| point.deploying_s).collect();
        assert_eq!(deploying, [0.0, 0.0, 0.0, 0.0, 0.5, 1.0, 1.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn a_clock_that_is_set_jumps_and_one_that_is_slewed_does_not() {
        let mut recording = Recording::default();
        let batch = Batch { seconds: 1.0, ..Batch::default() };
        let ahead = [0.0, 0.1, 0.2, -3600.0, -3600.1, -3500.0, 400_000.0];
        for (at, ahead_ms) in ahead.into_iter().enumerate() {
            recording.add(&second(at as u64, ahead_ms), &batch);
        }
        let jumps = recording.finish(Vec::new()).clock_jumps;
        assert_eq!(jumps.iter().map(|jump| jump.at_s).collect::<Vec<_>>(), [3.0, 6.0]);
        assert_eq!(jumps[0].by_ms, -3600.2);
    }

    #[test]
    fn points_are_read_as_they_were_written() {
        let course = recorded(3);
        let text = serde_json::to_string(&course).unwrap();
        assert!(text.contains("[1.0,1.0,1.0,0.0,0.0,0.0,0.0,0.0]"), "{text}");
        assert_eq!(serde_json::from_str::<Course>(&text).unwrap(), course);
    }
}
