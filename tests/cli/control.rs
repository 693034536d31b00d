//! Live control of real runs: the REST endpoint over real sockets, and `connect-bench control`.

use std::time::{Duration, Instant};

use reqwest::{Client, Method};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Bench, Sandbox, number};

const LONG: [&str; 9] = ["load", "-u", "4", "-d", "100s", "--warmup", "0s", "--address", "127.0.0.1:0"];
const QUIET: [&str; 2] = ["--no-publish", "--json"];

/// The endpoint of a run.
struct Endpoint {
    client: Client,
    address: String,
}

impl Endpoint {
    fn at(address: &str) -> Endpoint {
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap();
        Endpoint { client, address: address.to_owned() }
    }

    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
        let mut request = self.client.request(method, format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.body(body.to_owned()).send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "application/json; charset=utf-8");
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn get(&self, path: &str) -> Value {
        let (status, document) = self.ask(Method::GET, path, &[], "").await;
        assert_eq!(status, 200, "{document:#}");
        document
    }

    async fn status(&self) -> Value {
        self.get("/v1/status").await["data"]["attributes"].clone()
    }

    async fn patch(&self, attributes: &Value) -> (u16, Value) {
        let body = json!({"data": {"type": "status", "id": "default", "attributes": attributes}});
        self.ask(Method::PATCH, "/v1/status", &[], &body.to_string()).await
    }

    /// Asks for it, and returns the status that follows.
    async fn set(&self, attributes: Value) -> Value {
        let (status, document) = self.patch(&attributes).await;
        assert_eq!(status, 200, "{document:#}");
        document["data"]["attributes"].clone()
    }

    /// Why it is refused.
    async fn refused(&self, code: u16, attributes: Value) -> String {
        let (status, document) = self.patch(&attributes).await;
        assert_eq!(status, code, "{document:#}");
        let error = &document["errors"][0];
        assert_eq!(error["status"], code.to_string());
        assert!(error["title"].is_string());
        error["detail"].as_str().unwrap().to_owned()
    }

