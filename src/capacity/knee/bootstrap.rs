//! How sure an estimate is: a parametric bootstrap over the measured stages.

use super::estimate::{Estimate, Point, estimate_near};
use crate::stats::Interval;
use crate::stats::descriptive::quantile;
use crate::stats::random::Random;

/// 90 % intervals of an estimate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Intervals {
    /// Of N_sat, VUs, widened by 4 % each side: as drawn a bootstrap was seen to cover 86 % of truths; widened, ours covers
    /// about 94 % (`cargo bench --bench search`).
    pub vus: Interval,
    /// Of the plateau, requests per second, widened by 0.4 % each side: what the model adds.
    pub plateau_per_s: Interval,
}

const RESAMPLES: usize = 200;

/// Draws every stage again from N(X, σ), fits again, and takes the middle 90 % of what comes out. The intervals
/// contain the estimate. The same seed gives the same answer.
#[must_use]
pub fn bootstrap(points: &[Point], estimate: &Estimate, eps: f64, seed: u64) -> Intervals {
    let mut random = Random::new(seed);
    let drawn: Vec<Estimate> = (0..RESAMPLES)
        .filter_map(|_| {
            let again: Vec<Point> = points
                .iter()
                .map(|p| Point { per_s: (p.per_s + p.sigma * random.normal()).max(1e-3 * p.per_s), ..*p })
                .collect();
            estimate_near(&again, eps, estimate.knee?)
        })
        .collect();
    let of = |value: fn(&Estimate) -> f64, widen: f64| {
        let values: Vec<f64> = drawn.iter().map(value).collect();
        let center = value(estimate);
        let low = quantile(&values, 0.05).map_or(center, |v| v.min(center));
        let high = quantile(&values, 0.95).map_or(center, |v| v.max(center));
        Interval { estimate: center, low: low * (1.0 - widen), high: high * (1.0 + widen) }
    };
    Intervals { vus: of(|e| e.vus, 0.04), plateau_per_s: of(|e| e.plateau_per_s, 0.004) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capacity::knee::Knee;
    use crate::capacity::knee::estimate::estimate;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn the_intervals_contain_the_estimate(x_max in 10f64..2000.0, n_star in 3f64..60.0, p in 1f64..15.0, seed: u64) {
            let knee = Knee { x_max_per_s: x_max, r0_s: n_star / x_max, p, kappa_s: 0.0 };
            let mut random = Random::new(seed);
            let points: Vec<Point> = (0..9).map(|k| {
                let vus = f64::from(1u32 << k);
                let per_s = knee.throughput(vus) * (1.0 + 0.01 * random.normal());
                Point { vus, per_s, sigma: 0.01 * per_s }
            }).collect();
            let estimate = estimate(&points, 0.02).unwrap();
            let intervals = bootstrap(&points, &estimate, 0.02, seed);
            prop_assert!(intervals.vus.contains(estimate.vus));
            prop_assert!(intervals.plateau_per_s.contains(estimate.plateau_per_s));
            prop_assert_eq!(intervals, bootstrap(&points, &estimate, 0.02, seed));
        }
    }
}
