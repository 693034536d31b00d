//! Earlier runs against new ones, one metric at a time. The unit of inference is the run: what varies from second to
//! second within a run says nothing about how much the next run of the same build will differ.
//!
//! On y = ±ln(value), oriented so that smaller is worse, with n earlier and k new runs:
//!
//! ```text
//! m  = median(h)                 s_h = 1.4826·MAD(h) for n ≥ 4, sd(h) for n in 2..3
//! v  = (ν₀·s₀² + (n−1)·s_h² + (k−1)·s_x²) / (ν₀ + n−1 + k−1)        ν₀ = 4, s₀ the prior run-to-run variation
//! Δ  = median(x) − m             se = √( v·(c_k/k + c_n/n) ), c = π/2 from three runs on, else 1
//! regressed  Δ < ln(1 − e_min)  and  Δ/se < t_{α}         warn  one of the two         improved  mirrored
//! ```
//!
//! The prior makes it work from a single earlier run on; the medians and the MAD keep a run with a noisy neighbour from
//! deciding. Where new runs were repeated to confirm a regression (k ≥ 2) and there are three earlier ones, α is a
//! quarter: the first of them was chosen for being bad. `benches/STATISTICS.md` has what that brings.

use serde::{Deserialize, Serialize};

use crate::stats::Interval;
use crate::stats::descriptive::{mad, median, sd};
use crate::stats::special::{t_cdf, t_quantile};

/// Weight of the prior variation, in runs.
const PRIOR_RUNS: f64 = 4.0;
/// Chance to see a change that is there, for the smallest change that would have been seen.
const POWER: f64 = 0.80;
/// α of a confirmation, as a share of α, from so many earlier runs on.
const CONFIRMATION: (f64, usize) = (0.25, 3);
/// A resolution that is worse than so many times the minimum effect decides nothing.
const COARSEST: f64 = 2.0;

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// More is better: requests per second.
    Higher,
    /// Less is better: latency.
    Lower,
}

impl Better {
    /// Oriented logarithm: smaller is worse.
    fn oriented(self, value: f64) -> f64 {
        match self {
            Better::Higher => value.ln(),
            Better::Lower => -value.ln(),
        }
    }

    /// A difference of oriented logarithms as a change of the value, as a share.
    fn change(self, difference: f64) -> f64 {
        match self {
            Better::Higher => difference.exp_m1(),
            Better::Lower => (-difference).exp_m1(),
        }
    }
}

/// When a change counts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The loss that matters, as a share of the baseline, 0..1.
    pub min_effect: f64,
    /// One-sided chance to call a change significant that is none, 0..0.5.
    pub alpha: f64,
    /// Variation from run to run, as a share, before anything is known of it.
    pub prior_cv: f64,
}

/// What became of one metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// Better, by more than the minimum effect and significantly.
    Improved,
    /// Neither large nor significant.
    Pass,
    /// Worse, and either large or significant.
    Warn,
    /// The runs vary too much, or are too few, to see a change that matters.
    Inconclusive,
    /// Worse, by more than the minimum effect and significantly.
    Regressed,
}

/// One metric of new runs against earlier ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Test {
    /// Median of the earlier runs, in the metric's unit.
    pub baseline: f64,
    /// Median of the new runs.
    pub measured: f64,
    /// Measured / baseline − 1 with its two-sided 95 % interval.
    pub change: Interval,
    /// The change beyond which it is large: measured / baseline − 1.
    pub limit: f64,
    /// Variation from run to run that was reckoned with, as a share.
    pub run_cv: f64,
    /// The smallest change for the worse that would have been seen in four of five cases, as a share of the baseline.
    pub detectable: f64,
    /// p value against "not worse", one-sided.
    pub p_worse: f64,
    /// What follows.
    pub finding: Finding,
}

