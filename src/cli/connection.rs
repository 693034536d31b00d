//! Flags of how connections are opened, kept and spoken on; k6's names where it has one.

use clap::Args;

use crate::connection_options::{
    Codings, ConnectionChoices, DnsOptions, Hosts, Http2, LocalIps, ProxyChoice, TlsVersion,
};

/// How connections are made.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Connections")]
pub struct ConnectionArgs {
    /// HTTP/2: `auto` (over TLS where the server offers it, as k6 does), `off`, `prior-knowledge` (h2c) [default: auto].
    #[arg(long, value_name = "MODE")]
    pub http2: Option<Http2>,
    /// A new connection for each request.
    #[arg(long)]
    pub no_connection_reuse: bool,
    /// A new connection for each iteration of a VU.
    #[arg(long, conflicts_with = "no_connection_reuse")]
    pub no_vu_connection_reuse: bool,
    /// A VU's later TLS handshakes resume its first one, as a browser's do; without it each one is full, as in k6.
    #[arg(long)]
    pub tls_resumption: bool,
    /// TLS `1.2`, `1.3`, or `1.2-1.3` [default: 1.2-1.3].
    #[arg(long, value_name = "VERSION")]
    pub tls_version: Option<TlsVersion>,
    /// Name look-up: ttl (a time, `0`, `inf`), select (first, random, roundRobin), policy (preferIPv4, preferIPv6,
    /// onlyIPv4, onlyIPv6, any) [default: ttl=5m,select=random,policy=preferIPv4].
    #[arg(long, value_name = "ttl=…,select=…,policy=…")]
    pub dns: Option<DnsOptions>,
    /// The address of a name, also of all names below one: `*.example.com=10.0.0.5`. May be repeated.
    #[arg(long, value_name = "NAME[:PORT]=IP[:PORT]")]
    pub hosts: Vec<Hosts>,
    /// Addresses of this machine that connections come from, VU by VU: `10.0.0.5,10.0.0.10-10.0.0.20,10.0.1.0/24`.
    #[arg(long, value_name = "ADDRESSES")]
    pub local_ips: Option<LocalIps>,
    /// Go through this proxy, or through `none` [default: HTTPS_PROXY, HTTP_PROXY and NO_PROXY; never to this machine].
    #[arg(long, value_name = "http://HOST:PORT")]
    pub proxy: Option<String>,
    /// Ask for coded bodies: any of gzip, deflate, br, zstd. Checks see them decoded.
    #[arg(long, value_name = "CODINGS")]
    pub accept_encoding: Option<Codings>,
    /// Read the bodies of fetches and throw them away: only their status and type are held against what is expected.
    #[arg(long, conflicts_with = "expect_body")]
    pub discard_response_bodies: bool,
}

impl ConnectionArgs {
    /// What was said.
    ///
    /// # Errors
    /// Where the proxy is none. Not clap finds that out: its message would have the password in it.
    pub fn choices(&self) -> Result<ConnectionChoices, String> {
        let proxy = self.proxy.as_deref().map(str::parse::<ProxyChoice>).transpose();
        let said = |flag: bool| flag.then_some(true);
        let mut hosts = Hosts::default();
        self.hosts.iter().for_each(|more| hosts.extend(more));
        // A flag for one of the two takes back what a file says of the other.
        let (each, iteration) = (self.no_connection_reuse, self.no_vu_connection_reuse);
        Ok(ConnectionChoices {
            http2: self.http2,
            no_connection_reuse: (each || iteration).then_some(each),
            no_vu_connection_reuse: (each || iteration).then_some(iteration),
            tls_resumption: said(self.tls_resumption),
            tls_version: self.tls_version,
            dns: self.dns,
            hosts,
            local_ips: self.local_ips.clone(),
            proxy: proxy.map_err(|e| format!("--proxy: {e}"))?,
            accept_encoding: self.accept_encoding.clone(),
            discard_response_bodies: said(self.discard_response_bodies),
        })
    }
}
