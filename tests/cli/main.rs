//! The program from outside: the binary as a process, against our sandbox as a process and small hostile servers.
//! Whatever goes wrong ends with a documented exit code, a message, nothing left on the server, and no key anywhere.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod confirm;
mod connections;
mod contract;
mod control;
mod death;
mod disk;
mod exact;
mod faults;
mod gate;
mod made;
mod moody;
mod options;
mod panics;
mod rails;
mod rates;
mod refusals;
mod scenarios;
mod screen;
mod server_metrics;
mod servers;
mod settings;
mod setup;
mod signals;
mod support;
mod targets;
mod terminal;
mod urls;
#[cfg(target_os = "linux")]
mod world;
