//! What a step makes of its response: checks, and the variables that later steps use.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::sync::Arc;

use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderName};
use rand::rngs::SmallRng;
use rand::seq::IteratorRandom as _;
use regex::Regex;
use serde_json::Value;
use serde_json_path::JsonPath;

use super::CompileFault;
use super::text::{Names, Text, Values};
use crate::engine::program::Outcome;
use crate::outcome::{Ended, ErrorKind};
use crate::scenario::data::scalar;
use crate::scenario::steps::{Extract, Source, Step, Subject, Test};
use crate::scenario::template::Template;

/// How much of a body checks and extraction see.
pub(super) const KEEP: usize = 1 << 20;
/// The longest value that a variable may have.
const LONGEST: usize = 64 << 10;

/// What a step makes of its response.
#[derive(Debug)]
pub(super) struct Judge {
    checks: Vec<(Arc<str>, Checked)>,
    extracts: Vec<Extracted>,
    /// How much of the body it wants to see.
    pub(super) keep_body: usize,
}

#[derive(Debug)]
enum Checked {
    Status(Vec<u16>),
    Header(HeaderName, Tested),
    Json(JsonPath, Tested),
    Body(Tested),
    SizeBelow(usize),
    DurationBelow(std::time::Duration),
}

#[derive(Debug)]
enum Tested {
    Exists(bool),
    Text(Text),
    Value(Value),
    Contains(Text),
    Matches(Regex),
    Above(f64),
    Below(f64),
}

#[derive(Debug)]
struct Extracted {
    slot: usize,
    variable: String,
    source: From,
    random: bool,
    default: Option<Arc<str>>,
}

#[derive(Debug)]
enum From {
    Json(JsonPath),
    Header(HeaderName),
    Cookie(String),
    Regex(Regex),
}

/// A response, looked at more than once, parsed at most once.
struct Seen<'a> {
    outcome: &'a Outcome<'a>,
    json: OnceCell<Option<Value>>,
}

impl Seen<'_> {
    fn json(&self) -> Option<&Value> {
        self.json.get_or_init(|| serde_json::from_slice(self.outcome.body).ok()).as_ref()
    }

    fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.outcome.body)
    }

    /// Whether there is a whole response, expected or not.
    fn is_whole(&self) -> bool {
        matches!(self.outcome.ended, Ended::Completed | Ended::Failed(ErrorKind::Status(_) | ErrorKind::Body))
    }
}

impl Judge {
    pub(super) fn compile(step: &Step, names: &Names) -> Result<Judge, CompileFault> {
        let checks = step.checks.iter().map(|check| (check.name.as_str(), &check.subject));
        Judge::of(checks, &step.extract, names).map_err(|what| CompileFault::new(&step.name, what))
    }

    /// Of checks with their names, and of what is extracted.
    pub(super) fn of<'s>(
        wanted: impl Iterator<Item = (&'s str, &'s Subject)>,
        extract: &[Extract],
        names: &Names,
    ) -> Result<Judge, String> {
        let (mut checks, mut extracts, mut keep_body) = (Vec::new(), Vec::new(), 0);
        for (name, subject) in wanted {
            let checked = checked(subject, names)?;
            keep_body = keep_body.max(match &checked {
                Checked::Json(..) | Checked::Body(_) => KEEP,
                Checked::SizeBelow(size) => *size,
                _ => 0,
            });
            checks.push((Arc::from(name), checked));
        }
        for extract in extract {
            let extracted = extracted(extract, names)?;
            if matches!(extracted.source, From::Json(_) | From::Regex(_)) {
                keep_body = keep_body.max(KEEP);
            }
            extracts.push(extracted);
        }
        Ok(Judge { checks, extracts, keep_body })
    }

    /// Holds a response against the checks; a request without a whole response passes none.
    pub(super) fn checks(&self, outcome: &Outcome<'_>, values: &Values, notes: &mut Vec<(Arc<str>, bool)>) {
        let seen = Seen { outcome, json: OnceCell::new() };
        for (name, check) in &self.checks {
            notes.push((name.clone(), seen.is_whole() && passes(check, &seen, values)));
        }
    }

    /// Whether a message passes all checks.
    pub(super) fn passes(&self, outcome: &Outcome<'_>, values: &Values) -> bool {
        let seen = Seen { outcome, json: OnceCell::new() };
        self.checks.iter().all(|(_, check)| passes(check, &seen, values))
    }

    /// Takes the cookies of a response, which may be a redirect before the last one.
    pub(super) fn cookies(&self, headers: Option<&HeaderMap>, values: &mut Values) {
        for extract in &self.extracts {
            if let From::Cookie(name) = &extract.source
                && let Some(value) = headers.and_then(|headers| cookie(headers, name))
            {
                values.slots[extract.slot] = Some(value);
            }
        }
    }

    /// Forgets the cookies of an earlier step under the same variables.
    pub(super) fn begin(&self, values: &mut Values) {
        for extract in self.extracts.iter().filter(|extract| matches!(extract.source, From::Cookie(_))) {
            values.slots[extract.slot] = None;
        }
    }

    /// Takes the variables.
    ///
    /// # Errors
    /// Which one is not there.
    pub(super) fn extract(
        &self,
        outcome: &Outcome<'_>,
        values: &mut Values,
        random: &mut SmallRng,
    ) -> Result<(), String> {
        let seen = Seen { outcome, json: OnceCell::new() };
        for extract in &self.extracts {
            let found = match &extract.source {
                _ if !seen.is_whole() => None,
                From::Cookie(_) => values.slots[extract.slot].take(),
                source => find(source, &seen, extract.random.then_some(&mut *random)),
            };
            let found = found.or_else(|| extract.default.clone()).filter(|value| value.len() <= LONGEST);
            let Some(value) = found else {
                return Err(missing(&extract.variable, outcome));
            };
            values.slots[extract.slot] = Some(value);
        }
        Ok(())
    }
}

