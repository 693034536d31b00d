//! What a VU does, behind one narrow interface: a program asks for an exchange or a wait and is told the outcome.
//!
//! The driver (`engine/vu`) knows no program, and a program knows neither sockets nor a clock nor a runtime: it is a
//! state machine, tested by feeding it outcomes.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::LOCATION;
use http::{HeaderMap, Method, Uri};

use crate::outcome::{Ended, Phases};

/// Index of a series (scenario and step) in the plan; figures are kept per series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesId(pub u16);

/// A request, complete but for what the connection adds (`host`, `content-length`, `cookie`).
#[derive(Debug, Clone)]
pub struct Request {
    /// Method.
    pub method: Method,
    /// Path and query, as they go on the request line.
    pub target: Uri,
    /// Headers; one that holds a key is marked sensitive.
    pub headers: HeaderMap,
    /// The body: one buffer shared by all who send it, never copied per VU.
    pub body: Bytes,
}

/// Which response counts as completed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expect {
    /// Accepted statuses; empty means 200..=399, as in k6.
    pub statuses: Vec<u16>,
    /// Text that the body must contain (bytes, compared exactly).
    pub body_contains: Option<Bytes>,
    /// Media type that the response must have, without parameters, in lower case.
    pub content_type: Option<String>,
    /// A redirect is completed whatever else is expected, because the program follows it.
    pub follow: bool,
}

impl Expect {
    /// Whether a response is a redirect that the program follows.
    #[must_use]
    pub fn is_followed(&self, status: u16, headers: &HeaderMap) -> bool {
        self.follow && is_redirect(status) && headers.contains_key(LOCATION)
    }
}

/// The statuses that send a client on to another place.
#[must_use]
pub fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// One exchange that a program asks for.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// Where it is counted.
    pub series: SeriesId,
    /// What is sent.
    pub request: Request,
    /// What counts as completed.
    pub expect: Expect,
    /// How many bytes of the body the program wants to see; 0: read and count it, keep nothing.
    pub keep_body: usize,
    /// Time-out of the whole exchange, connecting included.
    pub timeout: Duration,
}

/// Most bytes of a body that are looked at by a check, however much a server sends.
const MAX_CHECKED_BODY: usize = 1 << 20;

impl Exchange {
    /// How many bytes of the body are kept, for the program and for the check of the body.
    #[must_use]
    pub fn bytes_kept(&self) -> usize {
        if self.expect.body_contains.is_some() { MAX_CHECKED_BODY.max(self.keep_body) } else { self.keep_body }
    }

    /// Whether the program sees the response's headers: when it wants the body, too. Building a map of them costs more
    /// than the rest of a fetch, so one who wants headers alone asks for one byte of the body.
    #[must_use]
    pub fn keeps_headers(&self) -> bool {
        self.keep_body > 0
    }
}

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
