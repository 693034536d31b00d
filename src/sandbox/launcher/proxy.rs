//! From a request to the process that answers it, and back: streaming both ways, in the time that the item's settings
//! give.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri, header};
use axum::response::Response;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::{Instant, Sleep};

use super::super::capacity::NodeGone;
use super::super::catalog::Item;
use super::super::node::Node;
use super::super::{api, reply};
use super::running::{NoProcess, Permit, Running};
use super::tunnel::{self, Tunnel};
use super::{Launcher, Wanted};

/// Connections to processes that turn out to be gone, before the client is told.
const TRIES: usize = 3;
/// Headers that belong to a connection and not to what is sent on it.
const HOP_BY_HOP: [&str; 7] =
    ["connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding"];
/// Connect's own headers: where the content is, and who asks.
const BASE_URL: &str = "rstudio-connect-app-base-url";
const CREDENTIALS: &str = "rstudio-connect-credentials";
/// What Connect strips: a key is for it, and not for the content.
const KEY_HEADER: &str = "x-rsc-authorization";

/// The connections to one process.
#[derive(Debug)]
pub(super) struct Upstream {
    socket: PathBuf,
    kept: Mutex<Vec<SendRequest<Body>>>,
}

/// A request for a bundle: its head and body, and what is left of its path after the content item's own.
pub(in super::super) struct Asked {
    pub(in super::super) head: Parts,
    pub(in super::super) body: Incoming,
    pub(in super::super) rest: String,
    pub(in super::super) bundle: i64,
}

/// Has a process of the content item answer.
///
/// # Errors
/// When the node goes away meanwhile.
pub(in super::super) async fn serve(
    launcher: &Launcher,
    node: &Node,
    item: &Item,
    asked: Asked,
) -> Result<Response, NodeGone> {
    let mut losses = node.losses();
    let directory = node.shared.bundles.app(&item.guid, asked.bundle);
    let wanted = Wanted {
        node: node.index,
        hostname: &node.hostname,
        guid: &item.guid,
        bundle: asked.bundle,
        active: item.active == Some(asked.bundle),
        directory: &directory,
    };
    let work = async {
        node.awake().await;
        let running = match launcher.running(wanted, &node.shared.store, item).await {
            Ok(running) => running,
            Err(why) => return Ok(page(StatusCode::INTERNAL_SERVER_ERROR, &why)),
        };
        answer(&running, node, item, asked).await
    };
    tokio::select! {
        biased;
        _ = losses.changed() => Err(NodeGone),
        response = work => response,
    }
}

async fn answer(running: &Arc<Running>, node: &Node, item: &Item, asked: Asked) -> Result<Response, NodeGone> {
    let runtime = running.runtime();
    let mut tries = 0;
    let (permit, sender) = loop {
        let permit = match within(runtime.connection, running.admit()).await {
            Some(Ok(permit)) => permit,
            Some(Err(NoProcess::Gone)) => return Err(NodeGone),
            Some(Err(why)) => return Ok(page(StatusCode::SERVICE_UNAVAILABLE, &why.to_string())),
            None => {
                return Ok(page(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "No process became free within the connection timeout",
                ));
            }
        };
        match permit.upstream().connection().await {
            Ok(sender) => break (permit, sender),
            Err(_) if tries < TRIES => tries += 1,
            Err(error) => return Ok(page(StatusCode::BAD_GATEWAY, &format!("The process cannot be reached: {error}"))),
        }
    };
    let traffic = Traffic::default();
    let upgrades = tunnel::asks(&asked.head.headers);
    let request = request(node, item, asked, &traffic);
    let sent = send(&permit, sender, request);
    let mut response = match traffic.until_quiet(runtime.connection, sent).await {
        Some(Ok(response)) => response,
        Some(Err(error)) => {
            let title = format!("The process did not answer: {error}. Its job's log may say why");
            return Ok(page(StatusCode::BAD_GATEWAY, &title));
        }
        None => {
            return Ok(page(StatusCode::GATEWAY_TIMEOUT, "The process did not answer within the connection timeout"));
        }
    };
    if upgrades && response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let upgraded = hyper::upgrade::on(&mut response).await;
        return Ok(match upgraded {
            Ok(upgraded) => Tunnel::accept(response.headers(), upgraded, (permit, runtime)),
            Err(error) => page(StatusCode::BAD_GATEWAY, &format!("The process did not take the connection: {error}")),
        });
    }
    let (mut head, body) = response.into_parts();
    strip(&mut head.headers, false);
    let read = runtime.read.map(|read| Instant::now() + read);
    let body = Relay { body, quiet: runtime.connection, read, timer: None, _permit: permit };
    Ok(Response::from_parts(head, Body::new(body)))
}

/// Sends a request; over a connection of its own where the one that was kept is gone.
async fn send(
    permit: &Permit,
    mut sender: SendRequest<Body>,
    request: Request<Body>,
) -> Result<hyper::Response<Incoming>, Box<dyn std::error::Error + Send + Sync>> {
    let response = match sender.try_send_request(request).await {
        Ok(response) => response,
        Err(mut error) => {
            let Some(request) = error.take_message() else { return Err(error.into_error().into()) };
            sender = permit.upstream().dial().await?;
            sender.try_send_request(request).await.map_err(hyper::client::conn::TrySendError::into_error)?
        }
    };
    permit.upstream().keep(sender);
    Ok(response)
}

