//! `aws-single-server-robust` as it is shipped, but for times: the balancer's cookies, that it fails open, and what
//! becomes of clients when the shared folder, the database or a link is in trouble.

use std::time::{Duration, Instant};

use reqwest::Method;
use reqwest::header::SET_COOKIE;
use serde_json::{Value, json};

use crate::parts::until;
use crate::rehearsal::Rehearsal;
use crate::support::{Api, FLASK, tarball};

const APP: &str = r#"
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"here"]
"#;

fn bundle(further: &str) -> Vec<u8> {
    tarball(&[("manifest.json", FLASK), ("requirements.txt", ""), ("app.py", APP), ("further", further)])
}

/// Sooner than AWS, but longer than anybody here asks a node to wait: a request that is not answered. Later: until a node is
/// used again, so that there is time to look.
fn shipped() -> String {
    let text = include_str!("../../scenarios/architectures/aws-single-server-robust.toml");
    let text = text.replace("timeout = \"60s\"", "timeout = \"12s\"").replace("healthy = 5", "healthy = 30");
    assert!(text.contains("\"12s\"") && text.contains("healthy = 30") && text.contains("unhealthy = 2"), "{text}");
    text
}

#[tokio::test]
async fn one_node_behind_an_application_load_balancer() {
    let links = ["--links", "generator-balancer,balancer-node,node-database"];
    let Some(rehearsal) = Rehearsal::real(&shipped(), &links) else { return };
    let client = rehearsal.client();
    let (guid, deployed) = client.published("here", "all", bundle("")).await;
    cookies(&client, &guid).await;
    loaded(&rehearsal);
    storage(&rehearsal, &client, (&guid, &deployed)).await;
    database(&rehearsal, &client, &guid).await;
    links_in_trouble(&rehearsal, &client, &guid).await;
    fails_open(&rehearsal, &client, &guid).await;
    rehearsal.down();
}

/// Both anew with each response, to clients that have them as well, and the same node each time.
async fn cookies(client: &Api, guid: &str) {
    let mut seen = Vec::new();
    for _ in 0..4 {
        let response = client.send(Method::GET, &format!("/content/{guid}/"), "", None).await;
        assert_eq!(response.status(), 200);
        let mut set: Vec<&str> =
            response.headers().get_all(SET_COOKIE).iter().map(|set| set.to_str().unwrap()).collect();
        set.sort_unstable();
        let &[plain, cors] = set.as_slice() else { panic!("two cookies: {set:?}") };
        assert!(plain.starts_with("AWSALB=") && plain.contains("Expires="), "{plain}");
        assert!(cors.starts_with("AWSALBCORS=") && cors.ends_with("SameSite=None; Secure"), "{cors}");
        seen.push(plain.split(';').next().unwrap().to_owned());
    }
    let suffixes: Vec<&str> = seen.iter().map(|cookie| cookie.rsplit('-').next().unwrap()).collect();
    assert!(suffixes.windows(2).all(|pair| pair[0] == pair[1]), "one node: {seen:?}");
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 4, "another value each time: {seen:?}");
}

/// Real Flask fetched and real Plumber published through it.
fn loaded(rehearsal: &Rehearsal) {
    let output =
        rehearsal.run(&["load", "-u", "4", "-d", "6s", "--warmup", "2s", "--quiet", "--json", "--runs-dir", "runs"]);
    let said = String::from_utf8_lossy(&output.stderr);
    // 121: the machine was too busy to judge a server by; what was counted was counted.
    assert!(matches!(output.status.code(), Some(0 | 121)), "{:?} {said}", output.status);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(document["requests"]["completed"].as_u64().unwrap() > 0, "{said} {document}");
    assert_eq!(document["requests"]["failed"], 0, "{said} {document}");
    assert_eq!(document["target"]["sandbox_profile"], "own+processes", "{document}");
}

