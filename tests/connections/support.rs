//! Servers that write down what they see, and clients with options.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use connect_bench::connection_options::{ConnectionOptions, Credentials, Http2};
use connect_bench::http::dial::NetDial;
use connect_bench::http::request::{Exchange, Expect, Request, SeriesId};
use connect_bench::http::tls::{self, ExtraRoots};
use connect_bench::http::{Client, ClientConfig, Exchanged, Guard};
use connect_bench::plan::Http1Engine;
use http::{HeaderMap, HeaderValue, Method, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

pub(crate) const ENGINES: [Http1Engine; 2] = [Http1Engine::Hyper, Http1Engine::Own];

/// A request as the server saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) version: Version,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: usize,
    pub(crate) peer: SocketAddr,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// What a server saw.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) connections: Vec<SocketAddr>,
    pub(crate) closed: usize,
    pub(crate) requests: Vec<Seen>,
}

/// How a server speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    Http1,
    Http2,
}

type Answer = http::Response<Full<Bytes>>;
pub(crate) type Handler = Arc<dyn Fn(&Seen) -> Answer + Send + Sync>;

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) record: Arc<Mutex<Record>>,
    /// The certificate, where it speaks TLS.
    pub(crate) pem: Option<String>,
}

pub(crate) fn answer(body: impl Into<Bytes>) -> Answer {
    http::Response::new(Full::new(body.into()))
}

impl Server {
    pub(crate) async fn plain(speaks: Speaks) -> Server {
        Server::start(speaks, None, Arc::new(|_| answer("{\"price\": 187.5}"))).await
    }

    /// Over TLS, offering these protocols by ALPN; the one that is agreed on is spoken.
    pub(crate) async fn tls(alpn: &[&str], versions: &[&'static rustls::SupportedProtocolVersion]) -> Server {
        let handler: Handler = Arc::new(|_| answer("{\"price\": 187.5}"));
        Server::start(Speaks::Http1, Some((alpn, versions)), handler).await
    }

    pub(crate) async fn start(
        speaks: Speaks,
        tls: Option<(&[&str], &[&'static rustls::SupportedProtocolVersion])>,
        handler: Handler,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (acceptor, pem) = tls.map(|(alpn, versions)| acceptor(alpn, versions)).unzip();
        let record = Arc::<Mutex<Record>>::default();
        let noted = record.clone();
        tokio::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                noted.lock().unwrap().connections.push(peer);
                let (noted, handler, acceptor) = (noted.clone(), handler.clone(), acceptor.clone());
                tokio::spawn(async move {
                    match acceptor {
                        None => serve(stream, peer, speaks, &noted, handler).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                                let speaks = if h2 { Speaks::Http2 } else { Speaks::Http1 };
                                serve(stream, peer, speaks, &noted, handler).await;
                            }
                        }
                    }
                    noted.lock().unwrap().closed += 1;
                });
            }
        });
        Server { address, record, pem }
    }

    pub(crate) fn url(&self) -> String {
        let (scheme, port) = (if self.pem.is_some() { "https" } else { "http" }, self.address.port());
        format!("{scheme}://localhost:{port}/")
    }

    pub(crate) fn connections(&self) -> usize {
        self.record.lock().unwrap().connections.len()
    }

    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.record.lock().unwrap().requests.clone()
    }

    pub(crate) fn client(&self, options: &ConnectionOptions, http1: Http1Engine) -> Client<NetDial> {
        Client::new(self.dial(options, None), self.config(options, http1, None))
    }

    pub(crate) fn dial(&self, options: &ConnectionOptions, credentials: Option<&Credentials>) -> Rc<NetDial> {
        let roots = self.pem.clone().map(ExtraRoots::Pem);
        let tls = roots.map(|roots| tls::config(false, Some(&roots), options).unwrap());
        let to = ("localhost", self.address.port());
        Rc::new(NetDial::with_options(to, tls, options, credentials, 1).unwrap())
    }

    pub(crate) fn config(
        &self,
        options: &ConnectionOptions,
        http1: Http1Engine,
        credentials: Option<&Credentials>,
    ) -> Rc<ClientConfig> {
        let config = ClientConfig::new(self.url().parse().unwrap(), http1).unwrap();
        Rc::new(config.with_options(options, credentials))
    }

    /// Waits until as many connections were closed as are expected.
    pub(crate) async fn closed(&self, expected: usize) {
        let all_closed = async {
            while self.record.lock().unwrap().closed < expected {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), all_closed).await.unwrap();
    }
}

pub(crate) fn acceptor(
    alpn: &[&str],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> (tokio_rustls::TlsAcceptor, String) {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    (tokio_rustls::TlsAcceptor::from(Arc::new(config)), certified.cert.pem())
}

async fn serve<S>(stream: S, peer: SocketAddr, speaks: Speaks, record: &Arc<Mutex<Record>>, handler: Handler)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let record = record.clone();
    let service = service_fn(move |request: http::Request<Incoming>| {
        let (record, handler) = (record.clone(), handler.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map_or(0, |body| body.to_bytes().len());
            let target = parts.uri.to_string();
            let seen = Seen { version: parts.version, target, headers: parts.headers, body, peer };
            let answer = handler(&seen);
            record.lock().unwrap().requests.push(seen);
            Ok::<_, Infallible>(answer)
        }
    });
    let io = TokioIo::new(stream);
    // A client that goes away is no fault.
    let _ = match speaks {
        Speaks::Http1 => hyper::server::conn::http1::Builder::new().serve_connection(io, service).await,
        Speaks::Http2 => {
            hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await
        }
    };
}

pub(crate) fn get(path: &str) -> Exchange {
    let mut headers = HeaderMap::new();
    headers.insert("user-agent", HeaderValue::from_static("test"));
    let target = path.parse().unwrap();
    let request = Request { method: Method::GET, target, headers, body: Bytes::new() };
    let expect = Expect { statuses: vec![200], ..Expect::default() };
    Exchange { series: SeriesId(0), request, expect, keep_body: 1000, timeout: Duration::from_secs(20) }
}

pub(crate) async fn make(client: &mut Client<NetDial>, exchange: &Rc<Exchange>) -> Exchanged {
    let guard = Guard::default();
    let exchanged = client.exchange(exchange, &guard);
    tokio::time::timeout(Duration::from_secs(30), exchanged).await.unwrap()
}

pub(crate) fn options(http2: Http2) -> ConnectionOptions {
    ConnectionOptions { http2, ..ConnectionOptions::default() }
}
