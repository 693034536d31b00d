//! The knee model of a closed system: throughput X over the number N of VUs.
//!
//! ```text
//! X(N) = N / ( [R0^p + (N/X_max)^p]^(1/p) + kappa·N·(N−1) )
//! ```
//!
//! p = 1 is the Universal Scalability Law, p → ∞ the asymptotic bounds min(N/R0, X_max). A single multi-server
//! station has p of 8 to 12, two balanced stations about 2.4, a server that stops the world 2 to 2.5.

pub mod bootstrap;
pub mod estimate;

use serde::{Deserialize, Serialize};

/// The four parameters of the curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Knee {
    /// X_max, requests per second that the curve tends to when `kappa` is 0.
    pub x_max_per_s: f64,
    /// R0, response time without queueing, seconds.
    pub r0_s: f64,
    /// Sharpness of the knee, from 1 (soft) up.
    pub p: f64,
    /// Seconds per pair of VUs by which more VUs slow every request down; makes throughput fall again.
    pub kappa_s: f64,
}

impl Knee {
    /// Throughput at `vus` VUs, requests per second; 0 at 0.
    #[must_use]
    pub fn throughput(&self, vus: f64) -> f64 {
        if vus > 0.0 { vus / self.iteration_s(vus) } else { 0.0 }
    }

    /// Mean seconds from one request of a VU to its next, N/X(N): the mean latency where a VU does nothing else.
    #[must_use]
    pub fn iteration_s(&self, vus: f64) -> f64 {
        let (served, queued) = (self.r0_s, vus / self.x_max_per_s);
        let (large, small) = if served > queued { (served, queued) } else { (queued, served) };
        // Factored, because R0^40 underflows.
        let soft = large * (1.0 + (small / large).powf(self.p)).powf(1.0 / self.p);
        soft + self.kappa_s * vus * (vus - 1.0).max(0.0)
    }

    /// N* = X_max · R0, where the two asymptotes meet.
    #[must_use]
    pub fn knee_vus(&self) -> f64 {
        self.x_max_per_s * self.r0_s
    }

    /// The greatest throughput for 1 ≤ N ≤ `limit`, as (N, X). The curve rises to one peak and falls after it.
    #[must_use]
    pub fn peak(&self, limit: f64) -> (f64, f64) {
        let (mut low, mut high) = (0.0, limit.max(1.0).ln());
        for _ in 0..60 {
            let (a, b) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
            if self.throughput(a.exp()) < self.throughput(b.exp()) {
                low = a;
            } else {
                high = b;
            }
        }
        // The ends too: on a plateau the comparison above is of rounding errors.
        let candidates = [1.0, low.exp(), limit.max(1.0)].map(|n| (n, self.throughput(n)));
        candidates.into_iter().reduce(|best, next| if next.1 > best.1 { next } else { best }).unwrap_or((1.0, 0.0))
    }

