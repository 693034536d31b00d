//! A WebSocket session as a step: opened, talked in, closed.
//!
//! ```toml
//! [[steps.dashboard]]
//! name = "session"
//! websocket = "/websocket/"               # instead of get; the same URLs, headers, query, auth and timeout (opening,
//!                                         # and each action)
//! protocols = ["chat"]                    # sub-protocols, of which the server must choose one
//! maxMessage = 1048576                    # bytes; a longer message ends the session as failed
//! actions = [
//!   { expect = { contains = "config" }, timeout = "5s", extract = { session = { json = "$.config.sessionId" } } },
//!   { sendJson = { method = "init", data = { ticker = "AAPL", vu = "${vu}" } } },
//!   { expect = { json = "$.values.price", above = 0 } },     # or contains, matches (a regular expression), or "any"
//!   { think = { min = "1s", max = "2s" } },                  # messages that come meanwhile are kept
//!   { send = "text ${session}" },
//!   { sendFile = "update.bin" },                             # a binary message
//!   { close = 1000 },                                        # the last one, if there is one; 1000 without it
//! ]
//! ```
//!
//! Messages that do not meet an expectation are passed over. A session that fails ends its iteration.

use serde::{Deserialize, Serialize};
use std::time::Duration;

use toml::de::DeValue;

use super::super::reader::{Fields, Value, json};
use super::super::template::Template;
use super::response::{extract, test};
use super::{Extract, Source, Subject, Test, Think, maybe_seconds, read};

/// The longest message that is read where a step does not say, in bytes.
const MESSAGE: u64 = 1 << 20;
/// The longest that a step can ask for: each VU may hold two of them.
pub(super) const LONGEST_MESSAGE: u64 = 64 << 20;
/// What a client may close with (RFC 6455 §7.4).
pub(super) const CODES: [std::ops::RangeInclusive<u64>; 3] = [1000..=1003, 1007..=1011, 3000..=4999];
/// Keys of a step that a session has, too.
pub(super) const SHARED: [&str; 12] = [
    "name",
    "websocket",
    "protocols",
    "maxMessage",
    "actions",
    "headers",
    "query",
    "timeout",
    "think",
    "auth",
    "group",
    "tags",
];
pub(super) const ACTIONS: [&str; 6] = ["send", "sendJson", "sendFile", "expect", "think", "close"];
/// What stands beside `expect`,
pub(super) const BESIDE: [&str; 2] = ["timeout", "extract"];
/// and what may stand in it.
pub(super) const EXPECTED: [&str; 7] = ["json", "exists", "equals", "contains", "matches", "above", "below"];
/// Headers that the opening of a session has of itself.
const OF_THE_OPENING: [&str; 6] = [
    "upgrade",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
    "sec-websocket-accept",
];

/// What is done in a session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SocketScript {
    /// Sub-protocols that are offered.
    pub protocols: Vec<String>,
    /// The longest message that is read, in bytes.
    pub max_message: u64,
    /// From the first to the last.
    pub actions: Vec<SocketAction>,
}

/// One thing that is done in a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SocketAction {
    /// Sends a message.
    Send(SocketMessage),
    /// Reads messages until one is as expected.
    Expect(SocketExpect),
    /// Waits on purpose, and goes on reading.
    Think(Think),
    /// Ends the session with this code.
    Close(u16),
}

/// A message that is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SocketMessage {
    /// Text.
    Text(Template),
    /// JSON as text; its texts may have variables.
    Json(serde_json::Value),
    /// A file as a binary message.
    File(String),
}

/// A message that is expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SocketExpect {
    /// What it must be; any message without it.
    pub subject: Option<Subject>,
    /// How long it is waited for; without it, as long as for a request.
    #[serde(with = "maybe_seconds")]
    pub timeout: Option<Duration>,
    /// Variables that are taken from it.
    pub extract: Vec<Extract>,
}

impl SocketScript {
    /// What is taken from its messages.
    pub fn extracts(&self) -> impl Iterator<Item = &Extract> {
        self.actions.iter().flat_map(|action| match action {
            SocketAction::Expect(expect) => expect.extract.as_slice(),
            _ => &[],
        })
    }
}

