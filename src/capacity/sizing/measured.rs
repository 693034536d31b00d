//! Latencies by number of VUs, from the seconds of a ramp or of any run of the closed model.

use std::collections::BTreeMap;

use crate::histogram::Latency;
use crate::plan::Plan;
use crate::window::{Part, Second};

/// Seconds after a change of the VUs that belong to neither number: new VUs begin spread over one second.
const SETTLE_S: u64 = 3;

/// Collects them, in bounded memory: one histogram per number of VUs.
#[derive(Debug, Default)]
pub struct ByVus {
    /// Where a search began to count; seconds before it are cold.
    begin_s: f64,
    held: (u32, u64),
    latency: BTreeMap<u32, Latency>,
}

impl ByVus {
    /// Nothing yet; what ends before `begin_s` seconds of the run does not count.
    #[must_use]
    pub fn new(begin_s: f64) -> ByVus {
        ByVus { begin_s, ..ByVus::default() }
    }

    /// Takes one second of a run.
    pub fn add(&mut self, plan: &Plan, second: &Second) {
        let Some(fetch) = plan.fetch_scenario() else { return };
        let vus = second.window.scenarios.get(fetch).map_or(0, |scenario| scenario.vus);
        let vus = u32::try_from(vus).unwrap_or(u32::MAX);
        self.held = if vus == self.held.0 { (vus, self.held.1 + 1) } else { (vus, 0) };
        let ends_s = second.window.span_ns.map_or(0.0, |(_, to)| to as f64 / 1e9);
        if second.part != Part::Steady || self.held.1 < SETTLE_S || ends_s <= self.begin_s || vus == 0 {
            return;
        }
        let latency = self.latency.entry(vus).or_default();
        for (at, series) in plan.series().iter().enumerate() {
            if let Some(measured) = second.window.series.get(at).filter(|_| series.scenario == fetch) {
                latency.merge(&measured.duration);
            }
        }
    }

    /// The histograms, in order of the VUs.
    #[must_use]
    pub fn finish(self) -> Vec<(u32, Latency)> {
        self.latency.into_iter().filter(|(_, latency)| !latency.is_empty()).collect()
    }
}
