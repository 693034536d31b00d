//! What a VU does, behind one narrow interface: a program asks for an exchange or a wait and is told the outcome.
//!
//! The driver (`engine/vu`) knows no program, and a program knows neither sockets nor a clock nor a runtime: it is a
//! state machine, tested by feeding it outcomes.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

pub use crate::http::request::{Exchange, Expect, Request, SeriesId, is_redirect};
pub use crate::http::websocket::{Message, Opening};
use crate::outcome::{Ended, ErrorKind, Phases};

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
    /// Do this with the VU's WebSocket session and tell me what came of it ([`Program::heard`]).
    Socket(SocketAsk),
    /// The iteration is over; `true`: it did what it was for.
    End(bool),
}

/// What a program wants of its VU's WebSocket session. There is one at a time.
#[derive(Debug)]
pub enum SocketAsk {
    /// Open it.
    Open(Rc<Opening>),
    /// Send this, within this time.
    Send(Message, Duration),
    /// Give me the next message, if it comes within this time.
    Receive(Duration),
    /// Wait so long; messages that come meanwhile are kept for later, the last of them.
    Listen(Duration),
    /// Close it with this code, and wait so long for the answer.
    Close(u16, Duration),
    /// It has failed for this reason: end it.
    Fail(ErrorKind),
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// It is done.
    Done,
    /// A message, and when it was read, since the start of the run.
    Message(Bytes, Duration),
    /// No message came in time.
    Nothing,
    /// The session is over for this reason, and is counted as failed.
    Over(ErrorKind),
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
    /// How long after what was sent before it an expected WebSocket message came.
    pub expected: Vec<(SeriesId, Duration)>,
    /// Publishes that were steps, and whether they succeeded.
    pub published: Vec<bool>,
}

impl Notes {
    /// Whether nothing was noted, as mostly.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Notes { trends, events, checks, expected, published } = self;
        // In one number: five questions would be five branches.
        trends.len() | events.len() | checks.len() | expected.len() | published.len() == 0
    }
}

/// What a VU does, iteration after iteration.
pub trait Program {
    /// The next action. `last` is the outcome of the exchange asked for by the call before, `None` at the start of an
    /// iteration and after a wait. `now` is the time since the start of the run.
    fn next(&mut self, now: Duration, last: Option<Outcome<'_>>, notes: &mut Notes) -> Action;

    /// The next action after what came of an [`Action::Socket`].
    fn heard(&mut self, _now: Duration, _heard: Heard, _notes: &mut Notes) -> Action {
        Action::End(false)
    }

    /// Whether it makes one and the same request in each iteration, with a body of at most
    /// [`SMALL_BODY`](crate::http::SMALL_BODY) bytes, and only looks at how it ended: nothing is made ready, nothing read.
    fn is_plain(&self) -> bool {
        false
    }

    /// The iteration was cut off by the hard stop: note what has to be cleaned up. No further exchange is possible.
    fn interrupted(&mut self, _now: Duration, _notes: &mut Notes) {}
}
