//! One request and its times, on a connection that belongs to one VU.
//!
//! hyper's connection is polled inside the VU's own task: with a task of its own, "sending" and "receiving" would
//! measure our run queue. The order of the polls matters: the body before the connection (it signals demand) and again
//! after it.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE, HOST};
use http::{HeaderMap, HeaderValue, Method};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use url::Url;

use super::cookies::Jar;
use super::dial::Dial;
use super::guard::{Cancel, Guard};
use super::meter::{Marks, Metered};
use crate::engine::program::{Exchange, Expect};
use crate::outcome::{Ended, ErrorKind, Phases};

/// Most bytes of a body that are looked at by a check, however much a server sends.
const MAX_CHECKED_BODY: usize = 1 << 20;
/// A connection that was idle for longer than this is looked at before it is used: the server may have closed it.
const LOOK_AFTER_IDLE: Duration = Duration::from_millis(5);

/// What all VUs of a worker share.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Scheme, host and port: the only place that is talked to.
    pub origin: Url,
    /// The `Host` header.
    pub host: HeaderValue,
}

/// The HTTP client of one VU: one keep-alive connection and one cookie jar.
#[derive(Debug)]
pub struct Client<D: Dial> {
    dial: Rc<D>,
    config: Rc<ClientConfig>,
    connection: Option<Connection<D::Stream>>,
    jar: Jar,
    body: Vec<u8>,
}

/// How an exchange went.
#[derive(Debug)]
pub struct Exchanged {
    /// Completed, failed or interrupted.
    pub ended: Ended,
    /// The status, where a response head came.
    pub status: Option<u16>,
    /// The response's headers, where a head came.
    pub headers: Option<HeaderMap>,
    /// The parts of the request.
    pub phases: Phases,
    /// When it began and when it was over.
    pub span: (Instant, Instant),
    /// Whether bytes of it were written to a socket.
    pub sent: bool,
    /// Whether it was sent again on a new connection.
    pub retried: bool,
    /// Connections opened for it.
    pub connections: u64,
    /// Bytes written and read.
    pub bytes: (u64, u64),
}

/// What is known of an exchange while it is under way; outlives its future when that is cut off.
#[derive(Debug, Default)]
struct Attempt {
    phases: Phases,
    status: Option<u16>,
    headers: Option<HeaderMap>,
    marks: Option<Rc<Marks>>,
    sent: bool,
    retried: bool,
    connections: u64,
    bytes: (u64, u64),
    /// The counters of `marks` before this exchange.
    bytes_before: (u64, u64),
    /// When the connection was ours: the start of sending.
    ready: Option<Instant>,
}

impl Attempt {
    /// Takes over what the marks of a connection say, before it is dropped or used again.
    fn settle(&mut self) {
        let Some(marks) = self.marks.take() else { return };
        self.sent |= marks.last_write.get().is_some();
        self.bytes.0 += marks.bytes_out.get() - self.bytes_before.0;
        self.bytes.1 += marks.bytes_in.get() - self.bytes_before.1;
    }

    fn times(&mut self, finished: Instant) {
        let (Some(marks), Some(ready)) = (&self.marks, self.ready) else { return };
        let Some(written) = marks.last_write.get() else { return };
        let first = marks.first_read.get().unwrap_or(finished);
        // A server may answer before the request is sent whole; then there was no waiting, as in k6.
        let written = written.min(first);
        self.phases.sending = written.saturating_duration_since(ready);
        self.phases.waiting = first.saturating_duration_since(written);
        self.phases.receiving = finished.saturating_duration_since(first);
    }
}

impl<D: Dial> Client<D> {
    /// A client that has no connection yet.
    pub fn new(dial: Rc<D>, config: Rc<ClientConfig>) -> Client<D> {
        Client { dial, config, connection: None, jar: Jar::default(), body: Vec::new() }
    }

    /// Makes one exchange. Never longer than its time-out, or the hard stop.
    pub async fn exchange(&mut self, exchange: &Exchange, guard: &Guard) -> Exchanged {
        let started = Instant::now();
        let mut attempt = Attempt::default();
        let deadline = Some(started + exchange.timeout);
        let ended = guard.wait(deadline, self.attempts(exchange, &mut attempt, started)).await;
        let finished = Instant::now();
        attempt.times(finished);
        attempt.settle();
        let ended = match ended {
            Ok(Ok(())) => self.check(&exchange.expect, &attempt),
            Ok(Err(kind)) => Ended::Failed(kind),
            Err(Cancel::Timeout) if attempt.ready.is_none() => Ended::Failed(ErrorKind::ConnectTimeout),
            Err(Cancel::Timeout) => Ended::Failed(ErrorKind::Timeout),
            Err(Cancel::Stop) => Ended::Interrupted,
        };
        if let Some(headers) = &attempt.headers {
            self.jar.store(&self.config.origin, exchange.request.target.path(), headers);
        }
        Exchanged {
            ended,
            status: attempt.status,
            headers: attempt.headers,
            phases: attempt.phases,
            span: (started, finished),
            sent: attempt.sent,
            retried: attempt.retried,
            connections: attempt.connections,
            bytes: attempt.bytes,
        }
    }

