//! Proxies: a tunnel to https, whole URLs to http; and who is told what.

use std::rc::Rc;
use std::sync::{Arc, Mutex};

use connect_bench::connection_options::{ConnectionOptions, Credentials, Proxy};
use connect_bench::http::Client;
use connect_bench::outcome::{Ended, ErrorKind};
use connect_bench::plan::Http1Engine;
use http::Version;
use rustls::version::TLS13;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{ENGINES, Server, Speaks, get, make};

/// A small proxy: the heads that it got, and what it says to `CONNECT`.
pub(crate) struct Forward {
    pub(crate) options: ConnectionOptions,
    pub(crate) credentials: Option<Credentials>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Forward {
    pub(crate) async fn start(answer: &'static str) -> Forward {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://me:hunter2@127.0.0.1:{}", listener.local_addr().unwrap().port());
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let noted = heads.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, answer, noted.clone()));
            }
        });
        let proxy: Proxy = address.parse().unwrap();
        let options = ConnectionOptions { proxy: Some(proxy.address), ..ConnectionOptions::default() };
        Forward { options, credentials: proxy.credentials, heads }
    }

    fn client(&self, server: &Server, engine: Http1Engine) -> Client<connect_bench::http::dial::NetDial> {
        let credentials = self.credentials.as_ref();
        Client::new(server.dial(&self.options, credentials), server.config(&self.options, engine, credentials))
    }

    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

async fn forward(mut client: TcpStream, answer: &str, heads: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    heads.lock().unwrap().push(head.clone());
    let (method, rest) = head.split_once(' ').unwrap();
    if method == "CONNECT" {
        client.write_all(answer.as_bytes()).await.unwrap();
        if answer.contains(" 200 ") {
            let to = rest.split(' ').next().unwrap();
            let mut server = TcpStream::connect(to.replace("localhost", "127.0.0.1")).await.unwrap();
            let _ = copy_bidirectional(&mut client, &mut server).await;
        }
        return;
    }
    // The first request is looked at, the others pass.
    let rest = rest.strip_prefix("http://").unwrap();
    let (authority, path) = rest.split_at(rest.find('/').unwrap());
    let mut server = TcpStream::connect(authority.replace("localhost", "127.0.0.1")).await.unwrap();
    server.write_all(format!("{method} {path}").as_bytes()).await.unwrap();
    let _ = copy_bidirectional(&mut client, &mut server).await;
}

fn with_key(path: &str) -> Rc<connect_bench::http::request::Exchange> {
    let mut exchange = get(path);
    exchange.request.headers.insert("authorization", "Key secret".parse().unwrap());
    Rc::new(exchange)
}

#[tokio::test]
async fn to_https_it_is_a_tunnel_that_sees_no_key() {
    for (alpn, version) in [("http/1.1", Version::HTTP_11), ("h2", Version::HTTP_2)] {
        for engine in ENGINES {
            let server = Server::tls(&[alpn], &[&TLS13]).await;
            let proxy = Forward::start("HTTP/1.1 200 Connection established\r\n\r\n").await;
            let mut client = proxy.client(&server, engine);
            for _ in 0..3 {
                assert_eq!(make(&mut client, &with_key("/a")).await.ended, Ended::Completed);
            }
            let port = server.address.port();
            let asked = format!("CONNECT localhost:{port} HTTP/1.1\r\nhost: localhost:{port}\r\n");
            assert_eq!(proxy.heads(), [asked + "proxy-authorization: Basic bWU6aHVudGVyMg==\r\n\r\n"]);
            for seen in server.requests() {
                assert_eq!((seen.version, seen.header("authorization")), (version, "Key secret"));
                assert_eq!(seen.header("proxy-authorization"), "");
            }
            assert_eq!(server.requests().len(), 3);
        }
    }
}

#[tokio::test]
async fn to_http_requests_name_the_whole_url() {
    for engine in ENGINES {
        let server = Server::plain(Speaks::Http1).await;
        let proxy = Forward::start("").await;
        let mut client = proxy.client(&server, engine);
        assert_eq!(make(&mut client, &Rc::new(get("/a?b=c"))).await.ended, Ended::Completed);
        let (heads, host) = (proxy.heads(), format!("localhost:{}", server.address.port()));
        assert_eq!(heads.len(), 1);
        let head = heads[0].to_lowercase();
        assert!(head.starts_with(&format!("get http://{host}/a?b=c http/1.1\r\n")), "{head}");
        assert!(head.contains(&format!("\r\nhost: {host}\r\n")), "{head}");
        assert!(head.contains("\r\nproxy-authorization: basic bwu6ahvudgvymg==\r\n"), "{head}");
        assert_eq!(server.requests()[0].target, "/a?b=c");
    }
}

#[tokio::test]
async fn a_proxy_that_refuses_is_told_from_a_server_that_does() {
    let server = Server::tls(&["http/1.1"], &[&TLS13]).await;
    for answer in ["HTTP/1.1 407 Who?\r\n\r\n", "HTTP/1.1 502 Bad\r\n\r\n", "nonsense\r\n\r\n"] {
        let proxy = Forward::start(answer).await;
        let done = make(&mut proxy.client(&server, Http1Engine::Own), &with_key("/")).await;
        assert_eq!((done.ended, done.sent, done.status), (Ended::Failed(ErrorKind::Proxy), false, None));
    }
    assert_eq!(server.connections(), 0);
}
