//! Users before a server: a flow-equivalent server, whose rate depends on how many requests are in it (Norton's
//! theorem for queueing networks: Chandy, Herzog and Woo, 1975).
//!
//! ```text
//! mu(n) = X(n), the throughput that a ramp measured at n VUs; constant beyond the last that was tested
//! U users, mean think time Z:   pi_j / pi_(j−1) = ((U−j+1)/Z) / mu(j)
//! X = Σ pi_j·mu(j)   Q = Σ j·pi_j   R = Q/X
//! ```
//!
//! Exact for product-form networks, whatever the distribution of the think time; O(U), and stable for any U because it
//! is computed in logarithms.

use super::knee::Knee;

/// Throughput over the number of requests in the server.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// Requests per second with 1, 2, … requests in it; all greater than 0.
    per_s: Vec<f64>,
}

impl Curve {
    /// A curve of its values at 1, 2, … requests. `None` without values, or where one is not a positive number.
    #[must_use]
    pub fn new(per_s: Vec<f64>) -> Option<Curve> {
        let usable = !per_s.is_empty() && per_s.iter().all(|x| x.is_finite() && *x > 0.0);
        usable.then_some(Curve { per_s })
    }

    /// A fitted curve up to the most VUs that were tested; what lies beyond is not extrapolated but held.
    #[must_use]
    pub fn of_knee(knee: &Knee, tested: u32) -> Option<Curve> {
        Curve::new((1..=tested.max(1)).map(|n| knee.throughput(f64::from(n))).collect())
    }

    /// Measured points (VUs, requests per second), straight lines between them and from the origin.
    #[must_use]
    pub fn of_points(points: &[(f64, f64)]) -> Option<Curve> {
        let mut points: Vec<(f64, f64)> = points.iter().copied().filter(|(n, x)| *n >= 1.0 && *x > 0.0).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points.dedup_by(|a, b| a.0 == b.0);
        let (last, _) = *points.last()?;
        let at = |n: f64| {
            let next = points.partition_point(|(vus, _)| *vus < n);
            let (b, y) = points[next.min(points.len() - 1)];
            let (a, x) = if next == 0 { (0.0, 0.0) } else { points[next - 1] };
            if n >= b { y } else { x + (y - x) * (n - a) / (b - a) }
        };
        Curve::new((1..=last.round() as u32).map(|n| at(f64::from(n))).collect())
    }

    /// Requests per second with `requests` of them in the server; 0 with none.
    #[must_use]
    pub fn at(&self, requests: u32) -> f64 {
        match (requests as usize).min(self.per_s.len()) {
            0 => 0.0,
            n => self.per_s[n - 1],
        }
    }

    /// The most requests in the server for which it is known.
    #[must_use]
    pub fn known(&self) -> u32 {
        u32::try_from(self.per_s.len()).unwrap_or(u32::MAX)
    }

    /// The greatest throughput.
    #[must_use]
    pub fn most(&self) -> f64 {
        self.per_s.iter().copied().fold(0.0, f64::max)
    }

    /// `times` such servers behind an even load balancer: mu'(n) = times · mu(n / times).
    #[must_use]
    pub fn scaled(&self, times: f64) -> Curve {
        let known = (f64::from(self.known()) * times).ceil().max(1.0) as u32;
        let between = |n: f64| {
            let (low, share) = (n.floor() as u32, n.fract());
            self.at(low) + share * (self.at(low + 1) - self.at(low))
        };
        Curve { per_s: (1..=known).map(|n| times * between(f64::from(n) / times)).collect() }
    }
}

/// What users get.
#[derive(Debug, Clone, PartialEq)]
pub struct Flow {
    /// Requests per second.
    pub per_s: f64,
    /// Mean number of requests in the server.
    pub in_server: f64,
    /// Mean response time, seconds.
    pub response_s: f64,
    /// Probability of 0, 1, 2, … requests in the server.
    pub probability: Vec<f64>,
}

/// `users` who send a request, wait for its response and think for `think_s` seconds on average.
/// `None` without users.
#[must_use]
pub fn closed(curve: &Curve, users: u32, think_s: f64) -> Option<Flow> {
    if users == 0 {
        return None;
    }
    if think_s <= 0.0 {
        let mut probability = vec![0.0; users as usize + 1];
        probability[users as usize] = 1.0;
        return Some(flow(curve, probability));
    }
    let rate = |j: u32| (f64::from(users - j + 1) / think_s).ln() - curve.at(j).ln();
    Some(flow(curve, chain((1..=users).map(rate))))
}

/// Requests that come at `per_s` whatever becomes of them (Poisson). `None` where the server cannot keep up, or only
/// with more than a million requests in it.
#[must_use]
pub fn open(curve: &Curve, per_s: f64) -> Option<Flow> {
    let end = curve.at(u32::MAX);
    if per_s <= 0.0 || per_s >= end {
        return None;
    }
    // Beyond what is known the probabilities fall by the same share each, and what is left out is below 1e-12.
    let tail = (-27.6 / (per_s / end).ln()).ceil();
    let most = f64::from(curve.known()) + tail;
    (most < 1e6).then(|| flow(curve, chain((1..=most as u32).map(|j| per_s.ln() - curve.at(j).ln()))))
}

