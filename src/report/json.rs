//! The documents that `ramp --json` and `load --json` print: the contract for scripts.
//!
//! Stable from the first release: fields are added, never renamed or removed. `schemas/` has their JSON Schemas, and a
//! test holds real output against them. A figure without data is `null`, never zero.

mod capacity;
mod latency;
mod steps;

use std::collections::BTreeMap;
use std::path::Path;

pub use capacity::{CapacityDocument, capacity};
pub use latency::LatencyDocument;
use serde::Serialize;

use crate::baseline::{self, Baseline, Comparison};
use crate::capacity::agreement::Agreement;
use crate::capacity::search::{Kept, Outcome, SearchResult};
use crate::histogram::Latency;
use crate::incident::Incident;
use crate::insight::{self, Insight};
use crate::outcome::{Blame, ErrorKind};
use crate::plan::{Setting, Target};
use crate::stats::Interval;
use crate::steady::SteadyState;
use crate::summary::{Connections, Figures, NodeFigures, PublishFigures, RunState, Search, Summary};
use crate::threshold::Verdict;
use crate::window::Counts;
use steps::{CheckDocument, SeriesDocument};

mod control;
mod generator;
mod open;
mod rehearsal;
mod servers;
mod sockets;
mod stage;

pub use control::ControlDocument;
pub use generator::GeneratorDocument;
pub use open::OpenDocument;
pub use rehearsal::DisruptionDocument;
pub use servers::{ServerDocument, ServerFigure};
pub use sockets::SocketDocument;
pub use stage::{StepDocument, StepLatency};

/// Version of both documents.
pub const SCHEMA: u32 = 1;

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct TargetDocument {
    /// The server, or the URL.
    pub url: String,
    /// Whether it is our own stand-in; then nothing here is a result of Posit Connect.
    pub sandbox: bool,
    /// What Connect says of itself.
    pub connect_version: Option<String>,
    /// Profile or curve of the sandbox.
    pub sandbox_profile: Option<String>,
    /// How the server runs the content item, as far as it says so.
    pub settings: Vec<Setting>,
}

impl TargetDocument {
    /// Of a run's target.
    #[must_use]
    pub fn of(target: &Target) -> TargetDocument {
        TargetDocument {
            url: target.url.to_string(),
            sandbox: target.sandbox,
            connect_version: target.connect_version.clone(),
            sandbox_profile: target.sandbox_profile.clone(),
            settings: target.settings.clone(),
        }
    }
}

/// `load --json`.
#[derive(Debug, Serialize)]
pub struct LoadDocument {
    /// [`SCHEMA`].
    pub schema: u32,
    /// `load`.
    pub kind: &'static str,
    /// Version of connect-bench.
    pub version: String,
    /// How the run ended.
    pub state: RunState,
    /// What was measured.
    pub target: TargetDocument,
    /// The whole run, warm-up and stopping included, all scenarios:
    /// scheduled = completed + failed + dropped + interrupted.
    pub requests: Requests,
    /// The measured part.
    pub requests_per_second: Rates,
    /// Latency of completed fetches in the measured part.
    pub fetch_latency_ms: LatencyDocument,
    /// The same without the time that responses waited in this machine before they were read; `null` where the kernel
    /// did not say when they came.
    pub fetch_latency_corrected_ms: Option<LatencyDocument>,
    /// 95 % intervals of the figures of the measured part, from ten batches.
    pub intervals_95: Intervals,
    /// Time per iteration of the fetching VUs, N/X.
    pub cycle_ms: Option<f64>,
    /// Failed share of the requests in the measured part.
    pub error_rate: Option<f64>,
    /// Upper end of its one-sided 95 % interval.
    pub error_rate_upper_95: Option<f64>,
    /// Failures in the measured part.
    pub errors: Vec<ErrorDocument>,
    /// The publish loop in the measured part; `null` where there was none.
    pub publish: Option<PublishDocument>,
    /// Mean number of fetching VUs in the measured part.
    pub vus: f64,
    /// Length of the measured part.
    pub duration_s: f64,
    /// Length of the warm-up before it.
    pub warm_up_s: f64,
    /// Little's-law audit.
    pub little: Option<crate::stats::little::LittleAudit>,
    /// The documented baselines beside it.
    pub baselines: Vec<Comparison>,
    /// How to read them.
    pub baselines_note: &'static str,
    /// The generator's own health.
    pub generator: GeneratorDocument,
    /// By node, where nodes can be told apart.
    pub nodes: Vec<NodeFigures>,
    /// Every step of every scenario, in the measured part.
    pub steps: Vec<SeriesDocument>,
    /// Every check, in the measured part.
    pub checks: Vec<CheckDocument>,
    /// WebSocket sessions; `null` without any.
    pub websocket: Option<SocketDocument>,
    /// The run directory.
    pub run_dir: String,
    /// The open model; `null` where no scenario is open: a closed model has no response time.
    pub open_model: Option<OpenDocument>,
    /// What became of the thresholds.
    pub thresholds: Vec<Verdict>,
    /// What people did to the run while it was on, in the terminal or through the REST endpoint.
    pub control: Vec<ControlDocument>,
    /// What was done to the server while it was on, and what that did.
    pub rehearsal: Vec<DisruptionDocument>,
    /// What servers told of themselves while it was on: `--server-metrics`.
    pub server_metrics: Vec<ServerDocument>,
    /// Time that lay in pauses, in whole seconds of which no figure is made.
    pub paused_s: f64,
    /// The connections of the whole run.
    pub connections: Connections,
    /// What we made on the server and could not remove.
    pub left_behind: Vec<String>,
    /// What went wrong, from when to when, whose fault it was, and when it recovered.
    pub incidents: Vec<Incident>,
    /// Drift, stalls, the transient at the beginning and what publishes did, in the measured part.
    pub steady_state: SteadyState,
    /// What the rules see in the run, what matters most first.
    pub insights: Vec<Insight>,
}

