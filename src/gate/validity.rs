//! Why a run says nothing about the server, or was not the same from its beginning to its end. Never a regression.

use crate::plan::Executor;
use crate::stats::batches::mser_cut;
use crate::stats::descriptive::{mean, median, variance};
use crate::stats::trend::{mann_kendall, theil_sen};
use crate::summary::{Figures, RunState, Summary};

/// Batches without which there is no interval.
const BATCHES: usize = 10;
/// Share of the time that the server may stand still.
const STALLED: f64 = 0.05;
/// A second with less than this share of the median second's requests is one in which it stood still.
const STILL: f64 = 0.20;
/// Seconds below which nothing is said of a trend.
const TREND_FROM_S: usize = 60;
/// A change of this share within the run is none of a steady state.
const DRIFT: f64 = 0.05;
/// Standard errors that tell the halves of a run apart.
const STEP_ERRORS: f64 = 3.5;
/// Chance to call noise a drift.
const DRIFT_P: f64 = 0.01;
/// Intervals that a drift is looked for in.
const DRIFT_PARTS: usize = 15;

/// Why a run is not comparable with any other; empty where it is. `per_s` are its measured seconds, in order: all
/// completed requests in each. Empty where they are not known any more.
#[must_use]
pub fn objections(summary: &Summary, figures: &Figures, per_s: &[f64]) -> Vec<String> {
    let mut why = figures.invalid(summary);
    match &summary.state {
        RunState::Finished => {}
        RunState::Interrupted => why.push("it was interrupted by a signal".to_owned()),
        RunState::Stopped => why.push("it was stopped by hand".to_owned()),
        RunState::Aborted { reason, .. } => why.push(format!("it was aborted: {reason}")),
        RunState::Partial => why.push("it was killed, and is partial".to_owned()),
    }
    if figures.requests.completed == 0 {
        why.push("no request was completed: no data is never a pass".to_owned());
    } else if summary.batches.len() < BATCHES {
        let batches = summary.batches.len();
        why.push(format!(
            "it has {batches} batches, fewer than {BATCHES}: measure at least {BATCHES} s, better 30 min"
        ));
    }
    if constant(summary) {
        why.extend(unsteady(per_s));
    }
    why
}

/// Whether the load is the same from the beginning to the end.
fn constant(summary: &Summary) -> bool {
    let mut executors = summary.plan.fetch_scenarios().map(|at| &summary.plan.scenarios[at].executor);
    executors.all(|e| matches!(e, Executor::ConstantVus { .. } | Executor::ConstantArrivalRate { .. }))
}

/// Why measured seconds are not those of one steady state.
fn unsteady(per_s: &[f64]) -> Option<String> {
    let typical = median(per_s).filter(|typical| *typical > 0.0)?;
    let still = per_s.iter().filter(|count| **count < STILL * typical).count();
    let share = still as f64 / per_s.len() as f64;
    // A second with three requests instead of four is no stall.
    if share > STALLED && typical >= 1.0 / STILL {
        let seconds = per_s.len();
        return Some(format!("the server stood still in {still} of {seconds} s: an outage, not a speed"));
    }
    if per_s.len() < TREND_FROM_S {
        return None;
    }
    let fives: Vec<f64> = per_s.chunks_exact(5).filter_map(mean).collect();
    let (first, second) = fives.split_at(fives.len() / 2);
    let step = mean(first)? / mean(second)? - 1.0;
    let parts: Vec<f64> = per_s.chunks_exact(per_s.len() / DRIFT_PARTS).filter_map(mean).collect();
    let trends = mann_kendall(&parts)?.p_two_sided < DRIFT_P;
    let error = |half: &[f64]| variance(half).map(|v| v / half.len() as f64);
    let clear = (mean(first)? - mean(second)?).abs() > STEP_ERRORS * (error(first)? + error(second)?).sqrt();
    if (clear || mser_cut(&fives, 0) >= fives.len() / 2) && step.abs() > DRIFT {
        return Some(format!(
            "not steady: the first half differs from the second by {:+.0} %; a longer warm-up is missing",
            100.0 * step
        ));
    }
    let drift = theil_sen(&parts)? * (parts.len() - 1) as f64 / median(&parts)?;
    (trends && drift.abs() > DRIFT)
        .then(|| format!("not steady: requests per second drift by {:+.0} % over the run", 100.0 * drift))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::random::Random;

    fn seconds(n: usize, level: impl Fn(usize) -> f64, seed: u64) -> Vec<f64> {
        let mut random = Random::new(seed);
        (0..n).map(|at| level(at) * (1.0 + 0.03 * random.normal())).collect()
    }

    #[test]
    fn steady_seconds_are_not_objected_to() {
        let objected = (0..200).filter(|seed| unsteady(&seconds(120, |_| 400.0, *seed)).is_some()).count();
        assert!(objected <= 2, "{objected} of 200");
        assert_eq!(unsteady(&[]), None);
        assert_eq!(unsteady(&[0.0; 30]), None);
        assert_eq!(unsteady(&seconds(600, |_| 1.2, 1)), None);
    }

    #[test]
    fn stalls_steps_and_drifts_are() {
        let stall = seconds(100, |at| if at % 10 == 0 { 10.0 } else { 400.0 }, 1);
        assert!(unsteady(&stall).unwrap().contains("10 of 100 s"));
        let warm_up = seconds(120, |at| if at < 70 { 300.0 } else { 400.0 }, 1);
        assert!(unsteady(&warm_up).unwrap().contains("first half differs"));
        let leak = seconds(600, |at| 400.0 - 0.05 * at as f64, 1);
        assert!(unsteady(&leak).unwrap().contains("drift by -8 %"), "{:?}", unsteady(&leak));
    }
}
