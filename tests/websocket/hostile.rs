//! Servers that do not keep to the protocol, or never end: each is a class of failure, in bounded time and memory.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use connect_bench::outcome::ErrorKind;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::{WebSocketStream, accept_async};

use crate::support::{Pipe, Ran, once, run};

const EXPECTS: &str = r#"
[[steps.s]]
name = "talk"
websocket = "/ws"
timeout = "3s"
maxMessage = 65536
actions = [{ send = "hello" }, { expect = { contains = "never" }, timeout = "2s" }]
"#;
const CLOSES: &str = "[[steps.s]]\nname = \"talk\"\nwebsocket = \"/ws\"\nactions = [{ send = \"hello\" }]\n";

/// The one session of a run has failed so, not later than after so many seconds.
fn fails<F: Future<Output = ()> + 'static>(
    steps: &str,
    serve: impl Fn(DuplexStream) -> F + 'static,
    kind: ErrorKind,
    within_s: f64,
) -> Ran {
    let ran = run(steps, once(), &Pipe::new(serve));
    let sockets = ran.sockets();
    assert_eq!(sockets.errors, BTreeMap::from([(kind, 1)]));
    assert_eq!((sockets.sessions.failed, sockets.sessions.ended()), (1, 1));
    assert_eq!((ran.all.scenarios[0].iterations.failed, ran.events.len()), (1, 1));
    // Time-outs are looked at every 20 ms.
    assert!(sockets.failed_duration.max_ms().unwrap() <= within_s * 1000.0 + 50.0, "{kind}");
    assert!(ran.took < Duration::from_secs(10), "{kind}: {:?}", ran.took);
    ran
}

/// The head of the opening.
async fn head(stream: &mut DuplexStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Accepts, and says what comes afterwards in bytes of its own.
async fn accept(stream: &mut DuplexStream) {
    let head = head(stream).await.to_ascii_lowercase();
    let found = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ").map(str::len));
    assert_eq!(found, Some(24));
    // The key in its own case.
    stream
        .write_all(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n")
        .await
        .unwrap();
}

async fn accepted(mut stream: DuplexStream) -> DuplexStream {
    let head = head(&mut stream).await;
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.to_owned())
    });
    let accept = derive_accept_key(key.unwrap().as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: {accept}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream
}

