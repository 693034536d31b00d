//! Opening a connection: TCP, TLS over it, or whatever a test puts in its place.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::arrival::{Arrival, Arrived, StampsOn, Tcp};
use crate::outcome::ErrorKind;

/// How long a looked-up name is used, as in k6 (`dns.ttl`).
const NAME_TTL: Duration = Duration::from_secs(300);

/// An open connection and what opening it took.
#[derive(Debug)]
pub struct Dialled<S> {
    /// The stream.
    pub stream: S,
    /// TCP connect.
    pub connecting: Duration,
    /// TLS handshake; zero without TLS.
    pub tls_handshaking: Duration,
}

/// A connection that could not be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialFault {
    /// Its class.
    pub kind: ErrorKind,
    /// What the system said, for the log; holds nothing that a server chose.
    pub detail: String,
}

/// Opens connections to the one place that a run talks to. One per worker, shared by its VUs.
pub trait Dial: 'static {
    /// What it opens.
    type Stream: AsyncRead + AsyncWrite + Arrival + Unpin + 'static;

    /// Opens one connection.
    fn dial(&self) -> impl Future<Output = Result<Dialled<Self::Stream>, DialFault>>;
}

/// TCP or TLS to one host.
pub struct NetDial {
    host: String,
    port: u16,
    tls: Option<(Arc<rustls::ClientConfig>, ServerName<'static>)>,
    resolved: RefCell<Option<(Instant, Vec<SocketAddr>)>>,
    /// Whether the kernel is asked when bytes arrived.
    stamps: Option<StampsOn>,
}

impl NetDial {
    /// Plain TCP to `host:port`, or TLS where `tls` says how a certificate is verified.
    ///
    /// # Errors
    /// Where the host cannot be named in a certificate.
    pub fn new(host: &str, port: u16, tls: Option<Arc<rustls::ClientConfig>>) -> Result<NetDial, DialFault> {
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let named = |config| match ServerName::try_from(host.clone()) {
            Ok(name) => Ok((config, name)),
            Err(e) => Err(DialFault { kind: ErrorKind::TlsHostname, detail: e.to_string() }),
        };
        let tls = tls.map(named).transpose()?;
        Ok(NetDial { host, port, tls, resolved: RefCell::new(None), stamps: None })
    }

    /// Asks the kernel when the bytes that are read arrived. To be called some time before the first connection.
    #[must_use]
    pub fn with_kernel_timestamps(mut self) -> NetDial {
        self.stamps = Some(StampsOn::new());
        self
    }

    async fn addresses(&self) -> Result<Vec<SocketAddr>, DialFault> {
        if let Some((at, known)) = self.resolved.borrow().as_ref()
            && at.elapsed() < NAME_TTL
        {
            return Ok(known.clone());
        }
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        let found: Vec<SocketAddr> = found.map_err(|e| fault(ErrorKind::Dns, &e))?.collect();
        if found.is_empty() {
            return Err(DialFault { kind: ErrorKind::Dns, detail: "no address".to_owned() });
        }
        *self.resolved.borrow_mut() = Some((Instant::now(), found.clone()));
        Ok(found)
    }
}

fn fault(kind: ErrorKind, error: &io::Error) -> DialFault {
    DialFault { kind, detail: error.to_string() }
}

/// The class of a failed `connect`.
fn connect_kind(error: &io::Error) -> ErrorKind {
    // EMFILE and ENFILE: this process's or this machine's files; EADDRNOTAVAIL: its ports. Both are the generator's.
    match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE) => ErrorKind::Descriptors,
        Some(rustix::io::Errno::ADDRNOTAVAIL) => ErrorKind::Ports,
        _ => match error.kind() {
            io::ErrorKind::ConnectionRefused => ErrorKind::Refused,
            io::ErrorKind::TimedOut => ErrorKind::ConnectTimeout,
            io::ErrorKind::ConnectionReset => ErrorKind::Reset,
            _ => ErrorKind::Connect,
        },
    }
}

/// The class of a failed handshake.
fn tls_kind(error: &io::Error) -> ErrorKind {
    use rustls::CertificateError::{NotValidForName, NotValidForNameContext, UnknownIssuer};
    let inner = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(UnknownIssuer)) => ErrorKind::TlsUnknownAuthority,
        Some(rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. })) => {
            ErrorKind::TlsHostname
        }
        Some(_) => ErrorKind::Tls,
        None if error.kind() == io::ErrorKind::ConnectionReset => ErrorKind::Reset,
        None => ErrorKind::Tls,
    }
}

impl Dial for NetDial {
    type Stream = NetStream;

    async fn dial(&self) -> Result<Dialled<NetStream>, DialFault> {
        let addresses = self.addresses().await?;
        let began = Instant::now();
        let mut last = None;
        let mut connected = None;
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    connected = Some(stream);
                    break;
                }
                Err(e) => last = Some(e),
            }
        }
        let Some(stream) = connected else {
            *self.resolved.borrow_mut() = None;
            let error = last.unwrap_or_else(|| io::Error::other("no address"));
            return Err(fault(connect_kind(&error), &error));
        };
        // Small requests must not wait for the peer's delayed ACK.
        let _ = stream.set_nodelay(true);
        let connecting = began.elapsed();
        let stream = Tcp::new(stream, self.stamps.is_some());
        let Some((config, name)) = &self.tls else {
            return Ok(Dialled { stream: NetStream::Plain(stream), connecting, tls_handshaking: Duration::ZERO });
        };
        let began = Instant::now();
        let stream = TlsConnector::from(config.clone()).connect(name.clone(), stream).await;
        let stream = stream.map_err(|e| fault(tls_kind(&e), &e))?;
        Ok(Dialled { stream: NetStream::Tls(Box::new(stream)), connecting, tls_handshaking: began.elapsed() })
    }
}

/// A TCP stream, plain or with TLS on it.
#[derive(Debug)]
pub enum NetStream {
    /// TCP.
    Plain(Tcp),
    /// TLS over TCP; boxed, because its buffers would make every plain VU pay for them.
    Tls(Box<TlsStream<Tcp>>),
}

impl Arrival for NetStream {
    fn arrived(&self) -> Arrived {
        match self {
            NetStream::Plain(s) => s.arrived(),
            NetStream::Tls(s) => s.arrived(),
        }
    }
}

impl AsyncRead for NetStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            NetStream::Plain(s) => Pin::new(s).poll_read(cx, buf),
            NetStream::Tls(s) => Pin::new(s).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for NetStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            NetStream::Plain(s) => Pin::new(s).poll_write(cx, buf),
            NetStream::Tls(s) => Pin::new(s).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            NetStream::Plain(s) => Pin::new(s).poll_write_vectored(cx, bufs),
            NetStream::Tls(s) => Pin::new(s).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            NetStream::Plain(s) => s.is_write_vectored(),
            NetStream::Tls(s) => s.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            NetStream::Plain(s) => Pin::new(s).poll_flush(cx),
            NetStream::Tls(s) => Pin::new(s).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            NetStream::Plain(s) => Pin::new(s).poll_shutdown(cx),
            NetStream::Tls(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
}
