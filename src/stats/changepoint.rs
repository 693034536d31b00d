//! Where the level of a series changes: E-divisive's statistic to find the places, Student's t to tell which are real.
//!
//! ```text
//! q(τ) = 2nm/(n+m) · ( 2·mean|x−y| − mean|x−x'| − mean|y−y'| )        x before τ, y from τ on; the best τ splits
//! ```
//!
//! The series is split in overlapping windows, generously, and then the weakest changes are merged away one by one until
//! all that are left are significant between their neighbours and large enough: a change is judged by all the data on its
//! two sides and not by a window. It takes about three points after a change to see it, so it annotates; a gate it is not.

use super::special::t_cdf;

/// How changes are looked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Search {
    /// Points of a window, at least 2.
    pub window: usize,
    /// A change counts whose p value is at most this, 0..1.
    pub max_p: f64,
    /// And whose size is at least this share of the level before.
    pub min_change: f64,
}

impl Default for Search {
    fn default() -> Search {
        Search { window: 50, max_p: 0.001, min_change: 0.05 }
    }
}

/// A change of level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// Index of the first value of the new level.
    pub at: usize,
    /// Mean before, back to the change before.
    pub before: f64,
    /// Mean from there on, up to the next change.
    pub after: f64,
    /// Two-sided p value of Student's t test between the two.
    pub p: f64,
}

impl Change {
    /// Its size as a share of the level before; infinite where that is zero.
    #[must_use]
    pub fn size(&self) -> f64 {
        let change = (self.after - self.before).abs();
        if change == 0.0 { 0.0 } else { change / self.before.abs() }
    }
}

/// The changes of level in a series, in its order.
#[must_use]
pub fn changes(values: &[f64], search: &Search) -> Vec<Change> {
    // Generous here, so that a window's few points lose no change: the merging judges.
    let generous = if search.max_p < 0.05 { 10.0 * search.max_p } else { 2.0 * search.max_p };
    let window = search.window.max(2);
    let mut found: Vec<usize> = Vec::new();
    let mut start = 0;
    while start < values.len() {
        let end = values.len().min(start + window);
        let mut inside = split(&values[start..end], generous);
        inside.sort_unstable();
        let last = inside.last().map_or(0, |at| start + at);
        found.extend(inside.into_iter().map(|at| start + at));
        start = last.max(start + window / 2);
    }
    found.sort_unstable();
    found.dedup();
    merged(values, found, search)
}

/// Splits a window at its best place, and its parts again, while the best split of all parts is significant.
fn split(values: &[f64], max_p: f64) -> Vec<usize> {
    let mut points: Vec<usize> = Vec::new();
    loop {
        let bounds = bounds(&points, values.len());
        let best = bounds.windows(2).filter_map(|part| best(values, part[0], part[1]));
        let Some((at, _)) = best.max_by(|a, b| a.1.total_cmp(&b.1)) else { return points };
        points.push(at);
        points.sort_unstable();
        let here = points.iter().position(|point| *point == at).unwrap_or(0);
        if judged(values, &points, here).p > max_p {
            points.remove(here);
            return points;
        }
    }
}

/// The ends of the parts that points cut a series into.
fn bounds(points: &[usize], length: usize) -> Vec<usize> {
    std::iter::once(0).chain(points.iter().copied()).chain([length]).collect()
}

/// The place in `from..to` with the greatest statistic, and that. Every part has two values at least.
fn best(values: &[f64], from: usize, to: usize) -> Option<(usize, f64)> {
    let part = &values[from..to];
    let length = part.len();
    if length < 4 {
        return None;
    }
    let distance = |i: usize, j: usize| (part[i] - part[j]).abs();
    // Sums of distances within the left part, within the right one, and between them; τ moves one value over.
    let all: f64 = (0..length).map(|i| (i + 1..length).map(|j| distance(i, j)).sum::<f64>()).sum();
    let (mut left, mut right) = (0.0, all);
    let mut best = None;
    for tau in 1..length {
        let moved = tau - 1;
        left += (0..moved).map(|i| distance(i, moved)).sum::<f64>();
        right -= (tau..length).map(|j| distance(moved, j)).sum::<f64>();
        let (n, m) = (tau as f64, (length - tau) as f64);
        if tau < 2 || length - tau < 2 {
            continue;
        }
        let between = 2.0 * (all - left - right) / (n * m);
        let within = 2.0 * left / (n * (n - 1.0)) + 2.0 * right / (m * (m - 1.0));
        let q = n * m / (n + m) * (between - within);
        if best.is_none_or(|(_, most)| q > most) {
            best = Some((from + tau, q));
        }
    }
    best.filter(|(_, q)| *q > 0.0)
}

