//! A server that says what it is told, in the pieces it is told, and what a client sees of it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use connect_bench::engine::program::{Exchange, Expect, Request, SeriesId};
use connect_bench::http::{Client, ClientConfig, Dial, DialFault, Dialled, Guard};
use connect_bench::outcome::Ended;
use connect_bench::plan::Http1Engine;
use http::{HeaderMap, Method};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::runtime::{Builder, LocalOptions};

use super::cases::{After, Case};

/// How a response is cut into pieces.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Split {
    Whole,
    At(usize),
    Bytes,
}

impl Split {
    pub(crate) fn pieces(self, bytes: &[u8]) -> Vec<Vec<u8>> {
        match self {
            Split::Whole => vec![bytes.to_vec()],
            Split::At(at) => vec![bytes[..at].to_vec(), bytes[at..].to_vec()],
            // A megabyte in single bytes shows nothing new and takes minutes.
            Split::Bytes => bytes.chunks(bytes.len() / 2000 + 1).map(<[u8]>::to_vec).collect(),
        }
    }
}

/// What a VU sees of a response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) ended: String,
    pub(crate) status: Option<u16>,
    pub(crate) body: Vec<u8>,
    pub(crate) headers: Option<HeaderMap>,
    /// Whether a second request went over the same connection.
    pub(crate) kept: bool,
}

/// What the server does, connection by connection: the first has the script, those after it answer as they should.
#[derive(Clone)]
pub(crate) struct Scripted {
    pub(crate) pieces: Rc<[Vec<u8>]>,
    pub(crate) after: After,
    pub(crate) dials: Rc<Cell<u64>>,
    /// Everything that the clients sent.
    pub(crate) received: Rc<RefCell<Vec<u8>>>,
}

pub(crate) const FINE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

impl Scripted {
    pub(crate) fn new(pieces: Vec<Vec<u8>>, after: After) -> Scripted {
        Scripted { pieces: pieces.into(), after, dials: Rc::default(), received: Rc::default() }
    }

    /// Reads a request, which in these tests comes at once.
    async fn request(&self, io: &mut DuplexStream) -> bool {
        let mut buffer = vec![0; 64 * 1024];
        let read = io.read(&mut buffer).await.unwrap_or(0);
        self.received.borrow_mut().extend_from_slice(&buffer[..read]);
        read > 0
    }

    async fn serve(self, mut io: DuplexStream, first: bool) {
        if first {
            if !self.request(&mut io).await {
                return;
            }
            for piece in self.pieces.iter() {
                if io.write_all(piece).await.is_err() {
                    return;
                }
                // In virtual time this means: until the client has taken it.
                tokio::time::sleep(Duration::from_micros(1)).await;
            }
            if self.after == After::Close {
                return;
            }
        }
        while self.request(&mut io).await {
            if io.write_all(FINE).await.is_err() {
                return;
            }
        }
    }
}

impl Dial for Scripted {
    type Stream = DuplexStream;

    async fn dial(&self, _vu: u32) -> Result<Dialled<DuplexStream>, DialFault> {
        let first = self.dials.get() == 0;
        self.dials.set(self.dials.get() + 1);
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        tokio::task::spawn_local(self.clone().serve(theirs, first));
        Ok(Dialled::at_once(ours))
    }
}

pub(crate) fn exchange(method: Method) -> Exchange {
    let target = "/stocks/AAPL?x=1".parse().unwrap();
    let request = Request { method, target, headers: HeaderMap::new(), body: Bytes::new() };
    Exchange {
        series: SeriesId(0),
        request,
        expect: Expect::default(),
        keep_body: 1 << 20,
        timeout: Duration::from_secs(5),
    }
}

pub(crate) fn config(http1: Http1Engine) -> ClientConfig {
    ClientConfig::new("http://pipe/".parse().unwrap(), http1).unwrap()
}

pub(crate) fn in_virtual_time<F: Future>(future: F) -> F::Output {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build_local(LocalOptions::default());
    runtime.unwrap().block_on(future)
}

/// Lets time pass for whoever looks at a deadline, as a worker does.
pub(crate) async fn swept<F: Future>(guard: &Guard, future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    loop {
        tokio::select! {
            output = &mut future => return output,
            () = tokio::time::sleep(Duration::from_millis(100)) => guard.sweep(tokio::time::Instant::now()),
        }
    }
}

pub(crate) fn see(engine: Http1Engine, case: &Case, split: Split) -> Seen {
    see_pieces(engine, case.method(), split.pieces(&case.bytes()), case.after)
}

pub(crate) fn see_pieces(engine: Http1Engine, method: Method, pieces: Vec<Vec<u8>>, after: After) -> Seen {
    in_virtual_time(async {
        let server = Scripted::new(pieces, after);
        let mut client = Client::new(Rc::new(server.clone()), Rc::new(config(engine)));
        let guard = Guard::default();
        let done = swept(&guard, client.exchange(&Rc::new(exchange(method)), &guard)).await;
        let body = client.body().to_vec();
        // Whatever else the server sends or closes gets to us in this time.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let dials = server.dials.get();
        let again = swept(&guard, client.exchange(&Rc::new(exchange(Method::GET)), &guard)).await;
        assert_eq!((again.ended, client.body()), (Ended::Completed, &b"ok"[..]), "the next request, {engine:?}");
        let ended = format!("{:?}", done.ended);
        Seen { ended, status: done.status, body, headers: done.headers, kept: server.dials.get() == dials }
    })
}
