//! What belongs to a content item: environment, permissions, vanity path, jobs.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::super::content;
use super::super::error::{ApiError, NOT_FOUND, VANITY_TAKEN};
use super::super::node::Node;
use super::super::processes::Job;
use super::super::reply;
use super::super::store::{Permission, Vanity};
use super::{Answer, Caller, Ctx, Document, id, text};

/// `GET …/environment`: the names, never the values.
pub(super) async fn environment(State(node): Ctx, Path(guid): Path<String>, caller: Caller) -> Answer {
    caller.editable(&node, &guid).await?;
    Ok(reply::ok(&json!(node.shared.store.environment(&guid).await?)))
}

/// `PUT …/environment`: these and no others.
pub(super) async fn put_environment(
    State(node): Ctx,
    Path(guid): Path<String>,
    caller: Caller,
    document: Document,
) -> Answer {
    set_environment(&node, &guid, &caller, (document, true)).await
}

/// `PATCH …/environment`: these as well; null deletes.
pub(super) async fn patch_environment(
    State(node): Ctx,
    Path(guid): Path<String>,
    caller: Caller,
    document: Document,
) -> Answer {
    set_environment(&node, &guid, &caller, (document, false)).await
}

async fn set_environment(node: &Node, guid: &str, caller: &Caller, (document, replace): (Document, bool)) -> Answer {
    caller.editable(node, guid).await?;
    let Value::Array(list) = document.0 else {
        return Err(ApiError::bad_request(121, "The request body must be a JSON array."));
    };
    let mut changes = Vec::new();
    for variable in &list {
        let object = variable.as_object().ok_or_else(|| ApiError::bad_request(121, "A variable is an object."))?;
        let name = text(object, "name")?;
        let value = match object.get("value") {
            None | Some(Value::Null) => None,
            Some(Value::String(value)) => Some(value.clone()),
            Some(_) => return Err(ApiError::bad_request(121, "The value of a variable is a string or null.")),
        };
        changes.push((name.to_owned(), value));
    }
    node.shared.store.set_environment(guid, &changes, replace).await?;
    if let Some(launcher) = &node.shared.launcher {
        // Processes that run have the variables as they were.
        launcher.replace(guid, None);
        content::warm(node, guid).await;
    }
    Ok(reply::ok(&json!(node.shared.store.environment(guid).await?)))
}

/// `GET …/permissions`.
pub(super) async fn permissions(State(node): Ctx, Path(guid): Path<String>, caller: Caller) -> Answer {
    caller.visible(&node, &guid).await?;
    let list: Vec<Value> = node.shared.store.permissions(&guid).await?.iter().map(permission_json).collect();
    Ok(reply::ok(&json!(list)))
}

/// `POST …/permissions`.
pub(super) async fn grant(State(node): Ctx, Path(guid): Path<String>, caller: Caller, document: Document) -> Answer {
    caller.editable(&node, &guid).await?;
    let object = document.into_object()?;
    let (principal, kind) = (text(&object, "principal_guid")?, text(&object, "principal_type")?);
    let role = checked_role(text(&object, "role")?)?;
    match kind {
        "user" if node.shared.users.iter().any(|user| user.guid == principal) => {}
        "user" => return Err(NOT_FOUND),
        "group" => return Err(ApiError::fixed(StatusCode::NOT_FOUND, 153, "The group does not exist.")),
        _ => return Err(ApiError::bad_request(25, "principal_type is user or group.")),
    }
    let number = node.shared.store.grant(&guid, principal, kind, role).await?;
    node.shared.catalog.forget(&guid);
    Ok(reply::ok(&permission_json(&of_content(&node, &guid, number).await?)))
}

/// `GET …/permissions/{id}`.
pub(super) async fn permission(
    State(node): Ctx,
    Path((guid, number)): Path<(String, String)>,
    caller: Caller,
) -> Answer {
    caller.visible(&node, &guid).await?;
    Ok(reply::ok(&permission_json(&of_content(&node, &guid, id(&number)?).await?)))
}

/// `PUT …/permissions/{id}`: another role.
pub(super) async fn change_permission(
    State(node): Ctx,
    Path((guid, number)): Path<(String, String)>,
    caller: Caller,
    document: Document,
) -> Answer {
    caller.editable(&node, &guid).await?;
    let old = of_content(&node, &guid, id(&number)?).await?;
    let object = document.into_object()?;
    let role = checked_role(text(&object, "role")?)?;
    let number = node.shared.store.grant(&guid, &old.principal_guid, &old.principal_type, role).await?;
    node.shared.catalog.forget(&guid);
    Ok(reply::ok(&permission_json(&of_content(&node, &guid, number).await?)))
}

