//! What deployed applications answer.

use connect_bench::sandbox::Sandbox;
use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::support::{Api, config, fixture, log, plumber, python, python_bundle, tarball, until, wsgi};

const ASGI: &str = r#"
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": kind + ".complete"})
            if kind == "lifespan.shutdown":
                return
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            await send({"type": "websocket.send", "text": scope["root_path"] + " " + message["text"]})
    await send({"type": "http.response.start", "status": 200, "headers": []})
    # The second part comes when the client has sent its own.
    await send({"type": "http.response.body", "body": b"first", "more_body": True})
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.body", "body": b"second"})
"#;

#[tokio::test]
async fn the_flask_fixture_is_restored_once_and_served() {
    if !python() {
        return;
    }
    let sandbox = Sandbox::start(config()).unwrap();
    let api = Api::of(&sandbox);
    let guid = api.create("stocks", json!({})).await;
    let task = api.deploy(&guid, fixture("flask-stocks")).await;
    assert_eq!(task["code"], 0, "{task:#}");
    let (status, text) = api.fetch(&guid, "/stocks/AAPL").await;
    let stock: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &stock["ticker"]), (200, &json!("AAPL")));
    // The figure is the fixture's own, and not the simulated one.
    assert_eq!(stock["price"], json!(218.14));
    assert_eq!(api.fetch(&guid, "/stocks/NONE").await.0, 404);
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let moved = client.get(format!("{}/content/{guid}/stocks", api.url)).send().await.unwrap();
    let place = moved.headers()["location"].to_str().unwrap();
    assert!(moved.status() == 308 && place.ends_with(&format!("/content/{guid}/stocks/")), "{place}");
    assert!(moved.headers()["server"].to_str().unwrap().contains("not Posit Connect"));

    let again = api.deploy(&guid, fixture("flask-stocks")).await;
    assert!(again["code"] == 0 && log(&again).contains("from the cache"), "{again:#}");
    assert_eq!(api.fetch(&guid, "/stocks/AAPL").await, (200, text));
    assert_eq!(sandbox.stats()["content"], "processes");
    assert_eq!(sandbox.stats()["capacity"], Value::Null);
}

#[tokio::test]
async fn two_deploys_at_once_share_one_build() {
    if !python() {
        return;
    }
    let (folder, mut config) = (tempfile::tempdir().unwrap(), config());
    config.processes.as_mut().unwrap().environments = Some(folder.path().to_owned());
    let sandbox = Sandbox::start(config).unwrap();
    let api = Api::of(&sandbox);
    let (one, two) = (api.create("one", json!({})).await, api.create("two", json!({})).await);
    let (first, second) = tokio::join!(api.deploy(&one, wsgi()), api.deploy(&two, wsgi()));
    let logs = [log(&first), log(&second)];
    assert_eq!((&first["code"], &second["code"]), (&json!(0), &json!(0)), "{logs:#?}");
    let built = logs.iter().filter(|log| log.contains("Restoring packages with ")).count();
    let shared = logs.iter().filter(|log| log.contains("Restoring packages from the cache")).count();
    assert_eq!((built, shared), (1, 1), "{logs:#?}");
    let kept = std::fs::read_dir(folder.path()).unwrap();
    let folders = kept.filter(|entry| entry.as_ref().unwrap().file_type().unwrap().is_dir()).count();
    assert_eq!(folders, 1, "one environment, and nothing half-built");
}

