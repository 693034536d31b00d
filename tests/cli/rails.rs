//! Safety rails: what is not loaded without being asked for twice, and what stops by itself.

use serde_json::Value;

use crate::servers::{Answer, Server};
use crate::support::{Bench, SHORT, Sandbox, number};

/// Flags that reach a sandbox under a name that is not this machine's, with this name allowed.
fn elsewhere(sandbox: &Sandbox, name: &str) -> Vec<String> {
    let port = sandbox.url.rsplit(':').next().unwrap();
    let server = format!("http://{name}:{port}/");
    let hosts = format!("{name}=127.0.0.1");
    ["--server", &server, "--allow-http", "--hosts", &hosts].map(str::to_owned).to_vec()
}

async fn load(bench: &Bench, flags: &[&[String]]) -> crate::support::Ended {
    let short = SHORT.map(str::to_owned).to_vec();
    bench.run(&[&[short, vec!["--no-publish".to_owned()]].concat(), flags.concat().as_slice()].concat()).await
}

#[tokio::test]
async fn a_host_is_allowed_by_a_flag_or_by_a_file_and_by_nothing_else() {
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::new().with("CONNECT_API_KEY", &sandbox.key);
    let there = elsewhere(&sandbox, "lab.test");
    load(&bench, &[&there]).await.fails(123, &["lab.test is not this machine", "--allow-host lab.test"]);
    let flag = ["--allow-host".to_owned(), "LAB.test".to_owned()];
    load(&bench, &[&there, &flag]).await.passes();
    let bench = Bench::new().with("CONNECT_API_KEY", &sandbox.key);
    let file = bench.file(".config/connect-bench/hosts.toml", "[\"lab.test\"]\ncap = \"vus=3\"\n");
    load(&bench, &[&there]).await.fails(123, &["4 VUs", "the cap is 3", "--cap vus=4"]);
    load(&bench, &[&there, &["--cap".to_owned(), "vus=4".to_owned()]]).await.passes();
    std::fs::write(file, "[\"lab.test\"]\nproductoin = true\n").unwrap();
    load(&bench, &[&there]).await.fails(104, &["hosts.toml", "productoin"]);
    assert!(sandbox.items().await.is_empty());
}

