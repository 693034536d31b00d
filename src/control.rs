//! Live control of a run: what may be asked of it while it is on, whether that makes sense, and the orders that follow.
//!
//! Pure decisions here; [`board`] holds what is shown, [`rest`] has the sockets, on a thread of its own. Prints nothing.

pub mod board;
pub mod rest;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::engine::worker::Order;
use crate::plan::{Executor, Plan};
use crate::summary::{ControlEvent, Controlled, Origin};
use crate::units::nearest;

/// New VUs start over this time, as at the start of a load test.
const START_OVER: Duration = Duration::from_secs(1);
/// No run has more VUs, as on the command line.
const MOST_VUS: u32 = 100_000;
/// Files that are not connections of VUs.
const OTHER_FILES: u64 = 64;

/// Something that is asked of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// No further iterations until it is resumed.
    Pause,
    /// The end of a pause.
    Resume,
    /// Another number of VUs.
    Vus {
        /// Of this scenario; without a name, of the one that fetches.
        scenario: Option<String>,
        /// How many.
        vus: Wanted,
    },
    /// The end of the run: what was begun is finished.
    Stop,
}

/// How many VUs are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// So many.
    Exactly(u32),
    /// A tenth more, at least one.
    More,
    /// A tenth fewer, at least one.
    Fewer,
}

/// What is asked together: all of it is done, or nothing.
#[derive(Debug)]
pub struct Asked {
    /// In this order.
    pub asks: Vec<Ask>,
    /// Where it is asked.
    pub from: Origin,
    /// Who waits to be told what became of it.
    pub reply: Option<oneshot::Sender<Result<(), Refusal>>>,
}

/// Why something that was asked is not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing runs yet.
    #[error("the run has not begun: it is being prepared; ask again when `status` is 6")]
    NotBegun,
    /// Nothing runs any more.
    #[error("the run is over")]
    Over,
    /// It was told to stop already.
    #[error("the run was told to stop; it cannot go on")]
    Stopping,
    /// A saturation search sets VUs by itself.
    #[error("a ramp sets its VUs by itself and every pause would spoil a stage: it can only be stopped")]
    Searched,
    /// No scenario whose VUs can be set.
    #[error("scenario {name:?} is {executor}: its schedule sets its VUs; only those of constant-vus can be changed")]
    Scheduled {
        /// The scenario.
        name: String,
        /// Its executor.
        executor: &'static str,
    },
    /// Several scenarios whose VUs can be set, and none was named.
    #[error("which scenario? VUs can be set of {}; name one of them", .0.join(", "))]
    Which(Vec<String>),
    /// No scenario of that name.
    #[error("there is no scenario {name:?}{}", .near.as_ref().map_or_else(String::new, |near| format!("; did you mean {near}?")))]
    Unknown {
        /// What was written.
        name: String,
        /// What may be meant.
        near: Option<String>,
    },
    /// The scenario is not on.
    #[error("scenario {name:?} {when}")]
    NotOn {
        /// The scenario.
        name: String,
        /// Whether it is over or still to begin.
        when: &'static str,
    },
    /// Too many VUs, or none.
    #[error("{asked} VUs: from 1 to {most} are possible here (pause a run that is to have none)")]
    Range {
        /// What was asked for.
        asked: u32,
        /// The limit: files that may be open, and 100 000 in any case.
        most: u32,
    },
}

impl Refusal {
    /// Whether nothing of this kind can ever be done, whatever the run's state.
    #[must_use]
    pub fn is_senseless(&self) -> bool {
        matches!(self, Refusal::Which(_) | Refusal::Unknown { .. } | Refusal::Range { .. })
    }
}

/// What follows from what was asked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Effect {
    /// For the engine, in this order.
    pub orders: Vec<Order>,
    /// For the record. What changes nothing is not in it.
    pub events: Vec<ControlEvent>,
}

/// The state of control over one run.
#[derive(Debug, Clone)]
pub struct Controls {
    plan: Arc<Plan>,
    /// Files that this process may have open.
    files: Option<u64>,
    /// VUs that are asked for, by scenario.
    asked: Vec<u32>,
    paused: bool,
    stopping: bool,
}

impl Controls {
    /// Over a run that begins, in a process that may open so many files.
    #[must_use]
    pub fn new(plan: Arc<Plan>, files: Option<u64>) -> Controls {
        let asked = plan.scenarios.iter().map(|scenario| scenario.executor.start_vus()).collect();
        Controls { plan, files, asked, paused: false, stopping: false }
    }

    /// The run's plan.
    #[must_use]
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Whether it is paused.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Whether it was told to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// VUs that are asked for of a scenario.
    #[must_use]
    pub fn vus(&self, scenario: usize) -> u32 {
        self.asked.get(scenario).copied().unwrap_or(0)
    }

    /// It was told to stop in another way: by a signal, a threshold, its search.
    pub fn stopped(&mut self) {
        self.stopping = true;
    }

    /// The scenario whose VUs are set where none is named, if there is exactly one.
    #[must_use]
    pub fn sole(&self) -> Option<usize> {
        match self.candidates().as_slice() {
            [one] => Some(*one),
            _ => None,
        }
    }

