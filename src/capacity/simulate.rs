//! Closed systems to try the search on: seeded simulations, event by event, that yield the bins a run would yield.
//!
//! [`sharing`] is a server whose throughput follows a given curve exactly, so that the truth is known; [`network`] a
//! network of queues with what real servers do to a load test: pauses, noise, a publisher, workers that start late.
//! Pure: simulated seconds, no clock. None of it is Posit Connect.

pub mod network;
pub mod open;
pub mod sharing;

use super::search::{Bin, Move, Search, SearchResult};

/// A simulated server with its VUs.
pub trait System {
    /// Asks for a number of VUs: new ones start spread over a second, surplus ones end with their request.
    fn set_vus(&mut self, vus: u32);
    /// Lets so many requests per second begin, where the system is an open one.
    fn set_rate(&mut self, _per_s: u32) {}
    /// Simulates the next second.
    fn second(&mut self) -> Bin;
}

/// Runs a search on a system until it is finished. `seconds` is a limit beyond the search's own deadline.
pub fn run(search: &mut Search, system: &mut dyn System, seconds: u32) -> SearchResult {
    let first = search.begin();
    system.set_vus(first);
    system.set_rate(first);
    for _ in 0..seconds {
        match search.observe(&system.second()) {
            Move::Hold => {}
            Move::SetVus(vus) => system.set_vus(vus),
            Move::SetRate(per_s) => system.set_rate(per_s),
            Move::Finished => break,
        }
    }
    search.result()
}
