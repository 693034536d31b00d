//! Faults of steps as people see them.

use std::path::Path;

use proptest::prelude::*;

use super::super::read_in;

const HEAD: &str = "[scenarios.a]\nexecutor = \"constant-vus\"\nexec = \"s\"\nduration = \"1m\"\n";

fn faults(steps: &str) -> String {
    read_in(&format!("{HEAD}{steps}"), Path::new("/nonexistent")).unwrap_err().to_string()
}

#[test]
fn all_faults_are_told_at_once_with_their_places_and_what_may_be_meant() {
    let text = faults(
        r#"
[[steps.s]]
name = "one"
get = "/${tickr}"
timout = "1s"
redirects = 99
expect = { status = ["2xx", 700], bodyContain = "x" }
checks = [{ json = "$.a[", equals = 1 }, { header = "x", matches = "(" }, { sizeBelow = 1, status = 200 }]
extract = { ticker = { jsn = "$.a" }, b = { regex = "a" } }
think = { min = "2s", max = "1s" }

[[steps.s]]
name = "one"
get = "/${b}/${tickers.symbl}/${env.WHO}"
post = "/"
headers = { authorization = "Key abc", host = "x" }
file = "missing.bin"

[[steps.s]]
name = "three"
get = "relative"
query = { name = "${nobody" }
multipart = [{ name = "x" }]

[data.tickers]
file = "missing.csv"
order = "randm"
"#,
    );
    let expected = [
        "line 8, column 7: steps.s, step \"one\": `${tickr}`: no step before this one extracts it",
        "line 9, column 1: steps.s, step \"one\": unknown key `timout`; did you mean `timeout`?",
        "line 10, column 13: steps.s, step \"one\": `redirects` is a whole number from 0 to 50",
        "`status` is a status (200), a class (\"2xx\") or a range",
        "unknown key `bodyContain`; did you mean `bodyContains`?",
        "line 12, column 20: steps.s, step \"one\": `json`: ",
        "`matches`: unclosed group",
        "a check has one of status, header",
        "unknown key `jsn`; did you mean `json`?",
        "`extract.ticker` has one of json, header, cookie, regex",
        "with min not above max",
        "a second step of the name \"one\"",
        "`${tickers.symbl}`: there is no [data.tickers]",
        "`${env.WHO}`: no `env` has \"WHO\"",
        "a step has one of get, head",
        "a key does not belong into a file",
        "`headers.host` is written by connect-bench itself",
        "`file`: /nonexistent/missing.bin: No such file",
        "line 25, column 7: steps.s, step \"three\": `get`: a URL begins with",
        "`${` without `}`",
        "a field has either a `value` or a `file`",
        "`order`: there is no `randm`; did you mean `random`?",
        "data.tickers: `file`: /nonexistent/missing.csv: No such file",
    ];
    for what in expected {
        assert!(text.contains(what), "{what}\nis missing in\n{text}");
    }
    assert_eq!(text.lines().next(), Some(format!("{} faults", text.lines().count() - 1).as_str()));
}

#[test]
fn an_unknown_list_and_an_unknown_column_are_told_with_the_nearest() {
    let text = faults("[[steps.t]]\nname = \"a\"\nget = \"/\"\n");
    assert_eq!(text, "line 3, column 8: scenarios.a: `exec`: there are no steps `s`; there are fetch, publish, t");
    let text = faults("[[steps.publish]]\nname = \"a\"\nget = \"/\"\n");
    assert!(text.contains("this cannot be the name of a step list"), "{text}");

    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("t.json"), r#"[{"symbol": "A"}]"#).unwrap();
    let steps = "[data.t]\nfile = \"t.json\"\n[[steps.s]]\nname = \"a\"\nget = \"/${t.symbl}/${x.symbol}\"\n";
    let text = read_in(&format!("{HEAD}{steps}"), directory.path()).unwrap_err().to_string();
    assert!(text.contains("t.json has no column \"symbl\"; did you mean `symbol`?"), "{text}");
    let good = format!("{HEAD}{}", steps.replace("symbl", "symbol").replace("/${x.symbol}", ""));
    assert!(read_in(&good, directory.path()).is_ok());
}

#[test]
fn weights_are_of_lists_that_there_are() {
    let with = |exec: &str| HEAD.replace("\"s\"", exec) + "[[steps.s]]\nname = \"a\"\nget = \"/\"\n";
    let read = |text: &str| read_in(text, Path::new(".")).map_err(|e| e.to_string());
    assert!(read(&with("{ s = 3 }")).is_ok());
    assert!(read(&with("{ s = 0 }")).unwrap_err().contains("`s` is a whole number from 1 to 1000000"));
    assert!(read(&with("{ fetch = 1, s = 1 }")).unwrap_err().contains("`fetch` has no weight"));
    assert!(read(&with("{ x = 1 }")).unwrap_err().contains("there are no steps `x`"));
    assert!(read(&with("{}")).is_err() && read(&with("3")).is_err());
}

