//! Process settings of a content item that is not ours, changed for the time of a run. What they were is in the journal
//! before they are changed, so that they come back after any end of this process.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::api::Client;
use super::error::ApiError;
use super::journal::{Journal, JournalError};
use super::types::{Content, RuntimeSettings};

/// Settings that a run has changed, or is about to change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The content item.
    pub guid: String,
    /// What they were, by the API's names; null is the server's default.
    pub before: Map<String, Value>,
    /// What they are for the run; the same names.
    pub during: Map<String, Value>,
}

/// What became of settings that were to be put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restored {
    /// They are what they were.
    Done,
    /// They are, but for these, which are not what the run had made them: somebody has changed them since.
    ChangedSince(Vec<String>),
    /// There is no such content item any more.
    Gone,
}

impl Change {
    /// What is to be changed of an item; `None` where it has all of it already.
    #[must_use]
    pub fn of(content: &Content, wanted: &RuntimeSettings) -> Option<Change> {
        let (is, wanted) = (values(&content.runtime), values(wanted));
        let now = |name: &str| is.get(name).cloned().unwrap_or(Value::Null);
        let during: Map<String, Value> = wanted.into_iter().filter(|(name, value)| !same(&now(name), value)).collect();
        let before = during.keys().map(|name| (name.clone(), now(name))).collect();
        (!during.is_empty()).then(|| Change { guid: content.guid.clone(), before, during })
    }

    /// What it is called in lists of what is left.
    #[must_use]
    pub fn name(&self) -> String {
        format!("process settings of {}", self.guid)
    }
}

/// The settings that are given, by the API's names.
#[must_use]
pub fn values(settings: &RuntimeSettings) -> Map<String, Value> {
    // A struct of numbers is an object, always.
    match serde_json::to_value(settings) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

/// Whether two values are the same: 1 and 1.0 are.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a.to_bits() == b.to_bits(),
        _ => a == b,
    }
}

/// Why they cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The server does not take them.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// What they were cannot be written down.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Changes the settings of somebody's own item for a run. In the journal before it is done.
///
/// # Errors
/// Where the journal cannot be written, or the server refuses; then the journal still has it, and [`restore`] sees to it.
pub async fn change(
    client: &Client,
    journal: &mut Journal,
    run_id: &str,
    content: Content,
    wanted: &RuntimeSettings,
) -> Result<Content, SettingsError> {
    let Some(change) = Change::of(&content, wanted) else { return Ok(content) };
    journal.changing(&change, run_id, &client.server().to_string())?;
    Ok(client.patch_content(&change.guid, &change.during).await?)
}

/// Puts settings back: each that is still what the run made it.
///
/// # Errors
/// As every call.
pub async fn restore(client: &Client, change: &Change) -> Result<Restored, ApiError> {
    let content = match client.content(&change.guid).await {
        Ok(content) => content,
        Err(error) if error.is_not_found() => return Ok(Restored::Gone),
        Err(error) => return Err(error),
    };
    let is = values(&content.runtime);
    let (mut back, mut since) = (Map::new(), Vec::new());
    for (name, before) in &change.before {
        let now = is.get(name).unwrap_or(&Value::Null);
        if change.during.get(name).is_some_and(|during| same(now, during)) {
            back.insert(name.clone(), before.clone());
        } else if !same(now, before) {
            since.push(name.clone());
        }
    }
    if !back.is_empty() {
        client.patch_content(&change.guid, &back).await?;
    }
    Ok(if since.is_empty() { Restored::Done } else { Restored::ChangedSince(since) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(json: &str) -> RuntimeSettings {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn only_what_differs_is_changed_and_what_was_unset_is_unset_again() {
        let runtime = settings(r#"{"min_processes": null, "max_processes": 3, "load_factor": 1}"#);
        let content = Content { guid: "g".to_owned(), runtime, ..Content::default() };
        let wanted = settings(r#"{"min_processes": 2, "max_processes": 3, "load_factor": 0.25}"#);
        let change = Change::of(&content, &wanted).unwrap();
        assert_eq!(Value::from(change.before.clone()), serde_json::json!({"min_processes": null, "load_factor": 1.0}));
        assert_eq!(Value::from(change.during.clone()), serde_json::json!({"min_processes": 2, "load_factor": 0.25}));
        assert_eq!(change.name(), "process settings of g");
        assert_eq!(Change::of(&content, &settings(r#"{"max_processes": 3, "load_factor": 1.0}"#)), None);
        assert_eq!(Change::of(&content, &RuntimeSettings::default()), None);
    }
}
