//! The result of a load test as text.

use std::fmt::Write as _;
use std::path::Path;

use super::super::number::{
    MISSING, bytes, change, count, duration, in_seconds, maybe, percent, plus_minus, significant, vus,
};
use super::{
    connections, control, incidents, insights, model, rehearsal, servers, settings, sockets, steps, table, what, wrap,
};
use crate::baseline::{self, Baseline, Comparison};
use crate::insight;
use crate::stats::Interval;
use crate::stats::little::LittleVerdict;
use crate::steady::SteadyState;
use crate::summary::{Figures, RunState, Summary};

/// The result of a load test.
#[must_use]
pub fn load(summary: &Summary, baselines: &[Baseline], run_dir: &Path) -> String {
    let figures = Figures::of(summary);
    let mut out = format!("{}\n{}", what(&summary.plan.target), settings(&summary.plan.target));
    // Writing to a String cannot fail.
    out.push_str(&verdict(summary, &figures));
    if figures.requests.ended() > 0 {
        out.push('\n');
        out.push_str(&table(&main_rows(&figures), 2, &[0, 2]));
        out.push_str(&table(&latency_rows(&figures), 2, &[0]));
        out.push_str(model::latencies(summary));
    }
    out.push_str(&steps::steps(summary));
    out.push_str(&sockets::sockets(summary, &figures));
    out.push_str(&steps::checks(summary));
    out.push_str(&model::open_model(summary));
    out.push_str(&model::thresholds(&summary.thresholds));
    out.push_str(&control::control(summary));
    out.push_str(&rehearsal::rehearsal(summary));
    out.push_str(&errors(&figures));
    out.push_str(&incidents::incidents(summary));
    out.push_str(&publish(&figures));
    out.push_str(&nodes(&figures));
    out.push_str(&servers::servers(summary));
    out.push_str(&connections::connections(summary));
    let steady_state = SteadyState::of(summary);
    if figures.requests.ended() > 0 {
        out.push_str(&insights::steady(&steady_state));
    }
    out.push_str(&health(summary, &figures));
    let seen = insights::insights(&insight::of(summary, &figures, &steady_state));
    out.push_str(&seen);
    if !baselines.is_empty() {
        out.push_str(&documented(summary, &figures, baselines));
    }
    let _ = writeln!(out, "\nrun directory: {}", run_dir.display());
    for left in &summary.left_behind {
        let _ = writeln!(out, "left on the server: {left} (remove it with: connect-bench cleanup)");
    }
    out
}

fn verdict(summary: &Summary, figures: &Figures) -> String {
    sentences(summary, figures).iter().map(|sentence| wrap(sentence, "", 2)).collect()
}

/// The verdict: that the run is not valid and why, where it is not; then what was measured.
pub(in crate::report) fn sentences(summary: &Summary, figures: &Figures) -> Vec<String> {
    let state = match &summary.state {
        RunState::Finished => String::new(),
        RunState::Interrupted => "Interrupted; what there is: ".to_owned(),
        RunState::Stopped => "Stopped; what there is: ".to_owned(),
        RunState::Aborted { reason, .. } => format!("Aborted ({reason}); what there is: "),
        RunState::Partial => {
            let planned = summary.plan.duration.saturating_sub(summary.plan.warm_up).as_secs_f64();
            format!("PARTIAL, {} of {}: ", duration(figures.seconds), duration(planned))
        }
    };
    let invalid = figures.invalid(summary);
    let mut out = Vec::new();
    if !invalid.is_empty() {
        out.push(format!("NOT VALID: {}.", invalid.join("; ")));
    }
    if figures.requests.completed == 0 && !figures.is_empty() {
        let sessions = figures.sockets.as_ref().map_or(0, |sockets| sockets.sessions.completed);
        let over = duration(figures.seconds);
        out.push(format!("{state}no requests; {} WebSocket sessions completed over {over}", count(sessions)));
        return out;
    }
    if figures.requests.completed == 0 {
        let failed = figures.error_rate.map_or_else(String::new, |rate| format!(", {} errors", percent(rate)));
        out.push(format!("{state}no request was completed in {}{failed}", duration(figures.seconds)));
        return out;
    }
    out.push(format!(
        "{state}{} requests per second at {} fetching VUs over {}, mean latency {} ms, {} errors",
        significant(figures.all_per_s),
        vus(figures.vus),
        duration(figures.seconds),
        maybe(figures.fetch.duration.mean_ms()),
        figures.error_rate.map_or_else(|| MISSING.to_owned(), percent),
    ));
    out
}

fn with_interval(value: Option<f64>, interval: Option<Interval>) -> String {
    match (value, interval) {
        (Some(value), Some(i)) => plus_minus(value, (i.high - i.low) / 2.0),
        (value, _) => maybe(value),
    }
}

