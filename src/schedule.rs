//! When things happen, as arithmetic. Knows no clock and no runtime.

mod arrivals;
mod curve;
mod executor;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use arrivals::{Arrivals, Part, Spacing};
pub use curve::VuCurve;
pub use executor::Executor;

use crate::units::seconds;

/// A leg of a ramp: to a target, in a straight line over a time. A leg of no time jumps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Its length.
    #[serde(with = "seconds")]
    pub duration: Duration,
    /// VUs, or arrivals per time unit, at its end.
    pub target: u32,
}

/// The length of all stages.
fn length(stages: &[Stage]) -> Duration {
    stages.iter().map(|stage| stage.duration).sum()
}

/// How many of `total` VUs worker `worker` of `workers` has. The shares differ by one at most and add up to `total`.
#[must_use]
pub fn share(total: u32, worker: usize, workers: usize) -> u32 {
    let workers = u32::try_from(workers.max(1)).unwrap_or(u32::MAX);
    let worker = u32::try_from(worker).unwrap_or(u32::MAX);
    total / workers + u32::from(worker < total % workers)
}

/// The least VUs that are worth a pool of their own: the smaller the pools, the more often one is empty while another
/// has a free VU.
const LEAST_POOL: u32 = 8;

/// Over how many of `workers` an open scenario with at most `max_vus` VUs is spread.
#[must_use]
pub fn pools(max_vus: u32, workers: usize) -> usize {
    usize::try_from(max_vus / LEAST_POOL).unwrap_or(usize::MAX).clamp(1, workers.max(1))
}

/// When the `index`th of `count` VUs starts, spread evenly over `over`.
#[must_use]
pub fn start_offset(index: u32, count: u32, over: Duration) -> Duration {
    over.mul_f64(f64::from(index) / f64::from(count.max(1)))
}

/// The pause after the `failures`th connection in a row that could not be opened: 50 ms doubled each time up to 5 s,
/// times 0.5..1.5 by `jitter` in 0..1, so that VUs that lost the server together do not come back together.
#[must_use]
pub fn back_off(failures: u32, jitter: f64) -> Duration {
    let doubled = 50u64.saturating_mul(1 << failures.saturating_sub(1).min(10));
    Duration::from_millis(doubled.min(5_000)).mul_f64(0.5 + jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn shares_add_up_and_differ_by_one_at_most(total in 0u32..100_000, workers in 1usize..64) {
            let shares: Vec<u32> = (0..workers).map(|worker| share(total, worker, workers)).collect();
            prop_assert_eq!(shares.iter().sum::<u32>(), total);
            prop_assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1);
        }

        #[test]
        fn back_off_grows_and_is_bounded(failures in 1u32..1000, jitter in 0.0f64..1.0) {
            let pause = back_off(failures, jitter);
            prop_assert!(pause >= Duration::from_millis(25) && pause <= Duration::from_millis(7500));
            prop_assert!(back_off(failures + 1, jitter) >= pause);
        }
    }

    #[test]
    fn starts_are_spread_evenly() {
        let over = Duration::from_secs(1);
        let starts: Vec<u128> = (0..4).map(|i| start_offset(i, 4, over).as_millis()).collect();
        assert_eq!(starts, [0, 250, 500, 750]);
    }

    #[test]
    fn a_pool_is_not_split_below_eight_vus() {
        assert_eq!([1, 7, 15, 16, 100].map(|vus| pools(vus, 4)), [1, 1, 1, 2, 4]);
    }
}
