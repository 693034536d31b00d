//! Rungs one by one, and whole searches on servers whose answer is known.

use super::*;
use crate::capacity::knee::Knee;
use crate::capacity::search::SearchConfig;
use crate::capacity::simulate::run;
use crate::capacity::simulate::sharing::Sharing;

fn rung(vus: u32, keeps: bool) -> Rung {
    Rung { vus, per_s: f64::from(vus), broken: (!keeps).then(|| "p95".to_owned()) }
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

fn keeping(objectives: &[&str], max_vus: u32) -> crate::capacity::search::SearchResult {
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
