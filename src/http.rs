//! HTTP as a VU needs it: one connection, one request at a time, and the times of its parts.
//!
//! Generic over the stream below (`dial`): TCP, TLS, or an in-memory pipe on which whole runs are tested in virtual time.

pub mod arrival;
mod attempt;
pub mod codec;
mod connection;
pub mod cookies;
pub mod dial;
pub mod exchange;
pub mod guard;
mod hyper1;
pub mod meter;
mod own;
pub mod tls;

pub use arrival::{Arrival, Arrived};
pub use dial::{Dial, DialFault, Dialled};
pub use exchange::{Client, ClientConfig, Exchanged};
pub use guard::{Cancel, Guard};
