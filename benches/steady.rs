//! How often intervals of steady figures hold the truth, and how often insights and drift are false alarms:
//! `cargo bench --bench steady`.
//!
//! Four closed systems (docs of B.3: exact queue, a publisher, wandering speed, heavy tail with pauses), 28 minutes each run,
//! through the same `Builder`, `Figures`, `SteadyState` and rules as a real run. The truth is the mean over all runs. Each
//! has a deployment in 12 of every 20 s, which costs nothing but in the system with a publisher.
//! Arguments: a number sets the first seed; `runs=N`; `only=NAME`, the beginning of a system's; `threads=N`.
#![expect(clippy::print_stdout, reason = "a bench prints its table")]

use std::collections::BTreeMap;
use std::time::Duration;

use connect_bench::capacity::simulate::System;
use connect_bench::capacity::simulate::network::{Disturbance, Network, Station};
use connect_bench::host::Environment;
use connect_bench::insight;
use connect_bench::plan::{Executor, FetchPlan, Plan, ProgramPlan, ScenarioPlan, Target};
use connect_bench::stats::Interval;
use connect_bench::stats::descriptive::mean;
use connect_bench::stats::proportion::failure_rate_upper_95;
use connect_bench::steady::{DriftVerdict, SteadyState};
use connect_bench::summary::{Builder, Figures, RunState};
use connect_bench::window::{HostSample, Part, Second, Window};

const VUS: u32 = 16;
const SECONDS: u64 = 28 * 60;
/// Not recorded at all, as an uncounted warm-up.
const SETTLE: u64 = 60;
/// A publish of so many seconds ends in every cycle of so many, where the simulated publisher's does.
const PUBLISH_S: u64 = 12;
const CYCLE_S: u64 = 20;
const NAMES: [&str; 5] = ["rps", "mean", "p50", "p95", "p99"];

struct Kind {
    name: &'static str,
    stations: Vec<Station>,
    disturbance: Disturbance,
}

fn kinds() -> Vec<Kind> {
    let station = |cv: f64, is_exponential: bool| vec![Station { servers: 8, service_s: 0.04, cv, is_exponential }];
    let none = Disturbance::default();
    let kind = |name, stations, disturbance| Kind { name, stations, disturbance };
    vec![
        kind("M/M/8", station(1.0, true), none),
        kind("publisher", station(1.0, false), Disturbance { publisher: 0.1, ..none }),
        kind("noise 4 %, 60 s", station(1.0, false), Disturbance { noise: 0.04, noise_tau_s: 60.0, ..none }),
        kind("cv 3, pauses", station(3.0, false), Disturbance { pause_every_s: 8.0, pause_s: 0.2, ..none }),
    ]
}

fn plan() -> Plan {
    let executor = Executor::constant_vus(VUS, Duration::from_secs(SECONDS));
    let scenario = ScenarioPlan {
        graceful_stop: Duration::ZERO,
        ..ScenarioPlan::of("fetch", executor, ProgramPlan::Fetch(FetchPlan::of("/")))
    };
    let url = "http://simulated.invalid/".parse().unwrap_or_else(|_| unreachable!("a URL"));
    Plan::of(Target::at(url), vec![scenario])
}

fn environment() -> Environment {
    Environment {
        started: jiff::Timestamp::UNIX_EPOCH,
        host: String::new(),
        kernel: String::new(),
        cores: 1,
        memory_bytes: None,
        open_files_limit: None,
    }
}

/// What one run said: estimates with intervals, insights, verdicts on drift.
struct Run {
    intervals: Vec<Option<Interval>>,
    insights: Vec<&'static str>,
    drifts: [bool; 2],
    cut_s: f64,
}

fn run(kind: &Kind, seed: u64) -> Run {
    let mut system = Network::new(&kind.stations, 0.0, kind.disturbance, seed);
    system.set_vus(VUS);
    (0..SETTLE).for_each(|_| drop(system.second()));
    let mut builder = Builder::new(plan(), environment());
    for second in 0..SECONDS {
        let bin = system.second();
        let mut window = Window::new(1, 1);
        window.span_ns = Some((second * 1_000_000_000, (second + 1) * 1_000_000_000));
        let fetch = &mut window.series[0];
        (fetch.requests.scheduled, fetch.requests.completed) = (bin.completed, bin.completed);
        fetch.sent = bin.completed;
        fetch.bytes_received = 600 * bin.completed;
        fetch.waiting = bin.latency.clone();
        fetch.duration = bin.latency;
        if second % CYCLE_S == PUBLISH_S - 1 {
            window.trends.entry("publish_restore".to_owned()).or_default().record(Duration::from_secs(PUBLISH_S));
        }
        window.scenarios[0].vus = u64::from(VUS);
        window.scenarios[0].vu_time_ns = u128::from(VUS) * 1_000_000_000;
        builder.add(&Second { second, part: Part::Steady, window, host: HostSample::default() });
    }
    let summary = builder.finish(RunState::Finished);
    let (figures, steady) = (Figures::of(&summary), SteadyState::of(&summary));
    let [p50, _, p95, p99] = figures.fetch_quantile_intervals;
    let drifts = [steady.rate_drift, steady.p99_drift].map(|d| d.is_some_and(|d| d.verdict != DriftVerdict::Steady));
    Run {
        intervals: vec![figures.fetch_per_s_interval, figures.fetch_mean_interval, p50, p95, p99],
        insights: insight::of(&summary, &figures, &steady).iter().map(|insight| insight.id).collect(),
        drifts,
        cut_s: steady.transient.map_or(0.0, |transient| transient.cut_s),
    }
}

