//! Seeded random numbers that are the same on every machine and in every release: what a seed stands for in a
//! run directory must not change with a dependency's idea of a "standard" generator.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};

/// A seeded source of uniform, normal, exponential and lognormal deviates.
#[derive(Debug, Clone)]
pub struct Random {
    generator: Xoshiro256PlusPlus,
    /// The polar method makes two normals at a time.
    spare: Option<f64>,
}

impl Random {
    /// The stream that belongs to `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { generator: Xoshiro256PlusPlus::seed_from_u64(seed), spare: None }
    }

    /// Uniform in 0..1.
    pub fn uniform(&mut self) -> f64 {
        self.generator.random::<f64>()
    }

    /// Uniform in `low..high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// Log-uniform in `low..high`, both > 0.
    pub fn log_between(&mut self, low: f64, high: f64) -> f64 {
        self.between(low.ln(), high.ln()).exp()
    }

    /// Standard normal (Marsaglia's polar method).
    pub fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        loop {
            let (u, v) = (self.between(-1.0, 1.0), self.between(-1.0, 1.0));
            let s = u * u + v * v;
            if s > 0.0 && s < 1.0 {
                let scale = (-2.0 * s.ln() / s).sqrt();
                self.spare = Some(v * scale);
                return u * scale;
            }
        }
    }

    /// Exponential with the given mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.uniform()).ln()
    }

    /// Lognormal with the given mean and coefficient of variation.
    pub fn lognormal(&mut self, mean: f64, cv: f64) -> f64 {
        let variance = (cv * cv).ln_1p();
        (mean.ln() - 0.5 * variance + variance.sqrt() * self.normal()).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::descriptive::{mean, sd};

    fn draw(f: impl Fn(&mut Random) -> f64) -> (f64, f64) {
        let mut random = Random::new(7);
        let values: Vec<f64> = (0..200_000).map(|_| f(&mut random)).collect();
        (mean(&values).unwrap(), sd(&values).unwrap())
    }

    #[test]
    fn moments() {
        for (got, want) in [
            (draw(Random::normal), (0.0, 1.0)),
            (draw(|r| r.exponential(2.0)), (2.0, 2.0)),
            (draw(|r| r.lognormal(3.0, 0.5)), (3.0, 1.5)),
        ] {
            assert!((got.0 - want.0).abs() < 0.02 && (got.1 - want.1).abs() < 0.03, "{got:?} {want:?}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_stream() {
        let (mut a, mut b) = (Random::new(1), Random::new(1));
        assert!((0..100).all(|_| a.normal().to_bits() == b.normal().to_bits()));
    }
}
