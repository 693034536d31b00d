//! HTTP/2 by hyper: one connection of a VU, one request at a time on it.
//!
//! hyper wants to spawn what drives such a connection. It gets an executor that keeps these futures, and they are polled
//! in the VU's own task, as with HTTP/1.1: in tasks of their own, "waiting" would have our run queue in it. The price: a
//! connection that is idle answers no ping until the VU's next request.
//!
//! When a request is written and when its response begins cannot be seen from the socket, which has other frames on it,
//! too. So waiting ends when the head of the response is handed over, and receiving when its body has ended.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderValue;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, COOKIE, HOST};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http2;
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::arrival::Arrival;
use super::attempt::{Attempt, SendFault, io_kind, is_media_type};
use super::exchange::HeadParts;
use super::meter::{Marks, Metered};
use super::request::Exchange;
use crate::connection_options::Coding;
use crate::outcome::ErrorKind;

type Future0 = Pin<Box<dyn Future<Output = ()>>>;
type Driver<S> = http2::Connection<TokioIo<Metered<S>>, Full<Bytes>, Inline>;

/// A request as HTTP/2 has it: the host is a part of the target, and connections are no matter of headers.
pub(super) fn request(x: &Exchange, parts: &HeadParts, cookie: Option<HeaderValue>) -> http::Request<Full<Bytes>> {
    let mut request = http::Request::new(Full::new(x.request.body.clone()));
    *request.method_mut() = x.request.method.clone();
    *request.uri_mut() = parts.whole(&x.request.target);
    *request.headers_mut() = x.request.headers.clone();
    request.headers_mut().remove(HOST);
    if let Some(cookie) = cookie {
        request.headers_mut().insert(COOKIE, cookie);
    }
    request
}

/// Keeps what hyper spawns, for whoever owns the connection to poll.
#[derive(Clone, Default)]
struct Inline(Rc<RefCell<Vec<Future0>>>);

impl<F: Future<Output = ()> + 'static> Executor<F> for Inline {
    fn execute(&self, future: F) {
        self.0.borrow_mut().push(Box::pin(future));
    }
}

impl Inline {
    /// Polls everything that was spawned, and what that spawns.
    fn poll(&self, cx: &mut Context<'_>) {
        let mut pending = Vec::new();
        loop {
            // Not while it is borrowed: what is polled may spawn.
            let mut next = std::mem::take(&mut *self.0.borrow_mut());
            if next.is_empty() {
                break;
            }
            next.retain_mut(|future| future.as_mut().poll(cx).is_pending());
            pending.append(&mut next);
        }
        *self.0.borrow_mut() = pending;
    }
}

/// A connection that speaks HTTP/2.
pub(super) struct Connection<S: AsyncRead + AsyncWrite + Arrival + Unpin + 'static> {
    sender: http2::SendRequest<Full<Bytes>>,
    connection: Pin<Box<Driver<S>>>,
    spawned: Inline,
    marks: Rc<Marks>,
    /// hyper's connection has ended and must not be polled again.
    done: bool,
}

impl<S: AsyncRead + AsyncWrite + Arrival + Unpin + 'static> std::fmt::Debug for Connection<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("done", &self.done).finish_non_exhaustive()
    }
}

impl<S: AsyncRead + AsyncWrite + Arrival + Unpin + 'static> Drop for Connection<S> {
    fn drop(&mut self) {
        // What was spawned holds the executor that holds it: without this it would never go.
        let spawned = std::mem::take(&mut *self.spawned.0.borrow_mut());
        drop(spawned);
    }
}

