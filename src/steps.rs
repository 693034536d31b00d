//! The program of a VU that runs lists of steps (`scenario::steps` has the form in which they are written).
//!
//! Everything is compiled before the run: templates, regular expressions, JSON paths, bodies. An iteration chooses a
//! list, takes a row of each data set, and makes the steps' requests one after the other. A request that fails does
//! not end the iteration, but the iteration has failed; a variable that is not in a response ends it.

mod body;
mod judge;
mod part;
mod request;
mod talk;
#[cfg(test)]
mod tests;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use url::Url;

use self::judge::Judge;
pub use self::part::{Part, Parts};
use self::part::{PartDraft, Taken};
use self::request::{Draft, redirected};
use self::talk::{Talk, Talking};
use self::text::{Names, Text, Values};
use crate::engine::program::{Action, Exchange, Expect, Heard, Notes, Outcome, Program, SeriesId};
use crate::outcome::Ended;
use crate::plan::StepsPlan;
use crate::scenario::data::{DataSet, Order};
use crate::scenario::steps::{Step, Think};

/// The pause after an iteration that could not begin, so that a VU never spins.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// Most failed iterations of a scenario that are told one by one.
const TOLD: u32 = 200;

/// Steps that cannot be run.
#[derive(Debug, thiserror::Error)]
#[error("step {step:?}: {what}")]
pub struct CompileFault {
    step: String,
    what: String,
}

impl CompileFault {
    fn new(step: &str, what: impl Into<String>) -> CompileFault {
        CompileFault { step: step.to_owned(), what: what.into() }
    }
}

/// What steps are made of, beside their plan.
#[derive(Debug, Clone)]
pub struct Given {
    /// Headers of every request.
    pub headers: HeaderMap,
    /// `Authorization`, for the steps that send it.
    pub key: Option<HeaderValue>,
    /// Scheme, host and port: the only place that requests go to.
    pub origin: Url,
    /// Data sets by name.
    pub data: BTreeMap<String, Arc<DataSet>>,
    /// Files by name.
    pub files: BTreeMap<String, Bytes>,
    /// The first series of the scenario.
    pub first: u16,
    /// Name of the scenario.
    pub scenario: String,
    /// Seed of everything random.
    pub seed: u64,
    /// Makes what publishes; none where nothing can be published.
    pub parts: Option<Arc<dyn Parts>>,
}

/// A scenario's steps, compiled; shared by all its VUs.
#[derive(Debug)]
pub struct Recipe {
    lists: Vec<List>,
    weights: u64,
    data: Vec<(Arc<DataSet>, Order)>,
    /// Rows of each data set that are used up, where each is used once.
    used: Vec<AtomicU64>,
    told: AtomicU32,
    origin: Url,
    scenario: String,
    seed: u64,
    parts: Option<Arc<dyn Parts>>,
}

#[derive(Debug)]
struct List {
    weight: u64,
    slots: usize,
    steps: Vec<Compiled>,
}

#[derive(Debug)]
struct Compiled {
    name: String,
    series: SeriesId,
    draft: Draft,
    /// Whether its exchange is the same in every iteration.
    fixed: bool,
    expect: Expect,
    body_contains: Option<Text>,
    judge: Judge,
    timeout: Duration,
    redirects: u32,
    think: Option<Think>,
    /// What is done in the session that its request opens.
    talk: Option<Talk>,
    /// What it publishes.
    part: Option<PartDraft>,
}

