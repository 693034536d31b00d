//! A server that is good, then bad in one way for a while, then good again. HTTP by hand.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::net::sockopt::set_socket_linger;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// How it is bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// The connection is reset instead of an answer.
    Reset,
    /// It is closed in the middle of the body.
    Cut,
    /// The request is taken, and nothing ever comes.
    HalfOpen,
    /// A byte of the head now and then.
    SlowHead,
    /// A byte of the body now and then.
    SlowBody,
    /// A body that never ends, as fast as it goes.
    Endless,
    /// More bytes are promised than come, on a connection that stays.
    Promise,
    /// Two lengths that differ.
    TwoLengths,
    /// Chunks that are none.
    Chunks,
    /// Interim responses without end.
    Interim,
    /// A head of a megabyte.
    GiantHead,
    /// Header fields without end.
    Fields,
    /// Not HTTP.
    Garbage,
    /// Bytes that are no text, where a text is expected.
    NotText,
    /// A few bytes that become gigabytes.
    Bomb,
    /// To itself.
    Circle,
    /// An error of the server's.
    Broken,
    /// Another application answers.
    Replaced,
    /// Nobody listens.
    Gone,
}

/// The server.
pub(crate) struct Moody {
    pub(crate) url: String,
    /// Requests that it answered badly.
    pub(crate) bad: Arc<AtomicU64>,
}

const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 10\r\n\r\nhello good";

impl Moody {
    /// Bad from two seconds to `until` after the first request that is not the preflight's.
    pub(crate) async fn start(mood: Mood, until: Duration) -> Moody {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        if mood == Mood::Bomb {
            // Now, because it takes a while.
            let _ = bomb();
        }
        let bad = Arc::<AtomicU64>::default();
        let counted = bad.clone();
        tokio::spawn(async move {
            let mut listener = listener;
            let mut began = None;
            loop {
                let now = began.map_or(Duration::ZERO, |began: Instant| began.elapsed());
                if mood == Mood::Gone && (Duration::from_secs(2)..until).contains(&now) {
                    drop(listener);
                    tokio::time::sleep(until - now).await;
                    listener = again(address).await;
                    continue;
                }
                let next = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
                if let Ok(Ok((stream, _))) = next {
                    let began = *began.get_or_insert_with(Instant::now);
                    tokio::spawn(serve(stream, mood, (began, until), counted.clone()));
                }
            }
        });
        Moody { url: format!("http://{address}/"), bad }
    }
}

async fn again(address: std::net::SocketAddr) -> TcpListener {
    loop {
        if let Ok(listener) = TcpListener::bind(address).await {
            return listener;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn serve(mut stream: TcpStream, mood: Mood, (began, until): (Instant, Duration), bad: Arc<AtomicU64>) {
    let mut read = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(n) => read.extend_from_slice(&chunk[..n]),
        }
        while let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            read.drain(..end + 4);
            if !(Duration::from_secs(2)..until).contains(&began.elapsed()) {
                // As fast as the test needs it, and no faster.
                tokio::time::sleep(Duration::from_millis(5)).await;
                if stream.write_all(GOOD).await.is_err() {
                    return;
                }
                continue;
            }
            bad.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(10)).await;
            if !misbehave(&mut stream, mood).await {
                return;
            }
        }
    }
}

/// Whether the connection is kept.
async fn misbehave(stream: &mut TcpStream, mood: Mood) -> bool {
    let head = |more: &str| format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n{more}\r\n").into_bytes();
    let sized =
        |body: &[u8], more: &str| [head(&format!("content-length: {}\r\n{more}", body.len())), body.to_vec()].concat();
    let (bytes, then_more): (Vec<u8>, Option<(&[u8], u64)>) = match mood {
        Mood::Reset | Mood::Gone => {
            let _ = set_socket_linger(&*stream, Some(Duration::ZERO));
            return false;
        }
        Mood::Cut => (sized(b"hello good", "")[..70].to_vec(), None),
        Mood::HalfOpen => return std::future::pending().await,
        Mood::SlowHead => (b"HTTP/1.1 200 OK\r\nx: ".to_vec(), Some((b"y", 20))),
        Mood::SlowBody => (head("content-length: 1000000\r\n"), Some((b"y", 20))),
        Mood::Endless => (head("transfer-encoding: chunked\r\n"), Some((b"1\r\ny\r\n", 0))),
        Mood::Promise => (head("content-length: 1000\r\n"), None),
        Mood::TwoLengths => (head("content-length: 10\r\ncontent-length: 11\r\n"), None),
        Mood::Chunks => ([head("transfer-encoding: chunked\r\n"), b"zz\r\nhello\r\n".to_vec()].concat(), None),
        Mood::Interim => (Vec::new(), Some((b"HTTP/1.1 102 Processing\r\n\r\n", 0))),
        Mood::GiantHead => (b"HTTP/1.1 200 OK\r\nx: ".to_vec(), Some((&[b'y'; 8192], 0))),
        Mood::Fields => (b"HTTP/1.1 200 OK\r\n".to_vec(), Some((b"x: y\r\n", 0))),
        Mood::Garbage => (b"SSH-2.0-OpenSSH_9.0\r\n\r\n".to_vec(), None),
        Mood::NotText => (sized(b"\xff\xfe\xc3\x28 hello \x80", "x-name: \u{e9}\r\n"), None),
        Mood::Bomb => (sized(&bomb(), "content-encoding: gzip\r\n"), None),
        Mood::Circle => (b"HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n".to_vec(), None),
        Mood::Broken => (b"HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy".to_vec(), None),
        Mood::Replaced => (sized(b"<html>another one</html>", ""), None),
    };
    if stream.write_all(&bytes).await.is_err() {
        return false;
    }
    if let Some((piece, ms)) = then_more {
        while stream.write_all(piece).await.is_ok() {
            if ms > 0 {
                tokio::time::sleep(Duration::from_millis(ms)).await;
            }
        }
        return false;
    }
    !matches!(mood, Mood::Cut | Mood::Garbage)
}

/// 256 MB of zeros in 256 kB.
fn bomb() -> Vec<u8> {
    static BOMB: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    BOMB.get_or_init(|| {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        let zeros = vec![0; 1 << 20];
        for _ in 0..256 {
            gzip.write_all(&zeros).unwrap();
        }
        gzip.finish().unwrap()
    })
    .clone()
}