/// Removes the weakest change until all are significant and large enough.
fn merged(values: &[f64], mut points: Vec<usize>, search: &Search) -> Vec<Change> {
    loop {
        let all: Vec<Change> = (0..points.len()).map(|at| judged(values, &points, at)).collect();
        let weakest = (0..all.len()).max_by(|a, b| all[*a].p.total_cmp(&all[*b].p));
        let smallest = (0..all.len()).min_by(|a, b| all[*a].size().total_cmp(&all[*b].size()));
        let gone = match (weakest, smallest) {
            (Some(at), _) if all[at].p > search.max_p => at,
            (_, Some(at)) if all[at].size() < search.min_change => at,
            _ => return all,
        };
        points.remove(gone);
    }
}

/// A point against all the values up to its neighbours.
fn judged(values: &[f64], points: &[usize], at: usize) -> Change {
    let bounds = bounds(points, values.len());
    let (before, after) = (&values[bounds[at]..bounds[at + 1]], &values[bounds[at + 1]..bounds[at + 2]]);
    let moments = |part: &[f64]| {
        let n = part.len() as f64;
        let mean = part.iter().sum::<f64>() / n;
        (n, mean, part.iter().map(|v| (v - mean).powi(2)).sum::<f64>())
    };
    let ((n, a, squares_a), (m, b, squares_b)) = (moments(before), moments(after));
    let df = n + m - 2.0;
    let p = if df <= 0.0 {
        1.0
    } else {
        let se = ((squares_a + squares_b) / df * (1.0 / n + 1.0 / m)).sqrt();
        let t = (a - b).abs() / se;
        // Two constant levels are as different as can be, or the same.
        if se > 0.0 { 2.0 * t_cdf(-t, df) } else { f64::from(u8::from(a == b)) }
    };
    Change { at: points[at], before: a, after: b, p }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::random::Random;
    use crate::stats::reference;
    use serde_json::Value;

    fn at(values: &[f64], search: Search) -> Vec<usize> {
        changes(values, &search).iter().map(|change| change.at).collect()
    }

    fn numbers(value: &Value) -> Vec<f64> {
        value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
    }

    fn indices(value: &Value) -> Vec<usize> {
        value.as_array().unwrap().iter().map(|v| usize::try_from(v.as_u64().unwrap()).unwrap()).collect()
    }

    #[test]
    fn the_published_series_give_the_published_answers() {
        let Some(text) = reference("changepoint_expected.json") else { return };
        let known: Value = serde_json::from_str(&text).unwrap();
        let single = &known["otava_single"];
        let search = Search { window: 10, max_p: 0.0001, min_change: 0.0 };
        assert_eq!(at(&numbers(&single["series"]), search), indices(&single["expected"]));
        let steps = &known["otava_seq14"];
        let search = Search { window: 50, max_p: 0.01, min_change: 0.0 };
        assert_eq!(at(&numbers(&steps["series"]), search), indices(&steps["expected"]));
        let two = &known["otava_two"];
        let search = Search { min_change: 0.0, ..Search::default() };
        assert_eq!(at(&numbers(&two["series1"]), search), indices(&two["expected1"]));
        assert_eq!(at(&numbers(&two["series2"]), search), indices(&two["expected2"]));
        let large = Search { min_change: 0.2, ..Search::default() };
        let kept = indices(&two["min_magnitude_0.2_keeps"]["series1"]);
        assert_eq!((at(&numbers(&two["series1"]), large), at(&numbers(&two["series2"]), large)), (kept, Vec::new()));
        let zeros_and_ones: Vec<f64> = (0..2000).map(|i| f64::from(u8::from(i >= 1000))).collect();
        assert_eq!(at(&zeros_and_ones, search), indices(&known["mongodb_simple"]["expected"]));
    }

    #[test]
    fn noise_has_no_change_and_a_level_has_one() {
        let mut random = Random::new(17);
        let mut series =
            |n: usize, level: f64| (0..n).map(|_| level * (1.0 + 0.02 * random.normal())).collect::<Vec<_>>();
        let alarms: usize = (0..100).map(|_| changes(&series(60, 400.0), &Search::default()).len()).sum();
        // The place with the greatest statistic was chosen: more than the p value says. `benches/STATISTICS.md` counts them.
        assert!(alarms <= 3, "{alarms} in 100 series of 60");
        let found = (0..50).filter(|_| {
            let values = [series(30, 400.0), series(30, 360.0)].concat();
            let changes = changes(&values, &Search::default());
            changes.len() == 1 && changes[0].at.abs_diff(30) <= 1
        });
        assert!(found.count() >= 48);
        assert_eq!(changes(&[], &Search::default()), []);
        assert_eq!(changes(&[1.0, 2.0], &Search::default()), []);
    }
}