impl Recipe {
    /// Compiles the steps of a scenario.
    ///
    /// # Errors
    /// Which step cannot be run, and why.
    pub fn new(plan: &StepsPlan, given: &Given) -> Result<Recipe, CompileFault> {
        let find = |name: &String| given.data.get(name).map(|set| (name.clone(), set.clone()));
        let data: Vec<(String, Arc<DataSet>)> = plan.data.iter().filter_map(|data| find(&data.name)).collect();
        if let Some(missing) = plan.data.iter().find(|d| !given.data.contains_key(&d.name)) {
            return Err(CompileFault::new("", format!("{}: this file was not read", missing.file)));
        }
        let (mut lists, mut series) = (Vec::new(), given.first);
        for list in &plan.lists {
            let slots: BTreeSet<&String> = list.steps.iter().flat_map(Step::variables).collect();
            let slots: Vec<String> = slots.into_iter().cloned().collect();
            let names = Names { slots, data: data.clone(), env: plan.env.clone() };
            let mut steps = Vec::new();
            for step in &list.steps {
                steps.push(compile(step, SeriesId(series), plan, &names, given)?);
                let taken = u16::try_from(step.series().len()).unwrap_or(u16::MAX);
                series = series.checked_add(taken).ok_or_else(|| CompileFault::new(&step.name, "too many steps"))?;
            }
            lists.push(List { weight: u64::from(list.weight), slots: names.slots.len(), steps });
        }
        Ok(Recipe {
            weights: lists.iter().map(|list| list.weight).sum(),
            used: data.iter().map(|_| AtomicU64::new(0)).collect(),
            data: data.into_iter().zip(&plan.data).map(|((_, set), data)| (set, data.order)).collect(),
            lists,
            told: AtomicU32::new(0),
            origin: given.origin.clone(),
            scenario: given.scenario.clone(),
            seed: given.seed,
            parts: given.parts.clone(),
        })
    }

    /// The list that a number below the sum of all weights stands for.
    fn list(&self, mut number: u64) -> usize {
        for (at, list) in self.lists.iter().enumerate() {
            if number < list.weight {
                return at;
            }
            number -= list.weight;
        }
        0
    }
}

fn compile(
    step: &Step,
    series: SeriesId,
    plan: &StepsPlan,
    names: &Names,
    given: &Given,
) -> Result<Compiled, CompileFault> {
    let unknown = |name: String| CompileFault::new(&step.name, format!("`${{{name}}}` is unknown"));
    let draft = match step.connect {
        None => Draft::compile(step, plan, names, given)?,
        Some(_) => Draft::none(&given.origin),
    };
    let text = step.expect.body_contains.as_ref().map(|template| Text::plain(template, names));
    let body_contains = text.transpose().map_err(unknown)?;
    let expect = Expect {
        statuses: step.expect.status.clone(),
        body_contains: None,
        content_type: step.expect.content_type.clone(),
        follow: step.redirects > 0,
    };
    Ok(Compiled {
        name: step.name.clone(),
        series,
        fixed: draft.is_fixed() && body_contains.as_ref().is_none_or(|text| text.fixed().is_some()),
        draft,
        expect,
        body_contains,
        judge: Judge::compile(step, names)?,
        timeout: step.timeout.unwrap_or(plan.timeout),
        redirects: step.redirects,
        think: step.think,
        part: step.connect.as_ref().map(|what| PartDraft::compile(step, what, series, names, given)).transpose()?,
        talk: step.websocket.as_ref().map(|script| Talk::compile(step, script, names, given)).transpose()?,
    })
}

