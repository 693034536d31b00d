//! WebSockets of the simulated Python application: an echo, and one that talks as Shiny does.
//!
//! Shiny's own protocol, as far as a client without a browser needs it: the server sends its `config`; the client sends
//! `init` and `update`; the server answers with `busy`, `values` and `idle`. An answer takes the node's capacity, as a
//! request does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::capacity::NodeGone;
use super::node::Node;
use super::reply;
use super::server::reset;

/// The longest message that is taken, in bytes.
const LONGEST: usize = 4 << 20;
/// What the Shiny-like application calls its protocol.
const PROTOCOL: &str = "shiny-like";

/// What a WebSocket does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Talk {
    /// Sends back what comes.
    Echo,
    /// Talks as Shiny does.
    Shiny,
}

/// A WebSocket that was accepted, on its way to the connection that it takes over.
#[derive(Clone)]
pub(super) struct Accepted {
    talk: Talk,
    node: Arc<Node>,
}

/// The answer to a request for a WebSocket, `path` being what is left after the content item's own path. `None`: it is
/// no such request.
pub(super) fn answer(node: &Arc<Node>, head: &Parts, path: &str) -> Option<Response> {
    let talk = match path {
        "/echo/" => Talk::Echo,
        "/websocket/" => Talk::Shiny,
        _ => return None,
    };
    if !lists(&head.headers, header::UPGRADE, "websocket") || !lists(&head.headers, header::CONNECTION, "upgrade") {
        let mut response = reply::page(StatusCode::UPGRADE_REQUIRED, "A WebSocket is expected");
        response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        return Some(response);
    }
    let version = head.headers.get(header::SEC_WEBSOCKET_VERSION).map(HeaderValue::as_bytes);
    let key = head.headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| version == Some(b"13"));
    let accept = key.and_then(|key| HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok());
    let Some(accept) = accept else { return Some(reply::page(StatusCode::BAD_REQUEST, "Not a WebSocket key")) };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if lists(&head.headers, header::SEC_WEBSOCKET_PROTOCOL, PROTOCOL) {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
    }
    response.extensions_mut().insert(Accepted { talk, node: Arc::clone(node) });
    Some(response)
}

/// Whether a header that is a list has a word.
fn lists(headers: &HeaderMap, name: header::HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok().map(str::to_owned));
    values.into_iter().any(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word)))
}

type Stream = WebSocketStream<TcpStream>;

impl Accepted {
    /// Talks until the client has enough, or the node goes away.
    pub(super) async fn run(self, io: TokioIo<TcpStream>, read: Vec<u8>) {
        let config = WebSocketConfig::default()
            .read_buffer_size(4 << 10)
            .write_buffer_size(0)
            .max_write_buffer_size(2 * LONGEST)
            .max_message_size(Some(LONGEST))
            .max_frame_size(Some(LONGEST));
        let mut stream = WebSocketStream::from_partially_read(io.into_inner(), read, Role::Server, Some(config)).await;
        let mut losses = self.node.losses();
        let talk = async {
            match self.talk {
                Talk::Echo => echo(&mut stream).await.map(|()| false),
                Talk::Shiny => shiny(&mut stream, &self.node).await,
            }
        };
        let lost = tokio::select! {
            // A client that does not keep to the protocol is done with, too.
            ended = talk => ended.unwrap_or(false),
            _ = losses.changed() => true,
        };
        if lost {
            reset(stream.get_ref());
        }
    }
}

async fn echo(stream: &mut Stream) -> Result<(), Error> {
    while let Some(message) = stream.next().await {
        // A ping is answered by the library, with the next reading.
        if let message @ (Message::Text(_) | Message::Binary(_)) = message? {
            stream.send(message).await?;
        }
    }
    Ok(())
}

/// `true`: the node went away meanwhile.
async fn shiny(stream: &mut Stream, node: &Node) -> Result<bool, Error> {
    static SESSIONS: AtomicU64 = AtomicU64::new(1);
    let number = SESSIONS.fetch_add(1, Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let session = format!("{number:016x}");
    let config = json!({"config": {"workerId": node.hostname, "sessionId": session, "user": null}});
    say(stream, &config).await?;
    while let Some(message) = stream.next().await {
        let Message::Text(text) = message? else { continue };
        let asked: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        let (Some("init" | "update"), Some(data)) = (asked["method"].as_str(), asked["data"].as_object()) else {
            say(stream, &json!({"errors": {"message": "neither init nor update"}})).await?;
            continue;
        };
        say(stream, &json!({"busy": "busy"})).await?;
        if matches!(node.capacity.serve(node.capacity.now_s()).await, Err(NodeGone)) {
            return Ok(true);
        }
        let values = json!({"inputs": data, "rows": data.len()});
        say(stream, &json!({"values": values, "errors": {}, "inputMessages": []})).await?;
        say(stream, &json!({"busy": "idle"})).await?;
    }
    Ok(false)
}

async fn say(stream: &mut Stream, value: &Value) -> Result<(), Error> {
    stream.send(Message::text(value.to_string())).await
}
