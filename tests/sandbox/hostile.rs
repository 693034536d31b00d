//! Input that means harm: another one's content over every route, paths that lead elsewhere, bodies that never end, and
//! connections that do nothing.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use connect_bench::sandbox::{Config, ExtraUser, Sandbox};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Api, flask, quick};

/// Where the routes are made: none may be missing here.
const ROUTES: &str = include_str!("../../src/sandbox/api.rs");
const METHODS: [Method; 5] = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// The paths of all routes of the API, as they are written there.
fn routes() -> Vec<&'static str> {
    let all = ROUTES.split('"').filter(|text| text.starts_with("/__api__/"));
    let all: std::collections::BTreeSet<_> = all.collect();
    assert!(all.len() > 30, "{all:?}");
    all.into_iter().collect()
}

fn user(name: &str, role: &str) -> ExtraUser {
    ExtraUser { name: name.to_owned(), role: role.to_owned(), api_key: Some(format!("key-of-{name}")) }
}

/// What its owner sees of an item, and all that belongs to it.
async fn whole(owner: &Api, guid: &str) -> Vec<Value> {
    let mut all = Vec::new();
    for part in ["", "/bundles", "/environment", "/permissions", "/vanity", "/tags", "/jobs"] {
        all.push(owner.get(&format!("/content/{guid}{part}")).await.1);
    }
    all
}