/// Counts of requests.
#[derive(Debug, Serialize)]
pub struct Requests {
    /// Due.
    pub scheduled: u64,
    /// With the response that was expected.
    pub completed: u64,
    /// Ended in another way.
    pub failed: u64,
    /// Never begun.
    pub dropped: u64,
    /// Cut off at the end.
    pub interrupted: u64,
    /// Written to a socket.
    pub sent: u64,
    /// Sent again because a kept connection turned out to be closed.
    pub retried: u64,
    /// Sent by the Connect client outside the scenarios: preflight, provisioning, clean-up.
    pub api_sent: u64,
}

/// Requests per second.
#[derive(Debug, Serialize)]
pub struct Rates {
    /// Of all scenarios; `null` where no request ended in the measured part.
    pub all: Option<f64>,
    /// Fetches alone; `null` likewise.
    pub fetch: Option<f64>,
}

/// 95 % intervals.
#[derive(Debug, Serialize)]
pub struct Intervals {
    /// Of all requests per second.
    pub requests_per_second: Option<Interval>,
    /// Of fetches per second.
    pub fetch_per_second: Option<Interval>,
    /// Of the mean latency, ms.
    pub latency_mean_ms: Option<Interval>,
    /// Of the latency's median, ms.
    pub latency_p50_ms: Option<Interval>,
    /// Of its 90th percentile, ms.
    pub latency_p90_ms: Option<Interval>,
    /// Of its 95th percentile, ms.
    pub latency_p95_ms: Option<Interval>,
    /// Of its 99th percentile, ms.
    pub latency_p99_ms: Option<Interval>,
}

/// Failures of one kind.
#[derive(Debug, Serialize)]
pub struct ErrorDocument {
    /// Which.
    pub kind: ErrorKind,
    /// How many.
    pub count: u64,
    /// k6's `error_code`.
    pub k6_code: u16,
    /// Whose fault, as far as it can be told.
    pub blame: Blame,
}

/// The publish loop.
#[derive(Debug, Serialize)]
pub struct PublishDocument {
    /// Publishes that ended well.
    pub completed: u64,
    /// Publishes that did not.
    pub failed: u64,
    /// Publishes that were cut off at the end.
    pub interrupted: u64,
    /// Durations of the phases.
    pub phases_ms: BTreeMap<String, LatencyDocument>,
}

fn requests(summary: &Summary) -> Requests {
    let mut counts = Counts::default();
    let (mut sent, mut retried) = (0, 0);
    for series in &summary.whole.series {
        counts.merge(&series.requests);
        sent += series.sent;
        retried += series.retried;
    }
    // What a killed run had under way is cut off too; nobody saw how it ended.
    let lost = counts.carried_out - counts.carried_in;
    Requests {
        scheduled: counts.scheduled,
        completed: counts.completed,
        failed: counts.failed,
        dropped: counts.dropped,
        interrupted: counts.interrupted + lost,
        sent,
        retried,
        api_sent: summary.api_requests_sent,
    }
}

