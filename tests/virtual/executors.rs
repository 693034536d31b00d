//! Each executor with exact numbers: which iterations, when, and what became of those that did not begin.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use connect_bench::engine::run::{Delivery, Run};
use connect_bench::engine::worker::Order;
use connect_bench::plan::{Executor, Plan, Spacing, Stage};
use connect_bench::window::Window;
use tokio::time::{Instant, advance, sleep};

use super::support::{Pipe, after, client, collect, fetches, in_virtual_time, near, ok, plan, total};

const ZERO: Duration = Duration::ZERO;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn stage(ms: u64, target: u32) -> Stage {
    Stage { duration: Duration::from_millis(ms), target }
}

fn with(executor: Executor, seconds: u64, workers: usize) -> Plan {
    let mut plan = plan(1, seconds, workers);
    plan.scenarios[0].executor = executor;
    plan
}

fn arrivals(rate: u32, seconds: u64, pre_allocated_vus: u32, max_vus: u32) -> Executor {
    Executor::ConstantArrivalRate {
        start_time: ZERO,
        rate,
        time_unit: secs(1),
        duration: secs(seconds),
        pre_allocated_vus,
        max_vus,
        spacing: Spacing::Even,
    }
}

/// What a run measured and when its requests reached the server, ms since its start, in order.
struct Recorded {
    seconds: Vec<Window>,
    all: Window,
    times: Vec<u128>,
    dials: u64,
}

/// Runs a plan against a server that answers after `ms`.
fn record(plan: Plan, ms: u64) -> Recorded {
    let times: Rc<RefCell<Vec<Instant>>> = Rc::default();
    let log = times.clone();
    let pipe = Pipe::new(move |_| {
        log.borrow_mut().push(Instant::now());
        after(ms, "x")
    });
    let (seconds, started) = in_virtual_time(async {
        let dials = vec![pipe.clone(); plan.workers];
        let mut run = Run::start_local(Arc::new(plan), dials, &client, &fetches());
        (collect(&mut run).await, run.started())
    });
    let mut times: Vec<u128> = times.borrow().iter().map(|at| (*at - started).as_millis()).collect();
    times.sort_unstable();
    let all = total(&seconds);
    let iterations = all.scenarios[0].iterations;
    assert_eq!(iterations.scheduled, iterations.ended());
    assert_eq!(iterations.scheduled - iterations.dropped, times.len() as u64);
    Recorded { seconds: seconds.into_iter().map(|(_, w)| w).collect(), all, times, dials: pipe.dials.get() }
}

#[test]
fn arrivals_begin_when_they_are_due_on_any_number_of_workers() {
    for workers in 1..=3 {
        let run = record(with(arrivals(10, 3, 24, 24), 3, workers), 50);
        let expected: Vec<u128> = (0..30).map(|i| i * 100).collect();
        assert_eq!(run.times, expected, "{workers} workers");
        let scenario = &run.all.scenarios[0];
        assert_eq!((scenario.iterations.completed, scenario.iterations.dropped), (30, 0));
        near(run.all.series[0].response_time.max_ms(), 50.0);
        near(scenario.response_time.max_ms(), 50.0);
        assert_eq!(scenario.arrival_lateness.count(), 30);
        assert_eq!(scenario.arrival_lateness.max_ms(), Some(0.0), "not late at all");
        // A VU counts while it iterates: 10 per second for 50 ms each.
        assert_eq!(scenario.vu_time_ns, 30 * 50_000_000);
    }
}

#[test]
fn an_arrival_without_a_free_vu_is_dropped_and_never_made_up() {
    let run = record(with(arrivals(10, 2, 1, 3), 2, 1), 1050);
    assert_eq!(run.times, [0, 100, 200, 1100, 1200, 1300]);
    let scenario = &run.all.scenarios[0];
    let iterations = scenario.iterations;
    assert_eq!((iterations.scheduled, iterations.completed, iterations.dropped), (20, 6, 14));
    assert_eq!(scenario.dropped_late, 0, "the VUs were to blame");
    assert_eq!(run.dials, 3, "one VU at the beginning, two more when they were short");
}

