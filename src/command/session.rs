//! What lies around a run: the preflight, what is made on the server before it, and its removal afterwards.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use url::Url;

use super::failure::Failure;
use super::programs::Ingredients;
use super::target::{Aim, ConnectAim, extra_roots};
use super::view::View;
use crate::cli::{ContentArgs, EngineArgs, FetchAuth};
use crate::http::tls;
use crate::plan::{FetchPlan, PublishPlan, Target};
use crate::posit_connect::bundle::{Bundle, BundleOptions};
use crate::posit_connect::fixtures::Fixture;
use crate::posit_connect::journal::Journal;
use crate::posit_connect::manifest::{AppMode, Runtimes};
use crate::posit_connect::provision::{
    self, Access, Expected, FetchTarget, ProvisionError, ProvisionPlan, Provisioned, PublishItem, PublishTarget,
};
use crate::posit_connect::types::RuntimeSettings;
use crate::posit_connect::{ApiError, Client, nodes};
use crate::summary::Summary;

/// How long a deployment may take before the run begins: a first one may compile packages.
const DEPLOY_WITHIN: Duration = Duration::from_secs(900);
/// How long an application may take to answer after its deployment.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);
/// How long the clean-up tries.
const CLEAN_UP_WITHIN: Duration = Duration::from_secs(60);
/// What the built-in applications answer to.
const FLASK_PATH: &str = "/stocks/AAPL";
const PLUMBER_PATH: &str = "/price?ticker=AAPL";

/// A target that is ready to be loaded.
pub(super) struct Session {
    pub(super) target: Target,
    pub(super) fetch: FetchPlan,
    /// What paths of scenario files are relative to: the content item, or the origin of a plain URL. Ends with `/`.
    pub(super) root: String,
    pub(super) publish: Option<PublishPlan>,
    pub(super) ingredients: Ingredients,
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
    pub(super) insecure: bool,
    /// How long the publish before the run took: a stage of a search should cover one.
    pub(super) publish_took: Duration,
    server: Option<Server>,
}

/// The Connect side of a session.
struct Server {
    aim: ConnectAim,
    client: Client,
    journal: Journal,
    /// Requests of other clients than `client`.
    further_requests: u64,
}

/// Makes a target ready. On failure, what was made until then is removed again.
pub(super) async fn prepare(
    aim: Aim,
    content: &ContentArgs,
    engine: &EngineArgs,
    place: (&str, &Path),
    view: &View,
) -> Result<Session, Failure> {
    match aim {
        Aim::Url { url, insecure, extra } => plain(url, insecure, extra.as_ref(), content, engine),
        Aim::Connect(aim) => connect(*aim, content, engine, place, view).await,
    }
}

fn tls_for(
    url: &Url,
    insecure: bool,
    extra: Option<&tls::ExtraRoots>,
) -> Result<Option<Arc<rustls::ClientConfig>>, Failure> {
    match url.scheme() {
        "https" => tls::config(insecure, extra).map(Some).map_err(Failure::invalid),
        _ => Ok(None),
    }
}

fn plain(
    url: Url,
    insecure: bool,
    extra: Option<&tls::ExtraRoots>,
    content: &ContentArgs,
    engine: &EngineArgs,
) -> Result<Session, Failure> {
    let tls = tls_for(&url, insecure, extra)?;
    let path = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let fetch = FetchPlan {
        path,
        with_key: false,
        statuses: Vec::new(),
        content_type: None,
        body_contains: content.expect_body.clone(),
        timeout: engine.timeout,
    };
    // A query may hold a secret, and the target stands in every output.
    let mut shown = url;
    shown.set_query(None);
    shown.set_fragment(None);
    let target = Target {
        url: shown,
        sandbox: false,
        connect_version: None,
        node: None,
        sandbox_profile: None,
        content_guid: None,
        fetch_with_key: false,
    };
    let materials = Arc::default();
    let ingredients = Ingredients { key: None, bundle: Bytes::new(), base_path: "/".to_owned(), materials };
    let publish_took = Duration::ZERO;
    let root = "/".to_owned();
    Ok(Session { target, fetch, root, publish: None, ingredients, tls, insecure, publish_took, server: None })
}