    /// The first bytes of the last response's body, as many as the exchange asked for.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The node that the affinity cookie names, where there is one.
    #[must_use]
    pub fn affinity(&self) -> Option<&str> {
        self.jar.affinity()
    }

    /// Empties the cookie jar, as k6 does before each iteration.
    pub fn reset_cookies(&mut self) {
        self.jar.clear();
    }

    async fn attempts(&mut self, x: &Exchange, attempt: &mut Attempt, started: Instant) -> Result<(), ErrorKind> {
        loop {
            let kept = match self.connection.take() {
                Some(mut kept) => kept.usable(started).await.then_some(kept),
                None => None,
            };
            let reused = kept.is_some();
            let mut connection = match kept {
                Some(kept) => kept,
                None => self.open(attempt).await?,
            };
            attempt.ready = Some(if reused { started } else { Instant::now() });
            attempt.bytes_before = (connection.marks.bytes_out.get(), connection.marks.bytes_in.get());
            if !reused {
                attempt.bytes_before = (0, 0);
            }
            connection.marks.arm();
            attempt.marks = Some(connection.marks.clone());
            self.body.clear();
            match connection.send(self.request(x), x, attempt, &mut self.body).await {
                Ok(()) => {
                    connection.idle_since = Instant::now();
                    self.connection = (!connection.done).then_some(connection);
                    return Ok(());
                }
                // The server closed an idle connection while our request was on its way: send it again, once.
                Err(fault) if reused && !attempt.retried && fault.may_retry(&x.request.method) => {
                    attempt.settle();
                    attempt.sent = false;
                    attempt.retried = true;
                }
                Err(fault) => return Err(fault.kind),
            }
        }
    }

    fn request(&mut self, x: &Exchange) -> http::Request<Full<Bytes>> {
        let mut request = http::Request::new(Full::new(x.request.body.clone()));
        *request.method_mut() = x.request.method.clone();
        *request.uri_mut() = x.request.target.clone();
        *request.headers_mut() = x.request.headers.clone();
        request.headers_mut().insert(HOST, self.config.host.clone());
        if let Some(cookie) = self.jar.header(&self.config.origin, x.request.target.path()) {
            request.headers_mut().insert(COOKIE, cookie);
        }
        request
    }

    async fn open(&mut self, attempt: &mut Attempt) -> Result<Connection<D::Stream>, ErrorKind> {
        let began = Instant::now();
        let dialled = self.dial.dial().await.map_err(|fault| {
            tracing::debug!(kind = %fault.kind, detail = fault.detail, "cannot connect");
            fault.kind
        })?;
        attempt.connections += 1;
        attempt.phases.connecting += dialled.connecting;
        attempt.phases.tls_handshaking += dialled.tls_handshaking;
        let marks = Rc::new(Marks::default());
        let io = TokioIo::new(Metered::new(dialled.stream, marks.clone()));
        let (sender, connection) = http1::handshake(io).await.map_err(|e| classify(&e).kind)?;
        attempt.phases.blocked += began.elapsed();
        Ok(Connection { sender, connection: Box::pin(connection), marks, done: false, idle_since: began })
    }

    fn check(&self, expect: &Expect, attempt: &Attempt) -> Ended {
        let status = attempt.status.unwrap_or(0);
        if attempt.headers.as_ref().is_some_and(|headers| expect.is_followed(status, headers)) {
            return Ended::Completed;
        }
        let accepted = match expect.statuses.as_slice() {
            [] => (200..400).contains(&status),
            statuses => statuses.contains(&status),
        };
        if !accepted {
            return Ended::Failed(ErrorKind::Status(status));
        }
        if let Some(expected) = &expect.content_type {
            let got =
                attempt.headers.as_ref().and_then(|h| h.get(CONTENT_TYPE)).map_or(&b""[..], HeaderValue::as_bytes);
            let essence = got.split(|&b| b == b';').next().unwrap_or(b"").trim_ascii();
            if !essence.eq_ignore_ascii_case(expected.as_bytes()) {
                return Ended::Failed(ErrorKind::Body);
            }
        }
        if let Some(text) = &expect.body_contains
            && !contains(&self.body, text)
        {
            return Ended::Failed(ErrorKind::Body);
        }
        Ended::Completed
    }
}

fn contains(body: &[u8], text: &[u8]) -> bool {
    text.is_empty() || body.windows(text.len()).any(|window| window == text)
}

type Driver<S> = http1::Connection<TokioIo<Metered<S>>, Full<Bytes>>;

#[derive(Debug)]
struct Connection<S: AsyncRead + AsyncWrite + Unpin + 'static> {
    sender: http1::SendRequest<Full<Bytes>>,
    connection: Pin<Box<Driver<S>>>,
    marks: Rc<Marks>,
    /// hyper's connection has ended and must not be polled again.
    done: bool,
    idle_since: Instant,
}

