//! What a person said about connections, in a file or on the command line, before it is complete.

use super::{Codings, ConnectionOptions, DnsOptions, Hosts, Http2, LocalIps, ProxyChoice, Reuse, TlsVersion};

/// Choices; what is `None` was not said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectionChoices {
    /// Whether HTTP/2 is spoken.
    pub http2: Option<Http2>,
    /// A new connection for each request.
    pub no_connection_reuse: Option<bool>,
    /// A new connection for each iteration.
    pub no_vu_connection_reuse: Option<bool>,
    /// Whether a VU's TLS sessions are resumed.
    pub tls_resumption: Option<bool>,
    /// Which TLS is spoken.
    pub tls_version: Option<TlsVersion>,
    /// How names become addresses.
    pub dns: Option<DnsOptions>,
    /// Names that nobody is asked about.
    pub hosts: Hosts,
    /// Addresses of this machine that connections come from.
    pub local_ips: Option<LocalIps>,
    /// Which proxy; not said: that of the environment.
    pub proxy: Option<ProxyChoice>,
    /// What `Accept-Encoding` asks for.
    pub accept_encoding: Option<Codings>,
    /// Whether fetched bodies are not looked at.
    pub discard_response_bodies: Option<bool>,
}

impl ConnectionChoices {
    /// These, and where they say nothing, others. Of `hosts` both hold, these before the others.
    #[must_use]
    pub fn or(self, others: ConnectionChoices) -> ConnectionChoices {
        let mut hosts = others.hosts;
        hosts.extend(&self.hosts);
        ConnectionChoices {
            http2: self.http2.or(others.http2),
            no_connection_reuse: self.no_connection_reuse.or(others.no_connection_reuse),
            no_vu_connection_reuse: self.no_vu_connection_reuse.or(others.no_vu_connection_reuse),
            tls_resumption: self.tls_resumption.or(others.tls_resumption),
            tls_version: self.tls_version.or(others.tls_version),
            dns: self.dns.or(others.dns),
            hosts,
            local_ips: self.local_ips.or(others.local_ips),
            proxy: self.proxy.or(others.proxy),
            accept_encoding: self.accept_encoding.or(others.accept_encoding),
            discard_response_bodies: self.discard_response_bodies.or(others.discard_response_bodies),
        }
    }

    /// Completed; the proxy is left to whoever knows the server and the environment.
    #[must_use]
    pub fn options(&self) -> ConnectionOptions {
        let reuse = match (self.no_connection_reuse, self.no_vu_connection_reuse) {
            (Some(true), _) => Reuse::Never,
            (_, Some(true)) => Reuse::Iteration,
            _ => Reuse::Always,
        };
        ConnectionOptions {
            http2: self.http2.unwrap_or_default(),
            reuse,
            tls_resumption: self.tls_resumption.unwrap_or_default(),
            tls_version: self.tls_version.unwrap_or_default(),
            dns: self.dns.unwrap_or_default(),
            hosts: self.hosts.clone(),
            local_ips: self.local_ips.clone().unwrap_or_default(),
            proxy: None,
            accept_encoding: self.accept_encoding.clone().unwrap_or_default(),
            discard_response_bodies: self.discard_response_bodies.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_nearer_holds() {
        let flags = ConnectionChoices {
            http2: Some(Http2::Off),
            hosts: "a=10.0.0.1".parse().unwrap(),
            ..ConnectionChoices::default()
        };
        let file = ConnectionChoices {
            http2: Some(Http2::PriorKnowledge),
            no_vu_connection_reuse: Some(true),
            hosts: "a=10.0.0.2,b=10.0.0.3".parse().unwrap(),
            dns: Some("ttl=0".parse().unwrap()),
            ..ConnectionChoices::default()
        };
        let both = flags.or(file).options();
        assert_eq!((both.http2, both.reuse), (Http2::Off, Reuse::Iteration));
        assert_eq!(both.hosts.to_string(), "b=10.0.0.3,a=10.0.0.1");
        assert_eq!(both.dns, "ttl=0".parse().unwrap());
    }

    #[test]
    fn nothing_said_is_the_default() {
        assert_eq!(ConnectionChoices::default().options(), ConnectionOptions::default());
        let never = ConnectionChoices {
            no_connection_reuse: Some(true),
            no_vu_connection_reuse: Some(true),
            ..Default::default()
        };
        assert_eq!(never.options().reuse, Reuse::Never);
    }
}
