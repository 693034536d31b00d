//! What Connect's API sends and takes, as far as we use it. Fields that a server may leave out or send as null are
//! optional; what we do not use is ignored.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::version::ConnectVersion;

/// `GET /__api__/server_settings`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerSettings {
    /// The version, empty where the server hides it.
    #[serde(deserialize_with = "text")]
    pub version: String,
    /// The node that answered.
    #[serde(deserialize_with = "optional_text")]
    pub hostname: Option<String>,
    /// The build.
    #[serde(deserialize_with = "optional_text")]
    pub build: Option<String>,
    /// Whether the server says that it is our stand-in and not Posit Connect.
    pub sandbox: bool,
    /// What the stand-in answers for content with: `simulated` or `processes`.
    #[serde(deserialize_with = "optional_text")]
    pub sandbox_content: Option<String>,
}

impl ServerSettings {
    /// The version, where it is shown and of the usual form.
    #[must_use]
    pub fn connect_version(&self) -> Option<ConnectVersion> {
        ConnectVersion::parse(&self.version)
    }
}

/// A page of visits to content.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Visits {
    #[serde(default)]
    pub(crate) results: Vec<Visit>,
}

/// One of them.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Visit {
    #[serde(default)]
    pub(crate) content_guid: String,
}

/// One of `GET /__api__/v1/instrumentation/content/hits`: somebody asked for an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hit {
    /// The item.
    pub content_guid: String,
    /// When, in the format of RFC 3339.
    pub timestamp: String,
}

/// `GET /__api__/v1/user`: whose key this is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Identifier.
    pub guid: String,
    /// Log-in name.
    #[serde(default, deserialize_with = "text")]
    pub username: String,
    /// `viewer`, `publisher` or `administrator`.
    #[serde(default, deserialize_with = "text")]
    pub user_role: String,
}

impl User {
    /// Whether the user may publish.
    #[must_use]
    pub fn can_publish(&self) -> bool {
        self.user_role != "viewer"
    }
}

/// The installations of a language on the server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Installations {
    /// One for each version, in the server's order.
    pub installations: Vec<Installation>,
}

impl Installations {
    /// The versions.
    #[must_use]
    pub fn versions(&self) -> Vec<String> {
        self.installations.iter().map(|installation| installation.version.clone()).collect()
    }
}

/// One installation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Installation {
    /// `3.11.7`.
    #[serde(deserialize_with = "text")]
    pub version: String,
}

/// The server's defaults and limits for processes, `GET /__api__/server_settings/scheduler/<app mode>`. A map, because
/// its fields are not documented; shown as it came.
pub type SchedulerSettings = serde_json::Map<String, Value>;

/// A content item.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Content {
    /// Identifier.
    pub guid: String,
    /// Name, unique per owner.
    #[serde(default, deserialize_with = "text")]
    pub name: String,
    /// Description.
    #[serde(default, deserialize_with = "text")]
    pub description: String,
    /// `all`, `logged_in` or `acl`.
    #[serde(default, deserialize_with = "text")]
    pub access_type: String,
    /// `python-api`, `api`, …; `unknown` before the first deployment.
    #[serde(default, deserialize_with = "text")]
    pub app_mode: String,
    /// Address as the server believes it to be.
    #[serde(default, deserialize_with = "text")]
    pub content_url: String,
    /// Address in the dashboard.
    #[serde(default, deserialize_with = "text")]
    pub dashboard_url: String,
    /// The active bundle.
    #[serde(default, deserialize_with = "optional_text")]
    pub bundle_id: Option<String>,
    /// Who owns it.
    #[serde(default, deserialize_with = "text")]
    pub owner_guid: String,
    /// When it was made, RFC 3339.
    #[serde(default, deserialize_with = "text")]
    pub created_time: String,
    /// What its processes run with.
    #[serde(flatten)]
    pub runtime: RuntimeSettings,
}

