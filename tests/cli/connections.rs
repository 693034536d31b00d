//! How connections are made, by flags and by the scenario file.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::header::LOCATION;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Bench, Sandbox, number};

/// Counts connections and requests; sends `/away` to another place.
struct Counting {
    url: String,
    connections: Arc<AtomicU64>,
    requests: Arc<AtomicU64>,
}

impl Counting {
    async fn start(http2: bool, away: &str) -> Counting {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let (connections, requests) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let (opened, counted, away) = (connections.clone(), requests.clone(), away.to_owned());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                opened.fetch_add(1, Ordering::Relaxed);
                let (counted, away) = (counted.clone(), away.clone());
                let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                    counted.fetch_add(1, Ordering::Relaxed);
                    let mut answer = http::Response::new(Full::new(Bytes::from_static(b"{}")));
                    if request.uri().path() == "/away" {
                        *answer.status_mut() = http::StatusCode::FOUND;
                        answer.headers_mut().insert(LOCATION, away.parse().unwrap());
                    }
                    async move { Ok::<_, Infallible>(answer) }
                });
                let io = TokioIo::new(stream);
                tokio::spawn(async move {
                    let _ = if http2 {
                        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                            .serve_connection(io, service)
                            .await
                    } else {
                        hyper::server::conn::http1::Builder::new().serve_connection(io, service).await
                    };
                });
            }
        });
        Counting { url, connections, requests }
    }

    fn counted(&self) -> (u64, u64) {
        (self.connections.load(Ordering::Relaxed), self.requests.load(Ordering::Relaxed))
    }
}

const STEPS: &str = "[scenarios.two]\nexecutor = \"per-vu-iterations\"\nexec = \"two\"\nvus = 1\niterations = 20\n\
                     maxDuration = \"5s\"\n[[steps.two]]\nname = \"a\"\nget = \"/a\"\n[[steps.two]]\nname = \"b\"\nget = \"/b\"\n";

#[tokio::test]
async fn a_connection_is_for_an_iteration_or_a_request_as_file_and_flags_say() {
    for (file, flags, opened, reuse) in [
        ("", &[][..], 1, "always"),
        ("", &["--no-vu-connection-reuse"], 20, "iteration"),
        ("[connection]\nnoVUConnectionReuse = true\n", &[], 20, "iteration"),
        ("[connection]\nnoVUConnectionReuse = true\n", &["--no-connection-reuse"], 40, "never"),
        ("[connection]\nnoConnectionReuse = true\n", &["--no-vu-connection-reuse"], 20, "iteration"),
    ] {
        let server = Counting::start(false, "/").await;
        let bench = Bench::new();
        let file = bench.file("two.toml", &format!("{file}{STEPS}"));
        let file = file.to_str().unwrap();
        let ended = bench.run(&[&["run", file, "--url", &server.url, "--json"], flags].concat()).await;
        let document = ended.json();
        assert_eq!(number(&document, "/requests/completed"), 40.0, "{ended:#?}");
        assert_eq!(number(&document, "/connections/opened") as u64, opened, "{document:#}");
        assert_eq!(document["connections"]["reuse"], reuse);
        // One of each for the preflight.
        assert_eq!(server.counted(), (opened + 1, 41));
    }
}

#[tokio::test]
async fn http2_without_tls_is_spoken_where_it_is_asked_for() {
    let server = Counting::start(true, "/").await;
    let flags = ["--url", &server.url, "--http2", "prior-knowledge", "--json"];
    let ended = Bench::new().load(&flags).await;
    ended.passes();
    let document = ended.json();
    assert_eq!(number(&document, "/requests/failed"), 0.0);
    assert_eq!((number(&document, "/connections/opened"), number(&document, "/connections/http2")), (4.0, 4.0));
    assert_eq!(server.counted().0, 5);
}

#[tokio::test]
async fn a_redirect_to_another_origin_is_not_followed() {
    let other = Counting::start(false, "/").await;
    let server = Counting::start(false, &other.url).await;
    let text = "[scenarios.s]\nexecutor = \"per-vu-iterations\"\nexec = \"s\"\niterations = 3\nmaxDuration = \"9s\"\n\
                [[steps.s]]\nname = \"a\"\nget = \"/away\"\nredirects = 5\n\
                headers = { x-secret = \"sesame\", cookie = \"a=b\" }\n";
    let bench = Bench::new();
    let file = bench.file("away.toml", text);
    let ended = bench.run(&["run", file.to_str().unwrap(), "--url", &server.url, "--json"]).await;
    assert_eq!(number(&ended.json(), "/requests/sent"), 3.0, "{ended:#?}");
    assert_eq!((server.counted().1, other.counted()), (4, (0, 0)));
    let events = std::fs::read_to_string(bench.runs()[0].join("events.ndjson")).unwrap();
    assert!(events.contains("is another origin than"), "{events}");
}

