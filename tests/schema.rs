//! The JSON Schema of scenario files against the reader: what is shipped is well by both, and what is wrong is wrong by
//! both. Names come from the reader's own tables; that each of them is taken, and with which values, is found out here.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail where the test does")]

use std::collections::BTreeSet;
use std::path::Path;

use connect_bench::scenario::{read_in, schema::schema};
use jsonschema::Validator;
use serde_json::Value;

/// Has every key that there is, but for those of which a table has only one.
const FULL: &str = r#"
warmUp = "1s"
env = { item = "AAPL" }

[connection]
http2 = "prior-knowledge"
noConnectionReuse = false
noVUConnectionReuse = true
tlsResumption = true
tlsVersion = "1.3"
dns = { ttl = "inf", select = "first", policy = "any" }
hosts = { "*.a.example" = "10.0.0.1" }
localIPs = "127.0.0.2/31"
proxy = "none"
acceptEncoding = "gzip"
discardResponseBodies = false

[data.stocks]
file = "tickers.csv"
order = "unique"

[scenarios.constant]
executor = "constant-vus"
exec = "fetch"
startTime = "5s"
gracefulStop = "1m30s"
pacing = ".5s"
env = { item = "MSFT" }
tags = { kind = "first" }
path = "/stocks/"
expectBody = "AAPL"
vus = 2
duration = "30s"

[scenarios.ramping]
executor = "ramping-vus"
exec = { browse = 3, other = 1 }
startVUs = 0
stages = [{ duration = "10s", target = 5 }, { duration = "0s", target = 2 }]
gracefulRampDown = "10s"

[scenarios.arrivals]
executor = "constant-arrival-rate"
exec = "browse"
rate = 60
timeUnit = "1m"
duration = "30s"
preAllocatedVUs = 1
maxVUs = 5
arrivals = "poisson"

[scenarios.ramp]
executor = "ramping-arrival-rate"
exec = "publish"
startRate = 1
timeUnit = "10s"
stages = [{ duration = "10s", target = 5 }]
preAllocatedVUs = 1
maxVUs = 5
arrivals = "even"

[scenarios.shared]
executor = "shared-iterations"
vus = 2
iterations = 10
maxDuration = "1m"

[scenarios.each]
executor = "per-vu-iterations"
vus = 2
iterations = 10
maxDuration = "1m"

[thresholds]
http_req_failed = "rate<0.01"
" http_req_duration{scenario:constant} " = ["p(99.9) < 5e2", { threshold = "max<=1000", abortOnFail = true, delayAbortEval = "10s", window = "1m", after = "5s" }, { threshold = "p(95)<=110%", baseline = "runs/before" }]
http_reqs = { threshold = "count>1" }

[[steps.browse]]
name = "list"
get = "server:/__api__/v1/content"
query = { limit = 10, all = true, item = "${env.item}" }
headers = { accept = "application/json" }
auth = true
timeout = "10s"
redirects = 0
expect = { status = [200, "3xx", "400-404"], contentType = "application/json", bodyContains = "AAPL" }
think = { min = "1s", max = "3s" }
group = "a::b"
tags = { size = 3 }
checks = [
  { name = "well", status = "2xx" },
  { header = "etag" },
  { header = "etag", exists = false },
  { header = "etag", contains = "x" },
  { json = "$.a", equals = [1, { b = "c" }] },
  { json = "$.a", matches = "^x" },
  { json = "$.a", above = 1.5 },
  { json = "$.a", below = -1 },
  { bodyContains = "a" },
  { bodyMatches = "a+" },
  { bodyEquals = "a" },
  { sizeBelow = 1000 },
  { durationBelow = "500ms" },
]

[steps.browse.extract]
a = { json = "$.a", pick = "random", default = "x" }
b = { header = "etag" }
c = { cookie = "c" }
d = { regex = "a(b)" }

[[steps.browse]]
name = "json"
post = "/${a}"
json = { a = ["${b}", 1, true] }
think = "1s"

[[steps.browse]]
name = "form"
put = "${c}"
form = { a = "b", n = 1 }
expect = { status = 200 }

[[steps.browse]]
name = "text"
patch = "http://127.0.0.1:1/a?b"
body = "${d} ${stocks.symbol}"

