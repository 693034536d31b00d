//! Whole searches on simulated systems, and the rules one by one.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::capacity::knee::Knee;
use crate::capacity::simulate::network::{Disturbance, Network, Station};
use crate::capacity::simulate::sharing::Sharing;
use crate::capacity::simulate::{System, run};

const ONE_NODE: Knee = Knee { x_max_per_s: 600.0, r0_s: 0.05, p: 6.0, kappa_s: 0.0 };

const CURVES: [(&str, Knee); 9] = [
    ("one node", ONE_NODE),
    ("slow server", Knee { x_max_per_s: 20.0, r0_s: 0.8, p: 4.0, kappa_s: 0.0 }),
    ("fast server", Knee { x_max_per_s: 1500.0, r0_s: 0.02, p: 8.0, kappa_s: 0.0 }),
    ("soft knee", Knee { x_max_per_s: 300.0, r0_s: 0.03, p: 1.5, kappa_s: 0.0 }),
    ("hard knee", Knee { x_max_per_s: 300.0, r0_s: 0.08, p: 12.0, kappa_s: 0.0 }),
    ("falls after its peak", Knee { x_max_per_s: 400.0, r0_s: 0.05, p: 6.0, kappa_s: 1.2e-5 }),
    ("falls steeply", Knee { x_max_per_s: 500.0, r0_s: 0.06, p: 8.0, kappa_s: 6e-5 }),
    ("short R0", Knee { x_max_per_s: 500.0, r0_s: 0.008, p: 4.0, kappa_s: 0.0 }),
    ("long R0", Knee { x_max_per_s: 120.0, r0_s: 0.65, p: 5.0, kappa_s: 0.0 }),
];

#[test]
fn knee_curves_are_found() {
    for (name, knee) in CURVES {
        for seed in 0..3 {
            let mut search = Search::new(SearchConfig::standard(), seed);
            let result = run(&mut search, &mut Sharing::new(knee, 100 + seed), 1300);
            let (want, peak) = (knee.saturation_vus(0.02, 1e5), knee.peak(1e5).1);
            let about = format!("{name}/{seed}: want {want:.1} VUs, {peak:.1}/s; {result:?}");
            assert_eq!(result.outcome, Outcome::Saturated, "{about}");
            let plateau = result.requests_per_second.unwrap();
            assert!((plateau / peak - 1.0).abs() <= 0.03, "{about}");
            assert!((result.saturation_vus.unwrap() / want - 1.0).abs() <= 0.25, "{about}");
            assert!(knee.throughput(f64::from(result.vus.unwrap())) >= 0.95 * peak, "{about}");
        }
    }
}

fn station(servers: usize, service_s: f64, is_exponential: bool) -> Station {
    Station { servers, service_s, cv: 0.8, is_exponential }
}

struct Queues {
    name: &'static str,
    station: Station,
    delay_s: f64,
    disturbance: Disturbance,
    saturation_vus: f64,
    plateau_per_s: f64,
}

/// The truths of the first two are exact (birth–death), of the others from 1200 simulated seconds at every second
/// number of VUs.
fn networks() -> [Queues; 5] {
    let none = Disturbance::default();
    let queues = |name, station, delay_s, disturbance, (saturation_vus, plateau_per_s)| Queues {
        name,
        station,
        delay_s,
        disturbance,
        saturation_vus,
        plateau_per_s,
    };
    let publisher = Disturbance { publisher: 0.125, ..none };
    let cold = Disturbance { cold: 0.6, cold_tau_s: 30.0, ..none };
    let noise = Disturbance { noise: 0.02, noise_tau_s: 8.0, ..none };
    [
        queues("M/M/8 and 60 ms", station(8, 0.02, true), 0.06, none, (37.3, 400.0)),
        queues("1 s away", station(8, 0.04, true), 1.0, none, (218.8, 200.0)),
        queues("a publisher takes an eighth", station(8, 0.02, false), 0.03, publisher, (21.9, 370.0)),
        queues("cold at first", station(8, 0.025, false), 0.03, cold, (20.0, 320.0)),
        queues("noise", station(4, 0.01, false), 0.05, noise, (28.2, 400.0)),
    ]
}

#[test]
fn networks_of_queues_are_found() {
    for queues in networks() {
        for seed in 0..2 {
            let mut search = Search::new(SearchConfig::standard(), seed);
            let mut network = Network::new(&[queues.station], queues.delay_s, queues.disturbance, 40 + seed);
            let result = run(&mut search, &mut network, 1300);
            let (want, plateau) = (queues.saturation_vus, queues.plateau_per_s);
            let about = format!("{}/{seed}: want {want:.1} VUs, {plateau:.1}/s; {result:?}", queues.name);
            assert_eq!(result.outcome, Outcome::Saturated, "{about}");
            assert!((result.requests_per_second.unwrap() / plateau - 1.0).abs() <= 0.04, "{about}");
            // Where speed wanders a run in ten may be further off; it must say so.
            let (low, high) = result.vus_ci.unwrap();
            let is_said = queues.disturbance.noise > 0.0 && f64::from(low) <= want && want <= f64::from(high);
            assert!(is_said || (result.saturation_vus.unwrap() / want - 1.0).abs() <= 0.25, "{about}");
        }
    }
}

