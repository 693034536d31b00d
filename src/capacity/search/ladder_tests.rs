//! Rungs one by one, and whole searches on servers whose answer is known.

use super::*;
use crate::capacity::knee::Knee;
use crate::capacity::search::{SearchConfig, SearchResult};
use crate::capacity::simulate::open::Queue;
use crate::capacity::simulate::run;
use crate::capacity::simulate::sharing::Sharing;

fn rung(vus: u32, keeps: bool) -> Rung {
    Rung { vus, held: vus, per_s: f64::from(vus), broken: (!keeps).then(|| "p95".to_owned()) }
}

#[test]
fn doubling_then_halving_the_distance() {
    assert_eq!(next(&[rung(1, true)], 100), Next::Hold(2));
    assert_eq!(next(&[rung(64, true)], 100), Next::Hold(100));
    assert_eq!(next(&[rung(100, true)], 100), Next::Done);
    assert_eq!(next(&[rung(16, true), rung(32, false)], 100), Next::Hold(23));
    assert_eq!(next(&[rung(10, true), rung(11, false)], 100), Next::Done);
    assert_eq!(next(&[rung(100, true), rung(109, false)], 200), Next::Done);
    assert_eq!(next(&[rung(1, false)], 100), Next::Done);
    // A rate that is too much from the start.
    assert_eq!(next(&[rung(10, false)], 100), Next::Hold(5));
}

#[test]
fn what_contradicts_itself_is_measured_again() {
    let rungs = vec![rung(16, true), rung(20, false), rung(32, true), rung(64, false)];
    assert_eq!(next(&rungs, 100), Next::Hold(20));
    let settled = |again: bool| [rungs.clone(), vec![rung(20, again)]].concat();
    // Broken twice: the most below it that kept them.
    let twice = settled(false);
    assert_eq!(bracket(&twice).0.map(|rung| rung.vus), Some(16));
    assert_eq!(bracket(&settled(true)).0.map(|rung| rung.vus), Some(32));
}

const SERVER: Knee = Knee { x_max_per_s: 400.0, r0_s: 0.05, p: 8.0, kappa_s: 0.0 };

fn keeping(objectives: &[&str], max_vus: u32) -> SearchResult {
    let all = objectives.iter().map(|text| text.parse().unwrap()).collect();
    let config = SearchConfig { max_vus, ..SearchConfig::standard().keeping(all) };
    let mut search = Search::new(config, 3);
    run(&mut search, &mut Sharing::new(SERVER, 5), 2000)
}

#[test]
fn the_most_vus_with_a_mean_below_a_limit() {
    let result = keeping(&["avg<100"], 2048);
    assert_eq!(result.outcome, Outcome::ObjectivesKept, "{result:?}");
    let kept = result.kept.unwrap();
    // N/X(N) = 100 ms at 40 VUs of a plateau of 400 per second.
    assert!((36..=41).contains(&kept.vus), "{kept:?}");
    assert!(kept.broken_at_vus.unwrap() > kept.vus && kept.broken.unwrap().contains("avg"));
    assert_eq!(result.vus, Some(kept.vus));
}

#[test]
fn objectives_that_always_hold_and_that_never_do() {
    let always = keeping(&["p(95)<10s", "error_rate<0.1%"], 32);
    let kept = always.kept.unwrap();
    assert_eq!((always.outcome, kept.vus, kept.broken_at_vus), (Outcome::ObjectivesKept, 32, None));
    let never = keeping(&["p(50)<1ms"], 32);
    assert!(matches!(&never.outcome, Outcome::Aborted { reason } if reason.contains("p(50)<1ms")), "{never:?}");
    assert_eq!(never.kept, None);
}

