//! The publish loop: the VU that publishes an application again and again, as in Posit's load test.
//!
//! A program for the engine: it asks for exchanges and is told their outcomes, and knows neither sockets nor a clock.
//! Its VU must keep its cookies from one exchange to the next, because a task is known only to the node that runs it.
//! The phases that are read off the task's log are as fine as the polls: a poll waits up to a second for news.

mod attempt;
mod lasting;
mod plan;
mod requests;

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use serde::Deserialize;

use self::attempt::{Attempt, Failure};
pub use self::attempt::{
    PUBLISH_CREATE, PUBLISH_FIRST_RESPONSE, PUBLISH_LAUNCH, PUBLISH_QUEUE, PUBLISH_RESTORE, PUBLISH_TOTAL,
    PUBLISH_UPLOAD,
};
pub use self::plan::{Lasts, PublishInto, PublishPlan, PublishPlanError, PublishSeries, PublishTimeouts};
use self::requests::Requests;
use super::provision::Access;
use super::types::{Content, Deployed, Task, UploadedBundle, is_id};
use crate::engine::program::{Action, Exchange, Notes, Outcome, Program};
use crate::outcome::{Ended, ErrorKind};

/// A poll that came back sooner did not wait at the server; then we pause ourselves.
const NOT_WAITED: Duration = Duration::from_millis(200);
const PAUSE_WITHOUT_NEWS: Duration = Duration::from_millis(500);
const PAUSE_WITH_NEWS: Duration = Duration::from_millis(50);
/// The pause after a poll or a first response that failed for a passing reason.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// How many polls in a row may fail for a passing reason.
const PASSING: u32 = 5;
/// Back-off after a failed publish: it doubles from the first to the last, jittered down to its half.
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LAST_BACK_OFF: Duration = Duration::from_secs(30);
/// How many old bundles one publish deletes: one in the normal case, more after failures.
const PRUNED: usize = 4;
/// How many old bundles are remembered; the rest goes with the content item at the end of the run.
const REMEMBERED: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Idle,
    BackOff,
    Create,
    Access,
    Environment,
    Upload,
    Deploy,
    Task,
    FirstResponse,
    Prune,
    Delete,
    /// The deletion of an item that had to last longer than its publish.
    Remove,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Step::Idle | Step::BackOff => "back_off",
            Step::Create | Step::Access | Step::Environment => "create",
            Step::Upload => "upload",
            Step::Deploy => "deploy",
            Step::Task => "task",
            Step::FirstResponse => "first_response",
            Step::Prune => "prune",
            Step::Delete | Step::Remove => "delete",
        }
    }
}

/// The publish loop of one VU.
pub struct PublishLoop {
    plan: PublishPlan,
    requests: Requests,
    step: Step,
    attempt: Attempt,
    /// Publishes begun.
    begun: u64,
    /// Publishes that failed, one after the other.
    failures: u32,
    /// The content item that lasts longer than its publish.
    item: Option<String>,
    /// What is asked next is its deletion.
    removing: bool,
    /// The bundle that is served.
    active: Option<String>,
    /// Bundles that are not served any more.
    old: VecDeque<String>,
    pruned: usize,
    random: u64,
}

impl PublishLoop {
    /// A publish loop.
    ///
    /// # Errors
    /// Where a path or the identifier cannot stand in a request.
    pub fn new(plan: PublishPlan) -> Result<PublishLoop, PublishPlanError> {
        let requests = Requests::new(&plan);
        let fail = |what: &'static str, value: &str| PublishPlanError { what, value: value.to_owned() };
        if !plan.base_path.starts_with('/') || requests.delete("x").is_none() {
            return Err(fail("the server's path", &plan.base_path));
        }
        if requests.first_response("x").is_none() {
            return Err(fail("the path", &plan.first_path));
        }
        match &plan.into {
            PublishInto::One { guid, .. } if !is_id(guid) => return Err(fail("the content item", guid)),
            PublishInto::New { prefix, .. } if prefix.is_empty() || prefix.len() > 56 => {
                return Err(fail("names that begin with", prefix));
            }
            _ => {}
        }
        Ok(PublishLoop {
            requests,
            step: Step::Idle,
            attempt: Attempt::default(),
            begun: 0,
            failures: 0,
            item: None,
            removing: false,
            active: None,
            old: VecDeque::new(),
            pruned: 0,
            random: plan.seed,
            plan,
        })
    }

