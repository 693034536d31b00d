//! How people write values: on the command line and in scenario files.

use std::net::SocketAddr;
use std::time::Duration;

/// Reads a duration with its unit: `300ms`, `1.5s`, `30m`, `1h30m`, `2d`.
///
/// # Errors
/// A sentence for people where it is none, or longer than a year.
pub fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err(format!("which unit? `{text}s` for seconds, `{text}m` for minutes"));
    }
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let number: f64 = number.parse().map_err(|_e| unreadable(text))?;
        seconds += number * unit_seconds(unit).ok_or_else(|| unreadable(text))?;
        rest = tail;
    }
    if text.is_empty() || seconds > 31_536_000.0 {
        return Err(unreadable(text));
    }
    Duration::try_from_secs_f64(seconds).map_err(|_e| unreadable(text))
}

fn unit_seconds(unit: &str) -> Option<f64> {
    match unit {
        "ms" => Some(0.001),
        "s" => Some(1.0),
        "m" | "min" => Some(60.0),
        "h" => Some(3600.0),
        "d" => Some(86_400.0),
        _ => None,
    }
}

fn unreadable(text: &str) -> String {
    format!("`{text}` is no duration: write for example 300ms, 1.5s, 30m, 1h30m (a year at most)")
}

/// Reads the address of an endpoint on this machine alone: `127.0.0.1:6565`, `[::1]:0`, `localhost:6565`.
///
/// # Errors
/// A sentence for people where it is none, or where others could reach it.
pub fn loopback(text: &str) -> Result<SocketAddr, String> {
    let local = text.trim().strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    let address: SocketAddr = local.as_deref().unwrap_or(text.trim()).parse().map_err(|_e| {
        format!("`{text}` is no address: write for example 127.0.0.1:6565, or port 0 for any that is free")
    })?;
    if !address.ip().is_loopback() {
        return Err(format!(
            "{} can be reached by others, who could stop the run: use 127.0.0.1 or [::1] (and a tunnel from elsewhere)",
            address.ip()
        ));
    }
    Ok(address)
}

/// A duration in a file: seconds, as a number.
pub mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes seconds.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(duration.as_secs_f64())
    }

    /// Reads seconds.
    ///
    /// # Errors
    /// Where the number is negative or too large.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        Duration::try_from_secs_f64(seconds).map_err(serde::de::Error::custom)
    }
}

/// The known word that is nearest to what was written (by Jaro and Winkler), if any is near enough to be meant.
#[must_use]
pub fn nearest<'k>(written: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let written = written.to_lowercase();
    let scored = known.into_iter().map(|known| (strsim::jaro_winkler(&written, &known.to_lowercase()), known));
    scored.filter(|(score, _)| *score > 0.75).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        let read = |text| duration(text).unwrap().as_millis();
        assert_eq!(read("300ms"), 300);
        assert_eq!(read("1.5s"), 1500);
        assert_eq!(read("30m"), 1_800_000);
        assert_eq!(read("1h30m"), 5_400_000);
        assert_eq!(read("2d"), 172_800_000);
    }

    #[test]
    fn a_number_without_a_unit_is_asked_about() {
        assert!(duration("30").unwrap_err().contains("30m"));
        for wrong in ["", "m", "5x", "1h30", "-3s", "1..5s", "99999999d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_address_is_on_this_machine_alone() {
        for good in ["127.0.0.1:6565", "127.9.9.9:1", "[::1]:0", "localhost:80"] {
            assert!(loopback(good).unwrap().ip().is_loopback(), "{good}");
        }
        for open in ["0.0.0.0:6565", "10.0.0.1:1", "[::]:80", "192.168.1.1:80", "[::ffff:10.0.0.1]:80"] {
            assert!(loopback(open).unwrap_err().contains("reached by others"), "{open}");
        }
        for none in ["", "6565", ":6565", "127.0.0.1", "localhost", "localhost:", "example.com:80", "127.0.0.1:65536"] {
            assert!(loopback(none).unwrap_err().contains("no address"), "{none}");
        }
    }

    #[test]
    fn the_nearest_word_is_near() {
        let known = ["vus", "duration", "startVUs"];
        assert_eq!(nearest("vu", known), Some("vus"));
        assert_eq!(nearest("startvus", known), Some("startVUs"));
        assert_eq!(nearest("durration", known), Some("duration"));
        assert_eq!(nearest("colour", known), None);
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic(text in ".{0,12}") {
            let _ = duration(&text);
        }
    }
}
