//! What people did to a run while it was on: without it nobody would understand its figures.

use std::fmt::Write as _;

use super::super::number::duration;
use crate::summary::{ControlEvent, Controlled, Origin, Summary};

/// Most lines about it.
const LINES: usize = 12;

/// What was done, and what that means for the figures.
pub(super) fn control(summary: &Summary) -> String {
    let events = &summary.control;
    if events.is_empty() {
        return String::new();
    }
    let mut out = "\nControlled while it ran\n".to_owned();
    for event in events.iter().take(LINES) {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "  {}", line(event));
    }
    if events.len() > LINES {
        let _ = writeln!(out, "  and {} times more", events.len() - LINES);
    }
    if summary.paused_ns > 0 {
        let paused = duration(summary.paused_ns as f64 / 1e9);
        let _ = writeln!(out, "  The seconds with a pause in them, {paused} in all, are in no figure.");
    }
    if events.iter().any(|event| event.what == Controlled::Vus) {
        out.push_str("  The figures are over all numbers of VUs that there were.\n");
    }
    out
}

fn line(event: &ControlEvent) -> String {
    let at = duration(event.at_s);
    let from = match event.from {
        Origin::Terminal => "in the terminal",
        Origin::Rest => "through REST",
        Origin::Rail => "because the server answered 429",
    };
    let what = match event.what {
        Controlled::Pause => "paused".to_owned(),
        Controlled::Resume => "resumed".to_owned(),
        Controlled::Stop => "stopped".to_owned(),
        Controlled::Vus => {
            let number = |vus: Option<u32>| vus.map_or_else(String::new, |vus| vus.to_string());
            let (before, now) = (number(event.vus_before), number(event.vus));
            format!("{}: {before} → {now} VUs", event.scenario.as_deref().unwrap_or_default())
        }
    };
    format!("at {at} {what}, {from}")
}
