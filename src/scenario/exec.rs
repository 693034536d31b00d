//! `exec`: what a VU does.

use std::fmt;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::steps::BUILT_IN;

/// What a VU does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Exec {
    /// Fetches the content item again and again.
    #[default]
    Fetch,
    /// Publishes again and again.
    Publish,
    /// In each iteration one of these lists of steps, chosen by its weight.
    Steps(Vec<(String, u32)>),
}

impl Exec {
    /// The lists of steps and their weights; none where it is built in.
    #[must_use]
    pub fn lists(&self) -> &[(String, u32)] {
        match self {
            Exec::Steps(lists) => lists,
            _ => &[],
        }
    }
}

impl<'de> Deserialize<'de> for Exec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Exec, D::Error> {
        deserializer.deserialize_any(ExecVisitor)
    }
}

struct ExecVisitor;

impl<'de> Visitor<'de> for ExecVisitor {
    type Value = Exec;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "\"fetch\", \"publish\", the name of a list of steps, or weights of such lists ({ browse = 3, one = 1 })",
        )
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Exec, E> {
        Ok(match name {
            "fetch" => Exec::Fetch,
            "publish" => Exec::Publish,
            list => Exec::Steps(vec![(list.to_owned(), 1)]),
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Exec, A::Error> {
        let mut lists = Vec::new();
        while let Some((name, weight)) = map.next_entry::<String, u32>()? {
            if BUILT_IN.contains(&name.as_str()) {
                return Err(A::Error::custom(format!(
                    "`{name}` has no weight: only lists of steps do; give it a scenario of its own"
                )));
            }
            if !(1..=1_000_000).contains(&weight) {
                return Err(A::Error::custom(format!("the weight of `{name}` is from 1 to 1000000")));
            }
            lists.push((name, weight));
        }
        if lists.is_empty() { Err(A::Error::custom("no list of steps has a weight")) } else { Ok(Exec::Steps(lists)) }
    }
}
