//! Safety rails: how much load a server that is not this machine gets at most, what makes a server look like one that
//! people work on, and when a run has to hold back or stop. Pure: seconds in, decisions out.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::units::{duration, nearest};

mod watch;

pub use watch::{Action, Watch};

/// The most that a run may do. Where it is more, the run is refused before it begins, or stopped when it gets there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Caps {
    /// VUs of all scenarios together.
    pub vus: u64,
    /// Requests per second.
    pub rate: u64,
    /// Length of the run, its warm-up included.
    pub duration: Duration,
    /// Bytes sent and received.
    pub bytes: u64,
    /// Publishes: bundles that are uploaded and deployed, into however many content items.
    pub items: u64,
}

impl Caps {
    /// None, for this machine.
    pub const NONE: Caps =
        Caps { vus: u64::MAX, rate: u64::MAX, duration: Duration::MAX, bytes: u64::MAX, items: u64::MAX };
    /// Where nothing else is said: five times what Posit documents of VUs, seven times of requests.
    pub const DEFAULT: Caps = Caps {
        vus: 2_200,
        rate: 20_000,
        duration: Duration::from_secs(4 * 3600),
        bytes: 1_000_000_000_000,
        items: 10_000,
    };

    /// Those that there are, as `--cap` takes them.
    #[must_use]
    pub fn list(&self) -> Vec<String> {
        let numbers = [("vus", self.vus), ("rate", self.rate), ("bytes", self.bytes), ("items", self.items)];
        let set = numbers.into_iter().filter(|(_, n)| *n < u64::MAX).map(|(name, n)| format!("{name}={n}"));
        let length = (self.duration < Duration::MAX).then(|| format!("duration={}s", self.duration.as_secs()));
        set.chain(length).collect()
    }

    /// Refuses what is known to be too much before it begins.
    ///
    /// # Errors
    /// Which cap, what was asked for, and how to raise it.
    pub fn check(&self, asked: &Asked) -> Result<(), String> {
        let over = |what: &str, cap: &str, asked: u64, most: u64, unit: &str| {
            Err(format!("{asked} {what}, and the cap is {most}; --cap {cap}={asked}{unit} raises it"))
        };
        if asked.vus > self.vus {
            return over("VUs", "vus", asked.vus, self.vus, "");
        }
        if asked.duration > self.duration {
            return over("s", "duration", asked.duration.as_secs(), self.duration.as_secs(), "s");
        }
        match asked.rate {
            Some(rate) if rate > self.rate => over("iterations per second", "rate", rate, self.rate, ""),
            _ => Ok(()),
        }
    }
}

/// What a run is going to do, as far as that is known before it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Asked {
    /// VUs of all scenarios together.
    pub vus: u64,
    /// Its length.
    pub duration: Duration,
    /// Iterations per second, of open models.
    pub rate: Option<u64>,
}

/// What `--cap` says: `vus=500,rate=2000,duration=1h,bytes=50GB,items=20`; the others stay.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CapList(BTreeMap<&'static str, u64>);

const NAMES: [&str; 5] = ["vus", "rate", "duration", "bytes", "items"];

impl CapList {
    /// Adds what another list says, which goes before what this one says.
    pub fn extend(&mut self, other: &CapList) {
        self.0.extend(&other.0);
    }

    /// These caps instead of `before`.
    #[must_use]
    pub fn over(&self, before: Caps) -> Caps {
        let of = |name: &str, before: u64| self.0.get(name).copied().unwrap_or(before);
        Caps {
            vus: of("vus", before.vus),
            rate: of("rate", before.rate),
            duration: self.0.get("duration").map_or(before.duration, |s| Duration::from_secs(*s)),
            bytes: of("bytes", before.bytes),
            items: of("items", before.items),
        }
    }
}

impl FromStr for CapList {
    type Err = String;

    fn from_str(text: &str) -> Result<CapList, String> {
        let mut caps = BTreeMap::new();
        for part in text.split(',') {
            let form = "a cap is NAME=VALUE, for example vus=500 or bytes=50GB";
            let (name, value) = part.trim().split_once('=').ok_or(form)?;
            let known = NAMES.into_iter().find(|known| *known == name).ok_or_else(|| {
                let near = nearest(name, NAMES).map_or_else(String::new, |near| format!("; did you mean {near}?"));
                format!("there is no cap `{name}`{near} (there are {})", NAMES.join(", "))
            })?;
            let value = match known {
                "duration" => duration(value)?.as_secs(),
                "bytes" => bytes(value)?,
                _ => value.parse().map_err(|_e| format!("`{value}` is no number of {name}"))?,
            };
            caps.insert(known, value);
        }
        Ok(CapList(caps))
    }
}

fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim() {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => 0,
    };
    let bytes = number.parse::<u64>().ok().filter(|_| factor > 0).and_then(|n| n.checked_mul(factor));
    bytes.ok_or_else(|| format!("`{text}` is no number of bytes: write for example 500MB, 50GB"))
}

/// Content items of other people from which on a server has many.
const MANY_ITEMS: u64 = 100;

/// What is known of a server that is to be loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Its name.
    pub host: String,
    /// Content items on it that the key can see and that this program did not make; `None` where it does not say.
    pub items: Option<u64>,
    /// Visits of people in the last hour; `None` where it does not say.
    pub visits: Option<u64>,
}

impl Standing {
    /// Why people seem to work on it; empty where nothing says so.
    #[must_use]
    pub fn signs(&self) -> Vec<String> {
        let mut signs = Vec::new();
        let host = self.host.to_ascii_lowercase();
        let is_word = |word: &str| word.starts_with("prod") && !word.starts_with("product-test");
        if host.split(|c: char| !c.is_ascii_alphanumeric()).any(is_word) {
            signs.push("its name says that it is a production server".to_owned());
        }
        match self.visits {
            None | Some(0) => {}
            Some(1) => signs.push("it had a visit in the last hour".to_owned()),
            Some(n) => signs.push(format!("it had {n} visits in the last hour")),
        }
        if let Some(n) = self.items.filter(|n| *n >= MANY_ITEMS) {
            signs.push(format!("it has {n} content items of other people or programs"));
        }
        signs
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "people seem to work on {}: {}", self.host, self.signs().join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caps_as_typed() {
        let caps: CapList = "vus=500,rate=2000, duration=1h,bytes=50GB,items=20".parse().unwrap();
        let hour = Duration::from_secs(3600);
        let expected = Caps { vus: 500, rate: 2000, duration: hour, bytes: 50_000_000_000, items: 20 };
        assert_eq!(caps.over(Caps::DEFAULT), expected);
        let mut both: CapList = "vus=1,items=2".parse().unwrap();
        both.extend(&"vus=3".parse().unwrap());
        assert_eq!((both.over(Caps::NONE).vus, both.over(Caps::NONE).items), (3, 2));
        for (bad, why) in
            [("vus", "NAME=VALUE"), ("vuss=1", "did you mean vus?"), ("bytes=5XB", "50GB"), ("vus=x", "no number")]
        {
            assert!(bad.parse::<CapList>().unwrap_err().contains(why), "{bad}");
        }
    }

    #[test]
    fn what_is_too_much_is_refused_before_it_begins() {
        let asked = Asked { vus: 400, duration: Duration::from_secs(1800), rate: Some(3000) };
        assert_eq!(Caps::DEFAULT.check(&asked), Ok(()));
        assert_eq!(Caps::NONE.check(&Asked { vus: u64::MAX, ..asked }), Ok(()));
        let caps = |text: &str| text.parse::<CapList>().unwrap().over(Caps::DEFAULT);
        for (cap, raise) in
            [("vus=399", "--cap vus=400"), ("duration=29m", "--cap duration=1800s"), ("rate=2999", "--cap rate=3000")]
        {
            assert!(caps(cap).check(&asked).unwrap_err().contains(raise), "{cap}");
        }
    }

    #[test]
    fn signs_of_people() {
        let of = |host: &str| Standing { host: host.to_owned(), ..Standing::default() };
        for quiet in ["connect.example.com", "reproduce.example.com", "staging.example.com", "192.0.2.1"] {
            assert!(of(quiet).signs().is_empty(), "{quiet}");
        }
        for busy in ["prod.example.com", "connect-prod.example.com", "CONNECT.Production.example.com", "prod1.x"] {
            assert_eq!(of(busy).signs().len(), 1, "{busy}");
        }
        let busy = Standing { items: Some(100), visits: Some(3), ..of("connect.example.com") };
        assert_eq!(busy.signs().len(), 2);
        assert!(busy.to_string().contains("3 visits in the last hour; it has 100 content items"), "{busy}");
        assert!(Standing { items: Some(99), visits: Some(0), ..of("c") }.signs().is_empty());
    }
}
