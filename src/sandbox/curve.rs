//! The curve that says how fast a node is: throughput as a function of the requests in flight.
//!
//! X(n) = n / ( [R0^p + (n/X_max)^p]^(1/p) + κ·n·(n−1) )
//!
//! R0 is the response time without queueing, X_max the ceiling, p how sharp the bend is, κ what requests lose to each
//! other. Arithmetic only: no clock, no runtime.

use std::str::FromStr;

/// Share of the greatest throughput at which a node counts as saturated: N_sat is the fewest requests in flight that
/// reach it.
pub const SATURATED_SHARE: f64 = 0.98;
/// Where the search for a peak or for N_sat gives up.
const N_LIMIT: u32 = 1 << 24;

/// How fast one node is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Curve {
    x_max_per_s: f64,
    r0_s: f64,
    p: f64,
    kappa_s: f64,
}

/// Why a curve makes no sense.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum CurveError {
    /// Not `XMAX,R0_MS,P,KAPPA[,NODES]`.
    #[error("a curve is XMAX,R0_MS,P,KAPPA[,NODES], for example 400,50,6,0; got `{0}`")]
    Syntax(String),
    /// A parameter is out of its range.
    #[error("{name} = {value} is out of range: {range}")]
    Range {
        /// Which parameter.
        name: &'static str,
        /// What was given.
        value: f64,
        /// What would do.
        range: &'static str,
    },
}

impl Curve {
    /// A curve from its parameters: ceiling in requests per second, response time without queueing in seconds,
    /// sharpness, and the loss in seconds per pair.
    ///
    /// # Errors
    /// When a parameter is not finite or outside its range.
    pub fn new(x_max_per_s: f64, r0_s: f64, p: f64, kappa_s: f64) -> Result<Self, CurveError> {
        let check = |name, value: f64, ok: bool, range| {
            if value.is_finite() && ok { Ok(()) } else { Err(CurveError::Range { name, value, range }) }
        };
        check("XMAX", x_max_per_s, x_max_per_s > 0.0 && x_max_per_s <= 1e6, "more than 0, at most 1000000 per second")?;
        check("R0", r0_s * 1e3, r0_s > 0.0 && r0_s <= 600.0, "more than 0, at most 600000 ms")?;
        check("P", p, (0.2..=64.0).contains(&p), "0.2 to 64")?;
        check("KAPPA", kappa_s, (0.0..=1.0).contains(&kappa_s), "0 to 1 s")?;
        Ok(Self { x_max_per_s, r0_s, p, kappa_s })
    }

    /// The curve without loss that is saturated at `n_sat` requests in flight, making `at_n_sat_per_s` there.
    ///
    /// # Errors
    /// When no such curve is in range.
    pub fn calibrated(n_sat: f64, at_n_sat_per_s: f64, p: f64) -> Result<Self, CurveError> {
        let x_max = at_n_sat_per_s / SATURATED_SHARE;
        let r0 = n_sat / x_max * (SATURATED_SHARE.powf(-p) - 1.0).powf(1.0 / p);
        Self::new(x_max, r0, p, 0.0)
    }

    /// Completions per second with `n` requests in flight, all the time.
    #[must_use]
    pub fn throughput(&self, n: f64) -> f64 {
        if n <= 0.0 {
            return 0.0;
        }
        let (a, b) = (self.r0_s, n / self.x_max_per_s);
        let (large, small) = if a > b { (a, b) } else { (b, a) };
        let cycle_s = large * (1.0 + (small / large).powf(self.p)).powf(1.0 / self.p) + self.kappa_s * n * (n - 1.0);
        n / cycle_s
    }

    /// The greatest throughput: the maximum over n, which without loss is the ceiling that the curve nears.
    #[must_use]
    pub fn peak_per_s(&self) -> f64 {
        if self.kappa_s <= 0.0 { self.x_max_per_s } else { self.throughput(f64::from(self.peak_n())) }
    }

    /// N_sat: the fewest requests in flight with [`SATURATED_SHARE`] of the peak.
    #[must_use]
    pub fn n_sat(&self) -> u32 {
        let enough = SATURATED_SHARE * self.peak_per_s() * (1.0 - 1e-9);
        let reached = |n: u32| self.throughput(f64::from(n)) >= enough;
        let top = if self.kappa_s <= 0.0 { N_LIMIT } else { self.peak_n() };
        let mut high = 1;
        while high < top && !reached(high) {
            high = (high * 2).min(top);
        }
        first(1, high, reached)
    }

    /// Ceiling in requests per second (the parameter, not the peak of a curve with loss).
    #[must_use]
    pub fn x_max_per_s(&self) -> f64 {
        self.x_max_per_s
    }

    /// Response time without queueing, in seconds.
    #[must_use]
    pub fn r0_s(&self) -> f64 {
        self.r0_s
    }

