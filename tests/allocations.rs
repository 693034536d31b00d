//! What a fetch allocates in the steady state: nothing with our own codec, and with hyper no more than it did.
//!
//! A real socket, the kernel's time stamps and the recorder are in it; the server runs on a thread of its own, whose
//! allocations are not counted.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use connect_bench::engine::program::{Exchange, Expect, Request, SeriesId};
use connect_bench::http::dial::NetDial;
use connect_bench::http::{Client, ClientConfig, Guard};
use connect_bench::outcome::Ended;
use connect_bench::plan::Http1Engine;
use connect_bench::recorder::{Recorder, Sample};
use http::{HeaderMap, HeaderValue, Method};
use tokio::time::Instant;

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: test\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\n\
    Content-Type: application/json\r\nConnection: keep-alive\r\nContent-Length: 23\r\n\r\n{\"ticker\":\"AAPL\",\"a\":1}";
const REQUESTS: u64 = 500;

/// Answers on one connection until it is closed; the port.
fn serve() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        let mut buffer = [0; 4096];
        while stream.read(&mut buffer).is_ok_and(|read| read > 0) {
            stream.write_all(RESPONSE).unwrap();
        }
    });
    port
}

fn fetch() -> Rc<Exchange> {
    let mut headers = HeaderMap::new();
    headers.insert(http::header::USER_AGENT, HeaderValue::from_static("connect-bench/test"));
    headers.insert(http::header::ACCEPT, HeaderValue::from_static("*/*"));
    let target = "/content/1/stocks/AAPL".parse().unwrap();
    let request = Request { method: Method::GET, target, headers, body: Bytes::new() };
    let expect = Expect {
        follow: false,
        statuses: vec![200],
        body_contains: Some(Bytes::from_static(b"\"ticker\":\"AAPL\"")),
        content_type: Some("application/json".to_owned()),
    };
    Rc::new(Exchange { series: SeriesId(0), request, expect, keep_body: 0, timeout: Duration::from_secs(60) })
}

async fn fetches(client: &mut Client<NetDial>, exchange: &Rc<Exchange>, recorder: &mut Recorder, start: Instant) {
    let guard = Guard::default();
    for _ in 0..REQUESTS {
        recorder.request_started(Duration::ZERO, 0);
        let done = client.exchange(exchange, &guard).await;
        assert_eq!(done.ended, Ended::Completed);
        let sample = Sample {
            ended: done.ended,
            status: done.status,
            phases: done.phases,
            elapsed: start.elapsed(),
            sent: done.sent,
            retried: done.retried,
            connections: done.connections,
            resumed: done.resumed,
            http2: done.http2,
            bytes: done.bytes,
            delay: done.delay,
            unstamped: done.unstamped,
            node: None,
        };
        recorder.request_ended(Duration::ZERO, 0, &sample);
    }
}

/// Allocations per request, after a warm-up.
fn allocations(http1: Http1Engine) -> f64 {
    let dial = NetDial::new("127.0.0.1", serve(), None).unwrap().with_kernel_timestamps();
    let origin = "http://127.0.0.1/".parse().unwrap();
    let config = ClientConfig::new(origin, http1).unwrap();
    let mut client = Client::new(Rc::new(dial), Rc::new(config));
    let (exchange, mut recorder, start) = (fetch(), Recorder::new(1, 1), Instant::now());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(fetches(&mut client, &exchange, &mut recorder, start));
    // A slow moment can make a histogram grow: the best of three is the steady state.
    let counted = (0..3).map(|_| {
        let counted = allocation_counter::measure(|| {
            runtime.block_on(fetches(&mut client, &exchange, &mut recorder, start));
        });
        counted.count_total
    });
    counted.min().unwrap() as f64 / REQUESTS as f64
}

#[test]
fn our_own_codec_allocates_nothing_per_request() {
    // Entering the runtime three times may allocate; a request may not.
    let per_request = allocations(Http1Engine::Own);
    assert!(per_request < 0.01, "{per_request}");
}

#[test]
fn hyper_allocates_no_more_than_it_did() {
    let per_request = allocations(Http1Engine::Hyper);
    // Eight, and what entering the runtime may cost.
    assert!(per_request < 8.01, "{per_request}");
}
