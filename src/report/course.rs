//! The course of a run: what a report draws over time, in bounded memory however long the run was and however many
//! requests it made. Made from seconds, in order. Knows neither files nor clocks.

mod publishes;
mod slot;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::capacity::search::GeneratorState;
use crate::generator;
use crate::histogram::Latency;
use crate::outcome::ErrorKind;
use crate::plan::Plan;
use crate::window::{Part, Second};
pub use publishes::{Event, Failure, PHASES, Publish, Publishes};
use slot::Open;
pub use slot::{NodeSlot, PER_DECADE, Slot};

/// Most slots of a course; when there are more, two become one.
pub const MOST_SLOTS: usize = 480;

/// Which part of the run began when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Begins {
    /// The part.
    pub part: Part,
    /// The second since the start of the run.
    pub second: u64,
}

/// When failures of one kind were seen, whole run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// How many.
    pub count: u64,
    /// The second of the first.
    pub first_s: u64,
    /// The second of the last.
    pub last_s: u64,
}

/// Fetch latency while the publish loop did one thing, in the measured part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct During {
    /// A phase of a publish, or [`BETWEEN`].
    pub phase: String,
    /// Seconds of which it took the greatest part.
    pub seconds: u64,
    /// Completed fetches in them.
    pub completed: u64,
    /// Median latency of those, ms.
    pub p50_ms: Option<f64>,
    /// 95th percentile, ms.
    pub p95_ms: Option<f64>,
    /// 99th percentile, ms.
    pub p99_ms: Option<f64>,
}

/// The name of the time in which nothing was published.
pub const BETWEEN: &str = "no publish";

/// The course of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Course {
    /// Seconds in a full slot.
    pub width_s: u64,
    /// In order.
    pub slots: Vec<Slot>,
    /// Where parts begin.
    pub parts: Vec<Begins>,
    /// Failures of all scenarios by kind, whole run.
    pub errors: BTreeMap<ErrorKind, Seen>,
    /// What publishing does to fetching; empty where nothing was published.
    pub interference: Vec<During>,
}

impl Course {
    /// End of the last second, seconds since the start of the run.
    #[must_use]
    pub fn end_s(&self) -> u64 {
        self.slots.last().map_or(0, |slot| slot.from_s + slot.seconds)
    }
}

/// Makes a [`Course`].
#[derive(Debug, Clone)]
pub struct Builder {
    /// Indices of the series that fetch, of all series, and of the scenarios that fetch.
    fetching: Vec<usize>,
    scenarios: Vec<usize>,
    width_s: u64,
    closed: Vec<Open>,
    open: Option<Open>,
    parts: Vec<Begins>,
    errors: BTreeMap<ErrorKind, Seen>,
    phases: Vec<Phase>,
    names: BTreeMap<String, String>,
    during: BTreeMap<usize, (u64, Latency)>,
}

/// Makes a slot of each second, for what is written by the second.
#[derive(Debug)]
pub struct Slots {
    fetching: Vec<usize>,
    scenarios: Vec<usize>,
}

impl Slots {
    /// For runs of this plan.
    #[must_use]
    pub fn of(plan: &Plan) -> Slots {
        let series = plan.series();
        let fetching = (0..series.len()).filter(|&at| plan.fetches_in(at, &series[at])).collect();
        Slots { fetching, scenarios: plan.fetch_scenarios().collect() }
    }

    /// One second.
    #[must_use]
    pub fn slot(&self, second: &Second) -> Slot {
        let limited = matches!(generator::state(second), GeneratorState::Limited { .. });
        Open::of(second, &self.fetching, &self.scenarios, limited).finish()
    }
}

/// A phase of a publish on the time axis.
#[derive(Debug, Clone)]
struct Phase {
    kind: usize,
    from_ms: f64,
    to_ms: f64,
}

impl Builder {
    /// Nothing yet. The publishes are known before the first second, because they say what was done in it.
    #[must_use]
    pub fn new(plan: &Plan, publishes: &Publishes) -> Builder {
        let series = plan.series();
        let mut phases: Vec<Phase> = publishes.publishes.iter().flat_map(spans).collect();
        phases.sort_by(|a, b| a.from_ms.total_cmp(&b.from_ms));
        Builder {
            fetching: (0..series.len()).filter(|&at| plan.fetches_in(at, &series[at])).collect(),
            scenarios: plan.fetch_scenarios().collect(),
            width_s: 1,
            closed: Vec::new(),
            open: None,
            parts: Vec::new(),
            errors: BTreeMap::new(),
            phases,
            names: publishes.nodes.clone(),
            during: BTreeMap::new(),
        }
    }

