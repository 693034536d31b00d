//! Whole runs in virtual time: the real engine and a real HTTP server over an in-memory pipe, with exact numbers.
//!
//! The clock is paused and jumps to the next timer when nothing is left to do, so 60 virtual seconds take milliseconds,
//! and a latency of 20 ms is 20 ms to the last digit.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use connect_bench::engine::fetch::Fetch;
use connect_bench::engine::program::{Exchange, Expect, Program, Request, SeriesId};
use connect_bench::engine::run::{Delivery, Run};
use connect_bench::engine::worker::{Order, Programs};
use connect_bench::outcome::ErrorKind;
use connect_bench::plan::Executor;
use connect_bench::window::Part;
use tokio::time::Instant;

#[path = "virtual/control.rs"]
mod control;
#[path = "virtual/executors.rs"]
mod executors;
#[path = "virtual/fall.rs"]
mod fall;
#[path = "virtual/open.rs"]
mod open;
#[path = "virtual/steps.rs"]
mod steps;
#[path = "virtual/support.rs"]
mod support;

use support::{Fetches, Pipe, after, client, collect, fetches, in_virtual_time, near, ok, plan, run_to_end, total};

#[test]
fn ten_vus_at_twenty_ms_make_exactly_five_hundred_requests_a_second() {
    let pipe = Pipe::new(|_| after(20, "x"));
    let seconds = run_to_end(plan(10, 60, 2), &pipe, &fetches());
    for (at, (part, window)) in seconds[..60].iter().enumerate() {
        assert_eq!(*part, Part::Steady);
        // What ends at the very end of a second belongs to the next one.
        assert_eq!(window.series[0].requests.completed, if at == 0 { 490 } else { 500 });
        assert_eq!(window.scenarios[0].vus, 10);
        assert_eq!(window.scenarios[0].vu_time_ns, 10_000_000_000);
    }
    let all = total(&seconds);
    let requests = all.series[0].requests;
    assert_eq!(requests.scheduled, requests.completed);
    assert_eq!(all.series[0].duration.mean_ms(), Some(20.0));
    near(all.series[0].waiting.quantile_ms(1.0), 20.0);
    // One connection per VU for the whole run.
    assert_eq!((all.series[0].connections, pipe.dials.get()), (10, 10));
    assert_eq!((all.series[0].sent, pipe.received.get()), (requests.scheduled, requests.scheduled));
}

#[test]
fn the_same_plan_gives_the_same_windows_byte_for_byte() {
    let once = || {
        let count = Cell::new(0u64);
        let pipe = Pipe::new(move |_| {
            count.set(count.get() + 1);
            after(5 + (count.get() * 7919) % 31, "x")
        });
        let seconds = run_to_end(plan(7, 20, 2), &pipe, &fetches());
        serde_json::to_string(&seconds).unwrap()
    };
    assert_eq!(once(), once());
}

