//! The Universal Scalability Law as a second view: X(N) = γN / (1 + σ(N−1) + κN(N−1)) (Gunther, 2007).
//!
//! Not what forecasts are made of: on closed queueing systems its κ is above 0 where nothing is retrograde, and
//! extrapolates to a collapse that does not come.

use serde::{Deserialize, Serialize};

use super::knee::estimate::Point;
use crate::stats::fit::{Loss, Problem, least_squares};

/// A fitted law.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usl {
    /// σ, share that is serial (contention); 0 to 1.
    pub sigma: f64,
    /// κ, cost of coherence per pair of VUs; 0 to 1.
    pub kappa: f64,
    /// γ, requests per second of one VU.
    pub gamma_per_s: f64,
    /// √((1−σ)/κ), where the throughput peaks; `None` where κ is 0 and there is no peak.
    pub peak_vus: Option<f64>,
}

impl Usl {
    /// Requests per second at `vus` VUs.
    #[must_use]
    pub fn throughput(&self, vus: f64) -> f64 {
        law(vus, &[self.sigma, self.kappa, self.gamma_per_s])
    }
}

fn law(n: f64, b: &[f64]) -> f64 {
    b[2] * n / (1.0 + b[0] * (n - 1.0) + b[1] * n * (n - 1.0))
}

/// Bounded least squares from several starts. `None` with fewer than four numbers of VUs.
#[must_use]
pub fn fit(points: &[Point]) -> Option<Usl> {
    let (x, y): (Vec<f64>, Vec<f64>) = points.iter().map(|p| (p.vus, p.per_s)).unzip();
    let sigma: Vec<f64> = points.iter().map(|p| p.sigma).collect();
    let mut distinct = x.clone();
    distinct.sort_by(f64::total_cmp);
    distinct.dedup();
    if distinct.len() < 4 {
        return None;
    }
    let most = points.iter().map(|p| p.per_s / p.vus).fold(0.0, f64::max);
    let (lower, upper) = ([0.0, 0.0, 0.0], [1.0, 1.0, f64::INFINITY]);
    let (tolerance, max_iterations, loss) = (1e-12, 500, Loss::Squares);
    let problem =
        Problem { x: &x, y: &y, sigma: &sigma, lower: &lower, upper: &upper, loss, tolerance, max_iterations };
    let starts = [[0.01, 1e-6, most], [0.1, 1e-4, most], [0.5, 1e-3, most]];
    let fits = starts.iter().filter_map(|start| least_squares(&problem, law, start));
    let best = fits.min_by(|a, b| a.cost.total_cmp(&b.cost))?;
    let (sigma, kappa) = (best.parameters[0], best.parameters[1]);
    let peak_vus = (kappa > 1e-12).then(|| ((1.0 - sigma) / kappa).sqrt());
    Some(Usl { sigma, kappa, gamma_per_s: best.parameters[2], peak_vus })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_that_is_one_is_found_again() {
        let truth = Usl { sigma: 0.03, kappa: 1e-4, gamma_per_s: 20.0, peak_vus: None };
        let points = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];
        let points = points.map(|vus| Point { vus, per_s: truth.throughput(vus), sigma: 0.01 * truth.throughput(vus) });
        let got = fit(&points).unwrap();
        assert!((got.sigma - 0.03).abs() < 1e-6 && (got.kappa - 1e-4).abs() < 1e-8, "{got:?}");
        assert!((got.peak_vus.unwrap() - 98.49).abs() < 0.01, "{got:?}");
        assert_eq!(fit(&points[..3]), None);
    }
}
