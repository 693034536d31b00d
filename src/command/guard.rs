//! What this program is besides: the guard of a process of content.

use std::io::Write as _;
use std::process::ExitCode;

use crate::sandbox;

/// Runs as a guard when the sandbox started us as one: the exit code then.
#[must_use]
pub fn guard() -> Option<ExitCode> {
    // Where nobody listens nothing is said.
    let say = |text: &str| drop(writeln!(std::io::stderr(), "[sandbox] {text}"));
    let code = sandbox::guard::run(std::env::args_os().skip(1), say)?;
    Some(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
}
