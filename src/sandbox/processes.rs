//! The simulated processes of content: started at the first request, stopped when idle, replaced by a deploy, gone
//! with their node. Each is a job in the API.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::reply::utc_now;
use super::store::random_key;

/// A process runs on one node for one bundle.
type Place = (usize, i64);

/// Ended jobs that are remembered.
const REMEMBERED: usize = 1000;

/// Every process of every node.
#[derive(Debug, Default)]
pub(super) struct Processes {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    running: HashMap<Place, Running>,
    jobs: Vec<Job>,
    next_id: u64,
}

#[derive(Debug)]
struct Running {
    /// When it accepts requests.
    ready: Instant,
    last_used: Instant,
    job: u64,
}

/// What the API tells of a process.
#[derive(Debug, Clone)]
pub(super) struct Job {
    id: u64,
    pub(super) key: String,
    pub(super) content_guid: String,
    bundle_id: i64,
    hostname: String,
    pub(super) start_time: String,
    pub(super) end_time: Option<String>,
    exit_code: Option<i32>,
}

/// A request that needs a process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Need<'a> {
    pub(super) node: usize,
    pub(super) hostname: &'a str,
    pub(super) content_guid: &'a str,
    pub(super) bundle_id: i64,
    /// How long it stays without requests; `None`: for ever.
    pub(super) idle: Option<Duration>,
    /// How long it takes to start.
    pub(super) spawn: Duration,
}

impl Processes {
    /// The process for a request, started if there is none: how long the request has to wait for it.
    pub(super) fn need(&self, need: Need<'_>) -> Duration {
        let now = Instant::now();
        let mut state = self.lock();
        let place = (need.node, need.bundle_id);
        if let Some(running) = state.running.get_mut(&place) {
            let idle_since = running.last_used.max(running.ready);
            if need.idle.is_none_or(|idle| now < idle_since + idle) {
                running.last_used = now;
                return running.ready.saturating_duration_since(now);
            }
            state.stop(place, 0);
        }
        let id = state.next_id;
        state.next_id += 1;
        state.running.insert(place, Running { ready: now + need.spawn, last_used: now, job: id });
        state.jobs.push(Job {
            id,
            key: random_key().chars().take(16).collect(),
            content_guid: need.content_guid.to_owned(),
            bundle_id: need.bundle_id,
            hostname: need.hostname.to_owned(),
            start_time: utc_now(),
            end_time: None,
            exit_code: None,
        });
        state.forget_old();
        need.spawn
    }

    /// Stops the processes of a content item, but those of the bundle to `keep`.
    pub(super) fn stop_content(&self, content_guid: &str, keep: Option<i64>) {
        let mut state = self.lock();
        let jobs: Vec<u64> = state
            .jobs
            .iter()
            .filter(|job| job.content_guid == content_guid && Some(job.bundle_id) != keep)
            .map(|job| job.id)
            .collect();
        state.stop_where(0, |_, running| jobs.contains(&running.job));
    }

    /// A node went away, and its processes with it.
    pub(super) fn stop_node(&self, node: usize) {
        self.lock().stop_where(137, |place, _| place.0 == node);
    }

    /// Stops one process. `false` when it does not run.
    pub(super) fn stop_job(&self, id: u64) -> bool {
        let mut state = self.lock();
        let before = state.running.len();
        state.stop_where(143, |_, running| running.job == id);
        state.running.len() < before
    }

    /// The jobs of a content item, newest first.
    pub(super) fn jobs(&self, content_guid: &str) -> Vec<Job> {
        self.lock().jobs.iter().rev().filter(|job| job.content_guid == content_guid).cloned().collect()
    }

    /// How many processes run on a node.
    pub(super) fn count(&self, node: usize) -> usize {
        self.lock().running.keys().filter(|place| place.0 == node).count()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn stop_where(&mut self, exit_code: i32, stops: impl Fn(&Place, &Running) -> bool) {
        let places: Vec<Place> = self.running.iter().filter(|(p, r)| stops(p, r)).map(|(p, _)| *p).collect();
        for place in places {
            self.stop(place, exit_code);
        }
    }

    fn stop(&mut self, place: Place, exit_code: i32) {
        let Some(running) = self.running.remove(&place) else { return };
        if let Some(job) = self.jobs.iter_mut().find(|job| job.id == running.job) {
            job.end_time = Some(utc_now());
            job.exit_code = Some(exit_code);
        }
    }

    fn forget_old(&mut self) {
        let surplus = self.jobs.len().saturating_sub(REMEMBERED + self.running.len());
        if surplus > 0 {
            let mut left = surplus;
            self.jobs.retain(|job| {
                let goes = left > 0 && job.end_time.is_some();
                left -= usize::from(goes);
                !goes
            });
        }
    }
}

impl Job {
    /// The number that stops it.
    pub(super) fn number(&self) -> u64 {
        self.id
    }

    /// As the API shows it.
    pub(super) fn to_json(&self) -> Value {
        json!({
            "id": self.id.to_string(), "ppid": null, "pid": (10_000 + self.id).to_string(), "key": self.key,
            "remote_id": null, "app_id": self.content_guid, "app_guid": self.content_guid, "variant_id": "0",
            "bundle_id": self.bundle_id.to_string(), "start_time": self.start_time, "end_time": self.end_time,
            "last_heartbeat_time": self.end_time.as_ref().unwrap_or(&self.start_time), "queued_time": null,
            "queue_name": null, "status": if self.end_time.is_some() { 2 } else { 0 }, "exit_code": self.exit_code,
            "tag": "run_app", "hostname": self.hostname, "cluster": null, "image": null, "run_as": "rstudio-connect",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(node: usize, bundle_id: i64) -> Need<'static> {
        let spawn = Duration::from_secs(60);
        Need { node, hostname: "n", content_guid: "c", bundle_id, idle: Some(Duration::from_secs(120)), spawn }
    }

    #[test]
    fn the_first_request_starts_it_and_the_others_wait_for_the_rest() {
        let processes = Processes::default();
        assert_eq!(processes.need(need(0, 1)), Duration::from_secs(60));
        let rest = processes.need(need(0, 1));
        assert!(rest > Duration::from_secs(50) && rest <= Duration::from_secs(60));
        assert_eq!((processes.count(0), processes.jobs("c").len()), (1, 1));
    }

    #[test]
    fn a_new_bundle_replaces_the_processes_of_the_old_one() {
        let processes = Processes::default();
        processes.need(need(0, 1));
        processes.need(need(1, 1));
        processes.need(need(0, 2));
        processes.stop_content("c", Some(2));
        assert_eq!((processes.count(0), processes.count(1)), (1, 0));
        let jobs = processes.jobs("c");
        assert_eq!(jobs.iter().filter(|job| job.end_time.is_none()).count(), 1);
        assert!(processes.stop_job(jobs[0].number()) && !processes.stop_job(jobs[0].number()));
    }

    #[test]
    fn an_idle_process_is_replaced() {
        let processes = Processes::default();
        let quick = Need { idle: Some(Duration::ZERO), spawn: Duration::ZERO, ..need(0, 1) };
        processes.need(quick);
        processes.need(quick);
        assert_eq!((processes.count(0), processes.jobs("c").len()), (1, 2));
        processes.stop_node(0);
        assert_eq!(processes.count(0), 0);
    }
}
