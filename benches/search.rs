//! How good the saturation search is, on simulated systems that it was not tuned on: `cargo bench --bench search`.
//!
//! Prints one row per group of systems and configuration: error of N_sat, share within 25 %, regret
//! 1 − X(N)/X_max, error of the plateau, length of the search, and how often the intervals hold the truth.
//! The staircase (+25 VUs every 30 s up to 500, the stage with the greatest throughput) stands beside it.
//! Arguments: a number sets the first seed; `systems=N`, `runs=N` of each; `only=GROUP` (made, networks, small, curves);
//! `each` prints every system.
#![expect(clippy::print_stdout, reason = "a bench prints its table")]

use connect_bench::capacity::knee::Knee;
use connect_bench::capacity::search::{Outcome, Search, SearchConfig};
use connect_bench::capacity::simulate::network::{Disturbance, Network, Station};
use connect_bench::capacity::simulate::sharing::Sharing;
use connect_bench::capacity::simulate::{System, run};
use connect_bench::stats::descriptive::{mean, quantile, sd};
use connect_bench::stats::isotonic::isotonic;
use connect_bench::stats::random::Random;

const EPS: f64 = 0.02;

/// The true curve of a system: exact, or measured at many numbers of VUs.
enum Truth {
    Exact(Knee),
    Measured { curve: Vec<(f64, f64)>, plateau: f64 },
}

impl Truth {
    /// Throughput from half to 24 times the knee. Demands and disturbances are the same at every number of VUs, so that
    /// chance moves the whole curve and not its shape; its level is then set by `plateau`, where that is known better.
    fn measured(case: &NetworkCase) -> Truth {
        let NetworkCase { stations, delay_s, disturbance: d } = case;
        let warm = Disturbance { cold: 0.0, ..*d };
        let service_s: f64 = stations.iter().map(|s| s.service_s).sum();
        let rate = |s: &Station| s.servers as f64 / s.service_s;
        let slowest = stations.iter().map(rate).fold(f64::INFINITY, f64::min);
        let n_star = slowest * (service_s + delay_s);
        let seconds = if d.noise > 0.0 || d.pause_s > 0.0 { 240 } else { 120 };
        let most = (24.0 * n_star).clamp(64.0, 2048.0).max(8.0 * n_star);
        let (mut curve, mut vus) = (Vec::new(), (0.5 * n_star).max(1.0).floor());
        loop {
            curve.push((vus, per_s(Network::new(stations, *delay_s, warm, 77), vus as u32, seconds)));
            if vus >= most {
                break;
            }
            vus = (vus * if vus < 3.5 * n_star { 1.15 } else { 1.8 }).ceil().min(most);
        }
        if d.collapse_queue == 0 {
            let rates = isotonic(&curve.iter().map(|c| c.1).collect::<Vec<_>>(), &[]);
            curve.iter_mut().zip(rates).for_each(|(point, rate)| point.1 = rate);
        }
        let top = curve.iter().map(|c| c.1).fold(0.0, f64::max);
        // Where the first station is the bottleneck its mean speed is the level: of a slow server, which is quickly simulated.
        let is_first = rate(&stations[0]) < 1.05 * slowest && stations.iter().skip(1).all(|s| rate(s) > 1.05 * slowest);
        let plateau = if is_first && d.collapse_queue == 0 && d.spawn_lag_s == 0.0 {
            let slow = Station { servers: 1, service_s: 0.05, cv: 0.3, is_exponential: false };
            per_s(Network::new(&[slow], 0.0, warm, 77), 4, 4000) / 20.0 * slowest
        } else {
            top
        };
        curve.iter_mut().for_each(|point| point.1 *= plateau / top);
        Truth::Measured { curve, plateau }
    }

    fn plateau(&self) -> f64 {
        match self {
            Self::Exact(knee) => knee.peak(1e5).1,
            Self::Measured { plateau, .. } => *plateau,
        }
    }

    fn throughput(&self, vus: f64) -> f64 {
        match self {
            Self::Exact(knee) => knee.throughput(vus),
            Self::Measured { curve, .. } if vus < curve[0].0 => curve[0].1 * vus / curve[0].0,
            Self::Measured { curve, .. } => {
                let above = curve.partition_point(|c| c.0 < vus).clamp(1, curve.len() - 1);
                let (a, b) = (curve[above - 1], curve[above]);
                let share = ((vus / a.0).ln() / (b.0 / a.0).ln()).clamp(0.0, 1.0);
                a.1 + share * (b.1 - a.1)
            }
        }
    }

