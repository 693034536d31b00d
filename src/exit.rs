//! Every exit code of the program, in one place.
//!
//! Numbers below 120 are k6's where k6 has one (k6 `errext/exitcodes`); 119 and above are ours.

use std::process::{ExitCode, Termination};

/// How a command ended. Each variant is one documented exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// 0: it ran, and nothing that was asked for failed.
    Pass = 0,
    /// 1: a fault of ours.
    Fault = 1,
    /// 2: the command line makes no sense.
    Usage = 2,
    /// 99: a threshold failed (k6's `ThresholdsHaveFailed`).
    Threshold = 99,
    /// 103: stopped while it was on, in its terminal or through the REST endpoint; partial results are saved (k6's
    /// `ScriptStoppedFromRESTAPI`).
    Stopped = 103,
    /// 104: a scenario file, a bundle or a configuration is invalid (k6's `InvalidConfig`).
    Invalid = 104,
    /// 105: stopped by a signal; partial results are saved (k6's `ExternalAbort`).
    Interrupted = 105,
    /// 106: the address for live control cannot be listened on (k6's `CannotStartRESTAPI`).
    ControlAddress = 106,
    /// 119: done, but something that we made is still on the server; it is listed.
    CleanupIncomplete = 119,
    /// 120: slower than the baseline allows.
    Regression = 120,
    /// 121: no verdict: the generator was the limit, too few samples, or not comparable.
    Inconclusive = 121,
    /// 122: server unreachable, not authorised, given up in the middle of a run, or the preflight failed.
    Unreachable = 122,
    /// 123: refused by a safety rail, or ended by a cap that was reached.
    Refused = 123,
}

impl Exit {
    /// Every exit code with what it means, in the order of the numbers: the table in the README and in `--help`.
    pub const TABLE: [(Exit, &'static str); 13] = [
        (Exit::Pass, "pass"),
        (Exit::Fault, "a fault of connect-bench itself"),
        (Exit::Usage, "usage: the command line makes no sense"),
        (Exit::Threshold, "a threshold failed"),
        (Exit::Stopped, "stopped by a key or through the REST endpoint; partial results are saved"),
        (Exit::Invalid, "invalid scenario, bundle or configuration"),
        (Exit::Interrupted, "interrupted by a signal; partial results are saved"),
        (Exit::ControlAddress, "the address for live control cannot be listened on"),
        (Exit::CleanupIncomplete, "done, but something we made is still on the server (it is listed)"),
        (Exit::Regression, "regression against the baseline"),
        (Exit::Inconclusive, "inconclusive: the generator was the limit, too few samples, or not comparable"),
        (
            Exit::Unreachable,
            "server unreachable, not authorised, given up in the middle of a run, or the preflight failed",
        ),
        (Exit::Refused, "refused by a safety rail, or ended by a cap that was reached"),
    ];

    /// The number that the process exits with.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The more serious of two ends: the first thing a caller has to know.
    ///
    /// A run that passed but left something on the server is [`Exit::CleanupIncomplete`]; any other failure
    /// says more than that, and stays.
    #[must_use]
    pub fn and(self, other: Exit) -> Exit {
        match (self, other) {
            (Exit::Pass, end) | (end, Exit::Pass) => end,
            (Exit::CleanupIncomplete, end) => end,
            (end, _) => end,
        }
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_code_once_in_order() {
        let codes: Vec<u8> = Exit::TABLE.iter().map(|(exit, _)| exit.code()).collect();
        let mut sorted = codes.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(codes, sorted);
        assert_eq!(codes, [0, 1, 2, 99, 103, 104, 105, 106, 119, 120, 121, 122, 123]);
    }

    #[test]
    fn a_failure_outweighs_what_was_left_behind() {
        assert_eq!(Exit::Pass.and(Exit::CleanupIncomplete), Exit::CleanupIncomplete);
        assert_eq!(Exit::CleanupIncomplete.and(Exit::Interrupted), Exit::Interrupted);
        assert_eq!(Exit::Threshold.and(Exit::CleanupIncomplete), Exit::Threshold);
    }
}
