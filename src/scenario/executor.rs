//! The executors as they are written: k6's names, keys, defaults and rules.

use std::time::Duration;

use super::reader::{Fields, hint};
use crate::schedule::{Executor, Spacing, Stage};

/// k6's names of the executors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// As they are written.
pub(super) const NAMES: [(&str, ExecutorName); 6] = [
    ("constant-vus", ExecutorName::ConstantVus),
    ("ramping-vus", ExecutorName::RampingVus),
    ("constant-arrival-rate", ExecutorName::ConstantArrivalRate),
    ("ramping-arrival-rate", ExecutorName::RampingArrivalRate),
    ("shared-iterations", ExecutorName::SharedIterations),
    ("per-vu-iterations", ExecutorName::PerVuIterations),
];

/// Keys that every scenario may have.
pub(super) const COMMON: [&str; 9] =
    ["executor", "exec", "startTime", "gracefulStop", "pacing", "env", "tags", "path", "expectBody"];
/// k6's default of `gracefulStop` and `gracefulRampDown`.
pub(super) const GRACE: Duration = Duration::from_secs(30);

const SECOND: Duration = Duration::from_secs(1);
const MAX_DURATION: Duration = Duration::from_secs(600);
/// The most VUs, and the highest rate.
pub(super) const MOST: u64 = u32::MAX as u64;
/// Keys of a stage; it has both.
pub(super) const STAGE: [&str; 2] = ["duration", "target"];
/// Spacings of arrivals, as they are written.
pub(super) const SPACINGS: [(&str, Spacing); 2] = [("even", Spacing::Even), ("poisson", Spacing::Poisson)];

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

/// Which of them it cannot do without.
pub(super) fn needed(executor: ExecutorName) -> &'static [&'static str] {
    match executor {
        ExecutorName::ConstantVus => &["duration"],
        ExecutorName::RampingVus => &["stages"],
        ExecutorName::ConstantArrivalRate => &["rate", "duration", "preAllocatedVUs"],
        ExecutorName::RampingArrivalRate => &["stages", "preAllocatedVUs"],
        ExecutorName::SharedIterations | ExecutorName::PerVuIterations => &[],
    }
}

/// Reads the executor of a scenario and says which of its keys are unknown. Where there is a fault, the executor has
/// something in its place.
pub(super) fn read(fields: &Fields<'_>) -> Executor {
    let name = name(fields);
    unknown_keys(fields, name);
    for key in name.map(needed).unwrap_or_default().iter().filter(|key| !fields.has(key)) {
        let example = match *key {
            "duration" => " (\"30s\")",
            "stages" => " ([{ duration = \"30s\", target = 10 }])",
            _ => "",
        };
        fields.fault(format!("`{key}` is missing{example}"));
    }
    // Without an executor nothing is missing but that.
    Reader { fields, name: name.unwrap_or(ExecutorName::ConstantVus) }.executor()
}

fn name(fields: &Fields<'_>) -> Option<ExecutorName> {
    let names = NAMES.map(|(name, _)| name);
    if !fields.has("executor") {
        fields.fault(format!("`executor` is missing: one of {}", names.join(", ")));
    }
    let known = |text: &str| NAMES.iter().find(|(name, _)| *name == text).map(|(_, executor)| *executor);
    fields.parsed("executor", |text| {
        known(text).ok_or_else(|| format!("there is no `{text}`; there are {}{}", names.join(", "), meant(text)))
    })
}

fn meant(text: &str) -> String {
    let near = crate::units::nearest(text, NAMES.map(|(name, _)| name));
    near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
}

/// Keys that the executor does not know; where there is no executor, those that none knows.
fn unknown_keys(fields: &Fields<'_>, executor: Option<ExecutorName>) {
    let of = |wanted: ExecutorName| NAMES.iter().find(|(_, known)| *known == wanted).map_or("", |(name, _)| name);
    let known: Vec<&str> = match executor {
        Some(executor) => keys(executor).iter().chain(&COMMON).copied().collect(),
        None => NAMES.iter().flat_map(|(_, executor)| keys(*executor)).chain(&COMMON).copied().collect(),
    };
    for (key, _) in fields.table.iter().filter(|(key, _)| !known.contains(&key.get_ref().as_ref())) {
        let name = key.get_ref().as_ref();
        let others: Vec<&str> =
            NAMES.iter().filter(|(_, other)| keys(*other).contains(&name)).map(|(other, _)| *other).collect();
        let what = match executor {
            Some(executor) if !others.is_empty() => {
                format!("`{name}` is no key of {}, but of {}", of(executor), others.join(" and "))
            }
            _ => format!("unknown key `{name}`{}", hint(name, &known)),
        };
        fields.faults.add(key.span(), fields.place, what);
    }
}

struct Reader<'f> {
    fields: &'f Fields<'f>,
    name: ExecutorName,
}

