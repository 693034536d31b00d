//! HTTP/2: agreed on by ALPN, or known before; and what becomes of requests when the server ends a connection.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use connect_bench::connection_options::{ConnectionOptions, Http2, Reuse};
use connect_bench::http::request::Exchange;
use connect_bench::http::{Client, ClientConfig, Dial, DialFault, Dialled, Guard};
use connect_bench::outcome::{Ended, ErrorKind};
use connect_bench::plan::Http1Engine;
use http::{Method, Version};
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{ENGINES, Server, Speaks, answer, get, make, options};

#[tokio::test]
async fn over_tls_it_is_spoken_where_the_server_offers_it() {
    for (offered, wanted, version) in [
        (&["h2", "http/1.1"][..], Http2::Auto, Version::HTTP_2),
        (&["http/1.1"], Http2::Auto, Version::HTTP_11),
        (&[], Http2::Auto, Version::HTTP_11),
        (&["h2", "http/1.1"], Http2::Off, Version::HTTP_11),
        (&["h2"], Http2::PriorKnowledge, Version::HTTP_2),
    ] {
        for engine in ENGINES {
            let server = Server::tls(offered, &[&TLS13, &TLS12]).await;
            let mut client = server.client(&options(wanted), engine);
            let exchange = Rc::new(get("/a?b=c"));
            for at in 0..3 {
                let done = make(&mut client, &exchange).await;
                assert_eq!((done.ended, done.status), (Ended::Completed, Some(200)));
                assert_eq!(client.body(), b"{\"price\": 187.5}");
                let first = u64::from(at == 0);
                let http2 = if version == Version::HTTP_2 { first } else { 0 };
                assert_eq!((done.connections, done.http2, done.resumed), (first, http2, 0));
                assert!(done.bytes.0 > 0 && done.bytes.1 > 0 && done.sent);
                assert_eq!(done.phases.tls_handshaking.is_zero(), at > 0);
            }
            assert_eq!(server.connections(), 1);
            for seen in server.requests() {
                assert_eq!(seen.version, version);
                assert_eq!(seen.header("user-agent"), "test");
                let host = format!("localhost:{}", server.address.port());
                if version == Version::HTTP_2 {
                    assert_eq!(seen.target, format!("https://{host}/a?b=c"));
                    assert_eq!(seen.header("host"), "");
                } else {
                    assert_eq!((seen.target.as_str(), seen.header("host")), ("/a?b=c", host.as_str()));
                }
            }
        }
    }
}

#[tokio::test]
async fn over_plain_tcp_it_is_spoken_only_where_that_is_known() {
    let server = Server::plain(Speaks::Http2).await;
    let mut client = server.client(&options(Http2::PriorKnowledge), Http1Engine::Hyper);
    let done = make(&mut client, &Rc::new(get("/"))).await;
    assert_eq!((done.ended, done.http2), (Ended::Completed, 1));
    assert_eq!(server.requests()[0].version, Version::HTTP_2);
    let server = Server::plain(Speaks::Http1).await;
    let mut client = server.client(&options(Http2::Auto), Http1Engine::Hyper);
    assert_eq!(make(&mut client, &Rc::new(get("/"))).await.http2, 0);
    assert_eq!(server.requests()[0].version, Version::HTTP_11);
}

