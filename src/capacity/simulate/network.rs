//! A closed network of multi-server queues with a delay, disturbed as real servers are.
//!
//! Every station has a clock of work that runs at its present speed; a request is done when that clock has advanced
//! by its demand. Pauses and noise change the speed, and so stretch what is in service exactly.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use super::System;
use crate::capacity::search::{Bin, GeneratorState};
use crate::histogram::Latency;
use crate::stats::random::Random;

/// One station: a queue before a number of servers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Station {
    /// Parallel servers.
    pub servers: usize,
    /// Mean service time at full speed, seconds.
    pub service_s: f64,
    /// Coefficient of variation of the service time (lognormal); 1 with `is_exponential`.
    pub cv: f64,
    /// Exponential service instead, for which the exact answer is known.
    pub is_exponential: bool,
}

/// What happens to the first station's speed. Zero means: does not happen.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Disturbance {
    /// Stop-the-world pauses: mean seconds between them …
    pub pause_every_s: f64,
    /// … and how long each lasts.
    pub pause_s: f64,
    /// Relative standard deviation of a speed that wanders (Ornstein–Uhlenbeck) …
    pub noise: f64,
    /// … and its correlation time.
    pub noise_tau_s: f64,
    /// Share of the capacity that a publish takes, 12 s of every 20 s.
    pub publisher: f64,
    /// Demand is greater by this share at first …
    pub cold: f64,
    /// … which decays with this time constant.
    pub cold_tau_s: f64,
    /// With it, a station starts with one server and adds another this long after VUs per server exceed
    /// [`VUS_PER_WORKER`].
    pub spawn_lag_s: f64,
    /// With more requests than this waiting, the first station's demands are [`COLLAPSE`] times as large: it swaps, or
    /// its clients give up and ask again. 0: never.
    pub collapse_queue: usize,
}

/// How much more a request takes of a station that has collapsed.
pub const COLLAPSE: f64 = 2.5;

/// VUs per running worker above which another one is started.
pub const VUS_PER_WORKER: usize = 8;

const TICK_S: f64 = 0.05;

/// The simulated network.
#[derive(Debug, Clone)]
pub struct Network {
    stations: Vec<Running>,
    delay_s: f64,
    /// Mean time between a response and the VU's next request; not a part of any latency.
    think_s: f64,
    disturbance: Disturbance,
    random: Random,
    /// Apart from the demands, so that the same seed brings the same pauses and noise at any number of VUs.
    weather: Random,
    t_s: f64,
    next_tick_s: f64,
    level: f64,
    paused_until_s: f64,
    spawn_at_s: Option<f64>,
    /// VUs that have not begun yet or are in the delay, by when they arrive.
    travelling: BinaryHeap<Reverse<(Time, Job)>>,
    /// Which VUs run. Those beyond `wanted` end with their request.
    is_active: Vec<bool>,
    active: usize,
    wanted: usize,
    completed: Latency,
}

#[derive(Debug, Clone)]
struct Running {
    station: Station,
    /// Its own, so that its n-th request has the same demand at any number of VUs: curves over VUs come out smooth.
    random: Random,
    servers: usize,
    /// As in [`Disturbance`]; only the first station's is not 0.
    collapse_queue: usize,
    work: f64,
    speed: f64,
    in_service: BinaryHeap<Reverse<(Time, Job)>>,
    queue: VecDeque<Job>,
}

/// A request: whose it is, and when it began (`None`: not yet).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Job {
    vu: usize,
    began: Option<Time>,
}

/// Seconds with a total order.
#[derive(Debug, Clone, Copy)]
struct Time(f64);

impl PartialEq for Time {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Time {}
impl PartialOrd for Time {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Time {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl Running {
    fn next_s(&self, now_s: f64) -> f64 {
        match self.in_service.peek() {
            Some(Reverse((Time(work), _))) if self.speed > 0.0 => now_s + ((work - self.work) / self.speed).max(0.0),
            _ => f64::INFINITY,
        }
    }

