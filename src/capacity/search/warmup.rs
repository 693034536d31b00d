//! The warm-up before the first stage: a few VUs until throughput no longer rises.

use super::stage::{Storm, silence_s};
use super::{Bin, SearchConfig};
use crate::stats::descriptive::mean;
use crate::stats::trend::mann_kendall;

/// The warm-up so far.
#[derive(Debug, Clone, Default)]
pub(super) struct WarmUp {
    completed: Vec<f64>,
    failed: Vec<f64>,
    latency_sum_s: f64,
}

/// What follows from the latest bin.
pub(super) enum Warm {
    NotYet,
    Done,
    Failed(String),
}

/// Until then a cold server may fail.
const TOLERANT_S: usize = 30;

impl WarmUp {
    pub(super) fn observe(&mut self, bin: &Bin, config: &SearchConfig) -> Warm {
        self.completed.push(bin.completed as f64);
        self.failed.push(bin.failed as f64);
        self.latency_sum_s += bin.latency.sum_ns() as f64 / 1e9;
        let seconds = self.completed.len();
        let silent = self.completed.iter().rev().take_while(|c| **c == 0.0).count();
        if silent >= silence_s(self.mean_latency_s()) {
            return Warm::Failed(format!(
                "no request completed for {silent} s of warm-up at {}",
                config.load(config.warm_up_vus)
            ));
        }
        if let Some(storm) = self.storm(config) {
            return Warm::Failed(format!("{} in the warm-up at {}", storm.text(), config.load(config.warm_up_vus)));
        }
        let (least, most) = (config.warm_up_min_s as usize, config.warm_up_max_s as usize);
        let done = seconds >= most || (seconds >= least && seconds.is_multiple_of(5) && self.is_level());
        if done { Warm::Done } else { Warm::NotYet }
    }

    pub(super) fn seconds(&self) -> usize {
        self.completed.len()
    }

    /// `None` until something completed.
    pub(super) fn mean_latency_s(&self) -> Option<f64> {
        let n: f64 = self.completed.iter().sum();
        (n > 0.0).then(|| self.latency_sum_s / n)
    }

    pub(super) fn per_s(&self) -> Option<f64> {
        mean(&self.completed[self.completed.len().saturating_sub(10)..])
    }

    /// Once warm, the rule of every stage; before, only a server that fails most requests.
    fn storm(&self, config: &SearchConfig) -> Option<Storm> {
        if self.completed.len() >= TOLERANT_S {
            return Storm::seen(&self.completed, &self.failed, 5, config.max_error_share);
        }
        if self.completed.len() >= 10 { Storm::seen(&self.completed, &self.failed, 10, 0.5) } else { None }
    }

    /// No rise over the last minute: one-sided Mann–Kendall p > 0.05 on 5-s sums, or halves that differ by < 1 %.
    fn is_level(&self) -> bool {
        let last_minute = &self.completed[self.completed.len().saturating_sub(60)..];
        let sums: Vec<f64> = last_minute.chunks(5).map(|five| five.iter().sum()).collect();
        let (first, second) = sums.split_at(sums.len() / 2);
        let level = mean(second).unwrap_or(0.0) < 1.01 * mean(first).unwrap_or(0.0);
        level || mann_kendall(&sums).is_none_or(|test| test.p_rising > 0.05)
    }
}
