//! A Connect architecture on this machine, made of real parts: PostgreSQL, nodes of the sandbox, HAProxy as the cloud's
//! load balancer. Starts them, waits until all are healthy, does to them what a rehearsal asks for, takes them down.
//!
//! Knows nothing of loads and runs, and of the sandbox only that it is a program.

pub mod action;
pub mod cluster;
pub mod control;
pub mod haproxy;
pub mod node;
pub mod place;
pub mod postgres;
pub mod process;
pub mod spec;
pub mod tls;

use std::path::PathBuf;

/// Why a part of an architecture is not there.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A program is not installed.
    #[error("{program} is missing: install it with `apt-get install --no-install-recommends {package}`")]
    Missing {
        /// What was looked for.
        program: String,
        /// Debian's package.
        package: &'static str,
    },
    /// The system said no.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A part ended, or did not become ready.
    #[error("{part}: {what}{}", tail(.log))]
    Part {
        /// Which.
        part: String,
        /// What it did.
        what: String,
        /// Its last words.
        log: String,
    },
    /// Something was asked for that cannot be.
    #[error("{0}")]
    Asked(String),
    /// A file that describes an architecture is wrong.
    #[error("{}: {what}", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// What is wrong, with its line.
        what: String,
    },
}

fn tail(log: &str) -> String {
    if log.trim().is_empty() { String::new() } else { format!("; its last lines:\n{}", log.trim_end()) }
}

/// Turns what the system says into a fault that says what was tried.
pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Fault {
    let what = what.into();
    move |source| Fault::Io { what, source }
}
