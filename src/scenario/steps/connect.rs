//! Connect's own work as a step: publishing, and content items for later steps.
//!
//! ```toml
//! [[steps.life]]
//! name = "app"
//! provision = "flask-stocks"              # flask-stocks, plumber-stocks, or a directory beside the scenario file: made,
//!                                         # uploaded, deployed, fetched once; deleted at the end of the iteration
//! item = "app"                            # `${app}` is its identifier in later steps
//! access = "all"                          # who may fetch it; or "key"
//! variables = { MODE = "vu ${vu}" }       # its environment
//! path = "/stocks/AAPL"                   # what is fetched once it is deployed
//!
//! [[steps.life]]
//! name = "update"
//! publish = "plumber-stocks"              # to the same content item each time, one for each VU
//! into = "new"                            # or to a new one each time, deleted afterwards
//! ```
//!
//! Each of them is several requests, with a series for each: `app/create`, `app/upload`, … ([`PARTS`]).

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::super::reader::Fields;
use super::super::template::{Template, is_name};
use super::read;
use crate::units::nearest;

/// Names of the requests of a publish, in the order of their series.
pub const PARTS: [&str; 7] = ["create", "upload", "deploy", "task", "first_response", "prune", "delete"];
/// The applications that are part of the program.
pub const APPLICATIONS: [&str; 2] = ["flask-stocks", "plumber-stocks"];
/// Where a publish goes.
pub(super) const INTO: [&str; 2] = ["same", "new"];
/// Who may fetch a content item.
pub(super) const ACCESS: [&str; 2] = ["all", "key"];
/// Keys of a step that publishes.
pub(super) const KEYS: [&str; 11] =
    ["name", "publish", "provision", "into", "item", "access", "variables", "path", "think", "group", "tags"];

/// What is published, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectStep {
    /// One of [`APPLICATIONS`], or a directory as it was written.
    pub bundle: String,
    /// How long the content item lasts.
    pub lasts: ItemLasts,
    /// The variable that is its identifier.
    pub item: Option<String>,
    /// Whether only those with a key may fetch it; without it, as for the run.
    pub with_key: Option<bool>,
    /// Its environment.
    pub variables: Vec<(String, Template)>,
    /// Path below it that is fetched once it is deployed; without it that of the application.
    pub path: Option<String>,
}

/// How long a content item lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemLasts {
    /// To the end of the step.
    Step,
    /// To the end of the iteration.
    Iteration,
    /// To the end of the run.
    Run,
}

/// Reads what a step publishes; directories of applications are looked for below `directory`.
pub(super) fn connect(step: &Fields<'_>, directory: &Path) -> Option<ConnectStep> {
    let key = ["publish", "provision"].into_iter().find(|key| step.has(key));
    let Some(key) = key else {
        for key in ["into", "item", "access", "variables", "path"].into_iter().filter(|key| step.has(key)) {
            step.fault_in(key, format!("`{key}` belongs to a step with `publish` or `provision`"));
        }
        return None;
    };
    for (other, value) in step.table {
        let other = other.get_ref().as_ref();
        if !KEYS.contains(&other) && read::is_key(other) {
            step.fault_at(value, format!("`{other}` does not belong to a step with `{key}`"));
        }
    }
    let bundle = step.text(key).unwrap_or_default();
    if bundle.is_empty() || !(APPLICATIONS.contains(&bundle) || directory.join(bundle).is_dir()) {
        let hint = nearest(bundle, APPLICATIONS).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        let known = APPLICATIONS.join(", ");
        step.fault_in(key, format!("`{key}` is {known}, or a directory, and {bundle:?} is none of them{hint}"));
    }
    let item = step.text("item").map(str::to_owned);
    if item.as_deref().is_some_and(|item| !is_name(item)) {
        step.fault_in("item", "this cannot be the name of a variable");
    }
    let into = step.parsed("into", |into| match into {
        "same" => Ok(ItemLasts::Run),
        "new" => Ok(ItemLasts::Step),
        _ => Err("this is \"same\" or \"new\""),
    });
    if key == "provision" && step.has("into") {
        step.fault_in("into", "`into` belongs to a step with `publish`: what is provisioned is always new");
    }
    let lasts = if key == "provision" { ItemLasts::Iteration } else { into.unwrap_or(ItemLasts::Run) };
    if lasts == ItemLasts::Step && item.is_some() {
        step.fault_in("item", "the item is deleted at the end of the step: `provision` has one for later steps");
    }
    let with_key = step.parsed("access", |access| match access {
        "all" => Ok(false),
        "key" => Ok(true),
        _ => Err("this is \"all\" or \"key\""),
    });
    let path = step.text("path").map(str::to_owned);
    if path.as_deref().is_some_and(|path| !path.starts_with('/') || path.contains('#')) {
        step.fault_in("path", "`path` begins with \"/\", which is the content item itself");
    }
    let variables = step.templates("variables");
    for (name, _) in &variables {
        if name.is_empty() || name.contains(['=', '\0']) {
            step.fault_in("variables", format!("{name:?} cannot be the name of an environment variable"));
        }
    }
    Some(ConnectStep { bundle: bundle.to_owned(), lasts, item, with_key, variables, path })
}
