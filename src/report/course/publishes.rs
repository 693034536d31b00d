//! What `events.ndjson` tells a report: publishes and failures, however many there were and whatever is in them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::foreign;
use crate::window::MAX_NODES;

/// The phases of a publish in their order: their names in events, and in words.
pub const PHASES: [(&str, &str); 6] = [
    ("publish_create", "create"),
    ("publish_upload", "upload"),
    ("publish_queue", "queue"),
    ("publish_restore", "restore"),
    ("publish_launch", "launch"),
    ("publish_first_response", "first response"),
];

/// Most publishes that are kept; of the others only their number.
const MOST_PUBLISHES: usize = 2000;
/// Most different messages that are kept; more are counted as one.
const MOST_MESSAGES: usize = 30;
/// Characters of a message that are kept.
const MOST_CHARACTERS: usize = 300;

/// A line of `events.ndjson`, as far as a report reads it.
#[derive(Debug, Deserialize)]
pub struct Event {
    /// Which: `publish`, `iteration_failed`, …
    #[serde(default)]
    pub event: String,
    #[serde(default)]
    n: u64,
    #[serde(default)]
    ok: bool,
    #[serde(default)]
    started_ms: f64,
    #[serde(default)]
    finished_ms: f64,
    #[serde(default)]
    phases_ms: BTreeMap<String, f64>,
    #[serde(default)]
    error: Option<ErrorText>,
    #[serde(default)]
    interrupted: Option<String>,
    #[serde(default)]
    scenario: String,
    #[serde(default)]
    step: serde_json::Value,
    #[serde(default)]
    why: String,
    #[serde(default)]
    label: String,
    #[serde(default)]
    name: String,
}

#[derive(Debug, Deserialize)]
struct ErrorText {
    #[serde(default)]
    step: String,
    #[serde(default)]
    text: Option<String>,
}

/// One publish.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// Its number.
    pub n: u64,
    /// Whether it ended well.
    pub ok: bool,
    /// Since the start of the run.
    pub started_ms: f64,
    /// Since the start of the run.
    pub finished_ms: f64,
    /// Phases by their place in [`PHASES`], and how long they took, ms.
    pub phases: Vec<(usize, f64)>,
    /// The step in which the end of the run cut it off.
    pub interrupted: Option<String>,
}

/// A message, and how often it was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// What failed: a step of a publish or of a scenario.
    pub place: String,
    /// Why, as it was said: foreign text.
    pub why: String,
    /// How often.
    pub count: u64,
}

/// What was told of publishes, failures and nodes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publishes {
    /// In order, the first 2000.
    pub publishes: Vec<Publish>,
    /// How many more there were.
    pub more: u64,
    /// By message.
    pub failures: Vec<Failure>,
    /// Names of nodes by the label that windows have.
    #[serde(default)]
    pub nodes: BTreeMap<String, String>,
}

impl Publishes {
    /// Takes one event.
    pub fn add(&mut self, event: Event) {
        match event.event.as_str() {
            "publish" => self.publish(event),
            "iteration_failed" => {
                let step = event.step.as_str().unwrap_or_default();
                self.failure(&format!("{}: {step}", event.scenario), &event.why);
            }
            "node" if self.nodes.len() <= MAX_NODES => {
                self.nodes.insert(event.label, foreign::line(&event.name, MOST_CHARACTERS));
            }
            _ => {}
        }
    }

    fn publish(&mut self, event: Event) {
        if let Some(error) = &event.error {
            let text = error.text.as_deref().unwrap_or("no reason was given");
            self.failure(&format!("publish: {}", error.step), text);
        }
        if self.publishes.len() >= MOST_PUBLISHES {
            self.more += 1;
            return;
        }
        let took = |(at, (name, _)): (usize, &(&str, &str))| event.phases_ms.get(*name).map(|&took| (at, clean(took)));
        self.publishes.push(Publish {
            n: event.n,
            ok: event.ok,
            started_ms: clean(event.started_ms),
            finished_ms: clean(event.finished_ms),
            phases: PHASES.iter().enumerate().filter_map(took).collect(),
            interrupted: event.interrupted.map(|step| foreign::line(&step, MOST_CHARACTERS)),
        });
    }

    fn failure(&mut self, place: &str, why: &str) {
        let [place, why] = [place, why].map(|text| foreign::line(text, MOST_CHARACTERS));
        if let Some(known) = self.failures.iter_mut().find(|known| known.place == place && known.why == why) {
            known.count += 1;
        } else if self.failures.len() < MOST_MESSAGES {
            self.failures.push(Failure { place, why, count: 1 });
        } else if let Some(last) = self.failures.last_mut() {
            *last = Failure { place: "other".to_owned(), why: "other messages".to_owned(), count: last.count + 1 };
        }
    }
}

/// A time that can be drawn: finite, not negative, at most thirty years.
fn clean(ms: f64) -> f64 {
    if ms.is_finite() { ms.clamp(0.0, 1e12) } else { 0.0 }
}
