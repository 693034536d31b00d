//! The sandbox, a stand-in Connect server. Shares no code with the client: a shared constant would be a shared mistake.
//!
//! It speaks the Connect server API v1 with real state, serves simulated content at a speed that a curve with a known
//! answer decides, and says in every response that it is not Posit Connect. Everything runs on one thread with one
//! event loop, so that the time of an answer is the model's and not the scheduler's.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

mod alarm;
mod api;
mod apps;
mod balancer;
mod bundles;
mod capacity;
mod catalog;
mod cluster;
mod content;
mod counts;
mod curve;
mod demand;
mod deploy;
mod error;
mod faults;
mod follow;
mod launcher;
mod manifest;
mod metrics;
mod node;
mod processes;
mod profile;
mod reply;
mod scratch;
mod server;
mod simulate;
mod sockets;
mod store;
mod tasks;
mod usage;

pub use balancer::BalancerKind;
pub use curve::{Curve, CurveError, CurveSpec, SATURATED_SHARE};
pub use faults::{Faults, Restart, Stall, parse_duration};
pub use launcher::ProcessOptions;
pub use launcher::guard;
pub use launcher::guard::Limits;
pub use profile::{Profile, Shape};
pub use store::DatabaseUrl;

use bundles::BundleDir;
use cluster::Cluster;
use launcher::Launcher;
use node::Shared;
use scratch::Scratch;
use store::{Store, User, patiently};

/// Unpacks an uploaded bundle into a directory that is made anew, as a deploy does; returns its manifest. Blocks.
///
/// # Errors
/// What is wrong with the bundle: nothing is written then.
pub fn unpack_bundle(archive: &Path, into: &Path) -> Result<Value, String> {
    let manifest = bundles::manifest_of(archive).map_err(|fault| fault.to_string())?;
    bundles::unpack(archive, into).map_err(|fault| fault.to_string())?;
    Ok(manifest)
}

/// Name of the administrator whose key the sandbox prints.
const ADMIN: &str = "admin";

/// Everything that can be chosen.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where to keep database and bundles; a temporary directory when `None`.
    pub data_dir: Option<PathBuf>,
    /// The database, which other nodes may use, too; SQLite in the data directory when `None`.
    pub database: Option<DatabaseUrl>,
    /// Name of the node, when it is one of several that were started each by itself.
    pub hostname: Option<String>,
    /// The administrator's API key; a random one when `None`.
    pub api_key: Option<String>,
    /// Further people.
    pub extra_users: Vec<ExtraUser>,
    /// The version that it says it has; empty hides it.
    pub version: String,
    /// How fast each node is.
    pub curve: Curve,
    /// How many nodes.
    pub nodes: usize,
    /// What is in front of them.
    pub balancer: BalancerKind,
    /// Coefficient of variation of the work that requests ask for.
    pub demand_cv: f64,
    /// Seed of everything random about the load.
    pub seed: u64,
    /// How long a process takes to start.
    pub spawn_delay: Duration,
    /// How long a first deploy takes; later ones find the packages in the cache.
    pub deploy_time: Duration,
    /// Deploy tasks that a node runs at once.
    pub deploy_slots: usize,
    /// Share of a node's capacity that running deploy tasks take.
    pub publish_share: f64,
    /// Bundles are checked as strictly as can be, and already when uploaded.
    pub strict_bundles: bool,
    /// Greatest upload in bytes.
    pub max_upload: u64,
    /// What goes wrong.
    pub faults: Faults,
    /// Log a line per request.
    pub log_requests: bool,
    /// Really start what is deployed; `None`: content is simulated.
    pub processes: Option<ProcessOptions>,
}

/// Somebody else with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraUser {
    /// Name, in letters, digits, `-`, `_`, `.`.
    pub name: String,
    /// viewer, publisher or administrator.
    pub role: String,
    /// The key; a random one when `None`.
    pub api_key: Option<String>,
}

impl std::str::FromStr for ExtraUser {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.splitn(3, ':');
        let (name, role) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let known = ["viewer", "publisher", "administrator"].contains(&role);
        let named = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        if !known || !named || name == ADMIN {
            return Err("an extra user is NAME:ROLE[:KEY], ROLE being viewer, publisher or administrator".to_owned());
        }
        Ok(Self { name: name.to_owned(), role: role.to_owned(), api_key: parts.next().map(str::to_owned) })
    }
}

impl Config {
    /// The defaults, with a profile's nodes, curve and balancer.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            data_dir: None,
            database: None,
            hostname: None,
            api_key: None,
            extra_users: Vec::new(),
            version: "2025.09.0".to_owned(),
            curve: shape.curve,
            nodes: shape.nodes,
            balancer: shape.balancer,
            demand_cv: 0.5,
            seed: 1,
            spawn_delay: Duration::from_millis(200),
            deploy_time: Duration::from_secs(2),
            deploy_slots: 2,
            publish_share: 0.01,
            strict_bundles: false,
            max_upload: 1 << 30,
            faults: Faults::default(),
            log_requests: false,
            processes: None,
        }
    }
}

