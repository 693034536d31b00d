//! A run while it is on, as live views show it: made from seconds and events, in bounded memory. Knows neither clocks nor
//! terminals; the same seconds make the same view.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::course::{Event, Failure, Publish, Publishes, Seen, Slot, Slots};
use super::foreign;
use crate::capacity::knee::estimate::{Estimate, Point, estimate};
use crate::capacity::search::{GeneratorState, Progress, SearchConfig, Step, StepKind};
use crate::generator;
use crate::histogram::Latency;
use crate::outcome::ErrorKind;
use crate::plan::{Executor, Plan};
use crate::threshold::{Expression, Judge, Verdict};
use crate::window::{HostSample, Part, Second};

/// Seconds that are kept one by one.
pub const MOST_SECONDS: usize = 600;
/// Seconds that the figures of the moment are taken over.
pub const RECENT: usize = 5;
/// Messages that are kept.
const MOST_MESSAGES: usize = 50;
/// Different failure texts that are kept.
const MOST_FAILURES: usize = 20;
/// Characters of a text that somebody else wrote.
const MOST_CHARACTERS: usize = 200;

/// One scenario, now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Line {
    /// Its name: foreign text made fit.
    pub name: String,
    /// Whether arrivals begin iterations, and not VUs.
    pub is_open: bool,
    /// VUs that are active.
    pub vus: u64,
    /// VUs that are asked for.
    pub asked: u64,
    /// Iterations that were due, per second.
    pub due_per_s: f64,
    /// Iterations that ended, well or not, per second.
    pub ended_per_s: f64,
    /// Iterations that never began, since the start.
    pub dropped: u64,
}

/// Fetches of the last seconds.
#[derive(Debug, Clone, Default)]
struct Recent {
    seconds: f64,
    completed: u64,
    latency: Latency,
    waiting: Latency,
    ended: Vec<u64>,
    due: Vec<u64>,
}

/// One node since the start.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Node {
    /// Completed fetches.
    pub completed: u64,
    /// Failed fetches.
    pub failed: u64,
    /// Latency of the completed ones.
    pub latency: Latency,
}

/// What the publish loop did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Published {
    /// Ended well.
    pub ok: u64,
    /// Did not.
    pub failed: u64,
    /// The last one.
    pub last: Option<Publish>,
}

/// A saturation search, now.
#[derive(Debug, Clone, PartialEq)]
pub struct Searching {
    /// Where it stands.
    pub progress: Progress,
    /// Finished stages.
    pub steps: Vec<Step>,
    /// The curve through them, from three numbers of VUs on.
    pub estimate: Option<Estimate>,
}

/// A threshold, now.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// `http_req_duration p(95)<500`.
    pub what: String,
    /// Whether it is kept; `None` before there is data.
    pub kept: Option<bool>,
    /// What was observed, and its unit.
    pub observed: Option<(f64, String)>,
    /// How far the limit is away, as a share of the limit; negative beyond it.
    pub margin: Option<f64>,
}

impl Judged {
    fn of(verdict: &Verdict) -> Judged {
        let limit = verdict.relative.as_ref().map(|relative| relative.limit);
        let expression = Expression::parse(&verdict.expression).ok();
        let limit = limit.or_else(|| expression.and_then(|expression| expression.limit(None)));
        let upper = verdict.expression.contains('<');
        let margin = verdict.observed.zip(limit).filter(|(_, limit)| *limit != 0.0).map(|(observed, limit)| {
            let over = (observed - limit) / limit.abs();
            if upper { -over } else { over }
        });
        // An equation has no margin.
        let margin = margin.filter(|_| upper || verdict.expression.contains('>'));
        Judged {
            what: foreign::line(&format!("{} {}", verdict.metric, verdict.expression), MOST_CHARACTERS),
            kept: verdict.observed.map(|_| verdict.passed),
            observed: verdict.observed.map(|value| (value, verdict.unit.clone())),
            margin,
        }
    }
}

/// Something that was said while the run was on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Since the start of the run, seconds.
    pub at_s: u64,
    /// What.
    pub text: String,
    /// Whether it must not be missed.
    pub is_warning: bool,
}

/// The generator's own health, now and so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Health {
    /// Why the generator was the limit in the last second, if it was.
    pub limited: Option<String>,
    /// Seconds in which it was, of the measured part.
    pub limited_s: u64,
    /// Seconds of the measured part.
    pub measured_s: u64,
    /// The share of its core that the busiest worker used, 0..=1.
    pub busiest: f64,
    /// 99th percentile of the event loops' lag, ms.
    pub lag_ms: Option<f64>,
    /// What the system says of this process.
    pub host: HostSample,
}

