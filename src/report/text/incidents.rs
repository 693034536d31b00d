//! What went wrong during a run, as lines.

use std::fmt::Write as _;

use super::wrap;
use crate::summary::Summary;

/// Lines that are shown; the JSON document has all.
const SHOWN: usize = 12;

pub(super) fn incidents(summary: &Summary) -> String {
    let all = &summary.incidents;
    let mut out = String::new();
    if all.is_empty() {
        return out;
    }
    out.push_str("\nIncidents\n");
    for incident in all.iter().take(SHOWN) {
        out.push_str(&wrap(&incident.describe(), "  ", 4));
    }
    if let Some(more) = all.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "  and {more} more, in the JSON document");
    }
    out
}
