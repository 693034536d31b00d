//! Steps fed with outcomes.

use super::*;
use crate::engine::program::{Message, SocketAsk, is_redirect};
use crate::outcome::{ErrorKind, Phases};
use crate::plan::{DataPlan, StepList};
use crate::scenario;
use http::Method;
use proptest::prelude::*;

const HEAD: &str =
    "[scenarios.a]\nexecutor = \"constant-vus\"\nexec = \"s\"\nduration = \"1m\"\nenv = { WHO = \"me&you\" }\n";

fn recipe(steps: &str) -> Result<Recipe, CompileFault> {
    let read = scenario::read(&format!("{HEAD}{steps}")).unwrap_or_else(|e| panic!("{e}"));
    let load_test = &read.scenarios["a"];
    let list = |(name, weight): &(String, u32)| StepList {
        name: name.clone(),
        weight: *weight,
        steps: read.steps.lists[name].clone(),
    };
    let data = read.steps.data.iter().map(|(name, data)| DataPlan {
        name: name.clone(),
        file: data.file.clone(),
        order: data.order,
        columns: data.set.columns.clone(),
        rows: data.set.rows.len(),
    });
    let plan = StepsPlan {
        lists: load_test.exec.lists().iter().map(list).collect(),
        env: load_test.env.clone(),
        data: data.collect(),
        content_root: "/connect/content/1/".to_owned(),
        server_root: "/connect/".to_owned(),
        with_key: false,
        timeout: Duration::from_secs(60),
        bundles: Vec::new(),
    };
    // What is written into plan.json is read back whole.
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<StepsPlan>(&text).unwrap(), plan);
    let given = Given {
        headers: HeaderMap::new(),
        key: Some(HeaderValue::from_static("Key secret")),
        origin: "http://h:1/".parse().unwrap(),
        data: read.steps.data.iter().map(|(name, data)| (name.clone(), data.set.clone())).collect(),
        files: read.steps.files.clone(),
        first: 4,
        scenario: "a".to_owned(),
        seed: 1,
        parts: Some(Arc::new(part::tests::Scripted)),
    };
    Recipe::new(&plan, &given)
}

/// A VU and what it has noted.
pub(super) struct Bench {
    pub(super) steps: Steps,
    pub(super) notes: Notes,
}

impl Bench {
    pub(super) fn new(steps: &str) -> Bench {
        Bench { steps: Steps::new(Arc::new(recipe(steps).unwrap()), 0), notes: Notes::default() }
    }

    pub(super) fn start(&mut self) -> Action {
        self.steps.next(Duration::ZERO, None, &mut self.notes)
    }

