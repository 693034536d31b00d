//! Content items that last longer than the publish that made them: for later steps, or for the next publish.

use super::attempt::Failure;
use super::{Lasts, PublishInto, PublishLoop, Step};
use crate::engine::program::{Action, Notes, Outcome};
use crate::outcome::Ended;

impl PublishLoop {
    /// How long a new content item lasts; `None` where the item was there before the run.
    pub(super) fn lasts(&self) -> Option<Lasts> {
        match self.plan.into {
            PublishInto::New { lasts, .. } => Some(lasts),
            PublishInto::One { .. } => None,
        }
    }

    /// The content item that lasts longer than its publish.
    #[must_use]
    pub fn item(&self) -> Option<&str> {
        self.item.as_deref()
    }

    /// Sets the environment variables of the items that are made from now on.
    pub fn set_variables(&mut self, set: Vec<(String, String)>) {
        if let PublishInto::New { variables, .. } = &mut self.plan.into {
            *variables = set;
        }
    }

    /// The next iteration deletes the item, and does nothing else. `false`: there is none.
    pub fn remove(&mut self) -> bool {
        self.removing = self.item.is_some();
        self.removing
    }

    /// An item that lasted for later steps is gone, or stays for the clean-up after the run.
    pub(super) fn removed(&mut self, outcome: &Outcome<'_>, notes: &mut Notes) -> Action {
        let ok = outcome.ended == Ended::Completed || outcome.status == Some(404);
        if let (false, Some(guid)) = (ok, self.item.take()) {
            let failure = Failure::of("delete", outcome, &self.plan.key);
            notes.events.push(failure.left_behind(&guid));
        }
        (self.item, self.step) = (None, Step::Idle);
        Action::End(ok)
    }
}
