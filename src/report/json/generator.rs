//! The generator's own health in the documents.

use serde::Serialize;

use super::LatencyDocument;
use crate::generator::Health;

/// The generator's own health.
#[derive(Debug, Serialize)]
pub struct GeneratorDocument {
    /// Whether what was measured is the server's doing.
    pub valid: bool,
    /// Why not.
    pub reasons: Vec<String>,
    /// CPU time of the workers as a share of their cores.
    pub cpu_share: Option<f64>,
    /// Greatest share of its core that one worker used in a second.
    pub busiest_worker_share: f64,
    /// Greatest share of all cores that the hypervisor gave to others in a second.
    pub steal_share_max: Option<f64>,
    /// How late the event loops were.
    pub lag_ms: LatencyDocument,
    /// How long responses waited between the kernel's receipt and our reading them, all scenarios: the error of the
    /// latencies that is our own. `null` where the kernel does not say; then `lag_ms` is what there is.
    pub delay_ms: Option<LatencyDocument>,
    /// Reads for which the kernel should have told when the bytes came, and did not.
    pub unstamped_reads: u64,
    /// Seconds in which the generator was the limit, and seconds measured.
    pub limited_seconds: (u64, u64),
    /// Resident memory at the first and at the last measured second.
    pub memory_bytes: Option<(u64, u64)>,
    /// The most resident memory.
    pub peak_memory_bytes: Option<u64>,
    /// Most open files, and how many there may be.
    pub open_files: Option<(u64, u64)>,
}

impl GeneratorDocument {
    pub(super) fn of(health: &Health, invalid: Vec<String>) -> GeneratorDocument {
        GeneratorDocument {
            valid: invalid.is_empty(),
            reasons: invalid,
            cpu_share: health.cpu_share(),
            busiest_worker_share: health.busiest_worker,
            steal_share_max: health.steal_share_max,
            lag_ms: LatencyDocument::of(&health.lag),
            delay_ms: LatencyDocument::some(&health.delay),
            unstamped_reads: health.unstamped,
            limited_seconds: (health.limited_seconds, health.seconds),
            memory_bytes: health.memory_bytes,
            peak_memory_bytes: health.peak_memory_bytes,
            open_files: health.open_files,
        }
    }
}
