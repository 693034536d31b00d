//! Tests of which process takes a request.

use super::*;
use serde_json::{Map, Value, json};

const SECOND: Duration = Duration::from_secs(1);

fn runtime(settings: &Value) -> Runtime {
    Runtime::of(settings.as_object().unwrap_or(&Map::new()))
}

/// A pool with that many ready processes, made by `tick`.
fn warm(now: Instant, runtime: &Runtime) -> Pool {
    let mut pool = Pool::new();
    for action in pool.tick(now, runtime) {
        let Action::Start(id, _) = action else { panic!("{action:?}") };
        assert_eq!(pool.ready(now, id), []);
    }
    pool
}

fn count(actions: &[Action], which: impl Fn(&Action) -> bool) -> usize {
    actions.iter().filter(|action| which(action)).count()
}

#[test]
fn the_first_request_starts_a_process_and_waits_for_it() {
    let (now, runtime) = (Instant::now(), runtime(&json!({})));
    let mut pool = Pool::new();
    assert_eq!(pool.tick(now, &runtime), []);
    assert_eq!(pool.arrive(now, 1, &runtime), [Action::Start(1, 20)]);
    assert_eq!(pool.arrive(now, 2, &runtime), []);
    assert_eq!(pool.ready(now, 1), [Action::Serve(1, 1), Action::Serve(2, 1)]);
    assert_eq!(pool.figures(), (1, 2, 0));
}

#[test]
fn requests_at_once_are_processes_times_connections_and_the_rest_waits_or_is_refused() {
    for (max, conns) in [(1, 1), (2, 3), (4, 5), (20, 20)] {
        let now = Instant::now();
        let runtime = runtime(&json!({"max_processes": max, "max_conns_per_process": conns, "load_factor": 1.0}));
        let mut pool = Pool::new();
        let (mut served, mut refused) = (Vec::new(), 0);
        let slots = max * conns;
        for ticket in 0..(slots + slots * QUEUE_PER_SLOT + 7) as u64 {
            let mut actions = pool.arrive(now, ticket, &runtime);
            while let Some(action) = actions.pop() {
                match action {
                    Action::Start(id, slots) => {
                        assert_eq!(slots, conns);
                        actions.extend(pool.ready(now, id));
                    }
                    Action::Serve(_, id) => served.push(id),
                    Action::Refuse(_, why) => {
                        assert_eq!(why, Refusal::Full);
                        refused += 1;
                    }
                    Action::Stop(_) => panic!("nothing is idle"),
                }
            }
        }
        assert_eq!(served.len(), slots, "{max} × {conns}");
        for id in 1..=max as u64 {
            assert_eq!(served.iter().filter(|served| **served == id).count(), conns, "process {id} of {max} × {conns}");
        }
        assert_eq!((pool.figures(), refused), ((max, slots, slots * QUEUE_PER_SLOT), 7));
        // Each that is done lets the longest waiting in.
        assert_eq!(pool.done(now, 1, &runtime), [Action::Serve(slots as u64, 1)]);
    }
}

#[test]
fn the_load_factor_says_how_eagerly_processes_start() {
    let now = Instant::now();
    // With 10 connections each: the request at which the second process starts.
    for (factor, second) in [(0.0, 2), (0.2, 3), (0.5, 6), (1.0, 11)] {
        let runtime = runtime(
            &json!({"load_factor": factor, "max_processes": 2, "max_conns_per_process": 10, "min_processes": 1}),
        );
        let mut pool = warm(now, &runtime);
        // The first of factor 0 starts it already.
        let expected = if factor == 0.0 { 1 } else { second };
        let starts = |actions: &[Action]| count(actions, |action| matches!(action, Action::Start(..)));
        let at = (1..=20).find(|ticket| starts(&pool.arrive(now, *ticket, &runtime)) > 0);
        assert_eq!(at, Some(expected), "load factor {factor}");
    }
}

