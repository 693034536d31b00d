//! The whole runs of `tests/virtual.rs` once more, with our own HTTP/1.1 codec.

#[path = "virtual.rs"]
mod runs;
