//! Everything about a publish loop, as it stands before the run.

use std::time::Duration;

use bytes::Bytes;

use crate::engine::program::SeriesId;
use crate::posit_connect::provision::Access;
use crate::secret::ApiKey;

/// The series of the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishSeries {
    /// Make the content item, and set who may fetch it.
    pub create: SeriesId,
    /// Upload the bundle.
    pub upload: SeriesId,
    /// Deploy it.
    pub deploy: SeriesId,
    /// Poll the task.
    pub task: SeriesId,
    /// Fetch the application until it answers.
    pub first_response: SeriesId,
    /// Delete the bundle that was served before.
    pub prune: SeriesId,
    /// Delete the content item.
    pub delete: SeriesId,
}

/// Where it is published to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishInto {
    /// The same content item again and again.
    One {
        /// Its identifier.
        guid: String,
        /// Whether fetching it needs the key.
        with_key: bool,
    },
    /// A new content item each time, or the first time.
    New {
        /// The beginning of the names, noted in the journal before the run.
        prefix: String,
        /// Description of the items, by which a clean-up knows them.
        description: String,
        /// Who may fetch them.
        access: Access,
        /// The number of the first name. Several VUs take different ones.
        first_number: u64,
        /// From one name's number to the next: how many VUs publish.
        number_step: u64,
        /// When they are deleted.
        lasts: Lasts,
        /// Environment variables of the items.
        variables: Vec<(String, String)>,
    },
}

/// How long a content item lasts. Whatever is left at the end of the run is deleted then: the journal has its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasts {
    /// To the end of the publish.
    Publish,
    /// Until [`PublishLoop::remove`](super::PublishLoop::remove): other steps use it meanwhile.
    UntilRemoved,
    /// The next publish is to the same item.
    Run,
}

/// Time-outs of the publish loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishTimeouts {
    /// One exchange, connecting included; a poll has its wait on top.
    pub request: Duration,
    /// A deployment, from its being accepted to its end.
    pub task: Duration,
    /// From the end of the deployment to the application's first response.
    pub first_response: Duration,
}

impl Default for PublishTimeouts {
    /// A first deployment compiles packages: ten minutes.
    fn default() -> Self {
        PublishTimeouts {
            request: Duration::from_secs(60),
            task: Duration::from_secs(600),
            first_response: Duration::from_secs(120),
        }
    }
}

/// Everything about a publish loop. Has no `Debug`: it holds the key.
#[derive(Clone)]
pub struct PublishPlan {
    /// Where the steps are counted.
    pub series: PublishSeries,
    /// The path that every request to the server begins with, `/` or `/sub/path/`.
    pub base_path: String,
    /// The key; also to take it out of what the server says.
    pub key: ApiKey,
    /// The bundle.
    pub bundle: Bytes,
    /// Where it is published to.
    pub into: PublishInto,
    /// The path below the content item that is fetched first, with its query.
    pub first_path: String,
    /// Time-outs.
    pub timeouts: PublishTimeouts,
    /// Seed of the back-off's jitter.
    pub seed: u64,
}

/// The plan cannot be carried out.
#[derive(Debug, thiserror::Error)]
#[error("the publish loop cannot use {what} {value:?}")]
pub struct PublishPlanError {
    pub(super) what: &'static str,
    pub(super) value: String,
}
