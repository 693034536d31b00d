//! One request and its times, on a connection that belongs to one VU.

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderValue, Uri};
use tokio::time::Instant;
use url::Url;

use super::attempt::{Attempt, SendFault};
use super::connection::{Connection, Engine};
use super::cookies::Jar;
use super::decode;
use super::dial::Dial;
use super::guard::{Cancel, Guard};
use super::http2;
use super::hyper1::Template;
use super::meter::Marks;
use super::own::EncodedHead;
use super::request::{Exchange, Expect};
use super::tunnel::proxy_authorization;
use super::websocket::Socket;
use crate::connection_options::{ConnectionOptions, Credentials, Reuse};
use crate::outcome::{Ended, ErrorKind, Phases};
use crate::plan::Http1Engine;

/// A body of at most so many bytes is better copied than written from where it lies.
pub const SMALL_BODY: usize = 4096;

/// What all VUs of a worker share.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Scheme, host and port: the only place that is talked to.
    pub origin: Url,
    /// Who speaks HTTP/1.1.
    pub http1: Http1Engine,
    /// What is added to the head of every request.
    pub head: HeadParts,
}

/// What a connection adds to the head of every request.
#[derive(Debug, Clone)]
pub struct HeadParts {
    /// `http` or `https`.
    pub scheme: Scheme,
    /// Host, and port where it is not the scheme's own.
    pub authority: Authority,
    /// The `Host` header: the authority.
    pub host: HeaderValue,
    /// Each connection is for one request: `Connection: close`.
    pub close: bool,
    /// Requests name the whole URL, as a proxy wants it that is asked for plain http (RFC 9112 §3.2.2).
    pub absolute: bool,
    /// Who one is at such a proxy. Marked sensitive.
    pub proxy_authorization: Option<HeaderValue>,
}

impl HeadParts {
    /// The whole URL of what stands on a request line.
    pub(super) fn whole(&self, target: &Uri) -> Uri {
        let mut parts = target.clone().into_parts();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        // Cannot fail: scheme, authority and path are all there.
        Uri::from_parts(parts).unwrap_or_else(|_e| target.clone())
    }
}

impl ClientConfig {
    /// For one origin, without a proxy, connections kept.
    ///
    /// # Errors
    /// Where the origin has no host that can stand in a request.
    pub fn new(origin: Url, http1: Http1Engine) -> Result<ClientConfig, http::Error> {
        let host = origin.host_str().unwrap_or_default();
        let authority = origin.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let head = HeadParts {
            scheme: Scheme::try_from(origin.scheme())?,
            host: HeaderValue::from_str(&authority)?,
            authority: Authority::try_from(authority)?,
            close: false,
            absolute: false,
            proxy_authorization: None,
        };
        Ok(ClientConfig { origin, http1, head })
    }

    /// With connections that are kept, or not, and with or without a proxy, as the options say.
    #[must_use]
    pub fn with_options(mut self, options: &ConnectionOptions, credentials: Option<&Credentials>) -> ClientConfig {
        self.head.close = options.reuse == Reuse::Never;
        // To https there is a tunnel, and the proxy sees no request.
        self.head.absolute = options.proxy.is_some() && self.head.scheme == Scheme::HTTP;
        if self.head.absolute {
            self.head.proxy_authorization = credentials.map(proxy_authorization);
        }
        self
    }
}

/// The HTTP client of one VU: one keep-alive connection and one cookie jar.
#[derive(Debug)]
pub struct Client<D: Dial> {
    pub(super) dial: Rc<D>,
    pub(super) config: Rc<ClientConfig>,
    connection: Option<Connection<D::Stream>>,
    /// An exchange has begun on the connection and is not over: whatever cuts it off, the connection is spoilt.
    under_way: bool,
    pub(super) jar: Jar,
    /// The WebSocket session that is open, on a connection of its own.
    pub(super) socket: Option<Box<Socket<D::Stream>>>,
    /// What the engines keep of the last request, because the next one is mostly the same.
    encoded: EncodedHead,
    /// Boxed, for only hyper's connections need it.
    template: Option<Box<Template>>,
    body: Vec<u8>,
    small_bodies: bool,
    pub(super) vu: u32,
}

/// How an exchange went.
#[derive(Debug)]
pub struct Exchanged {
    /// Completed, failed or interrupted.
    pub ended: Ended,
    /// The status, where a response head came.
    pub status: Option<u16>,
    /// The response's headers, where a head came and [`Exchange::keeps_headers`].
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
    /// Of them those whose TLS handshake resumed an earlier one.
    pub resumed: u64,
    /// Of them those that speak HTTP/2.
    pub http2: u64,
    /// Bytes written and read.
    pub bytes: (u64, u64),
    /// How long the end of the response waited in this machine before we read it, where the kernel told.
    pub delay: Option<Duration>,
    /// Reads for which the kernel should have told when the bytes came, and did not.
    pub unstamped: u64,
}

impl<D: Dial> Client<D> {
    /// A client that has no connection yet.
    pub fn new(dial: Rc<D>, config: Rc<ClientConfig>) -> Client<D> {
        Client {
            dial,
            config,
            connection: None,
            under_way: false,
            jar: Jar::default(),
            socket: None,
            encoded: EncodedHead::default(),
            template: None,
            body: Vec::new(),
            small_bodies: false,
            vu: 0,
        }
    }

    /// That of VU number `vu` (from 0): its source address and its TLS sessions are its own.
    #[must_use]
    pub fn for_vu(mut self, vu: u32) -> Client<D> {
        self.vu = vu;
        self
    }

    /// For requests of which none has a large body, if `small`: see [`SMALL_BODY`].
    #[must_use]
    pub fn with_small_bodies(mut self, small: bool) -> Client<D> {
        self.small_bodies = small;
        self
    }

