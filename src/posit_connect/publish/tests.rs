//! The publish loop, fed with outcomes: its exchanges, its phases, its failures.

use std::collections::VecDeque;

use http::Method;
use serde_json::{Value, json};

use super::*;
use crate::engine::program::SeriesId;
use crate::outcome::Phases;
use crate::secret::ApiKey;

mod lasting;

const KEY: &str = "s3cr3tk3y";
const GUID: &str = "aaaa-1";

fn series() -> PublishSeries {
    let id = SeriesId;
    PublishSeries {
        create: id(0),
        upload: id(1),
        deploy: id(2),
        task: id(3),
        first_response: id(4),
        prune: id(5),
        delete: id(6),
    }
}

fn plan(into: PublishInto) -> PublishPlan {
    PublishPlan {
        series: series(),
        base_path: "/sub/".into(),
        key: ApiKey::new(KEY).unwrap(),
        bundle: "bundle".into(),
        into,
        first_path: "/price?ticker=AAPL".into(),
        timeouts: PublishTimeouts::default(),
        seed: 7,
    }
}

fn one() -> PublishInto {
    PublishInto::One { guid: GUID.into(), with_key: false }
}

fn new() -> PublishInto {
    lasting(Lasts::Publish, &[])
}

fn lasting(lasts: Lasts, variables: &[(&str, &str)]) -> PublishInto {
    PublishInto::New {
        prefix: "connect-bench-r-publish-".into(),
        description: "d".into(),
        access: Access::Everyone,
        first_number: 3,
        number_step: 2,
        lasts,
        variables: variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    }
}

/// What a scripted server answers.
enum Reply {
    Status(u16, String),
    Error(ErrorKind),
}

fn ok(value: &Value) -> Reply {
    Reply::Status(200, value.to_string())
}

fn status(status: u16, value: &Value) -> Reply {
    Reply::Status(status, value.to_string())
}

fn happy(method: &Method, target: &str) -> Reply {
    match (method.as_str(), target) {
        ("POST", "/sub/__api__/v1/content") => ok(&json!({"guid": GUID, "name": "n"})),
        ("POST", t) if t.ends_with("/bundles") => ok(&json!({"id": "11"})),
        ("POST", t) if t.ends_with("/deploy") => status(202, &json!({"task_id": "T1"})),
        ("GET", t) if t.contains("first=0") => {
            ok(&json!({"output": ["Bundle created", "Building"], "finished": false, "last": 2, "code": 0, "error": ""}))
        }
        ("GET", t) if t.contains("first=2") => {
            ok(&json!({"output": ["2026/01/01 Launching Plumber API..."], "finished": false, "last": 3, "code": 0}))
        }
        ("GET", t) if t.contains("/tasks/") => ok(&json!({"output": [], "finished": true, "last": 3, "code": 0})),
        ("DELETE", _) => Reply::Status(204, String::new()),
        _ => ok(&json!({"ticker": "AAPL"})),
    }
}

/// Drives a loop in virtual time: every exchange takes one second.
struct Driver {
    program: PublishLoop,
    now: Duration,
    notes: Notes,
    /// `POST upload /path`, `wait 1.000`.
    seen: Vec<String>,
}

impl Driver {
    fn new(into: PublishInto) -> Driver {
        let program = PublishLoop::new(plan(into)).unwrap();
        Driver { program, now: Duration::ZERO, notes: Notes::default(), seen: Vec::new() }
    }

    fn iteration(&mut self, mut server: impl FnMut(&Method, &str) -> Reply) -> bool {
        let mut action = self.program.next(self.now, None, &mut self.notes);
        for _ in 0..10_000 {
            action = match action {
                Action::End(ok) => return ok,
                Action::Wait(pause) => {
                    self.seen.push(format!("wait {:.3}", pause.as_secs_f64()));
                    self.now += pause;
                    self.program.next(self.now, None, &mut self.notes)
                }
                Action::Exchange(exchange) => self.exchange(&exchange, &mut server),
                Action::Socket(ask) => panic!("{ask:?}"),
            };
        }
        panic!("the iteration does not end");
    }

