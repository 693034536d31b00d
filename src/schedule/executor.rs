//! The executors: k6's six, as schedules, and the two that a search drives.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Arrivals, Part, Spacing, Stage, VuCurve, length};
use crate::units::seconds;

/// When VUs run (k6's word).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "executor", rename_all = "kebab-case")]
pub enum Executor {
    /// So many VUs for so long, iteration after iteration.
    ConstantVus {
        /// VUs.
        vus: u32,
        /// Since the start of the run, when the first one starts.
        #[serde(with = "seconds")]
        start_time: Duration,
        /// From then on, how long new iterations begin.
        #[serde(with = "seconds")]
        duration: Duration,
        /// Time over which the VUs are started, evenly.
        #[serde(with = "seconds")]
        start_over: Duration,
    },
    /// VUs that come and go along straight lines.
    RampingVus {
        /// Since the start of the run, when the first stage begins.
        #[serde(with = "seconds")]
        start_time: Duration,
        /// VUs at the beginning of the first stage.
        start_vus: u32,
        /// The lines.
        stages: Vec<Stage>,
        /// How long a VU that is to go may finish its iteration.
        #[serde(with = "seconds")]
        graceful_ramp_down: Duration,
    },
    /// So many iterations, first come, first served.
    SharedIterations {
        /// Since the start of the run, when the VUs start.
        #[serde(with = "seconds")]
        start_time: Duration,
        /// VUs.
        vus: u32,
        /// Iterations of all VUs together.
        iterations: u64,
        /// What has not begun by then is dropped.
        #[serde(with = "seconds")]
        max_duration: Duration,
    },
    /// So many iterations of each VU.
    PerVuIterations {
        /// Since the start of the run, when the VUs start.
        #[serde(with = "seconds")]
        start_time: Duration,
        /// VUs.
        vus: u32,
        /// Iterations of each.
        iterations: u64,
        /// What has not begun by then is dropped.
        #[serde(with = "seconds")]
        max_duration: Duration,
    },
    /// So many iterations begin per time, whatever becomes of them.
    ConstantArrivalRate {
        /// Since the start of the run, when the first arrival is due.
        #[serde(with = "seconds")]
        start_time: Duration,
        /// Arrivals per time unit.
        rate: u32,
        /// The time unit.
        #[serde(with = "seconds")]
        time_unit: Duration,
        /// For how long.
        #[serde(with = "seconds")]
        duration: Duration,
        /// VUs that are there at the beginning.
        pre_allocated_vus: u32,
        /// VUs that there may be.
        max_vus: u32,
        /// Evenly or at random.
        spacing: Spacing,
    },
    /// Iterations begin at a rate that follows straight lines.
    RampingArrivalRate {
        /// Since the start of the run, when the first stage begins.
        #[serde(with = "seconds")]
        start_time: Duration,
        /// Arrivals per time unit at the beginning of the first stage.
        start_rate: u32,
        /// The time unit.
        #[serde(with = "seconds")]
        time_unit: Duration,
        /// The lines.
        stages: Vec<Stage>,
        /// VUs that are there at the beginning.
        pre_allocated_vus: u32,
        /// VUs that there may be.
        max_vus: u32,
        /// Evenly or at random.
        spacing: Spacing,
    },
    /// As many iterations begin per second as a search of the open model asks for, at random times.
    SearchedRate {
        /// Arrivals per second at the start.
        start_rate: u32,
        /// Never more than these.
        max_rate: u32,
        /// VUs that are there at the beginning.
        pre_allocated_vus: u32,
        /// VUs that there may be.
        max_vus: u32,
    },
    /// As many VUs as the saturation search asks for.
    Searched {
        /// VUs at the start.
        start_vus: u32,
        /// Never more than these.
        max_vus: u32,
    },
}

