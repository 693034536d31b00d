//! What other nodes on the same database change: heard from it, and read anew here.

use std::sync::Arc;
use std::time::Duration;

use super::node::Shared;

/// How long to wait before the database is asked again after it went away.
const RETRY: Duration = Duration::from_millis(500);

/// Listens for ever. Without a database that others use there is nothing to hear, and it ends.
pub(super) async fn follow(shared: Arc<Shared>) {
    loop {
        match listen(&shared).await {
            Ok(true) => tracing::warn!("lost the connection to the database"),
            Ok(false) => return,
            Err(error) => tracing::warn!("cannot listen to the database: {error}"),
        }
        // What is in memory is served meanwhile.
        tokio::time::sleep(RETRY).await;
    }
}

/// Listens until the connection is lost, or what was heard of cannot be read. `false` where there is nothing to hear.
async fn listen(shared: &Shared) -> Result<bool, sqlx::Error> {
    let Some(mut changes) = shared.store.changes().await? else { return Ok(false) };
    // Whatever changed before somebody listened.
    shared.catalog.refresh_all(&shared.store).await?;
    while let Some(guid) = changes.next().await {
        shared.catalog.refresh(&shared.store, &guid).await?;
        shared.catalog.reload_vanities(&shared.store).await?;
    }
    Ok(true)
}
