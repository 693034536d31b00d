//! What is known of an exchange while it is under way, and how a connection says that it went wrong.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use http::{HeaderMap, Method};
use tokio::time::Instant;

use super::meter::Marks;
use crate::connection_options::Coding;
use crate::outcome::{ErrorKind, Phases};

/// Outlives the exchange's future when that is cut off.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    pub(super) phases: Phases,
    pub(super) status: Option<u16>,
    /// The response's headers, where somebody wants them.
    pub(super) headers: Option<HeaderMap>,
    /// Whether the response has the media type that is expected.
    pub(super) media_type: bool,
    pub(super) marks: Option<Rc<Marks>>,
    pub(super) sent: bool,
    pub(super) retried: bool,
    pub(super) connections: u64,
    /// Of them those whose TLS handshake resumed an earlier one.
    pub(super) resumed: u64,
    /// Of them those that speak HTTP/2.
    pub(super) http2: u64,
    /// How the body is coded, where the request allowed it to be.
    pub(super) coding: Option<Coding>,
    pub(super) bytes: (u64, u64),
    /// The counters of `marks` before this exchange.
    pub(super) bytes_before: (u64, u64),
    /// When the connection was ours: the start of sending.
    pub(super) ready: Option<Instant>,
    /// How long the last bytes waited in the kernel before we read them.
    pub(super) delay: Option<Duration>,
    /// Reads without the kernel's time, where it was asked for.
    pub(super) unstamped: u64,
}

impl Attempt {
    /// Takes over what the marks of a connection say, before it is dropped or used again.
    pub(super) fn settle(&mut self) {
        let Some(marks) = self.marks.take() else { return };
        self.sent |= marks.last_write.get().is_some();
        self.bytes.0 += marks.bytes_out.get() - self.bytes_before.0;
        self.bytes.1 += marks.bytes_in.get() - self.bytes_before.1;
        self.unstamped += marks.unstamped.get();
        // Two clocks: if the wall clock was set in between, no more than the whole of it was waiting.
        self.delay = marks.delay.get().map(|delay| delay.min(self.phases.duration()));
    }

    /// When the last bytes were read, where the marks say.
    pub(super) fn last_read(&self) -> Option<Instant> {
        self.marks.as_ref()?.last_read.get()
    }

    /// The phases, from the marks.
    pub(super) fn times(&mut self, finished: Instant) {
        let (Some(marks), Some(ready)) = (&self.marks, self.ready) else { return };
        let Some(written) = marks.last_write.get() else { return };
        let first = marks.first_read.get().unwrap_or(finished);
        // A server may answer before the request is sent whole; then there was no waiting, as in k6.
        let written = written.min(first);
        self.phases.sending = written.saturating_duration_since(ready);
        self.phases.waiting = first.saturating_duration_since(written);
        // Mostly one read brings all of it: then there is nothing to subtract.
        self.phases.receiving =
            if finished == first { Duration::ZERO } else { finished.saturating_duration_since(first) };
    }
}

/// Why sending failed, and how far it got.
#[derive(Debug)]
pub(super) struct SendFault {
    pub(super) kind: ErrorKind,
    /// Not a byte of the request was written.
    pub(super) unsent: bool,
    /// A response had begun.
    pub(super) answered: bool,
}

impl SendFault {
    pub(super) fn of(kind: ErrorKind) -> SendFault {
        SendFault { kind, unsent: false, answered: false }
    }

    pub(super) fn may_retry(&self, method: &Method) -> bool {
        let connection_lost = matches!(self.kind, ErrorKind::Reset | ErrorKind::Closed);
        connection_lost && !self.answered && (self.unsent || method.is_idempotent())
    }
}

/// The class of what a socket says.
pub(super) fn io_kind(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted => {
            ErrorKind::Reset
        }
        io::ErrorKind::UnexpectedEof | io::ErrorKind::NotConnected => ErrorKind::Closed,
        io::ErrorKind::TimedOut => ErrorKind::Timeout,
        _ => ErrorKind::Protocol,
    }
}

/// Whether a `Content-Type` is of a media type, its parameters aside.
pub(super) fn is_media_type(content_type: &[u8], expected: &str) -> bool {
    let essence = content_type.split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
    essence.eq_ignore_ascii_case(expected.as_bytes())
}
