//! What a user writes: a load test as a TOML file, in k6's vocabulary. Every fault is told at once, with its place.
//!
//! ```toml
//! warmUp = "5s"                    # kept apart from the figures
//!
//! [scenarios.fetch]
//! executor = "constant-vus"        # k6's names and keys: `scenario/executor.rs` has the table
//! exec = "fetch"                   # what a VU does: fetch, publish, or the name of a list of steps
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
//!
//! [connection]                     # k6's names, as far as k6 has them: `scenario/connection.rs` has the table
//! noVUConnectionReuse = true
//! ```
//!
//! [`steps`] has what a list of steps is made of. Knows no clock and no runtime.

mod connection;
pub mod data;
mod exec;
mod executor;
mod limit;
pub mod reader;
pub mod schema;
pub mod steps;
pub mod template;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::time::Duration;

use toml::de::DeTable;

pub use self::exec::Exec;
pub use self::executor::{ExecutorName, keys};
use self::reader::{Fault, Faults, Fields};
use self::steps::{ConnectStep, ListUse, StepFile};
use crate::connection_options::ConnectionChoices;
use crate::schedule::Executor;
use crate::threshold::{Limit, Threshold, ThresholdFault};

/// Keys of the file.
const TOP: [&str; 7] = ["warmUp", "scenarios", "thresholds", "connection", "env", "steps", "data"];

/// A load test as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadTest {
    /// At the start, kept apart from the figures.
    pub warm_up: Duration,
    /// By name.
    pub scenarios: BTreeMap<String, Scenario>,
    /// Limits on what is measured.
    pub thresholds: Vec<Limit>,
    /// How connections are made, as far as it is said.
    pub connection: ConnectionChoices,
    /// `${env.NAME}` of all scenarios.
    pub env: BTreeMap<String, String>,
    /// Lists of steps, with their data and files.
    pub steps: StepFile,
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
    /// `${env.NAME}`; goes before that of the whole file.
    pub env: BTreeMap<String, String>,
    /// Stand beside the scenario's figures; thresholds can select by them.
    pub tags: BTreeMap<String, String>,
    /// Path below the content item that is fetched.
    pub path: Option<String>,
    /// Text that every fetched body must contain.
    pub expect_body: Option<String>,
}

/// A file that is no load test: all that is wrong with it, in the order of the text.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub struct ScenarioFault(pub Vec<Fault>);

impl fmt::Display for ScenarioFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => write!(f, "{one}"),
            several => {
                write!(f, "{} faults", several.len())?;
                several.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
            }
        }
    }
}

/// Reads a load test whose files, if it names any, are in the present directory.
///
/// # Errors
/// Where the text is none; the message says where.
pub fn read(text: &str) -> Result<LoadTest, ScenarioFault> {
    read_in(text, Path::new("."))
}

/// Reads a load test. The files that it names are read too: they are looked for below `directory`.
///
/// # Errors
/// Where the text is none; the message says where.
pub fn read_in(text: &str, directory: &Path) -> Result<LoadTest, ScenarioFault> {
    let faults = Faults::new(text);
    let document = match DeTable::parse(text) {
        Ok(document) => document,
        Err(e) => {
            faults.add(e.span().unwrap_or(0..0), "TOML", e.message());
            return Err(ScenarioFault(faults.finish()));
        }
    };
    let top = Fields::document(document.get_ref(), &TOP, &faults);
    let mut load_test = LoadTest {
        warm_up: top.duration("warmUp").unwrap_or_default(),
        scenarios: scenarios(&top),
        thresholds: limit::read(&top),
        connection: connection::read(&top),
        env: top.texts("env"),
        steps: StepFile::default(),
    };
    load_test.steps = steps::read(document.get_ref(), directory, &load_test.uses(), &faults);
    load_test.limits(&top);
    if faults.none() {
        load_test.whole(&top);
    }
    let faults = faults.finish();
    if faults.is_empty() { Ok(load_test) } else { Err(ScenarioFault(faults)) }
}

