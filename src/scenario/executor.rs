//! The executors as they are written: k6's names, keys, defaults and rules.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::places::Places;
use super::{Exec, Fault, Scenario};
use crate::schedule::{Executor, Spacing, Stage};
use crate::units::{self, nearest};

/// k6's names of the executors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExecutorName {
    /// So many VUs for so long.
    ConstantVus,
    /// VUs along straight lines.
    RampingVus,
    /// So many iterations per time.
    ConstantArrivalRate,
    /// Iterations at a rate along straight lines.
    RampingArrivalRate,
    /// So many iterations of all VUs.
    SharedIterations,
    /// So many iterations of each VU.
    PerVuIterations,
}

const NAMES: [(&str, ExecutorName); 6] = [
    ("constant-vus", ExecutorName::ConstantVus),
    ("ramping-vus", ExecutorName::RampingVus),
    ("constant-arrival-rate", ExecutorName::ConstantArrivalRate),
    ("ramping-arrival-rate", ExecutorName::RampingArrivalRate),
    ("shared-iterations", ExecutorName::SharedIterations),
    ("per-vu-iterations", ExecutorName::PerVuIterations),
];

/// Keys that every scenario may have.
const COMMON: [&str; 8] = ["executor", "exec", "startTime", "gracefulStop", "pacing", "tags", "path", "expectBody"];

/// Keys of an executor, beside those of every scenario.
#[must_use]
pub fn keys(executor: ExecutorName) -> &'static [&'static str] {
    match executor {
        ExecutorName::ConstantVus => &["vus", "duration"],
        ExecutorName::RampingVus => &["startVUs", "stages", "gracefulRampDown"],
        ExecutorName::ConstantArrivalRate => &["rate", "timeUnit", "duration", "preAllocatedVUs", "maxVUs", "arrivals"],
        ExecutorName::RampingArrivalRate => {
            &["startRate", "timeUnit", "stages", "preAllocatedVUs", "maxVUs", "arrivals"]
        }
        ExecutorName::SharedIterations | ExecutorName::PerVuIterations => &["vus", "iterations", "maxDuration"],
    }
}

/// Keys that a scenario has and its executor does not know.
pub(super) fn unknown_keys(places: &Places<'_>) -> Vec<Fault> {
    let Some(scenarios) = places.table(&["scenarios"]) else { return Vec::new() };
    let mut faults = Vec::new();
    for (scenario, value) in scenarios {
        let Some(table) = value.get_ref().as_table() else { continue };
        let written = table.iter().find(|(key, _)| key.get_ref() == "executor").and_then(|(_, v)| v.get_ref().as_str());
        // An executor that does not exist is said by the deserialiser.
        let Some((executor, name)) = NAMES.iter().find(|(known, _)| Some(*known) == written) else { continue };
        let known: Vec<&str> = keys(*name).iter().chain(&COMMON).copied().collect();
        for (key, _) in table.iter().filter(|(key, _)| !known.contains(&key.get_ref().as_ref())) {
            let hint = match nearest(key.get_ref(), &known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("it has {}", keys(*name).join(", ")),
            };
            let what =
                format!("scenario {:?}: `{}` is no key of {executor}; {hint}", scenario.get_ref(), key.get_ref());
            faults.push(Fault { place: Some(places.line_and_column(key.span().start)), what });
        }
    }
    faults.sort_by_key(|fault| fault.place);
    faults
}

/// A duration as people write it.
#[derive(Debug, Clone, Copy)]
struct Time(Duration);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        units::duration(&text).map(Time).map_err(serde::de::Error::custom)
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenStage {
    duration: Time,
    target: u32,
}

/// A scenario with every key that any executor has.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Written {
    executor: ExecutorName,
    #[serde(default)]
    exec: Exec,
    start_time: Option<Time>,
    graceful_stop: Option<Time>,
    pacing: Option<Time>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    path: Option<String>,
    expect_body: Option<String>,
    vus: Option<u32>,
    duration: Option<Time>,
    #[serde(rename = "startVUs")]
    start_vus: Option<u32>,
    stages: Option<Vec<WrittenStage>>,
    graceful_ramp_down: Option<Time>,
    rate: Option<u32>,
    start_rate: Option<u32>,
    time_unit: Option<Time>,
    #[serde(rename = "preAllocatedVUs")]
    pre_allocated_vus: Option<u32>,
    #[serde(rename = "maxVUs")]
    max_vus: Option<u32>,
    arrivals: Option<Spacing>,
    iterations: Option<u64>,
    max_duration: Option<Time>,
}

