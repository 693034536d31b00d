//! The sandbox over its real door: the whole publish flow, the refusals, the nodes, the counts.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail where the test does")]

mod api;
#[path = "../shared/canary.rs"]
mod canary;
mod hostile;
mod nodes;
mod publish;
mod support;
