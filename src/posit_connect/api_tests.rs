//! The client against a server that answers as it is told.

use std::sync::atomic::{AtomicU32, Ordering};

use axum::response::Response;

use super::super::stub::{KEY, Stub, error_reply, json_reply, reply};
use super::super::transport::CaCert;
use super::*;
use crate::secret::ApiKey;

async fn error_of(status: u16, media_type: &'static str, body: &'static str) -> ApiError {
    let stub = Stub::start(move |_| reply(status, media_type, body)).await;
    stub.client().me().await.unwrap_err()
}

#[tokio::test]
async fn the_key_goes_where_it_is_needed_and_every_request_is_counted() {
    let stub = Stub::start(|seen| match seen.path.as_str() {
        "/__api__/v1/user" => json_reply(200, &json!({"guid": "u", "username": "me", "user_role": "publisher"})),
        "/__api__/server_settings" => json_reply(200, &json!({"version": "2025.06.0-dev+1", "hostname": "n1"})),
        "/__ping__" => json_reply(200, &json!({})),
        _ => error_reply(404, 4, "no"),
    })
    .await;
    let client = stub.client();
    client.ping().await.unwrap();
    let settings = client.server_settings().await.unwrap();
    assert_eq!(settings.connect_version().unwrap().to_string(), "2025.06.0");
    assert_eq!(settings.hostname.as_deref(), Some("n1"));
    assert!(client.me().await.unwrap().can_publish());
    assert_eq!(client.scheduler_settings("python-api").await.unwrap(), None);
    assert!(client.content("x").await.unwrap_err().is_not_found());
    let keys: Vec<bool> = stub.seen().iter().map(|seen| seen.key.is_some()).collect();
    assert_eq!(keys, [false, false, true, true, true]);
    assert_eq!(stub.seen()[2].key.as_deref(), Some(format!("Key {KEY}").as_str()));
    let count = client.counts().read();
    assert_eq!((count.sent, count.completed, count.failed, count.reached()), (5, 3, 2, 5));
}

#[tokio::test]
async fn only_what_is_safe_is_repeated_and_repetitions_are_counted() {
    let calls = AtomicU32::new(0);
    let stub = Stub::start(move |seen| match seen.method.as_str() {
        "GET" if calls.fetch_add(1, Ordering::Relaxed) == 2 => json_reply(200, &json!({"guid": "u"})),
        _ => reply(503, "text/html", "<html>busy"),
    })
    .await;
    let client = stub.client();
    client.me().await.unwrap();
    assert_eq!(client.counts().read().sent, 3);
    let error = client.create_content(&NewContent::default()).await.unwrap_err();
    assert_eq!(error.status(), Some(503), "{error}");
    assert_eq!((client.counts().read().sent, stub.calls().len()), (4, 4));
    assert!(client.delete_content("g").await.is_err());
    assert_eq!((client.counts().read().sent, stub.calls().len()), (8, 8));
}

#[tokio::test]
async fn what_is_not_connect_is_said_to_be_so() {
    let error = error_of(200, "text/html", "<!doctype html><h1>Welcome to nginx").await;
    assert!(matches!(error, ApiError::NotConnect { .. }), "{error}");
    let error = error_of(404, "text/plain", "  <html>404").await;
    assert!(error.to_string().contains("this is not a Connect server"), "{error}");
    for body in ["", "[]", "{", "7", "{\"guid\":{}}", "\u{1b}[2J"] {
        let error = error_of(200, "application/json", body).await;
        assert!(matches!(error, ApiError::Malformed { .. }), "{body:?}: {error}");
        assert!(!error.to_string().contains('\u{1b}'));
    }
}

