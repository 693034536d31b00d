//! The deploy task: waits for its turn, unpacks, restores packages, launches, and logs each step.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use md5::{Digest as _, Md5};

use super::bundles;
use super::error::unreachable;
use super::launcher::{Launcher, Wanted};
use super::manifest::{self, App, Deployable};
use super::node::Node;
use super::store::BundleRow;
use super::tasks::Handle;

/// Package sets that were restored before: shared by the nodes, as Connect's cache is, in the folder that they share.
#[derive(Debug)]
pub(super) struct PackageCache(PathBuf);

impl PackageCache {
    /// In that directory, which is made.
    pub(super) fn new(root: &Path) -> io::Result<Self> {
        let place = root.join("packages");
        std::fs::create_dir_all(&place)?;
        Ok(Self(place))
    }

    /// Remembers a set; whether it was known.
    fn restore(&self, packages: &str) -> bool {
        let name: String = Md5::digest(packages).iter().map(|byte| format!("{byte:02x}")).collect();
        std::fs::File::create_new(self.0.join(name)).is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists)
    }
}

/// What a deploy task is to do.
#[derive(Debug, Clone)]
pub(super) struct Deployment {
    pub(super) bundle: BundleRow,
    /// Whether the bundle becomes the active one.
    pub(super) activate: bool,
    /// Only restore the environment.
    pub(super) build_only: bool,
}

/// Shares of the deploy time: unpack, restore, launch. With the packages in the cache a restore is nearly free.
const BUILD_SHARE: f64 = 0.1;
const RESTORE_SHARE: f64 = 0.7;
const CACHED_RESTORE_SHARE: f64 = 0.05;
const LAUNCH_SHARE: f64 = 0.2;

/// How long the database may take to record a deployment.
const RECORD_TIMEOUT: Duration = Duration::from_secs(30);

/// Takes a share of the node's capacity while it lives.
struct Share<'n>(&'n Node);

impl<'n> Share<'n> {
    fn take(node: &'n Node) -> Self {
        node.capacity.deploying(true);
        Self(node)
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.0.capacity.deploying(false);
    }
}

/// Does it, on that node. Ends when the task has ended, which the node's going away does too.
pub(super) async fn run(node: Arc<Node>, deployment: Deployment, task: Handle) {
    let work = async {
        let result = steps(&node, &deployment, &task).await;
        task.finish(result.err().as_deref());
    };
    tokio::select! {
        () = work => {}
        () = task.finished() => {}
    }
}

async fn steps(node: &Node, deployment: &Deployment, task: &Handle) -> Result<(), String> {
    if node.deploy_slots.available_permits() == 0 {
        task.log("Waiting in the queue for a deploy slot...");
    }
    let _slot = node.deploy_slots.acquire().await.map_err(|closed| closed.to_string())?;
    let _share = Share::take(node);
    let bundle = &deployment.bundle;
    task.log(format!("Building content from bundle {} on {}...", bundle.id, node.hostname));
    if node.shared.launcher.is_none() {
        pause(node, BUILD_SHARE).await;
    }
    let deployable = unpack(node, bundle).await?;
    if let Some(runtime) = deployable.runtime.as_ref().filter(|_| node.shared.launcher.is_none()) {
        task.log(format!("Bundle requested {runtime}; using it."));
    }
    if let Some(launcher) = &node.shared.launcher {
        real(node, launcher, deployment, task).await?;
    } else {
        restore(node, &deployable, task).await;
    }
    if deployment.build_only {
        task.log("Build complete.");
        return Ok(());
    }
    if node.shared.launcher.is_none() {
        launch(node, &deployable, task).await;
    }
    tokio::time::timeout(RECORD_TIMEOUT, publish(node, deployment, &deployable))
        .await
        .map_err(|_elapsed| "the deployment could not be recorded: the database does not answer".to_owned())??;
    task.log(if deployment.activate {
        "Deployment complete.".to_owned()
    } else {
        format!("Draft deployment of bundle {} complete; it is not activated.", bundle.id)
    });
    Ok(())
}

