//! The REST endpoint: `/v1/status` and `/v1/metrics` in k6's shapes (k6 v1 `api/v1`), on loopback and on a thread of its
//! own. Whatever it is asked costs the workers nothing.
//!
//! Anyone on this machine may ask, and no web page: a request whose `Host` is not this machine, or with an `Origin`, comes
//! from a browser that was talked into it, and is refused.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::{CONTENT_TYPE, HOST, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::board::Board;
use super::{Ask, Asked, Refusal, Wanted};
use crate::door;
use crate::summary::Origin;

/// Most bytes of a request's body.
const MAX_BODY: usize = 64 * 1024;
/// What is read of a body that is longer: closed with bytes unread, a connection is reset, and the refusal may be lost.
const MAX_READ: usize = 1 << 20;
/// The control loop looks at what is asked many times a second.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running endpoint; it ends with this value.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens from now on. Port 0 is any that is free.
    ///
    /// # Errors
    /// Where the address is not on loopback, or cannot be had.
    pub fn start(address: SocketAddr, board: Arc<Board>, asks: UnboundedSender<Asked>) -> io::Result<Server> {
        if !address.ip().is_loopback() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "only loopback addresses"));
        }
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let serve = async move {
            let listener = match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => listener,
                Err(e) => return tracing::error!("control: {e}"),
            };
            let router = router(Arc::new(Desk { board, asks }));
            tokio::select! {
                // It ends only with this thread.
                () = door::serve(listener, router) => {}
                _ = stopped => {}
            }
        };
        let thread = std::thread::Builder::new().name("control".to_owned()).spawn(move || runtime.block_on(serve))?;
        Ok(Server { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing that could be lost.
            let _ = thread.join();
        }
    }
}

/// What the handlers know.
struct Desk {
    board: Arc<Board>,
    asks: UnboundedSender<Asked>,
}

fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/v1/status", get(status).patch(patch_status))
        .route("/v1/metrics", get(metrics))
        .route("/v1/metrics/{id}", get(metric))
        .fallback(async || error(StatusCode::NOT_FOUND, "there are /v1/status, /v1/metrics and /v1/metrics/ID"))
        .method_not_allowed_fallback(async || {
            error(StatusCode::METHOD_NOT_ALLOWED, "GET, and PATCH of /v1/status, are all there is")
        })
        .with_state(desk)
        .layer(from_fn(guard))
}

/// Refuses what does not come from a program on this machine.
async fn guard(request: Request, next: Next) -> Response {
    match refuse(request.headers()) {
        Some(why) => error(StatusCode::FORBIDDEN, why),
        None => next.run(request).await,
    }
}

fn refuse(headers: &HeaderMap) -> Option<&'static str> {
    if headers.contains_key(ORIGIN) {
        return Some("requests of web pages (with an Origin) are refused");
    }
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok()).unwrap_or_default();
    if hosts.next().is_some() || !is_this_machine(host) {
        return Some("the Host must be localhost or a loopback address");
    }
    None
}

/// Whether a `Host` names this machine as such; its port may be that of a tunnel.
fn is_this_machine(host: &str) -> bool {
    let port = |port: &str| port.parse::<u16>().is_ok();
    let bare =
        |name: &str| name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    match (bracketed, host.split_once(':')) {
        (Some((ip, "")), _) => ip.contains(':') && bare(ip),
        (Some((ip, after)), _) => ip.contains(':') && bare(ip) && after.strip_prefix(':').is_some_and(port),
        (None, Some((name, after))) => bare(name) && port(after),
        (None, None) => bare(host),
    }
}

fn document(status: StatusCode, value: &Value) -> Response {
    (status, [(CONTENT_TYPE, "application/json; charset=utf-8")], value.to_string()).into_response()
}

fn error(status: StatusCode, detail: &str) -> Response {
    let title = status.canonical_reason().unwrap_or("Error");
    document(status, &json!({"errors": [{"status": status.as_str(), "title": title, "detail": detail}]}))
}

async fn status(State(desk): State<Arc<Desk>>) -> Response {
    document(StatusCode::OK, &desk.board.status())
}

async fn metrics(State(desk): State<Arc<Desk>>) -> Response {
    document(StatusCode::OK, &desk.board.metrics())
}

async fn metric(State(desk): State<Arc<Desk>>, Path(id): Path<String>) -> Response {
    match desk.board.metric(&id) {
        Ok(metric) => document(StatusCode::OK, &metric),
        Err(why) => error(StatusCode::NOT_FOUND, &why),
    }
}

