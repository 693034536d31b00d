//! The capacity model of one node: a load-dependent processor-sharing server, in virtual work.
//!
//! With n requests in flight each of them progresses at X(n)/n per second (times a factor below 1 while something
//! else takes a share), and leaves when it has had its demand. As all progress alike, one number says how far
//! everybody is: the work a request would have had if it had been there since the start. Time is an argument; there
//! is no clock here, and a late call replays what it missed at the exact instants.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::curve::Curve;

/// A request that has had its demand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Departure {
    /// What [`Model::arrive`] gave.
    pub(super) id: u64,
    /// When it left, in seconds: never later than the time asked for, often earlier.
    pub(super) at_s: f64,
}

/// One node's requests in flight.
#[derive(Debug)]
pub(super) struct Model {
    curve: Curve,
    /// X(n)/n for n = index, so that no power is taken per event.
    rates: Vec<f64>,
    /// Share of its speed that the node has now: 0 when it stalls.
    factor: f64,
    now_s: f64,
    /// Work that a request present since the start would have had by `now_s`.
    attained: f64,
    in_flight: BinaryHeap<Job>,
    next_id: u64,
    /// Departures that an arrival ran past, kept for the next `advance`.
    left: Vec<Departure>,
}

/// A request in flight, ordered so that the first to leave is the heap's greatest.
#[derive(Debug, PartialEq)]
struct Job {
    leaves_at_work: f64,
    id: u64,
}

impl Eq for Job {}

impl PartialOrd for Job {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Job {
    fn cmp(&self, other: &Self) -> Ordering {
        other.leaves_at_work.total_cmp(&self.leaves_at_work).then(other.id.cmp(&self.id))
    }
}

impl Model {
    /// An idle node at time 0.
    pub(super) fn new(curve: Curve) -> Self {
        Self {
            curve,
            rates: vec![0.0],
            factor: 1.0,
            now_s: 0.0,
            attained: 0.0,
            in_flight: BinaryHeap::new(),
            next_id: 0,
            left: Vec::new(),
        }
    }

    /// A request with that much work arrives. Its id is never given again.
    pub(super) fn arrive(&mut self, now_s: f64, demand: f64) -> u64 {
        self.run_to(now_s);
        if self.in_flight.is_empty() {
            // Nobody remembers how far things were: start over, so that the number never loses precision.
            self.attained = 0.0;
        }
        let id = self.next_id;
        self.next_id += 1;
        self.in_flight.push(Job { leaves_at_work: self.attained + demand.max(0.0), id });
        while self.rates.len() <= self.in_flight.len() {
            let n = self.rates.len() as f64;
            self.rates.push(self.curve.throughput(n) / n);
        }
        id
    }

    /// Lets time pass and hands over everything that left, in the order in which it did.
    pub(super) fn advance(&mut self, now_s: f64) -> std::vec::Drain<'_, Departure> {
        self.run_to(now_s);
        self.left.drain(..)
    }

    /// When the next request leaves if nothing else arrives; `None` when idle or stalled.
    pub(super) fn next_departure(&self) -> Option<f64> {
        if let Some(first) = self.left.first() {
            return Some(first.at_s);
        }
        let (job, rate) = (self.in_flight.peek()?, self.rate());
        (rate > 0.0).then(|| self.now_s + (job.leaves_at_work - self.attained).max(0.0) / rate)
    }

    /// From now on the node has that share of its speed.
    pub(super) fn set_factor(&mut self, now_s: f64, factor: f64) {
        self.run_to(now_s);
        self.factor = factor.clamp(0.0, 1.0);
    }

    /// Forgets every request in flight: the node went away.
    pub(super) fn clear(&mut self, now_s: f64) {
        self.run_to(now_s);
        self.in_flight.clear();
        self.left.clear();
    }

    /// Requests in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Work per second that each request in flight gets.
    fn rate(&self) -> f64 {
        self.rates.get(self.in_flight.len()).copied().unwrap_or(0.0) * self.factor
    }