fn errors(errors: &BTreeMap<ErrorKind, u64>) -> Vec<ErrorDocument> {
    let document = |(kind, count): (&ErrorKind, &u64)| ErrorDocument {
        kind: *kind,
        count: *count,
        k6_code: kind.k6_code(),
        blame: kind.blame(),
    };
    errors.iter().map(document).collect()
}

fn publish(figures: &PublishFigures) -> PublishDocument {
    let phase = |(name, latency): (&String, &Latency)| {
        let name = name.strip_prefix("publish_").unwrap_or(name).to_owned();
        (name, LatencyDocument::of(latency))
    };
    PublishDocument {
        completed: figures.publishes.completed,
        failed: figures.publishes.failed,
        interrupted: figures.publishes.interrupted,
        phases_ms: figures.phases.iter().map(phase).collect(),
    }
}

/// The document of a load test.
#[must_use]
pub fn load(summary: &Summary, baselines: &[Baseline], run_dir: &Path) -> LoadDocument {
    let figures = Figures::of(summary);
    let measured = figures.measured(summary);
    let [p50, p90, p95, p99] = figures.fetch_quantile_intervals;
    let invalid = figures.invalid(summary);
    let steady_state = SteadyState::of(summary);
    let ended = figures.requests.ended() > 0;
    let rate = |per_s: f64| ended.then_some(per_s);
    LoadDocument {
        schema: SCHEMA,
        kind: "load",
        version: summary.version.clone(),
        state: summary.state.clone(),
        target: TargetDocument::of(&summary.plan.target),
        requests: requests(summary),
        requests_per_second: Rates { all: rate(figures.all_per_s), fetch: rate(figures.fetch_per_s) },
        fetch_latency_ms: LatencyDocument::of(&figures.fetch.duration),
        fetch_latency_corrected_ms: LatencyDocument::some(&figures.fetch.duration_corrected),
        intervals_95: Intervals {
            requests_per_second: figures.all_per_s_interval,
            fetch_per_second: figures.fetch_per_s_interval,
            latency_mean_ms: figures.fetch_mean_interval,
            latency_p50_ms: p50,
            latency_p90_ms: p90,
            latency_p95_ms: p95,
            latency_p99_ms: p99,
        },
        cycle_ms: figures.cycle_ms,
        error_rate: figures.error_rate,
        error_rate_upper_95: figures.error_rate_upper,
        errors: errors(&figures.errors),
        publish: figures.publish.as_ref().map(publish),
        vus: figures.vus,
        duration_s: figures.seconds,
        warm_up_s: summary.plan.warm_up.as_secs_f64(),
        little: figures.little,
        baselines: baselines.iter().map(|b| baseline::compare(&measured, b)).collect(),
        baselines_note: baseline::NOTE,
        generator: GeneratorDocument::of(&summary.generator, invalid),
        nodes: figures.nodes.clone(),
        steps: steps::steps(summary),
        checks: steps::checks(summary),
        websocket: figures.sockets.as_deref().map(SocketDocument::of),
        run_dir: run_dir.display().to_string(),
        open_model: OpenDocument::of(summary),
        thresholds: summary.thresholds.clone(),
        control: control::events(summary),
        rehearsal: rehearsal::disruptions(summary),
        server_metrics: servers::servers(summary),
        paused_s: summary.paused_ns as f64 / 1e9,
        connections: Connections::of(summary),
        left_behind: summary.left_behind.clone(),
        incidents: summary.incidents.clone(),
        insights: insight::of(summary, &figures, &steady_state),
        steady_state,
    }
}