/// A run while it is on.
#[derive(Debug)]
pub struct Watch {
    plan: Arc<Plan>,
    slots: Slots,
    recent: VecDeque<Recent>,
    asked: Option<Vec<u32>>,
    /// The last seconds, one by one.
    pub seconds: VecDeque<Slot>,
    /// Fetch latency of the measured part.
    pub measured: Latency,
    /// Completed and failed requests of all scenarios since the start.
    pub requests: (u64, u64),
    /// Responses by status since the start.
    pub statuses: BTreeMap<u16, u64>,
    /// Failures by kind since the start.
    pub errors: BTreeMap<ErrorKind, Seen>,
    /// Texts of failures that were told, with how often.
    pub failures: Vec<Failure>,
    /// By affinity cookie.
    pub nodes: BTreeMap<String, Node>,
    /// By scenario.
    pub lines: Vec<Line>,
    /// The publish loop.
    pub published: Published,
    /// Of a ramp.
    pub search: Option<Searching>,
    /// The thresholds.
    pub thresholds: Vec<Judged>,
    /// The generator.
    pub health: Health,
    /// What was said, the oldest first.
    pub messages: VecDeque<Message>,
}

impl Watch {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(plan: Arc<Plan>) -> Watch {
        let slots = Slots::of(&plan);
        let line = |scenario: &crate::plan::ScenarioPlan| Line {
            name: foreign::line(&scenario.name, MOST_CHARACTERS),
            is_open: scenario.executor.is_open(),
            ..Line::default()
        };
        Watch {
            lines: plan.scenarios.iter().map(line).collect(),
            thresholds: Judge::new(&plan).verdicts().iter().map(Judged::of).collect(),
            plan,
            slots,
            recent: VecDeque::new(),
            asked: None,
            seconds: VecDeque::new(),
            measured: Latency::default(),
            requests: (0, 0),
            statuses: BTreeMap::new(),
            errors: BTreeMap::new(),
            failures: Vec::new(),
            nodes: BTreeMap::new(),
            published: Published::default(),
            search: None,
            health: Health::default(),
            messages: VecDeque::new(),
        }
    }

    /// What is to happen.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Seconds since the start of the run.
    #[must_use]
    pub fn elapsed_s(&self) -> u64 {
        self.seconds.back().map_or(0, |slot| slot.from_s + slot.seconds)
    }

    /// The part of the run that the last second belongs to.
    #[must_use]
    pub fn part(&self) -> Option<Part> {
        self.seconds.back().map(|slot| slot.part)
    }

    /// Fetches that completed per second, over the last seconds.
    #[must_use]
    pub fn fetches_per_s(&self) -> Option<f64> {
        let seconds: f64 = self.recent.iter().map(|recent| recent.seconds).sum();
        (seconds > 0.0).then(|| self.recent.iter().map(|recent| recent.completed).sum::<u64>() as f64 / seconds)
    }

    /// Fetch latency over the last seconds.
    #[must_use]
    pub fn recent_latency(&self) -> Latency {
        let mut all = Latency::default();
        self.recent.iter().for_each(|recent| all.merge(&recent.latency));
        all
    }

    /// Median time from the request written to the first byte of its response, over the last seconds, ms.
    #[must_use]
    pub fn waiting_ms(&self) -> Option<f64> {
        let mut all = Latency::default();
        self.recent.iter().for_each(|recent| all.merge(&recent.waiting));
        all.quantile_ms(0.5)
    }

    /// So many VUs are asked for from now on, by scenario.
    pub fn set_asked(&mut self, vus: Vec<u32>) {
        self.asked = Some(vus);
    }

    /// Something was said.
    pub fn say(&mut self, text: &str, is_warning: bool) {
        let at_s = self.elapsed_s();
        for text in text.lines().take(4) {
            self.messages.push_back(Message { at_s, text: foreign::line(text, 4 * MOST_CHARACTERS), is_warning });
        }
        while self.messages.len() > MOST_MESSAGES {
            self.messages.pop_front();
        }
    }

    /// Something happened.
    pub fn event(&mut self, event: &serde_json::Value) {
        let Ok(event) = <Event as serde::Deserialize>::deserialize(event) else { return };
        let mut one = Publishes::default();
        one.add(event);
        if let Some(publish) = one.publishes.pop() {
            self.published.ok += u64::from(publish.ok);
            self.published.failed += u64::from(!publish.ok && publish.interrupted.is_none());
            self.published.last = Some(publish);
        }
        for failure in one.failures {
            let (place, why) = (foreign::line(&failure.place, 60), foreign::line(&failure.why, MOST_CHARACTERS));
            match self.failures.iter().position(|known| known.place == place && known.why == why) {
                Some(at) => self.failures[at].count += failure.count,
                None if self.failures.len() < MOST_FAILURES => {
                    self.failures.push(Failure { place, why, count: failure.count });
                }
                None => {}
            }
        }
    }