#[test]
fn a_ramp_of_arrivals_follows_its_integral() {
    for workers in 1..=3 {
        let executor = Executor::RampingArrivalRate {
            start_time: secs(1),
            start_rate: 0,
            time_unit: secs(1),
            stages: vec![stage(2000, 10), stage(0, 2), stage(1000, 2)],
            pre_allocated_vus: 24,
            max_vus: 24,
            spacing: Spacing::Even,
        };
        let run = record(with(executor, 4, workers), 10);
        // 5 t² / 2 arrivals in the first two seconds, then one every half second.
        let ramp = (1..=10).map(|n| 1000.0 + (f64::from(n) / 2.5).sqrt() * 1000.0);
        let expected: Vec<f64> = ramp.chain([3500.0, 4000.0]).collect();
        assert_eq!(run.times.len(), expected.len(), "{:?}", run.times);
        for (time, expected) in run.times.iter().zip(expected) {
            // The virtual clock has a resolution of 1 ms.
            assert!((*time as f64 - expected).abs() <= 1.0, "{time} is not {expected}");
        }
    }
}

#[test]
fn poisson_arrivals_are_the_same_for_the_same_seed_on_any_number_of_workers() {
    let run = |seed, workers| {
        let Executor::ConstantArrivalRate { start_time, rate, time_unit, duration, pre_allocated_vus, max_vus, .. } =
            arrivals(50, 10, 40, 40)
        else {
            return Vec::new();
        };
        let spacing = Spacing::Poisson;
        let executor = Executor::ConstantArrivalRate {
            start_time,
            rate,
            time_unit,
            duration,
            pre_allocated_vus,
            max_vus,
            spacing,
        };
        let mut plan = with(executor, 10, workers);
        plan.seed = seed;
        record(plan, 1).times
    };
    let one = run(1, 1);
    assert!((400..600).contains(&one.len()), "{}", one.len());
    assert_eq!(run(1, 3), one);
    assert_ne!(run(2, 1), one);
    let gaps: Vec<u128> = one.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().any(|gap| *gap > 60) && gaps.iter().any(|gap| *gap < 2), "not evenly spaced");
}

#[test]
fn vus_ramp_in_whole_steps_and_are_shared_over_workers() {
    for workers in 1..=3 {
        let stages = vec![stage(4000, 4), stage(2000, 4), stage(4000, 0), stage(1000, 0)];
        let executor = Executor::RampingVus { start_time: ZERO, start_vus: 0, stages, graceful_ramp_down: secs(30) };
        let run = record(with(executor, 11, workers), 100);
        // At the end of each second, before what happens at that very moment.
        let vus: Vec<u64> = run.seconds[..11].iter().map(|window| window.scenarios[0].vus).collect();
        assert_eq!(vus, [0, 1, 2, 3, 4, 4, 4, 3, 2, 1, 0], "{workers} workers");
        assert_eq!(run.times[0], 1000);
        let iterations = run.all.scenarios[0].iterations;
        assert_eq!((iterations.dropped, iterations.interrupted), (0, 0));
        // Up 10 + 20 + 30, held 3 × 40, down 30 + 20 + 10; one more for each VU that goes at the edge of an iteration.
        assert!((240..=244).contains(&iterations.completed), "{}", iterations.completed);
    }
}

#[test]
fn a_vu_that_is_ramped_down_is_cut_off_after_its_grace() {
    let stages = vec![stage(2000, 2), stage(0, 0), stage(6000, 0)];
    let executor = Executor::RampingVus { start_time: ZERO, start_vus: 2, stages, graceful_ramp_down: secs(1) };
    let run = record(with(executor, 8, 1), 10_000);
    let series = &run.all.series[0];
    assert_eq!((series.requests.scheduled, series.requests.interrupted), (2, 2));
    let age = series.interrupted_age.max_ms().unwrap();
    assert!((3000.0..3050.0).contains(&age), "{age}");
    assert_eq!(run.seconds[4].scenarios[0].vus, 0);
}

#[test]
fn a_vu_that_is_wanted_again_before_it_has_gone_stays() {
    let stages = vec![stage(1000, 2), stage(0, 1), stage(1000, 1), stage(0, 2), stage(4000, 2)];
    let executor = Executor::RampingVus { start_time: ZERO, start_vus: 2, stages, graceful_ramp_down: secs(30) };
    let run = record(with(executor, 6, 1), 1500);
    assert_eq!(run.times, [0, 0, 1500, 2000, 3000, 3500, 4500, 5000]);
    // The first one was at the end of its iteration when it was to go, and went: a new one came in its place.
    assert_eq!(run.dials, 3);
    let stages = vec![stage(1000, 2), stage(0, 1), stage(200, 1), stage(0, 2), stage(4800, 2)];
    let executor = Executor::RampingVus { start_time: ZERO, start_vus: 2, stages, graceful_ramp_down: secs(30) };
    let run = record(with(executor, 6, 1), 1500);
    assert_eq!((run.times, run.dials), (vec![0, 0, 1500, 1500, 3000, 3000, 4500, 4500], 2));
}

