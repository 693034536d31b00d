//! The seam between a VU's client and those who speak HTTP: two engines for HTTP/1.1, one for HTTP/2.

use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::arrival::Arrival;
use super::meter::Marks;
use super::{http2, hyper1, own};
use crate::outcome::ErrorKind;
use crate::plan::Http1Engine;

/// A connection that was idle for longer than this is looked at before it is used: the server may have closed it.
const LOOK_AFTER_IDLE: Duration = Duration::from_millis(5);

/// Who speaks on a connection.
#[derive(Debug, Clone, Copy)]
pub(super) enum Engine {
    /// HTTP/1.1.
    Http1(Http1Engine),
    /// HTTP/2: always hyper.
    Http2,
}

/// What all engines keep of a connection.
#[derive(Debug)]
pub(super) struct Common {
    marks: Rc<Marks>,
    /// After this it is looked at before it is used.
    trusted_until: Instant,
}

/// A VU's connection.
#[derive(Debug)]
pub(super) enum Connection<S: AsyncRead + AsyncWrite + Arrival + Unpin + 'static> {
    /// hyper's.
    Hyper { http: hyper1::Connection<S>, common: Common },
    /// Our own.
    Own { http: own::Connection<S>, common: Common },
    /// HTTP/2.
    Http2 { http: http2::Connection<S>, common: Common },
}

impl<S: AsyncRead + AsyncWrite + Arrival + Unpin + 'static> Connection<S> {
    /// Starts HTTP on a stream that was just opened. `small_bodies`: no request on it has a large body.
    pub(super) async fn open(
        engine: Engine,
        stream: S,
        marks: Rc<Marks>,
        small_bodies: bool,
    ) -> Result<Connection<S>, ErrorKind> {
        let common = Common { marks: marks.clone(), trusted_until: Instant::now() + LOOK_AFTER_IDLE };
        Ok(match engine {
            Engine::Http1(Http1Engine::Hyper) => {
                Connection::Hyper { http: hyper1::Connection::open(stream, marks, small_bodies).await?, common }
            }
            Engine::Http1(Http1Engine::Own) => Connection::Own { http: own::Connection::open(stream, marks), common },
            Engine::Http2 => Connection::Http2 { http: http2::Connection::open(stream, marks).await?, common },
        })
    }

    fn common(&self) -> &Common {
        match self {
            Connection::Hyper { common, .. } | Connection::Own { common, .. } | Connection::Http2 { common, .. } => {
                common
            }
        }
    }

    /// Bytes written and read so far.
    pub(super) fn bytes(&self) -> (u64, u64) {
        let marks = &self.common().marks;
        (marks.bytes_out.get(), marks.bytes_in.get())
    }

    /// Gets the marks ready for a request.
    pub(super) fn arm(&self) -> Rc<Marks> {
        let marks = &self.common().marks;
        marks.arm();
        marks.clone()
    }

    /// Whether a kept connection can be used.
    pub(super) async fn usable(&mut self, now: Instant) -> bool {
        if now > self.common().trusted_until {
            match self {
                Connection::Hyper { http, .. } => http.look().await,
                Connection::Own { http, .. } => http.look().await,
                Connection::Http2 { http, .. } => http.look().await,
            }
        }
        self.is_open()
    }

    /// Whether another request can be sent on it, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        match self {
            Connection::Hyper { http, .. } => http.is_open(),
            Connection::Own { http, .. } => http.is_open(),
            Connection::Http2 { http, .. } => http.is_open(),
        }
    }

    /// From now on nothing is under way on it.
    pub(super) fn idle_from(&mut self, now: Instant) {
        match self {
            Connection::Hyper { common, .. } | Connection::Own { common, .. } | Connection::Http2 { common, .. } => {
                common.trusted_until = now + LOOK_AFTER_IDLE;
            }
        }
    }
}
