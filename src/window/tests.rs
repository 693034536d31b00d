//! Merging, and the form on disk.

use super::*;
use crate::outcome::Ended;
use proptest::prelude::*;
use std::time::Duration;

fn any_window() -> impl Strategy<Value = Window> {
    let request = (0u16..3, 1u64..5_000_000, prop::bool::ANY, 0u64..2);
    (prop::collection::vec(request, 0..20), 0u64..1000).prop_map(|(requests, from)| {
        let mut window = Window::new(3, 1);
        window.span_ns = Some((from, from + 1000));
        for (series, us, ok, node) in requests {
            let scenario = &mut window.scenarios[0];
            scenario.iterations.scheduled += 1;
            if ok {
                scenario.iterations.end(Ended::Completed);
                scenario.arrival_lateness.record(Duration::from_micros(us));
                scenario.response_time.record(Duration::from_micros(2 * us));
            } else {
                scenario.iterations.dropped += 1;
                scenario.dropped_late += node;
            }
            let s = &mut window.series[usize::from(series)];
            s.requests.scheduled += 1;
            window.checks.entry(format!("c{node}")).or_default().count(ok);
            let node = s.nodes.entry(format!("n{node}")).or_default();
            if ok {
                s.requests.end(Ended::Completed);
                node.completed += 1;
                node.duration.record(Duration::from_micros(us));
                s.duration.record(Duration::from_micros(us));
                *s.statuses.entry(200).or_default() += 1;
            } else {
                s.requests.end(Ended::Failed(ErrorKind::Timeout));
                *s.errors.entry(ErrorKind::Timeout).or_default() += 1;
            }
        }
        window
    })
}

fn merged(windows: &[&Window]) -> Window {
    let mut all = Window::default();
    for window in windows {
        all.merge(window);
    }
    all
}

proptest! {
    #[test]
    fn merging_is_associative_and_commutative(a in any_window(), b in any_window(), c in any_window()) {
        let left = merged(&[&merged(&[&a, &b]), &c]);
        prop_assert_eq!(&left, &merged(&[&a, &merged(&[&b, &c])]));
        prop_assert_eq!(&left, &merged(&[&c, &b, &a]));
        prop_assert!(left.balanced());
        let late = |w: &Window| w.scenarios[0].arrival_lateness.count();
        prop_assert_eq!(late(&left), late(&a) + late(&b) + late(&c));
        let dropped = |w: &Window| w.scenarios[0].dropped_late;
        prop_assert_eq!(dropped(&left), dropped(&a) + dropped(&b) + dropped(&c));
    }

    #[test]
    fn the_empty_window_is_neutral(a in any_window()) {
        prop_assert_eq!(&merged(&[&a, &Window::default()]), &a);
        prop_assert_eq!(&merged(&[&Window::default(), &a]), &a);
    }

    #[test]
    fn a_line_is_read_back_as_it_was_written(a in any_window()) {
        let second = Second { second: 7, part: Part::Steady, window: a, host: HostSample::default() };
        let line = serde_json::to_string(&second).unwrap();
        prop_assert_eq!(serde_json::from_str::<Second>(&line).unwrap(), second);
    }
}

#[test]
fn seconds_come_out_in_order_once_every_worker_has_handed_in() {
    let mut alignment = Alignment::new(2);
    let window = Window::new(1, 1);
    assert!(alignment.push(0, window.clone()).is_empty());
    assert!(alignment.push(1, window.clone()).is_empty());
    assert!(alignment.push(1, window.clone()).is_empty());
    let complete: Vec<u64> = alignment.push(0, window).into_iter().map(|(second, _)| second).collect();
    assert_eq!(complete, [0, 1]);
}
