//! One publish: what is known about it so far, and what is noted of it when it is over.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::engine::program::{Notes, Outcome};
use crate::outcome::Ended;
use crate::posit_connect::error::presentable;
use crate::posit_connect::types::{ErrorBody, Task};
use crate::secret::ApiKey;

/// Make the content item, where each publish has its own.
pub const PUBLISH_CREATE: &str = "publish_create";
/// Upload the bundle.
pub const PUBLISH_UPLOAD: &str = "publish_upload";
/// From the deployment accepted to the first line of its log.
pub const PUBLISH_QUEUE: &str = "publish_queue";
/// From the first line of the log to the one that says that the application is launched.
pub const PUBLISH_RESTORE: &str = "publish_restore";
/// From that line to the end of the task.
pub const PUBLISH_LAUNCH: &str = "publish_launch";
/// From the end of the task to the application's first response.
pub const PUBLISH_FIRST_RESPONSE: &str = "publish_first_response";
/// From the first request to the application's first response.
pub const PUBLISH_TOTAL: &str = "publish_total";

/// How many of the log's last lines an event holds.
const LAST_LINES: usize = 12;

/// Why a publish failed.
#[derive(Debug, Default)]
pub(super) struct Failure {
    pub(super) step: &'static str,
    pub(super) kind: Option<String>,
    pub(super) status: Option<u16>,
    pub(super) code: Option<i64>,
    pub(super) text: String,
    pub(super) log: Vec<String>,
}

impl Failure {
    pub(super) fn new(step: &'static str, text: impl Into<String>) -> Failure {
        Failure { step, text: text.into(), ..Failure::default() }
    }

    /// What an exchange that did not complete says, with advice where the cause is known.
    pub(super) fn of(step: &'static str, outcome: &Outcome<'_>, key: &ApiKey) -> Failure {
        let body: ErrorBody = serde_json::from_slice(outcome.body).unwrap_or_default();
        let said = match body.error.is_empty() {
            true => String::from_utf8_lossy(outcome.body.get(..400).unwrap_or(outcome.body)).into_owned(),
            false => body.error,
        };
        let kind = match outcome.ended {
            Ended::Failed(kind) => Some(kind),
            Ended::Completed | Ended::Interrupted => None,
        };
        let mut text = presentable(&key.redact(&said));
        if text.is_empty() {
            text = kind.map_or_else(String::new, |kind| kind.describe());
        }
        if let Some(advice) = advice(step, outcome.status, body.code) {
            text = format!("{text}; {advice}");
        }
        let kind = kind.map(|kind| kind.to_string());
        Failure { step, kind, status: outcome.status, code: body.code, text, log: Vec::new() }
    }

    /// What is told of a content item that could not be deleted.
    pub(super) fn left_behind(&self, guid: &str) -> Value {
        json!({ "event": "left_behind", "guid": guid, "why": self.json() })
    }

    fn json(&self) -> Value {
        json!({
            "step": self.step, "kind": self.kind, "status": self.status, "code": self.code,
            "text": self.text, "log": self.log,
        })
    }
}

fn advice(step: &str, status: Option<u16>, code: Option<i64>) -> Option<&'static str> {
    match (step, status, code) {
        ("task", Some(404), _) => Some(
            "a task is known only to the node that runs it: the load balancer must keep a client on one node (sticky \
             sessions by cookie)",
        ),
        ("create", Some(409), _) => Some("the name is taken by an earlier publish: run connect-bench cleanup"),
        ("upload", Some(413), _) => Some("a proxy before the server limits the size of uploads"),
        (_, Some(401), _) => Some("the API key is not accepted"),
        (_, Some(403), _) => Some("publishing needs a key of a publisher or an administrator"),
        (_, Some(402), _) => Some("the server's licence has expired"),
        _ => None,
    }
}

/// Points in the life of a deployment, since the start of the run.
#[derive(Debug, Default)]
pub(super) struct Marks {
    pub(super) accepted: Option<Duration>,
    pub(super) first_line: Option<Duration>,
    pub(super) launching: Option<Duration>,
    pub(super) finished: Option<Duration>,
}

/// A publish under way.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    pub(super) n: u64,
    pub(super) started: Duration,
    pub(super) guid: Option<String>,
    pub(super) bundle_id: Option<String>,
    pub(super) task_id: Option<String>,
    /// How many lines of the log have been read.
    pub(super) first: u64,
    /// Polls that failed for a passing reason, one after the other.
    pub(super) passing: u32,
    pub(super) deadline: Duration,
    pub(super) marks: Marks,
    pub(super) failure: Option<Failure>,
    /// Why something that should be gone is still there.
    pub(super) left_behind: Option<Failure>,
    /// The application answered: the publish itself is over.
    pub(super) answered: Option<Duration>,
    phases: Vec<(&'static str, Duration)>,
    lines: VecDeque<String>,
}

impl Attempt {
    pub(super) fn new(n: u64, started: Duration) -> Attempt {
        Attempt { n, started, ..Attempt::default() }
    }

    pub(super) fn phase(&mut self, name: &'static str, duration: Duration) {
        self.phases.push((name, duration));
    }

    /// Takes in what a poll brought, and says whether there were new lines.
    pub(super) fn read(&mut self, task: &Task, at: Duration, key: &ApiKey) -> bool {
        for line in &task.output {
            self.marks.first_line.get_or_insert(at);
            if line.contains("Launching") {
                self.marks.launching.get_or_insert(at);
            }
            self.lines.push_back(presentable(&key.redact(line)));
            if self.lines.len() > LAST_LINES {
                self.lines.pop_front();
            }
        }
        let read = task.output.len() as u64;
        self.first = if task.last > self.first { task.last } else { self.first.saturating_add(read) };
        if task.finished {
            self.marks.finished.get_or_insert(at);
        }
        read > 0
    }

    /// The phases that the log tells apart; one whose beginning or end was not seen is left out, not guessed.
    pub(super) fn phases_of_log(&mut self) {
        let marks = &self.marks;
        let spans = [
            (PUBLISH_QUEUE, marks.accepted, marks.first_line),
            (PUBLISH_RESTORE, marks.first_line, marks.launching),
            (PUBLISH_LAUNCH, marks.launching, marks.finished),
        ];
        for (name, from, to) in spans {
            if let (Some(from), Some(to)) = (from, to) {
                self.phases.push((name, to.saturating_sub(from)));
            }
        }
    }

    pub(super) fn log(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }

    /// Notes the publish: its event always, its trends only where it succeeded, so that success and failure do not mix.
    pub(super) fn note(&self, now: Duration, interrupted: Option<&'static str>, notes: &mut Notes) -> bool {
        let ok = self.failure.is_none() && self.answered.is_some();
        if ok {
            notes.trends.extend(&self.phases);
        }
        let phases: Map<String, Value> =
            self.phases.iter().map(|(name, duration)| ((*name).to_owned(), json!(ms(*duration)))).collect();
        let mut event = json!({
            "event": "publish", "n": self.n, "ok": ok,
            "started_ms": ms(self.started), "finished_ms": ms(self.answered.unwrap_or(now)),
            "phases_ms": phases, "error": self.failure.as_ref().map(Failure::json),
            "guid": self.guid, "bundle_id": self.bundle_id,
        });
        if let Some(map) = event.as_object_mut() {
            if let Some(left) = &self.left_behind {
                map.insert("left_behind".to_owned(), left.json());
            }
            if let Some(step) = interrupted {
                map.insert("interrupted".to_owned(), json!(step));
            }
        }
        notes.events.push(event);
        ok
    }
}

/// Milliseconds with three places.
fn ms(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}