#[test]
fn a_staircase_ends_at_its_highest_stage() {
    let config = SearchConfig { max_vus: 100, ..SearchConfig::standard().staircase(25, 30) };
    let mut search = Search::new(config, 3);
    let result = run(&mut search, &mut Sharing::new(SERVER, 5), 2000);
    assert_eq!(result.outcome, Outcome::HighestStage);
    assert_eq!(search.steps().iter().map(|step| step.vus).collect::<Vec<_>>(), [25, 50, 75, 100]);
    assert!(search.steps().iter().all(|step| step.seconds == 30.0), "{:?}", search.steps());
    let best = search.steps().iter().map(|step| step.requests_per_second).fold(0.0, f64::max);
    assert!((result.requests_per_second.unwrap() / best - 1.0).abs() < 1e-9);
}

/// Searches a queue for the highest rate that keeps the objectives.
fn highest_rate(servers: (u32, f64), objectives: &[&str], seed: u64) -> (Search, SearchResult) {
    let all = objectives.iter().map(|text| text.parse().unwrap()).collect();
    let mut search = Search::new(SearchConfig::standard().keeping(all).open(10_000), 3);
    let result = run(&mut search, &mut Queue::new(servers, 2048, seed), 2000);
    (search, result)
}

#[test]
fn the_highest_rate_of_the_open_model_with_a_p95_below_a_limit() {
    for (servers, limit_ms, seed) in
        [((1, 100.0), 100.0, 1), ((8, 25.0), 250.0, 2), ((16, 40.0), 90.0, 3), ((2, 400.0), 20.0, 4)]
    {
        let slow = |rate: u32| Queue::slower_than(servers, f64::from(rate), limit_ms / 1000.0);
        let truth = f64::from((1..10_000).take_while(|rate| slow(*rate) < 0.05).last().unwrap());
        let (search, result) = highest_rate(servers, &[&format!("p(95)<{limit_ms}")], seed);
        assert_eq!(result.outcome, Outcome::ObjectivesKept, "{result:?}");
        let kept = result.kept.unwrap();
        let rate = f64::from(kept.rate.unwrap());
        assert!((0.85..=1.1).contains(&(rate / truth)), "{servers:?}: {rate}, and it is {truth}");
        assert!((kept.requests_per_second / rate - 1.0).abs() < 0.05, "{kept:?}");
        assert!(f64::from(kept.broken_at_rate.unwrap()) > rate && kept.broken_at_vus.is_none());
        assert_eq!((result.vus, result.rate, result.tested_vus), (None, kept.rate, None));
        assert!(search.steps().iter().all(|step| step.rate.is_some()));
    }
}

#[test]
fn a_rate_that_the_server_cannot_serve_keeps_nothing() {
    // Errors alone would never be broken: the queue only grows.
    let (search, result) = highest_rate((4, 25.0), &["error_rate<0.1%"], 7);
    let kept = result.kept.unwrap();
    assert!((85..=105).contains(&kept.rate.unwrap()), "{kept:?}");
    let too_much = search.steps().iter().find(|step| step.rate == kept.broken_at_rate).unwrap();
    assert!(too_much.decision.contains("wait") || too_much.decision.contains("no free VU"), "{too_much:?}");
}

#[test]
fn where_the_first_rate_is_too_much_lower_ones_are_tried() {
    let (search, result) = highest_rate((1, 4.0), &["p(95)<2s"], 5);
    let rates: Vec<u32> = search.steps().iter().map(|step| step.rate.unwrap()).collect();
    assert_eq!(rates[..2], [10, 5], "{rates:?}");
    // M/M/1 of 4 per second: p95 = 3.0 / (4 - rate) seconds.
    assert!((2..=3).contains(&result.rate.unwrap()), "{result:?}");
    let (_, never) = highest_rate((1, 4.0), &["p(50)<1ms"], 5);
    assert!(matches!(&never.outcome, Outcome::Aborted { reason } if reason.contains("1 requests")), "{never:?}");
    // What broke the objectives is not "the highest rate that keeps them".
    assert_eq!((never.rate, never.vus, never.requests_per_second), (None, None, None));
}
