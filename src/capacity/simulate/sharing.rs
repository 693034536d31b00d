//! Processor sharing with a load-dependent rate: N requests in flight complete at X(N) per second in all.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::System;
use crate::capacity::knee::Knee;
use crate::capacity::search::{Bin, GeneratorState};
use crate::histogram::Latency;
use crate::stats::random::Random;

/// Spread of the work that a request brings.
const WORK_CV: f64 = 0.5;

/// A server that follows a knee curve exactly, with closed-loop VUs that fetch without a pause.
#[derive(Debug, Clone)]
pub struct Sharing {
    knee: Knee,
    random: Random,
    t_s: f64,
    /// Work done per request in flight since the beginning, in units of a mean request.
    work: f64,
    /// Requests in flight, by the work at which they are done.
    in_flight: BinaryHeap<Reverse<InFlight>>,
    /// Starts of VUs to come and who they are, latest first.
    starting: Vec<(f64, usize)>,
    /// Which VUs have a request in flight. Those beyond `wanted` end with it.
    active: Vec<bool>,
    wanted: usize,
    /// Seconds per unit of work with as many in flight as now.
    pace: (usize, f64),
}

#[derive(Debug, Clone, Copy)]
struct InFlight {
    done_at_work: f64,
    began_s: f64,
    vu: usize,
}

impl PartialEq for InFlight {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for InFlight {}
impl PartialOrd for InFlight {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for InFlight {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.done_at_work.total_cmp(&other.done_at_work)
    }
}

impl Sharing {
    /// A server without VUs that follows `knee`.
    #[must_use]
    pub fn new(knee: Knee, seed: u64) -> Self {
        Self {
            knee,
            random: Random::new(seed),
            t_s: 0.0,
            work: 0.0,
            in_flight: BinaryHeap::new(),
            starting: Vec::new(),
            active: Vec::new(),
            wanted: 0,
            pace: (0, f64::INFINITY),
        }
    }

    fn begin_request(&mut self, vu: usize) {
        let done_at_work = self.work + self.random.lognormal(1.0, WORK_CV);
        self.in_flight.push(Reverse(InFlight { done_at_work, began_s: self.t_s, vu }));
        self.active[vu] = true;
    }

    /// Lets time pass until `t_s` without a completion.
    fn pass(&mut self, t_s: f64) {
        if !self.in_flight.is_empty() {
            self.work += (t_s - self.t_s) / self.pace();
        }
        self.t_s = t_s;
    }

    fn pace(&mut self) -> f64 {
        let n = self.in_flight.len();
        if self.pace.0 != n {
            self.pace = (n, self.knee.iteration_s(n as f64));
        }
        self.pace.1
    }

    fn next_completion_s(&mut self) -> f64 {
        let Some(Reverse(next)) = self.in_flight.peek().copied() else { return f64::INFINITY };
        self.t_s + (next.done_at_work - self.work) * self.pace()
    }
}

impl System for Sharing {
    fn set_vus(&mut self, vus: u32) {
        self.wanted = vus as usize;
        self.active.resize(self.active.len().max(self.wanted), false);
        let idle = (0..self.wanted).filter(|vu| !self.active[*vu]);
        self.starting = idle.map(|vu| (self.t_s + self.random.uniform(), vu)).collect();
        self.starting.sort_by(|a, b| b.0.total_cmp(&a.0));
    }

    fn second(&mut self) -> Bin {
        let end_s = self.t_s + 1.0;
        let (mut completed, mut latency) = (0, Latency::default());
        loop {
            let done_s = self.next_completion_s();
            let (start_s, starter) = self.starting.last().copied().unwrap_or((f64::INFINITY, 0));
            if done_s.min(start_s) >= end_s {
                break;
            }
            if start_s < done_s {
                self.pass(start_s);
                self.starting.pop();
                self.begin_request(starter);
                continue;
            }
            self.pass(done_s);
            if let Some(Reverse(done)) = self.in_flight.pop() {
                completed += 1;
                latency.record(Duration::from_secs_f64((self.t_s - done.began_s).max(0.0)));
                self.active[done.vu] = false;
                if done.vu < self.wanted {
                    self.begin_request(done.vu);
                }
            }
        }
        self.pass(end_s);
        let vus = self.in_flight.len() as u32;
        Bin { t_s: end_s, vus, completed, failed: 0, latency, generator: GeneratorState::Healthy, open: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_its_curve_and_littles_law() {
        let knee = Knee { x_max_per_s: 400.0, r0_s: 0.05, p: 4.0, kappa_s: 1e-6 };
        for vus in [1, 20, 150] {
            let mut system = Sharing::new(knee, 5);
            system.set_vus(vus);
            (0..5).for_each(|_| drop(system.second()));
            let mut total = Latency::default();
            (0..60).for_each(|_| total.merge(&system.second().latency));
            let per_s = total.count() as f64 / 60.0;
            let want = knee.throughput(f64::from(vus));
            assert!((per_s / want - 1.0).abs() < 0.03, "{vus}: {per_s} is not {want}");
            let little = per_s * total.mean_ms().unwrap() / 1000.0;
            assert!((little / f64::from(vus) - 1.0).abs() < 0.02, "{little}");
        }
    }

    #[test]
    fn fewer_vus_end_with_their_requests() {
        let mut system = Sharing::new(Knee { x_max_per_s: 100.0, r0_s: 0.1, p: 8.0, kappa_s: 0.0 }, 1);
        system.set_vus(50);
        assert_eq!([system.second().vus, system.second().vus], [50, 50]);
        system.set_vus(4);
        let last = (0..3).map(|_| system.second().vus).last();
        assert_eq!(last, Some(4));
    }
}
