//! What a count of failures says about the true rate of failures.

use super::special::beta_quantile;

/// Upper end of the one-sided 95 % interval for a failure rate after `failed` failures in `requests` requests
/// (Clopper–Pearson). For no failure it is 1 − 0.05^(1/n), which the rule of three rounds to 3/n.
/// 1 without requests: nothing was shown.
#[must_use]
pub fn failure_rate_upper_95(failed: u64, requests: u64) -> f64 {
    if failed >= requests {
        return 1.0;
    }
    if failed == 0 {
        return 1.0 - 0.05_f64.powf(1.0 / requests as f64);
    }
    beta_quantile(0.95, failed as f64 + 1.0, (requests - failed) as f64)
}

/// Two-sided 95 % Clopper–Pearson interval for a failure rate, as (low, high).
#[must_use]
pub fn failure_rate_interval_95(failed: u64, requests: u64) -> (f64, f64) {
    interval(failed, requests, 0.025)
}

/// Two-sided 90 % Clopper–Pearson interval, as (low, high): each end is that of a one-sided 95 % interval.
#[must_use]
pub fn failure_rate_interval_90(failed: u64, requests: u64) -> (f64, f64) {
    interval(failed, requests, 0.05)
}

fn interval(failed: u64, requests: u64, tail: f64) -> (f64, f64) {
    if requests == 0 {
        return (0.0, 1.0);
    }
    let (k, n) = (failed.min(requests) as f64, requests as f64);
    let low = if k == 0.0 { 0.0 } else { beta_quantile(tail, k, n - k + 1.0) };
    let high = if k == n { 1.0 } else { beta_quantile(1.0 - tail, k + 1.0, n - k) };
    (low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_failure_is_the_rule_of_three() {
        let half_an_hour = 1270 * 1800;
        let bound = failure_rate_upper_95(0, half_an_hour);
        assert!((bound * half_an_hour as f64 - 2.9957).abs() < 1e-3, "{bound}");
        assert_eq!((failure_rate_upper_95(0, 0), failure_rate_upper_95(5, 5)), (1.0, 1.0));
    }

    /// 2 of 10: R's binom.test gives 0.02521073 … 0.55609546; 0 of 10: 0 … 0.3084971.
    #[test]
    fn clopper_pearson_as_r_prints_it() {
        let (low, high) = failure_rate_interval_95(2, 10);
        assert!((low - 0.025_210_73).abs() < 1e-7 && (high - 0.556_095_46).abs() < 1e-7, "{low} {high}");
        assert!((failure_rate_interval_95(0, 10).1 - 0.308_497_1).abs() < 1e-7);
        assert_eq!(failure_rate_interval_95(0, 0), (0.0, 1.0));
    }
}