/// Holds new runs of one metric against earlier ones. `None` where one of the lists is empty, or a value is not
/// positive and finite: nothing is known then.
#[must_use]
pub fn test(earlier: &[f64], new: &[f64], better: Better, rule: &Rule) -> Option<Test> {
    let usable = |values: &[f64]| !values.is_empty() && values.iter().all(|v| v.is_finite() && *v > 0.0);
    if !usable(earlier) || !usable(new) {
        return None;
    }
    let oriented = |values: &[f64]| values.iter().map(|v| better.oriented(*v)).collect::<Vec<f64>>();
    let (h, x) = (oriented(earlier), oriented(new));
    let (n, k) = (h.len() as f64, x.len() as f64);
    let (center, now) = (median(&h)?, median(&x)?);
    let df = PRIOR_RUNS + (n - 1.0) + (k - 1.0);
    let squares = PRIOR_RUNS * rule.prior_cv.powi(2) + (n - 1.0) * spread(&h).powi(2) + (k - 1.0) * spread(&x).powi(2);
    let variance = squares / df;
    let se = (variance * (of_median(k) + of_median(n))).sqrt();
    let difference = now - center;
    let confirms = x.len() > 1 && h.len() >= CONFIRMATION.1;
    let alpha = if confirms { CONFIRMATION.0 * rule.alpha } else { rule.alpha };
    let critical = t_quantile(1.0 - alpha, df);
    let least = -(-rule.min_effect).ln_1p();
    let two_sided = t_quantile(0.975, df) * se;
    let ends = [better.change(difference - two_sided), better.change(difference + two_sided)];
    let power = t_quantile(POWER, df) * se;
    let resolution = critical * se + power;
    Some(Test {
        baseline: median_value(center, better),
        measured: median_value(now, better),
        change: Interval { estimate: better.change(difference), low: ends[0].min(ends[1]), high: ends[0].max(ends[1]) },
        limit: better.change(-least),
        run_cv: variance.sqrt(),
        detectable: better.change(-(least.max(critical * se) + power)).abs(),
        p_worse: t_cdf(difference / se, df),
        finding: finding(difference, least, critical * se, resolution > COARSEST * least),
    })
}

fn finding(difference: f64, least: f64, critical: f64, coarse: bool) -> Finding {
    match (difference < -least, difference < -critical) {
        (true, true) => Finding::Regressed,
        _ if coarse => Finding::Inconclusive,
        (true, _) | (_, true) => Finding::Warn,
        _ if difference > least && difference > critical => Finding::Improved,
        _ => Finding::Pass,
    }
}

/// The median of oriented logarithms as a value again.
fn median_value(oriented: f64, better: Better) -> f64 {
    match better {
        Better::Higher => oriented.exp(),
        Better::Lower => (-oriented).exp(),
    }
}

/// Standard deviation as the runs show it, of a few as it is, of more without the outliers.
fn spread(values: &[f64]) -> f64 {
    let spread = if values.len() >= 4 { mad(values).map(|mad| 1.4826 * mad) } else { sd(values) };
    spread.unwrap_or(0.0)
}

