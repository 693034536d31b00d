//! The regression gate: is this run slower than what a person accepted before, and how sure is that?
//!
//! | module | what it is for |
//! |---|---|
//! | `record` | what of a run is kept for later comparisons: raw figures, never mean ± sd |
//! | `fingerprint` | what must be the same in two runs, and what only differs |
//! | `validity` | why a run says nothing about a server |
//! | `inference` | earlier runs against new ones, one metric at a time |
//! | `settings` | what a profile's file says: rules, limits, what may differ |
//! | `history` | the lines of accepted runs, and their epochs |
//! | `judge` | all of it: the verdict |
//!
//! Pure: no file, no clock, no runtime. Two runs are never compared by their seconds: the run is the unit of inference.

pub mod fingerprint;
pub mod history;
pub mod inference;
pub mod judge;
pub mod record;
pub mod settings;
pub mod validity;

use serde::{Deserialize, Serialize};

pub use fingerprint::Fingerprint;
pub use inference::Finding;
pub use judge::{Against, Check, Judgement, Kind, Reference, judge};
pub use record::Record;
pub use settings::Settings;

use crate::exit::Exit;

/// What a gate says. In the order of how much they matter: the last one decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing is worse.
    Pass,
    /// Better, by more than the minimum effect and significantly.
    Improved,
    /// Worse, and either by much or significantly; not both.
    Warn,
    /// The runs vary too much, or are too few, to see a change that matters.
    Inconclusive,
    /// The run says nothing about the server, or was made in another way than those before.
    NotComparable,
    /// Worse, by more than the minimum effect and significantly, also when it was repeated.
    Regressed,
}

impl Verdict {
    /// The words for people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Improved => "improved",
            Verdict::Warn => "warn",
            Verdict::Inconclusive => "inconclusive",
            Verdict::NotComparable => "not comparable",
            Verdict::Regressed => "regressed",
        }
    }

    /// What a process exits with.
    #[must_use]
    pub fn exit(self) -> Exit {
        match self {
            Verdict::Pass | Verdict::Improved | Verdict::Warn => Exit::Pass,
            Verdict::Inconclusive | Verdict::NotComparable => Exit::Inconclusive,
            Verdict::Regressed => Exit::Regression,
        }
    }
}

impl From<Finding> for Verdict {
    fn from(finding: Finding) -> Verdict {
        match finding {
            Finding::Improved => Verdict::Improved,
            Finding::Pass => Verdict::Pass,
            Finding::Warn => Verdict::Warn,
            Finding::Inconclusive => Verdict::Inconclusive,
            Finding::Regressed => Verdict::Regressed,
        }
    }
}