/// `DELETE …/permissions/{id}`.
pub(super) async fn revoke(State(node): Ctx, Path((guid, number)): Path<(String, String)>, caller: Caller) -> Answer {
    caller.editable(&node, &guid).await?;
    if !node.shared.store.revoke(&guid, id(&number)?).await? {
        return Err(NOT_FOUND);
    }
    node.shared.catalog.forget(&guid);
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

async fn of_content(node: &Node, guid: &str, number: i64) -> Result<Permission, ApiError> {
    let list = node.shared.store.permissions(guid).await?;
    list.into_iter().find(|permission| permission.id == number).ok_or(NOT_FOUND)
}

fn checked_role(role: &str) -> Result<&str, ApiError> {
    if role == "viewer" || role == "owner" {
        Ok(role)
    } else {
        Err(ApiError::bad_request(25, "role is viewer or owner."))
    }
}

fn permission_json(permission: &Permission) -> Value {
    json!({
        "id": permission.id.to_string(), "content_guid": permission.content_guid,
        "principal_guid": permission.principal_guid, "principal_type": permission.principal_type,
        "role": permission.role,
    })
}

/// `GET …/vanity`.
pub(super) async fn vanity(State(node): Ctx, Path(guid): Path<String>, caller: Caller) -> Answer {
    caller.visible(&node, &guid).await?;
    let list = node.shared.store.vanities().await?;
    let vanity = list.iter().find(|vanity| vanity.content_guid == guid).ok_or(NOT_FOUND)?;
    Ok(reply::ok(&vanity_json(vanity)))
}

/// `PUT …/vanity`: with `force` it is taken from whoever has it.
pub(super) async fn put_vanity(
    State(node): Ctx,
    Path(guid): Path<String>,
    caller: Caller,
    document: Document,
) -> Answer {
    caller.editable(&node, &guid).await?;
    let object = document.into_object()?;
    let path = checked_path(text(&object, "path")?)?;
    let force = object.get("force").and_then(Value::as_bool).unwrap_or(false);
    let list = node.shared.store.vanities().await?;
    let conflict =
        |other: &Vanity| other.content_guid != guid && (other.path.starts_with(&path) || path.starts_with(&other.path));
    let taken = list.iter().find(|other| conflict(other));
    if taken.is_some_and(|other| !force || other.path != path) {
        return Err(VANITY_TAKEN);
    }
    node.shared.store.set_vanity(&guid, &path).await?;
    node.shared.catalog.reload_vanities(&node.shared.store).await?;
    let list = node.shared.store.vanities().await?;
    let vanity = list.iter().find(|vanity| vanity.content_guid == guid).ok_or(NOT_FOUND)?;
    Ok(reply::ok(&vanity_json(vanity)))
}

/// `DELETE …/vanity`.
pub(super) async fn delete_vanity(State(node): Ctx, Path(guid): Path<String>, caller: Caller) -> Answer {
    caller.editable(&node, &guid).await?;
    node.shared.store.delete_vanity(&guid).await?;
    node.shared.catalog.reload_vanities(&node.shared.store).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `GET /v1/vanities`: those of content that the caller may see.
pub(super) async fn vanities(State(node): Ctx, caller: Caller) -> Answer {
    let mut list = Vec::new();
    for row in node.shared.store.vanities().await? {
        if caller.visible(&node, &row.content_guid).await.is_ok() {
            list.push(vanity_json(&row));
        }
    }
    Ok(reply::ok(&json!(list)))
}

/// A path that does not hide anything of the server's own.
fn checked_path(path: &str) -> Result<String, ApiError> {
    let bare = path.trim_matches('/');
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let first = bare.split('/').next().unwrap_or_default();
    let reserved = first.starts_with("__") || ["content", "connect"].contains(&first);
    let dots = bare.split('/').any(|part| part.is_empty() || part == "." || part == "..");
    if bare.is_empty() || reserved || dots || bare.len() > 256 || !bare.chars().all(plain) {
        return Err(ApiError::bad_request(52, "The vanity path is not valid."));
    }
    Ok(format!("/{bare}/"))
}

fn vanity_json(vanity: &Vanity) -> Value {
    json!({"content_guid": vanity.content_guid, "path": vanity.path, "created_time": vanity.created_time})
}

/// `GET …/jobs`.
pub(super) async fn jobs(State(node): Ctx, Path(guid): Path<String>, caller: Caller) -> Answer {
    caller.editable(&node, &guid).await?;
    let list: Vec<Value> = node.shared.processes.jobs(&guid).iter().map(Job::to_json).collect();
    Ok(reply::ok(&json!(list)))
}

/// `GET …/jobs/{key}`.
pub(super) async fn job(State(node): Ctx, Path((guid, key)): Path<(String, String)>, caller: Caller) -> Answer {
    Ok(reply::ok(&job_of(&node, &guid, &key, &caller).await?.to_json()))
}

/// `DELETE …/jobs/{key}`: stops the process.
pub(super) async fn stop_job(State(node): Ctx, Path((guid, key)): Path<(String, String)>, caller: Caller) -> Answer {
    let job = job_of(&node, &guid, &key, &caller).await?;
    node.shared.processes.stop_job(job.number());
    Ok(reply::ok(&json!({"app_id": guid, "job_key": key, "job_id": job.number().to_string(), "result": null})))
}

/// `GET …/jobs/{key}/log`.
pub(super) async fn job_log(State(node): Ctx, Path((guid, key)): Path<(String, String)>, caller: Caller) -> Answer {
    let job = job_of(&node, &guid, &key, &caller).await?;
    Ok(reply::ok(&json!({ "entries": job.log() })))
}

async fn job_of(node: &Node, guid: &str, key: &str, caller: &Caller) -> Result<Job, ApiError> {
    caller.editable(node, guid).await?;
    node.shared.processes.jobs(guid).into_iter().find(|job| job.key == key).ok_or(NOT_FOUND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vanity_paths_are_plain_and_not_the_servers_own() {
        assert_eq!(checked_path("stocks"), Ok("/stocks/".to_owned()));
        assert_eq!(checked_path("/team/stocks/"), Ok("/team/stocks/".to_owned()));
        for bad in ["/", "/content/x/", "/__api__/", "/connect/", "/a//b/", "/a/../b/", "/a b/", "/ü/"] {
            assert_eq!(checked_path(bad).unwrap_err().code, 52, "{bad}");
        }
    }
}