proptest! {
    #[test]
    fn no_steps_are_a_panic(
        key in prop::sample::select(vec![
            "get", "post", "headers", "query", "json", "form", "body", "file", "multipart", "expect", "checks", "extract",
            "think", "auth", "group", "tags", "name", "timeout", "redirects", "other",
        ]),
        value in prop::sample::select(vec![
            "1", "-1", "1.5", "nan", "true", "\"\"", "\"/${a\"", "\"ü${vu}\"", "[]", "[1]", "[[]]", "[{}]", "{}",
            "{ a = 1 }", "{ a = {} }", "{ status = [] }", "[{ json = \"$\" }]", "[{ name = \"\", status = 1 }]",
            "{ a = { regex = \"(\" } }", "1979-05-27", "\"http://\"", "\"http:/${vu}\"", "\"server:\"", "0xffffffffffffffff",
        ]),
    ) {
        let _ = read_in(&format!("{HEAD}[[steps.s]]\n{key} = {value}\n"), Path::new("/nonexistent"));
        let _ = read_in(&format!("{HEAD}[[steps.s]]\nname = \"a\"\nget = \"/\"\n{key} = {value}\n"), Path::new("."));
        let _ = read_in(&format!("{HEAD}[steps]\ns = {value}\n[data]\n{key} = {value}\n"), Path::new("."));
    }
}

#[test]
fn faults_of_sessions() {
    let text = faults(
        r#"
[[steps.s]]
name = "one"
websocket = "/ws"
json = { a = 1 }
redirects = 2
protocols = ["a b", "c", "c"]
maxMessage = 0
headers = { Upgrade = "h2c", sec-websocket-key = "x" }
actions = [
  { send = "${id}" },
  { expect = { json = "$.id", contains = "${nobody}" }, extract = { id = { json = "$.id" } } },
  { send = "${id}", expect = "any" },
  { expect = "all" },
  { expect = { equals = 1 } },
  { expect = { contains = "a" }, extract = { h = { header = "x" } } },
  { send = "x", timeout = "1s" },
  { sendFile = "missing.bin" },
  { close = 1005 },
  { sned = "x" },
]

[[steps.s]]
name = "two"
get = "/${id}/${vu}"
actions = []
"#,
    );
    let expected = [
        "line 9, column 8: steps.s, step \"one\": `json` does not belong to a step with `websocket`",
        "line 10, column 13: steps.s, step \"one\": `redirects` does not belong to a step with `websocket`",
        "line 11, column 14: steps.s, step \"one\": a sub-protocol is a word without spaces and commas, named once",
        "line 11, column 26: steps.s, step \"one\": a sub-protocol is",
        "`maxMessage` is a whole number from 1 to 67108864",
        "`headers.Upgrade` is written by connect-bench itself",
        "line 15, column 12: steps.s, step \"one\": `${id}`: no step before this one extracts it",
        "`${nobody}`: no step before this one extracts it",
        "an action is one of send, sendJson, sendFile, expect, think, close",
        "`expect` is \"any\", or { contains | matches | json = … }",
        "`expect` is \"any\", or has one of json, contains, matches",
        "`extract.h`: a message has neither headers nor cookies",
        "`timeout` belongs to `expect`",
        "missing.bin",
        "a client closes with 1000 to 1003, 1007 to 1011 or 3000 to 4999",
        "`close` is the last action",
        "unknown key `sned`; did you mean `send`?",
        "line 30, column 11: steps.s, step \"two\": `actions` belongs to a step with `websocket`",
    ];
    for what in expected {
        assert!(text.contains(what), "{what}\nis not in\n{text}");
    }
    assert!(!text.contains("line 29"), "{text}");
}

#[test]
fn faults_of_what_publishes() {
    let text = faults(
        r#"
[[steps.s]]
name = "one"
publish = "plumber-stocks"
into = "old"
get = "/"
checks = []

[[steps.s]]
name = "two"
provision = "flask-stock"
into = "new"
item = "a b"
access = "none"
variables = { "A=B" = "x", C = "${nobody}" }
path = "relative"

[[steps.s]]
name = "three"
publish = "."
into = "new"
item = "x"
redirects = 3
timeout = "1s"

[[steps.s]]
name = "four"
get = "/"
item = "y"
"#,
    );
    let expected = [
        "a step has one of get, head, post, put, patch, delete, options, websocket: the URL of its request; or publish and \
         provision: an application",
        "line 9, column 8: steps.s, step \"one\": `into`: this is \"same\" or \"new\"",
        "line 11, column 10: steps.s, step \"one\": `checks` does not belong to a step with `publish`",
        "`provision` is flask-stocks, plumber-stocks, or a directory, and \"flask-stock\" is none of them; did you mean `flask-stocks`?",
        "`into` belongs to a step with `publish`",
        "line 17, column 8: steps.s, step \"two\": this cannot be the name of a variable",
        "`access`: this is \"all\" or \"key\"",
        "\"A=B\" cannot be the name of an environment variable",
        "`${nobody}`: no step before this one extracts it",
        "`path` begins with \"/\"",
        "the item is deleted at the end of the step",
        "`redirects` does not belong to a step with `publish`",
        "`timeout` does not belong to a step with `publish`",
        "steps.s, step \"four\": `item` belongs to a step with `publish` or `provision`",
    ];
    for what in expected {
        assert!(text.contains(what), "{what}\nis not in\n{text}");
    }
}
