//! How good the search of the open model is (`ramp --slo 'p(95)<…' --open`): `cargo bench --bench rates`.
//!
//! Random M/M/c queues with a random limit of the p95, whose highest rate is known exactly; prints one row per group by what the
//! server is. Arguments: a number sets the first seed; `systems=N`; `each` prints every system.
#![expect(clippy::print_stdout, reason = "a bench prints its table")]

use connect_bench::capacity::search::{Outcome, Search, SearchConfig};
use connect_bench::capacity::simulate::open::Queue;
use connect_bench::capacity::simulate::run;
use connect_bench::stats::descriptive::quantile;
use connect_bench::stats::random::Random;

/// A server, and the p95 that its requests are to stay below.
struct Case {
    servers: (u32, f64),
    limit_s: f64,
    /// The highest rate that keeps it.
    truth_per_s: f64,
}

impl Case {
    /// 1 to 64 servers, 15 to 2000 requests per second at saturation; the limit is 1.05 to 6 times the p95 of the idle server.
    fn random(seed: u64) -> Case {
        let mut random = Random::new(seed);
        let count = random.log_between(1.0, 64.0).round();
        let each = random.log_between(15.0, 2000.0) / count;
        let servers = (count as u32, each);
        let limit_s = 20.0_f64.ln() / each * random.log_between(1.05, 6.0);
        let (mut low, mut high) = (0.0, count * each);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if Queue::slower_than(servers, middle, limit_s) < 0.05 { low = middle } else { high = middle }
        }
        Case { servers, limit_s, truth_per_s: low }
    }
}

struct Found {
    /// Answer / truth − 1; `None` without an answer.
    error: Option<f64>,
    seconds: f64,
}

fn search(case: &Case, seed: u64) -> Found {
    let slo = format!("p(95)<{}", 1000.0 * case.limit_s);
    let Ok(objective) = slo.parse() else { return Found { error: None, seconds: 0.0 } };
    let config = SearchConfig::standard().keeping(vec![objective]).open(10_000);
    let mut search = Search::new(config, seed);
    let result = run(&mut search, &mut Queue::new(case.servers, 2048, seed), 4000);
    let rate = result.rate.filter(|_| result.outcome == Outcome::ObjectivesKept).map(f64::from);
    Found { error: rate.map(|rate| rate / case.truth_per_s - 1.0), seconds: result.elapsed_s }
}

fn row(name: &str, found: &[Found]) {
    let errors: Vec<f64> = found.iter().filter_map(|found| found.error).collect();
    let sizes: Vec<f64> = errors.iter().map(|error| error.abs()).collect();
    let seconds: Vec<f64> = found.iter().map(|found| found.seconds).collect();
    let percent = |share: f64| format!("{:.0} %", 100.0 * share);
    let within =
        |most: f64| percent(sizes.iter().filter(|size| **size <= most).count() as f64 / found.len().max(1) as f64);
    let too_high = errors.iter().filter(|error| **error > 0.05).count() as f64 / found.len().max(1) as f64;
    println!(
        "| {name} | {} | {} | {:.1} % | {} | {} | {} | {:.0} s |",
        found.len(),
        found.len() - errors.len(),
        100.0 * quantile(&sizes, 0.5).unwrap_or(f64::NAN),
        within(0.10),
        within(0.15),
        percent(too_high),
        quantile(&seconds, 0.5).unwrap_or(f64::NAN),
    );
}

fn main() {
    let (mut first, mut systems, mut each) = (91_000, 200, false);
    for argument in std::env::args().skip(1) {
        if let Ok(seed) = argument.parse() {
            first = seed;
        } else if let Some(n) = argument.strip_prefix("systems=").and_then(|n| n.parse().ok()) {
            systems = n;
        }
        each |= argument == "each";
    }
    let mut groups: [(&str, Vec<Found>); 3] =
        [("1 to 3 servers", Vec::new()), ("4 to 15", Vec::new()), ("16 to 64", Vec::new())];
    for seed in first..first + systems {
        let case = Case::random(seed);
        let found = search(&case, seed);
        if each {
            println!(
                "{seed}: {} x {:.1}/s, p95 < {:.0} ms: {:.0} per second, found {:?}",
                case.servers.0,
                case.servers.1,
                1000.0 * case.limit_s,
                case.truth_per_s,
                found.error
            );
        }
        groups[match case.servers.0 {
            1..=3 => 0,
            4..=15 => 1,
            _ => 2,
        }]
        .1
        .push(found);
    }
    println!(
        "| server | systems | no answer | median error | within 10 % | within 15 % | more than 5 % too high | length |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    groups.iter().for_each(|(name, found)| row(name, found));
    let all: Vec<Found> = groups.into_iter().flat_map(|(_, found)| found).collect();
    row("all", &all);
}