    /// A second is over. `search` is where a saturation search stands, with its finished stages; `verdicts` what would
    /// become of the thresholds now.
    pub fn second(&mut self, second: &Second, search: Option<(Progress, &[Step])>, verdicts: &[Verdict]) {
        let slot = self.slots.slot(second);
        for (kind, n) in &slot.errors {
            let at = second.second;
            let seen = self.errors.entry(*kind).or_insert(Seen { count: 0, first_s: at, last_s: at });
            *seen = Seen { count: seen.count + n, first_s: seen.first_s, last_s: at };
        }
        self.requests = (self.requests.0 + slot.completed, self.requests.1 + slot.failed);
        self.seconds.push_back(slot);
        if self.seconds.len() > MOST_SECONDS {
            self.seconds.pop_front();
        }
        self.add_fetches(second);
        self.add_lines(second);
        self.add_health(second);
        self.thresholds = verdicts.iter().map(Judged::of).collect();
        if let Some((progress, steps)) = search {
            self.searching(progress, steps);
        }
    }

    fn add_fetches(&mut self, second: &Second) {
        let window = &second.window;
        let mut recent = Recent { seconds: window.seconds(), ..Recent::default() };
        for (at, (series, measured)) in self.plan.series().iter().zip(&window.series).enumerate() {
            for (status, n) in &measured.statuses {
                *self.statuses.entry(*status).or_default() += n;
            }
            if !self.plan.fetches_in(at, series) {
                continue;
            }
            recent.completed += measured.requests.completed;
            recent.latency.merge(&measured.duration);
            recent.waiting.merge(&measured.waiting);
            for (label, node) in &measured.nodes {
                let mine = self.nodes.entry(label.clone()).or_default();
                mine.completed += node.completed;
                mine.failed += node.failed;
                mine.latency.merge(&node.duration);
            }
        }
        if second.part == Part::Steady {
            self.measured.merge(&recent.latency);
        }
        let iterations = window.scenarios.iter().map(|scenario| &scenario.iterations);
        recent.ended = iterations.clone().map(|counts| counts.completed + counts.failed).collect();
        recent.due = iterations.map(|counts| counts.scheduled).collect();
        self.recent.push_back(recent);
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }

    fn add_lines(&mut self, second: &Second) {
        let seconds: f64 = self.recent.iter().map(|recent| recent.seconds).sum::<f64>().max(1e-9);
        for (at, (line, now)) in self.lines.iter_mut().zip(&second.window.scenarios).enumerate() {
            let sum = |of: fn(&Recent) -> &Vec<u64>| -> f64 {
                self.recent.iter().filter_map(|recent| of(recent).get(at)).sum::<u64>() as f64 / seconds
            };
            line.vus = now.vus;
            line.due_per_s = sum(|recent| &recent.due);
            line.ended_per_s = sum(|recent| &recent.ended);
            line.dropped += now.iterations.dropped;
            line.asked =
                asked(&self.plan.scenarios[at].executor, self.asked.as_ref().map(|vus| vus[at]), second).into();
        }
    }

    fn add_health(&mut self, second: &Second) {
        let health = &mut self.health;
        health.limited = match generator::state(second) {
            GeneratorState::Limited { reason } => Some(reason),
            GeneratorState::Healthy => None,
        };
        if second.part == Part::Steady {
            health.measured_s += 1;
            health.limited_s += u64::from(health.limited.is_some());
        }
        let window = &second.window.generator;
        health.busiest = window.busiest_permille as f64 / 1000.0;
        health.lag_ms = window.lag.quantile_ms(0.99);
        health.host = second.host;
    }

    fn searching(&mut self, progress: Progress, steps: &[Step]) {
        for (line, scenario) in self.lines.iter_mut().zip(&self.plan.scenarios) {
            if matches!(scenario.executor, Executor::Searched { .. }) {
                line.asked = progress.vus.into();
            }
        }
        let known = self.search.take();
        let estimate = match known {
            Some(known) if known.steps.len() == steps.len() => known.estimate,
            _ => curve(steps),
        };
        self.search = Some(Searching { progress, steps: steps.to_vec(), estimate });
    }
}

/// VUs that are asked for of a scenario in a second: what somebody set, or what was planned.
fn asked(executor: &Executor, set: Option<u32>, second: &Second) -> u32 {
    match (executor.vus_at(second.second), set) {
        (0, _) => 0,
        (_, Some(set)) if matches!(executor, Executor::ConstantVus { .. }) => set,
        (planned, _) => planned,
    }
}

/// The knee curve through stages; of several at the same number of VUs, through the last.
fn curve(steps: &[Step]) -> Option<Estimate> {
    let mut points: Vec<Point> = Vec::new();
    for step in steps.iter().filter(|step| step.kind != StepKind::Unusable && step.requests_per_second > 0.0) {
        // A stage that was cut short is known less well than its own spread says.
        let sigma = step.standard_error.max(0.01 * step.requests_per_second);
        let point = Point { vus: step.vus.into(), per_s: step.requests_per_second, sigma };
        match points.binary_search_by(|known| known.vus.total_cmp(&point.vus)) {
            Ok(at) => points[at] = point,
            Err(at) => points.insert(at, point),
        }
    }
    let is_open = steps.iter().any(|step| step.rate.is_some());
    if points.len() < 3 || is_open { None } else { estimate(&points, SearchConfig::standard().eps) }
}
