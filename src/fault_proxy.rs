//! A proxy for TCP that does to a link what networks do: delay with jitter, a bandwidth, resets, a black hole, refusal.
//!
//! It needs no rights, and its faults can be changed while it runs. Knows nothing of what passes.

mod faults;
mod pump;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::sleep_until;

pub use faults::{Faults, Passage};
use pump::{End, Link, carry};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;
/// How long to wait before listening or accepting is tried again.
const RETRY: Duration = Duration::from_millis(20);

/// A proxy that runs until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    link: Arc<Link>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Listens, and connects whoever comes to `to`. Port 0 is any free one.
    ///
    /// # Errors
    /// Where the address cannot be listened on.
    pub async fn start(listen: SocketAddr, to: SocketAddr, faults: Faults) -> io::Result<Proxy> {
        let listener = bind(listen)?;
        let address = listener.local_addr()?;
        let link = Arc::new(Link::new(faults));
        let task = tokio::spawn(serve(listener, address, to, Arc::clone(&link)));
        Ok(Proxy { address, link, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What is wrong with the link from now on.
    pub fn set(&self, faults: Faults) {
        self.link.faults.send_replace(faults);
    }

    /// What is wrong with it.
    #[must_use]
    pub fn faults(&self) -> Faults {
        *self.link.faults.borrow()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        // Connections that are open end as if the link was cut.
        self.link.faults.send_replace(Faults { passage: Passage::Refuse, ..Faults::default() });
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // The port is ours again after a refusal.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn serve(first: TcpListener, address: SocketAddr, to: SocketAddr, link: Arc<Link>) {
    let mut listening = Some(first);
    loop {
        let open = |faults: &Faults| faults.passage != Passage::Refuse;
        if listening.is_none() && link.faults.subscribe().wait_for(open).await.is_err() {
            return;
        }
        let listener = match listening.take().map_or_else(|| bind(address), Ok) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::warn!("cannot listen on {address} again: {error}");
                tokio::time::sleep(RETRY).await;
                continue;
            }
        };
        tokio::select! {
            () = accept(&listener, to, &link) => {}
            () = link.refused() => {}
        }
    }
}

async fn accept(listener: &TcpListener, to: SocketAddr, link: &Arc<Link>) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                tokio::spawn(connection(client, to, Arc::clone(link)));
            }
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

async fn connection(mut client: TcpStream, to: SocketAddr, link: Arc<Link>) {
    let reached = async {
        sleep_until(link.due()).await;
        link.open().await;
        TcpStream::connect(to).await
    };
    let reached = tokio::select! {
        reached = reached => reached,
        () = link.refused() => Err(io::ErrorKind::ConnectionRefused.into()),
    };
    let Ok(mut server) = reached else {
        reset(&client);
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    if carry(&mut client, &mut server, &link).await == End::Reset {
        reset(&client);
        reset(&server);
    }
}

/// Has a connection end with a reset.
fn reset(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    /// A server that says back what it hears.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind(HERE).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        address
    }

    async fn says_back(stream: &mut TcpStream) -> io::Result<()> {
        stream.write_all(b"hello").await?;
        let mut back = [0; 5];
        stream.read_exact(&mut back).await.map(|_| assert_eq!(&back, b"hello"))
    }

    #[tokio::test]
    async fn a_real_link_is_cut_and_comes_back() {
        let proxy = Proxy::start(HERE, echo().await, Faults::default()).await.unwrap();
        let mut kept = TcpStream::connect(proxy.address()).await.unwrap();
        says_back(&mut kept).await.unwrap();
        proxy.set("refuse".parse().unwrap());
        let end = kept.read_u8().await.unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::ConnectionReset);
        // The listener is gone a moment later.
        while let Ok(mut slipped) = TcpStream::connect(proxy.address()).await {
            assert!(says_back(&mut slipped).await.is_err());
        }
        proxy.set(Faults::default());
        let mut again = loop {
            match TcpStream::connect(proxy.address()).await {
                Ok(stream) => break stream,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        says_back(&mut again).await.unwrap();
    }

    #[tokio::test]
    async fn nobody_behind_it_is_a_reset() {
        let nobody = TcpListener::bind(HERE).await.unwrap().local_addr().unwrap();
        let proxy = Proxy::start(HERE, nobody, Faults::default()).await.unwrap();
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(says_back(&mut stream).await.is_err());
    }
}