    /// Takes one second.
    pub fn add(&mut self, second: &Second) {
        let at = second.second;
        if self.parts.last().is_none_or(|last| last.part != second.part) {
            self.parts.push(Begins { part: second.part, second: at });
        }
        for (kind, n) in second.window.series.iter().flat_map(|series| &series.errors) {
            let seen = self.errors.entry(*kind).or_insert(Seen { count: 0, first_s: at, last_s: at });
            *seen = Seen { count: seen.count + n, first_s: seen.first_s, last_s: at };
        }
        let limited = matches!(generator::state(second), GeneratorState::Limited { .. });
        let mut one = Open::of(second, &self.fetching, &self.scenarios, limited);
        one.name_nodes(&self.names);
        if second.part == Part::Steady && !self.phases.is_empty() {
            let (seconds, latency) = self.during.entry(self.phase_at(at)).or_default();
            *seconds += 1;
            latency.merge(&one.latency);
        }
        match &mut self.open {
            Some(open) if open.from_s / self.width_s == at / self.width_s && open.part == one.part => open.merge(one),
            _ => self.begin(one),
        }
    }

    /// What the publish loop did for the greatest part of a second.
    fn phase_at(&self, second: u64) -> usize {
        let (from, to) = (second as f64 * 1000.0, (second + 1) as f64 * 1000.0);
        let mut by_kind = [0.0_f64; PHASES.len() + 1];
        // Sorted by their beginning; none is longer than the greatest time-out of a deploy, which is hours.
        let after = self.phases.partition_point(|phase| phase.from_ms < to);
        for phase in self.phases[..after].iter().rev().take(4 * PHASES.len()) {
            by_kind[phase.kind] += (phase.to_ms.min(to) - phase.from_ms.max(from)).max(0.0);
        }
        let busy: f64 = by_kind.iter().sum();
        by_kind[PHASES.len()] = (1000.0 - busy).max(0.0);
        let most = by_kind.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        most.map_or(PHASES.len(), |(kind, _)| kind)
    }

    fn begin(&mut self, one: Open) {
        if let Some(mut open) = self.open.replace(one) {
            open.close();
            self.closed.push(open);
        }
        while self.closed.len() >= MOST_SLOTS {
            let before = self.closed.len();
            self.width_s *= 2;
            self.closed = halved(std::mem::take(&mut self.closed), self.width_s);
            // Parts keep their own slots: a handful more than half is left, never as many.
            if self.closed.len() == before {
                break;
            }
        }
    }

    /// The course of what was added.
    #[must_use]
    pub fn finish(mut self) -> Course {
        if let Some(mut open) = self.open.take() {
            open.close();
            self.closed.push(open);
        }
        let during = |(kind, (seconds, latency)): (usize, (u64, Latency))| During {
            phase: PHASES.get(kind).map_or(BETWEEN, |(_, words)| words).to_owned(),
            seconds,
            completed: latency.count(),
            p50_ms: latency.quantile_ms(0.5),
            p95_ms: latency.quantile_ms(0.95),
            p99_ms: latency.quantile_ms(0.99),
        };
        Course {
            width_s: self.width_s,
            slots: self.closed.into_iter().map(Open::finish).collect(),
            parts: self.parts,
            errors: self.errors,
            interference: self.during.into_iter().map(during).collect(),
        }
    }
}

/// Slots of twice the width.
fn halved(slots: Vec<Open>, width_s: u64) -> Vec<Open> {
    let mut out: Vec<Open> = Vec::with_capacity(slots.len() / 2 + 4);
    for slot in slots {
        match out.last_mut() {
            Some(last) if last.from_s / width_s == slot.from_s / width_s && last.part == slot.part => last.merge(slot),
            _ => {
                if let Some(last) = out.last_mut() {
                    last.close();
                }
                out.push(slot);
            }
        }
    }
    if let Some(last) = out.last_mut() {
        last.close();
    }
    out
}

/// The phases of one publish, one after the other.
fn spans(publish: &Publish) -> Vec<Phase> {
    let mut from_ms = publish.started_ms;
    let span = |&(kind, took): &(usize, f64)| {
        let phase = Phase { kind, from_ms, to_ms: from_ms + took };
        from_ms += took;
        phase
    };
    publish.phases.iter().map(span).collect()
}

#[cfg(test)]
mod tests;