/// Workers that start late make a false plateau at few VUs; the sweep must not end there.
#[test]
fn late_workers_are_waited_for() {
    let late = Disturbance { spawn_lag_s: 6.0, ..Disturbance::default() };
    for seed in 0..3 {
        let mut search = Search::new(SearchConfig::standard(), seed);
        let mut network = Network::new(&[station(8, 0.05, false)], 0.01, late, 60 + seed);
        let result = run(&mut search, &mut network, 1300);
        assert_eq!(result.outcome, Outcome::Saturated, "{result:?}");
        assert!((result.requests_per_second.unwrap() / 160.0 - 1.0).abs() <= 0.06, "{result:?}");
    }
}

/// A knee curve whose bins are changed on their way, by the VUs asked for.
struct Changed<F> {
    inner: Sharing,
    vus: u32,
    change: F,
}

impl<F: Fn(u32, &mut Bin)> System for Changed<F> {
    fn set_vus(&mut self, vus: u32) {
        self.vus = vus;
        self.inner.set_vus(vus);
    }

    fn second(&mut self) -> Bin {
        let mut bin = self.inner.second();
        (self.change)(self.vus, &mut bin);
        bin
    }
}

fn search_of(config: SearchConfig, knee: Knee, change: impl Fn(u32, &mut Bin)) -> (Search, SearchResult) {
    let mut search = Search::new(config, 1);
    let mut system = Changed { inner: Sharing::new(knee, 3), vus: 0, change };
    let result = run(&mut search, &mut system, 2000);
    (search, result)
}

fn fail_from(vus: u32) -> impl Fn(u32, &mut Bin) {
    move |now, bin| bin.failed = if now >= vus { bin.completed / 20 } else { 0 }
}

fn unchanged(_: u32, _: &mut Bin) {}

#[test]
fn errors_beyond_the_knee_end_the_sweep_and_no_more() {
    let (search, result) = search_of(SearchConfig::standard(), ONE_NODE, fail_from(120));
    assert_eq!(result.outcome, Outcome::Saturated, "{result:?}");
    let storm = search.steps().iter().find(|s| s.kind == StepKind::Unusable).unwrap();
    assert_eq!((storm.vus, storm.seconds <= 5.0), (128, true));
    assert!(storm.decision.contains("of requests failed: not usable"), "{}", storm.decision);
    assert!(search.steps().iter().all(|s| s.vus <= 128));
    assert!((result.saturation_vus.unwrap() / 42.2 - 1.0).abs() < 0.25, "{result:?}");
}

#[test]
fn errors_before_the_knee_are_not_saturation() {
    let (_, result) = search_of(SearchConfig::standard(), ONE_NODE, fail_from(20));
    assert_eq!(result.outcome, Outcome::NotSaturated, "{result:?}");
    assert!(result.vus.is_some_and(|vus| (16..20).contains(&vus)), "{result:?}");
    assert!(result.notes.iter().any(|n| n.contains("Errors began before")), "{result:?}");
}

#[test]
fn a_storm_at_the_first_stages_or_in_the_warm_up_aborts() {
    let (_, result) = search_of(SearchConfig { warm_up_vus: 1, ..SearchConfig::standard() }, ONE_NODE, fail_from(2));
    let Outcome::Aborted { reason } = &result.outcome else { panic!("{result:?}") };
    assert!(reason.contains("failed at 4 VUs"), "{reason}");
    let (search, result) = search_of(SearchConfig::standard(), ONE_NODE, fail_from(1));
    assert!(matches!(result.outcome, Outcome::Aborted { .. }) && search.steps().is_empty(), "{result:?}");
    assert!(result.elapsed_s < 40.0);
}

#[test]
fn a_single_failure_is_an_accident() {
    let slow = Knee { x_max_per_s: 20.0, ..ONE_NODE };
    let one_in_a_while = |_: u32, bin: &mut Bin| bin.failed = u64::from(bin.t_s % 7.0 < 1.0);
    let (_, result) = search_of(SearchConfig::standard(), slow, one_in_a_while);
    assert_eq!(result.outcome, Outcome::Saturated, "{result:?}");
}

fn limited_from(vus: u32) -> impl Fn(u32, &mut Bin) {
    move |now, bin| {
        if now >= vus {
            bin.generator = GeneratorState::Limited { reason: "CPU 91 %".to_owned() };
        }
    }
}

