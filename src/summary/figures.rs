//! The figures that people and scripts read, computed from a [`Summary`]. Without data a figure is `None`, never zero.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Batch, RunState, Summary};
use crate::baseline::Measured;
use crate::histogram::Latency;
use crate::outcome::ErrorKind;
use crate::stats::Interval;
use crate::stats::batches::{ten_batches_mean, ten_batches_quantile};
use crate::stats::little::{LittleAudit, LittleVerdict, audit};
use crate::stats::proportion::failure_rate_upper_95;
use crate::window::{Counts, ScenarioWindow, SeriesWindow, SocketWindow};

/// The figures of the measured part of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// Measured time, seconds.
    pub seconds: f64,
    /// Mean number of fetching VUs.
    pub vus: f64,
    /// All completed requests per second.
    pub all_per_s: f64,
    /// Its 95 % interval.
    pub all_per_s_interval: Option<Interval>,
    /// Completed fetches per second.
    pub fetch_per_s: f64,
    /// Its 95 % interval.
    pub fetch_per_s_interval: Option<Interval>,
    /// All figures of the fetches.
    pub fetch: SeriesWindow,
    /// Mean latency of fetches, ms, with its 95 % interval.
    pub fetch_mean_interval: Option<Interval>,
    /// Latency percentiles of fetches, ms, with their 95 % intervals: p50, p90, p95, p99.
    pub fetch_quantile_intervals: [Option<Interval>; 4],
    /// Requests of all scenarios and their ends.
    pub requests: Counts,
    /// Failed / (failed + completed), of all scenarios.
    pub error_rate: Option<f64>,
    /// Upper end of its one-sided 95 % interval: with no error in n requests about 3/n.
    pub error_rate_upper: Option<f64>,
    /// Failures by kind, of all scenarios.
    pub errors: BTreeMap<ErrorKind, u64>,
    /// Time per iteration of the fetching VUs, N/X, ms.
    pub cycle_ms: Option<f64>,
    /// Little's-law audit of the fetching VUs.
    pub little: Option<LittleAudit>,
    /// WebSocket sessions of all scenarios; `None` where there were none.
    pub sockets: Option<Box<SocketWindow>>,
    /// The publish loop; `None` where there was none.
    pub publish: Option<PublishFigures>,
    /// Fetches by node, where nodes can be told apart.
    pub nodes: Vec<NodeFigures>,
}

/// Figures of the publish loop.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishFigures {
    /// Publishes and their ends.
    pub publishes: Counts,
    /// Durations of the phases, by the plan's names (`publish_upload`, …, `publish_total`).
    pub phases: BTreeMap<String, Latency>,
}

/// One node's share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeFigures {
    /// Its label: the host name where it was told, otherwise the value of the affinity cookie.
    pub node: String,
    /// Share of the requests.
    pub share: f64,
    /// Completed requests per second.
    pub requests_per_second: f64,
    /// Mean latency, ms.
    pub mean_ms: Option<f64>,
    /// 95th percentile of latency, ms.
    pub p95_ms: Option<f64>,
    /// Failed / (failed + completed).
    pub error_rate: Option<f64>,
}

const QUANTILES: [f64; 4] = [0.5, 0.9, 0.95, 0.99];