#[tokio::test]
async fn no_route_shows_or_changes_what_is_another_ones() {
    let users = vec![user("pat", "publisher"), user("mallory", "publisher"), user("vic", "viewer")];
    let sandbox = Sandbox::start(Config { extra_users: users, ..quick() }).unwrap();
    let admin = Api::of(&sandbox);
    let pat = admin.with_key("key-of-pat");
    let (guid, bundle) = pat.published("pats-secret", "acl", flask()).await;
    assert_eq!(pat.call(Method::PUT, &format!("/content/{guid}/vanity"), json!({"path": "/pats/"})).await.0, 200);
    let variables = json!([{"name": "PATS", "value": "1"}]);
    assert_eq!(pat.call(Method::PUT, &format!("/content/{guid}/environment"), variables).await.0, 200);
    let tag = admin.post("/tags", json!({"name": "tag"})).await.1["id"].as_str().unwrap().to_owned();
    pat.post(&format!("/content/{guid}/tags"), json!({ "tag_id": tag })).await;
    let job = pat.get(&format!("/content/{guid}/jobs")).await.1[0]["key"].as_str().unwrap_or("none").to_owned();
    let before = whole(&pat, &guid).await;
    let body = json!({
        "name": "mine", "title": "mine", "bundle_id": bundle, "path": "/mine/", "force": true, "tag_id": tag,
        "principal_guid": "x", "principal_type": "user", "role": "owner", "owner_guid": "x",
    });
    let mut refused = 0;
    for route in routes() {
        let path = route.replace("{guid}", &guid).replace("{key}", &job).replace("{mode}", "python-api");
        let path = path.replace("{id}", if route.contains("bundles") { &bundle } else { &tag });
        for method in METHODS {
            for key in ["", "key-of-nobody", "key-of-mallory", "key-of-vic"] {
                let api = admin.with_key(key);
                let sent = match method {
                    Method::GET => String::new(),
                    _ if route.ends_with("/environment") => json!([{"name": "PATS", "value": "2"}]).to_string(),
                    _ => body.to_string(),
                };
                let answer = api.send(method.clone(), &path, sent, Some("application/json")).await;
                let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
                let what = format!("{method} {path} with {key:?}: {status} {text}");
                assert!(status < 500, "{what}");
                for secret in ["pats-secret", "/pats/", "PATS"] {
                    assert!(!text.contains(secret), "{what}");
                }
                let known = matches!(key, "key-of-mallory" | "key-of-vic");
                if status == 405 {
                    continue;
                } else if !known {
                    assert!(status == 401 || (method == Method::GET && route.contains("/server_settings")), "{what}");
                } else if route.contains("/content/{guid}") {
                    assert!(matches!(status, 403 | 404), "{what}");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused >= 50, "{refused} were tried");
    assert_eq!(whole(&pat, &guid).await, before, "nothing was changed");
    for path in [format!("/content/{guid}/stocks/"), "/pats/stocks/".to_owned()] {
        assert_eq!(pat.fetch(&path).await.0, 200, "{path}");
        for (key, status) in [("", 401), ("key-of-mallory", 403), ("key-of-vic", 403)] {
            assert_eq!(admin.with_key(key).fetch(&path).await.0, status, "{path} with {key:?}");
        }
    }
}

/// The answer to bytes: status and the rest. Nothing where it just closes.
fn answer(sandbox: &Sandbox, request: &[u8]) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(sandbox.url().trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // It may refuse before all is sent.
    let _ = stream.write_all(request);
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let status = text.split(' ').nth(1)?.parse().ok()?;
    Some((status, text))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_path_leads_out_of_a_content_item() {
    let sandbox = Sandbox::start(Config { extra_users: vec![user("pat", "publisher")], ..quick() }).unwrap();
    let (admin, pat) = (Api::of(&sandbox), Api::of(&sandbox).with_key("key-of-pat"));
    let (open, _) = pat.published("open", "all", flask()).await;
    let (shut, _) = pat.published("shut", "acl", flask()).await;
    let from = format!("/content/{open}");
    let long = "a/".repeat(30_000);
    let mut paths: Vec<Vec<u8>> = [
        format!("{from}/../{shut}/stocks/"),
        format!("{from}/%2e%2e/{shut}/stocks/"),
        format!("{from}/%2e%2e%2f{shut}%2fstocks%2f"),
        format!("{from}/..%2f{shut}/stocks/"),
        format!("{from}/..%5c{shut}/stocks/"),
        format!("{from}/..;/{shut}/stocks/"),
        format!("{from}%2f..%2f{shut}/stocks/"),
        format!("{from}/%252e%252e/{shut}/stocks/"),
        format!("{from}/%c0%ae%c0%ae/{shut}/stocks/"),
        format!("{from}/%e0%80%ae./{shut}/stocks/"),
        format!("{from}/..\\..\\etc\\passwd"),
        format!("{from}/../../../../../../etc/passwd"),
        format!("{from}/%2e%2e/%2e%2e/__api__/v1/user"),
        format!("{from}/../../__api__/v1/users"),
        format!("{from}/%00/../{shut}/stocks/"),
        format!("{from}%00{shut}/stocks/"),
        format!("{from}/stocks/%00"),
        format!("{from}/%"),
        format!("{from}/%zz"),
        format!("{from}/{long}"),
        format!("/content//{shut}/stocks/"),
        format!("//content/{shut}/stocks/"),
        format!("/content/%2e/{shut}/stocks/"),
        format!("/content/{}/stocks/", shut.to_uppercase()),
        format!("/content/{shut}%2fstocks%2f"),
        format!("/content/{}", "0".repeat(4000)),
        "/content/".to_owned(),
        "/content/..".to_owned(),
        "/content/%2e%2e/__api__/v1/users".to_owned(),
        format!("http://evil.example/content/{shut}/stocks/"),
        "*".to_owned(),
        String::new(),
    ]
    .map(String::into_bytes)
    .to_vec();
    paths.push([from.as_bytes(), b"/\0/stocks/"].concat());
    paths.push([from.as_bytes(), b"/\xff\xfe/stocks/"].concat());
    paths.push([from.as_bytes(), b"/\r\nX-RSC-Authorization: x\r\n"].concat());
    let theirs = pat.fetch(&format!("/content/{shut}/stocks/")).await.1;
    let plain = pat.fetch(&format!("{from}/stocks/")).await;
    assert_eq!(plain.0, 200);
    for path in paths {
        let shown = String::from_utf8_lossy(&path[..path.len().min(120)]).into_owned();
        let request = [b"GET ", &path[..], b" HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"].concat();
        let Some((status, text)) = answer(&sandbox, &request) else { continue };
        assert!((300..500).contains(&status), "{shown}: {text}");
        for leak in [theirs.as_str(), "user_role", "root:", "pat"] {
            assert!(!text.contains(leak), "{shown}: {text}");
        }
        // Nobody is sent to another server.
        let to = text.lines().find_map(|line| line.to_lowercase().strip_prefix("location: ").map(str::to_owned));
        assert!(to.as_ref().is_none_or(|to| to.starts_with('/') && !to.starts_with("//")), "{shown}: {to:?}");
    }
    assert_eq!(admin.fetch(&format!("{from}/stocks/")).await, plain, "it answers as before");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_without_being_read() {
    let sandbox = Sandbox::start(Config { max_upload: 100_000, ..quick() }).unwrap();
    let api = Api::of(&sandbox);
    let guid = api.create(json!({})).await;
    let key = format!("Host: x\r\nAuthorization: Key {}\r\nConnection: close\r\n", api.key);
    let upload = format!("POST /__api__/v1/content/{guid}/bundles HTTP/1.1\r\n{key}");
    // A length that no disk has, of which nothing comes.
    for length in ["100001", "999999999999999", "9223372036854775807"] {
        let (status, _) = answer(&sandbox, format!("{upload}Content-Length: {length}\r\n\r\n").as_bytes()).unwrap();
        assert_eq!(status, 413, "{length}");
    }
    for length in ["-1", "18446744073709551615", "18446744073709551616", "0x10", "1, 2", "ten"] {
        let answer = answer(&sandbox, format!("{upload}Content-Length: {length}\r\n\r\n").as_bytes());
        assert!(answer.as_ref().is_none_or(|(status, _)| matches!(status, 400 | 431)), "{length}: {answer:?}");
    }
    // Who sends all of it before reading, as rsconnect-python does, is told so and not reset.
    let mut client = TcpStream::connect(sandbox.url().trim_start_matches("http://")).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    client.write_all(format!("{upload}Content-Length: {}\r\n\r\n", 20 << 20).as_bytes()).unwrap();
    client.write_all(&vec![0; 20 << 20]).unwrap();
    let mut told = String::new();
    client.read_to_string(&mut told).unwrap();
    assert!(told.starts_with("HTTP/1.1 413 "), "{told}");
    // A document, a head and a number of header fields without end.
    let document = format!("{{\"name\": \"{}\"}}", "x".repeat(5 << 20));
    assert_eq!(api.send(Method::POST, "/__api__/v1/content", document, None).await.status(), 400);
    let head = format!("GET / HTTP/1.1\r\n{key}X: {}\r\n\r\n", "x".repeat(1 << 20));
    assert!(answer(&sandbox, head.as_bytes()).is_none_or(|(status, _)| status == 431));
    let fields = format!("GET / HTTP/1.1\r\n{key}{}\r\n", "X: y\r\n".repeat(10_000));
    assert!(answer(&sandbox, fields.as_bytes()).is_none_or(|(status, _)| status == 431));
    let nested = format!("{{\"name\": {}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(api.send(Method::POST, "/__api__/v1/content", nested, None).await.status(), 400);
    assert_eq!(api.get("/content").await.1.as_array().unwrap().len(), 1, "it goes on, and nothing was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_on_sending_what_was_refused_is_not_listened_to_for_ever() {
    let sandbox = Sandbox::start(Config { max_upload: 100_000, ..quick() }).unwrap();
    let api = Api::of(&sandbox);
    let guid = api.create(json!({})).await;
    let mut client = TcpStream::connect(sandbox.url().trim_start_matches("http://")).unwrap();
    client.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
    let (key, length) = (&api.key, u64::MAX >> 1);
    let head = format!("POST /__api__/v1/content/{guid}/bundles HTTP/1.1\r\nHost: x\r\nAuthorization: Key {key}\r\n");
    client.write_all(format!("{head}Content-Length: {length}\r\n\r\n").as_bytes()).unwrap();
    let began = std::time::Instant::now();
    let sent = tokio::task::spawn_blocking(move || {
        let piece = vec![0; 64 << 10];
        loop {
            if let Err(end) = client.write_all(&piece) {
                return end.kind();
            }
            assert!(began.elapsed() < Duration::from_secs(60), "it is still listened to");
        }
    });
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
    let end = sent.await.unwrap();
    assert!(matches!(end, ConnectionReset | BrokenPipe), "{end:?}");
    assert_eq!(api.get("/content").await.0, 200, "it goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_connections_that_do_nothing_keep_nobody_out() {
    let files = connect_bench::host::raise_open_files().unwrap_or(0);
    assert!(files > 4_500, "both ends of 2000 connections are here, and {files} files may be open");
    let sandbox = Sandbox::start(quick()).unwrap();
    let api = Api::of(&sandbox);
    let (guid, _) = api.published("app", "all", flask()).await;
    let to = sandbox.url().trim_start_matches("http://").to_owned();
    let mut held = Vec::new();
    for n in 0..2000 {
        let mut stream = TcpStream::connect(&to).unwrap();
        // Silent; in the midst of a head; in the midst of a body that was promised.
        let said: &[u8] = match n % 4 {
            0 => b"",
            1 => b"GET /content/",
            2 => b"GET / HTTP/1.1\r\nHost: x\r\nX: ",
            _ => b"POST /__api__/v1/content HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
        };
        stream.write_all(said).unwrap();
        held.push(stream);
    }
    for _ in 0..20 {
        assert_eq!(api.fetch(&format!("/content/{guid}/stocks/")).await.0, 200);
        assert_eq!(api.get("/content").await.0, 200);
        // One byte more each, slowly.
        for stream in held.iter_mut().skip(1).step_by(4) {
            stream.write_all(b"x").unwrap();
        }
    }
    drop(held);
    assert_eq!(api.fetch(&format!("/content/{guid}/stocks/")).await.0, 200);
}
