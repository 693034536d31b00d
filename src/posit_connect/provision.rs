//! What a run needs on the server before its first request, and its removal afterwards.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use super::address::{AddressError, ServerAddress, content_in};
use super::api::{Client, Fetched};
use super::bundle::Bundle;
use super::error::ApiError;
use super::journal::{Journal, JournalError, Kind, MARKER, Remaining, description, item_name, item_prefix};
use super::settings::{self, Restored, SettingsError};
use super::types::{Content, ContentPatch, NewContent, RuntimeSettings, is_id};

/// The pause between two looks at an application that does not answer yet.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// The first pause before deleting again what could not be deleted; it doubles.
const DELETE_AGAIN: Duration = Duration::from_millis(500);

/// Who may fetch a content item that we publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody: `access_type` becomes `all`, and the VUs send no key.
    Everyone,
    /// As the server has it by default; the VUs send the key.
    WithKey,
}

/// What the VUs fetch.
#[derive(Debug, Clone)]
pub enum FetchTarget {
    /// An application that is published for this run.
    Publish {
        /// Its bundle.
        bundle: Box<Bundle>,
        /// Process settings; those that are `None` stay the server's.
        runtime: RuntimeSettings,
        /// Who may fetch it.
        access: Access,
    },
    /// A content item that is there already.
    Existing {
        /// Its GUID or address.
        reference: String,
        /// Process settings for the time of the run; those that are `None` stay.
        runtime: RuntimeSettings,
    },
}

/// What a probe's answer must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Any success.
    Success,
    /// The answer of our Flask application for one ticker.
    Stock,
}

/// What to make on the server.
#[derive(Debug, Clone)]
pub struct ProvisionPlan {
    /// The run; part of all names.
    pub run_id: String,
    /// What the VUs fetch.
    pub fetch: FetchTarget,
    /// The path below the content item, with its query.
    pub path: String,
    /// What it has to answer.
    pub expected: Expected,
    /// What the publish loop needs, where there is one.
    pub publish: Option<PublishTarget>,
    /// How long a deployment may take.
    pub deploy_within: Duration,
    /// How long the application may take to answer after its deployment.
    pub answer_within: Duration,
}

/// Where the publish loop publishes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishTarget {
    /// Again and again to one content item, which is made now.
    OneItem(Access),
    /// Each time to a new one, which the loop makes and deletes itself; only the intent is noted now.
    NewItems,
}

/// What is on the server.
#[derive(Debug, Clone, Serialize)]
pub struct Provisioned {
    /// What the VUs fetch.
    pub fetch: FetchItem,
    /// What the publish loop publishes to.
    pub publish: Option<PublishItem>,
}

/// The content item that the VUs fetch.
#[derive(Debug, Clone, Serialize)]
pub struct FetchItem {
    /// The item as the server describes it.
    pub content: Content,
    /// The address that is fetched, on the server as we were given it.
    pub url: Url,
    /// Path and query of that address, as they go on the request line.
    pub target: String,
    /// Whether the VUs have to send the key.
    pub with_key: bool,
    /// What it answered.
    pub probe: Probe,
}

/// The content items of the publish loop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PublishItem {
    /// This one.
    One {
        /// Its identifier.
        guid: String,
        /// Its name.
        name: String,
    },
    /// Those that the loop will make, with names that begin so.
    New {
        /// The beginning of the names.
        prefix: String,
    },
}

/// What the application answered before the run, for checks during it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Probe {
    /// The status.
    pub status: u16,
    /// The media type without parameters.
    pub content_type: String,
    /// Bytes of the body.
    pub length: usize,
    /// A text that every such answer has, where we know one.
    pub marker: Option<String>,
}

