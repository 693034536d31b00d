//! Hosts that were allowed before: `connect-bench/hosts.toml` in the user's configuration. Holds no key.
//!
//! ```toml
//! ["connect.example.com"]
//! confirmed = "2026-11-21T19:00:00Z"
//! production = false
//! cap = "vus=500,duration=1h"
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::failure::Failure;
use crate::rails::CapList;
use crate::rundir::write_whole;

/// What is known of a host.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Known {
    /// When somebody typed its name; empty where somebody wrote it here.
    #[serde(skip_serializing_if = "String::is_empty")]
    confirmed: String,
    /// Loaded although people seem to work on it.
    pub(super) production: bool,
    /// As `--cap`.
    #[serde(skip_serializing_if = "String::is_empty")]
    cap: String,
}

impl Known {
    /// Its caps.
    pub(super) fn caps(&self) -> Result<CapList, Failure> {
        if self.cap.is_empty() {
            return Ok(CapList::default());
        }
        self.cap.parse().map_err(|e| Failure::invalid(anyhow!("hosts.toml: cap: {e}")))
    }
}

/// The file.
pub(super) struct Hosts {
    path: Option<PathBuf>,
    hosts: BTreeMap<String, Known>,
}

fn path() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")))?;
    Some(folder.join("connect-bench").join("hosts.toml"))
}

impl Hosts {
    /// Reads it; where there is none, none is allowed.
    pub(super) fn read() -> Result<Hosts, Failure> {
        let Some(path) = path() else { return Ok(Hosts { path: None, hosts: BTreeMap::new() }) };
        let hosts = match std::fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).with_context(|| path.display().to_string()).map_err(Failure::invalid)?,
            Err(_none) => BTreeMap::new(),
        };
        Ok(Hosts { path: Some(path), hosts })
    }

    /// What is known of a host.
    pub(super) fn get(&self, host: &str) -> Option<&Known> {
        self.hosts.get(&host.to_ascii_lowercase())
    }

    /// Remembers that somebody typed a host's name.
    pub(super) fn remember(&mut self, host: &str) -> anyhow::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let known = self.hosts.entry(host.to_ascii_lowercase()).or_default();
        known.confirmed = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        let text = toml::to_string(&self.hosts).context("the hosts have no form")?;
        Ok(write_whole(path, text.as_bytes())?)
    }
}
