//! How connections are opened, kept and spoken on, as people write it: on the command line and in scenario files.
//!
//! Values and their reading, nothing else: it opens no connection, asks no name server, and holds no password.

mod choices;
mod dns;
mod encoding;
mod hosts;
mod local_ips;
mod proxy;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use choices::ConnectionChoices;
pub use dns::{DnsOptions, POLICIES, Policy, SELECTS, Select, Ttl};
pub use encoding::{Coding, Codings};
pub use hosts::{HostRule, Hosts};
pub use local_ips::LocalIps;
pub use proxy::{Credentials, Proxy, ProxyAddress, ProxyChoice};

/// How a run's connections are made. The default is what k6 does, but where a field says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectionOptions {
    /// Whether HTTP/2 is spoken.
    pub http2: Http2,
    /// How long a VU keeps its connection.
    pub reuse: Reuse,
    /// Whether a VU's later TLS handshakes resume its first one. Off, as in k6: then every handshake is a full one.
    pub tls_resumption: bool,
    /// Which TLS is spoken.
    pub tls_version: TlsVersion,
    /// How names become addresses.
    pub dns: DnsOptions,
    /// Names that nobody is asked about.
    #[serde(skip_serializing_if = "Hosts::is_empty")]
    pub hosts: Hosts,
    /// Addresses of this machine that connections come from; VU n has the n-th, and so round again.
    #[serde(skip_serializing_if = "LocalIps::is_empty")]
    pub local_ips: LocalIps,
    /// What connections go through; its user and password are not in a plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<ProxyAddress>,
    /// What `Accept-Encoding` asks for; nothing asked, as in k6.
    #[serde(skip_serializing_if = "Codings::is_empty")]
    pub accept_encoding: Codings,
    /// Whether fetched bodies are not looked at: read, counted and thrown away.
    pub discard_response_bodies: bool,
}

/// Whether HTTP/2 is spoken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Http2 {
    /// Over TLS where the server offers it (ALPN), as k6 and browsers do; HTTP/1.1 otherwise.
    #[default]
    Auto,
    /// Never.
    Off,
    /// Always, over plain TCP, too, without asking (h2c). k6 has no such option.
    PriorKnowledge,
}

/// How long a VU keeps its connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reuse {
    /// As long as the server does.
    #[default]
    Always,
    /// To the end of its iteration: k6's `noVUConnectionReuse`.
    Iteration,
    /// For one request: k6's `noConnectionReuse`.
    Never,
}

/// Which TLS is spoken. There is none before 1.2 in the library that we use, and none should be used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TlsVersion {
    /// 1.2 or 1.3, whichever is the highest that the server has.
    #[default]
    #[serde(rename = "1.2-1.3")]
    Any,
    /// 1.2 only.
    #[serde(rename = "1.2")]
    Tls12,
    /// 1.3 only.
    #[serde(rename = "1.3")]
    Tls13,
}

/// The value of a name in a closed list, or a sentence with all of them.
fn one_of<T: Copy>(text: &str, values: &[(&str, T)]) -> Result<T, String> {
    let found = values.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
        format!("`{text}` is none of {}", names.join(", "))
    })
}

/// As they are written.
pub const HTTP2S: [(&str, Http2); 3] =
    [("auto", Http2::Auto), ("off", Http2::Off), ("prior-knowledge", Http2::PriorKnowledge)];
/// As they are written.
pub const TLS_VERSIONS: [(&str, TlsVersion); 3] =
    [("1.2-1.3", TlsVersion::Any), ("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)];

impl FromStr for Http2 {
    type Err = String;

    fn from_str(text: &str) -> Result<Http2, String> {
        one_of(text, &HTTP2S)
    }
}

impl FromStr for TlsVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<TlsVersion, String> {
        one_of(text, &TLS_VERSIONS)
    }
}

impl fmt::Display for Reuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reuse::Always => "kept",
            Reuse::Iteration => "a new one for each iteration",
            Reuse::Never => "a new one for each request",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_says_everything_and_reads_back() {
        let all = ConnectionOptions {
            http2: Http2::PriorKnowledge,
            reuse: Reuse::Iteration,
            tls_resumption: true,
            tls_version: TlsVersion::Tls13,
            dns: "ttl=0,select=roundRobin,policy=onlyIPv6".parse().unwrap(),
            hosts: "*.example=127.0.0.1:80,a=::1".parse().unwrap(),
            local_ips: "127.0.0.1-127.0.0.9,10.0.0.0/30".parse().unwrap(),
            proxy: Some("http://proxy:3128".parse::<Proxy>().unwrap().address),
            accept_encoding: "gzip,zstd".parse().unwrap(),
            discard_response_bodies: true,
        };
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(serde_json::from_str::<ConnectionOptions>(&text).unwrap(), all);
        let nothing: ConnectionOptions = serde_json::from_str("{}").unwrap();
        assert_eq!(nothing, ConnectionOptions::default());
        assert!(serde_json::from_str::<ConnectionOptions>("{\"htpp2\":\"off\"}").is_err());
    }

    #[test]
    fn a_wrong_word_is_told_all_right_ones() {
        assert_eq!("h2".parse::<Http2>().unwrap_err(), "`h2` is none of auto, off, prior-knowledge");
        assert_eq!("1.1".parse::<TlsVersion>().unwrap_err(), "`1.1` is none of 1.2-1.3, 1.2, 1.3");
        assert_eq!("Prior-Knowledge".parse(), Ok(Http2::PriorKnowledge));
    }
}
