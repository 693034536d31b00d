//! The simulated processes of content: started at the first request, stopped when idle, replaced by a deploy, gone
//! with their node. Each is a job in the API.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use tokio::sync::Notify;

use super::launcher::JobLog;
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
    real: Option<Real>,
}

/// What a job has that is a real process.
#[derive(Debug, Clone)]
struct Real {
    pid: u32,
    log: Arc<JobLog>,
    stop: Arc<Notify>,
}

/// A real process that began.
#[derive(Debug)]
pub(super) struct NewJob {
    pub(super) key: String,
    pub(super) content_guid: String,
    pub(super) bundle_id: i64,
    pub(super) hostname: String,
    pub(super) pid: u32,
    pub(super) log: Arc<JobLog>,
    /// Told when the API is to stop it.
    pub(super) stop: Arc<Notify>,
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
        let id = state.job(Job {
            id: 0,
            key: random_key().chars().take(16).collect(),
            content_guid: need.content_guid.to_owned(),
            bundle_id: need.bundle_id,
            hostname: need.hostname.to_owned(),
            start_time: utc_now(),
            end_time: None,
            exit_code: None,
            real: None,
        });
        state.running.insert(place, Running { ready: now + need.spawn, last_used: now, job: id });
        state.forget_old();
        need.spawn
    }

    /// A real process began: the number of its job.
    pub(super) fn begin(&self, new: NewJob) -> u64 {
        let mut state = self.lock();
        let id = state.job(Job {
            id: 0,
            key: new.key,
            content_guid: new.content_guid,
            bundle_id: new.bundle_id,
            hostname: new.hostname,
            start_time: utc_now(),
            end_time: None,
            exit_code: None,
            real: Some(Real { pid: new.pid, log: new.log, stop: new.stop }),
        });
        state.forget_old();
        id
    }

    /// A real process ended.
    pub(super) fn end(&self, id: u64, exit_code: i32) {
        self.lock().end(id, exit_code);
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
        let runs = |job: &&Job| job.id == id && job.end_time.is_none();
        if let Some(real) = state.jobs.iter().find(runs).and_then(|job| job.real.as_ref()) {
            real.stop.notify_one();
            return true;
        }
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
        if let Some(running) = self.running.remove(&place) {
            self.end(running.job, exit_code);
        }
    }

    /// Keeps a job: its number.
    fn job(&mut self, job: Job) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.jobs.push(Job { id, ..job });
        id
    }

    fn end(&mut self, id: u64, exit_code: i32) {
        if let Some(job) = self.jobs.iter_mut().find(|job| job.id == id) {
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

    /// The entries of its log.
    pub(super) fn log(&self) -> Value {
        if let Some(real) = &self.real {
            return real.log.to_json();
        }
        let entry = |time: &str, text| json!({"source": "stdout", "timestamp": time, "data": text});
        let started = entry(&self.start_time, "Simulated process started.");
        let stopped = self.end_time.as_ref().map(|end| entry(end, "Simulated process stopped."));
        std::iter::once(started).chain(stopped).collect()
    }

    /// As the API shows it.
    pub(super) fn to_json(&self) -> Value {
        let pid = self.real.as_ref().map_or(10_000 + self.id, |real| u64::from(real.pid));
        json!({
            "id": self.id.to_string(), "ppid": null, "pid": pid.to_string(), "key": self.key,
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
