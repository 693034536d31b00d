//! Steps as they are written: what a VU does, request by request.
//!
//! ```toml
//! [[steps.browse]]                        # exec = "browse" runs this list, from top to bottom, in each iteration
//! name = "list"                           # in the figures; unique in the list
//! get = "/stocks/"                        # or head, post, put, patch, delete, options. Below the content item;
//!                                         # "server:/__api__/…" below the Connect server; or a URL of the same origin
//! query = { limit = 10 }
//! headers = { accept = "application/json" }
//! auth = true                             # send the key; without it, only where the content item needs it
//! timeout = "10s"
//! redirects = 10                          # followed within the origin, each counted as a request of this step
//! expect = { status = [200, "3xx"], contentType = "application/json", bodyContains = "AAPL" }
//! checks = [{ name = "has tickers", json = "$.tickers[0]", equals = "AAPL" }]   # a rate; fails nothing
//! extract = { ticker = { json = "$.tickers[*]", pick = "random" } }             # `${ticker}` in later steps
//! think = { min = "1s", max = "3s" }      # pause after the step
//! ```
//!
//! A step with `websocket = "/path"` is a session instead of a request, one with `publish` or `provision` does what a
//! publisher does: [`socket`] and [`connect`] have their forms.
//!
//! Bodies: `json`, `form`, `body` (text), `file`, `multipart`. Variables: what was extracted, `${data.column}` of
//! `[data.NAME]`, `${env.NAME}`, `${vu}` (from 1 within the scenario) and `${iteration}` (from 0).

pub mod connect;
mod read;
mod response;
pub(super) mod schema;
pub mod socket;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::data::{DataSet, Order};
use super::template::Template;
pub use connect::{ConnectStep, ItemLasts};
pub use read::ListUse;
pub(super) use read::read;
pub use socket::{SocketAction, SocketMessage, SocketScript};

/// Names that `exec` gives without a list.
pub const BUILT_IN: [&str; 2] = ["fetch", "publish"];
/// Most redirects that one step may follow.
pub const MOST_REDIRECTS: u64 = 50;

/// What a file says about steps, with the files that it names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StepFile {
    /// Step lists by name.
    pub lists: BTreeMap<String, Vec<Step>>,
    /// Data by name.
    pub data: BTreeMap<String, Data>,
    /// Contents of the files that are sent, by the name under which steps have them: read once, never copied.
    pub files: BTreeMap<String, Bytes>,
}

/// A data file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Data {
    /// As it is written.
    pub file: String,
    /// Which row an iteration takes.
    pub order: Order,
    /// Its rows.
    pub set: Arc<DataSet>,
}

/// One step: a request, what its response is to be, and a pause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Its name in the figures, unique in its list.
    pub name: String,
    /// Method, in upper case.
    pub method: String,
    /// Path below the content item, `server:/…`, or URL.
    pub url: Template,
    /// What is appended to the URL's query.
    pub query: Vec<(String, Template)>,
    /// Headers beside those of every request.
    pub headers: Vec<(String, Template)>,
    /// What is sent.
    pub body: Body,
    /// Time-out of one request; without it that of the run.
    #[serde(with = "maybe_seconds")]
    pub timeout: Option<Duration>,
    /// How many redirects are followed.
    pub redirects: u32,
    /// Whether the key goes with it; without it, where the content item needs it.
    pub auth: Option<bool>,
    /// What fails the request.
    pub expect: Expected,
    /// What is counted, and fails nothing.
    pub checks: Vec<Check>,
    /// Variables that later steps use.
    pub extract: Vec<Extract>,
    /// The pause afterwards.
    pub think: Option<Think>,
    /// k6's group, `a::b`: stands beside the step's figures.
    pub group: Option<String>,
    /// Stand beside the step's figures.
    pub tags: BTreeMap<String, String>,
    /// What is done in the WebSocket session that the request opens; without it the request is all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub websocket: Option<SocketScript>,
    /// What is published in the place of a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<ConnectStep>,
}

