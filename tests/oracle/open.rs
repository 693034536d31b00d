//! The executors of the open model: when each arrival is due, and what is dropped.

use serde_json::{Value, json};

use crate::executors::{agree, offsets};
use crate::tools::{LoadTest, Pair, after, attempts};

/// An arrival-rate scenario, and beside it a single request at the very start that the arrivals are timed by: so an
/// executor whose first arrival is one interval late is found out.
fn timed(scenario: Value, ms: u32) -> LoadTest {
    let mark = json!({"executor": "per-vu-iterations", "vus": 1, "iterations": 1});
    LoadTest::new("a", scenario, &[after(ms)]).with("mark", mark, &[after(0)])
}

/// Iterations of the scenario that were begun, and dropped.
fn totals(pair: &Pair) -> [(usize, u64); 2] {
    pair.each(|ran| {
        let begun = offsets(ran, "a").len();
        assert_eq!(begun as u64 + 1, ran.count("iterations"), "each one and the mark: {:#?}", ran.seen);
        (begun, ran.count("dropped_iterations"))
    })
}

/// Arrivals came when they were due: in ours exactly these. Named fault of k6: what is due at the very end races with
/// the end, so the last of these, or one more, is there or not. All may be early by what the mark was late, but by less
/// than the 50 ms that are the common interval here; beside that, nine of ten are within a third of the interval: late
/// ones are those of a busy machine, and an arrival too many or too few would move all that follow.
#[track_caller]
fn on_time(pair: &Pair, due: &[f64], beyond: bool) {
    let [mut k6, mut ours] = pair.each(|ran| offsets(ran, "a"));
    assert_eq!(ours.len(), due.len(), "{ours:?}");
    let sure = if beyond { due.len() } else { due.len() - 1 };
    assert!((sure..=sure + 1).contains(&k6.len()), "k6: {} arrivals", k6.len());
    k6.truncate(sure);
    ours.truncate(sure);
    for (tool, came) in [("k6", &k6), ("connect-bench", &ours)] {
        let mut late: Vec<f64> = came.iter().zip(due).map(|(came, due)| came - due).collect();
        late.sort_by(f64::total_cmp);
        let all = late[sure / 2];
        assert!(all.abs() < 40.0, "{tool}: all are {all} ms late: {came:?}");
        let near = late.iter().filter(|late| (*late - all).abs() < 50.0 / 3.0).count();
        assert!(near * 10 >= sure * 9, "{tool}: {near} of {sure} on time: {came:?}");
    }
    agree("arrivals", [k6, ours]);
}

#[test]
fn a_constant_arrival_rate() {
    attempts(|tools| {
        let constant = json!({"executor": "constant-arrival-rate", "rate": 1200, "timeUnit": "1m", "duration": "3s",
                          "preAllocatedVUs": 10});
        let pair = tools.run(&timed(constant, 20));
        pair.ended(0);
        // At a constant rate ours has those below the end, which are exactly rate times duration; k6 mostly has 61.
        let due: Vec<f64> = (0..60).map(|at| f64::from(at) * 50.0).collect();
        on_time(&pair, &due, true);
        let [k6, ours] = totals(&pair);
        assert_eq!((k6.1, ours), (0, (60, 0)));
    });
}

#[test]
fn a_ramping_arrival_rate() {
    attempts(|tools| {
        let stages = json!([{"duration": "2s", "target": 20}, {"duration": "1s", "target": 20},
                        {"duration": "1s", "target": 0}]);
        let ramping = json!({"executor": "ramping-arrival-rate", "stages": stages, "preAllocatedVUs": 10});
        let pair = tools.run(&timed(ramping, 20));
        pair.ended(0);
        // Where the integral of the rate is n: 5t² up to 20, then 20 per second, then 50 - 10(4 - t)².
        let due = |n: u32| match f64::from(n) {
            n if n <= 20.0 => (n / 5.0).sqrt(),
            n if n <= 40.0 => 1.0 + n / 20.0,
            n => 4.0 - ((50.0 - n) / 10.0).sqrt(),
        };
        let due: Vec<f64> = (1..=50).map(|n| due(n) * 1e3).collect();
        on_time(&pair, &due, false);
        let [k6, ours] = totals(&pair);
        assert_eq!((k6.1, ours), (0, (50, 0)));
    });
}

#[test]
fn a_ramp_of_arrivals_that_begins_high_and_jumps() {
    attempts(|tools| {
        let stages = json!([{"duration": "1s", "target": 10}, {"duration": "0s", "target": 20},
                        {"duration": "1050ms", "target": 20}]);
        let ramping = json!({"executor": "ramping-arrival-rate", "startRate": 10, "stages": stages,
                         "preAllocatedVUs": 10});
        let pair = tools.run(&timed(ramping, 20));
        pair.ended(0);
        // Not at 0, as at a constant rate, but when the first whole arrival is due.
        let level = (1..=10).map(|n| f64::from(n) * 100.0);
        let due: Vec<f64> = level.chain((1..=21).map(|n| 1e3 + f64::from(n) * 50.0)).collect();
        on_time(&pair, &due, false);
        let [k6, ours] = totals(&pair);
        assert_eq!((k6.1, ours), (0, (31, 0)));
    });
}

#[test]
fn arrivals_without_a_free_vu_are_dropped() {
    attempts(|tools| {
        // Two VUs are free again 475 ms after an arrival: of every ten arrivals two begin.
        let constant = json!({"executor": "constant-arrival-rate", "rate": 20, "duration": "2s", "preAllocatedVUs": 2});
        let pair = tools.run(&timed(constant, 475));
        pair.ended(0);
        let [(k6, k6_dropped), (ours, dropped)] = totals(&pair);
        assert_eq!(ours as u64 + dropped, 40);
        // With the one at the very end, which finds a VU.
        assert!([40, 41].contains(&(k6 as u64 + k6_dropped)), "{k6} begun, {k6_dropped} dropped");
        // Where a VU comes back late on a busy machine, its arrival is the next one: one less at most.
        assert!((7..=8).contains(&ours) && (7..=9).contains(&k6), "{ours} {k6}");
    });
}

#[test]
fn vus_are_added_up_to_the_most() {
    attempts(|tools| {
        let constant = json!({"executor": "constant-arrival-rate", "rate": 10, "duration": "2s", "preAllocatedVUs": 1,
                          "maxVUs": 6});
        let pair = tools.run(&timed(constant, 350));
        pair.ended(0);
        let [(k6, k6_dropped), ours] = totals(&pair);
        // Difference on purpose: k6 loses the arrivals that come while it initialises a VU that it lacks; with us the new
        // VU takes the arrival that it was made for.
        assert_eq!(ours, (20, 0));
        assert!(k6_dropped >= 1 && [20, 21].contains(&(k6 as u64 + k6_dropped)), "{k6} begun, {k6_dropped} dropped");
    });
}