async fn connect(
    aim: ConnectAim,
    content: &ContentArgs,
    engine: &EngineArgs,
    (run_id, directory): (&str, &Path),
    view: &View,
) -> Result<Session, Failure> {
    let tls = tls_for(aim.config.server.url(), aim.config.insecure, extra_roots(&aim.config).as_ref())?;
    let client = Client::new(aim.config.clone()).map_err(Failure::unreachable)?;
    view.doing(&format!("preflight: {}", client.server()));
    let (target, runtimes) = preflight(&client, &aim).await.map_err(Failure::unreachable)?;
    let bundles = Bundles::read(content, runtimes)?;
    let plan = bundles.provision_plan(content, run_id);
    let journal = Journal::open(directory).map_err(Failure::invalid)?;
    let mut server = Server { aim, client, journal, further_requests: 0 };
    view.doing(if content.content.is_some() { "looking up the content item" } else { "publishing the application" });
    let began = Instant::now();
    let made = provision::provision(&server.client, &mut server.journal, &plan).await;
    let made = match made {
        Ok(made) => made,
        Err(error) => {
            let left = server.clean_up(view).await;
            return Err(not_ready(error, &left));
        }
    };
    let publish_took = began.elapsed();
    let ingredients = Ingredients {
        key: Some(server.aim.key.clone()),
        bundle: bundles.publish.as_ref().map(|(bundle, _)| bundle.bytes.clone()).unwrap_or_default(),
        base_path: server.client.server().path().to_owned(),
        materials: Arc::default(),
    };
    let target =
        Target { content_guid: Some(made.fetch.content.guid.clone()), fetch_with_key: made.fetch.with_key, ..target };
    let fetch = fetch_plan(&made, content, engine);
    let publish = bundles.publish_plan(&made, content, engine);
    let insecure = server.aim.config.insecure;
    let root = server.client.server().content(&made.fetch.content.guid).path().to_owned();
    Ok(Session { target, fetch, root, publish, ingredients, tls, insecure, publish_took, server: Some(server) })
}

async fn preflight(client: &Client, aim: &ConnectAim) -> Result<(Target, Runtimes), ApiError> {
    let settings = client.server_settings().await?;
    client.ping().await?;
    let me = client.me().await?;
    if !me.can_publish() {
        let call = "GET /__api__/v1/user".to_owned();
        let detail = format!("the key belongs to {}, who is a {} and may not publish", me.username, me.user_role);
        return Err(ApiError::Network { call, detail });
    }
    // Whether a language is there is found out by publishing; these only choose among its versions.
    let python = client.python_installations().await.map(|found| found.versions()).unwrap_or_default();
    let r = client.r_installations().await.map(|found| found.versions()).unwrap_or_default();
    let target = Target {
        url: client.server().url().clone(),
        sandbox: aim.sandbox.is_some() || settings.sandbox,
        connect_version: Some(settings.version).filter(|version| !version.is_empty()),
        node: settings.hostname,
        sandbox_profile: aim.profile.clone(),
        content_guid: None,
        fetch_with_key: false,
    };
    Ok((target, Runtimes { python, r }))
}

fn not_ready(error: ProvisionError, left: &[String]) -> Failure {
    let failure = match error {
        ProvisionError::Reference { .. } | ProvisionError::Path(_) => Failure::invalid(error),
        error => Failure::unreachable(error),
    };
    if left.is_empty() {
        return failure;
    }
    let error = failure.error.context(format!("left on the server: {} (connect-bench cleanup)", left.join(", ")));
    Failure { exit: failure.exit, error }
}

/// The two applications of a run.
struct Bundles {
    fetch: Option<Bundle>,
    /// With what it is, for the report.
    publish: Option<(Bundle, String)>,
    fetch_is_ours: bool,
    publish_is_ours: bool,
}

impl Bundles {
    fn read(content: &ContentArgs, runtimes: Runtimes) -> Result<Bundles, Failure> {
        let options = BundleOptions {
            app_mode: content.appmode.as_deref().map(AppMode::from_name),
            entrypoint: content.entrypoint.clone(),
            runtimes,
        };
        let read = |directory: &Option<PathBuf>, ours: Fixture| match directory {
            Some(directory) => Bundle::from_directory(directory, &options),
            None => Bundle::fixture(ours, &options.runtimes),
        };
        let fetch = match content.content {
            Some(_) => None,
            None => Some(read(&content.fetch_bundle, Fixture::FlaskStocks).map_err(Failure::invalid)?),
        };
        let publish = match content.no_publish {
            true => None,
            false => {
                let bundle = read(&content.publish_bundle, Fixture::PlumberStocks).map_err(Failure::invalid)?;
                let what = content.publish_bundle.as_ref().map(|directory| directory.display().to_string());
                Some((bundle, what.unwrap_or_else(|| Fixture::PlumberStocks.path().to_owned())))
            }
        };
        Ok(Bundles {
            fetch,
            publish,
            fetch_is_ours: content.fetch_bundle.is_none() && content.content.is_none(),
            publish_is_ours: content.publish_bundle.is_none(),
        })
    }