    fn exchange(&mut self, exchange: &Exchange, server: &mut impl FnMut(&Method, &str) -> Reply) -> Action {
        let request = &exchange.request;
        let target = request.target.to_string();
        self.seen.push(format!("{} {} {target}", exchange.series.0, request.method));
        let started = self.now;
        self.now += Duration::from_secs(1);
        let (status, body, ended) = match server(&request.method, &target) {
            Reply::Status(status, body) if exchange.expect.statuses.contains(&status) => {
                (Some(status), body, Ended::Completed)
            }
            Reply::Status(status, body) => (Some(status), body, Ended::Failed(ErrorKind::Status(status))),
            Reply::Error(kind) => (None, String::new(), Ended::Failed(kind)),
        };
        let body = &body.as_bytes()[..body.len().min(exchange.keep_body)];
        let phases = Phases::default();
        let outcome = Outcome { ended, status, headers: None, body, phases, started, finished: self.now };
        self.program.next(self.now, Some(outcome), &mut self.notes)
    }

    fn event(&self) -> &Value {
        self.notes.events.last().unwrap()
    }
}

/// Runs one iteration in which one step, told by a part of its request, is answered otherwise.
fn failing(into: PublishInto, method: &str, part: &str, reply: impl Fn() -> Reply) -> (Driver, bool) {
    let mut driver = Driver::new(into);
    let done = driver.iteration(
        |m, target| {
            if m.as_str() == method && target.contains(part) { reply() } else { happy(m, target) }
        },
    );
    (driver, done)
}

#[test]
fn a_publish_goes_through_its_steps_and_is_timed() {
    let mut driver = Driver::new(one());
    assert!(driver.iteration(happy));
    let steps = [
        "1 POST /sub/__api__/v1/content/aaaa-1/bundles",
        "2 POST /sub/__api__/v1/content/aaaa-1/deploy",
        "3 GET /sub/__api__/v1/tasks/T1?first=0&wait=1",
        "3 GET /sub/__api__/v1/tasks/T1?first=2&wait=1",
        "3 GET /sub/__api__/v1/tasks/T1?first=3&wait=1",
        "4 GET /sub/content/aaaa-1/price?ticker=AAPL",
    ];
    assert_eq!(driver.seen, steps);
    let second = Duration::from_secs(1);
    let trends = [
        (PUBLISH_UPLOAD, second),
        (PUBLISH_QUEUE, second),
        (PUBLISH_RESTORE, second),
        (PUBLISH_LAUNCH, second),
        (PUBLISH_FIRST_RESPONSE, second),
        (PUBLISH_TOTAL, 6 * second),
    ];
    assert_eq!(driver.notes.trends, trends);
    let event = driver.event();
    assert_eq!((&event["ok"], &event["n"], &event["error"]), (&json!(true), &json!(1), &Value::Null));
    assert_eq!((&event["guid"], &event["bundle_id"]), (&json!(GUID), &json!("11")));
    assert_eq!(event["phases_ms"]["publish_total"], 6000.0);
}

#[test]
fn the_bundle_that_was_served_before_is_deleted_and_no_other() {
    let mut driver = Driver::new(one());
    let mut id = 10;
    for _ in 0..3 {
        assert!(driver.iteration(|method, target| {
            if target.ends_with("/bundles") {
                id += 1;
                return ok(&json!({"id": id.to_string()}));
            }
            happy(method, target)
        }));
    }
    let pruned: Vec<_> = driver.seen.iter().filter(|step| step.starts_with("5 ")).collect();
    let prune = |id: u32| format!("5 DELETE /sub/__api__/v1/content/aaaa-1/bundles/{id}");
    assert_eq!(pruned, [&prune(11), &prune(12)]);
}