[[steps.browse]]
name = "file"
delete = "/"
file = "tickers.csv"

[[steps.other]]
name = "multipart"
options = "/"
multipart = [{ name = "a", value = "b" }, { name = "c", file = "tickers.csv", filename = "d", contentType = "text/csv" }]

[[steps.other]]
name = "head"
head = "/"

[[steps.other]]
name = "session"
websocket = "/websocket/"
protocols = ["shiny-like"]
maxMessage = 1000
actions = [
  { expect = "any", timeout = "5s", extract = { e = { json = "$.a" } } },
  { expect = { contains = "x" } },
  { send = "hello" },
  { sendJson = { a = 1 } },
  { sendFile = "tickers.csv" },
  { think = "1s" },
  { close = 1000 },
]

[[steps.other]]
name = "app"
provision = "flask-stocks"
item = "app"
access = "all"
variables = { MODE = "test" }
path = "/"

[[steps.other]]
name = "update"
publish = "plumber-stocks"
into = "same"
"#;

struct Both {
    validator: Validator,
}

impl Both {
    fn new() -> Both {
        Both { validator: jsonschema::draft202012::new(&schema()).unwrap() }
    }

    /// What the reader finds wrong, and what the schema does.
    fn faults(&self, text: &str) -> [Option<String>; 2] {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let reader = read_in(text, &directory).err().map(|fault| fault.to_string());
        let document: Value = toml::from_str(text).unwrap();
        let faults: Vec<String> =
            self.validator.iter_errors(&document).map(|e| format!("{}: {e}", e.instance_path())).collect();
        [reader, (!faults.is_empty()).then(|| faults.join("\n"))]
    }
}

/// A place in a document.
type Way = Vec<String>;

/// All places, the inner ones too.
fn places(value: &Value, at: &Way, found: &mut Vec<Way>) {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(table) => table.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(list) => list.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    for (key, value) in inner {
        let way: Way = at.iter().cloned().chain([key]).collect();
        found.push(way.clone());
        places(value, &way, found);
    }
}

fn pointer(way: &[String]) -> String {
    way.iter().map(|key| format!("/{}", key.replace('~', "~0").replace('/', "~1"))).collect()
}

fn full() -> Value {
    toml::from_str(FULL).unwrap()
}

/// Keys in `properties` anywhere in the schema.
fn properties(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(table) => {
            if let Some(Value::Object(known)) = table.get("properties") {
                found.extend(known.keys().cloned());
            }
            table.values().for_each(|value| properties(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| properties(value, found)),
        _ => {}
    }
}

#[test]
fn the_schema_is_one() {
    let schema = schema();
    assert!(jsonschema::draft202012::meta::is_valid(&schema));
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    // A key of the reader's tables that the schema does not know would be `null`.
    assert!(!schema.to_string().contains("null"), "{schema:#}");
}

#[test]
fn every_shipped_file_is_well() {
    let both = Both::new();
    let mut files = 0;
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            assert_eq!(both.faults(&std::fs::read_to_string(&path).unwrap()), [None, None], "{}", path.display());
            files += 1;
        }
    }
    assert!(files >= 10, "{files}");
}

#[test]
fn a_file_with_every_key_of_the_schema_is_well() {
    assert_eq!(Both::new().faults(FULL), [None, None]);
    let mut found = Vec::new();
    places(&full(), &Way::new(), &mut found);
    let used: BTreeSet<String> = found.into_iter().filter_map(|way| way.last().cloned()).collect();
    let mut known = BTreeSet::new();
    properties(&schema(), &mut known);
    let unused: Vec<&String> = known.difference(&used).collect();
    assert!(known.len() > 70 && unused.is_empty(), "{} known, not in the file: {unused:?}", known.len());
}