impl Reader<'_> {
    fn executor(&self) -> Executor {
        let start_time = self.fields.duration("startTime").unwrap_or_default();
        match self.name {
            ExecutorName::ConstantVus => {
                let (vus, duration) = (self.vus(), self.duration());
                Executor::ConstantVus { vus, start_time, duration, start_over: Duration::ZERO }
            }
            ExecutorName::RampingVus => {
                let start_vus = self.count("startVUs", 0).unwrap_or(1);
                let stages = self.stages(start_vus);
                let graceful_ramp_down = self.fields.duration("gracefulRampDown").unwrap_or(GRACE);
                Executor::RampingVus { start_time, start_vus, stages, graceful_ramp_down }
            }
            ExecutorName::ConstantArrivalRate => {
                let (rate, time_unit, duration) = (self.count("rate", 1), self.time_unit(), self.duration());
                let (pre_allocated_vus, max_vus) = self.allocated();
                let spacing = self.spacing();
                let (start_time, rate) = (start_time, rate.unwrap_or(1));
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
                let start_rate = self.count("startRate", 0).unwrap_or(0);
                let (stages, time_unit) = (self.stages(start_rate), self.time_unit());
                let (pre_allocated_vus, max_vus) = self.allocated();
                let spacing = self.spacing();
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
            ExecutorName::SharedIterations => {
                let (vus, iterations, max_duration) = (self.vus(), self.iterations(), self.max_duration());
                if iterations < u64::from(vus) {
                    let what = "`iterations` is at least `vus`: a VU without one would do nothing";
                    self.fields.fault_in(if self.fields.has("iterations") { "iterations" } else { "vus" }, what);
                }
                Executor::SharedIterations { start_time, vus, iterations, max_duration }
            }
            ExecutorName::PerVuIterations => {
                let (vus, iterations, max_duration) = (self.vus(), self.iterations(), self.max_duration());
                Executor::PerVuIterations { start_time, vus, iterations, max_duration }
            }
        }
    }

    fn count(&self, key: &str, least: u64) -> Option<u32> {
        self.fields.number_within(key, least, MOST).and_then(|n| u32::try_from(n).ok())
    }

    fn vus(&self) -> u32 {
        self.count("vus", 1).unwrap_or(1)
    }

    fn iterations(&self) -> u64 {
        self.fields.number_within("iterations", 1, i64::MAX.unsigned_abs()).unwrap_or(1)
    }

    fn at_least_a_second(&self, key: &str) -> Option<Duration> {
        let duration = self.fields.duration(key)?;
        if duration < SECOND {
            self.fields.fault_in(key, format!("`{key}` is at least 1s"));
        }
        Some(duration)
    }

    fn duration(&self) -> Duration {
        self.at_least_a_second("duration").unwrap_or(SECOND)
    }

    fn max_duration(&self) -> Duration {
        self.at_least_a_second("maxDuration").unwrap_or(MAX_DURATION)
    }

    fn time_unit(&self) -> Duration {
        match self.fields.duration("timeUnit") {
            Some(Duration::ZERO) => {
                self.fields.fault_in("timeUnit", "`timeUnit` is more than 0s");
                SECOND
            }
            unit => unit.unwrap_or(SECOND),
        }
    }

    /// `preAllocatedVUs` and `maxVUs`.
    fn allocated(&self) -> (u32, u32) {
        let there = self.count("preAllocatedVUs", 0).unwrap_or(0);
        let most = self.count("maxVUs", 0).unwrap_or(there);
        if most < there {
            self.fields.fault_in("maxVUs", "`maxVUs` is at least `preAllocatedVUs`");
        } else if most == 0 && self.fields.has("preAllocatedVUs") {
            self.fields.fault_in("preAllocatedVUs", "`preAllocatedVUs` or `maxVUs` is at least 1");
        }
        (there, most)
    }

    fn spacing(&self) -> Spacing {
        let spacing = self.fields.parsed("arrivals", |text| {
            let found = SPACINGS.iter().find(|(name, _)| *name == text).map(|(_, spacing)| *spacing);
            found.ok_or_else(|| format!("there is no `{text}`{}", hint(text, &SPACINGS.map(|(name, _)| name))))
        });
        spacing.unwrap_or_default()
    }

    fn stages(&self, start: u32) -> Vec<Stage> {
        if !self.fields.has("stages") {
            return Vec::new();
        }
        let mut stages = Vec::new();
        for value in self.fields.list("stages") {
            let Some(stage) = Fields::of(value, self.fields.place, &STAGE, self.fields.faults) else {
                continue;
            };
            for key in STAGE.into_iter().filter(|key| !stage.has(key)) {
                stage.fault(format!("a stage lacks its `{key}`"));
            }
            let target = stage.number_within("target", 0, MOST).and_then(|target| u32::try_from(target).ok());
            stages.push(Stage { duration: stage.duration("duration").unwrap_or(SECOND), target: target.unwrap_or(1) });
        }
        let lasts = stages.iter().any(|stage| !stage.duration.is_zero());
        if self.fields.get("stages").is_some_and(|value| value.get_ref().is_array()) {
            if !lasts {
                self.fields.fault_in("stages", "`stages` has at least one, and not only such of no time");
            } else if start == 0 && stages.iter().all(|stage| stage.target == 0) {
                self.fields.fault_in("stages", "the start or one of the targets is more than 0");
            }
        }
        stages
    }
}