    fn begin(&mut self, now: Duration) -> Action {
        self.begun += 1;
        self.pruned = 0;
        self.attempt = Attempt::new(self.begun, now);
        match &self.plan.into {
            PublishInto::One { guid, .. } => {
                self.attempt.guid = Some(guid.clone());
                let upload = self.requests.upload(guid);
                self.ask(Step::Upload, upload)
            }
            PublishInto::New { lasts: Lasts::Run, .. } if self.item.is_some() => {
                self.attempt.guid = self.item.clone();
                let upload = self.item.as_deref().and_then(|guid| self.requests.upload(guid));
                self.ask(Step::Upload, upload)
            }
            PublishInto::New { prefix, description, first_number, number_step, .. } => {
                let number = first_number.wrapping_add((self.begun - 1).wrapping_mul(*number_step));
                let create = self.requests.create(&format!("{prefix}{number}"), description);
                self.ask(Step::Create, create)
            }
        }
    }

    fn ask(&mut self, step: Step, exchange: Option<Rc<Exchange>>) -> Action {
        self.step = step;
        match exchange {
            Some(exchange) => Action::Exchange(exchange),
            // Ruled out by the constructor; a pause keeps the VU from spinning if not.
            None => Action::Wait(PAUSE_AFTER_FAILURE),
        }
    }

    /// The outcome of the exchange of the present step.
    fn told(&mut self, outcome: &Outcome<'_>, notes: &mut Notes) -> Action {
        match self.step {
            Step::Create | Step::Access | Step::Environment => self.created(outcome, notes),
            Step::Upload => self.uploaded(outcome, notes),
            Step::Deploy => self.deployed(outcome, notes),
            Step::Task => self.polled(outcome, notes),
            Step::FirstResponse => self.responded(outcome, notes),
            Step::Prune => self.pruned(outcome, notes),
            Step::Delete => self.deleted(outcome, notes),
            Step::Remove => self.removed(outcome, notes),
            Step::Idle | Step::BackOff => self.begin(outcome.finished),
        }
    }

    fn created(&mut self, outcome: &Outcome<'_>, notes: &mut Notes) -> Action {
        let (everyone, variables) = match &self.plan.into {
            PublishInto::New { access, variables, .. } => (*access == Access::Everyone, !variables.is_empty()),
            PublishInto::One { .. } => (false, false),
        };
        if self.step == Step::Create {
            let guid = match self.parse::<Content>(outcome).and_then(|content| self.identifier(content.guid)) {
                Ok(guid) => guid,
                Err(failure) => return self.fail(failure, outcome.finished, notes),
            };
            self.attempt.guid = Some(guid);
        } else if outcome.ended != Ended::Completed {
            let failure = Failure::of("create", outcome, &self.plan.key);
            return self.fail(failure, outcome.finished, notes);
        }
        let guid = self.attempt.guid.clone().unwrap_or_default();
        if self.step == Step::Create && everyone {
            let access = self.requests.access(&guid);
            return self.ask(Step::Access, access);
        }
        if self.step != Step::Environment
            && variables
            && let PublishInto::New { variables, .. } = &self.plan.into
        {
            let environment = self.requests.environment(&guid, variables);
            return self.ask(Step::Environment, environment);
        }
        if self.lasts() != Some(Lasts::Publish) {
            self.item = Some(guid.clone());
        }
        self.attempt.phase(PUBLISH_CREATE, outcome.finished.saturating_sub(self.attempt.started));
        let upload = self.requests.upload(&guid);
        self.ask(Step::Upload, upload)
    }

    fn uploaded(&mut self, outcome: &Outcome<'_>, notes: &mut Notes) -> Action {
        let id = match self.parse::<UploadedBundle>(outcome).and_then(|bundle| self.identifier(bundle.id)) {
            Ok(id) => id,
            Err(failure) => return self.fail(failure, outcome.finished, notes),
        };
        self.attempt.phase(PUBLISH_UPLOAD, outcome.finished.saturating_sub(outcome.started));
        let deploy = self.attempt.guid.as_deref().and_then(|guid| self.requests.deploy(guid, &id));
        self.attempt.bundle_id = Some(id);
        self.ask(Step::Deploy, deploy)
    }

    fn deployed(&mut self, outcome: &Outcome<'_>, notes: &mut Notes) -> Action {
        let id = match self.parse::<Deployed>(outcome).and_then(|deployed| self.identifier(deployed.task_id)) {
            Ok(id) => id,
            Err(failure) => return self.fail(failure, outcome.finished, notes),
        };
        self.attempt.task_id = Some(id);
        self.attempt.marks.accepted = Some(outcome.finished);
        self.attempt.deadline = outcome.finished + self.plan.timeouts.task;
        self.poll()
    }

    fn poll(&mut self) -> Action {
        let task = self.attempt.task_id.as_deref().and_then(|id| self.requests.task(id, self.attempt.first));
        self.ask(Step::Task, task)
    }

