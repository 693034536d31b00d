//! Small servers that behave badly on purpose, or just plainly. HTTP by hand: what they do wrong no library would do.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What a server answers to every request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer {
    /// This status and text, on a connection that is kept.
    Text(u16, &'static str),
    /// The same, and the connection is closed.
    Closing(&'static str),
    /// The same after 20 ms, as fast as a test needs it.
    Unhurried(&'static str),
    /// A page, as a proxy or another product sends it.
    Html,
    /// Not HTTP at all.
    Garbage,
    /// A head, and then a byte of the body now and then.
    Trickle,
    /// Half of the body, and the connection is closed.
    Half,
    /// Nothing, ever.
    Silence,
    /// Elsewhere.
    Redirect(&'static str),
}

/// A server that lives as long as the test's runtime.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) url: String,
    /// The certificate, of a TLS server.
    pub(crate) certificate: String,
    requests: Arc<AtomicU64>,
    heard: Arc<Mutex<String>>,
    answer: Answer,
}

impl Server {
    pub(crate) async fn start(answer: Answer) -> Server {
        let (server, listener) = Server::bind("http", "127.0.0.1", answer).await;
        server.listen(listener)
    }

    /// At an address and port of the test's choice.
    pub(crate) async fn start_at(address: SocketAddr, answer: Answer) -> std::io::Result<Server> {
        let listener = TcpListener::bind(address).await?;
        let url = format!("http://{}/", listener.local_addr()?);
        let (requests, heard) = (Arc::default(), Arc::default());
        Ok(Server { url, certificate: String::new(), requests, heard, answer }.listen(listener))
    }

    fn listen(self, listener: TcpListener) -> Server {
        let (server, serving) = (self.clone(), self);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        server
    }

    /// The same behind TLS, with a certificate of its own for `localhost`.
    pub(crate) async fn with_tls(answer: Answer) -> Server {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (mut server, listener) = Server::bind("https", "localhost", answer).await;
        server.certificate = cert.pem();
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, serving) = (acceptor.clone(), serving.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serving.serve(stream).await;
                    }
                });
            }
        });
        server
    }

    /// A URL where nobody listens.
    pub(crate) async fn closed() -> String {
        let (server, _listener) = Server::bind("http", "127.0.0.1", Answer::Silence).await;
        server.url
    }

    async fn bind(scheme: &str, host: &str, answer: Answer) -> (Server, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("{scheme}://{host}:{}/", listener.local_addr().unwrap().port());
        let (requests, heard) = (Arc::default(), Arc::default());
        (Server { url, certificate: String::new(), requests, heard, answer }, listener)
    }

    /// Requests read so far.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    /// The head of the last request.
    pub(crate) fn heard(&self) -> String {
        self.heard.lock().unwrap().clone()
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin>(self, mut stream: S) {
        let mut read = Vec::new();
        loop {
            let mut chunk = [0; 4096];
            match stream.read(&mut chunk).await {
                Ok(0) | Err(_) => return,
                Ok(n) => read.extend_from_slice(&chunk[..n]),
            }
            if !read.first().is_none_or(u8::is_ascii_uppercase) {
                // A TLS client at our plain door, for example.
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n").await;
                return;
            }
            while let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
                let head: Vec<u8> = read.drain(..end + 4).collect();
                *self.heard.lock().unwrap() = String::from_utf8_lossy(&head).into_owned();
                self.requests.fetch_add(1, Ordering::SeqCst);
                if !self.respond(&mut stream).await {
                    let _ = stream.shutdown().await;
                    return;
                }
            }
        }
    }

    /// Whether the connection is kept.
    async fn respond<S: AsyncWrite + Unpin>(&self, stream: &mut S) -> bool {
        let head = |status: u16, kind: &str, length: usize, more: &str| {
            format!("HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n{more}\r\n")
        };
        let text = match self.answer {
            Answer::Text(status, body) => head(status, "text/plain", body.len(), "") + body,
            Answer::Closing(body) | Answer::Unhurried(body) => {
                head(200, "text/plain", body.len(), "connection: close\r\n") + body
            }
            Answer::Html => head(200, "text/html", 13, "") + "<html></html>",
            Answer::Garbage => "SSH-2.0-OpenSSH_9.0\r\n\r\n".to_owned(),
            Answer::Half => head(200, "text/plain", 100, "") + "half",
            Answer::Redirect(to) => head(302, "text/plain", 0, &format!("location: {to}\r\n")),
            Answer::Trickle => head(200, "text/plain", 1000, "") + ".",
            Answer::Silence => String::new(),
        };
        if matches!(self.answer, Answer::Unhurried(_)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if stream.write_all(text.as_bytes()).await.is_err() {
            return false;
        }
        match self.answer {
            Answer::Trickle => {
                // A byte at a time, so that no time-out between bytes would ever fire.
                while stream.write_all(b".").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                false
            }
            Answer::Silence => std::future::pending().await,
            Answer::Closing(_) | Answer::Unhurried(_) | Answer::Garbage | Answer::Half => false,
            _ => true,
        }
    }
}

/// A connection that is opened and says nothing, to see that a server is there.
pub(crate) async fn listens(url: &str) -> bool {
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    TcpStream::connect(address).await.is_ok()
}
