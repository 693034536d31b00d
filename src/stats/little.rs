//! Little's-law audit of a closed run: what share of the VUs' time lay outside requests.
//!
//! N·T = Σ latencies + idle, so Z = N/X − R is the mean time per iteration that no request accounts for: the
//! generator's overhead, connection set-up outside the timed part, pacing. A large share means that the generator,
//! not the server, limited the load; a negative one that latencies and counts do not belong together.

use serde::{Deserialize, Serialize};

/// What the audit says of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LittleVerdict {
    /// −0.5 % ≤ u ≤ 2 %: the counts close.
    Ok,
    /// 2 % < u ≤ 5 %: the generator limits the load a little.
    Warn,
    /// u > 5 % or u < −0.5 %: a saturated generator, lost samples, dead VUs or a wrong clock.
    Invalid,
}

/// The audit's figures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LittleAudit {
    /// Z = N/X − R − pacing, seconds per iteration spent outside requests.
    pub outside_s: f64,
    /// u = Z/(R + Z + pacing), the share of a VU's time.
    pub share: f64,
    /// The rule applied to `share`.
    pub verdict: LittleVerdict,
}

/// Audits `vus` busy VUs (without the one that publishes), `per_s` completed requests per second of mean latency
/// `mean_s`, and `pacing_s` of intended pause per iteration. `None` where nothing completed or no VU ran.
#[must_use]
pub fn audit(vus: f64, per_s: f64, mean_s: f64, pacing_s: f64) -> Option<LittleAudit> {
    if !(vus > 0.0 && per_s > 0.0 && mean_s.is_finite()) {
        return None;
    }
    let iteration_s = vus / per_s;
    let outside_s = iteration_s - mean_s - pacing_s;
    let share = outside_s / iteration_s;
    let verdict = match share {
        u if !(-0.005..=0.05).contains(&u) => LittleVerdict::Invalid,
        u if u > 0.02 => LittleVerdict::Warn,
        _ => LittleVerdict::Ok,
    };
    Some(LittleAudit { outside_s, share, verdict })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Posit's own two rows leave 21.9 ms and 13.3 ms per iteration unexplained.
    #[test]
    fn the_documented_triples_do_not_close() {
        let one = audit(250.0, 1270.0, 0.175, 0.0).unwrap();
        assert!((one.outside_s - 0.021_85).abs() < 1e-5 && (one.share - 0.111).abs() < 1e-3);
        assert_eq!(one.verdict, LittleVerdict::Invalid);
        let two = audit(400.0, 2716.0, 0.134, 0.0).unwrap();
        assert!((two.outside_s - 0.013_28).abs() < 1e-5 && (two.share - 0.090).abs() < 1e-3);
    }

    #[test]
    fn the_rule() {
        let verdict = |mean_s| audit(100.0, 1000.0, mean_s, 0.0).unwrap().verdict;
        assert_eq!(verdict(0.1), LittleVerdict::Ok);
        assert_eq!(verdict(0.0985), LittleVerdict::Ok);
        assert_eq!(verdict(0.0975), LittleVerdict::Warn);
        assert_eq!(verdict(0.094), LittleVerdict::Invalid);
        assert_eq!(verdict(0.101), LittleVerdict::Invalid);
        assert_eq!(audit(100.0, 1000.0, 0.04, 0.06).unwrap().verdict, LittleVerdict::Ok);
        assert_eq!((audit(0.0, 1.0, 1.0, 0.0), audit(1.0, 0.0, 1.0, 0.0)), (None, None));
    }
}
