//! The part of the JSON Schema that lists of steps and their data have.

use serde_json::{Map, Value, json};

use super::super::data::Order;
use super::super::schema::{duration, flag, named, one_of, reference, table, text, whole};
use super::connect::{ACCESS, INTO, KEYS};
use super::read::{BODIES, DATA, METHODS, PART, PAUSE, PUBLISHES, PUBLISHING, SESSION, TAKEN};
use super::response::{EXPECT, LARGEST, PICKS, SOURCES, SUBJECTS, TAKING, TESTED, TESTS};
use super::socket::{ACTIONS, BESIDE, CODES, EXPECTED, LONGEST_MESSAGE, SHARED};
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
    let keys: Vec<&str> = super::read::keys().collect();
    let mut step = table(&keys, |key| match key {
        _ if METHODS.contains(&key) => json!({
            "description": "The URL: /… below the content item, server:/… below the Connect server, or http…",
            "type": "string",
            "pattern": "^(/|server:(/|\\$\\{)|https?:|\\$\\{)[^#]*$",
        }),
        _ if BODIES.contains(&key) => body(key),
        _ if SESSION.contains(&key) => session(key),
        _ if PUBLISHING.contains(&key) => publishing(key),
        _ => other(key),
    });
    step["required"] = json!(["name"]);
    let kinds: Vec<&str> = METHODS.into_iter().chain(PUBLISHES).collect();
    let of_publishing: Vec<&str> = PUBLISHING.into_iter().filter(|key| !PUBLISHES.contains(key)).collect();
    step["allOf"] = json!([
        {"oneOf": each(&kinds)},
        at_most_one(&BODIES),
        only_with(&["websocket"], &SHARED, &SESSION),
        only_with(&PUBLISHES, &KEYS, &of_publishing),
        {"if": {"required": ["provision"]}, "then": {"not": {"required": ["into"]}}},
        {
            "if": {"required": ["into"], "properties": {"into": {"const": "new"}}},
            "then": {"not": {"required": ["item"]}},
        },
    ]);
    step
}

/// With one of `kinds` there are no keys but `known`; without them none of `own`.
fn only_with(kinds: &[&str], known: &[&str], own: &[&str]) -> Value {
    json!({
        "if": {"anyOf": each(kinds)},
        "then": {"propertyNames": {"enum": known}},
        "else": {"not": {"anyOf": each(own)}},
    })
}

fn publishing(key: &str) -> Value {
    let application = "An application: flask-stocks, plumber-stocks, or a directory beside this file";
    match key {
        "publish" | "provision" => json!({"description": application, "type": "string", "minLength": 1}),
        "into" => one_of("The same content item each time (without it), or a new one", &INTO),
        "item" => json!({"description": "Variable that is the identifier of its content item",
                         "type": "string", "pattern": NAME, "not": {"enum": TAKEN}}),
        "access" => one_of("Who may fetch it; as for the run without it", &ACCESS),
        "variables" => named(
            "Its environment",
            &json!({"pattern": "^[^=\\x00]+$"}),
            &json!({"type": ["string", "number", "boolean"]}),
        ),
        "path" => {
            json!({"description": "What is fetched once it is deployed", "type": "string", "pattern": "^/[^#]*$"})
        }
        _ => Value::Null,
    }
}

fn session(key: &str) -> Value {
    match key {
        "protocols" => json!({"description": "Sub-protocols that are offered", "type": "array", "uniqueItems": true,
                              "items": {"type": "string", "pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"}}),
        "maxMessage" => whole("The longest message that is read, bytes; 1 MiB without it", 1, LONGEST_MESSAGE),
        "actions" => json!({"description": "What is done in the session", "type": "array", "items": action()}),
        _ => Value::Null,
    }
}

fn action() -> Value {
    let keys: Vec<&str> = ACTIONS.into_iter().chain(BESIDE).collect();
    let mut action = table(&keys, |key| match key {
        "send" => text("A text message"),
        "sendJson" => json!({"description": "JSON as a text message; its texts may have variables"}),
        "sendFile" => text("A file as a binary message; beside this file"),
        "expect" => json!({"description": "Wait for such a message", "anyOf": [{"const": "any"}, expected()]}),
        "think" | "timeout" | "extract" => other(key),
        "close" => json!({"description": "End the session with this code", "type": "integer", "anyOf":
            CODES.iter().map(|codes| json!({"minimum": codes.start(), "maximum": codes.end()})).collect::<Vec<_>>()}),
        _ => Value::Null,
    });
    action["oneOf"] = json!(each(&ACTIONS));
    action["dependentRequired"] = json!({"timeout": ["expect"], "extract": ["expect"]});
    action
}

fn expected() -> Value {
    let mut expected = table(&EXPECTED, |key| match key {
        "json" => text("JSON path into the message; it finds something, or what else is said of its first value"),
        key => check()["properties"][key].clone(),
    });
    expected["if"] = json!({"required": ["json"]});
    expected["then"] = at_most_one(&TESTS);
    expected["else"] = json!({"oneOf": each(&["contains", "matches"]),
                              "not": {"anyOf": each(&["exists", "equals", "above", "below"])}});
    expected
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
