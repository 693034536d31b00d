//! A connection that a process took over, WebSocket or other: bytes both ways, until one side ends or is silent too
//! long.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::running::Permit;
use super::settings::Runtime;

/// Bytes that are copied at once.
const PIECE: usize = 16 << 10;

/// A tunnel that was accepted, on its way to the client's connection. Whoever takes it first has it.
#[derive(Clone)]
pub(in super::super) struct Tunnel(Arc<Mutex<Option<Ends>>>);

struct Ends {
    process: Upgraded,
    runtime: Runtime,
    permit: Permit,
}

/// Whether a request asks for another protocol.
pub(super) fn asks(headers: &HeaderMap) -> bool {
    let lists = |value: &HeaderValue| value.to_str().is_ok_and(|value| value.to_ascii_lowercase().contains("upgrade"));
    headers.contains_key(header::UPGRADE)
        && headers.get_all(header::CONNECTION).iter().any(lists)
        && headers.get(header::UPGRADE).is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

impl Tunnel {
    /// The response to the client, with the tunnel in its extensions.
    pub(super) fn accept(headers: &HeaderMap, process: Upgraded, (permit, runtime): (Permit, Runtime)) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *response.headers_mut() = headers.clone();
        let ends = Ends { process, runtime, permit };
        response.extensions_mut().insert(Self(Arc::new(Mutex::new(Some(ends)))));
        response
    }

    /// Copies until one side has ended, or nothing came for too long. `read` was read already from the client.
    pub(in super::super) async fn run(self, client: &mut TcpStream, read: &[u8]) {
        let Some(ends) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let Ends { process, runtime, permit } = ends;
        let (mut from_process, mut to_process) = tokio::io::split(TokioIo::new(process));
        let (mut from_client, mut to_client) = client.split();
        let seen = Seen::new();
        if to_process.write_all(read).await.is_err() {
            return;
        }
        tokio::select! {
            () = copy(&mut from_client, &mut to_process, (&seen, true)) => {}
            () = copy(&mut from_process, &mut to_client, (&seen, false)) => {}
            () = seen.silence(runtime) => {}
        }
        let _ = to_client.shutdown().await;
        drop(permit);
    }
}

/// When something last came: from the client, and from either side.
struct Seen(Mutex<(Instant, Instant)>);

impl Seen {
    fn new() -> Self {
        Self(Mutex::new((Instant::now(), Instant::now())))
    }

    fn now(&self, client: bool) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.1 = Instant::now();
        if client {
            seen.0 = seen.1;
        }
    }

    /// Until there was too little for too long.
    async fn silence(&self, runtime: Runtime) {
        loop {
            let (client, any) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let after = |last: Instant, time: Option<Duration>| time.map(|time| last + time);
            let until = after(client, runtime.read).into_iter().chain(after(any, runtime.connection)).min();
            match until {
                None => std::future::pending().await,
                Some(until) if Instant::now() >= until => return,
                Some(until) => tokio::time::sleep_until(until).await,
            }
        }
    }
}

async fn copy(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin), (seen, client): (&Seen, bool)) {
    let mut piece = vec![0; PIECE];
    while let Ok(n) = from.read(&mut piece).await
        && n > 0
    {
        seen.now(client);
        if to.write_all(&piece[..n]).await.is_err() || to.flush().await.is_err() {
            return;
        }
    }
}
