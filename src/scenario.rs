//! What a user writes: a load test as a TOML file, in k6's vocabulary. Unknown keys and wrong types are faults.
//!
//! ```toml
//! warmUp = "5s"                    # kept apart from the figures
//!
//! [scenarios.fetch]
//! executor = "constant-vus"        # k6's name
//! exec = "fetch"                   # what a VU does: fetch, publish, or the name of a list of steps
//! vus = 20
//! duration = "30s"
//! startTime = "0s"
//! gracefulStop = "30s"
//! path = "/stocks/"                # below the content item; without it what --path says
//! ```
//!
//! [`steps`] has what a list of steps is made of. So far one executor; knows no clock and no runtime.

pub mod data;
mod exec;
pub mod reader;
pub mod steps;
pub mod template;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

pub use self::exec::Exec;
use self::reader::Fault;
use self::steps::{ListUse, StepFile};
use crate::units;

/// A load test as it was written.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LoadTest {
    /// At the start, kept apart from the figures.
    #[serde(default, deserialize_with = "duration")]
    pub warm_up: Duration,
    /// By name.
    pub scenarios: BTreeMap<String, Scenario>,
    /// `${env.NAME}` of all scenarios.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Lists of steps, with their data and files. Read by [`steps::read`], which has every fault's place.
    #[serde(default, deserialize_with = "elsewhere")]
    pub steps: StepFile,
    /// Part of `steps`.
    #[serde(default)]
    data: IgnoredAny,
}

/// One scenario as it was written.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Scenario {
    /// When VUs run.
    pub executor: Executor,
    /// What a VU does.
    #[serde(default)]
    pub exec: Exec,
    /// VUs.
    #[serde(default = "one")]
    pub vus: u32,
    /// How long new iterations begin.
    #[serde(deserialize_with = "duration")]
    pub duration: Duration,
    /// When it begins, since the start of the run.
    #[serde(default, deserialize_with = "duration")]
    pub start_time: Duration,
    /// How long VUs may finish what they have begun.
    #[serde(default = "thirty_seconds", deserialize_with = "duration")]
    pub graceful_stop: Duration,
    /// Path below the content item that is fetched.
    pub path: Option<String>,
    /// Text that every fetched body must contain.
    pub expect_body: Option<String>,
    /// `${env.NAME}`; goes before that of the whole file.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Stand beside the scenario's figures.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// When VUs run, by k6's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Executor {
    /// So many VUs for so long.
    ConstantVus,
}

fn one() -> u32 {
    1
}

fn thirty_seconds() -> Duration {
    Duration::from_secs(30)
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    units::duration(&text).map_err(serde::de::Error::custom)
}

fn elsewhere<'de, D: Deserializer<'de>>(deserializer: D) -> Result<StepFile, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| StepFile::default())
}

/// A file that is no load test.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioFault {
    /// It is not TOML, or not of this form; the message has the line and column.
    #[error(transparent)]
    Form(#[from] toml::de::Error),
    /// Its parts do not go together.
    #[error("scenario {name:?}: {what}")]
    Sense {
        /// The scenario.
        name: String,
        /// What is wrong.
        what: &'static str,
    },
    /// It has no scenario that fetches.
    #[error("no scenario fetches: give at least one with exec = \"fetch\" or with steps of your own")]
    NoFetch,
    /// Its steps; all faults of them.
    #[error("{0}")]
    Steps(Listed),
}

/// Faults, one below the other.
#[derive(Debug)]
pub struct Listed(pub Vec<Fault>);

impl fmt::Display for Listed {
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
    let mut load_test: LoadTest = toml::from_str(text)?;
    for (name, scenario) in &load_test.scenarios {
        sense(name, scenario).map_err(|what| ScenarioFault::Sense { name: name.clone(), what })?;
    }
    load_test.steps =
        steps::read(text, directory, &load_test.uses()).map_err(|faults| ScenarioFault::Steps(Listed(faults)))?;
    if !load_test.scenarios.values().any(|scenario| scenario.exec != Exec::Publish) {
        return Err(ScenarioFault::NoFetch);
    }
    if load_test.warm_up >= load_test.duration() {
        let name = "warmUp".to_owned();
        return Err(ScenarioFault::Sense { name, what: "it leaves nothing to measure" });
    }
    Ok(load_test)
}

/// Whether the parts of a scenario go together.
fn sense(name: &str, scenario: &Scenario) -> Result<(), &'static str> {
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
        return Err("a name has letters, digits, - and _ only");
    }
    if scenario.vus == 0 {
        return Err("vus is at least 1");
    }
    if scenario.duration < Duration::from_secs(1) {
        return Err("duration is at least 1s");
    }
    if scenario.exec != Exec::Fetch && (scenario.path.is_some() || scenario.expect_body.is_some()) {
        return Err("path and expectBody belong to exec = \"fetch\"");
    }
    Ok(())
}

impl LoadTest {
    /// Length of the whole, to the end of its last scenario.
    #[must_use]
    pub fn duration(&self) -> Duration {
        let ends = self.scenarios.values().map(|scenario| scenario.start_time + scenario.duration);
        ends.max().unwrap_or_default()
    }

    /// The environment of a scenario: its own before that of the file.
    #[must_use]
    pub fn env(&self, scenario: &Scenario) -> BTreeMap<String, String> {
        let mut env = self.env.clone();
        env.extend(scenario.env.clone());
        env
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SMALL: &str = "[scenarios.a]\nexecutor = \"constant-vus\"\nvus = 3\nduration = \"1m\"\nstartTime = \"5s\"\n";

    #[test]
    fn a_scenario_has_k6s_defaults() {
        let read = read(SMALL).unwrap();
        let scenario = &read.scenarios["a"];
        assert_eq!((scenario.vus, &scenario.exec), (3, &Exec::Fetch));
        assert_eq!(scenario.graceful_stop, Duration::from_secs(30));
        assert_eq!(read.duration(), Duration::from_secs(65));
    }

    #[test]
    fn a_fault_says_where_and_what_is_known() {
        let fault = read(&SMALL.replace("vus =", "vu =")).unwrap_err().to_string();
        assert!(fault.contains("line 3, column 1") && fault.contains("unknown field `vu`"), "{fault}");
        let fault = read(&SMALL.replace("1m", "60")).unwrap_err().to_string();
        assert!(fault.contains("line 4") && fault.contains("which unit?"), "{fault}");
        let fault = read(&SMALL.replace("constant-vus", "constant-users")).unwrap_err().to_string();
        assert!(fault.contains("constant-vus"), "{fault}");
    }

    #[test]
    fn parts_that_do_not_go_together_are_faults() {
        let wrong = |text: &str| read(text).is_err();
        assert!(wrong(&SMALL.replace("vus = 3", "vus = 0")));
        assert!(wrong(&format!("{SMALL}exec = \"publish\"")));
        assert!(wrong(&format!("warmUp = \"2m\"\n{SMALL}")));
        assert!(wrong("[scenarios]"));
        assert!(wrong(&format!(
            "{SMALL}\n[scenarios.b]\nexecutor = \"constant-vus\"\nduration = \"1m\"\nexec = \"publish\"\npath = \"/\""
        )));
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic(text in "[\\[\\]a-z=\"\n .0-9]{0,80}") {
            let _ = read(&text);
        }
    }
}
