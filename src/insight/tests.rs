//! Each rule on data made for it, and all of them on clean data: what one sees, no other may claim.

use std::time::Duration;

use super::*;
use crate::connection_options::Reuse;
use crate::generator::Health;
use crate::host::Environment;
use crate::outcome::ErrorKind;
use crate::plan::{Executor, FetchPlan, Processes, ProgramPlan, PublishPlan, ScenarioPlan, Target};
use crate::server_metrics::Scrape;
use crate::stats::random::Random;
use crate::summary::{Builder, RunState};
use crate::window::{HostSample, NodeWindow, Part, Second, Window};

const VUS: u32 = 40;
const PER_S: f64 = 400.0;
/// Long enough for drift to be judged.
const STEADY_S: u64 = 480;
/// Long enough for everything else.
const SHORT_S: u64 = 180;

fn seconds(s: u64) -> Duration {
    Duration::from_secs(s)
}

fn scenario(name: &str, vus: u32, length_s: u64, program: ProgramPlan) -> ScenarioPlan {
    let executor =
        Executor::ConstantVus { vus, start_time: Duration::ZERO, duration: seconds(length_s), start_over: seconds(1) };
    ScenarioPlan::of(name, executor, program)
}

fn plan() -> Plan {
    let scenarios = vec![
        scenario("fetch", VUS, STEADY_S, ProgramPlan::Fetch(FetchPlan::of("/"))),
        scenario("publish", 1, STEADY_S, ProgramPlan::Publish(PublishPlan::of("app", "app"))),
    ];
    let target = Target {
        processes: Some(Processes { min: 0, max: 3, max_conns: 20 }),
        ..Target::at("https://connect.example.com/".parse().unwrap())
    };
    Plan::of(target, scenarios)
}

/// One second of a closed system: throughput around `per_s` by chance, latencies lognormal around N/X.
fn clean(at: u64, per_s: f64, random: &mut Random) -> Second {
    let mut window = Window::new(2, 2);
    window.span_ns = Some((at * 1_000_000_000, (at + 1) * 1_000_000_000));
    // Eight requests of a length at a time, which is eight times as fast.
    let n = 8.0 * ((per_s + per_s.sqrt() * random.normal()) / 8.0).round().max(1.0);
    let mean_s = f64::from(VUS) / n;
    let fetch = &mut window.series[0];
    fetch.requests.scheduled = n as u64;
    fetch.requests.completed = n as u64;
    fetch.sent = n as u64;
    fetch.bytes_received = 500 * n as u64;
    let drawn: Vec<f64> = (0..n as u64 / 8).map(|_| random.lognormal(1.0, 0.4)).collect();
    // Little's law is exact in a closed system, so the second's mean is.
    let scale = mean_s * n / 8.0 / drawn.iter().sum::<f64>();
    for (at, one) in drawn.iter().enumerate() {
        let took = Duration::from_secs_f64(one * scale);
        fetch.duration.record_n(took, 8);
        fetch.waiting.record_n(took, 8);
        let node = fetch.nodes.entry(format!("node-{}", at % 2)).or_default();
        node.completed += 8;
        node.duration.record_n(took, 8);
    }
    window.scenarios[0].vu_time_ns = u128::from(VUS) * 1_000_000_000;
    window.scenarios[0].vus = u64::from(VUS);
    let host = HostSample { wall_ahead_ms: Some(0.01 * at as f64), ..HostSample::default() };
    Second { second: at, part: Part::Steady, window, host }
}

fn environment() -> Environment {
    Environment {
        started: jiff::Timestamp::UNIX_EPOCH,
        host: "generator".to_owned(),
        kernel: "6".to_owned(),
        cores: 2,
        memory_bytes: None,
        open_files_limit: None,
    }
}

/// Runs a load test of which each second is made by `make`; `change` changes the plan.
fn ran(
    length_s: u64,
    change: impl FnOnce(&mut Plan),
    mut make: impl FnMut(u64, &mut Random) -> Second,
) -> Vec<Insight> {
    let mut plan = plan();
    plan.duration = seconds(length_s);
    change(&mut plan);
    let (mut builder, mut random) = (Builder::new(plan, environment()), Random::new(4));
    (0..length_s).for_each(|at| builder.add(&make(at, &mut random)));
    let summary = builder.finish(RunState::Finished);
    of(&summary, &Figures::of(&summary), &SteadyState::of(&summary))
}

