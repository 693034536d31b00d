//! The Connect server API v1, routes split over files by what they are about.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use http_body_util::{BodyExt as _, Limited};
use serde_json::{Map, Value, json};

use super::error::{ApiError, BAD_CREDENTIALS, NO_CREDENTIALS, NO_ENDPOINT, NO_METHOD, NO_PERMISSION, NOT_FOUND};
use super::node::Node;
use super::reply;
use super::store::{ContentRow, User};

mod bundles;
mod content;
mod deploy;
mod fields;
mod related;
mod settings;
mod tags;
mod usage;

/// The health check.
pub(super) const PING_PATH: &str = "/__ping__";
/// Greatest JSON document that is taken, in bytes.
const DOCUMENT_LIMIT: usize = 4 << 20;

type Answer = Result<Response, ApiError>;
type Ctx = State<Arc<Node>>;
type Params = Query<HashMap<String, String>>;

/// Everything but content.
pub(super) fn router(node: Arc<Node>) -> Router {
    Router::new()
        .merge(settings_routes())
        .merge(content_routes())
        .merge(related_routes())
        .route(PING_PATH, get(|State(node): Ctx| async move { ping(&node) }))
        .route("/", get(|| async { reply::redirect(StatusCode::FOUND, "/connect/") }))
        .route("/connect/", get(|| async { reply::page(StatusCode::OK, "Sandbox") }))
        .fallback(|| async { NO_ENDPOINT.into_response() })
        .method_not_allowed_fallback(|| async { NO_METHOD.into_response() })
        .with_state(node)
}

fn settings_routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/__api__/server_settings", get(settings::server))
        .route("/__api__/server_settings/applications", get(settings::applications))
        .route("/__api__/server_settings/scheduler", get(settings::scheduler))
        .route("/__api__/server_settings/scheduler/{mode}", get(settings::scheduler))
        .route("/__api__/v1/server_settings", get(settings::server))
        .route("/__api__/v1/server_settings/python", get(settings::python))
        .route("/__api__/v1/server_settings/r", get(settings::r))
        .route("/__api__/v1/server_settings/quarto", get(settings::quarto))
        .route("/__api__/v1/server_settings/nodejs", get(settings::nodejs))
        .route("/__api__/v1/user", get(settings::me))
        .route("/__api__/v1/users", get(settings::users))
        .route("/__api__/v1/users/{guid}", get(settings::user))
        .route("/__api__/v1/instrumentation/content/hits", get(usage::hits))
}

fn content_routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/__api__/v1/content", get(content::list).post(content::create))
        .route("/__api__/v1/search/content", get(content::search))
        .route("/__api__/v1/content/{guid}", get(content::show).patch(content::update).delete(content::remove))
        .route("/__api__/v1/content/{guid}/bundles", get(bundles::list).post(bundles::upload))
        .route("/__api__/v1/content/{guid}/bundles/{id}", get(bundles::show).delete(bundles::remove))
        .route("/__api__/v1/content/{guid}/bundles/{id}/download", get(bundles::download))
        .route("/__api__/v1/content/{guid}/deploy", post(deploy::deploy))
        .route("/__api__/v1/content/{guid}/build", post(deploy::build))
        .route("/__api__/v1/tasks/{id}", get(deploy::task))
}

fn related_routes() -> Router<Arc<Node>> {
    let environment = get(related::environment).put(related::put_environment).patch(related::patch_environment);
    let vanity = get(related::vanity).put(related::put_vanity).delete(related::delete_vanity);
    Router::new()
        .route("/__api__/v1/content/{guid}/environment", environment)
        .route("/__api__/v1/content/{guid}/permissions", get(related::permissions).post(related::grant))
        .route(
            "/__api__/v1/content/{guid}/permissions/{id}",
            get(related::permission).put(related::change_permission).delete(related::revoke),
        )
        .route("/__api__/v1/content/{guid}/vanity", vanity)
        .route("/__api__/v1/vanities", get(related::vanities))
        .route("/__api__/v1/content/{guid}/jobs", get(related::jobs))
        .route("/__api__/v1/content/{guid}/jobs/{key}", get(related::job).delete(related::stop_job))
        .route("/__api__/v1/content/{guid}/jobs/{key}/log", get(related::job_log))
        .route("/__api__/v1/tags", get(tags::list).post(tags::create))
        .route("/__api__/v1/tags/{id}", get(tags::show).delete(tags::remove))
        .route("/__api__/v1/content/{guid}/tags", get(tags::of_content).post(tags::add))
        .route("/__api__/v1/content/{guid}/tags/{id}", delete(tags::take))
}

