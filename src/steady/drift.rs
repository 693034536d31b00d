//! Slow change over a run: Mann–Kendall for whether, Theil–Sen for how much; and one fall that stays.

use serde::Serialize;

use crate::stats::Interval;
use crate::stats::descriptive::{mean, median};
use crate::stats::trend::{mann_kendall, theil_sen_interval};
use crate::summary::Slice;

/// Fewest slices and shortest slice from which drift is judged: shorter ones are correlated, and then every fifth steady
/// run would seem to drift (`benches/STATISTICS.md`).
const LEAST_SLICES: usize = 8;
const LEAST_SLICE_S: f64 = 30.0;
/// A trend by chance is rarer than this.
const P: f64 = 0.01;

/// From which change on over a run a trend is worth a word, and from which on the run is not steady.
pub(super) type Limits = (f64, f64);
/// Of throughput.
pub(super) const RATE: Limits = (0.02, 0.05);
/// Of the 99th percentile.
pub(super) const P99: Limits = (0.05, 0.15);

/// What a trend means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftVerdict {
    /// None that is both certain and large enough to matter.
    Steady,
    /// It changes: throughput by more than 2 % over the run, the 99th percentile by more than 5 %.
    Drifts,
    /// It changes so much that a mean over the run says little: 5 % and 15 %.
    NotSteady,
}

/// The change of a figure over a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Drift {
    /// Theil–Sen slope as a share of the median, per hour, with its 95 % interval.
    pub per_hour: Interval,
    /// The slope over the length of the run.
    pub over_run: f64,
    /// p value of Mann–Kendall's test against "has no trend".
    pub p: f64,
    /// Slices that it rests on.
    pub n: usize,
    /// What it means.
    pub verdict: DriftVerdict,
}

/// Of the slices' values; `None` where there are too few, they are too short, or one has no value.
pub(super) fn of(slices: &[Slice], value: fn(&Slice) -> Option<f64>, (warn, fail): Limits) -> Option<Drift> {
    let values: Vec<f64> = slices.iter().map(value).collect::<Option<_>>()?;
    let seconds: f64 = slices.iter().map(|slice| slice.seconds).sum();
    let n = values.len();
    if n < LEAST_SLICES || seconds < LEAST_SLICE_S * n as f64 {
        return None;
    }
    let center = median(&values).filter(|center| *center > 0.0)?;
    let per_hour = |slope: f64| slope / center * n as f64 / seconds * 3600.0;
    let slope = theil_sen_interval(&values)?;
    let p = mann_kendall(&values)?.p_two_sided;
    let over_run = slope.estimate * n as f64 / center;
    let verdict = match over_run.abs() {
        change if p >= P || change <= warn => DriftVerdict::Steady,
        change if change <= fail => DriftVerdict::Drifts,
        _ => DriftVerdict::NotSteady,
    };
    let [estimate, low, high] = [slope.estimate, slope.low, slope.high].map(per_hour);
    Some(Drift { per_hour: Interval { estimate, low, high }, over_run, p, n, verdict })
}

/// Throughput that fell at one moment and stayed down.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Fall {
    /// When, seconds since the beginning of the measured part; to the length of a slice.
    pub at_s: f64,
    /// Fetches per second before and after.
    pub per_s: (f64, f64),
    /// Difference of the two means in standard errors.
    pub t: f64,
}

/// Least fall, as a share.
const LEAST_FALL: f64 = 0.1;
/// Least t of the best of all places to cut: by chance in fewer than one run in thousands.
const LEAST_T: f64 = 6.0;
/// A fall explains the slices better than a straight line: its squares are at most this share of the line's.
const BETTER: f64 = 0.5;

/// The place at which the slices' throughput fell, if it fell as one step and not slowly.
#[must_use]
pub fn fall(slices: &[Slice]) -> Option<Fall> {
    let per_s: Vec<f64> = slices.iter().map(Slice::per_s).collect();
    let n = per_s.len();
    let seconds: f64 = slices.iter().map(|slice| slice.seconds).sum();
    if n < LEAST_SLICES || seconds < LEAST_SLICE_S * n as f64 {
        return None;
    }
    let step = |at: usize| -> Option<(f64, usize, f64, f64)> {
        let (before, after) = (mean(&per_s[..at])?, mean(&per_s[at..])?);
        let square = |part: &[f64], center: f64| part.iter().map(|x| (x - center).powi(2)).sum::<f64>();
        Some((square(&per_s[..at], before) + square(&per_s[at..], after), at, before, after))
    };
    let (squares, at, before, after) = (2..=n - 2).filter_map(step).min_by(|a, b| a.0.total_cmp(&b.0))?;
    let spread = (squares / (n - 2) as f64).sqrt().max(1e-9 * before);
    let t = (before - after) / (spread * (1.0 / at as f64 + 1.0 / (n - at) as f64).sqrt());
    let at_s = slices[..at].iter().map(|slice| slice.seconds).sum();
    let fell = before > 0.0 && 1.0 - after / before >= LEAST_FALL && t >= LEAST_T && squares <= BETTER * line(&per_s);
    fell.then_some(Fall { at_s, per_s: (before, after), t })
}

/// Sum of the squares around the straight line of least squares.
fn line(values: &[f64]) -> f64 {
    let (n, center) = (values.len() as f64, mean(values).unwrap_or(0.0));
    let middle = (n - 1.0) / 2.0;
    let deviations = || values.iter().enumerate().map(|(at, y)| (at as f64 - middle, y - center));
    let (xy, xx) = deviations().fold((0.0, 0.0), |(xy, xx), (x, y)| (xy + x * y, xx + x * x));
    deviations().map(|(x, y)| (y - xy / xx * x).powi(2)).sum()
}
