//! WebSocket sessions over what is dialled: TLS that would rather speak HTTP/2, proxies, cookies, local addresses.

use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use connect_bench::connection_options::{ConnectionOptions, Credentials, Http2};
use connect_bench::http::dial::NetDial;
use connect_bench::http::request::{Request, SeriesId};
use connect_bench::http::tls::{self, ExtraRoots};
use connect_bench::http::websocket::{Message, Opening};
use connect_bench::http::{Client, ClientConfig, Guard};
use connect_bench::outcome::{Ended, ErrorKind};
use connect_bench::plan::Http1Engine;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, HeaderValue, Method};
use rustls::version::TLS13;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_tungstenite::{accept_hdr_async, tungstenite};

use crate::proxies::Forward;
use crate::support::{acceptor, options};

/// Echoes, and writes down the heads of the openings.
struct Echo {
    port: u16,
    pem: Option<String>,
    heads: Arc<Mutex<Vec<HeaderMap>>>,
}

impl Echo {
    async fn start(over_tls: bool) -> Echo {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        // HTTP/2 is what the server would take first.
        let (acceptor, pem) = over_tls.then(|| acceptor(&["h2", "http/1.1"], &[&TLS13])).unzip();
        let heads = Arc::<Mutex<Vec<HeaderMap>>>::default();
        let noted = heads.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, noted) = (acceptor.clone(), noted.clone());
                tokio::spawn(async move {
                    match acceptor {
                        None => echo(stream, noted).await,
                        Some(acceptor) => {
                            let stream = acceptor.accept(stream).await.unwrap();
                            assert_ne!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
                            echo(stream, noted).await;
                        }
                    }
                });
            }
        });
        Echo { port, pem, heads }
    }

    fn client(&self, options: &ConnectionOptions, credentials: Option<&Credentials>) -> Client<NetDial> {
        let roots = self.pem.clone().map(ExtraRoots::Pem);
        let scheme = if roots.is_some() { "https" } else { "http" };
        let tls = roots.map(|roots| tls::config(false, Some(&roots), options).unwrap());
        let dial = NetDial::with_options(("localhost", self.port), tls, options, credentials, 1).unwrap();
        let url = format!("{scheme}://localhost:{}/", self.port).parse().unwrap();
        let config = ClientConfig::new(url, Http1Engine::Own).unwrap().with_options(options, credentials);
        Client::new(Rc::new(dial), Rc::new(config))
    }

    fn heads(&self) -> Vec<HeaderMap> {
        self.heads.lock().unwrap().clone()
    }
}

async fn echo<S: AsyncRead + AsyncWrite + Unpin>(stream: S, heads: Arc<Mutex<Vec<HeaderMap>>>) {
    #[expect(clippy::result_large_err, reason = "what the library asks for")]
    let look = |request: &http::Request<()>, mut response: http::Response<()>| {
        heads.lock().unwrap().push(request.headers().clone());
        let cookie = HeaderValue::from_static("ApplicationGatewayAffinity=node1; Path=/");
        response.headers_mut().append("set-cookie", cookie);
        if request.uri().path() == "/busy" {
            let refused = http::Response::builder().status(503).header("set-cookie", "busy=1; Path=/");
            return Err(refused.body(None).unwrap());
        }
        Ok(response)
    };
    let Ok(mut socket) = accept_hdr_async(stream, look).await else { return };
    while let Some(Ok(message)) = socket.next().await {
        if matches!(message, tungstenite::Message::Text(_) | tungstenite::Message::Binary(_)) {
            let _ = socket.send(message).await;
        }
    }
}

fn opening(path: &str) -> Opening {
    let headers = HeaderMap::new();
    let request = Request { method: Method::GET, target: path.parse().unwrap(), headers, body: Bytes::new() };
    let timeout = Duration::from_secs(20);
    Opening { series: SeriesId(0), request, timeout, longest: 1 << 20, longest_sent: 1 << 20 }
}

