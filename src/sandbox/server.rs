//! The door: accepts connections, speaks HTTP/1.1 on them, and makes the faults happen at their time.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::TryFutureExt as _;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::capacity::NodeGone;
use super::cluster::Cluster;
use super::content;
use super::faults::{Restart, Stall};
use super::follow::follow;
use super::launcher::Tunnel;
use super::node::Node;
use super::sockets::Accepted;

/// How long to wait before accepting again when the process has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// How long a client may go on sending what was refused, until its connection is closed all the same.
const LINGER: Duration = Duration::from_secs(5);

/// Accepts and answers, for ever.
pub(super) async fn serve(listener: TcpListener, cluster: Arc<Cluster>) {
    for member in &cluster.members {
        let node = Arc::clone(&member.node);
        tokio::spawn(async move { node.capacity.run().await });
        let node = Arc::clone(&member.node);
        tokio::spawn(async move { content::warm_all(&node).await });
    }
    let checked = Arc::clone(&cluster);
    tokio::spawn(async move { checked.check_health().await });
    tokio::spawn(follow(Arc::clone(&cluster)));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(connection(stream, Arc::clone(&cluster)));
            }
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Starts what the configured faults do in time.
pub(super) fn start_faults(cluster: &Cluster) {
    let nodes = cluster.members.len();
    for member in &cluster.members {
        let node = &member.node;
        let faults = &node.shared.config.faults;
        if let Some(stall) = faults.stall {
            tokio::spawn(stalls(Arc::clone(node), stall, nodes));
        }
        for restart in faults.restarts.iter().filter(|restart| restart.node == node.index) {
            tokio::spawn(goes_away(Arc::clone(node), *restart));
        }
    }
}

/// The nodes in turn: node k of n is k/n of a period behind the first.
async fn stalls(node: Arc<Node>, stall: Stall, nodes: usize) {
    tokio::time::sleep(stall.every.mul_f64(node.index as f64 / nodes as f64)).await;
    loop {
        tokio::time::sleep(stall.every.saturating_sub(stall.lasts)).await;
        node.stall(true);
        tokio::time::sleep(stall.lasts).await;
        node.stall(false);
    }
}

async fn goes_away(node: Arc<Node>, restart: Restart) {
    tokio::time::sleep(restart.at).await;
    tracing::warn!("fault: {} goes away for {:?}", node.hostname, restart.down);
    node.go_down();
    tokio::time::sleep(restart.down).await;
    node.come_up();
    tracing::warn!("fault: {} is back", node.hostname);
}

/// What has a connection once HTTP is done with it.
enum TakesOver {
    /// A simulated application.
    Simulated(Accepted),
    /// A real process.
    Process(Tunnel),
}

async fn connection(stream: TcpStream, cluster: Arc<Cluster>) {
    let _ = stream.set_nodelay(true);
    let only_node = cluster.only_node().cloned();
    if only_node.as_ref().is_some_and(|node| !node.is_up()) {
        reset(&stream);
        return;
    }
    let accepted: Arc<Mutex<Option<TakesOver>>> = Arc::default();
    let takes_over = Arc::clone(&accepted);
    let service = service_fn(move |request| {
        let takes_over = Arc::clone(&takes_over);
        cluster.call(request).map_ok(move |mut response| {
            let extensions = response.extensions_mut();
            let simulated = extensions.remove::<Accepted>().map(TakesOver::Simulated);
            if let Some(accepted) = simulated.or_else(|| extensions.remove::<Tunnel>().map(TakesOver::Process)) {
                *takes_over.lock().unwrap_or_else(PoisonError::into_inner) = Some(accepted);
            }
            response
        })
    });
    let mut http = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let ends = poll_fn(|context| http.poll_without_shutdown(context));
    let lost = match &only_node {
        None => gone(ends.await),
        Some(node) => {
            let mut losses = node.losses();
            tokio::select! {
                end = ends => gone(end),
                _ = losses.changed() => true,
            }
        }
    };
    let parts = http.into_parts();
    if lost {
        reset(parts.io.inner());
        return;
    }
    let accepted = accepted.lock().unwrap_or_else(PoisonError::into_inner).take();
    // The response that said so was the last of HTTP on this connection.
    match accepted {
        Some(TakesOver::Simulated(accepted)) => accepted.run(parts.io, parts.read_buf.to_vec()).await,
        Some(TakesOver::Process(tunnel)) => tunnel.run(&mut parts.io.into_inner(), &parts.read_buf).await,
        None => linger(parts.io.into_inner()).await,
    }
}

/// Ends a connection so that its last response arrives: closed with bytes unread (of a body that was refused) the
/// client's system gets a reset, and may discard what the client has not read yet.
async fn linger(mut stream: TcpStream) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut unread = vec![0; 16 << 10];
    let drained = async { while stream.read(&mut unread).await.is_ok_and(|bytes| bytes > 0) {} };
    let _ = tokio::time::timeout(LINGER, drained).await;
}

/// Whether a connection ended because its node went away.
fn gone(end: hyper::Result<()>) -> bool {
    end.err().is_some_and(|error| std::error::Error::source(&error).is_some_and(|cause| cause.is::<NodeGone>()))
}

/// Has the connection end with a reset instead of an orderly close.
pub(super) fn reset(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
