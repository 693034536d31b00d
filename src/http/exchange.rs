//! One request and its times, on a connection that belongs to one VU.

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use tokio::time::Instant;
use url::Url;

use super::attempt::{Attempt, SendFault};
use super::connection::Connection;
use super::cookies::Jar;
use super::dial::Dial;
use super::guard::{Cancel, Guard};
use super::hyper1::Template;
use super::meter::Marks;
use super::own::EncodedHead;
use crate::engine::program::{Exchange, Expect};
use crate::outcome::{Ended, ErrorKind, Phases};
use crate::plan::Http1Engine;

/// What all VUs of a worker share.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Scheme, host and port: the only place that is talked to.
    pub origin: Url,
    /// The `Host` header.
    pub host: HeaderValue,
    /// Who speaks HTTP/1.1.
    pub http1: Http1Engine,
}

/// The HTTP client of one VU: one keep-alive connection and one cookie jar.
#[derive(Debug)]
pub struct Client<D: Dial> {
    dial: Rc<D>,
    config: Rc<ClientConfig>,
    connection: Option<Connection<D::Stream>>,
    /// An exchange has begun on the connection and is not over: whatever cuts it off, the connection is spoilt.
    under_way: bool,
    jar: Jar,
    /// What the engines keep of the last request, because the next one is mostly the same.
    encoded: EncodedHead,
    template: Template,
    body: Vec<u8>,
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
            encoded: EncodedHead::default(),
            template: Template::default(),
            body: Vec::new(),
        }
    }

    /// Makes one exchange. Never longer than its time-out, or the hard stop.
    pub async fn exchange(&mut self, exchange: &Rc<Exchange>, guard: &Guard) -> Exchanged {
        let started = Instant::now();
        let mut attempt = Attempt::default();
        let deadline = Some(started + exchange.timeout);
        let ended = {
            // Pinned here: a future of some hundred bytes that is handed on by value is copied each time.
            let attempts = pin!(self.attempts(exchange, &mut attempt, started));
            guard.wait(deadline, attempts).await
        };
        let finished = Instant::now();
        self.rest(finished);
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
        if !exchange.keeps_headers()
            && let Some(headers) = attempt.headers.take()
        {
            self.template.recycle(headers);
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
            Some(connection) if !spoilt && connection.is_open() => connection.idle_from(now),
            connection => *connection = None,
        }
    }

    async fn send(&mut self, x: &Rc<Exchange>, attempt: &mut Attempt) -> Result<(), SendFault> {
        let cookie = self.jar.header(&self.config.origin, x.request.target.path());
        match &mut self.connection {
            None => Err(SendFault::of(ErrorKind::Closed)),
            Some(Connection::Hyper { http, .. }) => {
                self.template.prepare(x, &self.config.host, cookie);
                http.send(&mut self.template, x, attempt, &mut self.body).await
            }
            Some(Connection::Own { http, .. }) => {
                self.encoded.encode(x, &self.config.host, cookie);
                http.send(&self.encoded, x, attempt, &mut self.body).await
            }
        }
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
        let connection = Connection::open(self.config.http1, dialled.stream, Rc::new(Marks::default())).await?;
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
