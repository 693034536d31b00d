//! k6's `hosts` option: names whose addresses are given, so that nobody is asked about them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One name and where it leads: `NAME[:PORT]=IP[:PORT]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRule {
    /// In lower case; a leading `*.` stands for every name below the rest.
    name: String,
    /// The rule is for this port only.
    port: Option<u16>,
    ip: IpAddr,
    /// Connections go to this port instead.
    to_port: Option<u16>,
}

/// All such names. Written `NAME=IP,NAME=IP`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts(Vec<HostRule>);

impl HostRule {
    /// How well it fits: the higher the better; `None` where it does not.
    fn fits(&self, host: &str, port: u16) -> Option<(usize, bool)> {
        if self.port.is_some_and(|own| own != port) {
            return None;
        }
        let length = match self.name.strip_prefix('*') {
            // `*.example` is not for `example` itself.
            Some(rest) => {
                let below = host.len() > rest.len() && host.to_ascii_lowercase().ends_with(rest);
                below.then_some(rest.len())?
            }
            None => self.name.eq_ignore_ascii_case(host).then_some(usize::MAX)?,
        };
        Some((length, self.port.is_some()))
    }
}

impl Hosts {
    /// Whether no name is given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the rules of another list; of two for the same name the later one holds.
    pub fn extend(&mut self, others: &Hosts) {
        for rule in &others.0 {
            self.0.retain(|known| (&known.name, known.port) != (&rule.name, rule.port));
            self.0.push(rule.clone());
        }
    }

    /// Where connections to a name go, if that is given. The exact name goes before a wildcard, a longer wildcard before
    /// a shorter one, one with the port before one without.
    #[must_use]
    pub fn get(&self, host: &str, port: u16) -> Option<SocketAddr> {
        let fitting = self.0.iter().filter_map(|rule| rule.fits(host, port).map(|fit| (fit, rule)));
        let (_, rule) = fitting.max_by_key(|(fit, _)| *fit)?;
        Some(SocketAddr::new(rule.ip, rule.to_port.unwrap_or(port)))
    }
}

/// A port at the end, if one is there.
fn split_port(text: &str) -> Result<(&str, Option<u16>), String> {
    match text.rsplit_once(':') {
        None => Ok((text, None)),
        Some((name, port)) => match port.parse() {
            Ok(port @ 1..) => Ok((name, Some(port))),
            _ => Err(format!("`{port}` is no port")),
        },
    }
}

fn address(text: &str) -> Result<(IpAddr, Option<u16>), String> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok((ip, None));
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok((address.ip(), Some(address.port())));
    }
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let ip = inner.and_then(|text| text.parse().ok()).ok_or_else(|| {
        format!("`{text}` is no address: write for example 10.0.0.5, 10.0.0.5:8443, ::1 or [::1]:8443")
    })?;
    Ok((ip, None))
}

impl HostRule {
    /// Reads a name and an address apart, as a table in a file has them.
    ///
    /// # Errors
    /// A sentence for people.
    pub fn new(name: &str, to: &str) -> Result<HostRule, String> {
        let (name, port) = split_port(name.trim()).map_err(|e| format!("`{name}`: {e}"))?;
        let rest = name.strip_prefix("*.").unwrap_or(name);
        let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        if rest.is_empty() || !rest.bytes().all(good) {
            return Err(format!("`{name}` is no name of a host; `*` may stand for what is before its first dot only"));
        }
        let (ip, to_port) = address(to.trim())?;
        Ok(HostRule { name: name.to_ascii_lowercase(), port, ip, to_port })
    }
}

impl FromStr for Hosts {
    type Err = String;

    fn from_str(text: &str) -> Result<Hosts, String> {
        let mut hosts = Hosts::default();
        for part in text.split(',') {
            let (name, to) = part
                .split_once('=')
                .ok_or_else(|| format!("`{part}`: write NAME=IP, for example www.example=10.0.0.5"))?;
            hosts.extend(&Hosts(vec![HostRule::new(name, to)?]));
        }
        Ok(hosts)
    }
}

impl FromIterator<HostRule> for Hosts {
    fn from_iter<I: IntoIterator<Item = HostRule>>(rules: I) -> Hosts {
        let mut hosts = Hosts::default();
        hosts.extend(&Hosts(rules.into_iter().collect()));
        hosts
    }
}

impl fmt::Display for HostRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        match self.to_port {
            Some(port) => write!(f, "={}", SocketAddr::new(self.ip, port)),
            None => write!(f, "={}", self.ip),
        }
    }
}

impl fmt::Display for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules: Vec<String> = self.0.iter().map(HostRule::to_string).collect();
        f.write_str(&rules.join(","))
    }
}

impl Serialize for Hosts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hosts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Hosts, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(hosts: &str, host: &str, port: u16) -> Option<String> {
        hosts.parse::<Hosts>().unwrap().get(host, port).map(|address| address.to_string())
    }

    #[test]
    fn a_name_leads_to_its_address() {
        let hosts = "a.example=10.0.0.1,a.example:443=10.0.0.2:8443,B.example=::1,c.example=[::2]:9";
        assert_eq!(get(hosts, "a.example", 80).unwrap(), "10.0.0.1:80");
        assert_eq!(get(hosts, "A.Example", 443).unwrap(), "10.0.0.2:8443");
        assert_eq!(get(hosts, "b.example", 80).unwrap(), "[::1]:80");
        assert_eq!(get(hosts, "c.example", 80).unwrap(), "[::2]:9");
        assert_eq!(get(hosts, "d.example", 80), None);
        assert_eq!(get("a:81=10.0.0.1", "a", 80), None);
    }

    #[test]
    fn wildcards_are_for_what_is_below() {
        let hosts = "*.example=10.0.0.1,*.b.example=10.0.0.2,c.b.example=10.0.0.3,*.b.example:81=10.0.0.4";
        assert_eq!(get(hosts, "a.example", 80).unwrap(), "10.0.0.1:80");
        assert_eq!(get(hosts, "x.y.example", 80).unwrap(), "10.0.0.1:80");
        assert_eq!(get(hosts, "a.B.example", 80).unwrap(), "10.0.0.2:80");
        assert_eq!(get(hosts, "a.b.example", 81).unwrap(), "10.0.0.4:81");
        assert_eq!(get(hosts, "c.b.example", 81).unwrap(), "10.0.0.3:81");
        assert_eq!(get(hosts, "example", 80), None);
        assert_eq!(get(hosts, "myexample", 80), None);
    }

    #[test]
    fn the_later_of_two_holds() {
        assert_eq!(get("a=10.0.0.1,a=10.0.0.2", "a", 1).unwrap(), "10.0.0.2:1");
        let mut hosts: Hosts = "a=10.0.0.1,b=10.0.0.1".parse().unwrap();
        hosts.extend(&"a=10.0.0.3:7".parse().unwrap());
        assert_eq!(hosts.to_string(), "b=10.0.0.1,a=10.0.0.3:7");
        assert_eq!(hosts.to_string().parse::<Hosts>().unwrap(), hosts);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let why = |text: &str| text.parse::<Hosts>().unwrap_err();
        assert!(why("a.example").contains("write NAME=IP"));
        assert!(why("a=b.example").contains("`b.example` is no address"));
        assert!(why("a:x=10.0.0.1").contains("`x` is no port"));
        assert!(why("a:0=10.0.0.1").contains("no port"));
        for name in ["a.*.example=::1", "*=::1", "=::1", "*.=::1", "http://a=::1"] {
            assert!(why(name).contains("no name of a host") || why(name).contains("no port"), "{name}");
        }
    }
}
