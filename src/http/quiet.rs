//! A task that is being polled has no need to be woken by what it does itself.
//!
//! hyper's halves of a connection talk over channels. Where one task polls both of them, each message wakes the task that
//! is running, which is then scheduled and polled once more for nothing: a tenth of what a request costs.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::arrival::SCRATCH_SIZE;

const LOUD: u8 = 0;
const QUIET: u8 = 1;
/// It was called while it was quiet.
const CALLED: u8 = 2;

/// What wakes a task, unless that task is at work.
#[derive(Debug)]
struct Bell {
    waker: Waker,
    state: AtomicU8,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.load(Ordering::Relaxed) == LOUD {
            self.waker.wake_by_ref();
        } else {
            self.state.store(CALLED, Ordering::Relaxed);
        }
    }
}

/// What is known of what there is to read on a [`Patient`] stream, in one poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Inbox {
    /// It has not been asked, or had as much as there was room for.
    #[default]
    Unknown,
    /// It had less than there was room for: nothing more is there, but it does not know whom to wake when something comes.
    Drained,
    /// It had nothing, and wakes the task when something comes.
    Empty,
}

/// The waker that is handed to everything that one task polls together. Lives on one thread with what it is handed to.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    bell: Option<(Arc<Bell>, Waker)>,
    stream: Rc<Stream>,
}

/// What is shared with a [`Patient`] stream.
#[derive(Debug, Default)]
struct Stream {
    inbox: Cell<Inbox>,
    /// The task's own waker: the runtime wakes for a stream when nobody is at work.
    task: RefCell<Option<Waker>>,
}

impl Quiet {
    /// Polls with a waker that is quiet meanwhile. What called it is no reason to poll again if the whole is ready, for
    /// whoever goes on polls again before it waits; otherwise the call is passed on, because not every call is one's own:
    /// the runtime, too, makes a task wait that has done much, and calls it at once. Whoever waits after a read that
    /// emptied the stream is polled again: the stream has to know whom to wake.
    pub(super) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let known = matches!(&self.bell, Some((bell, _)) if bell.waker.will_wake(cx.waker()));
        if !known {
            let bell = Arc::new(Bell { waker: cx.waker().clone(), state: AtomicU8::new(LOUD) });
            self.bell = Some((bell.clone(), Waker::from(bell)));
            *self.stream.task.borrow_mut() = Some(cx.waker().clone());
        }
        let Some((bell, waker)) = &self.bell else { return poll(cx) };
        bell.state.store(QUIET, Ordering::Relaxed);
        let mut cx_within = Context::from_waker(waker);
        let polled = loop {
            self.stream.inbox.set(Inbox::Unknown);
            let polled = poll(&mut cx_within);
            if polled.is_ready() || self.stream.inbox.get() != Inbox::Drained {
                break polled;
            }
        };
        let called = bell.state.swap(LOUD, Ordering::Relaxed) == CALLED;
        if called && polled.is_pending() {
            cx.waker().wake_by_ref();
        }
        polled
    }

    /// Until what this returns is dropped the waker is quiet: for what may call, and is followed by a poll of whoever would
    /// be woken by it.
    pub(super) fn hush(&self) -> Hush<'_> {
        let bell = self.bell.as_ref().map(|(bell, _)| &**bell);
        if let Some(bell) = bell {
            bell.state.store(QUIET, Ordering::Relaxed);
        }
        Hush(bell)
    }
}

/// See [`Quiet::hush`].
#[derive(Debug)]
pub(super) struct Hush<'a>(Option<&'a Bell>);

impl Drop for Hush<'_> {
    fn drop(&mut self) {
        if let Some(bell) = self.0 {
            bell.state.store(LOUD, Ordering::Relaxed);
        }
    }
}

/// A stream that is only polled by what [`Quiet::poll`] calls, and that is asked nothing for nothing.
///
/// hyper asks five times per request whether there is something to read. What was empty stays so until the task is
/// woken: the runtime calls the waker that the first question left behind, and the next poll asks again. After a read that
/// did not fill its buffer nothing is there either; if the response was not whole with it, [`Quiet::poll`] has hyper ask
/// again. And what was not written to need not be flushed.
#[derive(Debug)]
pub(super) struct Patient<S> {
    inner: S,
    shared: Rc<Stream>,
    /// Written to since it was last flushed.
    unflushed: bool,
}