    fn polled(&mut self, outcome: &Outcome<'_>, notes: &mut Notes) -> Action {
        let now = outcome.finished;
        if is_passing(outcome) && self.attempt.passing < PASSING && now < self.attempt.deadline {
            self.attempt.passing += 1;
            return Action::Wait(PAUSE_AFTER_FAILURE);
        }
        self.attempt.passing = 0;
        let task = match self.parse::<Task>(outcome) {
            Ok(task) => task,
            Err(failure) => return self.fail(failure, now, notes),
        };
        let news = self.attempt.read(&task, now, &self.plan.key);
        if task.finished {
            return self.task_over(&task, now, notes);
        }
        if now >= self.attempt.deadline {
            let text = format!("the deployment was not done within {:?}", self.plan.timeouts.task);
            return self.fail(Failure::new("task", text), now, notes);
        }
        if now.saturating_sub(outcome.started) >= NOT_WAITED {
            return self.poll();
        }
        Action::Wait(if news { PAUSE_WITH_NEWS } else { PAUSE_WITHOUT_NEWS })
    }

    fn task_over(&mut self, task: &Task, now: Duration, notes: &mut Notes) -> Action {
        self.attempt.phases_of_log();
        if task.code != 0 || !task.error.is_empty() {
            let text = super::error::presentable(&self.plan.key.redact(&task.error));
            let failure = Failure { code: Some(task.code), ..Failure::new("task", text) };
            return self.fail(failure, now, notes);
        }
        self.attempt.deadline = now + self.plan.timeouts.first_response;
        // From here on the new bundle is the one that is served.
        if let Some(before) = std::mem::replace(&mut self.active, self.attempt.bundle_id.clone()) {
            self.retire(before);
        }
        self.fetch()
    }

    fn fetch(&mut self) -> Action {
        let fetch = self.attempt.guid.as_deref().and_then(|guid| self.requests.first_response(guid));
        self.ask(Step::FirstResponse, fetch)
    }

    fn responded(&mut self, outcome: &Outcome<'_>, notes: &mut Notes) -> Action {
        let now = outcome.finished;
        if outcome.ended != Ended::Completed {
            if now < self.attempt.deadline {
                return Action::Wait(PAUSE_AFTER_FAILURE);
            }
            return self.fail(Failure::of("first_response", outcome, &self.plan.key), now, notes);
        }
        let finished = self.attempt.marks.finished.unwrap_or(now);
        self.attempt.phase(PUBLISH_FIRST_RESPONSE, now.saturating_sub(finished));
        self.attempt.phase(PUBLISH_TOTAL, now.saturating_sub(self.attempt.started));
        self.attempt.answered = Some(now);
        self.tidy(now, notes)
    }

    /// After the publish: delete what it has made superfluous.
    fn tidy(&mut self, now: Duration, notes: &mut Notes) -> Action {
        let guid = self.attempt.guid.clone().unwrap_or_default();
        match self.lasts() {
            Some(Lasts::Publish) => {
                let delete = self.requests.delete(&guid);
                return self.ask(Step::Delete, delete);
            }
            Some(Lasts::UntilRemoved) => return self.end(now, notes),
            Some(Lasts::Run) | None => {}
        }
        match self.old.front() {
            Some(bundle_id) if self.pruned < PRUNED => {
                let prune = self.requests.prune(&guid, bundle_id);
                self.pruned += 1;
                self.ask(Step::Prune, prune)
            }
            _ => self.end(now, notes),
        }
    }

    fn pruned(&mut self, outcome: &Outcome<'_>, notes: &mut Notes) -> Action {
        let bundle_id = self.old.pop_front();
        if outcome.ended == Ended::Completed || outcome.status == Some(404) {
            return self.tidy(outcome.finished, notes);
        }
        // The next publish tries again.
        self.old.extend(bundle_id);
        self.attempt.left_behind = Some(Failure::of("prune", outcome, &self.plan.key));
        self.end(outcome.finished, notes)
    }

    fn deleted(&mut self, outcome: &Outcome<'_>, notes: &mut Notes) -> Action {
        if outcome.ended != Ended::Completed && outcome.status != Some(404) {
            // The journal has the beginning of its name: the clean-up after the run deletes it.
            self.attempt.left_behind = Some(Failure::of("delete", outcome, &self.plan.key));
        }
        self.end(outcome.finished, notes)
    }

