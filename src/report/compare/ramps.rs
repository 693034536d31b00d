//! Ramps side by side: where each saturates, and at how much.

use serde::Serialize;

use super::{Finding, Given, SCHEMA, head, letter, row, sheet};
use crate::capacity::search::{Outcome, SearchResult};
use crate::report::json::{SaturationDocument, TargetDocument, outcome};
use crate::report::number::{MISSING, change, duration, maybe, significant};

/// `compare --json` of ramps.
#[derive(Debug, Serialize)]
pub struct RampsDocument {
    /// [`SCHEMA`].
    pub schema: u32,
    /// `compare_ramps`.
    pub kind: &'static str,
    /// Version of connect-bench.
    pub version: &'static str,
    /// The ramps; the first is what the others are compared with.
    pub runs: Vec<ComparedRamp>,
    /// How to read the changes.
    pub note: &'static str,
}

/// One ramp.
#[derive(Debug, Serialize)]
pub struct ComparedRamp {
    /// Its directory.
    pub run_dir: String,
    /// When it began.
    pub started: jiff::Timestamp,
    /// What was measured.
    pub target: TargetDocument,
    /// How it ended: `saturated`, or why there is nothing to compare, as in the document of a ramp.
    pub outcome: &'static str,
    /// Where the server saturates.
    pub saturation: SaturationDocument,
    /// Mean latency at the saturating VUs, ms.
    pub mean_ms_at_vus: Option<f64>,
    /// Latency without queueing by the fitted curve, ms.
    pub unqueued_ms: Option<f64>,
    /// How long the search took, seconds.
    pub elapsed_s: f64,
    /// What follows for it against the first, in a sentence; `None` of the first.
    pub headline: Option<String>,
    /// The same in a word; `None` of the first.
    pub finding: Option<Finding>,
    /// Against the first ramp; empty of the first, and where one of the two did not see saturation.
    pub changes: Vec<RampChange>,
    /// In what else it differs from the first.
    pub differs: Vec<String>,
}

/// One figure against the first ramp.
#[derive(Debug, Clone, Serialize)]
pub struct RampChange {
    /// `plateau_per_s` or `saturation_vus`.
    pub metric: &'static str,
    /// This ramp / the first − 1.
    pub change: f64,
    /// 95 % interval, from the intervals of both and what is assumed to vary from run to run.
    pub interval_95: [f64; 2],
}

impl RampChange {
    /// What people call it.
    pub(in crate::report) fn name(&self) -> &'static str {
        if self.metric == PLATEAU { "plateau" } else { "saturating VUs" }
    }

    /// Whether its interval leaves zero out.
    pub(in crate::report) fn is_seen(&self) -> bool {
        self.interval_95[0] > 0.0 || self.interval_95[1] < 0.0
    }

    /// `−8 % [−12 %, −4 %]`.
    pub(in crate::report) fn within(&self) -> String {
        let [low, high] = self.interval_95.map(change);
        format!("{} [{low}, {high}]", change(self.change))
    }
}

const PLATEAU: &str = "plateau_per_s";
const VUS: &str = "saturation_vus";
/// What the plateau of one build is assumed to vary by from run to run, as a share: as [`crate::gate`] does.
const RUN_CV: f64 = 0.02;
/// From the half-width of a 90 % interval to the standard deviation.
const OF_90: f64 = 1.645;
/// And from that to the half-width of a 95 % interval.
const TO_95: f64 = 1.96;

const NOTE: &str = "Intervals of changes come from the 90 % intervals of both ramps, and for the plateau from 2 % that runs of \
                    one build are assumed to differ by. More throughput is better; more saturating VUs are neither: a \
                    server that answers more slowly has more of them at the same throughput.";

