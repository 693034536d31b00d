//! What a VU does, behind one narrow interface: a program asks for an exchange or a wait and is told the outcome.
//!
//! The driver (`engine/vu`) knows no program, and a program knows neither sockets nor a clock nor a runtime: it is a
//! state machine, tested by feeding it outcomes.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

pub use crate::http::request::{Exchange, Expect, Request, SeriesId, is_redirect};
use crate::outcome::{Ended, Phases};

/// How an exchange ended, as told to the program that asked for it.
#[derive(Debug)]
pub struct Outcome<'a> {
    /// Completed, failed or interrupted.
    pub ended: Ended,
    /// The status, where a response head came.
    pub status: Option<u16>,
    /// The response's headers, where a head came and [`Exchange::keeps_headers`].
    pub headers: Option<&'a HeaderMap>,
    /// The first `keep_body` bytes of the body.
    pub body: &'a [u8],
    /// The parts of the request.
    pub phases: Phases,
    /// When the VU turned to it, since the start of the run.
    pub started: Duration,
    /// When it was over, since the start of the run.
    pub finished: Duration,
}

/// What a program wants next.
#[derive(Debug)]
pub enum Action {
    /// Make this exchange and tell me the outcome.
    Exchange(Rc<Exchange>),
    /// Call me again after this time.
    Wait(Duration),
    /// The iteration is over; `true`: it did what it was for.
    End(bool),
}

/// What a program notes beside its exchanges.
#[derive(Debug, Default)]
pub struct Notes {
    /// Durations of parts that span several exchanges, by name from the plan (`publish_restore`, …).
    pub trends: Vec<(&'static str, Duration)>,
    /// Things that happened, for `events.ndjson`.
    pub events: Vec<serde_json::Value>,
    /// Checks by name, and whether the response passed. The names are the plan's.
    pub checks: Vec<(Arc<str>, bool)>,
}

/// What a VU does, iteration after iteration.
pub trait Program {
    /// The next action. `last` is the outcome of the exchange asked for by the call before, `None` at the start of an
    /// iteration and after a wait. `now` is the time since the start of the run.
    fn next(&mut self, now: Duration, last: Option<Outcome<'_>>, notes: &mut Notes) -> Action;

    /// The iteration was cut off by the hard stop: note what has to be cleaned up. No further exchange is possible.
    fn interrupted(&mut self, _now: Duration, _notes: &mut Notes) {}
}
