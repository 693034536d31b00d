//! k6's `dns` option: how long addresses are kept, which of several is taken, which family is wanted.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::one_of;
use crate::units::duration;

/// How names become addresses. Written `ttl=5m,select=random,policy=preferIPv4`, in any order, as in k6.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DnsOptions {
    /// How long addresses are used before they are asked for again.
    pub ttl: Ttl,
    /// Which of several addresses a new connection goes to.
    pub select: Select,
    /// Which family it goes to.
    pub policy: Policy,
}

/// How long addresses are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ttl {
    /// To the end of the run: `inf`.
    Forever,
    /// So long; zero: each new connection asks again.
    For(Duration),
}

impl Default for Ttl {
    fn default() -> Ttl {
        Ttl::For(Duration::from_secs(300))
    }
}

impl Ttl {
    /// Whether addresses that were asked for so long ago are still good.
    #[must_use]
    pub fn covers(self, age: Duration) -> bool {
        match self {
            Ttl::Forever => true,
            Ttl::For(ttl) => age < ttl,
        }
    }
}

/// Which of several addresses a new connection goes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Select {
    /// The first.
    First,
    /// Any, equally often.
    #[default]
    Random,
    /// One after the other.
    RoundRobin,
}

/// Which family of addresses is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Policy {
    /// IPv4; IPv6 where there is none, or none can be connected to.
    #[default]
    PreferIpv4,
    /// IPv6; IPv4 where there is none, or none can be connected to.
    PreferIpv6,
    /// IPv4 or nothing.
    OnlyIpv4,
    /// IPv6 or nothing.
    OnlyIpv6,
    /// Either.
    Any,
}

/// As they are written.
pub const SELECTS: [(&str, Select); 3] =
    [("first", Select::First), ("random", Select::Random), ("roundRobin", Select::RoundRobin)];
/// As they are written.
pub const POLICIES: [(&str, Policy); 5] = [
    ("preferIPv4", Policy::PreferIpv4),
    ("preferIPv6", Policy::PreferIpv6),
    ("onlyIPv4", Policy::OnlyIpv4),
    ("onlyIPv6", Policy::OnlyIpv6),
    ("any", Policy::Any),
];

impl Policy {
    /// The addresses to choose one from, and those to fall back on where that one cannot be connected to.
    #[must_use]
    pub fn sort(self, found: &[IpAddr]) -> (Vec<IpAddr>, Vec<IpAddr>) {
        let (four, six): (Vec<IpAddr>, Vec<IpAddr>) = found.iter().partition(|ip| ip.is_ipv4());
        let (wanted, others) = match self {
            Policy::PreferIpv4 => (four, six),
            Policy::PreferIpv6 => (six, four),
            Policy::OnlyIpv4 => (four, Vec::new()),
            Policy::OnlyIpv6 => (six, Vec::new()),
            Policy::Any => (found.to_vec(), Vec::new()),
        };
        if wanted.is_empty() { (others, Vec::new()) } else { (wanted, others) }
    }
}

impl FromStr for Ttl {
    type Err = String;

    fn from_str(text: &str) -> Result<Ttl, String> {
        match text {
            "inf" => Ok(Ttl::Forever),
            "0" => Ok(Ttl::For(Duration::ZERO)),
            // k6: a number without unit is milliseconds.
            text if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => {
                duration(&format!("{text}ms")).map(Ttl::For)
            }
            text => duration(text).map(Ttl::For).map_err(|e| format!("ttl: {e}, or `inf`, or `0`")),
        }
    }
}

impl FromStr for Select {
    type Err = String;

    fn from_str(text: &str) -> Result<Select, String> {
        one_of(text, &SELECTS).map_err(|e| format!("select: {e}"))
    }
}

impl FromStr for Policy {
    type Err = String;

    fn from_str(text: &str) -> Result<Policy, String> {
        one_of(text, &POLICIES).map_err(|e| format!("policy: {e}"))
    }
}

