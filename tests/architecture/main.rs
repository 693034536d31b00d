//! The reference architectures out of real parts: PostgreSQL, several nodes, HAProxy, and what happens when one fails.
//!
//! The parts come from Debian's packages. Where they are not installed a test says so and passes; with `CI` set in the
//! environment it fails instead.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail where the test does")]
#![expect(clippy::panic, reason = "what never happens ends a test")]
#![expect(clippy::print_stderr, reason = "a test that skips says why")]

mod balanced;
#[path = "../shared/canary.rs"]
mod canary;
mod failure;
mod killed;
mod parts;
mod rehearsal;
mod storage;
#[expect(dead_code, reason = "what the tests of the sandbox share needs more of it than we do")]
#[path = "../sandbox/support.rs"]
mod support;