/// Why the server is not ready for the run. What was made until then is in the journal.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// A call failed.
    #[error("cannot {doing}: {source}")]
    Api {
        /// What we were about to do.
        doing: String,
        /// Why not.
        source: ApiError,
    },
    /// The journal cannot be kept.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The content item that was asked for is none of this server.
    #[error(
        "{reference:?} is no content item of {server}: give its GUID, or an address of the form {server}content/<GUID>/"
    )]
    Reference {
        /// What was given.
        reference: String,
        /// The server.
        server: String,
    },
    /// The path leads out of the content item.
    #[error("the path {0:?} leads out of the content item")]
    Path(String),
    /// The application does not answer, or with an error.
    #[error("{url} was answered with status {status} after {after:.0?}: {text}")]
    NotServing {
        /// The address.
        url: String,
        /// The status.
        status: u16,
        /// How long we waited.
        after: Duration,
        /// What it may mean.
        text: String,
    },
    /// It answers something else than it should.
    #[error("{url} is not answered by the application: {detail}")]
    WrongBody {
        /// The address.
        url: String,
        /// What is wrong.
        detail: String,
    },
}

fn doing(what: &str) -> impl FnOnce(ApiError) -> ProvisionError + use<> {
    let doing = what.to_owned();
    move |source| ProvisionError::Api { doing, source }
}

/// Makes what a run needs on the server. Everything is in the journal before it is made; also after an error, and after
/// this future was dropped, [`deprovision`] removes all of it.
///
/// # Errors
/// Where the server is not ready for the run.
pub async fn provision(
    client: &Client,
    journal: &mut Journal,
    plan: &ProvisionPlan,
) -> Result<Provisioned, ProvisionError> {
    let (content, with_key) = match &plan.fetch {
        FetchTarget::Existing { reference, runtime } => {
            let (content, with_key) = existing(client, reference).await?;
            let changed = settings::change(client, journal, &plan.run_id, content, runtime).await;
            (changed.map_err(not_changed)?, with_key)
        }
        FetchTarget::Publish { bundle, runtime, access } => {
            let content = create(client, journal, plan, "fetch").await?;
            deploy(client, plan, &content.guid, bundle).await?;
            (configure(client, &content.guid, runtime, *access).await?, *access == Access::WithKey)
        }
    };
    let fetch = probe(client, plan, content, with_key).await?;
    let publish = match plan.publish {
        None => None,
        Some(PublishTarget::OneItem(access)) => {
            let content = create(client, journal, plan, "publish").await?;
            configure(client, &content.guid, &RuntimeSettings::default(), access).await?;
            Some(PublishItem::One { guid: content.guid, name: item_name(&plan.run_id, "publish") })
        }
        Some(PublishTarget::NewItems) => {
            let prefix = item_prefix(&plan.run_id, "publish");
            journal.intent(Kind::ContentPrefix, &prefix, &plan.run_id, &client.server().to_string())?;
            Some(PublishItem::New { prefix })
        }
    };
    Ok(Provisioned { fetch, publish })
}

async fn create(
    client: &Client,
    journal: &mut Journal,
    plan: &ProvisionPlan,
    role: &str,
) -> Result<Content, ProvisionError> {
    let name = item_name(&plan.run_id, role);
    journal.intent(Kind::Content, &name, &plan.run_id, &client.server().to_string())?;
    let new = NewContent { name: name.clone(), title: name.clone(), description: description(&plan.run_id) };
    let content = client.create_content(&new).await.map_err(doing("make a content item"))?;
    journal.created(&name, &content.guid)?;
    Ok(content)
}

async fn deploy(client: &Client, plan: &ProvisionPlan, guid: &str, bundle: &Bundle) -> Result<(), ProvisionError> {
    let uploaded = client.upload_bundle(guid, bundle.bytes.clone()).await.map_err(doing("upload the bundle"))?;
    let task = client.deploy(guid, &uploaded.id).await.map_err(doing("deploy the bundle"))?;
    let log = &mut |_: &str| {};
    client.wait_for_task(&task, plan.deploy_within, log).await.map_err(doing("publish the application"))
}

async fn configure(
    client: &Client,
    guid: &str,
    runtime: &RuntimeSettings,
    access: Access,
) -> Result<Content, ProvisionError> {
    let access_type = (access == Access::Everyone).then(|| "all".to_owned());
    let patch = ContentPatch { access_type, runtime: runtime.clone() };
    if patch == ContentPatch::default() {
        return client.content(guid).await.map_err(doing("read the content item"));
    }
    let what = "set who may fetch the content item and its process settings \
                (where the server does not permit access for everyone, let the VUs send the key)";
    client.patch_content(guid, &patch).await.map_err(doing(what))
}

