//! Carries the bytes of one connection, with what is wrong with the link. Knows no socket: anything that can be read and
//! written will do, in virtual time, too.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use rand::RngExt as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::faults::{Faults, Passage};

/// Bytes that are carried in one piece at most: the finer, the smoother a small bandwidth.
const PIECE: usize = 16 << 10;
/// Pieces that are under way in one direction of one connection; a sender that is faster has to wait, as on a real link.
const UNDER_WAY: usize = 256;

/// A link: its faults as they are now, and how much of its bandwidth is taken.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) faults: watch::Sender<Faults>,
    /// When the direction to the server, and back, has carried what it has taken on.
    free: [Mutex<Option<Instant>>; 2],
}

/// Which way.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way {
    /// From the client to the server.
    There = 0,
    /// And back.
    Back = 1,
}

/// How carrying ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Both sides said all they had.
    Closed,
    /// The connection is to be reset.
    Reset,
}

impl Link {
    pub(super) fn new(faults: Faults) -> Link {
        Link { faults: watch::Sender::new(faults), free: Default::default() }
    }

    /// When something that is sent now arrives.
    pub(super) fn due(&self) -> Instant {
        let faults = *self.faults.borrow();
        let spread = faults.jitter.as_secs_f64();
        let jitter = if spread > 0.0 { rand::rng().random_range(-spread..=spread) } else { 0.0 };
        Instant::now() + Duration::from_secs_f64((faults.delay.as_secs_f64() + jitter).max(0.0))
    }

    /// Waits while nothing arrives.
    pub(super) async fn open(&self) {
        let mut faults = self.faults.subscribe();
        let _ = faults.wait_for(|faults| faults.passage != Passage::Blackhole).await;
    }

    /// Waits until connections are refused.
    pub(super) async fn refused(&self) {
        let mut faults = self.faults.subscribe();
        let _ = faults.wait_for(|faults| faults.passage == Passage::Refuse).await;
    }

    /// When the link has carried so many bytes more.
    fn carried(&self, way: Way, bytes: usize) -> Instant {
        let now = Instant::now();
        let Some(per_s) = self.faults.borrow().bandwidth else { return now };
        let mut free = self.free[way as usize].lock().unwrap_or_else(PoisonError::into_inner);
        let takes = Duration::from_secs_f64(bytes as f64 / per_s as f64);
        let until = free.map_or(now, |free| free.max(now)) + takes;
        *free = Some(until);
        until
    }
}

/// Carries both ways until both are at their end, or the connection has to be reset.
pub(super) async fn carry<C, S>(client: C, server: S, link: &Link) -> End
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let passed = AtomicU64::new(0);
    let (from_client, to_client) = tokio::io::split(client);
    let (from_server, to_server) = tokio::io::split(server);
    let both = async {
        tokio::try_join!(
            one_way((from_client, to_server), (link, Way::There), &passed),
            one_way((from_server, to_client), (link, Way::Back), &passed),
        )
    };
    tokio::select! {
        done = both => if done.is_ok() { End::Closed } else { End::Reset },
        () = link.refused() => End::Reset,
    }
}

/// The connection has to be reset.
struct Reset;

async fn one_way<R, W>((from, to): (R, W), (link, way): (&Link, Way), passed: &AtomicU64) -> Result<(), Reset>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let (send, arrive) = mpsc::channel(UNDER_WAY);
    let (_, written) = tokio::try_join!(read(from, link, send), write(to, (link, way), arrive, passed))?;
    Ok(written)
}

async fn read<R: AsyncRead + Unpin>(
    mut from: R,
    link: &Link,
    send: mpsc::Sender<(Instant, Bytes)>,
) -> Result<(), Reset> {
    let mut last = Instant::now();
    let mut buffer = vec![0; PIECE];
    loop {
        let n = from.read(&mut buffer).await.map_err(|_gone| Reset)?;
        // Jitter does not put bytes into another order.
        last = link.due().max(last);
        if send.send((last, Bytes::copy_from_slice(&buffer[..n]))).await.is_err() || n == 0 {
            return Ok(());
        }
    }
}