impl Compiled {
    fn exchange(&self, values: &Values) -> Result<Rc<Exchange>, String> {
        let body_contains = self.body_contains.as_ref().map(|text| Bytes::from(text.render(values)));
        Ok(Rc::new(Exchange {
            series: self.series,
            request: self.draft.request(values)?,
            expect: Expect { body_contains, ..self.expect.clone() },
            // Redirects, checks and extraction look at headers, which are kept with the first byte of a body.
            keep_body: self.judge.keep_body.max(1),
            timeout: self.timeout,
        }))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between iterations.
    Idle,
    /// An exchange was asked for.
    Asked,
    /// In a WebSocket session.
    Talking,
    /// A publish is going on.
    Publishing,
    /// What was provisioned is being deleted; whether the iteration was good.
    Removing(bool),
    /// The pause after a step.
    Thinking,
    /// The pause of an iteration that could not go on.
    Failed,
}

/// The steps of one VU.
pub struct Steps {
    recipe: Arc<Recipe>,
    random: SmallRng,
    state: State,
    values: Values,
    list: usize,
    step: usize,
    /// The exchange that was asked for.
    asked: Option<Rc<Exchange>>,
    /// What publishes, by list and step, once it was needed.
    parts: BTreeMap<(usize, usize), Box<dyn Part>>,
    /// Those that have to delete something at the end of the iteration.
    taken: Taken,
    /// Something was published in the iteration.
    published: bool,
    /// The session that the present step is in.
    talking: Option<Talking>,
    /// Redirects that the present step has followed.
    hops: u32,
    /// Whether everything in the iteration went as it should.
    good: bool,
    /// Exchanges that never change, by list and step, once they were made.
    kept: BTreeMap<(usize, usize), Rc<Exchange>>,
    /// Steps whose failure this VU has told.
    told: BTreeSet<(usize, usize)>,
    /// Number of the VU, from 0.
    vu: u64,
    begun: u64,
}

impl Steps {
    /// VU number `vu`, from 0.
    #[must_use]
    pub fn new(recipe: Arc<Recipe>, vu: u32) -> Steps {
        let seed = recipe.seed.wrapping_add(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(u64::from(vu) + 1));
        Steps {
            recipe,
            random: SmallRng::seed_from_u64(seed),
            state: State::Idle,
            values: Values { vu: u64::from(vu) + 1, ..Values::default() },
            list: 0,
            step: 0,
            asked: None,
            parts: BTreeMap::new(),
            taken: Taken::default(),
            published: false,
            talking: None,
            hops: 0,
            good: true,
            kept: BTreeMap::new(),
            told: BTreeSet::new(),
            vu: u64::from(vu),
            begun: 0,
        }
    }

    fn begin(&mut self, now: Duration, notes: &mut Notes) -> Action {
        let recipe = self.recipe.clone();
        self.list = match recipe.lists.len() {
            1 => 0,
            _ => recipe.list(self.random.random_range(0..recipe.weights)),
        };
        (self.step, self.good, self.published) = (0, true, false);
        self.values.iteration = self.begun;
        self.begun += 1;
        self.values.slots.clear();
        self.values.slots.resize(recipe.lists[self.list].slots, None);
        self.values.rows.clear();
        for (at, (set, order)) in recipe.data.iter().enumerate() {
            let rows = set.rows.len() as u64;
            let row = match order {
                Order::Sequential => (self.vu + self.values.iteration) % rows,
                Order::Random => self.random.random_range(0..rows),
                Order::Unique => recipe.used[at].fetch_add(1, Ordering::Relaxed),
            };
            if row >= rows {
                return self.fail(now, "every row of the data that is used once is used up", notes);
            }
            self.values.rows.push((set.clone(), usize::try_from(row).unwrap_or(0)));
        }
        self.ask(now, notes)
    }

    fn present(&self) -> &Compiled {
        &self.recipe.lists[self.list].steps[self.step]
    }

    /// Asks for the exchange of the present step.
    fn ask(&mut self, now: Duration, notes: &mut Notes) -> Action {
        let recipe = self.recipe.clone();
        let step = &recipe.lists[self.list].steps[self.step];
        step.judge.begin(&mut self.values);
        self.hops = 0;
        if let Some(part) = &step.part {
            return self.publish(now, part, notes);
        }
        if let Some(talk) = &step.talk {
            return self.open(now, step, talk, notes);
        }
        if let Some(kept) = self.kept.get(&(self.list, self.step)) {
            return self.send(kept.clone());
        }
        match step.exchange(&self.values) {
            Err(why) => self.fail(now, &why, notes),
            Ok(exchange) => {
                if step.fixed {
                    self.kept.insert((self.list, self.step), exchange.clone());
                }
                self.send(exchange)
            }
        }
    }

    fn send(&mut self, exchange: Rc<Exchange>) -> Action {
        self.state = State::Asked;
        self.asked = Some(exchange.clone());
        Action::Exchange(exchange)
    }

    /// The outcome of the present exchange.
    fn told(&mut self, outcome: &Outcome<'_>, notes: &mut Notes) -> Action {
        let recipe = self.recipe.clone();
        let step = &recipe.lists[self.list].steps[self.step];
        step.judge.cookies(outcome.headers, &mut self.values);
        let mut failed = match self.follow(outcome) {
            Ok(Some(next)) => return self.send(next),
            Ok(None) => None,
            Err(why) => Some(why),
        };
        self.good &= outcome.ended == Ended::Completed;
        step.judge.checks(outcome, &self.values, &mut notes.checks);
        if failed.is_none() {
            failed = step.judge.extract(outcome, &mut self.values, &mut self.random).err();
        }
        if let Some(why) = failed {
            return self.fail(outcome.finished, &why, notes);
        }
        self.rest(outcome.finished, step.think, notes)
    }

