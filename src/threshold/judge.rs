//! Follows a run second by second and says what became of its thresholds.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Aggregation, Limit, Scope, Threshold, ThresholdFault};
use crate::metric::{Kind, Reading};
use crate::plan::Plan;
use crate::window::{HostSample, Part, Second, Window};

/// What became of a threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// The metric, as it was written.
    pub metric: String,
    /// The expression, as it was written.
    pub expression: String,
    /// Whether it was kept. No data is a failure.
    pub passed: bool,
    /// What was compared with the limit; `null` without data.
    pub observed: Option<f64>,
    /// Its unit; empty where it is a count or a share.
    pub unit: String,
    /// Only so many seconds before the end were looked at.
    pub window_s: Option<f64>,
    /// Only what came after so many seconds of the run.
    pub after_s: f64,
    /// Whether it ended the run.
    pub aborted: bool,
    /// Of a limit that is relative to a baseline: that, and the number that followed from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relative: Option<Relative>,
}

/// A baseline's share in a verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relative {
    /// The baseline: a run directory, or the id of a documented one.
    pub baseline: String,
    /// What it had.
    pub value: f64,
    /// The number that was compared with.
    pub limit: f64,
}

impl Relative {
    fn of(limit: &Limit, watched: &Watched) -> Option<Relative> {
        let value = limit.baseline_value.filter(|_| watched.threshold.expression.is_relative)?;
        let compared = watched.threshold.expression.limit(Some(value))?;
        Some(Relative { baseline: limit.baseline.clone().unwrap_or_default(), value, limit: compared })
    }
}

/// What was read in one second, or all of them.
#[derive(Debug, Clone, Default)]
struct Seen {
    reading: Reading,
    /// Events in the measured part, and its length: what a counter's rate is made of.
    steady: (u64, f64),
}

impl Seen {
    fn add(&mut self, later: &Seen) {
        self.reading.merge(&later.reading);
        self.steady.0 += later.steady.0;
        self.steady.1 += later.steady.1;
    }
}

#[derive(Debug, Clone)]
struct Watched {
    threshold: Threshold,
    scope: Scope,
    all: Seen,
    /// Second by second, as far back as the window reaches.
    recent: VecDeque<Seen>,
}

impl Watched {
    fn new(limit: &Limit, plan: &Plan) -> Result<Watched, ThresholdFault> {
        let threshold = Threshold::new(limit)?;
        let scope = threshold.scope(plan)?;
        Ok(Watched { threshold, scope, all: Seen::default(), recent: VecDeque::new() })
    }

    fn take(&mut self, limit: &Limit, second: &Second) {
        let begins = Duration::from_secs(second.second);
        let steady = second.part == Part::Steady;
        let gauge = self.threshold.metric.kind == Kind::Gauge;
        if second.part == Part::WarmUp || begins < limit.after || (!steady && (gauge || limit.window.is_some())) {
            return;
        }
        let (series, scenarios) = (&self.scope.series, &self.scope.scenarios);
        let reading = self.threshold.metric.read(&second.window, series, scenarios, &self.threshold.narrow);
        let steady = if steady { (reading.count, second.window.seconds()) } else { (0, 0.0) };
        let seen = Seen { reading, steady };
        match limit.window {
            None => self.all.add(&seen),
            Some(window) => {
                self.recent.push_back(seen);
                while self.recent.len() as u64 > window.as_secs().max(1) {
                    self.recent.pop_front();
                }
            }
        }
    }

    /// What is compared with the limit; `None` without data.
    fn observed(&self) -> Option<f64> {
        let mut seen = self.all.clone();
        self.recent.iter().for_each(|recent| seen.add(recent));
        let reading = &seen.reading;
        if reading.windows == 0 {
            return None;
        }
        match (self.threshold.metric.kind, self.threshold.expression.aggregation) {
            (Kind::Counter, Aggregation::Rate) => (seen.steady.1 > 0.0).then(|| seen.steady.0 as f64 / seen.steady.1),
            (Kind::Counter, _) => Some(reading.count as f64),
            (Kind::Gauge, _) => Some(reading.value),
            (Kind::Rate, _) => (reading.total > 0).then(|| reading.count as f64 / reading.total as f64),
            (Kind::Trend, aggregation) => aggregation.of(&reading.latency),
        }
    }
}