/// The health check's answer: 402 once the licence has expired.
pub(super) fn ping(node: &Node) -> Response {
    let expired = node.shared.config.faults.license_expired;
    reply::json(if expired { StatusCode::PAYMENT_REQUIRED } else { StatusCode::OK }, &json!({}))
}

/// The API key that came with a request. `X-RSC-Authorization` goes before `Authorization`, which may belong to
/// something in front of the server; the former may be the bare key.
pub(super) fn key_of(headers: &HeaderMap) -> Option<&str> {
    let own = headers.get("x-rsc-authorization").and_then(|value| value.to_str().ok());
    if let Some(own) = own {
        return Some(own.strip_prefix("Key ").unwrap_or(own));
    }
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Key ")
}

/// Who asks.
struct Caller {
    user: User,
    /// `http://host:port` or `https://host:port`, as the caller knows the server.
    base: String,
}

impl FromRequestParts<Arc<Node>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, node: &Arc<Node>) -> Result<Self, ApiError> {
        let key = key_of(&parts.headers).ok_or(NO_CREDENTIALS)?;
        let user = node.shared.user_of_key(key).ok_or(BAD_CREDENTIALS)?.clone();
        let host = parts.headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or("localhost");
        // What is in front of the nodes speaks TLS for them.
        let https = parts.headers.get("x-forwarded-proto").is_some_and(|scheme| scheme == "https");
        Ok(Self { user, base: format!("http{}://{host}", if https { "s" } else { "" }) })
    }
}

impl Caller {
    fn is_admin(&self) -> bool {
        self.user.role == "administrator"
    }

    /// Viewers may look and nothing else.
    fn must_publish(&self) -> Result<(), ApiError> {
        if self.user.role == "viewer" { Err(NO_PERMISSION) } else { Ok(()) }
    }

    /// What the caller may do with a content item: `owner`, `editor`, `viewer` or `none`.
    async fn role_on(&self, node: &Node, row: &ContentRow) -> Result<&'static str, ApiError> {
        if self.is_admin() || row.owner_guid == self.user.guid {
            return Ok("owner");
        }
        let permissions = node.shared.store.permissions(&row.guid).await?;
        Ok(match permissions.iter().find(|permission| permission.principal_guid == self.user.guid) {
            Some(permission) if permission.role == "owner" => "editor",
            Some(_) => "viewer",
            None if row.access_type != "acl" => "viewer",
            None => "none",
        })
    }

    /// A content item that the caller may see. Others do not exist for the caller.
    async fn visible(&self, node: &Node, guid: &str) -> Result<(ContentRow, &'static str), ApiError> {
        let row = node.shared.store.content(guid).await?.ok_or(NOT_FOUND)?;
        match self.role_on(node, &row).await? {
            "none" => Err(NOT_FOUND),
            role => Ok((row, role)),
        }
    }

    /// A content item that the caller may change.
    async fn editable(&self, node: &Node, guid: &str) -> Result<ContentRow, ApiError> {
        match self.visible(node, guid).await? {
            (row, "owner" | "editor") => Ok(row),
            _ => Err(NO_PERMISSION),
        }
    }
}

/// A request's JSON, of whatever type the client says it is. Nothing at all counts as `{}`.
struct Document(Value);

impl FromRequest<Arc<Node>> for Document {
    type Rejection = ApiError;

    async fn from_request(request: Request, _node: &Arc<Node>) -> Result<Self, ApiError> {
        let limited = Limited::new(request.into_body(), DOCUMENT_LIMIT);
        let unreadable = |_| ApiError::bad_request(87, "The request body could not be read.");
        let bytes: Bytes = limited.collect().await.map_err(unreadable)?.to_bytes();
        if bytes.is_empty() {
            return Ok(Self(json!({})));
        }
        let invalid = |error| ApiError::bad_request(121, format!("The request body is not valid JSON: {error}"));
        serde_json::from_slice(&bytes).map(Self).map_err(invalid)
    }
}

impl Document {
    fn into_object(self) -> Result<Map<String, Value>, ApiError> {
        match self.0 {
            Value::Object(object) => Ok(object),
            _ => Err(ApiError::bad_request(121, "The request body must be a JSON object.")),
        }
    }
}

/// A required text field of an object.
fn text<'o>(object: &'o Map<String, Value>, name: &str) -> Result<&'o str, ApiError> {
    let missing = || ApiError::bad_request(12, format!("The parameter `{name}` is required."));
    object.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).ok_or_else(missing)
}

/// An id that is a number in a string.
fn id(text: &str) -> Result<i64, ApiError> {
    text.parse().ok().filter(|id| *id > 0).ok_or_else(|| ApiError::bad_request(3, "The object id is not valid."))
}