impl<S> Patient<S> {
    /// Wraps a stream that is polled together with everything else that `quiet` polls.
    pub(super) fn new(inner: S, quiet: &Quiet) -> Patient<S> {
        Patient { inner, shared: quiet.stream.clone(), unflushed: true }
    }
}

thread_local! {
    /// What is read into before it goes to hyper, whose buffers have no contents. Not the one of [`super::arrival`], which
    /// may be in use below this.
    static SPACE: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_SIZE].into_boxed_slice());
}

impl<S: AsyncRead + Unpin> Read for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let Patient { inner, shared, .. } = &mut *self;
        if shared.inbox.get() != Inbox::Unknown {
            return Poll::Pending;
        }
        SPACE.with_borrow_mut(|space| {
            let room = buf.remaining().min(space.len());
            let mut read = ReadBuf::new(&mut space[..room]);
            let polled = match &*shared.task.borrow() {
                Some(task) => Pin::new(inner).poll_read(&mut Context::from_waker(task), &mut read),
                None => Pin::new(inner).poll_read(cx, &mut read),
            };
            if polled.is_pending() {
                shared.inbox.set(Inbox::Empty);
                return polled;
            }
            buf.put_slice(read.filled());
            // The end is no such read: hyper asks no more.
            if (1..room).contains(&read.filled().len()) {
                shared.inbox.set(Inbox::Drained);
            }
            polled
        })
    }
}

