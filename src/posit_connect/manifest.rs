//! The manifest of a bundle: reading one, making one, and fitting it to what a server has.

use std::collections::BTreeMap;

use bytes::Bytes;
use md5::{Digest, Md5};
use serde_json::{Map, Value, json};

use super::bundle::BundleError;

/// Name of the manifest in a bundle.
pub const MANIFEST: &str = "manifest.json";
/// Name of the list of Python packages in a bundle.
pub const REQUIREMENTS: &str = "requirements.txt";

/// What kind of application a bundle holds: those whose kind can be told from their files, or any other by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppMode {
    /// Flask and other WSGI applications.
    PythonApi,
    /// FastAPI and other ASGI applications.
    PythonFastapi,
    /// Plumber.
    Api,
    /// Another of Connect's modes.
    Other(String),
}

impl AppMode {
    /// From Connect's name.
    #[must_use]
    pub fn from_name(name: &str) -> AppMode {
        match name {
            "python-api" => AppMode::PythonApi,
            "python-fastapi" => AppMode::PythonFastapi,
            "api" => AppMode::Api,
            other => AppMode::Other(other.to_owned()),
        }
    }

    /// Connect's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            AppMode::PythonApi => "python-api",
            AppMode::PythonFastapi => "python-fastapi",
            AppMode::Api => "api",
            AppMode::Other(name) => name,
        }
    }
}

/// The files of a bundle by path, without the manifest.
pub(crate) type Files = BTreeMap<String, Bytes>;

/// What a server can run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Runtimes {
    /// Its versions of Python.
    pub python: Vec<String>,
    /// Its versions of R.
    pub r: Vec<String>,
}

/// A manifest, as much of it as we know; the rest is passed on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Manifest(Map<String, Value>);

impl Manifest {
    pub(crate) fn parse(text: &[u8]) -> Result<Manifest, BundleError> {
        let detail = |detail: String| BundleError::Manifest { detail };
        match serde_json::from_slice(text) {
            Ok(Value::Object(map)) => Ok(Manifest(map)),
            Ok(_) => Err(detail("it is no JSON object".to_owned())),
            Err(error) => Err(detail(error.to_string())),
        }
    }

    /// A manifest for a Python application.
    pub(crate) fn python(mode: &AppMode, entrypoint: &str, version: &str) -> Manifest {
        let value = json!({
            "version": 1,
            "locale": "en_US.UTF-8",
            "metadata": { "appmode": mode.name(), "entrypoint": entrypoint },
            // Which pip wrote the manifest does not matter to what is installed; the field is required.
            "python": {
                "version": version,
                "package_manager": { "name": "pip", "version": "24.0", "package_file": REQUIREMENTS },
            },
        });
        let Value::Object(map) = value else { return Manifest(Map::new()) };
        Manifest(map)
    }

    fn text(&self, pointer: [&str; 2]) -> Option<&str> {
        self.0.get(pointer[0])?.get(pointer[1])?.as_str()
    }

    pub(crate) fn app_mode(&self) -> Result<AppMode, BundleError> {
        let missing = || BundleError::Manifest { detail: "it has no metadata.appmode".to_owned() };
        self.text(["metadata", "appmode"]).map(AppMode::from_name).ok_or_else(missing)
    }

    pub(crate) fn entrypoint(&self) -> Option<&str> {
        self.text(["metadata", "entrypoint"])
    }

    /// Replaces application mode and entry point by those given.
    pub(crate) fn set_mode(&mut self, mode: Option<&AppMode>, entrypoint: Option<&str>) {
        let metadata = self.0.entry("metadata").or_insert_with(|| json!({}));
        if let (Some(mode), Some(map)) = (mode, metadata.as_object_mut()) {
            map.insert("appmode".to_owned(), json!(mode.name()));
        }
        if let (Some(entrypoint), Some(map)) = (entrypoint, metadata.as_object_mut()) {
            map.insert("entrypoint".to_owned(), json!(entrypoint));
        }
    }

    /// The files that it lists.
    pub(crate) fn listed(&self) -> Result<Vec<String>, BundleError> {
        match self.0.get("files") {
            Some(Value::Object(files)) => Ok(files.keys().cloned().collect()),
            _ => Err(BundleError::Manifest { detail: "it has no list of files".to_owned() }),
        }
    }