    fn provision_plan(&self, content: &ContentArgs, run_id: &str) -> ProvisionPlan {
        let access = access(content);
        let path = content.path.clone();
        let path = path.unwrap_or_else(|| if self.fetch_is_ours { FLASK_PATH.to_owned() } else { "/".to_owned() });
        let fetch = match (&self.fetch, &content.content) {
            (Some(bundle), _) => {
                let runtime = RuntimeSettings::default();
                FetchTarget::Publish { bundle: Box::new(bundle.clone()), runtime, access }
            }
            (None, reference) => FetchTarget::Existing(reference.clone().unwrap_or_default()),
        };
        let stock = self.fetch_is_ours && path.starts_with("/stocks/") && path.split('/').count() == 3;
        ProvisionPlan {
            run_id: run_id.to_owned(),
            fetch,
            expected: if stock && path != "/stocks/" { Expected::Stock } else { Expected::Success },
            path,
            publish: self.publish.as_ref().map(|_| match content.publish_new_content {
                true => PublishTarget::NewItems,
                false => PublishTarget::OneItem(access),
            }),
            deploy_within: DEPLOY_WITHIN,
            answer_within: ANSWER_WITHIN,
        }
    }

    fn publish_plan(&self, made: &Provisioned, content: &ContentArgs, engine: &EngineArgs) -> Option<PublishPlan> {
        let (bundle, what) = self.publish.as_ref()?;
        let (guid, name) = match made.publish.as_ref()? {
            PublishItem::One { guid, name } => (Some(guid.clone()), name.clone()),
            PublishItem::New { prefix } => (None, prefix.clone()),
        };
        Some(PublishPlan {
            guid,
            name,
            bundle: what.clone(),
            bundle_md5: bundle.md5.clone(),
            bundle_bytes: bundle.bytes.len() as u64,
            path: if self.publish_is_ours { PLUMBER_PATH.to_owned() } else { "/".to_owned() },
            with_key: access(content) == Access::WithKey,
            timeout: engine.timeout,
            deploy_timeout: DEPLOY_WITHIN,
        })
    }
}

fn access(content: &ContentArgs) -> Access {
    match content.fetch_auth {
        FetchAuth::All => Access::Everyone,
        FetchAuth::Key => Access::WithKey,
    }
}

/// What was seen before the run is what every fetch must be: status, media type, and the text that tells the application.
fn fetch_plan(made: &Provisioned, content: &ContentArgs, engine: &EngineArgs) -> FetchPlan {
    let probe = &made.fetch.probe;
    FetchPlan {
        path: made.fetch.target.clone(),
        with_key: made.fetch.with_key,
        statuses: vec![probe.status],
        content_type: Some(probe.content_type.to_ascii_lowercase()).filter(|media| !media.is_empty()),
        body_contains: content.expect_body.clone().or_else(|| probe.marker.clone()),
        timeout: engine.timeout,
    }
}

impl Session {
    /// Gives the nodes of a summary the names that the server tells for their cookies.
    pub(super) async fn name_nodes(&mut self, summary: &mut Summary) {
        let Some(server) = &mut self.server else { return };
        let cookies = labels(summary);
        if cookies.is_empty() {
            return;
        }
        let (names, requests) = nodes::names(&server.aim.config, &cookies).await;
        server.further_requests += requests;
        rename(summary, &names);
    }

    /// Requests of the Connect client so far.
    pub(super) fn api_requests(&self) -> u64 {
        self.server.as_ref().map_or(0, |server| server.client.counts().read().reached() + server.further_requests)
    }

    /// Removes what was made on the server; returns what remains. Ends the sandbox.
    pub(super) async fn finish(self, view: &View) -> Vec<String> {
        match self.server {
            Some(mut server) => server.clean_up_and_stop(view).await,
            None => Vec::new(),
        }
    }
}

impl Server {
    async fn clean_up(&mut self, view: &View) -> Vec<String> {
        view.doing("cleaning up");
        match provision::deprovision(&self.client, &mut self.journal, CLEAN_UP_WITHIN).await {
            Ok(left) => left.into_iter().map(|left| format!("{} ({})", left.item.name, left.reason)).collect(),
            Err(error) => vec![error.to_string()],
        }
    }

    async fn clean_up_and_stop(&mut self, view: &View) -> Vec<String> {
        let left = self.clean_up(view).await;
        if let Some(sandbox) = self.aim.sandbox.take()
            && let Err(error) = sandbox.stop().await.context("the sandbox did not end")
        {
            view.warn(&format!("{error:#}"));
        }
        left
    }
}

/// The cookie values by which nodes were told apart.
fn labels(summary: &Summary) -> Vec<String> {
    let all = summary.whole.series.iter().flat_map(|series| series.nodes.keys().cloned());
    let labels: std::collections::BTreeSet<String> = all.filter(|label| label != crate::window::OTHER_NODES).collect();
    labels.into_iter().collect()
}

fn rename(summary: &mut Summary, names: &BTreeMap<String, String>) {
    let windows = [&mut summary.steady, &mut summary.whole];
    for series in windows.into_iter().flat_map(|window| window.series.iter_mut()) {
        for (label, node) in std::mem::take(&mut series.nodes) {
            let name = names.get(&label).cloned().unwrap_or(label);
            let mine = series.nodes.entry(name).or_default();
            mine.completed += node.completed;
            mine.failed += node.failed;
            mine.duration.merge(&node.duration);
        }
    }
}
