//! What was used when: the instrumentation API.

use std::collections::{BTreeMap, HashMap};

use axum::extract::{Query, State};
use serde_json::{Value, json};

use super::super::error::ApiError;
use super::super::reply;
use super::{Answer, Caller, Ctx, Params};

/// `GET /v1/instrumentation/content/hits?from=&to=&content_guid=`: publishers see those of the items that they may change.
pub(super) async fn hits(State(node): Ctx, caller: Caller, Query(params): Params) -> Answer {
    caller.must_publish()?;
    let (from, to) = (time(&params, "from")?, time(&params, "to")?);
    let wanted: Option<Vec<&str>> = params.get("content_guid").map(|guids| guids.split('|').collect());
    let mut mine: BTreeMap<String, bool> = BTreeMap::new();
    let mut told: Vec<Value> = Vec::new();
    for hit in node.shared.usage.between(from, to) {
        if wanted.as_ref().is_some_and(|wanted| !wanted.contains(&hit.content_guid.as_str())) {
            continue;
        }
        let may = match mine.get(&hit.content_guid) {
            Some(may) => *may,
            None => {
                // Items that are gone are told to administrators only.
                let row = node.shared.store.content(&hit.content_guid).await?;
                let may = match row {
                    Some(row) => matches!(caller.role_on(&node, &row).await?, "owner" | "editor"),
                    None => caller.is_admin(),
                };
                mine.insert(hit.content_guid.clone(), may);
                may
            }
        };
        if may {
            told.push(json!({
                "id": hit.id, "content_guid": hit.content_guid, "user_guid": hit.user_guid,
                "timestamp": hit.at.to_string(),
            }));
        }
    }
    Ok(reply::ok(&Value::Array(told)))
}

fn time(params: &HashMap<String, String>, name: &str) -> Result<Option<jiff::Timestamp>, ApiError> {
    let wrong = |_| ApiError::bad_request(3, format!("`{name}` is no timestamp in the format of RFC 3339."));
    params.get(name).map(|text| text.parse().map_err(wrong)).transpose()
}
