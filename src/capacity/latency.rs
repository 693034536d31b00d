//! Latency percentiles of users from the histograms that a ramp measured at its numbers of VUs.
//!
//! A request that finds j others in the server sees the latency that was measured with j+1 VUs; what users see is the
//! mixture over j. Between two numbers of VUs a percentile is interpolated over the logarithm of the VUs; beyond the
//! last it grows in proportion, as that of a saturated server does.

use crate::histogram::Latency;

/// Probabilities at which a histogram is kept.
const LEVELS: usize = 116;
/// Weights below this do not count.
const NEGLIGIBLE: f64 = 1e-9;
/// Most distributions that are mixed; neighbours are put together where there are more.
const MOST_MIXED: usize = 300;

/// Every percent, and the tail more finely.
fn level(at: usize) -> f64 {
    const TAIL: [f64; 15] =
        [0.991, 0.992, 0.993, 0.994, 0.995, 0.996, 0.997, 0.998, 0.999, 0.9993, 0.9995, 0.9997, 0.9999, 0.999_99, 1.0];
    if at < 100 {
        at as f64 / 100.0
    } else if at == 100 {
        0.9905
    } else {
        TAIL[at - 101]
    }
}

/// Percentiles, ms, at [`level`].
type Percentiles = Vec<f64>;

/// Measured latencies by number of VUs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Latencies {
    /// By VUs, ascending.
    measured: Vec<(f64, Percentiles)>,
}

impl Latencies {
    /// From histograms by VUs. Empty ones are left out.
    #[must_use]
    pub fn new(measured: &[(u32, Latency)]) -> Latencies {
        let percentiles =
            |latency: &Latency| (0..LEVELS).map(|at| latency.quantile_ms(level(at))).collect::<Option<Percentiles>>();
        let mut measured: Vec<(f64, Percentiles)> = measured
            .iter()
            .filter_map(|(vus, latency)| percentiles(latency).map(|p| (f64::from((*vus).max(1)), p)))
            .collect();
        measured.sort_by(|a, b| a.0.total_cmp(&b.0));
        Latencies { measured }
    }

    /// Whether nothing was measured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.measured.is_empty()
    }

    /// Those of `times` such servers behind an even load balancer.
    #[must_use]
    pub fn scaled(&self, times: f64) -> Latencies {
        Latencies { measured: self.measured.iter().map(|(vus, p)| (vus * times, p.clone())).collect() }
    }

    /// Percentiles with so many requests in the server.
    fn with(&self, requests: f64) -> Option<Percentiles> {
        let next = self.measured.partition_point(|(vus, _)| *vus < requests);
        let (last, beyond) = self.measured.last()?;
        Some(match (next.checked_sub(1).map(|at| &self.measured[at]), self.measured.get(next)) {
            (None, Some((_, first))) => first.clone(),
            (Some((a, x)), Some((b, y))) => {
                let share = (requests / a).ln() / (b / a).ln();
                x.iter().zip(y).map(|(x, y)| x + share * (y - x)).collect()
            }
            (_, None) => beyond.iter().map(|ms| ms * requests / last).collect(),
        })
    }

    /// The latency in ms that a share `q` of the requests stay below, where a request finds j others in the server
    /// with probability `found[j]`. `None` where nothing was measured.
    #[must_use]
    pub fn quantile_ms(&self, found: &[f64], q: f64) -> Option<f64> {
        let mixed = self.mixed(found)?;
        let below = |ms: f64| mixed.iter().map(|(weight, p)| weight * share_below(p, ms)).sum::<f64>();
        let (mut low, mut high) = (0.0, mixed.iter().map(|(_, p)| p[LEVELS - 1]).fold(0.0, f64::max));
        for _ in 0..50 {
            let middle = 0.5 * (low + high);
            if below(middle) < q { low = middle } else { high = middle }
        }
        Some(high)
    }

    fn mixed(&self, found: &[f64]) -> Option<Vec<(f64, Percentiles)>> {
        let weights: Vec<(usize, f64)> =
            found.iter().copied().enumerate().filter(|(_, weight)| *weight > NEGLIGIBLE).collect();
        let (all, together) = (weights.iter().map(|(_, w)| w).sum::<f64>(), weights.len().div_ceil(MOST_MIXED).max(1));
        let groups = weights.chunks(together).map(|group| {
            let weight: f64 = group.iter().map(|(_, w)| w).sum();
            let others = group.iter().map(|(j, w)| *j as f64 * w).sum::<f64>() / weight;
            self.with(others + 1.0).map(|p| (weight / all, p))
        });
        groups.collect::<Option<Vec<_>>>().filter(|mixed| !mixed.is_empty())
    }
}

/// Share of a distribution that is at or below `ms`.
fn share_below(percentiles: &[f64], ms: f64) -> f64 {
    let above = percentiles.partition_point(|p| *p <= ms);
    match above {
        0 => 0.0,
        n if n == percentiles.len() => 1.0,
        n => {
            let (a, b) = (percentiles[n - 1], percentiles[n]);
            level(n - 1) + (level(n) - level(n - 1)) * (ms - a) / (b - a)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Evenly spread from 0 to `ms`.
    fn even(ms: u64) -> Latency {
        let mut latency = Latency::default();
        (1..=10_000u64).for_each(|at| latency.record(Duration::from_micros(at * ms / 10)));
        latency
    }

    fn close(got: f64, want: f64) {
        assert!((got / want - 1.0).abs() < 0.01, "{got} is not {want}");
    }

    #[test]
    fn one_distribution_is_itself() {
        let latencies = Latencies::new(&[(1, even(100)), (10, even(200))]);
        close(latencies.quantile_ms(&[1.0], 0.5).unwrap(), 50.0);
        close(latencies.quantile_ms(&[1.0], 0.999).unwrap(), 99.9);
        let mut ten = vec![0.0; 10];
        ten[9] = 1.0;
        close(latencies.quantile_ms(&ten, 0.95).unwrap(), 190.0);
    }

    #[test]
    fn between_over_the_logarithm_and_beyond_in_proportion() {
        let latencies = Latencies::new(&[(1, even(100)), (100, even(300)), (4, Latency::default())]);
        let with = |n: usize| {
            let mut found = vec![0.0; n];
            found[n - 1] = 1.0;
            latencies.quantile_ms(&found, 0.5).unwrap()
        };
        close(with(10), 100.0);
        close(with(200), 300.0);
        assert_eq!(Latencies::default().quantile_ms(&[1.0], 0.5), None);
    }

    /// Half the requests from 0 to 100 ms, half from 0 to 300: 75 ms is the median.
    #[test]
    fn a_mixture_weighs_each() {
        let latencies = Latencies::new(&[(1, even(100)), (2, even(300))]);
        close(latencies.quantile_ms(&[0.5, 0.5], 0.5).unwrap(), 75.0);
        close(latencies.quantile_ms(&[0.5, 0.5], 0.95).unwrap(), 270.0);
    }

    #[test]
    fn more_than_can_be_mixed_are_put_together() {
        let latencies = Latencies::new(&[(1, even(100)), (1000, even(100))]);
        let found = vec![1.0 / 900.0; 900];
        close(latencies.quantile_ms(&found, 0.9).unwrap(), 90.0);
    }

    #[test]
    fn the_levels_rise_to_one() {
        assert!((1..LEVELS).all(|at| level(at) > level(at - 1)));
        assert_eq!(level(LEVELS - 1), 1.0);
    }
}
