//! The gate: how often it cries wolf, and whether it sees a loss of a tenth.

use super::{Check, Size};
use crate::gate::{Record, Reference, Settings, Verdict, judge};
use crate::stats::random::Random;

/// Variation of requests per second from run to run; p95 varies by twice that.
const VARIATION: f64 = 0.02;
const EARLIER: usize = 3;
const RETRIES: usize = 2;

pub(super) fn checks(size: Size) -> Vec<Check> {
    let share = |loss: f64, seed: u64| {
        let mut random = Random::new(size.seed.wrapping_add(seed));
        let called = (0..size.builds).filter(|_| regressed(&mut random, loss)).count() as f64;
        100.0 * called / f64::from(size.builds)
    };
    let what =
        |loss: &str| format!("of {} builds {loss} that are called regressed, at 2 % from run to run", size.builds);
    vec![
        Check::at_most("gate-false-alarms", what("without a change"), share(0.0, 1), 2.0),
        Check::at_least("gate-catches", what("that lost 10 %"), share(0.10, 2), 90.0),
    ]
}

/// Whether a build is called regressed by its first run and again by the median of three.
fn regressed(random: &mut Random, loss: f64) -> bool {
    let runs: Vec<Record> = (0..EARLIER).map(|_| record(random, 0.0)).collect();
    let references = [(Reference::Runs { name: String::new(), epoch: Some(1), runs }, Settings::default())];
    let mut new = vec![record(random, loss)];
    if judge(&new, &references).verdict != Verdict::Regressed {
        return false;
    }
    new.extend((0..RETRIES).map(|_| record(random, loss)));
    judge(&new, &references).verdict == Verdict::Regressed
}

fn record(random: &mut Random, loss: f64) -> Record {
    let (a, b) = (random.normal(), random.normal());
    let level = 1.0 - loss;
    let p95_ms = 200.0 * (-2.0 * VARIATION * (0.8 * a + 0.6 * b)).exp() / level;
    Record::simulated(1270.0 * level * (VARIATION * a).exp(), Some(p95_ms))
}