fn seen(insights: &[Insight]) -> Vec<&'static str> {
    insights.iter().map(|insight| insight.id).collect()
}

/// What the rules see in a clean run of which each second is changed.
fn with(mut change: impl FnMut(u64, &mut Second)) -> Vec<Insight> {
    ran(
        SHORT_S,
        |_| {},
        |at, random| {
            let mut second = clean(at, PER_S, random);
            change(at, &mut second);
            second
        },
    )
}

/// What they see where throughput follows a course.
fn at_rate(per_s: impl Fn(u64) -> f64) -> Vec<Insight> {
    ran(STEADY_S, |_| {}, |at, random| clean(at, per_s(at), random))
}

fn fail(second: &mut Second, kind: ErrorKind, n: u64, took: Duration) {
    let fetch = &mut second.window.series[0];
    fetch.requests.scheduled += n;
    fetch.requests.failed += n;
    *fetch.errors.entry(kind).or_default() += n;
    fetch.failed_duration.record_n(took, n);
}

#[test]
fn nothing_is_seen_in_clean_data() {
    assert_eq!(seen(&with(|_, _| {})), [""; 0]);
    let ids: std::collections::BTreeSet<&str> = ids().into_iter().collect();
    assert_eq!(ids.len(), RULES.len(), "an id is there twice");
}

#[test]
fn every_rule_is_described() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/insights.md");
    let page = std::fs::read_to_string(path).unwrap();
    let missing: Vec<&str> = ids().into_iter().filter(|id| !page.contains(&format!("`{id}`"))).collect();
    assert!(missing.is_empty(), "docs/insights.md has no {missing:?}");
}

#[test]
fn the_generator_was_the_limit() {
    let insights = with(|at, second| second.window.generator.busiest_permille = if at % 5 == 0 { 970 } else { 300 });
    assert_eq!(seen(&insights), ["generator-bound"]);
    assert_eq!((insights[0].severity, insights[0].evidence["limited_s"]), (Severity::Spoils, 36.0));
    assert!(
        seen(&with(|at, second| second.window.generator.busiest_permille = if at < 6 { 970 } else { 0 })).is_empty()
    );
    assert!(Health::default().kept_up());
}

#[test]
fn what_the_generator_lacked_is_what_the_advice_is_about() {
    fn advice(change: impl Fn(&mut Second)) -> &'static str {
        let insights = with(|at, second| {
            if at % 5 == 0 {
                change(second);
            }
        });
        insights.into_iter().find(|insight| insight.id == "generator-bound").unwrap().advice
    }
    let busy = |second: &mut Second| second.window.generator.busiest_permille = 970;
    assert!(advice(busy).contains("more cores"));
    let still = |second: &mut Second| second.window.generator.lag.record(seconds(2));
    assert!(advice(still).contains("was stopped"));
    let lacked = |kind: ErrorKind| {
        move |second: &mut Second| {
            // Whatever else there was.
            busy(second);
            still(second);
            fail(second, kind, 3, Duration::ZERO);
        }
    };
    assert!(advice(lacked(ErrorKind::Ports)).contains("net.ipv4.ip_local_port_range"));
    assert!(advice(lacked(ErrorKind::Descriptors)).contains("ulimit"));
}

#[test]
fn the_clock_jumped() {
    let insights = with(|at, second| second.host.wall_ahead_ms = Some(if at < 100 { 0.0 } else { 2_000.0 }));
    assert_eq!(seen(&insights), ["clock-jump"]);
    assert_eq!((insights[0].evidence["first_at_s"], insights[0].evidence["greatest_ms"]), (100.0, 2_000.0));
}

