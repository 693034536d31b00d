//! Everything that will happen in a run, resolved; nothing optional that the engine would have to decide.
//!
//! Complete before the first request, and serialisable: `plan.json` in the run directory, later what a generator on
//! another machine is handed. Holds no key. Knows no clock and no runtime.

mod plain;
mod steps;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

pub use self::steps::{BundlePlan, DataPlan, StepList, StepsPlan};
use crate::connection_options::ConnectionOptions;
pub use crate::schedule::{Executor, Spacing, Stage};
use crate::threshold::Limit;
pub use crate::units::seconds;

/// Version of this form; a reader refuses a newer one.
pub const SCHEMA: u32 = 1;

/// A run's plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Version of connect-bench that made it.
    pub version: String,
    /// The subcommand.
    pub command: String,
    /// Names the run on the server and on disk.
    pub run_id: String,
    /// Seed of everything random.
    pub seed: u64,
    /// What is measured.
    pub target: Target,
    /// How requests are made.
    pub http: HttpPlan,
    /// Worker threads; VUs are sharded over them.
    pub workers: usize,
    /// At the start, kept apart from the figures.
    #[serde(with = "seconds")]
    pub warm_up: Duration,
    /// Length of the run with its warm-up; of a searched run, the most that it may take.
    #[serde(with = "seconds")]
    pub duration: Duration,
    /// What runs, side by side.
    pub scenarios: Vec<ScenarioPlan>,
    /// Limits on what is measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thresholds: Vec<Limit>,
}

/// What a run is aimed at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The server, or the URL of `--url`, without user info and query.
    pub url: Url,
    /// Whether it is our own stand-in; then nothing that was measured is a result of Posit Connect.
    pub sandbox: bool,
    /// What Connect says of itself; `None` where it hides it, and for a plain URL.
    pub connect_version: Option<String>,
    /// Name of the node that answered first, where it was told.
    pub node: Option<String>,
    /// Profile or curve of the sandbox.
    pub sandbox_profile: Option<String>,
    /// Content item that is fetched.
    pub content_guid: Option<String>,
    /// Whether fetches carry the key; key verification may cost the server time.
    pub fetch_with_key: bool,
    /// How many processes serve the content item, where the server says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<Processes>,
}

/// What follows the profile's name where the sandbox ran content in real processes.
pub const REAL_PROCESSES: &str = "+processes";

impl Target {
    /// Whether it is a sandbox whose speed is put in; otherwise it is as fast as what it runs on.
    #[must_use]
    pub fn is_simulated(&self) -> bool {
        self.sandbox && !self.sandbox_profile.as_deref().is_some_and(|profile| profile.ends_with(REAL_PROCESSES))
    }
}

/// Limits of the processes that serve a content item, on each node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Processes {
    /// Processes that are kept warm.
    pub min: u32,
    /// Most processes.
    pub max: u32,
    /// Most connections of one process.
    pub max_conns: u32,
}

impl Processes {
    /// Requests that a node takes at once; what comes beyond it waits, or is refused.
    #[must_use]
    pub fn slots(self) -> u64 {
        u64::from(self.max) * u64::from(self.max_conns)
    }
}

/// How requests are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpPlan {
    /// `User-Agent` of every request.
    pub user_agent: String,
    /// Whether certificates are not verified.
    pub insecure: bool,
    /// Whether the cookie jar is emptied at each iteration, as k6 does (an affinity cookie is lost then).
    pub reset_cookies: bool,
    /// Who speaks HTTP/1.1. A plan that does not say is of a time when there was only hyper.
    #[serde(default = "hyper")]
    pub http1_engine: Http1Engine,
    /// Whether the kernel is asked when bytes arrived, where it can be.
    #[serde(default)]
    pub kernel_timestamps: bool,
    /// How connections are opened, kept and spoken on.
    #[serde(default)]
    pub connection: ConnectionOptions,
}

/// Who speaks HTTP/1.1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Http1Engine {
    /// hyper: the reference, and what to fall back on.
    Hyper,
    /// Our own codec.
    #[default]
    Own,
}

fn hyper() -> Http1Engine {
    Http1Engine::Hyper
}

/// One scenario: an executor and what its VUs do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioPlan {
    /// Its name, unique in the plan.
    pub name: String,
    /// When VUs run.
    pub executor: Executor,
    /// How long VUs may finish what they have begun, before they are cut off.
    #[serde(with = "seconds")]
    pub graceful_stop: Duration,
    /// The least time from the beginning of one iteration of a VU to that of its next.
    #[serde(default, with = "seconds")]
    pub pacing: Duration,
    /// By which thresholds can select it, beside its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Names of the steps, in the order of the program; each is a series.
    pub steps: Vec<String>,
    /// What a VU does.
    pub program: ProgramPlan,
}

/// What a VU does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "program", rename_all = "snake_case")]
pub enum ProgramPlan {
    /// One GET after the other, without think time.
    Fetch(FetchPlan),
    /// Publishes a bundle to the server again and again.
    Publish(PublishPlan),
    /// Runs lists of steps.
    Steps(StepsPlan),
}

