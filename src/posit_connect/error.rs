//! What can go wrong between us and a Connect server, said to the person who can mend it.

use std::time::Duration;

use super::address::AddressError;

/// Why a call of the API failed. Every text of the server in it is redacted, shortened and free of control characters.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The address of the server is none.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The certificate file cannot be used.
    #[error("cannot use the CA certificate {path}: {detail}")]
    CaCert {
        /// Which file.
        path: String,
        /// Why.
        detail: String,
    },
    /// A key would go over the network in plain text.
    #[error("the API key is not sent to {server} over plain http: use https, or allow it with --allow-http")]
    PlainHttp {
        /// The server.
        server: String,
    },
    /// Nobody listens there.
    #[error("{server} refused the connection: is the address right, and is Connect running?")]
    Refused {
        /// The server.
        server: String,
    },
    /// The name has no address.
    #[error("the host {host} is not known: check the server's name, or this machine's DNS")]
    UnknownHost {
        /// The host.
        host: String,
    },
    /// The certificate's issuer is not trusted.
    #[error(
        "the certificate of {server} is from an authority that this machine does not know: \
         give its certificate with --cacert FILE, or accept any certificate with --insecure"
    )]
    TlsUnknownAuthority {
        /// The server.
        server: String,
    },
    /// TLS failed in another way.
    #[error("no TLS connection to {server}: {detail}")]
    Tls {
        /// The server.
        server: String,
        /// What the library says.
        detail: String,
    },
    /// No complete response in time.
    #[error("{call} had no complete answer within {after:?}: is the server overloaded, or a proxy in between?")]
    Timeout {
        /// Method and path.
        call: String,
        /// The time-out.
        after: Duration,
    },
    /// The exchange failed in another way.
    #[error("{call} failed: {detail}")]
    Network {
        /// Method and path.
        call: String,
        /// What the library says.
        detail: String,
    },
    /// The answer is not from a Connect server.
    #[error("this is not a Connect server: {call} was answered with {what}; check the address {server}")]
    NotConnect {
        /// The server.
        server: String,
        /// Method and path.
        call: String,
        /// What came instead.
        what: String,
    },
    /// The answer is not what the API promises.
    #[error("{call} was answered with something that this program does not understand: {detail}")]
    Malformed {
        /// Method and path.
        call: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A redirect to another origin.
    #[error(
        "{call} was redirected to {to}, which is another server: the API key does not go there; is the address right (https, port)?"
    )]
    Redirect {
        /// Method and path.
        call: String,
        /// Scheme, host and port of the target.
        to: String,
    },
    /// 401.
    #[error("{server} does not accept the API key{}: {}; make a new one in Connect under your name, API Keys, and give it with --api-key or CONNECT_API_KEY", code_text(*.code), .text)]
    Unauthorised {
        /// The server.
        server: String,
        /// Connect's error code.
        code: Option<i64>,
        /// Connect's text.
        text: String,
    },
    /// 403.
    #[error("{call} is not permitted for this API key{}: {}; publishing needs a key of a publisher or an administrator", code_text(*.code), .text)]
    Forbidden {
        /// Method and path.
        call: String,
        /// Connect's error code.
        code: Option<i64>,
        /// Connect's text.
        text: String,
    },
    /// 402.
    #[error("the licence of {server} has expired (status 402): Connect serves no content until it is renewed")]
    Licence {
        /// The server.
        server: String,
    },
    /// The node that answered does not know the task.
    #[error(
        "the task {task} is not known to the node that answered (status 404{}): {}; a task is known only to the node that \
         runs it, so the load balancer must keep a client on one node (sticky sessions by cookie)", code_text(*.code), .text
    )]
    TaskLost {
        /// The task's id.
        task: String,
        /// Connect's error code, 141 in newer versions.
        code: Option<i64>,
        /// Connect's text.
        text: String,
    },
    /// A task ended with an error.
    #[error("the task failed with code {code}: {text}{}", last_lines(.lines))]
    TaskFailed {
        /// The task's exit code.
        code: i64,
        /// Connect's text.
        text: String,
        /// The last lines of its log.
        lines: Vec<String>,
    },
    /// A wait came to its deadline.
    #[error("{what} was not done within {after:?}{}", last_lines(.lines))]
    Deadline {
        /// What we waited for.
        what: String,
        /// For how long.
        after: Duration,
        /// The last lines of a log, where there is one.
        lines: Vec<String>,
    },
    /// Any other status that is no success.
    #[error("{call} was answered with status {status}{}: {text}", code_text(*.code))]
    Status {
        /// Method and path.
        call: String,
        /// The HTTP status.
        status: u16,
        /// Connect's error code.
        code: Option<i64>,
        /// Connect's text, or the beginning of the body.
        text: String,
    },
}

impl ApiError {
    /// The HTTP status, where the server answered with an error.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            ApiError::Unauthorised { .. } => Some(401),
            ApiError::Licence { .. } => Some(402),
            ApiError::Forbidden { .. } => Some(403),
            ApiError::TaskLost { .. } => Some(404),
            ApiError::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Connect's own error code, where it sent one.
    #[must_use]
    pub fn code(&self) -> Option<i64> {
        match self {
            ApiError::Unauthorised { code, .. }
            | ApiError::Forbidden { code, .. }
            | ApiError::TaskLost { code, .. }
            | ApiError::Status { code, .. } => *code,
            _ => None,
        }
    }

    /// Whether the thing asked for does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }
}

fn code_text(code: Option<i64>) -> String {
    code.map_or_else(String::new, |code| format!(" (Connect's error code {code})"))
}

fn last_lines(lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    format!("; the end of its log:\n  {}", lines.join("\n  "))
}

/// How much of a text of the server is shown.
const SHOWN: usize = 300;

/// A text of the server as it may be shown: control characters (which could steer a terminal) and runs of white space
/// become one space, and it is cut at 300 characters. The key is taken out before by the caller.
#[must_use]
pub fn presentable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(4 * SHOWN));
    for (count, word) in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()).enumerate()
    {
        if count > 0 {
            shown.push(' ');
        }
        shown.push_str(word);
        if shown.len() > 4 * SHOWN {
            break;
        }
    }
    match shown.char_indices().nth(SHOWN) {
        Some((end, _)) => {
            shown.truncate(end);
            shown + "…"
        }
        None => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_the_server_cannot_steer_a_terminal_nor_fill_it() {
        assert_eq!(presentable("a\x1b[31m b\r\n\tc\u{9b}d"), "a [31m b c d");
        assert_eq!(presentable(&"é".repeat(1000)).chars().count(), 301);
        assert_eq!(presentable(""), "");
    }

    #[test]
    fn errors_say_what_to_do() {
        let error = ApiError::TaskFailed { code: 1, text: "no".into(), lines: vec!["a".into(), "b".into()] };
        assert_eq!(error.to_string(), "the task failed with code 1: no; the end of its log:\n  a\n  b");
        let error = ApiError::Unauthorised { server: "http://c/".into(), code: Some(30), text: "bad".into() };
        assert!(error.to_string().contains("error code 30"), "{error}");
        assert_eq!(error.status(), Some(401));
        assert_eq!(error.code(), Some(30));
    }
}