    pub(super) fn answer(&mut self, status: u16, headers: &[(&'static str, &str)], body: &str) -> Action {
        self.answer_bytes(status, headers, body.as_bytes())
    }

    /// Answers as the client does, as far as statuses go.
    fn answer_bytes(&mut self, status: u16, headers: &[(&'static str, &str)], body: &[u8]) -> Action {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let asked = self.steps.asked.clone().unwrap();
        let statuses = &asked.expect.statuses;
        let expected = if statuses.is_empty() { (200..400).contains(&status) } else { statuses.contains(&status) };
        let ended = match expected || asked.expect.is_followed(status, &map) {
            true => Ended::Completed,
            false => Ended::Failed(ErrorKind::Status(status)),
        };
        let outcome = Outcome {
            ended,
            status: Some(status),
            headers: Some(&map),
            body: &body[..body.len().min(asked.keep_body)],
            phases: Phases { waiting: Duration::from_millis(30), ..Phases::default() },
            started: Duration::ZERO,
            finished: Duration::ZERO,
        };
        self.steps.next(Duration::ZERO, Some(outcome), &mut self.notes)
    }

    fn fail(&mut self, kind: ErrorKind) -> Action {
        let outcome = Outcome {
            ended: Ended::Failed(kind),
            status: None,
            headers: None,
            body: &[],
            phases: Phases::default(),
            started: Duration::ZERO,
            finished: Duration::ZERO,
        };
        self.steps.next(Duration::ZERO, Some(outcome), &mut self.notes)
    }

    fn checks(&mut self) -> Vec<(String, bool)> {
        self.notes.checks.drain(..).map(|(name, passed)| (name.to_string(), passed)).collect()
    }

    pub(super) fn why(&self) -> &str {
        self.notes.events.last().unwrap()["why"].as_str().unwrap()
    }
}

/// What is asked of a session.
fn socket(action: Action) -> SocketAsk {
    match action {
        Action::Socket(ask) => ask,
        other => panic!("{other:?}"),
    }
}

fn exchange(action: Action) -> Rc<Exchange> {
    match action {
        Action::Exchange(exchange) => exchange,
        other => panic!("{other:?}"),
    }
}

fn target(action: Action) -> String {
    exchange(action).request.target.to_string()
}

#[test]
fn an_iteration_goes_from_step_to_step() {
    let mut bench = Bench::new(
        r#"
        [[steps.s]]
        name = "list"
        get = "/stocks/"
        query = { limit = 10, who = "${env.WHO}" }
        checks = [
          { name = "ticker", json = "$.tickers[0]", equals = "A B" },
          { json = "$.n", below = 2 },
          { header = "x-token", matches = "^t+$" },
          { status = "2xx" }, { sizeBelow = 5 }, { durationBelow = "31ms" }, { bodyContains = "nobody" },
        ]
        extract = { ticker = { json = "$.tickers[0]" }, token = { header = "X-Token" }, sid = { cookie = "sid" }, n = { regex = "\"n\":(\\d)" } }
        think = "1s"

        [[steps.s]]
        name = "one"
        put = "/stocks/${ticker}?n=${n}"
        headers = { x-token = "${token}" }
        json = { sid = "${sid}", list = [1, true, "${vu}/${iteration}"] }
        auth = true
        timeout = "5s"
        "#,
    );
    let first = exchange(bench.start());
    assert_eq!(
        (first.request.target.to_string(), first.series),
        ("/connect/content/1/stocks/?limit=10&who=me%26you".into(), SeriesId(4))
    );
    assert!(!first.request.headers.contains_key("authorization"));
    let headers = [("x-token", "tt"), ("set-cookie", "sid=q\"1; Path=/"), ("set-cookie", "other=2")];
    let Action::Wait(think) = bench.answer(200, &headers, r#"{"tickers":["A B"],"n":3}"#) else { panic!() };
    assert_eq!(think, Duration::from_secs(1));
    let passed: Vec<bool> = bench.checks().iter().map(|(_, passed)| *passed).collect();
    assert_eq!(passed, [true, false, true, true, false, true, false]);
    let second = exchange(bench.start());
    assert_eq!(second.request.target, "/connect/content/1/stocks/A%20B?n=3");
    assert_eq!((second.series, second.timeout), (SeriesId(5), Duration::from_secs(5)));
    assert_eq!(second.request.method, Method::PUT);
    assert_eq!(second.request.headers["authorization"], "Key secret");
    assert_eq!(
        (&second.request.headers["x-token"], &second.request.headers["content-type"]),
        (&"tt".parse().unwrap(), &"application/json".parse().unwrap())
    );
    assert_eq!(second.request.body, r#"{"list":[1,true,"1/0"],"sid":"q\"1"}"#);
    assert!(matches!(bench.answer(204, &[], ""), Action::End(true)));
    // What never changes is made once.
    assert!(Rc::ptr_eq(&first, &exchange(bench.start())));
    assert!(bench.notes.events.is_empty());
}

#[test]
fn a_variable_that_is_not_there_ends_the_iteration() {
    let steps = "[[steps.s]]\nname = \"a\"\nget = \"/\"\nextract = { id = { json = \"$.id\" } }\n\
                 [[steps.s]]\nname = \"b\"\nget = \"/${id}\"\n";
    let mut bench = Bench::new(steps);
    for body in ["", "{}", "null", r#"{"id":null}"#, &"[".repeat(100_000), "\u{0}\u{ffff}"] {
        bench.start();
        assert!(matches!(bench.answer(200, &[], body), Action::End(false)));
    }
    assert_eq!(bench.why(), "`id` is not in the response (status 200)");
    // Told once, however often it happens.
    assert_eq!(bench.notes.events.len(), 1);
    bench.start();
    assert!(matches!(bench.fail(ErrorKind::Timeout), Action::End(false)));
    bench.start();
    assert_eq!(target(bench.answer(200, &[], r#"{"id":7}"#)), "/connect/content/1/7");
}

#[test]
fn a_default_stands_in_for_what_is_missing() {
    let steps = "[[steps.s]]\nname = \"a\"\nget = \"/\"\nextract = { id = { header = \"x\", default = \"d\" } }\n\
                 [[steps.s]]\nname = \"b\"\nget = \"/${id}\"\n";
    let mut bench = Bench::new(steps);
    bench.start();
    assert_eq!(target(bench.answer(200, &[], "")), "/connect/content/1/d");
}

#[test]
fn a_failed_request_fails_the_iteration_and_its_checks_but_not_the_next_step() {
    let steps = "[[steps.s]]\nname = \"a\"\nget = \"/\"\nchecks = [{ status = 500 }, { header = \"x\", exists = false }]\n\
                 [[steps.s]]\nname = \"b\"\nget = \"/b\"\n";
    let mut bench = Bench::new(steps);
    bench.start();
    assert_eq!(target(bench.fail(ErrorKind::Reset)), "/connect/content/1/b");
    assert!(matches!(bench.answer(200, &[], ""), Action::End(false)));
    let named = |passed| vec![("a: status 500".to_owned(), passed), ("a: header x exists false".to_owned(), passed)];
    assert_eq!(bench.checks(), named(false));
    // A status that fails the request is a response all the same.
    bench.start();
    bench.answer(500, &[], "");
    assert_eq!(bench.checks(), named(true));
}

#[test]
fn redirects_are_followed_and_bounded() {
    let steps = "[[steps.s]]\nname = \"a\"\npost = \"/login\"\nform = { user = \"a b\" }\nredirects = 2\nauth = true\n\
                 expect = { status = 200 }\nextract = { sid = { cookie = \"sid\" } }\n\
                 [[steps.s]]\nname = \"b\"\nget = \"/${sid}\"\n";
    let mut bench = Bench::new(steps);
    let first = exchange(bench.start());
    assert_eq!((first.request.body.as_ref(), first.expect.follow), (&b"user=a+b"[..], true));
    let next = exchange(bench.answer(302, &[("location", "../home"), ("set-cookie", "sid=s1")], ""));
    assert_eq!(
        (next.request.method.clone(), next.request.target.to_string()),
        (Method::GET, "/connect/content/home".to_owned())
    );
    assert_eq!((next.series, next.request.headers.contains_key("authorization")), (first.series, true));
    assert_eq!(target(bench.answer(200, &[], "")), "/connect/content/1/s1");
    bench.answer(200, &[], "");

    bench.start();
    assert!(exchange(bench.answer(302, &[("location", "/x")], "")).expect.follow);
    assert!(!exchange(bench.answer(302, &[("location", "/x")], "")).expect.follow);
    assert!(matches!(bench.answer(302, &[("location", "/x")], ""), Action::End(false)));
    assert_eq!(bench.why(), "redirected more than 2 times");
}

#[test]
fn the_key_never_leaves_the_origin() {
    let step = |url: &str| format!("[[steps.s]]\nname = \"a\"\nget = \"{url}\"\nauth = true\n");
    let mut bench = Bench::new(&step("/"));
    bench.start();
    assert!(matches!(bench.answer(302, &[("location", "http://evil:1/")], ""), Action::End(false)));
    assert!(bench.why().contains("http://evil:1 is another origin than http://h:1"), "{}", bench.why());
    assert!(recipe(&step("http://evil:1/")).unwrap_err().to_string().contains("a run has one origin"));
    assert!(recipe(&step("https://h:1/")).is_err());
    assert_eq!(target(Bench::new(&step("http://h:1/x?y=1")).start()), "/x?y=1");
    assert_eq!(target(Bench::new(&step("server:/__api__/v1/user")).start()), "/connect/__api__/v1/user");

    let steps = "[[steps.s]]\nname = \"a\"\nget = \"/\"\nextract = { next = { json = \"$.next\" } }\n\
                 [[steps.s]]\nname = \"b\"\nget = \"${next}\"\nauth = true\nquery = { a = 1 }\n";
    let mut bench = Bench::new(steps);
    bench.start();
    assert_eq!(target(bench.answer(200, &[], r#"{"next":"http://h:1/p?cursor=a%20b"}"#)), "/p?cursor=a%20b&a=1");
    bench.answer(200, &[], "");
    bench.start();
    assert!(matches!(bench.answer(200, &[], r#"{"next":"//evil/"}"#), Action::End(false)));
}

#[test]
fn data_is_taken_in_its_order() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("t.csv"), "symbol\nA\nB\nC\n").unwrap();
    let file = directory.path().join("t.csv");
    let steps = |order: &str| {
        format!(
            "[data.t]\nfile = {:?}\norder = {order:?}\n[[steps.s]]\nname = \"a\"\nget = \"/${{t.symbol}}\"\n",
            file.to_string_lossy()
        )
    };
    let take = |order: &str, vu: u32, recipe: &Arc<Recipe>| -> String {
        let mut bench = Bench { steps: Steps::new(recipe.clone(), vu), notes: Notes::default() };
        let _ = order;
        let mut taken = String::new();
        for _ in 0..4 {
            match bench.start() {
                Action::Exchange(exchange) => {
                    taken.push_str(exchange.request.target.path().rsplit('/').next().unwrap());
                    bench.answer(200, &[], "");
                }
                Action::Wait(_) => {
                    assert!(matches!(bench.start(), Action::End(false)));
                    taken.push('!');
                }
                Action::End(_) | Action::Socket(_) => panic!(),
            }
        }
        taken
    };
    let sequential = Arc::new(recipe(&steps("sequential")).unwrap());
    assert_eq!((take("", 0, &sequential), take("", 1, &sequential)), ("ABCA".to_owned(), "BCAB".to_owned()));
    let unique = Arc::new(recipe(&steps("unique")).unwrap());
    assert_eq!((take("", 0, &unique), take("", 1, &unique)), ("ABC!".to_owned(), "!!!!".to_owned()));
    let random = Arc::new(recipe(&steps("random")).unwrap());
    assert_eq!(take("", 5, &random), take("", 5, &random));
}

#[test]
fn bodies_are_one_buffer_where_they_can_be() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("big.bin");
    std::fs::write(&file, vec![7_u8; 1 << 20]).unwrap();
    let file = file.to_string_lossy().into_owned();
    let steps = format!(
        "[[steps.s]]\nname = \"a\"\npost = \"/\"\nfile = {file:?}\n\
         [[steps.s]]\nname = \"b\"\npost = \"/${{iteration}}\"\nmultipart = [{{ name = \"f\", file = {file:?} }}, {{ name = \"v\", value = \"x\" }}]\n\
         [[steps.s]]\nname = \"c\"\npost = \"/\"\nmultipart = [{{ name = \"v\", value = \"${{vu}}\" }}]\n"
    );
    let recipe = Arc::new(recipe(&steps).unwrap());
    let bodies = |vu: u32| {
        let mut bench = Bench { steps: Steps::new(recipe.clone(), vu), notes: Notes::default() };
        let a = exchange(bench.start()).request.body.clone();
        let b = exchange(bench.answer(200, &[], ""));
        let c = exchange(bench.answer(200, &[], "")).request.body.clone();
        (a, b.request.body.clone(), c, b.request.headers["content-type"].clone())
    };
    let (one, two) = (bodies(0), bodies(1));
    assert_eq!((one.0.len(), one.0.as_ptr(), one.1.as_ptr()), (1 << 20, two.0.as_ptr(), two.1.as_ptr()));
    let boundary = one.3.to_str().unwrap().strip_prefix("multipart/form-data; boundary=").unwrap().to_owned();
    assert!(one.1.starts_with(format!("--{boundary}\r\nContent-Disposition: form-data; name=\"f\"; filename=\"big.bin\"\r\nContent-Type: application/octet-stream\r\n\r\n\u{7}").as_bytes()));
    assert!(
        one.1.ends_with(
            format!("\r\n--{boundary}\r\nContent-Disposition: form-data; name=\"v\"\r\n\r\nx\r\n--{boundary}--\r\n")
                .as_bytes()
        )
    );
    let text = String::from_utf8(two.2.to_vec()).unwrap();
    assert!(text.contains("name=\"v\"\r\n\r\n2\r\n"), "{text}");
}

#[test]
fn a_hostile_value_cannot_stand_where_it_does_harm() {
    let steps = "[[steps.s]]\nname = \"a\"\nget = \"/\"\nextract = { x = { json = \"$.x\" } }\n\
                 [[steps.s]]\nname = \"b\"\nget = \"/${x}\"\nheaders = { x-x = \"${x}\" }\n";
    let mut bench = Bench::new(steps);
    bench.start();
    assert!(matches!(bench.answer(200, &[], r#"{"x":"a\r\nHost: evil"}"#), Action::End(false)));
    assert!(bench.why().contains("x-x cannot be sent"));
    bench.start();
    let long = format!("{{\"x\":\"{}\"}}", "a".repeat(100_000));
    assert!(matches!(bench.answer(200, &[], &long), Action::End(false)));
    bench.start();
    let huge = format!("{{\"y\":\"{}\",\"x\":1}}", "a".repeat(2 << 20));
    assert!(matches!(bench.answer(200, &[], &huge), Action::End(false)));
}

#[test]
fn lists_are_chosen_by_weight() {
    let head = HEAD.replace("\"s\"", "{ s = 3, t = 1 }");
    let steps = "[[steps.s]]\nname = \"a\"\nget = \"/s\"\n[[steps.t]]\nname = \"a\"\nget = \"/t\"\n";
    let read = scenario::read(&format!("{head}{steps}")).unwrap();
    assert_eq!(read.scenarios["a"].exec.lists(), [("s".to_owned(), 3), ("t".to_owned(), 1)]);
    let mut recipe = recipe(steps).unwrap();
    let other =
        self::recipe(&steps.replace("steps.t", "steps.x").replace("steps.s", "steps.t").replace("steps.x", "steps.s"));
    recipe.lists.extend(other.unwrap().lists);
    recipe.lists[0].weight = 3;
    recipe.weights = 4;
    let mut bench = Bench { steps: Steps::new(Arc::new(recipe), 0), notes: Notes::default() };
    let mut chosen = 0;
    for _ in 0..1000 {
        chosen += u32::from(target(bench.start()).ends_with("/s"));
        bench.answer(200, &[], "");
    }
    assert!((700..800).contains(&chosen), "{chosen}");
}

proptest! {
    #[test]
    fn no_response_is_a_panic(
        status in 100u16..600,
        name in prop::sample::select(vec!["location", "set-cookie", "x", "content-type"]),
        value in prop::collection::vec(prop::sample::select((32u8..=126).chain(128..=255).collect::<Vec<_>>()), 0..20),
        body in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let steps = "[[steps.s]]\nname = \"a\"\nget = \"/\"\nredirects = 3\nchecks = [{ json = \"$..a\", equals = 1 }, { header = \"x\", below = 2 }, { bodyMatches = \"a+\" }]\n\
            extract = { c = { cookie = \"c\", default = \"\" }, x = { header = \"x\", default = \"\" }, r = { regex = \"a(b)?\", pick = \"random\", default = \"\" } }\n\
            [[steps.s]]\nname = \"b\"\nget = \"${x}/${r}\"\nheaders = { x = \"${c}\" }\n";
        let mut bench = Bench::new(steps);
        bench.start();
        let mut map = HeaderMap::new();
        map.append(name, HeaderValue::from_bytes(&value).unwrap());
        let asked = bench.steps.asked.clone().unwrap();
        let outcome = Outcome {
            ended: if is_redirect(status) || status < 400 { Ended::Completed } else { Ended::Failed(ErrorKind::Status(status)) },
            status: Some(status), headers: Some(&map), body: &body[..body.len().min(asked.keep_body)],
            phases: Phases::default(), started: Duration::ZERO, finished: Duration::ZERO,
        };
        bench.steps.next(Duration::ZERO, Some(outcome), &mut bench.notes);
    }
}

#[test]
fn a_session_gives_variables_to_later_steps_and_has_the_key_where_that_is_said() {
    let mut bench = Bench::new(
        r#"
[[steps.s]]
name = "talk"
websocket = "/ws"
auth = true
timeout = "9s"
actions = [
  { sendJson = { who = "${env.WHO}" } },
  { expect = { json = "$.n", above = 1 }, timeout = "4s", extract = { n = { json = "$.n" } } },
]

[[steps.s]]
name = "page"
get = "/${n}"
"#,
    );
    let SocketAsk::Open(opening) = socket(bench.start()) else { panic!() };
    assert_eq!((opening.series, opening.request.target.path()), (SeriesId(4), "/connect/content/1/ws"));
    assert_eq!(opening.request.headers["authorization"], "Key secret");
    let s = Duration::from_secs;
    let mut hear = |now, heard| bench.steps.heard(now, heard, &mut bench.notes);
    let SocketAsk::Send(message, within) = socket(hear(s(1), Heard::Done)) else { panic!() };
    assert_eq!((message, within), (Message::Text("{\"who\":\"me&you\"}".to_owned()), s(9)));
    let SocketAsk::Receive(within) = socket(hear(s(2), Heard::Done)) else { panic!() };
    assert_eq!(within, s(4));
    // Not the one that is expected: what is left of the time.
    let SocketAsk::Receive(within) = socket(hear(s(3), Heard::Message("{\"n\":1}".into(), s(3)))) else { panic!() };
    assert_eq!(within, s(3));
    let SocketAsk::Close(1000, within) = socket(hear(s(5), Heard::Message("{\"n\":42}".into(), s(4)))) else {
        panic!()
    };
    assert_eq!(within, s(5));
    let page = exchange(hear(s(6), Heard::Done));
    assert_eq!(page.request.target.path(), "/connect/content/1/42");
    assert_eq!(bench.notes.expected, [(SeriesId(4), s(2))]);
    assert!(matches!(bench.answer(200, &[], ""), Action::End(true)));
}

const FAILS: &str = r#"
[[steps.s]]
name = "talk"
websocket = "/ws"
actions = [{ expect = "any", extract = { n = { json = "$.n" } } }]

[[steps.s]]
name = "page"
get = "/${n}"
"#;

#[test]
fn a_session_that_fails_ends_the_iteration_and_says_why() {
    let s = Duration::from_secs;
    for (heard, kind, why) in [
        (Heard::Nothing, ErrorKind::SocketExpect, "action 1: no expected message within 60s"),
        (Heard::Message("[]".into(), s(1)), ErrorKind::Body, "`n` is not in the message"),
    ] {
        let mut bench = Bench::new(FAILS);
        bench.start();
        bench.steps.heard(s(0), Heard::Done, &mut bench.notes);
        let SocketAsk::Fail(failed) = socket(bench.steps.heard(s(1), heard, &mut bench.notes)) else { panic!() };
        assert_eq!(failed, kind);
        let next = bench.steps.heard(s(1), Heard::Over(failed), &mut bench.notes);
        assert!(matches!(next, Action::End(false)));
        assert_eq!(bench.why(), why);
    }
    let mut bench = Bench::new(FAILS);
    bench.start();
    let next = bench.steps.heard(s(1), Heard::Over(ErrorKind::Status(403)), &mut bench.notes);
    assert!(matches!(next, Action::End(false)));
    assert_eq!(bench.why(), "status 403");
}
