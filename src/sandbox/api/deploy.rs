//! Deploys, builds, and the tasks that they are.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::super::deploy::{self, Deployment};
use super::super::error::{ApiError, NO_BUNDLE, NO_TASK, NOT_FOUND, NOT_LICENSED, TYPE_CHANGE};
use super::super::manifest::app_mode;
use super::super::node::Node;
use super::super::reply;
use super::super::store::BundleRow;
use super::super::tasks::Poll;
use super::{Answer, Caller, Ctx, Document, Params, id};

/// The first version that knows `activate`.
const ACTIVATE_SINCE: (u32, u32) = (2025, 6);

/// `POST /v1/content/{guid}/deploy`.
pub(super) async fn deploy(State(node): Ctx, Path(guid): Path<String>, caller: Caller, document: Document) -> Answer {
    start(&node, &guid, &caller, (document, false)).await
}

/// `POST /v1/content/{guid}/build`: restores the environment, and nothing more.
pub(super) async fn build(State(node): Ctx, Path(guid): Path<String>, caller: Caller, document: Document) -> Answer {
    start(&node, &guid, &caller, (document, true)).await
}

/// `GET /v1/tasks/{id}?first=N&wait=S`.
pub(super) async fn task(State(node): Ctx, Path(task): Path<String>, caller: Caller, Query(params): Params) -> Answer {
    let owner = node.tasks.owner(&task).ok_or(NO_TASK)?;
    if owner != caller.user.guid && !caller.is_admin() {
        return Err(NOT_FOUND);
    }
    let number = |name: &str| -> Result<Option<f64>, ApiError> {
        let Some(text) = params.get(name).filter(|text| !text.is_empty()) else { return Ok(None) };
        let value = text.parse::<f64>().ok().filter(|value| (0.0..=1e9).contains(value));
        value.map(Some).ok_or_else(|| ApiError::bad_request(25, format!("The parameter `{name}` is not valid.")))
    };
    let first = number("first")?.map(|first| first as usize);
    let wait = number("wait")?.map(Duration::from_secs_f64).unwrap_or_default();
    let answer = node.tasks.poll(&task, Poll { first, wait }).await.ok_or(NO_TASK)?;
    Ok(reply::ok(&answer))
}

/// Whether a version is at least year.month. A hidden version counts as new.
pub(super) fn at_least(version: &str, least: (u32, u32)) -> bool {
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(year), Some(month)) => (year, month) >= least,
        _ => true,
    }
}

async fn start(node: &Arc<Node>, guid: &str, caller: &Caller, (document, build_only): (Document, bool)) -> Answer {
    caller.must_publish()?;
    let content = caller.editable(node, guid).await?;
    let (wanted, activate) = parse(document, &node.shared.config.version)?;
    if node.shared.config.faults.license_expired {
        return Err(NOT_LICENSED);
    }
    let bundle = choose(node, guid, wanted, content.bundle_id).await?;
    let mode = bundle.manifest.as_ref().and_then(app_mode);
    if mode.is_some_and(|mode| content.app_mode != "unknown" && content.app_mode != mode) {
        return Err(TYPE_CHANGE);
    }
    let (task_id, handle) = node.tasks.start(&caller.user.guid);
    tokio::spawn(deploy::run(Arc::clone(node), Deployment { bundle, activate, build_only }, handle));
    Ok(reply::json(StatusCode::ACCEPTED, &json!({ "task_id": task_id })))
}

/// Which bundle, and whether it is to be activated.
fn parse(document: Document, version: &str) -> Result<(Option<i64>, bool), ApiError> {
    let (mut bundle, mut activate) = (None, true);
    for (name, value) in document.into_object()? {
        match (name.as_str(), value) {
            ("bundle_id", Value::Null) => {}
            ("bundle_id", Value::String(text)) => bundle = Some(id(&text)?),
            ("bundle_id", Value::Number(number)) => bundle = Some(id(&number.to_string())?),
            ("activate", Value::Bool(wanted)) if at_least(version, ACTIVATE_SINCE) => activate = wanted,
            ("activate", Value::Null) if at_least(version, ACTIVATE_SINCE) => {}
            _ => {
                return Err(ApiError::bad_request(
                    121,
                    format!("The field `{name}` is not known or has the wrong type."),
                ));
            }
        }
    }
    Ok((bundle, activate))
}

/// The bundle that was asked for; without one the active one, or the newest.
async fn choose(node: &Node, guid: &str, wanted: Option<i64>, active: Option<i64>) -> Result<BundleRow, ApiError> {
    let store = &node.shared.store;
    match wanted {
        Some(number) => {
            let bundle = store.bundle(number).await?.ok_or(NO_BUNDLE)?;
            if bundle.content_guid == guid {
                return Ok(bundle);
            }
            Err(ApiError::bad_request(82, "The bundle belongs to another content item."))
        }
        None => {
            let mut bundles = store.bundles(guid).await?;
            let place = bundles.iter().position(|bundle| Some(bundle.id) == active).unwrap_or(0);
            if bundles.is_empty() { Err(NO_BUNDLE) } else { Ok(bundles.swap_remove(place)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_year_and_month() {
        for (version, new) in
            [("2025.06.0", true), ("2025.05.1", false), ("2024.09.0", false), ("2026.01.0", true), ("", true)]
        {
            assert_eq!(at_least(version, ACTIVATE_SINCE), new, "{version}");
        }
    }

    #[test]
    fn activate_is_refused_before_it_was_known() {
        let draft = || Document(json!({"bundle_id": "7", "activate": false}));
        assert_eq!(parse(draft(), "2025.09.0"), Ok((Some(7), false)));
        assert_eq!(parse(draft(), "2024.09.0").unwrap_err().code, 121);
        assert_eq!(parse(Document(json!({"bundle_id": null})), "2024.09.0"), Ok((None, true)));
        assert_eq!(parse(Document(json!({"bundle_id": "x"})), "").unwrap_err().code, 3);
    }
}
