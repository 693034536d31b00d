//! What stands around the plots: figures at a glance, the run card, tables, method and limits, how to make it again.

use maud::{Markup, html};

use super::Run;
use super::figure::Table;
use super::health::{NAME, answers};
use super::tile::{Tile, render};
use super::verdict::length;
use crate::baseline::{self, Baseline, Measured};
use crate::capacity::search::Step;
use crate::disruption::judge;
use crate::plan::{Executor, Plan, ProgramPlan, REAL_PROCESSES};
use crate::report::foreign;
use crate::report::json::LatencyDocument;
use crate::report::number::{MISSING, bytes, change, count, duration, maybe, percent, significant, vus};
use crate::report::text::{self, rehearsal};
use crate::stats::Interval;
use crate::summary;

fn half(interval: Option<Interval>) -> String {
    interval.map_or_else(String::new, |i| format!("95 % interval {} to {}", significant(i.low), significant(i.high)))
}

fn load_tiles(run: &Run<'_>) -> Vec<Tile> {
    let f = run.figures;
    let latency = LatencyDocument::of(&f.fetch.duration);
    let [p50, _, p95, p99] = f.fetch_quantile_intervals;
    let tile = Tile::of;
    vec![
        tile(
            "requests per second",
            Some(f.all_per_s).filter(|_| f.requests.ended() > 0),
            half(f.all_per_s_interval),
            "requests_per_second.all",
        ),
        Tile {
            value: vus(f.vus),
            ..tile("fetching VUs", Some(f.vus), "mean over the measured time".to_owned(), "vus")
        },
        tile("mean latency, ms", latency.mean, half(f.fetch_mean_interval), "fetch_latency_ms.mean"),
        tile("median latency, ms", latency.p50, half(p50), "fetch_latency_ms.p50"),
        tile("p95 latency, ms", latency.p95, half(p95), "fetch_latency_ms.p95"),
        tile("p99 latency, ms", latency.p99, half(p99), "fetch_latency_ms.p99"),
        Tile {
            value: f.error_rate.map_or_else(|| MISSING.to_owned(), percent),
            ..tile(
                "failed requests",
                f.error_rate,
                f.error_rate_upper.map_or_else(String::new, |u| format!("below {} with 95 % confidence", percent(u))),
                "error_rate",
            )
        },
        tile("cycle time N/X, ms", f.cycle_ms, "one iteration of one VU".to_owned(), "cycle_ms"),
    ]
}

/// Of a search in the open model.
fn rate_tiles(search: &summary::Search, rate: u32) -> Vec<Tile> {
    let r = &search.result;
    let held = search.steps.iter().rfind(|step| step.rate == Some(rate));
    let kept = r.kept.as_ref();
    let note = kept.map(|kept| kept.objectives.join(" and ")).unwrap_or_default();
    let of = |name: &str, figure: fn(&Step) -> Option<f64>, note: &str| {
        Tile::of(name, held.and_then(figure), note.to_owned(), "")
    };
    vec![
        Tile::of("highest rate, requests per second", Some(f64::from(rate)), note, "saturation.rate"),
        Tile::of("answered per second there", r.requests_per_second, String::new(), "saturation.requests_per_second"),
        of("median there, ms", |step| step.p50_ms, "from when a request was due"),
        of("p95 there, ms", |step| step.p95_ms, "from when a request was due"),
        of("p99 there, ms", |step| step.p99_ms, "from when a request was due"),
        Tile::of(
            "too many, requests per second",
            kept.and_then(|kept| kept.broken_at_rate).map(f64::from),
            kept.and_then(|kept| kept.broken.clone()).unwrap_or_default(),
            "objectives.broken_at_rate",
        ),
    ]
}

fn ramp_tiles(search: &summary::Search) -> Vec<Tile> {
    let r = &search.result;
    if let Some(rate) = r.rate {
        return rate_tiles(search, rate);
    }
    let tile = Tile::of;
    let between = |(low, high): (f64, f64)| format!("90 % interval {} to {}", significant(low), significant(high));
    let ci = r.vus_ci.map(|(low, high)| format!("90 % interval {low} to {high}")).unwrap_or_default();
    let at = r.at_vus;
    let each = at.zip(r.vus).map(|(at, vus)| at.requests_per_second / f64::from(vus));
    vec![
        tile("VUs", r.vus.map(f64::from), ci, "saturation.vus"),
        tile(
            "requests per second there",
            at.map(|at| at.requests_per_second),
            "by the fitted curve".to_owned(),
            "saturation.requests_per_second_at_vus",
        ),
        tile(
            "plateau, requests per second",
            r.requests_per_second,
            r.requests_per_second_ci.map(between).unwrap_or_default(),
            "saturation.requests_per_second",
        ),
        tile("knee N*, VUs", r.knee_vus, "from here on requests wait".to_owned(), "saturation.knee_vus"),
        tile("mean latency there, ms", at.map(|at| at.mean_ms), "N/X".to_owned(), ""),
        tile("requests per second and VU", each, "at these VUs".to_owned(), ""),
    ]
}