async fn write<W: AsyncWrite + Unpin>(
    mut to: W,
    (link, way): (&Link, Way),
    mut arrive: mpsc::Receiver<(Instant, Bytes)>,
    passed: &AtomicU64,
) -> Result<(), Reset> {
    while let Some((due, bytes)) = arrive.recv().await {
        sleep_until(due).await;
        link.open().await;
        if bytes.is_empty() {
            break;
        }
        sleep_until(link.carried(way, bytes.len())).await;
        link.open().await;
        let n = bytes.len() as u64;
        let before = passed.fetch_add(n, Relaxed);
        let limit = link.faults.borrow().reset_after;
        if let Some(limit) = limit.filter(|limit| before + n > *limit) {
            let rest = usize::try_from(limit.saturating_sub(before)).unwrap_or(usize::MAX).min(bytes.len());
            let _ = to.write_all(&bytes[..rest]).await;
            let _ = to.flush().await;
            return Err(Reset);
        }
        to.write_all(&bytes).await.map_err(|_gone| Reset)?;
        to.flush().await.map_err(|_gone| Reset)?;
    }
    // The other side may have gone already.
    let _ = to.shutdown().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;

    /// A client and a server with such a link between them, and how it ends.
    fn linked(faults: &str) -> (DuplexStream, DuplexStream, std::sync::Arc<Link>, tokio::task::JoinHandle<End>) {
        let link = std::sync::Arc::new(Link::new(faults.parse().unwrap()));
        let ((client, near), (server, far)) = (duplex(1 << 20), duplex(1 << 20));
        let carried = std::sync::Arc::clone(&link);
        let end = tokio::spawn(async move { carry(near, far, &carried).await });
        (client, server, link, end)
    }

    async fn seconds<T>(work: impl Future<Output = T>) -> (f64, T) {
        let began = Instant::now();
        let done = work.await;
        // The runtime's timer counts whole milliseconds.
        ((began.elapsed().as_secs_f64() * 1e3).round() / 1e3, done)
    }

    #[tokio::test(start_paused = true)]
    async fn a_delay_holds_in_each_direction_and_keeps_the_order() {
        let (mut client, mut server, _link, end) = linked("delay 50ms jitter 20ms");
        let mut text = [0; 4];
        let mut all = 0.0;
        for _ in 0..50 {
            client.write_all(b"ping").await.unwrap();
            let (there, _) = seconds(server.read_exact(&mut text)).await;
            assert!((0.029..=0.072).contains(&there), "{there}");
            all += there;
        }
        assert!((0.045..=0.056).contains(&(all / 50.0)), "mean {}", all / 50.0);
        client.write_all(b"1").await.unwrap();
        tokio::task::yield_now().await;
        client.write_all(b"2").await.unwrap();
        let mut two = [0; 2];
        server.read_exact(&mut two).await.unwrap();
        assert_eq!(&two, b"12");
        server.write_all(b"pong").await.unwrap();
        assert!(seconds(client.read_exact(&mut text)).await.0 >= 0.029);
        drop((client, server));
        assert!(matches!(end.await.unwrap(), End::Closed | End::Reset));
    }

    #[tokio::test(start_paused = true)]
    async fn a_bandwidth_is_shared_and_exact() {
        let (mut client, mut server, _link, _end) = linked("bandwidth 100KB");
        client.write_all(&vec![7; 200_000]).await.unwrap();
        let mut all = vec![0; 200_000];
        let (took, _) = seconds(server.read_exact(&mut all)).await;
        assert!((1.98..=2.05).contains(&took), "200 KB at 100 KB/s took {took} s");
        assert!(all.iter().all(|byte| *byte == 7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_reset_after_so_many_bytes_of_both_directions() {
        let (mut client, mut server, _link, end) = linked("reset-after 10");
        client.write_all(b"123456").await.unwrap();
        let mut text = [0; 6];
        server.read_exact(&mut text).await.unwrap();
        server.write_all(b"abcdefgh").await.unwrap();
        let mut back = Vec::new();
        client.read_to_end(&mut back).await.unwrap();
        assert_eq!((back.as_slice(), end.await.unwrap()), (b"abcd".as_slice(), End::Reset));
    }

    #[tokio::test(start_paused = true)]
    async fn what_falls_into_a_black_hole_arrives_when_it_is_over() {
        let (mut client, mut server, link, _end) = linked("blackhole");
        client.write_all(b"late").await.unwrap();
        let mut text = [0; 4];
        let early = tokio::time::timeout(Duration::from_secs(100), server.read_exact(&mut text)).await;
        assert!(early.is_err(), "it arrived");
        link.faults.send_replace(Faults::default());
        server.read_exact(&mut text).await.unwrap();
        assert_eq!(&text, b"late");
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_that_refuses_resets_what_there_is() {
        let (_client, _server, link, end) = linked("clear");
        tokio::task::yield_now().await;
        link.faults.send_replace("refuse".parse().unwrap());
        assert_eq!(end.await.unwrap(), End::Reset);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_one_side_is_told_and_the_other_may_go_on() {
        let (mut client, mut server, _link, end) = linked("clear");
        client.write_all(b"ask").await.unwrap();
        client.shutdown().await.unwrap();
        let mut asked = Vec::new();
        server.read_to_end(&mut asked).await.unwrap();
        server.write_all(b"answer").await.unwrap();
        server.shutdown().await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!((asked.as_slice(), answer.as_slice()), (b"ask".as_slice(), b"answer".as_slice()));
        assert_eq!(end.await.unwrap(), End::Closed);
    }
}