    fn run_to(&mut self, now_s: f64) {
        loop {
            let rate = self.rate();
            let Some(job) = self.in_flight.peek() else { break };
            let work = (job.leaves_at_work - self.attained).max(0.0);
            if rate <= 0.0 || self.now_s + work / rate > now_s {
                break;
            }
            self.now_s += work / rate;
            self.attained = job.leaves_at_work;
            self.left.push(Departure { id: job.id, at_s: self.now_s });
            self.in_flight.pop();
        }
        if now_s > self.now_s {
            self.attained += self.rate() * (now_s - self.now_s);
            self.now_s = now_s;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::demand::Demand;
    use super::*;
    use proptest::prelude::*;

    fn curve(x: f64, r0: f64, p: f64, kappa: f64) -> Curve {
        Curve::new(x, r0, p, kappa).unwrap()
    }

    /// N clients without think time: throughput after a warm-up.
    fn closed_loop(curve: Curve, clients: u32, departures: u32) -> f64 {
        let mut demand = Demand::new(7, 0.5);
        let mut model = Model::new(curve);
        for _ in 0..clients {
            model.arrive(0.0, demand.next());
        }
        let (warm_up, mut started_s, mut now_s) = (departures / 10, 0.0, 0.0);
        for done in 0..departures + warm_up {
            now_s = model.next_departure().unwrap();
            assert_eq!(model.advance(now_s).count(), 1);
            model.arrive(now_s, demand.next());
            if done + 1 == warm_up {
                started_s = now_s;
            }
        }
        f64::from(departures) / (now_s - started_s)
    }

    #[test]
    fn a_closed_loop_of_n_clients_makes_x_of_n() {
        let curves = [curve(400.0, 0.05, 6.0, 0.0), curve(1296.0, 0.155, 8.0, 0.0), curve(200.0, 0.02, 1.5, 1e-5)];
        for curve in curves {
            for clients in [1, 3, curve.n_sat() / 2 + 1, curve.n_sat(), 2 * curve.n_sat()] {
                let (made, asked) = (closed_loop(curve, clients, 60_000), curve.throughput(f64::from(clients)));
                assert!((made / asked - 1.0).abs() < 0.01, "{clients} clients: {made} instead of {asked}");
            }
        }
    }

    #[test]
    fn one_request_alone_takes_its_demand_over_x_of_one() {
        let curve = curve(400.0, 0.05, 6.0, 0.0);
        let mut model = Model::new(curve);
        let id = model.arrive(10.0, 2.0);
        let leaves = 10.0 + 2.0 / curve.throughput(1.0);
        assert!((model.next_departure().unwrap() - leaves).abs() < 1e-12);
        assert_eq!(model.advance(leaves - 1e-9).count(), 0);
        let left: Vec<Departure> = model.advance(99.0).collect();
        assert_eq!((left.len(), left[0].id), (1, id));
        assert!((left[0].at_s - leaves).abs() < 1e-9);
        assert_eq!((model.in_flight(), model.next_departure()), (0, None));
    }

    #[test]
    fn a_stall_stops_the_work_and_a_share_slows_it() {
        let curve = curve(400.0, 0.05, 6.0, 0.0);
        let mut model = Model::new(curve);
        model.arrive(0.0, 1.0);
        model.set_factor(0.01, 0.0);
        assert_eq!((model.next_departure(), model.advance(5.0).count()), (None, 0));
        model.set_factor(5.0, 0.5);
        let rest = 5.0 + (1.0 - 0.01 * curve.throughput(1.0)) / (0.5 * curve.throughput(1.0));
        assert!((model.next_departure().unwrap() - rest).abs() < 1e-9);
        model.clear(5.0);
        assert_eq!((model.in_flight(), model.next_departure()), (0, None));
    }

    proptest! {
        /// However late the node is woken, every request leaves at the same instant.
        #[test]
        fn a_late_call_replays_the_exact_instants(arrivals in prop::collection::vec((0.0f64..0.05, 0.1f64..3.0), 1..60), lag in 0.0f64..0.5) {
            let shape = curve(400.0, 0.05, 6.0, 1e-6);
            let (mut prompt, mut late) = (Model::new(shape), Model::new(shape));
            let (mut seen, mut seen_late) = (Vec::new(), Vec::new());
            let (mut now_s, mut next_look_s) = (0.0, lag);
            for (gap, demand) in arrivals {
                now_s += gap;
                while let Some(at) = prompt.next_departure().filter(|&at| at <= now_s) {
                    seen.extend(prompt.advance(at));
                }
                prompt.arrive(now_s, demand);
                late.arrive(now_s, demand);
                if now_s >= next_look_s {
                    seen_late.extend(late.advance(now_s));
                    next_look_s = now_s + lag;
                }
            }
            while let Some(at) = prompt.next_departure() {
                seen.extend(prompt.advance(at));
            }
            seen_late.extend(late.advance(1e6));
            prop_assert_eq!(seen.len(), seen_late.len());
            for (a, b) in seen.iter().zip(&seen_late) {
                prop_assert_eq!(a.id, b.id);
                prop_assert!((a.at_s - b.at_s).abs() < 1e-9, "{:?} {:?}", a, b);
            }
        }

        /// Work is conserved: while anybody is in flight, the node does X(n) per second, and nothing else.
        #[test]
        fn work_done_is_the_integral_of_x_of_n(arrivals in prop::collection::vec((0.0f64..0.02, 0.1f64..3.0), 1..80)) {
            let shape = curve(300.0, 0.03, 3.0, 0.0);
            let mut model = Model::new(shape);
            let (mut done, mut asked, mut now_s, mut next) = (0.0, 0.0, 0.0, 0usize);
            let mut due_s = arrivals[0].0;
            while next < arrivals.len() || model.in_flight() > 0 {
                let leaves_s = model.next_departure().unwrap_or(f64::INFINITY);
                let arrives_s = if next < arrivals.len() { due_s } else { f64::INFINITY };
                let at = leaves_s.min(arrives_s);
                done += shape.throughput(model.in_flight() as f64) * (at - now_s);
                now_s = at;
                if leaves_s <= arrives_s {
                    prop_assert_eq!(model.advance(at).count(), 1);
                } else {
                    model.arrive(at, arrivals[next].1);
                    asked += arrivals[next].1;
                    next += 1;
                    due_s += arrivals.get(next).map_or(0.0, |a| a.0);
                }
            }
            prop_assert!((done / asked - 1.0).abs() < 1e-9, "{} of {}", done, asked);
        }
    }
}
