//! What other nodes on the same database change: heard from it, and read anew here.

use std::sync::Arc;
use std::time::Duration;

use super::cluster::Cluster;
use super::content;
use super::launcher::Launcher;

/// How long to wait before the database is asked again after it went away.
const RETRY: Duration = Duration::from_millis(500);

/// Listens for ever. Without a database that others use there is nothing to hear, and it ends.
pub(super) async fn follow(cluster: Arc<Cluster>) {
    loop {
        match listen(&cluster).await {
            Ok(true) => tracing::warn!("lost the connection to the database"),
            Ok(false) => return,
            Err(error) => tracing::warn!("cannot listen to the database: {error}"),
        }
        // What is in memory is served meanwhile.
        tokio::time::sleep(RETRY).await;
    }
}

/// Listens until the connection is lost, or what was heard of cannot be read. `false` where there is nothing to hear.
async fn listen(cluster: &Cluster) -> Result<bool, sqlx::Error> {
    let shared = cluster.shared();
    let Some(mut changes) = shared.store.changes().await? else { return Ok(false) };
    // Whatever changed before somebody listened.
    shared.catalog.refresh_all(&shared.store).await?;
    for guid in shared.launcher.iter().flat_map(Launcher::guids) {
        changed(cluster, &guid);
    }
    while let Some(guid) = changes.next().await {
        shared.catalog.refresh(&shared.store, &guid).await?;
        shared.catalog.reload_vanities(&shared.store).await?;
        changed(cluster, &guid);
    }
    Ok(true)
}

/// Has processes follow, which may take as long as one takes to start: nobody waits for it.
fn changed(cluster: &Cluster, guid: &str) {
    for member in &cluster.members {
        let (node, guid) = (Arc::clone(&member.node), guid.to_owned());
        tokio::spawn(async move { content::changed(&node, &guid).await });
    }
}
