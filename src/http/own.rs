//! HTTP/1.1 by our own codec: the least CPU per request.
//!
//! One request after the other on a connection, as a VU makes them. In the steady state a request is one write and one
//! read and allocates nothing: its head was encoded before, its body goes out from the shared buffer, the response is
//! parsed in the thread's one read buffer, and a header map is built only for those who look at it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use http::header::{ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, COOKIE, HOST, PROXY_AUTHORIZATION, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::arrival::Arrival;
use super::attempt::{Attempt, SendFault, io_kind, is_media_type};
use super::codec::{Fault, Head, Memo, Parser, Sink};
use super::exchange::HeadParts;
use super::meter::{Marks, Metered};
use super::request::{Exchange, Request};
use crate::connection_options::Coding;
use crate::outcome::ErrorKind;

/// Size of a thread's read buffer: most responses come in one read.
const READ_BUFFER: usize = 64 * 1024;

thread_local! {
    /// One for all connections of a thread: a read is looked at whole before the next one.
    static READS: RefCell<Reads> = RefCell::new(Reads::default());
}

/// What reading takes.
struct Reads {
    buffer: Box<[u8]>,
    memo: Memo,
}

impl Default for Reads {
    fn default() -> Reads {
        Reads { buffer: vec![0; READ_BUFFER].into_boxed_slice(), memo: Memo::default() }
    }
}

/// The encoded head of the exchange that a VU made last; most VUs make the same one again and again.
#[derive(Debug, Default)]
pub(super) struct EncodedHead {
    exchange: Option<Rc<Exchange>>,
    cookie: Option<HeaderValue>,
    bytes: Vec<u8>,
    /// The connection is asked to be closed.
    close: bool,
    /// The response may be coded.
    coded: bool,
}

impl EncodedHead {
    /// Encodes a request's head, unless it is the one that was encoded last.
    pub(super) fn encode(&mut self, exchange: &Rc<Exchange>, parts: &HeadParts, cookie: Option<HeaderValue>) {
        let same = self.exchange.as_ref().is_some_and(|last| Rc::ptr_eq(last, exchange));
        if same && self.cookie == cookie {
            return;
        }
        self.bytes.clear();
        self.close = parts.close || has_close(&exchange.request.headers);
        self.coded = exchange.request.headers.contains_key(ACCEPT_ENCODING);
        write_head(&mut self.bytes, &exchange.request, parts, cookie.as_ref());
        self.exchange = Some(exchange.clone());
        self.cookie = cookie;
    }
}

fn has_close(headers: &HeaderMap) -> bool {
    let close = |token: &[u8]| token.trim_ascii().eq_ignore_ascii_case(b"close");
    headers.get_all(CONNECTION).iter().any(|value| value.as_bytes().split(|&b| b == b',').any(close))
}

/// Writes what hyper would write: the request's headers in their order, then what the connection adds.
fn write_head(bytes: &mut Vec<u8>, request: &Request, parts: &HeadParts, cookie: Option<&HeaderValue>) {
    // Writing to memory cannot fail.
    let _ = write!(bytes, "{} ", request.method);
    if parts.absolute {
        let _ = write!(bytes, "{}://{}", parts.scheme, parts.authority);
    }
    let _ = write!(bytes, "{} HTTP/1.1\r\n", request.target);
    let close = HeaderValue::from_static("close");
    let given = [
        (HOST, Some(&parts.host)),
        (COOKIE, cookie),
        (CONNECTION, parts.close.then_some(&close)),
        (PROXY_AUTHORIZATION, parts.proxy_authorization.as_ref()),
    ];
    // What is left to write of them: each goes where the request has its like, or to the end.
    let mut ours = given.clone();
    let has_body = !request.body.is_empty();
    let mut line = |name: &HeaderName, value: &HeaderValue| {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            bytes.extend_from_slice(part);
        }
    };
    for (name, value) in &request.headers {
        // The body is sent whole, with its length.
        if has_body && (name == CONTENT_LENGTH || name == TRANSFER_ENCODING) {
            continue;
        }
        match given.iter().position(|(own, value)| own == name && value.is_some()) {
            Some(at) => {
                if let Some(value) = ours[at].1.take() {
                    line(name, value);
                }
            }
            None => line(name, value),
        }
    }
    for (name, value) in &ours {
        if let Some(value) = value {
            line(name, value);
        }
    }
    if has_body {
        let _ = write!(bytes, "content-length: {}\r\n", request.body.len());
    }
    bytes.extend_from_slice(b"\r\n");
}

/// A connection driven by our own codec.
#[derive(Debug)]
pub(super) struct Connection<S> {
    stream: Metered<S>,
    parser: Parser,
    done: bool,
}

/// A request that is being sent.
struct Sending<'a> {
    head: &'a [u8],
    body: &'a [u8],
    /// Bytes of both that are written.
    written: usize,
    flushed: bool,
    /// Why writing failed; the response may come all the same.
    fault: Option<ErrorKind>,
}

impl Sending<'_> {
    fn is_over(&self) -> bool {
        self.flushed || self.fault.is_some()
    }
}

impl<S: AsyncRead + AsyncWrite + Arrival + Unpin> Connection<S> {
    /// Starts on a stream that was just opened.
    pub(super) fn open(stream: S, marks: Rc<Marks>) -> Connection<S> {
        Connection { stream: Metered::new(stream, marks), parser: Parser::default(), done: false }
    }

