//! Connect's API as a client: one method per call. Not the load path: what the VUs do goes through the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::LOCATION;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;
use url::Url;

use super::address::ServerAddress;
use super::error::ApiError;
use super::journal::PREFIX;
use super::transport::{Answer, ApiCounts, Call, ClientConfig, Transport};
use super::types::{
    Content, Deployed, Hit, Installations, NewContent, SchedulerSettings, ServerSettings, Task, UploadedBundle, User,
    Visits, is_id,
};

/// Media type of a bundle.
pub const BUNDLE_TYPE: &str = "application/gzip";
/// Media type of everything else that is sent.
pub const JSON_TYPE: &str = "application/json";
/// How long one poll of a task asks the server to wait for news, in seconds.
pub const TASK_WAIT_S: u64 = 1;
/// A poll that came back sooner than this did not wait; then we pause ourselves.
const NOT_WAITED: Duration = Duration::from_millis(200);
const OWN_PAUSE: Duration = Duration::from_millis(500);
/// How many of a log's last lines an error shows.
const LAST_LINES: usize = 12;

/// What a content item answered.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The status.
    pub status: u16,
    /// Media type without parameters, in lower case; empty where there is none.
    pub content_type: String,
    /// The body.
    pub body: Bytes,
    /// Where a redirect leads to.
    pub location: Option<String>,
}

/// A client of one Connect server. It keeps one cookie jar for its life, because a task is known only to the node that
/// runs it.
pub struct Client {
    transport: Transport,
}

impl Client {
    /// A client; contacts nobody yet.
    ///
    /// # Errors
    /// Where the certificate authority cannot be read, or the key would go over plain http to another machine.
    pub fn new(config: ClientConfig) -> Result<Client, ApiError> {
        Ok(Client { transport: Transport::new(config)? })
    }

    /// The server.
    #[must_use]
    pub fn server(&self) -> &ServerAddress {
        &self.transport.config().server
    }

    /// The configuration, with the key in it.
    #[must_use]
    pub fn config(&self) -> &ClientConfig {
        self.transport.config()
    }

    /// How many requests this client sent so far.
    #[must_use]
    pub fn counts(&self) -> &Arc<ApiCounts> {
        self.transport.counts()
    }

    /// `GET /__ping__`: whether the server is up and licensed. Needs no key.
    ///
    /// # Errors
    /// [`ApiError::Licence`] where the licence has expired.
    pub async fn ping(&self) -> Result<(), ApiError> {
        let mut call = Call::new(Method::GET, self.server().join(&["__ping__"]));
        call.with_key = false;
        let answer = self.transport.send(&call).await?;
        if answer.status == 402 {
            return Err(ApiError::Licence { server: self.server().to_string() });
        }
        let _: Value = self.read(&call, &answer)?;
        Ok(())
    }