fn main_rows(f: &Figures) -> Vec<Vec<String>> {
    let row = |name: &str, value: String, note: String| vec![name.to_owned(), value, note];
    let upper = f.error_rate_upper.map_or_else(String::new, |upper| format!("below {} at 95 %", percent(upper)));
    vec![
        row(
            "requests per second, all",
            with_interval(Some(f.all_per_s), f.all_per_s_interval),
            "± 95 %, ten batches".into(),
        ),
        row("fetches per second", with_interval(Some(f.fetch_per_s), f.fetch_per_s_interval), String::new()),
        row("cycle time N/X, ms", maybe(f.cycle_ms), "one iteration of one VU".into()),
        row("error rate", f.error_rate.map_or_else(|| MISSING.to_owned(), percent), upper),
        row("users ≈ rps × 10", significant(f.all_per_s * 10.0), "Posit's rule; it leaves no headroom".into()),
    ]
}

/// The latency of the fetches in one line, and below it how far each figure may be off.
fn latency_rows(f: &Figures) -> Vec<Vec<String>> {
    let latency = &f.fetch.duration;
    let [p50, p90, p95, p99] = f.fetch_quantile_intervals;
    let quantiles = [(0.5, p50), (0.9, p90), (0.95, p95), (0.99, p99)];
    let known = [(latency.mean_ms(), f.fetch_mean_interval)];
    let known = known.into_iter().chain(quantiles.map(|(q, interval)| (latency.quantile_ms(q), interval)));
    let p999 = latency.quantile_ms(0.999).filter(|_| latency.count() >= 10_000);
    let further = [maybe(p999), maybe(latency.max_ms()), count(latency.count())];
    let (mut values, mut widths) = (vec![String::new()], vec!["  ± 95 %".to_owned()]);
    for (value, interval) in known {
        let shown = with_interval(value, interval);
        let (value, width) = shown.split_once(" ± ").unwrap_or((&shown, ""));
        values.push(value.to_owned());
        widths.push(width.to_owned());
    }
    values.extend(further);
    let head = ["fetch latency, ms", "mean", "p50", "p90", "p95", "p99", "p99.9", "max", "n"];
    let mut rows = vec![head.map(str::to_owned).to_vec(), values];
    if widths.iter().skip(1).any(|width| !width.is_empty()) {
        rows.push(widths);
    }
    rows
}

fn errors(figures: &Figures) -> String {
    let mut out = String::new();
    let mut kinds: Vec<_> = figures.errors.iter().collect();
    kinds.sort_by(|a, b| b.1.cmp(a.1));
    for (kind, n) in kinds.iter().take(8) {
        let _ = writeln!(out, "  {} × {} (k6 error_code {})", count(**n), kind.describe(), kind.k6_code());
    }
    if kinds.len() > 8 {
        let _ = writeln!(out, "  and {} more kinds", kinds.len() - 8);
    }
    if out.is_empty() { out } else { format!("\nErrors\n{out}") }
}

fn publish(figures: &Figures) -> String {
    let Some(publish) = &figures.publish else { return String::new() };
    let (done, failed) = (publish.publishes.completed, publish.publishes.failed);
    let mut out = format!("\nPublish loop: {} published, {} failed\n", count(done), count(failed));
    let order = ["create", "upload", "queue", "restore", "launch", "first_response", "total"];
    let mut rows = vec![["phase, s", "n", "mean", "p50", "max"].map(str::to_owned).to_vec()];
    for phase in order {
        let Some(latency) = publish.phases.get(&format!("publish_{phase}")) else { continue };
        let (mean, p50, max) = (latency.mean_ms(), latency.quantile_ms(0.5), latency.max_ms());
        let [mean, p50, max] = [mean, p50, max].map(in_seconds);
        rows.push(vec![phase.replace('_', " "), count(latency.count()), mean, p50, max]);
    }
    if rows.len() > 1 {
        out.push_str(&table(&rows, 2, &[0]));
    }
    out
}

fn nodes(figures: &Figures) -> String {
    if figures.nodes.len() < 2 {
        return String::new();
    }
    let mut rows = vec![["node", "share", "rps", "mean ms", "p95 ms", "errors"].map(str::to_owned).to_vec()];
    for node in &figures.nodes {
        rows.push(vec![
            node.node.clone(),
            percent(node.share),
            significant(node.requests_per_second),
            maybe(node.mean_ms),
            maybe(node.p95_ms),
            node.error_rate.map_or_else(|| MISSING.to_owned(), percent),
        ]);
    }
    let most = figures.nodes.iter().map(|n| n.share).fold(0.0, f64::max);
    let imbalance = most * figures.nodes.len() as f64;
    format!("\nNodes (imbalance {imbalance:.2}; 1.00 is even)\n{}", table(&rows, 2, &[0]))
}