    fn saturation_vus(&self) -> f64 {
        match self {
            Self::Exact(knee) => knee.saturation_vus(EPS, 1e5),
            Self::Measured { curve, plateau } => {
                let target = (1.0 - EPS) * plateau;
                match curve.iter().position(|c| c.1 >= target).unwrap_or(curve.len() - 1) {
                    0 => curve[0].0,
                    at => {
                        let (a, b) = (curve[at - 1], curve[at]);
                        let share = ((target - a.1) / (b.1 - a.1)).clamp(0.0, 1.0);
                        (a.0.ln() + share * (b.0 / a.0).ln()).exp()
                    }
                }
            }
        }
    }
}

fn per_s(mut system: Network, vus: u32, seconds: u32) -> f64 {
    system.set_vus(vus);
    (0..30).for_each(|_| drop(system.second()));
    (0..seconds).map(|_| system.second().completed).sum::<u64>() as f64 / f64::from(seconds)
}

#[derive(Clone)]
struct NetworkCase {
    stations: Vec<Station>,
    delay_s: f64,
    disturbance: Disturbance,
}

/// Makes the system of a seed.
type Make = fn(u64) -> Case;

struct Case {
    name: String,
    truth: Truth,
    make: Box<dyn Fn(u64) -> Box<dyn System>>,
}

fn knee_case(seed: u64) -> Case {
    let mut random = Random::new(seed);
    let x_max_per_s = random.log_between(10.0, 1500.0);
    let r0_s = random.log_between(0.01, 0.6).min(300.0 / x_max_per_s).max(3.0 / x_max_per_s);
    let p = random.log_between(1.5, 14.0);
    let n_star = x_max_per_s * r0_s;
    let kappa_s = if random.uniform() < 0.3 { random.log_between(0.002, 0.1) * r0_s / (n_star * n_star) } else { 0.0 };
    let knee = Knee { x_max_per_s, r0_s, p, kappa_s };
    let name = format!("X {x_max_per_s:.0} R0 {r0_s:.3} p {p:.1} kappa {kappa_s:.1e}");
    Case { name, truth: Truth::Exact(knee), make: Box::new(move |seed| Box::new(Sharing::new(knee, seed))) }
}

impl NetworkCase {
    fn case(self, name: &str) -> Case {
        let truth = Truth::measured(&self);
        let make =
            move |seed| Box::new(Network::new(&self.stations, self.delay_s, self.disturbance, seed)) as Box<dyn System>;
        Case { name: name.to_owned(), truth, make: Box::new(make) }
    }
}

fn station(servers: usize, per_s: f64, cv: f64) -> Station {
    Station { servers, service_s: servers as f64 / per_s, cv, is_exponential: false }
}

fn any_disturbance(random: &mut Random) -> Disturbance {
    let mut d = Disturbance::default();
    if random.uniform() < 0.3 {
        (d.pause_every_s, d.pause_s) = (random.between(3.0, 15.0), random.between(0.05, 0.5));
    }
    if random.uniform() < 0.3 {
        (d.noise, d.noise_tau_s) = (random.between(0.01, 0.05), random.between(5.0, 40.0));
    }
    if random.uniform() < 0.5 {
        d.publisher = random.between(0.02, 0.15);
    }
    if random.uniform() < 0.3 {
        (d.cold, d.cold_tau_s) = (random.between(0.2, 0.6), random.between(15.0, 60.0));
    }
    d
}

/// 1 to 3 nodes of 1 to 16 cores behind a balancer that knows which is free, 70 to 1200 requests per second, 8 to 650 ms
/// without queueing, at times a database.
fn network_case(seed: u64) -> Case {
    let mut random = Random::new(seed);
    let nodes = 1 + (3.0 * random.uniform()) as usize;
    let servers = nodes * (random.log_between(1.0, 17.0) as usize);
    let per_s = random.log_between(70.0, 1200.0);
    let r0_s = random.log_between(0.008, 0.65);
    let mut stations = vec![station(servers, per_s, random.between(0.5, 2.5))];
    if random.uniform() < 0.4 {
        stations.push(station(1 + (3.0 * random.uniform()) as usize, per_s * random.between(1.1, 2.5), 1.0));
    }
    let served_s: f64 = stations.iter().map(|s| s.service_s).sum();
    let delay_s = if r0_s - served_s > 1e-3 { r0_s - served_s } else { 0.0 };
    let d = any_disturbance(&mut random);
    let name = format!("{servers} servers {per_s:.0}/s delay {delay_s:.3} x{} {d:?}", stations.len());
    NetworkCase { stations, delay_s, disturbance: d }.case(&name)
}