/// Why sending failed, and how far it got.
struct SendFault {
    kind: ErrorKind,
    /// hyper handed the request back: not a byte of it was written.
    unsent: bool,
    /// A response had begun.
    answered: bool,
}

impl SendFault {
    fn may_retry(&self, method: &Method) -> bool {
        let connection_lost = matches!(self.kind, ErrorKind::Reset | ErrorKind::Closed);
        connection_lost && !self.answered && (self.unsent || method.is_idempotent())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Connection<S> {
    /// Whether a kept connection can be used: an idle one is polled once, to see whether the server closed it.
    async fn usable(&mut self, now: Instant) -> bool {
        if !self.done && now.saturating_duration_since(self.idle_since) > LOOK_AFTER_IDLE {
            poll_fn(|cx| {
                self.done = self.connection.as_mut().poll(cx).is_ready();
                Poll::Ready(())
            })
            .await;
        }
        !self.done && !self.sender.is_closed()
    }

    async fn send(
        &mut self,
        request: http::Request<Full<Bytes>>,
        x: &Exchange,
        attempt: &mut Attempt,
        kept: &mut Vec<u8>,
    ) -> Result<(), SendFault> {
        self.ready().await?;
        let response = self.respond(request).await?;
        let (parts, body) = response.into_parts();
        attempt.status = Some(parts.status.as_u16());
        attempt.headers = Some(parts.headers);
        let keep = if x.expect.body_contains.is_some() { MAX_CHECKED_BODY.max(x.keep_body) } else { x.keep_body };
        let read = self.read_body(body, keep, kept).await;
        read.map_err(|fault| SendFault { answered: true, ..fault })
    }

    async fn ready(&mut self) -> Result<(), SendFault> {
        poll_fn(|cx| {
            if let Poll::Ready(ready) = self.sender.poll_ready(cx) {
                return Poll::Ready(ready.map_err(|e| SendFault { unsent: true, ..classify(&e) }));
            }
            if !self.done {
                self.done = self.connection.as_mut().poll(cx).is_ready();
            }
            self.sender.poll_ready(cx).map_err(|e| SendFault { unsent: true, ..classify(&e) })
        })
        .await
    }

    async fn respond(&mut self, request: http::Request<Full<Bytes>>) -> Result<http::Response<Incoming>, SendFault> {
        let mut response = pin!(self.sender.try_send_request(request));
        let (connection, done) = (&mut self.connection, &mut self.done);
        poll_fn(|cx| {
            let mut ended = None;
            if !*done && let Poll::Ready(end) = connection.as_mut().poll(cx) {
                *done = true;
                ended = Some(end);
            }
            match response.as_mut().poll(cx) {
                Poll::Ready(Ok(response)) => Poll::Ready(Ok(response)),
                Poll::Ready(Err(mut error)) => {
                    let unsent = error.take_message().is_some();
                    // The connection's own error says more than "cancelled".
                    let fault = match ended {
                        Some(Err(e)) => classify(&e),
                        _ => classify(error.error()),
                    };
                    Poll::Ready(Err(SendFault { unsent, ..fault }))
                }
                Poll::Pending if *done => {
                    Poll::Ready(Err(SendFault { kind: ErrorKind::Closed, unsent: false, answered: false }))
                }
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    async fn read_body(&mut self, body: Incoming, keep: usize, kept: &mut Vec<u8>) -> Result<(), SendFault> {
        let mut body = pin!(body);
        let (connection, done) = (&mut self.connection, &mut self.done);
        while !body.is_end_stream() {
            let frame = poll_fn(|cx| {
                if let Poll::Ready(frame) = body.as_mut().poll_frame(cx) {
                    return Poll::Ready(frame);
                }
                if !*done {
                    *done = connection.as_mut().poll(cx).is_ready();
                }
                match body.as_mut().poll_frame(cx) {
                    Poll::Pending if *done => Poll::Ready(None),
                    polled => polled,
                }
            });
            match frame.await {
                None => break,
                Some(Err(e)) => return Err(classify(&e)),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref().filter(|_| kept.len() < keep) {
                        kept.extend_from_slice(&data[..data.len().min(keep - kept.len())]);
                    }
                }
            }
        }
        Ok(())
    }
}

/// The class of a hyper error.
fn classify(error: &hyper::Error) -> SendFault {
    let fault = |kind| SendFault { kind, unsent: false, answered: false };
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return fault(ErrorKind::Closed);
    }
    if error.is_parse() {
        return fault(ErrorKind::Protocol);
    }
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(e) = inner.downcast_ref::<io::Error>() {
            return fault(match e.kind() {
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted => {
                    ErrorKind::Reset
                }
                io::ErrorKind::UnexpectedEof | io::ErrorKind::NotConnected => ErrorKind::Closed,
                io::ErrorKind::TimedOut => ErrorKind::Timeout,
                _ => ErrorKind::Protocol,
            });
        }
        source = inner.source();
    }
    fault(ErrorKind::Protocol)
}