/// The figures at a glance.
pub(super) fn tiles(run: &Run<'_>) -> Markup {
    render(&run.summary.search.as_ref().map_or_else(|| load_tiles(run), ramp_tiles))
}

/// Where, when and with what.
pub(super) fn card(run: &Run<'_>) -> Markup {
    let (plan, environment) = (&run.summary.plan, &run.summary.environment);
    let target = &plan.target;
    let yes = |is: bool, yes: &'static str, no: &'static str| (if is { yes } else { no }).to_owned();
    let mut facts: Vec<(&str, String)> = vec![
        ("Server", foreign::line(target.url.as_str(), 200)),
        ("Connect", target.connect_version.as_deref().map_or_else(|| MISSING.to_owned(), |v| foreign::line(v, NAME))),
        ("Started", environment.started.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()),
        (
            "Length",
            format!("{} measured, {} warm-up", length(run.summary, run.figures), duration(plan.warm_up.as_secs_f64())),
        ),
        ("Run", foreign::line(&run.name, 120)),
        ("Scenarios", foreign::line(&scenarios(plan), 300)),
        ("Seed", plan.seed.to_string()),
        (
            "Generator",
            format!(
                "{}, {} cores, {} workers, kernel {}",
                foreign::line(&environment.host, NAME),
                environment.cores,
                plan.workers,
                foreign::line(&environment.kernel, NAME)
            ),
        ),
        ("Memory", environment.memory_bytes.map_or_else(|| MISSING.to_owned(), bytes)),
        ("Certificate", yes(plan.http.insecure, "NOT verified (--insecure)", "verified where there is TLS")),
        ("Cookies", yes(plan.http.reset_cookies, "emptied before each iteration", "kept by each VU")),
        ("connect-bench", run.summary.version.clone()),
    ];
    if let Some(guid) = &target.content_guid {
        facts.insert(2, ("Content item", foreign::line(guid, NAME)));
    }
    if !target.settings.is_empty() {
        facts.push(("Content runs with", text::setting_words(target)));
    }
    html! {
        dl.card { @for (name, fact) in facts { div { dt { (name) } dd { (fact) } } } }
    }
}

