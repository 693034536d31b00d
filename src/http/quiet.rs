//! A task that is being polled has no need to be woken by what it does itself.
//!
//! hyper's halves of a connection talk over channels. Where one task polls both of them, each message wakes the task that
//! is running, which is then scheduled and polled once more for nothing: a tenth of what a request costs.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

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

/// The waker that is handed to everything that one task polls together. Lives on one thread with what it is handed to.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    bell: Option<(Arc<Bell>, Waker)>,
    /// Whether the [`Patient`] stream had nothing to read in this poll.
    empty: Rc<Cell<bool>>,
}

impl Quiet {
    /// Polls with a waker that is quiet meanwhile. What called it is no reason to poll again if the whole is ready, for
    /// whoever goes on polls again before it waits; otherwise the call is passed on, because not every call is one's own:
    /// the runtime, too, makes a task wait that has done much, and calls it at once.
    pub(super) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.empty.set(false);
        let known = matches!(&self.bell, Some((bell, _)) if bell.waker.will_wake(cx.waker()));
        if !known {
            let bell = Arc::new(Bell { waker: cx.waker().clone(), state: AtomicU8::new(LOUD) });
            self.bell = Some((bell.clone(), Waker::from(bell)));
        }
        let Some((bell, waker)) = &self.bell else { return polled(cx) };
        bell.state.store(QUIET, Ordering::Relaxed);
        let polled = polled(&mut Context::from_waker(waker));
        let called = bell.state.swap(LOUD, Ordering::Relaxed) == CALLED;
        if called && polled.is_pending() {
            cx.waker().wake_by_ref();
        }
        polled
    }

    /// Does what may call, and is followed by a poll of whoever would be woken by it.
    pub(super) fn before_poll<T>(&self, act: impl FnOnce() -> T) -> T {
        let Some((bell, _)) = &self.bell else { return act() };
        bell.state.store(QUIET, Ordering::Relaxed);
        let done = act();
        bell.state.store(LOUD, Ordering::Relaxed);
        done
    }
}

/// A stream that is only polled by what [`Quiet::poll`] calls, and that is asked once in each such poll.
///
/// hyper asks up to three times whether there is something to read. What was empty stays so until the task is woken: the
/// runtime calls the waker that the first question left behind, and the next poll asks again.
#[derive(Debug)]
pub(super) struct Patient<S> {
    inner: S,
    empty: Rc<Cell<bool>>,
}

impl<S> Patient<S> {
    /// Wraps a stream that is polled together with everything else that `quiet` polls.
    pub(super) fn new(inner: S, quiet: &Quiet) -> Patient<S> {
        Patient { inner, empty: quiet.empty.clone() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.empty.get() {
            return Poll::Pending;
        }
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.empty.set(polled.is_pending());
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
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

#[cfg(test)]
mod tests {
    use super::*;
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
        quiet.before_poll(|| kept.wake_by_ref());
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

    #[test]
    fn a_stream_is_asked_once_in_a_poll_and_again_in_the_next() {
        struct Asked(usize);
        impl AsyncRead for Asked {
            fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
                self.0 += 1;
                // Something comes before the third question.
                if self.0 < 3 {
                    return Poll::Pending;
                }
                buf.put_slice(b"x");
                Poll::Ready(Ok(()))
            }
        }
        let mut quiet = Quiet::default();
        let mut stream = Patient::new(Asked(0), &quiet);
        let mut cx = Context::from_waker(Waker::noop());
        let mut thrice = |quiet: &mut Quiet| {
            quiet.poll(&mut cx, |cx| {
                let mut space = [0; 8];
                let mut ask = || Pin::new(&mut stream).poll_read(cx, &mut ReadBuf::new(&mut space)).is_ready();
                Poll::Ready(([ask(), ask(), ask()], stream.inner.0))
            })
        };
        assert_eq!(thrice(&mut quiet), Poll::Ready(([false; 3], 1)));
        assert_eq!(thrice(&mut quiet), Poll::Ready(([false; 3], 2)));
        assert_eq!(thrice(&mut quiet), Poll::Ready(([true; 3], 5)));
    }
}
