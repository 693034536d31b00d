//! Opening a connection: TCP, TLS over it, or whatever a test puts in its place.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::HandshakeKind;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::arrival::{Arrival, Arrived, StampsOn, Tcp};
use super::resolve::{Resolver, System};
use super::tls::{self, ALPN_HTTP2};
use super::tunnel;
use crate::connection_options::{ConnectionOptions, Credentials, Http2};
use crate::outcome::ErrorKind;

/// An open connection and what opening it took.
#[derive(Debug)]
pub struct Dialled<S> {
    /// The stream.
    pub stream: S,
    /// TCP connect.
    pub connecting: Duration,
    /// TLS handshake; zero without TLS.
    pub tls_handshaking: Duration,
    /// The handshake resumed an earlier one.
    pub resumed: bool,
    /// HTTP/2 is spoken on it.
    pub http2: bool,
}

impl<S> Dialled<S> {
    /// A stream that took no time to open, and speaks HTTP/1.1: in memory.
    pub fn at_once(stream: S) -> Dialled<S> {
        let none = Duration::ZERO;
        Dialled { stream, connecting: none, tls_handshaking: none, resumed: false, http2: false }
    }
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

    /// Opens one connection, for VU number `vu` (from 0).
    fn dial(&self, vu: u32) -> impl Future<Output = Result<Dialled<Self::Stream>, DialFault>>;

    /// Opens one that another protocol takes over after an HTTP/1.1 request: never HTTP/2, and where there is a proxy
    /// always through a tunnel (RFC 6455 §4.1).
    fn dial_upgrade(&self, vu: u32) -> impl Future<Output = Result<Dialled<Self::Stream>, DialFault>> {
        self.dial(vu)
    }
}

/// TCP or TLS to one host, directly or through a proxy.
pub struct NetDial {
    resolver: Resolver<System>,
    tls: Option<(Arc<rustls::ClientConfig>, ServerName<'static>)>,
    /// The TLS of each VU, where sessions are resumed; of its upgrades, where those need another one.
    own_tls: RefCell<HashMap<(u32, bool), Arc<rustls::ClientConfig>>>,
    /// TLS that offers HTTP/1.1 only, once it was needed.
    upgrade_tls: OnceCell<Arc<rustls::ClientConfig>>,
    options: ConnectionOptions,
    /// What asks the proxy for a tunnel.
    tunnel: Option<Vec<u8>>,
    /// Plain http goes to the proxy itself: only what is upgraded has a tunnel.
    tunnels_upgrades_only: bool,
    /// Whether the kernel is asked when bytes arrived.
    stamps: Option<StampsOn>,
}

impl NetDial {
    /// Plain TCP to `host:port`, or TLS where `tls` says how a certificate is verified; all else as by default.
    ///
    /// # Errors
    /// Where the host cannot be named in a certificate.
    pub fn new(host: &str, port: u16, tls: Option<Arc<rustls::ClientConfig>>) -> Result<NetDial, DialFault> {
        NetDial::with_options((host, port), tls, &ConnectionOptions::default(), None, 0)
    }

    /// To a host (in brackets, where it is an IPv6 address) and port, as `options` say. `credentials` are those at the
    /// proxy, `seed` that of chosen addresses.
    ///
    /// # Errors
    /// Where the host cannot be named in a certificate.
    pub fn with_options(
        (host, port): (&str, u16),
        tls: Option<Arc<rustls::ClientConfig>>,
        options: &ConnectionOptions,
        credentials: Option<&Credentials>,
        seed: u64,
    ) -> Result<NetDial, DialFault> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let named = |config| match ServerName::try_from(bare.to_owned()) {
            Ok(name) => Ok((config, name)),
            Err(e) => Err(DialFault { kind: ErrorKind::TlsHostname, detail: e.to_string() }),
        };
        let tls = tls.map(named).transpose()?;
        let (to, tunnel) = match &options.proxy {
            None => ((bare, port), None),
            Some(proxy) => {
                let tunnel = tunnel::request(host, port, credentials);
                ((proxy.host.as_str(), proxy.port), Some(tunnel))
            }
        };
        Ok(NetDial {
            resolver: Resolver::new(to.0, to.1, options, seed, System),
            tunnels_upgrades_only: tls.is_none(),
            tls,
            own_tls: RefCell::default(),
            upgrade_tls: OnceCell::new(),
            options: options.clone(),
            tunnel,
            stamps: None,
        })
    }