/// The scenarios; of one that has a fault what can be said of it nevertheless.
fn scenarios(top: &Fields<'_>) -> BTreeMap<String, Scenario> {
    let mut read = BTreeMap::new();
    for (name, value) in top.named("scenarios") {
        let place = format!("scenarios.{name}");
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
            top.faults.add(value.span(), &place, "a name has letters, digits, - and _ only");
        }
        let Some(fields) = Fields::any(value, &place, top.faults) else { continue };
        let executor = executor::read(&fields);
        let exec = exec::read(&fields).unwrap_or_default();
        for key in ["path", "expectBody"].into_iter().filter(|key| fields.has(key)) {
            if exec != Exec::Fetch {
                fields.fault_in(key, format!("`{key}` belongs to exec = \"fetch\""));
            }
        }
        let scenario = Scenario {
            executor,
            exec,
            graceful_stop: fields.duration("gracefulStop").unwrap_or(executor::GRACE),
            pacing: fields.duration("pacing").unwrap_or_default(),
            env: fields.texts("env"),
            tags: fields.texts("tags"),
            path: fields.text("path").map(str::to_owned),
            expect_body: fields.text("expectBody").map(str::to_owned),
        };
        read.insert(name.to_owned(), scenario);
    }
    read
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

    /// The environment of a scenario: its own before that of the file.
    #[must_use]
    pub fn env(&self, scenario: &Scenario) -> BTreeMap<String, String> {
        let mut env = self.env.clone();
        env.extend(scenario.env.clone());
        env
    }

    /// Whether a threshold makes sense for these scenarios, as far as that can be said before there is a plan.
    ///
    /// # Errors
    /// Where it does not.
    pub fn expects(&self, limit: &Limit) -> Result<(), ThresholdFault> {
        Threshold::new(limit)?.expect_one_of(self.labels())
    }

    /// What thresholds can select by: of every step; of a scenario alone where its steps are built in.
    fn labels(&self) -> Vec<BTreeMap<&str, &str>> {
        let mut all = Vec::new();
        for (name, scenario) in &self.scenarios {
            let tags = scenario.tags.iter().map(|(name, tag)| (name.as_str(), tag.as_str()));
            let of_scenario: BTreeMap<&str, &str> = tags.chain([("scenario", name.as_str())]).collect();
            let lists = scenario.exec.lists();
            for step in lists.iter().filter_map(|(list, _)| Some((list, self.steps.lists.get(list)?))) {
                for one in step.1 {
                    let mut labels = of_scenario.clone();
                    labels.extend(one.labels());
                    // With several lists the name has that of its list in it, and a publish has several: that is
                    // settled when there is a plan.
                    let settled = lists.len() == 1 && one.connect.is_none();
                    labels.extend(settled.then_some(("step", one.name.as_str())));
                    all.push(labels);
                }
            }
            if lists.is_empty() || lists.iter().all(|(list, _)| !self.steps.lists.contains_key(list)) {
                all.push(of_scenario);
            }
        }
        all
    }

    /// The steps that publish, of the lists that scenarios run.
    pub fn publishing_steps(&self) -> impl Iterator<Item = &ConnectStep> {
        let lists = self.scenarios.values().flat_map(|scenario| scenario.exec.lists());
        lists.filter_map(|(list, _)| self.steps.lists.get(list)).flatten().filter_map(|step| step.connect.as_ref())
    }

    /// Which scenario runs which list of steps.
    fn uses(&self) -> Vec<ListUse> {
        let mut uses = Vec::new();
        for (name, scenario) in &self.scenarios {
            let env: BTreeSet<String> = self.env(scenario).into_keys().collect();
            for (list, _) in scenario.exec.lists() {
                uses.push(ListUse { scenario: name.clone(), list: list.clone(), env: env.clone() });
            }
        }
        uses
    }

    /// Thresholds that make no sense.
    fn limits(&self, top: &Fields<'_>) {
        let Some(thresholds) = top.get("thresholds").and_then(|value| value.get_ref().as_table()) else { return };
        for limit in &self.thresholds {
            let key = thresholds.iter().map(|(key, _)| key).find(|key| key.get_ref().trim() == limit.metric);
            if let (Err(wrong), Some(key)) = (self.expects(limit), key) {
                top.faults.add(key.span(), "thresholds", wrong.to_string());
            }
        }
    }

    /// What is wrong with all of it together.
    fn whole(&self, top: &Fields<'_>) {
        if !self.scenarios.values().any(|scenario| scenario.exec != Exec::Publish) {
            let what = "no scenario fetches: give at least one with exec = \"fetch\" or with steps of your own";
            top.fault_in("scenarios", what);
        } else if self.duration() < Duration::from_secs(1) {
            top.fault_in("scenarios", "the load test lasts less than a second: figures are taken by the second");
        } else if self.warm_up >= self.duration() {
            top.fault_in("warmUp", "`warmUp` leaves nothing to measure");
        }
    }
}

#[cfg(test)]
mod tests;
