//! Bundles: uploaded in any of the forms that clients use, listed, downloaded, deleted.

use axum::body::{Body, HttpBody as _};
use axum::extract::multipart::Field;
use axum::extract::{FromRequest as _, Multipart, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::super::bundles::{ReceiveFault, Received, Receiver, manifest_of};
use super::super::error::{ApiError, NOT_FOUND, TOO_LARGE};
use super::super::manifest;
use super::super::node::{Node, Shared};
use super::super::reply;
use super::super::store::{BundleRow, NewBundle};
use super::{Answer, Caller, Ctx, id};

/// Greatest `metadata` part of a multipart upload.
const METADATA_LIMIT: usize = 64 << 10;
/// What a form may have beside its archive.
const FORM_ROOM: u64 = 1 << 20;

impl From<ReceiveFault> for ApiError {
    fn from(fault: ReceiveFault) -> Self {
        match fault {
            ReceiveFault::TooLarge => TOO_LARGE,
            ReceiveFault::Io(error) => unwritten(&error),
        }
    }
}

/// The folder does not take it.
fn unwritten(error: &std::io::Error) -> ApiError {
    tracing::error!("a bundle cannot be written: {error}");
    ApiError {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        code: 134,
        message: format!("The bundle could not be written: {error}").into(),
    }
}

/// `POST /v1/content/{guid}/bundles`: a gzip tar as the body, or as part `archive` of a form.
pub(super) async fn upload(State(node): Ctx, Path(guid): Path<String>, caller: Caller, request: Request) -> Answer {
    caller.must_publish()?;
    caller.editable(&node, &guid).await?;
    let headers = request.headers().clone();
    // What it says it is, before any of it is read. A form has a little around its archive.
    let most = node.shared.config.max_upload + if is_multipart(&headers) { FORM_ROOM } else { 0 };
    if request.body().size_hint().lower() > most {
        return Err(TOO_LARGE);
    }
    let receiver = node.shared.bundles.receive(node.shared.config.max_upload).map_err(|error| unwritten(&error))?;
    let (received, source) = if is_multipart(&headers) {
        from_form(request, receiver).await?
    } else {
        (from_body(request.into_body(), receiver).await?, json!({}))
    };
    check_checksum(&headers, &received)?;
    let row = keep(&node, &guid, &caller, (received, source)).await?;
    Ok(reply::ok(&to_json(&node.shared, &row, None)))
}

/// `GET /v1/content/{guid}/bundles`.
pub(super) async fn list(State(node): Ctx, Path(guid): Path<String>, caller: Caller) -> Answer {
    let content = caller.editable(&node, &guid).await?;
    let rows = node.shared.store.bundles(&guid).await?;
    let list: Vec<Value> = rows.iter().map(|row| to_json(&node.shared, row, content.bundle_id)).collect();
    Ok(reply::ok(&json!(list)))
}

/// `GET /v1/content/{guid}/bundles/{id}`.
pub(super) async fn show(State(node): Ctx, Path((guid, bundle)): Path<(String, String)>, caller: Caller) -> Answer {
    let content = caller.editable(&node, &guid).await?;
    let row = of_content(&node, &guid, &bundle).await?;
    Ok(reply::ok(&to_json(&node.shared, &row, content.bundle_id)))
}

/// `GET /v1/content/{guid}/bundles/{id}/download`.
pub(super) async fn download(State(node): Ctx, Path((guid, bundle)): Path<(String, String)>, caller: Caller) -> Answer {
    caller.editable(&node, &guid).await?;
    let row = of_content(&node, &guid, &bundle).await?;
    let bytes = tokio::fs::read(node.shared.bundles.archive(&guid, row.id)).await?;
    let mut response = Response::new(Body::from(bytes));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/gzip"));
    if let Ok(name) = HeaderValue::from_str(&format!("attachment; filename=\"bundle-{}.tar.gz\"", row.id)) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

/// `DELETE /v1/content/{guid}/bundles/{id}`.
pub(super) async fn remove(State(node): Ctx, Path((guid, bundle)): Path<(String, String)>, caller: Caller) -> Answer {
    let content = caller.editable(&node, &guid).await?;
    let row = of_content(&node, &guid, &bundle).await?;
    if content.bundle_id == Some(row.id) {
        return Err(ApiError::bad_request(75, "The active bundle cannot be deleted."));
    }
    node.shared.store.delete_bundle(row.id).await?;
    node.shared.catalog.forget(&guid);
    let files = node.shared.bundles.clone();
    tokio::task::spawn_blocking(move || files.remove(&guid, row.id));
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

async fn of_content(node: &Node, guid: &str, bundle: &str) -> Result<BundleRow, ApiError> {
    let row = node.shared.store.bundle(id(bundle)?).await?;
    row.filter(|row| row.content_guid == guid).ok_or(NOT_FOUND)
}

fn is_multipart(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.to_ascii_lowercase().starts_with("multipart/form-data")
}

async fn from_body(mut body: Body, mut receiver: Receiver) -> Result<Received, ApiError> {
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|_error| ApiError::bad_request(126, "The body is not as long as its Content-Length."))?;
        if let Some(chunk) = frame.data_ref() {
            receiver.write(chunk).await?;
        }
    }
    not_empty(receiver.finish().await?)
}

async fn from_form(request: Request, receiver: Receiver) -> Result<(Received, Value), ApiError> {
    let unreadable =
        |error: &dyn std::fmt::Display| ApiError::bad_request(87, format!("The form is not valid: {error}"));
    let mut form = Multipart::from_request(request, &()).await.map_err(|error| unreadable(&error))?;
    let (mut receiver, mut received, mut source) = (Some(receiver), None, json!({}));
    while let Some(field) = form.next_field().await.map_err(|error| unreadable(&error))? {
        match field.name() {
            Some("archive") => {
                let twice = || ApiError::bad_request(87, "The form has two archives.");
                received = Some(from_field(field, receiver.take().ok_or_else(twice)?).await?);
            }
            Some("metadata") => {
                let text = field.text().await.map_err(|error| unreadable(&error))?;
                let small = text.get(..METADATA_LIMIT.min(text.len())).unwrap_or_default();
                source = serde_json::from_str(small)
                    .map_err(|error| ApiError::bad_request(121, format!("The metadata is not valid JSON: {error}")))?;
            }
            _ => {}
        }
    }
    let missing = || ApiError::bad_request(12, "The form has no part `archive`.");
    Ok((received.ok_or_else(missing)?, source))
}

async fn from_field(mut field: Field<'_>, mut receiver: Receiver) -> Result<Received, ApiError> {
    let cut = |_| ApiError::bad_request(126, "The archive ends too early.");
    while let Some(chunk) = field.chunk().await.map_err(cut)? {
        receiver.write(&chunk).await?;
    }
    not_empty(receiver.finish().await?)
}

fn not_empty(received: Received) -> Result<Received, ApiError> {
    if received.size == 0 {
        return Err(ApiError::bad_request(125, "The bundle is empty."));
    }
    Ok(received)
}

/// `X-Content-Checksum` is the MD5, in base64; some clients write it in hex.
fn check_checksum(headers: &HeaderMap, received: &Received) -> Result<(), ApiError> {
    let Some(sent) = headers.get("x-content-checksum").and_then(|value| value.to_str().ok()) else { return Ok(()) };
    if sent == STANDARD.encode(received.md5) || sent.eq_ignore_ascii_case(&hex(&received.md5)) {
        return Ok(());
    }
    Err(ApiError::bad_request(104, "The checksum does not match the bundle."))
}

async fn keep(
    node: &Node,
    guid: &str,
    caller: &Caller,
    (received, source): (Received, Value),
) -> Result<BundleRow, ApiError> {
    let shared = &node.shared;
    let number = shared.store.next_bundle_id().await?;
    let (size, md5) = (received.size, hex(&received.md5));
    let (files, content) = (shared.bundles.clone(), guid.to_owned());
    let work = move || files.keep(received, &content, number).map(|place| manifest_of(&place));
    let looked = tokio::task::spawn_blocking(work).await.map_err(|error| ApiError::internal(&error))?;
    let looked = looked.map_err(|error| unwritten(&error))?;
    let manifest = match looked {
        Ok(manifest) => Some(manifest),
        Err(fault) if shared.config.strict_bundles => {
            shared.bundles.remove(guid, number);
            let code = if matches!(fault, super::super::bundles::BundleFault::Manifest(_)) { 38 } else { 135 };
            return Err(ApiError::bad_request(code, fault.to_string()));
        }
        // What is wrong with it is told by the deploy task.
        Err(_) => None,
    };
    let new = NewBundle {
        id: number,
        content_guid: guid,
        created_by: &caller.user.guid,
        size,
        md5: &md5,
        manifest: manifest.as_ref(),
        source: &source,
    };
    match shared.store.create_bundle(&new).await {
        Ok(row) => Ok(row),
        Err(error) => {
            // The content item may have been deleted meanwhile.
            shared.bundles.remove(guid, number);
            Err(if shared.store.content(guid).await?.is_none() { NOT_FOUND } else { error.into() })
        }
    }
}

/// A bundle as the API shows it.
fn to_json(shared: &Shared, row: &BundleRow, active: Option<i64>) -> Value {
    let version = |pointer| row.manifest.as_ref().and_then(|manifest| manifest::version(manifest, pointer));
    let (r, py) = (version("/platform"), version("/python/version"));
    let creator = shared.users.iter().find(|user| user.guid == row.created_by);
    let from = |name: &str| row.source.get(name).cloned().unwrap_or_default();
    json!({
        "id": row.id.to_string(), "content_guid": row.content_guid, "created_time": row.created_time,
        "created_by": row.created_by, "created_by_name": creator.map(|user| user.username.as_str()),
        "created_by_user": creator.map(super::settings::user_json),
        "cluster_name": "Local", "image_name": "Local", "environment_guid": null,
        "r_version": r, "r_environment_management": r.map(|_| true),
        "py_version": py, "py_environment_management": py.map(|_| true),
        "quarto_version": version("/quarto/version"), "active": active == Some(row.id), "size": row.size,
        "metadata": {
            "source": from("source"), "source_repo": from("source_repo"), "source_branch": from("source_branch"),
            "source_commit": from("source_commit"), "archive_md5": row.md5, "archive_sha1": null,
        },
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
