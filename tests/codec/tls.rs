//! The corpus once more, with TLS between: what comes in records and ends with or without a word must mean the same.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use connect_bench::connection_options::ConnectionOptions;
use connect_bench::http::tls;
use connect_bench::http::{Arrival, Client, Dial, DialFault, Dialled, Guard};
use connect_bench::outcome::Ended;
use connect_bench::plan::Http1Engine::{self, Hyper, Own};
use http::Method;
use rustls_pki_types::{PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::cases::{After, CASES, Case};
use super::pipe::{FINE, Seen, Split, config, exchange, in_virtual_time, swept};
use super::{ended_alike, hostile, noticed_early};

/// How a server that closes a connection does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Farewell {
    /// With TLS's own word for the end.
    Said,
    /// By closing the socket, as many do; what ends there may be cut off.
    Missing,
}

#[derive(Clone)]
struct Scripted {
    pieces: Rc<[Vec<u8>]>,
    after: After,
    farewell: Farewell,
    dials: Rc<Cell<u64>>,
    acceptor: TlsAcceptor,
    connector: TlsConnector,
}

impl Scripted {
    async fn serve(self, io: DuplexStream, first: bool) {
        let Ok(mut io) = self.acceptor.accept(io).await else { return };
        let mut buffer = vec![0; 64 * 1024];
        if first {
            if !matches!(io.read(&mut buffer).await, Ok(1..)) {
                return;
            }
            for piece in self.pieces.iter() {
                if write(&mut io, piece).await.is_err() {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_micros(1)).await;
            }
            if self.after == After::Close {
                if self.farewell == Farewell::Said {
                    let _ = io.shutdown().await;
                }
                return;
            }
        }
        while matches!(io.read(&mut buffer).await, Ok(1..)) {
            if write(&mut io, FINE).await.is_err() {
                return;
            }
        }
    }
}

async fn write(io: &mut server::TlsStream<DuplexStream>, piece: &[u8]) -> io::Result<()> {
    io.write_all(piece).await?;
    io.flush().await
}

/// The client's end, on a pipe instead of a socket.
struct Stream(client::TlsStream<DuplexStream>);

impl Arrival for Stream {}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl Dial for Scripted {
    type Stream = Stream;

    async fn dial(&self, _vu: u32) -> Result<Dialled<Stream>, DialFault> {
        let first = self.dials.replace(self.dials.get() + 1) == 0;
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        tokio::task::spawn_local(self.clone().serve(theirs, first));
        let name = ServerName::try_from("localhost").unwrap();
        let stream = Stream(self.connector.connect(name, ours).await.unwrap());
        Ok(Dialled::at_once(stream))
    }
}

fn ends() -> (TlsAcceptor, TlsConnector) {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(certified.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let server = builder.with_no_client_auth().with_single_cert(vec![certified.cert.der().clone()], key).unwrap();
    let client = tls::config(true, None, &ConnectionOptions::default()).unwrap();
    (TlsAcceptor::from(Arc::new(server)), TlsConnector::from(client))
}

struct Tls(TlsAcceptor, TlsConnector);

impl Tls {
    fn see(&self, engine: Http1Engine, case: &Case, split: Split, farewell: Farewell) -> Seen {
        let pieces = split.pieces(&case.bytes()).into();
        let (acceptor, connector) = (self.0.clone(), self.1.clone());
        let server = Scripted { pieces, after: case.after, farewell, dials: Rc::default(), acceptor, connector };
        in_virtual_time(async {
            let mut client = Client::new(Rc::new(server.clone()), Rc::new(config(engine)));
            let guard = Guard::default();
            let done = swept(&guard, client.exchange(&Rc::new(exchange(case.method())), &guard)).await;
            let body = client.body().to_vec();
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            let dials = server.dials.get();
            let again = swept(&guard, client.exchange(&Rc::new(exchange(Method::GET)), &guard)).await;
            assert_eq!((again.ended, client.body()), (Ended::Completed, &b"ok"[..]), "the next request, {engine:?}");
            let ended = format!("{:?}", done.ended);
            Seen { ended, status: done.status, body, headers: done.headers, kept: server.dials.get() == dials }
        })
    }
}

#[test]
fn the_whole_corpus_over_tls() {
    let (acceptor, connector) = ends();
    let tls = Tls(acceptor, connector);
    for case in CASES.iter().chain(hostile::CASES) {
        let length = case.bytes().len();
        // In one record, in two cut in the middle of the head, and in many.
        let splits = [Split::Whole, Split::At((length / 3).max(1)), Split::Bytes];
        for split in splits.into_iter().filter(|split| length > 1 && (length < 400 || !matches!(split, Split::Bytes))) {
            for farewell in [Farewell::Said, Farewell::Missing] {
                if farewell == Farewell::Missing && case.after == After::Open {
                    continue;
                }
                let hyper = tls.see(Hyper, case, split, farewell);
                let own = tls.see(Own, case, split, farewell);
                let early = !matches!(split, Split::Whole) && noticed_early(&hyper, &own);
                if case.differs.is_none() && !early && !ended_alike(&hyper, &own) {
                    assert_eq!(hyper, own, "{}: {split:?} {farewell:?}", case.name);
                }
                if let (Some(expected), Farewell::Said) = (case.ends, farewell) {
                    assert_eq!(own.ended, expected, "{}: {split:?}", case.name);
                }
            }
        }
    }
}

#[test]
fn a_body_until_close_that_ends_without_a_word_is_not_complete() {
    let (acceptor, connector) = ends();
    let tls = Tls(acceptor, connector);
    let case = CASES.iter().find(|case| case.name == "until close").unwrap();
    for engine in [Hyper, Own] {
        let said = tls.see(engine, case, Split::Whole, Farewell::Said);
        assert_eq!((said.ended.as_str(), said.body.as_slice()), ("Completed", &b"all of it"[..]), "{engine:?}");
        // Anyone on the way could have cut it off.
        let missing = tls.see(engine, case, Split::Whole, Farewell::Missing);
        assert_eq!(missing.ended, "Failed(Closed)", "{engine:?}");
    }
}
