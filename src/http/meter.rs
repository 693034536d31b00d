//! A stream that notes what the phases of a request are made of: bytes in and out, the last write, the first read.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::arrival::{Arrival, Arrived};

/// What a [`Metered`] stream noted. Shared with the VU that owns the connection; both live on one thread.
#[derive(Debug, Default)]
pub struct Marks {
    /// Bytes read so far.
    pub bytes_in: Cell<u64>,
    /// Bytes written so far.
    pub bytes_out: Cell<u64>,
    /// When bytes were last written since [`Marks::arm`].
    pub last_write: Cell<Option<Instant>>,
    /// When the first bytes were read since [`Marks::arm`].
    pub first_read: Cell<Option<Instant>>,
    /// When bytes, or their end, were last read since [`Marks::arm`].
    pub last_read: Cell<Option<Instant>>,
    /// How long what was last read had waited in the kernel, since [`Marks::arm`].
    pub delay: Cell<Option<Duration>>,
    /// Reads since [`Marks::arm`] for which the kernel should have told when they came, and did not.
    pub unstamped: Cell<u64>,
}

impl Marks {
    /// Forgets the times, before a new request.
    pub fn arm(&self) {
        self.last_write.set(None);
        self.first_read.set(None);
        self.last_read.set(None);
        self.delay.set(None);
        self.unstamped.set(0);
    }
}

/// A stream with [`Marks`].
#[derive(Debug)]
pub struct Metered<S> {
    inner: S,
    marks: Rc<Marks>,
}

impl<S> Metered<S> {
    /// Wraps a stream.
    pub fn new(inner: S, marks: Rc<Marks>) -> Metered<S> {
        Metered { inner, marks }
    }
}

impl<S: AsyncRead + Arrival + Unpin> AsyncRead for Metered<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        let read = buf.filled().len() - before;
        if polled.is_ready() {
            self.marks.last_read.set(Some(Instant::now()));
        }
        if read > 0 {
            self.marks.bytes_in.set(self.marks.bytes_in.get() + read as u64);
            if self.marks.first_read.get().is_none() {
                self.marks.first_read.set(self.marks.last_read.get());
            }
            match self.inner.arrived() {
                Arrived::Unknown => {}
                Arrived::Unstamped => self.marks.unstamped.set(self.marks.unstamped.get() + 1),
                Arrived::Before(delay) => self.marks.delay.set(Some(delay)),
            }
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> Metered<S> {
    fn wrote(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(written @ 1..)) = polled {
            self.marks.bytes_out.set(self.marks.bytes_out.get() + written as u64);
            self.marks.last_write.set(Some(Instant::now()));
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.wrote(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.wrote(polled)
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