/// Few servers, often no delay and at most 600 requests per second: the knee lies at a few VUs, and a minute has too
/// few requests to see 2 %.
fn small_case(seed: u64) -> Case {
    let mut random = Random::new(seed);
    let servers = random.log_between(1.0, 17.0) as usize;
    let per_s = random.log_between(70.0, 600.0);
    let mut stations = vec![station(servers, per_s, random.between(0.5, 2.5))];
    if random.uniform() < 0.4 {
        stations.push(station(1 + (3.0 * random.uniform()) as usize, per_s * random.between(1.1, 2.0), 1.0));
    }
    let delay_s = if random.uniform() < 0.6 { random.log_between(0.005, 0.4) } else { 0.0 };
    let d = any_disturbance(&mut random);
    let name = format!("{servers} servers {per_s:.0}/s delay {delay_s:.3} x{} {d:?}", stations.len());
    NetworkCase { stations, delay_s, disturbance: d }.case(&name)
}

/// Systems made by hand, one for each thing that real ones do; the seed is their number.
fn made_case(number: u64) -> Case {
    let none = Disturbance::default();
    let one = vec![station(8, 400.0, 1.0)];
    let network = |name: &str, stations: &[Station], delay_s: f64, disturbance: Disturbance| {
        NetworkCase { stations: stations.to_vec(), delay_s, disturbance }.case(name)
    };
    let exact = |name: &str, knee: Knee| {
        let make = move |seed| Box::new(Sharing::new(knee, seed)) as Box<dyn System>;
        Case { name: name.to_owned(), truth: Truth::Exact(knee), make: Box::new(make) }
    };
    match number {
        0 => network("M/M/8", &[Station { is_exponential: true, ..one[0] }], 0.04, none),
        1 => network("WAN, 300 ms", &one, 0.3, none),
        2 => network("2 nodes and a database", &[station(16, 800.0, 1.0), station(2, 1000.0, 1.0)], 0.02, none),
        3 => network("1 s round trip", &[station(8, 200.0, 1.0)], 1.0, none),
        4 => network("three balanced stations", &[station(1, 200.0, 1.0); 3], 0.0, none),
        5 => network("heavy tail, cv 3", &[station(8, 400.0, 3.0)], 0.04, none),
        6 => network("pauses", &one, 0.04, Disturbance { pause_every_s: 8.0, pause_s: 0.3, ..none }),
        7 => network("speed wanders 4 %, 20 s", &one, 0.04, Disturbance { noise: 0.04, noise_tau_s: 20.0, ..none }),
        8 => network("publisher", &one, 0.04, Disturbance { publisher: 0.125, ..none }),
        9 => network("workers start late", &one, 0.04, Disturbance { spawn_lag_s: 6.0, ..none }),
        10 => network("cold by 60 %, 60 s", &one, 0.04, Disturbance { cold: 0.6, cold_tau_s: 60.0, ..none }),
        11 => network("collapses", &[station(8, 400.0, 1.0)], 0.04, Disturbance { collapse_queue: 100, ..none }),
        12 => exact("thrashes", Knee { x_max_per_s: 500.0, r0_s: 0.05, p: 6.0, kappa_s: 4e-6 }),
        13 => network(
            "like one node of Posit's",
            &[station(8, 1160.0, 1.0)],
            0.05,
            Disturbance { publisher: 0.1, ..none },
        ),
        _ => network(
            "like two nodes of Posit's",
            &[station(16, 2430.0, 1.0)],
            0.05,
            Disturbance { publisher: 0.1, ..none },
        ),
    }
}

const MADE: u64 = 15;

#[derive(Default)]
struct Table {
    ratio: Vec<f64>,
    regret: Vec<f64>,
    plateau: Vec<f64>,
    seconds: Vec<f64>,
    vus_covered: u32,
    plateau_covered: u32,
    not_saturated: Vec<String>,
}

