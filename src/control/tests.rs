//! What may be asked of which run.

use super::*;
use crate::plan::{FetchPlan, ProgramPlan, PublishPlan, ScenarioPlan, Spacing, Target};

const SECOND: Duration = Duration::from_secs(1);

fn constant(vus: u32, start_s: u32) -> Executor {
    Executor::ConstantVus { vus, start_time: SECOND * start_s, duration: SECOND * 10, start_over: Duration::ZERO }
}

fn open() -> Executor {
    Executor::ConstantArrivalRate {
        start_time: Duration::ZERO,
        rate: 10,
        time_unit: SECOND,
        duration: SECOND * 10,
        pre_allocated_vus: 2,
        max_vus: 30,
        spacing: Spacing::Even,
    }
}

fn plan(scenarios: &[(&str, Executor)]) -> Arc<Plan> {
    let scenario = |(name, executor): &(&str, Executor)| {
        let program = match *name {
            "publish" => ProgramPlan::Publish(PublishPlan::of("", "")),
            _ => ProgramPlan::Fetch(FetchPlan::of("/")),
        };
        ScenarioPlan { graceful_stop: SECOND, ..ScenarioPlan::of(name, executor.clone(), program) }
    };
    let target = Target::at("http://x/".parse().unwrap());
    Arc::new(Plan { duration: SECOND * 10, ..Plan::of(target, scenarios.iter().map(scenario).collect()) })
}

fn load() -> Controls {
    Controls::new(plan(&[("fetch", constant(40, 0)), ("publish", constant(1, 0))]), Some(1_000))
}

fn vus(vus: Wanted) -> Ask {
    Ask::Vus { scenario: None, vus }
}

fn of(name: &str, vus: u32) -> Ask {
    Ask::Vus { scenario: Some(name.to_owned()), vus: Wanted::Exactly(vus) }
}

fn ask(controls: &mut Controls, ask: Ask) -> Result<Effect, Refusal> {
    controls.apply(&[ask], Origin::Rest, SECOND * 3)
}

#[test]
fn what_is_asked_twice_is_done_once() {
    let mut controls = load();
    let paused = ask(&mut controls, Ask::Pause).unwrap();
    assert_eq!(paused.orders, [Order::Pause]);
    let event = &paused.events[0];
    assert_eq!((event.at_s, event.what, event.from), (3.0, Controlled::Pause, Origin::Rest));
    assert_eq!(ask(&mut controls, Ask::Pause).unwrap(), Effect::default());
    assert!(controls.is_paused());
    assert_eq!(ask(&mut controls, Ask::Resume).unwrap().orders, [Order::Resume]);
    assert_eq!(ask(&mut controls, Ask::Resume).unwrap(), Effect::default());
    assert_eq!(ask(&mut controls, vus(Wanted::Exactly(40))).unwrap(), Effect::default());
}

#[test]
fn vus_go_up_and_down_by_a_tenth_within_what_is_possible() {
    let mut controls = load();
    let mut step = |wanted| ask(&mut controls, vus(wanted)).map(|effect| effect.events[0].vus.unwrap());
    assert_eq!(step(Wanted::More), Ok(44));
    assert_eq!(step(Wanted::Fewer), Ok(40));
    assert_eq!(step(Wanted::Exactly(2)), Ok(2));
    assert_eq!(step(Wanted::More), Ok(3));
    assert_eq!(step(Wanted::Exactly(1)), Ok(1));
    assert_eq!(step(Wanted::Fewer), Err(Refusal::Range { asked: 0, most: 935 }));
    // 1000 files: 64 for other things, one for the VU that publishes.
    assert_eq!(step(Wanted::Exactly(936)), Err(Refusal::Range { asked: 936, most: 935 }));
    assert_eq!(step(Wanted::Exactly(900)), Ok(900));
    assert_eq!(step(Wanted::More), Ok(935));
    assert_eq!(step(Wanted::More), Err(Refusal::Range { asked: 1028, most: 935 }));
    assert_eq!(Controls::new(plan(&[("a", constant(1, 0))]), None).most(0), 100_000);
}