impl<S: AsyncWrite + Unpin> Write for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.unflushed = true;
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.unflushed = true;
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.unflushed {
            return Poll::Ready(Ok(()));
        }
        let polled = Pin::new(&mut self.inner).poll_flush(cx);
        self.unflushed = !matches!(polled, Poll::Ready(Ok(())));
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn woken(count: &Count) -> usize {
        count.0.load(Ordering::Relaxed)
    }

    #[test]
    fn who_is_ready_is_not_woken_and_who_waits_is_woken_once() {
        let count = Arc::new(Count::default());
        let task = Waker::from(count.clone());
        let (mut quiet, mut cx) = (Quiet::default(), Context::from_waker(&task));
        let call = |cx: &mut Context<'_>| {
            cx.waker().wake_by_ref();
            cx.waker().wake_by_ref();
        };
        let ready = |cx: &mut Context<'_>| {
            call(cx);
            Poll::Ready(())
        };
        assert_eq!(quiet.poll(&mut cx, ready), Poll::Ready(()));
        assert_eq!(woken(&count), 0);
        let waits = |cx: &mut Context<'_>| -> Poll<()> {
            call(cx);
            Poll::Pending
        };
        assert_eq!(quiet.poll(&mut cx, waits), Poll::Pending);
        assert_eq!(woken(&count), 1);
        assert_eq!(quiet.poll(&mut cx, |_| -> Poll<()> { Poll::Pending }), Poll::Pending);
        assert_eq!(woken(&count), 1);
    }

    #[test]
    fn what_calls_between_two_polls_wakes() {
        let count = Arc::new(Count::default());
        let task = Waker::from(count.clone());
        let (mut quiet, mut cx) = (Quiet::default(), Context::from_waker(&task));
        let mut kept = None;
        let keeps = |cx: &mut Context<'_>| -> Poll<()> {
            kept = Some(cx.waker().clone());
            Poll::Pending
        };
        let _ = quiet.poll(&mut cx, keeps);
        let kept = kept.unwrap();
        kept.wake_by_ref();
        assert_eq!(woken(&count), 1);
        {
            let _hushed = quiet.hush();
            kept.wake_by_ref();
        }
        assert_eq!(woken(&count), 1);
        kept.wake();
        assert_eq!(woken(&count), 2);
    }

    #[test]
    fn another_task_gets_a_waker_of_its_own() {
        let counts = [Arc::new(Count::default()), Arc::new(Count::default())];
        let mut quiet = Quiet::default();
        for count in &counts {
            let task = Waker::from(count.clone());
            let waits = |cx: &mut Context<'_>| -> Poll<()> {
                cx.waker().wake_by_ref();
                Poll::Pending
            };
            let _ = quiet.poll(&mut Context::from_waker(&task), waits);
        }
        assert_eq!(counts.each_ref().map(|count| woken(count)), [1, 1]);
    }

    /// Answers questions by a script: so many bytes, or nothing yet.
    struct Scripted(VecDeque<Option<usize>>);

    impl AsyncRead for Scripted {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let Some(Some(bytes)) = self.0.pop_front() else { return Poll::Pending };
            buf.put_slice(&vec![b'x'; bytes]);
            Poll::Ready(Ok(()))
        }
    }

    impl Patient<Scripted> {
        /// What is read into room for eight bytes.
        fn ask(&mut self, cx: &mut Context<'_>) -> Option<usize> {
            let mut space = [0; 8];
            let mut buf = hyper::rt::ReadBuf::new(&mut space);
            Pin::new(self).poll_read(cx, buf.unfilled()).is_ready().then(|| buf.filled().len())
        }
    }

    fn scripted(quiet: &Quiet, script: &[Option<usize>]) -> Patient<Scripted> {
        Patient::new(Scripted(script.iter().copied().collect()), quiet)
    }

    #[test]
    fn a_stream_that_had_nothing_is_asked_again_only_in_the_next_poll() {
        let mut quiet = Quiet::default();
        let mut stream = scripted(&quiet, &[None, None, Some(8), Some(8), None]);
        let mut cx = Context::from_waker(Waker::noop());
        let mut thrice = |quiet: &mut Quiet| {
            quiet.poll(&mut cx, |cx| {
                Poll::Ready(([stream.ask(cx), stream.ask(cx), stream.ask(cx)], stream.inner.0.len()))
            })
        };
        assert_eq!(thrice(&mut quiet), Poll::Ready(([None; 3], 4)));
        assert_eq!(thrice(&mut quiet), Poll::Ready(([None; 3], 3)));
        // A full buffer says nothing of what there is beyond it.
        assert_eq!(thrice(&mut quiet), Poll::Ready(([Some(8), Some(8), None], 0)));
    }

    #[test]
    fn after_a_read_that_emptied_it_a_stream_is_asked_by_whoever_waits_and_by_nobody_else() {
        let mut quiet = Quiet::default();
        let mut stream = scripted(&quiet, &[Some(3), Some(2), None]);
        let mut cx = Context::from_waker(Waker::noop());
        let once = quiet.poll(&mut cx, |cx| Poll::Ready([stream.ask(cx), stream.ask(cx)]));
        assert_eq!(once, Poll::Ready([Some(3), None]));
        assert_eq!(stream.inner.0.len(), 2, "who is ready has not asked in vain");
        // Who waits reads what comes, and in the end the stream has been asked in vain: it knows whom to wake.
        let mut read = Vec::new();
        let waits = quiet.poll(&mut cx, |cx| -> Poll<()> {
            read.extend(stream.ask(cx));
            read.extend(stream.ask(cx));
            Poll::Pending
        });
        assert_eq!((waits, read), (Poll::Pending, vec![2]));
        assert!(stream.inner.0.is_empty());
    }

    #[test]
    fn what_was_not_written_to_is_not_flushed() {
        /// Counts what it is asked to flush; the first time it cannot.
        struct Flushed(usize);
        impl AsyncWrite for Flushed {
            fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                Poll::Ready(Ok(buf.len()))
            }
            fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.0 += 1;
                if self.0 == 1 { Poll::Pending } else { Poll::Ready(Ok(())) }
            }
            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }
        }
        let mut stream = Patient::new(Flushed(0), &Quiet::default());
        let mut cx = Context::from_waker(Waker::noop());
        let mut flush = |stream: &mut Patient<Flushed>| Pin::new(stream).poll_flush(&mut cx).is_ready();
        assert_eq!([flush(&mut stream), flush(&mut stream), flush(&mut stream)], [false, true, true]);
        assert_eq!(stream.inner.0, 2);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut stream).poll_write(&mut cx, b"x").is_ready());
        assert!(Pin::new(&mut stream).poll_flush(&mut cx).is_ready());
        assert!(Pin::new(&mut stream).poll_flush(&mut cx).is_ready());
        assert_eq!(stream.inner.0, 3);
    }
}