    /// Looks at an idle connection: closed by the server, or with bytes on it that nobody asked for?
    pub(super) async fn look(&mut self) {
        poll_fn(|cx| {
            let read = READS.with_borrow_mut(|reads| self.poll_read(cx, &mut reads.buffer));
            self.done |= read.is_ready();
            Poll::Ready(())
        })
        .await;
    }

    /// Whether another request can be sent on it, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        !self.done
    }

    /// One request and its response.
    pub(super) async fn send(
        &mut self,
        encoded: &EncodedHead,
        x: &Exchange,
        attempt: &mut Attempt,
        kept: &mut Vec<u8>,
    ) -> Result<(), SendFault> {
        self.parser.start(x.request.method == Method::HEAD);
        let mut sending =
            Sending { head: &encoded.bytes, body: &x.request.body, written: 0, flushed: false, fault: None };
        let (keep, coded) = (x.bytes_kept(), encoded.coded);
        let received = poll_fn(|cx| {
            if !sending.is_over()
                && let Poll::Ready(Err(e)) = self.poll_write(cx, &mut sending)
            {
                sending.fault = Some(io_kind(&e));
            }
            READS.with_borrow_mut(|Reads { buffer, memo }| {
                let mut taker = Taker { x, attempt, kept, keep, coded, memo };
                self.poll_response(cx, buffer, &mut taker)
            })
        })
        .await;
        // A response that came before the request was sent whole leaves the rest of it in the way of the next one.
        self.done |= received.is_err() || !self.parser.keeps_alive() || !sending.flushed || encoded.close;
        received.map_err(|kind| {
            let kind = if kind == ErrorKind::Closed { sending.fault.unwrap_or(kind) } else { kind };
            SendFault { kind, unsent: sending.written == 0, answered: attempt.status.is_some() }
        })
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, sending: &mut Sending<'_>) -> Poll<io::Result<()>> {
        let (head, body) = (sending.head, sending.body);
        while sending.written < head.len() + body.len() {
            let stream = Pin::new(&mut self.stream);
            let wrote = if sending.written >= head.len() {
                stream.poll_write(cx, &body[sending.written - head.len()..])
            } else if body.is_empty() || !stream.is_write_vectored() {
                stream.poll_write(cx, &head[sending.written..])
            } else {
                stream.poll_write_vectored(cx, &[IoSlice::new(&head[sending.written..]), IoSlice::new(body)])
            };
            match ready!(wrote)? {
                0 => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                wrote => sending.written += wrote,
            }
        }
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        sending.flushed = true;
        Poll::Ready(Ok(()))
    }

    fn poll_response(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        taker: &mut Taker<'_>,
    ) -> Poll<Result<(), ErrorKind>> {
        loop {
            let read = match ready!(self.poll_read(cx, buffer)) {
                Ok(0) => return Poll::Ready(self.parser.end().map_err(kind)),
                Ok(read) => read,
                Err(e) => return Poll::Ready(Err(io_kind(&e))),
            };
            match self.parser.feed(&buffer[..read], taker) {
                Ok(used) if self.parser.is_done() => {
                    // What comes after a response that nobody asked for another is no answer to anything.
                    self.done |= used < read;
                    return Poll::Ready(Ok(()));
                }
                Ok(_) => {}
                Err(fault) => {
                    tracing::debug!(%fault, "a response cannot be read");
                    return Poll::Ready(Err(kind(fault)));
                }
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

fn kind(fault: Fault) -> ErrorKind {
    match fault {
        Fault::Malformed(_) => ErrorKind::Protocol,
        Fault::Incomplete => ErrorKind::Closed,
    }
}

/// Takes a response as far as the exchange wants it.
struct Taker<'a> {
    x: &'a Exchange,
    attempt: &'a mut Attempt,
    kept: &'a mut Vec<u8>,
    keep: usize,
    /// Whether the request allowed the body to be coded.
    coded: bool,
    memo: &'a mut Memo,
}

impl Sink for Taker<'_> {
    fn head(&mut self, head: &Head<'_>) -> Result<(), Fault> {
        if let Some(expected) = &self.x.expect.content_type {
            self.attempt.media_type = is_media_type(head.content_type, expected);
        }
        if self.coded {
            self.attempt.coding = Coding::of(head.content_encoding);
        }
        if self.x.keeps_headers() || head.sets_cookies {
            self.attempt.headers = Some(header_map(head)?);
        }
        self.attempt.status = Some(head.status);
        Ok(())
    }

    fn data(&mut self, data: &[u8]) {
        if self.kept.len() < self.keep {
            self.kept.extend_from_slice(&data[..data.len().min(self.keep - self.kept.len())]);
        }
    }

    fn memo(&mut self) -> Option<&mut Memo> {
        (!self.x.keeps_headers()).then_some(&mut *self.memo)
    }
}

fn header_map(head: &Head<'_>) -> Result<HeaderMap, Fault> {
    let mut map = HeaderMap::with_capacity(head.headers.len());
    for header in head.headers {
        // httparse has let through what these take, but for names of 64 KiB.
        let name = HeaderName::from_bytes(header.name.as_bytes());
        let value = HeaderValue::from_bytes(header.value);
        let (Ok(name), Ok(value)) = (name, value) else { return Err(Fault::Malformed("a header field is none")) };
        map.append(name, value);
    }
    Ok(map)
}