#[tokio::test]
async fn a_server_that_people_seem_to_work_on_takes_a_flag_of_its_own() {
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::new().with("CONNECT_API_KEY", &sandbox.key);
    let allow = |name: &str| ["--allow-host".to_owned(), name.to_owned()];
    let production = |name: &str| ["--allow-production".to_owned(), name.to_owned()];
    let named = elsewhere(&sandbox, "connect-prod.test");
    let refused = load(&bench, &[&named, &allow("connect-prod.test")]).await;
    refused.fails(123, &["production server", "--allow-production connect-prod.test"]);
    assert_eq!(sandbox.requests().await, 0, "its name is enough");
    load(&bench, &[&named, &allow("connect-prod.test"), &production("connect-prod.test")]).await.passes();
    for n in 0..100 {
        sandbox.create(&format!("report-{n}")).await;
    }
    let quiet = elsewhere(&sandbox, "lab.test");
    load(&bench, &[&quiet, &allow("lab.test")]).await.fails(123, &["100 content items of other people"]);
    assert_eq!(sandbox.items().await.len(), 100, "nothing was made");
    load(&bench, &[&quiet, &allow("lab.test"), &production("lab.test")]).await.passes();
    assert_eq!(sandbox.items().await.len(), 100, "and nothing of theirs was touched");
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_and_sends_nothing() {
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::on(&sandbox);
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/open-model.toml");
    let lines: [(&[&str], &str); 4] = [
        (&["load", "-u", "7", "-d", "20s"], "VUs / latency"),
        (&["ramp", "--max-vus", "64"], "VUs / latency"),
        (&["ramp", "--slo", "p(95)<500", "--open", "--max-rate", "64"], "raised up to 64 iterations per second"),
        (&["run", file], "iterations, each with"),
    ];
    for (line, says) in lines {
        let ended = bench.run(&[line, &["--dry-run"]].concat()).await;
        assert_eq!(ended.code, Some(0), "{ended:#?}");
        assert!(ended.stdout.starts_with(&format!("DRY RUN of {}: nothing was sent", line[0])), "{ended:#?}");
        assert!(ended.stdout.contains(says), "{ended:#?}");
        let document = bench.run(&[line, &["--dry-run", "--json"]].concat()).await.json();
        assert_eq!((&document["sent"], &document["refused"]), (&Value::from(0), &Value::Null), "{document:#}");
        assert!(number(&document, "/most_vus") >= 1.0 && number(&document, "/duration_s") > 1.0, "{document:#}");
    }
    assert_eq!(sandbox.requests().await, 0);
    let away = ["load", "-u", "7", "-s", "https://connect-prod.example.com", "--dry-run"];
    let ended = bench.run(&away).await;
    assert!(ended.code == Some(123) && ended.stdout.contains("It would be refused"), "{ended:#?}");
    let ended = bench.run(&["load", "-u", "7", "--sandbox", "--dry-run"]).await;
    assert!(ended.code == Some(0) && ended.took.as_secs() < 20, "no sandbox is started: {ended:#?}");
    assert!(bench.runs().is_empty());
}

#[tokio::test]
async fn a_cap_refuses_before_the_run_and_stops_it_when_it_is_reached() {
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::on(&sandbox);
    bench.load(&["--cap", "vus=4"]).await.fails(123, &["5 VUs", "--cap vus=5"]);
    bench.load(&["--cap", "duration=1s"]).await.fails(123, &["--cap duration=2s"]);
    bench.load(&["--cap", "vuss=4"]).await.fails(2, &["did you mean vus?"]);
    assert_eq!(sandbox.requests().await, 0);
    let long = ["load", "-u", "4", "-d", "60s", "--warmup", "0s", "--json"];
    for (cap, why) in
        [("bytes=5kB", "cap of 5000 bytes"), ("items=2", "cap of 2 publishes"), ("rate=5", "cap of 5 requests")]
    {
        let ended = bench.run(&[&long[..], &["--cap", cap]].concat()).await;
        ended.fails(123, &[]);
        let document = ended.json();
        assert!(document["state"]["aborted"]["reason"].as_str().unwrap().contains(why), "{document:#}");
        assert_eq!(document["state"]["aborted"]["cause"], "cap");
        assert!(ended.took.as_secs() < 50, "{ended:#?}");
    }
    assert!(sandbox.items().await.is_empty());
}

#[tokio::test]
async fn a_server_that_refuses_us_or_fails_is_left_alone() {
    let long = ["load", "-u", "4", "-d", "90s", "--warmup", "0s", "--json"];
    for (status, why) in [(401, "401 or 403"), (403, "401 or 403"), (500, "more than half of the answers")] {
        let server = Server::start(Answer::Text(status, "no")).await;
        let bench = Bench::new();
        let ended = bench.run(&[&long[..], &["--url", &server.url]].concat()).await;
        ended.fails(122, &[]);
        let document = ended.json();
        assert!(document["state"]["aborted"]["reason"].as_str().unwrap().contains(why), "{document:#}");
        assert!(number(&document, "/duration_s") < 40.0, "{document:#}");
        let incidents = document["incidents"].as_array().unwrap();
        assert!(
            incidents.iter().any(|i| i["trouble"] == format!("status_{status}") && i["blame"] == "server"),
            "{document:#}"
        );
        assert!(incidents.iter().any(|i| i["trouble"] == "outage" && i["recovered_s"].is_null()), "{document:#}");
        // Somebody may want to see it fail.
        bench
            .run(&["load", "-u", "4", "-d", "5s", "--warmup", "0s", "--keep-going", "--url", &server.url])
            .await
            .fails(121, &[]);
    }
}

#[tokio::test]
async fn too_many_requests_hold_the_run_back() {
    let server = Server::start(Answer::Text(429, "slow down")).await;
    let ended =
        Bench::new().run(&["load", "-u", "4", "-d", "8s", "--warmup", "0s", "--json", "--url", &server.url]).await;
    assert!(ended.stderr.contains("429: no requests for 2 s"), "{ended:#?}");
    let document = ended.json();
    let events: Vec<_> = document["control"].as_array().unwrap().iter().map(|e| (&e["what"], &e["from"])).collect();
    assert_eq!(events[..2], [(&"pause".into(), &"rail".into()), (&"resume".into(), &"rail".into())], "{document:#}");
    assert!(number(&document, "/paused_s") >= 2.0, "{document:#}");
}
