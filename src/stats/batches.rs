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

/// 95 % interval for a mean from ten batches (or as many as given, at least three), each as (sum, count), in order: the
/// estimate from all data ± t₅ · the standard error at the lowest frequencies, which holds where neighbouring batches are
/// alike. `None` where a batch is empty.
#[must_use]
pub fn ten_batches_mean(batches: &[(f64, f64)]) -> Option<Interval> {
    let (sum, count) = batches.iter().fold((0.0, 0.0), |(s, c), b| (s + b.0, c + b.1));
    if batches.iter().any(|b| b.1 <= 0.0) {
        return None;
    }
    let means: Vec<f64> = batches.iter().map(|b| b.0 / b.1).collect();
    interval(sum / count, &means)
}

/// 95 % interval for the `q` quantile of latency in ms from ten batches in order: the estimate from the merged histogram
/// ± as of a mean, from the batches' quantiles. `None` where a batch is empty or there are fewer than three.
#[must_use]
pub fn ten_batches_quantile(batches: &[Latency], q: f64) -> Option<Interval> {
    let mut all = Latency::default();
    batches.iter().for_each(|batch| all.merge(batch));
    let quantiles: Vec<f64> = batches.iter().map(|batch| batch.quantile_ms(q)).collect::<Option<_>>()?;
    interval(all.quantile_ms(q)?, &quantiles)
}

/// Frequencies that an interval rests on, and so its degrees of freedom: half a period over the run to two and a half. Fewer
/// make it wider where nothing is correlated, more make it too narrow where something is (`benches/STATISTICS.md`).
const LOWEST: usize = 5;

fn interval(estimate: f64, statistics: &[f64]) -> Option<Interval> {
    if statistics.len() < 3 {
        return None;
    }
    let frequencies = LOWEST.min(statistics.len() - 1);
    let half_width = t_two_sided(0.95, frequencies as f64) * low_frequency_se(statistics, frequencies)?;
    Some(Interval::around(estimate, half_width))
}

/// Standard error of the mean of a series whose neighbours are alike, from its slowest movements: √(Σ Λⱼ²/(f·k)) over the
/// lowest `frequencies` f < k, Λⱼ = √(2/k) Σᵢ yᵢ cos(πj(i + ½)/k). What is correlated over a few values moves the mean as much
/// as it moves these, while the spread of all the values has less of it; with f = k − 1 it is their spread, sd/√k. Against t
/// with f degrees of freedom (Müller 2007, J. Econometrics 141; "equal-weighted cosines" of Lazarus, Lewis, Stock and Watson
/// 2018, JBES 36). `None` without data.
fn low_frequency_se(values: &[f64], frequencies: usize) -> Option<f64> {
    let (center, k) = (mean(values)?, values.len() as f64);
    let wave = |j: usize| -> f64 {
        let at = |i: usize| (std::f64::consts::PI * j as f64 * (i as f64 + 0.5) / k).cos();
        values.iter().enumerate().map(|(i, y)| (y - center) * at(i)).sum()
    };
    let squares: f64 = (1..=frequencies).map(|j| wave(j).powi(2) * 2.0 / k).sum();
    Some((squares / (frequencies.max(1) as f64 * k)).sqrt())
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

    /// Share of 2000 intervals that hold the mean of ten batches of a speed that wanders over 60 s, each `batch_s` long and
    /// with a chance of its own of `chance` of the speed's spread, in percent.
    fn covered(batch_s: usize, chance: f64) -> f64 {
        let (mut random, keep) = (Random::new(11), (-1f64 / 60.0).exp());
        let held = (0..2000).filter(|_| {
            let mut level = random.normal();
            let batches: Vec<(f64, f64)> = (0..10)
                .map(|_| {
                    let wandered: f64 = (0..batch_s)
                        .map(|_| {
                            level = keep * level + (1.0 - keep * keep).sqrt() * random.normal();
                            level
                        })
                        .sum();
                    (100.0 + wandered / batch_s as f64 + chance * random.normal(), 1.0)
                })
                .collect();
            ten_batches_mean(&batches).unwrap().contains(100.0)
        });
        held.count() as f64 / 20.0
    }

    #[test]
    fn ten_batches_cover_the_mean_as_often_as_they_claim() {
        // Nothing but chance; half an hour; a quarter of one, in which there is little to learn from.
        let (independent, half_hour, quarter) = (covered(1, 1e3), covered(168, 0.0), covered(84, 0.0));
        assert!((94.0..=96.0).contains(&independent), "{independent}");
        assert!((91.5..=95.0).contains(&half_hour), "{half_hour}");
        assert!((86.0..=93.0).contains(&quarter), "{quarter}");
    }

    #[test]
    fn ten_batches_of_latencies() {
        let batch = |ms: u64| {
            let mut latency = Latency::default();
            latency.record_n(Duration::from_millis(ms), 100);
            latency
        };
        // A rise is slow, what alternates is not: the same values make a wide interval and a narrow one.
        let quantile = |at: &dyn Fn(u64) -> u64| {
            ten_batches_quantile(&(0..10).map(|i| batch(at(i))).collect::<Vec<_>>(), 0.5).unwrap()
        };
        let (rising, alternating) = (quantile(&|i| 100 + 2 * (i / 5)), quantile(&|i| 100 + 2 * (i % 2)));
        let half = |interval: Interval| interval.high - interval.estimate;
        assert!(half(rising) > 1.0 && half(alternating) < 0.4, "{rising:?} {alternating:?}");
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

        /// Parseval: the waves together are the spread. So few batches get the interval of independent ones.
        #[test]
        fn all_frequencies_are_the_standard_error(values in prop::collection::vec(1f64..1e3, 3..20)) {
            let k = values.len();
            let (all, se) = (low_frequency_se(&values, k - 1).unwrap(), sd(&values).unwrap() / (k as f64).sqrt());
            prop_assert!((all - se).abs() <= 1e-9 * se + 1e-12, "{all} {se}");
            let given: Vec<(f64, f64)> = values[..3].iter().map(|y| (*y, 1.0)).collect();
            let three = ten_batches_mean(&given).unwrap();
            let half = 4.302_652_73 * sd(&values[..3]).unwrap() / 3f64.sqrt();
            prop_assert!((three.high - three.estimate - half).abs() <= 1e-8 * half + 1e-12, "{three:?} {half}");
        }

        /// Neither order from the end nor a shift changes how wide it is.
        #[test]
        fn backwards_it_is_as_wide(values in prop::collection::vec(1f64..1e3, 3..=10), shift in 0f64..1e4) {
            let half = |values: &mut dyn Iterator<Item = f64>| {
                let interval = ten_batches_mean(&values.map(|y| (y, 1.0)).collect::<Vec<_>>()).unwrap();
                interval.high - interval.estimate
            };
            let (there, back) = (half(&mut values.iter().copied()), half(&mut values.iter().rev().map(|y| y + shift)));
            prop_assert!((there - back).abs() <= 1e-7 * (1.0 + there), "{there} {back}");
        }
    }
}