impl Step {
    /// The variables that it gives to later steps.
    pub fn variables(&self) -> impl Iterator<Item = &String> {
        let heard = self.websocket.iter().flat_map(SocketScript::extracts);
        let made = self.connect.iter().filter_map(|connect| connect.item.as_ref());
        self.extract.iter().chain(heard).map(|extract| &extract.variable).chain(made)
    }

    /// The names of its series: its own, or those of the requests of a publish.
    #[must_use]
    pub fn series(&self) -> Vec<String> {
        match self.connect {
            None => vec![self.name.clone()],
            Some(_) => connect::PARTS.iter().map(|part| format!("{}/{part}", self.name)).collect(),
        }
    }

    /// What it can be selected by: its tags, and `group`.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        let tags = self.tags.iter().map(|(name, tag)| (name.as_str(), tag.as_str()));
        tags.chain(self.group.as_deref().map(|group| ("group", group)))
    }
}

/// What a request sends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// Nothing.
    #[default]
    None,
    /// JSON; its texts may have variables.
    Json(serde_json::Value),
    /// `application/x-www-form-urlencoded`.
    Form(Vec<(String, Template)>),
    /// Text.
    Text(Template),
    /// A file, as it is.
    File(String),
    /// `multipart/form-data`.
    Multipart(Vec<Field>),
}

/// A field of a multipart body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub content: FieldContent,
    /// Name of the file that the server is told.
    pub filename: Option<String>,
    /// Media type that the server is told.
    pub content_type: Option<String>,
}

/// What a field of a multipart body holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldContent {
    /// Text.
    Value(Template),
    /// A file.
    File(String),
}

/// What a response must be, or the request has failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Accepted statuses; empty means 200..=399, as in k6.
    pub status: Vec<u16>,
    /// Text that the body must contain.
    pub body_contains: Option<Template>,
    /// Media type, without parameters.
    pub content_type: Option<String>,
}

/// Something that is counted as a share of the responses (k6's check).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// Its name in the figures.
    pub name: String,
    /// What is looked at.
    pub subject: Subject,
}

/// What a check looks at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// The status is one of these.
    Status(Vec<u16>),
    /// A header.
    Header(String, Test),
    /// The first value that a JSON path finds in the body.
    Json(String, Test),
    /// The whole body as text.
    Body(Test),
    /// The body is shorter than so many bytes.
    SizeBelow(u64),
    /// `http_req_duration` is below this.
    #[serde(with = "seconds")]
    DurationBelow(Duration),
}

/// What something is held against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// Whether it is there at all.
    Exists(bool),
    /// A value; a text may have variables.
    Equals(serde_json::Value),
    /// Text that is in it.
    Contains(Template),
    /// A regular expression.
    Matches(String),
    /// It is a number above this.
    Above(serde_json::Number),
    /// It is a number below this.
    Below(serde_json::Number),
}

/// A variable that is taken from a response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extract {
    /// The variable.
    pub variable: String,
    /// Where it is.
    pub source: Source,
    /// Of several values any, from the run's seed, instead of the first.
    pub random: bool,
    /// Its value where there is none; without it the iteration fails.
    pub default: Option<String>,
}

/// Where a variable comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A JSON path into the body.
    Json(String),
    /// A header.
    Header(String),
    /// A cookie that the response, or a redirect before it, has set.
    Cookie(String),
    /// A regular expression on the body: its first group, or the whole match.
    Regex(String),
}

/// A pause: a fixed one, or evenly distributed between two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Think {
    /// The shortest.
    #[serde(with = "seconds")]
    pub min: Duration,
    /// The longest.
    #[serde(with = "seconds")]
    pub max: Duration,
}

/// Seconds as a number. The plan has the same; a scenario does not know the plan.
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(duration.as_secs_f64())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        Duration::try_from_secs_f64(f64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

mod maybe_seconds {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        duration.map(|d| d.as_secs_f64()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let seconds = Option::<f64>::deserialize(deserializer)?;
        seconds.map(Duration::try_from_secs_f64).transpose().map_err(serde::de::Error::custom)
    }
}
