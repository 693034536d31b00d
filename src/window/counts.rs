//! How things end: counts that are never lost and never doubled.

use serde::{Deserialize, Serialize};

use crate::outcome::Ended;

/// Counts of things that begin and end in exactly one way: requests of a series, iterations of a scenario.
///
/// `carried_in + scheduled = completed + failed + dropped + interrupted + carried_out`, in every window and in every
/// merge of windows; over a whole run both carries are equal, and scheduled = completed + failed + dropped + interrupted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Due in this window.
    pub scheduled: u64,
    /// Ended well.
    pub completed: u64,
    /// Ended by itself, but not well.
    pub failed: u64,
    /// Never begun: no VU was free, or the time was over.
    pub dropped: u64,
    /// Cut off by the hard stop.
    pub interrupted: u64,
    /// Under way when the window began.
    pub carried_in: u64,
    /// Under way when the window ended.
    pub carried_out: u64,
}

impl Counts {
    /// Whether nothing is counted twice or not at all.
    #[must_use]
    pub fn balanced(&self) -> bool {
        self.carried_in + self.scheduled == self.ended() + self.carried_out
    }

    /// Everything that is over.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.completed + self.failed + self.dropped + self.interrupted
    }

    /// Counts one end.
    pub fn end(&mut self, ended: Ended) {
        match ended {
            Ended::Completed => self.completed += 1,
            Ended::Failed(_) => self.failed += 1,
            Ended::Interrupted => self.interrupted += 1,
        }
    }

    /// Adds other counts to these.
    pub fn merge(&mut self, other: &Counts) {
        self.scheduled += other.scheduled;
        self.completed += other.completed;
        self.failed += other.failed;
        self.dropped += other.dropped;
        self.interrupted += other.interrupted;
        self.carried_in += other.carried_in;
        self.carried_out += other.carried_out;
    }
}
