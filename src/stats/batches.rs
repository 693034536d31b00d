//! Means and percentiles of correlated series: where the transient ends, and how sure the rest is.

use super::Interval;
use super::descriptive::{lag1_autocorrelation, mean, sd};
use super::special::t_two_sided;
use crate::histogram::Latency;

/// MSER: the number of leading values to drop, in `least..=n/2` (or `least`, where that is more), that minimises
/// Σ_{i≥d}(yᵢ − ȳ)² / (n − d)². At most n − 1.
#[must_use]
pub fn mser_cut(values: &[f64], least: usize) -> usize {
    let n = values.len();
    let last = n.saturating_sub(1);
    let (first, half) = (least.min(last), n / 2);
    let (mut sum, mut squares, mut best) = (0.0, 0.0, (f64::INFINITY, first));
    // Shifted by the mean, so that the difference of sums keeps its digits.
    let shift = mean(values).unwrap_or(0.0);
    for d in (0..n).rev() {
        let y = values[d] - shift;
        sum += y;
        squares += y * y;
        let left = (n - d) as f64;
        let statistic = (squares - sum * sum / left).max(0.0) / (left * left);
        if d >= first && d <= half.max(first) && statistic <= best.0 {
            best = (statistic, d);
        }
    }
    best.1
}

/// A mean with its standard error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchMeans {
    /// Mean of all values.
    pub mean: f64,
    /// Standard error of the mean.
    pub se: f64,
    /// Number of batches it rests on.
    pub batches: usize,
}

/// Batch means with lag-1 adaptive doubling: batches of one value, twice as long while the batches' lag-1
/// autocorrelation is ≥ 1.6/√k and k > 6. `None` without data; `se` is infinite for a single value.
#[must_use]
pub fn batch_means(values: &[f64]) -> Option<BatchMeans> {
    let mean_of_all = mean(values)?;
    let mut batches = values.to_vec();
    while batches.len() > 6 {
        let r1 = lag1_autocorrelation(&batches).unwrap_or(0.0);
        if r1 < 1.6 / (batches.len() as f64).sqrt() {
            break;
        }
        batches = batches.chunks_exact(2).map(|pair| 0.5 * (pair[0] + pair[1])).collect();
    }
    let se = sd(&batches).map_or(f64::INFINITY, |sd| sd / (batches.len() as f64).sqrt());
    Some(BatchMeans { mean: mean_of_all, se, batches: batches.len() })
}

/// Whether the second half of a series is clearly above the first: by two standard errors and by more than
/// `least` (1.02 is 2 %). False below four values.
#[must_use]
pub fn is_rising(values: &[f64], least: f64) -> bool {
    if values.len() < 4 {
        return false;
    }
    let (first, second) = values.split_at(values.len() / 2);
    let part = |half: &[f64]| {
        let mean = mean(half).unwrap_or(0.0);
        (mean, sd(half).unwrap_or(0.0).powi(2) / half.len() as f64)
    };
    let ((a, var_a), (b, var_b)) = (part(first), part(second));
    b - a > 2.0 * (var_a + var_b).sqrt() && b > least * a
}

/// 95 % interval for a mean from ten batches (or as many as given, at least three), each as (sum, count): the
/// estimate from all data ± t · sd(batch means)/√k, wider where neighbouring batches are alike. With ten the factor t is
/// 2.262. `None` where a batch is empty.
#[must_use]
pub fn ten_batches_mean(batches: &[(f64, f64)]) -> Option<Interval> {
    let (sum, count) = batches.iter().fold((0.0, 0.0), |(s, c), b| (s + b.0, c + b.1));
    if batches.iter().any(|b| b.1 <= 0.0) {
        return None;
    }
    let means: Vec<f64> = batches.iter().map(|b| b.0 / b.1).collect();
    interval(sum / count, &means)
}

/// 95 % interval for the `q` quantile of latency in ms from ten batches: the estimate from the merged histogram
/// ± t · sd(batch quantiles)/√k. `None` where a batch is empty or there are fewer than three.
#[must_use]
pub fn ten_batches_quantile(batches: &[Latency], q: f64) -> Option<Interval> {
    let mut all = Latency::default();
    batches.iter().for_each(|batch| all.merge(batch));
    let quantiles: Vec<f64> = batches.iter().map(|batch| batch.quantile_ms(q)).collect::<Option<_>>()?;
    interval(all.quantile_ms(q)?, &quantiles)
}

fn interval(estimate: f64, statistics: &[f64]) -> Option<Interval> {
    if statistics.len() < 3 {
        return None;
    }
    let k = statistics.len() as f64;
    let half_width = t_two_sided(0.95, k - 1.0) * sd(statistics)? / k.sqrt();
    Some(Interval::around(estimate, half_width * correlated(statistics)))
}