/// What is wrong, each with the key at which.
type Wrong = Vec<(&'static str, String)>;

const SECOND: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_secs(30);
const MAX_DURATION: Duration = Duration::from_secs(600);

impl Written {
    /// The scenario with its defaults.
    pub(super) fn resolve(self) -> Result<Scenario, Wrong> {
        let mut wrong = self.rules();
        if self.exec == Exec::Publish && (self.path.is_some() || self.expect_body.is_some()) {
            let key = if self.path.is_some() { "path" } else { "expectBody" };
            wrong.push((key, "path and expectBody belong to exec = \"fetch\"".to_owned()));
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        Ok(Scenario {
            executor: self.executor(),
            exec: self.exec,
            graceful_stop: self.graceful_stop.map_or(GRACE, |time| time.0),
            pacing: self.pacing.map_or(Duration::ZERO, |time| time.0),
            tags: self.tags,
            path: self.path,
            expect_body: self.expect_body,
        })
    }

    /// k6's rules for the values, on which [`Written::executor`] relies.
    fn rules(&self) -> Wrong {
        let mut wrong = Vec::new();
        let mut must = |key, holds: bool, what: &str| {
            if !holds {
                wrong.push((key, what.to_owned()));
            }
        };
        let needs = |key: &'static str| keys(self.executor).contains(&key);
        must("vus", self.vus != Some(0), "vus is at least 1");
        if needs("duration") {
            let long = self.duration.is_some_and(|time| time.0 >= SECOND);
            must("duration", long, "duration is needed, and at least 1s");
        }
        must("maxDuration", self.max_duration.is_none_or(|time| time.0 >= SECOND), "maxDuration is at least 1s");
        must("iterations", self.iterations != Some(0), "iterations is at least 1");
        if self.executor == ExecutorName::SharedIterations {
            let enough = self.iterations.unwrap_or(1) >= u64::from(self.vus.unwrap_or(1));
            must("iterations", enough, "iterations is at least vus: a VU without one would do nothing");
        }
        if needs("rate") {
            must("rate", self.rate.is_some_and(|rate| rate > 0), "rate is needed, and at least 1");
        }
        must("timeUnit", self.time_unit.is_none_or(|time| !time.0.is_zero()), "timeUnit is more than 0s");
        if needs("preAllocatedVUs") {
            let (there, most) = (self.pre_allocated_vus, self.max_vus);
            must("preAllocatedVUs", there.is_some(), "preAllocatedVUs is needed");
            must("maxVUs", most.is_none_or(|most| Some(most) >= there), "maxVUs is at least preAllocatedVUs");
            must("maxVUs", most.or(there) != Some(0), "preAllocatedVUs or maxVUs is at least 1");
        }
        if needs("stages") {
            let stages = self.stages.as_deref().unwrap_or_default();
            let some = stages.iter().any(|stage| !stage.duration.0.is_zero());
            must("stages", some, "stages has at least one, and not only such of no time");
            let start = self.start_vus.unwrap_or(1).max(self.start_rate.unwrap_or(0));
            let ramps = needs("startVUs") && start > 0 || self.start_rate.is_some_and(|rate| rate > 0);
            let moves = ramps || stages.iter().any(|stage| stage.target > 0);
            must("stages", moves || stages.is_empty(), "the start or one of the targets is more than 0");
        }
        wrong
    }

    fn executor(&self) -> Executor {
        let time = |time: Option<Time>, default: Duration| time.map_or(default, |time| time.0);
        let start_time = time(self.start_time, Duration::ZERO);
        let duration = time(self.duration, Duration::ZERO);
        let max_duration = time(self.max_duration, MAX_DURATION);
        let time_unit = time(self.time_unit, SECOND);
        let (vus, iterations) = (self.vus.unwrap_or(1), self.iterations.unwrap_or(1));
        let pre_allocated_vus = self.pre_allocated_vus.unwrap_or(0);
        let max_vus = self.max_vus.unwrap_or(pre_allocated_vus);
        let spacing = self.arrivals.unwrap_or_default();
        let stages = self.stages.iter().flatten();
        let stages = stages.map(|stage| Stage { duration: stage.duration.0, target: stage.target }).collect();
        match self.executor {
            ExecutorName::ConstantVus => {
                Executor::ConstantVus { vus, start_time, duration, start_over: Duration::ZERO }
            }
            ExecutorName::RampingVus => {
                let graceful_ramp_down = time(self.graceful_ramp_down, GRACE);
                Executor::RampingVus { start_time, start_vus: self.start_vus.unwrap_or(1), stages, graceful_ramp_down }
            }
            ExecutorName::ConstantArrivalRate => {
                let rate = self.rate.unwrap_or(1);
                Executor::ConstantArrivalRate {
                    start_time,
                    rate,
                    time_unit,
                    duration,
                    pre_allocated_vus,
                    max_vus,
                    spacing,
                }
            }
            ExecutorName::RampingArrivalRate => {
                let start_rate = self.start_rate.unwrap_or(0);
                Executor::RampingArrivalRate {
                    start_time,
                    start_rate,
                    time_unit,
                    stages,
                    pre_allocated_vus,
                    max_vus,
                    spacing,
                }
            }
            ExecutorName::SharedIterations => Executor::SharedIterations { start_time, vus, iterations, max_duration },
            ExecutorName::PerVuIterations => Executor::PerVuIterations { start_time, vus, iterations, max_duration },
        }
    }
}
