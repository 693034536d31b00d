//! Whole searches on simulated systems.

use super::*;
use crate::capacity::knee::Knee;
use crate::capacity::simulate::run;
use crate::capacity::simulate::sharing::Sharing;

const CURVES: [(&str, Knee); 9] = [
    ("one node", Knee { x_max_per_s: 600.0, r0_s: 0.05, p: 6.0, kappa_s: 0.0 }),
    ("slow server", Knee { x_max_per_s: 12.0, r0_s: 0.8, p: 4.0, kappa_s: 0.0 }),
    ("fast server", Knee { x_max_per_s: 1500.0, r0_s: 0.02, p: 8.0, kappa_s: 0.0 }),
    ("soft knee", Knee { x_max_per_s: 300.0, r0_s: 0.03, p: 1.5, kappa_s: 0.0 }),
    ("hard knee", Knee { x_max_per_s: 300.0, r0_s: 0.08, p: 12.0, kappa_s: 0.0 }),
    ("falls after its peak", Knee { x_max_per_s: 400.0, r0_s: 0.05, p: 6.0, kappa_s: 1.2e-5 }),
    ("falls steeply", Knee { x_max_per_s: 500.0, r0_s: 0.06, p: 8.0, kappa_s: 6e-5 }),
    ("short R0", Knee { x_max_per_s: 500.0, r0_s: 0.008, p: 4.0, kappa_s: 0.0 }),
    ("long R0", Knee { x_max_per_s: 120.0, r0_s: 0.65, p: 5.0, kappa_s: 0.0 }),
];

#[test]
fn knee_curves_are_found() {
    for (name, knee) in CURVES {
        for seed in 0..3 {
            let mut search = Search::new(SearchConfig::standard(), seed);
            let result = run(&mut search, &mut Sharing::new(knee, 100 + seed), 1300);
            let (want, peak) = (knee.saturation_vus(0.02, 1e5), knee.peak(1e5).1);
            let about = format!("{name}/{seed}: want {want:.1} VUs, {peak:.1}/s; {result:?}");
            assert_eq!(result.outcome, Outcome::Saturated, "{about}");
            let plateau = result.requests_per_second.unwrap();
            assert!((plateau / peak - 1.0).abs() <= 0.03, "{about}");
            assert!((result.saturation_vus.unwrap() / want - 1.0).abs() <= 0.25, "{about}");
            assert!(knee.throughput(f64::from(result.vus.unwrap())) >= 0.95 * peak, "{about}");
        }
    }
}