/// A folder that takes nothing: a clear refusal and a failed task, and what is deployed is served.
async fn storage(rehearsal: &Rehearsal, client: &Api, (guid, deployed): (&str, &str)) {
    for (state, says) in [("read-only", "Read-only file system"), ("full", "No space left on device")] {
        rehearsal.tell(&format!("storage {state}"));
        let path = format!("/__api__/v1/content/{guid}/bundles");
        let refused = client.send(Method::POST, &path, bundle(""), Some("application/gzip")).await;
        assert_eq!(refused.status(), 500);
        let refused: Value = refused.json().await.unwrap();
        assert!(refused["code"] == 134 && refused["error"].as_str().unwrap().contains(says), "{refused}");
        let task = client.deploy(guid, json!({ "bundle_id": deployed })).await;
        let error = task["error"].as_str().unwrap();
        assert!(task["code"] == 1 && error.contains("code 135") && error.contains(says), "{task}");
        assert_eq!(client.fetch(&format!("/content/{guid}/")).await, (200, "here".to_owned()));
    }
    rehearsal.tell("storage ok");
    let next = client.upload(guid, bundle("next")).await;
    assert_eq!(client.deploy(guid, json!({ "bundle_id": next })).await["code"], 0);
    assert_eq!(client.fetch(&format!("/content/{guid}/")).await.0, 200);
}

/// A database that says nothing: the API says so after a while, content does not ask it.
async fn database(rehearsal: &Rehearsal, client: &Api, guid: &str) {
    rehearsal.tell("link node-database 1 blackhole");
    assert_eq!(client.fetch(&format!("/content/{guid}/")).await.0, 200);
    let (status, said) = rehearsal.node(1).get(&format!("/content/{guid}")).await;
    assert!(status == 500 && said["error"].as_str().unwrap().contains("database"), "{status} {said}");
    rehearsal.tell("link node-database 1 clear");
    until("the API answers again", async || client.get(&format!("/content/{guid}")).await.0 == 200).await;
}

async fn links_in_trouble(rehearsal: &Rehearsal, client: &Api, guid: &str) {
    // About 100 KB that no compression makes much smaller, through a link of 50 KB per second.
    let mut state = 1_u64;
    let mut letter = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + (state >> 58) as u8)
    };
    let noise: String = (0..130_000).map(&mut letter).collect();
    let large = bundle(&noise);
    let least = Duration::from_secs_f64(large.len() as f64 / 50_000.0 - 0.5);
    assert!(least > Duration::from_secs(1), "{} bytes", large.len());
    rehearsal.tell("link generator-balancer bandwidth 50KB");
    let began = Instant::now();
    client.upload(guid, large).await;
    assert!(began.elapsed() >= least, "{:?} < {least:?}", began.elapsed());
    rehearsal.tell("link generator-balancer clear");
    // Nothing comes back from the node: the balancer gives up, and says so.
    rehearsal.tell("link balancer-node 1 blackhole");
    let status = client.fetch(&format!("/content/{guid}/")).await.0;
    assert_eq!(status, 504);
    rehearsal.tell("link balancer-node 1 clear");
    until("it is served again", async || status_of(client, guid).await == Some(200)).await;
}

/// With no node that it finds healthy all are tried: one that is there answers, long before it counts as healthy.
async fn fails_open(rehearsal: &Rehearsal, client: &Api, guid: &str) {
    rehearsal.tell("node stop 1");
    until("the balancer finds it gone", async || rehearsal.tell("status").contains("DOWN")).await;
    until("there is no gateway to it", async || status_of(client, guid).await == Some(502)).await;
    rehearsal.tell("node start 1");
    assert_eq!(client.fetch(&format!("/content/{guid}/")).await, (200, "here".to_owned()));
    let status = rehearsal.tell("status");
    assert!(status.contains("DOWN"), "{status}");
}

/// What it answers. Nothing: HAProxy closes a connection that had answers before when a node's connection turns out to be
/// dead, so that the client tries again; and does not log it.
async fn status_of(client: &Api, guid: &str) -> Option<u16> {
    let request = client.http.get(format!("{}/content/{guid}/", client.url));
    request.send().await.ok().map(|response| response.status().as_u16())
}
