//! Mean, spread, order statistics and autocorrelation of a series.

/// Arithmetic mean; `None` without data.
#[must_use]
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Sample variance (n − 1); `None` below two values.
#[must_use]
pub fn variance(values: &[f64]) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    let mean = mean(values)?;
    Some(values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64)
}

/// Sample standard deviation (n − 1); `None` below two values.
#[must_use]
pub fn sd(values: &[f64]) -> Option<f64> {
    variance(values).map(f64::sqrt)
}

/// Median; `None` without data.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// Median absolute deviation from the median, unscaled: times 1.4826 it estimates a normal's standard deviation.
#[must_use]
pub fn mad(values: &[f64]) -> Option<f64> {
    let center = median(values)?;
    let deviations: Vec<f64> = values.iter().map(|v| (v - center).abs()).collect();
    median(&deviations)
}

/// Sample quantile at `q` in 0..=1, linear between order statistics (R's type 7); `None` without data.
#[must_use]
pub fn quantile(values: &[f64], q: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    let at = q.clamp(0.0, 1.0) * last as f64;
    let below = (at.floor() as usize).min(last);
    let above = (below + 1).min(last);
    let share = at - below as f64;
    // Not a weighted sum where both are the same: that would move infinities and exact values.
    if share == 0.0 { Some(sorted[below]) } else { Some(sorted[below] + share * (sorted[above] - sorted[below])) }
}

/// Lag-1 autocorrelation Σ(yᵢ−ȳ)(yᵢ₊₁−ȳ)/Σ(yᵢ−ȳ)²; 0 for a constant series, `None` below two values.
#[must_use]
pub fn lag1_autocorrelation(values: &[f64]) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    let mean = mean(values)?;
    let total: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    let cross: f64 = values.windows(2).map(|w| (w[0] - mean) * (w[1] - mean)).sum();
    Some(if total > 0.0 { cross / total } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// NIST StRD Michelso (the speed of light measured by Michelson), certified figures.
    #[test]
    fn nist_michelso() {
        let kilometres_per_second = [
            850, 740, 900, 1070, 930, 850, 950, 980, 980, 880, 1000, 980, 930, 650, 760, 810, 1000, 1000, 960, 960,
            960, 940, 960, 940, 880, 800, 850, 880, 900, 840, 830, 790, 810, 880, 880, 830, 800, 790, 760, 800, 880,
            880, 880, 860, 720, 720, 620, 860, 970, 950, 880, 910, 850, 870, 840, 840, 850, 840, 840, 840, 890, 810,
            810, 820, 800, 770, 760, 740, 750, 760, 910, 920, 890, 860, 880, 720, 840, 850, 850, 780, 890, 840, 780,
            810, 760, 810, 790, 810, 820, 850, 870, 870, 810, 740, 810, 940, 950, 800, 810, 870,
        ];
        let values: Vec<f64> = kilometres_per_second.iter().map(|v| (f64::from(*v) + 299_000.0) / 1000.0).collect();
        assert!((mean(&values).unwrap() - 299.8524).abs() < 1e-10);
        assert!((sd(&values).unwrap() - 0.079_010_547_819_051_8).abs() < 1e-12);
        assert!((lag1_autocorrelation(&values).unwrap() - 0.535_199_668_621_283).abs() < 1e-11);
    }

    #[test]
    fn order_statistics() {
        let values = [4.0, 1.0, 3.0, 2.0, 100.0];
        assert_eq!((median(&values), mad(&values)), (Some(3.0), Some(1.0)));
        assert_eq!(quantile(&values, 0.25), Some(2.0));
        assert_eq!(quantile(&[1.0, 2.0], 0.25), Some(1.25));
    }

    #[test]
    fn no_data_is_none() {
        assert_eq!((mean(&[]), sd(&[1.0]), median(&[]), mad(&[])), (None, None, None, None));
        assert_eq!(lag1_autocorrelation(&[1.0]), None);
        assert_eq!(lag1_autocorrelation(&[2.0, 2.0, 2.0]), Some(0.0));
    }
}
