//! A threshold as it is written: its expression, or a table with that and more.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::threshold::Limit;
use crate::units;

/// A limit whose metric stands outside it.
#[derive(Debug)]
pub(super) struct WrittenLimit(pub(super) Limit);

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Long {
    threshold: String,
    #[serde(default)]
    abort_on_fail: bool,
    delay_abort_eval: Option<String>,
    window: Option<String>,
    after: Option<String>,
}

struct Either;

impl<'de> Visitor<'de> for Either {
    type Value = WrittenLimit;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an expression such as \"p(95)<500\", or a table with `threshold`")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<WrittenLimit, E> {
        Ok(WrittenLimit(Limit::new("", text)))
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<WrittenLimit, M::Error> {
        let long = Long::deserialize(MapAccessDeserializer::new(map))?;
        let time = |text: Option<String>| {
            text.map(|text| units::duration(&text)).transpose().map_err(serde::de::Error::custom)
        };
        Ok(WrittenLimit(Limit {
            abort_on_fail: long.abort_on_fail,
            delay_abort_eval: time(long.delay_abort_eval)?.unwrap_or_default(),
            window: time(long.window)?,
            after: time(long.after)?.unwrap_or_default(),
            ..Limit::new("", &long.threshold)
        }))
    }
}

impl<'de> Deserialize<'de> for WrittenLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Either)
    }
}