#[test]
fn a_generator_at_its_limit_is_not_the_server() {
    let (search, result) = search_of(SearchConfig::standard(), ONE_NODE, limited_from(20));
    assert_eq!((&result.outcome, result.vus), (&Outcome::GeneratorLimited, Some(16)), "{result:?}");
    assert!(search.steps().last().unwrap().decision.contains("CPU 91 %"));
    // A search for objectives says the most that was seen to keep them.
    let keeping = SearchConfig::standard().keeping(vec!["avg<100".parse().unwrap()]);
    let (_, result) = search_of(keeping, ONE_NODE, limited_from(20));
    assert_eq!((&result.outcome, result.vus), (&Outcome::GeneratorLimited, Some(16)), "{result:?}");
    // Where the curve has turned before, it does not matter.
    let (_, result) = search_of(SearchConfig::standard(), ONE_NODE, limited_from(200));
    assert_eq!(result.outcome, Outcome::Saturated, "{result:?}");
    let keeping = SearchConfig::standard().keeping(vec!["avg<100".parse().unwrap()]);
    for config in [SearchConfig::standard(), SearchConfig::standard().staircase(25, 30), keeping] {
        let (_, result) = search_of(config, ONE_NODE, limited_from(1));
        assert_eq!((&result.outcome, result.vus), (&Outcome::GeneratorLimited, None), "{result:?}");
    }
}

#[test]
fn a_stage_that_was_spoilt_once_is_measured_again() {
    let spoilt = std::cell::Cell::new(0);
    let once = |now: u32, bin: &mut Bin| {
        if now == 16 && bin.t_s > 70.0 && spoilt.get() < 8 {
            spoilt.set(spoilt.get() + 1);
            bin.generator = GeneratorState::Limited { reason: "CPU 91 %".to_owned() };
        }
    };
    let (search, result) = search_of(SearchConfig::standard(), ONE_NODE, once);
    assert_eq!(result.outcome, Outcome::Saturated, "{result:?}");
    let again: Vec<u32> =
        search.steps().iter().filter(|s| s.decision.contains("measured again")).map(|s| s.vus).collect();
    assert_eq!(again, [16]);
}

#[test]
fn missing_vus_are_the_generators_fault() {
    let (_, result) = search_of(SearchConfig::standard(), ONE_NODE, |_, bin| bin.vus = bin.vus.min(10));
    assert_eq!(result.outcome, Outcome::GeneratorLimited);
    assert!(result.notes.iter().any(|n| n.contains("only 10 of 16 VUs")), "{result:?}");
}

#[test]
fn max_vus_below_the_knee_is_not_saturated() {
    for max_vus in [1, 2, 3, 16, 20, 31] {
        let (search, result) = search_of(SearchConfig { max_vus, ..SearchConfig::standard() }, ONE_NODE, unchanged);
        assert_eq!((&result.outcome, result.vus), (&Outcome::NotSaturated, Some(max_vus)), "{result:?}");
        assert!(search.steps().iter().all(|s| s.vus <= max_vus));
        assert!(result.requests_per_second.unwrap() > 0.0 && result.at_vus.is_some());
    }
}

#[test]
fn max_vus_above_the_knee_is_enough() {
    let (_, result) = search_of(SearchConfig { max_vus: 70, ..SearchConfig::standard() }, ONE_NODE, unchanged);
    assert_eq!(result.outcome, Outcome::Saturated, "{result:?}");
    assert!((result.saturation_vus.unwrap() / 42.2 - 1.0).abs() < 0.25, "{result:?}");
}

#[test]
fn a_drop_is_not_climbed_into() {
    let cliff = |now: u32, bin: &mut Bin| {
        if now > 100 {
            bin.completed /= 3;
        }
    };
    let (search, result) = search_of(SearchConfig::standard(), ONE_NODE, cliff);
    assert_eq!(result.outcome, Outcome::Saturated, "{result:?}");
    assert!(search.steps().iter().any(|s| s.vus == 128 && s.decision.starts_with("dropped 6")), "{:?}", search.steps());
    assert!(result.vus.unwrap() <= 100 && (result.saturation_vus.unwrap() / 42.2 - 1.0).abs() < 0.3, "{result:?}");
}

#[test]
fn a_first_latency_of_five_seconds_is_waited_for() {
    let slow = Knee { x_max_per_s: 4.0, r0_s: 5.0, p: 6.0, kappa_s: 0.0 };
    let (search, result) = search_of(SearchConfig { deadline_s: 2400, ..SearchConfig::standard() }, slow, unchanged);
    assert!(search.steps()[0].cut_s >= 14.0, "{:?}", search.steps()[0]);
    assert!(matches!(result.outcome, Outcome::Saturated), "{result:?}");
    assert!((result.requests_per_second.unwrap() / 4.0 - 1.0).abs() < 0.1, "{result:?}");
}