/// One session: opened, one message there and back, closed.
async fn talk(client: &mut Client<NetDial>) {
    let opened = client.open_socket(&opening("/ws"), &Guard::default()).await;
    assert_eq!((opened.ended, opened.status, opened.connections), (Ended::Completed, Some(101), 1));
    assert!(opened.bytes.0 > 100 && opened.bytes.1 > 100);
    let socket = client.socket().unwrap();
    socket.send(Message::Binary(Bytes::from(vec![7; 300_000]))).await.unwrap();
    assert_eq!(socket.receive().await.unwrap().data, vec![7; 300_000]);
    socket.send(Message::Text("✓".to_owned())).await.unwrap();
    assert_eq!(socket.receive().await.unwrap().data, "✓");
    let bytes = socket.bytes();
    assert!(bytes.0 > 300_000 && bytes.1 > 300_000);
    socket.close(1000).await.unwrap();
    assert_eq!(socket.receive().await, Err(ErrorKind::SocketClosed));
    assert!(socket.has_said_goodbye());
    client.drop_socket();
}

#[tokio::test]
async fn over_tls_a_session_is_http_1_whatever_else_is() {
    let echo = Echo::start(true).await;
    for http2 in [Http2::Auto, Http2::Off, Http2::PriorKnowledge] {
        talk(&mut echo.client(&options(http2), None)).await;
        talk(&mut echo.client(&ConnectionOptions { tls_resumption: true, ..options(http2) }, None)).await;
    }
    assert_eq!(echo.heads().len(), 6);
}

#[tokio::test]
async fn through_a_proxy_there_is_a_tunnel_to_plain_http_too() {
    for over_tls in [false, true] {
        let echo = Echo::start(over_tls).await;
        let proxy = Forward::start("HTTP/1.1 200 Connection established\r\n\r\n").await;
        talk(&mut echo.client(&proxy.options, proxy.credentials.as_ref())).await;
        let heads = proxy.heads();
        assert_eq!(heads.len(), 1);
        assert!(heads[0].starts_with(&format!("CONNECT localhost:{} HTTP/1.1\r\n", echo.port)), "{}", heads[0]);
        assert!(heads[0].contains("proxy-authorization: Basic "));
        // What is for the proxy is not for the server.
        assert!(!echo.heads()[0].contains_key("proxy-authorization"));
    }
    let echo = Echo::start(false).await;
    let proxy = Forward::start("HTTP/1.1 407 Who are you\r\n\r\n").await;
    let mut client = echo.client(&proxy.options, None);
    let opened = client.open_socket(&opening("/ws"), &Guard::default()).await;
    assert_eq!(opened.ended, Ended::Failed(ErrorKind::Proxy));
    assert!(client.socket().is_none());
}

#[tokio::test]
async fn cookies_go_with_a_session_and_come_with_its_answer() {
    let echo = Echo::start(false).await;
    let mut client = echo.client(&ConnectionOptions::default(), None);
    talk(&mut client).await;
    assert_eq!(client.affinity(), Some("node1"));
    let refused = client.open_socket(&opening("/busy"), &Guard::default()).await;
    assert_eq!((refused.ended, refused.status), (Ended::Failed(ErrorKind::Status(503)), Some(503)));
    talk(&mut client).await;
    let cookies: Vec<String> = echo
        .heads()
        .iter()
        .map(|head| head.get("cookie").map_or(String::new(), |cookie| cookie.to_str().unwrap().to_owned()))
        .collect();
    assert_eq!(cookies[..2], ["", "ApplicationGatewayAffinity=node1"]);
    assert!(cookies[2].contains("ApplicationGatewayAffinity=node1") && cookies[2].contains("busy=1"), "{cookies:?}");
}

#[tokio::test]
async fn hosts_and_local_addresses_are_those_of_requests() {
    let echo = Echo::start(false).await;
    let options = ConnectionOptions { local_ips: "127.0.0.7".parse().unwrap(), ..ConnectionOptions::default() };
    talk(&mut echo.client(&options, None)).await;
    let nobody = Echo { port: 1, pem: None, heads: Arc::default() };
    let opened = nobody.client(&options, None).open_socket(&opening("/ws"), &Guard::default()).await;
    assert_eq!((opened.ended, opened.connections), (Ended::Failed(ErrorKind::Refused), 0));
}
