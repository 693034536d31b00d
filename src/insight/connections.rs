//! Rules about connections: what opens them, and what that costs.

use super::{Facts, Seen, Severity, percent};
use crate::connection_options::Reuse;

/// Connections per request from which on they are no accident; one in a thousand is what balancers do on purpose.
const OPENED: f64 = 0.01;

/// Connections in the measured part beyond those that VUs begin with, and that failures cost.
fn needless(facts: &Facts<'_>) -> f64 {
    let failed = facts.fetch.requests.failed as f64;
    facts.fetch.connections as f64 - failed - 4.0 * facts.most_vus()
}

/// Connections were to be kept, and somebody closes them.
pub(super) fn keep_alive_broken(facts: &Facts<'_>) -> Option<Seen> {
    let (opened, ended) = (facts.fetch.connections as f64, facts.ended());
    if facts.plan.http.connection.reuse != Reuse::Always || needless(facts) < OPENED * ended {
        return None;
    }
    let per_connection = ended / opened;
    let finding = format!(
        "{} of the fetches needed a new connection, although all were to be kept: {per_connection:.1} fetches per connection",
        percent(opened / ended)
    );
    let connecting_ms = facts.fetch.connecting.mean_ms();
    Some(Seen {
        severity: Severity::Warns,
        finding,
        evidence: vec![
            ("connections_per_request", opened / ended),
            ("requests_per_connection", per_connection),
            ("connections", opened),
            ("retried", facts.fetch.retried as f64),
            ("connecting_mean_ms", connecting_ms.unwrap_or(f64::NAN)),
        ],
        advice: "Something between here and Connect closes connections: look for `Connection: close`, HTTP/1.0 towards \
                 the server, a small number of requests per connection or an idle time-out in the balancer or proxy \
                 (nginx: keepalive_requests, proxy_http_version 1.1), and compare with a run against a node directly.",
    })
}

/// Connections were not to be kept: that is the load that was asked for, and costs more than browsers would.
pub(super) fn connection_per_request(facts: &Facts<'_>) -> Option<Seen> {
    let (opened, ended) = (facts.fetch.connections as f64, facts.ended());
    if facts.plan.http.connection.reuse == Reuse::Always || opened < 0.5 * ended {
        return None;
    }
    Some(Seen {
        severity: Severity::Informs,
        finding: format!(
            "{} of the fetches opened a connection, because connections were not to be kept",
            percent(opened / ended)
        ),
        evidence: vec![("connections_per_request", opened / ended)],
        advice: "Browsers and API clients keep their connections, and Posit's load tests did. Leave out the options that \
                 close them unless new clients are what you want to measure.",
    })
}

/// Handshakes take a part in what fetches cost.
pub(super) fn tls_per_request(facts: &Facts<'_>) -> Option<Seen> {
    let (handshakes, ended) = (facts.fetch.tls_handshaking.count() as f64, facts.ended());
    if handshakes < OPENED * ended || needless(facts) < OPENED * ended {
        return None;
    }
    let mean_ms = facts.fetch.tls_handshaking.mean_ms()?;
    let resumed = facts.fetch.resumed as f64 / handshakes;
    Some(Seen {
        severity: Severity::Warns,
        finding: format!(
            "{} of the fetches made a TLS handshake of {mean_ms:.1} ms; {} of them resumed a session",
            percent(handshakes / ended),
            percent(resumed)
        ),
        evidence: vec![
            ("handshakes_per_request", handshakes / ended),
            ("handshake_mean_ms", mean_ms),
            ("resumed_share", resumed),
        ],
        advice: "Full handshakes cost the server or balancer CPU time, mostly for the private key. Keep connections open \
                 first; then see that session tickets are shared by all balancer nodes, and that the certificate's key \
                 is ECDSA or RSA 2048 and not larger.",
    })
}
