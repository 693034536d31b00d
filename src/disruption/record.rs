//! The seconds of a run that are kept for a look at what was done in it: a minute before the first event, all after it.

use std::collections::VecDeque;

use super::{Event, Rehearsal, Row};
use crate::plan::Plan;
use crate::window::{Part, Second};

/// Seconds that are kept before the first event.
const BEFORE: usize = 60;
/// Most seconds that are kept: more than an hour.
const MOST: usize = 4096;

/// What is being recorded.
#[derive(Debug, Clone, Default)]
pub struct Recording {
    events: Vec<Event>,
    rows: VecDeque<Row>,
}

impl Recording {
    /// Takes something that was done.
    pub fn event(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Takes a second.
    pub fn add(&mut self, plan: &Plan, second: &Second) {
        if !matches!(second.part, Part::WarmUp | Part::Steady) {
            return;
        }
        if self.events.is_empty() && self.rows.len() >= BEFORE {
            self.rows.pop_front();
        }
        if self.rows.len() < MOST {
            self.rows.push_back(row(plan, second));
        }
    }

    /// What was recorded; nothing where nothing was done.
    #[must_use]
    pub fn finish(mut self) -> Rehearsal {
        if self.events.is_empty() {
            return Rehearsal::default();
        }
        self.events.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
        Rehearsal { events: self.events, rows: self.rows.into() }
    }
}

fn row(plan: &Plan, second: &Second) -> Row {
    let mut row = Row { second: second.second, ..Row::default() };
    for (at, series) in plan.series().iter().enumerate() {
        let Some(measured) = second.window.series.get(at) else { continue };
        for (kind, n) in &measured.errors {
            *row.errors.entry(*kind).or_default() += n;
        }
        // What the publish loop asks of a node that knows nothing of its deployment is no failure of that node.
        if !plan.fetches_in(at, series) {
            continue;
        }
        row.completed += measured.requests.completed;
        for (label, node) in &measured.nodes {
            let mine = row.nodes.entry(label.clone()).or_default();
            mine.completed += node.completed;
            mine.failed += node.failed;
            mine.left += node.left;
        }
    }
    row
}