#[tokio::test]
async fn bodies_beyond_the_flow_control_windows_go_both_ways() {
    let large = Bytes::from(vec![b'x'; 5 << 20]);
    let reply = large.clone();
    let server = Server::start(Speaks::Http2, None, Arc::new(move |_| answer(reply.clone()))).await;
    let mut client = server.client(&options(Http2::PriorKnowledge), Http1Engine::Hyper);
    let mut exchange = get("/");
    exchange.request.method = Method::POST;
    exchange.request.body = large.clone();
    let exchange = Rc::new(exchange);
    for _ in 0..3 {
        let done = make(&mut client, &exchange).await;
        assert_eq!(done.ended, Ended::Completed);
        assert!(done.bytes.0 > 5 << 20 && done.bytes.1 > 5 << 20, "{:?}", done.bytes);
        assert_eq!(client.body().len(), 1000);
    }
    assert_eq!(server.requests().iter().map(|seen| seen.body).collect::<Vec<_>>(), [5 << 20; 3]);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn cookies_and_failed_statuses_are_as_with_http1() {
    let count = AtomicUsize::new(0);
    let handler = move |_: &_| {
        let mut answer = answer("x");
        if count.fetch_add(1, Ordering::Relaxed) == 0 {
            answer.headers_mut().insert("set-cookie", "a=1; Path=/".parse().unwrap());
        } else {
            *answer.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
        }
        answer
    };
    let server = Server::start(Speaks::Http2, None, Arc::new(handler)).await;
    let mut client = server.client(&options(Http2::PriorKnowledge), Http1Engine::Hyper);
    let exchange = Rc::new(get("/"));
    assert_eq!(make(&mut client, &exchange).await.ended, Ended::Completed);
    assert_eq!(make(&mut client, &exchange).await.ended, Ended::Failed(ErrorKind::Status(503)));
    let seen = server.requests();
    assert_eq!((seen[0].header("cookie"), seen[1].header("cookie")), ("", "a=1"));
}

#[tokio::test]
async fn a_connection_that_is_given_up_is_closed() {
    let server = Server::plain(Speaks::Http2).await;
    let mut client = server.client(&options(Http2::PriorKnowledge), Http1Engine::Hyper);
    for at in 1..=3 {
        assert_eq!(make(&mut client, &Rc::new(get("/"))).await.connections, 1);
        client.disconnect();
        server.closed(at).await;
    }
    let options = ConnectionOptions { reuse: Reuse::Never, ..options(Http2::PriorKnowledge) };
    let mut client = server.client(&options, Http1Engine::Hyper);
    for at in 4..=6 {
        assert_eq!(make(&mut client, &Rc::new(get("/"))).await.connections, 1);
        server.closed(at).await;
    }
    drop(client);
    assert!(server.requests().iter().all(|seen| seen.header("connection").is_empty()));
}

/// The preface and the first settings of a client, and an answer with our own.
async fn greet(stream: &mut tokio::net::TcpStream) {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await.unwrap();
    assert!(preface.starts_with(b"PRI * HTTP/2.0"));
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
}

/// Reads frames up to the head of a request, and returns its stream.
async fn headers(stream: &mut tokio::net::TcpStream) -> u32 {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await.unwrap();
        if head[3] == 1 {
            return u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// `:status: 200` from the static table, end of the head and of the stream.
fn fine(stream: u32) -> Vec<u8> {
    frame(1, 0b101, stream, &[0x88])
}

/// What a server does to a stream instead of answering.
type End = fn(u32) -> Vec<u8>;

/// Answers the first request, then does what `then` says to the second; later connections are good.
async fn ends(then: End) -> Server {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let record = Arc::<std::sync::Mutex<crate::support::Record>>::default();
    let noted = record.clone();
    tokio::spawn(async move {
        for connection in 0.. {
            let (mut stream, peer) = listener.accept().await.unwrap();
            noted.lock().unwrap().connections.push(peer);
            greet(&mut stream).await;
            let id = headers(&mut stream).await;
            stream.write_all(&fine(id)).await.unwrap();
            let id = headers(&mut stream).await;
            let end = if connection == 0 { then(id) } else { fine(id) };
            stream.write_all(&end).await.unwrap();
            // In an orderly way: closed with something unread, the kernel would take back what was just written.
            if connection == 0 {
                stream.shutdown().await.unwrap();
            }
            let mut rest = [0; 100];
            while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
        }
    });
    Server { address, record, pem: None }
}

#[tokio::test]
async fn what_the_server_never_looked_at_is_sent_again_once() {
    let ways: [End; 3] = [
        // REFUSED_STREAM
        |id| frame(3, 0, id, &[0, 0, 0, 7]),
        // GOAWAY, no error, the first stream was the last one
        |_id| frame(7, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]),
        // Nothing: the connection is closed.
        |_id| Vec::new(),
    ];
    for then in ways {
        let server = ends(then).await;
        let mut client = server.client(&options(Http2::PriorKnowledge), Http1Engine::Hyper);
        let exchange = Rc::new(get("/"));
        let first = make(&mut client, &exchange).await;
        assert_eq!((first.ended, first.connections, first.retried), (Ended::Completed, 1, false));
        let second = make(&mut client, &exchange).await;
        assert_eq!((second.ended, second.connections, second.retried), (Ended::Completed, 1, true));
        assert_eq!(server.connections(), 2);
    }
}

#[tokio::test]
async fn a_stream_that_the_server_resets_or_cuts_off_is_an_error_of_its_own() {
    // `:status: 200`, ten bytes are to come and five do; then the stream ends, or is reset.
    fn half(stream: u32, last: bool) -> Vec<u8> {
        let head = frame(1, 0b100, stream, &[0x88, 0x0f, 0x0d, 2, b'1', b'0']);
        [head, frame(0, u8::from(last), stream, b"hello")].concat()
    }
    // INTERNAL_ERROR on the stream; on the connection; a frame that is none; responses that are cut off
    let ways: [(End, ErrorKind); 5] = [
        (|id| half(id, true), ErrorKind::Closed),
        (|id| [half(id, false), frame(3, 0, id, &[0, 0, 0, 2])].concat(), ErrorKind::Reset),
        (|id| frame(3, 0, id, &[0, 0, 0, 2]), ErrorKind::Reset),
        (|_id| frame(7, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 2]), ErrorKind::Protocol),
        (|_id| frame(0, 0, 0, b"data on no stream"), ErrorKind::Protocol),
    ];
    for (then, kind) in ways {
        let server = ends(then).await;
        let mut client = server.client(&options(Http2::PriorKnowledge), Http1Engine::Hyper);
        let mut exchange = get("/");
        exchange.request.method = Method::POST;
        let exchange = Rc::new(exchange);
        assert_eq!(make(&mut client, &exchange).await.ended, Ended::Completed);
        assert_eq!(make(&mut client, &exchange).await.ended, Ended::Failed(kind), "{:?}", then(1));
        assert_eq!(make(&mut client, &exchange).await.ended, Ended::Completed);
    }
}

#[tokio::test]
async fn a_server_that_speaks_http1_sees_no_request() {
    let server = Server::plain(Speaks::Http1).await;
    let mut client = server.client(&options(Http2::PriorKnowledge), Http1Engine::Hyper);
    let done = make(&mut client, &Rc::new(get("/"))).await;
    // What its answer, and its closing of the connection, look like depends on which comes first.
    let ended = matches!(done.ended, Ended::Failed(ErrorKind::Protocol | ErrorKind::Closed | ErrorKind::Reset));
    assert!(ended, "{:?}", done.ended);
    assert!(server.requests().is_empty());
}

/// A server in memory: a head after 100 ms, a part of the body with it, the rest after another 50 ms.
struct Slow;

/// A body in two parts.
struct Parts {
    sent: usize,
    rest: Pin<Box<tokio::time::Sleep>>,
}

impl hyper::body::Body for Parts {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        if self.sent == 1 {
            std::task::ready!(self.rest.as_mut().poll(cx));
        }
        self.sent += 1;
        Poll::Ready((self.sent < 3).then(|| Ok(hyper::body::Frame::data(Bytes::from_static(b"part")))))
    }
}

