//! Orders while a run is on: pause, resume, VUs up and down, stop.

use std::sync::Arc;
use std::time::Duration;

use connect_bench::engine::run::{Delivery, Run};
use connect_bench::engine::worker::Order;
use connect_bench::plan::{Executor, Plan, Spacing};
use connect_bench::window::{Part, Window};
use tokio::time::sleep_until;

use super::support::{Pipe, after, client, collect, fetches, in_virtual_time, plan, total};

/// Runs a plan and gives orders, each at its time, ms since the start of the run.
fn steered(plan: Plan, latency_ms: u64, orders: &[(u64, Order)]) -> Vec<(Part, Window)> {
    in_virtual_time(async {
        let pipes = vec![Pipe::new(move |_| after(latency_ms, "x")); plan.workers];
        let mut run = Run::start_local(Arc::new(plan), pipes, &client, &fetches());
        let mut orders = orders.iter().copied();
        let mut next = orders.next();
        let mut seconds = Vec::new();
        loop {
            let at = next.map(|(ms, _)| run.started() + Duration::from_millis(ms));
            let due = sleep_until(at.unwrap_or(run.started()));
            let delivery = tokio::select! {
                delivery = run.next() => Some(delivery),
                () = due, if at.is_some() => None,
            };
            match delivery {
                None => {
                    run.order(next.map(|(_, order)| order).unwrap());
                    next = orders.next();
                }
                Some(None) => return seconds,
                Some(Some(Delivery::Second(second))) => {
                    assert!(second.window.balanced());
                    seconds.push((second.part, second.window));
                }
                Some(Some(Delivery::Event(_) | Delivery::Points(_) | Delivery::Fell(_))) => {}
            }
        }
    })
}

fn parts(seconds: &[(Part, Window)]) -> String {
    let letter = |part: &Part| match part {
        Part::WarmUp => 'w',
        Part::Steady => 's',
        Part::Paused => 'p',
        Part::Stopping => 'e',
    };
    seconds.iter().map(|(part, _)| letter(part)).collect()
}

fn vus(vus: u32) -> Order {
    Order::SetVus { scenario: 0, vus, over: Duration::ZERO }
}

#[test]
fn vus_finish_what_they_have_begun_hold_and_go_on() {
    let mut plan = plan(10, 10, 2);
    plan.warm_up = Duration::from_secs(1);
    let seconds = steered(plan, 20, &[(2_005, Order::Pause), (5_010, Order::Resume)]);
    assert_eq!(parts(&seconds), "wsppppsssse");
    let all = total(&seconds);
    // Begun at 0, 20, … 2000 ms by each VU, and then at 5010, 5030, … 9990 ms.
    let requests = all.series[0].requests;
    assert_eq!((requests.scheduled, requests.completed), (10 * (101 + 250), 10 * (101 + 250)));
    assert_eq!((seconds[3].1.series[0].requests.scheduled, seconds[4].1.series[0].requests.ended()), (0, 0));
    // Holding is waiting on purpose, and the VUs are there all the time.
    assert_eq!(all.scenarios[0].pause_ns, 10 * (5_010 - 2_020) * 1_000_000);
    assert_eq!(seconds[3].1.scenarios[0].vus, 10);
    // Connections are kept.
    assert_eq!(all.series[0].connections, 10);
}

#[test]
fn arrivals_that_fall_due_in_a_pause_are_neither_scheduled_nor_dropped() {
    let open = |spacing, workers| {
        let mut plan = plan(1, 10, workers);
        plan.scenarios[0].executor = Executor::ConstantArrivalRate {
            start_time: Duration::ZERO,
            rate: 100,
            time_unit: Duration::from_secs(1),
            duration: Duration::from_secs(10),
            pre_allocated_vus: 10,
            max_vus: 10,
            spacing,
        };
        plan
    };
    let pause = [(2_005, Order::Pause), (5_005, Order::Resume), (7_001, Order::Pause), (7_002, Order::Resume)];
    for workers in [1, 2] {
        let seconds = steered(open(Spacing::Even, workers), 8, &pause);
        assert_eq!(parts(&seconds), "ssppppspsse");
        let all = total(&seconds);
        let iterations = all.scenarios[0].iterations;
        // Those due at 2010, 2020, … 5000 ms; a millisecond between two of them costs none.
        assert_eq!((iterations.scheduled, iterations.completed, iterations.dropped), (700, 700, 0));
        assert_eq!(seconds[3].1.scenarios[0].iterations.scheduled, 0);
        // Nobody is late for an arrival that was not scheduled.
        assert!(all.scenarios[0].response_time.max_ms().unwrap() < 11.0);
    }
    // At random: exactly those of the same run without a pause whose time does not lie in it.
    let whole = steered(open(Spacing::Poisson, 1), 8, &[]);
    let paused = steered(open(Spacing::Poisson, 1), 8, &[(3_000, Order::Pause), (6_000, Order::Resume)]);
    let due = |seconds: &[(Part, Window)], from: usize, to: usize| -> u64 {
        seconds[from..to].iter().map(|(_, window)| window.scenarios[0].iterations.scheduled).sum()
    };
    assert_eq!(due(&paused, 0, 3), due(&whole, 0, 3));
    assert_eq!(due(&paused, 3, 6), 0);
    assert_eq!(due(&paused, 6, 10), due(&whole, 6, 10));
}