#[test]
fn silence_aborts() {
    let (_, result) = search_of(SearchConfig::standard(), ONE_NODE, |_, bin| bin.completed = 0);
    assert!(matches!(&result.outcome, Outcome::Aborted { reason } if reason.contains("no request completed")));
    assert!(result.elapsed_s <= 12.0 && result.vus.is_none());
    let dies = |now: u32, bin: &mut Bin| bin.completed *= u64::from(now < 60);
    let (search, result) = search_of(SearchConfig::standard(), ONE_NODE, dies);
    assert!(matches!(&result.outcome, Outcome::Aborted { reason } if reason.contains("at 64 VUs")), "{result:?}");
    assert_eq!(search.steps().last().map(|s| s.vus), Some(64));
}

#[test]
fn stopped_early_it_says_what_it_has() {
    let mut search = Search::new(SearchConfig::standard(), 1);
    let mut system = Sharing::new(ONE_NODE, 1);
    let none = run(&mut search, &mut system, 5);
    assert!(matches!(none.outcome, Outcome::Aborted { .. }) && none.vus.is_none());
    let some = run(&mut search, &mut system, 130);
    assert!(matches!(some.outcome, Outcome::Aborted { .. }) && some.vus.is_some(), "{some:?}");
}

#[test]
fn progress_speaks_and_its_estimate_ends_at_zero() {
    let mut search = Search::new(SearchConfig::quick().covering_publish(25.0), 1);
    let mut system = Sharing::new(ONE_NODE, 1);
    system.set_vus(search.begin());
    let mut phases = vec![search.progress().phase];
    loop {
        let next = search.observe(&system.second());
        let progress = search.progress();
        assert!(!progress.next.is_empty() && progress.remaining_s.is_finite() && progress.remaining_s >= 0.0);
        if phases.last() != Some(&progress.phase) {
            phases.push(progress.phase);
        }
        match next {
            Move::Hold | Move::SetRate(_) => {}
            Move::SetVus(vus) => system.set_vus(vus),
            Move::Finished => break,
        }
    }
    assert_eq!(phases, [Phase::WarmUp, Phase::Sweep, Phase::Probe, Phase::Finished]);
    assert_eq!(search.progress().remaining_s, 0.0);
    assert_eq!(search.observe(&system.second()), Move::Finished);
}

#[test]
fn the_same_seeds_give_the_same_bytes() {
    let once = || serde_json::to_string(&search_of(SearchConfig::quick(), ONE_NODE, unchanged).1).unwrap();
    let first = once();
    assert_eq!(first, once());
    let again: SearchResult = serde_json::from_str(&first).unwrap();
    assert_eq!(again.outcome, Outcome::Saturated);
}

fn any_bin() -> impl Strategy<Value = (u32, u64, u64, u64, bool, bool)> {
    let requests = prop_oneof![Just(0u64), 0u64..50, 0u64..5000];
    let failures = prop_oneof![8 => Just(0u64), 1 => 0u64..5, 1 => 0u64..5000];
    (any::<u32>(), requests, failures, 0u64..20_000_000, prop::bool::weighted(0.05), prop::bool::weighted(0.9))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn whatever_the_bins_it_ends_within_the_deadline(
        bins in prop::collection::vec(any_bin(), 1..40), max_vus in 0u32..5000, deadline_s in 1u32..700,
    ) {
        let mut search = Search::new(SearchConfig { max_vus, deadline_s, ..SearchConfig::standard() }, 1);
        let mut asked = search.begin();
        let mut finished = false;
        let endless = bins.iter().cycle().take(deadline_s as usize).enumerate();
        for (second, &(vus, completed, failed, us, limited, all)) in endless {
            let mut latency = Latency::default();
            latency.record_n(Duration::from_micros(us), completed);
            let generator = if limited {
                GeneratorState::Limited { reason: "lag".to_owned() }
            } else {
                GeneratorState::Healthy
            };
            let vus = if all { asked } else { vus };
            let next = search.observe(&Bin { t_s: second as f64, vus, completed, failed, latency, generator, open: None });
            let _ = search.progress();
            if let Move::SetVus(n) = next {
                prop_assert!(n >= 1 && n <= max_vus.max(1));
                asked = n;
            }
            finished = next == Move::Finished;
            if finished {
                break;
            }
        }
        prop_assert!(finished);
        let result = search.result();
        prop_assert!(result.vus.is_none_or(|vus| vus >= 1 && vus <= max_vus.max(1)));
        prop_assert!(result.requests_per_second.is_none_or(f64::is_finite));
    }
}
