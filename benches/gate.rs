//! How often the gate cries wolf, and what it catches, by simulation: `cargo bench --bench gate`.
//!
//! Prints the tables of benches/STATISTICS.md. Runs of one build differ by a lognormal factor of the given variation;
//! p95 by twice that, the other way, and correlated. Arguments: a number sets the builds of a cell, `only=WORD`
//! prints the tables with that word in their names: `alone`, `whole`, `beside`, `smallest`, `change points`.
#![expect(clippy::print_stdout, reason = "a bench prints its table")]

use connect_bench::gate::{Record, Reference, Settings, Verdict, judge};
use connect_bench::stats::changepoint::{Search, changes};
use connect_bench::stats::descriptive::{mean, variance};
use connect_bench::stats::random::Random;
use connect_bench::stats::special::t_two_sided;

const HISTORIES: [usize; 5] = [1, 3, 5, 10, 20];
const FEWER: [usize; 2] = [3, 10];
const LOSSES: [f64; 6] = [0.0, 0.03, 0.05, 0.10, 0.15, 0.20];
const VARIATIONS: [f64; 3] = [0.01, 0.02, 0.04];
const RETRIES: usize = 2;

/// How runs come out.
#[derive(Clone, Copy)]
struct World {
    /// Variation from run to run of requests per second.
    cv: f64,
    /// Correlation between a run's requests per second and its p95; `None`: p95 is not measured.
    p95: Option<f64>,
    /// Share of runs that a neighbour slows down, by 8 to 16 %.
    neighbours: f64,
}

impl World {
    fn run(&self, random: &mut Random, loss: f64) -> Record {
        let (a, b) = (random.normal(), random.normal());
        let slow = if random.uniform() < self.neighbours { random.between(0.08, 0.16) } else { 0.0 };
        let level = (1.0 - loss) * (1.0 - slow);
        let p95 = |rho: f64| 200.0 * (-2.0 * self.cv * (rho * a + (1.0 - rho * rho).sqrt() * b)).exp() / level;
        // Where p95 is left out it is the same in every run, and objects to nothing.
        Record::simulated(1270.0 * level * (self.cv * a).exp(), Some(self.p95.map_or(200.0, p95)))
    }

    /// Whether a build is called regressed, with repeats.
    fn fails(&self, random: &mut Random, history: usize, loss: f64) -> bool {
        let runs: Vec<Record> = (0..history).map(|_| self.run(random, 0.0)).collect();
        let reference = Reference::Runs { name: String::new(), epoch: Some(1), runs };
        let references = [(reference, Settings::default())];
        let mut new = vec![self.run(random, loss)];
        if judge(&new, &references).verdict != Verdict::Regressed {
            return false;
        }
        new.extend((0..RETRIES).map(|_| self.run(random, loss)));
        judge(&new, &references).verdict == Verdict::Regressed
    }
}

/// Share in percent of builds for which `fails` holds.
fn share(builds: u32, mut fails: impl FnMut(&mut Random) -> bool) -> f64 {
    let mut random = Random::new(2026);
    100.0 * f64::from((0..builds).filter(|_| fails(&mut random)).count() as u32) / f64::from(builds)
}

fn table(name: &str, builds: u32, histories: &[usize], mut cell: impl FnMut(&mut Random, usize, f64, f64) -> bool) {
    println!("\n{name}\n\n| earlier runs | 1 % | 2 % | 4 % |\n|---:|---|---|---|");
    for &history in histories {
        let mut row = format!("| {history} |");
        for cv in VARIATIONS {
            let cells = LOSSES.map(|loss| format!("{:.1}", share(builds, |random| cell(random, history, cv, loss))));
            row.push_str(&format!(" {} |", cells.join(" / ")));
        }
        println!("{row}");
    }
}

