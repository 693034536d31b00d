//! What a VU can ask a connection for: a request, and what counts as its good end. Data, nothing else.

use std::time::Duration;

use bytes::Bytes;
use http::header::LOCATION;
use http::{HeaderMap, Method, Uri};

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