#[test]
fn vus_that_do_nothing() {
    // A third of the VUs is dead from the middle on.
    let dead = |at: u64, second: &mut Second| {
        if at >= SHORT_S / 2 {
            second.window.scenarios[0].vu_time_ns = u128::from(VUS + VUS / 2) * 1_000_000_000;
        }
    };
    let insights = with(dead);
    assert_eq!(seen(&insights), ["little-open"]);
    assert!((insights[0].evidence["worst_share"] - 1.0 / 3.0).abs() < 0.02, "{insights:?}");
}

#[test]
fn measured_before_the_server_was_warm() {
    let insights = at_rate(|at| PER_S * (1.0 - 0.4 * (-(at as f64) / 20.0).exp()));
    assert_eq!(seen(&insights), ["warm-up-too-short"]);
    let cut = insights[0].evidence["transient_s"];
    assert!((25.0..120.0).contains(&cut), "{cut}");
}

#[test]
fn stalls_and_outages() {
    let still = |second: &mut Second| {
        let fetch = &mut second.window.series[0];
        *fetch = SeriesWindow::default();
    };
    // The VUs' requests go on over the stall, so that the seconds after it account for its time.
    let stalled = |at: u64, second: &mut Second| match at % 60 {
        50..54 => still(second),
        54 => second.window.series[0].duration.record_n(seconds(4), u64::from(VUS)),
        _ => {}
    };
    let stalled = |at: u64, second: &mut Second| {
        stalled(at, second);
        if at % 60 == 54 {
            let requests = &mut second.window.series[0].requests;
            (requests.scheduled, requests.completed) =
                (requests.scheduled + u64::from(VUS), requests.completed + u64::from(VUS));
        }
    };
    let insights = with(stalled);
    assert_eq!(seen(&insights), ["stalls"]);
    let evidence = &insights[0].evidence;
    assert_eq!((evidence["stalls"], evidence["longest_s"], evidence["first_at_s"]), (3.0, 4.0, 50.0));
}

#[test]
fn a_leak_and_a_throttle_are_told_apart() {
    let leak = at_rate(|at| PER_S * (1.0 - 0.2 * at as f64 / STEADY_S as f64));
    assert_eq!(seen(&leak), ["latency-rising"]);
    assert!((leak[0].evidence["rate_change_over_run"] + 0.22).abs() < 0.03, "{leak:?}");
    let throttle = at_rate(|at| if at < 200 { PER_S } else { 0.7 * PER_S });
    assert_eq!(seen(&throttle), ["throttled"]);
    assert!((throttle[0].evidence["change"] + 0.3).abs() < 0.03, "{throttle:?}");
    // Where the load changes on purpose, neither.
    let ramped = ran(
        STEADY_S,
        |plan| plan.scenarios[0].executor = Executor::Searched { start_vus: 1, max_vus: VUS },
        |at, random| clean(at, PER_S * (1.0 - 0.2 * at as f64 / STEADY_S as f64), random),
    );
    assert_eq!(seen(&ramped), [""; 0]);
}

#[test]
fn more_vus_than_the_processes_take() {
    let limited = |max: u32| {
        ran(
            SHORT_S,
            |plan| plan.target.processes = Some(Processes { min: 0, max, max_conns: 5 }),
            |at, random| clean(at, PER_S, random),
        )
    };
    let insights = limited(2);
    assert_eq!(seen(&insights), ["process-limit"]);
    // Two nodes.
    assert_eq!((insights[0].evidence["requests_at_once"], insights[0].severity), (20.0, Severity::Informs));
    assert!(limited(4).is_empty());
}

