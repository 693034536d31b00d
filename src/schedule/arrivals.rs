//! When iterations of the open model are due: exact offsets, whoever is free or not.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Stage;
use super::curve::nanos;
use crate::stats::random::Random;

/// How arrivals are spread around their rate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spacing {
    /// Evenly, as k6 does.
    #[default]
    Even,
    /// By a Poisson process of that rate: as many independent users arrive. Seeded.
    Poisson,
}

/// Which of the arrivals: those with number `worker`, `worker + workers`, … of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The first one.
    pub worker: u64,
    /// And every so many further.
    pub workers: u64,
}

impl Part {
    /// All of them.
    pub const WHOLE: Part = Part { worker: 0, workers: 1 };
}

/// The offsets of arrivals, in order.
///
/// With the rate `r(t)` they are where its integral `∫r` reaches whole numbers: at a constant rate at `0, 1, 2, …`
/// below the integral at the end, so that arrival `i` is due at `i·timeUnit/rate`; of a ramp at `1, 2, …` up to it, as
/// in k6. In a Poisson process they are where the integral reaches the sums of exponential deviates of mean 1.
#[derive(Debug, Clone)]
pub struct Arrivals {
    legs: Vec<Leg>,
    leg: usize,
    part: Part,
    /// Number of the next arrival of all workers.
    next: u64,
    /// What the integral is at arrival 0, and whether its value at the end is still one.
    first: u64,
    random: Option<(Random, f64)>,
}

/// A time in which the rate is a straight line. Areas are in `1 / (2·timeUnit)` arrivals, times in ns: whole numbers.
#[derive(Debug, Clone, Copy)]
struct Leg {
    begins: u128,
    length: u128,
    from: u128,
    to: u128,
    /// The integral of the rate before it.
    before: u128,
    /// The integral of the rate at its end.
    after: u128,
    unit: u128,
}

impl Leg {
    /// When the integral reaches `area` arrivals, in ns since the leg began.
    ///
    /// `a·t + (b-a)·t²/(2D) = c` solved as `t = 2c / (a + √(a² + 2c(b-a)/D))`, which is exact for `a = b`, too, and
    /// loses no digits where the rate falls to zero.
    fn reaches(&self, area: f64) -> u128 {
        let unit = self.unit as f64;
        let missing = (area - self.before as f64 / (2.0 * unit)).max(0.0);
        let (a, b) = (self.from as f64 / unit, self.to as f64 / unit);
        let root = (a * a + 2.0 * missing * (b - a) / self.length as f64).max(0.0).sqrt();
        let time = if missing == 0.0 { 0.0 } else { 2.0 * missing / (a + root) };
        (time.round() as u128).min(self.length)
    }

    /// The same for a whole number, without rounding where the rate is constant.
    fn reaches_whole(&self, area: u64) -> u128 {
        let missing = (u128::from(area) * 2 * self.unit).saturating_sub(self.before);
        if self.from == self.to { missing / (2 * self.from).max(1) } else { self.reaches(area as f64) }
    }
}

fn legs(start: u32, stages: &[Stage], unit: Duration) -> Vec<Leg> {
    let (mut from, mut begins, mut before) = (u128::from(start), 0, 0);
    let unit = unit.as_nanos().max(1);
    let mut legs = Vec::new();
    for stage in stages {
        let (to, length) = (u128::from(stage.target), stage.duration.as_nanos());
        let after = before + length * (from + to);
        legs.push(Leg { begins, length, from, to, before, after, unit });
        (from, begins, before) = (to, begins + length, after);
    }
    legs
}

impl Arrivals {
    /// `rate` arrivals in each `unit`, for so long.
    #[must_use]
    pub fn constant(rate: u32, unit: Duration, duration: Duration, part: Part) -> Arrivals {
        let stage = Stage { duration, target: rate };
        Arrivals { legs: legs(rate, &[stage], unit), leg: 0, part, next: part.worker, first: 0, random: None }
    }

    /// From `start` arrivals in each `unit` through the stages.
    #[must_use]
    pub fn ramping(start: u32, stages: &[Stage], unit: Duration, part: Part) -> Arrivals {
        Arrivals { legs: legs(start, stages, unit), leg: 0, part, next: part.worker, first: 1, random: None }
    }

    /// The same rate as a Poisson process. All parts of one seed are parts of the same process.
    #[must_use]
    pub fn poisson(mut self, seed: u64) -> Arrivals {
        let mut random = Random::new(seed);
        let mut area = 0.0;
        for _ in 0..=self.part.worker {
            area += random.exponential(1.0);
        }
        self.random = Some((random, area));
        self
    }

    /// How many evenly spaced ones there are, of all workers.
    #[must_use]
    pub fn planned(&self) -> u64 {
        let Some(last) = self.legs.last() else { return 0 };
        let whole = 2 * last.unit;
        let count = if self.first == 0 { last.after.div_ceil(whole) } else { last.after / whole };
        u64::try_from(count).unwrap_or(u64::MAX)
    }

    fn next_even(&mut self) -> Option<Duration> {
        let area = self.next + self.first;
        let target = u128::from(area) * 2;
        // The arrival at the very end is one of a ramp, and none of a constant rate.
        let beyond =
            |leg: &Leg| if self.first == 0 { target * leg.unit >= leg.after } else { target * leg.unit > leg.after };
        while beyond(self.legs.get(self.leg)?) {
            self.leg += 1;
        }
        let leg = self.legs.get(self.leg)?;
        self.next += self.part.workers;
        Some(nanos(leg.begins + leg.reaches_whole(area)))
    }

