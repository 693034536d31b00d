//! The plan of a scenario that runs lists of steps.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::seconds;
use crate::scenario::data::Order;
use crate::scenario::steps::Step;

/// Lists of steps, and what their variables are made of. Holds no key; contents of data and other files are beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepsPlan {
    /// At least one; each iteration runs one of them, chosen by weight.
    pub lists: Vec<StepList>,
    /// `${env.NAME}`.
    pub env: BTreeMap<String, String>,
    /// What `${name.column}` is taken from.
    pub data: Vec<DataPlan>,
    /// What URLs that begin with `/` are below: the content item. Ends with `/`.
    pub content_root: String,
    /// What `server:/` stands for. Ends with `/`.
    pub server_root: String,
    /// Whether requests to the content item carry the key where a step does not say.
    pub with_key: bool,
    /// Time-out of one request where a step does not say.
    #[serde(with = "seconds")]
    pub timeout: Duration,
    /// What its steps publish.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bundles: Vec<BundlePlan>,
}

/// A bundle that steps publish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundlePlan {
    /// As steps name it.
    pub name: String,
    /// MD5 of what is uploaded.
    pub md5: String,
    /// Bytes of it.
    pub bytes: u64,
}

/// A list of steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepList {
    /// Its name.
    pub name: String,
    /// How often it is chosen, as a share of all weights.
    pub weight: u32,
    /// From the first to the last.
    pub steps: Vec<Step>,
}

/// A data file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataPlan {
    /// Its name in variables.
    pub name: String,
    /// The file, as it was written.
    pub file: String,
    /// Which row an iteration takes.
    pub order: Order,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Number of rows.
    pub rows: usize,
}

impl StepsPlan {
    /// The names of the series: those of the steps, with their list where there are several.
    #[must_use]
    pub fn series(&self) -> Vec<String> {
        let name = |list: &StepList, series: String| match self.lists.len() {
            1 => series,
            _ => format!("{}/{series}", list.name),
        };
        let of = |list| self.steps_of(list).map(move |series| name(list, series));
        self.lists.iter().flat_map(of).collect()
    }

    fn steps_of<'l>(&self, list: &'l StepList) -> impl Iterator<Item = String> + use<'l> {
        list.steps.iter().flat_map(Step::series)
    }

    /// The step of each series.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        let all = self.lists.iter().flat_map(|list| &list.steps);
        all.flat_map(|step| std::iter::repeat_n(step, step.series().len()))
    }
}
