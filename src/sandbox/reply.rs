//! How answers are put together.

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::Value;

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
pub(super) const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// A body of some type.
pub(super) fn body(status: StatusCode, content_type: HeaderValue, bytes: Bytes) -> Response {
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

/// A JSON document, with the content type that clients insist on.
pub(super) fn json(status: StatusCode, value: &Value) -> Response {
    body(status, JSON, Bytes::from(value.to_string()))
}

/// 200 with a JSON document.
pub(super) fn ok(value: &Value) -> Response {
    json(StatusCode::OK, value)
}

/// A status without a body.
pub(super) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// A page that a person may see.
pub(super) fn page(status: StatusCode, title: &str) -> Response {
    let html = format!(
        "<!doctype html><html><head><title>{title}</title></head><body><h1>{title}</h1>\
         <p>connect-bench sandbox, a stand-in. This is not Posit Connect.</p></body></html>"
    );
    body(status, HTML, Bytes::from(html))
}

/// Elsewhere, please.
pub(super) fn redirect(status: StatusCode, location: &str) -> Response {
    let mut response = empty(status);
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// The time of day as Connect writes it.
pub(super) fn utc_now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