    /// The time of the server, to the second, from the `Date` of its answer to a ping; `None` where it says none. Needs no
    /// key.
    ///
    /// # Errors
    /// Where the server cannot be reached.
    pub async fn date(&self) -> Result<Option<Timestamp>, ApiError> {
        let mut call = Call::new(Method::GET, self.server().join(&["__ping__"]));
        call.with_key = false;
        let answer = self.transport.send(&call).await?;
        let date = answer.headers.get(http::header::DATE).and_then(|value| value.to_str().ok());
        // HTTP's form of it is one of RFC 2822's.
        Ok(date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok()).map(|date| date.timestamp()))
    }

    /// Version and node of the server. Needs no key, and sends none.
    ///
    /// # Errors
    /// Where the server cannot be reached or is no Connect server.
    pub async fn server_settings(&self) -> Result<ServerSettings, ApiError> {
        let mut call = Call::new(Method::GET, self.server().join(&["__api__", "server_settings"]));
        call.with_key = false;
        self.json(&call).await
    }

    /// The same of the node that these cookies lead to, instead of those of the jar.
    ///
    /// # Errors
    /// Where the server cannot be reached or is no Connect server.
    pub async fn settings_with_cookie(&self, cookies: &str) -> Result<ServerSettings, ApiError> {
        let mut call = Call::new(Method::GET, self.server().join(&["__api__", "server_settings"]));
        call.with_key = false;
        call.cookies = Some(cookies.to_owned());
        self.json(&call).await
    }

    /// Whose key this is.
    ///
    /// # Errors
    /// [`ApiError::Unauthorised`] where the key is wrong.
    pub async fn me(&self) -> Result<User, ApiError> {
        self.get(&["v1", "user"]).await
    }

    /// The versions of Python on the server.
    ///
    /// # Errors
    /// As every call.
    pub async fn python_installations(&self) -> Result<Installations, ApiError> {
        self.get(&["v1", "server_settings", "python"]).await
    }

    /// The versions of R on the server.
    ///
    /// # Errors
    /// As every call.
    pub async fn r_installations(&self) -> Result<Installations, ApiError> {
        self.get(&["v1", "server_settings", "r"]).await
    }

    /// The server's defaults for the processes of an application mode; `None` where the server does not tell (older
    /// versions, or a key that may not ask).
    ///
    /// # Errors
    /// As every call, but for 403 and 404.
    pub async fn scheduler_settings(&self, app_mode: &str) -> Result<Option<SchedulerSettings>, ApiError> {
        match self.get(&["server_settings", "scheduler", app_mode]).await {
            Ok(settings) => Ok(Some(settings)),
            Err(error) if matches!(error.status(), Some(403 | 404)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Hits on content between two times in the format of RFC 3339; `None` where the server does not tell (before 2025.04,
    /// or a key that may not ask).
    ///
    /// # Errors
    /// As every call, but for 403 and 404.
    pub async fn hits(&self, from: &str, to: &str) -> Result<Option<Vec<Hit>>, ApiError> {
        let mut url = self.api(&["v1", "instrumentation", "content", "hits"]);
        url.query_pairs_mut().append_pair("from", from).append_pair("to", to);
        match self.json(&Call::new(Method::GET, url)).await {
            Ok(hits) => Ok(Some(hits)),
            Err(error) if matches!(error.status(), Some(403 | 404)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a content item, without a bundle yet.
    ///
    /// # Errors
    /// As every call; 409 where the name is taken.
    pub async fn create_content(&self, new: &NewContent) -> Result<Content, ApiError> {
        let call = self.with_json(Method::POST, &["v1", "content"], new);
        self.content_from(&call).await
    }

    /// A content item.
    ///
    /// # Errors
    /// As every call.
    pub async fn content(&self, guid: &str) -> Result<Content, ApiError> {
        let call = Call::new(Method::GET, self.api(&["v1", "content", guid]));
        self.content_from(&call).await
    }

    /// The content items of a name that the key may see; several where several users use the name.
    ///
    /// # Errors
    /// As every call.
    pub async fn find_content(&self, name: &str) -> Result<Vec<Content>, ApiError> {
        self.contents("name", name).await
    }

    /// The content items of an owner.
    ///
    /// # Errors
    /// As every call.
    pub async fn content_of(&self, owner_guid: &str) -> Result<Vec<Content>, ApiError> {
        self.contents("owner_guid", owner_guid).await
    }

    /// What people do on the server: content items that this program did not make, and the requests to them since a time.
    /// `None` for what the server does not tell this key.
    pub async fn activity(&self, since: Timestamp, now: Timestamp) -> (Option<u64>, Option<u64>) {
        let all: Result<Vec<Content>, _> = self.get(&["v1", "content"]).await;
        let Ok(all) = all else { return (None, None) };
        let theirs: BTreeSet<String> =
            all.into_iter().filter(|item| !item.name.starts_with(PREFIX)).map(|item| item.guid).collect();
        let visited = match self.hits(&since.to_string(), &now.to_string()).await {
            Ok(Some(hits)) => Some(hits.into_iter().map(|hit| hit.content_guid).collect()),
            _ => self.visited(since).await,
        };
        // Those to items that are gone are our own: a load test makes thousands.
        let of_theirs = |visited: Vec<String>| visited.iter().filter(|guid| theirs.contains(*guid)).count() as u64;
        (Some(theirs.len() as u64), visited.map(of_theirs))
    }

    /// Items that were visited since a time, once for each visit, at most 500: what servers before 2025.04 tell, and of
    /// documents only.
    async fn visited(&self, since: Timestamp) -> Option<Vec<String>> {
        let mut url = self.api(&["v1", "instrumentation", "content", "visits"]);
        url.query_pairs_mut().append_pair("from", &since.to_string()).append_pair("limit", "500");
        let page: Visits = self.json(&Call::new(Method::GET, url)).await.ok()?;
        Some(page.results.into_iter().map(|visit| visit.content_guid).collect())
    }

    /// Changes a content item.
    ///
    /// # Errors
    /// As every call.
    pub async fn patch_content<T: Serialize>(&self, guid: &str, patch: &T) -> Result<Content, ApiError> {
        let call = self.with_json(Method::PATCH, &["v1", "content", guid], patch);
        self.content_from(&call).await
    }

    /// Sets environment variables of a content item; `None` deletes one. The answer has the names that are set.
    ///
    /// # Errors
    /// As every call.
    pub async fn set_environment(
        &self,
        guid: &str,
        variables: &BTreeMap<String, Option<String>>,
    ) -> Result<Vec<String>, ApiError> {
        let body: Vec<Value> = variables.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        self.json(&self.with_json(Method::PATCH, &["v1", "content", guid, "environment"], &body)).await
    }

    /// Uploads a bundle; it is not served yet.
    ///
    /// # Errors
    /// As every call.
    pub async fn upload_bundle(&self, guid: &str, bundle: Bytes) -> Result<UploadedBundle, ApiError> {
        let mut call = Call::new(Method::POST, self.api(&["v1", "content", guid, "bundles"]));
        call.body = Some((BUNDLE_TYPE, bundle));
        let uploaded: UploadedBundle = self.json(&call).await?;
        checked(&call, &uploaded.id)?;
        Ok(uploaded)
    }

    /// The bundles of a content item.
    ///
    /// # Errors
    /// As every call.
    pub async fn bundles(&self, guid: &str) -> Result<Vec<UploadedBundle>, ApiError> {
        self.get(&["v1", "content", guid, "bundles"]).await
    }

    /// Deletes a bundle; one that is gone already is no error.
    ///
    /// # Errors
    /// As every call; 400 with code 75 where it is the active one.
    pub async fn delete_bundle(&self, guid: &str, bundle_id: &str) -> Result<(), ApiError> {
        self.delete(&["v1", "content", guid, "bundles", bundle_id]).await
    }

    /// Deploys a bundle and returns the task's id. Never sends `activate`, which servers before 2025.06 refuse and
    /// later ones take as true.
    ///
    /// # Errors
    /// As every call.
    pub async fn deploy(&self, guid: &str, bundle_id: &str) -> Result<String, ApiError> {
        let body = json!({ "bundle_id": bundle_id });
        let call = self.with_json(Method::POST, &["v1", "content", guid, "deploy"], &body);
        let deployed: Deployed = self.json(&call).await?;
        checked(&call, &deployed.task_id)?;
        Ok(deployed.task_id)
    }

    /// A task: its log lines after the first `first`, after waiting at most `wait_s` seconds for news.
    ///
    /// # Errors
    /// [`ApiError::TaskLost`] where the node that answered does not know it.
    pub async fn task(&self, id: &str, first: u64, wait_s: u64) -> Result<Task, ApiError> {
        let mut url = self.api(&["v1", "tasks", id]);
        url.query_pairs_mut().append_pair("first", &first.to_string()).append_pair("wait", &wait_s.to_string());
        let mut call = Call::new(Method::GET, url);
        call.patience = Duration::from_secs(wait_s);
        self.json(&call).await.map_err(|error| match error {
            ApiError::Status { status: 404, code, text, .. } => ApiError::TaskLost { task: id.to_owned(), code, text },
            other => other,
        })
    }

    /// Waits until a task is over, at most `within`; every log line goes to `on_line`.
    ///
    /// # Errors
    /// [`ApiError::TaskFailed`] with the last lines of its log, [`ApiError::Deadline`], or what a poll can fail with.
    pub async fn wait_for_task(
        &self,
        id: &str,
        within: Duration,
        on_line: &mut (dyn FnMut(&str) + Send),
    ) -> Result<(), ApiError> {
        let began = Instant::now();
        let mut lines: Vec<String> = Vec::new();
        let mut first = 0;
        loop {
            let asked = Instant::now();
            let task = self.task(id, first, TASK_WAIT_S).await?;
            for line in &task.output {
                let line = self.transport.shown(line);
                on_line(&line);
                lines.push(line);
            }
            lines.drain(..lines.len().saturating_sub(LAST_LINES));
            first = task.last.max(first);
            if task.finished && task.code == 0 && task.error.is_empty() {
                return Ok(());
            }
            if task.finished {
                return Err(ApiError::TaskFailed { code: task.code, text: self.transport.shown(&task.error), lines });
            }
            if began.elapsed() >= within {
                return Err(ApiError::Deadline { what: format!("the task {id}"), after: within, lines });
            }
            if asked.elapsed() < NOT_WAITED {
                tokio::time::sleep(OWN_PAUSE).await;
            }
        }
    }

    /// Deletes a content item; one that is gone already is no error.
    ///
    /// # Errors
    /// As every call.
    pub async fn delete_content(&self, guid: &str) -> Result<(), ApiError> {
        self.delete(&["v1", "content", guid]).await
    }

    /// What a content item answers to a GET, with or without the key. Any status is an answer, and a redirect is not
    /// followed, as the VUs do not follow it.
    ///
    /// # Errors
    /// Where no complete answer came.
    pub async fn fetch(&self, url: &Url, with_key: bool) -> Result<Fetched, ApiError> {
        let mut call = Call::new(Method::GET, url.clone());
        call.with_key = with_key;
        call.follow = false;
        if !self.server().same_origin(url) {
            let to = url.origin().ascii_serialization();
            return Err(ApiError::Redirect { call: call.name(), to });
        }
        let answer = self.transport.send(&call).await?;
        let location = answer.headers.get(LOCATION).map(|value| self.shown(&String::from_utf8_lossy(value.as_bytes())));
        Ok(Fetched { status: answer.status, content_type: answer.media_type(), body: answer.body, location })
    }

    /// A text of the server as it may be shown: without the key and without control characters.
    #[must_use]
    pub fn shown(&self, text: &str) -> String {
        self.transport.shown(text)
    }

    fn api(&self, segments: &[&str]) -> Url {
        let mut all = vec!["__api__"];
        all.extend(segments);
        self.server().join(&all)
    }

    fn with_json<T: Serialize>(&self, method: Method, segments: &[&str], body: &T) -> Call {
        let mut call = Call::new(method, self.api(segments));
        // What we send are maps with texts as keys, which always have a JSON form.
        call.body = Some((JSON_TYPE, serde_json::to_vec(body).unwrap_or_default().into()));
        call
    }

    async fn get<T: DeserializeOwned>(&self, segments: &[&str]) -> Result<T, ApiError> {
        self.json(&Call::new(Method::GET, self.api(segments))).await
    }

    async fn contents(&self, field: &str, value: &str) -> Result<Vec<Content>, ApiError> {
        let mut url = self.api(&["v1", "content"]);
        url.query_pairs_mut().append_pair(field, value);
        let call = Call::new(Method::GET, url);
        let all: Vec<Content> = self.json(&call).await?;
        for content in &all {
            checked(&call, &content.guid)?;
        }
        Ok(all)
    }

    async fn content_from(&self, call: &Call) -> Result<Content, ApiError> {
        let content: Content = self.json(call).await?;
        checked(call, &content.guid)?;
        Ok(content)
    }

    async fn delete(&self, segments: &[&str]) -> Result<(), ApiError> {
        let call = Call::new(Method::DELETE, self.api(segments));
        let answer = self.transport.send(&call).await?;
        let is_json = serde_json::from_slice::<Value>(&answer.body).is_ok();
        match answer.status {
            200..=299 => Ok(()),
            // Gone already, as Connect says it; a proxy's page for a wrong address is something else.
            404 if is_json || answer.body.is_empty() => Ok(()),
            _ => Err(self.transport.status_error(&call, &answer)),
        }
    }

    async fn json<T: DeserializeOwned>(&self, call: &Call) -> Result<T, ApiError> {
        let answer = self.transport.send(call).await?;
        self.read(call, &answer)
    }

    fn read<T: DeserializeOwned>(&self, call: &Call, answer: &Answer) -> Result<T, ApiError> {
        if answer.is_html() && matches!(answer.status, 200..=399 | 404) {
            let what = format!("an HTML page (status {})", answer.status);
            return Err(ApiError::NotConnect { server: self.server().to_string(), call: call.name(), what });
        }
        if !(200..=299).contains(&answer.status) {
            return Err(self.transport.status_error(call, answer));
        }
        serde_json::from_slice(&answer.body).map_err(|error| {
            let detail = match answer.body.is_empty() {
                true => "the body is empty, JSON was expected".to_owned(),
                false => self.transport.shown(&format!("{error}; it begins {:.80}", lossy(&answer.body))),
            };
            ApiError::Malformed { call: call.name(), detail }
        })
    }
}

/// An identifier that can stand in a path, or the error that the server sent another.
fn checked(call: &Call, id: &str) -> Result<(), ApiError> {
    if is_id(id) {
        return Ok(());
    }
    let detail = format!("the identifier {:?} is none", super::error::presentable(id));
    Err(ApiError::Malformed { call: call.name(), detail })
}

fn lossy(body: &Bytes) -> String {
    let begin = body.get(..200).unwrap_or(body);
    String::from_utf8_lossy(begin).into_owned()
}

#[cfg(test)]
#[path = "api_tests.rs"]
mod tests;