    fn fill(&mut self, extra: f64) {
        while self.in_service.len() < self.servers {
            let Some(job) = self.queue.pop_front() else { return };
            let collapsed = self.collapse_queue > 0 && self.queue.len() >= self.collapse_queue;
            let mean = self.station.service_s * (1.0 + extra) * if collapsed { COLLAPSE } else { 1.0 };
            let demand = if self.station.is_exponential {
                self.random.exponential(mean)
            } else {
                self.random.lognormal(mean, self.station.cv)
            };
            self.in_service.push(Reverse((Time(self.work + demand), job)));
        }
    }
}

impl Network {
    /// A network without VUs: a delay of mean `delay_s`, then every station in turn. Without stations the delay is
    /// at least 1 ms: a request takes time.
    #[must_use]
    pub fn new(stations: &[Station], delay_s: f64, disturbance: Disturbance, seed: u64) -> Self {
        let lagging = disturbance.spawn_lag_s > 0.0;
        let running = |(i, &station): (usize, &Station)| Running {
            station,
            random: Random::new(seed.wrapping_add(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(i as u64 + 1))),
            servers: if lagging && i == 0 { 1 } else { station.servers },
            collapse_queue: if i == 0 { disturbance.collapse_queue } else { 0 },
            work: 0.0,
            speed: 1.0,
            in_service: BinaryHeap::new(),
            queue: VecDeque::new(),
        };
        Self {
            stations: stations.iter().enumerate().map(running).collect(),
            delay_s: if stations.is_empty() { delay_s.max(1e-3) } else { delay_s },
            think_s: 0.0,
            disturbance,
            random: Random::new(seed),
            weather: Random::new(seed ^ 0x5eed),
            t_s: 0.0,
            next_tick_s: 0.0,
            level: 0.0,
            paused_until_s: 0.0,
            spawn_at_s: None,
            travelling: BinaryHeap::new(),
            is_active: Vec::new(),
            active: 0,
            wanted: 0,
            completed: Latency::default(),
        }
    }

    /// With VUs that think between a response and their next request, exponentially distributed.
    #[must_use]
    pub fn thinking(self, think_s: f64) -> Self {
        Self { think_s, ..self }
    }

    fn pass(&mut self, t_s: f64) {
        let seconds = t_s - self.t_s;
        self.stations.iter_mut().for_each(|s| s.work += s.speed * seconds);
        self.t_s = t_s;
    }

    /// Extra demand of a cold server.
    fn extra(&self) -> f64 {
        let d = &self.disturbance;
        if d.cold > 0.0 { d.cold * (-self.t_s / d.cold_tau_s).exp() } else { 0.0 }
    }

    /// Speeds of the next tick.
    fn tick(&mut self) {
        self.next_tick_s = self.t_s + TICK_S;
        let d = self.disturbance;
        if d.noise > 0.0 {
            let keep = (-TICK_S / d.noise_tau_s).exp();
            self.level = keep * self.level + (1.0 - keep * keep).sqrt() * self.weather.normal();
        }
        if d.pause_s > 0.0 && self.t_s >= self.paused_until_s && self.weather.uniform() < TICK_S / d.pause_every_s {
            self.paused_until_s = self.t_s + d.pause_s;
        }
        let is_publishing = self.t_s % 20.0 < 12.0;
        let mut speed = (1.0 + d.noise * self.level).max(0.05);
        speed *= if is_publishing { 1.0 - d.publisher } else { 1.0 };
        speed *= if self.t_s < self.paused_until_s { 0.0 } else { 1.0 };
        self.spawn();
        let extra = self.extra();
        if let Some(first) = self.stations.first_mut() {
            first.speed = speed;
            first.fill(extra);
        }
    }

    fn spawn(&mut self) {
        let Some(first) = self.stations.first_mut() else { return };
        if self.disturbance.spawn_lag_s <= 0.0 || first.servers >= first.station.servers {
            return;
        }
        match self.spawn_at_s {
            Some(at_s) if self.t_s >= at_s => {
                first.servers += 1;
                self.spawn_at_s = None;
            }
            None if self.active > VUS_PER_WORKER * first.servers => {
                self.spawn_at_s = Some(self.t_s + self.disturbance.spawn_lag_s);
            }
            _ => {}
        }
    }

    fn arrive(&mut self, at: usize, job: Job) {
        let extra = self.extra();
        if let Some(station) = self.stations.get_mut(at) {
            station.queue.push_back(job);
            station.fill(extra);
            return;
        }
        let began_s = job.began.map_or(self.t_s, |began| began.0);
        self.completed.record(Duration::from_secs_f64((self.t_s - began_s).max(0.0)));
        if job.vu < self.wanted {
            if self.think_s > 0.0 {
                let next_s = self.t_s + self.random.exponential(self.think_s);
                self.travelling.push(Reverse((Time(next_s), Job { vu: job.vu, began: None })));
            } else {
                self.begin_request(job.vu);
            }
        } else {
            self.is_active[job.vu] = false;
            self.active -= 1;
        }
    }

    fn begin_request(&mut self, vu: usize) {
        let job = Job { vu, began: Some(Time(self.t_s)) };
        if self.delay_s > 0.0 {
            let there_s = self.t_s + self.random.lognormal(self.delay_s, 0.3);
            self.travelling.push(Reverse((Time(there_s), job)));
        } else {
            self.arrive(0, job);
        }
    }

