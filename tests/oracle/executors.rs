//! The executors of the closed model. Iterations take a known time, chosen so that the last one begins well before an
//! end, and the next one would begin well after it: then counts are exact however busy the machine is.

use serde_json::json;

use crate::server::Seen;
use crate::tools::{LoadTest, Pair, Ran, after, attempts};

/// How far apart the tools may be, in ms, when something is due: two processes on a busy machine with two cores. What
/// is looked for is a wrong rule, and rules put things hundreds of ms apart here.
pub(crate) const NEAR: f64 = 120.0;

/// When requests of a scenario came, in ms since the first one of all.
pub(crate) fn offsets(ran: &Ran, scenario: &str) -> Vec<f64> {
    let first = ran.seen.first().map_or(0.0, ms);
    ran.seen.iter().filter(|seen| seen.scenario == scenario).map(|seen| ms(seen) - first).collect()
}

fn ms(seen: &Seen) -> f64 {
    seen.came.as_secs_f64() * 1e3
}

/// The first, or the last, request of every VU, in order of time, in ms since the first one of all.
fn of_each_vu(ran: &Ran, last: bool) -> Vec<f64> {
    let mut vus: Vec<u32> = ran.seen.iter().map(|seen| seen.vu).collect();
    vus.sort_unstable();
    vus.dedup();
    let first = ran.seen.first().map_or(0.0, ms);
    let of = |vu: u32| {
        let mut all = ran.seen.iter().filter(|seen| seen.vu == vu).map(|seen| ms(seen) - first);
        if last { all.next_back() } else { all.next() }.unwrap_or_default()
    };
    let mut all: Vec<f64> = vus.into_iter().map(of).collect();
    all.sort_by(f64::total_cmp);
    all
}

/// The most requests that were under way at once.
fn most_at_once(ran: &Ran) -> usize {
    let under_way = |at: &Seen| {
        let others = ran.seen.iter().filter(|seen| seen.came <= at.came);
        others.filter(|seen| seen.answered.is_none_or(|answered| answered > at.came)).count()
    };
    ran.seen.iter().map(under_way).max().unwrap_or(0)
}

/// Every one of these is as near to its counterpart as [`NEAR`] says.
#[track_caller]
pub(crate) fn agree(what: &str, [k6, ours]: [Vec<f64>; 2]) {
    assert_eq!(k6.len(), ours.len(), "{what}: k6 {k6:?}, ours {ours:?}");
    let apart = k6.iter().zip(&ours).map(|(k6, ours)| (k6 - ours).abs()).fold(0.0, f64::max);
    assert!(apart < NEAR, "{what}: {apart} ms apart: k6 {k6:?}, ours {ours:?}");
}

/// Both began so many iterations, ended so many and dropped so many; each has one request.
#[track_caller]
fn counts(pair: &Pair, begun: usize, completed: u64, dropped: u64) {
    for (tool, ran) in pair.both() {
        let counted = (ran.seen.len(), ran.count("iterations"), ran.count("dropped_iterations"));
        assert_eq!(counted, (begun, completed, dropped), "{tool}: {:#?}\n{}", ran.seen, ran.stderr);
        // Named fault of k6: a request that is cut off at the end is in no metric. Ours counts it as interrupted.
        assert_eq!(ran.count("http_reqs"), completed, "{tool}");
    }
    let requests = &pair.ours.document["requests"];
    assert_eq!(requests["scheduled"], begun, "{requests:#}");
    assert_eq!(requests["interrupted"], begun as u64 - completed, "{requests:#}");
}

#[test]
fn shared_iterations() {
    attempts(|tools| {
        let shared = json!({"executor": "shared-iterations", "vus": 4, "iterations": 50});
        let pair = tools.run(&LoadTest::new("a", shared, &[after(20)]));
        pair.ended(0);
        counts(&pair, 50, 50, 0);
        assert_eq!(pair.each(most_at_once), [4, 4], "all VUs are at work");
        agree("starts of VUs", pair.each(|ran| of_each_vu(ran, false)));
        agree("starts of iterations", pair.each(|ran| offsets(ran, "a")));
    });
}

#[test]
fn shared_iterations_that_run_out_of_time() {
    attempts(|tools| {
        // Each VU begins at 0, 280, 560 and 840 ms.
        let shared = json!({"executor": "shared-iterations", "vus": 2, "iterations": 100, "maxDuration": "1s"});
        let pair = tools.run(&LoadTest::new("a", shared, &[after(280)]));
        pair.ended(0);
        counts(&pair, 8, 8, 92);
        agree("starts of iterations", pair.each(|ran| offsets(ran, "a")));
    });
}

