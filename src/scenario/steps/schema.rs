//! The part of the JSON Schema that lists of steps and their data have.

use serde_json::{Map, Value, json};

use super::super::data::Order;
use super::super::schema::{duration, flag, named, one_of, reference, table, text, whole};
use super::read::{BODIES, DATA, METHODS, OTHERS, PART, PAUSE, TAKEN};
use super::response::{EXPECT, LARGEST, PICKS, SOURCES, SUBJECTS, TAKING, TESTED, TESTS};
use super::{BUILT_IN, MOST_REDIRECTS};

/// What [`super::super::template::is_name`] takes.
const NAME: &str = "^[A-Za-z_][0-9A-Za-z_-]*$";

/// `[[steps.NAME]]`.
pub(in crate::scenario) fn lists() -> Value {
    let list = json!({"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/step"}});
    named("Lists of steps by name, for exec", &json!({"pattern": NAME, "not": {"enum": BUILT_IN}}), &list)
}

/// `[data.NAME]`.
pub(in crate::scenario) fn data() -> Value {
    let mut data = table(&DATA, |key| match key {
        "file" => text("CSV with a header, or a JSON array; beside this file"),
        "order" => one_of("Which row an iteration takes; sequential without it", &Order::NAMES.map(|(name, _)| name)),
        _ => Value::Null,
    });
    data["required"] = json!(["file"]);
    named("Data files by name: ${NAME.column}", &variable(), &data)
}