/// A content item's process settings; `None` is the server's default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RuntimeSettings {
    /// Processes kept warm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_processes: Option<u32>,
    /// Most processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_processes: Option<u32>,
    /// Most connections of a process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_conns_per_process: Option<u32>,
    /// How eagerly processes are started, 0..=1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_factor: Option<f64>,
    /// Seconds that a process has to start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_timeout: Option<u32>,
    /// Seconds that a process stays without connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<u32>,
    /// Seconds without data from the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_timeout: Option<u32>,
    /// Seconds without traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_timeout: Option<u32>,
}

/// What a content item is made with.
#[derive(Debug, Clone, Default, Serialize)]
pub struct NewContent {
    /// Name, 3 to 64 characters.
    pub name: String,
    /// Title.
    pub title: String,
    /// Description.
    pub description: String,
}

/// What is changed of a content item.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ContentPatch {
    /// `all`, `logged_in` or `acl`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_type: Option<String>,
    /// Process settings; those that are `None` stay.
    #[serde(flatten)]
    pub runtime: RuntimeSettings,
}

/// An uploaded bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadedBundle {
    /// Identifier, a number in a text.
    #[serde(deserialize_with = "text")]
    pub id: String,
    /// Whether it is the one that is served.
    #[serde(default)]
    pub active: Option<bool>,
    /// Bytes.
    #[serde(default)]
    pub size: Option<u64>,
}

/// A task of Connect: one deployment.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Task {
    /// Identifier.
    #[serde(deserialize_with = "text")]
    pub id: String,
    /// Log lines after the one asked for.
    #[serde(deserialize_with = "lines")]
    pub output: Vec<String>,
    /// Whether it is over.
    pub finished: bool,
    /// 0 is success.
    pub code: i64,
    /// Why it failed.
    #[serde(deserialize_with = "text")]
    pub error: String,
    /// How many log lines there are so far.
    pub last: u64,
}

/// `POST …/deploy`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Deployed {
    #[serde(deserialize_with = "text")]
    pub(crate) task_id: String,
}

/// Connect's error body.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ErrorBody {
    pub(crate) code: Option<i64>,
    #[serde(deserialize_with = "text")]
    pub(crate) error: String,
}

/// Whether a text can stand in a path as an identifier: a server that sends another must not choose our paths.
#[must_use]
pub fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// A text that may be null, or a number (identifiers of older versions).
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(optional_text(deserializer)?.unwrap_or_default())
}

fn optional_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        Value::Number(number) => Ok(Some(number.to_string())),
        other => Err(serde::de::Error::custom(format!("a text was expected, not {other:.40}"))),
    }
}

fn lines<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::<Vec<String>>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_missing_fields_and_numbers_for_texts_are_taken() {
        let content: Content = serde_json::from_str(
            r#"{"guid":"a-1","name":null,"bundle_id":7,"min_processes":null,"max_processes":3,"extra":{"x":[]}}"#,
        )
        .unwrap();
        assert_eq!(content.bundle_id.as_deref(), Some("7"));
        assert_eq!(content.runtime.max_processes, Some(3));
        assert_eq!(content.runtime.min_processes, None);
        let task: Task = serde_json::from_str(r#"{"output":null,"finished":true}"#).unwrap();
        assert!(task.finished && task.output.is_empty());
        assert!(serde_json::from_str::<Content>(r#"{"name":"x"}"#).is_err());
        assert!(serde_json::from_str::<Content>(r#"{"guid":"x","name":{}}"#).is_err());
    }

    #[test]
    fn a_patch_sends_only_what_is_changed() {
        let patch = ContentPatch { access_type: Some("all".into()), ..ContentPatch::default() };
        assert_eq!(serde_json::to_string(&patch).unwrap(), r#"{"access_type":"all"}"#);
    }

    #[test]
    fn an_identifier_cannot_leave_its_place_in_a_path() {
        assert!(is_id("7c1e2f04-9b1f-4f0e-8a51-1d2c3b4a5968") && is_id("jXhOhdm5OOSkGhJw"));
        for bad in ["", "..", "a/b", "a?b", "a b", "ä", "%2e"] {
            assert!(!is_id(bad), "{bad}");
        }
    }
}