/// Variance of a median of so many, in units of one value's variance.
fn of_median(n: f64) -> f64 {
    if n >= 3.0 { std::f64::consts::FRAC_PI_2 / n } else { 1.0 / n }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::random::Random;
    use proptest::prelude::*;

    const RPS: Rule = Rule { min_effect: 0.05, alpha: 0.05, prior_cv: 0.02 };

    fn higher(earlier: &[f64], new: &[f64]) -> Test {
        test(earlier, new, Better::Higher, &RPS).unwrap()
    }

    /// v = (4·0.02² + 2·0.01²)/6, m = ln 400, Δ = ln 0.9, se = √(v·(1 + π/6)).
    #[test]
    fn by_hand() {
        let spread = 0.01_f64;
        let earlier = [400.0 * (-spread).exp(), 400.0, 400.0 * spread.exp()];
        let found = higher(&earlier, &[360.0]);
        let v = (4.0 * 0.02_f64.powi(2) + 2.0 * spread.powi(2)) / 6.0;
        assert!((found.run_cv - v.sqrt()).abs() < 1e-12 && (found.baseline - 400.0).abs() < 1e-9);
        assert!((found.change.estimate + 0.1).abs() < 1e-12 && (found.limit + 0.05).abs() < 1e-12);
        let se = (v * (1.0 + std::f64::consts::FRAC_PI_6)).sqrt();
        // t of 0.975 with six degrees of freedom.
        let half = 2.446_911_851 * se;
        assert!((found.change.low - (0.9 * (-half).exp() - 1.0)).abs() < 1e-8, "{found:?}");
        // t of 0.95 is 1.94318: the minimum effect is more than that here; t of 0.8 is 0.905703.
        let smallest = 1.0 - (0.95_f64.ln().min(-1.943_180_28 * se) - 0.905_703_3 * se).exp();
        assert!((found.detectable - smallest).abs() < 1e-6, "{} {smallest}", found.detectable);
        assert_eq!(found.finding, Finding::Regressed);
    }

    #[test]
    fn the_verdict_needs_size_and_significance() {
        let steady = [400.0, 401.0, 399.0, 400.5, 399.5, 400.0, 400.2, 399.8, 400.1, 399.9, 400.0, 400.0];
        assert_eq!(higher(&steady, &[400.0]).finding, Finding::Pass);
        // Clear, but small.
        assert_eq!(higher(&steady, &[384.0]).finding, Finding::Warn);
        assert_eq!(higher(&steady, &[376.0]).finding, Finding::Regressed);
        assert_eq!(higher(&steady, &[430.0]).finding, Finding::Improved);
        // Large, but so are the differences between the runs before.
        let noisy = [400.0, 440.0, 365.0, 420.0, 380.0, 450.0];
        assert_eq!(higher(&noisy, &[376.0]).finding, Finding::Inconclusive);
        assert_eq!(higher(&noisy, &[250.0]).finding, Finding::Regressed);
    }

    #[test]
    fn a_single_earlier_run_is_enough_and_no_data_is_none() {
        assert_eq!(higher(&[1270.0], &[1270.0]).finding, Finding::Pass);
        assert_eq!(higher(&[1270.0], &[1100.0]).finding, Finding::Regressed);
        for (earlier, new) in [(&[][..], &[1.0][..]), (&[1.0], &[]), (&[0.0], &[1.0]), (&[1.0], &[f64::NAN])] {
            assert_eq!(test(earlier, new, Better::Higher, &RPS), None);
        }
    }

    #[test]
    fn one_run_with_a_noisy_neighbour_does_not_move_the_baseline() {
        let found = higher(&[400.0, 402.0, 398.0, 401.0, 330.0], &[399.0]);
        assert!((found.baseline - 400.0).abs() < 1.0 && found.finding == Finding::Pass, "{found:?}");
    }

    /// Share of new builds that are called regressed, with two repeats to confirm it.
    fn failed(history: usize, cv: f64, loss: f64) -> f64 {
        let mut random = Random::new(31);
        let builds = 1500;
        let mut draw = |level: f64| level * (cv * random.normal()).exp();
        let mut regressed = 0;
        for _ in 0..builds {
            let earlier: Vec<f64> = (0..history).map(|_| draw(400.0)).collect();
            let mut new = vec![draw(400.0 * (1.0 - loss))];
            if higher(&earlier, &new).finding == Finding::Regressed {
                new.extend([draw(400.0 * (1.0 - loss)), draw(400.0 * (1.0 - loss))]);
                regressed += u32::from(higher(&earlier, &new).finding == Finding::Regressed);
            }
        }
        f64::from(regressed) / f64::from(builds)
    }

    #[test]
    fn false_alarms_are_rare_and_losses_of_a_tenth_are_seen() {
        for history in [3, 10] {
            let [calm, rough] = [0.02, 0.04].map(|cv| failed(history, cv, 0.0));
            assert!(calm <= 0.01 && rough <= 0.04, "{history} runs: {calm} {rough}");
            let seen = failed(history, 0.02, 0.10);
            assert!(seen >= 0.94, "{history} runs: {seen}");
        }
        assert!(failed(1, 0.02, 0.10) >= 0.92);
    }

    proptest! {
        /// Latency as 1/rate is the same test: the gate is symmetric.
        #[test]
        fn rate_and_its_inverse_agree(
            earlier in prop::collection::vec(10.0f64..1000.0, 1..8),
            new in prop::collection::vec(10.0f64..1000.0, 1..4),
        ) {
            let inverse = |values: &[f64]| values.iter().map(|v| 1.0 / v).collect::<Vec<f64>>();
            let rate = test(&earlier, &new, Better::Higher, &RPS).unwrap();
            let time = test(&inverse(&earlier), &inverse(&new), Better::Lower, &RPS).unwrap();
            prop_assert_eq!(rate.finding, time.finding);
            prop_assert!((rate.p_worse - time.p_worse).abs() < 1e-9);
            prop_assert!(((1.0 + rate.change.estimate) * (1.0 + time.change.estimate) - 1.0).abs() < 1e-9);
        }

        /// A worse run is never judged better.
        #[test]
        fn worse_is_not_better(earlier in prop::collection::vec(300.0f64..500.0, 1..8), new in 100.0f64..600.0) {
            let (one, worse) = (higher(&earlier, &[new]), higher(&earlier, &[0.9 * new]));
            prop_assert!(worse.p_worse <= one.p_worse + 1e-12);
            prop_assert!(!(one.finding == Finding::Regressed && worse.finding != Finding::Regressed));
        }
    }
}
