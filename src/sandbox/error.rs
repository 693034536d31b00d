//! What the API answers when it refuses: a status, Connect's error code, and a sentence.

use std::borrow::Cow;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::reply;

/// A refusal. The body is always `{"code","error","payload"}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiError {
    pub(super) status: StatusCode,
    pub(super) code: u32,
    pub(super) message: Cow<'static, str>,
}

impl ApiError {
    /// A refusal with a fixed sentence.
    pub(super) const fn fixed(status: StatusCode, code: u32, message: &'static str) -> Self {
        Self { status, code, message: Cow::Borrowed(message) }
    }

    /// 400 with a sentence about this request.
    pub(super) fn bad_request(code: u32, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code, message: message.into() }
    }

    /// 500, code 1: the sandbox's own fault.
    pub(super) fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!("internal error: {cause}");
        Self::fixed(StatusCode::INTERNAL_SERVER_ERROR, 1, "An internal error occurred.")
    }
}

pub(super) const NO_ENDPOINT: ApiError =
    ApiError::fixed(StatusCode::NOT_FOUND, 2, "The requested method or endpoint does not exist or is not supported.");
pub(super) const NO_METHOD: ApiError = ApiError::fixed(
    StatusCode::METHOD_NOT_ALLOWED,
    2,
    "The requested method or endpoint does not exist or is not supported.",
);
pub(super) const NOT_FOUND: ApiError =
    ApiError::fixed(StatusCode::NOT_FOUND, 4, "The requested object does not exist.");
pub(super) const NO_PERMISSION: ApiError =
    ApiError::fixed(StatusCode::FORBIDDEN, 22, "You don't have permission to perform this operation.");
pub(super) const NO_CREDENTIALS: ApiError =
    ApiError::fixed(StatusCode::UNAUTHORIZED, 24, "You must be authenticated to perform this operation.");
pub(super) const BAD_CREDENTIALS: ApiError =
    ApiError::fixed(StatusCode::UNAUTHORIZED, 30, "We couldn't log you in with the provided credentials.");
pub(super) const NAME_TAKEN: ApiError =
    ApiError::fixed(StatusCode::CONFLICT, 26, "An object with that name already exists.");
pub(super) const NO_BUNDLE: ApiError =
    ApiError::fixed(StatusCode::NOT_FOUND, 28, "There is no application bundle to deploy.");
pub(super) const TYPE_CHANGE: ApiError =
    ApiError::fixed(StatusCode::FORBIDDEN, 48, "The type of this content cannot be changed.");
pub(super) const NOT_LICENSED: ApiError =
    ApiError::fixed(StatusCode::FORBIDDEN, 65, "The license of this server has expired.");
pub(super) const VANITY_TAKEN: ApiError =
    ApiError::fixed(StatusCode::CONFLICT, 51, "The vanity path conflicts with one that is in use.");
pub(super) const NO_TASK: ApiError = ApiError::fixed(
    StatusCode::NOT_FOUND,
    141,
    "The task does not exist on this node. The load balancer may not be sticky, or the client did not return its \
     affinity cookie.",
);
pub(super) const TOO_LARGE: ApiError =
    ApiError::fixed(StatusCode::PAYLOAD_TOO_LARGE, 134, "The bundle is larger than this server accepts.");

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        reply::json(self.status, &json!({"code": self.code, "error": self.message, "payload": null}))
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        let fault = Self::internal(&error);
        if unreachable(&error) { Self { message: Cow::Borrowed(NO_DATABASE), ..fault } } else { fault }
    }
}

const NO_DATABASE: &str = "An internal error occurred: the database cannot be reached.";

/// Whether the database is away, rather than the question wrong. Classes of SQLSTATE: 08 connection, 57P0 shutdown.
pub(super) fn unreachable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => true,
        sqlx::Error::Database(error) => {
            error.code().is_some_and(|code| code.starts_with("08") || code.starts_with("57P0"))
        }
        _ => false,
    }
}

impl From<std::io::Error> for ApiError {
    fn from(error: std::io::Error) -> Self {
        Self::internal(&error)
    }
}
