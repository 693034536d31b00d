//! Why a command did not do what it was asked: a message for people and an exit code.

use std::fmt;

use crate::exit::Exit;
use crate::posit_connect::ApiError;

/// The end of a command that could not go on.
#[derive(Debug)]
pub(super) struct Failure {
    /// What the process exits with.
    pub(super) exit: Exit,
    /// What went wrong, where, and what to do.
    pub(super) error: anyhow::Error,
}

impl Failure {
    pub(super) fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Failure {
        Failure { exit, error: error.into() }
    }

    pub(super) fn usage(message: impl fmt::Display) -> Failure {
        Failure { exit: Exit::Usage, error: anyhow::anyhow!("{message}") }
    }

    pub(super) fn invalid(error: impl Into<anyhow::Error>) -> Failure {
        Failure::new(Exit::Invalid, error)
    }

    pub(super) fn unreachable(error: impl Into<anyhow::Error>) -> Failure {
        Failure::new(Exit::Unreachable, error)
    }

    /// What a call of Connect's API failed with.
    pub(super) fn api(error: ApiError) -> Failure {
        let exit = match error {
            ApiError::Address(_) => Exit::Usage,
            ApiError::CaCert { .. } => Exit::Invalid,
            ApiError::PlainHttp { .. } => Exit::Refused,
            _ => Exit::Unreachable,
        };
        Failure::new(exit, error)
    }
}

/// Whatever has no exit code of its own is a fault of ours.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure { exit: Exit::Fault, error }
    }
}