/// Reads a session. `look` sees every text of an action that may have variables; `file` loads one; `taken` sees what
/// an action extracts.
pub(super) fn script(
    step: &Fields<'_>,
    look: impl Fn(&Fields<'_>, &Value<'_>),
    mut file: impl FnMut(&Fields<'_>, &str) -> Option<String>,
    mut taken: impl FnMut(&Fields<'_>, &Extract),
) -> Option<SocketScript> {
    if !step.has("websocket") {
        for key in ["protocols", "maxMessage", "actions"].into_iter().filter(|key| step.has(key)) {
            step.fault_in(key, format!("`{key}` belongs to a step with `websocket`"));
        }
        return None;
    }
    for (key, value) in step.table {
        let key = key.get_ref().as_ref();
        if !SHARED.contains(&key) && read::is_key(key) {
            step.fault_at(value, format!("`{key}` does not belong to a step with `websocket`"));
        }
    }
    for (name, _) in step.templates("headers") {
        if OF_THE_OPENING.contains(&name.to_ascii_lowercase().as_str()) {
            step.fault(format!("`headers.{name}` is written by connect-bench itself; `protocols` has sub-protocols"));
        }
    }
    let mut actions = Vec::new();
    let list = step.list("actions");
    for (at, value) in list.iter().enumerate() {
        let known: Vec<&str> = ACTIONS.into_iter().chain(BESIDE).collect();
        let Some(fields) = Fields::of(value, step.place, &known, step.faults) else { continue };
        for key in ["send", "sendJson", "expect"] {
            fields.get(key).into_iter().for_each(|value| look(&fields, value));
        }
        let Some(action) = action(&fields, &mut file) else { continue };
        if let SocketAction::Expect(expect) = &action {
            expect.extract.iter().for_each(|extract| taken(&fields, extract));
        }
        if matches!(action, SocketAction::Close(_)) && at + 1 < list.len() {
            fields.fault("`close` is the last action");
        }
        actions.push(action);
    }
    let max_message = step.number_within("maxMessage", 1, LONGEST_MESSAGE).unwrap_or(MESSAGE);
    Some(SocketScript { protocols: protocols(step), max_message, actions })
}

fn protocols(step: &Fields<'_>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for value in step.list("protocols") {
        match value.get_ref().as_str() {
            Some(name) if is_token(name) && !all.iter().any(|other| other == name) => all.push(name.to_owned()),
            _ => step.fault_at(value, "a sub-protocol is a word without spaces and commas, named once"),
        }
    }
    all
}

/// RFC 9110 §5.6.2.
fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn action(fields: &Fields<'_>, file: &mut impl FnMut(&Fields<'_>, &str) -> Option<String>) -> Option<SocketAction> {
    let given: Vec<&str> = ACTIONS.into_iter().filter(|key| fields.has(key)).collect();
    let [key] = given.as_slice() else {
        fields.fault(format!("an action is one of {}", ACTIONS.join(", ")));
        return None;
    };
    for other in BESIDE.into_iter().filter(|other| *key != "expect" && fields.has(other)) {
        fields.fault_in(other, format!("`{other}` belongs to `expect`"));
    }
    Some(match *key {
        "send" => SocketAction::Send(SocketMessage::Text(fields.template("send")?)),
        "sendJson" => match fields.get("sendJson").and_then(|value| json(value.get_ref())) {
            Some(value) => SocketAction::Send(SocketMessage::Json(value)),
            None => {
                fields.fault("`sendJson` has a number that JSON does not have");
                return None;
            }
        },
        "sendFile" => SocketAction::Send(SocketMessage::File(file(fields, "sendFile")?)),
        "think" => SocketAction::Think(read::think(fields)?),
        "close" => SocketAction::Close(code(fields)?),
        _ => SocketAction::Expect(SocketExpect {
            subject: subject(fields)?,
            timeout: fields.duration("timeout"),
            extract: extracts(fields),
        }),
    })
}

fn code(fields: &Fields<'_>) -> Option<u16> {
    let code = fields.number_within("close", 0, u64::from(u16::MAX))?;
    if !CODES.iter().any(|range| range.contains(&code)) {
        fields.fault_in("close", "a client closes with 1000 to 1003, 1007 to 1011 or 3000 to 4999");
    }
    u16::try_from(code).ok()
}

/// `"any"`, or what a message must have. `None` where there is a fault.
fn subject(fields: &Fields<'_>) -> Option<Option<Subject>> {
    let value = fields.get("expect")?;
    if let DeValue::String(text) = value.get_ref() {
        if text != "any" {
            fields.fault_at(value, "`expect` is \"any\", or { contains | matches | json = … }");
            return None;
        }
        return Some(None);
    }
    let expect = Fields::of(value, fields.place, &EXPECTED, fields.faults)?;
    if expect.has("json") {
        let path = expect.parsed("json", super::response::path)?;
        return test(&expect).map(|test| Some(Subject::Json(path, test)));
    }
    match test(&expect)? {
        Test::Contains(template) => Some(Some(Subject::Body(Test::Contains(template)))),
        Test::Matches(regex) => Some(Some(Subject::Body(Test::Matches(regex)))),
        _ => {
            expect.fault("`expect` is \"any\", or has one of json, contains, matches");
            None
        }
    }
}

fn extracts(fields: &Fields<'_>) -> Vec<Extract> {
    let read = extract(fields);
    for extract in &read {
        if matches!(extract.source, Source::Header(_) | Source::Cookie(_)) {
            fields.fault(format!("`extract.{}`: a message has neither headers nor cookies", extract.variable));
        }
    }
    read
}