/// The request as the process gets it.
fn request(node: &Node, item: &Item, asked: Asked, traffic: &Traffic) -> Request<Body> {
    let Asked { head, body, rest, .. } = asked;
    let target = match head.uri.query() {
        Some(query) => format!("{rest}?{query}"),
        None => rest,
    };
    let user = api::key_of(&head.headers).and_then(|key| node.shared.user_of_key(key));
    let mut headers = head.headers;
    strip(&mut headers, true);
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost").to_owned();
    let base = format!("http://{host}/content/{}", item.guid);
    let told = [
        (BASE_URL, Some(base)),
        (CREDENTIALS, user.map(|user| serde_json::json!({"user": user.username, "groups": []}).to_string())),
    ];
    for (name, value) in told {
        headers.remove(name);
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    let mut request = Request::new(Body::new(Upload { body, traffic: traffic.clone() }));
    *request.method_mut() = head.method;
    *request.uri_mut() = target.parse().unwrap_or(Uri::from_static("/"));
    *request.headers_mut() = headers;
    request
}

/// Takes out what belongs to a connection; and of a request (`inwards`) the key.
fn strip(headers: &mut HeaderMap, inwards: bool) {
    let upgrade = headers.get(header::UPGRADE).filter(|_| inwards && tunnel::asks(headers)).cloned();
    let listed: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    for name in listed.iter().map(String::as_str).chain(HOP_BY_HOP).chain(["upgrade"]) {
        headers.remove(name);
    }
    if !inwards {
        return;
    }
    headers.remove(KEY_HEADER);
    let key = |value: &HeaderValue| value.to_str().is_ok_and(|value| value.to_ascii_lowercase().starts_with("key "));
    if headers.get(header::AUTHORIZATION).is_some_and(key) {
        headers.remove(header::AUTHORIZATION);
    }
    if let Some(upgrade) = upgrade {
        headers.insert(header::UPGRADE, upgrade);
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
}

impl Upstream {
    /// To a process that listens there.
    pub(super) fn new(socket: PathBuf) -> Self {
        Self { socket, kept: Mutex::default() }
    }

    /// Where the process listens.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// A connection that was used before, or a new one.
    async fn connection(&self) -> Result<SendRequest<Body>, Box<dyn std::error::Error + Send + Sync>> {
        let kept = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.retain(|sender| !sender.is_closed());
            kept.iter().position(SendRequest::is_ready).map(|at| kept.swap_remove(at))
        };
        match kept {
            Some(sender) => Ok(sender),
            None => self.dial().await,
        }
    }

    async fn dial(&self) -> Result<SendRequest<Body>, Box<dyn std::error::Error + Send + Sync>> {
        let stream = UnixStream::connect(&self.socket).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection.with_upgrades());
        Ok(sender)
    }

    fn keep(&self, sender: SendRequest<Body>) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
    }
}

/// When a client last sent something.
#[derive(Debug, Clone)]
struct Traffic(Arc<Mutex<Instant>>);

impl Default for Traffic {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }
}

impl Traffic {
    fn seen(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The future's value; `None` when nothing came from the client for so long meanwhile.
    async fn until_quiet<T>(&self, quiet: Option<Duration>, future: impl Future<Output = T>) -> Option<T> {
        let Some(quiet) = quiet else { return Some(future.await) };
        let silence = async {
            loop {
                let until = self.last() + quiet;
                if Instant::now() >= until {
                    return;
                }
                tokio::time::sleep_until(until).await;
            }
        };
        tokio::select! {
            biased;
            value = future => Some(value),
            () = silence => None,
        }
    }
}

async fn within<T>(time: Option<Duration>, future: impl Future<Output = T>) -> Option<T> {
    match time {
        Some(time) => tokio::time::timeout(time, future).await.ok(),
        None => Some(future.await),
    }
}

/// A request's body on its way to the process.
struct Upload {
    body: Incoming,
    traffic: Traffic,
}

impl hyper::body::Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if frame.is_ready() {
            self.traffic.seen();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A response's body on its way to the client. The process has the request until its end.
struct Relay {
    body: Incoming,
    /// Longest time without data.
    quiet: Option<Duration>,
    /// When the client will have sent nothing for too long.
    read: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    _permit: Permit,
}

/// Why a response is cut.
#[derive(Debug, thiserror::Error)]
enum Cut {
    #[error(transparent)]
    Process(#[from] hyper::Error),
    #[error("nothing came for longer than the timeouts of the content item allow")]
    Quiet,
}

impl hyper::body::Body for Relay {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            self.timer = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Cut::from)));
        }
        let quiet = self.quiet.map(|quiet| Instant::now() + quiet);
        let Some(until) = quiet.into_iter().chain(self.read).min() else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        timer.as_mut().poll(context).map(|()| Some(Err(Cut::Quiet)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A page that says what went wrong.
fn page(status: StatusCode, why: &str) -> Response {
    let plain: String = why.chars().filter(|c| !"<>&\"".contains(*c)).collect();
    reply::page(status, &plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn what_belongs_to_the_connection_stays_on_it_and_the_key_with_us() {
        let mut inwards = headers(&[
            ("connection", "close, x-secret"),
            ("x-secret", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("authorization", "Key abc"),
            ("x-rsc-authorization", "Key abc"),
            ("upgrade", "h2c"),
            ("accept", "*/*"),
        ]);
        strip(&mut inwards, true);
        assert_eq!(inwards, headers(&[("accept", "*/*")]));
        let own = headers(&[("authorization", "Bearer the-apps-own")]);
        let mut inwards = own.clone();
        strip(&mut inwards, true);
        assert_eq!(inwards, own);
        let mut websocket = headers(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
        strip(&mut websocket, true);
        assert_eq!(websocket, headers(&[("connection", "upgrade"), ("upgrade", "websocket")]));
    }
}
