//! The document that `capacity --json` prints.

use std::path::Path;

use serde::Serialize;

use super::{SCHEMA, TargetDocument};
use crate::capacity::sizing::answer::Answer;
use crate::summary::Summary;

/// `capacity --json`.
#[derive(Debug, Serialize)]
pub struct CapacityDocument<'a> {
    /// [`SCHEMA`].
    pub schema: u32,
    /// `capacity`.
    pub kind: &'static str,
    /// Version of connect-bench.
    pub version: String,
    /// What was measured.
    pub target: TargetDocument,
    /// The answer.
    pub capacity: &'a Answer,
    /// The run directory of the ramp.
    pub run_dir: String,
}

/// The document of an answer.
#[must_use]
pub fn capacity<'a>(answer: &'a Answer, summary: &Summary, run_dir: &Path) -> CapacityDocument<'a> {
    CapacityDocument {
        schema: SCHEMA,
        kind: "capacity",
        version: env!("CARGO_PKG_VERSION").to_owned(),
        target: TargetDocument::of(&summary.plan.target),
        capacity: answer,
        run_dir: run_dir.display().to_string(),
    }
}
