//! What lies around a run: the preflight, what is made on the server before it, and its removal afterwards.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use url::Url;

use super::connection::Connections;
use super::failure::Failure;
use super::panics::caught;
use super::parts::StepBundles;
use super::plain;
use super::programs::Ingredients;
use super::rails::Health;
use super::runtime;
use super::signals::Signals;
use super::target::{Aim, ConnectAim, extra_roots};
use super::view::View;
use crate::cli::{ContentArgs, EngineArgs, FetchAuth};
use crate::connection_options::ConnectionOptions;
use crate::exit::Exit;
use crate::http::tls;
use crate::plan::{FetchPlan, PublishPlan, REAL_PROCESSES, Target};
use crate::posit_connect::bundle::{Bundle, BundleOptions};
use crate::posit_connect::fixtures::Fixture;
use crate::posit_connect::journal::{Journal, Kind, item_prefix};
use crate::posit_connect::manifest::{AppMode, Runtimes};
use crate::posit_connect::provision::{
    self, Access, Expected, FetchTarget, ProvisionError, ProvisionPlan, Provisioned, PublishItem, PublishTarget,
};
use crate::posit_connect::types::RuntimeSettings;
use crate::posit_connect::{ApiError, Client, nodes};
use crate::scenario::LoadTest;
use crate::summary::Summary;

/// How long a deployment may take before the run begins: a first one may compile packages.
const DEPLOY_WITHIN: Duration = Duration::from_secs(900);
/// How long an application may take to answer after its deployment.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);
/// How long the clean-up tries.
const CLEAN_UP_WITHIN: Duration = Duration::from_secs(60);
/// The same where the server was given up already.
const CLEAN_UP_OF_GONE_WITHIN: Duration = Duration::from_secs(10);
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
    pub(super) connections: Connections,
    /// How long the publish before the run took: a stage of a search should cover one.
    pub(super) publish_took: Duration,
    /// The Connect side; none of a plain URL.
    pub(super) server: Option<Server>,
    /// Requests beside the run that no summary has yet.
    pub(super) unreported: u64,
}

/// The Connect side of a session.
pub(super) struct Server {
    aim: ConnectAim,
    client: Client,
    journal: Journal,
    /// What can run on it.
    runtimes: Runtimes,
    /// Requests of `client` that a summary has.
    reported: u64,
}

/// Makes a target ready. On failure, and where a signal comes first, what was made until then is removed again.
pub(super) async fn prepare(
    aim: Aim,
    (content, engine, connections): (&ContentArgs, &EngineArgs, Connections),
    place: (&str, &Path),
    (view, signals): (&View, &mut Signals),
) -> Result<Session, Failure> {
    match aim {
        Aim::Url { url, insecure, extra } => tokio::select! {
            session = plain::prepare(url, (insecure, extra.as_ref()), (content, engine), connections, view) => session,
            _ = signals.next() => Err(interrupted()),
        },
        Aim::Connect(aim) => connect(*aim, (content, engine, connections), place, (view, signals)).await,
    }
}

fn interrupted() -> Failure {
    Failure::new(Exit::Interrupted, anyhow!("interrupted before the run began"))
}

pub(super) fn tls_for(
    url: &Url,
    insecure: bool,
    extra: Option<&tls::ExtraRoots>,
    options: &ConnectionOptions,
) -> Result<Option<Arc<rustls::ClientConfig>>, Failure> {
    match url.scheme() {
        "https" => tls::config(insecure, extra, options).map(Some).map_err(Failure::invalid),
        _ => Ok(None),
    }
}