#[test]
fn a_machine_without_cpu_to_spare() {
    let asked = |executor: Option<Executor>, busy: fn(u64) -> f64| {
        let mut plan = plan();
        plan.scenarios[0].executor = executor.unwrap_or(plan.scenarios[0].executor.clone());
        let (mut builder, mut random) = (Builder::new(plan, environment()), Random::new(4));
        (0..SHORT_S).for_each(|at| builder.add(&clean(at, PER_S, &mut random)));
        let mut used = 0.0;
        for at in (0..=SHORT_S).step_by(5) {
            for (url, used) in [("a", used), ("b", 0.0)] {
                let idle = at as f64 - used;
                let text = format!("node_cpu_seconds_total {used}\nnode_cpu_seconds_total{{mode=\"idle\"}} {idle}\n");
                let values = crate::server_metrics::read(&text);
                builder.scrape(Scrape { at_s: at as f64, url: url.to_owned(), values, error: None });
            }
            used += 5.0 * busy(at);
        }
        let summary = builder.finish(RunState::Finished);
        of(&summary, &Figures::of(&summary), &SteadyState::of(&summary))
    };
    let insights = asked(None, |_| 0.96);
    assert_eq!(seen(&insights), ["server-cpu"]);
    assert_eq!((insights[0].evidence["machines"], insights[0].evidence["machines_without_spare_cpu"]), (2.0, 1.0));
    assert!(asked(None, |_| 0.85).is_empty());
    // A few busy seconds are no limit, but of a ramp they are its highest stages.
    let last: fn(u64) -> f64 = |at| if at > 145 { 1.0 } else { 0.3 };
    assert!(asked(None, last).is_empty());
    let ramp = Executor::Searched { start_vus: 1, max_vus: VUS };
    assert_eq!(seen(&asked(Some(ramp), last)), ["server-cpu"]);
}

#[test]
fn processes_started_while_it_was_measured() {
    let slow = |second: &mut Second| second.window.series[0].duration.record_n(Duration::from_millis(2300), 4);
    let quick = |at, random: &mut Random| {
        let mut second = clean(at, 2.0 * PER_S, random);
        second.window.scenarios[0].vu_time_ns += 9_200_000_000 * u128::from(at < 3);
        second
    };
    let insights = ran(
        SHORT_S,
        |_| {},
        |at, random| {
            let mut second = quick(at, random);
            if at < 3 {
                slow(&mut second);
            }
            second
        },
    );
    assert_eq!(seen(&insights), ["cold-start"]);
    assert_eq!((insights[0].evidence["slow_early"], insights[0].evidence["slow_later"]), (12.0, 0.0));
    // Slow requests all over the run are none.
    let always = ran(
        SHORT_S,
        |_| {},
        |at, random| {
            let mut second = clean(at, 2.0 * PER_S, random);
            if at % 40 == 1 {
                slow(&mut second);
            }
            second
        },
    );
    assert!(!seen(&always).contains(&"cold-start"), "{:?}", seen(&always));
}

#[test]
fn publishes_that_cost_and_publishes_that_do_not() {
    let publishing = |loss: f64| {
        ran(
            STEADY_S,
            |_| {},
            |at, random| {
                let mut second = clean(at, if at % 60 >= 40 { PER_S * (1.0 - loss) } else { PER_S }, random);
                if at % 60 == 59 {
                    let restored = second.window.trends.entry("publish_restore".to_owned()).or_default();
                    restored.record(seconds(20));
                }
                second
            },
        )
    };
    let insights = publishing(0.15);
    assert_eq!(seen(&insights), ["publish-interference"]);
    assert!((insights[0].evidence["rate_change"] + 0.15).abs() < 0.02, "{insights:?}");
    assert_eq!(seen(&publishing(0.0)), [""; 0]);
}

#[test]
fn nagle_and_delayed_acknowledgements() {
    let delayed = |from_us: u64, width_us: u64| {
        with(move |at, second| {
            let fetch = &mut second.window.series[0];
            fetch.receiving = crate::histogram::Latency::default();
            let spread = |n: u64| Duration::from_micros(from_us + (n * 37 + at * 11) % width_us);
            (0..300).for_each(|n| fetch.receiving.record(spread(n)));
            fetch.receiving.record_n(Duration::from_micros(80), 100);
        })
    };
    assert_eq!(seen(&delayed(40_000, 3_000)), ["delayed-ack"]);
    // A server that takes about as long, without the edge of a timer, and one that is always there first.
    assert_eq!(seen(&delayed(36_000, 12_000)), [""; 0]);
    assert_eq!(seen(&delayed(1_000, 2_000)), [""; 0]);
}

