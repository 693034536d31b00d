//! What becomes of a request: exactly one outcome, its phases, and the closed set of reasons why it failed.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The parts of one request, k6's names and meanings (k6 `httpext/tracer`). A phase that did not happen is zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Phases {
    /// Waiting for a connection, with name look-up, connecting and TLS in it.
    pub blocked: Duration,
    /// TCP connect.
    pub connecting: Duration,
    /// TLS handshake.
    pub tls_handshaking: Duration,
    /// From the connection being ours to the last byte of the request being written.
    pub sending: Duration,
    /// From the request written to the first byte of the response.
    pub waiting: Duration,
    /// From the first byte of the response to its last.
    pub receiving: Duration,
}

impl Phases {
    /// `http_req_duration`: sending + waiting + receiving. The figure that Posit's documented latency is compared with.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.sending + self.waiting + self.receiving
    }
}

/// Whose fault a failure is, as far as it can be told from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blame {
    /// The server answered, and the answer is an error.
    Server,
    /// Between the server and us.
    Network,
    /// This machine: out of files or ports.
    Generator,
}

/// Why a request failed. A closed set: what a server sends cannot make it grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorKind {
    /// The name could not be resolved.
    Dns,
    /// Nobody listens there.
    Refused,
    /// No connection within the connect time-out.
    ConnectTimeout,
    /// Connecting failed in another way.
    Connect,
    /// The proxy did not connect us.
    Proxy,
    /// The certificate's issuer is not trusted.
    TlsUnknownAuthority,
    /// The certificate is for another host.
    TlsHostname,
    /// The TLS handshake failed in another way.
    Tls,
    /// The peer reset the connection.
    Reset,
    /// The peer closed the connection before the response was complete.
    Closed,
    /// No complete response within the time-out.
    Timeout,
    /// What came is not HTTP, or longer than we read.
    Protocol,
    /// A status that was not expected.
    Status(u16),
    /// The status was expected, the body was not.
    Body,
    /// The server closed a WebSocket before the session was over.
    SocketClosed,
    /// What came on a WebSocket is none: a wrong answer to the opening, a frame that the protocol does not have.
    SocketProtocol,
    /// A message is longer than the limit of the step.
    SocketTooLong,
    /// No message that was expected came in time.
    SocketExpect,
    /// The server did not answer the end of a WebSocket.
    SocketClose,
    /// This process has no file descriptor left.
    Descriptors,
    /// This machine has no ephemeral port left.
    Ports,
}

impl ErrorKind {
    /// k6's `error_code` (k6 `httpext/error_codes`); those that k6 does not have are its generic 1000.
    #[must_use]
    pub fn k6_code(self) -> u16 {
        match self {
            ErrorKind::Dns => 1101,
            ErrorKind::Refused => 1212,
            ErrorKind::ConnectTimeout => 1211,
            ErrorKind::Connect | ErrorKind::Proxy => 1210,
            ErrorKind::TlsUnknownAuthority => 1310,
            ErrorKind::TlsHostname => 1311,
            ErrorKind::Tls => 1300,
            ErrorKind::Reset => 1220,
            ErrorKind::Closed => 1010,
            ErrorKind::Timeout => 1050,
            ErrorKind::Status(status) if status >= 400 => 1000 + status,
            ErrorKind::Status(_) | ErrorKind::Protocol | ErrorKind::Body => 1000,
            // k6 has no codes for sessions.
            ErrorKind::SocketClosed
            | ErrorKind::SocketProtocol
            | ErrorKind::SocketTooLong
            | ErrorKind::SocketExpect
            | ErrorKind::SocketClose => 1000,
            ErrorKind::Descriptors | ErrorKind::Ports => 1213,
        }
    }

    /// Whose fault it is.
    #[must_use]
    pub fn blame(self) -> Blame {
        match self {
            ErrorKind::Status(_) | ErrorKind::Body | ErrorKind::Protocol => Blame::Server,
            ErrorKind::SocketClosed
            | ErrorKind::SocketProtocol
            | ErrorKind::SocketTooLong
            | ErrorKind::SocketExpect
            | ErrorKind::SocketClose => Blame::Server,
            ErrorKind::Descriptors | ErrorKind::Ports => Blame::Generator,
            _ => Blame::Network,
        }
    }

