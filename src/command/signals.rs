//! Ctrl-C and the other ways to ask a run to stop.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::live::Live;
use super::outs::Outs;
use super::rails::Rails;
use super::scrape::Scrapes;

/// Signals that mean: stop.
pub(super) struct Signals {
    streams: [Signal; 3],
    /// How many have come.
    count: u32,
    /// Who else may ask for something while a run is on.
    pub(super) live: Live,
    /// What a run must not do.
    pub(super) rails: Rails,
    /// Who is told of a run while it is on.
    pub(super) outs: Outs,
    /// Who is asked how servers are, while a run is on.
    pub(super) scrapes: Scrapes,
}

impl Signals {
    /// Listens from now on; the process no longer dies of these signals.
    pub(super) fn listen() -> std::io::Result<Signals> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [a, b, c] = kinds.map(signal);
        let (live, rails, outs, scrapes) = (Live::closed(), Rails::none(), Outs::none(), Scrapes::default());
        Ok(Signals { streams: [a?, b?, c?], count: 0, live, rails, outs, scrapes })
    }

    /// Waits for the next signal and returns how many there were, this one included. Can be dropped and called again.
    pub(super) async fn next(&mut self) -> u32 {
        let [interrupt, terminate, hangup] = &mut self.streams;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
        self.count += 1;
        self.count
    }
}
