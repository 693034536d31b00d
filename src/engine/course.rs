//! A scenario on one worker: its VUs, how far it is, and its end.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::Instant;

use super::pause::Pauses;
use super::timer::Timer;
use super::vu::{Handle, Shared, Vu};
use super::worker::Programs;
use super::{closed, open};
use crate::http::Dial;
use crate::plan::{Executor, Plan, ScenarioPlan};
use crate::schedule::{Arrivals, Part, pools, share, start_offset};

/// Iterations that were taken of each scenario's, by all workers: touched once per iteration of the executor that
/// shares them, by no other.
pub(super) type Taken = Arc<[AtomicU64]>;

/// What all courses of a worker have in common.
pub(super) struct Place<D: Dial> {
    pub(super) shared: Rc<Shared<D>>,
    pub(super) plan: Arc<Plan>,
    pub(super) programs: Arc<dyn Programs>,
    /// Which worker of the plan this is.
    pub(super) index: usize,
    pub(super) taken: Taken,
    pub(super) timer: Timer,
    pub(super) pauses: Pauses,
}

/// Where a scenario stands on this worker.
pub(super) struct Course<D: Dial> {
    pub(super) place: Rc<Place<D>>,
    pub(super) scenario: usize,
    /// VUs of the open model that wait for an arrival; the last one to come is the first one to go.
    pub(super) idle: RefCell<Vec<Rc<Handle>>>,
    /// Those that run or are still finishing, in the order of their start.
    vus: RefCell<Vec<Rc<Handle>>>,
    /// The arrivals per second that a search asked for last, and since when.
    rate: Cell<Option<(u32, Instant)>>,
    /// They were changed.
    changed: Notify,
    /// Somebody else says how many VUs there are: the executor has no say any more.
    ordered: Cell<bool>,
    /// How many VUs were ever started: numbers them.
    started: Cell<u32>,
    /// When no further iteration begins.
    ends: Cell<Instant>,
    /// When what is still under way is cut off; `None` until it has ended.
    cut_off: Cell<Option<Instant>>,
    /// The driver, until it has nothing left to do.
    driver: RefCell<Option<AbortHandle>>,
}

impl<D: Dial> Course<D> {
    /// Begins a scenario: its driver waits for its time.
    pub(super) fn begin(place: &Rc<Place<D>>, scenario: usize) -> Rc<Course<D>> {
        let executor = &place.plan.scenarios[scenario].executor;
        let length = executor.duration().unwrap_or(place.plan.duration);
        let course = Rc::new(Course {
            place: place.clone(),
            scenario,
            idle: RefCell::default(),
            vus: RefCell::default(),
            rate: Cell::new(None),
            changed: Notify::new(),
            ordered: Cell::new(false),
            started: Cell::new(0),
            ends: Cell::new(place.shared.start + executor.start_time() + length),
            cut_off: Cell::new(None),
            driver: RefCell::new(None),
        });
        let (fall, driven) = (place.shared.fallen.by_task(), course.clone());
        let driver = spawn_local(async move {
            let _fall = fall;
            if driven.executor().is_open() { open::drive(driven).await } else { closed::drive(driven).await }
        });
        *course.driver.borrow_mut() = Some(driver.abort_handle());
        course
    }

    pub(super) fn plan(&self) -> &ScenarioPlan {
        &self.place.plan.scenarios[self.scenario]
    }

    pub(super) fn executor(&self) -> &Executor {
        &self.plan().executor
    }

    pub(super) fn begins(&self) -> Instant {
        self.place.shared.start + self.executor().start_time()
    }

    /// When no further iteration begins.
    pub(super) fn ends(&self) -> Instant {
        self.ends.get()
    }

    /// The driver has nothing left to do.
    pub(super) fn driven(&self) {
        self.driver.borrow_mut().take();
    }

