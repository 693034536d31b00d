//! What a run measured, with its histograms, plan, environment and the generator's own health.
//!
//! Made from windows, live or from a run directory: the same code, the same result. Knows no clock and no runtime.

mod connections;
mod control;
mod course;
mod figures;
mod open;
mod steps;

pub use connections::Connections;
pub use control::{ControlEvent, Controlled, Origin};
pub use course::{Course, Jump, Point, Slice};
pub use figures::{Figures, NodeFigures, PublishFigures};
pub use open::OpenFigures;
pub use steps::{StepFigures, steps};

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::capacity::search::{SearchResult, Step};
use crate::disruption::{self, Recording, Rehearsal};
use crate::generator::Health;
use crate::histogram::{Latency, Packed};
use crate::host::Environment;
use crate::incident::{Incident, Incidents};
use crate::plan::Plan;
use crate::server_metrics::{self, Scrape};
use crate::threshold::{Judge, Limit, Verdict};
use crate::window::{Part, Second, Window};

/// Version of this form; a reader refuses a newer one.
pub const SCHEMA: u32 = 1;
/// Parts that the measured time is kept in; ten batches are made of them.
const PARTS: u64 = 60;
/// Batches, for intervals.
const BATCHES: usize = 10;
/// Slices, for what changes during a run: of two minutes in half an hour.
const SLICES: usize = 15;

/// What kind of rule ended a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// What the server did, or what was measured of it: an error storm, silence, a threshold that ends runs.
    #[default]
    Server,
    /// A cap on the load was reached.
    Cap,
    /// A fault of ours: a panic.
    Fault,
}

/// How a run came to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// As planned.
    Finished,
    /// By a signal.
    Interrupted,
    /// By somebody who asked for it while it was on, in the terminal or through the REST endpoint.
    Stopped,
    /// By one of our own rules: an error storm, a server that is gone.
    Aborted {
        /// Which, for people.
        reason: String,
        /// What kind of rule.
        #[serde(default)]
        cause: Cause,
    },
    /// Not at all: the process was killed, and this is what it had written.
    Partial,
}

/// A part of the measured time: what intervals are computed from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Batch {
    /// Its length.
    pub seconds: f64,
    /// Completed requests of all scenarios.
    pub completed: u64,
    /// Completed fetches.
    pub fetched: u64,
    /// Failed requests of all scenarios.
    pub failed: u64,
    /// Latency of the fetches.
    pub fetch_duration: Latency,
    /// Fetches that failed.
    #[serde(skip_serializing_if = "is_zero")]
    pub fetches_failed: u64,
    /// VU time of the fetching scenarios, VU·s.
    pub vu_s: f64,
    /// Part of it that VUs waited on purpose.
    pub pause_s: f64,
    /// Part of it that completed and failed fetches account for, the opening of their connections included.
    pub busy_s: f64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes a reference")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Batch {
    /// Adds another part.
    pub fn merge(&mut self, other: &Batch) {
        self.seconds += other.seconds;
        self.completed += other.completed;
        self.fetched += other.fetched;
        self.failed += other.failed;
        self.fetch_duration.merge(&other.fetch_duration);
        self.fetches_failed += other.fetches_failed;
        self.vu_s += other.vu_s;
        self.pause_s += other.pause_s;
        self.busy_s += other.busy_s;
    }
}

/// What a saturation search found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// Its answer.
    pub result: SearchResult,
    /// Its evidence.
    pub steps: Vec<Step>,
}

/// What a run measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Version of connect-bench that made it.
    pub version: String,
    /// How it ended.
    pub state: RunState,
    /// What was to happen.
    pub plan: Plan,
    /// Where and when it was made.
    pub environment: Environment,
    /// The measured part: without warm-up and stopping.
    pub steady: Window,
    /// Everything, to be held against the server's own counts.
    pub whole: Window,
    /// The measured part in at most ten parts, in order.
    pub batches: Vec<Batch>,
    /// The measured part in the order in which it happened. Empty in a summary of an earlier version.
    #[serde(default)]
    pub course: Course,
    /// The generator's health in the measured part.
    pub generator: Health,
    /// Requests of the Connect client outside the scenarios: preflight, provisioning, clean-up.
    pub api_requests_sent: u64,
    /// What became of the thresholds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thresholds: Vec<Verdict>,
    /// What people did to it while it was on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub control: Vec<ControlEvent>,
    /// What was done to the server while it was on, and the seconds around that.
    #[serde(default, skip_serializing_if = "Rehearsal::is_empty")]
    pub rehearsal: Rehearsal,
    /// What servers told of themselves while it was on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub server_metrics: Vec<server_metrics::Place>,
    /// Time of the seconds that lay in pauses, whole or in part, ns: in no figure of the measured part.
    #[serde(default)]
    pub paused_ns: u64,
    /// Time between the first and the last measured second that lay in pauses, ns: `steady` spans it.
    #[serde(default)]
    pub gaps_ns: u64,
    /// Of a searched run.
    pub search: Option<Search>,
    /// What went wrong, from when to when, and whether it recovered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub incidents: Vec<Incident>,
    /// Names of what we made and could not remove.
    pub left_behind: Vec<String>,
}

