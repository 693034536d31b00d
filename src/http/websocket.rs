//! A WebSocket session of a VU (RFC 6455): its opening, its messages, its end.
//!
//! The protocol is tungstenite's; what it runs on is dialled here, as for every other request. Whatever a server sends,
//! a session holds no more than some of its longest messages, and nothing waits longer than it was told to.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::HeaderValue;
use http::header::{CONNECTION, COOKIE, HOST, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, http::Uri};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::arrival::Arrival;
use super::attempt::io_kind;
use super::dial::Dial;
use super::exchange::Client;
use super::guard::{Cancel, Guard};
use super::meter::{Marks, Metered};
use super::request::{Request, SeriesId};
use crate::outcome::{Ended, ErrorKind};

/// What a session reads at once; each has such a buffer.
const READ_BUFFER: usize = 4 << 10;
/// What may wait to be written beside one of our own messages: answers to pings of a server that does not read.
const WRITE_BEYOND: usize = 64 << 10;
/// How long the frame that ends a failed session may take to be written; its answer is not waited for.
const FAREWELL: Duration = Duration::from_millis(100);

/// What a session is opened with.
#[derive(Debug, Clone)]
pub struct Opening {
    /// Where it is counted.
    pub series: SeriesId,
    /// Target and headers; sub-protocols are a header.
    pub request: Request,
    /// Time-out of the opening, connecting included.
    pub timeout: Duration,
    /// The longest message that is read, in bytes.
    pub longest: usize,
    /// The longest that will be sent.
    pub longest_sent: usize,
}

/// What is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A text message.
    Text(String),
    /// A binary one.
    Binary(Bytes),
}

/// How an opening went.
#[derive(Debug)]
pub struct Opened {
    /// Completed: the session is open.
    pub ended: Ended,
    /// The status, where an answer came.
    pub status: Option<u16>,
    /// When it began and when it was over: k6's `ws_connecting`.
    pub span: (Instant, Instant),
    /// Connections opened.
    pub connections: u64,
    /// Bytes written and read.
    pub bytes: (u64, u64),
}

/// A message that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Text or binary: both are looked at as bytes.
    pub data: Bytes,
    /// When it was read.
    pub at: Instant,
}

/// An open session.
#[derive(Debug)]
pub struct Socket<S> {
    stream: WebSocketStream<Metered<S>>,
    marks: Rc<Marks>,
    /// Bytes that were told.
    told: (u64, u64),
    /// The server has sent the frame that ends a session.
    goodbye: bool,
}

impl<D: Dial> Client<D> {
    /// Opens a session. Never longer than its time-out, or the hard stop.
    pub async fn open_socket(&mut self, opening: &Opening, guard: &Guard) -> Opened {
        let started = Instant::now();
        let mut opened =
            Opened { ended: Ended::Interrupted, status: None, span: (started, started), connections: 0, bytes: (0, 0) };
        let marks = Rc::new(Marks::default());
        let handshake = Box::pin(self.handshake(opening, &mut opened, &marks));
        let ended = guard.wait(Some(started + opening.timeout), handshake).await;
        opened.ended = match ended {
            Ok(Ok(())) => Ended::Completed,
            Ok(Err(kind)) => Ended::Failed(kind),
            Err(Cancel::Timeout) if opened.connections == 0 => Ended::Failed(ErrorKind::ConnectTimeout),
            Err(Cancel::Timeout) => Ended::Failed(ErrorKind::Timeout),
            Err(Cancel::Stop) => Ended::Interrupted,
        };
        opened.span.1 = Instant::now();
        opened.bytes = (marks.bytes_out.get(), marks.bytes_in.get());
        if let Some(socket) = &mut self.socket {
            socket.told = opened.bytes;
        }
        opened
    }

    async fn handshake(&mut self, x: &Opening, opened: &mut Opened, marks: &Rc<Marks>) -> Result<(), ErrorKind> {
        self.socket = None;
        let dialled = self.dial.dial_upgrade(self.vu).await.map_err(|fault| {
            tracing::debug!(kind = %fault.kind, detail = fault.detail, "cannot connect");
            fault.kind
        })?;
        opened.connections += 1;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(x.longest_sent + WRITE_BEYOND)
            .max_message_size(Some(x.longest))
            .max_frame_size(Some(x.longest));
        let request = self.opening_request(x).ok_or(ErrorKind::SocketProtocol)?;
        let stream = Metered::new(dialled.stream, marks.clone());
        let path = x.request.target.path();
        match client_async_with_config(request, stream, Some(config)).await {
            Ok((stream, response)) => {
                opened.status = Some(response.status().as_u16());
                self.jar.store(&self.config.origin, path, response.headers());
                self.socket = Some(Box::new(Socket { stream, marks: marks.clone(), told: (0, 0), goodbye: false }));
                Ok(())
            }
            Err(Error::Http(response)) => {
                let status = response.status().as_u16();
                opened.status = Some(status);
                self.jar.store(&self.config.origin, path, response.headers());
                Err(ErrorKind::Status(status))
            }
            Err(e) => Err(kind(&e)),
        }
    }