fn not_changed(error: SettingsError) -> ProvisionError {
    match error {
        SettingsError::Api(source) => doing("set the process settings of the content item")(source),
        SettingsError::Journal(error) => error.into(),
    }
}

async fn existing(client: &Client, reference: &str) -> Result<(Content, bool), ProvisionError> {
    let guid = referenced(client.server(), reference).ok_or_else(|| ProvisionError::Reference {
        reference: reference.to_owned(),
        server: client.server().to_string(),
    })?;
    let content = client.content(&guid).await.map_err(doing(&format!("use the content item {guid}")))?;
    let with_key = content.access_type != "all";
    Ok((content, with_key))
}

/// The GUID that a reference to a content item of this server holds.
fn referenced(server: &ServerAddress, reference: &str) -> Option<String> {
    let reference = reference.trim();
    if is_id(reference) {
        return Some(reference.to_owned());
    }
    let url = Url::parse(reference).ok()?;
    let guid = content_in(&url).filter(|guid| is_id(guid))?;
    match ServerAddress::from_url(&url) {
        Err(AddressError::Content { server: theirs, .. }) if theirs == server.to_string() => Some(guid),
        _ => None,
    }
}

/// The address of a path below a content item; `None` where the path leads out of it.
fn below(server: &ServerAddress, guid: &str, path: &str) -> Option<Url> {
    let base = server.content(guid);
    let url = Url::parse(&format!("{base}{}", path.trim_start_matches('/'))).ok()?;
    url.path().starts_with(base.path()).then_some(url)
}

/// Waits until the application answers, and checks that it is the application which does.
async fn probe(
    client: &Client,
    plan: &ProvisionPlan,
    content: Content,
    with_key: bool,
) -> Result<FetchItem, ProvisionError> {
    let url =
        below(client.server(), &content.guid, &plan.path).ok_or_else(|| ProvisionError::Path(plan.path.clone()))?;
    let began = Instant::now();
    let fetched = loop {
        let fetched = client.fetch(&url, with_key).await.map_err(doing("fetch the application"))?;
        // While a process starts, the server answers with an error of its own.
        if fetched.status < 500 || began.elapsed() >= plan.answer_within {
            break fetched;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    };
    if !(200..=299).contains(&fetched.status) {
        let text = meaning(client, &fetched, with_key);
        let (status, after) = (fetched.status, began.elapsed());
        return Err(ProvisionError::NotServing { url: url.to_string(), status, after, text });
    }
    let marker = match plan.expected {
        Expected::Success => None,
        Expected::Stock => Some(stock_marker(&fetched.body).map_err(|detail| {
            let detail = client.shown(&format!("{detail}; it begins {}", beginning(&fetched.body)));
            ProvisionError::WrongBody { url: url.to_string(), detail }
        })?),
    };
    let target = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    let probe =
        Probe { status: fetched.status, content_type: fetched.content_type, length: fetched.body.len(), marker };
    Ok(FetchItem { content, url, target, with_key, probe })
}

fn meaning(client: &Client, fetched: &Fetched, with_key: bool) -> String {
    match (fetched.status, with_key, &fetched.location) {
        (300..=399, _, Some(to)) => format!("a redirect to {to}; give the path that it leads to"),
        (401 | 403, false, _) => "the server wants a log-in, although access is for everyone".to_owned(),
        (401 | 403, true, _) => "the API key may not fetch it".to_owned(),
        (404, ..) => "the application has no such path".to_owned(),
        (500.., ..) => format!("the application did not start: {}", client.shown(&beginning(&fetched.body))),
        _ => client.shown(&beginning(&fetched.body)),
    }
}

fn beginning(body: &Bytes) -> String {
    String::from_utf8_lossy(body.get(..400).unwrap_or(body)).into_owned()
}

/// Checks the answer of our Flask application, and returns the text to look for in later ones.
fn stock_marker(body: &Bytes) -> Result<String, String> {
    let value: Value = serde_json::from_slice(body).map_err(|error| format!("the answer is no JSON ({error})"))?;
    let ticker = value.get("ticker").and_then(Value::as_str).ok_or("the answer has no ticker")?;
    for number in ["price", "volatility"] {
        if !value.get(number).is_some_and(Value::is_number) {
            return Err(format!("the answer has no number {number:?}"));
        }
    }
    // Which white space the application's JSON has is its own affair; what is looked for is what was seen.
    let marker = [format!("\"ticker\":\"{ticker}\""), format!("\"ticker\": \"{ticker}\"")]
        .into_iter()
        .find(|marker| String::from_utf8_lossy(body).contains(marker.as_str()));
    Ok(marker.unwrap_or_else(|| ticker.to_owned()))
}

/// Something that could not be removed from the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Leftover {
    /// What the journal says of it.
    pub item: Remaining,
    /// Why it is still there.
    pub reason: String,
}

