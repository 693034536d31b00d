//! How much work each content request asks for: lognormal with mean exactly 1, from a seed.

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

/// A stream of work demands.
#[derive(Debug)]
pub(super) struct Demand {
    rng: SmallRng,
    /// σ of the logarithm: σ² = ln(1 + cv²), and μ = −σ²/2 makes the mean 1.
    sigma: f64,
    /// The second normal number of a Box–Muller pair.
    spare: Option<f64>,
}

impl Demand {
    /// A stream with that coefficient of variation; 0 makes every demand 1.
    pub(super) fn new(seed: u64, cv: f64) -> Self {
        Self { rng: SmallRng::seed_from_u64(seed), sigma: (1.0 + cv * cv).ln().sqrt(), spare: None }
    }

    /// The next demand.
    pub(super) fn next(&mut self) -> f64 {
        if self.sigma <= 0.0 {
            return 1.0;
        }
        let z = self.normal();
        (self.sigma * z - self.sigma * self.sigma / 2.0).exp()
    }

    /// A uniform number in 0..1 from the same stream, for chances.
    pub(super) fn uniform(&mut self) -> f64 {
        self.rng.random()
    }

    fn normal(&mut self) -> f64 {
        if let Some(z) = self.spare.take() {
            return z;
        }
        let (u, v): (f64, f64) = (self.rng.random(), self.rng.random());
        let radius = (-2.0 * (1.0 - u).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * v).sin_cos();
        self.spare = Some(radius * sin);
        radius * cos
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_one_and_the_variation_asked_for() {
        let mut demand = Demand::new(1, 0.5);
        let values: Vec<f64> = (0..400_000).map(|_| demand.next()).collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let var = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
        assert!((mean - 1.0).abs() < 0.004, "{mean}");
        assert!((var.sqrt() - 0.5).abs() < 0.01, "{}", var.sqrt());
    }

    #[test]
    fn the_same_seed_gives_the_same_stream() {
        let take = |seed| {
            let mut demand = Demand::new(seed, 0.5);
            (0..10).map(|_| demand.next()).collect::<Vec<f64>>()
        };
        assert_eq!(take(3), take(3));
        assert_ne!(take(3), take(4));
        assert_eq!(Demand::new(9, 0.0).next(), 1.0);
    }
}