    /// The request of an opening, as the library wants it: with all headers, and the scheme of a WebSocket.
    fn opening_request(&mut self, x: &Opening) -> Option<tungstenite::handshake::client::Request> {
        let head = &self.config.head;
        let scheme = if head.scheme == http::uri::Scheme::HTTPS { "wss" } else { "ws" };
        let target = x.request.target.path_and_query().map_or("/", |target| target.as_str());
        let uri: Uri = format!("{scheme}://{}{target}", head.authority).parse().ok()?;
        let mut request = http::Request::new(());
        *request.uri_mut() = uri;
        *request.headers_mut() = x.request.headers.clone();
        let headers = request.headers_mut();
        headers.insert(HOST, head.host.clone());
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.insert(SEC_WEBSOCKET_KEY, HeaderValue::from_str(&generate_key()).ok()?);
        if let Some(cookie) = self.jar.header(&self.config.origin, x.request.target.path()) {
            headers.insert(COOKIE, cookie);
        }
        Some(request)
    }

    /// The session that is open.
    pub fn socket(&mut self) -> Option<&mut Socket<D::Stream>> {
        self.socket.as_deref_mut()
    }

    /// Forgets the session and closes its connection.
    pub fn drop_socket(&mut self) {
        self.socket = None;
    }
}

impl<S: AsyncRead + AsyncWrite + Arrival + Unpin> Socket<S> {
    /// Writes a message.
    ///
    /// # Errors
    /// How the session ended instead.
    pub async fn send(&mut self, message: Message) -> Result<(), ErrorKind> {
        let message = match message {
            Message::Text(text) => tungstenite::Message::text(text),
            Message::Binary(bytes) => tungstenite::Message::binary(bytes),
        };
        self.stream.send(message).await.map_err(|e| kind(&e))
    }

    /// The next message. Pings are answered meanwhile. May be dropped at any time without losing anything.
    ///
    /// # Errors
    /// How the session ended instead.
    pub async fn receive(&mut self) -> Result<Received, ErrorKind> {
        loop {
            let data = match self.stream.next().await {
                Some(Ok(tungstenite::Message::Text(text))) => Bytes::from(text),
                Some(Ok(tungstenite::Message::Binary(data))) => data,
                Some(Ok(tungstenite::Message::Close(_))) => {
                    self.goodbye = true;
                    return Err(ErrorKind::SocketClosed);
                }
                None => return Err(ErrorKind::SocketClosed),
                Some(Ok(_)) => continue,
                Some(Err(e)) => return Err(kind(&e)),
            };
            return Ok(Received { data, at: Instant::now() });
        }
    }

    /// Whether the server has said that the session is over.
    #[must_use]
    pub fn has_said_goodbye(&self) -> bool {
        self.goodbye
    }

    /// Says that the session is over. The server's answer ends the next [`Socket::receive`] as
    /// [`ErrorKind::SocketClosed`].
    ///
    /// # Errors
    /// How the session ended instead.
    pub async fn close(&mut self, code: u16) -> Result<(), ErrorKind> {
        let frame = CloseFrame { code: CloseCode::from(code), reason: "".into() };
        self.stream.send(tungstenite::Message::Close(Some(frame))).await.map_err(|e| kind(&e))
    }

    /// Says so to a server whose session has failed, if it listens; waits for no answer.
    pub async fn farewell(&mut self, guard: &Guard) {
        let _ = guard.wait(Some(Instant::now() + FAREWELL), self.close(1000)).await;
    }

    /// Bytes written and read since the last call.
    pub fn bytes(&mut self) -> (u64, u64) {
        let now = (self.marks.bytes_out.get(), self.marks.bytes_in.get());
        let before = std::mem::replace(&mut self.told, now);
        (now.0 - before.0, now.1 - before.1)
    }
}

/// The class of what the library says.
fn kind(error: &Error) -> ErrorKind {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => ErrorKind::SocketClosed,
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => ErrorKind::SocketClosed,
        Error::Protocol(ProtocolError::HandshakeIncomplete) => ErrorKind::Closed,
        Error::Io(e) => match io_kind(e) {
            // Only on reading and writing frames: an opening that is cut off has its own error.
            ErrorKind::Closed => ErrorKind::SocketClosed,
            ErrorKind::Protocol => ErrorKind::SocketProtocol,
            kind => kind,
        },
        Error::Capacity(_) | Error::WriteBufferFull(_) => ErrorKind::SocketTooLong,
        Error::Http(response) => ErrorKind::Status(response.status().as_u16()),
        _ => ErrorKind::SocketProtocol,
    }
}