fn health(summary: &Summary, figures: &Figures) -> String {
    let health = &summary.generator;
    if health.seconds == 0 {
        return String::new();
    }
    let mut facts = Vec::new();
    if let Some(cpu) = health.cpu_share() {
        facts.push(format!("workers {} busy, {} in the worst second", percent(cpu), percent(health.busiest_worker)));
    }
    facts.push(format!("event loop p99 {} ms late", maybe(health.lag.quantile_ms(0.99))));
    facts.extend(health.peak_memory_bytes.map(|peak| format!("memory {} at most", bytes(peak))));
    facts.extend(health.open_files.map(|(open, limit)| format!("{} of {} files", count(open), count(limit))));
    let word = if figures.invalid(summary).is_empty() { "healthy" } else { "NOT healthy" };
    let mut out = format!("\n{}", wrap(&facts.join("; "), &format!("Generator {word}: "), 2));
    if let Some(little) = figures.little {
        let word = match little.verdict {
            LittleVerdict::Ok => "closes",
            LittleVerdict::Warn => "closes badly",
            LittleVerdict::Invalid => "does not close",
        };
        let _ = writeln!(out, "Little's law {word}: {} of the VUs' time lies outside requests", percent(little.share));
    }
    out.push_str(&delay(figures));
    out
}

/// What of the latency is our own doing.
fn delay(figures: &Figures) -> String {
    let (delay, corrected) = (&figures.fetch.generator_delay, &figures.fetch.duration_corrected);
    if delay.is_empty() {
        let why = "The kernel does not say here how long responses waited before we read them: the generator is judged by \
                   how late its event loop was";
        return wrap(why, "", 2);
    }
    let text = format!(
        "Responses waited here for us: p50 {} ms, p99 {} ms; without that p50 {} ms, p99 {} ms",
        maybe(delay.quantile_ms(0.5)),
        maybe(delay.quantile_ms(0.99)),
        maybe(corrected.quantile_ms(0.5)),
        maybe(corrected.quantile_ms(0.99)),
    );
    wrap(&text, "", 2)
}

fn documented(summary: &Summary, figures: &Figures, baselines: &[Baseline]) -> String {
    let measured = figures.measured(summary);
    let comparisons: Vec<Comparison> = baselines.iter().map(|b| baseline::compare(&measured, b)).collect();
    let mut out = match comparisons.as_slice() {
        [one] => one_baseline(one),
        several => several_baselines(several),
    };
    out.push_str(&wrap(baseline::NOTE_IN_SHORT, "  * ", 4));
    out
}

/// All figures beside those of one baseline.
fn one_baseline(c: &Comparison) -> String {
    let head = format!("Documented by Posit: {} ({})", c.title, c.id);
    let mut out = format!("\n{head}: {}\n", c.standing.words());
    let mut rows = vec![["", "documented", "this run", "ratio", "difference"].map(str::to_owned).to_vec()];
    let figures = [
        ("requests per second", c.requests_per_second),
        ("cycle time N/X, ms", c.cycle_ms),
        ("mean latency, ms *", c.latency_ms),
        ("VUs", c.vus),
        ("error rate", c.error_rate),
        ("users ≈ rps × 10", c.users),
    ];
    for (name, figure) in figures {
        let [documented, measured, difference] = [figure.documented, figure.measured, figure.difference].map(|value| {
            if name == "error rate" { value.map_or_else(|| MISSING.to_owned(), percent) } else { maybe(value) }
        });
        let ratio = figure.ratio.map_or_else(|| MISSING.to_owned(), |ratio| format!("{ratio:.3}"));
        rows.push(vec![name.to_owned(), documented, measured, ratio, difference]);
    }
    out.push_str(&table(&rows, 2, &[0]));
    for difference in &c.differs {
        out.push_str(&wrap(difference, "  differs: ", 4));
    }
    out
}

/// The baselines one below the other.
fn several_baselines(comparisons: &[Comparison]) -> String {
    let head =
        ["Documented by Posit", "rps", "this run", "VUs", "cycle ms", "this run", "latency ms*", "users", "verdict"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let against = |ratio: Option<f64>| ratio.map_or_else(|| MISSING.to_owned(), |r| change(r - 1.0));
    for c in comparisons {
        rows.push(vec![
            c.id.clone(),
            maybe(c.requests_per_second.documented),
            against(c.requests_per_second.ratio),
            maybe(c.vus.documented),
            maybe(c.cycle_ms.documented),
            against(c.cycle_ms.ratio),
            format!("{} ({})", maybe(c.latency_ms.documented), against(c.latency_ms.ratio)),
            maybe(c.users.documented),
            c.standing.words().to_owned(),
        ]);
    }
    let mut out = format!("\n{}", table(&rows, 0, &[0, 8]));
    out.push_str(&differences(comparisons));
    out
}

/// What differs: first what differs from all of them, then the rest.
fn differences(comparisons: &[Comparison]) -> String {
    let [first, others @ ..] = comparisons else { return String::new() };
    let everywhere = |what: &&String| !others.is_empty() && others.iter().all(|c| c.differs.contains(what));
    let common: Vec<&str> = first.differs.iter().filter(everywhere).map(String::as_str).collect();
    let mut out = String::new();
    if !common.is_empty() {
        out.push_str(&wrap(&common.join("; "), "  all: ", 4));
    }
    for c in comparisons {
        let own: Vec<&str> = c.differs.iter().map(String::as_str).filter(|what| !common.contains(what)).collect();
        if !own.is_empty() {
            out.push_str(&wrap(&own.join("; "), &format!("  {}: ", c.id), 4));
        }
    }
    out
}
