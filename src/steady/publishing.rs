//! What publishes did to the fetches: time in which one was deployed against the time beside it.

use serde::Serialize;

use crate::stats::Interval;
use crate::stats::descriptive::{mean, sd};
use crate::stats::special::t_two_sided;
use crate::summary::Point;

/// A point belongs to a deployment from this share of its time on, and to none below the other; between them it is neither.
const DEPLOYING: f64 = 0.7;
const QUIET: f64 = 0.3;
/// Fewest pairs of a deployment and the quiet time beside it.
const LEAST_PAIRS: usize = 5;

/// Whether there is an effect to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Publishing {
    /// Nothing was published.
    None,
    /// There is no time between the publishes, or too little of either to compare.
    Inseparable,
    /// Figures of both.
    Measured(PublishEffect),
}

/// Fetches while a publish was deployed against those beside it, pair by pair.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PublishEffect {
    /// Pairs of a deployment and the quiet time next to it.
    pub pairs: usize,
    /// Share of the time in which a publish was being deployed.
    pub deploying_share: f64,
    /// Change of the fetches per second in a deployment, as a share, with its 95 % interval.
    pub rate_change: Interval,
    /// Change of the mean latency, as a share, with its 95 % interval.
    pub latency_change: Interval,
}

#[derive(Debug, Clone, Copy)]
struct Episode {
    deploying: bool,
    sum: Point,
}

/// Of the points of a run.
pub(super) fn of(points: &[Point]) -> Publishing {
    let total: f64 = points.iter().map(|point| point.seconds).sum();
    let deploying: f64 = points.iter().map(|point| point.deploying_s).sum();
    if deploying <= 0.0 {
        return Publishing::None;
    }
    let pairs = pairs(&episodes(points));
    let rates: Vec<f64> = pairs.iter().map(|pair| pair.0).collect();
    let latencies: Vec<f64> = pairs.iter().map(|pair| pair.1).collect();
    let both = change(&rates).zip(change(&latencies)).filter(|_| pairs.len() >= LEAST_PAIRS);
    let Some((rate_change, latency_change)) = both else {
        return Publishing::Inseparable;
    };
    let (pairs, deploying_share) = (pairs.len(), deploying / total);
    Publishing::Measured(PublishEffect { pairs, deploying_share, rate_change, latency_change })
}

/// Runs of points of one kind; those between the kinds end a run.
fn episodes(points: &[Point]) -> Vec<Episode> {
    let mut episodes: Vec<Episode> = Vec::new();
    let mut last = None;
    for point in points {
        let share = point.deploying_s / point.seconds.max(f64::MIN_POSITIVE);
        let kind = if share >= DEPLOYING { Some(true) } else { (share <= QUIET).then_some(false) };
        match (kind, episodes.last_mut()) {
            (Some(_), Some(episode)) if kind == last => {
                episode.sum.seconds += point.seconds;
                episode.sum.fetched += point.fetched;
                episode.sum.latency_s += point.latency_s;
            }
            (Some(deploying), _) => episodes.push(Episode { deploying, sum: *point }),
            (None, _) => {}
        }
        last = kind;
    }
    episodes
}

/// Logarithms of the ratios of throughput and of mean latency, of each deployment with the quiet time before it.
fn pairs(episodes: &[Episode]) -> Vec<(f64, f64)> {
    let mean_s = |episode: &Episode| episode.sum.latency_s / episode.sum.fetched;
    let alternating = episodes.chunk_by(|a, b| !a.deploying && b.deploying);
    let pairs = alternating.filter_map(|pair| match pair {
        [quiet, busy] if quiet.sum.fetched > 0.0 && busy.sum.fetched > 0.0 => {
            Some(((busy.sum.per_s() / quiet.sum.per_s()).ln(), (mean_s(busy) / mean_s(quiet)).ln()))
        }
        _ => None,
    });
    pairs.filter(|pair| pair.0.is_finite() && pair.1.is_finite()).collect()
}

/// The mean of logarithms as a change, with its 95 % interval.
fn change(logs: &[f64]) -> Option<Interval> {
    let (center, spread, n) = (mean(logs)?, sd(logs)?, logs.len() as f64);
    let half = t_two_sided(0.95, n - 1.0) * spread / n.sqrt();
    let [low, estimate, high] = [center - half, center, center + half].map(f64::exp_m1);
    Some(Interval { estimate, low, high })
}
