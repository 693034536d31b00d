//! The capacity model of one node, driven by the clock: a request waits here until the model says that it left.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::alarm::Alarm;
use super::curve::Curve;
use super::demand::Demand;
use super::simulate::Model;

/// The node went away while the request was in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node went away")]
pub(super) struct NodeGone;

/// How much work requests ask for, and from which seed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Workload {
    pub(super) seed: u64,
    pub(super) cv: f64,
    /// Share of the node that running deploy tasks take.
    pub(super) publish_share: f64,
}

/// One node's capacity.
#[derive(Debug)]
pub(super) struct Capacity {
    /// Never held over an await; everything runs on one thread, so it is never contended either.
    state: Mutex<State>,
    alarm: Alarm,
}

/// A ring that comes this much early is left as it is: it takes longer than that to wake up.
const EARLY_S: f64 = 10e-6;

#[derive(Debug)]
struct State {
    model: Model,
    /// When the alarm rings.
    armed_s: Option<f64>,
    demand: Demand,
    waiting: HashMap<u64, oneshot::Sender<()>>,
    publish_share: f64,
    deploying: usize,
    stalled: bool,
    served: u64,
    most_in_flight: usize,
    /// Sum of how late wake-ups were, in seconds, to see whether the machine is good enough.
    late_s: f64,
}

impl Capacity {
    /// An idle node. Needs a running event loop.
    pub(super) fn new(curve: Curve, workload: Workload) -> io::Result<Self> {
        let state = State {
            model: Model::new(curve),
            armed_s: None,
            demand: Demand::new(workload.seed, workload.cv),
            waiting: HashMap::new(),
            publish_share: workload.publish_share,
            deploying: 0,
            stalled: false,
            served: 0,
            most_in_flight: 0,
            late_s: 0.0,
        };
        Ok(Self { state: Mutex::new(state), alarm: Alarm::new()? })
    }

    /// Seconds on this node's clock: to be taken when a request's head was read.
    pub(super) fn now_s(&self) -> f64 {
        self.alarm.now_s()
    }

    /// Has a request that arrived at `arrived_s` served.
    ///
    /// # Errors
    /// When the node goes away meanwhile.
    pub(super) async fn serve(&self, arrived_s: f64) -> Result<(), NodeGone> {
        let done = {
            let mut state = self.lock();
            let demand = state.demand.next();
            let id = state.model.arrive(arrived_s, demand);
            let (sender, done) = oneshot::channel();
            state.waiting.insert(id, sender);
            state.most_in_flight = state.most_in_flight.max(state.model.in_flight());
            self.arm(&mut state);
            done
        };
        done.await.map_err(|_closed: oneshot::error::RecvError| NodeGone)
    }

    /// Lets requests go when their time has come, for ever.
    pub(super) async fn run(&self) {
        loop {
            self.alarm.rings().await;
            let now_s = self.now_s();
            let mut state = self.lock();
            let State { model, waiting, served, late_s, .. } = &mut *state;
            for left in model.advance(now_s) {
                *served += 1;
                *late_s += now_s - left.at_s;
                if let Some(sender) = waiting.remove(&left.id) {
                    // A client that went away does not listen; the work was done all the same.
                    let _ = sender.send(());
                }
            }
            state.armed_s = None;
            self.arm(&mut state);
        }
    }

    /// A chance of `rate`, from the node's own stream of random numbers; and another number for what to do with it.
    pub(super) fn chance(&self, rate: f64) -> Option<f64> {
        if rate <= 0.0 {
            return None;
        }
        let mut state = self.lock();
        (state.demand.uniform() < rate).then(|| state.demand.uniform())
    }

    /// A deploy task starts (`true`) or ends.
    pub(super) fn deploying(&self, starts: bool) {
        let mut state = self.lock();
        state.deploying = if starts { state.deploying + 1 } else { state.deploying.saturating_sub(1) };
        self.set_factor(&mut state);
    }

    /// The node stalls, or goes on.
    pub(super) fn stall(&self, stalled: bool) {
        let mut state = self.lock();
        state.stalled = stalled;
        self.set_factor(&mut state);
    }

    /// The node goes away: every request in it ends with [`NodeGone`].
    pub(super) fn clear(&self) {
        let mut state = self.lock();
        state.model.clear(self.now_s());
        state.waiting.clear();
        self.arm(&mut state);
    }

    /// Requests in flight, the most there were, served, and the mean lateness of a wake-up in µs.
    pub(super) fn figures(&self) -> (usize, usize, u64, f64) {
        let state = self.lock();
        let late_us = if state.served == 0 { 0.0 } else { state.late_s / state.served as f64 * 1e6 };
        (state.model.in_flight(), state.most_in_flight, state.served, late_us)
    }

    fn set_factor(&self, state: &mut State) {
        let share = if state.deploying > 0 { 1.0 - state.publish_share } else { 1.0 };
        state.model.set_factor(self.now_s(), if state.stalled { 0.0 } else { share });
        self.arm(state);
    }

    /// Sets the alarm for the next departure, unless it is set well enough.
    fn arm(&self, state: &mut State) {
        let next_s = state.model.next_departure();
        let kept = match (state.armed_s, next_s) {
            (Some(armed_s), Some(next_s)) => (armed_s..armed_s + EARLY_S).contains(&next_s),
            _ => false,
        };
        if !kept {
            self.alarm.set(next_s);
            state.armed_s = next_s;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
