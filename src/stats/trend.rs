//! Is a series rising or falling, and how fast: Mann–Kendall and Theil–Sen.

use super::Interval;
use super::descriptive::median;
use super::special::normal_cdf;

/// Result of a Mann–Kendall test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MannKendall {
    /// S = number of rising pairs − number of falling pairs.
    pub s: i64,
    /// Normal score with continuity correction and variance corrected for ties; 0 for a constant series.
    pub z: f64,
    /// p value against "does not rise".
    pub p_rising: f64,
    /// p value against "has no trend".
    pub p_two_sided: f64,
}

/// Mann–Kendall's test for a monotone trend in equally spaced `values`; `None` below three values.
#[must_use]
pub fn mann_kendall(values: &[f64]) -> Option<MannKendall> {
    if values.len() < 3 {
        return None;
    }
    let pairs = values.iter().enumerate().flat_map(|(i, a)| values[i + 1..].iter().map(move |b| (a, b)));
    let s: i64 = pairs.map(|(a, b)| i64::from(b > a) - i64::from(b < a)).sum();
    let variance = s_variance(values);
    let z = if variance > 0.0 { (s - s.signum()) as f64 / variance.sqrt() } else { 0.0 };
    Some(MannKendall { s, z, p_rising: normal_cdf(-z), p_two_sided: (2.0 * normal_cdf(-z.abs())).min(1.0) })
}

/// Var S = [n(n−1)(2n+5) − Σ t(t−1)(2t+5)] / 18 over groups of t tied values.
fn s_variance(values: &[f64]) -> f64 {
    let term = |n: usize| (n * (n - 1) * (2 * n + 5)) as f64;
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let ties: f64 = sorted.chunk_by(|a, b| a == b).map(|group| term(group.len())).sum();
    (term(values.len()) - ties) / 18.0
}

/// Theil–Sen slope, per step of the series: the median slope of all pairs; `None` below two values.
#[must_use]
pub fn theil_sen(values: &[f64]) -> Option<f64> {
    median(&slopes(values))
}

/// Slopes of all pairs, per step of the series.
fn slopes(values: &[f64]) -> Vec<f64> {
    let from = |(i, a): (usize, &f64)| -> Vec<f64> {
        values[i + 1..].iter().enumerate().map(|(j, b)| (b - a) / (j + 1) as f64).collect()
    };
    values.iter().enumerate().flat_map(from).collect()
}

/// Theil–Sen slope per step with its 95 % interval: the slopes of rank (M ∓ C)/2 of M, with C = 1.96·√Var S (Sen 1968).
/// `None` below five values, where no such ranks exist.
#[must_use]
pub fn theil_sen_interval(values: &[f64]) -> Option<Interval> {
    if values.len() < 5 {
        return None;
    }
    let mut slopes = slopes(values);
    slopes.sort_by(f64::total_cmp);
    let (pairs, spread) = (slopes.len() as f64, 1.959_964 * s_variance(values).max(0.0).sqrt());
    // Ranks count from one, and are widened to whole ones.
    let low = ((pairs - spread) / 2.0).floor().max(1.0) as usize;
    let high = (((pairs + spread) / 2.0).ceil() as usize + 1).min(slopes.len());
    Some(Interval { estimate: median(&slopes)?, low: slopes[low - 1], high: slopes[high - 1] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let test = mann_kendall(&[10.0, 15.0, 14.0, 20.0]).unwrap();
        assert_eq!(test.s, 4);
        assert!((s_variance(&[10.0, 15.0, 14.0, 20.0]) - 4.0 * 3.0 * 13.0 / 18.0).abs() < 1e-12);
        // 23 24 29 6 29 24 24 29 23: ties t = 2, 3, 3.
        let tied = [23.0, 24.0, 29.0, 6.0, 29.0, 24.0, 24.0, 29.0, 23.0];
        assert!((s_variance(&tied) - (9.0 * 8.0 * 23.0 - 18.0 - 66.0 - 66.0) / 18.0).abs() < 1e-12);
    }

    #[test]
    fn the_interval_of_a_slope_holds_it_as_often_as_it_claims() {
        let mut random = crate::stats::random::Random::new(11);
        let runs = 1000;
        let held = (0..runs).filter(|_| {
            let values: Vec<f64> = (0..15).map(|at| 100.0 + 0.3 * f64::from(at) + random.normal()).collect();
            let interval = theil_sen_interval(&values).unwrap();
            interval.low <= 0.3 && 0.3 <= interval.high
        });
        let held = held.count();
        assert!((930..=985).contains(&held), "{held} of {runs}");
        assert!(theil_sen_interval(&[1.0, 2.0, 3.0, 4.0]).is_none());
    }

    #[test]
    fn a_rise_is_seen_and_a_constant_is_not() {
        let rise: Vec<f64> = (0..12).map(f64::from).collect();
        let up = mann_kendall(&rise).unwrap();
        assert!(up.p_rising < 1e-4 && up.p_two_sided < 1e-3);
        let fall: Vec<f64> = rise.iter().rev().copied().collect();
        assert!(mann_kendall(&fall).unwrap().p_rising > 0.999);
        let flat = mann_kendall(&[5.0; 9]).unwrap();
        assert_eq!((flat.s, flat.z, flat.p_rising, flat.p_two_sided), (0, 0.0, 0.5, 1.0));
        assert!(mann_kendall(&[1.0, 2.0]).is_none());
    }

    #[test]
    fn the_slope_ignores_an_outlier() {
        assert_eq!(theil_sen(&[1.0, 2.0, 3.0, 400.0, 5.0, 6.0]), Some(1.0));
        assert_eq!(theil_sen(&[1.0]), None);
    }
}