    /// Lists these files, with the checksums that they have.
    pub(crate) fn set_files(&mut self, files: &Files) {
        let listed = files.iter().map(|(name, bytes)| (name.clone(), json!({ "checksum": md5_hex(bytes) })));
        self.0.insert("files".to_owned(), Value::Object(listed.collect()));
    }

    /// Fits the versions of the languages to what the server has; without knowledge of the server they stay.
    pub(crate) fn fit(&mut self, runtimes: &Runtimes) {
        let wanted = self.text(["python", "version"]).map(str::to_owned);
        if let Some(version) = wanted.and_then(|wanted| best(&runtimes.python, Some(&wanted)))
            && let Some(Value::Object(python)) = self.0.get_mut("python")
        {
            python.insert("version".to_owned(), json!(version));
        }
        let wanted = self.0.get("platform").and_then(Value::as_str).map(str::to_owned);
        if let Some(version) = wanted.and_then(|wanted| best(&runtimes.r, Some(&wanted))) {
            self.0.insert("platform".to_owned(), json!(version));
        }
    }

    /// What a server would refuse, found before the upload.
    pub(crate) fn check(&self, files: &Files) -> Result<(), BundleError> {
        let is_python = self.app_mode()?.name().starts_with("python-");
        if is_python {
            let package_file = self.0.get("python").and_then(|python| python.get("package_manager"));
            let package_file = package_file.and_then(|manager| manager.get("package_file")).and_then(Value::as_str);
            let package_file = package_file.unwrap_or(REQUIREMENTS);
            if !files.contains_key(package_file) {
                return Err(BundleError::NoRequirements { file: package_file.to_owned() });
            }
        }
        let has_packages = self.0.get("packages").is_some_and(Value::is_object);
        if self.app_mode()? == AppMode::Api && !has_packages {
            return Err(BundleError::NoPackages);
        }
        Ok(())
    }

    pub(crate) fn to_bytes(&self) -> Bytes {
        // A map with texts as keys always has a JSON form.
        serde_json::to_vec_pretty(&self.0).unwrap_or_default().into()
    }
}

/// The version to use of those that a server has: the wanted one, else the newest of the same major and minor number,
/// else the newest. `None` where the server has none.
pub(crate) fn best(have: &[String], wanted: Option<&str>) -> Option<String> {
    let numbers = |version: &str| -> Vec<u64> { version.split('.').map(|part| part.parse().unwrap_or(0)).collect() };
    let newest = |same_series: bool| {
        let wanted = wanted.map(numbers);
        let fits = |version: &&String| {
            let wanted = wanted.as_deref().unwrap_or_default();
            !same_series || numbers(version).iter().take(2).eq(wanted.iter().take(2))
        };
        have.iter().filter(fits).max_by_key(|version| numbers(version)).cloned()
    };
    let exact = have.iter().find(|version| Some(version.as_str()) == wanted).cloned();
    exact.or_else(|| newest(true)).or_else(|| newest(false))
}

/// MD5 in hexadecimal, as manifests have it.
pub(crate) fn md5_hex(bytes: &[u8]) -> String {
    Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(list: &[&str]) -> Vec<String> {
        list.iter().map(|&version| version.to_owned()).collect()
    }

    #[test]
    fn the_version_is_the_wanted_one_or_near_it_or_the_newest() {
        let have = versions(&["4.2.1", "4.2.10", "4.4.2", "4.10.0"]);
        assert_eq!(best(&have, Some("4.2.1")).as_deref(), Some("4.2.1"));
        assert_eq!(best(&have, Some("4.2.2")).as_deref(), Some("4.2.10"));
        assert_eq!(best(&have, Some("3.6.3")).as_deref(), Some("4.10.0"));
        assert_eq!(best(&have, None).as_deref(), Some("4.10.0"));
        assert_eq!(best(&[], Some("4.2.2")), None);
    }

    #[test]
    fn md5_is_md5() {
        assert_eq!(md5_hex(b"abc"), "900150983cd24fb0d6963f7d28e17f72");
    }
}
