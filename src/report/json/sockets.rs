//! WebSocket sessions in the document of a load test.

use serde::Serialize;

use super::{ErrorDocument, LatencyDocument, errors};
use crate::window::SocketWindow;

/// WebSocket sessions of a step, or of all.
#[derive(Debug, Serialize)]
pub struct SocketDocument {
    /// Sessions that were begun.
    pub scheduled: u64,
    /// Those that did all they were for and were closed in order.
    pub completed: u64,
    /// Those that did not.
    pub failed: u64,
    /// Those that the end of the run cut off.
    pub interrupted: u64,
    /// Messages sent.
    pub messages_sent: u64,
    /// Messages received.
    pub messages_received: u64,
    /// Failures by kind.
    pub errors: Vec<ErrorDocument>,
    /// k6's `ws_connecting`.
    pub connecting_ms: LatencyDocument,
    /// k6's `ws_session_duration`, of completed sessions.
    pub duration_ms: LatencyDocument,
    /// From what was sent before it, or the opening, to an expected message.
    pub expected_ms: LatencyDocument,
}

impl SocketDocument {
    pub(super) fn of(sockets: &SocketWindow) -> SocketDocument {
        SocketDocument {
            scheduled: sockets.sessions.scheduled,
            completed: sockets.sessions.completed,
            failed: sockets.sessions.failed,
            interrupted: sockets.sessions.interrupted,
            messages_sent: sockets.sent,
            messages_received: sockets.received,
            errors: errors(&sockets.errors),
            connecting_ms: LatencyDocument::of(&sockets.connecting),
            duration_ms: LatencyDocument::of(&sockets.duration),
            expected_ms: LatencyDocument::of(&sockets.expected),
        }
    }
}