    /// Sharpness of the bend.
    #[must_use]
    pub fn p(&self) -> f64 {
        self.p
    }

    /// Loss in seconds per pair of requests.
    #[must_use]
    pub fn kappa_s(&self) -> f64 {
        self.kappa_s
    }

    /// Where a curve with loss is highest. It rises, then falls: the first n that the next one does not exceed.
    fn peak_n(&self) -> u32 {
        first(1, N_LIMIT, |n| self.throughput(f64::from(n) + 1.0) <= self.throughput(f64::from(n)))
    }
}

/// The first n in low..=high that satisfies a condition that stays true once it is; `high` when none does.
fn first(mut low: u32, mut high: u32, holds: impl Fn(u32) -> bool) -> u32 {
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) { high = middle } else { low = middle + 1 }
    }
    low
}

/// A curve as typed: `XMAX,R0_MS,P,KAPPA[,NODES]`, per node, R0 in milliseconds and KAPPA in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CurveSpec {
    /// The curve of each node.
    pub curve: Curve,
    /// How many nodes, when given.
    pub nodes: Option<usize>,
}

impl FromStr for CurveSpec {
    type Err = CurveError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let syntax = || CurveError::Syntax(text.to_owned());
        let fields: Vec<&str> = text.split(',').map(str::trim).collect();
        let (numbers, nodes) = match fields.len() {
            4 => (&fields[..], None),
            5 => (&fields[..4], Some(fields[4].parse::<usize>().ok().filter(|n| (1..=64).contains(n)))),
            _ => return Err(syntax()),
        };
        let mut parsed = [0.0; 4];
        for (value, field) in parsed.iter_mut().zip(numbers) {
            *value = field.parse().ok().ok_or_else(syntax)?;
        }
        let [x_max, r0_ms, p, kappa] = parsed;
        let nodes = match nodes {
            None => None,
            Some(Some(n)) => Some(n),
            Some(None) => return Err(syntax()),
        };
        Ok(Self { curve: Curve::new(x_max, r0_ms / 1e3, p, kappa)?, nodes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_calibrated_curve_saturates_where_it_was_told_to() {
        for (n, rps) in [(250u32, 1270.0), (200, 1358.0), (30, 392.0)] {
            let curve = Curve::calibrated(f64::from(n), rps, 8.0).unwrap();
            assert_eq!(curve.n_sat(), n);
            assert!((curve.throughput(f64::from(n)) / rps - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn one_request_takes_r0() {
        let curve = Curve::new(400.0, 0.05, 6.0, 0.0).unwrap();
        assert!((curve.throughput(1.0) * 0.05 - 1.0).abs() < 1e-6);
        assert!(curve.throughput(1e7) <= 400.0 + 1e-9);
    }

    #[test]
    fn with_loss_the_peak_is_the_maximum() {
        let curve = Curve::new(400.0, 0.05, 6.0, 1e-6).unwrap();
        let brute = (1..5000).map(|n| curve.throughput(f64::from(n))).fold(0.0, f64::max);
        assert!((curve.peak_per_s() - brute).abs() < 1e-9 && brute < 400.0);
        let n = curve.n_sat();
        assert!(curve.throughput(f64::from(n)) >= 0.98 * brute && curve.throughput(f64::from(n - 1)) < 0.98 * brute);
    }

    #[test]
    fn parses_what_the_flag_says_and_refuses_the_rest() {
        let spec: CurveSpec = "400, 50,6,0,2".parse().unwrap();
        assert_eq!((spec.curve.x_max_per_s(), spec.curve.r0_s(), spec.nodes), (400.0, 0.05, Some(2)));
        for bad in ["", "400", "400,50,6", "400,50,6,0,0", "400,50,6,0,x", "a,50,6,0", "400,50,6,0,1,2"] {
            assert!(matches!(bad.parse::<CurveSpec>(), Err(CurveError::Syntax(_))), "{bad}");
        }
        for bad in ["0,50,6,0", "400,-1,6,0", "400,50,0,0", "400,50,6,-1", "inf,50,6,0", "NaN,50,6,0"] {
            assert!(matches!(bad.parse::<CurveSpec>(), Err(CurveError::Range { .. })), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn n_sat_is_the_fewest(x in 1.0f64..5000.0, r0 in 0.001f64..1.0, p in 1.0f64..12.0, k in prop::sample::select(vec![0.0, 1e-7, 1e-5])) {
            let curve = Curve::new(x, r0, p, k).unwrap();
            let n = curve.n_sat();
            let enough = 0.98 * curve.peak_per_s() * (1.0 - 1e-9);
            prop_assert!(curve.throughput(f64::from(n)) >= enough);
            prop_assert!(n == 1 || curve.throughput(f64::from(n - 1)) < enough);
        }
    }
}
