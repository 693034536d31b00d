//! HTTP/1.1 by hyper: the reference that our own codec is held against, and what to fall back on.
//!
//! hyper's connection is polled inside the VU's own task: with a task of its own, "sending" and "receiving" would
//! measure our run queue. The order of the polls matters: the body before the connection (it signals demand) and again
//! after it.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, COOKIE, HOST, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderValue, Uri};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use tokio::io::{AsyncRead, AsyncWrite};

use super::arrival::Arrival;
use super::attempt::{Attempt, SendFault, io_kind, is_media_type};
use super::exchange::HeadParts;
use super::meter::{Marks, Metered};
use super::quiet::{Patient, Quiet};
use super::request::Exchange;
use crate::connection_options::Coding;
use crate::outcome::ErrorKind;

/// The target and the headers of the exchange that a VU made last, with what the connection adds; most VUs make the same one again.
#[derive(Debug, Default)]
pub(super) struct Template {
    exchange: Option<Rc<Exchange>>,
    cookie: Option<HeaderValue>,
    target: Uri,
    headers: HeaderMap,
    /// The response may be coded.
    coded: bool,
    /// The map of the last response, empty: hyper makes a response's map of its request's, and a small one has to grow.
    spare: HeaderMap,
}

impl Template {
    /// Puts target and headers together, unless they are those of the last exchange.
    pub(super) fn prepare(&mut self, x: &Rc<Exchange>, parts: &HeadParts, cookie: Option<HeaderValue>) {
        if self.cookie != cookie || !self.exchange.as_ref().is_some_and(|last| Rc::ptr_eq(last, x)) {
            self.headers = x.request.headers.clone();
            self.headers.insert(HOST, parts.host.clone());
            if let Some(cookie) = &cookie {
                self.headers.insert(COOKIE, cookie.clone());
            }
            if parts.close {
                self.headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            if let Some(authorization) = &parts.proxy_authorization {
                self.headers.insert(PROXY_AUTHORIZATION, authorization.clone());
            }
            self.coded = self.headers.contains_key(ACCEPT_ENCODING);
            let target = &x.request.target;
            self.target = if parts.absolute { parts.whole(target) } else { target.clone() };
            self.exchange = Some(x.clone());
            self.cookie = cookie;
        }
    }

    /// The request as hyper takes it.
    #[inline]
    fn request(&mut self, x: &Rc<Exchange>) -> http::Request<Upload> {
        let mut request = http::Request::new(Upload((!x.request.body.is_empty()).then(|| x.clone())));
        *request.method_mut() = x.request.method.clone();
        *request.uri_mut() = self.target.clone();
        for (name, value) in &self.headers {
            self.spare.append(name.clone(), value.clone());
        }
        std::mem::swap(request.headers_mut(), &mut self.spare);
        request
    }

    /// Takes back the headers of a response that nobody looks at any more, and with them what they lie in.
    pub(super) fn recycle(&mut self, mut headers: HeaderMap) {
        if self.exchange.is_some() {
            headers.clear();
            self.spare = headers;
        }
    }
}

/// A request's body, until it is handed out. As small as can be: a request goes through hyper's channel with what its
/// response comes back by, and four copies of the two take half the instructions while they fit into 256 bytes.
#[derive(Debug)]
struct Upload(Option<Rc<Exchange>>);

impl Body for Upload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|x| Ok(Frame::data(x.request.body.clone()))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |x| x.request.body.len() as u64))
    }
}

type Answer = Result<http::Response<Incoming>, hyper::Error>;
type Driver<S> = http1::Connection<Patient<Metered<S>>, Upload>;

/// A connection that hyper drives.
#[derive(Debug)]
pub(super) struct Connection<S: AsyncRead + AsyncWrite + Arrival + Unpin + 'static> {
    sender: http1::SendRequest<Upload>,
    connection: Pin<Box<Driver<S>>>,
    quiet: Quiet,
    /// hyper's connection has ended and must not be polled again.
    done: bool,
}

