//! When bytes arrived: the kernel's own time of receipt, where it can be had.
//!
//! A response that waits in this machine because the generator is busy looks like a slow server. On Linux the kernel
//! stamps every segment when it comes (`SO_TIMESTAMPNS`); the time from there to our reading it is the error that we
//! make ourselves. Under TLS it is the stamp of the last segment that was read.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// What is known of when the bytes of the last read arrived.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Arrived {
    /// Nobody stamps: not Linux, not a socket, or not wanted.
    #[default]
    Unknown,
    /// The kernel was asked and did not say.
    Unstamped,
    /// So long before they were read.
    Before(Duration),
}

/// A stream that may know when its bytes arrived.
pub trait Arrival {
    /// Of the last read that returned bytes.
    fn arrived(&self) -> Arrived {
        Arrived::Unknown
    }
}

/// In memory nothing arrives.
impl Arrival for DuplexStream {}

impl<S: Arrival> Arrival for TlsStream<S> {
    fn arrived(&self) -> Arrived {
        self.get_ref().0.arrived()
    }
}

/// A TCP stream, with the kernel's times of receipt where they are wanted and can be had.
#[derive(Debug)]
pub struct Tcp {
    inner: TcpStream,
    stamped: bool,
    arrived: Arrived,
}

impl Tcp {
    /// Wraps a connected stream.
    #[must_use]
    pub fn new(inner: TcpStream, stamped: bool) -> Tcp {
        let stamped = stamped && kernel::ask(&inner);
        Tcp { inner, stamped, arrived: Arrived::Unknown }
    }

    /// Reads until the socket has nothing more, or the buffer is full: then nobody has to ask the kernel in vain.
    ///
    /// Into a buffer of the thread's, because the kernel's interface wants one that has contents, and giving contents
    /// to kilobytes for each response costs more than copying the few hundred bytes that come.
    fn poll_stamped(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            std::task::ready!(self.inner.poll_read_ready(cx))?;
            let (read, tried) = if buf.initialized().len() == buf.capacity() {
                let (read, tried) = self.receive(buf.initialize_unfilled());
                buf.advance(read.map_or(0, |(bytes, _)| bytes));
                (read, tried)
            } else {
                SCRATCH.with_borrow_mut(|scratch| {
                    let most = buf.remaining().min(scratch.len());
                    let (read, tried) = self.receive(&mut scratch[..most]);
                    buf.put_slice(&scratch[..read.map_or(0, |(bytes, _)| bytes)]);
                    (read, tried)
                })
            };
            match (read, tried) {
                (Some((_, arrived)), _) => {
                    self.arrived = arrived;
                    return Poll::Ready(Ok(()));
                }
                (None, Err(e)) if e.kind() != io::ErrorKind::WouldBlock => return Poll::Ready(Err(e)),
                (None, _) => {}
            }
        }
    }

    /// What was read, and what the runtime makes of it.
    fn receive(&self, space: &mut [u8]) -> (Option<(usize, Arrived)>, io::Result<()>) {
        let (full, mut read) = (space.len(), None);
        let tried = self.inner.try_io(tokio::io::Interest::READABLE, || {
            let (bytes, arrived) = kernel::receive(&self.inner, space)?;
            read = Some((bytes, arrived));
            // A short read has emptied the socket; said like this, the next poll waits instead of trying.
            if bytes > 0 && bytes < full { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        (read, tried)
    }
}

/// Most that is read at once into a buffer without contents.
pub(super) const SCRATCH_SIZE: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_SIZE].into_boxed_slice());
}

impl Arrival for Tcp {
    fn arrived(&self) -> Arrived {
        self.arrived
    }
}

impl AsyncRead for Tcp {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.stamped { self.poll_stamped(cx, buf) } else { Pin::new(&mut self.inner).poll_read(cx, buf) }
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        kernel::poll_write(&mut self.inner, cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match bufs {
            [one] => kernel::poll_write(&mut self.inner, cx, one),
            several => Pin::new(&mut self.inner).poll_write_vectored(cx, several),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Keeps the kernel's stamping switched on.
///
/// The kernel switches it on some time after the first socket asks for it, and off after the last one is gone; until
/// then segments come without a stamp. So one socket asks before the first connection is opened, and stays.
#[derive(Debug, Default)]
pub struct StampsOn {
    _socket: Option<std::net::UdpSocket>,
}

impl StampsOn {
    /// Switches it on, where that is possible.
    #[must_use]
    pub fn new() -> StampsOn {
        let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0)).ok();
        StampsOn { _socket: socket.filter(kernel::ask) }
    }
}

#[cfg(target_os = "linux")]
mod kernel {
    use std::io::{self, IoSliceMut};
    use std::os::fd::{AsFd, AsRawFd};
    use std::task::{Context, Poll, ready};
    use std::time::Duration;

    use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
    use rustix::net::{SendFlags, send};
    use rustix::time::{ClockId, clock_gettime};
    use tokio::io::Interest;
    use tokio::net::TcpStream;

    use super::Arrived;

    /// Room for one time stamp, aligned as the kernel writes it.
    #[repr(align(8))]
    struct Control([u8; 64]);

    /// Asks for stamps on a socket; whether it will get them.
    pub(super) fn ask(socket: &impl AsFd) -> bool {
        setsockopt(socket, sockopt::ReceiveTimestampns, &true).is_ok()
    }

    /// Writes without libc, in which a thread can be cancelled while it sends: of a small request that is a fiftieth.
    pub(super) fn poll_write(socket: &mut TcpStream, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            // Tried before it is asked for: there nearly always is room.
            match socket.try_io(Interest::WRITABLE, || Ok(send(&*socket, bytes, SendFlags::NOSIGNAL)?)) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => ready!(socket.poll_write_ready(cx))?,
                wrote => return Poll::Ready(wrote),
            }
        }
    }

    /// Reads what is there, and how long it has been there.
    pub(super) fn receive(socket: &impl AsRawFd, space: &mut [u8]) -> io::Result<(usize, Arrived)> {
        let mut control = Control([0; 64]);
        let mut slices = [IoSliceMut::new(space)];
        let message = recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut control.0), MsgFlags::empty())?;
        let stamp = message.cmsgs().ok().and_then(|mut messages| {
            messages.find_map(|m| if let ControlMessageOwned::ScmTimestampns(at) = m { Some(at) } else { None })
        });
        let arrived = stamp.map_or(Arrived::Unstamped, |at| {
            let now = clock_gettime(ClockId::Realtime);
            let nanos = (now.tv_sec - at.tv_sec()) * 1_000_000_000 + (now.tv_nsec - at.tv_nsec());
            Arrived::Before(Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)))
        });
        Ok((message.bytes, arrived))
    }
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::AsyncWrite as _;
    use tokio::net::TcpStream;

    use super::Arrived;

    pub(super) fn ask<S>(_socket: &S) -> bool {
        false
    }

    pub(super) fn poll_write(socket: &mut TcpStream, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(socket).poll_write(cx, bytes)
    }

    pub(super) fn receive(socket: &TcpStream, space: &mut [u8]) -> io::Result<(usize, Arrived)> {
        socket.try_read(space).map(|bytes| (bytes, Arrived::Unknown))
    }
}
