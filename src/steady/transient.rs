//! Where the transient at the beginning of the measured part ends: MSER-5 on means of five seconds.

use serde::Serialize;

use crate::stats::batches::mser_cut;
use crate::stats::descriptive::sd;
use crate::summary::Point;

/// Length of a mean.
const BIN_S: f64 = 5.0;
/// Fewest of them.
const LEAST_BINS: usize = 12;
/// Fewest pieces whose spread is one.
const LEAST_PIECES: usize = 5;

/// What a longer warm-up would have cut off.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Transient {
    /// MSER-5's cut: the greater one of throughput's and of mean latency's.
    pub cut_s: f64,
    /// Whether it took less than half of the run; if not, no steady part was found.
    pub found: bool,
    /// Fetches per second before the cut; `None` where nothing is cut.
    pub per_s_before: Option<f64>,
    /// Fetches per second after it.
    pub per_s_after: f64,
    /// How far the throughput before the cut lies below that after it, in standard deviations of pieces after it that are as
    /// long; `None` where there are fewer than five. A speed that wanders looks like a transient to MSER, and not to this.
    pub below_sd: Option<f64>,
    /// The run's fetches per second against those after the cut, as a share: the bias that the transient makes.
    pub bias: f64,
}

/// Of the points of a run; `None` below a minute.
pub(super) fn of(points: &[Point]) -> Option<Transient> {
    let bins = bins(points);
    if bins.len() < LEAST_BINS {
        return None;
    }
    let rate: Vec<f64> = bins.iter().map(Point::per_s).collect();
    let latency: Vec<f64> = bins.iter().map(|b| if b.fetched > 0.0 { b.latency_s / b.fetched } else { 0.0 }).collect();
    let cut = mser_cut(&rate, 0).max(mser_cut(&latency, 0));
    let per_s = |bins: &[Point]| -> Option<f64> {
        let (fetched, seconds) = bins.iter().fold((0.0, 0.0), |(f, s), bin| (f + bin.fetched, s + bin.seconds));
        (seconds > 0.0).then_some(fetched / seconds)
    };
    let (all, after) = (per_s(&bins)?, per_s(&bins[cut..])?);
    Some(Transient {
        cut_s: bins[..cut].iter().map(|bin| bin.seconds).sum(),
        found: cut < bins.len() / 2,
        per_s_before: per_s(&bins[..cut]),
        below_sd: per_s(&bins[..cut]).and_then(|before| {
            let pieces: Vec<f64> = bins[cut..].chunks_exact(cut.max(1)).filter_map(per_s).collect();
            let spread = sd(&pieces).filter(|_| pieces.len() >= LEAST_PIECES)?;
            Some((after - before) / spread.max(1e-9 * after))
        }),
        per_s_after: after,
        bias: if after > 0.0 { all / after - 1.0 } else { 0.0 },
    })
}

fn bins(points: &[Point]) -> Vec<Point> {
    let length = points.first().map_or(1.0, |point| (BIN_S / point.seconds.max(0.1)).round().max(1.0)) as usize;
    let sum = |bin: &[Point]| {
        let total = |value: fn(&Point) -> f64| bin.iter().map(value).sum();
        Point {
            at_s: bin[0].at_s,
            seconds: total(|p| p.seconds),
            fetched: total(|p| p.fetched),
            latency_s: total(|p| p.latency_s),
            ..Point::default()
        }
    };
    points.chunks_exact(length).map(sum).collect()
}