/// `ramp --json`.
#[derive(Debug, Serialize)]
pub struct RampDocument {
    /// [`SCHEMA`].
    pub schema: u32,
    /// `ramp`.
    pub kind: &'static str,
    /// Version of connect-bench.
    pub version: String,
    /// `saturated`, `not_saturated`, `generator_limited`, `objectives_kept`, `highest_stage` or `aborted`.
    pub result: &'static str,
    /// Why it was aborted.
    pub reason: Option<String>,
    /// How the run ended.
    pub state: RunState,
    /// The answer.
    pub saturation: SaturationDocument,
    /// The evidence.
    pub steps: Vec<StepDocument>,
    /// What a reader should know.
    pub notes: Vec<String>,
    /// Length of the search.
    pub elapsed_s: f64,
    /// The run directory.
    pub run_dir: String,
    /// What was measured.
    pub target: TargetDocument,
    /// The whole run.
    pub requests: Requests,
    /// The generator's own health over the whole search.
    pub generator: GeneratorDocument,
    /// What people did to the ramp while it was on, in the terminal or through the REST endpoint.
    pub control: Vec<ControlDocument>,
    /// The load test that followed with `--then-load`.
    pub load: Option<LoadDocument>,
    /// The ramp and that load test held against each other; `null` where there is nothing to compare.
    pub agreement: Option<Agreement>,
    /// What we made on the server and could not remove.
    pub left_behind: Vec<String>,
    /// What `--slo` asked for, and the most VUs that keep it; `null` without.
    pub objectives: Option<Kept>,
    /// What servers told of themselves while it was on: `--server-metrics`.
    pub server_metrics: Vec<ServerDocument>,
    /// What the rules see in the whole search.
    pub insights: Vec<Insight>,
}

/// Where the server saturates.
#[derive(Debug, Serialize)]
pub struct SaturationDocument {
    /// VUs to load it with: N_sat rounded up; what it means is said by `result`.
    pub vus: Option<u32>,
    /// In their place with `--open`: the highest rate that keeps the objectives, requests per second.
    pub rate: Option<u32>,
    /// 90 % interval of N_sat.
    pub vus_ci: Option<[u32; 2]>,
    /// N* = X_max · R0, the knee.
    pub knee_vus: Option<f64>,
    /// Throughput of the plateau.
    pub requests_per_second: Option<f64>,
    /// Its 90 % interval.
    pub requests_per_second_ci: Option<[f64; 2]>,
    /// Throughput to expect at `vus`.
    pub requests_per_second_at_vus: Option<f64>,
}

impl SaturationDocument {
    /// Of a search.
    #[must_use]
    pub fn of(result: &SearchResult) -> SaturationDocument {
        SaturationDocument {
            vus: result.vus,
            rate: result.rate,
            vus_ci: result.vus_ci.map(|(low, high)| [low, high]),
            knee_vus: result.knee_vus,
            requests_per_second: result.requests_per_second,
            requests_per_second_ci: result.requests_per_second_ci.map(|(low, high)| [low, high]),
            requests_per_second_at_vus: result.at_vus.map(|at| at.requests_per_second),
        }
    }
}

/// How a search ended, in a word, and why where it has no answer.
pub(super) fn outcome(result: &SearchResult) -> (&'static str, Option<String>) {
    match &result.outcome {
        Outcome::Saturated => ("saturated", None),
        Outcome::NotSaturated => ("not_saturated", None),
        Outcome::GeneratorLimited => ("generator_limited", None),
        Outcome::ObjectivesKept => ("objectives_kept", None),
        Outcome::HighestStage => ("highest_stage", None),
        Outcome::Aborted { reason } => ("aborted", Some(reason.clone())),
    }
}

/// The document of a ramp, with that of the load test that followed it, if one did.
#[must_use]
pub fn ramp(
    summary: &Summary,
    search: &Search,
    run_dir: &Path,
    load: Option<(LoadDocument, Option<Agreement>)>,
) -> RampDocument {
    let (load, agreement) = load.unzip();
    let result = &search.result;
    let (name, reason) = outcome(result);
    // Stages in which the generator was the limit are not used, so they do not spoil the answer.
    let invalid = match result.outcome {
        Outcome::GeneratorLimited => vec!["the generator was the limit before the server".to_owned()],
        _ => Vec::new(),
    };
    RampDocument {
        schema: SCHEMA,
        kind: "ramp",
        version: summary.version.clone(),
        result: name,
        reason,
        state: summary.state.clone(),
        saturation: SaturationDocument::of(result),
        steps: search.steps.iter().map(StepDocument::of).collect(),
        notes: result.notes.clone(),
        elapsed_s: result.elapsed_s,
        run_dir: run_dir.display().to_string(),
        target: TargetDocument::of(&summary.plan.target),
        requests: requests(summary),
        generator: GeneratorDocument::of(&summary.generator, invalid),
        control: control::events(summary),
        load,
        agreement: agreement.flatten(),
        left_behind: summary.left_behind.clone(),
        objectives: result.kept.clone(),
        server_metrics: servers::servers(summary),
        insights: insight::of(summary, &Figures::of(summary), &SteadyState::of(summary)),
    }
}
