//! How many VUs there are over time: straight lines, taken in whole steps.

use std::time::Duration;

use super::{Stage, length};

/// The VUs of a ramp. From `a` to `b` in the time `D` there are, `t` into the stage,
///
/// `a + floor((b - a)·t / D)` VUs on the way up and `a - floor((a - b)·t / D)` on the way down:
///
/// the line is reached from below on the way up and from above on the way down, as in k6.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VuCurve {
    start: u32,
    stages: Vec<Stage>,
}

impl VuCurve {
    /// From so many VUs on through the stages.
    #[must_use]
    pub fn new(start: u32, stages: &[Stage]) -> VuCurve {
        VuCurve { start, stages: stages.to_vec() }
    }

    /// Its length.
    #[must_use]
    pub fn duration(&self) -> Duration {
        length(&self.stages)
    }

    /// VUs at a time since its start. At its end and after it: the target of the last stage.
    #[must_use]
    pub fn at(&self, time: Duration) -> u32 {
        let (mut from, mut begins) = (self.start, Duration::ZERO);
        for stage in &self.stages {
            if time < begins + stage.duration {
                return on_line(from, stage, time.saturating_sub(begins));
            }
            (from, begins) = (stage.target, begins + stage.duration);
        }
        from
    }

    /// The most VUs at any time.
    #[must_use]
    pub fn max(&self) -> u32 {
        self.stages.iter().map(|stage| stage.target).fold(self.start, u32::max)
    }

    /// Every change: when, and how many VUs there are from then on. Begins with the VUs at the start; the offsets
    /// never fall, and of changes at the same time only the last one counts.
    pub fn steps(&self) -> impl Iterator<Item = (Duration, u32)> + use<> {
        let mut from = self.start;
        let mut begins = Duration::ZERO;
        let stages = self.stages.clone().into_iter().flat_map(move |stage| {
            let (a, start) = (from, begins);
            (from, begins) = (stage.target, begins + stage.duration);
            let (count, up) = (a.abs_diff(stage.target), stage.target > a);
            // In a stage of no time all steps are at once: one is enough.
            let first = if stage.duration.is_zero() { count.max(1) } else { 1 };
            (first..=count).map(move |step| {
                let vus = if up { a + step } else { a - step };
                (start + part(stage.duration, step, count), vus)
            })
        });
        std::iter::once((Duration::ZERO, self.start)).chain(stages)
    }
}

/// `whole · step / count`, rounded up to the nanosecond: never before the line is reached.
fn part(whole: Duration, step: u32, count: u32) -> Duration {
    nanos((whole.as_nanos() * u128::from(step)).div_ceil(u128::from(count.max(1))))
}

fn on_line(from: u32, stage: &Stage, time: Duration) -> u32 {
    let whole = stage.duration.as_nanos().max(1);
    let steps = u128::from(from.abs_diff(stage.target)) * time.as_nanos() / whole;
    let steps = u32::try_from(steps).unwrap_or(u32::MAX);
    if stage.target > from { from + steps } else { from - steps }
}

/// So many nanoseconds.
pub(super) fn nanos(nanos: u128) -> Duration {
    let seconds = u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX);
    Duration::new(seconds, (nanos % 1_000_000_000) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stage(ms: u64, target: u32) -> Stage {
        Stage { duration: Duration::from_millis(ms), target }
    }

    #[test]
    fn a_ramp_goes_up_in_whole_steps_and_jumps_in_no_time() {
        let curve = VuCurve::new(0, &[stage(4000, 4), stage(0, 10), stage(1000, 10), stage(2000, 8)]);
        let steps: Vec<(u128, u32)> = curve.steps().map(|(at, vus)| (at.as_millis(), vus)).collect();
        assert_eq!(steps, [(0, 0), (1000, 1), (2000, 2), (3000, 3), (4000, 4), (4000, 10), (6000, 9), (7000, 8)]);
        let at = |ms| curve.at(Duration::from_millis(ms));
        assert_eq!([0, 999, 1000, 3999, 4000, 5999, 6000, 7000, 9000].map(at), [0, 0, 1, 3, 10, 10, 9, 8, 8]);
        assert_eq!((curve.max(), curve.duration()), (10, Duration::from_secs(7)));
    }

    fn any_curve() -> impl Strategy<Value = VuCurve> {
        (0u32..50, prop::collection::vec((0u64..5000, 0u32..60), 1..6)).prop_map(|(start, stages)| {
            VuCurve::new(start, &stages.into_iter().map(|(ms, to)| stage(ms, to)).collect::<Vec<_>>())
        })
    }

    proptest! {
        #[test]
        fn the_steps_are_the_curve(curve in any_curve()) {
            let steps: Vec<(Duration, u32)> = curve.steps().collect();
            prop_assert!(steps.windows(2).all(|pair| pair[0].0 <= pair[1].0));
            for (at, (when, vus)) in steps.iter().enumerate() {
                // The last of the changes at one time is what there is from then on.
                if steps.get(at + 1).is_none_or(|next| next.0 > *when) {
                    prop_assert_eq!(curve.at(*when), *vus);
                }
            }
            prop_assert_eq!(steps.last().unwrap().1, curve.at(curve.duration()));
        }

        #[test]
        fn shares_of_a_curve_add_up_at_any_time(curve in any_curve(), ms in 0u64..30_000, workers in 1usize..9) {
            let now = curve.at(Duration::from_millis(ms));
            let shares: u32 = (0..workers).map(|worker| super::super::share(now, worker, workers)).sum();
            prop_assert_eq!(shares, now);
            prop_assert!(now <= curve.max());
        }
    }
}