    /// After a step: its pause, then the next one.
    fn rest(&mut self, now: Duration, think: Option<Think>, notes: &mut Notes) -> Action {
        match think {
            Some(think) if !think.max.is_zero() => {
                self.state = State::Thinking;
                Action::Wait(self.pause(think))
            }
            _ => self.go_on(now, notes),
        }
    }

    /// The exchange that follows a redirect.
    fn follow(&mut self, outcome: &Outcome<'_>) -> Result<Option<Rc<Exchange>>, String> {
        let (Some(asked), Some(status), Some(headers)) = (&self.asked, outcome.status, outcome.headers) else {
            return Ok(None);
        };
        let most = self.present().redirects;
        if most == 0 {
            return Ok(None);
        }
        let Some(request) = redirected(&asked.request, status, headers, &self.recipe.origin)? else {
            return Ok(None);
        };
        if self.hops >= most {
            return Err(format!("redirected more than {most} times"));
        }
        if outcome.ended != Ended::Completed {
            return Ok(None);
        }
        self.hops += 1;
        // The last response is held against what is expected, even where it is one more redirect.
        let expect = Expect { follow: self.hops < most, ..asked.expect.clone() };
        let series = asked.series;
        let (keep_body, timeout) = (asked.keep_body, asked.timeout);
        Ok(Some(Rc::new(Exchange { series, request, expect, keep_body, timeout })))
    }

    fn pause(&mut self, think: Think) -> Duration {
        if think.min == think.max {
            return think.min;
        }
        let (min, max) = (think.min.as_micros(), think.max.as_micros());
        Duration::from_micros(u64::try_from(self.random.random_range(min..=max)).unwrap_or(u64::MAX))
    }

    /// The next step, or the end of the iteration.
    fn go_on(&mut self, now: Duration, notes: &mut Notes) -> Action {
        self.step += 1;
        if self.step < self.recipe.lists[self.list].steps.len() {
            return self.ask(now, notes);
        }
        self.finish(now, self.good, notes)
    }

    /// The iteration cannot go on. Why is told once for each step of each VU, and not without end.
    fn fail(&mut self, now: Duration, why: &str, notes: &mut Notes) -> Action {
        if self.told.insert((self.list, self.step)) && self.recipe.told.fetch_add(1, Ordering::Relaxed) < TOLD {
            notes.events.push(serde_json::json!({
                "event": "iteration_failed",
                "scenario": self.recipe.scenario,
                "step": self.present().name,
                "vu": self.values.vu,
                "iteration": self.values.iteration,
                "why": why,
            }));
        }
        // An iteration without an exchange takes no time: the next one would fail at once, and so on.
        if self.asked.take().is_none() && self.talking.take().is_none() && !self.published {
            self.state = State::Failed;
            return Action::Wait(AFTER_FAILURE);
        }
        self.finish(now, false, notes)
    }
}

impl Program for Steps {
    fn next(&mut self, now: Duration, last: Option<Outcome<'_>>, notes: &mut Notes) -> Action {
        match (self.state, last) {
            (State::Asked, Some(outcome)) => self.told(&outcome, notes),
            (State::Thinking, _) => self.go_on(now, notes),
            (State::Publishing | State::Removing(_), last) => self.go_on_publishing(now, last, notes),
            (State::Failed, _) => self.finish(now, false, notes),
            (State::Idle | State::Asked | State::Talking, _) => {
                (self.asked, self.talking) = (None, None);
                self.begin(now, notes)
            }
        }
    }

    fn heard(&mut self, now: Duration, heard: Heard, notes: &mut Notes) -> Action {
        self.go_on_talking(now, heard, notes)
    }

    fn interrupted(&mut self, now: Duration, notes: &mut Notes) {
        self.interrupt(now, notes);
        self.state = State::Idle;
    }
}