#[test]
fn shared_iterations_are_first_come_first_served_over_all_workers() {
    for workers in 1..=3 {
        let max_duration = secs(60);
        let executor = Executor::SharedIterations { start_time: ZERO, vus: 10, iterations: 25, max_duration };
        let run = record(with(executor, 60, workers), 100);
        let iterations = run.all.scenarios[0].iterations;
        assert_eq!((iterations.scheduled, iterations.completed), (25, 25), "{workers} workers");
        assert_eq!(run.times.iter().filter(|time| **time == 200).count(), 5, "{:?}", run.times);
        assert!(run.seconds.len() == 1, "it ends when they are done");
    }
}

#[test]
fn shared_iterations_that_nobody_came_to_are_dropped() {
    for workers in 1..=3 {
        let max_duration = secs(2);
        let executor = Executor::SharedIterations { start_time: ZERO, vus: 4, iterations: 100, max_duration };
        let mut plan = with(executor, 2, workers);
        let run = record(plan.clone(), 300);
        let iterations = run.all.scenarios[0].iterations;
        assert_eq!((iterations.completed, iterations.dropped, iterations.interrupted), (28, 72, 0));
        plan.scenarios[0].graceful_stop = ZERO;
        let iterations = record(plan, 300).all.scenarios[0].iterations;
        assert_eq!((iterations.completed, iterations.dropped, iterations.interrupted), (24, 72, 4));
    }
}

#[test]
fn each_vu_makes_its_own_iterations() {
    for workers in 1..=3 {
        let executor = Executor::PerVuIterations { start_time: secs(1), vus: 3, iterations: 4, max_duration: secs(9) };
        let run = record(with(executor, 10, workers), 100);
        assert_eq!(run.times, [1000, 1000, 1000, 1100, 1100, 1100, 1200, 1200, 1200, 1300, 1300, 1300]);
        let executor = Executor::PerVuIterations { start_time: ZERO, vus: 3, iterations: 10, max_duration: secs(1) };
        let iterations = record(with(executor, 1, workers), 300).all.scenarios[0].iterations;
        assert_eq!((iterations.completed, iterations.dropped), (12, 18));
    }
}

#[test]
fn pacing_keeps_the_beginnings_of_iterations_apart() {
    let mut paced = plan(2, 5, 1);
    paced.scenarios[0].pacing = secs(1);
    let run = record(paced, 100);
    assert_eq!(run.times, [0, 0, 1000, 1000, 2000, 2000, 3000, 3000, 4000, 4000]);
    let scenario = &run.all.scenarios[0];
    assert_eq!(scenario.pause_ns, 2 * 5 * 900_000_000);
    near(scenario.iteration_duration.max_ms(), 100.0);
    assert_eq!(run.seconds.len(), 6, "the last rest ends with the scenario");
}

#[test]
fn no_iteration_begins_at_the_end_of_its_time() {
    let run = record(plan(3, 2, 1), 500);
    assert_eq!(run.times, [0, 0, 0, 500, 500, 500, 1000, 1000, 1000, 1500, 1500, 1500]);
}

/// Stalls everything that arrives in the sixth second until its end.
fn stalling() -> Pipe {
    let began: Rc<Cell<Option<Instant>>> = Rc::default();
    Pipe::new(move |_| {
        let first = began.get().unwrap_or_else(Instant::now);
        began.set(Some(first));
        async move {
            let at = first.elapsed();
            let stall = if (secs(5)..secs(6)).contains(&at) { secs(6) - at } else { ZERO };
            sleep(stall + Duration::from_millis(10)).await;
            ok("x")
        }
    })
}

#[test]
fn a_stall_that_a_closed_loop_hides_shows_in_the_response_time() {
    let run = |plan: Plan| {
        let pipe = stalling();
        in_virtual_time(async {
            let mut run = Run::start_local(Arc::new(plan), vec![pipe], &client, &fetches());
            total(&collect(&mut run).await)
        })
    };
    // One VU waits the stall out: of 1900 requests one sees it.
    let closed = run(plan(1, 20, 1));
    near(closed.series[0].duration.quantile_ms(0.99), 10.0);
    assert!(closed.series[0].response_time.is_empty(), "no schedule, no response time");
    // A hundred arrive in that second whatever the server does: 5 % of them all.
    let open = run(with(arrivals(100, 20, 10, 200), 20, 1));
    assert_eq!(open.scenarios[0].iterations.dropped, 0);
    near(open.series[0].response_time.quantile_ms(0.95), 10.0);
    let p99 = open.series[0].response_time.quantile_ms(0.99).unwrap();
    assert!((790.0..830.0).contains(&p99), "{p99}");
    near(open.series[0].response_time.max_ms(), 1010.0);
}

