//! Codings of bodies that we can ask for and undo.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::one_of;

/// A coding of a body (RFC 9110 §8.4.1, RFC 7932, RFC 8878).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// gzip.
    Gzip,
    /// zlib, which HTTP calls deflate.
    Deflate,
    /// Brotli.
    Br,
    /// Zstandard.
    Zstd,
}

const CODINGS: [(&str, Coding); 4] =
    [("gzip", Coding::Gzip), ("deflate", Coding::Deflate), ("br", Coding::Br), ("zstd", Coding::Zstd)];

impl Coding {
    /// The coding that `Content-Encoding` names; `None` where it names none, several, or one that we cannot undo.
    #[must_use]
    pub fn of(content_encoding: &[u8]) -> Option<Coding> {
        let name = content_encoding.trim_ascii();
        let name = if name.eq_ignore_ascii_case(b"x-gzip") { &b"gzip"[..] } else { name };
        CODINGS.iter().find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name)).map(|(_, coding)| *coding)
    }

    fn name(self) -> &'static str {
        CODINGS.iter().find(|(_, coding)| *coding == self).map_or("", |(name, _)| name)
    }
}

/// What `Accept-Encoding` asks for, in this order. Written `gzip,br`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Codings(Vec<Coding>);

impl Codings {
    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for Codings {
    type Err = String;

    fn from_str(text: &str) -> Result<Codings, String> {
        let mut codings = Vec::new();
        for name in text.split(',') {
            let coding = one_of(name.trim(), &CODINGS)?;
            if !codings.contains(&coding) {
                codings.push(coding);
            }
        }
        Ok(Codings(codings))
    }
}

/// As in a header: `gzip, br`.
impl fmt::Display for Codings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.iter().map(|coding| coding.name()).collect();
        f.write_str(&names.join(", "))
    }
}

impl Serialize for Codings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Codings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Codings, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_keeps_its_order() {
        let codings: Codings = "br, GZIP,br".parse().unwrap();
        assert_eq!(codings.to_string(), "br, gzip");
        assert_eq!("lzma".parse::<Codings>().unwrap_err(), "`lzma` is none of gzip, deflate, br, zstd");
        assert!("".parse::<Codings>().is_err());
    }

    #[test]
    fn what_a_response_says() {
        assert_eq!(Coding::of(b" GZip "), Some(Coding::Gzip));
        assert_eq!(Coding::of(b"x-gzip"), Some(Coding::Gzip));
        assert_eq!(Coding::of(b"zstd"), Some(Coding::Zstd));
        for other in [&b"identity"[..], b"", b"gzip, br", b"compress"] {
            assert_eq!(Coding::of(other), None);
        }
    }
}