impl Figures {
    /// Computes the figures of a summary's measured part.
    #[must_use]
    pub fn of(summary: &Summary) -> Figures {
        let seconds = summary.measured_s();
        let per_s = |n: u64| if seconds > 0.0 { n as f64 / seconds } else { 0.0 };
        let (fetch, all) = split(summary);
        let requests = all.requests;
        let judged = requests.completed + requests.failed;
        let vus = fetching_vus(summary);
        let batches = &summary.batches;
        let fetch_per_s = per_s(fetch.requests.completed);
        let over = |count: fn(&Batch) -> u64| -> Vec<(f64, f64)> {
            batches.iter().map(|batch| (count(batch) as f64, batch.seconds)).collect()
        };
        let latencies: Vec<Latency> = batches.iter().map(|batch| batch.fetch_duration.clone()).collect();
        let sums: Vec<(f64, f64)> = latencies.iter().map(|l| (l.sum_ns() as f64 / 1e6, l.count() as f64)).collect();
        Figures {
            seconds,
            vus,
            all_per_s: per_s(requests.completed),
            all_per_s_interval: ten_batches_mean(&over(|batch| batch.completed)),
            fetch_per_s,
            fetch_per_s_interval: ten_batches_mean(&over(|batch| batch.fetched)),
            fetch_mean_interval: ten_batches_mean(&sums),
            fetch_quantile_intervals: QUANTILES.map(|q| ten_batches_quantile(&latencies, q)),
            requests,
            error_rate: (judged > 0).then(|| requests.failed as f64 / judged as f64),
            error_rate_upper: (judged > 0).then(|| failure_rate_upper_95(requests.failed, judged)),
            errors: all.errors,
            sockets: all.sockets,
            cycle_ms: cycle_ms(summary, vus, fetch_per_s, seconds),
            little: little(summary, &of_fetching_vus(summary), vus, seconds),
            publish: publish(summary),
            nodes: nodes(&fetch, seconds),
            fetch,
        }
    }

    /// Whether nothing was completed: neither a request nor a WebSocket session.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests.completed == 0 && self.sockets.as_ref().is_none_or(|sockets| sockets.sessions.completed == 0)
    }

    /// What documented baselines are compared by.
    #[must_use]
    pub fn measured(&self, summary: &Summary) -> Measured {
        Measured {
            vus: self.vus,
            requests_per_second: self.all_per_s,
            cycle_ms: self.cycle_ms,
            latency_mean_ms: self.fetch.duration.mean_ms(),
            error_rate: self.error_rate,
            duration_s: self.seconds,
            nodes: (!self.nodes.is_empty()).then(|| u32::try_from(self.nodes.len()).unwrap_or(u32::MAX)),
            sandbox: summary.plan.target.sandbox,
        }
    }

    /// Why the figures are not the server's, where they are not: the generator was the limit, or the counts do not close.
    #[must_use]
    pub fn invalid(&self, summary: &Summary) -> Vec<String> {
        let mut why = Vec::new();
        let health = &summary.generator;
        if !health.kept_up() {
            let reasons: Vec<String> = health.reasons.iter().map(|(r, n)| format!("{r} ({n} s)")).collect();
            let (limited, seconds) = (health.limited_seconds, health.seconds);
            why.push(format!("the generator was the limit in {limited} of {seconds} s: {}", reasons.join(", ")));
        }
        // A run that was given up has nothing left to be audited.
        let aborted = matches!(summary.state, RunState::Aborted { .. });
        if let Some(little) = self.little.filter(|audit| audit.verdict == LittleVerdict::Invalid && !aborted) {
            let share = 100.0 * little.share;
            why.push(format!("Little's law does not close: {share:.1} % of the VUs' time lies outside requests"));
        }
        why
    }
}

/// The fetches, and all series together.
fn split(summary: &Summary) -> (SeriesWindow, SeriesWindow) {
    let (mut fetch, mut all) = (SeriesWindow::default(), SeriesWindow::default());
    for (at, series) in summary.plan.series().iter().enumerate() {
        let Some(measured) = summary.steady.series.get(at) else { continue };
        all.merge(measured);
        if summary.plan.fetches_in(at, series) {
            fetch.merge(measured);
        }
    }
    (fetch, all)
}

/// All that the VUs of fetching scenarios do, what they publish included.
fn of_fetching_vus(summary: &Summary) -> SeriesWindow {
    let mut all = SeriesWindow::default();
    for (at, series) in summary.plan.series().iter().enumerate() {
        if let Some(measured) = summary.steady.series.get(at).filter(|_| summary.plan.fetches(series.scenario)) {
            all.merge(measured);
        }
    }
    all
}