    /// VUs that run or are still finishing.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.vus.borrow().len()).unwrap_or(u32::MAX)
    }

    /// Which of the workers this one is in this scenario.
    fn position(&self) -> usize {
        let place = &self.place;
        // A single VU of a second scenario goes to the last worker, beside the smaller share of the first.
        if self.scenario.is_multiple_of(2) { place.index } else { place.plan.workers - 1 - place.index }
    }

    /// This worker's share of so many VUs of the closed model.
    pub(super) fn share(&self, total: u32) -> u32 {
        share(total, self.position(), self.place.plan.workers)
    }

    /// Over how many workers the arrivals of the open model are spread.
    pub(super) fn pools(&self) -> usize {
        pools(self.executor().max_vus(), self.place.plan.workers)
    }

    /// This worker's share of so many VUs of the open model.
    pub(super) fn pool(&self, total: u32) -> u32 {
        if self.position() < self.pools() { share(total, self.position(), self.pools()) } else { 0 }
    }

    /// This worker's arrivals, and when they begin. Of a searched rate those since it was changed last, which are at random
    /// times: who comes next does not depend on who came.
    pub(super) fn arrivals(&self) -> Option<(Arrivals, Instant)> {
        if self.position() >= self.pools() {
            return None;
        }
        let part = Part { worker: self.position() as u64, workers: self.pools() as u64 };
        let seed = self.place.plan.seed.wrapping_add(self.scenario as u64);
        let Executor::SearchedRate { start_rate, .. } = self.executor() else {
            return self.executor().arrivals(part, seed).map(|arrivals| (arrivals, self.begins()));
        };
        let (rate, from) = self.rate.get().unwrap_or((*start_rate, self.begins()));
        let since = from.saturating_duration_since(self.place.shared.start);
        let arrivals = Arrivals::constant(rate, Duration::from_secs(1), self.place.plan.duration, part);
        Some((arrivals.poisson(seed ^ since.as_nanos() as u64), from))
    }

    /// So many arrivals per second over all workers from then on, until it is said again.
    pub(super) fn order_rate(&self, rate: u32, from: Instant) {
        self.rate.set(Some((rate, from)));
        self.changed.notify_one();
    }

    /// Waits until a search asks for another rate. Can be dropped and called again.
    pub(super) async fn rate_changed(&self) {
        self.changed.notified().await;
    }

    /// Whether another iteration may begin; it is taken then.
    pub(super) fn claim(&self, handle: &Handle) -> bool {
        match self.executor() {
            Executor::SharedIterations { iterations, .. } => {
                self.place.taken[self.scenario].fetch_add(1, Ordering::Relaxed) < *iterations
            }
            Executor::PerVuIterations { iterations, .. } => {
                let begun = handle.begun.get();
                handle.begun.set(begun + u64::from(begun < *iterations));
                begun < *iterations
            }
            _ => true,
        }
    }

    /// Counts iterations that were due and did not begin.
    pub(super) fn dropped(&self, count: u64, late: bool) {
        if count > 0 {
            let shared = &self.place.shared;
            shared.recorder.borrow_mut().iterations_dropped(shared.now(), self.scenario, count, late);
        }
    }

    /// What a VU that goes leaves of its own iterations.
    pub(super) fn left_by(&self, handle: &Handle) {
        if let Executor::PerVuIterations { iterations, .. } = self.executor() {
            self.dropped(iterations.saturating_sub(handle.begun.get()), false);
        }
    }

    /// Brings this worker's VUs to its share of `total`, whatever the executor says from now on.
    pub(super) fn order(self: &Rc<Self>, total: u32, over: Duration) {
        self.ordered.set(true);
        self.set(self.share(total), Instant::now().max(self.begins()), over);
    }

    /// Whether somebody else than the executor says how many VUs there are.
    pub(super) fn is_ordered(&self) -> bool {
        self.ordered.get()
    }

    /// Brings this worker's VUs to `wanted`. New ones start from `from` on, evenly over a time; those that go may
    /// finish their iteration, and stay if they are wanted again before they have.
    pub(super) fn set(self: &Rc<Self>, wanted: u32, from: Instant, over: Duration) {
        if self.cut_off.get().is_some() {
            return;
        }
        let grace = match self.executor() {
            Executor::RampingVus { graceful_ramp_down, .. } => Some(from + *graceful_ramp_down),
            _ => None,
        };
        let mut active = 0;
        for handle in self.vus.borrow().iter().filter(|handle| !handle.gone.get() && !handle.guard.is_stopped()) {
            let stays = active < wanted;
            active += u32::from(stays);
            if handle.leaving.replace(!stays) == stays {
                handle.cut_off.set(if stays { None } else { grace });
                handle.guard.wake();
            }
        }
        let missing = wanted - active;
        for at in 0..missing {
            self.start_vu(from + start_offset(at, missing, over), None);
        }
    }

    /// Starts a VU; of the open model with what it is to do at once.
    pub(super) fn start_vu(self: &Rc<Self>, from: Instant, arrival: Option<Instant>) {
        let place = &self.place;
        let worker = u32::try_from(place.index).unwrap_or(0);
        let workers = u32::try_from(place.plan.workers).unwrap_or(1);
        let number = self.started.get() * workers + worker;
        self.started.set(self.started.get() + 1);
        let handle = Rc::new(Handle::default());
        handle.arrival.set(arrival);
        let seed = place.plan.seed ^ (u64::from(number) << 16) ^ self.scenario as u64;
        let program = place.programs.program(self.scenario, number);
        spawn_local(Vu { course: self.clone(), handle: handle.clone(), program, seed, number }.run(from));
        self.vus.borrow_mut().push(handle);
    }

    /// Looks at deadlines, ends the scenario when its time has come, and cuts off what did not finish in time.
    pub(super) fn tick(&self, now: Instant) {
        let vus = self.vus.borrow();
        let mut gone = false;
        for handle in vus.iter() {
            gone |= handle.gone.get();
            handle.guard.sweep(now);
            if handle.cut_off.get().is_some_and(|at| at <= now) {
                handle.guard.stop();
            }
        }
        drop(vus);
        if gone {
            self.vus.borrow_mut().retain(|handle| !handle.gone.get());
        }
        let driving = self.driver.borrow().is_some();
        if self.cut_off.get().is_none() {
            let counted =
                matches!(self.executor(), Executor::SharedIterations { .. } | Executor::PerVuIterations { .. });
            // The last arrivals may be due and not released yet.
            let over = self.ends.get() <= now && !(driving && self.executor().is_open());
            if over || (counted && !driving && self.vus.borrow().is_empty()) {
                self.conclude(self.ends.get().min(now) + self.plan().graceful_stop);
            }
        }
        if self.cut_off.get().is_some_and(|at| at <= now) {
            self.vus.borrow().iter().for_each(|handle| handle.guard.stop());
        }
    }

    /// No further iteration.
    fn conclude(&self, cut_off: Instant) {
        if let Some(driver) = self.driver.borrow_mut().take() {
            driver.abort();
        }
        self.cut_off.set(Some(cut_off));
        if let Executor::SharedIterations { iterations, .. } = self.executor()
            && Instant::now() >= self.begins()
        {
            // Whoever comes first counts what nobody took; from now on nobody can take any.
            let taken = self.place.taken[self.scenario].swap(*iterations, Ordering::Relaxed);
            self.dropped(iterations.saturating_sub(taken), false);
        }
        for handle in self.vus.borrow().iter() {
            handle.leaving.set(true);
            handle.guard.wake();
        }
    }

    /// Wakes its VUs, to look whether they have to hold any longer.
    pub(super) fn wake(&self) {
        self.vus.borrow().iter().for_each(|handle| handle.guard.wake());
    }

    /// No further iterations from now on; what was begun is finished within the graceful stop.
    pub(super) fn stop(&self, now: Instant) {
        self.ends.set(self.ends.get().min(now));
        if self.cut_off.get().is_none() {
            self.conclude(now + self.plan().graceful_stop);
        }
    }

    /// Cuts off what is under way.
    pub(super) fn kill(&self, now: Instant) {
        self.stop(now);
        self.cut_off.set(Some(now));
        self.vus.borrow().iter().for_each(|handle| handle.guard.stop());
    }

    pub(super) fn is_over(&self) -> bool {
        self.cut_off.get().is_some() && self.vus.borrow().iter().all(|handle| handle.gone.get())
    }
}
