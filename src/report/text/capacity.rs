//! What to buy, as text.

use std::path::Path;

use super::super::number::percent;
use super::super::sizing::{self, COST_NOTE, REFERENCES_NOTE, each};
use super::{table, what, wrap};
use crate::capacity::sizing::answer::Answer;
use crate::capacity::sizing::demand::Headroom;
use crate::plan;

/// The answer, the evidence for it and what it does not say.
#[must_use]
pub fn capacity(answer: &Answer, target: &plan::Target, run_dir: &Path) -> String {
    let mut out = format!("{}\n", what(target));
    out.push_str(&wrap(&sizing::sentence(answer), "", 2));
    let users = sizing::users(answer);
    if let Some(head) = users.first() {
        out.push_str(&format!("\nUsers at once ({})\n{}", each(answer), table(&users, 2, &[head.len() - 1])));
    }
    out.push_str(&format!("\n{}\n{}", sizing::forecasts_of(answer), table(&sizing::forecasts(answer), 2, &[])));
    if let Some(v) = &answer.validation {
        out.push_str(&format!("\n{}", wrap(&sizing::validation(v), "", 2)));
    }
    if let Some(headroom) = &answer.headroom {
        out.push_str(&demand(headroom));
    }
    if !answer.tiers.is_empty() {
        out.push_str(&format!("\nWhat the nodes share, at the plateau\n{}", table(&sizing::tiers(answer), 2, &[0])));
    }
    let cost = sizing::cost(answer);
    if !cost.is_empty() {
        out.push_str(&format!("\nCost\n{}  {COST_NOTE}\n", table(&cost, 2, &[0, 1, 7, 8])));
    }
    if !answer.documented.is_empty() {
        let rows = table(&sizing::references(answer), 2, &[0]);
        out.push_str(&format!("\n{rows}{}", wrap(REFERENCES_NOTE, "  ", 2)));
    }
    let held = sizing::held_against(answer);
    if !held.is_empty() {
        out.push_str("\nHeld against\n");
    }
    held.iter().for_each(|line| out.push_str(&wrap(line, "  ", 2)));
    out.push_str("\nNotes\n");
    for note in &answer.notes {
        out.push_str(&wrap(note, "  ", 2));
    }
    out.push_str(&wrap(&sizing::planning(answer), "  ", 2));
    out.push_str("\nNot tested\n");
    for line in &answer.not_tested {
        out.push_str(&wrap(line, "  - ", 4));
    }
    out.push_str(&format!("\nfrom run directory: {}\n", run_dir.display()));
    out
}

fn demand(headroom: &Headroom) -> String {
    let mut out = format!("\n{}\n", sizing::demand(headroom));
    out.push_str(&wrap(&sizing::headroom(headroom), "  ", 2));
    if let Some(got) = sizing::would_get(headroom) {
        out.push_str(&wrap(&got, "  ", 2));
    }
    out.push_str(&table(&sizing::needed(headroom), 2, &[]));
    out.push_str(&wrap(&format!("Nodes at most {} busy.", percent(headroom.demand.utilisation)), "  ", 2));
    out
}