#[tokio::test]
async fn connects_errors_are_passed_on_without_the_key() {
    let error = error_of(401, "application/json", r#"{"code":30,"error":"bad key stubkey4711"}"#).await;
    let text = error.to_string();
    assert!(text.contains("bad key [key]") && text.contains("code 30") && text.contains("--api-key"), "{text}");
    let error = error_of(403, "application/json", r#"{"code":22,"error":"no permission","payload":{}}"#).await;
    assert!(matches!(error, ApiError::Forbidden { code: Some(22), .. }), "{error}");
    let error = error_of(500, "application/json", r#"{"code":"x"}"#).await;
    assert_eq!((error.status(), error.code()), (Some(500), None));
    let stub = Stub::start(|_| reply(402, "text/plain", "expired")).await;
    let error = stub.client().ping().await.unwrap_err();
    assert!(error.to_string().contains("licence"), "{error}");
}

#[tokio::test]
async fn an_identifier_of_the_server_cannot_choose_our_paths() {
    let stub = Stub::start(|seen| match seen.path.as_str() {
        path if path.ends_with("/bundles") => json_reply(200, &json!({"id": "../../x"})),
        _ => json_reply(200, &json!({"guid": "../admin", "task_id": "a?b"})),
    })
    .await;
    let client = stub.client();
    for error in [
        client.content("g").await.unwrap_err(),
        client.upload_bundle("g", Bytes::new()).await.unwrap_err(),
        client.deploy("g", "1").await.unwrap_err(),
    ] {
        assert!(matches!(error, ApiError::Malformed { .. }), "{error}");
    }
    assert_eq!(client.server().join(&["a", "../b", "c/d"]).path(), "/a/..%2Fb/c%2Fd");
}

#[tokio::test]
async fn nobody_there_is_told_apart() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let config = |url: &str| ClientConfig::new(ServerAddress::parse(url).unwrap(), None);
    let client = Client::new(config(&format!("http://{address}"))).unwrap();
    let error = client.ping().await.unwrap_err();
    assert!(matches!(error, ApiError::Refused { .. }), "{error}");
    let count = client.counts().read();
    assert_eq!((count.sent, count.unconnected, count.reached()), (4, 4, 0));
    let client = Client::new(config("http://no-such-host.invalid")).unwrap();
    let error = client.ping().await.unwrap_err();
    assert!(matches!(error, ApiError::UnknownHost { .. }), "{error}");
}

#[tokio::test]
async fn a_slow_server_times_out_and_is_not_asked_again() {
    let stub = Stub::slow(Duration::from_secs(5), |_| json_reply(200, &json!({}))).await;
    let mut config = stub.config();
    config.timeout = Duration::from_millis(100);
    let client = Client::new(config).unwrap();
    let error = client.me().await.unwrap_err();
    assert!(matches!(error, ApiError::Timeout { .. }), "{error}");
    assert_eq!((client.counts().read().sent, client.counts().read().failed), (1, 1));
}

#[tokio::test]
async fn a_redirect_to_another_origin_is_an_error_and_one_within_is_followed() {
    let other = Stub::start(|_| json_reply(200, &json!({"guid": "stolen"}))).await;
    let target = format!("{}x", other.url);
    let redirect = |to: &str| Response::builder().status(302).header("location", to).body("".into()).unwrap();
    let stub = Stub::start(move |seen| match seen.path.as_str() {
        "/__api__/v1/user" => redirect("/moved"),
        "/moved" => json_reply(200, &json!({"guid": "u"})),
        _ => redirect(&target),
    })
    .await;
    let client = stub.client();
    assert_eq!(client.me().await.unwrap().guid, "u");
    assert_eq!(client.counts().read().sent, 2);
    let error = client.content("g").await.unwrap_err();
    assert!(matches!(error, ApiError::Redirect { .. }), "{error}");
    assert!(client.create_content(&NewContent::default()).await.is_err());
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn cookies_keep_a_client_on_the_node_that_knows_its_task() {
    let stub = Stub::start(|seen| match (seen.method.as_str(), &seen.cookie) {
        ("POST", _) => Response::builder()
            .header("set-cookie", "AWSALB=n1; Path=/")
            .body(json!({"task_id": "T"}).to_string().into())
            .unwrap(),
        (_, Some(cookie)) if cookie == "AWSALB=n1" => json_reply(200, &json!({"finished": true, "output": ["a"]})),
        _ => error_reply(404, 141, "unknown task"),
    })
    .await;
    let client = stub.client();
    let task = client.deploy("g", "5").await.unwrap();
    let mut lines = Vec::new();
    client.wait_for_task(&task, Duration::from_secs(5), &mut |line| lines.push(line.to_owned())).await.unwrap();
    assert_eq!(lines, ["a"]);
    let deploy: Value = serde_json::from_slice(&stub.seen()[0].body).unwrap();
    assert_eq!(deploy, json!({"bundle_id": "5"}), "activate is never sent");
    let other = stub.client();
    let error = other.wait_for_task(&task, Duration::from_secs(5), &mut |_| {}).await.unwrap_err();
    assert!(matches!(error, ApiError::TaskLost { code: Some(141), .. }), "{error}");
    assert_eq!(other.counts().read().sent, 1, "not asked again");
}

#[tokio::test]
async fn a_task_that_fails_or_never_ends_shows_its_log() {
    let stub = Stub::start(|seen| match seen.path.contains("/bad") {
        true => {
            json_reply(200, &json!({"finished": true, "code": 1, "error": "no R", "output": ["x", "y stubkey4711"]}))
        }
        false => json_reply(200, &json!({"finished": false, "output": ["still"], "last": 1})),
    })
    .await;
    let client = stub.client();
    let error = client.wait_for_task("bad", Duration::from_secs(5), &mut |_| {}).await.unwrap_err();
    assert_eq!(error.to_string(), "the task failed with code 1: no R; the end of its log:\n  x\n  y [key]");
    let error = client.wait_for_task("T", Duration::from_millis(100), &mut |_| {}).await.unwrap_err();
    assert!(matches!(error, ApiError::Deadline { .. }), "{error}");
    let polls = stub.calls().into_iter().filter(|call| call.contains("/T?")).count();
    assert!(polls <= 3, "a server that ignores wait is not asked without a pause: {polls}");
}

#[tokio::test]
async fn uploads_and_variables_are_sent_as_connect_takes_them() {
    let stub = Stub::start(|seen| match seen.method.as_str() {
        "POST" => json_reply(200, &json!({"id": 7})),
        _ => json_reply(200, &json!(["A"])),
    })
    .await;
    let client = stub.client();
    assert_eq!(client.upload_bundle("g", Bytes::from_static(b"\x1f\x8b")).await.unwrap().id, "7");
    let variables = BTreeMap::from([("A".to_owned(), Some("1".to_owned())), ("B".to_owned(), None)]);
    assert_eq!(client.set_environment("g", &variables).await.unwrap(), ["A"]);
    let seen = stub.seen();
    assert_eq!((seen[0].content_type.as_deref(), &seen[0].body[..]), (Some("application/gzip"), &b"\x1f\x8b"[..]));
    let body: Value = serde_json::from_slice(&seen[1].body).unwrap();
    assert_eq!(body, json!([{"name": "A", "value": "1"}, {"name": "B", "value": null}]));
}

#[test]
fn the_key_is_not_sent_in_plain_text_over_a_network() {
    let config = ClientConfig::new(ServerAddress::parse("http://connect.example").unwrap(), ApiKey::new(KEY));
    assert!(matches!(Client::new(config.clone()), Err(ApiError::PlainHttp { .. })));
    assert!(Client::new(ClientConfig { allow_http: true, ..config.clone() }).is_ok());
    assert!(Client::new(ClientConfig { key: None, ..config }).is_ok());
}

/// An https server with a certificate that nobody knows, and that certificate.
async fn tls_server() -> (String, String) {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let pem = certified.cert.pem();
    let key = rustls_pki_types::PrivateKeyDer::Pkcs8(certified.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let service = hyper::service::service_fn(|_| async {
                Ok::<_, std::convert::Infallible>(Response::new(http_body_util::Full::new(Bytes::from_static(b"{}"))))
            });
            let io = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, service));
        }
    });
    (format!("https://localhost:{port}"), pem)
}

#[tokio::test]
async fn an_unknown_authority_is_refused_unless_it_is_given_or_allowed() {
    let (url, pem) = tls_server().await;
    let config = ClientConfig::new(ServerAddress::parse(&url).unwrap(), None);
    let error = Client::new(config.clone()).unwrap().ping().await.unwrap_err();
    assert!(matches!(error, ApiError::TlsUnknownAuthority { .. }), "{error}");
    assert!(error.to_string().contains("--cacert"), "{error}");
    let insecure = ClientConfig { insecure: true, ..config.clone() };
    Client::new(insecure).unwrap().ping().await.unwrap();
    let known = ClientConfig { cacert: Some(CaCert::Pem(pem)), ..config.clone() };
    Client::new(known).unwrap().ping().await.unwrap();
    let wrong = ClientConfig { cacert: Some(CaCert::Pem("x".into())), ..config.clone() };
    assert!(matches!(Client::new(wrong), Err(ApiError::CaCert { .. })));
    let none = ClientConfig { cacert: Some(CaCert::File("/nowhere.pem".into())), ..config };
    assert!(matches!(Client::new(none), Err(ApiError::CaCert { .. })));
}
