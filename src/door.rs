//! The door of our own small endpoints, the live page and live control. Whoever comes may hold neither the files of this
//! process nor its memory: few connections at a time, and a request that is not there in time is given up.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Connections at a time; one more is closed at once. A browser has six for a page.
pub const MOST_CONNECTIONS: usize = 64;
/// How long a connection may take for the head of its next request. Programs that keep one connect again.
pub const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// After an accept that failed: this process may have no file left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Accepts and answers, for ever.
pub async fn serve(listener: TcpListener, router: Router) {
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(place) = room.clone().try_acquire_owned() else { continue };
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
            // What is wrong with a connection is the other side's.
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
            drop(place);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    async fn open() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, Router::new().fallback(async || "here")));
        address
    }

    async fn asked(address: SocketAddr) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut said = String::new();
        // One that is closed at once gives nothing, or a reset.
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        let _ = stream.read_to_string(&mut said).await;
        said
    }

    #[tokio::test]
    async fn a_thousand_idle_connections_hold_a_few_files_and_only_for_a_while() {
        let address = open().await;
        let mut idle = Vec::new();
        for _ in 0..1000 {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        // The first so many are held; the others were closed, which a read tells.
        let mut closed = 0;
        for stream in idle.iter_mut().skip(MOST_CONNECTIONS) {
            closed += usize::from(matches!(stream.read(&mut [0]).await, Ok(0) | Err(_)));
        }
        assert_eq!(closed, 1000 - MOST_CONNECTIONS);
        assert_eq!(asked(address).await, "", "there is no room");
        idle.truncate(MOST_CONNECTIONS - 1);
        let patience = tokio::time::Instant::now() + Duration::from_secs(60);
        while !asked(address).await.ends_with("here") {
            assert!(tokio::time::Instant::now() < patience, "there is room again");
        }
    }

    #[tokio::test]
    async fn a_head_that_comes_byte_by_byte_is_given_up() {
        let address = open().await;
        let mut slow = TcpStream::connect(address).await.unwrap();
        let began = tokio::time::Instant::now();
        for byte in b"GET / HTTP/1.1\r\nHost: x\r\nX: ".iter().chain(std::iter::repeat(&b'x')) {
            if slow.write_all(&[*byte]).await.is_err() {
                break;
            }
            let mut end = [0; 512];
            match tokio::time::timeout(Duration::from_millis(200), slow.read(&mut end)).await {
                Err(_nothing) => {}
                Ok(Ok(0) | Err(_)) => break,
                Ok(Ok(_answer)) => {}
            }
            assert!(began.elapsed() < HEAD_WITHIN * 6, "it is held for ever");
        }
        assert!(asked(address).await.ends_with("here"), "others are answered");
    }
}
