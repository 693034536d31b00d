//! The open model when something goes wrong: who is to blame for what was dropped, and a server that goes and comes back.

use std::sync::Arc;
use std::time::Duration;

use connect_bench::engine::run::Run;
use connect_bench::outcome::ErrorKind;
use connect_bench::plan::{Executor, Plan, Spacing};
use connect_bench::window::Window;
use tokio::time::{advance, sleep};

use super::support::{Pipe, after, client, collect, fetches, in_virtual_time, plan, total};

fn open(rate: u32, seconds: u64, vus: u32) -> Plan {
    let mut plan = plan(1, seconds, 1);
    plan.scenarios[0].executor = Executor::ConstantArrivalRate {
        start_time: Duration::ZERO,
        rate,
        time_unit: Duration::from_secs(1),
        duration: Duration::from_secs(seconds),
        pre_allocated_vus: vus,
        max_vus: vus,
        spacing: Spacing::Even,
    };
    plan
}

/// Runs a plan on a machine that is busy elsewhere for a time, from a moment of the run on.
fn stalled(plan: Plan, pipe: Pipe, from_ms: u64, for_ms: u64) -> Window {
    in_virtual_time(async {
        let mut run = Run::start_local(Arc::new(plan), vec![pipe], &client, &fetches());
        tokio::task::spawn_local(async move {
            // The run begins 100 ms after its workers.
            sleep(Duration::from_millis(100 + from_ms)).await;
            advance(Duration::from_millis(for_ms)).await;
        });
        total(&collect(&mut run).await)
    })
}

#[test]
fn vus_that_were_busy_anyway_are_to_blame_however_late_the_generator_is() {
    // Four VUs are busy for ten seconds each; that nobody looked for one of them changes nothing.
    let all = stalled(open(100, 5, 4), Pipe::new(|_| after(10_000, "x")), 2_003, 1_000);
    let scenario = &all.scenarios[0];
    assert_eq!((scenario.iterations.scheduled, scenario.iterations.dropped), (500, 496));
    assert_eq!(scenario.dropped_late, 0);
}

#[test]
fn vus_that_are_busy_with_what_began_late_are_not_to_blame() {
    // One VU of 5 ms is enough for an arrival every 10 ms, unless three of them come at once.
    let all = stalled(open(100, 1, 1), Pipe::new(|_| after(5, "x")), 501, 30);
    let scenario = &all.scenarios[0];
    assert_eq!((scenario.iterations.scheduled, scenario.iterations.completed), (100, 98));
    assert_eq!((scenario.iterations.dropped, scenario.dropped_late), (2, 2));
}

#[test]
fn a_response_that_is_here_already_frees_its_vu_for_what_is_due() {
    // The response is due at 550 ms, the next arrival at 600 ms: when the machine comes back at 604 ms, both are there.
    let all = stalled(open(10, 1, 1), Pipe::new(|_| after(50, "x")), 520, 84);
    let scenario = &all.scenarios[0];
    assert_eq!((scenario.iterations.completed, scenario.iterations.dropped), (10, 0));
}

#[test]
fn a_server_that_goes_and_comes_back_costs_what_it_was_away_for_and_no_more() {
    let pipe = Pipe::new(|_| after(10, "x"));
    let control = pipe.clone();
    let seconds = in_virtual_time(async {
        let mut run = Run::start_local(Arc::new(open(100, 30, 50)), vec![pipe.clone()], &client, &fetches());
        tokio::task::spawn_local(async move {
            sleep(Duration::from_millis(10_100)).await;
            control.refuse.set(true);
            control.cut();
            sleep(Duration::from_secs(5)).await;
            control.refuse.set(false);
        });
        collect(&mut run).await
    });
    let all = total(&seconds);
    let (series, iterations) = (&all.series[0], all.scenarios[0].iterations);
    assert_eq!((iterations.scheduled, iterations.scheduled), (3_000, iterations.ended()));
    assert_eq!(series.errors.keys().copied().collect::<Vec<_>>(), [ErrorKind::Refused], "one kind of error");
    assert_eq!(series.requests.completed + series.errors[&ErrorKind::Refused], series.requests.scheduled);
    // Whoever cannot connect waits before the next try, so that less is tried than is due, and the rest is dropped.
    let tried = series.errors[&ErrorKind::Refused];
    assert!((50..=500).contains(&tried), "{tried}");
    assert_eq!(all.scenarios[0].dropped_late, 0);
    for (second, (_, window)) in seconds.iter().enumerate().take(30) {
        let completed = window.series[0].requests.completed;
        match second {
            0..=9 => assert!(completed >= 99, "{second}: {completed}"),
            11..=14 => assert_eq!(completed, 0, "{second}"),
            // The longest pause of those who were waiting is over by then.
            23.. => assert!((99..=101).contains(&completed), "{second}: {completed}"),
            _ => {}
        }
    }
}