#[test]
fn idle_processes_stop_down_to_the_fewest() {
    let now = Instant::now();
    let runtime =
        runtime(&json!({"idle_timeout": 10, "max_processes": 3, "max_conns_per_process": 1, "min_processes": 1}));
    let mut pool = warm(now, &runtime);
    for ticket in 1..=3 {
        for action in pool.arrive(now, ticket, &runtime) {
            if let Action::Start(id, _) = action {
                pool.ready(now, id);
            }
        }
    }
    assert_eq!(pool.figures(), (3, 3, 0));
    for id in 1..=3 {
        assert_eq!(pool.done(now + id as u32 * SECOND, id, &runtime), []);
    }
    assert_eq!(pool.tick(now + 10 * SECOND, &runtime), []);
    assert_eq!(pool.tick(now + 11 * SECOND, &runtime), [Action::Stop(1)]);
    assert_eq!(pool.tick(now + 99 * SECOND, &runtime), [Action::Stop(2)]);
    assert_eq!(pool.figures(), (1, 0, 0));
}

#[test]
fn a_failed_start_refuses_those_who_wait_and_pauses_longer_each_time() {
    let (mut now, runtime) = (Instant::now(), runtime(&json!({})));
    let mut pool = Pool::new();
    let mut pause = FIRST_PAUSE;
    for id in 1..=8 {
        assert_eq!(pool.arrive(now, 2 * id, &runtime), [Action::Start(id, 20)]);
        let failed = Refusal::Start("no such module".to_owned());
        assert_eq!(
            pool.gone(now, id, Some("no such module".to_owned()), &runtime),
            [Action::Refuse(2 * id, failed.clone())]
        );
        let soon = now + pause - Duration::from_millis(1);
        assert_eq!(pool.arrive(soon, 2 * id + 1, &runtime), [Action::Refuse(2 * id + 1, failed)]);
        now += pause;
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
    assert_eq!(pause, LONGEST_PAUSE);
    // Once one starts well, all is forgotten.
    assert_eq!(pool.arrive(now, 100, &runtime), [Action::Start(9, 20)]);
    assert_eq!(pool.ready(now, 9), [Action::Serve(100, 9)]);
    assert_eq!(pool.gone(now, 9, None, &runtime), []);
    assert_eq!(pool.arrive(now, 101, &runtime), [Action::Start(10, 20)]);
}

#[test]
fn a_process_that_ends_is_replaced_for_those_who_wait() {
    let now = Instant::now();
    let runtime = runtime(&json!({"max_processes": 1, "max_conns_per_process": 1}));
    let mut pool = Pool::new();
    pool.arrive(now, 1, &runtime);
    pool.ready(now, 1);
    assert_eq!(pool.arrive(now, 2, &runtime), []);
    assert_eq!(pool.gone(now, 1, None, &runtime), [Action::Start(2, 1)]);
    assert_eq!(pool.ready(now, 2), [Action::Serve(2, 2)]);
    pool.leave(7);
    assert_eq!(pool.done(now, 1, &runtime), [], "of a process that is gone");
}

#[test]
fn a_retired_pool_finishes_what_it_has_and_stops() {
    let now = Instant::now();
    let runtime = runtime(&json!({"max_processes": 2, "max_conns_per_process": 1, "min_processes": 2}));
    let mut pool = warm(now, &runtime);
    pool.arrive(now, 1, &runtime);
    assert_eq!(pool.retire(), [Action::Stop(2)]);
    assert!(!pool.is_over());
    assert_eq!(pool.tick(now + 1000 * SECOND, &runtime), [], "none is kept, and the busy one goes on");
    assert_eq!(pool.done(now, 1, &runtime), [Action::Stop(1)]);
    assert!(pool.is_over());
}

#[test]
fn other_connections_per_process_take_other_processes() {
    let now = Instant::now();
    let few = runtime(&json!({"max_conns_per_process": 1, "min_processes": 1, "max_processes": 1}));
    let mut pool = warm(now, &few);
    pool.arrive(now, 1, &few);
    let many = runtime(&json!({"max_conns_per_process": 9, "min_processes": 1}));
    assert_eq!(pool.arrive(now, 2, &many), [Action::Start(2, 9)]);
    assert_eq!(pool.ready(now, 2), [Action::Serve(2, 2)]);
    assert_eq!(pool.done(now, 1, &many), [Action::Stop(1)]);
}