#[test]
fn a_generator_that_stalls_is_late_and_says_so() {
    let pipe = Pipe::new(|_| after(1, "x"));
    let all = in_virtual_time(async {
        let plan = with(arrivals(100, 10, 40, 40), 10, 1);
        let mut run = Run::start_local(Arc::new(plan), vec![pipe], &client, &fetches());
        tokio::task::spawn_local(async {
            // The run begins 100 ms after its workers: this is 5.006 s of the run. By 6.006 s a hundred are due, the last
            // of them for 6 ms, and the forty that begin then are over before the next one is due at 6.01 s.
            sleep(Duration::from_millis(5_106)).await;
            // Nothing else runs in this second: a machine that was busy elsewhere.
            advance(secs(1)).await;
        });
        total(&collect(&mut run).await)
    });
    let scenario = &all.scenarios[0];
    let iterations = scenario.iterations;
    assert_eq!((iterations.scheduled, iterations.completed), (1000, 940));
    assert_eq!((iterations.dropped, scenario.dropped_late), (60, 60), "the VUs are not to blame");
    near(all.series[0].duration.max_ms(), 1.0);
    let (response, lag) = (all.series[0].response_time.max_ms().unwrap(), scenario.arrival_lateness.max_ms().unwrap());
    // Due at 5.01 s, begun at 6.006 s.
    near(Some(lag), 996.0);
    near(Some(response), 997.0);
}

#[test]
fn what_an_open_scenario_has_begun_may_finish_and_is_cut_off_then() {
    let mut plan = with(arrivals(2, 2, 8, 8), 2, 1);
    let run = record(plan.clone(), 3000);
    assert_eq!((run.times.len(), run.all.scenarios[0].iterations.completed), (4, 4));
    plan.scenarios[0].graceful_stop = secs(2);
    let iterations = record(plan, 3000).all.scenarios[0].iterations;
    assert_eq!((iterations.completed, iterations.interrupted), (2, 2), "those of 0.5 s and before end by 4 s");
}

#[test]
fn a_stop_ends_the_arrivals_at_once() {
    let pipe = Pipe::new(|_| after(100, "x"));
    let plan = with(arrivals(1, 3600, 8, 8), 3600, 2);
    in_virtual_time(async {
        let mut run = Run::start_local(Arc::new(plan), vec![pipe.clone(), pipe], &client, &fetches());
        let mut all = Window::default();
        while let Some(delivery) = run.next().await {
            let Delivery::Second(second) = delivery else { continue };
            if second.second == 2 {
                run.order(Order::Stop);
            }
            all.merge(&second.window);
        }
        assert!(run.started().elapsed() < secs(4));
        assert_eq!((all.scenarios[0].iterations.scheduled, all.scenarios[0].iterations.completed), (4, 4));
    });
}

#[test]
fn the_same_plan_with_every_executor_gives_the_same_windows_byte_for_byte() {
    let once = || {
        let mut plan = with(arrivals(30, 6, 4, 20), 6, 3);
        let ramp = vec![stage(3000, 6), stage(3000, 1)];
        let others = [
            Executor::RampingVus { start_time: ZERO, start_vus: 1, stages: ramp, graceful_ramp_down: secs(1) },
            Executor::SharedIterations { start_time: secs(1), vus: 5, iterations: 60, max_duration: secs(4) },
            Executor::PerVuIterations { start_time: secs(2), vus: 5, iterations: 7, max_duration: secs(4) },
        ];
        for (at, executor) in others.into_iter().enumerate() {
            let mut scenario = plan.scenarios[0].clone();
            scenario.name = format!("other-{at}");
            scenario.executor = executor;
            plan.scenarios.push(scenario);
        }
        let turn = Cell::new(0u64);
        let pipe = Pipe::new(move |_| {
            turn.set(turn.get() + 1);
            after(5 + (turn.get() * 7919) % 131, "x")
        });
        let windows = in_virtual_time(async {
            let mut run = Run::start_local(Arc::new(plan), vec![pipe.clone(), pipe.clone(), pipe], &client, &fetches());
            collect(&mut run).await
        });
        serde_json::to_string(&windows).unwrap()
    };
    assert!(once() == once());
}
