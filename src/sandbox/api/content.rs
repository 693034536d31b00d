//! Content items: made, listed, shown, changed, deleted.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::super::content as delivery;
use super::super::error::{ApiError, NAME_TAKEN, NO_PERMISSION};
use super::super::node::Node;
use super::super::reply;
use super::super::store::{ContentRow, Created, random_key};
use super::fields::{self, Changes};
use super::settings::user_json;
use super::tags::tag_json;
use super::{Answer, Caller, Ctx, Document, Params};

/// `POST /v1/content`: every field is optional, the name too.
pub(super) async fn create(State(node): Ctx, caller: Caller, document: Document) -> Answer {
    caller.must_publish()?;
    let changes = Changes::parse(document.into_object()?)?;
    fields::check_processes(&changes.settings)?;
    let name = changes.name.unwrap_or_else(|| format!("content-{}", random_key().to_lowercase()));
    let access = changes.access_type.unwrap_or_else(|| "acl".to_owned());
    let made = node.shared.store.create_content(&caller.user.guid, &name, &access, changes.settings).await?;
    match made {
        Created::NameTaken => Err(NAME_TAKEN),
        Created::Made(row) => Ok(reply::ok(&fields::to_json(&row, &caller.base, "owner", None))),
    }
}

/// `GET /v1/content?name=&owner_guid=&include=`.
pub(super) async fn list(State(node): Ctx, caller: Caller, Query(params): Params) -> Answer {
    let matches = |row: &ContentRow| {
        params.get("name").is_none_or(|name| row.name == *name)
            && params.get("owner_guid").is_none_or(|guid| row.owner_guid == *guid)
    };
    let include = params.get("include").map_or("", String::as_str);
    Ok(reply::ok(&json!(matching(&node, &caller, include, matches).await?)))
}

/// `GET /v1/search/content?q=&page_number=&page_size=`.
pub(super) async fn search(State(node): Ctx, caller: Caller, Query(params): Params) -> Answer {
    let wanted = params.get("q").map(|q| q.to_lowercase()).unwrap_or_default();
    let matches = |row: &ContentRow| {
        let title = row.settings.get("title").and_then(Value::as_str).unwrap_or_default();
        row.name.to_lowercase().contains(&wanted) || title.to_lowercase().contains(&wanted)
    };
    let include = params.get("include").map_or("", String::as_str);
    let found = matching(&node, &caller, include, matches).await?;
    let number = |name: &str, unset: usize| params.get(name).and_then(|n| n.parse().ok()).unwrap_or(unset).max(1);
    let (page, size) = (number("page_number", 1), number("page_size", 20).min(500));
    let results: Vec<&Value> = found.iter().skip((page - 1).saturating_mul(size)).take(size).collect();
    Ok(reply::ok(&json!({"total": found.len(), "current_page": page, "results": results})))
}

/// `GET /v1/content/{guid}?include=owner,tags,vanity_url`.
pub(super) async fn show(State(node): Ctx, Path(guid): Path<String>, caller: Caller, Query(params): Params) -> Answer {
    let (row, role) = caller.visible(&node, &guid).await?;
    let include = params.get("include").map_or("", String::as_str);
    Ok(reply::ok(&shown(&node, &caller, (&row, role), include).await?))
}

/// `PATCH /v1/content/{guid}`.
pub(super) async fn update(State(node): Ctx, Path(guid): Path<String>, caller: Caller, document: Document) -> Answer {
    let mut row = caller.editable(&node, &guid).await?;
    let changes = Changes::parse(document.into_object()?)?;
    if let Some(owner) = changes.owner_guid.filter(|owner| *owner != row.owner_guid) {
        if !caller.is_admin() {
            return Err(NO_PERMISSION);
        }
        if !node.shared.users.iter().any(|user| user.guid == owner) {
            return Err(ApiError::bad_request(25, "The owner does not exist."));
        }
        row.owner_guid = owner;
    }
    row.name = changes.name.unwrap_or(row.name);
    row.access_type = changes.access_type.unwrap_or(row.access_type);
    row.settings.extend(changes.settings);
    fields::check_processes(&row.settings)?;
    if !node.shared.store.update_content(&row).await? {
        return Err(NAME_TAKEN);
    }
    node.shared.catalog.forget(&guid);
    delivery::warm(&node, &guid).await;
    let role = caller.role_on(&node, &row).await?;
    Ok(reply::ok(&shown(&node, &caller, (&row, role), "").await?))
}

/// `DELETE /v1/content/{guid}`.
pub(super) async fn remove(State(node): Ctx, Path(guid): Path<String>, caller: Caller) -> Answer {
    caller.editable(&node, &guid).await?;
    let shared = Arc::clone(&node.shared);
    shared.store.delete_content(&guid).await?;
    shared.catalog.forget(&guid);
    shared.catalog.reload_vanities(&shared.store).await?;
    shared.processes.stop_content(&guid, None);
    if let Some(launcher) = &shared.launcher {
        launcher.replace(&guid, None);
    }
    let files = shared.bundles.clone();
    tokio::task::spawn_blocking(move || files.remove_content(&guid));
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// Every content item that the caller may see and that matches.
async fn matching(
    node: &Node,
    caller: &Caller,
    include: &str,
    matches: impl Fn(&ContentRow) -> bool,
) -> Result<Vec<Value>, ApiError> {
    let mut found = Vec::new();
    for row in node.shared.store.all_content().await?.into_iter().filter(|row| matches(row)) {
        let role = caller.role_on(node, &row).await?;
        if role != "none" {
            found.push(shown(node, caller, (&row, role), include).await?);
        }
    }
    Ok(found)
}

async fn shown(
    node: &Node,
    caller: &Caller,
    (row, role): (&ContentRow, &str),
    include: &str,
) -> Result<Value, ApiError> {
    let store = &node.shared.store;
    let bundle = match row.bundle_id {
        Some(id) => store.bundle(id).await?,
        None => None,
    };
    let mut json = fields::to_json(row, &caller.base, role, bundle.as_ref());
    for extra in include.split(',').map(str::trim).filter(|extra| !extra.is_empty()) {
        match extra {
            "owner" => {
                let owner = node.shared.users.iter().find(|user| user.guid == row.owner_guid);
                json["owner"] = owner.map(user_json).unwrap_or_default();
            }
            "tags" => json["tags"] = store.tags_of(&row.guid).await?.iter().map(tag_json).collect(),
            "vanity_url" => {
                let paths = store.vanities().await?;
                let vanity = paths.iter().find(|vanity| vanity.content_guid == row.guid);
                json["vanity_url"] = json!(vanity.map(|vanity| format!("{}{}", caller.base, vanity.path)));
            }
            _ => return Err(ApiError::bad_request(161, format!("The include option `{extra}` is not known."))),
        }
    }
    Ok(json)
}