#[test]
fn per_vu_iterations() {
    attempts(|tools| {
        let each = json!({"executor": "per-vu-iterations", "vus": 3, "iterations": 5});
        let pair = tools.run(&LoadTest::new("a", each, &[after(50)]));
        pair.ended(0);
        counts(&pair, 15, 15, 0);
        for (tool, ran) in pair.both() {
            let mut iterations: Vec<(u32, u32)> = ran.seen.iter().map(|seen| (seen.vu, seen.iteration)).collect();
            iterations.sort_unstable();
            let all: Vec<(u32, u32)> = (1..=3).flat_map(|vu| (0..5).map(move |iteration| (vu, iteration))).collect();
            assert_eq!(iterations, all, "{tool}");
        }
        agree("starts of iterations", pair.each(|ran| offsets(ran, "a")));
        // Ten of each VU are asked for, and there is time for four.
        let each = json!({"executor": "per-vu-iterations", "vus": 2, "iterations": 10, "maxDuration": "1s"});
        let pair = tools.run(&LoadTest::new("a", each, &[after(280)]));
        pair.ended(0);
        counts(&pair, 8, 8, 12);
    });
}

#[test]
fn constant_vus() {
    attempts(|tools| {
        // The last ones begin at 1.8 s and end after the end, within the graceful stop.
        let constant = json!({"executor": "constant-vus", "vus": 3, "duration": "2s"});
        let pair = tools.run(&LoadTest::new("a", constant, &[after(300)]));
        pair.ended(0);
        counts(&pair, 21, 21, 0);
        assert_eq!(pair.each(most_at_once), [3, 3]);
        agree("starts of iterations", pair.each(|ran| offsets(ran, "a")));
        assert_eq!(pair.each(|ran| ran.k6("vus_max", "value").unwrap_or(3.0)), [3.0, 3.0]);
    });
}

#[test]
fn the_graceful_stop_cuts_off_what_is_too_long() {
    attempts(|tools| {
        // They begin at 0, 0.9 and 1.8 s; the third of each VU is cut off at 2.2 s.
        let constant = json!({"executor": "constant-vus", "vus": 3, "duration": "2s", "gracefulStop": "200ms"});
        let pair = tools.run(&LoadTest::new("a", constant, &[after(900)]));
        pair.ended(0);
        counts(&pair, 9, 6, 0);
        let cut = pair.each(|ran| ran.seen.iter().filter(|seen| seen.answered.is_none()).count());
        assert_eq!(cut, [3, 3], "the connections of what is cut off are closed");
    });
}

#[test]
fn ramping_vus() {
    attempts(|tools| {
        // VUs begin at 0, 0.5, 1.0 and 1.5 s, and go at 2.5, 3.0 and 3.5 s.
        let stages = json!([{"duration": "1500ms", "target": 4}, {"duration": "500ms", "target": 4},
                        {"duration": "1500ms", "target": 1}]);
        let ramping = json!({"executor": "ramping-vus", "startVUs": 1, "stages": stages});
        let pair = tools.run(&LoadTest::new("a", ramping, &[after(50)]));
        pair.ended(0);
        for (tool, ran) in pair.both() {
            assert_eq!(ran.seen.len() as u64, ran.count("iterations"), "{tool}");
            assert_eq!(most_at_once(ran), 4, "{tool}");
        }
        let starts = pair.each(|ran| of_each_vu(ran, false));
        for (at, due) in [0.0, 500.0, 1000.0, 1500.0].into_iter().enumerate() {
            assert!(starts.iter().all(|starts| (starts[at] - due).abs() < NEAR), "{starts:?}");
        }
        agree("starts of VUs", starts);
        agree("last iterations of VUs", pair.each(|ran| of_each_vu(ran, true)));
    });
}

#[test]
fn a_ramp_down_lets_iterations_end_or_cuts_them_off() {
    attempts(|tools| {
        // Two VUs begin at 0 and 0.7 s, and are to go at 1 s; the scenario lasts until 2.5 s, so that it is not the
        // graceful stop that decides.
        for (grace, completed) in [("100ms", 2), ("900ms", 4)] {
            let stages = json!([{"duration": "1s", "target": 2}, {"duration": "0s", "target": 0},
                            {"duration": "1500ms", "target": 0}]);
            let ramping =
                json!({"executor": "ramping-vus", "startVUs": 2, "stages": stages, "gracefulRampDown": grace});
            let pair = tools.run(&LoadTest::new("a", ramping, &[after(700)]));
            pair.ended(0);
            counts(&pair, 4, completed, 0);
        }
    });
}

#[test]
fn scenarios_begin_at_their_start_times() {
    attempts(|tools| {
        let first = json!({"executor": "constant-vus", "vus": 1, "duration": "1s"});
        let second = json!({"executor": "per-vu-iterations", "vus": 2, "iterations": 2, "startTime": "1500ms"});
        let third = json!({"executor": "shared-iterations", "vus": 1, "iterations": 3, "startTime": "500ms"});
        let test =
            LoadTest::new("a", first, &[after(300)]).with("b", second, &[after(50)]).with("c", third, &[after(50)]);
        let pair = tools.run(&test);
        pair.ended(0);
        counts(&pair, 4 + 4 + 3, 4 + 4 + 3, 0);
        for (scenario, due) in [("a", 0.0), ("b", 1500.0), ("c", 500.0)] {
            let starts = pair.each(|ran| offsets(ran, scenario));
            assert!(starts.iter().all(|starts| (starts[0] - due).abs() < NEAR), "{scenario}: {starts:?}");
            agree(scenario, starts);
        }
    });
}