impl Executor {
    /// So many VUs from the start on, all at once.
    #[must_use]
    pub fn constant_vus(vus: u32, duration: Duration) -> Executor {
        Executor::ConstantVus { vus, start_time: Duration::ZERO, duration, start_over: Duration::ZERO }
    }

    /// Its name, k6's where k6 has it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Executor::ConstantVus { .. } => "constant-vus",
            Executor::RampingVus { .. } => "ramping-vus",
            Executor::SharedIterations { .. } => "shared-iterations",
            Executor::PerVuIterations { .. } => "per-vu-iterations",
            Executor::ConstantArrivalRate { .. } => "constant-arrival-rate",
            Executor::RampingArrivalRate { .. } => "ramping-arrival-rate",
            Executor::SearchedRate { .. } => "searched-rate",
            Executor::Searched { .. } => "searched",
        }
    }

    /// VUs at the start of the scenario.
    #[must_use]
    pub fn start_vus(&self) -> u32 {
        match self {
            Executor::ConstantVus { vus, .. }
            | Executor::SharedIterations { vus, .. }
            | Executor::PerVuIterations { vus, .. } => *vus,
            Executor::RampingVus { start_vus, .. } | Executor::Searched { start_vus, .. } => *start_vus,
            Executor::ConstantArrivalRate { pre_allocated_vus, .. }
            | Executor::RampingArrivalRate { pre_allocated_vus, .. }
            | Executor::SearchedRate { pre_allocated_vus, .. } => *pre_allocated_vus,
        }
    }

    /// The most VUs that it may have.
    #[must_use]
    pub fn max_vus(&self) -> u32 {
        match self {
            Executor::RampingVus { .. } => self.vu_curve().map_or(0, |curve| curve.max()),
            Executor::Searched { max_vus, .. }
            | Executor::SearchedRate { max_vus, .. }
            | Executor::ConstantArrivalRate { max_vus, .. }
            | Executor::RampingArrivalRate { max_vus, .. } => *max_vus,
            _ => self.start_vus(),
        }
    }

    /// When it begins, since the start of the run.
    #[must_use]
    pub fn start_time(&self) -> Duration {
        match self {
            Executor::Searched { .. } | Executor::SearchedRate { .. } => Duration::ZERO,
            Executor::ConstantVus { start_time, .. }
            | Executor::RampingVus { start_time, .. }
            | Executor::SharedIterations { start_time, .. }
            | Executor::PerVuIterations { start_time, .. }
            | Executor::ConstantArrivalRate { start_time, .. }
            | Executor::RampingArrivalRate { start_time, .. } => *start_time,
        }
    }

    /// How long new iterations begin, at most; `None` of a searched run, which lasts as long as the search wants.
    #[must_use]
    pub fn duration(&self) -> Option<Duration> {
        match self {
            Executor::Searched { .. } | Executor::SearchedRate { .. } => None,
            Executor::ConstantVus { duration, .. } | Executor::ConstantArrivalRate { duration, .. } => Some(*duration),
            Executor::RampingVus { stages, .. } | Executor::RampingArrivalRate { stages, .. } => Some(length(stages)),
            Executor::SharedIterations { max_duration, .. } | Executor::PerVuIterations { max_duration, .. } => {
                Some(*max_duration)
            }
        }
    }

    /// Whether iterations begin when the schedule says, not when the one before is over: then there is a response time.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(
            self,
            Executor::ConstantArrivalRate { .. } | Executor::RampingArrivalRate { .. } | Executor::SearchedRate { .. }
        )
    }

    /// Whether a search says how much load there is.
    #[must_use]
    pub fn is_searched(&self) -> bool {
        matches!(self, Executor::Searched { .. } | Executor::SearchedRate { .. })
    }

    /// The most iterations that may begin per second, of the open model, on the average of its length.
    #[must_use]
    pub fn max_rate(&self) -> Option<u64> {
        if let Executor::SearchedRate { max_rate, .. } = self {
            return Some(u64::from(*max_rate));
        }
        let (iterations, length) = self.iterations().zip(self.duration())?;
        self.is_open().then(|| (iterations as f64 / length.as_secs_f64().max(1.0)).ceil() as u64)
    }

    /// The VUs over time of a ramp of VUs.
    #[must_use]
    pub fn vu_curve(&self) -> Option<VuCurve> {
        match self {
            Executor::RampingVus { start_vus, stages, .. } => Some(VuCurve::new(*start_vus, stages)),
            _ => None,
        }
    }

    /// The arrivals of the open model, as offsets since [`Executor::start_time`]. The seed is that of the scenario. A search
    /// has none: see [`Arrivals::constant`].
    #[must_use]
    pub fn arrivals(&self, part: Part, seed: u64) -> Option<Arrivals> {
        let (arrivals, spacing) = match self {
            Executor::ConstantArrivalRate { rate, time_unit, duration, spacing, .. } => {
                (Arrivals::constant(*rate, *time_unit, *duration, part), *spacing)
            }
            Executor::RampingArrivalRate { start_rate, time_unit, stages, spacing, .. } => {
                (Arrivals::ramping(*start_rate, stages, *time_unit, part), *spacing)
            }
            _ => return None,
        };
        Some(match spacing {
            Spacing::Even => arrivals,
            Spacing::Poisson => arrivals.poisson(seed),
        })
    }

    /// The iterations that it is to make, where that is known before; of Poisson arrivals, those to be expected.
    #[must_use]
    pub fn iterations(&self) -> Option<u64> {
        match self {
            Executor::SharedIterations { iterations, .. } => Some(*iterations),
            Executor::PerVuIterations { vus, iterations, .. } => Some(iterations.saturating_mul(u64::from(*vus))),
            _ => self.arrivals(Part::WHOLE, 0).map(|arrivals| arrivals.planned()),
        }
    }

    /// VUs that are asked for in the given second of the run; of a searched run, those at its start; of the open
    /// model, those that it begins with.
    #[must_use]
    pub fn vus_at(&self, second: u64) -> u32 {
        let at = Duration::from_secs(second);
        let Some(into) = at.checked_sub(self.start_time()) else { return 0 };
        if self.duration().is_some_and(|duration| into >= duration) {
            return 0;
        }
        self.vu_curve().map_or_else(|| self.start_vus(), |curve| curve.at(into))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_read_back_with_its_executor() {
        let stages = vec![Stage { duration: Duration::from_secs(10), target: 5 }];
        let ramp = Executor::RampingVus {
            start_time: Duration::from_secs(2),
            start_vus: 1,
            stages,
            graceful_ramp_down: Duration::from_secs(30),
        };
        let json = serde_json::to_string(&ramp).unwrap();
        assert!(json.contains(r#""executor":"ramping-vus""#), "{json}");
        assert_eq!(serde_json::from_str::<Executor>(&json).unwrap(), ramp);
        assert_eq!((ramp.max_vus(), ramp.vus_at(1), ramp.vus_at(2), ramp.vus_at(7), ramp.vus_at(12)), (5, 0, 1, 3, 0));
        assert_eq!((ramp.is_open(), ramp.iterations()), (false, None));
    }

    #[test]
    fn what_is_known_before_is_said() {
        let second = Duration::from_secs(1);
        let open = Executor::ConstantArrivalRate {
            start_time: Duration::ZERO,
            rate: 30,
            time_unit: 60 * second,
            duration: 90 * second,
            pre_allocated_vus: 2,
            max_vus: 9,
            spacing: Spacing::Even,
        };
        assert_eq!((open.iterations(), open.max_vus(), open.start_vus()), (Some(45), 9, 2));
        let each = Executor::PerVuIterations { start_time: second, vus: 4, iterations: 5, max_duration: 9 * second };
        assert_eq!((each.iterations(), each.duration()), (Some(20), Some(9 * second)));
    }
}