impl FromStr for DnsOptions {
    type Err = String;

    fn from_str(text: &str) -> Result<DnsOptions, String> {
        let mut dns = DnsOptions::default();
        for part in text.split(',') {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            match (name.trim(), value.trim()) {
                ("ttl", value) => dns.ttl = value.parse()?,
                ("select", value) => dns.select = value.parse()?,
                ("policy", value) => dns.policy = value.parse()?,
                (other, _) => {
                    return Err(format!(
                        "`{other}` is none of ttl, select, policy; write for example ttl=1m,select=first"
                    ));
                }
            }
        }
        Ok(dns)
    }
}

impl fmt::Display for DnsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ttl {
            Ttl::Forever => f.write_str("ttl=inf")?,
            Ttl::For(Duration::ZERO) => f.write_str("ttl=0")?,
            Ttl::For(ttl) => write!(f, "ttl={}ms", ttl.as_millis())?,
        }
        let select = SELECTS.iter().find(|(_, select)| *select == self.select).map_or("", |(name, _)| name);
        let policy = POLICIES.iter().find(|(_, policy)| *policy == self.policy).map_or("", |(name, _)| name);
        write!(f, ",select={select},policy={policy}")
    }
}

impl Serialize for DnsOptions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DnsOptions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<DnsOptions, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_k6_writes_it() {
        let dns: DnsOptions = "ttl=1m,select=roundRobin,policy=any".parse().unwrap();
        let expected =
            DnsOptions { ttl: Ttl::For(Duration::from_secs(60)), select: Select::RoundRobin, policy: Policy::Any };
        assert_eq!(dns, expected);
        assert_eq!("policy=preferIPv6".parse::<DnsOptions>().unwrap().ttl, Ttl::For(Duration::from_secs(300)));
        assert_eq!("inf".parse(), Ok(Ttl::Forever));
        assert_eq!("1500".parse(), Ok(Ttl::For(Duration::from_millis(1500))));
        for dns in ["ttl=0,select=first,policy=any", "ttl=inf,select=random,policy=onlyIPv4"] {
            assert_eq!(dns.parse::<DnsOptions>().unwrap().to_string(), dns);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let why = |text: &str| text.parse::<DnsOptions>().unwrap_err();
        assert_eq!(why("select=last"), "select: `last` is none of first, random, roundRobin");
        assert!(why("policy=ipv4").contains("preferIPv4"));
        assert!(why("ttl=soon").starts_with("ttl: "));
        assert!(why("5m").contains("none of ttl, select, policy"));
        assert!(why("").contains("none of ttl"));
    }

    #[test]
    fn an_age_below_the_ttl_is_good() {
        let second = Duration::from_secs(1);
        assert!(Ttl::Forever.covers(second * 1_000_000));
        assert!(Ttl::For(second).covers(second / 2));
        assert!(!Ttl::For(second).covers(second));
        assert!(!Ttl::For(Duration::ZERO).covers(Duration::ZERO));
    }

    #[test]
    fn a_policy_sorts_the_families() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let (a, b, c) = (ip("::1"), ip("10.0.0.1"), ip("10.0.0.2"));
        let all = [a, b, c];
        assert_eq!(Policy::PreferIpv4.sort(&all), (vec![b, c], vec![a]));
        assert_eq!(Policy::PreferIpv6.sort(&all), (vec![a], vec![b, c]));
        assert_eq!(Policy::OnlyIpv4.sort(&all), (vec![b, c], vec![]));
        assert_eq!(Policy::OnlyIpv6.sort(&all), (vec![a], vec![]));
        assert_eq!(Policy::Any.sort(&all), (vec![a, b, c], vec![]));
        assert_eq!(Policy::PreferIpv6.sort(&[b]), (vec![b], vec![]));
        assert_eq!(Policy::OnlyIpv6.sort(&[b]), (vec![], vec![]));
    }
}
