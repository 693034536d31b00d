//! A course holds everything, however many seconds become one slot.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::outcome::ErrorKind;
use crate::plan::Plan;
use crate::window::{HostSample, Window};

fn plan() -> Plan {
    serde_json::from_value(serde_json::json!({
        "schema": 1, "version": "0.1.0", "command": "load", "run_id": "a", "seed": 1, "workers": 1,
        "warm_up": 0.0, "duration": 60.0, "scenarios": [{
            "name": "fetch", "graceful_stop": 30.0, "steps": ["fetch"],
            "executor": {"executor": "constant-vus", "vus": 1, "start_time": 0.0, "duration": 60.0, "start_over": 0.0},
            "program": {"program": "fetch", "path": "/", "with_key": false, "statuses": [], "content_type": null,
                        "body_contains": null, "timeout": 60.0}}],
        "target": {"url": "http://localhost/", "sandbox": false, "connect_version": null, "node": null,
                   "sandbox_profile": null, "content_guid": null, "fetch_with_key": false},
        "http": {"user_agent": "a", "insecure": false, "reset_cookies": false},
    }))
    .unwrap()
}

fn second(at: u64, part: Part, ms: u64, n: u64) -> Second {
    let mut window = Window::new(1, 1);
    window.span_ns = Some((at * 1_000_000_000, (at + 1) * 1_000_000_000));
    let series = &mut window.series[0];
    series.requests.scheduled = n + 1;
    series.requests.completed = n;
    series.requests.failed = 1;
    series.errors.insert(ErrorKind::Timeout, 1);
    series.duration.record_n(Duration::from_millis(ms), n);
    series.nodes.entry(format!("cookie-{}", at % 2)).or_default().completed = n;
    window.scenarios[0].vu_time_ns = 3_000_000_000;
    Second { second: at, part, window, host: HostSample::default() }
}

fn course(seconds: impl Iterator<Item = Second>, publishes: &Publishes) -> Course {
    let mut builder = Builder::new(&plan(), publishes);
    seconds.for_each(|second| builder.add(&second));
    builder.finish()
}

#[test]
fn a_minute_has_a_slot_for_each_second() {
    let course = course((0..60).map(|at| second(at, Part::Steady, 20, 10)), &Publishes::default());
    assert_eq!((course.width_s, course.slots.len(), course.end_s()), (1, 60, 60));
    let slot = &course.slots[7];
    assert_eq!((slot.from_s, slot.completed, slot.failed, slot.vus), (7, 10, 1, 3.0));
    // 20 ms are 10^4.3 µs.
    assert_eq!((slot.p50_ms, slot.heat.as_slice()), (Some(20.015), &[(43, 10)][..]));
    assert_eq!(course.errors[&ErrorKind::Timeout], Seen { count: 60, first_s: 0, last_s: 59 });
}

#[test]
fn parts_never_share_a_slot_and_a_day_is_no_longer_than_half_an_hour() {
    let part = |at| if at < 101 { Part::WarmUp } else { Part::Steady };
    let course = course((0..86_400).step_by(16).map(|at| second(at, part(at), 20, 1)), &Publishes::default());
    assert!((MOST_SLOTS / 3..MOST_SLOTS).contains(&course.slots.len()), "{}", course.slots.len());
    assert_eq!(course.parts.len(), 2);
    let of = |part| course.slots.iter().filter(|slot| slot.part == part).map(|slot| slot.completed).sum::<u64>();
    assert_eq!((of(Part::WarmUp), of(Part::Steady)), (7, 5393));
}

#[test]
fn seconds_belong_to_the_phase_of_a_publish_that_takes_most_of_them() {
    let mut publishes = Publishes::default();
    let event = serde_json::json!({"event": "publish", "n": 1, "ok": true, "started_ms": 1600.0, "finished_ms": 6000.0,
        "phases_ms": {"publish_upload": 100.0, "publish_restore": 2300.0, "publish_launch": 2000.0}});
    publishes.add(serde_json::from_value(event).unwrap());
    publishes
        .add(serde_json::from_value(serde_json::json!({"event": "node", "label": "cookie-1", "name": "b"})).unwrap());
    let latency = |at| [10, 10, 50, 50, 90, 90, 10, 10][at as usize];
    let course = course((0..8).map(|at| second(at, Part::Steady, latency(at), 5)), &publishes);
    let told: Vec<_> =
        course.interference.iter().map(|d| (d.phase.as_str(), d.seconds, d.completed, d.p95_ms)).collect();
    assert_eq!(
        told,
        [("restore", 2, 10, Some(50.015)), ("launch", 2, 10, Some(90.047)), (BETWEEN, 4, 20, Some(10.007)),]
    );
    let nodes: Vec<&str> = course.slots[..2].iter().flat_map(|slot| slot.nodes.keys()).map(String::as_str).collect();
    assert_eq!(nodes, ["cookie-0", "b"]);
}

#[test]
fn what_events_may_have_in_them_is_cut_cleaned_and_counted() {
    let mut publishes = Publishes::default();
    for n in 0..3000 {
        let text = format!("\u{1b}[31m{} {}", n % 50, "x".repeat(10_000));
        let event = serde_json::json!({"event": "publish", "n": n, "started_ms": -1e300, "finished_ms": 1e300,
            "phases_ms": {"publish_upload": 5.0, "other": 1.0}, "error": {"step": "deploy", "text": text}});
        publishes.add(serde_json::from_value(event).unwrap());
    }
    assert_eq!((publishes.publishes.len(), publishes.more, publishes.failures.len()), (2000, 1000, 30));
    assert_eq!(publishes.publishes[0].phases, [(1, 5.0)]);
    assert!(publishes.failures.iter().all(|f| f.why.chars().count() <= 301 && !f.why.contains('\u{1b}')));
    let event: Event = serde_json::from_str("{\"event\": \"unknown\", \"more\": [1]}").unwrap();
    publishes.add(event);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]
    #[test]
    fn nothing_is_lost_when_slots_are_put_together(values in prop::collection::vec((1u64..5000, 0u64..50), 400..600)) {
        let seconds = values.iter().enumerate().map(|(at, (ms, n))| second(at as u64, Part::Steady, *ms, *n));
        let course = course(seconds, &Publishes::default());
        let all: u64 = values.iter().map(|(_, n)| n).sum();
        prop_assert!(course.slots.len() < MOST_SLOTS);
        prop_assert_eq!(course.slots.iter().map(|slot| slot.fetched).sum::<u64>(), all);
        prop_assert_eq!(course.slots.iter().flat_map(|slot| &slot.heat).map(|(_, n)| n).sum::<u64>(), all);
        prop_assert_eq!(course.slots.iter().map(|slot| slot.seconds).sum::<u64>(), values.len() as u64);
        prop_assert!(course.slots.windows(2).all(|two| two[0].from_s + two[0].seconds == two[1].from_s));
    }
}
