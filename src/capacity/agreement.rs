//! A ramp and the load test that followed it, held against each other.
//!
//! A ramp looks for minutes, the load test for half an hour: what warms up late, leaks, or lives on CPU credits shows in
//! the difference.

use serde::{Deserialize, Serialize};

use super::search::{Outcome, SearchResult};
use crate::summary::{Figures, Summary};

/// Share of the plateau that saturation is below it by definition; twice that below it is no chance.
const EPS: f64 = 0.02;

/// What the ramp said and what the load test measured, at the same VUs. Requests are fetches.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agreement {
    /// VUs of both.
    pub vus: u32,
    /// Requests per second that the ramp's curve has there.
    pub said_per_s: f64,
    /// The ramp's plateau, requests per second.
    pub plateau_per_s: f64,
    /// Requests per second of the load test.
    pub measured_per_s: f64,
    /// measured / said − 1.
    pub difference: f64,
    /// Neither below 96 % of the plateau nor above 104 % of it.
    pub agree: bool,
}

impl Agreement {
    /// `None` where the ramp found no saturation, the load test had other VUs, or nothing was measured.
    #[must_use]
    pub fn of(ramp: &SearchResult, vus: f64, measured_per_s: f64) -> Option<Agreement> {
        let (at, plateau_per_s) = (ramp.at_vus?, ramp.requests_per_second?);
        let held = ramp.vus.filter(|held| (vus / f64::from(*held) - 1.0).abs() < 0.02)?;
        let usable = ramp.outcome == Outcome::Saturated && measured_per_s > 0.0 && at.requests_per_second > 0.0;
        usable.then(|| Agreement {
            vus: held,
            said_per_s: at.requests_per_second,
            plateau_per_s,
            measured_per_s,
            difference: measured_per_s / at.requests_per_second - 1.0,
            agree: (measured_per_s / plateau_per_s - 1.0).abs() <= 2.0 * EPS,
        })
    }

    /// As [`Agreement::of`], of the load test's measured part.
    #[must_use]
    pub fn with(ramp: &SearchResult, load: &Summary) -> Option<Agreement> {
        let figures = Figures::of(load);
        Agreement::of(ramp, figures.vus, figures.fetch_per_s)
    }

    /// What a person may look at where they differ; `None` where they do not.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        match (self.agree, self.measured_per_s < self.plateau_per_s) {
            (true, _) => None,
            (false, true) => Some(
                "Less than the ramp saw: look for drift, throttling (CPU credits), a leak, or a neighbour, below and on the server.",
            ),
            (false, false) => Some(
                "More than the ramp saw: the server was not warm in the ramp, or it has been given more since; run the ramp again.",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capacity::knee::Knee;
    use crate::capacity::search::{Search, SearchConfig};
    use crate::capacity::simulate::run;
    use crate::capacity::simulate::sharing::Sharing;

    #[test]
    fn a_load_that_keeps_the_plateau_agrees_and_others_do_not() {
        let knee = Knee { x_max_per_s: 200.0, r0_s: 0.05, p: 8.0, kappa_s: 0.0 };
        let mut search = Search::new(SearchConfig::quick(), 1);
        let ramp = run(&mut search, &mut Sharing::new(knee, 3), 2000);
        let vus = f64::from(ramp.vus.unwrap());
        let of = |measured| Agreement::of(&ramp, vus, measured).unwrap();
        assert!(of(196.0).agree && of(196.0).advice().is_none());
        assert!(!of(180.0).agree && of(180.0).advice().unwrap().contains("throttling"));
        assert!(!of(230.0).agree && of(230.0).advice().unwrap().contains("not warm"));
        assert!((of(98.0).difference - (98.0 / ramp.at_vus.unwrap().requests_per_second - 1.0)).abs() < 1e-12);
        assert_eq!(Agreement::of(&ramp, 2.0 * vus, 196.0), None);
        assert_eq!(Agreement::of(&ramp, vus, 0.0), None);
    }
}