fn scenarios(plan: &Plan) -> String {
    let what = |program: &ProgramPlan| match program {
        ProgramPlan::Fetch(fetch) => format!("GET {}", fetch.path),
        ProgramPlan::Publish(publish) => format!("publishes {}", publish.bundle),
        ProgramPlan::Steps(_) => "steps".to_owned(),
    };
    let one = |s: &crate::plan::ScenarioPlan| {
        format!("{} (at most {} VUs: {})", s.name, s.executor.max_vus(), what(&s.program))
    };
    plan.scenarios.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// The flags that start such a sandbox again.
fn sandbox(profile: &str) -> String {
    let (profile, content) = match profile.strip_suffix(REAL_PROCESSES) {
        Some(profile) => (profile, " --sandbox-content processes"),
        None => (profile, ""),
    };
    match profile.strip_prefix("curve ") {
        Some(curve) => format!("--sandbox-curve {}{content}", quoted(curve)),
        None => format!("--sandbox={}{content}", quoted(profile)),
    }
}

/// The command that makes such a run again. Holds no key.
pub(super) fn command(plan: &Plan) -> String {
    let target = &plan.target;
    // A sandbox that somebody else started is reached by its address.
    let started = |profile: &&String| profile.strip_suffix(REAL_PROCESSES) != Some("own");
    let aim = match target.sandbox_profile.as_ref().filter(started) {
        Some(profile) => sandbox(profile),
        None if target.content_guid.is_some() => format!("--server {}", quoted(target.url.as_str())),
        None => format!("--url {}", quoted(target.url.as_str())),
    };
    let fetch = plan.fetch_scenario().and_then(|at| plan.scenarios.get(at));
    match (plan.command.as_str(), fetch.map(|s| &s.executor)) {
        ("ramp", Some(executor)) => format!("connect-bench ramp {aim} --max-vus {}", executor.max_vus()),
        ("load", Some(Executor::ConstantVus { vus, .. })) => format!(
            "connect-bench load {aim} --vus {vus} --duration {}s --warmup {}s --seed {}",
            plan.duration.saturating_sub(plan.warm_up).as_secs(),
            plan.warm_up.as_secs(),
            plan.seed,
        ),
        _ => format!("connect-bench run scenario.toml {aim} --seed {}", plan.seed),
    }
}

/// A word of a shell's command line, whatever is in it.
fn quoted(word: &str) -> String {
    let word = foreign::line(word, 300);
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,=@".contains(c);
    if word.chars().all(plain) { word } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// A table with its heading; nothing where it is empty.
fn section(run: &Run<'_>, name: &str, table: &Table, note: Option<&str>) -> Markup {
    html! {
        @if !table.rows.is_empty() {
            section.table {
                h3 { (name) }
                @if let Some(note) = note { p.note { (note) } }
                (table.render(&format!("{} {name}", run.prefix)))
            }
        }
    }
}

/// The tables of a run.
pub(super) fn tables(run: &Run<'_>) -> Markup {
    let (statuses, messages) = answers(run);
    html! {
        (section(run, "Thresholds", &thresholds(run), None))
        @if let Some(search) = &run.summary.search { (section(run, "Stages", &super::knee::steps(search), None)) }
        (section(run, "Beside Posit's documented load tests", &documented(run), Some(baseline::NOTE)))
        @if run.summary.search.is_none() {
            (section(run, "Steps", &steps(run), None))
            (section(run, "Checks", &checks(run), None))
            (section(run, "Rehearsal", &rehearsal(run), Some(REHEARSAL)))
        }
        (section(run, "Responses by status", &statuses, None))
        (section(run, "Messages of failures", &messages, Some("As servers and programs said them; cut after 300 characters.")))
    }
}

/// What the claim is.
const REHEARSAL: &str = "What was done while the run was on, and what it did until the next. The claim is the documentation's: a failure of \
     either node disrupts the user sessions on that node but not the service.";

fn rehearsal(run: &Run<'_>) -> Table {
    let mut table = Table::new(&["at", "what", "what it did", "the claim"]).left(&[0, 1, 2, 3]);
    for disruption in judge(&run.summary.rehearsal) {
        let sentences = rehearsal::sentences(&disruption);
        let did = sentences.get(1..sentences.len().saturating_sub(1).max(1)).unwrap_or_default().join("; ");
        let did = disruption.event.error.as_ref().map_or(did, |error| format!("not done: {error}"));
        table.row(vec![
            duration(disruption.event.at_s),
            foreign::line(&disruption.event.action, 120),
            foreign::line(&did, 400),
            rehearsal::claim(&disruption.claim),
        ]);
    }
    table
}

fn thresholds(run: &Run<'_>) -> Table {
    let mut table = Table::new(&["metric", "threshold", "observed", "kept"]).left(&[0, 1, 3]);
    for verdict in &run.summary.thresholds {
        let observed = verdict.observed.map_or_else(
            || "no data".to_owned(),
            |value| format!("{} {}", significant(value), verdict.unit).trim_end().to_owned(),
        );
        let kept = if verdict.passed { "✓ kept" } else { "✗ failed" };
        let metric = foreign::line(&verdict.metric, 120);
        table.row(vec![metric, foreign::line(&verdict.expression, 120), observed, kept.to_owned()]);
    }
    table
}

/// What is held against the documented figures: the measured part, or what a search found.
fn measured(run: &Run<'_>) -> Option<Measured> {
    let measured = run.figures.measured(run.summary);
    let Some(search) = &run.summary.search else { return Some(measured) };
    let (vus, at) = search.result.vus.zip(search.result.at_vus)?;
    Some(Measured {
        vus: f64::from(vus),
        requests_per_second: at.requests_per_second,
        cycle_ms: Some(at.mean_ms),
        latency_mean_ms: None,
        ..measured
    })
}

fn documented(run: &Run<'_>) -> Table {
    let Some(measured) = measured(run) else { return Table::default() };
    let mut table = Table::new(&[
        "documented by Posit",
        "requests per s",
        "this run",
        "VUs",
        "cycle ms",
        "this run",
        "latency ms",
        "this run",
        "verdict",
        "what differs",
    ])
    .left(&[0, 8, 9]);
    let against = |ratio: Option<f64>| ratio.map_or_else(|| MISSING.to_owned(), |r| change(r - 1.0));
    let row = |b: &Baseline| {
        let c = baseline::compare(&measured, b);
        vec![
            c.id.clone(),
            maybe(c.requests_per_second.documented),
            against(c.requests_per_second.ratio),
            maybe(c.vus.documented),
            maybe(c.cycle_ms.documented),
            against(c.cycle_ms.ratio),
            maybe(c.latency_ms.documented),
            against(c.latency_ms.ratio),
            c.standing.words().to_owned(),
            c.differs.join("; "),
        ]
    };
    run.baselines.iter().for_each(|b| table.row(row(b)));
    table
}

fn steps(run: &Run<'_>) -> Table {
    let mut table = Table::new(&[
        "scenario",
        "step",
        "requests",
        "per s",
        "mean ms",
        "median ms",
        "p95 ms",
        "p99 ms",
        "max ms",
        "failed",
    ])
    .left(&[0, 1]);
    for step in summary::steps(run.summary) {
        let latency = &step.window.duration;
        let q = |q| maybe(latency.quantile_ms(q));
        table.row(vec![
            foreign::line(step.scenario, NAME),
            foreign::line(&step.step, NAME),
            count(step.window.requests.completed),
            significant(step.per_s),
            maybe(latency.mean_ms()),
            q(0.5),
            q(0.95),
            q(0.99),
            maybe(latency.max_ms()),
            step.error_rate.map_or_else(|| MISSING.to_owned(), percent),
        ]);
    }
    table
}

fn checks(run: &Run<'_>) -> Table {
    let mut table = Table::new(&["check", "passed", "failed", "rate"]);
    for (name, check) in &run.summary.steady.checks {
        let rate = check.rate().map_or_else(|| MISSING.to_owned(), percent);
        table.row(vec![foreign::line(name, 120), count(check.passes), count(check.fails), rate]);
    }
    table
}

/// How it was measured, what that cannot say, and how to do it again.
pub(super) fn method(run: &Run<'_>) -> Markup {
    let little = run.figures.little.map(|audit| percent(audit.share));
    let n = run.figures.fetch.duration.count();
    html! {
        section.method {
            h3 { "Method and limits" }
            ul {
                li { "Latency is k6's http_req_duration: from the request being sent to the last byte of the response, by a monotonic clock, of completed requests only; failures have latencies of their own. Distributions are HDR histograms with three significant digits, n = " (count(n)) "; no sample is kept and none is left out." }
                li { (model(&run.summary.plan)) }
                li { "Intervals are at 95 % from ten batches of the measured time (at 90 % from a bootstrap in a saturation search). They say how exact this run is, not how another day will be." }
                @if let Some(share) = little { li { "Little's law, as an audit of the counts: " (share) " of the VUs' time lies outside requests." } }
                @if run.summary.plan.target.sandbox { li { b { "This was the sandbox, a stand-in " (if run.summary.plan.target.is_simulated() { "with a known capacity" } else { "that ran the content in real processes on this machine" }) ". Nothing here is a result of Posit Connect." } } }
            }
            h3 { "To do this again" }
            pre tabindex="0" { code { (command(&run.summary.plan)) } }
            p.note { "The key comes from CONNECT_API_KEY or a saved server and is in no file. " code { "connect-bench report --from" } " reads this page, which has its data in it." }
        }
    }
}

/// What sets the load.
fn model(plan: &Plan) -> &'static str {
    match plan.scenarios.iter().any(|scenario| scenario.executor.is_open()) {
        true => {
            "An open model: iterations begin by a schedule, whether or not the server keeps up; “from schedule” in the \
             percentile curve counts from when an iteration was due, latency from when its request was sent."
        }
        false => {
            "A closed model: each VU waits for its answer before it asks again, so the number of VUs, not a schedule, sets \
             the load; latency under a fixed rate of arrivals can be longer."
        }
    }
}

/// Words of this page.
pub(super) fn glossary() -> Markup {
    let words = [
        (
            "VU",
            "one client with its own connection and cookies; in a closed model it asks again as soon as it has its answer.",
        ),
        ("p95", "the latency that 95 % of the requests did not exceed."),
        ("saturation", "the fewest VUs with 98 % of the greatest throughput."),
        ("cycle time N/X", "VUs divided by throughput: the time from one request of a VU to its next."),
        ("corrected", "latency without the time that responses waited in this machine before they were read."),
    ];
    html! {
        details.glossary {
            summary { "Words" }
            dl { @for (word, meaning) in words { div { dt { (word) } dd { (meaning) } } } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_word_stays_one_word_of_a_command() {
        assert_eq!(quoted("https://a.example/b"), "https://a.example/b");
        assert_eq!(quoted("a'; rm -rf ~ #"), r"'a'\''; rm -rf ~ #'");
        assert_eq!(quoted("small\u{1b}[2J"), "'small\u{fffd}[2J'");
    }
}