/// Follows the thresholds of one run.
#[derive(Debug, Clone)]
pub struct Judge {
    /// A limit that this version cannot read has failed.
    limits: Vec<(Limit, Option<Watched>)>,
    /// The one that ended the run.
    broke: Option<usize>,
}

impl Judge {
    /// For the thresholds of a plan.
    #[must_use]
    pub fn new(plan: &Plan) -> Judge {
        let watched = |limit: &Limit| (limit.clone(), Watched::new(limit, plan).ok());
        let limits = plan.thresholds.iter().map(watched).collect();
        Judge { limits, broke: None }
    }

    /// Takes one second.
    pub fn add(&mut self, second: &Second) {
        for (limit, watched) in &mut self.limits {
            if let Some(watched) = watched {
                watched.take(limit, second);
            }
        }
    }

    /// The threshold because of which the run has to end now, if so much of it has passed. Without data there is none,
    /// nor before its window is full.
    pub fn breach(&mut self, passed: Duration) -> Option<&Limit> {
        let broke = self.limits.iter().position(|(limit, watched)| {
            let Some(watched) = watched.as_ref().filter(|_| limit.abort_on_fail) else { return false };
            let full = limit.window.is_none_or(|window| watched.recent.len() as u64 >= window.as_secs().max(1));
            let due = full && passed > limit.delay_abort_eval;
            due && watched
                .observed()
                .is_some_and(|value| !watched.threshold.expression.holds(value, limit.baseline_value))
        });
        self.broke = self.broke.or(broke);
        broke.map(|at| &self.limits[at].0)
    }

    /// The metrics that there are thresholds on, each with whether it would fail now. Without data it does not.
    pub fn tainted(&self) -> impl Iterator<Item = (&str, bool)> {
        self.limits.iter().enumerate().map(|(at, (limit, watched))| {
            let breaks = |watched: &Watched| {
                watched.observed().is_some_and(|v| !watched.threshold.expression.holds(v, limit.baseline_value))
            };
            let metric = limit.metric.split('{').next().unwrap_or_default().trim();
            (metric, self.broke == Some(at) || watched.as_ref().is_some_and(breaks))
        })
    }

    /// What became of them, in the order in which they were given.
    #[must_use]
    pub fn verdicts(&self) -> Vec<Verdict> {
        let verdict = |(at, (limit, watched)): (usize, &(Limit, Option<Watched>))| {
            let observed = watched.as_ref().and_then(Watched::observed);
            let holds =
                |value| watched.as_ref().is_some_and(|w| w.threshold.expression.holds(value, limit.baseline_value));
            let aborted = self.broke == Some(at);
            Verdict {
                metric: limit.metric.clone(),
                expression: limit.expression.clone(),
                // What ended the run stays failed, whatever was measured while it stopped.
                passed: observed.is_some_and(holds) && !aborted,
                observed,
                unit: watched.as_ref().map_or("", |w| w.threshold.unit()).to_owned(),
                window_s: limit.window.map(|window| window.as_secs_f64()),
                after_s: limit.after.as_secs_f64(),
                aborted,
                relative: watched.as_ref().and_then(|watched| Relative::of(limit, watched)),
            }
        };
        self.limits.iter().enumerate().map(verdict).collect()
    }
}

/// What a limit's figure was in a run that is over, of its measured part and whatever the limit's times are; `None`
/// where it had no data.
///
/// # Errors
/// Where no part of that run's plan has the limit's tags.
pub fn measured(limit: &Limit, plan: &Plan, steady: &Window) -> Result<Option<f64>, ThresholdFault> {
    let whole = Limit { window: None, after: Duration::ZERO, ..limit.clone() };
    let mut watched = Watched::new(&whole, plan)?;
    let second = Second { second: 0, part: Part::Steady, window: steady.clone(), host: HostSample::default() };
    watched.take(&whole, &second);
    Ok(watched.observed())
}