fn missing(variable: &str, outcome: &Outcome<'_>) -> String {
    let why = match (outcome.ended, outcome.status) {
        (Ended::Failed(kind), _) => kind.describe(),
        (_, None) if outcome.ended == Ended::Completed => return format!("`{variable}` is not in the message"),
        (_, Some(status)) if outcome.body.len() >= KEEP => format!("status {status}, only 1 MiB of the body is read"),
        (_, status) => format!("status {}", status.unwrap_or(0)),
    };
    format!("`{variable}` is not in the response ({why})")
}

fn checked(subject: &Subject, names: &Names) -> Result<Checked, String> {
    Ok(match subject {
        Subject::Status(statuses) => Checked::Status(statuses.clone()),
        Subject::Header(name, test) => Checked::Header(header(name)?, tested(test, names)?),
        Subject::Json(path, test) => Checked::Json(json_path(path)?, tested(test, names)?),
        Subject::Body(test) => Checked::Body(tested(test, names)?),
        Subject::SizeBelow(size) => Checked::SizeBelow(usize::try_from(*size).unwrap_or(usize::MAX)),
        Subject::DurationBelow(duration) => Checked::DurationBelow(*duration),
    })
}

fn header(name: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|e| format!("{name:?}: {e}"))
}

fn json_path(path: &str) -> Result<JsonPath, String> {
    JsonPath::parse(path).map_err(|e| format!("{path:?}: {e}"))
}

fn tested(test: &Test, names: &Names) -> Result<Tested, String> {
    let compiled =
        |template: &Template| Text::plain(template, names).map_err(|name| format!("`${{{name}}}` is unknown"));
    let number = |number: &serde_json::Number| number.as_f64().ok_or_else(|| format!("{number}: too large"));
    Ok(match test {
        Test::Exists(exists) => Tested::Exists(*exists),
        Test::Equals(Value::String(text)) => {
            Tested::Text(compiled(&text.parse().unwrap_or_else(|_| Template::text(text)))?)
        }
        Test::Equals(value) => Tested::Value(value.clone()),
        Test::Contains(template) => Tested::Contains(compiled(template)?),
        Test::Matches(regex) => Tested::Matches(Regex::new(regex).map_err(|e| e.to_string())?),
        Test::Above(limit) => Tested::Above(number(limit)?),
        Test::Below(limit) => Tested::Below(number(limit)?),
    })
}

fn extracted(extract: &Extract, names: &Names) -> Result<Extracted, String> {
    let variable = extract.variable.clone();
    let slot = names.slots.iter().position(|slot| *slot == variable);
    Ok(Extracted {
        slot: slot.ok_or_else(|| format!("`${{{variable}}}` is unknown"))?,
        variable,
        source: match &extract.source {
            Source::Json(path) => From::Json(json_path(path)?),
            Source::Header(name) => From::Header(header(name)?),
            Source::Cookie(name) => From::Cookie(name.clone()),
            Source::Regex(regex) => From::Regex(Regex::new(regex).map_err(|e| e.to_string())?),
        },
        random: extract.random,
        default: extract.default.as_deref().map(Arc::from),
    })
}

