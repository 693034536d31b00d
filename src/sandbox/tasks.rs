//! Tasks of one node. Their state lives in the node's memory: another node knows nothing of them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use super::store::random_key;

/// Longest time that a poll is held.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// Tasks that a node remembers; beyond it the finished ones are forgotten.
const REMEMBERED: usize = 5000;

/// What a task has come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) output: Vec<String>,
    pub(super) finished: bool,
    pub(super) code: i32,
    pub(super) error: String,
}

/// A running task's end of it.
#[derive(Debug, Clone)]
pub(super) struct Handle {
    progress: watch::Sender<Progress>,
}

#[derive(Debug)]
struct Task {
    handle: Handle,
    /// Guid of who may ask after it.
    owner: String,
}

/// The tasks of one node.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    by_id: Mutex<HashMap<String, Task>>,
}

/// A poll: which lines the client has, and how long it is ready to wait.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Poll {
    pub(super) first: Option<usize>,
    pub(super) wait: Duration,
}

impl Handle {
    /// Adds a line to the log.
    pub(super) fn log(&self, line: impl Into<String>) {
        self.progress.send_modify(|progress| {
            if !progress.finished {
                progress.output.push(line.into());
            }
        });
    }

    /// Ends it, well (`None`) or with an error. The first end counts.
    pub(super) fn finish(&self, error: Option<&str>) {
        self.progress.send_if_modified(|progress| {
            if progress.finished {
                return false;
            }
            progress.finished = true;
            if let Some(error) = error {
                progress.output.push(format!("ERROR: {error}"));
                progress.code = 1;
                error.clone_into(&mut progress.error);
            }
            true
        });
    }

    /// Waits until it has ended, however.
    pub(super) async fn finished(&self) {
        let mut changes = self.progress.subscribe();
        let _ = changes.wait_for(|progress| progress.finished).await;
    }
}

impl Tasks {
    /// A new task: its id, and its end.
    pub(super) fn start(&self, owner: &str) -> (String, Handle) {
        let id: String = random_key().chars().take(16).collect();
        let handle = Handle { progress: watch::Sender::new(Progress::default()) };
        let mut by_id = self.lock();
        if by_id.len() >= REMEMBERED {
            by_id.retain(|_, task| !task.handle.progress.borrow().finished);
        }
        by_id.insert(id.clone(), Task { handle: handle.clone(), owner: owner.to_owned() });
        (id, handle)
    }

    /// The node went away: what runs has failed.
    pub(super) fn fail_all(&self, error: &str) {
        for task in self.lock().values() {
            task.handle.finish(Some(error));
        }
    }

    /// Whose task it is; `None` when this node does not know it.
    pub(super) fn owner(&self, id: &str) -> Option<String> {
        self.lock().get(id).map(|task| task.owner.clone())
    }

    /// Asks after a task. Held for up to `wait` until there is something that the client has not seen: lines after
    /// `first` when it says which ones it has, otherwise anything that happens from now on, or the end.
    pub(super) async fn poll(&self, id: &str, poll: Poll) -> Option<Value> {
        let mut changes = self.lock().get(id)?.handle.progress.subscribe();
        let seen = poll.first.unwrap_or_else(|| changes.borrow().output.len());
        let news = changes.wait_for(|progress| progress.finished || progress.output.len() > seen);
        // Out of time or the sender is gone: either way the answer is what there is.
        let _ = tokio::time::timeout(poll.wait.min(MAX_WAIT), news).await.is_ok();
        let progress = changes.borrow().clone();
        Some(progress.to_json(id, poll.first.unwrap_or(0)))
    }

    /// How many tasks run, or wait in the queue.
    pub(super) fn unfinished(&self) -> usize {
        self.lock().values().filter(|task| !task.handle.progress.borrow().finished).count()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Task>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress {
    fn to_json(&self, id: &str, first: usize) -> Value {
        json!({
            "id": id, "output": self.output.get(first..).unwrap_or_default(), "result": null,
            "finished": self.finished, "code": self.code, "error": self.error, "last": self.output.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_poll_gives_the_lines_after_first() {
        let tasks = Tasks::default();
        let (id, handle) = tasks.start("me");
        handle.log("one");
        handle.log("two");
        let all = tasks.poll(&id, Poll::default()).await.unwrap();
        assert_eq!((&all["output"], &all["last"]), (&json!(["one", "two"]), &json!(2)));
        let rest = tasks.poll(&id, Poll { first: Some(1), wait: SECOND }).await.unwrap();
        assert_eq!((&rest["output"], &rest["finished"]), (&json!(["two"]), &json!(false)));
        let beyond = tasks.poll(&id, Poll { first: Some(9), wait: Duration::ZERO }).await.unwrap();
        assert_eq!((&beyond["output"], &beyond["last"]), (&json!([]), &json!(2)));
        assert!(tasks.poll("other", Poll::default()).await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_is_held_until_there_is_news() {
        let tasks = Tasks::default();
        let (id, handle) = tasks.start("me");
        handle.log("one");
        for first in [None, Some(1)] {
            let started = tokio::time::Instant::now();
            tasks.poll(&id, Poll { first, wait: SECOND }).await.unwrap();
            assert!(started.elapsed() >= SECOND, "nothing new, so it waits: {first:?}");
        }
        let poll = tasks.poll(&id, Poll { first: Some(1), wait: 10 * SECOND });
        let news = async {
            tokio::time::sleep(SECOND / 10).await;
            handle.log("two");
        };
        let started = tokio::time::Instant::now();
        let (answer, ()) = tokio::join!(poll, news);
        assert_eq!(answer.unwrap()["output"], json!(["two"]));
        assert!(started.elapsed() < SECOND);
        handle.finish(Some("no"));
        handle.finish(None);
        let end = tasks.poll(&id, Poll { first: Some(2), wait: SECOND }).await.unwrap();
        assert_eq!((&end["finished"], &end["code"], &end["error"]), (&json!(true), &json!(1), &json!("no")));
        assert_eq!(end["output"], json!(["ERROR: no"]));
    }

    #[tokio::test]
    async fn when_the_node_goes_its_tasks_fail() {
        let tasks = Tasks::default();
        let (id, _handle) = tasks.start("me");
        assert_eq!((tasks.unfinished(), tasks.owner(&id).as_deref()), (1, Some("me")));
        tasks.fail_all("gone");
        assert_eq!(tasks.poll(&id, Poll::default()).await.unwrap()["error"], "gone");
        assert_eq!(tasks.unfinished(), 0);
    }
}
