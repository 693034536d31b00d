//! What a user writes: a load test as a TOML file, in k6's vocabulary. Unknown keys and wrong types are faults.
//!
//! ```toml
//! warmUp = "5s"                    # kept apart from the figures
//!
//! [scenarios.fetch]
//! executor = "constant-vus"        # k6's names and keys: `scenario/executor.rs` has the table
//! exec = "fetch"                   # what a VU does: fetch, publish
//! vus = 20
//! duration = "30s"
//! startTime = "0s"
//! gracefulStop = "30s"
//! pacing = "0s"                    # least time between the beginnings of two iterations of a VU
//! path = "/stocks/"                # below the content item; without it what --path says
//!
//! [thresholds]                     # limits; one that is exceeded is exit code 99
//! http_req_failed = ["rate<0.01"]
//! "http_req_duration{scenario:fetch}" = [{ threshold = "p(95)<500", abortOnFail = true, after = "10s" }]
//! ```
//!
//! Knows no clock and no runtime.

mod executor;
mod limit;
mod places;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

pub use executor::{ExecutorName, keys};

use crate::schedule::Executor;
use crate::threshold::{Limit, Threshold, ThresholdFault};
use crate::units;
use executor::Written;
use limit::WrittenLimit;
use places::Places;

/// A load test as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadTest {
    /// At the start, kept apart from the figures.
    pub warm_up: Duration,
    /// By name.
    pub scenarios: BTreeMap<String, Scenario>,
    /// Limits on what is measured.
    pub thresholds: Vec<Limit>,
}

/// One scenario as it was written, its defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// When VUs run.
    pub executor: Executor,
    /// What a VU does.
    pub exec: Exec,
    /// How long VUs may finish what they have begun.
    pub graceful_stop: Duration,
    /// The least time from the beginning of one iteration of a VU to that of its next.
    pub pacing: Duration,
    /// By which thresholds can select it.
    pub tags: BTreeMap<String, String>,
    /// Path below the content item that is fetched.
    pub path: Option<String>,
    /// Text that every fetched body must contain.
    pub expect_body: Option<String>,
}

/// What a VU does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exec {
    /// Fetches the content item again and again.
    #[default]
    Fetch,
    /// Publishes again and again.
    Publish,
}

impl Exec {
    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Exec::Fetch => "fetch",
            Exec::Publish => "publish",
        }
    }
}

/// The file's form.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct File {
    #[serde(default, deserialize_with = "duration")]
    warm_up: Duration,
    scenarios: BTreeMap<String, Written>,
    #[serde(default)]
    thresholds: BTreeMap<String, Vec<WrittenLimit>>,
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    units::duration(&text).map_err(serde::de::Error::custom)
}

/// Something that is wrong at one place of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Line and column, from 1, where the place is known.
    pub place: Option<(usize, usize)>,
    /// What is wrong, and what would be right.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some((line, column)) => write!(f, "line {line}, column {column}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

/// A file that is no load test.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioFault {
    /// It is not TOML, or not of this form; the message has the line and column.
    #[error("{0}")]
    Form(#[from] toml::de::Error),
    /// Its parts do not go together: all that was found.
    #[error("{}", lines(.0))]
    Sense(Vec<Fault>),
}

fn lines(faults: &[Fault]) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n")
}

/// Reads a load test.
///
/// # Errors
/// Where the text is none; the message says where. Keys and values that make no sense are reported all at once.
pub fn read(text: &str) -> Result<LoadTest, ScenarioFault> {
    let places = Places::of(text)?;
    let mut faults = executor::unknown_keys(&places);
    if !faults.is_empty() {
        return Err(ScenarioFault::Sense(faults));
    }
    let file: File = toml::from_str(text)?;
    let mut scenarios = BTreeMap::new();
    for (name, written) in file.scenarios {
        let at = |key: &str, what: String| {
            let place = places.at(&["scenarios", &name, key]).or_else(|| places.at(&["scenarios", &name]));
            Fault { place, what: format!("scenario {name:?}: {what}") }
        };
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
            faults.push(at("", "a name has letters, digits, - and _ only".to_owned()));
        }
        match written.resolve() {
            Ok(scenario) => {
                scenarios.insert(name, scenario);
            }
            Err(wrong) => faults.extend(wrong.into_iter().map(|(key, what)| at(key, what))),
        }
    }
    let mut load_test = LoadTest { warm_up: file.warm_up, scenarios, thresholds: Vec::new() };
    for (metric, limits) in file.thresholds {
        for WrittenLimit(limit) in limits {
            let limit = Limit { metric: metric.clone(), ..limit };
            if let Err(wrong) = load_test.expects(&limit) {
                faults.push(Fault { place: places.at(&["thresholds", &metric]), what: wrong.to_string() });
            }
            load_test.thresholds.push(limit);
        }
    }
    if faults.is_empty() {
        faults.extend(load_test.whole(&places));
    }
    if faults.is_empty() { Ok(load_test) } else { Err(ScenarioFault::Sense(faults)) }
}

impl LoadTest {
    /// Length of the whole, to the end of its last scenario.
    #[must_use]
    pub fn duration(&self) -> Duration {
        let ends = self.scenarios.values().map(|s| s.executor.start_time() + s.executor.duration().unwrap_or_default());
        ends.max().unwrap_or_default()
    }

    /// The most VUs that there may be.
    #[must_use]
    pub fn max_vus(&self) -> u32 {
        self.scenarios.values().map(|s| s.executor.max_vus()).fold(0, u32::saturating_add)
    }

    /// Whether a threshold makes sense for these scenarios, as far as that can be said before there is a plan.
    ///
    /// # Errors
    /// Where it does not.
    pub fn expects(&self, limit: &Limit) -> Result<(), ThresholdFault> {
        let scenarios = self.scenarios.iter().map(|(name, scenario)| (name.as_str(), &scenario.tags));
        Threshold::new(limit)?.expect_one_of(scenarios)
    }

    /// What is wrong with all of it together.
    fn whole(&self, places: &Places<'_>) -> Option<Fault> {
        if !self.scenarios.values().any(|scenario| scenario.exec == Exec::Fetch) {
            let what = "no scenario fetches: give at least one with exec = \"fetch\"".to_owned();
            return Some(Fault { place: places.at(&["scenarios"]), what });
        }
        if self.duration() < Duration::from_secs(1) {
            let what = "it lasts less than a second: figures are taken by the second".to_owned();
            return Some(Fault { place: places.at(&["scenarios"]), what });
        }
        let what = "warmUp leaves nothing to measure".to_owned();
        (self.warm_up >= self.duration()).then(|| Fault { place: places.at(&["warmUp"]), what })
    }
}

#[cfg(test)]
mod tests;