fn passes(check: &Checked, seen: &Seen<'_>, values: &Values) -> bool {
    match check {
        Checked::Status(statuses) => seen.outcome.status.is_some_and(|status| statuses.contains(&status)),
        Checked::Header(name, test) => {
            let value = seen.outcome.headers.and_then(|headers| headers.get(name));
            let text = value.map(|value| String::from_utf8_lossy(value.as_bytes()));
            text_passes(test, text.as_deref(), values)
        }
        Checked::Json(path, test) => value_passes(test, seen.json().and_then(|json| path.query(json).first()), values),
        Checked::Body(test) => text_passes(test, Some(&seen.text()), values),
        // So many bytes were asked for; that fewer came means that the body has fewer.
        Checked::SizeBelow(size) => seen.outcome.body.len() < *size,
        Checked::DurationBelow(limit) => seen.outcome.phases.duration() < *limit,
    }
}

fn text_passes(test: &Tested, text: Option<&str>, values: &Values) -> bool {
    let number = || text.and_then(|text| text.trim().parse::<f64>().ok());
    match (test, text) {
        (Tested::Exists(exists), text) => text.is_some() == *exists,
        (_, None) => false,
        (Tested::Text(expected), Some(text)) => text == expected.render(values),
        (Tested::Value(expected), Some(text)) => match expected.as_f64() {
            Some(expected) => number() == Some(expected),
            None => text == &*scalar(expected),
        },
        (Tested::Contains(part), Some(text)) => text.contains(&part.render(values)),
        (Tested::Matches(regex), Some(text)) => regex.is_match(text),
        (Tested::Above(limit), _) => number().is_some_and(|number| number > *limit),
        (Tested::Below(limit), _) => number().is_some_and(|number| number < *limit),
    }
}

fn value_passes(test: &Tested, value: Option<&Value>, values: &Values) -> bool {
    match (test, value) {
        (Tested::Exists(exists), value) => value.is_some() == *exists,
        (Tested::Text(expected), Some(Value::String(text))) => *text == expected.render(values),
        (Tested::Text(_), _) => false,
        (Tested::Value(expected), Some(value)) => match (expected.as_f64(), value.as_f64()) {
            (Some(a), Some(b)) => a == b,
            _ => expected == value,
        },
        (test, value) => {
            let text = value.map(scalar);
            text_passes(test, text.as_deref(), values)
        }
    }
}

/// A value where it is found; one of several by chance where that is asked for.
fn find(source: &From, seen: &Seen<'_>, random: Option<&mut SmallRng>) -> Option<Arc<str>> {
    match source {
        From::Json(path) => {
            let found = path.query(seen.json()?).all().into_iter();
            let mut found = found.filter(|value| !value.is_null());
            match random {
                Some(random) => found.choose(random),
                None => found.next(),
            }
            .map(scalar)
        }
        From::Header(name) => {
            let mut values = seen.outcome.headers?.get_all(name).iter();
            let value = match random {
                Some(random) => values.choose(random),
                None => values.next(),
            };
            value.and_then(|value| std::str::from_utf8(value.as_bytes()).ok()).map(Arc::from)
        }
        From::Regex(regex) => {
            let text = seen.text();
            let mut found = regex.captures_iter(&text);
            let captures = match random {
                Some(random) => found.choose(random),
                None => found.next(),
            };
            captures.and_then(|captures| captures.get(1).or_else(|| captures.get(0)).map(|m| Arc::from(m.as_str())))
        }
        From::Cookie(_) => None,
    }
}

/// The value of a cookie that a response sets. The last one counts, as in a jar.
fn cookie(headers: &HeaderMap, name: &str) -> Option<Arc<str>> {
    let values = headers.get_all(SET_COOKIE).iter().filter_map(|value| std::str::from_utf8(value.as_bytes()).ok());
    let mut pairs = values.filter_map(|text| text.split(';').next().and_then(|pair| pair.split_once('=')));
    pairs.rfind(|(known, _)| known.trim() == name).map(|(_, value)| Arc::from(value.trim()))
}
