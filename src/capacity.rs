//! How much load a server carries: the curve of throughput over VUs, and the search for its saturation.
//!
//! Pure: seconds come in as numbers, one-second bins as values. Knows no clock, no runtime and no server.

pub mod agreement;
pub mod exact;
pub mod flow;
pub mod knee;
pub mod latency;
pub mod search;
pub mod simulate;
pub mod sizing;
pub mod usl;