async fn connect(
    aim: ConnectAim,
    (content, engine, connections): (&ContentArgs, &EngineArgs, Connections),
    (run_id, directory): (&str, &Path),
    (view, signals): (&View, &mut Signals),
) -> Result<Session, Failure> {
    let (insecure, extra) = (aim.config.insecure, extra_roots(&aim.config));
    let tls = tls_for(aim.config.server.url(), insecure, extra.as_ref(), &connections.options)?;
    let client = Client::new(aim.config.clone()).map_err(Failure::api)?;
    view.doing(&format!("preflight: {}", client.server()));
    let publishes = content.content.is_none() || !content.no_publish;
    let rails = signals.rails.clone();
    let known = async {
        let known = preflight(&client, &aim, publishes).await.map_err(Failure::api)?;
        rails.look(&client).await.map(|()| known)
    };
    let (target, runtimes) = tokio::select! {
        known = known => known?,
        _ = signals.next() => return Err(interrupted()),
    };
    let bundles = Bundles::read(content, runtimes.clone())?;
    let plan = bundles.provision_plan(content, run_id);
    let journal = Journal::open(directory).map_err(Failure::invalid)?;
    let mut server = Server { aim, client, journal, runtimes, reported: 0 };
    view.doing(if content.content.is_some() { "looking up the content item" } else { "publishing the application" });
    let began = Instant::now();
    let made = tokio::select! {
        made = caught(Box::pin(provision(&mut server, &plan))) => made,
        _ = signals.next() => Err(interrupted()),
    };
    let made = match made {
        Ok(made) => made,
        Err(failure) => {
            return Err(with_left(failure, &server.clean_up_and_stop(CLEAN_UP_WITHIN, view, signals).await));
        }
    };
    let publish_took = began.elapsed();
    let ingredients = Ingredients {
        key: Some(server.aim.key.clone()),
        bundle: bundles.publish.as_ref().map(|(bundle, _)| bundle.bytes.clone()).unwrap_or_default(),
        base_path: server.client.server().path().to_owned(),
        materials: Arc::default(),
        step_bundles: StepBundles::default(),
    };
    let fetch = fetch_plan(&made, content, engine);
    let guid = Some(made.fetch.content.guid.clone());
    let (settings, processes) = runtime::effective(&server.client, &made.fetch.content, &bundles.runtime).await;
    let target = Target { content_guid: guid, fetch_with_key: fetch.with_key, processes, settings, ..target };
    let publish = bundles.publish_plan(&made, content, engine);
    let root = server.client.server().content(&made.fetch.content.guid).path().to_owned();
    let server = Some(server);
    Ok(Session {
        target,
        fetch,
        root,
        publish,
        ingredients,
        tls,
        insecure,
        connections,
        publish_took,
        server,
        unreported: 0,
    })
}

async fn provision(server: &mut Server, plan: &ProvisionPlan) -> Result<Provisioned, Failure> {
    provision::provision(&server.client, &mut server.journal, plan).await.map_err(not_ready)
}

async fn preflight(client: &Client, aim: &ConnectAim, publishes: bool) -> Result<(Target, Runtimes), ApiError> {
    let settings = client.server_settings().await?;
    client.ping().await?;
    let me = client.me().await?;
    if publishes && !me.can_publish() {
        let call = "POST /__api__/v1/content".to_owned();
        let text = format!("it belongs to {}, who is a {}", me.username, me.user_role);
        return Err(ApiError::Forbidden { call, code: None, text });
    }
    // Whether a language is there is found out by publishing; these only choose among its versions.
    let python = client.python_installations().await.map(|found| found.versions()).unwrap_or_default();
    let r = client.r_installations().await.map(|found| found.versions()).unwrap_or_default();
    let real = settings.sandbox && settings.sandbox_content.as_deref() == Some("processes");
    let target = Target {
        url: client.server().url().clone(),
        sandbox: aim.sandbox.is_some() || settings.sandbox,
        connect_version: Some(settings.version).filter(|version| !version.is_empty()),
        node: settings.hostname,
        sandbox_profile: aim.profile.clone().or_else(|| real.then(|| format!("own{REAL_PROCESSES}"))),
        content_guid: None,
        fetch_with_key: false,
        processes: None,
        settings: Vec::new(),
    };
    Ok((target, Runtimes { python, r }))
}

fn not_ready(error: ProvisionError) -> Failure {
    match error {
        ProvisionError::Reference { .. } | ProvisionError::Path(_) | ProvisionError::Journal(_) => {
            Failure::invalid(error)
        }
        error => Failure::unreachable(error),
    }
}

pub(super) fn with_left(failure: Failure, left: &[String]) -> Failure {
    if left.is_empty() {
        return failure;
    }
    let Failure { exit, error } = failure;
    let left = left.join(", ");
    Failure::new(exit, anyhow!("{error:#}\nleft on the server: {left} (remove it with: connect-bench cleanup)"))
}

/// The two applications of a run.
struct Bundles {
    fetch: Option<Bundle>,
    /// With what it is, for the report.
    publish: Option<(Bundle, String)>,
    fetch_is_ours: bool,
    publish_is_ours: bool,
    /// How the server is to run the first.
    runtime: RuntimeSettings,
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
            runtime: runtime::wanted(&content.runtime)?,
        })
    }

    fn provision_plan(&self, content: &ContentArgs, run_id: &str) -> ProvisionPlan {
        let access = access(content);
        let path = content.path.clone();
        let path = path.unwrap_or_else(|| if self.fetch_is_ours { FLASK_PATH.to_owned() } else { "/".to_owned() });
        let fetch = match (&self.fetch, &content.content) {
            (Some(bundle), _) => {
                FetchTarget::Publish { bundle: Box::new(bundle.clone()), runtime: self.runtime.clone(), access }
            }
            (None, reference) => FetchTarget::Existing {
                reference: reference.clone().unwrap_or_default(),
                runtime: self.runtime.clone(),
            },
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
        with_key: made.fetch.with_key || access(content) == Access::WithKey,
        statuses: vec![probe.status],
        content_type: Some(probe.content_type.to_ascii_lowercase()).filter(|media| !media.is_empty()),
        body_contains: content.expect_body.clone().or_else(|| probe.marker.clone()),
        timeout: engine.timeout,
    }
}