#[tokio::test]
async fn the_plumber_fixture_is_served_by_r() {
    if !plumber() {
        return;
    }
    let sandbox = Sandbox::start(config()).unwrap();
    let api = Api::of(&sandbox);
    let guid = api.create("plumber", json!({})).await;
    let task = api.deploy(&guid, fixture("plumber-stocks")).await;
    assert!(task["code"] == 0 && log(&task).contains("packages of the manifest are installed"), "{task:#}");
    let price = (200, r#"{"ticker":"AMZN","price":455.3}"#.to_owned());
    assert_eq!(api.fetch(&guid, "/price?ticker=AMZN").await, price);
    assert_eq!(api.fetch(&guid, "/price?ticker=NONE").await.0, 400);
    assert_eq!(api.fetch(&guid, "/nothing").await.0, 404);
}

#[tokio::test]
async fn missing_packages_of_r_fail_the_deploy_and_are_named() {
    if !plumber() {
        return;
    }
    let sandbox = Sandbox::start(config()).unwrap();
    let api = Api::of(&sandbox);
    let manifest = json!({
        "version": 1, "platform": "4.2.2", "metadata": {"appmode": "api"},
        "packages": {"plumber": {"description": {"Version": "1.2.1"}}, "no.such.one": {"description": {"Version": "9.9"}}},
    });
    let bundle = tarball(&[("manifest.json", manifest.to_string()), ("plumber.R", String::new())]);
    let guid = api.create("lacking", json!({})).await;
    let task = api.deploy(&guid, bundle).await;
    assert_eq!(task["code"], 1);
    assert!(task["error"].as_str().unwrap().contains("1 of 2 R packages are missing"), "{task:#}");
    assert!(log(&task).contains("no.such.one 9.9"), "{task:#}");
}

#[tokio::test]
async fn a_process_sees_what_connect_documents_and_nothing_of_ours() {
    if !python() {
        return;
    }
    let sandbox = Sandbox::start(config()).unwrap();
    let api = Api::of(&sandbox);
    let guid = api.serving("seen", json!({}), wsgi()).await;
    api.set_environment(&guid, "MINE", "set by the owner").await;
    let (_, text) = api.fetch(&guid, "/env").await;
    let seen: Value = serde_json::from_str(&text).unwrap();
    // What cargo gave us, and we did not pass on.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some() && seen.get("CARGO_MANIFEST_DIR").is_none(), "{text}");
    assert!(!text.contains(crate::watched::canary::KEY), "{text}");
    let ours: Vec<&String> = seen.as_object().unwrap().keys().filter(|name| name.starts_with("CONNECT")).collect();
    assert_eq!(ours, ["CONNECT_CONTENT_GUID", "CONNECT_CONTENT_JOB_KEY", "CONNECT_SERVER"]);
    assert_eq!((&seen["MINE"], &seen["POSIT_PRODUCT"]), (&json!("set by the owner"), &json!("CONNECT")));
    assert_eq!((&seen["CONNECT_SERVER"], &seen["CONNECT_CONTENT_GUID"]), (&json!(api.url), &json!(guid)));
    assert_ne!(seen["HOME"].as_str(), std::env::var("HOME").ok().as_deref());

    let path = format!("/content/{guid}/headers?a=b%20c");
    let response = api.request(Method::GET, &path, "").await.text().await.unwrap();
    let headers: Value = serde_json::from_str(&response).unwrap();
    assert!(headers.get("HTTP_AUTHORIZATION").is_none(), "{headers:#}");
    assert_eq!((&headers["PATH_INFO"], &headers["QUERY_STRING"]), (&json!("/headers"), &json!("a=b%20c")));
    assert_eq!(headers["SCRIPT_NAME"], json!(format!("/content/{guid}")));
    assert!(headers["HTTP_RSTUDIO_CONNECT_CREDENTIALS"].as_str().unwrap().contains("\"admin\""), "{headers:#}");
}

#[tokio::test]
async fn what_it_says_is_in_the_log_of_its_job_and_a_job_can_be_stopped() {
    if !python() {
        return;
    }
    let sandbox = Sandbox::start(config()).unwrap();
    let api = Api::of(&sandbox);
    let guid = api.serving("talks", json!({}), wsgi()).await;
    let (jobs, run) = api.jobs(&guid).await;
    assert_eq!((jobs.len(), run), (1, 1));
    let job = format!("/content/{guid}/jobs/{}", jobs[0]["key"].as_str().unwrap());
    let entries = api.get(&format!("{job}/log")).await;
    assert!(entries.to_string().contains("the application is loaded"), "{entries}");
    let (_, before) = api.fetch(&guid, "/pid").await;
    assert_eq!(api.call(Method::DELETE, &job, "").await.0, 200);
    until("the job ends", async || api.get(&job).await["end_time"].is_string()).await;
    let (status, after) = api.fetch(&guid, "/pid").await;
    assert!(status == 200 && after != before, "a new process: {before} {after}");
}

#[tokio::test]
async fn large_bodies_pass_both_ways_and_files_are_served() {
    if !python() {
        return;
    }
    let sandbox = Sandbox::start(config()).unwrap();
    let api = Api::of(&sandbox);
    let guid = api.serving("large", json!({}), wsgi()).await;
    let body = vec![b'x'; 5 << 20];
    let length = api.request(Method::POST, &format!("/content/{guid}/body"), body).await.text().await.unwrap();
    assert_eq!(length, (5 << 20).to_string());

    let page = [("manifest.json", r#"{"version":1,"metadata":{"appmode":"static"}}"#), ("index.html", "<p>hello</p>")];
    let files = api.create("files", json!({})).await;
    let task = api.deploy(&files, tarball(&page.map(|(path, text)| (path, text.to_owned())))).await;
    assert_eq!(task["code"], 0, "{task:#}");
    assert_eq!(api.fetch(&files, "/").await, (200, "<p>hello</p>".to_owned()));
    assert_eq!(api.fetch(&files, "/../manifest.json").await.0, 404);
}

#[tokio::test]
async fn an_asgi_application_streams_and_has_websockets() {
    if !python() {
        return;
    }
    let sandbox = Sandbox::start(config()).unwrap();
    let api = Api::of(&sandbox);
    let guid = api.serving("asgi", json!({}), python_bundle("python-fastapi", &[("app.py", ASGI)])).await;
    // The second half of the request is sent when the first half of the response is there.
    let address = api.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("POST /content/{guid}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut text = String::new();
    read_until(&mut stream, &mut text, "first").await;
    assert!(!text.contains("second"), "{text}");
    stream.write_all(b"3\r\ntwo\r\n0\r\n\r\n").await.unwrap();
    read_until(&mut stream, &mut text, "second").await;

    let url = format!("{}/content/{guid}/socket", api.url.replace("http", "ws"));
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(url.into_client_request().unwrap(), stream).await.unwrap();
    for text in ["one", "two"] {
        socket.send(Message::text(text)).await.unwrap();
        let answer = socket.next().await.unwrap().unwrap();
        assert_eq!(answer, Message::text(format!("/content/{guid} {text}")));
    }
    let node = api.node().await;
    assert_eq!(node["in_flight"], 1, "an open WebSocket is a connection of the process: {node}");
    socket.close(None).await.unwrap();
    until("the process has its place again", async || api.node().await["in_flight"] == 0).await;
}

async fn read_until(stream: &mut TcpStream, text: &mut String, wanted: &str) {
    let mut bytes = [0; 4096];
    while !text.contains(wanted) {
        let n = stream.read(&mut bytes).await.unwrap();
        assert!(n > 0, "the response ends before `{wanted}`: {text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..n]));
    }
}