#[test]
fn all_that_is_asked_together_is_done_or_nothing() {
    let mut controls = load();
    let asks = [Ask::Pause, vus(Wanted::Exactly(50)), of("publish", 2)];
    let effect = controls.apply(&asks, Origin::Terminal, SECOND).unwrap();
    let set = |scenario, vus| Order::SetVus { scenario, vus, over: SECOND };
    assert_eq!(effect.orders, [Order::Pause, set(0, 50), set(1, 2)]);
    assert_eq!((effect.events[1].vus_before, effect.events[1].vus), (Some(40), Some(50)));
    assert_eq!(effect.events[1].scenario.as_deref(), Some("fetch"));
    let refused = controls.apply(&[Ask::Resume, vus(Wanted::Exactly(0))], Origin::Rest, SECOND);
    assert!(refused.is_err() && controls.is_paused() && controls.vus(0) == 50);
}

#[test]
fn a_run_that_stops_cannot_be_asked_for_anything_else() {
    let mut controls = load();
    assert_eq!(ask(&mut controls, Ask::Stop).unwrap().orders, [Order::Stop]);
    assert_eq!(ask(&mut controls, Ask::Stop).unwrap(), Effect::default());
    assert_eq!(ask(&mut controls, Ask::Resume), Err(Refusal::Stopping));
    assert_eq!(ask(&mut controls, vus(Wanted::More)), Err(Refusal::Stopping));
}

#[test]
fn whose_vus_can_be_set() {
    let mut two = Controls::new(plan(&[("a", constant(5, 0)), ("b", constant(6, 5)), ("c", open())]), None);
    assert_eq!(ask(&mut two, vus(Wanted::More)), Err(Refusal::Which(vec!["a".to_owned(), "b".to_owned()])));
    assert_eq!((two.sole(), two.most(0)), (None, 100_000 - 6 - 30));
    assert_eq!(ask(&mut two, of("a", 7)).unwrap().orders.len(), 1);
    assert!(matches!(ask(&mut two, of("b", 7)), Err(Refusal::NotOn { when: "has not begun", .. })));
    let at = |two: &mut Controls, s| two.apply(&[of("a", 9)], Origin::Rest, SECOND * s);
    assert!(matches!(at(&mut two, 10), Err(Refusal::NotOn { when: "is over", .. })));
    let scheduled = ask(&mut two, of("c", 7)).unwrap_err().to_string();
    assert!(scheduled.contains("\"c\" is constant-arrival-rate"), "{scheduled}");
    let unknown = ask(&mut two, of("fetchh", 7)).unwrap_err();
    assert!(matches!(unknown, Refusal::Unknown { near: None, .. }) && unknown.is_senseless());
    assert!(ask(&mut load(), of("fetchh", 7)).unwrap_err().to_string().contains("did you mean fetch?"));
    let mut only_open = Controls::new(plan(&[("c", open())]), None);
    assert!(matches!(ask(&mut only_open, vus(Wanted::More)), Err(Refusal::Scheduled { .. })));
    assert!(ask(&mut only_open, Ask::Pause).is_ok());
    // The one that fetches is meant, unless nothing else is there.
    assert_eq!((load().sole(), Controls::new(plan(&[("publish", constant(1, 0))]), None).sole()), (Some(0), Some(0)));
}

#[test]
fn a_ramp_can_only_be_stopped() {
    let mut ramp = Controls::new(plan(&[("fetch", Executor::Searched { start_vus: 1, max_vus: 99 })]), None);
    for refused in [Ask::Pause, Ask::Resume, vus(Wanted::More), of("fetch", 3)] {
        assert_eq!(ask(&mut ramp, refused), Err(Refusal::Searched));
    }
    assert_eq!(ask(&mut ramp, Ask::Stop).unwrap().orders, [Order::Stop]);
}
