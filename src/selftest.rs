//! Whether the statistics of this program say what is true: on simulated systems whose answer is known, in virtual time.
//!
//! Pure: seeds in, checks out. Nothing of it touches a server, and none of it is Posit Connect. The full tables, with the
//! systems on which it does less well, are in `benches/STATISTICS.md`; this is their short form, for the machine that it
//! runs on.

mod gate;
mod search;

use serde::Serialize;

use crate::capacity::exact;
use crate::capacity::flow::{Curve, closed};
use crate::capacity::simulate::System;
use crate::capacity::simulate::network::{Disturbance, Network, Station};
use crate::stats::batches::ten_batches_mean;

/// One figure with the range that it has to be in.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// Its name; stays what it is.
    pub id: &'static str,
    /// What was measured, for people.
    pub what: String,
    /// The figure, in `unit`.
    pub value: f64,
    /// The unit: "%" or "s".
    pub unit: &'static str,
    /// It has to be at least this …
    pub at_least: Option<f64>,
    /// … and at most this.
    pub at_most: Option<f64>,
}

impl Check {
    fn at_most(id: &'static str, what: String, value: f64, limit: f64) -> Check {
        Check { id, what, value, unit: "%", at_least: None, at_most: Some(limit) }
    }

    fn at_least(id: &'static str, what: String, value: f64, limit: f64) -> Check {
        Check { id, what, value, unit: "%", at_least: Some(limit), at_most: None }
    }

    /// Whether it is in its range; a figure that is none is not.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.value.is_finite()
            && self.at_least.is_none_or(|least| self.value >= least)
            && self.at_most.is_none_or(|most| self.value <= most)
    }
}

/// How much is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Searches on curves, and as many on networks of queues.
    pub systems: u32,
    /// Builds that the gate judges, for each of its two checks.
    pub builds: u32,
    /// Runs whose intervals are looked at.
    pub runs: u32,
    /// Of everything.
    pub seed: u64,
}

/// All checks, in the order in which they are shown.
#[must_use]
pub fn run(size: Size) -> Vec<Check> {
    let mut checks = vec![forecast(), simulator(size.seed), coverage(size)];
    checks.extend(search::checks(size));
    checks.extend(gate::checks(size));
    checks
}

/// What M/M/8 with 20 ms does with so many VUs and a delay, requests per second: exact, by convolution.
fn exactly(servers: u32, service_s: f64, delay_s: f64, vus: u32) -> f64 {
    let stations = vec![exact::Station { demand_s: service_s, servers }];
    exact::Network { stations, think_s: delay_s }.throughput(vus).last().copied().unwrap_or(f64::NAN)
}

/// Norton's theorem: users before a flow-equivalent server against the whole network.
fn forecast() -> Check {
    let stations = vec![exact::Station { demand_s: 0.02, servers: 8 }, exact::Station { demand_s: 0.002, servers: 1 }];
    let without = exact::Network { stations: stations.clone(), think_s: 0.0 };
    let curve = Curve::new(without.throughput(300));
    let whole = exact::Network { stations, think_s: 10.0 };
    let off = [500, 1500, 3000].into_iter().map(|users: u32| {
        let want = whole.throughput(users).last().copied().unwrap_or(f64::NAN);
        let got = curve.as_ref().and_then(|curve| closed(curve, users, 10.0)).map_or(f64::NAN, |flow| flow.per_s);
        100.0 * (got / want - 1.0).abs()
    });
    let worst = off.fold(0.0, |worst: f64, off| if off.is_nan() { off } else { worst.max(off) });
    Check::at_most("forecast-exact", "forecast for 500 to 3000 users against the exact answer".to_owned(), worst, 0.01)
}

fn eight(seed: u64) -> Network {
    let station = Station { servers: 8, service_s: 0.02, cv: 1.0, is_exponential: true };
    Network::new(&[station], 0.06, Disturbance::default(), seed)
}

/// The ground truth itself.
fn simulator(seed: u64) -> Check {
    let off = [8, 24, 48].map(|vus| {
        let mut system = eight(seed);
        system.set_vus(vus);
        (0..10).for_each(|_| drop(system.second()));
        let per_s = (0..200).map(|_| system.second().completed).sum::<u64>() as f64 / 200.0;
        100.0 * (per_s / exactly(8, 0.02, 0.06, vus) - 1.0).abs()
    });
    let worst = off.into_iter().fold(0.0, f64::max);
    Check::at_most("simulator-exact", "simulated throughput against the exact answer".to_owned(), worst, 2.5)
}

/// Intervals of requests per second that hold the truth.
fn coverage(size: Size) -> Check {
    let vus = 24;
    let want = exactly(8, 0.02, 0.06, vus);
    let held = (0..size.runs).filter(|run| {
        let mut system = eight(size.seed.wrapping_add(7000 + u64::from(*run)));
        system.set_vus(vus);
        (0..10).for_each(|_| drop(system.second()));
        let batches: Vec<(f64, f64)> =
            (0..10).map(|_| ((0..5).map(|_| system.second().completed).sum::<u64>() as f64, 5.0)).collect();
        ten_batches_mean(&batches).is_some_and(|interval| interval.contains(want))
    });
    let n = f64::from(size.runs);
    let share = 100.0 * held.count() as f64 / n;
    // Three standard errors of a share of 95 %.
    let least = 95.0 - 300.0 * (0.95 * 0.05 / n).sqrt();
    let what = format!("95 % intervals of requests per second that hold the truth, of {} runs", size.runs);
    Check::at_least("interval-coverage", what, share, least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_passes_and_the_same_seed_says_the_same() {
        let size = Size { systems: 2, builds: 60, runs: 12, seed: 5 };
        let checks = run(size);
        assert!(checks.iter().all(Check::passed), "{checks:#?}");
        let ids: Vec<&str> = checks.iter().map(|check| check.id).collect();
        let want = ["forecast-exact", "simulator-exact", "interval-coverage", "search-curves", "search-queues"];
        assert_eq!(ids[..5], want);
        assert_eq!((simulator(5), coverage(size)), (checks[1].clone(), checks[2].clone()));
    }

    #[test]
    fn a_figure_out_of_its_range_fails() {
        let check = |value| Check { at_least: Some(1.0), ..Check::at_most("x", String::new(), value, 2.0) };
        assert!(check(1.0).passed() && check(2.0).passed());
        assert!(!check(0.9).passed() && !check(2.1).passed() && !check(f64::NAN).passed());
    }
}