impl<S: AsyncRead + AsyncWrite + Arrival + Unpin + 'static> Connection<S> {
    /// Starts on a stream that was just opened.
    pub(super) async fn open(stream: S, marks: Rc<Marks>, small_bodies: bool) -> Result<Connection<S>, ErrorKind> {
        let quiet = Quiet::default();
        let io = Patient::new(Metered::new(stream, marks), &quiet);
        // Without vectored writes bodies are copied behind their heads: for small ones that is the cheaper way.
        let opened = http1::Builder::new().writev(!small_bodies).handshake(io).await;
        let (sender, connection) = opened.map_err(|e| classify(&e).kind)?;
        Ok(Connection { sender, connection: Box::pin(connection), quiet, done: false })
    }

    /// Polls an idle connection once, to see whether the server closed it.
    pub(super) async fn look(&mut self) {
        if !self.done {
            poll_fn(|cx| {
                self.done = self.quiet.poll(cx, |cx| self.connection.as_mut().poll(cx)).is_ready();
                Poll::Ready(())
            })
            .await;
        }
    }

    /// Whether another request can be sent on it, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        !self.done && !self.sender.is_closed()
    }

    /// One request and its response.
    pub(super) async fn send(
        &mut self,
        template: &mut Template,
        x: &Rc<Exchange>,
        attempt: &mut Attempt,
        kept: &mut Vec<u8>,
    ) -> Result<(), SendFault> {
        if !self.sender.is_ready() {
            self.ready().await?;
        }
        let mut waited = pin!(self.begin(template, x));
        let (connection, done, mut body) = (&mut self.connection, &mut self.done, None);
        // Head and body in one go: what hyper hands out is large, and is not handed on.
        let mut read = |cx: &mut Context<'_>| {
            if body.is_none() {
                let mut ended = None;
                if !*done && let Poll::Ready(end) = connection.as_mut().poll(cx) {
                    *done = true;
                    ended = Some(end);
                }
                // No response without a byte: it need not be asked for, nor has its channel to know whom to wake.
                if !*done && attempt.marks.as_ref().is_some_and(|marks| marks.first_read.get().is_none()) {
                    return Poll::Pending;
                }
                match waited.as_mut().poll(cx) {
                    Poll::Ready(Ok(response)) => body = Some(took_head(response, template.coded, x, attempt)),
                    Poll::Ready(Err(error)) => {
                        // The connection's own error says more than "cancelled".
                        let error = ended.and_then(Result::err).unwrap_or(error);
                        return Poll::Ready(Err(unanswered(classify(&error).kind, attempt)));
                    }
                    Poll::Pending if *done => {
                        return Poll::Ready(Err(unanswered(ErrorKind::Closed, attempt)));
                    }
                    Poll::Pending => return Poll::Pending,
                }
            }
            let Some(body) = &mut body else { return Poll::Pending };
            while !body.is_end_stream() {
                let mut frame = Pin::new(&mut *body).poll_frame(cx);
                if frame.is_pending() && !*done {
                    *done = connection.as_mut().poll(cx).is_ready();
                    frame = Pin::new(&mut *body).poll_frame(cx);
                }
                match frame {
                    Poll::Ready(Some(Ok(frame))) => keep(&frame, x.bytes_kept(), kept),
                    Poll::Ready(Some(Err(e))) => {
                        return Poll::Ready(Err(SendFault { answered: true, ..classify(&e) }));
                    }
                    Poll::Ready(None) => break,
                    Poll::Pending if *done => break,
                    Poll::Pending => return Poll::Pending,
                }
            }
            Poll::Ready(Ok(()))
        };
        poll_fn(|cx| self.quiet.poll(cx, &mut read)).await
    }

    /// Hands a request over: its response will come once the connection is polled.
    #[inline]
    fn begin(&mut self, template: &mut Template, x: &Rc<Exchange>) -> impl Future<Output = Answer> + use<S> {
        let _hushed = self.quiet.hush();
        self.sender.send_request(template.request(x))
    }

    async fn ready(&mut self) -> Result<(), SendFault> {
        let (sender, connection, done) = (&mut self.sender, &mut self.connection, &mut self.done);
        let mut ready = |cx: &mut Context<'_>| {
            if let Poll::Ready(ready) = sender.poll_ready(cx) {
                return Poll::Ready(ready.map_err(|e| SendFault { unsent: true, ..classify(&e) }));
            }
            if !*done {
                *done = connection.as_mut().poll(cx).is_ready();
            }
            sender.poll_ready(cx).map_err(|e| SendFault { unsent: true, ..classify(&e) })
        };
        poll_fn(|cx| self.quiet.poll(cx, &mut ready)).await
    }
}

/// Notes what the head of a response says; its body.
#[inline]
fn took_head(response: http::Response<Incoming>, coded: bool, x: &Exchange, attempt: &mut Attempt) -> Incoming {
    let (parts, body) = response.into_parts();
    attempt.status = Some(parts.status.as_u16());
    if let Some(expected) = &x.expect.content_type {
        let got = parts.headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        attempt.media_type = is_media_type(got, expected);
    }
    if coded {
        attempt.coding = parts.headers.get(CONTENT_ENCODING).and_then(|value| Coding::of(value.as_bytes()));
    }
    attempt.headers = Some(parts.headers);
    body
}

/// A fault before there was a response. hyper would hand back a request that was not written, but only in a response
/// twice as large to move about.
fn unanswered(kind: ErrorKind, attempt: &Attempt) -> SendFault {
    let written = attempt.marks.as_ref().is_some_and(|marks| marks.last_write.get().is_some());
    SendFault { unsent: !written, ..SendFault::of(kind) }
}

fn keep(frame: &Frame<Bytes>, most: usize, kept: &mut Vec<u8>) {
    if let Some(data) = frame.data_ref().filter(|_| kept.len() < most) {
        kept.extend_from_slice(&data[..data.len().min(most - kept.len())]);
    }
}

/// The class of a hyper error.
fn classify(error: &hyper::Error) -> SendFault {
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return SendFault::of(ErrorKind::Closed);
    }
    if error.is_parse() {
        return SendFault::of(ErrorKind::Protocol);
    }
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(e) = inner.downcast_ref::<io::Error>() {
            return SendFault::of(io_kind(e));
        }
        source = inner.source();
    }
    SendFault::of(ErrorKind::Protocol)
}
