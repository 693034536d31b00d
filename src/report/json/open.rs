//! The open model in `load --json`.

use serde::Serialize;

use super::LatencyDocument;
use crate::summary::{OpenFigures, Summary};

/// What the open model asked for and what came of it, in the measured part.
#[derive(Debug, Serialize)]
pub struct OpenDocument {
    /// Iterations that were due per second.
    pub offered_per_second: f64,
    /// Iterations that were completed per second.
    pub achieved_per_second: f64,
    /// Iterations that were due.
    pub scheduled: u64,
    /// Iterations that never began.
    pub dropped: u64,
    /// Of those the ones for which no VU was free.
    pub dropped_no_vu: u64,
    /// Of those the ones that the generator came to too late.
    pub dropped_late: u64,
    /// From when an iteration was due to the end of its first request.
    pub response_time_ms: LatencyDocument,
    /// From when an iteration was due to its end.
    pub iteration_response_time_ms: LatencyDocument,
    /// From when an iteration was due to its beginning.
    pub arrival_lateness_ms: LatencyDocument,
}

impl OpenDocument {
    /// `None` where no scenario is open.
    #[must_use]
    pub fn of(summary: &Summary) -> Option<OpenDocument> {
        let figures = OpenFigures::of(summary)?;
        Some(OpenDocument {
            offered_per_second: figures.offered_per_s,
            achieved_per_second: figures.achieved_per_s,
            scheduled: figures.iterations.scheduled,
            dropped: figures.iterations.dropped,
            dropped_no_vu: figures.iterations.dropped.saturating_sub(figures.dropped_late),
            dropped_late: figures.dropped_late,
            response_time_ms: LatencyDocument::of(&figures.response_time),
            iteration_response_time_ms: LatencyDocument::of(&figures.iteration_response_time),
            arrival_lateness_ms: LatencyDocument::of(&figures.arrival_lateness),
        })
    }
}
