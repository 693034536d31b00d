//! Times in which next to nothing was completed.

use serde::Serialize;

use crate::stats::descriptive::median;
use crate::summary::Point;

/// Completed fetches of a usual point below which a pause cannot be told from chance: half of e^-30 is nothing, e^-3 is.
const LEAST: f64 = 30.0;
/// A point with less than this share of the usual one stands still.
const STILL: f64 = 0.2;
/// Most stalls that are listed; all are counted.
const LISTED: usize = 20;

/// What kind of a stall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StallKind {
    /// Nothing came back.
    Stall,
    /// Failures came back: more of them than answers.
    Outage,
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Stall {
    /// Seconds since the run began.
    pub at_s: f64,
    /// How long.
    pub seconds: f64,
    /// What kind.
    pub kind: StallKind,
}

/// All of them.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Stalls {
    /// Whether they could be seen: there were enough requests for a pause to be no chance.
    pub seen: bool,
    /// How many.
    pub count: usize,
    /// Their time together.
    pub seconds: f64,
    /// The longest.
    pub longest_s: f64,
    /// Their share of the measured part.
    pub share: f64,
    /// The time within which they are told apart: the length of what was looked at.
    pub resolution_s: f64,
    /// The first of them, in order.
    pub list: Vec<Stall>,
}

/// Of the points of a run.
pub(super) fn of(points: &[Point]) -> Stalls {
    let total: f64 = points.iter().map(|point| point.seconds).sum();
    let counts: Vec<f64> = points.iter().map(Point::per_s).collect();
    let Some((usual, first)) = median(&counts).zip(points.first()).filter(|_| total > 0.0) else {
        return Stalls::default();
    };
    // A slow server is looked at in longer pieces.
    let pieces = (LEAST / (usual * first.seconds).max(f64::MIN_POSITIVE)).ceil().max(1.0);
    if usual <= 0.0 || pieces > points.len() as f64 / 10.0 {
        return Stalls::default();
    }
    let length = pieces as usize;
    let mut stalls: Vec<Stall> = Vec::new();
    for piece in points.chunks(length).filter(|piece| piece.len() == length) {
        let sum = |value: fn(&Point) -> f64| piece.iter().map(value).sum::<f64>();
        let (seconds, fetched, failed) = (sum(|p| p.seconds), sum(|p| p.fetched), sum(|p| p.failed));
        if fetched >= STILL * usual * seconds {
            continue;
        }
        let kind = if failed > fetched { StallKind::Outage } else { StallKind::Stall };
        match stalls.last_mut() {
            Some(last) if last.at_s + last.seconds >= piece[0].at_s - 0.01 => {
                last.seconds += seconds;
                last.kind = if kind == StallKind::Outage { kind } else { last.kind };
            }
            _ => stalls.push(Stall { at_s: piece[0].at_s, seconds, kind }),
        }
    }
    let seconds: f64 = stalls.iter().map(|stall| stall.seconds).sum();
    Stalls {
        seen: true,
        count: stalls.len(),
        seconds,
        longest_s: stalls.iter().map(|stall| stall.seconds).fold(0.0, f64::max),
        share: seconds / total,
        resolution_s: length as f64 * first.seconds,
        list: stalls.into_iter().take(LISTED).collect(),
    }
}
