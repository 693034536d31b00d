//! WebSocket sessions: whole runs in virtual time, hostile servers, and a server that others have written.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod hostile;
mod published;
mod sessions;
mod support;
#[path = "../shared/watched.rs"]
mod watched;