    fn complete(&mut self, at: usize) {
        let extra = self.extra();
        let Some(station) = self.stations.get_mut(at) else { return };
        let Some(Reverse((_, job))) = station.in_service.pop() else { return };
        station.fill(extra);
        self.arrive(at + 1, job);
    }
}

impl System for Network {
    fn set_vus(&mut self, vus: u32) {
        self.wanted = vus as usize;
        self.is_active.resize(self.is_active.len().max(self.wanted), false);
        for vu in 0..self.wanted {
            // Those that have not begun count as active: they will.
            if !std::mem::replace(&mut self.is_active[vu], true) {
                self.active += 1;
                let start_s = self.t_s + self.random.uniform();
                self.travelling.push(Reverse((Time(start_s), Job { vu, began: None })));
            }
        }
    }

    fn second(&mut self) -> Bin {
        let end_s = self.t_s + 1.0;
        loop {
            let travel_s = self.travelling.peek().map_or(f64::INFINITY, |Reverse((Time(t), _))| *t);
            let times = self.stations.iter().map(|s| s.next_s(self.t_s)).enumerate();
            let (at, done_s) = times.fold((0, f64::INFINITY), |best, next| if next.1 < best.1 { next } else { best });
            let next_s = travel_s.min(done_s).min(self.next_tick_s);
            if next_s >= end_s {
                break;
            }
            self.pass(next_s);
            if next_s == self.next_tick_s {
                self.tick();
            } else if next_s == done_s {
                self.complete(at);
            } else if let Some(Reverse((_, job))) = self.travelling.pop() {
                if job.began.is_some() {
                    self.arrive(0, job);
                } else {
                    self.begin_request(job.vu);
                }
            }
        }
        self.pass(end_s);
        let latency = self.completed.take();
        let completed = latency.count();
        Bin {
            t_s: end_s,
            vus: self.active as u32,
            completed,
            failed: 0,
            latency,
            generator: GeneratorState::Healthy,
            open: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Exact throughput of M/M/c with an exponential-or-any delay, closed, N VUs: birth–death on the queue.
    fn exact(servers: f64, service_s: f64, delay_s: f64, vus: i32) -> f64 {
        let (mut weight, mut sum, mut flow) = (1.0, 1.0, 0.0);
        for j in 1..=vus {
            let mu = f64::from(j).min(servers) / service_s;
            weight *= f64::from(vus - j + 1) / delay_s / mu;
            sum += weight;
            flow += weight * mu;
        }
        flow / sum
    }

    #[test]
    fn it_agrees_with_the_exact_answer() {
        let station = Station { servers: 8, service_s: 0.02, cv: 1.0, is_exponential: true };
        for vus in [4, 24, 60] {
            let mut system = Network::new(&[station], 0.06, Disturbance::default(), 9);
            system.set_vus(vus as u32);
            (0..10).for_each(|_| drop(system.second()));
            let completed: u64 = (0..150).map(|_| system.second().completed).sum();
            let (got, want) = (completed as f64 / 150.0, exact(8.0, 0.02, 0.06, vus));
            assert!((got / want - 1.0).abs() < 0.02, "{vus}: {got} is not {want}");
        }
    }

    #[test]
    fn it_collapses_past_the_peak() {
        let station = Station { servers: 4, service_s: 0.02, cv: 1.0, is_exponential: true };
        let collapsing = Disturbance { collapse_queue: 30, ..Disturbance::default() };
        let per_s = |vus: u32| {
            let mut system = Network::new(&[station], 0.0, collapsing, 2);
            system.set_vus(vus);
            (0..60).map(|_| system.second().completed).sum::<u64>() as f64 / 60.0
        };
        assert!((per_s(20) / 200.0 - 1.0).abs() < 0.03);
        assert!((per_s(60) / 80.0 - 1.0).abs() < 0.08);
    }

    #[test]
    fn thinking_is_no_latency() {
        let station = Station { servers: 8, service_s: 0.02, cv: 1.0, is_exponential: true };
        let mut system = Network::new(&[station], 0.0, Disturbance::default(), 9).thinking(0.06);
        system.set_vus(24);
        (0..10).for_each(|_| drop(system.second()));
        let mut all = Latency::default();
        (0..150).for_each(|_| all.merge(&system.second().latency));
        let (per_s, mean_s) = (all.count() as f64 / 150.0, all.mean_ms().unwrap() / 1000.0);
        assert!((per_s / exact(8.0, 0.02, 0.06, 24) - 1.0).abs() < 0.02, "{per_s}");
        // N = X·(R + Z).
        assert!((per_s * (mean_s + 0.06) / 24.0 - 1.0).abs() < 0.01, "{mean_s}");
    }

    #[test]
    fn a_pause_stops_everything() {
        let station = Station { servers: 4, service_s: 0.01, cv: 0.5, is_exponential: false };
        let pauses = Disturbance { pause_every_s: 4.0, pause_s: 1.0, ..Disturbance::default() };
        let mut system = Network::new(&[station], 0.0, pauses, 2);
        system.set_vus(8);
        let completed: u64 = (0..200).map(|_| system.second().completed).sum();
        let share = completed as f64 / 200.0 / 400.0;
        assert!((share - 0.8).abs() < 0.06, "{share}");
    }
}