impl<S: AsyncRead + AsyncWrite + Arrival + Unpin + 'static> Connection<S> {
    /// Starts on a stream that was just opened.
    pub(super) async fn open(stream: S, marks: Rc<Marks>) -> Result<Connection<S>, ErrorKind> {
        let spawned = Inline::default();
        let io = TokioIo::new(Metered::new(stream, marks.clone()));
        let (sender, connection) = http2::handshake(spawned.clone(), io).await.map_err(|e| classify(&e).kind)?;
        Ok(Connection { sender, connection: Box::pin(connection), spawned, marks, done: false })
    }

    /// Goes on with everything that can go on.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if !self.done {
            self.done = self.connection.as_mut().poll(cx).is_ready();
        }
        self.spawned.poll(cx);
    }

    /// Polls an idle connection once: answers pings, and sees whether the server has ended it.
    pub(super) async fn look(&mut self) {
        poll_fn(|cx| {
            // The second round is for what the first one found out.
            self.drive(cx);
            self.drive(cx);
            Poll::Ready(())
        })
        .await;
    }

    /// Whether another request can be sent on it, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        !self.done && !self.sender.is_closed()
    }

    /// One request and its response.
    pub(super) async fn send(
        &mut self,
        request: http::Request<Full<Bytes>>,
        x: &Exchange,
        attempt: &mut Attempt,
        kept: &mut Vec<u8>,
    ) -> Result<(), SendFault> {
        let (response, written) = self.respond(request).await?;
        let began = Instant::now();
        let (parts, body) = response.into_parts();
        attempt.status = Some(parts.status.as_u16());
        if let Some(expected) = &x.expect.content_type {
            let got = parts.headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
            attempt.media_type = is_media_type(got, expected);
        }
        if x.request.headers.contains_key(ACCEPT_ENCODING) {
            attempt.coding = parts.headers.get(CONTENT_ENCODING).and_then(|value| Coding::of(value.as_bytes()));
        }
        attempt.headers = Some(parts.headers);
        let read = self.read_body(body, x.bytes_kept(), kept).await;
        self.marks.last_write.set(written);
        self.marks.first_read.set(Some(began));
        // The socket's last read may be of another frame, and older than what was found in it.
        self.marks.last_read.set(None);
        read.map_err(|fault| SendFault { answered: true, ..fault })
    }

    /// The response's head, and when the request was written.
    async fn respond(
        &mut self,
        request: http::Request<Full<Bytes>>,
    ) -> Result<(http::Response<Incoming>, Option<Instant>), SendFault> {
        if self.sender.is_closed() {
            return Err(SendFault { unsent: true, ..SendFault::of(ErrorKind::Closed) });
        }
        let bodyless = request.body().is_end_stream();
        let mut written = None;
        let mut response = pin!(self.sender.try_send_request(request));
        // Not `drive`: the sender is lent to the future.
        let (connection, spawned, done, marks) = (&mut self.connection, &self.spawned, &mut self.done, &self.marks);
        let response = poll_fn(|cx| {
            if !*done {
                *done = connection.as_mut().poll(cx).is_ready();
            }
            spawned.poll(cx);
            // Of a request with a body it is the last write before the response.
            if written.is_none() || !bodyless {
                written = marks.last_write.get();
            }
            match response.as_mut().poll(cx) {
                Poll::Ready(Err(mut error)) => {
                    let unsent = error.take_message().is_some();
                    let fault = classify(error.error());
                    Poll::Ready(Err(SendFault { unsent: unsent || fault.unsent, ..fault }))
                }
                Poll::Ready(Ok(response)) => Poll::Ready(Ok(response)),
                Poll::Pending => Poll::Pending,
            }
        })
        .await?;
        Ok((response, written))
    }

    async fn read_body(&mut self, body: Incoming, keep: usize, kept: &mut Vec<u8>) -> Result<(), SendFault> {
        let mut body = pin!(body);
        while !body.is_end_stream() {
            let frame = poll_fn(|cx| {
                if let Poll::Ready(frame) = body.as_mut().poll_frame(cx) {
                    return Poll::Ready(frame);
                }
                self.drive(cx);
                body.as_mut().poll_frame(cx)
            });
            match frame.await {
                None => break,
                // A gateway whose server died ends the stream before the content length is reached. That is malformed
                // (RFC 9113 §8.1.1), but what people look for is a response that was cut off. (One whose last frame goes
                // beyond the content length looks the same from here.)
                Some(Err(e)) if is_malformed(&e) && body.size_hint().exact().is_some_and(|left| left > 0) => {
                    return Err(SendFault::of(ErrorKind::Closed));
                }
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

/// Whether it is our side that found a stream against the protocol.
fn is_malformed(error: &hyper::Error) -> bool {
    let inner = std::error::Error::source(error).and_then(|inner| inner.downcast_ref::<h2::Error>());
    inner.is_some_and(|e| e.is_reset() && e.is_library() && e.reason() == Some(h2::Reason::PROTOCOL_ERROR))
}

/// The class of a hyper error, and whether the server says that it never looked at the request.
fn classify(error: &hyper::Error) -> SendFault {
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(e) = inner.downcast_ref::<io::Error>() {
            return SendFault::of(io_kind(e));
        }
        if let Some(e) = inner.downcast_ref::<h2::Error>() {
            return classify_h2(e);
        }
        source = inner.source();
    }
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return SendFault::of(ErrorKind::Closed);
    }
    SendFault::of(ErrorKind::Protocol)
}

fn classify_h2(error: &h2::Error) -> SendFault {
    if let Some(e) = error.get_io() {
        return SendFault::of(io_kind(e));
    }
    match error.reason() {
        // The server says that it did nothing with it (RFC 9113 §8.7).
        Some(h2::Reason::REFUSED_STREAM) => SendFault { unsent: true, ..SendFault::of(ErrorKind::Closed) },
        Some(h2::Reason::NO_ERROR) if error.is_go_away() => SendFault::of(ErrorKind::Closed),
        Some(_) if error.is_reset() && error.is_remote() => SendFault::of(ErrorKind::Reset),
        _ => SendFault::of(ErrorKind::Protocol),
    }
}