/// Spawns on the test's own thread.
#[derive(Clone)]
struct Local;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

impl Dial for Slow {
    type Stream = tokio::io::DuplexStream;

    async fn dial(&self, _vu: u32) -> Result<Dialled<Self::Stream>, DialFault> {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let service = hyper::service::service_fn(|_| async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let rest = Box::pin(tokio::time::sleep(Duration::from_millis(50)));
            Ok::<_, std::convert::Infallible>(http::Response::new(Parts { sent: 0, rest }))
        });
        let io = hyper_util::rt::TokioIo::new(theirs);
        let served = hyper::server::conn::http2::Builder::new(Local).serve_connection(io, service);
        tokio::task::spawn_local(served);
        Ok(Dialled { http2: true, ..Dialled::at_once(ours) })
    }
}

#[test]
fn its_phases_end_where_the_head_and_the_body_do() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build_local(tokio::runtime::LocalOptions::default());
    runtime.unwrap().block_on(async {
        let config = ClientConfig::new("http://pipe/".parse().unwrap(), Http1Engine::Hyper).unwrap();
        let mut client = Client::new(Rc::new(Slow), Rc::new(config));
        let exchange = Rc::new(get("/"));
        for _ in 0..3 {
            let done = client.exchange(&exchange, &Guard::default()).await;
            assert_eq!((done.ended, client.body()), (Ended::Completed, &b"partpart"[..]));
            let millis = [done.phases.sending, done.phases.waiting, done.phases.receiving].map(|p| p.as_millis());
            assert_eq!(millis, [0, 100, 50]);
            // Time to think: the connection is looked at before it is used again.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
}

#[test]
fn a_time_out_cuts_a_request_off_and_the_next_one_is_good() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build_local(tokio::runtime::LocalOptions::default());
    runtime.unwrap().block_on(async {
        let config = ClientConfig::new("http://pipe/".parse().unwrap(), Http1Engine::Hyper).unwrap();
        let mut client = Client::new(Rc::new(Slow), Rc::new(config));
        let guard = Rc::new(Guard::default());
        let sweeper = guard.clone();
        tokio::task::spawn_local(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(20)).await;
                sweeper.sweep(tokio::time::Instant::now());
            }
        });
        // Before the head, and in the middle of the body.
        for (timeout, status) in [(50, None), (120, Some(200))] {
            let exchange = Rc::new(Exchange { timeout: Duration::from_millis(timeout), ..get("/") });
            let done = client.exchange(&exchange, &guard).await;
            assert_eq!((done.ended, done.status), (Ended::Failed(ErrorKind::Timeout), status));
            assert_eq!(client.exchange(&Rc::new(get("/")), &guard).await.ended, Ended::Completed);
        }
    });
}