#[test]
fn a_stall_shows_in_the_latencies_and_in_the_second_it_happened() {
    let stalled = Rc::new(Cell::new(false));
    let pipe = Pipe::new(move |_| {
        let stalled = stalled.clone();
        async move {
            if !stalled.replace(true) {
                tokio::time::sleep(Duration::from_secs(3)).await;
            } else {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            ok("x")
        }
    });
    let seconds = run_to_end(plan(1, 10, 1), &pipe, &fetches());
    let completed: Vec<u64> = seconds[..5].iter().map(|(_, w)| w.series[0].requests.completed).collect();
    assert_eq!(completed, [0, 0, 0, 100, 100]);
    near(total(&seconds).series[0].duration.max_ms(), 3000.0);
}

#[test]
fn what_never_answers_times_out_and_what_is_cut_at_the_end_is_counted() {
    let pipe = Pipe::new(|_| async {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        ok("x")
    });
    let programs: Arc<dyn Programs> = Arc::new(Fetches { timeout: Duration::from_secs(4), expect: Expect::default() });
    let mut plan = plan(10, 10, 1);
    plan.scenarios[0].graceful_stop = Duration::from_secs(1);
    let seconds = run_to_end(plan, &pipe, &programs);
    let all = total(&seconds);
    let requests = all.series[0].requests;
    assert_eq!((requests.completed, requests.failed, requests.interrupted), (0, 20, 10));
    assert_eq!(all.series[0].errors[&ErrorKind::Timeout], 20);
    assert_eq!(requests.scheduled, pipe.received.get());
    assert_eq!(all.series[0].sent, pipe.received.get());
    assert_eq!(all.series[0].duration.count(), 0);
    let age = all.series[0].interrupted_age.max_ms().unwrap();
    assert!((2_900.0..3_200.0).contains(&age), "{age}");
    assert_eq!(all.scenarios[0].iterations.interrupted, 10);
}

#[test]
fn statuses_and_bodies_are_checked_and_failures_are_kept_apart() {
    let turn = Cell::new(0u32);
    let pipe = Pipe::new(move |_| {
        turn.set(turn.get() + 1);
        let turn = turn.get() % 4;
        async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            match turn {
                0 => {
                    let mut error = ok("error page");
                    *error.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
                    error
                }
                1 => ok("<html>please log in</html>"),
                _ => ok(r#"{"ticker":"AAPL"}"#),
            }
        }
    });
    let expect = Expect {
        statuses: vec![200],
        body_contains: Some(Bytes::from_static(br#""ticker":"AAPL""#)),
        content_type: None,
        ..Expect::default()
    };
    let programs: Arc<dyn Programs> = Arc::new(Fetches { timeout: Duration::from_secs(4), expect });
    let seconds = run_to_end(plan(1, 4, 1), &pipe, &programs);
    let series = &total(&seconds).series[0];
    assert_eq!((series.requests.completed, series.requests.failed), (200, 200));
    assert_eq!(series.errors[&ErrorKind::Status(503)], 100);
    assert_eq!(series.errors[&ErrorKind::Body], 100);
    assert_eq!(series.statuses[&200], 300);
    assert_eq!(series.duration.count(), 200);
    assert_eq!(series.failed_duration.count(), 200);
}

#[test]
fn a_server_that_closes_idle_connections_is_met_again_without_a_failure() {
    let pipe = Pipe::new(|_| async {
        let mut response = after(10, "x").await;
        response.headers_mut().insert("connection", http::HeaderValue::from_static("close"));
        response
    });
    let seconds = run_to_end(plan(2, 5, 1), &pipe, &fetches());
    let series = &total(&seconds).series[0];
    assert_eq!(series.requests.failed, 0);
    assert_eq!(series.connections, series.requests.completed);
}

#[test]
fn a_server_that_is_gone_is_tried_again_with_back_off() {
    let pipe = Pipe::new(|_| after(10, "x"));
    let control = pipe.clone();
    let seconds = in_virtual_time(async {
        let mut run = Run::start_local(Arc::new(plan(10, 60, 1)), vec![pipe.clone()], &client, &fetches());
        tokio::task::spawn_local(async move {
            tokio::time::sleep(Duration::from_millis(10_100)).await;
            control.refuse.set(true);
            control.cut();
            tokio::time::sleep(Duration::from_secs(20)).await;
            control.refuse.set(false);
        });
        collect(&mut run).await
    });
    let all = total(&seconds);
    let refused = all.series[0].errors[&ErrorKind::Refused];
    assert!((40..400).contains(&refused), "{refused} attempts by 10 VUs in 20 s");
    assert_eq!(all.series[0].requests.completed + refused, all.series[0].requests.scheduled);
    assert_eq!(seconds[55].1.series[0].requests.completed, 1000);
    assert!(all.scenarios[0].pause_ns > 100_000_000_000, "back-off is not time in requests");
    // The ten that were under way when the connections were cut had reached the server, and were sent again.
    assert_eq!(all.series[0].retried, 10);
    assert_eq!(all.series[0].sent + all.series[0].retried, pipe.received.get());
}

#[test]
fn vus_follow_orders_up_and_down() {
    let pipe = Pipe::new(|_| after(100, "x"));
    let mut plan = plan(1, 3600, 2);
    plan.scenarios[0].executor = Executor::Searched { start_vus: 4, max_vus: 100 };
    let seconds = in_virtual_time(async {
        let mut run = Run::start_local(Arc::new(plan), vec![pipe.clone(), pipe.clone()], &client, &fetches());
        let mut seconds = Vec::new();
        while let Some(delivery) = run.next().await {
            let Delivery::Second(second) = delivery else { continue };
            match second.second {
                4 => run.order(Order::SetVus { scenario: 0, vus: 15, over: Duration::from_secs(1) }),
                9 => run.order(Order::SetVus { scenario: 0, vus: 3, over: Duration::from_secs(1) }),
                14 => run.order(Order::Stop),
                _ => {}
            }
            seconds.push((second.part, second.window));
        }
        seconds
    });
    let vus: Vec<u64> = seconds.iter().map(|(_, w)| w.scenarios[0].vus).collect();
    assert_eq!(vus[1..5], [4, 4, 4, 4]);
    assert_eq!(vus[6..10], [15, 15, 15, 15]);
    assert_eq!(vus[11..15], [3, 3, 3, 3]);
    let rates: Vec<u64> = seconds.iter().map(|(_, w)| w.series[0].requests.completed).collect();
    assert_eq!((rates[3], rates[8], rates[13]), (40, 150, 30));
    let all = total(&seconds);
    assert_eq!(all.series[0].requests.interrupted, 0);
    assert_eq!(all.series[0].requests.scheduled, all.series[0].requests.completed);
}

#[test]
fn arrivals_follow_orders_up_down_and_to_none() {
    let pipe = Pipe::new(|_| after(100, "x"));
    let mut plan = plan(1, 3600, 2);
    plan.scenarios[0].executor =
        Executor::SearchedRate { start_rate: 40, max_rate: 400, pre_allocated_vus: 10, max_vus: 100 };
    let seconds = in_virtual_time(async {
        let mut run = Run::start_local(Arc::new(plan), vec![pipe.clone(), pipe.clone()], &client, &fetches());
        let rate = |rate| Order::SetRate { scenario: 0, rate, from: Instant::now() + Duration::from_millis(20) };
        let mut seconds = Vec::new();
        while let Some(delivery) = run.next().await {
            let Delivery::Second(second) = delivery else { continue };
            match second.second {
                9 => run.order(rate(200)),
                19 => run.order(rate(0)),
                24 => run.order(rate(20)),
                34 => run.order(Order::Stop),
                _ => {}
            }
            seconds.push((second.part, second.window));
        }
        seconds
    });
    let due = |range: std::ops::Range<usize>| -> u64 {
        seconds[range].iter().map(|(_, window)| window.scenarios[0].iterations.scheduled).sum()
    };
    // Poisson: within four standard deviations.
    let expected = [(0..9, 360.0_f64), (11..19, 1600.0), (26..34, 160.0)];
    for (range, mean) in expected {
        let counted = due(range.clone()) as f64;
        assert!((counted - mean).abs() < 4.0 * mean.sqrt(), "{counted} in seconds {range:?}, and not {mean}");
    }
    assert_eq!(due(21..25), 0);
    assert_eq!(seconds[22].1.series[0].requests.carried_out, 0);
    let all = total(&seconds);
    assert_eq!(all.scenarios[0].iterations.dropped, 0);
    assert_eq!(all.series[0].requests.scheduled, all.series[0].requests.completed);
    assert!(all.series[0].response_time.quantile_ms(0.5).is_some_and(|ms| (99.0..103.0).contains(&ms)));
}

#[test]
fn scenarios_run_side_by_side_and_one_after_the_other() {
    let pipe = Pipe::new(|_| after(100, "x"));
    let mut plan = plan(2, 10, 2);
    let mut second = plan.scenarios[0].clone();
    second.name = "later".to_owned();
    let seconds = Duration::from_secs;
    second.executor =
        Executor::ConstantVus { vus: 5, start_time: seconds(4), duration: seconds(3), start_over: Duration::ZERO };
    plan.scenarios.push(second);
    let programs: Arc<dyn Programs> = Arc::new(Scenarios);
    let windows = run_to_end(plan, &pipe, &programs);
    let vus: Vec<(u64, u64)> = windows[..10].iter().map(|(_, w)| (w.scenarios[0].vus, w.scenarios[1].vus)).collect();
    assert_eq!(vus[2], (2, 0));
    assert_eq!(vus[5], (2, 5));
    assert_eq!(vus[8], (2, 0));
    let all = total(&windows);
    assert_eq!(all.series[1].requests.completed, 150);
    assert_eq!(all.series[0].requests.scheduled, all.series[0].requests.completed);
}

/// Fetches, counted under the scenario's own series.
struct Scenarios;

impl Programs for Scenarios {
    fn program(&self, scenario: usize, _vu: u32) -> Box<dyn Program> {
        let request = Request {
            method: http::Method::GET,
            target: "/".parse().unwrap(),
            headers: http::HeaderMap::new(),
            body: Bytes::new(),
        };
        let series = SeriesId(scenario as u16);
        let timeout = Duration::from_secs(60);
        Box::new(Fetch::new(Rc::new(Exchange { series, request, expect: Expect::default(), keep_body: 0, timeout })))
    }
}

#[test]
fn the_hard_stop_cuts_off_at_once() {
    let pipe = Pipe::new(|_| after(5_000, "x"));
    let seconds = in_virtual_time(async {
        let mut run = Run::start_local(Arc::new(plan(8, 60, 1)), vec![pipe.clone()], &client, &fetches());
        let mut seconds = Vec::new();
        while let Some(delivery) = run.next().await {
            let Delivery::Second(second) = delivery else { continue };
            if second.second == 1 {
                run.order(Order::Kill);
            }
            seconds.push((second.part, second.window));
        }
        assert!(run.started().elapsed() < Duration::from_millis(2_200));
        seconds
    });
    let requests = total(&seconds).series[0].requests;
    assert_eq!((requests.scheduled, requests.interrupted), (8, 8));
}
