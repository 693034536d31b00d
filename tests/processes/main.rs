//! Real content: bundles that are really restored and started, with the Python and the R of this machine.
//!
//! Where Python, or R with plumber, cannot be had a test says so and passes; with `CI` set in the environment it fails
//! instead. Nothing waits for a time to pass: it waits for what is to happen.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail where the test does")]
#![expect(clippy::print_stderr, reason = "a test that skips says why")]

mod death;
mod hostile;
mod runs;
mod runtime;
mod served;
mod support;
#[path = "../shared/watched.rs"]
mod watched;