/// Why a sandbox does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken or not ours.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// The directory cannot be used.
    #[error("cannot use the data directory {0}: {1}")]
    Data(PathBuf, #[source] std::io::Error),
    /// The database cannot be used.
    #[error("cannot use the database: {0}")]
    Store(#[from] sqlx::Error),
    /// It was told to give up before it was up.
    #[error("told to end before it was up")]
    Told,
    /// No thread, no timer, no event loop.
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
}

/// A sandbox that serves, until it is stopped or dropped.
pub struct Sandbox {
    address: SocketAddr,
    api_key: String,
    cluster: Arc<Cluster>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Sandbox {
    /// Starts a sandbox on a thread of its own; it accepts requests when this returns.
    ///
    /// # Errors
    /// When the address, the data directory or the database cannot be used.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let (_never, told) = oneshot::channel();
        Self::start_unless(config, told)
    }

    /// The same, unless it is told to give up before it is up: a database may keep it waiting.
    ///
    /// # Errors
    /// As before, and when it was told.
    pub fn start_unless(config: Config, told: oneshot::Receiver<()>) -> Result<Self, StartError> {
        let (ready, started) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread =
            std::thread::Builder::new().name("sandbox".to_owned()).spawn(move || run(config, &ready, told, stopped))?;
        let begun = started.recv().unwrap_or_else(|_| Err(StartError::System(std::io::Error::other("no answer"))));
        let Begun { address, api_key, cluster } = match begun {
            Ok(begun) => begun,
            Err(error) => {
                let _ = thread.join();
                return Err(error);
            }
        };
        Ok(Self { address, api_key, cluster, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it is: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The administrator's key.
    #[must_use]
    pub fn api_key(&self) -> &str {
        &self.api_key
    }

    /// Counts, capacity and nodes, as `GET /__sandbox__/stats` shows them.
    #[must_use]
    pub fn stats(&self) -> Value {
        self.cluster.stats()
    }

    /// Stops serving and removes the temporary directory, if it had one. Gives the last counts.
    #[must_use]
    pub fn stop(mut self) -> Value {
        self.end();
        self.stats()
    }

    fn end(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.end();
    }
}

/// What the thread tells once it accepts requests.
struct Begun {
    address: SocketAddr,
    api_key: String,
    cluster: Arc<Cluster>,
}

fn run(
    config: Config,
    ready: &mpsc::Sender<Result<Begun, StartError>>,
    told: oneshot::Receiver<()>,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = ready.send(Err(error.into()));
            return;
        }
    };
    runtime.block_on(async {
        // Removed when this block ends, after everything that was in it.
        let mut temporary = None;
        let begun = tokio::select! {
            begun = begin(config, &mut temporary) => begun,
            _ = told => Err(StartError::Told),
        };
        match begun {
            Err(error) => {
                let _ = ready.send(Err(error));
            }
            Ok((listener, begun)) => {
                let cluster = Arc::clone(&begun.cluster);
                let _ = ready.send(Ok(begun));
                server::start_faults(&cluster);
                tokio::select! {
                    () = server::serve(listener, Arc::clone(&cluster)) => {}
                    _ = stopped => {}
                }
                cluster.close().await;
            }
        }
    });
}

/// Those whom the configuration names, and who has been there before.
async fn everyone(store: &Store, config: &Config) -> Result<Vec<User>, sqlx::Error> {
    store.put_user(ADMIN, "administrator", config.api_key.as_deref()).await?;
    for user in &config.extra_users {
        store.put_user(&user.name, &user.role, user.api_key.as_deref()).await?;
    }
    store.users().await
}

async fn begin(config: Config, temporary: &mut Option<Scratch>) -> Result<(TcpListener, Begun), StartError> {
    let root = match &config.data_dir {
        Some(dir) => dir.clone(),
        None => temporary.insert(Scratch::new(&std::env::temp_dir(), "connect-bench-sandbox-")?).path().to_owned(),
    };
    let unusable = |error| StartError::Data(root.clone(), error);
    std::fs::create_dir_all(&root).map_err(unusable)?;
    let bundles = BundleDir::new(&root, config.hostname.as_deref().unwrap_or("sandbox")).map_err(unusable)?;
    let database = config.database.as_ref();
    let store = patiently(database, async || Store::open(database, &root.join("sandbox.sqlite")).await).await?;
    let users = patiently(database, || everyone(&store, &config)).await?;
    let api_key = users.iter().find(|user| user.username == ADMIN).map(|user| user.api_key.clone()).unwrap_or_default();
    let listen = config.listen;
    let listener = TcpListener::bind(listen).await.map_err(|error| StartError::Listen(listen, error))?;
    let address = listener.local_addr().map_err(|error| StartError::Listen(listen, error))?;
    let processes = Arc::new(processes::Processes::default());
    let launcher = config.processes.as_ref().map(|options| {
        let environments = options.environments.clone().unwrap_or_else(|| root.join("environments"));
        Launcher::new(options, environments, Arc::clone(&processes), format!("http://{address}"))
    });
    let shared = Shared {
        config,
        store,
        bundles,
        catalog: catalog::Catalog::default(),
        processes,
        launcher: launcher.transpose()?,
        usage: usage::Usage::default(),
        packages: deploy::PackageCache::new(&root).map_err(unusable)?,
        users,
    };
    patiently(shared.config.database.as_ref(), || shared.catalog.reload_vanities(&shared.store)).await?;
    let cluster = Arc::new(Cluster::new(Arc::new(shared))?);
    Ok((listener, Begun { address, api_key, cluster }))
}
