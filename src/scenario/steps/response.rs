//! Reads what a step wants of its response: expectations, checks, extraction.

use std::fmt::Display;

use regex::Regex;
use serde_json_path::JsonPath;

use super::super::reader::{Fields, Value, json};
use super::super::template::is_name;
use super::{Check, Expected, Extract, Source, Subject, Test};

/// Largest size that a check can tell: so much of a body is kept for it.
pub(super) const LARGEST: u64 = 16 << 20;
pub(super) const SUBJECTS: [&str; 8] =
    ["status", "header", "json", "bodyContains", "bodyMatches", "bodyEquals", "sizeBelow", "durationBelow"];
pub(super) const TESTS: [&str; 6] = ["exists", "equals", "contains", "matches", "above", "below"];
/// Keys of `expect`.
pub(super) const EXPECT: [&str; 3] = ["status", "bodyContains", "contentType"];
/// Where a variable may come from,
pub(super) const SOURCES: [&str; 4] = ["json", "header", "cookie", "regex"];
/// and what else is said of it.
pub(super) const TAKING: [&str; 2] = ["pick", "default"];
/// Which of several values is taken, as it is written, and whether that is any of them.
pub(super) const PICKS: [(&str, bool); 2] = [("first", false), ("random", true)];
/// The subjects that are held against something.
pub(super) const TESTED: [&str; 2] = ["header", "json"];

pub(super) fn expect(fields: &Fields<'_>) -> Expected {
    let Some(value) = fields.get("expect") else { return Expected::default() };
    let Some(expect) = Fields::of(value, fields.place, &EXPECT, fields.faults) else { return Expected::default() };
    Expected {
        status: statuses(&expect, "status"),
        body_contains: expect.template("bodyContains"),
        content_type: expect.text("contentType").map(|media| media.trim().to_ascii_lowercase()),
    }
}