impl Summary {
    /// Length of the measured part, seconds: what its span has of measured seconds.
    #[must_use]
    pub fn measured_s(&self) -> f64 {
        self.steady.span_ns.map_or(0.0, |(from, to)| (to - from).saturating_sub(self.gaps_ns) as f64 / 1e9)
    }
}

/// Makes a [`Summary`] from seconds, in order, in bounded memory.
#[derive(Debug, Clone)]
pub struct Builder {
    plan: Plan,
    environment: Environment,
    steady: Window,
    whole: Window,
    parts: Vec<ClosedPart>,
    course: course::Recording,
    /// The part that seconds are added to, and which it is.
    open: (u64, Batch),
    health: Health,
    judge: Judge,
    control: Vec<ControlEvent>,
    /// Those that are still on, and those that are over.
    incidents: (Incidents, Vec<Incident>),
    rehearsal: Recording,
    servers: server_metrics::Recording,
    paused_ns: u64,
    /// Time of pauses between measured seconds, and since the last one of them.
    gaps_ns: (u64, u64),
}

impl Builder {
    /// Nothing measured yet.
    #[must_use]
    pub fn new(plan: Plan, environment: Environment) -> Builder {
        let window = Window::default();
        let judge = Judge::new(&plan);
        let measured_s = (plan.warm_up.as_secs_f64(), plan.duration.as_secs_f64());
        Builder {
            judge,
            servers: server_metrics::Recording::new(measured_s),
            plan,
            environment,
            steady: window.clone(),
            whole: window,
            parts: Vec::new(),
            course: course::Recording::default(),
            open: (0, Batch::default()),
            health: Health::default(),
            control: Vec::new(),
            incidents: <(Incidents, Vec<Incident>)>::default(),
            rehearsal: Recording::default(),
            paused_ns: 0,
            gaps_ns: (0, 0),
        }
    }

    /// Takes one second.
    pub fn add(&mut self, second: &Second) {
        self.whole.merge(&second.window);
        self.judge.add(second);
        let over = self.incidents.0.second(second);
        self.incidents.1.extend(over);
        self.rehearsal.add(&self.plan, second);
        if second.part == Part::Paused {
            let paused_ns = second.window.span_ns.map_or(0, |(from, to)| to.saturating_sub(from));
            self.paused_ns += paused_ns;
            self.gaps_ns.1 += if self.steady.span_ns.is_some() { paused_ns } else { 0 };
        }
        if second.part != Part::Steady {
            return;
        }
        self.gaps_ns = (self.gaps_ns.0 + self.gaps_ns.1, 0);
        self.steady.merge(&second.window);
        self.health.add(second);
        let batch = self.batch(&second.window);
        self.course.add(second, &batch);
        let planned = self.plan.duration.saturating_sub(self.plan.warm_up).as_secs();
        let part = (second.second.saturating_sub(self.plan.warm_up.as_secs())) / planned.div_ceil(PARTS).max(1);
        if part != self.open.0 {
            self.close_part();
            self.open.0 = part;
        }
        self.open.1.merge(&batch);
    }

    /// Takes what somebody did to the run.
    pub fn control(&mut self, event: ControlEvent) {
        self.control.push(event);
    }

    /// Takes what was done to the server.
    pub fn rehearse(&mut self, event: disruption::Event) {
        self.rehearsal.event(event);
    }

    /// Takes what a server told of itself.
    pub fn scrape(&mut self, scrape: Scrape) {
        self.servers.add(scrape);
    }

    fn close_part(&mut self) {
        let batch = std::mem::take(&mut self.open.1);
        // A part of which a torn file has no second is left out.
        if batch.seconds > 0.0 {
            let packed = batch.fetch_duration.pack();
            self.parts.push(ClosedPart { batch: Batch { fetch_duration: Latency::default(), ..batch }, packed });
        }
    }