/// A PATCH of the status. What it cannot change is taken and ignored, so that what GET gave can be sent back.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Patch {
    data: PatchData,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PatchData {
    #[serde(rename = "type")]
    kind: Option<String>,
    id: Option<String>,
    attributes: Attributes,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Attributes {
    paused: Option<bool>,
    vus: Option<u32>,
    /// Ours: whose VUs.
    scenario: Option<String>,
    stopped: Option<bool>,
    vus_max: Option<u64>,
    #[serde(rename = "status")]
    _status: Option<Value>,
    #[serde(rename = "running")]
    _running: Option<Value>,
    #[serde(rename = "tainted")]
    _tainted: Option<Value>,
    #[serde(rename = "scenarios")]
    _scenarios: Option<Value>,
}

/// What a PATCH asks for.
fn read(body: &[u8], board: &Board) -> Result<Vec<Ask>, String> {
    let patch: Patch = serde_json::from_slice(body).map_err(|e| {
        format!(
            "the body must be {{\"data\": {{\"type\": \"status\", \"id\": \"default\", \"attributes\": {{…}}}}}}: {e}"
        )
    })?;
    let PatchData { kind, id, attributes } = patch.data;
    if kind.is_some_and(|kind| kind != "status") || id.is_some_and(|id| id != "default") {
        return Err("only \"type\": \"status\" with \"id\": \"default\" can be changed".to_owned());
    }
    let most = board.most_vus();
    if attributes.vus_max.is_some_and(|vus| vus != most) {
        return Err(format!("vus-max cannot be changed: it is {most}, what this process can open files for"));
    }
    if attributes.scenario.is_some() && attributes.vus.is_none() {
        return Err("\"scenario\" says whose \"vus\" are set, and there are none".to_owned());
    }
    let mut asks = Vec::new();
    let scenario = attributes.scenario;
    asks.extend(attributes.vus.map(|vus| Ask::Vus { scenario, vus: Wanted::Exactly(vus) }));
    asks.extend(attributes.paused.map(|paused| if paused { Ask::Pause } else { Ask::Resume }));
    asks.extend(attributes.stopped.and_then(|stopped| stopped.then_some(Ask::Stop)));
    if asks.is_empty() && attributes.stopped.is_none() {
        return Err("nothing to change: give \"paused\", \"vus\" or \"stopped\"".to_owned());
    }
    Ok(asks)
}

async fn patch_status(State(desk): State<Arc<Desk>>, body: Body) -> Response {
    let Some(body) = axum::body::to_bytes(body, MAX_READ).await.ok().filter(|body| body.len() <= MAX_BODY) else {
        return error(StatusCode::PAYLOAD_TOO_LARGE, "the body is longer than 64 KiB, or broke off");
    };
    let asks = match read(&body, &desk.board) {
        Ok(asks) => asks,
        Err(why) => return error(StatusCode::BAD_REQUEST, &why),
    };
    match desk.ask(asks).await {
        Ok(Ok(())) => document(StatusCode::OK, &desk.board.status()),
        Ok(Err(refusal)) if refusal.is_senseless() => error(StatusCode::BAD_REQUEST, &refusal.to_string()),
        Ok(Err(refusal)) => error(StatusCode::CONFLICT, &refusal.to_string()),
        Err(late) => error(StatusCode::SERVICE_UNAVAILABLE, late),
    }
}

impl Desk {
    /// Asks the control loop, and waits for what became of it.
    async fn ask(&self, asks: Vec<Ask>) -> Result<Result<(), Refusal>, &'static str> {
        if let Err(closed) = self.board.is_open() {
            return Ok(Err(closed));
        }
        let (reply, told) = oneshot::channel();
        if self.asks.send(Asked { asks, from: Origin::Rest, reply: Some(reply) }).is_err() {
            return Ok(Err(Refusal::Over));
        }
        match tokio::time::timeout(PATIENCE, told).await {
            Ok(Ok(result)) => Ok(result),
            // The run ended before it was looked at.
            Ok(Err(_gone)) => Ok(Err(Refusal::Over)),
            Err(_elapsed) => Err("the run did not take notice in 10 s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_its_host() {
        for host in ["localhost", "LOCALHOST:6565", "127.0.0.1:80", "127.1.2.3", "[::1]:6565", "[::1]"] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in [
            "",
            ":80",
            "example.com",
            "localhost.example.com:80",
            "127.0.0.1.example.com",
            "10.0.0.1:6565",
            "0.0.0.0:1",
            "localhost:",
            "localhost:x",
            "[::1]x",
            "[::2]:80",
            "[127.0.0.1]:80",
            "::1",
            "localhost:80:80",
            "[::]:80",
        ] {
            assert!(!is_this_machine(host), "{host}");
        }
    }
}