/// Passes on what it is asked to, and counts connections.
async fn proxy() -> (u16, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let passed = Arc::<AtomicU64>::default();
    let count = passed.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                // "GET http://HOST:PORT/… HTTP/1.1"; a server takes the whole URL, too.
                let to = head.split("://").nth(1).unwrap().split('/').next().unwrap();
                assert!(head.to_lowercase().contains("proxy-authorization: basic "), "{head}");
                let mut server = TcpStream::connect(to).await.unwrap();
                server.write_all(head.as_bytes()).await.unwrap();
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (port, passed)
}

#[tokio::test]
async fn everything_goes_through_the_proxy_and_its_password_nowhere_else() {
    let sandbox = Sandbox::quick(&[]).await;
    let (port, passed) = proxy().await;
    let bench = Bench::on(&sandbox).secret("hunter2").secret("bWU6aHVudGVyMg");
    let through = format!("http://me:hunter2@127.0.0.1:{port}");
    let ended = bench.load(&["--proxy", &through, "--json"]).await;
    ended.passes();
    assert!(ended.stderr.contains(&format!("the proxy http://127.0.0.1:{port}")), "{ended:#?}");
    let document = ended.json();
    assert_eq!(document["connections"]["proxy"], format!("http://127.0.0.1:{port}"));
    let opened = number(&document, "/connections/opened") as u64;
    // Those of the run, and at least one of the API's client.
    assert!(opened >= 5 && passed.load(Ordering::Relaxed) > opened, "{document:#}");
    assert!(sandbox.items().await.is_empty());
    // What the environment names is not for this machine.
    let elsewhere = Bench::on(&sandbox).with("HTTP_PROXY", "http://192.0.2.1:1").with("http_proxy", "nonsense://");
    elsewhere.load(&["--no-publish"]).await.passes();
}

#[tokio::test]
async fn the_key_goes_to_no_proxy_beyond_this_machine_in_the_clear() {
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::on(&sandbox).secret("hunter2");
    let flags = ["--proxy", "http://me:hunter2@192.0.2.1:3128"];
    bench.load(&flags).await.fails(123, &["in the clear", "http://192.0.2.1:3128", "--allow-http"]);
    bench.load(&["--proxy", "socks5://me:hunter2@p"]).await.fails(2, &["by http, not by socks5"]);
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_reached_where_hosts_says() {
    let sandbox = Sandbox::quick(&[]).await;
    let port = sandbox.url.rsplit(':').next().unwrap().trim_end_matches('/').to_owned();
    let server = format!("http://connect.invalid:{port}");
    let bench = Bench::on(&sandbox).with("CONNECT_SERVER", &server);
    let named = ["--allow-host", "connect.invalid", "--allow-http", "--hosts", "*.invalid=127.0.0.1", "--json"];
    let ended = bench.load(&named).await;
    ended.passes();
    assert_eq!(number(&ended.json(), "/requests/failed"), 0.0);
    assert!(sandbox.items().await.is_empty());
    bench.load(&named[..3]).await.fails(122, &["connect.invalid"]);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_before_the_run() {
    let server = Counting::start(false, "/").await;
    let bench = Bench::new();
    for (flags, words) in [
        (&["--local-ips", "192.0.2.7"][..], &["192.0.2.7", "an address of this machine"][..]),
        (&["--tls-resumption"], &["is not https"]),
        (&["--tls-version", "1.3"], &["is not https"]),
        (&["--http2", "yes"], &["none of auto, off, prior-knowledge"]),
        (&["--dns", "select=last"], &["none of first, random, roundRobin"]),
        (&["--hosts", "a"], &["write NAME=IP"]),
        (&["--accept-encoding", "lzma"], &["none of gzip, deflate, br, zstd"]),
        (&["--no-connection-reuse", "--no-vu-connection-reuse"], &["cannot be used with"]),
        (&["--discard-response-bodies", "--expect-body", "x"], &["cannot be used with"]),
    ] {
        bench.load(&[&["--url", &server.url], flags].concat()).await.fails(2, words);
    }
    assert_eq!(server.counted(), (0, 0));
}

#[tokio::test]
async fn bodies_that_are_discarded_are_not_checked() {
    let sandbox = Sandbox::quick(&[]).await;
    let flags = ["--discard-response-bodies", "--accept-encoding", "gzip", "--local-ips", "127.0.0.1-127.0.0.3"];
    let bench = Bench::on(&sandbox);
    let ended = bench.load(&[&flags[..], &["--no-publish"]].concat()).await;
    ended.passes();
    for words in ["bodies of fetches were not looked at", "from 127.0.0.1-127.0.0.3"] {
        let said = ended.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(words), "{ended:#?}");
    }
    let plan = std::fs::read_to_string(bench.runs()[0].join("plan.json")).unwrap();
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    let plan = plan.pointer("/plan").unwrap_or(&plan);
    assert_eq!(plan["http"]["connection"]["accept_encoding"], "gzip", "{plan:#}");
    assert!(plan["scenarios"][0]["program"]["body_contains"].is_null(), "{plan:#}");
}