    /// The threshold because of which the run has to end now, if so much of it has passed.
    pub fn breach(&mut self, passed: Duration) -> Option<&Limit> {
        self.judge.breach(passed)
    }

    /// The metrics that there are thresholds on, each with whether it would fail now.
    pub fn tainted(&self) -> impl Iterator<Item = (&str, bool)> {
        self.judge.tainted()
    }

    /// What went wrong and is over, in the order of its end.
    #[must_use]
    pub fn incidents(&self) -> &[Incident] {
        &self.incidents.1
    }

    /// What would become of the thresholds if the run ended now.
    #[must_use]
    pub fn verdicts(&self) -> Vec<Verdict> {
        self.judge.verdicts()
    }

    /// Seconds measured so far.
    #[must_use]
    pub fn steady_seconds(&self) -> u64 {
        self.health.seconds
    }

    fn batch(&self, window: &Window) -> Batch {
        let mut batch = Batch { seconds: window.seconds(), ..Batch::default() };
        for (at, series) in self.plan.series().iter().enumerate() {
            let Some(measured) = window.series.get(at) else { continue };
            batch.completed += measured.requests.completed;
            batch.failed += measured.requests.failed;
            if self.plan.fetches_in(at, series) {
                batch.fetched += measured.requests.completed;
                batch.fetch_duration.merge(&measured.duration);
                batch.fetches_failed += measured.requests.failed;
                let busy = [&measured.duration, &measured.failed_duration, &measured.blocked].map(Latency::sum_ns);
                batch.busy_s += busy.iter().sum::<u128>() as f64 / 1e9;
            }
        }
        for scenario in self.plan.fetch_scenarios() {
            let Some(measured) = window.scenarios.get(scenario) else { continue };
            batch.vu_s += measured.vu_time_ns as f64 / 1e9;
            batch.pause_s += measured.pause_ns as f64 / 1e9;
        }
        batch
    }

    /// The summary of what was added.
    #[must_use]
    pub fn finish(mut self, state: RunState) -> Summary {
        self.close_part();
        let open = self.incidents.0.finish();
        self.incidents.1.extend(open);
        self.incidents.1.sort_by_key(|incident| (incident.from_s, incident.trouble));
        assert!(self.whole.balanced(), "the run's counts do not add up");
        Summary {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            state,
            plan: self.plan,
            environment: self.environment,
            steady: self.steady,
            whole: self.whole,
            batches: joined(&self.parts, BATCHES),
            course: self.course.finish(joined(&self.parts, SLICES).iter().map(Slice::of).collect()),
            generator: self.health,
            api_requests_sent: 0,
            thresholds: self.judge.verdicts(),
            control: self.control,
            rehearsal: self.rehearsal.finish(),
            server_metrics: self.servers.finish(),
            paused_ns: self.paused_ns,
            gaps_ns: self.gaps_ns.0,
            search: None,
            incidents: self.incidents.1,
            left_behind: Vec::new(),
        }
    }
}

/// A part that is over: its latencies packed, because sixty open histograms would be most of our memory.
#[derive(Debug, Clone)]
struct ClosedPart {
    batch: Batch,
    packed: Packed,
}

/// So many batches of as equal a length as the parts allow; fewer where there are fewer parts.
fn joined(parts: &[ClosedPart], most: usize) -> Vec<Batch> {
    let count = parts.len().min(most);
    let mut batches = vec![Batch::default(); count];
    for (at, part) in parts.iter().enumerate() {
        let batch = &mut batches[at * count / parts.len()];
        batch.merge(&part.batch);
        batch.fetch_duration.merge(&part.packed.unpack());
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(seconds: f64, count: usize) -> Vec<ClosedPart> {
        let mut latency = Latency::default();
        latency.record(Duration::from_millis(20));
        let batch = Batch { seconds, completed: 100, ..Batch::default() };
        (0..count).map(|_| ClosedPart { batch: batch.clone(), packed: latency.pack() }).collect()
    }

    #[test]
    fn sixty_parts_make_ten_equal_batches() {
        let batches = joined(&parts(30.0, 60), 10);
        assert_eq!(batches.len(), 10);
        assert!(batches.iter().all(|b| b.seconds == 180.0 && b.completed == 600 && b.fetch_duration.count() == 6));
    }

    #[test]
    fn few_parts_make_as_many_batches_and_nothing_is_lost() {
        assert_eq!(joined(&parts(1.0, 4), 10).len(), 4);
        let batches = joined(&parts(1.0, 33), 10);
        assert_eq!(batches.iter().map(|b| b.completed).sum::<u64>(), 3300);
        assert!(joined(&[], 10).is_empty());
    }
}