/// What the other parts refer to.
pub(in crate::scenario) fn defs() -> Map<String, Value> {
    let status = json!({"anyOf": [
        {"type": "integer", "minimum": 100, "maximum": 599},
        {"type": "string", "pattern": "^\\s*([1-5]xx|\\+?0*[1-5][0-9]{2}(-\\+?0*[1-5][0-9]{2})?)\\s*$"},
    ]});
    let statuses = json!({"anyOf": [
        {"$ref": "#/$defs/status"},
        {"type": "array", "items": {"$ref": "#/$defs/status"}},
    ]});
    let scalars = json!({"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}});
    let all = [("status", status), ("statuses", statuses), ("scalars", scalars), ("step", step()), ("check", check())];
    all.into_iter().map(|(name, def)| (name.to_owned(), def)).collect()
}

fn variable() -> Value {
    json!({"pattern": NAME, "not": {"enum": TAKEN}})
}

/// Each of these keys, as what must be there.
fn each(keys: &[&str]) -> Vec<Value> {
    keys.iter().map(|key| json!({"required": [key]})).collect()
}

/// One of these keys at most.
fn at_most_one(keys: &[&str]) -> Value {
    let mut cases = each(keys);
    cases.push(json!({"not": {"anyOf": each(keys)}}));
    json!({"oneOf": cases})
}

fn step() -> Value {
    let keys: Vec<&str> = OTHERS.iter().chain(&METHODS).chain(&BODIES).copied().collect();
    let mut step = table(&keys, |key| match key {
        _ if METHODS.contains(&key) => json!({
            "description": "The URL: /… below the content item, server:/… below the Connect server, or http…",
            "type": "string",
            "pattern": "^(/|server:(/|\\$\\{)|https?:|\\$\\{)[^#]*$",
        }),
        _ if BODIES.contains(&key) => body(key),
        _ => other(key),
    });
    step["required"] = json!(["name"]);
    step["allOf"] = json!([{"oneOf": each(&METHODS)}, at_most_one(&BODIES)]);
    step
}

fn body(key: &str) -> Value {
    match key {
        "json" => json!({"description": "Sent as JSON; its texts may have variables"}),
        "form" => reference("Sent as application/x-www-form-urlencoded", "scalars"),
        "body" => text("Sent as it is, with its variables"),
        "file" => text("A file that is sent; beside this file"),
        "multipart" => {
            let mut part = table(&PART, |key| match key {
                "name" => printable("Its name", 1),
                "value" => text("What it holds"),
                "file" => text("The file that it holds; beside this file"),
                "filename" => printable("Name of the file that the server is told", 0),
                "contentType" => printable("Media type that the server is told", 0),
                _ => Value::Null,
            });
            part["required"] = json!(["name"]);
            part["oneOf"] = json!(each(&["value", "file"]));
            json!({"description": "Sent as multipart/form-data", "type": "array", "items": part})
        }
        _ => Value::Null,
    }
}

fn printable(what: &str, least: u64) -> Value {
    json!({"description": what, "type": "string", "minLength": least, "pattern": "^[^\"\\x00-\\x1f\\x7f]*$"})
}

fn other(key: &str) -> Value {
    match key {
        "name" => json!({"description": "In the figures; unique in the list", "type": "string",
                         "minLength": 1, "maxLength": 80, "pattern": "^[^\\x00-\\x1f\\x7f]*$"}),
        "headers" => reference("Beside those of every request", "scalars"),
        "query" => reference("Appended to the URL's", "scalars"),
        "timeout" => duration("Of one request; that of the run without it"),
        "redirects" => whole("How many are followed, within the origin; 10 without it", 0, MOST_REDIRECTS),
        "expect" => expect(),
        "checks" => json!({"description": "Counted as a share of the responses; they fail nothing",
                           "type": "array", "items": {"$ref": "#/$defs/check"}}),
        "extract" => extract(),
        "think" => {
            let mut between = table(&PAUSE, |key| match key {
                "min" => duration("The shortest"),
                "max" => duration("The longest"),
                _ => Value::Null,
            });
            between["required"] = json!(PAUSE);
            json!({"description": "A pause after the step", "anyOf": [duration("Always so long"), between]})
        }
        "auth" => flag("Send the key; without it, only where the content item needs it"),
        "group" => text("k6's group, a::b; thresholds can select by it"),
        "tags" => reference("Stand beside its figures; thresholds can select by them", "scalars"),
        _ => Value::Null,
    }
}

fn expect() -> Value {
    let mut expect = table(&EXPECT, |key| match key {
        "status" => {
            reference("Statuses that are well: 200, \"2xx\", \"200-204\", or a list; 200 to 399 without it", "statuses")
        }
        "bodyContains" => text("Text that the body must contain"),
        "contentType" => text("Media type, without parameters"),
        _ => Value::Null,
    });
    expect["description"] = json!("What a response must be, or the request has failed");
    expect
}

fn check() -> Value {
    let keys: Vec<&str> = ["name"].into_iter().chain(SUBJECTS).chain(TESTS).collect();
    let mut check = table(&keys, |key| match key {
        "name" => json!({"description": "In the figures", "type": "string", "minLength": 1, "maxLength": 200}),
        "status" => reference("The status is one of these", "statuses"),
        "header" => text("Name of a header; it is there, or what else is said"),
        "json" => text("JSON path into the body ($.a[0]); it finds something, or what else is said of its first value"),
        "bodyContains" => text("Text that is in the body"),
        "bodyMatches" => text("Regular expression on the body"),
        "bodyEquals" => text("The whole body"),
        "sizeBelow" => whole("The body has fewer bytes", 0, LARGEST),
        "durationBelow" => duration("http_req_duration is below this"),
        "exists" => flag("Whether it is there at all"),
        "equals" => json!({"description": "Its value"}),
        "contains" => text("Text that is in it"),
        "matches" => text("Regular expression"),
        "above" => json!({"description": "It is a number above this", "type": "number"}),
        "below" => json!({"description": "It is a number below this", "type": "number"}),
        _ => Value::Null,
    });
    check["oneOf"] = json!(each(&SUBJECTS));
    check["if"] = json!({"anyOf": each(&TESTED)});
    check["then"] = at_most_one(&TESTS);
    check["else"] = json!({"not": {"anyOf": each(&TESTS)}});
    check
}

fn extract() -> Value {
    let keys: Vec<&str> = SOURCES.into_iter().chain(TAKING).collect();
    let mut from = table(&keys, |key| match key {
        "json" => text("JSON path into the body ($.a[*])"),
        "header" => text("Name of a header"),
        "cookie" => text("Name of a cookie that the response, or a redirect before it, has set"),
        "regex" => text("Regular expression on the body: its first group, or the whole match"),
        "pick" => one_of("Which of several values; first without it", &PICKS.map(|(name, _)| name)),
        "default" => text("Where there is none; without it the iteration fails"),
        _ => Value::Null,
    });
    from["oneOf"] = json!(each(&SOURCES));
    named("Variables that later steps use: ${NAME}", &variable(), &from)
}