/// A fetch and what its response must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FetchPlan {
    /// Path and query.
    pub path: String,
    /// Whether the key goes with it.
    pub with_key: bool,
    /// Accepted statuses; empty means 200..=399.
    pub statuses: Vec<u16>,
    /// Media type that the response must have.
    pub content_type: Option<String>,
    /// Text that the body must contain.
    pub body_contains: Option<String>,
    /// Time-out of one request, connecting included.
    #[serde(with = "seconds")]
    pub timeout: Duration,
}

/// What the publish loop publishes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishPlan {
    /// The content item that is published to; `None` where each publish makes its own.
    pub guid: Option<String>,
    /// Name of the content item, or the prefix of the names.
    pub name: String,
    /// What the bundle is, for the report: directory, or the name of the fixture.
    pub bundle: String,
    /// MD5 of the bundle that is uploaded.
    pub bundle_md5: String,
    /// Bytes of the bundle that is uploaded.
    pub bundle_bytes: u64,
    /// Path below the content item that is fetched once it is deployed.
    pub path: String,
    /// Whether fetching it needs the key.
    pub with_key: bool,
    /// Time-out of one API request.
    #[serde(with = "seconds")]
    pub timeout: Duration,
    /// Time-out of a whole deploy.
    #[serde(with = "seconds")]
    pub deploy_timeout: Duration,
}

/// A series: a step of a scenario, under which requests are counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series {
    /// Index of the scenario in the plan.
    pub scenario: usize,
    /// Name of the step.
    pub step: String,
}

impl ScenarioPlan {
    /// What it can be selected by: its tags, and `scenario`.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<&str, &str> {
        let tags = self.tags.iter().map(|(name, tag)| (name.as_str(), tag.as_str()));
        tags.chain([("scenario", self.name.as_str())]).collect()
    }
}

impl Plan {
    /// The series of the plan, in the order in which windows have them.
    #[must_use]
    pub fn series(&self) -> Vec<Series> {
        let steps = |(scenario, plan): (usize, &ScenarioPlan)| -> Vec<Series> {
            plan.steps.iter().map(|step| Series { scenario, step: step.clone() }).collect()
        };
        self.scenarios.iter().enumerate().flat_map(steps).collect()
    }

    /// What a series can be selected by: the tags of its scenario and of its step, and `scenario`, `step`, `group`.
    #[must_use]
    pub fn labels(&self, scenario: usize, step: usize) -> BTreeMap<&str, &str> {
        let Some(plan) = self.scenarios.get(scenario) else { return BTreeMap::new() };
        let mut labels = plan.labels();
        if let ProgramPlan::Steps(steps) = &plan.program
            && let Some(step) = steps.steps().nth(step)
        {
            labels.extend(step.labels());
        }
        labels.extend(plan.steps.get(step).map(|name| ("step", name.as_str())));
        labels
    }

    /// Index of the first series of a scenario.
    #[must_use]
    pub fn first_series(&self, scenario: usize) -> usize {
        self.scenarios[..scenario].iter().map(|s| s.steps.len()).sum()
    }

    /// Whether a scenario fetches: the content item alone, or step by step.
    #[must_use]
    pub fn fetches(&self, scenario: usize) -> bool {
        self.scenarios.get(scenario).is_some_and(|s| !matches!(s.program, ProgramPlan::Publish(_)))
    }

    /// Whether a series of a scenario is of requests that fetch, and not of what a publisher does.
    #[must_use]
    pub fn is_fetch(&self, scenario: usize, step: usize) -> bool {
        match self.scenarios.get(scenario).map(|scenario| &scenario.program) {
            Some(ProgramPlan::Steps(steps)) => steps.steps().nth(step).is_none_or(|step| step.connect.is_none()),
            _ => self.fetches(scenario),
        }
    }

    /// Whether a series, by its place in a window, is one of requests that fetch.
    #[must_use]
    pub fn fetches_in(&self, at: usize, series: &Series) -> bool {
        self.is_fetch(series.scenario, at - self.first_series(series.scenario))
    }

    /// Whether a scenario runs lists of steps; then an iteration may be several requests.
    #[must_use]
    pub fn has_steps(&self, scenario: usize) -> bool {
        self.scenarios.get(scenario).is_some_and(|s| matches!(s.program, ProgramPlan::Steps(_)))
    }

    /// Whether a scenario publishes.
    #[must_use]
    pub fn publishes(&self, scenario: usize) -> bool {
        self.scenarios.get(scenario).is_some_and(|s| matches!(s.program, ProgramPlan::Publish(_)))
    }

    /// Indices of the scenarios that fetch.
    pub fn fetch_scenarios(&self) -> impl Iterator<Item = usize> {
        (0..self.scenarios.len()).filter(|&scenario| self.fetches(scenario))
    }

    /// Index of the first scenario that fetches: the one whose VUs a search sets.
    #[must_use]
    pub fn fetch_scenario(&self) -> Option<usize> {
        self.fetch_scenarios().next()
    }

    /// The most VUs that the run may have.
    #[must_use]
    pub fn max_vus(&self) -> u32 {
        self.scenarios.iter().map(|s| s.executor.max_vus()).sum()
    }
}
