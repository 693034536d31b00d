//! `[connection]`: how connections are opened, kept and spoken on. A flag of the command line goes before it.
//!
//! ```toml
//! [connection]
//! http2 = "auto"                   # over TLS where the server offers it; "off", "prior-knowledge" (h2c)
//! noConnectionReuse = false        # a new connection for each request
//! noVUConnectionReuse = false      # a new connection for each iteration
//! tlsResumption = false            # a VU's later handshakes resume its first one
//! tlsVersion = "1.2-1.3"           # or "1.2", "1.3"
//! dns = { ttl = "5m", select = "random", policy = "preferIPv4" }
//! hosts = { "*.example.com" = "10.0.0.5", "www.example.com:443" = "10.0.0.6:8443" }
//! localIPs = "10.0.0.5,10.0.0.10-10.0.0.20,10.0.1.0/24"
//! proxy = "http://proxy.example:3128"    # or "none"; without it what the environment says
//! acceptEncoding = "gzip,br"       # coded bodies are asked for; checks see them decoded
//! discardResponseBodies = false    # bodies of fetches are not held against what is expected
//! ```

use super::reader::Fields;
use crate::connection_options::{ConnectionChoices, DnsOptions, HostRule, Hosts};

pub(super) const KEYS: [&str; 11] = [
    "http2",
    "noConnectionReuse",
    "noVUConnectionReuse",
    "tlsResumption",
    "tlsVersion",
    "dns",
    "hosts",
    "localIPs",
    "proxy",
    "acceptEncoding",
    "discardResponseBodies",
];

/// Reads the table, where there is one.
pub(super) fn read(top: &Fields<'_>) -> ConnectionChoices {
    let fields = top.get("connection").and_then(|value| Fields::of(value, "connection", &KEYS, top.faults));
    let Some(fields) = fields else { return ConnectionChoices::default() };
    if fields.boolean("noConnectionReuse") == Some(true) && fields.boolean("noVUConnectionReuse") == Some(true) {
        fields.fault_in("noVUConnectionReuse", "`noConnectionReuse` says more already: leave one out");
    }
    ConnectionChoices {
        http2: fields.parsed("http2", str::parse),
        no_connection_reuse: fields.boolean("noConnectionReuse"),
        no_vu_connection_reuse: fields.boolean("noVUConnectionReuse"),
        tls_resumption: fields.boolean("tlsResumption"),
        tls_version: fields.parsed("tlsVersion", str::parse),
        dns: dns(&fields),
        hosts: hosts(&fields),
        local_ips: fields.parsed("localIPs", str::parse),
        proxy: fields.parsed("proxy", str::parse),
        accept_encoding: fields.parsed("acceptEncoding", str::parse),
        discard_response_bodies: fields.boolean("discardResponseBodies"),
    }
}

/// Keys of `dns`.
pub(super) const DNS: [&str; 3] = ["ttl", "select", "policy"];

fn dns(fields: &Fields<'_>) -> Option<DnsOptions> {
    let table = Fields::of(fields.get("dns")?, "connection.dns", &DNS, fields.faults)?;
    let default = DnsOptions::default();
    Some(DnsOptions {
        ttl: table.parsed("ttl", str::parse).unwrap_or(default.ttl),
        select: table.parsed("select", str::parse).unwrap_or(default.select),
        policy: table.parsed("policy", str::parse).unwrap_or(default.policy),
    })
}

fn hosts(fields: &Fields<'_>) -> Hosts {
    let mut rules = Vec::new();
    for (name, value) in fields.named("hosts") {
        match value.get_ref().as_str().map(|to| HostRule::new(name, to)) {
            Some(Ok(rule)) => rules.push(rule),
            Some(Err(what)) => fields.fault_at(value, format!("`hosts`: {what}")),
            None => fields.fault_at(value, format!("`hosts.{name}` is an address, as a text")),
        }
    }
    rules.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use crate::connection_options::{Http2, ProxyChoice, Reuse};

    const SMALL: &str = "[scenarios.a]\nexecutor = \"constant-vus\"\nduration = \"1m\"\n";

    #[test]
    fn every_key_arrives() {
        let text = "[connection]\nhttp2 = \"prior-knowledge\"\nnoVUConnectionReuse = true\ntlsResumption = true\n\
                    tlsVersion = \"1.3\"\ndns = { ttl = \"0\", policy = \"any\" }\nlocalIPs = \"127.0.0.2/31\"\n\
                    hosts = { \"*.a.example\" = \"10.0.0.1\", \"b.example:80\" = \"[::1]:81\" }\nproxy = \"none\"\n\
                    acceptEncoding = \"gzip\"\ndiscardResponseBodies = true\n";
        let said = read(&format!("{SMALL}{text}")).unwrap().connection;
        let options = said.options();
        assert_eq!((options.http2, options.reuse), (Http2::PriorKnowledge, Reuse::Iteration));
        assert!(options.tls_resumption && options.discard_response_bodies);
        assert_eq!(options.dns.to_string(), "ttl=0,select=random,policy=any");
        assert_eq!(options.hosts.get("x.a.example", 1).unwrap().to_string(), "10.0.0.1:1");
        assert_eq!(options.hosts.get("b.example", 80).unwrap().to_string(), "[::1]:81");
        assert_eq!(options.local_ips.to_string(), "127.0.0.2-127.0.0.3");
        assert_eq!((said.proxy, options.accept_encoding.to_string()), (Some(ProxyChoice::None), "gzip".to_owned()));
        assert_eq!(read(SMALL).unwrap().connection, Default::default());
    }

    #[test]
    fn every_fault_is_told_with_its_place_and_no_password() {
        let text = "[connection]\nhttp2 = \"yes\"\nnoConnectionReuse = 1\ntlsVersion = \"1.1\"\n\
                    dns = { ttl = \"soon\", polcy = \"any\" }\nhosts = { \"a b\" = \"10.0.0.1\", c = \"d\" }\n\
                    localIPs = \"eth0\"\nproxy = \"https://me:hunter2@p\"\nlocalIps = \"::1\"\n";
        let wrong = read(&format!("{SMALL}{text}")).unwrap_err().to_string();
        for told in [
            "line 5, column 9: connection: `http2`: `yes` is none of auto, off, prior-knowledge",
            "line 6, column 21: connection: `noConnectionReuse` is true or false, not a number",
            "line 7, column 14: connection: `tlsVersion`",
            "line 8, column 15: connection.dns: `ttl`: ttl: `soon` is no duration",
            "line 8, column 23: connection.dns: unknown key `polcy`; did you mean `policy`?",
            "no name of a host",
            "`d` is no address",
            "line 10, column 12: connection: `localIPs`: `eth0` is no address",
            "a proxy is spoken to by http, not by https",
            "line 12, column 1: connection: unknown key `localIps`; did you mean `localIPs`?",
        ] {
            assert!(wrong.contains(told), "{told}\n{wrong}");
        }
        assert!(!wrong.contains("hunter2"), "{wrong}");
    }
}
