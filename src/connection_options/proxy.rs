//! Which proxy a run goes through, from a flag or from the environment that curl, k6 and rsconnect-python look at.
//!
//! User and password are kept apart from the address: the address stands in plans and reports, they never do.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::{Host, Url};

/// Where a proxy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyAddress {
    /// Name or address, without brackets.
    pub host: String,
    /// Port; 80 where none is written, as in a URL.
    pub port: u16,
}

/// User and password of a proxy, as `Proxy-Authorization` has them. Cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    basic: String,
}

/// A proxy and who one is there. Written `http://[USER:PASSWORD@]HOST[:PORT]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Where it is.
    pub address: ProxyAddress,
    /// Who one is there.
    pub credentials: Option<Credentials>,
}

/// What a person asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProxyChoice {
    /// No proxy, whatever the environment says.
    None,
    /// This one.
    Through(Proxy),
}

impl Credentials {
    /// The value of `Proxy-Authorization` (RFC 7617).
    #[must_use]
    pub fn header(&self) -> &str {
        &self.basic
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

impl ProxyAddress {
    /// Whether it is this machine: `localhost`, or a loopback address.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl FromStr for ProxyAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<ProxyAddress, String> {
        text.parse::<Proxy>().map(|proxy| proxy.address)
    }
}

impl FromStr for Proxy {
    type Err = String;

    /// No error has the text in it: there may be a password in that.
    fn from_str(text: &str) -> Result<Proxy, String> {
        let example = "write for example http://proxy.example:3128";
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&whole).map_err(|e| format!("the proxy's address is no URL ({e}): {example}"))?;
        if url.scheme() != "http" {
            return Err(format!("a proxy is spoken to by http, not by {}: {example}", url.scheme()));
        }
        let host = match url.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(ip)) => ip.to_string(),
            Some(Host::Ipv6(ip)) => ip.to_string(),
            None => return Err(format!("the proxy's address names no host: {example}")),
        };
        if !matches!(url.path(), "" | "/") || url.query().is_some() {
            return Err(format!("a proxy has an address, and no path: {example}"));
        }
        let address = ProxyAddress { host, port: url.port_or_known_default().unwrap_or(80) };
        Ok(Proxy { address, credentials: credentials(&url) })
    }
}

fn credentials(url: &Url) -> Option<Credentials> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut pair = unescaped(url.username());
    pair.push(b':');
    pair.extend(unescaped(url.password().unwrap_or_default()));
    Some(Credentials { basic: format!("Basic {}", STANDARD.encode(pair)) })
}

/// Undoes the escapes of a URL.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
        match (first, hex(after.first()), hex(after.get(1))) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high * 16 + low).unwrap_or(0));
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

impl FromStr for ProxyChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<ProxyChoice, String> {
        match text {
            "none" => Ok(ProxyChoice::None),
            text => text.parse().map(ProxyChoice::Through),
        }
    }
}

/// `http://host:port`.
impl fmt::Display for ProxyAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "http://[{}]:{}", self.host, self.port),
            false => write!(f, "http://{}:{}", self.host, self.port),
        }
    }
}

impl Serialize for ProxyAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ProxyAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ProxyAddress, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Proxy {
    /// The proxy that the environment names for a URL: `HTTPS_PROXY` for https and `HTTP_PROXY` for http, in capitals or
    /// not, unless `NO_PROXY` has the host. This machine is reached without one, as by Go's programs and so by k6.
    ///
    /// # Errors
    /// Where the variable that holds has no address of a proxy.
    pub fn of_environment(url: &Url, variable: impl Fn(&str) -> Option<String>) -> Result<Option<Proxy>, String> {
        let host = url.host_str().unwrap_or_default();
        let name = if url.scheme() == "https" { "HTTPS_PROXY" } else { "HTTP_PROXY" };
        let read = |name: &str| {
            let values = [name.to_owned(), name.to_lowercase()].into_iter().filter_map(|name| variable(&name));
            values.map(|value| value.trim().to_owned()).find(|value| !value.is_empty())
        };
        let Some(proxy) = read(name) else { return Ok(None) };
        let exempt = read("NO_PROXY").unwrap_or_default();
        if is_loopback(host) || is_exempt(&exempt, host, url.port_or_known_default().unwrap_or(0)) {
            return Ok(None);
        }
        proxy.parse().map(Some).map_err(|e| format!("{name}: {e}"))
    }
}

/// Whether `NO_PROXY` has a host: `*`, names with all that is below them, addresses, blocks of addresses, each with a
/// port or without.
fn is_exempt(list: &str, host: &str, port: u16) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let ip: Option<IpAddr> = host.parse().ok();
    list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        if entry == "*" {
            return true;
        }
        if let (Some((network, length)), Some(ip)) = (entry.split_once('/'), ip) {
            return in_block(network, length, ip).unwrap_or(false);
        }
        let (name, own) = match entry.rsplit_once(':') {
            Some((name, digits)) if entry.parse::<IpAddr>().is_err() => (name, Some(digits.parse::<u16>())),
            _ => (entry, None),
        };
        if own.is_some_and(|own| own != Ok(port)) {
            return false;
        }
        let name = name.trim_start_matches('[').trim_end_matches(']').trim_start_matches("*.").to_ascii_lowercase();
        let below = name.trim_start_matches('.');
        let exact = !name.starts_with('.') && host == below;
        exact || (ip.is_none() && !below.is_empty() && host.ends_with(&format!(".{below}")))
    })
}

