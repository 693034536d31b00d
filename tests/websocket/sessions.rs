//! Sessions in virtual time: every count and duration to the last digit.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::DuplexStream;
use tokio::time::sleep;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Pipe, once, run, vus};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Says who it is after 20 ms, and answers each message after 30 ms with what was sent.
async fn talks(stream: DuplexStream) {
    let mut socket = accept_async(stream).await.unwrap();
    sleep(ms(20)).await;
    socket.send(Message::text(r#"{"config":{"id":7}}"#)).await.unwrap();
    while let Some(Ok(message)) = socket.next().await {
        if let Message::Text(text) = message {
            sleep(ms(30)).await;
            socket
                .send(Message::text(format!(r#"{{"got":{}}}"#, serde_json::Value::from(text.as_str()))))
                .await
                .unwrap();
        }
    }
}

const TALK: &str = r#"
[[steps.s]]
name = "talk"
websocket = "/ws"
actions = [
  { expect = { json = "$.config.id" }, extract = { id = { json = "$.config.id" } } },
  { send = "first ${id} of ${vu}" },
  { expect = { json = "$.got", matches = "^first 7 of [0-9]+$" } },
  { think = "400ms" },
  { sendJson = { id = "${id}" } },
  { expect = { contains = '{\"id\":\"7\"}' }, timeout = "1s" },
]
think = "520ms"
"#;

#[test]
fn sessions_and_messages_are_counted_second_by_second() {
    // A session takes 20 + 30 + 400 + 30 = 480 ms, the pause after it 520 ms.
    let ran = run(TALK, vus(10, ms(29_500)), &Pipe::new(talks));
    assert_eq!(ran.events, Vec::<serde_json::Value>::new());
    for (at, window) in ran.seconds[..29].iter().enumerate() {
        let sockets = window.series[0].sockets.as_deref().unwrap();
        assert_eq!((sockets.sessions.completed, sockets.sent, sockets.received), (10, 20, 30), "second {at}");
        assert_eq!(window.scenarios[0].session_ns, 4_800_000_000);
        assert_eq!(window.scenarios[0].pause_ns, 5_200_000_000);
        assert_eq!(window.scenarios[0].vu_time_ns, 10_000_000_000);
    }
    let sockets = ran.sockets();
    assert_eq!((sockets.sessions.scheduled, sockets.sessions.completed), (300, 300));
    assert_eq!((sockets.duration.mean_ms(), sockets.connecting.sum_ns()), (Some(480.0), 0));
    assert_eq!((sockets.expected.count(), sockets.expected.sum_ns()), (900, 300 * (20 + 30 + 30) * 1_000_000));
    // Sessions are no requests, but their connections and bytes are counted.
    let series = &ran.all.series[0];
    assert_eq!((series.requests.scheduled, series.connections), (0, 300));
    let bytes = (series.bytes_sent / 300, series.bytes_received / 300);
    assert!((150..250).contains(&bytes.0) && (150..250).contains(&bytes.1), "{bytes:?}");
    assert_eq!(ran.all.scenarios[0].iterations.completed, 300);
}

#[test]
fn what_comes_while_a_vu_thinks_is_kept_with_the_time_at_which_it_came() {
    let ticks = |stream: DuplexStream| async move {
        let mut socket = accept_async(stream).await.unwrap();
        for tick in 1..=5 {
            sleep(ms(100)).await;
            socket.send(Message::text(format!("tick {tick}"))).await.unwrap();
        }
        while let Some(Ok(_)) = socket.next().await {}
    };
    let steps = r#"
[[steps.s]]
name = "ticks"
websocket = "/ws"
actions = [{ think = "350ms" }, { expect = { contains = "tick 2" } }, { expect = "any" }, { expect = { matches = "5$" } }]
"#;
    let ran = run(steps, once(), &Pipe::new(ticks));
    let sockets = ran.sockets();
    assert_eq!((sockets.sessions.completed, sockets.received, sockets.expected.count()), (1, 5, 3));
    // Ticks 2, 3 and 5, each from the opening: nothing was sent.
    assert_eq!(sockets.expected.sum_ns(), (200 + 300 + 500) * 1_000_000);
    assert_eq!(sockets.duration.sum_ns(), 500_000_000);
}

#[test]
fn a_ping_is_answered_while_a_vu_thinks() {
    let pings = |stream: DuplexStream| async move {
        let mut socket = accept_async(stream).await.unwrap();
        sleep(ms(100)).await;
        socket.send(Message::Ping("are you there".into())).await.unwrap();
        match tokio::time::timeout(ms(50), socket.next()).await {
            Ok(Some(Ok(Message::Pong(said)))) => assert_eq!(&said[..], b"are you there"),
            other => panic!("{other:?}"),
        }
        sleep(ms(300)).await;
        socket.send(Message::binary(vec![0xff, 0x00, 0x41])).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
    };
    let steps = r#"
[[steps.s]]
name = "pings"
websocket = "/ws"
actions = [{ think = "300ms" }, { expect = { contains = "A" } }, { close = 4000 }]
"#;
    let ran = run(steps, once(), &Pipe::new(pings));
    // A ping is no message.
    assert_eq!((ran.sockets().sessions.completed, ran.sockets().received), (1, 1));
}

#[test]
fn what_the_opening_says() {
    let looks = |stream: DuplexStream| async move {
        #[expect(clippy::result_large_err, reason = "what the library asks for")]
        let look = |request: &http::Request<()>, mut response: http::Response<()>| {
            let header = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
            assert_eq!(request.uri().to_string(), "/content/1/a%20b?x=1&vu=1");
            assert_eq!((header("host"), header("origin")), ("pipe".to_owned(), "https://me".to_owned()));
            assert_eq!(header("sec-websocket-protocol"), "a.v1, b");
            assert!(!request.headers().contains_key("accept"));
            response.headers_mut().insert("sec-websocket-protocol", http::HeaderValue::from_static("b"));
            Ok(response)
        };
        let mut socket = tokio_tungstenite::accept_hdr_async(stream, look).await.unwrap();
        let closed = socket.next().await.unwrap().unwrap();
        assert!(matches!(closed, Message::Close(Some(frame)) if u16::from(frame.code) == 3001));
        while let Some(Ok(_)) = socket.next().await {}
    };
    let steps = r#"
[[steps.s]]
name = "look"
websocket = "/a b?x=1"
query = { vu = "${vu}" }
headers = { origin = "https://me" }
protocols = ["a.v1", "b"]
actions = [{ close = 3001 }]
"#;
    let ran = run(steps, once(), &Pipe::new(looks));
    assert_eq!((ran.sockets().sessions.completed, ran.events.len()), (1, 0));
}

#[test]
fn the_hard_stop_cuts_a_session_off_and_counts_it() {
    let steps = r#"
[[steps.s]]
name = "long"
websocket = "/ws"
actions = [{ think = "1h" }]
"#;
    let ran = run(steps, vus(3, Duration::from_secs(5)), &Pipe::new(talks));
    let sockets = ran.sockets();
    assert_eq!((sockets.sessions.interrupted, sockets.sessions.ended()), (3, 3));
    // Five seconds of the scenario and two of grace.
    assert!(sockets.interrupted_age.min_ms().unwrap() >= 6_900.0);
    assert_eq!(ran.all.scenarios[0].iterations.interrupted, 3);
    assert_eq!(sockets.received, 3);
}
