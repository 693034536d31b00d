//! Connections by option, over real sockets of this machine, against servers and proxies of the tests' own.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail where the test does")]

mod addresses;
mod coding;
mod http2;
mod proxies;
mod reuse;
mod support;
mod tls;
mod websocket;