/// The document of two ramps or more. Runs without a search are left out.
#[must_use]
pub fn document(runs: &[Given<'_>]) -> RampsDocument {
    let ramps: Vec<_> = runs.iter().filter_map(|run| Some((run, &run.summary.search.as_ref()?.result))).collect();
    let compared = |(at, (run, result)): (usize, &(&Given<'_>, &SearchResult))| {
        let (first, before) = ramps[0];
        let changes = if at == 0 { Vec::new() } else { changes(before, result) };
        let found = (at > 0).then(|| found((before, result), letter(at), &changes)).unzip();
        let differences = run.record.fingerprint.differences(&first.record.fingerprint, &[], &[]);
        ComparedRamp {
            run_dir: run.run_dir.to_owned(),
            started: run.record.started,
            target: TargetDocument::of(&run.summary.plan.target),
            outcome: outcome(result).0,
            saturation: SaturationDocument::of(result),
            mean_ms_at_vus: result.at_vus.map(|at| at.mean_ms),
            unqueued_ms: result.knee.map(|knee| 1000.0 * knee.r0_s),
            elapsed_s: result.elapsed_s,
            finding: found.0,
            headline: found.1,
            changes,
            differs: differences.refused.into_iter().chain(differences.said).collect(),
        }
    };
    let runs = ramps.iter().enumerate().map(compared).collect();
    RampsDocument { schema: SCHEMA, kind: "compare_ramps", version: env!("CARGO_PKG_VERSION"), runs, note: NOTE }
}

fn changes(first: &SearchResult, ramp: &SearchResult) -> Vec<RampChange> {
    if [first, ramp].iter().any(|result| result.outcome != Outcome::Saturated) {
        return Vec::new();
    }
    let vus = |result: &SearchResult| {
        let (low, high) = result.vus_ci?;
        Some((result.saturation_vus?, (f64::from(low), f64::from(high))))
    };
    let plateau = |result: &SearchResult| Some((result.requests_per_second?, result.requests_per_second_ci?));
    let plateau = plateau(first).zip(plateau(ramp)).and_then(|(a, b)| ratio(PLATEAU, a, b, RUN_CV));
    let vus = vus(first).zip(vus(ramp)).and_then(|(a, b)| ratio(VUS, a, b, 0.0));
    plateau.into_iter().chain(vus).collect()
}

/// A value with its 90 % interval.
type Estimate = (f64, (f64, f64));

/// The ratio of two independent estimates, lognormal: variances of logarithms add.
fn ratio(metric: &'static str, first: Estimate, second: Estimate, run_cv: f64) -> Option<RampChange> {
    let sd = |(_, (low, high)): Estimate| (low > 0.0).then(|| (high / low).ln() / 2.0 / OF_90);
    let (a, b) = (sd(first)?, sd(second)?);
    let half = TO_95 * (a * a + b * b + 2.0 * run_cv * run_cv).sqrt();
    let middle = (second.0 / first.0).ln();
    let of = |log: f64| log.exp() - 1.0;
    middle.is_finite().then(|| RampChange {
        metric,
        change: of(middle),
        interval_95: [of(middle - half), of(middle + half)],
    })
}

fn found((first, ramp): (&SearchResult, &SearchResult), letter: char, changes: &[RampChange]) -> (Finding, String) {
    for (name, result) in [('A', first), (letter, ramp)] {
        if result.outcome != Outcome::Saturated {
            let sentence = format!("{name} did not see its server saturate: nothing follows from the two.");
            return (Finding::NotValid, sentence);
        }
    }
    let said = |metric| changes.iter().find(|change| change.metric == metric);
    let vus = said(VUS).map_or_else(String::new, |change| format!("; saturating VUs {}", change.within()));
    match said(PLATEAU) {
        Some(plateau) if plateau.is_seen() => {
            let (finding, word) =
                if plateau.change > 0.0 { (Finding::Better, "carries more") } else { (Finding::Worse, "carries less") };
            (finding, format!("{letter} {word} than A: plateau {}{vus}.", plateau.within()))
        }
        Some(plateau) => {
            let sentence =
                format!("No change of the plateau from A to {letter} beyond chance: {}{vus}.", plateau.within());
            (Finding::NoChangeSeen, sentence)
        }
        None => (Finding::NotValid, format!("{letter} has no interval of its plateau: nothing follows.")),
    }
}

/// The comparison as people read it.
#[must_use]
pub fn text(document: &RampsDocument, runs: &[Given<'_>]) -> String {
    let headlines = document.runs.iter().filter_map(|run| run.headline.as_deref());
    let differences = document.runs.iter().zip('A'..).skip(1);
    let differences =
        differences.flat_map(|(run, letter)| run.differs.iter().map(move |why| (format!("{letter} differs: "), why)));
    // Of stages in which the generator was the limit nothing is used.
    sheet(headlines, (runs, &|_| &[]), &rows(document), differences, document.note)
}

/// A row for each figure; from the second ramp on with its change.
pub(in crate::report) fn rows(document: &RampsDocument) -> Vec<Vec<String>> {
    let row = |name: &str, metric: Option<&str>, value: &dyn Fn(&ComparedRamp) -> String| {
        let found = |run: &ComparedRamp| {
            run.changes.iter().find(|change| Some(change.metric) == metric).map(RampChange::within)
        };
        row(&document.runs, name, value, &found)
    };
    let between = |interval: Option<[String; 2]>| {
        interval.map_or_else(|| MISSING.to_owned(), |[low, high]| format!("{low} to {high}"))
    };
    vec![
        head(document.runs.len()),
        row("plateau, requests per second", Some(PLATEAU), &|r| maybe(r.saturation.requests_per_second)),
        row("  90 % interval", None, &|r| between(r.saturation.requests_per_second_ci.map(|ci| ci.map(significant)))),
        row("saturating VUs", Some(VUS), &|r| {
            r.saturation.vus.map_or_else(|| MISSING.to_owned(), |vus| vus.to_string())
        }),
        row("  90 % interval", None, &|r| between(r.saturation.vus_ci.map(|ci| ci.map(|vus| vus.to_string())))),
        row("mean latency there, ms", None, &|r| maybe(r.mean_ms_at_vus)),
        row("latency without queueing, ms", None, &|r| maybe(r.unqueued_ms)),
        row("found in", None, &|r| duration(r.elapsed_s)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_a_ratio_is_that_of_its_logarithms() {
        let found = ratio(PLATEAU, (100.0, (95.0, 105.0)), (90.0, (85.5, 94.5)), 0.02).unwrap();
        assert!((found.change + 0.1).abs() < 1e-9);
        // Each 0.0304 in ln, and √2·0.02 from run to run: 1.96·0.0515 = 0.101.
        assert!((found.interval_95[0] - (0.9 * (-0.101_f64).exp() - 1.0)).abs() < 1e-3, "{found:?}");
        assert!((found.interval_95[1] - (0.9 * 0.101_f64.exp() - 1.0)).abs() < 1e-3, "{found:?}");
        assert!(found.is_seen());
        assert!(!ratio(PLATEAU, (100.0, (95.0, 105.0)), (92.0, (87.4, 96.6)), 0.02).unwrap().is_seen());
        assert!(ratio(VUS, (100.0, (0.0, 102.0)), (80.0, (78.0, 82.0)), 0.0).is_none());
    }
}