    fn fail(&mut self, failure: Failure, now: Duration, notes: &mut Notes) -> Action {
        self.attempt.failure = Some(Failure { log: self.attempt.log(), ..failure });
        // An item that the next publish can use stays; so does one that was there before.
        let stays = self.lasts().is_none_or(|lasts| lasts == Lasts::Run && self.item.is_some());
        if let (false, Some(guid)) = (stays, self.attempt.guid.clone()) {
            self.item = None;
            let delete = self.requests.delete(&guid);
            return self.ask(Step::Delete, delete);
        }
        // A bundle that is served is retired by the next one; one that never was can go then too.
        if self.attempt.bundle_id != self.active
            && let Some(bundle_id) = self.attempt.bundle_id.clone()
        {
            self.retire(bundle_id);
        }
        self.end(now, notes)
    }

    fn retire(&mut self, bundle_id: String) {
        self.old.push_back(bundle_id);
        if self.old.len() > REMEMBERED {
            self.old.pop_front();
        }
    }

    fn end(&mut self, now: Duration, notes: &mut Notes) -> Action {
        let ok = self.attempt.note(now, None, notes);
        self.failures = if ok { 0 } else { self.failures.saturating_add(1) };
        self.step = Step::Idle;
        Action::End(ok)
    }

    /// The body of an exchange, or why there is none that can be used.
    fn parse<T: for<'de> Deserialize<'de>>(&self, outcome: &Outcome<'_>) -> Result<T, Failure> {
        let step = self.step.name();
        if outcome.ended != Ended::Completed {
            return Err(Failure::of(step, outcome, &self.plan.key));
        }
        serde_json::from_slice(outcome.body).map_err(|error| {
            let kept = if self.step == Step::Task { requests::KEEP_TASK } else { requests::KEEP_API };
            let text = match outcome.body.len() >= kept {
                true => format!("the answer is longer than {kept} bytes"),
                false => format!("the answer is not what Connect's API promises: {error}"),
            };
            let text = super::error::presentable(&self.plan.key.redact(&text));
            Failure { status: outcome.status, ..Failure::new(step, text) }
        })
    }

    /// An identifier that can stand in a path: a server that sends another must not choose ours.
    fn identifier(&self, id: String) -> Result<String, Failure> {
        if is_id(&id) {
            return Ok(id);
        }
        let shown = super::error::presentable(&self.plan.key.redact(&id));
        Err(Failure::new(self.step.name(), format!("the identifier {shown:?} is none")))
    }

    fn back_off(&mut self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(16);
        let longest = FIRST_BACK_OFF.saturating_mul(1 << doublings).min(LAST_BACK_OFF);
        // SplitMix64: the same seed makes the same pauses.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let share = (mixed >> 11) as f64 / (1_u64 << 53) as f64;
        longest.mul_f64(0.5 + share / 2.0)
    }
}

impl Program for PublishLoop {
    fn next(&mut self, now: Duration, last: Option<Outcome<'_>>, notes: &mut Notes) -> Action {
        match (last, self.step) {
            (Some(outcome), step) if outcome.ended == Ended::Interrupted && step != Step::Remove => {
                self.step = Step::Idle;
                self.attempt.note(now, Some(step.name()), notes);
                Action::End(false)
            }
            (Some(outcome), _) => self.told(&outcome, notes),
            (None, Step::Idle) if std::mem::take(&mut self.removing) => {
                let delete = self.item.as_deref().and_then(|guid| self.requests.delete(guid));
                self.ask(Step::Remove, delete)
            }
            (None, Step::Idle) if self.failures > 0 => {
                self.step = Step::BackOff;
                Action::Wait(self.back_off())
            }
            (None, Step::Idle | Step::BackOff) => self.begin(now),
            (None, Step::Task) => self.poll(),
            (None, Step::FirstResponse) => self.fetch(),
            (None, step) => {
                let failure = Failure::new(step.name(), "the exchange was not made");
                self.attempt.failure = Some(failure);
                self.end(now, notes)
            }
        }
    }

    fn interrupted(&mut self, now: Duration, notes: &mut Notes) {
        let step = std::mem::replace(&mut self.step, Step::Idle);
        if !matches!(step, Step::Idle | Step::BackOff | Step::Remove) {
            self.attempt.note(now, Some(step.name()), notes);
        }
    }
}

/// Whether a poll failed for a reason that may pass while the deployment goes on.
fn is_passing(outcome: &Outcome<'_>) -> bool {
    match outcome.ended {
        Ended::Failed(ErrorKind::Status(status)) => matches!(status, 502..=504),
        Ended::Failed(kind) => !matches!(kind, ErrorKind::Body | ErrorKind::TlsUnknownAuthority),
        Ended::Completed | Ended::Interrupted => false,
    }
}

#[cfg(test)]
mod tests;
