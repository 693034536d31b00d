//! Steps that are programs of their own: publishing, and content items for later steps.
//!
//! How that is done is somebody else's affair ([`Part`]); here it has its turn, and what was provisioned is deleted at the
//! end of the iteration, whatever becomes of it in between.

use std::fmt::Debug;
use std::time::Duration;

use super::text::{Names, Text};
use super::{CompileFault, Given, State, Steps};
use crate::engine::program::{Action, Notes, Outcome, Program, SeriesId};
use crate::scenario::steps::{ConnectStep, ItemLasts, Step};

/// A program that is a part of another one. Each of its iterations is a step.
pub trait Part: Program {
    /// Sets the environment variables of the content items that are made from now on.
    fn set_variables(&mut self, variables: Vec<(String, String)>);

    /// The identifier of its content item, where it lasts longer than the step.
    fn item(&self) -> Option<&str>;

    /// The next iteration deletes that, and does nothing else. `false`: there is none.
    fn remove(&mut self) -> bool;
}

/// Makes parts.
pub trait Parts: Send + Sync + Debug {
    /// The part of a VU, counted from 0, for a step whose series begin with `first`.
    ///
    /// # Errors
    /// Why it cannot be made.
    fn part(&self, step: &ConnectStep, first: SeriesId, vu: u32) -> Result<Box<dyn Part>, String>;
}

/// A part, complete but for its values.
#[derive(Debug)]
pub(super) struct PartDraft {
    what: ConnectStep,
    first: SeriesId,
    variables: Vec<(String, Text)>,
    /// Where the identifier of its content item goes.
    slot: Option<usize>,
}

/// Parts, by list and step, that have something to delete.
pub(super) type Taken = Vec<(usize, usize)>;

impl PartDraft {
    pub(super) fn compile(
        step: &Step,
        what: &ConnectStep,
        first: SeriesId,
        names: &Names,
        given: &Given,
    ) -> Result<PartDraft, CompileFault> {
        let fault = |what: String| CompileFault::new(&step.name, what);
        let parts = given.parts.as_ref().ok_or_else(|| fault("there is nothing to publish to".to_owned()))?;
        // What cannot be made is found out now, not on a worker.
        parts.part(what, first, 0).map_err(fault)?;
        let mut variables = Vec::new();
        for (name, value) in &what.variables {
            let value = Text::plain(value, names).map_err(|name| fault(format!("`${{{name}}}` is unknown")))?;
            variables.push((name.clone(), value));
        }
        let slot = what.item.as_ref().and_then(|item| names.slots.iter().position(|slot| slot == item));
        Ok(PartDraft { what: what.clone(), first, variables, slot })
    }
}

impl Steps {
    /// Begins the publish of the present step.
    pub(super) fn publish(&mut self, now: Duration, draft: &PartDraft, notes: &mut Notes) -> Action {
        let place = (self.list, self.step);
        if !self.parts.contains_key(&place) {
            let vu = u32::try_from(self.vu).unwrap_or(u32::MAX);
            let made = self.recipe.parts.clone().map(|parts| parts.part(&draft.what, draft.first, vu));
            match made {
                Some(Ok(part)) => self.parts.insert(place, part),
                Some(Err(why)) => return self.fail(now, &why, notes),
                None => return self.fail(now, "there is nothing to publish to", notes),
            };
        }
        let variables =
            draft.variables.iter().map(|(name, value)| (name.clone(), value.render(&self.values))).collect();
        if let Some(part) = self.parts.get_mut(&place) {
            part.set_variables(variables);
        }
        if draft.what.lasts == ItemLasts::Iteration && !self.taken.contains(&place) {
            self.taken.push(place);
        }
        self.state = State::Publishing;
        self.go_on_publishing(now, None, notes)
    }

    /// The next action of the part whose turn it is.
    pub(super) fn go_on_publishing(&mut self, now: Duration, last: Option<Outcome<'_>>, notes: &mut Notes) -> Action {
        let place = self.turn();
        let Some(part) = self.parts.get_mut(&place) else { return self.finish(now, false, notes) };
        let done = match part.next(now, last, notes) {
            Action::End(done) => done,
            action => return action,
        };
        if let State::Removing(good) = self.state {
            self.taken.pop();
            return self.finish(now, good && done, notes);
        }
        notes.published.push(done);
        let item = part.item().map(std::sync::Arc::from);
        let recipe = self.recipe.clone();
        let step = &recipe.lists[self.list].steps[self.step];
        // A wait of a second before the next one is not needed: what publishes backs off by itself.
        self.published = true;
        self.good &= done;
        if let Some(slot) = step.part.as_ref().and_then(|part| part.slot) {
            if item.is_none() {
                return self.fail(now, "there is no content item", notes);
            }
            self.values.slots[slot] = item;
        }
        self.rest(now, step.think, notes)
    }

    /// Whose turn it is: the present step's, or that of what was provisioned last.
    fn turn(&self) -> (usize, usize) {
        match self.state {
            State::Removing(_) => self.taken.last().copied().unwrap_or((self.list, self.step)),
            _ => (self.list, self.step),
        }
    }

    /// The end of the iteration, once everything that was provisioned in it is deleted.
    pub(super) fn finish(&mut self, now: Duration, good: bool, notes: &mut Notes) -> Action {
        while let Some(place) = self.taken.last() {
            if self.parts.get_mut(place).is_some_and(|part| part.remove()) {
                self.state = State::Removing(good);
                return self.go_on_publishing(now, None, notes);
            }
            self.taken.pop();
        }
        self.state = State::Idle;
        Action::End(good)
    }

    /// The iteration was cut off: what is left is deleted after the run.
    pub(super) fn interrupt(&mut self, now: Duration, notes: &mut Notes) {
        if matches!(self.state, State::Publishing | State::Removing(_)) {
            let place = self.turn();
            if let Some(part) = self.parts.get_mut(&place) {
                part.interrupted(now, notes);
            }
        }
        self.taken.clear();
    }
}

#[cfg(test)]
pub(super) mod tests;
