//! HTTP as a VU needs it: one connection, one request at a time, and the times of its parts.
//!
//! Generic over the stream below (`dial`): TCP, TLS, or an in-memory pipe on which whole runs are tested in virtual time.

pub mod arrival;
mod attempt;
pub mod codec;
mod connection;
pub mod cookies;
mod decode;
pub mod dial;
pub mod exchange;
pub mod guard;
mod http2;
mod hyper1;
pub mod meter;
mod own;
mod quiet;
pub mod request;
mod resolve;
pub mod tls;
mod tunnel;
pub mod websocket;

pub use arrival::{Arrival, Arrived};
pub use dial::{Dial, DialFault, Dialled};
pub use exchange::{Client, ClientConfig, Exchanged, HeadParts, SMALL_BODY};
pub use guard::{Cancel, Guard};
