//! Forecasts of users with a think time, from one simulated ramp, against the same system under that load:
//! `cargo bench --bench sizing`.
//!
//! Prints, by system and load, the error of throughput, mean latency and p95 by the flow-equivalent server, and that of
//! throughput by a USL fit used in the same way. Arguments: a number sets the first seed; `systems=N` random ones.
#![expect(clippy::print_stdout, reason = "a bench prints its table")]

use std::collections::BTreeMap;

use connect_bench::capacity::flow::{Curve, closed};
use connect_bench::capacity::knee::estimate::Point;
use connect_bench::capacity::latency::Latencies;
use connect_bench::capacity::search::{Bin, Outcome, Search, SearchConfig, StepKind};
use connect_bench::capacity::simulate::network::{Disturbance, Network, Station};
use connect_bench::capacity::simulate::{System, run};
use connect_bench::capacity::sizing::{Behaviour, Server};
use connect_bench::capacity::usl;
use connect_bench::histogram::Latency;
use connect_bench::stats::descriptive::{quantile, sd};
use connect_bench::stats::random::Random;

const THINK_S: f64 = 2.0;
const SHARES: [f64; 4] = [0.5, 0.8, 0.95, 1.2];
const MEASURED_S: u32 = 900;

struct Kind {
    name: String,
    stations: Vec<Station>,
    disturbance: Disturbance,
}

fn kinds(first: u64, random: u64) -> Vec<Kind> {
    let station = |servers, service_s, cv, is_exponential| Station { servers, service_s, cv, is_exponential };
    let none = Disturbance::default();
    let kind = |name: &str, stations, disturbance| Kind { name: name.to_owned(), stations, disturbance };
    let mut kinds = vec![
        kind("M/M/8", vec![station(8, 0.04, 1.0, true)], none),
        kind("M/M/8, database", vec![station(8, 0.04, 1.0, true), station(2, 0.008, 1.0, true)], none),
        kind("publisher", vec![station(8, 0.04, 1.0, false)], Disturbance { publisher: 0.12, ..none }),
        kind("pauses", vec![station(8, 0.04, 1.0, false)], Disturbance { pause_every_s: 8.0, pause_s: 0.2, ..none }),
        kind("heavy tail", vec![station(8, 0.04, 3.0, false)], none),
    ];
    for seed in first..first + random {
        let mut random = Random::new(seed);
        let servers = random.log_between(1.0, 17.0) as usize;
        let (per_s, cv) = (random.log_between(70.0, 400.0), random.between(0.5, 2.0));
        kinds.push(kind("random, clean", vec![station(servers, servers as f64 / per_s, cv, false)], none));
    }
    kinds
}

/// Relative errors of throughput, mean latency, p95, and of throughput by USL.
type Errors = [f64; 4];

/// Collects latencies by number of VUs while a search runs, as the command does from the seconds of a ramp.
struct Watched {
    inner: Network,
    held: (u32, u32),
    warm_up_s: f64,
    by_vus: BTreeMap<u32, Latency>,
}

impl System for Watched {
    fn set_vus(&mut self, vus: u32) {
        self.held = (vus, 0);
        self.inner.set_vus(vus);
    }

    fn second(&mut self) -> Bin {
        let bin = self.inner.second();
        self.held.1 += 1;
        if self.held.1 > 3 && bin.t_s > self.warm_up_s {
            self.by_vus.entry(self.held.0).or_default().merge(&bin.latency);
        }
        bin
    }
}

fn usl_curve(search: &Search, users: u32) -> Option<Curve> {
    let usable = search.steps().iter().filter(|step| step.kind != StepKind::Unusable);
    let mut points: Vec<Point> = usable
        .map(|step| Point {
            vus: f64::from(step.vus),
            per_s: step.requests_per_second,
            sigma: step.standard_error.max(0.01 * step.requests_per_second),
        })
        .collect();
    points.sort_by(|a, b| a.vus.total_cmp(&b.vus));
    let law = usl::fit(&points)?;
    Curve::new((1..=users).map(|n| law.throughput(f64::from(n)).max(1e-6)).collect())
}

