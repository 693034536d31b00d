//! What a link does to what passes it, as people write it: `delay 50ms jitter 10ms`, `bandwidth 1MB`, `reset-after 64KB`,
//! `blackhole`, `refuse`, `clear`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::units;

/// What becomes of connections and of what passes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Passage {
    /// It passes.
    #[default]
    Open,
    /// Nothing arrives, and nobody is told: what was sent waits until the link is there again.
    Blackhole,
    /// Connections are refused, and those that there are are reset.
    Refuse,
}

/// All that is wrong with a link. The default is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults {
    /// Whether anything passes.
    pub passage: Passage,
    /// How much later everything arrives, in each direction; connecting takes as long, too.
    pub delay: Duration,
    /// The delay is spread evenly by up to this, to both sides. Never more than the delay.
    pub jitter: Duration,
    /// Bytes per second in each direction, all connections together; `None`: as many as there are.
    pub bandwidth: Option<u64>,
    /// A connection is reset when so many bytes have passed it, both directions together.
    pub reset_after: Option<u64>,
}

const SYNTAX: &str = "a link's faults are words such as `delay 50ms jitter 10ms`, `bandwidth 1MB` (per second), \
                      `reset-after 64KB`, `blackhole`, `refuse`, or `clear`";

impl FromStr for Faults {
    type Err = String;

    fn from_str(text: &str) -> Result<Faults, String> {
        let mut faults = Faults::default();
        let mut words = text.split_whitespace();
        let mut any = false;
        while let Some(word) = words.next() {
            any = true;
            let mut value = || words.next().ok_or_else(|| format!("`{word}` of what? {SYNTAX}"));
            match word {
                "clear" => faults = Faults::default(),
                "blackhole" => faults.passage = Passage::Blackhole,
                "refuse" => faults.passage = Passage::Refuse,
                "delay" => faults.delay = units::duration(value()?)?,
                "jitter" => faults.jitter = units::duration(value()?)?,
                "bandwidth" => faults.bandwidth = Some(at_least_1(bytes(value()?)?)?),
                "reset-after" => faults.reset_after = Some(bytes(value()?)?),
                _ => return Err(format!("`{word}`: {SYNTAX}")),
            }
        }
        if !any {
            return Err(SYNTAX.to_owned());
        }
        if faults.jitter > faults.delay {
            return Err("the jitter cannot be more than the delay: nothing arrives before it is sent".to_owned());
        }
        Ok(faults)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |duration: Duration| format!("{}ms", duration.as_millis());
        let words = [
            (self.passage == Passage::Blackhole).then(|| "blackhole".to_owned()),
            (self.passage == Passage::Refuse).then(|| "refuse".to_owned()),
            (!self.delay.is_zero()).then(|| format!("delay {}", ms(self.delay))),
            (!self.jitter.is_zero()).then(|| format!("jitter {}", ms(self.jitter))),
            self.bandwidth.map(|bytes| format!("bandwidth {bytes}")),
            self.reset_after.map(|bytes| format!("reset-after {bytes}")),
        ];
        let words: Vec<String> = words.into_iter().flatten().collect();
        f.write_str(if words.is_empty() { "clear".to_owned() } else { words.join(" ") }.as_str())
    }
}

/// A number of bytes: `500`, `64KB`, `1.5MB`, `1GB`, and the same with `/s`; powers of ten.
fn bytes(text: &str) -> Result<u64, String> {
    let plain = text.strip_suffix("/s").unwrap_or(text);
    let digits = plain.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(plain.len());
    let (number, unit) = plain.split_at(digits);
    let factor = match unit {
        "" | "B" => 1.0,
        "kB" | "KB" | "k" => 1e3,
        "MB" | "M" => 1e6,
        "GB" | "G" => 1e9,
        _ => return Err(format!("`{text}`: write bytes as 500, 64KB, 1.5MB")),
    };
    let number: f64 = number.parse().map_err(|_e| format!("`{text}`: write bytes as 500, 64KB, 1.5MB"))?;
    Ok((number * factor).round() as u64)
}

fn at_least_1(bytes: u64) -> Result<u64, String> {
    if bytes == 0 { Err("a bandwidth of 0 is `blackhole`".to_owned()) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_as_people_write_them() {
        let slow: Faults = "delay 50ms jitter 10ms bandwidth 1.5MB/s reset-after 64KB".parse().unwrap();
        let ms = Duration::from_millis;
        let expected = Faults {
            passage: Passage::Open,
            delay: ms(50),
            jitter: ms(10),
            bandwidth: Some(1_500_000),
            reset_after: Some(64_000),
        };
        assert_eq!(slow, expected);
        assert_eq!(slow.to_string().parse(), Ok(slow));
        assert_eq!("clear".parse(), Ok(Faults::default()));
        assert_eq!(Faults::default().to_string(), "clear");
        assert_eq!("blackhole".parse::<Faults>().unwrap().passage, Passage::Blackhole);
        for bad in ["", "slow", "delay", "delay 50", "jitter 5ms", "bandwidth 0", "bandwidth x", "reset-after 1XB"] {
            assert!(bad.parse::<Faults>().is_err(), "{bad}");
        }
    }
}