fn in_block(network: &str, length: &str, ip: IpAddr) -> Option<bool> {
    let (length, network): (u32, IpAddr) = (length.parse().ok()?, network.parse().ok()?);
    Some(match (network, ip) {
        (IpAddr::V4(network), IpAddr::V4(ip)) => {
            (network.to_bits() ^ ip.to_bits()).checked_shr(32_u32.checked_sub(length)?).unwrap_or(0) == 0
        }
        (IpAddr::V6(network), IpAddr::V6(ip)) => {
            (network.to_bits() ^ ip.to_bits()).checked_shr(128_u32.checked_sub(length)?).unwrap_or(0) == 0
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_with_and_without_a_user() {
        let proxy: Proxy = "http://me:p%40ss@Proxy.Example:3128".parse().unwrap();
        assert_eq!(proxy.address.to_string(), "http://proxy.example:3128");
        assert_eq!(proxy.credentials.as_ref().unwrap().header(), "Basic bWU6cEBzcw==");
        assert_eq!("proxy:8080".parse::<Proxy>().unwrap().address.to_string(), "http://proxy:8080");
        assert_eq!("http://[::1]".parse::<Proxy>().unwrap().address.to_string(), "http://[::1]:80");
        assert_eq!("none".parse(), Ok(ProxyChoice::None));
    }

    #[test]
    fn a_password_is_in_no_text() {
        let proxy: Proxy = "http://user:hunter2@proxy:1".parse().unwrap();
        let printed = format!("{proxy:?} {}", proxy.address);
        assert!(!printed.contains("hunter2") && !printed.contains("dXNlcjpodW50ZXIy"), "{printed}");
        for wrong in ["socks5://user:hunter2@proxy:1", "http://user:hunter2@proxy:x", "http://user:hunter2@proxy/path"]
        {
            let why = wrong.parse::<Proxy>().unwrap_err();
            assert!(!why.contains("hunter2") && why.contains("write for example"), "{why}");
        }
    }

    fn named(url: &str, variables: &[(&str, &str)]) -> Option<String> {
        let read = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        let proxy = Proxy::of_environment(&Url::parse(url).unwrap(), read).unwrap();
        proxy.map(|proxy| proxy.address.to_string())
    }

    #[test]
    fn the_environment_names_one_for_each_scheme() {
        let both = [("HTTP_PROXY", "plain:1"), ("https_proxy", "http://tls:2")];
        assert_eq!(named("http://a.example/", &both).unwrap(), "http://plain:1");
        assert_eq!(named("https://a.example/", &both).unwrap(), "http://tls:2");
        assert_eq!(named("https://a.example/", &both[..1]), None);
        assert_eq!(named("http://a.example/", &[("HTTP_PROXY", " ")]), None);
        for loopback in ["http://localhost:1/", "http://127.0.0.1/", "http://[::1]/"] {
            assert_eq!(named(loopback, &both), None, "{loopback}");
        }
        let wrong = Proxy::of_environment(&Url::parse("http://a/").unwrap(), |_| Some("ftp://x".to_owned()));
        assert!(wrong.unwrap_err().starts_with("HTTP_PROXY: "));
    }

    #[test]
    fn no_proxy_exempts() {
        let exempt = |list: &str, url: &str| named(url, &[("HTTP_PROXY", "p:1"), ("NO_PROXY", list)]).is_none();
        for (list, url) in [
            ("*", "http://a.example/"),
            ("b, A.example", "http://a.EXAMPLE/"),
            ("example", "http://a.example/"),
            (".example", "http://a.example/"),
            ("*.example", "http://a.example/"),
            ("a.example:80", "http://a.example/"),
            ("10.0.0.1", "http://10.0.0.1:8080/"),
            ("10.0.0.0/8", "http://10.1.2.3/"),
            ("0.0.0.0/0", "http://10.1.2.3/"),
            ("fd00::/16", "http://[fd00::1]/"),
            ("[fd00::1]:81", "http://[fd00::1]:81/"),
            ("fd00::1", "http://[fd00::1]:81/"),
        ] {
            assert!(exempt(list, url), "{list} {url}");
        }
        for (list, url) in [
            ("", "http://a.example/"),
            (".example", "http://example/"),
            ("a.example:81", "http://a.example/"),
            ("xample", "http://a.example/"),
            ("10.0.0.0/33", "http://10.0.0.1/"),
            ("10.0.0.0/24", "http://10.0.1.1/"),
            ("0.0.1", "http://10.0.0.1/"),
        ] {
            assert!(!exempt(list, url), "{list} {url}");
        }
    }
}