impl Table {
    fn add(&mut self, case: &Case, config: SearchConfig, seed: u64, each: bool) {
        let mut search = Search::new(config, seed);
        let result = run(&mut search, (case.make)(seed).as_mut(), 3000);
        // A staircase has no estimate but its stage.
        let stage = result.vus.map(f64::from).filter(|_| result.outcome == Outcome::HighestStage);
        let vus = result.saturation_vus.filter(|_| result.outcome == Outcome::Saturated).or(stage);
        let (Some(vus), Some(plateau)) = (vus, result.requests_per_second) else {
            self.not_saturated.push(format!("{}: {:?} {:?}", case.name, result.outcome, result.notes));
            return;
        };
        let (want, want_plateau) = (case.truth.saturation_vus(), case.truth.plateau());
        if each {
            let steps: Vec<String> = search
                .steps()
                .iter()
                .map(|s| format!("{}:{:.1}({})", s.vus, s.requests_per_second, s.seconds))
                .collect();
            println!(
                "{:.2} of {want:.1} VUs {:?}, plateau {:.3} of {want_plateau:.1}, misfit {}, {}\n    {:?}\n    {}",
                vus / want,
                result.vus_ci,
                plateau / want_plateau,
                result.misfit,
                case.name,
                result.knee,
                steps.join(" ")
            );
        }
        self.ratio.push(vus / want);
        self.regret.push(1.0 - case.truth.throughput(f64::from(result.vus.unwrap_or(1))) / want_plateau);
        self.plateau.push(plateau / want_plateau - 1.0);
        self.seconds.push(result.elapsed_s);
        self.vus_covered += u32::from(result.vus_ci.is_some_and(|(a, b)| f64::from(a) <= want && want <= f64::from(b)));
        self.plateau_covered +=
            u32::from(result.requests_per_second_ci.is_some_and(|(a, b)| a <= want_plateau && want_plateau <= b));
    }

    fn print(&self, name: &str) {
        let n = self.ratio.len() as f64;
        let error: Vec<f64> = self.ratio.iter().map(|r| (r - 1.0).abs()).collect();
        let at = |v: &[f64], q| quantile(v, q).unwrap_or(f64::NAN);
        let within = error.iter().filter(|e| **e <= 0.25).count() as f64 / n;
        println!(
            "{name:<22} n {n:>3} of {:>3} | N err median {:>4.1} % p90 {:>4.1} % within 25 %: {:>3.0} % ratio {:.2} | \
             regret {:.1} / {:.1} %, at most 5 %: {:>3.0} % | \
             plateau {:+.1} ± {:.1} %, within 3 %: {:>3.0} % | {:.0} ({:.0}) s | CI holds N {:.0} %, plateau {:.0} %",
            self.ratio.len() + self.not_saturated.len(),
            100.0 * at(&error, 0.5),
            100.0 * at(&error, 0.9),
            100.0 * within,
            at(&self.ratio, 0.5),
            100.0 * at(&self.regret, 0.5),
            100.0 * at(&self.regret, 0.95),
            100.0 * self.regret.iter().filter(|r| **r <= 0.05).count() as f64 / n,
            100.0 * mean(&self.plateau).unwrap_or(f64::NAN),
            100.0 * sd(&self.plateau).unwrap_or(f64::NAN),
            100.0 * self.plateau.iter().filter(|e| e.abs() <= 0.03).count() as f64 / n,
            at(&self.seconds, 0.5),
            at(&self.seconds, 0.9),
            100.0 * f64::from(self.vus_covered) / n,
            100.0 * f64::from(self.plateau_covered) / n,
        );
        self.not_saturated.iter().for_each(|line| println!("  not saturated: {line}"));
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let first: u64 = arguments.iter().find_map(|a| a.parse().ok()).unwrap_or(9200);
    let only = arguments.iter().find_map(|a| a.strip_prefix("only="));
    let each = arguments.iter().any(|a| a == "each");
    let number = |key: &str, usual: u64| -> u64 {
        arguments.iter().find_map(|a| a.strip_prefix(key)?.strip_prefix('=')?.parse().ok()).unwrap_or(usual)
    };
    let (systems, runs) = (number("systems", 200), number("runs", 1));
    let wanted = |name: &str| only.is_none_or(|only| name == only);
    let stairs = SearchConfig { max_vus: 500, ..SearchConfig::standard() }.staircase(25, 30);
    let configs = [("standard", SearchConfig::standard()), ("quick", SearchConfig::quick()), ("staircase", stairs)];
    let groups: [(&str, Make); 4] =
        [("made", made_case), ("networks", network_case), ("small", small_case), ("curves", knee_case)];
    for (group, make) in groups {
        if !wanted(group) {
            continue;
        }
        let (from, count, runs) = if group == "made" { (0, MADE, 12 * runs) } else { (first, systems, runs) };
        let mut tables: Vec<Table> = configs.iter().map(|_| Table::default()).collect();
        for seed in from..from + count {
            let case = make(seed);
            for (table, (name, config)) in tables.iter_mut().zip(&configs) {
                for run in 0..runs {
                    table.add(
                        &case,
                        config.clone(),
                        1000 * (first + seed) + run,
                        each && *name == "standard" && run == 0,
                    );
                }
            }
        }
        for (table, (name, _)) in tables.iter().zip(&configs) {
            table.print(&format!("{group}, {name}"));
        }
    }
}
