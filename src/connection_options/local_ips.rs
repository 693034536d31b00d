//! k6's `--local-ips`: the addresses of this machine that connections come from.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Addresses from the first to the last, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    first: IpAddr,
    last: IpAddr,
}

/// Addresses of this machine. Written `10.0.0.5,10.0.0.10-10.0.0.20,10.0.1.0/24`.
///
/// Of a block of IPv4 with four addresses or more, the network's and the broadcast address are left out: nothing can
/// come from them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalIps(Vec<Range>);

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

impl Range {
    /// One less than how many there are, which fits.
    fn steps(self) -> u128 {
        number(self.last) - number(self.first)
    }

    fn at(self, steps: u128) -> IpAddr {
        match self.first {
            IpAddr::V4(first) => Ipv4Addr::from_bits(first.to_bits() + u32::try_from(steps).unwrap_or(0)).into(),
            IpAddr::V6(first) => Ipv6Addr::from_bits(first.to_bits() + steps).into(),
        }
    }
}

impl LocalIps {
    /// Whether none are given: then the system chooses.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u128 {
        self.0.iter().fold(0, |sum: u128, range| sum.saturating_add(range.steps()).saturating_add(1))
    }

    /// The address of VU number `vu` (from 0): one after the other, and round again.
    #[must_use]
    pub fn of(&self, vu: u32) -> Option<IpAddr> {
        let mut at = u128::from(vu).checked_rem(self.count())?;
        for range in &self.0 {
            if at <= range.steps() {
                return Some(range.at(at));
            }
            at -= range.steps() + 1;
        }
        None
    }
}

fn ip(text: &str) -> Result<IpAddr, String> {
    let text = text.trim();
    text.parse()
        .map_err(|_e| format!("`{text}` is no address: write for example 10.0.0.5, 10.0.0.5-10.0.0.9 or 10.0.0.0/24"))
}

fn block(network: &str, length: &str) -> Result<Range, String> {
    let network = ip(network)?;
    let bits = if network.is_ipv4() { 32 } else { 128 };
    let length: u32 = length
        .trim()
        .parse()
        .ok()
        .filter(|length| *length <= bits)
        .ok_or_else(|| format!("`/{}` is no length of a network: from 0 to {bits}", length.trim()))?;
    let host = if length == 0 && bits == 128 { u128::MAX } else { (1_u128 << (bits - length)) - 1 };
    let (first, last) = (number(network) & !host, number(network) | host);
    Ok(match network {
        IpAddr::V4(_) => {
            let cut = u128::from(bits - length >= 2);
            let four = |number: u128| IpAddr::from(Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX)));
            Range { first: four(first + cut), last: four(last - cut) }
        }
        IpAddr::V6(_) => Range { first: Ipv6Addr::from_bits(first).into(), last: Ipv6Addr::from_bits(last).into() },
    })
}

fn range(text: &str) -> Result<Range, String> {
    if let Some((network, length)) = text.split_once('/') {
        return block(network, length);
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (ip(first)?, ip(last)?);
    if first.is_ipv4() != last.is_ipv4() || first > last {
        return Err(format!("`{}` goes from no address to a later one", text.trim()));
    }
    Ok(Range { first, last })
}

impl FromStr for LocalIps {
    type Err = String;

    fn from_str(text: &str) -> Result<LocalIps, String> {
        text.split(',').map(range).collect::<Result<_, _>>().map(LocalIps)
    }
}

impl fmt::Display for LocalIps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, range) in self.0.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { "," })?;
            write!(f, "{}", range.first)?;
            if range.first != range.last {
                write!(f, "-{}", range.last)?;
            }
        }
        Ok(())
    }
}

impl Serialize for LocalIps {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LocalIps {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<LocalIps, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn first(text: &str, vus: u32) -> Vec<String> {
        let ips: LocalIps = text.parse().unwrap();
        (0..vus).map(|vu| ips.of(vu).unwrap().to_string()).collect()
    }

    #[test]
    fn vus_take_them_in_turn() {
        let expected = ["10.0.0.1", "10.0.0.9", "10.0.0.10", "10.0.0.11", "::1", "10.0.0.1", "10.0.0.9"];
        assert_eq!(first("10.0.0.1, 10.0.0.9-10.0.0.11,::1", 7), expected);
        assert_eq!(LocalIps::default().of(3), None);
    }

    #[test]
    fn a_block_is_without_its_edges() {
        assert_eq!(first("192.168.1.77/30", 3), ["192.168.1.77", "192.168.1.78", "192.168.1.77"]);
        assert_eq!(first("10.0.0.0/31", 2), ["10.0.0.0", "10.0.0.1"]);
        assert_eq!(first("10.0.0.7/32", 2), ["10.0.0.7", "10.0.0.7"]);
        assert_eq!(first("fd00::/126", 5), ["fd00::", "fd00::1", "fd00::2", "fd00::3", "fd00::"]);
        assert_eq!("0.0.0.0/0".parse::<LocalIps>().unwrap().count(), (1 << 32) - 2);
        assert_eq!("::/0".parse::<LocalIps>().unwrap().count(), u128::MAX);
        assert_eq!(first("::/0,10.0.0.1", 1), ["::"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let why = |text: &str| text.parse::<LocalIps>().unwrap_err();
        assert!(why("eth0").contains("`eth0` is no address"));
        assert!(why("").contains("no address"));
        assert!(why("10.0.0.9-10.0.0.1").contains("no address to a later one"));
        assert!(why("10.0.0.9-::1").contains("no address to a later one"));
        assert!(why("10.0.0.0/33").contains("from 0 to 32"));
        assert!(why("::/129").contains("from 0 to 128"));
    }

    proptest! {
        #[test]
        fn each_address_has_its_turn_and_reads_back(a in any::<u32>(), b in any::<u32>(), length in 0_u32..=32, vu in any::<u32>()) {
            let (a, b) = (a.min(b), a.max(b));
            let text = format!("{}-{},{}/{length}", Ipv4Addr::from_bits(a), Ipv4Addr::from_bits(b), Ipv4Addr::from_bits(a));
            let ips: LocalIps = text.parse().unwrap();
            prop_assert!(ips.of(vu).is_some());
            prop_assert_eq!(ips.of(0), Some(Ipv4Addr::from_bits(a).into()));
            prop_assert_eq!(ips.to_string().parse::<LocalIps>().unwrap(), ips);
        }
    }
}
