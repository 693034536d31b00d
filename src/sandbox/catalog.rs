//! Content as it is served: what the request path needs, in memory, so that no request for content asks the database.
//! Forgotten whenever something changes, and read again at the next request.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use super::launcher::settings::{IDLE_TIMEOUT_S, Runtime};
use super::manifest::{App, app_mode};
use super::store::{Store, User};

/// How often an item is read at most while things change.
const MOST_READS: u32 = 3;

/// A content item, ready to be served.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) guid: String,
    owner_guid: String,
    access: Access,
    /// Principals with a permission of their own.
    allowed: Vec<String>,
    /// The active bundle.
    pub(super) active: Option<i64>,
    /// Bundles that were deployed, by id: what answers for each.
    pub(super) releases: HashMap<i64, App>,
    /// How long a process stays without requests; `None` when one is kept warm.
    pub(super) idle: Option<Duration>,
    /// How real processes of it are run.
    pub(super) runtime: Runtime,
}

/// Who may fetch a content item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    All,
    LoggedIn,
    Acl,
}

/// Whether a request may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    Open,
    /// Nobody in particular asked.
    Unknown,
    /// Somebody asked who may not.
    Closed,
}

impl Item {
    /// Whether that user, or nobody, may fetch it.
    pub(super) fn door(&self, user: Option<&User>) -> Door {
        match (self.access, user) {
            (Access::All, _) | (Access::LoggedIn, Some(_)) => Door::Open,
            (_, None) => Door::Unknown,
            (Access::Acl, Some(user)) => {
                let may =
                    user.role == "administrator" || user.guid == self.owner_guid || self.allowed.contains(&user.guid);
                if may { Door::Open } else { Door::Closed }
            }
        }
    }
}

/// The content items that were asked for, and the vanity paths.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    items: RwLock<HashMap<String, Arc<Item>>>,
    /// Path with both slashes, guid.
    vanities: Mutex<Vec<(String, String)>>,
    /// Counts changes: what was read before one is not kept after it.
    changes: AtomicU64,
}

impl Catalog {
    /// A content item, when it is known already.
    pub(super) fn known(&self, guid: &str) -> Option<Arc<Item>> {
        self.items.read().unwrap_or_else(PoisonError::into_inner).get(guid).cloned()
    }

    /// A content item, from the database if need be.
    pub(super) async fn item(&self, store: &Store, guid: &str) -> Result<Option<Arc<Item>>, sqlx::Error> {
        if let Some(item) = self.known(guid) {
            return Ok(Some(item));
        }
        let mut tries = 1;
        loop {
            let before = self.changes.load(SeqCst);
            let Some(item) = load(store, guid).await?.map(Arc::new) else { return Ok(None) };
            let mut items = self.items.write().unwrap_or_else(PoisonError::into_inner);
            let unchanged = self.changes.load(SeqCst) == before;
            if unchanged {
                items.insert(guid.to_owned(), Arc::clone(&item));
            }
            // Something changed meanwhile, this item perhaps.
            if unchanged || tries >= MOST_READS {
                return Ok(Some(item));
            }
            tries += 1;
        }
    }

    /// Something about a content item changed.
    pub(super) fn forget(&self, guid: &str) {
        let mut items = self.items.write().unwrap_or_else(PoisonError::into_inner);
        self.changes.fetch_add(1, SeqCst);
        items.remove(guid);
    }

    /// Another node changed something: reads again what is in memory, and keeps that if the database does not answer.
    pub(super) async fn refresh(&self, store: &Store, guid: &str) -> Result<(), sqlx::Error> {
        let before = self.changes.fetch_add(1, SeqCst) + 1;
        if self.known(guid).is_none() {
            return Ok(());
        }
        match load(store, guid).await? {
            None => self.forget(guid),
            Some(item) => {
                let mut items = self.items.write().unwrap_or_else(PoisonError::into_inner);
                if self.changes.load(SeqCst) == before {
                    items.insert(guid.to_owned(), Arc::new(item));
                } else {
                    // Something changed meanwhile: whoever asks next reads it.
                    items.remove(guid);
                }
            }
        }
        Ok(())
    }

    /// Nobody knows what another node changed.
    pub(super) async fn refresh_all(&self, store: &Store) -> Result<(), sqlx::Error> {
        let guids: Vec<String> = self.items.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
        for guid in guids {
            self.refresh(store, &guid).await?;
        }
        self.reload_vanities(store).await
    }

    /// Reads the vanity paths again: at the start, and when one changed.
    pub(super) async fn reload_vanities(&self, store: &Store) -> Result<(), sqlx::Error> {
        let mut paths: Vec<(String, String)> =
            store.vanities().await?.into_iter().map(|vanity| (vanity.path, vanity.content_guid)).collect();
        // The longest first, so that the nearest path wins.
        paths.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        *self.paths() = paths;
        Ok(())
    }

    /// Which content item a path belongs to by vanity, and what is left of the path, which is empty when the
    /// trailing slash is missing.
    pub(super) fn vanity<'p>(&self, path: &'p str) -> Option<(String, &'p str)> {
        self.paths().iter().find_map(|(vanity, guid)| {
            let bare = vanity.trim_end_matches('/');
            let rest = path.strip_prefix(bare)?;
            (rest.is_empty() || rest.starts_with('/')).then(|| (guid.clone(), rest))
        })
    }

    fn paths(&self) -> MutexGuard<'_, Vec<(String, String)>> {
        self.vanities.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn load(store: &Store, guid: &str) -> Result<Option<Item>, sqlx::Error> {
    let Some(row) = store.content(guid).await? else { return Ok(None) };
    let permissions = store.permissions(guid).await?;
    let releases = store.bundles(guid).await?.into_iter().filter(|bundle| bundle.deployed).map(|bundle| {
        let mode = bundle.manifest.as_ref().and_then(app_mode).unwrap_or_default();
        (bundle.id, App::of(mode))
    });
    let setting = |name: &str| row.settings.get(name).and_then(serde_json::Value::as_u64);
    let warm = setting("min_processes").is_some_and(|n| n > 0);
    Ok(Some(Item {
        releases: releases.collect(),
        runtime: Runtime::of(&row.settings),
        idle: (!warm).then(|| Duration::from_secs(setting("idle_timeout").unwrap_or(IDLE_TIMEOUT_S))),
        access: match row.access_type.as_str() {
            "all" => Access::All,
            "logged_in" => Access::LoggedIn,
            _ => Access::Acl,
        },
        allowed: permissions.into_iter().map(|permission| permission.principal_guid).collect(),
        active: row.bundle_id,
        owner_guid: row.owner_guid,
        guid: row.guid,
    }))
}
