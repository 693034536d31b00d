//! Tags, and which content items have them.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::super::error::{ApiError, NO_PERMISSION, NOT_FOUND};
use super::super::node::Node;
use super::super::reply;
use super::super::store::Tag;
use super::{Answer, Caller, Ctx, Document, Params, id, text};

/// `GET /v1/tags?name=`.
pub(super) async fn list(State(node): Ctx, _caller: Caller, Query(params): Params) -> Answer {
    let tags = node.shared.store.tags().await?;
    let wanted = tags.iter().filter(|tag| params.get("name").is_none_or(|name| tag.name == *name));
    Ok(reply::ok(&wanted.map(tag_json).collect()))
}

/// `POST /v1/tags`.
pub(super) async fn create(State(node): Ctx, caller: Caller, document: Document) -> Answer {
    if !caller.is_admin() {
        return Err(NO_PERMISSION);
    }
    let object = document.into_object()?;
    let parent = match object.get("parent_id") {
        None | Some(Value::Null) => None,
        Some(Value::String(parent)) => Some(find(&node, parent).await?.id),
        Some(_) => return Err(ApiError::bad_request(121, "parent_id is a string or null.")),
    };
    let tag = node.shared.store.create_tag(text(&object, "name")?, parent).await?;
    Ok(reply::json(StatusCode::CREATED, &tag_json(&tag)))
}

/// `GET /v1/tags/{id}`.
pub(super) async fn show(State(node): Ctx, Path(tag): Path<String>, _caller: Caller) -> Answer {
    Ok(reply::ok(&tag_json(&find(&node, &tag).await?)))
}

/// `DELETE /v1/tags/{id}`.
pub(super) async fn remove(State(node): Ctx, Path(tag): Path<String>, caller: Caller) -> Answer {
    if !caller.is_admin() {
        return Err(NO_PERMISSION);
    }
    if !node.shared.store.delete_tag(id(&tag)?).await? {
        return Err(NOT_FOUND);
    }
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `GET /v1/content/{guid}/tags`.
pub(super) async fn of_content(State(node): Ctx, Path(guid): Path<String>, caller: Caller) -> Answer {
    caller.visible(&node, &guid).await?;
    Ok(reply::ok(&node.shared.store.tags_of(&guid).await?.iter().map(tag_json).collect()))
}

/// `POST /v1/content/{guid}/tags`.
pub(super) async fn add(State(node): Ctx, Path(guid): Path<String>, caller: Caller, document: Document) -> Answer {
    caller.editable(&node, &guid).await?;
    let object = document.into_object()?;
    let tag = find(&node, text(&object, "tag_id")?).await?;
    node.shared.store.set_tag(&guid, tag.id, true).await?;
    Ok(reply::ok(&tag_json(&tag)))
}

/// `DELETE /v1/content/{guid}/tags/{id}`.
pub(super) async fn take(State(node): Ctx, Path((guid, tag)): Path<(String, String)>, caller: Caller) -> Answer {
    caller.editable(&node, &guid).await?;
    node.shared.store.set_tag(&guid, id(&tag)?, false).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// A tag as the API shows it.
pub(super) fn tag_json(tag: &Tag) -> Value {
    json!({
        "id": tag.id.to_string(), "name": tag.name, "parent_id": tag.parent_id.map(|id| id.to_string()),
        "created_time": tag.created_time, "updated_time": tag.created_time,
    })
}

async fn find(node: &Node, tag: &str) -> Result<Tag, ApiError> {
    let number = id(tag)?;
    node.shared.store.tags().await?.into_iter().find(|tag| tag.id == number).ok_or(NOT_FOUND)
}
