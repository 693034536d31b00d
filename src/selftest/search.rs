//! The saturation search, on curves and on networks of queues whose N_sat is known exactly.

use super::{Check, Size, exactly};
use crate::capacity::knee::Knee;
use crate::capacity::search::{Search, SearchConfig};
use crate::capacity::simulate::network::{Disturbance, Network, Station};
use crate::capacity::simulate::sharing::Sharing;
use crate::capacity::simulate::{System, run};
use crate::stats::descriptive::quantile;
use crate::stats::random::Random;

const EPS: f64 = 0.02;

/// What one search found, as shares of the truth.
struct Found {
    /// |N_sat / true − 1|.
    error: f64,
    /// Throughput at the VUs it names, of the plateau.
    kept: f64,
}

pub(super) fn checks(size: Size) -> Vec<Check> {
    let seeds = || (0..u64::from(size.systems)).map(|n| size.seed.wrapping_add(1000 + n));
    let curves: Vec<Found> = seeds().map(on_curve).collect();
    let queues: Vec<Found> = seeds().map(on_queues).collect();
    let median =
        |found: &[Found]| 100.0 * quantile(&found.iter().map(|f| f.error).collect::<Vec<_>>(), 0.5).unwrap_or(f64::NAN);
    let kept = curves.iter().chain(&queues).filter(|found| found.kept >= 0.95).count() as f64;
    let all = f64::from(2 * size.systems);
    vec![
        Check::at_most(
            "search-curves",
            format!("median error of N_sat on {} curves", size.systems),
            median(&curves),
            15.0,
        ),
        Check::at_most(
            "search-queues",
            format!("median error of N_sat on {} networks of queues", size.systems),
            median(&queues),
            20.0,
        ),
        Check::at_least(
            "search-throughput",
            format!("of {all:.0} searches whose answer has 95 % of the plateau's throughput"),
            100.0 * kept / all,
            85.0,
        ),
    ]
}

fn search(system: &mut dyn System, seed: u64, truth: f64, share: impl Fn(f64) -> f64) -> Found {
    let mut search = Search::new(SearchConfig::quick(), seed);
    let result = run(&mut search, system, 1300);
    let error = result.saturation_vus.map_or(f64::INFINITY, |vus| (vus / truth - 1.0).abs());
    Found { error, kept: result.vus.map_or(0.0, |vus| share(f64::from(vus))) }
}

fn on_curve(seed: u64) -> Found {
    let mut random = Random::new(seed);
    let x_max_per_s = random.log_between(50.0, 500.0);
    let r0_s = random.log_between(4.0, 60.0) / x_max_per_s;
    let knee = Knee { x_max_per_s, r0_s, p: random.log_between(2.0, 12.0), kappa_s: 0.0 };
    let peak = knee.peak(1e5).1;
    search(&mut Sharing::new(knee, seed), seed, knee.saturation_vus(EPS, 1e5), |vus| knee.throughput(vus) / peak)
}

/// Exponential servers behind a delay.
fn on_queues(seed: u64) -> Found {
    let mut random = Random::new(seed);
    let servers = 2 + (11.0 * random.uniform()) as u32;
    let plateau = random.log_between(150.0, 500.0);
    let service_s = f64::from(servers) / plateau;
    // In the simulation a delay varies little, which throughput does not depend on.
    let delay_s = service_s * random.between(0.5, 4.0);
    let at = |vus: u32| exactly(servers, service_s, delay_s, vus) / plateau;
    let above = (1..2000).find(|vus| at(*vus) >= 1.0 - EPS).unwrap_or(2000);
    let (low, high) = (at(above.saturating_sub(1).max(1)), at(above));
    let truth = f64::from(above) - if high > low { (high - (1.0 - EPS)) / (high - low) } else { 0.0 };
    let station = Station { servers: servers as usize, service_s, cv: 1.0, is_exponential: true };
    let mut system = Network::new(&[station], delay_s, Disturbance::default(), seed);
    search(&mut system, seed, truth, |vus| at(vus as u32))
}