/// Runs with seeds from `first` on, in their order, on so many threads.
fn runs(kind: &Kind, first: u64, count: u64, threads: u64) -> Vec<Run> {
    let each = count.div_ceil(threads.max(1)).max(1);
    std::thread::scope(|scope| {
        let parts = (first..first + count).step_by(usize::try_from(each).unwrap_or(usize::MAX));
        let parts: Vec<_> = parts
            .map(|from| {
                let seeds = from..(from + each).min(first + count);
                scope.spawn(move || seeds.map(|seed| run(kind, seed)).collect::<Vec<Run>>())
            })
            .collect();
        parts.into_iter().flat_map(|part| part.join().unwrap_or_default()).collect()
    })
}

/// How often each rule spoke.
type Fired = BTreeMap<&'static str, u64>;

fn print(kind: &Kind, runs: &[Run]) -> Fired {
    let n = runs.len() as f64;
    let mut row = format!("{:<16}", kind.name);
    for (at, name) in NAMES.iter().enumerate() {
        let known: Vec<Interval> = runs.iter().filter_map(|run| run.intervals[at]).collect();
        let truth = mean(&known.iter().map(|i| i.estimate).collect::<Vec<_>>()).unwrap_or(f64::NAN);
        let held = known.iter().filter(|interval| interval.contains(truth)).count() as f64 / known.len() as f64;
        let half = mean(&known.iter().map(|i| (i.high - i.low) / 2.0 / truth).collect::<Vec<_>>()).unwrap_or(f64::NAN);
        row += &format!(" | {name} {:>4.1} % (±{:.2} %)", 100.0 * held, 100.0 * half);
    }
    let share = |count: usize| 100.0 * count as f64 / n;
    let mut fired = Fired::new();
    runs.iter().flat_map(|run| &run.insights).for_each(|id| *fired.entry(*id).or_default() += 1);
    let with_any = runs.iter().filter(|run| !run.insights.is_empty()).count();
    let drift = [0, 1].map(|which| share(runs.iter().filter(|run| run.drifts[which]).count()));
    let cut = mean(&runs.iter().map(|run| run.cut_s).collect::<Vec<_>>()).unwrap_or(f64::NAN);
    println!(
        "{row} | drift rps {:.1} %, p99 {:.1} % | cut {cut:.0} s | any insight {with_any} of {}",
        drift[0],
        drift[1],
        runs.len()
    );
    fired.iter().for_each(|(id, count)| println!("    {id}: {}", at_most(*count, runs.len() as u64)));
    fired
}

/// A rate with the upper end of its one-sided 95 % interval.
fn at_most(count: u64, n: u64) -> String {
    format!("{count} of {n}, at most {:.1} %", 100.0 * failure_rate_upper_95(count, n))
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| arguments.iter().find_map(|a| a.strip_prefix(name)?.parse::<u64>().ok());
    let first: u64 = arguments.iter().find_map(|a| a.parse().ok()).unwrap_or(31_000);
    let count = number("runs=").unwrap_or(100);
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let threads = number("threads=").unwrap_or(cores);
    let only = arguments.iter().find_map(|a| a.strip_prefix("only=")).unwrap_or("");
    println!("{count} runs of {SECONDS} s at {VUS} VUs, seeds from {first}; nominal 95 %");
    let (mut all, mut systems) = (Fired::new(), 0);
    for kind in kinds().into_iter().filter(|kind| kind.name.starts_with(only)) {
        let fired = print(&kind, &runs(&kind, first, count, threads));
        fired.into_iter().for_each(|(id, n)| *all.entry(id).or_default() += n);
        systems += 1;
    }
    println!("each rule, over all {} runs:", count * systems);
    insight::ids()
        .iter()
        .for_each(|id| println!("    {id}: {}", at_most(all.get(id).copied().unwrap_or(0), count * systems)));
}