/// Answers the opening with these bytes and reads on.
async fn answers(mut stream: DuplexStream, answer: &[u8]) {
    head(&mut stream).await;
    let _ = stream.write_all(answer).await;
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

/// After the opening sends these bytes and reads on.
async fn sends(stream: DuplexStream, bytes: Vec<u8>) {
    let mut stream = accepted(stream).await;
    let _ = stream.write_all(&bytes).await;
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

#[test]
fn an_answer_that_is_no_opening() {
    for (answer, status) in [("403 Forbidden", 403), ("200 OK", 200), ("302 Found\r\nlocation: /x", 302)] {
        let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 2\r\n\r\nno");
        let serve = move |stream| {
            let answer = answer.clone();
            async move { answers(stream, answer.as_bytes()).await }
        };
        let ran = fails(EXPECTS, serve, ErrorKind::Status(status), 0.0);
        assert_eq!(ran.events[0]["why"], format!("status {status}"));
        assert!(ran.sockets().connecting.is_empty());
    }
}

#[test]
fn an_opening_that_is_not_one_for_us() {
    let switching = "HTTP/1.1 101 Switching Protocols\r\n";
    let answers_with = |rest: &str| format!("{switching}{rest}\r\n").into_bytes();
    for answer in [
        answers_with(
            "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n",
        ),
        answers_with("upgrade: websocket\r\nconnection: upgrade\r\n"),
        answers_with("connection: upgrade\r\n"),
        b"SSH-2.0-OpenSSH_9.9\r\n\r\n".to_vec(),
        vec![0; 4000],
    ] {
        let serve = move |stream| {
            let answer = answer.clone();
            async move { answers(stream, &answer).await }
        };
        fails(EXPECTS, serve, ErrorKind::SocketProtocol, 0.0);
    }
    // A sub-protocol that nobody asked for.
    let unasked = |mut stream: DuplexStream| async move {
        accept(&mut stream).await;
        let _ = stream.write_all(b"sec-websocket-protocol: x\r\nsec-websocket-accept: x\r\n\r\n").await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    };
    fails(EXPECTS, unasked, ErrorKind::SocketProtocol, 0.0);
    // None of those that were offered.
    let offers = EXPECTS.replace("timeout = \"3s\"", "protocols = [\"chat\"]");
    fails(&offers, |stream| sends(stream, Vec::new()), ErrorKind::SocketProtocol, 0.0);
}

#[test]
fn an_opening_that_never_ends() {
    fails(
        EXPECTS,
        |stream| async move { drop((sleep(Duration::from_secs(100)).await, stream)) },
        ErrorKind::Timeout,
        3.0,
    );
    let endless = |mut stream: DuplexStream| async move {
        head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n").await;
        while stream.write_all(b"x-more: and more and more and more\r\n").await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    fails(EXPECTS, endless, ErrorKind::SocketProtocol, 3.0);
    fails(EXPECTS, |stream| async move { drop(stream) }, ErrorKind::Closed, 0.0);
}

#[test]
fn messages_without_end_that_nobody_expects() {
    let flood = |stream: DuplexStream| async move {
        let mut socket = accept_async(stream).await.unwrap();
        // Time does not pass while anything can go on: so there is a pause now and then.
        loop {
            for _ in 0..100 {
                if socket.send(Message::text("more")).await.is_err() {
                    return;
                }
            }
            sleep(Duration::from_millis(1)).await;
        }
    };
    let ran = fails(EXPECTS, flood, ErrorKind::SocketExpect, 2.0);
    assert!(ran.sockets().received > 100_000, "{}", ran.sockets().received);
    assert!(ran.events[0]["why"].as_str().unwrap().contains("action 2: no expected message within 2s"));
    // While it thinks, the last ones are kept, and no more.
    let thinks = EXPECTS.replace("{ send = \"hello\" }", "{ think = \"2s\" }");
    fails(&thinks, flood, ErrorKind::SocketExpect, 4.0);
}

#[test]
fn pings_without_end_from_a_server_that_does_not_read() {
    let flood = |stream: DuplexStream| async move {
        let mut stream = accepted(stream).await;
        let ping = [&[0x89, 125][..], &[b'x'; 125]].concat().repeat(8);
        while stream.write_all(&ping).await.is_ok() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    let ran = fails(EXPECTS, flood, ErrorKind::SocketExpect, 2.2);
    // The opening and what the pipe holds.
    let written = ran.all.series[0].bytes_sent;
    assert!(written <= 65 * 1024, "{written}");
}

#[test]
fn a_message_that_is_too_long() {
    let announced = [&[0x82, 127][..], &(1_u64 << 40).to_be_bytes(), &[0; 100]].concat();
    fails(EXPECTS, move |stream| sends(stream, announced.clone()), ErrorKind::SocketTooLong, 0.0);
    // In pieces, each of them short.
    let pieces = |stream: DuplexStream| async move {
        let mut stream = accepted(stream).await;
        let begins = [&[0x01, 126, 0x10, 0x00][..], &[b'a'; 4096]].concat();
        let goes_on = [&[0x00, 126, 0x10, 0x00][..], &[b'a'; 4096]].concat();
        let _ = stream.write_all(&begins).await;
        while stream.write_all(&goes_on).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    let ran = fails(EXPECTS, pieces, ErrorKind::SocketTooLong, 0.0);
    // The limit, what is read at once, and what the pipe holds.
    assert!(ran.all.series[0].bytes_received < 80_000, "{}", ran.all.series[0].bytes_received);
}

#[test]
fn frames_that_the_protocol_does_not_have() {
    for bytes in [
        vec![0x8f, 0x00],                                   // an opcode that is reserved
        vec![0xc1, 0x01, b'a'],                             // an extension that nobody asked for
        vec![0x81, 0x81, 1, 2, 3, 4, b'a'],                 // masked, as only clients do
        vec![0x81, 0x02, 0xff, 0xfe],                       // a text that is no UTF-8
        vec![0x80, 0x01, b'a'],                             // the end of a message that never began
        [&[0x89, 126, 0x00, 0x80][..], &[0; 128]].concat(), // a ping that is too long
    ] {
        fails(EXPECTS, move |stream| sends(stream, bytes.clone()), ErrorKind::SocketProtocol, 0.0);
    }
}

#[test]
fn a_server_that_leaves_early() {
    let says_so = |stream: DuplexStream| async move {
        let mut socket = accept_async(stream).await.unwrap();
        let _ = socket.next().await;
        let _ = socket.close(None).await;
        while let Some(Ok(_)) = socket.next().await {}
    };
    fails(EXPECTS, says_so, ErrorKind::SocketClosed, 0.0);
    let goes = |stream: DuplexStream| async move {
        let mut socket: WebSocketStream<DuplexStream> = accept_async(stream).await.unwrap();
        let _ = socket.next().await;
    };
    fails(EXPECTS, goes, ErrorKind::SocketClosed, 0.0);
    let thinks = EXPECTS.replace("{ expect", "{ think = \"1s\" }, { expect");
    fails(&thinks, goes, ErrorKind::SocketClosed, 0.0);
}

#[test]
fn an_end_that_is_not_answered() {
    fails(CLOSES, |stream| sends(stream, Vec::new()), ErrorKind::SocketClose, 5.0);
    // It goes on talking instead.
    let talks_on = |stream: DuplexStream| async move {
        let mut stream = accepted(stream).await;
        while stream.write_all(&[0x81, 0x01, b'a']).await.is_ok() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    let ran = fails(CLOSES, talks_on, ErrorKind::SocketClose, 5.0);
    assert!(ran.sockets().received >= 4000);
    // It just goes.
    let goes = |stream: DuplexStream| async move {
        let mut stream = accepted(stream).await;
        // The message and the frame that ends the session.
        let mut some = [0; 11 + 8];
        let _ = stream.read_exact(&mut some).await;
    };
    fails(CLOSES, goes, ErrorKind::SocketClose, 0.0);
}

#[test]
fn a_server_that_does_not_read_what_is_sent() {
    let steps = CLOSES.replace("hello", &"x".repeat(200_000)).replace("actions", "timeout = \"1s\"\nactions");
    let deaf = |stream: DuplexStream| async move {
        let stream = accepted(stream).await;
        sleep(Duration::from_secs(100)).await;
        drop(stream);
    };
    fails(&steps, deaf, ErrorKind::Timeout, 1.0);
}