#[test]
fn a_bundle_that_could_not_be_deleted_is_tried_again_and_the_publish_still_counts() {
    let mut driver = Driver::new(one());
    let mut id = 10;
    for round in 0..3 {
        assert!(driver.iteration(|method, target| match method.as_str() {
            "DELETE" if round == 1 => status(400, &json!({"code": 75, "error": "active"})),
            "POST" if target.ends_with("/bundles") => {
                id += 1;
                ok(&json!({"id": id.to_string()}))
            }
            _ => happy(method, target),
        }));
        assert_eq!(driver.event().get("left_behind").is_some(), round == 1);
    }
    assert_eq!(driver.seen.iter().filter(|step| step.ends_with("/bundles/11")).count(), 2);
}

#[test]
fn new_items_are_made_configured_and_deleted() {
    let mut driver = Driver::new(new());
    assert!(driver.iteration(happy));
    assert_eq!(driver.seen[0], "0 POST /sub/__api__/v1/content");
    assert_eq!(driver.seen[1], "0 PATCH /sub/__api__/v1/content/aaaa-1");
    assert_eq!(driver.seen.last().unwrap(), "6 DELETE /sub/__api__/v1/content/aaaa-1");
    assert_eq!(driver.notes.trends[0], (PUBLISH_CREATE, Duration::from_secs(2)));
    let create = driver.program.requests.create("x", "d").unwrap();
    assert!(create.request.headers["authorization"].is_sensitive());
    assert_eq!(driver.program.attempt.n, 1);
}

#[test]
fn names_of_several_vus_do_not_meet() {
    let mut program = PublishLoop::new(plan(new())).unwrap();
    let mut names = Vec::new();
    for _ in 0..2 {
        let Action::Exchange(create) = program.begin(Duration::ZERO) else { panic!("no request") };
        let body: Value = serde_json::from_slice(&create.request.body).unwrap();
        names.push(body["name"].as_str().unwrap().to_owned());
    }
    assert_eq!(names, ["connect-bench-r-publish-3", "connect-bench-r-publish-5"]);
}

#[test]
fn each_step_can_fail_and_says_so() {
    let refused = || status(403, &json!({"code": 22, "error": "not permitted for s3cr3tk3y", "payload": null}));
    let cases = [("POST", "/bundles", "upload"), ("POST", "/deploy", "deploy"), ("GET", "/tasks/", "task")];
    for (method, part, step) in cases {
        let (driver, done) = failing(one(), method, part, refused);
        assert!(!done, "{step}");
        let error = &driver.event()["error"];
        assert_eq!((&error["step"], &error["status"], &error["code"]), (&json!(step), &json!(403), &json!(22)));
        assert_eq!(error["kind"], "status_403");
        assert!(error["text"].as_str().unwrap().starts_with("not permitted for [key]; publishing needs"), "{error}");
        assert!(!driver.event().to_string().contains(KEY));
        assert!(driver.notes.trends.is_empty(), "trends are of successes only");
    }
}

#[test]
fn a_new_item_is_deleted_also_after_a_failure() {
    for (method, part) in [("PATCH", "content/"), ("POST", "/bundles"), ("POST", "/deploy"), ("GET", "/tasks/")] {
        let (driver, done) = failing(new(), method, part, || status(500, &json!({"code": 1, "error": "x"})));
        assert!(!done);
        assert!(driver.seen.last().unwrap().starts_with("6 DELETE"), "{part}: {:?}", driver.seen);
    }
    let (driver, _) = failing(new(), "POST", "v1/content", || status(409, &json!({"code": 26, "error": "exists"})));
    assert_eq!(driver.seen.len(), 1, "what was not made is not deleted");
    assert!(driver.event()["error"]["text"].as_str().unwrap().contains("cleanup"));
    let (driver, done) = failing(new(), "DELETE", "", || status(500, &json!({})));
    assert!(done && driver.event()["left_behind"]["step"] == "delete");
}

#[test]
fn a_task_that_failed_shows_the_end_of_its_log() {
    let lines: Vec<String> = (0..40).map(|n| format!("line {n} {KEY}")).collect();
    let body = json!({"output": lines, "finished": true, "code": 1, "error": "no package", "last": 40});
    let (driver, done) = failing(one(), "GET", "/tasks/", || ok(&body));
    assert!(!done);
    let error = &driver.event()["error"];
    assert_eq!((&error["code"], &error["text"]), (&json!(1), &json!("no package")));
    let log = error["log"].as_array().unwrap();
    assert_eq!((log.len(), &log[11]), (12, &json!("line 39 [key]")));
}