    async fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let status = self.status().await;
            if wanted(&status) {
                return status;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "never {what}: {status:#}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Waits until the sandbox has received nothing for a while. A run that is not paused never is as silent.
async fn silent(sandbox: &Sandbox) -> u64 {
    let began = Instant::now();
    let mut last = sandbox.requests().await;
    loop {
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        let now = sandbox.requests().await;
        if now == last {
            return now;
        }
        last = now;
        assert!(began.elapsed() < Duration::from_secs(60), "requests never stopped");
    }
}

#[tokio::test]
async fn a_run_is_paused_resumed_resized_and_stopped_through_rest() {
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::on(&sandbox);
    let mut running = bench.start(&[&LONG[..], &QUIET].concat());
    let endpoint = Endpoint::at(&running.address().await);
    let status = endpoint.until("running", |status| status["status"] == 6 && status["vus"] == 4).await;
    assert_eq!(
        (&status["paused"], &status["running"], &status["stopped"]),
        (&json!(false), &json!(true), &json!(false))
    );
    assert_eq!(status["tainted"], false);
    assert!(number(&status, "/vus-max") > 100.0);
    running.seconds(2).await;

    assert_eq!(endpoint.set(json!({"paused": true})).await["paused"], true);
    let before = silent(&sandbox).await;
    // A whole status can be sent back, as k6's clients do; nothing changes.
    let same = endpoint.status().await;
    assert_eq!(endpoint.set(same.clone()).await["paused"], true);
    assert_eq!(endpoint.set(json!({"vus": 7})).await["scenarios"][0]["vus-asked"], 7);
    assert_eq!(endpoint.set(json!({"paused": false})).await["paused"], false);
    endpoint.until("seven VUs", |status| status["vus"] == 7).await;
    assert!(sandbox.requests().await > before);
    endpoint.set(json!({"vus": 2, "scenario": "fetch"})).await;
    endpoint.until("two VUs", |status| status["vus"] == 2).await;

    let stopped = endpoint.set(json!({"stopped": true})).await;
    assert_eq!(stopped["stopped"], true);
    let ended = running.end().await;
    ended.fails(103, &["paused", "resumed", "fetch: 4 → 7 VUs", "stopping"]);
    let document = ended.json();
    assert_eq!(document["state"], "stopped");
    let what: Vec<&str> = document["control"].as_array().unwrap().iter().map(|e| e["what"].as_str().unwrap()).collect();
    assert_eq!(what, ["pause", "vus", "resume", "vus", "stop"]);
    assert_eq!((&document["control"][1]["vus_before"], &document["control"][1]["vus"]), (&json!(4), &json!(7)));
    assert!(document["control"].as_array().unwrap().iter().all(|event| event["from"] == "rest"));
    assert!(number(&document, "/paused_s") >= 3.0);
    let count = |name: &str| number(&document, &format!("/requests/{name}"));
    assert_eq!(count("scheduled"), count("completed") + count("failed") + count("interrupted"));
    // No second of the pause is among those that rates are made of.
    let (rate, seconds) = (number(&document, "/requests_per_second/fetch"), number(&document, "/duration_s"));
    assert!(rate * seconds <= count("completed") + 0.5, "{document:#}");
    let at = |event: usize| number(&document, &format!("/control/{event}/at_s"));
    assert!(seconds <= at(4) - (at(2) - at(0)) + 0.001, "{document:#}");
    let report = bench.run(&["report"]).await;
    assert_eq!(report.code, Some(0));
    for words in ["Stopped; what there is", "Controlled while it ran", "through REST", "are in no figure"] {
        assert!(report.stdout.contains(words), "{report:#?}");
    }
    assert!(sandbox.items().await.is_empty());
}

#[tokio::test]
async fn metrics_are_those_of_the_result() {
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::on(&sandbox);
    let limits = ["--threshold", "http_req_duration: p(95)<1", "--threshold", "http_req_failed: rate<0.5"];
    let mut running = bench.start(&[&LONG[..], &QUIET, &limits].concat());
    let endpoint = Endpoint::at(&running.address().await);
    endpoint.until("running", |status| status["status"] == 6).await;
    running.seconds(2).await;
    endpoint.set(json!({"paused": true})).await;
    silent(&sandbox).await;
    running.seconds(5).await;
    let status = endpoint.until("tainted", |status| status["tainted"] == true).await;
    assert_eq!(status["paused"], true);
    let all = endpoint.get("/v1/metrics").await;
    let all = all["data"].as_array().unwrap();
    let metric = |id: &str| all.iter().find(|metric| metric["id"] == id).unwrap()["attributes"].clone();
    assert!(all.iter().all(|metric| metric["type"] == "metrics"));
    // Nothing was published, so there is nothing to say of it.
    assert!(!all.iter().any(|metric| metric["id"] == "publish_total"));
    let duration = metric("http_req_duration");
    assert_eq!((&duration["type"], &duration["contains"]), (&json!("trend"), &json!("time")));
    assert_eq!(duration["tainted"], true);
    for one in ["avg", "min", "med", "max", "p(90)", "p(95)"] {
        assert!(number(&duration["sample"], &format!("/{one}")) > 0.0);
    }
    let failed = metric("http_req_failed");
    assert_eq!(
        (&failed["type"], &failed["tainted"], &failed["sample"]["rate"]),
        (&json!("rate"), &json!(false), &json!(0.0))
    );
    assert_eq!((&metric("vus")["type"], &metric("vus")["sample"]["value"]), (&json!("gauge"), &json!(4.0)));
    assert_eq!((&metric("data_sent")["contains"], &metric("iterations")["tainted"]), (&json!("data"), &Value::Null));
    let one = endpoint.get("/v1/metrics/http_reqs").await;
    assert_eq!(one["data"]["id"], "http_reqs");
    let requests = number(&one, "/data/attributes/sample/count");
    for (id, words) in [("http_req_durations", "did you mean http_req_duration?"), ("publish_total", "no data")] {
        let (status, document) = endpoint.ask(Method::GET, &format!("/v1/metrics/{id}"), &[], "").await;
        assert!(status == 404 && document["errors"][0]["detail"].as_str().unwrap().contains(words), "{document:#}");
    }
    endpoint.set(json!({"stopped": true})).await;
    let ended = running.end().await;
    assert_eq!(ended.code, Some(103), "{ended:#?}");
    // Nothing came after the pause, so what was shown then is the whole.
    assert_eq!(number(&ended.json(), "/requests/completed"), requests);
}

#[tokio::test]
async fn what_is_not_from_here_or_makes_no_sense_is_refused_and_changes_nothing() {
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::on(&sandbox);
    let mut running = bench.start(&[&LONG[..], &QUIET].concat());
    let address = running.address().await;
    let endpoint = Endpoint::at(&address);
    endpoint.until("running", |status| status["status"] == 6).await;
    let stop = r#"{"data":{"attributes":{"stopped":true}}}"#;
    let port = address.split_once(':').unwrap().1;
    let (rebound, twisted) = (format!("attacker.example:{port}"), format!("127.0.0.1.attacker.example:{port}"));
    for headers in [
        [("host", rebound.as_str())],
        [("host", twisted.as_str())],
        [("host", "")],
        [("origin", "http://attacker.example")],
        [("origin", "null")],
        [("origin", "http://127.0.0.1")],
    ] {
        for (method, body) in [(Method::GET, ""), (Method::PATCH, stop), (Method::OPTIONS, "")] {
            let (status, document) = endpoint.ask(method, "/v1/status", &headers, body).await;
            assert_eq!((status, &document["errors"][0]["status"]), (403, &json!("403")), "{headers:?}");
        }
    }
    for body in ["", "{", "[]", "{}", r#"{"data":{}}"#, r#"{"data":{"attributes":{}}}"#, stop.replace('}', "").as_str()]
    {
        assert_eq!(endpoint.ask(Method::PATCH, "/v1/status", &[], body).await.0, 400, "{body}");
    }
    let long = format!("{stop}{}", " ".repeat(100_000));
    assert_eq!(endpoint.ask(Method::PATCH, "/v1/status", &[], &long).await.0, 413);
    for (attributes, words) in [
        (json!({"vus": 0}), "0 VUs: from 1 to"),
        (json!({"vus": 4_000_000_000u32}), "4000000000 VUs: from 1 to"),
        (json!({"vus": -1}), "invalid value"),
        (json!({"vus": 2.5}), "invalid type"),
        (json!({"vus": "3"}), "invalid type"),
        (json!({"paused": 1}), "invalid type"),
        (json!({"pause": true}), "unknown field `pause`"),
        (json!({"vus": 5, "scenario": "fech"}), "did you mean fetch?"),
        (json!({"scenario": "fetch", "paused": true}), "there are none"),
        (json!({"vus-max": 5}), "vus-max cannot be changed"),
        (json!({"paused": null}), "nothing to change"),
        // Together with something that is not possible nothing is done.
        (json!({"paused": true, "vus": 0}), "0 VUs"),
    ] {
        let why = endpoint.refused(400, attributes.clone()).await;
        assert!(why.contains(words), "{attributes}: {why}");
    }
    let typed = r#"{"data":{"type":"metrics","attributes":{"stopped":true}}}"#;
    assert_eq!(endpoint.ask(Method::PATCH, "/v1/status", &[], typed).await.0, 400);
    for (method, path, code) in [
        (Method::DELETE, "/v1/status", 405),
        (Method::POST, "/v1/metrics", 405),
        (Method::GET, "/", 404),
        (Method::GET, "/v1/setup", 404),
        (Method::GET, "/v1/metrics/", 404),
    ] {
        let (status, document) = endpoint.ask(method, path, &[], "").await;
        assert_eq!((status, document["errors"][0]["status"].as_str().unwrap()), (code, code.to_string().as_str()));
    }
    let status = endpoint.status().await;
    assert_eq!((&status["status"], &status["paused"], &status["stopped"]), (&json!(6), &json!(false), &json!(false)));
    assert_eq!(status["scenarios"][0]["vus-asked"], 4);
    running.signal(Signal::INT);
    let ended = running.end().await;
    assert_eq!((ended.code, ended.json()["control"].as_array().unwrap().len()), (Some(105), 0), "{ended:#?}");
}

#[tokio::test]
async fn addresses_that_others_could_reach_or_that_are_taken_are_refused() {
    let bench = Bench::new();
    let address = |address: &str| -> Vec<String> {
        let load = ["load", "--sandbox", "-u", "1", "-d", "1s", "--address", address];
        load.map(str::to_owned).to_vec()
    };
    for open in ["0.0.0.0:0", "[::]:0", "192.0.2.1:6565"] {
        bench.run(&address(open)).await.fails(2, &["can be reached by others", "127.0.0.1"]);
        bench.run(&["control", "pause", "--address", open]).await.fails(2, &["can be reached by others"]);
    }
    bench.run(&address("6565")).await.fails(2, &["is no address"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_at = taken.local_addr().unwrap().to_string();
    bench.run(&address(&taken_at)).await.fails(106, &["--address", "in use", "port 0"]);
    assert!(bench.runs().is_empty());
    drop(taken);
    bench.run(&["control", "--address", &taken_at]).await.fails(122, &["no run answers", "--address"]);
}

#[tokio::test]
async fn another_terminal_asks_with_control() {
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::on(&sandbox);
    let mut running = bench.start(&LONG);
    let address = running.address().await;
    let endpoint = Endpoint::at(&address);
    endpoint.until("running", |status| status["vus"] == 4).await;
    let control =
        async |arguments: &[&str]| Bench::new().run(&[&["control", "--address", &address], arguments].concat()).await;
    let says = async |arguments: &[&str], words: &[&str]| {
        let ended = control(arguments).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:#?}");
        for word in words {
            assert!(ended.stdout.contains(word), "no {word:?}: {ended:#?}");
        }
        ended
    };
    says(&[], &["running: 4 VUs", "fetch (constant-vus): 4 VUs, 4 asked for", "publish (constant-vus): 1 VUs"]).await;
    says(&["pause"], &["paused: 4 VUs"]).await;
    says(&["vus", "9"], &["9 asked for"]).await;
    let json = says(&["resume", "--json"], &[]).await.json();
    assert_eq!(json["data"]["attributes"]["paused"], false);
    endpoint.until("nine", |status| status["vus"] == 9).await;
    says(&["vus", "2", "--scenario", "publish"], &["publish (constant-vus): 1 VUs, 2 asked for"]).await;
    says(&["metrics"], &["http_reqs: count", "http_req_duration: avg"]).await;
    says(&["metrics", "vus"], &["vus: value 1"]).await;
    control(&["metrics", "vuss"]).await.fails(2, &["did you mean vus?"]);
    control(&["vus", "0"]).await.fails(2, &["from 1 to"]);
    says(&["stop"], &["stopping"]).await;
    let ended = running.end().await;
    assert_eq!(ended.code, Some(103), "{ended:#?}");
    assert!(ended.stdout.contains("publish: 1 → 2 VUs, through REST"), "{ended:#?}");
    control(&[]).await.fails(122, &["no run answers"]);
}

#[tokio::test]
async fn a_ramp_says_how_it_goes_and_can_only_be_stopped() {
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::on(&sandbox);
    let arguments = ["ramp", "--json", "--address", "127.0.0.1:0", "--no-publish", "--then-load", "60s"];
    let mut running = bench.start(&arguments);
    let endpoint = Endpoint::at(&running.address().await);
    assert!(endpoint.refused(409, json!({"paused": true})).await.contains("has not begun"));
    endpoint.until("running", |status| status["status"] == 6).await;
    for attributes in [json!({"paused": true}), json!({"paused": false}), json!({"vus": 3})] {
        assert!(endpoint.refused(409, attributes).await.contains("only be stopped"));
    }
    running.seconds(2).await;
    assert!(number(&endpoint.get("/v1/metrics/http_reqs").await, "/data/attributes/sample/count") > 0.0);
    endpoint.set(json!({"stopped": true})).await;
    let ended = running.end().await;
    assert_eq!(ended.code, Some(103), "{ended:#?}");
    let document = ended.json();
    assert_eq!((&document["state"], &document["control"][0]["what"]), (&json!("stopped"), &json!("stop")));
    assert!(document["load"].is_null(), "the load test does not begin");
}

#[tokio::test]
async fn what_was_done_to_a_killed_run_is_known() {
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::on(&sandbox);
    let mut running = bench.start(&[&LONG[..], &QUIET].concat());
    let endpoint = Endpoint::at(&running.address().await);
    endpoint.until("running", |status| status["status"] == 6).await;
    running.seconds(1).await;
    endpoint.set(json!({"vus": 5, "paused": true})).await;
    running.seconds(4).await;
    running.signal(Signal::KILL);
    assert_eq!(running.end().await.code, None);
    let report = bench.run(&["report", "--json"]).await;
    let document = report.json();
    assert_eq!(document["state"], "partial");
    let what: Vec<&Value> = document["control"].as_array().unwrap().iter().map(|event| &event["what"]).collect();
    assert_eq!(what, [&json!("vus"), &json!("pause")]);
    assert!(number(&document, "/paused_s") >= 1.0);
}