    /// What happened, for people.
    #[must_use]
    pub fn describe(self) -> String {
        let text = match self {
            ErrorKind::Dns => "name not resolved",
            ErrorKind::Refused => "connection refused",
            ErrorKind::ConnectTimeout => "no connection in time",
            ErrorKind::Connect => "cannot connect",
            ErrorKind::Proxy => "the proxy did not connect us",
            ErrorKind::TlsUnknownAuthority => "certificate not trusted",
            ErrorKind::TlsHostname => "certificate for another host",
            ErrorKind::Tls => "TLS handshake failed",
            ErrorKind::Reset => "connection reset",
            ErrorKind::Closed => "connection closed before the response was complete",
            ErrorKind::Timeout => "no complete response in time",
            ErrorKind::Protocol => "not a valid HTTP response",
            ErrorKind::Status(status) => return format!("status {status}"),
            ErrorKind::Body => "unexpected body",
            ErrorKind::SocketClosed => "WebSocket closed by the server before the session was over",
            ErrorKind::SocketProtocol => "not a valid WebSocket",
            ErrorKind::SocketTooLong => "WebSocket message longer than the limit",
            ErrorKind::SocketExpect => "no expected WebSocket message in time",
            ErrorKind::SocketClose => "the end of the WebSocket was not answered",
            ErrorKind::Descriptors => "this machine has no file descriptor left",
            ErrorKind::Ports => "this machine has no ephemeral port left",
        };
        text.to_owned()
    }
}

const NAMES: [(ErrorKind, &str); 20] = [
    (ErrorKind::Dns, "dns"),
    (ErrorKind::Refused, "refused"),
    (ErrorKind::ConnectTimeout, "connect_timeout"),
    (ErrorKind::Connect, "connect"),
    (ErrorKind::Proxy, "proxy"),
    (ErrorKind::TlsUnknownAuthority, "tls_unknown_authority"),
    (ErrorKind::TlsHostname, "tls_hostname"),
    (ErrorKind::Tls, "tls"),
    (ErrorKind::Reset, "reset"),
    (ErrorKind::Closed, "closed"),
    (ErrorKind::Timeout, "timeout"),
    (ErrorKind::Protocol, "protocol"),
    (ErrorKind::Body, "body"),
    (ErrorKind::SocketClosed, "ws_closed"),
    (ErrorKind::SocketProtocol, "ws_protocol"),
    (ErrorKind::SocketTooLong, "ws_too_long"),
    (ErrorKind::SocketExpect, "ws_expect"),
    (ErrorKind::SocketClose, "ws_close"),
    (ErrorKind::Descriptors, "descriptors"),
    (ErrorKind::Ports, "ports"),
];

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let ErrorKind::Status(status) = self {
            return write!(f, "status_{status}");
        }
        let name = NAMES.iter().find(|(kind, _)| kind == self).map_or("unknown", |(_, name)| name);
        f.write_str(name)
    }
}

/// A name that is no [`ErrorKind`].
#[derive(Debug, thiserror::Error)]
#[error("unknown error kind {0:?}")]
pub struct UnknownErrorKind(String);

impl std::str::FromStr for ErrorKind {
    type Err = UnknownErrorKind;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        if let Some(status) = name.strip_prefix("status_").and_then(|n| n.parse().ok()) {
            return Ok(ErrorKind::Status(status));
        }
        let found = NAMES.iter().find(|(_, known)| *known == name);
        found.map(|(kind, _)| *kind).ok_or_else(|| UnknownErrorKind(name.to_owned()))
    }
}

impl Serialize for ErrorKind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ErrorKind {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}

/// How a request ended. A dropped one never began and has no outcome of this kind; it is counted by the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// A complete response that passed its checks.
    Completed,
    /// Anything else that ended by itself.
    Failed(ErrorKind),
    /// Cut off by the hard stop at the end of the run.
    Interrupted,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_back_from_its_name() {
        for (kind, name) in NAMES {
            assert_eq!(kind.to_string(), name);
            assert_eq!(name.parse::<ErrorKind>().unwrap(), kind);
        }
        assert_eq!("status_503".parse::<ErrorKind>().unwrap(), ErrorKind::Status(503));
        assert!("statue_503".parse::<ErrorKind>().is_err());
    }

    #[test]
    fn codes_are_k6s() {
        assert_eq!(ErrorKind::Status(503).k6_code(), 1503);
        assert_eq!(ErrorKind::Status(302).k6_code(), 1000);
        assert_eq!(ErrorKind::Refused.k6_code(), 1212);
        assert_eq!(ErrorKind::Timeout.k6_code(), 1050);
    }
}
