//! Statistics that every verdict rests on: pure functions of numbers, in the units they are given.
//!
//! Knows no clock, no runtime and no metric. What is undefined for the data given is `None`, never a made-up number.

pub mod batches;
pub mod changepoint;
pub mod descriptive;
pub mod fit;
pub mod isotonic;
pub mod little;
pub mod proportion;
pub mod random;
pub mod special;
pub mod trend;

use serde::{Deserialize, Serialize};

/// A number with its uncertainty: the estimate and the ends of an interval around it, in one unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    /// The point estimate.
    pub estimate: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// `estimate` ± `half_width`.
    #[must_use]
    pub fn around(estimate: f64, half_width: f64) -> Self {
        Self { estimate, low: estimate - half_width, high: estimate + half_width }
    }

    /// Whether `value` lies within, the ends included.
    #[must_use]
    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// Data files with published answers that some tests read; `None`, said aloud, where they are absent.
#[cfg(test)]
pub(crate) fn reference(name: &str) -> Option<String> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/reference").join(name);
    let text = std::fs::read_to_string(&path).ok();
    if text.is_none() {
        println!("skipped: no reference data {name}");
    }
    text
}
