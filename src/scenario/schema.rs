//! The JSON Schema of scenario files (draft 2020-12), for editors: what keys there are, what each is, and what it must be.
//!
//! Keys and names are those of the tables that the reader goes by. What takes more than one value to see stays with the
//! reader: names that must exist, sums, variables, files. The schema refuses nothing that the reader
//! takes, but names of `[connection]` in other than their usual letters (`AUTO`).

use serde_json::{Map, Value, json};

use super::exec::MOST_WEIGHT;
use super::executor::{COMMON, MOST, NAMES, SPACINGS, STAGE, keys, needed};
use super::steps::{self, BUILT_IN};
use super::{TOP, connection, limit};
use crate::connection_options::{HTTP2S, POLICIES, SELECTS, TLS_VERSIONS};
use crate::metric::METRICS;

/// What [`crate::units::duration`] reads, up to a year.
const DURATION: &str = "^\\s*(([0-9]+\\.?[0-9]*|\\.[0-9]+)(ms|s|min|m|h|d))+\\s*$";

/// The schema of a whole file.
#[must_use]
pub fn schema() -> Value {
    let mut defs = steps::schema::defs();
    defs.insert("stages".to_owned(), stages());
    defs.insert("limit".to_owned(), limit());
    let mut file = table(&TOP, |key| match key {
        "warmUp" => duration("At the start, kept apart from the figures"),
        "scenarios" => scenarios(),
        "thresholds" => thresholds(),
        "connection" => connection(),
        "env" => texts("${env.NAME} in the steps of all scenarios"),
        "steps" => steps::schema::lists(),
        "data" => steps::schema::data(),
        _ => Value::Null,
    });
    file["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    file["title"] = json!("A scenario file of connect-bench");
    file["required"] = json!(["scenarios"]);
    file["$defs"] = Value::Object(defs);
    file
}

/// A table with these keys and no others. A key that `of` does not know gets `null`, which is no schema: a test finds it.
pub(super) fn table(keys: &[&str], of: impl Fn(&str) -> Value) -> Value {
    let properties: Map<String, Value> = keys.iter().map(|key| ((*key).to_owned(), of(key))).collect();
    json!({"type": "object", "additionalProperties": false, "properties": properties})
}

/// A table of names that are the user's own.
pub(super) fn named(what: &str, names: &Value, of: &Value) -> Value {
    json!({"description": what, "type": "object", "propertyNames": names, "additionalProperties": of})
}

pub(super) fn duration(what: &str) -> Value {
    json!({"description": what, "type": "string", "pattern": DURATION, "examples": ["300ms", "30s", "1h30m"]})
}

pub(super) fn text(what: &str) -> Value {
    json!({"description": what, "type": "string"})
}

pub(super) fn flag(what: &str) -> Value {
    json!({"description": what, "type": "boolean"})
}

pub(super) fn whole(what: &str, least: u64, most: u64) -> Value {
    json!({"description": what, "type": "integer", "minimum": least, "maximum": most})
}

pub(super) fn one_of(what: &str, names: &[&str]) -> Value {
    json!({"description": what, "enum": names})
}

pub(super) fn reference(what: &str, def: &str) -> Value {
    json!({"description": what, "$ref": format!("#/$defs/{def}")})
}

fn texts(what: &str) -> Value {
    json!({"description": what, "type": "object", "additionalProperties": {"type": "string"}})
}

fn scenarios() -> Value {
    let mut all = named("By name; they run side by side", &json!({"pattern": "^[0-9A-Za-z_-]+$"}), &scenario());
    all["minProperties"] = json!(1);
    all
}

/// All keys, so that an editor has them; then which of them an executor has, so that a fault is told where it is.
fn scenario() -> Value {
    let all: Vec<&str> =
        COMMON.into_iter().chain(NAMES.iter().flat_map(|(_, executor)| keys(*executor)).copied()).collect();
    let mut scenario = table(&all, |key| if COMMON.contains(&key) { common(key) } else { of_executor(key) });
    let by_executor = NAMES.map(|(name, executor)| {
        let known: Vec<&str> = COMMON.iter().chain(keys(executor)).copied().collect();
        json!({
            "if": {"required": ["executor"], "properties": {"executor": {"const": name}}},
            "then": {"required": needed(executor), "propertyNames": {"enum": known}},
        })
    });
    scenario["required"] = json!(["executor"]);
    scenario["allOf"] = json!(by_executor);
    // Only with the fetches that are built in.
    let fetches = json!({"properties": {"exec": {"const": "fetch"}}});
    scenario["dependentSchemas"] = json!({"path": fetches, "expectBody": fetches});
    scenario
}

fn common(key: &str) -> Value {
    match key {
        "executor" => one_of("When VUs run", &NAMES.map(|(name, _)| name)),
        "exec" => {
            let weight = whole("Its share, against those of the others", 1, MOST_WEIGHT);
            let lists = "In each iteration one of these lists of steps, by weight";
            let mut weights = named(lists, &json!({"not": {"enum": BUILT_IN}}), &weight);
            weights["minProperties"] = json!(1);
            let name = json!({"type": "string", "examples": BUILT_IN});
            let what =
                "What a VU does: fetch (default), publish, the name of a list of steps, or weights of such lists";
            json!({"description": what, "anyOf": [name, weights]})
        }
        "startTime" => duration("When it begins; 0s without it"),
        "gracefulStop" => duration("How long VUs may finish what they have begun; 30s without it"),
        "pacing" => duration("Least time between the beginnings of two iterations of a VU"),
        "env" => texts("${env.NAME} in its steps; goes before that of the whole file"),
        "tags" => texts("Stand beside its figures; thresholds can select by them"),
        "path" => text("Path below the content item that is fetched; with exec = \"fetch\" only"),
        "expectBody" => text("Text that every fetched body must contain; with exec = \"fetch\" only"),
        _ => Value::Null,
    }
}

fn of_executor(key: &str) -> Value {
    match key {
        "vus" => whole("VUs; 1 without it", 1, MOST),
        "duration" => duration("How long; at least 1s"),
        "startVUs" => whole("VUs at the start; 1 without it", 0, MOST),
        "stages" => reference("Straight lines, one after the other", "stages"),
        "gracefulRampDown" => duration("How long a VU that is ramped down may finish its iteration; 30s without it"),
        "rate" => whole("Iterations that begin in each timeUnit", 1, MOST),
        "startRate" => whole("Iterations that begin in each timeUnit at the start; 0 without it", 0, MOST),
        "timeUnit" => duration("Of the rates; 1s without it, and more than 0s"),
        "preAllocatedVUs" => whole("VUs that there are from the start", 0, MOST),
        "maxVUs" => whole("The most VUs; preAllocatedVUs without it, and not less", 1, MOST),
        "arrivals" => one_of("How iterations are spaced; even without it", &SPACINGS.map(|(name, _)| name)),
        "iterations" => whole("Of all VUs together, or of each; 1 without it", 1, i64::MAX.unsigned_abs()),
        "maxDuration" => duration("No iteration begins later; 10m without it, at least 1s"),
        _ => Value::Null,
    }
}

fn stages() -> Value {
    let mut stage = table(&STAGE, |key| match key {
        "duration" => duration("How long; with 0s it jumps"),
        "target" => whole("VUs, or the rate, at its end", 0, MOST),
        _ => Value::Null,
    });
    stage["required"] = json!(STAGE);
    json!({"type": "array", "minItems": 1, "items": stage})
}

fn connection() -> Value {
    let mut connection = table(&connection::KEYS, |key| match key {
        "http2" => one_of("HTTP/2; auto: over TLS where the server offers it", &HTTP2S.map(|(name, _)| name)),
        "noConnectionReuse" => flag("A new connection for each request"),
        "noVUConnectionReuse" => flag("A new connection for each iteration"),
        "tlsResumption" => flag("Whether sessions of TLS are resumed"),
        "tlsVersion" => one_of("Versions of TLS", &TLS_VERSIONS.map(|(name, _)| name)),
        "dns" => table(&connection::DNS, |key| match key {
            "ttl" => {
                json!({"description": "How long an answer holds: a duration, milliseconds, or inf", "type": "string",
                            "anyOf": [{"pattern": DURATION}, {"pattern": "^([0-9]+|inf)$"}]})
            }
            "select" => one_of("Which of several addresses", &SELECTS.map(|(name, _)| name)),
            "policy" => one_of("IPv4 and IPv6", &POLICIES.map(|(name, _)| name)),
            _ => Value::Null,
        }),
        "hosts" => json!({
            "description": "Addresses by name, for what DNS would say: NAME, NAME:PORT or *.NAME to IP or IP:PORT",
            "type": "object",
            "additionalProperties": {"type": "string", "pattern": "^\\s*\\[?[0-9A-Fa-f:.]+\\]?(:[0-9]+)?\\s*$"},
        }),
        "localIPs" => text("Addresses that connections come from: 10.0.0.5,10.0.0.10-10.0.0.20,10.0.1.0/24"),
        "proxy" => text("http://HOST:PORT, or none; what the environment says without it"),
        "acceptEncoding" => text("Codings that are asked for: gzip,br; checks see bodies decoded"),
        "discardResponseBodies" => flag("Read bodies and keep none"),
        _ => Value::Null,
    });
    connection["description"] = json!("How connections are made; a flag of the command line goes before it");
    // They say the same, and one of them more.
    let on = |key: &str| json!({"properties": {key: {"const": true}}, "required": [key]});
    connection["not"] = json!({"allOf": [on("noConnectionReuse"), on("noVUConnectionReuse")]});
    connection
}

fn thresholds() -> Value {
    let metrics = METRICS.iter().map(|metric| metric.name).collect::<Vec<_>>().join("|");
    let names = json!({"pattern": format!("^\\s*({metrics})\\s*(\\{{.*\\}}\\s*)?$")});
    let limits = json!({"anyOf": [
        {"$ref": "#/$defs/limit"},
        {"type": "array", "items": {"$ref": "#/$defs/limit"}},
    ]});
    named("Limits by metric: METRIC, or METRIC{tag:value,…}. One that is exceeded is exit code 99", &names, &limits)
}

fn limit() -> Value {
    let number = "[+-]?([0-9]+\\.?[0-9]*|\\.[0-9]+)([eE][+-]?[0-9]+)?";
    let expression = json!({
        "description": "AGGREGATION OPERATOR NUMBER, or a percentage of what a baseline had",
        "type": "string",
        "pattern": format!(
            "^\\s*(count|rate|value|avg|min|max|med|p\\({number}\\))\\s*(<=|<|>=|>|===|==|!=)\\s*{number}\\s*%?\\s*$"
        ),
        "examples": ["p(95)<500", "rate<0.01", "count==0"],
    });
    let mut limit = table(&limit::KEYS, |key| match key {
        "threshold" => expression.clone(),
        "abortOnFail" => flag("End the run as soon as it fails"),
        "delayAbortEval" => duration("Do not end the run by it before"),
        "window" => duration("Only what was measured in so much time before it is looked at"),
        "after" => duration("Only what was measured after so much of the run"),
        "baseline" => json!({
            "description": "What a limit in percent is relative to: a run directory, or the id of a documented baseline",
            "type": "string",
        }),
        _ => Value::Null,
    });
    limit["required"] = json!(["threshold"]);
    json!({"anyOf": [expression, limit]})
}
