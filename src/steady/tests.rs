//! Each figure on points and slices made for it.

use super::*;
use crate::summary::Point;

fn points(per_s: impl Fn(usize) -> f64) -> Vec<Point> {
    let point =
        |at: usize| Point { at_s: at as f64, seconds: 1.0, fetched: per_s(at), latency_s: 40.0, ..Point::default() };
    (0..600).map(point).collect()
}

#[test]
fn stalls_are_found_dated_and_told_from_outages() {
    let mut points = points(|at| if (100..103).contains(&at) || at == 400 { 2.0 } else { 200.0 });
    points[400].failed = 150.0;
    let stalls = stalls::of(&points);
    let list: Vec<(f64, f64, StallKind)> = stalls.list.iter().map(|s| (s.at_s, s.seconds, s.kind)).collect();
    assert_eq!(list, [(100.0, 3.0, StallKind::Stall), (400.0, 1.0, StallKind::Outage)]);
    assert_eq!((stalls.count, stalls.seconds, stalls.longest_s, stalls.resolution_s), (2, 4.0, 3.0, 1.0));
    assert!((stalls.share - 4.0 / 600.0).abs() < 1e-12);
}

#[test]
fn a_slow_server_is_looked_at_in_longer_pieces_and_a_very_slow_one_not_at_all() {
    let slow = stalls::of(&points(|at| if (300..320).contains(&at) { 0.0 } else { 4.0 }));
    assert_eq!((slow.seen, slow.count, slow.resolution_s), (true, 1, 8.0));
    let hardly = stalls::of(&points(|at| if at % 10 == 0 { 1.0 } else { 0.0 }));
    assert_eq!((hardly.seen, hardly.count), (false, 0));
    assert!(!stalls::of(&[]).seen);
}

#[test]
fn the_transient_is_cut_and_its_bias_said() {
    let rising = transient::of(&points(|at| if at < 60 { 100.0 } else { 200.0 })).unwrap();
    assert_eq!((rising.cut_s, rising.found, rising.per_s_before, rising.per_s_after), (60.0, true, Some(100.0), 200.0));
    assert!((rising.bias + 0.05).abs() < 1e-12);
    // A run that rises to its end has no steady part.
    assert!(!transient::of(&points(|at| at as f64)).unwrap().found);
    assert!(transient::of(&points(|_| 1.0)[..50]).is_none());
}

#[test]
fn a_loop_without_a_gap_has_nothing_to_compare_with() {
    let mut points = points(|_| 100.0);
    assert_eq!(publishing::of(&points), Publishing::None);
    points.iter_mut().for_each(|point| point.deploying_s = 0.9);
    assert_eq!(publishing::of(&points), Publishing::Inseparable);
    for (at, point) in points.iter_mut().enumerate() {
        let deploying = at % 30 >= 20;
        point.deploying_s = if deploying { 1.0 } else { 0.0 };
        point.fetched = if deploying { 80.0 } else { 100.0 };
    }
    let Publishing::Measured(effect) = publishing::of(&points) else { panic!("{:?}", publishing::of(&points)) };
    assert_eq!(effect.pairs, 20);
    assert!((effect.rate_change.estimate + 0.2).abs() < 1e-9 && (effect.latency_change.estimate - 0.25).abs() < 1e-9);
}

fn slices(per_s: impl Fn(usize) -> f64, seconds: f64) -> Vec<Slice> {
    let slice = |at| {
        let fetched = per_s(at) * seconds;
        Slice { seconds, fetched: fetched as u64, vu_s: 10.0 * seconds, busy_s: 10.0 * seconds, ..Slice::default() }
    };
    (0..15).map(slice).collect()
}

#[test]
fn drift_is_said_per_hour_and_not_of_short_runs() {
    let rate = |slices: &[Slice]| drift::of(slices, |slice| Some(slice.per_s()), drift::RATE);
    let rising = slices(|at| 1000.0 + 10.0 * at as f64, 120.0);
    let found = rate(&rising).unwrap();
    // 10 per slice of two minutes are 300 an hour, of a median of 1070.
    assert!((found.per_hour.estimate - 300.0 / 1070.0).abs() < 1e-9, "{found:?}");
    assert_eq!((found.verdict, found.n), (DriftVerdict::NotSteady, 15));
    assert_eq!(rate(&slices(|at| 1000.0 + (at % 2) as f64, 120.0)).unwrap().verdict, DriftVerdict::Steady);
    assert_eq!(rate(&slices(|at| 1000.0 + 2.0 * at as f64, 120.0)).unwrap().verdict, DriftVerdict::Drifts);
    assert!(rate(&slices(|_| 1000.0, 20.0)).is_none() && rate(&rising[..7]).is_none());
}

#[test]
fn a_slice_with_dead_vus_is_found() {
    let mut slices = slices(|_| 100.0, 60.0);
    assert_eq!(little(&slices), []);
    slices[4].busy_s *= 0.8;
    let open = little(&slices);
    assert_eq!((open.len(), open[0].from_s), (1, 240.0));
    assert!((open[0].audit.share - 0.2).abs() < 0.01, "{open:?}");
    // A long request over an edge is no dead VU.
    let mut long = vec![Slice { seconds: 10.0, fetched: 10, vu_s: 100.0, busy_s: 60.0, ..Slice::default() }];
    assert_eq!(little(&long), []);
    long[0].fetched = 1000;
    assert_eq!(little(&long).len(), 1);
}