#[test]
fn a_pause_costs_no_iteration_that_is_counted_beforehand() {
    for shared in [true, false] {
        let mut plan = plan(5, 60, 2);
        let (start_time, max_duration) = (Duration::ZERO, Duration::from_secs(60));
        plan.scenarios[0].executor = match shared {
            true => Executor::SharedIterations { start_time, vus: 5, iterations: 500, max_duration },
            false => Executor::PerVuIterations { start_time, vus: 5, iterations: 100, max_duration },
        };
        let seconds = steered(plan, 100, &[(3_050, Order::Pause), (20_000, Order::Resume)]);
        let iterations = total(&seconds).scenarios[0].iterations;
        assert_eq!((iterations.scheduled, iterations.completed, iterations.dropped), (500, 500, 0));
        // 31 rounds before, 69 after.
        assert_eq!(seconds.len(), 27, "{}", parts(&seconds));
    }
}

#[test]
fn the_clock_goes_on_in_a_pause_and_the_end_comes_when_it_was_planned() {
    let mut limited = plan(5, 10, 1);
    limited.scenarios[0].executor = Executor::SharedIterations {
        start_time: Duration::ZERO,
        vus: 5,
        iterations: 5_000,
        max_duration: Duration::from_secs(10),
    };
    let seconds = steered(limited, 100, &[(2_050, Order::Pause)]);
    assert_eq!(parts(&seconds), "ssppppppppe");
    let iterations = total(&seconds).scenarios[0].iterations;
    // Nobody took the rest in time.
    assert_eq!((iterations.completed, iterations.dropped), (5 * 21, 5_000 - 5 * 21));
}

#[test]
fn vus_that_come_in_a_pause_hold_and_those_that_go_leave() {
    let orders = [(2_050, Order::Pause), (3_000, vus(20)), (4_000, vus(2)), (5_000, vus(7)), (6_050, Order::Resume)];
    let seconds = steered(plan(10, 10, 2), 100, &orders);
    let at: Vec<u64> = seconds.iter().map(|(_, window)| window.scenarios[0].vus).collect();
    assert_eq!(at[..10], [10, 10, 10, 20, 2, 7, 7, 7, 7, 7]);
    let completed: Vec<u64> = seconds.iter().map(|(_, window)| window.series[0].requests.completed).collect();
    assert_eq!(completed[3..6], [0, 0, 0]);
    assert_eq!(completed[7..10], [70, 70, 70]);
    // 21 rounds of ten, and then 40 of seven.
    assert_eq!(total(&seconds).series[0].requests.completed, 21 * 10 + 40 * 7);
}

#[test]
fn an_order_that_comes_before_the_executor_has_begun_is_not_undone_by_it() {
    // The first one is there before the workers are.
    let before = in_virtual_time(async {
        let pipes = vec![Pipe::new(|_| after(100, "x")); 2];
        let mut run = Run::start_local(Arc::new(plan(10, 5, 2)), pipes, &client, &fetches());
        run.order(vus(15));
        collect(&mut run).await
    });
    assert!(before[..5].iter().all(|(_, window)| window.scenarios[0].vus == 15));
    assert_eq!(total(&before).series[0].requests.completed, 15 * 50);
    // And in the middle of the start of the others.
    let mut slow = plan(10, 5, 2);
    let (start_time, duration, start_over) = (Duration::ZERO, Duration::from_secs(5), Duration::from_secs(1));
    slow.scenarios[0].executor = Executor::ConstantVus { vus: 10, start_time, duration, start_over };
    let seconds = steered(slow, 100, &[(450, vus(15)), (480, vus(6)), (700, vus(12))]);
    assert!(seconds[1..5].iter().all(|(_, window)| window.scenarios[0].vus == 12), "{}", parts(&seconds));
}

#[test]
fn a_stop_ends_a_pause_and_the_measured_part() {
    let seconds = steered(plan(10, 60, 1), 100, &[(2_050, Order::Pause), (4_500, Order::Stop)]);
    assert_eq!(parts(&seconds), "ssppe");
    assert_eq!(total(&seconds).series[0].requests.completed, 210);
    let seconds = steered(plan(10, 60, 1), 1_000, &[(3_500, Order::Stop)]);
    // What was begun at 3 s ends at 4 s.
    assert_eq!(parts(&seconds), "sssee");
    assert_eq!(total(&seconds).series[0].requests.completed, 40);
}

#[test]
fn a_pause_cut_off_by_the_hard_stop_leaves_nobody_behind() {
    let seconds = steered(plan(10, 60, 2), 100, &[(1_050, Order::Pause), (2_500, Order::Kill)]);
    let all = total(&seconds);
    assert_eq!((all.series[0].requests.completed, all.scenarios[0].iterations.interrupted), (110, 0));
}