fn errors(kind: &Kind, seed: u64) -> Option<Vec<Errors>> {
    let mut search = Search::new(SearchConfig::standard(), seed);
    let inner = Network::new(&kind.stations, 0.0, kind.disturbance, seed);
    let warm_up_s = f64::from(SearchConfig::standard().warm_up_min_s);
    let mut system = Watched { inner, held: (0, 0), warm_up_s, by_vus: BTreeMap::new() };
    let result = run(&mut search, &mut system, 3000);
    let (Outcome::Saturated, Some(knee), Some((_, tested))) = (&result.outcome, result.knee, result.tested_vus) else {
        return None;
    };
    let latencies: Vec<(u32, Latency)> = system.by_vus.into_iter().filter(|(_, l)| !l.is_empty()).collect();
    let server = Server { curve: Curve::of_knee(&knee, tested)?, latencies: Latencies::new(&latencies) };
    let behaviour = Behaviour { think_s: THINK_S, requests_per_action: 1.0 };
    let at = |share: f64| -> Option<Errors> {
        let users = (share * server.curve.most() * (THINK_S + 1.0 / server.curve.at(1))).round() as u32;
        let mut system = Network::new(&kind.stations, 0.0, kind.disturbance, seed + 500).thinking(THINK_S);
        system.set_vus(users);
        (0..60).for_each(|_| drop(system.second()));
        let mut all = Latency::default();
        (0..MEASURED_S).for_each(|_| all.merge(&system.second().latency));
        let per_s = all.count() as f64 / f64::from(MEASURED_S);
        let said = server.forecast(users, behaviour)?;
        let by_usl = usl_curve(&search, users).and_then(|curve| closed(&curve, users, THINK_S));
        Some([
            said.requests_per_second / per_s - 1.0,
            said.mean_ms / all.mean_ms()? - 1.0,
            said.p95_ms? / all.quantile_ms(0.95)? - 1.0,
            by_usl.map_or(f64::NAN, |flow| flow.per_s / per_s - 1.0),
        ])
    };
    SHARES.into_iter().map(at).collect()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let first: u64 = arguments.iter().find_map(|a| a.parse().ok()).unwrap_or(41_000);
    let random: u64 = arguments.iter().find_map(|a| a.strip_prefix("systems=")?.parse().ok()).unwrap_or(30);
    println!("think time {THINK_S} s; errors as median (10th to 90th percentile)");
    let kinds = kinds(first, random);
    for group in kinds.chunk_by(|a, b| a.name == b.name) {
        let repeats = if group.len() > 1 { 1 } else { 5 };
        let runs =
            group.iter().zip(first..).flat_map(|(kind, seed)| (0..repeats).map(move |again| (kind, 10 * seed + again)));
        let found: Vec<Vec<Errors>> = runs.filter_map(|(kind, seed)| errors(kind, seed)).collect();
        for (which, share) in SHARES.iter().enumerate() {
            let column = |figure: usize| -> Vec<f64> {
                found.iter().map(|run| run[which][figure]).filter(|e| e.is_finite()).collect()
            };
            let text = |figure: usize| {
                let values = column(figure);
                let at = |q| 100.0 * quantile(&values, q).unwrap_or(f64::NAN);
                format!("{:+.1} ({:+.1} to {:+.1}) %", at(0.5), at(0.1), at(0.9))
            };
            let spread = 100.0 * sd(&column(0)).unwrap_or(f64::NAN);
            println!(
                "{:<16} n {:>3} {:>3.0} % of X_max | X {} sd {spread:.1} | mean R {} | p95 {} | X by USL {}",
                group[0].name,
                found.len(),
                100.0 * share,
                text(0),
                text(1),
                text(2),
                text(3)
            );
        }
    }
}
