//! How good the saturation search is, on simulated systems that it was not tuned on: `cargo bench --bench search`.
//!
//! Prints one row per group of systems and configuration: error of N_sat, share within 25 %, regret
//! 1 − X(N)/X_max, error of the plateau, length of the search, and how often the intervals hold the truth.
//! Arguments: a number sets the first seed; `only=NAME` one group; `each` prints every system.
#![expect(clippy::print_stdout, reason = "a bench prints its table")]

use connect_bench::capacity::knee::Knee;
use connect_bench::capacity::search::{Outcome, Search, SearchConfig};
use connect_bench::capacity::simulate::network::{Disturbance, Network, Station};
use connect_bench::capacity::simulate::sharing::Sharing;
use connect_bench::capacity::simulate::{System, run};
use connect_bench::stats::descriptive::{mean, quantile, sd};
use connect_bench::stats::isotonic::isotonic;
use connect_bench::stats::random::Random;

const SYSTEMS: u64 = 40;
const EPS: f64 = 0.02;

/// The true curve of a system: exact, or measured at many numbers of VUs.
enum Truth {
    Exact(Knee),
    Measured(Vec<(f64, f64)>),
}

impl Truth {
    fn plateau(&self) -> f64 {
        match self {
            Self::Exact(knee) => knee.peak(1e5).1,
            Self::Measured(curve) => {
                let most = curve.iter().map(|c| c.1).fold(0.0, f64::max);
                let top: Vec<f64> = curve.iter().map(|c| c.1).filter(|x| *x > 0.99 * most).collect();
                mean(&top).unwrap_or(most)
            }
        }
    }

    fn throughput(&self, vus: f64) -> f64 {
        match self {
            Self::Exact(knee) => knee.throughput(vus),
            Self::Measured(curve) => {
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
            Self::Measured(curve) => {
                let target = (1.0 - EPS) * self.plateau();
                let smooth = isotonic(&curve.iter().map(|c| c.1).collect::<Vec<_>>(), &[]);
                let above = smooth.iter().position(|x| *x >= target).unwrap_or(curve.len() - 1).max(1);
                let (a, b) = (smooth[above - 1], smooth[above]);
                let share = ((target - a) / (b - a)).clamp(0.0, 1.0);
                (curve[above - 1].0.ln() + share * (curve[above].0 / curve[above - 1].0).ln()).exp()
            }
        }
    }
}

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

fn network_case(seed: u64) -> Case {
    let mut random = Random::new(seed);
    let servers = random.log_between(1.0, 17.0) as usize;
    let per_s = random.log_between(70.0, 600.0);
    let station = |servers: usize, per_s: f64, cv: f64| Station {
        servers,
        service_s: servers as f64 / per_s,
        cv,
        is_exponential: false,
    };
    let mut stations = vec![station(servers, per_s, random.between(0.5, 2.5))];
    if random.uniform() < 0.4 {
        stations.push(station(1 + (3.0 * random.uniform()) as usize, per_s * random.between(1.0, 2.0), 1.0));
    }
    let delay_s = if random.uniform() < 0.6 { random.log_between(0.005, 0.4) } else { 0.0 };
    let mut d = Disturbance::default();
    if random.uniform() < 0.3 {
        (d.pause_every_s, d.pause_s) = (random.between(3.0, 15.0), random.between(0.05, 0.5));
    }
    if random.uniform() < 0.4 {
        (d.noise, d.noise_tau_s) = (random.between(0.01, 0.05), random.between(5.0, 40.0));
    }
    if random.uniform() < 0.5 {
        d.publisher = random.between(0.02, 0.15);
    }
    if random.uniform() < 0.3 {
        (d.cold, d.cold_tau_s) = (random.between(0.2, 0.6), random.between(15.0, 60.0));
    }
    let name = format!("{servers} servers {per_s:.0}/s delay {delay_s:.3} x{} {d:?}", stations.len());
    let warm = Disturbance { cold: 0.0, ..d };
    let service_s: f64 = stations.iter().map(|s| s.service_s).sum();
    let curve = measured_curve(&stations, delay_s, warm, per_s * (service_s + delay_s));
    let make = move |seed| Box::new(Network::new(&stations, delay_s, d, seed)) as Box<dyn System>;
    Case { name, truth: Truth::Measured(curve), make: Box::new(make) }
}

/// Throughput from a tenth to eight times the knee, 1800 s each with the same disturbances.
fn measured_curve(stations: &[Station], delay_s: f64, d: Disturbance, n_star: f64) -> Vec<(f64, f64)> {
    let mut curve: Vec<(f64, f64)> = Vec::new();
    let mut vus = (0.3 * n_star).max(1.0).floor();
    while vus < 8.0 * n_star + 6.0 {
        let mut system = Network::new(stations, delay_s, d, 77);
        system.set_vus(vus as u32);
        (0..20).for_each(|_| drop(system.second()));
        let completed: u64 = (0..1800).map(|_| system.second().completed).sum();
        curve.push((vus, completed as f64 / 1800.0));
        vus = (vus * 1.13).ceil();
    }
    curve
}

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
        let (Outcome::Saturated, Some(vus), Some(plateau)) =
            (&result.outcome, result.saturation_vus, result.requests_per_second)
        else {
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
            "{name:<22} n {n:>3} | N err median {:>4.1} % p90 {:>4.1} % within 25 %: {:>3.0} % ratio {:.2} | \
             regret {:.1} / {:.1} % | \
             plateau {:+.1} ± {:.1} % | {:.0} ({:.0}) s | CI holds N {:.0} %, plateau {:.0} %",
            100.0 * at(&error, 0.5),
            100.0 * at(&error, 0.9),
            100.0 * within,
            at(&self.ratio, 0.5),
            100.0 * at(&self.regret, 0.5),
            100.0 * at(&self.regret, 0.95),
            100.0 * mean(&self.plateau).unwrap_or(f64::NAN),
            100.0 * sd(&self.plateau).unwrap_or(f64::NAN),
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
    let wanted = |name: &str| only.is_none_or(|only| name.contains(only));
    for (group, make) in [("curves", knee_case as fn(u64) -> Case), ("networks", network_case)] {
        if !wanted(group) {
            continue;
        }
        let cases: Vec<Case> = (first..first + SYSTEMS).map(make).collect();
        for (name, config) in [("standard", SearchConfig::standard()), ("quick", SearchConfig::quick())] {
            let mut table = Table::default();
            for (case, seed) in cases.iter().zip(first..) {
                for run in 0..3 {
                    table.add(case, config.clone(), 1000 * seed + run, each && name == "standard" && run == 0);
                }
            }
            table.print(&format!("{group}, {name}"));
        }
    }
}