#[test]
fn a_task_of_another_node_is_explained() {
    let (driver, _) = failing(one(), "GET", "/tasks/", || status(404, &json!({"code": 141, "error": "no such task"})));
    assert!(driver.event()["error"]["text"].as_str().unwrap().contains("sticky"), "{}", driver.event());
    assert_eq!(driver.seen.len(), 3, "asked once");
}

#[test]
fn passing_failures_of_a_poll_do_not_end_the_publish() {
    let mut driver = Driver::new(one());
    let mut replies = VecDeque::from([
        Reply::Error(ErrorKind::Timeout),
        Reply::Status(503, "<html>".into()),
        Reply::Error(ErrorKind::Reset),
    ]);
    assert!(driver.iteration(|method, target| match target.contains("/tasks/").then(|| replies.pop_front()) {
        Some(Some(reply)) => reply,
        _ => happy(method, target),
    }));
    let (driver, done) = failing(one(), "GET", "/tasks/", || Reply::Error(ErrorKind::Refused));
    assert!(!done && driver.event()["error"]["kind"] == "refused");
    assert_eq!(driver.seen.iter().filter(|step| step.starts_with("3 ")).count(), 6);
}

#[test]
fn a_task_that_never_ends_meets_its_deadline() {
    let (driver, done) = failing(one(), "GET", "/tasks/", || ok(&json!({"output": [], "finished": false, "last": 0})));
    assert!(!done);
    assert!(driver.event()["error"]["text"].as_str().unwrap().contains("600s"), "{}", driver.event());
    assert!((600..605).contains(&driver.now.as_secs()), "{:?}", driver.now);
}

#[test]
fn an_application_that_never_answers_meets_its_deadline() {
    let (driver, done) = failing(one(), "GET", "/sub/content/", || Reply::Status(502, "<html>bad".into()));
    assert!(!done);
    let error = &driver.event()["error"];
    assert_eq!((&error["step"], &error["status"]), (&json!("first_response"), &json!(502)));
    assert!((120..130).contains(&driver.now.as_secs()));
    let (driver, done) = failing(one(), "GET", "/sub/content/", || Reply::Status(404, String::new()));
    assert!(done, "an API without this path has started: {}", driver.event());
}

#[test]
fn hostile_answers_fail_the_step_and_nothing_else() {
    let deep = "[".repeat(60_000);
    let long = format!("{{\"guid\":\"{}\"", "x".repeat(100_000));
    let hostile = [
        "",
        "null",
        "[]",
        "{}",
        "\"x\"",
        "{\"guid\":1e999}",
        "{\"id\":{}}",
        "\u{1b}[2J",
        &deep,
        &long,
        "<html>",
        "{\"guid\":\"../../x\",\"id\":\"a/b\",\"task_id\":\"?\",\"output\":7}",
        "{\"output\":[null],\"finished\":\"yes\",\"last\":-1}",
        "{\"finished\":true,\"code\":99999999999999999999}",
    ];
    for body in hostile {
        for (method, part) in [("POST", "v1/content"), ("POST", "/bundles"), ("POST", "/deploy"), ("GET", "/tasks/")] {
            let mut driver = Driver::new(new());
            let done = driver.iteration(|m, target| {
                let hit = m.as_str() == method && target.ends_with(part) || part == "/tasks/" && target.contains(part);
                if hit { Reply::Status(200, body.to_owned()) } else { happy(m, target) }
            });
            assert!(!done, "{part} {body:.60}");
            let text = driver.event()["error"]["text"].as_str().unwrap().to_owned();
            assert!(!text.is_empty() && !text.contains('\u{1b}') && text.chars().count() <= 301, "{text}");
        }
    }
    let max = format!("{{\"output\":[\"a\"],\"finished\":false,\"last\":{}}}", u64::MAX);
    let (_, done) = failing(one(), "GET", "first=0", || Reply::Status(200, max.clone()));
    assert!(done);
}

