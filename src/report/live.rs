//! A run's metrics second by second, for receivers that are told while it is on: Prometheus (remote write 1.0) and OTLP
//! (metrics over HTTP). Pure: seconds go in, bytes for a request come out.
//!
//! Names are those that k6's outputs use. Counters count from the start of the run; rates and trends are those of the last
//! second, because a percentile of everything so far hides what happens now.

pub mod otlp;
pub mod prometheus;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::foreign;
use crate::histogram::Latency;
use crate::metric::{Kind, METRICS, Metric, Narrow};
use crate::plan::Plan;
use crate::window::Second;

/// Longest label.
const MOST_OF_A_LABEL: usize = 200;

/// One metric of one scenario in one second.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    /// k6's name.
    pub name: &'static str,
    /// Its unit, empty where values are counts or shares.
    pub unit: &'static str,
    /// The scenario; `None` where it is of the whole run.
    pub scenario: Option<String>,
    /// What was measured.
    pub value: Value,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Events since the start of the run.
    Counter(u64),
    /// The present value.
    Gauge(f64),
    /// A share of the last second, 0..=1.
    Rate(f64),
    /// The values of the last second.
    Trend {
        /// The values.
        last: Latency,
        /// All since the start of the run.
        all: Latency,
    },
}

/// A second as receivers are told of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The end of the second, UTC.
    pub at: Timestamp,
    /// The start of the run, UTC.
    pub start: Timestamp,
    /// The run: its id.
    pub run: String,
    /// What was measured in it.
    pub measured: Vec<Measurement>,
}

/// Puts snapshots together, second by second.
#[derive(Debug)]
pub struct Tally {
    run: String,
    start: Timestamp,
    /// By name and scenario, from the start of the run on.
    counts: BTreeMap<(&'static str, Option<usize>), u64>,
    trends: BTreeMap<(&'static str, Option<usize>), Latency>,
}

impl Tally {
    /// Of a run that began then.
    #[must_use]
    pub fn new(plan: &Plan, start: Timestamp) -> Tally {
        let run = foreign::line(&plan.run_id, MOST_OF_A_LABEL);
        Tally { run, start, counts: BTreeMap::new(), trends: BTreeMap::new() }
    }

    /// Takes one second.
    pub fn add(&mut self, plan: &Plan, second: &Second) -> Snapshot {
        let at = i64::try_from(second.second + 1).unwrap_or(i64::MAX);
        let mut measured = Vec::new();
        for metric in METRICS {
            match metric.is_of_scenarios() {
                true => {
                    for scenario in 0..plan.scenarios.len() {
                        measured.extend(self.measure(plan, second, metric, Some(scenario)));
                    }
                }
                false => measured.extend(self.measure(plan, second, metric, None)),
            }
        }
        Snapshot {
            at: self.start.checked_add(SignedDuration::from_secs(at)).unwrap_or(self.start),
            start: self.start,
            run: self.run.clone(),
            measured,
        }
    }

    /// One metric; `None` where there is nothing of it yet.
    fn measure(
        &mut self,
        plan: &Plan,
        second: &Second,
        metric: &'static Metric,
        of: Option<usize>,
    ) -> Option<Measurement> {
        let scenarios: Vec<usize> = of.map_or_else(|| (0..plan.scenarios.len()).collect(), |scenario| vec![scenario]);
        let series: Vec<usize> = scenarios
            .iter()
            .flat_map(|at| {
                let first = plan.first_series(*at);
                first..first + plan.scenarios[*at].steps.len()
            })
            .collect();
        let reading = metric.read(&second.window, &series, &scenarios, &Narrow::All);
        let key = (metric.name, of);
        let value = match metric.kind {
            Kind::Counter => {
                let count = self.counts.entry(key).or_default();
                *count += reading.count;
                // What never happened is no series.
                if *count == 0 && metric.name != "http_reqs" {
                    return None;
                }
                Value::Counter(*count)
            }
            Kind::Gauge => Value::Gauge(reading.value),
            Kind::Rate if reading.total == 0 => return None,
            Kind::Rate => Value::Rate(reading.count as f64 / reading.total as f64),
            Kind::Trend if reading.latency.is_empty() => return None,
            Kind::Trend => {
                let all = self.trends.entry(key).or_default();
                all.merge(&reading.latency);
                Value::Trend { last: reading.latency, all: all.clone() }
            }
        };
        let scenario = of.map(|at| foreign::line(&plan.scenarios[at].name, MOST_OF_A_LABEL));
        Some(Measurement { name: metric.name, unit: metric.unit, scenario, value })
    }
}
