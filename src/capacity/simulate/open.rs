//! An open system whose truth is known: requests come by a Poisson process to the queue of a few servers (M/M/c, FCFS).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::System;
use crate::capacity::search::{Bin, GeneratorState, OpenBin};
use crate::histogram::Latency;
use crate::stats::random::Random;

/// M/M/c, with as many VUs as are needed up to a limit; a request that finds none free is dropped.
#[derive(Debug, Clone)]
pub struct Queue {
    random: Random,
    mean_service_s: f64,
    max_vus: usize,
    per_s: f64,
    t_s: f64,
    /// When the next request comes.
    next_s: f64,
    /// When each server is free, ns of the run; requests begin in the order in which they came.
    free: BinaryHeap<Reverse<u64>>,
    /// Ends of requests that are under way, ns, with when they came.
    under_way: BinaryHeap<Reverse<(u64, u64)>>,
    most_vus: usize,
}

const SECOND: f64 = 1e9;

impl Queue {
    /// `servers` of `per_s` requests per second each, and a generator with at most `max_vus`.
    #[must_use]
    pub fn new((servers, per_s): (u32, f64), max_vus: u32, seed: u64) -> Queue {
        Queue {
            random: Random::new(seed),
            mean_service_s: 1.0 / per_s,
            max_vus: max_vus as usize,
            per_s: 0.0,
            t_s: 0.0,
            next_s: f64::INFINITY,
            free: (0..servers).map(|_| Reverse(0)).collect(),
            under_way: BinaryHeap::new(),
            most_vus: 0,
        }
    }

    /// The share of requests whose response takes longer than `t_s` at `per_s` requests per second; 1 at saturation.
    ///
    /// The tail of M/M/c: with the probability `C` of Erlang's delay formula a request waits, for an exponential time of rate
    /// `cμ - λ`; its service is exponential of rate `μ` (L. Kleinrock, Queueing Systems I, 1975, chapter 3).
    #[must_use]
    pub fn slower_than((servers, service_per_s): (u32, f64), per_s: f64, t_s: f64) -> f64 {
        let (c, mu) = (f64::from(servers), service_per_s);
        let load = per_s / mu;
        if load >= c {
            return 1.0;
        }
        // Erlang B by recursion, then C.
        let blocked = (1..=servers).fold(1.0, |b, n| load * b / (f64::from(n) + load * b));
        let waits = blocked / (1.0 - load / c * (1.0 - blocked));
        let spare = c * mu - per_s;
        let served = (-mu * t_s).exp();
        let longer = if (spare - mu).abs() < 1e-9 * mu {
            mu * t_s * served
        } else {
            mu / (mu - spare) * ((-spare * t_s).exp() - served)
        };
        served + waits * longer
    }

    fn arrive(&mut self, at_s: f64) -> bool {
        if self.under_way.len() >= self.max_vus {
            return false;
        }
        let came = (at_s * SECOND) as u64;
        let free = self.free.pop().map_or(0, |Reverse(at)| at);
        let took = self.random.exponential(self.mean_service_s) * SECOND;
        let ends = free.max(came) + took as u64;
        self.free.push(Reverse(ends));
        self.under_way.push(Reverse((ends, came)));
        self.most_vus = self.most_vus.max(self.under_way.len());
        true
    }
}

impl System for Queue {
    fn set_vus(&mut self, _vus: u32) {}

    fn set_rate(&mut self, per_s: u32) {
        self.per_s = f64::from(per_s);
        let gap = if per_s > 0 { self.random.exponential(1.0 / self.per_s) } else { f64::INFINITY };
        self.next_s = self.t_s + gap;
    }

    fn second(&mut self) -> Bin {
        let end_s = self.t_s + 1.0;
        let (mut completed, mut latency, mut open) = (0, Latency::default(), OpenBin::default());
        loop {
            let done = self.under_way.peek().map_or(u64::MAX, |Reverse((ends, _))| *ends);
            let arrives = if self.next_s < end_s { (self.next_s * SECOND) as u64 } else { u64::MAX };
            if done.min(arrives) as f64 >= end_s * SECOND {
                break;
            }
            if done <= arrives {
                if let Some(Reverse((ends, came))) = self.under_way.pop() {
                    completed += 1;
                    latency.record(Duration::from_nanos(ends - came));
                }
                continue;
            }
            open.due += 1;
            open.dropped += u64::from(!self.arrive(self.next_s));
            self.next_s += self.random.exponential(1.0 / self.per_s);
        }
        self.t_s = end_s;
        open.under_way = self.under_way.len() as u64;
        let (vus, generator) = (self.most_vus as u32, GeneratorState::Healthy);
        Bin { t_s: end_s, vus, completed, failed: 0, latency, generator, open: Some(open) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_theory_says() {
        // M/M/1: exponential with rate mu - lambda.
        assert!((Queue::slower_than((1, 100.0), 70.0, 0.1) - (-3.0_f64).exp()).abs() < 1e-9);
        // M/M/2 at half load: C = 1/3.
        let by_hand = (-2.0_f64).exp() * (1.0 + 2.0 / 3.0);
        assert!((Queue::slower_than((2, 1.0), 1.0, 2.0) - by_hand).abs() < 1e-9);
        for (servers, per_s) in [((1, 100.0), 70), ((8, 25.0), 150), ((4, 50.0), 40)] {
            let mut queue = Queue::new(servers, 100_000, 5);
            queue.set_rate(per_s);
            let mut all = Latency::default();
            let bins: Vec<Bin> = (0..2000).map(|_| queue.second()).collect();
            bins.iter().skip(20).for_each(|bin| all.merge(&bin.latency));
            let p95_s = all.quantile_ms(0.95).unwrap() / 1000.0;
            let beyond = Queue::slower_than(servers, f64::from(per_s), p95_s);
            assert!((beyond - 0.05).abs() < 0.006, "{servers:?} at {per_s}: {beyond}");
            let due: u64 = bins.iter().map(|bin| bin.open.unwrap().due).sum();
            let done: u64 = bins.iter().map(|bin| bin.completed).sum();
            assert_eq!(due, done + bins.last().unwrap().open.unwrap().under_way);
        }
    }

    #[test]
    fn what_finds_no_vu_is_dropped() {
        let mut queue = Queue::new((1, 100.0), 20, 1);
        queue.set_rate(300);
        let bins: Vec<Bin> = (0..20).map(|_| queue.second()).collect();
        let last = bins.last().unwrap();
        assert!(last.open.unwrap().dropped > 150 && last.vus == 20, "{last:?}");
        queue.set_rate(0);
        queue.second();
        assert_eq!(queue.second().open.unwrap().under_way, 0);
    }
}