/// Probabilities of a birth–death chain from the logarithms of its birth-to-death ratios.
fn chain(ratios: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut logs = vec![0.0];
    let mut log = 0.0;
    for ratio in ratios {
        log += ratio;
        logs.push(log);
    }
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logs.iter().map(|log| (log - most).exp()).collect();
    let all: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / all).collect()
}

fn flow(curve: &Curve, probability: Vec<f64>) -> Flow {
    let (mut per_s, mut in_server) = (0.0, 0.0);
    for (j, p) in (0u32..).zip(&probability) {
        per_s += p * curve.at(j);
        in_server += p * f64::from(j);
    }
    Flow { per_s, in_server, response_s: in_server / per_s, probability }
}

#[cfg(test)]
mod tests {
    use super::super::exact::{Network, Station};
    use super::*;
    use proptest::prelude::*;

    fn close(got: f64, want: f64, share: f64) {
        assert!((got / want - 1.0).abs() < share, "{got} is not {want}");
    }

    /// Norton: the flow-equivalent server of a product-form network is exact, whatever the users.
    #[test]
    fn product_form_networks_are_exact_to_four_digits() {
        let networks = [
            vec![Station { demand_s: 0.02, servers: 8 }],
            vec![Station { demand_s: 0.02, servers: 8 }, Station { demand_s: 0.001, servers: 1 }],
            vec![Station { demand_s: 0.002, servers: 1 }; 3],
        ];
        for stations in networks {
            let curve = Curve::new(Network { stations: stations.clone(), think_s: 0.0 }.throughput(600)).unwrap();
            for users in [100, 1000, 4000] {
                let thinking = Network { stations: stations.clone(), think_s: 10.0 };
                let want = thinking.throughput(users)[users as usize - 1];
                let got = closed(&curve, users, 10.0).unwrap();
                close(got.per_s, want, 1e-4);
                close(got.response_s, f64::from(users) / want - 10.0, 1e-4);
            }
        }
    }

    /// M/M/1 and M/M/c in the open model have closed forms.
    #[test]
    fn the_open_model_is_erlangs() {
        let one = Curve::new(vec![100.0]).unwrap();
        close(open(&one, 80.0).unwrap().response_s, 1.0 / 20.0, 1e-9);
        let eight = Curve::new((1..=8).map(|n| f64::from(n) * 50.0).collect()).unwrap();
        // Erlang C with 8 servers at 90 %: 0.70159 wait, for 1/(c·mu − lambda) each.
        close(open(&eight, 360.0).unwrap().response_s, 0.02 + 0.701_59 / 40.0, 1e-4);
        assert_eq!(open(&eight, 400.0), None);
        assert_eq!(open(&eight, 0.0), None);
    }

    #[test]
    fn users_who_never_think_are_the_vus_of_the_ramp() {
        let knee = Knee { x_max_per_s: 1000.0, r0_s: 0.05, p: 6.0, kappa_s: 0.0 };
        let curve = Curve::of_knee(&knee, 200).unwrap();
        let got = closed(&curve, 60, 0.0).unwrap();
        close(got.per_s, knee.throughput(60.0), 1e-12);
        close(got.response_s, 60.0 / knee.throughput(60.0), 1e-12);
        close(closed(&curve, 500, 0.0).unwrap().per_s, knee.throughput(200.0), 1e-12);
    }

    #[test]
    fn points_are_joined_by_lines() {
        let curve = Curve::of_points(&[(4.0, 400.0), (2.0, 200.0), (8.0, 500.0)]).unwrap();
        let got: Vec<f64> = [0, 1, 2, 3, 4, 6, 8, 9].into_iter().map(|n| curve.at(n)).collect();
        assert_eq!(got, [0.0, 100.0, 200.0, 300.0, 400.0, 450.0, 500.0, 500.0]);
        assert_eq!(Curve::of_points(&[]), None);
        assert_eq!(Curve::new(vec![1.0, f64::NAN]), None);
    }

    proptest! {
        #[test]
        fn littles_law_holds_and_no_more_than_the_most_is_served(
            x_max in 10f64..5000.0, r0 in 1e-3f64..1.0, p in 1f64..12.0, users in 1u32..20_000, think in 0.1f64..60.0,
        ) {
            let knee = Knee { x_max_per_s: x_max, r0_s: r0, p, kappa_s: 0.0 };
            let curve = Curve::of_knee(&knee, 500).unwrap();
            let got = closed(&curve, users, think).unwrap();
            prop_assert!((got.probability.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            prop_assert!(got.per_s <= curve.most() * (1.0 + 1e-9));
            // Users are either thinking or waiting.
            prop_assert!((got.per_s * (got.response_s + think) / f64::from(users) - 1.0).abs() < 1e-6);
        }

        #[test]
        fn more_nodes_serve_in_proportion(times in 1u32..6, n in 1u32..100) {
            let knee = Knee { x_max_per_s: 1000.0, r0_s: 0.05, p: 6.0, kappa_s: 0.0 };
            let curve = Curve::of_knee(&knee, 100).unwrap();
            let scaled = curve.scaled(f64::from(times));
            prop_assert!((scaled.at(n * times) / (f64::from(times) * curve.at(n)) - 1.0).abs() < 1e-9);
            prop_assert!((scaled.most() / (f64::from(times) * curve.most()) - 1.0).abs() < 1e-9);
        }
    }
}
