//! The servers that rsconnect-python has saved, for `-n NAME`. Read only: we never write that file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::transport::CaCert;
use crate::secret::ApiKey;

/// Why a saved server cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ServersError {
    /// No such file anywhere.
    #[error("no servers are saved by rsconnect-python (looked for {}); save one with rsconnect add, or give --server and --api-key", list(.0))]
    NoFile(Vec<String>),
    /// The file cannot be read.
    #[error("cannot read {path}: {detail}")]
    Unreadable {
        /// Which file.
        path: String,
        /// Why.
        detail: String,
    },
    /// No server of that name.
    #[error("no server named {name:?} in {path}; it has {}", list(.known))]
    Unknown {
        /// The name asked for.
        name: String,
        /// Which file.
        path: String,
        /// The names in it.
        known: Vec<String>,
    },
    /// The server is saved without a key.
    #[error(
        "the server {name:?} in {path} is saved without an API key (by a log-in in the browser): give one with --api-key or CONNECT_API_KEY"
    )]
    NoKey {
        /// The name.
        name: String,
        /// Which file.
        path: String,
    },
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// One saved server. Has no `Debug`: it holds a key.
#[derive(Clone)]
pub struct SavedServer {
    /// Its nickname.
    pub name: String,
    /// Its address as saved.
    pub url: String,
    /// Its key; `None` for a server that is logged in to in the browser.
    pub key: Option<ApiKey>,
    /// Certificates are not verified.
    pub insecure: bool,
    /// A further certificate authority.
    pub cacert: Option<CaCert>,
    /// Used where no server is named.
    pub default: bool,
}

impl SavedServer {
    /// The key.
    ///
    /// # Errors
    /// Where the server is saved without one.
    pub fn key(&self, store: &SavedServers) -> Result<ApiKey, ServersError> {
        let missing = || ServersError::NoKey { name: self.name.clone(), path: store.path.display().to_string() };
        self.key.clone().ok_or_else(missing)
    }
}

/// The saved servers, by name.
pub struct SavedServers {
    path: PathBuf,
    servers: BTreeMap<String, SavedServer>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    url: String,
    #[serde(default)]
    api_key: Option<String>,
    #[serde(default)]
    insecure: Option<bool>,
    #[serde(default)]
    ca_cert: Option<String>,
    #[serde(default)]
    default: Option<bool>,
}

impl SavedServers {
    /// Reads the first of the files that exists.
    ///
    /// # Errors
    /// Where none exists or it is not of the form that rsconnect-python writes.
    pub fn read(paths: &[PathBuf]) -> Result<SavedServers, ServersError> {
        let Some(path) = paths.iter().find(|path| path.is_file()) else {
            return Err(ServersError::NoFile(paths.iter().map(|path| path.display().to_string()).collect()));
        };
        let unreadable = |detail: String| ServersError::Unreadable { path: path.display().to_string(), detail };
        let text = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
        // The parser's own message could quote a line with a key in it.
        let entries: BTreeMap<String, Entry> = serde_json::from_slice(&text).map_err(|error| {
            unreadable(format!("not a list of servers, line {} column {}", error.line(), error.column()))
        })?;
        let servers = entries.into_iter().map(|(name, entry)| (name.clone(), saved(name, entry))).collect();
        Ok(SavedServers { path: path.clone(), servers })
    }

    /// The server of a name.
    ///
    /// # Errors
    /// Where there is none; the error lists those that there are.
    pub fn get(&self, name: &str) -> Result<&SavedServer, ServersError> {
        self.servers.get(name).ok_or_else(|| ServersError::Unknown {
            name: name.to_owned(),
            path: self.path.display().to_string(),
            known: self.names(),
        })
    }

    /// The server that is used where none is named.
    #[must_use]
    pub fn default_server(&self) -> Option<&SavedServer> {
        self.servers.values().find(|server| server.default)
    }

    /// All names, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.servers.keys().cloned().collect()
    }

    /// The file they are from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn saved(name: String, entry: Entry) -> SavedServer {
    let cacert = entry
        .ca_cert
        .filter(|text| !text.trim().is_empty())
        .map(|text| if text.contains("-----BEGIN") { CaCert::Pem(text) } else { CaCert::File(PathBuf::from(text)) });
    SavedServer {
        name,
        url: entry.url,
        key: entry.api_key.as_deref().and_then(ApiKey::new),
        insecure: entry.insecure.unwrap_or(false),
        cacert,
        default: entry.default.unwrap_or(false),
    }
}

/// Where rsconnect-python keeps its servers on this system, likeliest first. `env` is the environment.
#[must_use]
pub fn paths(env: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    const FOLDER: &str = "rsconnect-python";
    let from = |name: &str| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = from("HOME");
    let mut folders = Vec::new();
    if cfg!(target_os = "macos") {
        folders.extend(home.as_ref().map(|home| home.join("Library/Application Support").join(FOLDER)));
    } else if cfg!(windows) {
        folders.extend(from("APPDATA").map(|data| data.join(FOLDER)));
    } else {
        folders.extend(from("XDG_CONFIG_HOME").map(|config| config.join(FOLDER)));
    }
    folders.extend(home.map(|home| home.join(".rsconnect-python")));
    folders.into_iter().map(|folder| folder.join("servers.json")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{
        "prod": {"name": "prod", "url": "https://c.example", "api_key": "k1", "insecure": true, "ca_cert": null},
        "lab": {"name": "lab", "url": "https://lab.example", "api_key": null, "ca_cert": "-----BEGIN CERTIFICATE-----",
                "default": true, "oauth_access_token": "x"}
    }"#;

    fn read(text: &str) -> Result<SavedServers, ServersError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("servers.json");
        std::fs::write(&path, text).unwrap();
        SavedServers::read(&[folder.path().join("none.json"), path])
    }

    #[test]
    fn a_saved_server_is_found_by_name() {
        let store = read(FILE).unwrap();
        let prod = store.get("prod").unwrap();
        assert_eq!((prod.url.as_str(), prod.insecure, prod.cacert.is_none()), ("https://c.example", true, true));
        assert!(prod.key(&store).is_ok());
        assert_eq!(store.default_server().map(|server| server.name.as_str()), Some("lab"));
        assert!(matches!(store.get("lab").unwrap().cacert, Some(CaCert::Pem(_))));
    }

    #[test]
    fn errors_name_what_there_is_and_never_a_key() {
        let store = read(FILE).unwrap();
        let error = store.get("test").err().unwrap().to_string();
        assert!(error.contains("it has lab, prod"), "{error}");
        let error = store.get("lab").unwrap().key(&store).err().unwrap().to_string();
        assert!(error.contains("--api-key"), "{error}");
        let error = read(r#"{"a": {"api_key": ["secret"]}}"#).err().unwrap().to_string();
        assert!(error.contains("line 1") && !error.contains("secret"), "{error}");
        let error = SavedServers::read(&[PathBuf::from("/nowhere/servers.json")]).err().unwrap().to_string();
        assert!(error.contains("/nowhere/servers.json"), "{error}");
    }

    #[test]
    fn the_file_is_looked_for_where_rsconnect_python_writes_it() {
        let env = |name: &str| match name {
            "HOME" => Some(OsString::from("/h")),
            "XDG_CONFIG_HOME" => Some(OsString::from("/x")),
            _ => None,
        };
        let all = paths(env);
        assert_eq!(all.last().unwrap(), Path::new("/h/.rsconnect-python/servers.json"));
        if cfg!(target_os = "linux") {
            assert_eq!(all[0], Path::new("/x/rsconnect-python/servers.json"));
        }
        assert!(paths(|_| None).is_empty());
    }
}