/// Welch's t on the ten batch means of two runs, 0.2 % of standard error within a run.
fn welch(random: &mut Random, cv: f64, loss: f64) -> bool {
    let mut batches = |loss: f64| -> Vec<f64> {
        let level = (1.0 - loss) * (cv * random.normal()).exp();
        (0..10).map(|_| level * (1.0 + 0.002 * 10_f64.sqrt() * random.normal())).collect()
    };
    let (old, new) = (batches(0.0), batches(loss));
    let error = |values: &[f64]| variance(values).unwrap_or(0.0) / values.len() as f64;
    let (a, b) = (error(&old), error(&new));
    let df = (a + b).powi(2) / ((a * a + b * b) / 9.0);
    let difference = mean(&new).unwrap_or(0.0) - mean(&old).unwrap_or(0.0);
    difference < -t_two_sided(0.95, df) * (a + b).sqrt()
}

/// Five percent below the run before.
fn fixed(random: &mut Random, cv: f64, loss: f64) -> bool {
    let old = (cv * random.normal()).exp();
    (1.0 - loss) * (cv * random.normal()).exp() < 0.95 * old
}

/// How often a loss of the size that the gate says it would have seen is seen at first sight.
fn detectable(builds: u32) {
    println!(
        "\nCaught at the stated smallest change, first run, % of builds\n\n| earlier runs | 1 % | 2 % | 4 % |\n|---:|---:|---:|---:|"
    );
    for history in FEWER {
        let cells = VARIATIONS.map(|cv| {
            let world = World { cv, p95: None, neighbours: 0.0 };
            let caught = share(builds, |random| {
                let runs: Vec<Record> = (0..history).map(|_| world.run(random, 0.0)).collect();
                let references = [(Reference::Runs { name: String::new(), epoch: Some(1), runs }, Settings::default())];
                let first = judge(&[world.run(random, 0.0)], &references);
                let loss = first.against[0].checks[0].detectable.unwrap_or(0.0);
                judge(&[world.run(random, loss)], &references).verdict == Verdict::Regressed
            });
            format!("{caught:.0}")
        });
        println!("| {history} | {} |", cells.join(" | "));
    }
}

fn change_points() {
    println!(
        "\nChange points in series of 60 runs: false ones per 100 series; a loss of 10 % after 30 runs found within 2, %\n"
    );
    println!("| variation | false | found |\n|---:|---:|---:|");
    for cv in VARIATIONS {
        let mut random = Random::new(7);
        let mut series =
            |n: usize, level: f64| -> Vec<f64> { (0..n).map(|_| level * (cv * random.normal()).exp()).collect() };
        let of = |values: &[f64]| changes(values, &Search::default());
        let alarms: usize = (0..1000).map(|_| of(&series(60, 1.0)).len()).sum();
        let found = (0..1000).filter(|_| {
            let values = [series(30, 1.0), series(30, 0.9)].concat();
            of(&values).iter().any(|change| change.at.abs_diff(30) <= 2)
        });
        println!("| {:.0} % | {:.1} | {:.1} |", 100.0 * cv, alarms as f64 / 10.0, found.count() as f64 / 10.0);
    }
}

fn main() {
    let builds: u32 = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(2000);
    println!("{builds} builds a cell; called regressed in % at a true loss of 0 / 3 / 5 / 10 / 15 / 20 %");
    let gate = |p95: Option<f64>, neighbours: f64| {
        move |random: &mut Random, history: usize, cv: f64, loss: f64| {
            World { cv, p95, neighbours }.fails(random, history, loss)
        }
    };
    let only = std::env::args().skip(1).find_map(|argument| argument.strip_prefix("only=").map(str::to_owned));
    let wanted = |name: &str| only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    for (name, histories, p95, neighbours) in [
        ("requests per second alone", &HISTORIES[..], None, 0.0),
        ("the whole gate, p95 correlated by 0.8", &HISTORIES, Some(0.8), 0.0),
        ("the whole gate, p95 independent", &FEWER, Some(0.0), 0.0),
        ("the whole gate, a tenth of all runs 8 to 16 % slower", &FEWER, Some(0.8), 0.1),
    ] {
        if wanted(name) {
            table(name, builds, histories, gate(p95, neighbours));
        }
    }
    if wanted("beside") {
        table("beside it: Welch's t on the batch means of two runs", builds, &[1], |r, _, cv, loss| welch(r, cv, loss));
        table("beside it: 5 % below the run before", builds, &[1], |r, _, cv, loss| fixed(r, cv, loss));
    }
    if wanted("smallest") {
        detectable(builds);
    }
    if wanted("change points") {
        change_points();
    }
}
