//! Real content: the processes of deployed bundles, on this machine, as the runtime settings say. `pool` decides,
//! `guard` and `process` start and end them, `proxy` brings requests to them, `environment` what they need.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::OnceCell;

use super::catalog::Item;
use super::processes::Processes;
use super::scratch::Scratch;
use super::store::Store;

mod environment;
pub mod guard;
mod log;
mod pool;
mod process;
mod proxy;
mod running;
pub(super) mod settings;
mod spec;
mod tunnel;

pub(super) use log::JobLog;
pub(super) use proxy::{Asked, serve};
pub(super) use tunnel::Tunnel;

use environment::{Environments, Say};
use guard::Limits;
use running::{Place, Running};

/// How often idle processes are looked for.
const TICK: Duration = Duration::from_millis(250);
/// How long the end waits for processes; each is killed after less.
const PATIENCE: Duration = Duration::from_secs(8);
/// Lines of a process's log that a failed task shows.
const SHOWN: usize = 40;
/// The longest path of a folder for sockets: with their names they have to fit into 107 bytes.
const SOCKET_FOLDER: usize = 70;

/// Real processes: how they are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessOptions {
    /// The program that guards them: connect-bench itself.
    pub guard: PathBuf,
    /// What each may use.
    pub limits: Limits,
    /// Where Python's environments are kept; with the other data when `None`.
    pub environments: Option<PathBuf>,
}

/// The processes of all nodes.
#[derive(Debug, Clone)]
pub(super) struct Launcher(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    environments: Environments,
    /// What processes are started with.
    making: running::Making,
    cells: Mutex<HashMap<Place, Arc<OnceCell<Arc<Running>>>>>,
    /// Replaced, and not over yet.
    leaving: Mutex<Vec<Arc<Running>>>,
    /// Sockets, scripts, and the homes of processes: removed at the end.
    _folder: Scratch,
}

/// What a request or a deploy knows of the content that it is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) node: usize,
    pub(super) hostname: &'a str,
    pub(super) guid: &'a str,
    pub(super) bundle: i64,
    /// Whether it is the active one, which replaces others.
    pub(super) active: bool,
    pub(super) directory: &'a std::path::Path,
}

