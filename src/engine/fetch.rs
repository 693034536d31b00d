//! The program of a fetching VU: the same request again and again, without think time.

use std::rc::Rc;
use std::time::Duration;

use super::program::{Action, Exchange, Notes, Outcome, Program};
use crate::http::SMALL_BODY;
use crate::outcome::Ended;

/// Fetches, iteration after iteration.
#[derive(Debug)]
pub struct Fetch {
    exchange: Rc<Exchange>,
}

impl Fetch {
    /// A VU that makes this exchange again and again.
    #[must_use]
    pub fn new(exchange: Rc<Exchange>) -> Fetch {
        Fetch { exchange }
    }
}

impl Program for Fetch {
    fn is_plain(&self) -> bool {
        self.exchange.request.body.len() <= SMALL_BODY
    }

    fn next(&mut self, _now: Duration, last: Option<Outcome<'_>>, _notes: &mut Notes) -> Action {
        match last {
            None => Action::Exchange(self.exchange.clone()),
            Some(outcome) => Action::End(outcome.ended == Ended::Completed),
        }
    }
}