/// Deletes everything that the journal lists, trying again until it is gone or `within` is over. Returns what is left.
///
/// A journal that cannot be written any more stops nothing: the next clean-up then looks for what is gone already.
pub async fn deprovision(client: &Client, journal: &mut Journal, within: Duration) -> Vec<Leftover> {
    let began = Instant::now();
    let mut pause = DELETE_AGAIN;
    // What is on another server cannot be removed by trying again.
    let (mut to_remove, elsewhere): (Vec<Remaining>, Vec<Remaining>) =
        journal.remaining().into_iter().partition(|item| item.server == client.server().to_string());
    // The last made goes first: the publish loop's items before what the VUs fetch.
    to_remove.reverse();
    loop {
        let mut left = Vec::new();
        for item in to_remove {
            let time_left = within.saturating_sub(began.elapsed()).max(LOOK_AGAIN);
            let removed = tokio::time::timeout(time_left, remove(client, &item)).await;
            match removed {
                Ok(Ok(())) => {
                    if let Err(error) = journal.deleted(&item.name) {
                        tracing::info!("{} is deleted, but {error}", item.name);
                    }
                }
                Ok(Err(reason)) => left.push(Leftover { item, reason }),
                Err(_elapsed) => left.push(Leftover { item, reason: "there was no time left".to_owned() }),
            }
        }
        if left.is_empty() || began.elapsed() + pause >= within {
            left.extend(elsewhere.into_iter().map(|item| {
                let reason = format!("it is on another server, {}", item.server);
                Leftover { item, reason }
            }));
            return left;
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
        to_remove = left.into_iter().map(|leftover| leftover.item).collect();
    }
}

/// Removes what one intent stands for.
async fn remove(client: &Client, item: &Remaining) -> Result<(), String> {
    let failed = |error: ApiError| error.to_string();
    if let Some(change) = &item.change {
        return match settings::restore(client, change).await.map_err(failed)? {
            Restored::Done | Restored::Gone => Ok(()),
            // Somebody's decision, and not ours to undo.
            Restored::ChangedSince(names) => {
                tracing::warn!("{}: {} changed by somebody since, and left alone", item.name, names.join(", "));
                Ok(())
            }
        };
    }
    if let Some(guid) = &item.guid {
        return client.delete_content(guid).await.map_err(failed);
    }
    // Whether the server made it is not known: the answer never came.
    let me = client.me().await.map_err(failed)?;
    let found = match item.kind {
        // Without its change there is nothing to put back.
        Kind::Settings => Vec::new(),
        Kind::ContentPrefix => client.content_of(&me.guid).await.map_err(failed)?,
        Kind::Content => {
            let found = client.find_content(&item.name).await.map_err(failed)?;
            if found.is_empty() {
                // A request that we broke off may still be on its way through the server.
                tokio::time::sleep(LOOK_AGAIN).await;
                client.find_content(&item.name).await.map_err(failed)?
            } else {
                found
            }
        }
    };
    for content in found {
        let named = match item.kind {
            Kind::Content => content.name == item.name,
            Kind::ContentPrefix => content.name.starts_with(&item.name),
            Kind::Settings => false,
        };
        if named && is_ours(&content, &me.guid) {
            client.delete_content(&content.guid).await.map_err(failed)?;
        }
    }
    Ok(())
}

/// Whether an item that is in no journal with its identifier was made by this program with this key.
pub(crate) fn is_ours(content: &Content, me: &str) -> bool {
    content.name.starts_with(super::journal::PREFIX)
        && content.description.trim_end().ends_with(MARKER)
        && content.owner_guid == me
}

#[cfg(test)]
#[path = "provision_tests.rs"]
mod tests;
