//! What the sandbox does wrong when it is told to.

use std::str::FromStr;
use std::time::Duration;

/// Faults by flag; the default is none.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Faults {
    /// Share of content requests that are answered 500 or 503, 0 to 1.
    pub error_rate: f64,
    /// A node answers nothing for a while, again and again, the nodes in turn.
    pub stall: Option<Stall>,
    /// Nodes that go away and come back.
    pub restarts: Vec<Restart>,
    /// The licence has expired: `/__ping__` answers 402 and nothing can be deployed.
    pub license_expired: bool,
    /// The API answers pages of HTML, as a proxy in front of it would.
    pub html: bool,
}

/// `EVERY,FOR`: a stall of that length, each time that much has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stall {
    /// From the start of one stall to the start of the next.
    pub every: Duration,
    /// How long nothing is answered.
    pub lasts: Duration,
}

/// `NODE@T[,DOWN]`: a node, counted from 1, goes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restart {
    /// Index of the node, from 0.
    pub node: usize,
    /// When, after the start.
    pub at: Duration,
    /// How long it stays away.
    pub down: Duration,
}

/// How long a node is away unless the fault says so.
const DEFAULT_DOWN: Duration = Duration::from_secs(5);

impl FromStr for Stall {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (every, lasts) = text.split_once(',').ok_or("a stall is EVERY,FOR, for example 60s,1s")?;
        let stall = Self { every: parse_duration(every)?, lasts: parse_duration(lasts)? };
        if stall.lasts.is_zero() || stall.lasts >= stall.every {
            return Err(format!("a stall of {lasts} every {every} leaves no time to answer"));
        }
        Ok(stall)
    }
}

impl FromStr for Restart {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let syntax = "a restart is NODE@T[,DOWN], for example 1@60s,5s";
        let (node, when) = text.split_once('@').ok_or(syntax)?;
        let node: usize = node.trim().parse().ok().filter(|&n| n >= 1).ok_or(syntax)?;
        let (at, down) = match when.split_once(',') {
            None => (parse_duration(when)?, DEFAULT_DOWN),
            Some((at, down)) => (parse_duration(at)?, parse_duration(down)?),
        };
        Ok(Self { node: node - 1, at, down })
    }
}

/// A length of time as typed: `200ms`, `1.5s`, `2m`, `1h`, or a bare number of seconds.
///
/// # Errors
/// When it is none of these, or longer than a year.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit_s = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("`{text}`: the unit is us, ms, s, m or h")),
    };
    let seconds = number.trim().parse::<f64>().ok().filter(|s| s.is_finite() && *s >= 0.0).map(|s| s * unit_s);
    seconds
        .filter(|&s| s <= 366.0 * 86_400.0)
        .map(Duration::from_secs_f64)
        .ok_or_else(|| format!("`{text}` is not a length of time such as 200ms or 1.5s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_typed() {
        for (text, ms) in [("200ms", 200), ("1.5s", 1500), ("2", 2000), ("2m", 120_000), (" 1 h", 3_600_000), ("0", 0)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for bad in ["", "s", "-1s", "1d", "1 second", "nan", "1e99h"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn faults_as_typed() {
        let second = Duration::from_secs(1);
        assert_eq!("60s,1s".parse(), Ok(Stall { every: 60 * second, lasts: second }));
        assert_eq!("2@10".parse(), Ok(Restart { node: 1, at: 10 * second, down: DEFAULT_DOWN }));
        assert_eq!("1@10,500ms".parse(), Ok(Restart { node: 0, at: 10 * second, down: second / 2 }));
        for bad in ["60s", "1s,1s", "1s,0s", "x,y"] {
            assert!(bad.parse::<Stall>().is_err(), "{bad}");
        }
        for bad in ["10s", "0@10s", "x@10s", "1@", "1@1s,2x"] {
            assert!(bad.parse::<Restart>().is_err(), "{bad}");
        }
    }
}