impl Launcher {
    /// With environments in that folder, processes registered there, content told that address. Needs an event loop.
    pub(super) fn new(
        options: &ProcessOptions,
        environments: PathBuf,
        jobs: Arc<Processes>,
        server: String,
    ) -> io::Result<Self> {
        let folder = folder()?;
        let scripts = [
            ("serve.py", include_str!("launcher/serve.py")),
            ("serve.R", include_str!("launcher/serve.R")),
            ("packages.R", include_str!("launcher/packages.R")),
        ];
        for (name, text) in scripts {
            std::fs::write(folder.path().join(name), text)?;
        }
        let making = running::Making {
            guard: options.guard.clone(),
            limits: options.limits,
            folder: folder.path().to_owned(),
            jobs,
            server,
        };
        let inner = Arc::new(Inner {
            environments: Environments::new(&options.guard, environments, folder.path())?,
            making,
            cells: Mutex::default(),
            leaving: Mutex::default(),
            _folder: folder,
        });
        let weak = Arc::downgrade(&inner);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(TICK).await;
                let Some(inner) = weak.upgrade() else { return };
                inner.tick();
            }
        });
        Ok(Self(inner))
    }

    /// Restores what a bundle needs and starts its first process: the launch of a deploy. Each step is told; the error
    /// is what a person needs to mend it.
    pub(super) async fn deploy(
        &self,
        wanted: Wanted<'_>,
        (store, manifest): (&Store, &Value),
        say: Say<'_>,
    ) -> Result<(), String> {
        let failed = |error: sqlx::Error| format!("the settings cannot be read: {error}");
        // What runs from this bundle's files as they were is done with.
        self.retire(|place| place.bundle == wanted.bundle);
        let spec = spec::restore(&self.0.environments, wanted.directory, (manifest, wanted.bundle), say).await?;
        let Some(spec) = spec else { return Ok(()) };
        let row = store.content(wanted.guid).await.map_err(failed)?.ok_or("the content was deleted")?;
        let environment = store.environment_values(wanted.guid).await.map_err(failed)?;
        let runtime = settings::Runtime::of(&row.settings);
        say("Launching the application...".to_owned());
        let running = Running::new(wanted.into(), spec, (runtime, environment), self.0.making.clone());
        // Known from the beginning on: should the node go away meanwhile, it is ended as all others are.
        lock(&self.0.leaving).push(Arc::clone(&running));
        match running.admit().await {
            Ok(permit) => {
                say(format!("The application accepts connections (process {}).", permit.pid()));
                lock(&self.0.leaving).retain(|other| !Arc::ptr_eq(other, &running));
                let cell = Arc::new(OnceCell::new_with(Some(running)));
                lock(&self.0.cells).insert(wanted.into(), cell);
                Ok(())
            }
            Err(refused) => {
                running.last_log(SHOWN).into_iter().for_each(say);
                running.retire();
                Err(refused.to_string())
            }
        }
    }

    /// Only restores what a bundle needs.
    pub(super) async fn build(&self, wanted: Wanted<'_>, manifest: &Value, say: Say<'_>) -> Result<(), String> {
        let built = spec::restore(&self.0.environments, wanted.directory, (manifest, wanted.bundle), say).await;
        built.map(|_spec| ())
    }

    /// The processes that serve a bundle on a node, or the reason why there are none.
    async fn running(&self, wanted: Wanted<'_>, store: &Store, item: &Item) -> Result<Arc<Running>, String> {
        let place = Place::from(wanted);
        let cell = Arc::clone(lock(&self.0.cells).entry(place.clone()).or_default());
        let made = cell.get_or_try_init(|| async {
            let failed = |error: sqlx::Error| format!("the bundle cannot be read: {error}");
            let bundle = store.bundle(wanted.bundle).await.map_err(failed)?;
            let manifest = bundle.and_then(|bundle| bundle.manifest).ok_or("the bundle has no manifest")?;
            let (manifest, silent) = ((&manifest, wanted.bundle), |_line| {});
            let spec = spec::restore(&self.0.environments, wanted.directory, manifest, &silent).await?;
            let spec = spec.ok_or("the bundle needs no process")?;
            let environment = store.environment_values(wanted.guid).await.map_err(failed)?;
            if wanted.active {
                // Deployed through another node: what runs here is of an older bundle.
                self.replace(wanted.guid, Some(wanted.bundle));
            }
            Ok::<_, String>(Running::new(place, spec, (item.runtime, environment), self.0.making.clone()))
        });
        let running = Arc::clone(made.await?);
        running.set_runtime(item.runtime);
        Ok(running)
    }

    /// The item's settings may have changed: from now on they hold, also for what is to be kept without requests.
    pub(super) async fn warm(&self, wanted: Wanted<'_>, store: &Store, item: &Item) {
        if (item.runtime.min > 0 || lock(&self.0.cells).contains_key(&wanted.into()))
            && let Err(why) = self.running(wanted, store, item).await
        {
            tracing::warn!("{}: no process is kept: {why}", wanted.guid);
        }
    }

    /// Lets the processes of a content item finish what they have and stop, but those of the bundle to `keep`.
    pub(super) fn replace(&self, guid: &str, keep: Option<i64>) {
        self.retire(|place| place.guid == guid && Some(place.bundle) != keep);
    }

    /// The environment was set so many times: processes that have an older one finish what they have and stop.
    pub(super) fn renew(&self, guid: &str, revision: i64) {
        self.retire_if(|place, running| {
            place.guid == guid && running.is_some_and(|running| running.revision() < revision)
        });
    }

    /// Whether content has processes here, or had a moment ago.
    pub(super) fn has(&self, guid: &str) -> bool {
        lock(&self.0.cells).keys().any(|place| place.guid == guid)
    }

    /// Content that has.
    pub(super) fn guids(&self) -> Vec<String> {
        lock(&self.0.cells).keys().map(|place| place.guid.clone()).collect()
    }

    fn retire(&self, which: impl Fn(&Place) -> bool) {
        self.retire_if(|place, _| which(place));
    }

    fn retire_if(&self, which: impl Fn(&Place, Option<&Arc<Running>>) -> bool) {
        let cells: Vec<_> = lock(&self.0.cells).extract_if(|place, cell| which(place, cell.get())).collect();
        for running in cells.into_iter().filter_map(|(_, cell)| cell.get().cloned()) {
            self.0.let_go(running);
        }
    }

    /// A node went away, and its processes with it.
    pub(super) fn stop_node(&self, node: usize) {
        let cells: Vec<_> = lock(&self.0.cells).extract_if(|place, _| place.node == node).collect();
        for running in cells.into_iter().filter_map(|(_, cell)| cell.get().cloned()) {
            self.0.let_go(running);
        }
        let here = |running: &&Arc<Running>| running.place().node == node;
        for running in lock(&self.0.leaving).iter().filter(here) {
            running.retire();
            running.end();
        }
    }

    /// How many processes run on a node, how many requests they serve, and how many wait for them.
    pub(super) fn figures(&self, node: usize) -> (usize, usize, usize) {
        let all = self.0.all();
        let here = all.iter().filter(|running| running.place().node == node).map(|running| running.figures());
        here.fold((0, 0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1, sum.2 + one.2))
    }

    /// Ends every process, and waits until they have.
    pub(super) async fn close(&self) {
        let all = self.0.all();
        all.iter().for_each(|running| running.end());
        let over = async {
            while all.iter().any(|running| running.has_processes()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, over).await.is_err() {
            tracing::warn!("processes of content have not ended in {} s", PATIENCE.as_secs());
        }
    }
}

impl Inner {
    fn tick(&self) {
        for running in self.all() {
            running.tick();
        }
        lock(&self.leaving).retain(|running| !running.is_over());
        // Content that nobody asks for any more is forgotten; the next request finds it again.
        lock(&self.cells).retain(|_, cell| cell.get().is_none_or(|running| !running.is_idle()));
    }

    fn let_go(&self, running: Arc<Running>) {
        running.retire();
        lock(&self.leaving).push(running);
    }

    fn all(&self) -> Vec<Arc<Running>> {
        let current = lock(&self.cells).values().filter_map(|cell| cell.get().cloned()).collect::<Vec<_>>();
        current.into_iter().chain(lock(&self.leaving).iter().cloned()).collect()
    }
}

impl From<Wanted<'_>> for Place {
    fn from(wanted: Wanted<'_>) -> Self {
        let (guid, hostname) = (wanted.guid.to_owned(), wanted.hostname.to_owned());
        Self { node: wanted.node, hostname, guid, bundle: wanted.bundle }
    }
}

/// A folder whose sockets have names that are short enough.
fn folder() -> io::Result<Scratch> {
    let usual = std::env::temp_dir();
    let short = if usual.as_os_str().len() < SOCKET_FOLDER { usual } else { PathBuf::from("/tmp") };
    Scratch::new(&short, "connect-bench-processes-")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