/// Really restores what the bundle needs, and starts its first process.
async fn real(node: &Node, launcher: &Launcher, deployment: &Deployment, task: &Handle) -> Result<(), String> {
    let (shared, bundle) = (&node.shared, &deployment.bundle);
    let directory = shared.bundles.app(&bundle.content_guid, bundle.id);
    let wanted = Wanted {
        node: node.index,
        hostname: &node.hostname,
        guid: &bundle.content_guid,
        bundle: bundle.id,
        active: deployment.activate,
        directory: &directory,
    };
    let manifest = bundle.manifest.as_ref().ok_or("the bundle has no manifest")?;
    let say = |line| task.log(line);
    if deployment.build_only {
        launcher.build(wanted, manifest, &say).await
    } else {
        launcher.deploy(wanted, (&shared.store, manifest), &say).await
    }
}

async fn launch(node: &Node, deployable: &Deployable, task: &Handle) {
    let what = match App::of(&deployable.app_mode) {
        App::Files => "Publishing files...".to_owned(),
        App::Python | App::Plumber => format!("Launching {} application...", deployable.app_mode),
    };
    task.log(what);
    pause(node, LAUNCH_SHARE).await;
}

async fn unpack(node: &Node, bundle: &BundleRow) -> Result<Deployable, String> {
    let dir = &node.shared.bundles;
    let archive: PathBuf = dir.archive(&bundle.content_guid, bundle.id);
    let into = dir.app(&bundle.content_guid, bundle.id);
    let strict = node.shared.config.strict_bundles;
    dir.writable().map_err(|error| format!("(code 135) the bundle could not be extracted: {error}"))?;
    let (files, content, number) = (dir.clone(), bundle.content_guid.clone(), bundle.id);
    let work = move || {
        let manifest = bundles::manifest_of(&archive).map_err(|fault| format!("(code 38) {fault}"))?;
        files.unpack(&content, number).map_err(|fault| format!("(code 135) {fault}"))?;
        manifest::check(&manifest, &into, strict).map_err(|reason| format!("(code 38) {reason}"))
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?
}

async fn restore(node: &Node, deployable: &Deployable, task: &Handle) {
    if deployable.runtime.is_none() {
        task.log("No packages to restore.");
        return;
    }
    let cached = node.shared.packages.restore(&deployable.packages);
    task.log(format!("Restoring packages{}...", if cached { " from the cache" } else { "" }));
    pause(node, if cached { CACHED_RESTORE_SHARE } else { RESTORE_SHARE }).await;
    task.log("Packages restored.");
}

async fn publish(node: &Node, deployment: &Deployment, deployable: &Deployable) -> Result<(), String> {
    let (shared, bundle) = (&node.shared, &deployment.bundle);
    let guid = &bundle.content_guid;
    let failed = |error: sqlx::Error| {
        let away = if unreachable(&error) { "the database cannot be reached: " } else { "" };
        format!("the deployment could not be recorded: {away}{error}")
    };
    shared.store.set_deployed(bundle.id).await.map_err(failed)?;
    let there = if deployment.activate {
        let there = shared.store.activate(guid, bundle.id, &deployable.app_mode).await.map_err(failed)?;
        shared.processes.stop_content(guid, Some(bundle.id));
        if let Some(launcher) = &shared.launcher {
            launcher.replace(guid, Some(bundle.id));
        }
        there
    } else {
        shared.store.content(guid).await.map_err(failed)?.is_some()
    };
    shared.catalog.forget(guid);
    if there {
        return Ok(());
    }
    if let Some(launcher) = &shared.launcher {
        launcher.replace(guid, None);
    }
    shared.bundles.remove_content(guid);
    Err("the content was deleted while it was deployed".to_owned())
}

async fn pause(node: &Node, share: f64) {
    let time: Duration = node.shared.config.deploy_time.mul_f64(share);
    tokio::time::sleep(time).await;
}