    /// N_sat(eps): the fewest VUs, at least 1 and at most `limit`, with (1 − eps) of the peak within `limit`.
    #[must_use]
    pub fn saturation_vus(&self, eps: f64, limit: f64) -> f64 {
        let (at, peak) = self.peak(limit);
        let target = (1.0 - eps) * peak;
        if self.throughput(1.0) >= target {
            return 1.0;
        }
        let (mut low, mut high) = (1.0, at);
        for _ in 0..100 {
            let middle = 0.5 * (low + high);
            if self.throughput(middle) < target {
                low = middle;
            } else {
                high = middle;
            }
        }
        high
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::fit::{Loss, Problem, least_squares};
    use crate::stats::reference;
    use proptest::prelude::*;

    fn knee(x_max_per_s: f64, r0_s: f64, p: f64, kappa_s: f64) -> Knee {
        Knee { x_max_per_s, r0_s, p, kappa_s }
    }

    /// N_sat(eps) = N*·((1−eps)^(−p) − 1)^(−1/p).
    #[test]
    fn the_closed_form_without_kappa() {
        for (p, times) in [(1.0, 49.0), (4.0, 1.86), (8.0, 1.243), (12.0, 1.114)] {
            let curve = knee(1000.0, 0.05, p, 0.0);
            let got = curve.saturation_vus(0.02, 1e9) / curve.knee_vus();
            assert!((got / times - 1.0).abs() < 5e-3, "p = {p}: {got}");
        }
    }

    #[test]
    fn with_kappa_there_is_a_peak() {
        let curve = knee(1000.0, 0.05, 6.0, 2e-6);
        let (at, peak) = curve.peak(5000.0);
        assert!(at > 60.0 && at < 130.0, "{at}");
        assert!(peak > curve.throughput(at * 0.97) && peak > curve.throughput(at * 1.03));
        assert!(curve.saturation_vus(0.02, 5000.0) < at);
    }

    /// Published USL fits (R package usl, Gunther): bounded least squares of the p = 1 form.
    #[test]
    fn published_usl_fits() {
        let Some(text) = reference("usl_expected.json") else { return };
        let expected: serde_json::Value = serde_json::from_str(&text).unwrap();
        for name in ["specsdm91", "raytracer", "raytracer_first6", "synth6"] {
            let entry = &expected[name];
            let file = entry["file"].as_str().unwrap_or("usl_raytracer.csv");
            let rows = reference(file).unwrap();
            let rows = rows.lines().skip(1).map(|l| l.split_once(',').unwrap());
            let (mut x, mut y): (Vec<f64>, Vec<f64>) =
                rows.map(|(a, b)| (a.parse::<f64>().unwrap(), b.parse::<f64>().unwrap())).unzip();
            if name == "raytracer_first6" {
                x.truncate(6);
                y.truncate(6);
            }
            let (lower, upper) = ([0.0, 0.0, 0.0], [1.0, 1.0, f64::INFINITY]);
            let usl = |n: f64, b: &[f64]| b[2] * n / (1.0 + b[0] * (n - 1.0) + b[1] * n * (n - 1.0));
            let problem = Problem {
                x: &x,
                y: &y,
                sigma: &[],
                lower: &lower,
                upper: &upper,
                loss: Loss::Squares,
                tolerance: 1e-15,
                max_iterations: 1500,
            };
            let fit = least_squares(&problem, usl, &[0.1, 0.01, y[0] / x[0]]).unwrap();
            for (got, key) in fit.parameters.iter().zip(["alpha", "beta", "gamma"]) {
                let want = entry[key].as_f64().unwrap();
                assert!((got - want).abs() <= 5e-4 * want.abs() + 4e-6, "{name} {key}: {got} is not {want}");
            }
        }
    }

    proptest! {
        #[test]
        fn p_1_is_the_universal_scalability_law(x_max in 1f64..1e4, r0 in 1e-3f64..5.0, kappa in 0f64..1e-4,
                                                n in 1f64..2000.0) {
            let gamma = 1.0 / (r0 + 1.0 / x_max);
            let usl = gamma * n / (1.0 + gamma / x_max * (n - 1.0) + gamma * kappa * n * (n - 1.0));
            prop_assert!((knee(x_max, r0, 1.0, kappa).throughput(n) / usl - 1.0).abs() < 1e-9);
        }

        #[test]
        fn saturation_is_within_the_limit_and_reaches_its_share(
            x_max in 1f64..1e4, r0 in 1e-3f64..5.0, p in 1f64..40.0, kappa in 0f64..1e-4, limit in 1f64..5000.0,
        ) {
            let curve = knee(x_max, r0, p, kappa);
            let vus = curve.saturation_vus(0.02, limit);
            prop_assert!((1.0..=limit.max(1.0)).contains(&vus));
            let share = curve.throughput(vus) / curve.peak(limit).1;
            prop_assert!(share >= 0.98 - 1e-9, "{}", share);
        }
    }
}