    fn next_random(&mut self, mut random: Random, mut area: f64) -> Option<Duration> {
        while area * 2.0 * self.legs.get(self.leg)?.unit as f64 >= self.legs.get(self.leg)?.after as f64 {
            self.leg += 1;
        }
        let leg = self.legs.get(self.leg)?;
        let due = nanos(leg.begins + leg.reaches(area));
        for _ in 0..self.part.workers {
            area += random.exponential(1.0);
        }
        self.random = Some((random, area));
        Some(due)
    }
}

impl Iterator for Arrivals {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        match self.random.take() {
            None => self.next_even(),
            Some((random, area)) => self.next_random(random, area),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn stage(ms: u64, target: u32) -> Stage {
        Stage { duration: Duration::from_millis(ms), target }
    }

    #[test]
    fn a_constant_rate_is_evenly_spaced_from_zero_on() {
        let all: Vec<Duration> = Arrivals::constant(3, SECOND, 2 * SECOND, Part::WHOLE).collect();
        let nanos: Vec<u128> = all.iter().map(Duration::as_nanos).collect();
        assert_eq!(nanos, [0, 333_333_333, 666_666_666, 1_000_000_000, 1_333_333_333, 1_666_666_666]);
        let slow: Vec<Duration> = Arrivals::constant(2, 60 * SECOND, 60 * SECOND, Part::WHOLE).collect();
        assert_eq!(slow, [Duration::ZERO, 30 * SECOND]);
    }

    #[test]
    fn a_ramp_follows_the_integral_of_its_rate() {
        // 0 to 10 per second over 10 s: n arrivals by t²/2 = n.
        let ramp = Arrivals::ramping(0, &[stage(10_000, 10)], SECOND, Part::WHOLE);
        assert_eq!(ramp.planned(), 50);
        for (at, due) in ramp.enumerate() {
            let expected = (2.0 * (at + 1) as f64).sqrt();
            assert!((due.as_secs_f64() - expected).abs() < 1e-9, "{at}: {due:?}");
        }
        // Up, level, down to zero: the last arrival is at the very end.
        let shape = [stage(2000, 4), stage(1000, 4), stage(2000, 0)];
        let all: Vec<Duration> = Arrivals::ramping(0, &shape, SECOND, Part::WHOLE).collect();
        assert_eq!(all.len(), 12);
        assert_eq!((all[3], all[7], all[11]), (2 * SECOND, 3 * SECOND, 5 * SECOND));
    }

    #[test]
    fn a_stage_of_no_time_jumps() {
        let all: Vec<u128> = Arrivals::ramping(1, &[stage(2000, 1), stage(0, 10), stage(500, 10)], SECOND, Part::WHOLE)
            .map(|due| due.as_millis())
            .collect();
        assert_eq!(all, [1000, 2000, 2100, 2200, 2300, 2400, 2500]);
    }

    #[test]
    fn poisson_arrivals_have_their_rate_and_their_spread() {
        let all: Vec<Duration> = Arrivals::constant(1000, SECOND, 60 * SECOND, Part::WHOLE).poisson(7).collect();
        let count = all.len() as f64;
        assert!((count - 60_000.0).abs() < 4.0 * 60_000f64.sqrt(), "{count}");
        let gaps: Vec<f64> = all.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.02, "exponential gaps: {}", variance.sqrt() / mean);
    }

    fn any_stages() -> impl Strategy<Value = Vec<Stage>> {
        prop::collection::vec((0u64..4000, 0u32..80).prop_map(|(ms, target)| stage(ms, target)), 1..5)
    }

    proptest! {
        #[test]
        fn parts_are_the_whole(start in 0u32..50, stages in any_stages(), workers in 1u64..6, seed in prop::option::of(0u64..9)) {
            let of = |part| {
                let ramp = Arrivals::ramping(start, &stages, SECOND, part);
                match seed { None => ramp, Some(seed) => ramp.poisson(seed) }
            };
            let whole: Vec<Duration> = of(Part::WHOLE).collect();
            let parts: Vec<Vec<Duration>> = (0..workers).map(|worker| of(Part { worker, workers }).collect()).collect();
            for (at, due) in whole.iter().enumerate() {
                prop_assert_eq!(parts[at % workers as usize][at / workers as usize], *due);
            }
            prop_assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), whole.len());
        }

        #[test]
        fn arrivals_never_go_back_and_stay_within(start in 0u32..50, stages in any_stages()) {
            let ramp = Arrivals::ramping(start, &stages, SECOND, Part::WHOLE);
            let end = super::super::length(&stages);
            let planned = ramp.planned();
            let all: Vec<Duration> = ramp.collect();
            prop_assert!(all.windows(2).all(|pair| pair[0] <= pair[1]));
            prop_assert!(all.last().is_none_or(|last| *last <= end));
            prop_assert_eq!(all.len() as u64, planned);
        }

        #[test]
        fn a_constant_rate_counts_exactly(rate in 1u32..2000, unit_ms in 1u64..5000, ms in 1u64..5000) {
            let (unit, duration) = (Duration::from_millis(unit_ms), Duration::from_millis(ms));
            let arrivals = Arrivals::constant(rate, unit, duration, Part::WHOLE);
            let expected = (u64::from(rate) * ms).div_ceil(unit_ms);
            prop_assert_eq!(arrivals.planned(), expected);
            prop_assert_eq!(arrivals.clone().count() as u64, expected);
            prop_assert!(arrivals.into_iter().all(|due| due < duration));
        }
    }
}