/// The fetching scenarios, put together.
fn fetching(summary: &Summary) -> ScenarioWindow {
    let mut all = ScenarioWindow::default();
    for scenario in summary.plan.fetch_scenarios() {
        if let Some(measured) = summary.steady.scenarios.get(scenario) {
            all.merge(measured);
        }
    }
    all
}

/// N/X by iteration, which is one request unless there are steps.
fn cycle_ms(summary: &Summary, vus: f64, fetch_per_s: f64, seconds: f64) -> Option<f64> {
    let steps = summary.plan.fetch_scenarios().any(|scenario| summary.plan.has_steps(scenario));
    let per_s = match steps {
        true if seconds > 0.0 => fetching(summary).iterations.completed as f64 / seconds,
        true => 0.0,
        false => fetch_per_s,
    };
    (per_s > 0.0).then(|| vus / per_s * 1000.0)
}

fn fetching_vus(summary: &Summary) -> f64 {
    let seconds = summary.measured_s();
    if seconds > 0.0 { fetching(summary).vu_time_ns as f64 / 1e9 / seconds } else { 0.0 }
}

/// All that a VU's iteration is made of, failed requests and opening connections included, against the VUs' time.
fn little(summary: &Summary, fetch: &SeriesWindow, vus: f64, seconds: f64) -> Option<LittleAudit> {
    let ended = fetch.requests.completed + fetch.requests.failed;
    if ended == 0 || seconds <= 0.0 {
        return None;
    }
    let busy_ns = fetch.duration.sum_ns() + fetch.failed_duration.sum_ns() + fetch.blocked.sum_ns();
    let ended_n = ended as f64;
    let mean_s = busy_ns as f64 / 1e9 / ended_n;
    let fetching = fetching(summary);
    // A session is no request, and what its VU does in it is its own affair.
    let pacing_s = (fetching.pause_ns + fetching.session_ns) as f64 / 1e9 / ended_n;
    // A request over an edge of the measured time is counted whole where it ended in it, and not at all where it ended
    // after it. What that can explain is no objection: much in a short run of long requests, next to nothing in a long one.
    let unexplained = (vus * seconds / ended_n - pacing_s) / mean_s - 1.0;
    let [before, after] = [fetch.requests.carried_in, fetch.requests.carried_out].map(|n| n as f64 / ended_n);
    let explained = if unexplained.is_finite() { unexplained.clamp(-before, after) } else { 0.0 };
    audit(vus, ended_n / seconds, mean_s * (1.0 + explained), pacing_s)
}

fn publish(summary: &Summary) -> Option<PublishFigures> {
    let mut publishes = None;
    for (_, scenario) in summary.steady.scenarios.iter().enumerate().filter(|(at, _)| summary.plan.publishes(*at)) {
        publishes.get_or_insert_with(Counts::default).merge(&scenario.iterations);
    }
    for scenario in summary.steady.scenarios.iter().filter(|scenario| !scenario.published.is_empty()) {
        let counts = publishes.get_or_insert_with(Counts::default);
        counts.scheduled += scenario.published.passes + scenario.published.fails;
        counts.completed += scenario.published.passes;
        counts.failed += scenario.published.fails;
    }
    publishes.map(|publishes| PublishFigures { publishes, phases: summary.steady.trends.clone() })
}

fn nodes(fetch: &SeriesWindow, seconds: f64) -> Vec<NodeFigures> {
    let total: u64 = fetch.nodes.values().map(|node| node.completed + node.failed).sum();
    let figures = fetch.nodes.iter().map(|(label, node)| {
        let ended = node.completed + node.failed;
        NodeFigures {
            node: label.clone(),
            share: ended as f64 / total.max(1) as f64,
            requests_per_second: if seconds > 0.0 { node.completed as f64 / seconds } else { 0.0 },
            mean_ms: node.duration.mean_ms(),
            p95_ms: node.duration.quantile_ms(0.95),
            error_rate: (ended > 0).then(|| node.failed as f64 / ended as f64),
        }
    });
    figures.collect()
}