#[test]
fn an_unknown_key_in_any_table_is_refused_by_both() {
    let (both, mut found) = (Both::new(), vec![Way::new()]);
    places(&full(), &Way::new(), &mut found);
    let mut tables = 0;
    for way in found {
        let mut document = full();
        let Some(Value::Object(table)) = document.pointer_mut(&pointer(&way)) else { continue };
        table.insert("colour".to_owned(), Value::String("red".to_owned()));
        let [reader, schema] = both.faults(&toml::to_string(&document).unwrap());
        // Tables of names or values that are the user's own.
        let last = way.iter().rev().find(|key| key.parse::<usize>().is_err()).map_or("", String::as_str);
        if ["env", "tags", "query", "headers", "form", "json", "sendJson", "variables"].contains(&last)
            || way.contains(&"equals".to_owned())
        {
            assert_eq!([&reader, &schema], [&None, &None], "{way:?}");
        } else {
            assert!(reader.is_some() && schema.is_some(), "{way:?}: reader {reader:?}, schema {schema:?}");
            tables += 1;
        }
    }
    assert!(tables > 45, "{tables}");
}

#[test]
fn a_value_of_another_type_is_refused_by_both_or_by_none() {
    let (both, mut found) = (Both::new(), Vec::new());
    places(&full(), &Way::new(), &mut found);
    let others = ["true", "7777777777777", "-1", "0.5", r#""?""#, "[]", "[true]", "{}", r#"{"?": 1}"#];
    let mut refused = 0;
    for way in &found {
        for other in others {
            let (mut document, other): (Value, Value) = (full(), serde_json::from_str(other).unwrap());
            let place = document.pointer_mut(&pointer(way)).unwrap();
            let same = std::mem::discriminant(place) == std::mem::discriminant(&other);
            *place = other.clone();
            let Ok(text) = toml::to_string(&document) else { continue };
            let [reader, schema] = both.faults(&text);
            let about = || format!("{} = {other}: reader {reader:?}, schema {schema:?}", pointer(way));
            // The schema never refuses what the reader takes. Of the right type the reader may know better: what a text
            // says, and what else refers to what a table or a list has lost.
            assert!(reader.is_some() || schema.is_none(), "{}", about());
            assert!(same || schema.is_some() || reader.as_deref().is_none_or(elsewhere), "{}", about());
            refused += usize::from(schema.is_some());
        }
    }
    assert!(refused > 800, "{refused}");
}

/// Nothing but faults in what refers to something that is gone.
fn elsewhere(reader: &str) -> bool {
    let gone = ["there are no steps", "no step before", "no `env` has", "there is no [data"];
    let mut faults = reader.lines().filter(|line| line.contains(", column "));
    faults.all(|fault| gone.iter().any(|what| fault.contains(what)))
}

/// A file of one scenario,
fn scenario(keys: &str) -> String {
    format!("[scenarios.a]\n{keys}\n")
}

/// and one of one step.
fn step(keys: &str) -> String {
    let scenario = scenario("executor = \"per-vu-iterations\"\nexec = \"b\"");
    format!("{scenario}[[steps.b]]\nname = \"c\"\nget = \"/\"\n{keys}\n")
}

#[test]
fn wrong_options_of_connections() {
    let both = Both::new();
    for wrong in [
        "http2 = true",
        "tlsVersion = \"1.1\"",
        "noConnectionReuse = true\nnoVUConnectionReuse = true",
        "dns = { polcy = \"any\" }",
        "dns = { ttl = \"soon\" }",
        "localIps = \"::1\"",
    ] {
        let [reader, schema] = both.faults(&(scenario("executor = \"per-vu-iterations\"") + "[connection]\n" + wrong));
        assert!(reader.is_some() && schema.is_some(), "{wrong}\nreader: {reader:?}\nschema: {schema:?}");
    }
}

#[test]
fn a_table_of_wrong_files() {
    let both = Both::new();
    assert_eq!(both.faults(&scenario("executor = \"per-vu-iterations\"")), [None, None]);
    assert_eq!(both.faults(&step("")), [None, None]);
    let wrong = [
        String::new(),
        "[scenarios]\n".to_owned(),
        "scenarios = 3\n".to_owned(),
        scenario("executor = \"per-vu-iterations\"") + "[treshholds]\n",
        scenario("executor = \"per-vu-iterations\"").replace(".a", ".\"a b\""),
        scenario("vus = 1"),
        scenario("executor = \"constant-vu\"\nduration = \"1s\""),
        scenario("executor = \"constant-vus\""),
        scenario("executor = \"constant-vus\"\nduration = \"1\""),
        scenario("executor = \"constant-vus\"\nduration = 10"),
        scenario("executor = \"constant-vus\"\nduration = \"10x\""),
        scenario("executor = \"constant-vus\"\nduration = \"1s\"\nvus = 0"),
        scenario("executor = \"constant-vus\"\nduration = \"1s\"\nvus = 1.5"),
        scenario("executor = \"constant-vus\"\nduration = \"1s\"\niterations = 5"),
        scenario("executor = \"constant-vus\"\nduration = \"1s\"\nexec = \"publish\"\npath = \"/\""),
        scenario("executor = \"constant-vus\"\nduration = \"1s\"\nexec = { fetch = 1 }"),
        scenario("executor = \"constant-vus\"\nduration = \"1s\"\ntags = { a = 1 }"),
        scenario("executor = \"ramping-vus\""),
        scenario("executor = \"ramping-vus\"\nstages = []"),
        scenario("executor = \"ramping-vus\"\nstages = [{ duration = \"1s\" }]"),
        scenario("executor = \"ramping-vus\"\nstages = [{ duration = \"1s\", target = -1 }]"),
        scenario("executor = \"constant-arrival-rate\"\nrate = 1\nduration = \"1s\""),
        scenario("executor = \"constant-arrival-rate\"\nrate = 0\nduration = \"1s\"\npreAllocatedVUs = 1"),
        scenario("executor = \"ramping-arrival-rate\"\npreAllocatedVUs = 1"),
        scenario("executor = \"shared-iterations\"\narrivals = \"even\""),
        scenario("executor = \"per-vu-iterations\"\n[thresholds]\nhttp_req_duratoin = \"max<1\""),
        scenario("executor = \"per-vu-iterations\"\n[thresholds]\nhttp_req_duration = \"p95<1\""),
        scenario("executor = \"per-vu-iterations\"\n[thresholds]\nhttp_req_duration = \"max<1ms\""),
        scenario("executor = \"per-vu-iterations\"\n[thresholds]\nhttp_req_duration = { abortOnFail = true }"),
        scenario("executor = \"per-vu-iterations\"\n[thresholds]\nhttp_req_duration = 500"),
        scenario("executor = \"per-vu-iterations\"\n[data.a]\norder = \"unique\""),
        scenario("executor = \"per-vu-iterations\"\n[data.vu]\nfile = \"tickers.csv\""),
        scenario("executor = \"per-vu-iterations\"\n[data.a]\nfile = \"tickers.csv\"\norder = \"any\""),
        step("").replace("get = \"/\"", ""),
        step("").replace("name = \"c\"", ""),
        step("").replace("get = \"/\"", "get = \"stocks\""),
        step("").replace("get = \"/\"", "get = \"/#a\""),
        step("post = \"/\""),
        step("json = 1\nbody = \"a\""),
        step("redirects = 51"),
        step("expect = { status = 20 }"),
        step("expect = { status = [\"2x\"] }"),
        step("checks = [{ name = \"a\" }]"),
        step("checks = [{ status = 200, header = \"a\" }]"),
        step("checks = [{ status = 200, exists = true }]"),
        step("checks = [{ json = \"$.a\", above = 1, below = 2 }]"),
        step("checks = [{ sizeBelow = 100000000 }]"),
        step("extract = { a = { pick = \"first\" } }"),
        step("extract = { a = { json = \"$.a\", header = \"b\" } }"),
        step("extract = { vu = { json = \"$.a\" } }"),
        step("extract = { a = { json = \"$.a\", pick = \"last\" } }"),
        step("think = { min = \"1s\" }"),
        step("think = 1"),
        step("multipart = [{ name = \"a\" }]"),
        step("multipart = [{ name = \"a\", value = \"b\", file = \"tickers.csv\" }]"),
        step("multipart = [{ name = \"a\\\"\", value = \"b\" }]"),
        step("headers = { accept = [] }"),
        step("steps = 1"),
    ];
    for text in wrong {
        let [reader, schema] = both.faults(&text);
        assert!(reader.is_some() && schema.is_some(), "{text}\nreader: {reader:?}\nschema: {schema:?}");
    }
}
