//! WebSocket sessions in one window.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Counts;
use crate::histogram::Latency;
use crate::outcome::ErrorKind;

/// Figures of the WebSocket sessions of one series in one window. They are no requests, as in k6.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SocketWindow {
    /// The sessions and their ends.
    pub sessions: Counts,
    /// Messages written (k6's `ws_msgs_sent`).
    pub sent: u64,
    /// Messages read, expected or not (k6's `ws_msgs_received`).
    pub received: u64,
    /// Failures by kind.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub errors: BTreeMap<ErrorKind, u64>,
    /// From the VU turning to a session to its being open (k6's `ws_connecting`); of those that were opened.
    #[serde(skip_serializing_if = "Latency::is_empty")]
    pub connecting: Latency,
    /// From the VU turning to a session to its end (k6's `ws_session_duration`), of completed ones.
    #[serde(skip_serializing_if = "Latency::is_empty")]
    pub duration: Latency,
    /// The same of failed ones.
    #[serde(skip_serializing_if = "Latency::is_empty")]
    pub failed_duration: Latency,
    /// Age of the sessions that the hard stop cut off.
    #[serde(skip_serializing_if = "Latency::is_empty")]
    pub interrupted_age: Latency,
    /// From what was sent before it, or the opening, to an expected message.
    #[serde(skip_serializing_if = "Latency::is_empty")]
    pub expected: Latency,
}

impl SocketWindow {
    /// Whether a server has said anything.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        !self.connecting.is_empty() || self.errors.keys().any(|kind| matches!(kind, ErrorKind::Status(_)))
    }

    /// Adds another window's figures of the same series.
    pub fn merge(&mut self, other: &SocketWindow) {
        self.sessions.merge(&other.sessions);
        self.sent += other.sent;
        self.received += other.received;
        for (kind, n) in &other.errors {
            *self.errors.entry(*kind).or_default() += n;
        }
        self.connecting.merge(&other.connecting);
        self.duration.merge(&other.duration);
        self.failed_duration.merge(&other.failed_duration);
        self.interrupted_age.merge(&other.interrupted_age);
        self.expected.merge(&other.expected);
    }
}