fn on_nodes(shares: [u64; 2], slower: u64) -> Vec<Insight> {
    with(move |_, second| {
        let fetch = &mut second.window.series[0];
        fetch.nodes.clear();
        for (at, share) in shares.into_iter().enumerate() {
            let mut node = NodeWindow { completed: 4 * share, ..NodeWindow::default() };
            let ms = if at == 0 { 100 * slower } else { 100 };
            node.duration.record_n(Duration::from_millis(ms), 4 * share);
            fetch.nodes.insert(format!("node-{at}"), node);
        }
    })
}

#[test]
fn nodes_with_more_work_and_slower_nodes() {
    assert_eq!(seen(&on_nodes([90, 10], 1)), ["node-imbalance"]);
    // Forty VUs dealt out at random are often so uneven.
    assert_eq!(seen(&on_nodes([57, 43], 1)), [""; 0]);
    assert_eq!(seen(&on_nodes([50, 50], 2)), ["slow-node"]);
}

#[test]
fn affinity_that_is_lost_by_the_server_and_by_us() {
    let moving = |reset: bool, moved: u64| {
        ran(
            SHORT_S,
            |plan| plan.http.reset_cookies = reset,
            |at, random| {
                let mut second = clean(at, PER_S, random);
                second.window.series[0].moved = moved;
                second
            },
        )
    };
    assert_eq!(seen(&moving(false, 190)), ["affinity-lost"]);
    assert_eq!(seen(&moving(true, 190)), ["cookies-dropped"]);
    assert_eq!(seen(&moving(false, 1)), [""; 0]);
}

#[test]
fn connections_that_somebody_closes() {
    let connecting = |reuse: Reuse, opened: u64, tls: bool| {
        ran(
            SHORT_S,
            |plan| plan.http.connection.reuse = reuse,
            |at, random| {
                let mut second = clean(at, PER_S, random);
                let fetch = &mut second.window.series[0];
                fetch.connections = opened;
                fetch.connecting.record_n(Duration::from_millis(2), opened);
                if tls {
                    fetch.tls_handshaking.record_n(Duration::from_millis(6), opened);
                }
                second
            },
        )
    };
    assert_eq!(seen(&connecting(Reuse::Always, 20, false)), ["keep-alive-broken"]);
    assert_eq!(seen(&connecting(Reuse::Always, 20, true)), ["keep-alive-broken", "tls-per-request"]);
    assert_eq!(seen(&connecting(Reuse::Never, 380, true)), ["tls-per-request", "connection-per-request"]);
    // A thousand requests for a connection is what a balancer does on purpose.
    assert_eq!(seen(&connecting(Reuse::Always, 0, true)), [""; 0]);
}

#[test]
fn failures_after_a_round_time() {
    let failing = |kind: ErrorKind, took: Duration| {
        with(move |at, second| {
            if at % 30 == 7 {
                fail(second, kind, 1, took);
                second.window.scenarios[0].vu_time_ns += took.as_nanos();
            }
        })
    };
    let insights = failing(ErrorKind::Status(504), Duration::from_millis(30_080));
    assert_eq!(seen(&insights), ["round-timeout"]);
    assert_eq!((insights[0].evidence["timeout_s"], insights[0].evidence["failures_at_it"]), (30.0, 6.0));
    assert_eq!(seen(&failing(ErrorKind::Status(504), Duration::from_millis(23_700))), [""; 0]);
    // Our own time-out is not the balancer's.
    assert_eq!(seen(&failing(ErrorKind::Timeout, Duration::from_millis(60_010))), [""; 0]);
}

#[test]
fn refusals_with_and_without_a_queue() {
    let refused = |ms: u64| {
        with(move |_, second| {
            fail(second, ErrorKind::Status(503), 4, Duration::from_millis(ms));
            second.window.scenarios[0].vu_time_ns += 4_000_000 * u128::from(ms);
        })
    };
    let (at_once, queued) = (refused(3), refused(900));
    assert_eq!((seen(&at_once), seen(&queued)), (vec!["unavailable"], vec!["unavailable"]));
    assert!(at_once[0].finding.contains("at once") && queued[0].finding.contains("it is full"));
}