    /// Closes the connection: the next exchange opens another one.
    pub fn disconnect(&mut self) {
        self.connection = None;
    }

    /// Makes one exchange, now. Never longer than its time-out, or the hard stop.
    pub fn exchange(&mut self, exchange: &Rc<Exchange>, guard: &Guard) -> impl Future<Output = Exchanged> {
        self.exchange_from(Instant::now(), exchange, guard)
    }

    /// Makes one exchange that begins at `started`, for those who have just looked at the clock.
    pub async fn exchange_from(&mut self, started: Instant, exchange: &Rc<Exchange>, guard: &Guard) -> Exchanged {
        let mut attempt = Attempt::default();
        let deadline = Some(started + exchange.timeout);
        let ended = {
            // Pinned here: a future of some hundred bytes that is handed on by value is copied each time.
            let attempts = pin!(self.attempts(exchange, &mut attempt, started));
            guard.wait(deadline, attempts).await
        };
        // A response is over with the last read of it; what we make of it is no time of the server's.
        let finished = if ended == Ok(Ok(())) { attempt.last_read() } else { None }.unwrap_or_else(Instant::now);
        self.rest(finished);
        attempt.times(finished);
        attempt.settle();
        self.decode(exchange, &attempt);
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
        if !exchange.keeps_headers()
            && let Some(headers) = attempt.headers.take()
            && let Some(template) = &mut self.template
        {
            template.recycle(headers);
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
            resumed: attempt.resumed,
            http2: attempt.http2,
            bytes: attempt.bytes,
            delay: attempt.delay,
            unstamped: attempt.unstamped,
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

    async fn attempts(&mut self, x: &Rc<Exchange>, attempt: &mut Attempt, started: Instant) -> Result<(), ErrorKind> {
        if std::mem::replace(&mut self.under_way, true) {
            // Whoever dropped the last exchange in its midst left its connection so.
            self.connection = None;
        }
        loop {
            let reused = match &mut self.connection {
                Some(kept) => kept.usable(started).await,
                None => false,
            };
            if !reused {
                self.connection = None;
                // On the heap, for it is rare and large.
                self.connection = Some(Box::pin(self.open(attempt)).await?);
            }
            let Some(connection) = &mut self.connection else { return Err(ErrorKind::Closed) };
            attempt.ready = Some(if reused { started } else { Instant::now() });
            attempt.bytes_before = if reused { connection.bytes() } else { (0, 0) };
            attempt.marks = Some(connection.arm());
            self.body.clear();
            match self.send(x, attempt).await {
                Ok(()) => {
                    self.under_way = false;
                    return Ok(());
                }
                // The server closed an idle connection while our request was on its way: send it again, once.
                Err(fault) if reused && !attempt.retried && fault.may_retry(&x.request.method) => {
                    self.connection = None;
                    attempt.settle();
                    attempt.sent = false;
                    attempt.retried = true;
                }
                Err(fault) => return Err(fault.kind),
            }
        }
    }

    /// Nothing is under way any more: the connection waits for the next request, unless it is over.
    fn rest(&mut self, now: Instant) {
        let spoilt = std::mem::take(&mut self.under_way);
        match &mut self.connection {
            Some(connection) if !spoilt && !self.config.head.close && connection.is_open() => connection.idle_from(now),
            connection => *connection = None,
        }
    }

    async fn send(&mut self, x: &Rc<Exchange>, attempt: &mut Attempt) -> Result<(), SendFault> {
        let cookie = self.jar.header(&self.config.origin, x.request.target.path());
        match &mut self.connection {
            None => Err(SendFault::of(ErrorKind::Closed)),
            Some(Connection::Hyper { http, .. }) => {
                let template = self.template.get_or_insert_default();
                template.prepare(x, &self.config.head, cookie);
                http.send(template, x, attempt, &mut self.body).await
            }
            Some(Connection::Own { http, .. }) => {
                self.encoded.encode(x, &self.config.head, cookie);
                http.send(&self.encoded, x, attempt, &mut self.body).await
            }
            Some(Connection::Http2 { http, .. }) => {
                let request = http2::request(x, &self.config.head, cookie);
                // On the heap, for it is as large as all the rest of a VU that speaks HTTP/1.1.
                Box::pin(http.send(request, x, attempt, &mut self.body)).await
            }
        }
    }

    /// Undoes the coding of a body that somebody wants to look at. After the request is over: no time of it.
    fn decode(&mut self, x: &Exchange, attempt: &Attempt) {
        if let Some(coding) = attempt.coding.filter(|_| x.bytes_kept() > 0 && !self.body.is_empty()) {
            self.body = decode::decoded(coding, &self.body, x.bytes_kept());
        }
    }

    async fn open(&mut self, attempt: &mut Attempt) -> Result<Connection<D::Stream>, ErrorKind> {
        let began = Instant::now();
        let dialled = self.dial.dial(self.vu).await.map_err(|fault| {
            tracing::debug!(kind = %fault.kind, detail = fault.detail, "cannot connect");
            fault.kind
        })?;
        attempt.connections += 1;
        attempt.phases.connecting += dialled.connecting;
        attempt.phases.tls_handshaking += dialled.tls_handshaking;
        attempt.resumed += u64::from(dialled.resumed);
        attempt.http2 += u64::from(dialled.http2);
        let engine = if dialled.http2 { Engine::Http2 } else { Engine::Http1(self.config.http1) };
        let connection = Connection::open(engine, dialled.stream, Rc::new(Marks::default()), self.small_bodies).await?;
        attempt.phases.blocked += began.elapsed();
        Ok(connection)
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
        if expect.content_type.is_some() && !attempt.media_type {
            return Ended::Failed(ErrorKind::Body);
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