/// How much wider an interval from batches has to be because neighbours are alike: √((1 + r)/(1 − r)), the factor of an
/// autoregression, with r from 0 to 0.5, their lag-1 autocorrelation without its bias of −1/k. Of independent batches
/// it is 1.14 on average: their intervals hold 97 % instead of 95 %.
fn correlated(statistics: &[f64]) -> f64 {
    // Of fewer than eight it is chance alone.
    if statistics.len() < 8 {
        return 1.0;
    }
    let r = lag1_autocorrelation(statistics).unwrap_or(0.0) + 1.0 / statistics.len() as f64;
    let r = r.clamp(0.0, 0.5);
    ((1.0 + r) / (1.0 - r)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::random::Random;
    use proptest::prelude::*;
    use std::time::Duration;

    #[test]
    fn mser_finds_the_end_of_a_transient() {
        let mut random = Random::new(3);
        let values: Vec<f64> = (0..60).map(|i| if i < 12 { 50.0 } else { 100.0 } + random.normal()).collect();
        assert_eq!(mser_cut(&values, 3), 12);
        assert_eq!((mser_cut(&[], 3), mser_cut(&[1.0], 3), mser_cut(&[1.0, 2.0, 3.0, 4.0], 3)), (0, 0, 3));
    }

    #[test]
    fn correlated_values_get_a_larger_error() {
        let mut random = Random::new(5);
        let independent: Vec<f64> = (0..240).map(|_| random.normal()).collect();
        let mut level = 0.0;
        let correlated: Vec<f64> = (0..240)
            .map(|_| {
                level = 0.8 * level + 0.6 * random.normal();
                level
            })
            .collect();
        let (iid, ar) = (batch_means(&independent).unwrap(), batch_means(&correlated).unwrap());
        assert_eq!(iid.batches, 240);
        assert!(ar.batches < 120 && ar.se > 2.0 * iid.se, "{ar:?} {iid:?}");
        assert!(batch_means(&[]).is_none());
    }

    #[test]
    fn rising_needs_size_and_significance() {
        assert!(is_rising(&[10.0, 10.1, 12.0, 12.1], 1.02));
        assert!(!is_rising(&[10.0, 10.0, 10.1, 10.1], 1.02));
        assert!(!is_rising(&[5.0, 15.0, 1.0, 22.0], 1.02));
    }

    /// Share of 2000 intervals that hold the mean of batches with this lag-1 autocorrelation, in percent.
    fn covered(correlation: f64) -> f64 {
        let mut random = Random::new(11);
        let held = (0..2000).filter(|_| {
            let mut level = random.normal();
            let batches: Vec<(f64, f64)> = (0..10)
                .map(|_| {
                    level = correlation * level + (1.0 - correlation * correlation).sqrt() * random.normal();
                    (100.0 + level, 10.0)
                })
                .collect();
            ten_batches_mean(&batches).unwrap().contains(10.0)
        });
        held.count() as f64 / 20.0
    }

    /// A speed that wanders over 60 s makes batches of 168 s correlated by 0.24.
    #[test]
    fn ten_batches_cover_the_mean_as_often_as_they_claim() {
        let (independent, correlated) = (covered(0.0), covered(0.24));
        assert!((94.5..=98.0).contains(&independent), "{independent}");
        assert!((90.5..=95.5).contains(&correlated), "{correlated}");
    }

    #[test]
    fn ten_batches_of_latencies() {
        let batch = |ms: u64| {
            let mut latency = Latency::default();
            latency.record_n(Duration::from_millis(ms), 100);
            latency
        };
        // Alternating: not alike, so nothing is added.
        let batches: Vec<Latency> = (0..10).map(|i| batch(if i % 2 == 0 { 100 } else { 102 })).collect();
        let median = ten_batches_quantile(&batches, 0.5).unwrap();
        assert!((median.high - median.estimate - 2.262 * 1.054 / 10f64.sqrt()).abs() < 0.05, "{median:?}");
        assert!(ten_batches_quantile(&[Latency::default(), batch(1), batch(1)], 0.5).is_none());
        assert!(ten_batches_mean(&[(1.0, 1.0), (1.0, 0.0), (1.0, 1.0)]).is_none());
    }

    proptest! {
        #[test]
        fn the_cut_is_within_bounds(values in prop::collection::vec(0f64..1e6, 0..80), least in 0usize..90) {
            let cut = mser_cut(&values, least);
            prop_assert!(cut <= values.len().saturating_sub(1));
            prop_assert!(cut >= least.min(values.len().saturating_sub(1)));
        }
    }
}