#[test]
fn a_server_that_ignores_wait_is_not_asked_without_a_pause() {
    let mut program = PublishLoop::new(plan(one())).unwrap();
    program.attempt = Attempt::new(1, Duration::ZERO);
    program.attempt.task_id = Some("T".into());
    program.attempt.deadline = Duration::from_secs(100);
    program.step = Step::Task;
    let at = Duration::from_secs(1);
    let mut poll = |body: &str| {
        let (ended, phases) = (Ended::Completed, Phases::default());
        let outcome = Outcome {
            ended,
            status: Some(200),
            headers: None,
            body: body.as_bytes(),
            phases,
            started: at,
            finished: at,
        };
        program.next(at, Some(outcome), &mut Notes::default())
    };
    assert!(matches!(poll("{\"output\":[]}"), Action::Wait(PAUSE_WITHOUT_NEWS)));
    assert!(matches!(poll("{\"output\":[\"x\"]}"), Action::Wait(PAUSE_WITH_NEWS)));
    assert!(matches!(program.next(at, None, &mut Notes::default()), Action::Exchange(_)));
}

#[test]
fn failures_back_off_longer_and_longer_and_a_success_ends_that() {
    let mut driver = Driver::new(one());
    for _ in 0..10 {
        assert!(!driver.iteration(|_, _| status(500, &json!({"code": 1, "error": "x"}))));
    }
    let waits: Vec<f64> =
        driver.seen.iter().filter_map(|step| step.strip_prefix("wait ")).map(|wait| wait.parse().unwrap()).collect();
    assert_eq!(waits.len(), 9, "no pause before the first");
    for (n, wait) in waits.iter().enumerate() {
        let longest = f64::from(1 << n.min(10)).min(30.0);
        assert!((longest / 2.0..=longest).contains(wait), "{waits:?}");
    }
    assert!(driver.iteration(happy));
    let before = driver.seen.len();
    assert!(driver.iteration(happy));
    assert!(!driver.seen[before].starts_with("wait"), "{}", driver.seen[before]);
    let again = |seed| {
        let mut program = PublishLoop::new(PublishPlan { seed, ..plan(one()) }).unwrap();
        program.failures = 3;
        program.back_off()
    };
    assert!(again(1) == again(1) && again(1) != again(2));
}

#[test]
fn an_interruption_notes_what_was_under_way() {
    let mut driver = Driver::new(new());
    let mut action = driver.program.next(driver.now, None, &mut driver.notes);
    for _ in 0..3 {
        let Action::Exchange(exchange) = action else { panic!("no request") };
        action = driver.exchange(&exchange, &mut happy);
    }
    driver.program.interrupted(driver.now, &mut driver.notes);
    let event = driver.event();
    assert_eq!((&event["interrupted"], &event["guid"], &event["ok"]), (&json!("deploy"), &json!(GUID), &json!(false)));
    driver.program.interrupted(driver.now, &mut driver.notes);
    assert_eq!(driver.notes.events.len(), 1, "noted once");
}

#[test]
fn the_key_goes_to_the_application_only_where_it_is_needed() {
    for (with_key, expected) in [(true, true), (false, false)] {
        let program = PublishLoop::new(plan(PublishInto::One { guid: GUID.into(), with_key })).unwrap();
        let first = program.requests.first_response(GUID).unwrap();
        assert_eq!(first.request.headers.contains_key("authorization"), expected);
        assert!(program.requests.task("T", 0).unwrap().request.headers.contains_key("authorization"));
    }
}

#[test]
fn a_plan_that_cannot_work_is_refused_before_the_run() {
    let refused = |plan: PublishPlan| PublishLoop::new(plan).is_err();
    assert!(refused(plan(PublishInto::One { guid: "../x".into(), with_key: false })));
    assert!(refused(PublishPlan { base_path: "sub".into(), ..plan(one()) }));
    assert!(refused(PublishPlan { first_path: "/a b".into(), ..plan(one()) }));
    assert!(!refused(plan(new())));
}
