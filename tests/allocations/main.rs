//! What a request allocates in the steady state of a run: nothing with our own codec, and with hyper what hyper needs.
//!
//! The whole engine is in it, over real sockets and with the kernel's time stamps; the server runs on threads of its
//! own, whose allocations are not counted.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod fetching;

use connect_bench::plan::Http1Engine;
use fetching::Heads;
use tokio::runtime::{Builder, LocalOptions};

const FEW: u64 = 500;
const MANY: u64 = 10_500;

/// Allocations of a run of so many requests, start and end included.
fn allocations(engine: Http1Engine, heads: Heads, requests: u64) -> u64 {
    let address = fetching::serve(heads);
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
    let counted = allocation_counter::measure(|| {
        runtime.block_on(fetching::run(address, engine, 4, requests));
    });
    counted.count_total
}

/// Allocations per request: the difference of two runs, so that start and end do not count. Each second has windows and
/// histograms of its own, which grow as they are filled; the least of three is the one with the fewest seconds.
fn per_request(engine: Http1Engine, heads: Heads) -> f64 {
    let least = |requests| (0..3).map(|_| allocations(engine, heads, requests)).min().unwrap();
    (least(MANY).saturating_sub(least(FEW))) as f64 / (MANY - FEW) as f64
}

#[test]
fn our_own_codec_allocates_nothing_per_request() {
    for heads in [Heads::Same, Heads::Unique] {
        let per_request = per_request(Http1Engine::Own, heads);
        assert!(per_request < 0.05, "{heads:?} {per_request}");
    }
}

#[test]
fn hyper_allocates_what_it_needs_and_we_add_nothing() {
    let per_request = per_request(Http1Engine::Hyper, Heads::Same);
    assert!(per_request < 7.05, "{per_request}");
}
