//! The connections of a whole run: how many were opened, and what was spoken on them.

use serde::Serialize;

use super::Summary;
use crate::connection_options::{ConnectionOptions, Reuse};

/// Connections of all scenarios, warm-up included: most are opened in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Connections {
    /// Opened, TLS included where there is TLS.
    pub opened: u64,
    /// Of them those that speak HTTP/2; the others speak HTTP/1.1.
    pub http2: u64,
    /// Requests for which there was a TLS handshake.
    pub tls_handshakes: u64,
    /// Of the connections those whose TLS handshake resumed an earlier one.
    pub tls_resumed: u64,
    /// How long a VU kept its connection.
    pub reuse: Reuse,
    /// The proxy that requests went through.
    pub proxy: Option<String>,
    /// Whether anything of it was chosen.
    #[serde(skip)]
    pub chosen: bool,
}

impl Connections {
    /// Of a summary.
    #[must_use]
    pub fn of(summary: &Summary) -> Connections {
        let options = &summary.plan.http.connection;
        let series = &summary.whole.series;
        let sum = |count: fn(&crate::window::SeriesWindow) -> u64| series.iter().map(count).sum();
        Connections {
            opened: sum(|s| s.connections),
            http2: sum(|s| s.http2),
            tls_handshakes: sum(|s| s.tls_handshaking.count()),
            tls_resumed: sum(|s| s.resumed),
            reuse: options.reuse,
            proxy: options.proxy.as_ref().map(ToString::to_string),
            chosen: *options != ConnectionOptions::default(),
        }
    }
}