/// A status, a class of them (`"2xx"`), a range (`"200-204"`), or a list of these.
fn statuses(fields: &Fields<'_>, key: &str) -> Vec<u16> {
    let Some(value) = fields.get(key) else { return Vec::new() };
    let values: Vec<&Value<'_>> = match value.get_ref().as_array() {
        Some(list) => list.iter().collect(),
        None => vec![value],
    };
    let mut all = Vec::new();
    for value in values {
        match json(value.get_ref()).as_ref().and_then(status) {
            Some(range) => all.extend(range),
            None => {
                fields
                    .fault_at(value, format!("`{key}` is a status (200), a class (\"2xx\") or a range (\"200-204\")"));
            }
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}

fn status(value: &serde_json::Value) -> Option<std::ops::RangeInclusive<u16>> {
    let one = |text: &str| text.parse::<u16>().ok().filter(|status| (100..=599).contains(status));
    let text = match value {
        serde_json::Value::String(text) => text.trim().to_owned(),
        other => other.to_string(),
    };
    if let Some(class) = text.strip_suffix("xx") {
        let from = class.parse::<u16>().ok().filter(|class| (1..=5).contains(class))? * 100;
        return Some(from..=from + 99);
    }
    match text.split_once('-') {
        Some((from, to)) => Some(one(from)?..=one(to)?).filter(|range| !range.is_empty()),
        None => one(&text).map(|status| status..=status),
    }
}

pub(super) fn checks(fields: &Fields<'_>) -> Vec<Check> {
    fields.list("checks").iter().filter_map(|value| check(fields, value)).collect()
}

fn check(step: &Fields<'_>, value: &Value<'_>) -> Option<Check> {
    let known: Vec<&str> = ["name"].into_iter().chain(SUBJECTS).chain(TESTS).collect();
    let fields = Fields::of(value, step.place, &known, step.faults)?;
    let given: Vec<&str> = SUBJECTS.into_iter().filter(|key| fields.has(key)).collect();
    let [key] = given.as_slice() else {
        fields.fault(format!("a check has one of {}", SUBJECTS.join(", ")));
        return None;
    };
    if !TESTED.contains(key)
        && let Some(test) = TESTS.into_iter().find(|test| fields.has(test))
    {
        fields.fault(format!("`{test}` belongs to a check of a header or of json"));
    }
    let subject = match *key {
        "status" => Subject::Status(statuses(&fields, "status")),
        "header" => Subject::Header(fields.text("header")?.to_ascii_lowercase(), test(&fields)?),
        "json" => Subject::Json(fields.parsed("json", path)?, test(&fields)?),
        "bodyContains" => Subject::Body(Test::Contains(fields.template("bodyContains")?)),
        "bodyMatches" => Subject::Body(Test::Matches(fields.parsed("bodyMatches", regex)?)),
        "bodyEquals" => Subject::Body(Test::Equals(fields.text("bodyEquals")?.into())),
        "sizeBelow" => Subject::SizeBelow(fields.whole("sizeBelow", LARGEST)?),
        _ => Subject::DurationBelow(fields.duration("durationBelow")?),
    };
    let name = match fields.text("name") {
        Some(name) if !name.is_empty() && name.len() <= 200 => name.to_owned(),
        Some(_) => {
            fields.fault("the name of a check is empty or too long");
            return None;
        }
        None => name_of(&fields, key),
    };
    Some(Check { name, subject })
}

/// A check without a name is named by what it says, after its step.
fn name_of(fields: &Fields<'_>, subject: &str) -> String {
    let step = fields.place.split('"').nth(1).unwrap_or("step");
    let mut name = format!("{step}: {subject}");
    for key in [subject].into_iter().chain(TESTS.into_iter().filter(|test| fields.has(test))) {
        if key != subject {
            name.push_str(&format!(" {key}"));
        }
        if let Some(value) = fields.get(key).and_then(|value| json(value.get_ref())) {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            name.push_str(&format!(" {}", text.chars().take(60).collect::<String>()));
        }
    }
    name
}

pub(super) fn test(fields: &Fields<'_>) -> Option<Test> {
    let given: Vec<&str> = TESTS.into_iter().filter(|key| fields.has(key)).collect();
    match given.as_slice() {
        [] => Some(Test::Exists(true)),
        ["exists"] => fields.boolean("exists").map(Test::Exists),
        ["equals"] => fields.get("equals").and_then(|value| json(value.get_ref())).map(Test::Equals),
        ["contains"] => fields.template("contains").map(Test::Contains),
        ["matches"] => fields.parsed("matches", regex).map(Test::Matches),
        ["above"] => fields.number("above").map(Test::Above),
        ["below"] => fields.number("below").map(Test::Below),
        _ => {
            fields.fault(format!("a check has one of {}", TESTS.join(", ")));
            None
        }
    }
}

pub(super) fn path(text: &str) -> Result<String, impl Display + use<>> {
    JsonPath::parse(text).map(|_| text.to_owned())
}

/// Regular expressions of the `regex` crate: linear in time, whatever the body.
fn regex(text: &str) -> Result<String, String> {
    // Its own message draws a picture of several lines; the last one says what is wrong.
    Regex::new(text).map(|_| text.to_owned()).map_err(|e| {
        e.to_string().lines().last().unwrap_or("this is no regular expression").trim_start_matches("error: ").to_owned()
    })
}

pub(super) fn extract(fields: &Fields<'_>) -> Vec<Extract> {
    let mut read = Vec::new();
    for (variable, value) in fields.named("extract") {
        let known: Vec<&str> = SOURCES.into_iter().chain(TAKING).collect();
        let Some(from) = Fields::of(value, fields.place, &known, fields.faults) else { continue };
        if !is_name(variable) {
            from.fault(format!("`{variable}` cannot be the name of a variable"));
        }
        let given: Vec<&str> = SOURCES.into_iter().filter(|key| from.has(key)).collect();
        let source = match given.as_slice() {
            ["json"] => from.parsed("json", path).map(Source::Json),
            ["header"] => from.text("header").map(|name| Source::Header(name.to_ascii_lowercase())),
            ["cookie"] => from.text("cookie").map(|name| Source::Cookie(name.to_owned())),
            ["regex"] => from.parsed("regex", regex).map(Source::Regex),
            _ => {
                from.fault(format!("`extract.{variable}` has one of {}", SOURCES.join(", ")));
                None
            }
        };
        let pick = from.parsed("pick", |pick| {
            let found = PICKS.iter().find(|(name, _)| *name == pick).map(|(_, random)| *random);
            found.ok_or("this is \"first\" or \"random\"")
        });
        let default = from.text("default").map(str::to_owned);
        if let Some(source) = source {
            let (variable, random) = (variable.to_owned(), pick.unwrap_or(false));
            read.push(Extract { variable, source, random, default });
        }
    }
    read
}
