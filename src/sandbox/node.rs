//! One node: its capacity, its tasks, whether it is up; and what all nodes share.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};

use super::Config;
use super::bundles::BundleDir;
use super::capacity::{Capacity, Workload};
use super::catalog::Catalog;
use super::counts::Counts;
use super::deploy::PackageCache;
use super::launcher::Launcher;
use super::metrics::Durations;
use super::processes::Processes;
use super::store::{Store, User};
use super::tasks::Tasks;
use super::usage::Usage;

/// What a cluster's nodes share: the database, the files, and what is remembered of them.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) store: Store,
    pub(super) bundles: BundleDir,
    pub(super) catalog: Catalog,
    pub(super) processes: Arc<Processes>,
    /// Starts real processes; `None`: content is simulated.
    pub(super) launcher: Option<Launcher>,
    pub(super) usage: Usage,
    pub(super) packages: PackageCache,
    pub(super) users: Vec<User>,
}

impl Shared {
    /// Whose key it is.
    pub(super) fn user_of_key(&self, key: &str) -> Option<&User> {
        self.users.iter().find(|user| user.api_key == key)
    }
}

/// One node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) index: usize,
    pub(super) hostname: String,
    pub(super) capacity: Capacity,
    pub(super) tasks: Tasks,
    pub(super) counts: Counts,
    /// How long requests took.
    pub(super) durations: Durations,
    /// Deploy tasks beyond these wait.
    pub(super) deploy_slots: Semaphore,
    pub(super) shared: Arc<Shared>,
    up: AtomicBool,
    /// How often it went away; whoever waits on it is told.
    losses: watch::Sender<u64>,
    stalled: watch::Sender<bool>,
}

impl Node {
    /// A node that is up. Needs a running event loop.
    pub(super) fn new(index: usize, shared: Arc<Shared>) -> io::Result<Self> {
        let config = &shared.config;
        let workload = Workload {
            seed: config.seed.wrapping_add(index as u64),
            cv: config.demand_cv,
            publish_share: config.publish_share,
        };
        Ok(Self {
            index,
            hostname: config.hostname.clone().unwrap_or_else(|| format!("sandbox-{}", index + 1)),
            capacity: Capacity::new(config.curve, workload)?,
            tasks: Tasks::default(),
            counts: Counts::default(),
            durations: Durations::default(),
            deploy_slots: Semaphore::new(config.deploy_slots.max(1)),
            up: AtomicBool::new(true),
            losses: watch::Sender::new(0),
            stalled: watch::Sender::new(false),
            shared,
        })
    }

    /// Whether it is there.
    pub(super) fn is_up(&self) -> bool {
        self.up.load(SeqCst)
    }

    /// It goes away: requests in it are lost, its processes and its tasks end.
    pub(super) fn go_down(&self) {
        self.up.store(false, SeqCst);
        self.capacity.clear();
        self.shared.processes.stop_node(self.index);
        if let Some(launcher) = &self.shared.launcher {
            launcher.stop_node(self.index);
        }
        self.tasks.fail_all("the deployment was interrupted: the node was stopped");
        self.losses.send_modify(|losses| *losses += 1);
    }

    /// It is back.
    pub(super) fn come_up(&self) {
        self.up.store(true, SeqCst);
    }

    /// Stops answering, or goes on.
    pub(super) fn stall(&self, stalled: bool) {
        self.capacity.stall(stalled);
        self.stalled.send_replace(stalled);
    }

    /// Waits while it is stalled.
    pub(super) async fn awake(&self) {
        if *self.stalled.borrow() {
            // The sender lives as long as the node.
            let _ = self.stalled.subscribe().wait_for(|stalled| !stalled).await;
        }
    }

    /// What tells when it goes away.
    pub(super) fn losses(&self) -> watch::Receiver<u64> {
        self.losses.subscribe()
    }

    /// Its figures.
    pub(super) fn to_json(&self) -> Value {
        let (in_flight, most_in_flight, served, late_us) = self.capacity.figures();
        let mut json = self.counts.to_json();
        json["node"] = json!(self.index + 1);
        json["hostname"] = json!(self.hostname);
        json["up"] = json!(self.is_up());
        json["in_flight"] = json!(in_flight);
        json["most_in_flight"] = json!(most_in_flight);
        json["served"] = json!(served);
        json["wake_up_late_mean_us"] = json!((late_us * 10.0).round() / 10.0);
        json["processes"] = json!(self.shared.processes.count(self.index));
        if let Some(launcher) = &self.shared.launcher {
            let (processes, served, waiting) = launcher.figures(self.index);
            json["processes"] = json!(processes);
            json["in_flight"] = json!(served);
            json["waiting_for_a_process"] = json!(waiting);
        }
        json["tasks_unfinished"] = json!(self.tasks.unfinished());
        json
    }
}
