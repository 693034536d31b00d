//! The exchanges of the publish loop. What does not change from one publish to the next is made once.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Uri};
use serde_json::json;

use super::{PublishInto, PublishPlan, PublishSeries};
use crate::engine::program::{Exchange, Expect, Request, SeriesId};
use crate::posit_connect::api::{BUNDLE_TYPE, JSON_TYPE, TASK_WAIT_S};
use crate::posit_connect::provision::Access;

/// How much of an answer of the API is read. A content item has some 2 KiB; a task's log may come in one piece.
pub(super) const KEEP_API: usize = 64 << 10;
pub(super) const KEEP_TASK: usize = 1 << 20;
/// How much of the application's first response is kept, to say what it was when it was an error.
const KEEP_FIRST: usize = 512;

/// Makes the exchanges.
pub(super) struct Requests {
    series: PublishSeries,
    base: String,
    first_path: String,
    with_key: bool,
    authorization: HeaderValue,
    bundle: Bytes,
    timeout: Duration,
    api_statuses: Vec<u16>,
    started_statuses: Vec<u16>,
}

struct Parts {
    series: SeriesId,
    method: Method,
    target: String,
    body: Option<(&'static str, Bytes)>,
}

impl Requests {
    pub(super) fn new(plan: &PublishPlan) -> Requests {
        let with_key = match &plan.into {
            PublishInto::One { with_key, .. } => *with_key,
            PublishInto::New { access, .. } => *access == Access::WithKey,
        };
        Requests {
            series: plan.series,
            base: plan.base_path.trim_end_matches('/').to_owned(),
            first_path: plan.first_path.trim_start_matches('/').to_owned(),
            with_key,
            authorization: plan.key.authorization(),
            bundle: plan.bundle.clone(),
            timeout: plan.timeouts.request,
            api_statuses: (200..=299).collect(),
            // An API without a root answers 404 there, and it has started.
            started_statuses: (200..=499).collect(),
        }
    }

    pub(super) fn create(&self, name: &str, description: &str) -> Option<Rc<Exchange>> {
        let body = json!({ "name": name, "title": name, "description": description });
        self.api(self.series.create, Method::POST, "content", Some((JSON_TYPE, body.to_string().into())))
    }

    pub(super) fn access(&self, guid: &str) -> Option<Rc<Exchange>> {
        let body = json!({ "access_type": "all" });
        let path = format!("content/{guid}");
        self.api(self.series.create, Method::PATCH, &path, Some((JSON_TYPE, body.to_string().into())))
    }

    /// Sets environment variables; those of the item that are not named stay as they are.
    pub(super) fn environment(&self, guid: &str, variables: &[(String, String)]) -> Option<Rc<Exchange>> {
        let variables: Vec<_> = variables.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        let body = serde_json::Value::from(variables).to_string();
        let path = format!("content/{guid}/environment");
        self.api(self.series.create, Method::PATCH, &path, Some((JSON_TYPE, body.into())))
    }

    pub(super) fn upload(&self, guid: &str) -> Option<Rc<Exchange>> {
        let path = format!("content/{guid}/bundles");
        self.api(self.series.upload, Method::POST, &path, Some((BUNDLE_TYPE, self.bundle.clone())))
    }

    pub(super) fn deploy(&self, guid: &str, bundle_id: &str) -> Option<Rc<Exchange>> {
        let body = json!({ "bundle_id": bundle_id });
        let path = format!("content/{guid}/deploy");
        self.api(self.series.deploy, Method::POST, &path, Some((JSON_TYPE, body.to_string().into())))
    }

    pub(super) fn task(&self, id: &str, first: u64) -> Option<Rc<Exchange>> {
        let path = format!("tasks/{id}?first={first}&wait={TASK_WAIT_S}");
        self.api(self.series.task, Method::GET, &path, None)
    }

    pub(super) fn first_response(&self, guid: &str) -> Option<Rc<Exchange>> {
        let target = format!("{}/content/{guid}/{}", self.base, self.first_path);
        self.exchange(Parts { series: self.series.first_response, method: Method::GET, target, body: None })
    }

    pub(super) fn prune(&self, guid: &str, bundle_id: &str) -> Option<Rc<Exchange>> {
        self.api(self.series.prune, Method::DELETE, &format!("content/{guid}/bundles/{bundle_id}"), None)
    }

    pub(super) fn delete(&self, guid: &str) -> Option<Rc<Exchange>> {
        self.api(self.series.delete, Method::DELETE, &format!("content/{guid}"), None)
    }

    fn api(
        &self,
        series: SeriesId,
        method: Method,
        path: &str,
        body: Option<(&'static str, Bytes)>,
    ) -> Option<Rc<Exchange>> {
        let target = format!("{}/__api__/v1/{path}", self.base);
        self.exchange(Parts { series, method, target, body })
    }

    /// `None` where the target is no URI, which the constructor rules out and identifiers cannot cause.
    fn exchange(&self, parts: Parts) -> Option<Rc<Exchange>> {
        let is_content = parts.series == self.series.first_response;
        let is_task = parts.series == self.series.task;
        let mut headers = HeaderMap::new();
        if self.with_key || !is_content {
            headers.insert(AUTHORIZATION, self.authorization.clone());
        }
        let body = parts.body.map(|(media_type, body)| {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
            body
        });
        let statuses = if is_content { self.started_statuses.clone() } else { self.api_statuses.clone() };
        let patience = if is_task { Duration::from_secs(TASK_WAIT_S) } else { Duration::ZERO };
        let keep_body = match (is_content, is_task) {
            (true, _) => KEEP_FIRST,
            (_, true) => KEEP_TASK,
            _ => KEEP_API,
        };
        let target: Uri = parts.target.parse().ok()?;
        Some(Rc::new(Exchange {
            series: parts.series,
            request: Request { method: parts.method, target, headers, body: body.unwrap_or_default() },
            expect: Expect { statuses, ..Expect::default() },
            keep_body,
            timeout: self.timeout + patience,
        }))
    }
}
