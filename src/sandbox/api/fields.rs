//! The fields of a content item: which can be written, what is valid, and how they are shown.

use serde_json::{Map, Value, json};

use super::super::error::ApiError;
use super::super::manifest;
use super::super::store::{BundleRow, ContentRow};

/// Most processes that a content item may ask for, and most that it may keep.
pub(super) const MAX_PROCESSES_LIMIT: i64 = 20;
pub(super) const MIN_PROCESSES_LIMIT: i64 = 20;
/// Greatest timeout, 30 days in seconds.
const TIMEOUT_LIMIT: i64 = 2_592_000;
const DEFAULT_MAX_PROCESSES: i64 = 3;

/// What a field takes besides null.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Text,
    Flag,
    Count,
    Share,
    Timeout,
    Number,
}

/// Fields that are kept as they come, with what they show before they were set.
static SETTINGS: [(&str, Kind, Value); 32] = [
    ("title", Kind::Text, Value::Null),
    ("description", Kind::Text, Value::String(String::new())),
    ("connection_timeout", Kind::Timeout, Value::Null),
    ("read_timeout", Kind::Timeout, Value::Null),
    ("init_timeout", Kind::Timeout, Value::Null),
    ("idle_timeout", Kind::Timeout, Value::Null),
    ("max_processes", Kind::Count, Value::Null),
    ("min_processes", Kind::Count, Value::Null),
    ("max_conns_per_process", Kind::Count, Value::Null),
    ("load_factor", Kind::Share, Value::Null),
    ("cpu_request", Kind::Number, Value::Null),
    ("cpu_limit", Kind::Number, Value::Null),
    ("memory_request", Kind::Number, Value::Null),
    ("memory_limit", Kind::Number, Value::Null),
    ("amd_gpu_limit", Kind::Number, Value::Null),
    ("nvidia_gpu_limit", Kind::Number, Value::Null),
    ("service_account_name", Kind::Text, Value::Null),
    ("default_image_name", Kind::Text, Value::Null),
    ("default_environment_guid", Kind::Text, Value::Null),
    ("environment_guid", Kind::Text, Value::Null),
    ("default_r_environment_management", Kind::Flag, Value::Null),
    ("default_py_environment_management", Kind::Flag, Value::Null),
    ("content_category", Kind::Text, Value::String(String::new())),
    ("run_as", Kind::Text, Value::Null),
    ("run_as_current_user", Kind::Flag, Value::Bool(false)),
    ("locked", Kind::Flag, Value::Bool(false)),
    ("locked_message", Kind::Text, Value::String(String::new())),
    ("draft_marker_enabled", Kind::Flag, Value::Bool(true)),
    ("metrics_collection_enabled", Kind::Flag, Value::Bool(true)),
    ("notify_on_share", Kind::Flag, Value::Bool(true)),
    ("otel_enabled", Kind::Flag, Value::Bool(false)),
    ("public_content_status", Kind::Text, Value::Null),
];

/// Fields that clients send back although the server sets them: not taken, not refused.
const READ_ONLY: [&str; 26] = [
    "guid",
    "id",
    "created_time",
    "last_deployed_time",
    "bundle_id",
    "app_mode",
    "app_role",
    "parameterized",
    "cluster_name",
    "image_name",
    "r_version",
    "r_environment_management",
    "py_version",
    "py_environment_management",
    "quarto_version",
    "node_version",
    "content_url",
    "dashboard_url",
    "vanity_url",
    "owner",
    "tags",
    "extension",
    "vanity_is_default",
    "has_parameters",
    "trusted",
    "permissions",
];

/// What a client wants a content item to be.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Changes {
    pub(super) name: Option<String>,
    pub(super) access_type: Option<String>,
    pub(super) owner_guid: Option<String>,
    /// The other fields that were given.
    pub(super) settings: Map<String, Value>,
}

impl Changes {
    /// Takes a client's object apart and checks each field by itself.
    pub(super) fn parse(object: Map<String, Value>) -> Result<Self, ApiError> {
        let mut changes = Self::default();
        for (name, value) in object {
            match (name.as_str(), &value) {
                ("name", Value::String(text)) => changes.name = Some(checked_name(text)?),
                ("access_type", Value::String(text)) => changes.access_type = Some(checked_access(text)?),
                ("owner_guid", Value::String(text)) => changes.owner_guid = Some(text.clone()),
                ("name" | "access_type" | "owner_guid", Value::Null) => {}
                ("name" | "access_type" | "owner_guid", _) => return Err(wrong_type(&name)),
                (known, _) if READ_ONLY.contains(&known) => {}
                (setting, _) => {
                    let Some((_, kind, _)) = SETTINGS.iter().find(|(known, _, _)| *known == setting) else {
                        return Err(ApiError::bad_request(121, format!("The field `{setting}` is not known.")));
                    };
                    check(setting, *kind, &value)?;
                    changes.settings.insert(name, value);
                }
            }
        }
        Ok(changes)
    }
}

/// Checks what fields say together, once they are merged.
pub(super) fn check_processes(settings: &Map<String, Value>) -> Result<(), ApiError> {
    let count = |name: &str| settings.get(name).and_then(Value::as_i64);
    let (min, max) = (count("min_processes").unwrap_or(0), count("max_processes").unwrap_or(DEFAULT_MAX_PROCESSES));
    if max > MAX_PROCESSES_LIMIT {
        return Err(ApiError::bad_request(45, format!("max_processes is greater than {MAX_PROCESSES_LIMIT}.")));
    }
    if min > MIN_PROCESSES_LIMIT {
        return Err(ApiError::bad_request(113, format!("min_processes is greater than {MIN_PROCESSES_LIMIT}.")));
    }
    if min > max {
        return Err(ApiError::bad_request(114, "min_processes is greater than max_processes."));
    }
    Ok(())
}