    /// Asks the kernel when the bytes that are read arrived. To be called some time before the first connection.
    #[must_use]
    pub fn with_kernel_timestamps(mut self) -> NetDial {
        self.stamps = Some(StampsOn::new());
        self
    }

    /// TCP to one of the addresses, from the VU's own local one where there are any.
    async fn connect(&self, addresses: &[SocketAddr], source: Option<IpAddr>) -> Result<TcpStream, DialFault> {
        let mut last = io::Error::other("no address");
        for address in addresses {
            match connect_from(*address, source).await {
                Ok(stream) => return Ok(stream),
                Err(e) => last = e,
            }
        }
        self.resolver.forget();
        Err(fault(connect_kind(&last), &last))
    }

    /// How a VU speaks TLS.
    fn tls_of(&self, config: &Arc<rustls::ClientConfig>, vu: u32, upgrade: bool) -> Arc<rustls::ClientConfig> {
        let upgrade = upgrade && config.alpn_protocols.iter().any(|name| name == ALPN_HTTP2);
        let config = if upgrade { self.upgrade_tls.get_or_init(|| tls::only_http1(config)) } else { config };
        if !self.options.tls_resumption {
            return config.clone();
        }
        self.own_tls.borrow_mut().entry((vu, upgrade)).or_insert_with(|| tls::resuming(config)).clone()
    }

    async fn open(&self, vu: u32, upgrade: bool) -> Result<Dialled<NetStream>, DialFault> {
        let source = self.options.local_ips.of(vu);
        let addresses = self.resolver.choose(source).await?;
        let began = Instant::now();
        let stream = self.connect(&addresses, source).await?;
        // Small requests must not wait for the peer's delayed ACK.
        let _ = stream.set_nodelay(true);
        let connecting = began.elapsed();
        let mut stream = Tcp::new(stream, self.stamps.is_some());
        if let Some(request) = self.tunnel.as_ref().filter(|_| upgrade || !self.tunnels_upgrades_only) {
            tunnel::open(&mut stream, request).await?;
        }
        let known = self.options.http2 == Http2::PriorKnowledge && !upgrade;
        let Some((config, name)) = &self.tls else {
            let dialled = Dialled::at_once(NetStream::Plain(stream));
            return Ok(Dialled { connecting, http2: known, ..dialled });
        };
        let began = Instant::now();
        let stream = TlsConnector::from(self.tls_of(config, vu, upgrade)).connect(name.clone(), stream).await;
        let stream = stream.map_err(|e| fault(tls_kind(&e), &e))?;
        let session = stream.get_ref().1;
        let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
        let http2 = known || session.alpn_protocol() == Some(ALPN_HTTP2);
        let stream = NetStream::Tls(Box::new(stream));
        Ok(Dialled { stream, connecting, tls_handshaking: began.elapsed(), resumed, http2 })
    }
}

async fn connect_from(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let Some(source) = source else { return TcpStream::connect(address).await };
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    late_port(&socket);
    socket.bind(SocketAddr::new(source, 0))?;
    socket.connect(address).await
}

/// Lets the kernel choose the port when it knows where the connection goes: ports are then shared between servers.
#[cfg(target_os = "linux")]
fn late_port(socket: &TcpSocket) {
    // Without it there are fewer ports, and nothing else.
    let _ = nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::IpBindAddressNoPort, &true);
}

#[cfg(not(target_os = "linux"))]
fn late_port(_socket: &TcpSocket) {}

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

#[cfg(test)]
#[test]
fn files_and_ports_are_told_by_what_the_system_says() {
    use rustix::io::Errno;
    let kind = |errno: Errno| connect_kind(&io::Error::from_raw_os_error(errno.raw_os_error()));
    assert_eq!([Errno::MFILE, Errno::NFILE].map(kind), [ErrorKind::Descriptors; 2]);
    assert_eq!(kind(Errno::ADDRNOTAVAIL), ErrorKind::Ports);
    assert_eq!([Errno::CONNREFUSED, Errno::CONNRESET].map(kind), [ErrorKind::Refused, ErrorKind::Reset]);
    assert_eq!([Errno::TIMEDOUT, Errno::HOSTUNREACH].map(kind), [ErrorKind::ConnectTimeout, ErrorKind::Connect]);
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

    async fn dial(&self, vu: u32) -> Result<Dialled<NetStream>, DialFault> {
        self.open(vu, false).await
    }

    async fn dial_upgrade(&self, vu: u32) -> Result<Dialled<NetStream>, DialFault> {
        self.open(vu, true).await
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