impl Session {
    /// Makes what the steps of a load test publish, and notes in the journal what their content items will be called.
    pub(super) fn publishes(&mut self, load_test: &LoadTest, directory: &Path, run_id: &str) -> Result<(), Failure> {
        let Some(server) = &mut self.server else { return Ok(()) };
        let bundles = StepBundles::read(load_test, directory, &server.runtimes)?;
        if bundles.is_empty() {
            return Ok(());
        }
        // Room for the numbers of a scenario and of a series.
        const NUMBERS: &str = "000-00000";
        let longest = item_prefix(run_id, &format!("step-{NUMBERS}"));
        let prefix = longest.strip_suffix(&format!("{NUMBERS}-")).unwrap_or(&longest).to_owned();
        let address = server.client.server().to_string();
        server.journal.intent(Kind::ContentPrefix, &prefix, run_id, &address).map_err(Failure::invalid)?;
        self.ingredients.step_bundles = bundles.with_prefix(prefix);
        Ok(())
    }

    /// Gives the nodes of a summary the names that the server tells for their cookies, and returns those.
    pub(super) async fn name_nodes(&mut self, summary: &mut Summary) -> BTreeMap<String, String> {
        let Some(server) = &self.server else { return BTreeMap::new() };
        let cookies = labels(summary);
        if cookies.is_empty() {
            return BTreeMap::new();
        }
        let (names, requests) = nodes::names(&server.aim.config, &cookies).await;
        self.unreported += requests;
        rename(summary, &names);
        names
    }

    /// Begins to ask the server how it is; `None` of a plain URL.
    pub(super) fn health(&self) -> Result<Option<Health>, Failure> {
        self.server.as_ref().map(|server| Health::start(&server.aim.config)).transpose()
    }

    /// Requests beside the run since this was last asked.
    pub(super) fn further_requests(&mut self) -> u64 {
        let mut further = std::mem::take(&mut self.unreported);
        if let Some(server) = &mut self.server {
            let reached = server.client.counts().read().reached();
            further += reached - std::mem::replace(&mut server.reported, reached);
        }
        further
    }

    /// Removes what was made on the server; returns what remains. Ends the sandbox.
    pub(super) async fn finish(&mut self, gone: bool, view: &View, signals: &mut Signals) -> Vec<String> {
        let within = if gone { CLEAN_UP_OF_GONE_WITHIN } else { CLEAN_UP_WITHIN };
        match &mut self.server {
            Some(server) => server.clean_up_and_stop(within, view, signals).await,
            None => Vec::new(),
        }
    }
}

impl Server {
    /// Signals do not end it, but the second one does.
    async fn clean_up(&mut self, within: Duration, view: &View, signals: &mut Signals) -> Vec<String> {
        if self.journal.remaining().is_empty() {
            return Vec::new();
        }
        view.doing("cleaning up");
        let enough = async {
            signals.next().await;
            view.say("cleaning up on the server; again to leave everything there");
            signals.next().await;
        };
        tokio::select! {
            left = provision::deprovision(&self.client, &mut self.journal, within) => {
                left.into_iter().map(|left| format!("{} ({})", left.item.name, left.reason)).collect()
            }
            () = enough => {
                self.journal.remaining().into_iter().map(|item| format!("{} (interrupted)", item.name)).collect()
            }
        }
    }

    async fn clean_up_and_stop(&mut self, within: Duration, view: &View, signals: &mut Signals) -> Vec<String> {
        let left = self.clean_up(within, view, signals).await;
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
    summary.rehearsal.rename(names);
    let windows = [&mut summary.steady, &mut summary.whole];
    for series in windows.into_iter().flat_map(|window| window.series.iter_mut()) {
        for (label, node) in std::mem::take(&mut series.nodes) {
            let name = names.get(&label).cloned().unwrap_or(label);
            let mine = series.nodes.entry(name).or_default();
            mine.completed += node.completed;
            mine.failed += node.failed;
            mine.left += node.left;
            mine.duration.merge(&node.duration);
        }
    }
}