    /// The most VUs that a scenario can have beside the others.
    #[must_use]
    pub fn most(&self, scenario: usize) -> u32 {
        let others = |(at, plan): (usize, &crate::plan::ScenarioPlan)| match &plan.executor {
            _ if at == scenario => 0,
            Executor::ConstantVus { .. } => self.vus(at),
            other => other.max_vus(),
        };
        let others: u32 = self.plan.scenarios.iter().enumerate().map(others).sum();
        let files = self.files.map_or(u64::MAX, |files| files.saturating_sub(OTHER_FILES));
        u32::try_from(files).unwrap_or(u32::MAX).min(MOST_VUS).saturating_sub(others)
    }

    /// Does all that is asked at this time of the run, or nothing of it.
    ///
    /// # Errors
    /// Why the first of it that is not possible is not.
    pub fn apply(&mut self, asks: &[Ask], from: Origin, at: Duration) -> Result<Effect, Refusal> {
        let (mut next, mut effect) = (self.clone(), Effect::default());
        for ask in asks {
            next.take(ask, (from, at), &mut effect)?;
        }
        *self = next;
        Ok(effect)
    }

    fn take(&mut self, ask: &Ask, (from, at): (Origin, Duration), effect: &mut Effect) -> Result<(), Refusal> {
        let mut event = |what, order| {
            effect.orders.push(order);
            let (at_s, scenario) = (at.as_secs_f64(), None);
            effect.events.push(ControlEvent { at_s, what, from, scenario, vus_before: None, vus: None });
        };
        match ask {
            Ask::Stop if self.stopping => Ok(()),
            Ask::Stop => {
                self.stopping = true;
                event(Controlled::Stop, Order::Stop);
                Ok(())
            }
            _ if self.stopping => Err(Refusal::Stopping),
            _ if self.is_searched() => Err(Refusal::Searched),
            Ask::Pause => {
                if !std::mem::replace(&mut self.paused, true) {
                    event(Controlled::Pause, Order::Pause);
                }
                Ok(())
            }
            Ask::Resume => {
                if std::mem::replace(&mut self.paused, false) {
                    event(Controlled::Resume, Order::Resume);
                }
                Ok(())
            }
            Ask::Vus { scenario, vus } => {
                let scenario = self.scenario(scenario.as_deref(), at)?;
                let (before, vus) = (self.vus(scenario), self.wanted(scenario, *vus)?);
                if vus != before {
                    self.asked[scenario] = vus;
                    effect.orders.push(Order::SetVus { scenario, vus, over: START_OVER });
                    effect.events.push(ControlEvent {
                        at_s: at.as_secs_f64(),
                        what: Controlled::Vus,
                        from,
                        scenario: Some(self.plan.scenarios[scenario].name.clone()),
                        vus_before: Some(before),
                        vus: Some(vus),
                    });
                }
                Ok(())
            }
        }
    }

    fn is_searched(&self) -> bool {
        self.plan.scenarios.iter().any(|scenario| scenario.executor.is_searched())
    }

    /// The scenarios one of which is meant where none is named: those that fetch, or else any.
    fn candidates(&self) -> Vec<usize> {
        let constant = |at: &usize| matches!(self.plan.scenarios[*at].executor, Executor::ConstantVus { .. });
        let fetching: Vec<usize> = self.plan.fetch_scenarios().filter(constant).collect();
        if fetching.is_empty() { (0..self.plan.scenarios.len()).filter(constant).collect() } else { fetching }
    }

    /// The scenario whose VUs are meant, if they can be set now.
    fn scenario(&self, name: Option<&str>, at: Duration) -> Result<usize, Refusal> {
        let scenarios = &self.plan.scenarios;
        let scenario = match (name, self.candidates().as_slice()) {
            (None, [one]) => *one,
            (None, []) => self.plan.fetch_scenario().unwrap_or(0),
            (None, several) => {
                return Err(Refusal::Which(several.iter().map(|at| scenarios[*at].name.clone()).collect()));
            }
            (Some(name), _) => scenarios.iter().position(|scenario| scenario.name == name).ok_or_else(|| {
                let near = nearest(name, scenarios.iter().map(|scenario| scenario.name.as_str()));
                Refusal::Unknown { name: name.to_owned(), near: near.map(str::to_owned) }
            })?,
        };
        let plan = &scenarios[scenario];
        let name = plan.name.clone();
        let Executor::ConstantVus { start_time, duration, .. } = plan.executor else {
            return Err(Refusal::Scheduled { name, executor: plan.executor.name() });
        };
        if at < start_time {
            return Err(Refusal::NotOn { name, when: "has not begun" });
        }
        if at >= start_time + duration {
            return Err(Refusal::NotOn { name, when: "is over" });
        }
        Ok(scenario)
    }

    fn wanted(&self, scenario: usize, wanted: Wanted) -> Result<u32, Refusal> {
        let (now, most) = (self.vus(scenario), self.most(scenario));
        let step = (now / 10).max(1);
        let vus = match wanted {
            Wanted::Exactly(vus) => vus,
            // The last step goes as far as it can.
            Wanted::More if now < most => (now + step).min(most),
            Wanted::More => now + step,
            Wanted::Fewer => now - step.min(now),
        };
        if (1..=most).contains(&vus) { Ok(vus) } else { Err(Refusal::Range { asked: vus, most }) }
    }
}

#[cfg(test)]
mod tests;