/// A content item as the API shows it.
pub(super) fn to_json(row: &ContentRow, base: &str, role: &str, bundle: Option<&BundleRow>) -> Value {
    let manifest = bundle.and_then(|bundle| bundle.manifest.as_ref());
    let version = |pointer| manifest.and_then(|manifest| manifest::version(manifest, pointer));
    let (r, py) = (version("/platform"), version("/python/version"));
    let mut json = json!({
        "guid": row.guid,
        "id": row.id.to_string(),
        "name": row.name,
        "access_type": row.access_type,
        "owner_guid": row.owner_guid,
        "created_time": row.created_time,
        "last_deployed_time": row.last_deployed_time,
        "bundle_id": row.bundle_id.map(|id| id.to_string()),
        "app_mode": row.app_mode,
        "app_role": role,
        "parameterized": false,
        "cluster_name": row.bundle_id.map(|_| "Local"),
        "image_name": row.bundle_id.map(|_| "Local"),
        "r_version": r,
        "r_environment_management": r.map(|_| true),
        "py_version": py,
        "py_environment_management": py.map(|_| true),
        "quarto_version": version("/quarto/version"),
        "node_version": version("/nodejs/version"),
        "content_url": format!("{base}/content/{}/", row.guid),
        "dashboard_url": format!("{base}/connect/#/apps/{}", row.guid),
    });
    for (name, _, unset) in &SETTINGS {
        json[*name] = row.settings.get(*name).filter(|value| !value.is_null()).unwrap_or(unset).clone();
    }
    json
}

fn checked_name(name: &str) -> Result<String, ApiError> {
    let fits = (3..=64).contains(&name.len());
    if fits && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        return Ok(name.to_owned());
    }
    Err(ApiError::bad_request(5, "A name has 3 to 64 letters, digits, hyphens, underscores or periods."))
}

fn checked_access(access: &str) -> Result<String, ApiError> {
    if ["all", "logged_in", "acl"].contains(&access) {
        return Ok(access.to_owned());
    }
    Err(ApiError::bad_request(117, format!("The access type `{access}` is not known.")))
}

fn check(name: &str, kind: Kind, value: &Value) -> Result<(), ApiError> {
    if value.is_null() {
        return Ok(());
    }
    match kind {
        Kind::Text => {
            let text = value.as_str().ok_or_else(|| wrong_type(name))?;
            let length = text.chars().count();
            if name == "title" && !(3..=1024).contains(&length) {
                return Err(ApiError::bad_request(122, "A title has 3 to 1024 characters."));
            }
        }
        Kind::Flag => {
            value.as_bool().ok_or_else(|| wrong_type(name))?;
        }
        Kind::Number => {
            value.as_f64().ok_or_else(|| wrong_type(name))?;
        }
        Kind::Count => {
            let count = value.as_i64().ok_or_else(|| wrong_type(name))?;
            let least = i64::from(name != "min_processes");
            if count < least {
                return Err(ApiError::bad_request(25, format!("{name} is less than {least}.")));
            }
        }
        Kind::Share => {
            let share = value.as_f64().ok_or_else(|| wrong_type(name))?;
            if !(0.0..=1.0).contains(&share) {
                return Err(ApiError::bad_request(150, "The load factor is between 0.0 and 1.0."));
            }
        }
        Kind::Timeout => {
            let seconds = value.as_i64().ok_or_else(|| wrong_type(name))?;
            if !(0..=TIMEOUT_LIMIT).contains(&seconds) {
                return Err(ApiError::bad_request(151, format!("{name} is between 0 and {TIMEOUT_LIMIT} seconds.")));
            }
        }
    }
    Ok(())
}

fn wrong_type(name: &str) -> ApiError {
    ApiError::bad_request(121, format!("The field `{name}` has the wrong type."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(object: Value) -> u32 {
        let Value::Object(object) = object else { return 0 };
        let changes = Changes::parse(object);
        match changes.and_then(|changes| check_processes(&changes.settings)) {
            Ok(()) => 0,
            Err(error) => error.code,
        }
    }

    #[test]
    fn each_bad_field_has_its_code() {
        assert_eq!(code(json!({})), 0);
        assert_eq!(code(json!({"name": "my_app-1.x", "title": null, "guid": "ignored", "load_factor": 0.5})), 0);
        assert_eq!(code(json!({"name": "ab"})), 5);
        assert_eq!(code(json!({"name": "with space"})), 5);
        assert_eq!(code(json!({"title": "ab"})), 122);
        assert_eq!(code(json!({"access_type": "everyone"})), 117);
        assert_eq!(code(json!({"load_factor": 1.5})), 150);
        assert_eq!(code(json!({"idle_timeout": -1})), 151);
        assert_eq!(code(json!({"read_timeout": 2_592_001})), 151);
        assert_eq!(code(json!({"min_processes": 4})), 114);
        assert_eq!(code(json!({"min_processes": 4, "max_processes": 5})), 0);
        assert_eq!(code(json!({"max_processes": 21})), 45);
        assert_eq!(code(json!({"min_processes": 21, "max_processes": 20})), 113);
        assert_eq!(code(json!({"max_processes": 0})), 25);
        assert_eq!(code(json!({"max_processes": "3"})), 121);
        assert_eq!(code(json!({"colour": "red"})), 121);
    }
}
