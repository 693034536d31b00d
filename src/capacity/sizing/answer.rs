//! The whole answer to "what should we buy": from what was measured and asked to what a report shows.

use serde::{Deserialize, Serialize};

use super::cost::{Choice, Prices, choices};
use super::demand::{Demand, Headroom, headroom};
use super::nodes::{Nodes, Row, Tier};
use super::usage::Usage;
use super::validation::Validation;
use super::{Behaviour, Forecast, PLANNING, Server, Target};
use crate::baseline::Baseline;
use crate::capacity::flow::Curve;
use crate::capacity::knee::estimate::Point;
use crate::capacity::latency::Latencies;
use crate::capacity::search::{Outcome, SearchResult, Step, StepKind};
use crate::capacity::usl::{self, Usl};
use crate::histogram::Latency;

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// How users behave.
    pub behaviour: Behaviour,
    /// Limits of latency.
    pub targets: Vec<Target>,
    /// Who is to be served.
    pub demand: Option<Demand>,
    /// Nodes that were measured.
    pub nodes: u32,
    /// Most nodes that are shown.
    pub most_nodes: u32,
    /// What the nodes share.
    pub tiers: Vec<Tier>,
    /// What sizes cost.
    pub prices: Option<Prices>,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence<'e> {
    /// The search's answer.
    pub result: &'e SearchResult,
    /// Its stages.
    pub steps: &'e [Step],
    /// Latency by VUs.
    pub latencies: &'e [(u32, Latency)],
    /// Load tests of the same target: VUs and requests per second.
    pub loads: &'e [(f64, f64)],
    /// Whether a publish loop ran beside it.
    pub with_publish: bool,
}

/// A load test held against the curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadCheck {
    /// VUs.
    pub vus: f64,
    /// Requests per second that it measured.
    pub requests_per_second: f64,
    /// What the curve says, less one.
    pub difference: f64,
}

/// A documented architecture as a reference point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Documented {
    /// Its id.
    pub id: String,
    /// Nodes.
    pub nodes: u32,
    /// Virtual CPUs of all of them.
    pub vcpus: u32,
    /// Requests per second.
    pub requests_per_second: f64,
    /// The same per node.
    pub per_node: f64,
    /// The same per virtual CPU.
    pub per_vcpu: f64,
    /// Users by Posit's rule, requests per second × 10.
    pub users: f64,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// How users behave.
    pub behaviour: Behaviour,
    /// Share of the model's users that is the plan.
    pub planning_share: f64,
    /// Nodes that were measured.
    pub nodes: u32,
    /// Their plateau, requests per second.
    pub requests_per_second: f64,
    /// Its 90 % interval.
    pub requests_per_second_ci: Option<(f64, f64)>,
    /// Smallest and largest number of VUs that was measured.
    pub tested_vus: Option<(u32, u32)>,
    /// Users by nodes and target.
    pub rows: Vec<Row>,
    /// What so many users get from the measured nodes: up to and beyond what they carry.
    pub forecasts: Vec<Forecast>,
    /// What was asked against it.
    pub headroom: Option<Headroom>,
    /// Currency of the choices.
    pub currency: Option<String>,
    /// What it costs.
    pub choices: Vec<Choice>,
    /// Busiest of the shared tiers, the next limit.
    pub tiers: Vec<Tier>,
    /// Load tests held against the curve.
    pub loads: Vec<LoadCheck>,
    /// What a run at the planned rate showed; `None` where there was none.
    pub validation: Option<Validation>,
    /// The server's own history, where it was asked for and told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// The Universal Scalability Law as a second view.
    pub usl: Option<Usl>,
    /// The documented architectures.
    pub documented: Vec<Documented>,
    /// What a reader must know.
    pub notes: Vec<String>,
    /// What was not tested.
    pub not_tested: Vec<String>,
}

/// Why there is no answer, and which run is missing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Missing(pub String);

/// Answers the question.
///
/// # Errors
/// Where what was measured does not carry an answer: which run is missing.
pub fn answer(question: &Question, evidence: &Evidence<'_>, documented: &[Baseline]) -> Result<Answer, Missing> {
    let server = server(evidence)?;
    let result = evidence.result;
    let per_s = result.requests_per_second.unwrap_or_else(|| server.curve.most());
    let nodes = Nodes { measured: question.nodes, per_s, tiers: question.tiers.clone() };
    let rows = nodes.rows(&server, question.behaviour, &question.targets, question.most_nodes);
    let plan = rows.iter().find(|row| row.nodes == question.nodes).map_or(0, plan_of);
    let asked = question.demand.map(|d| headroom((&server, &nodes), question.behaviour, &question.targets, d));
    let needed = asked.as_ref().and_then(|h| h.needed.first()).zip(question.demand);
    let needed = needed.map(|(now, demand)| (now.requests_per_second / demand.utilisation, demand.spare));
    let each = |prices: &Prices| choices(prices, &nodes, question.most_nodes, f64::from(plan) / per_s, needed);
    Ok(Answer {
        behaviour: question.behaviour,
        planning_share: PLANNING,
        nodes: question.nodes,
        requests_per_second: per_s,
        requests_per_second_ci: result.requests_per_second_ci,
        tested_vus: result.tested_vus,
        forecasts: forecasts(&server, question.behaviour),
        choices: question.prices.as_ref().map(each).unwrap_or_default(),
        currency: question.prices.as_ref().map(|prices| prices.currency.clone()),
        tiers: question.tiers.clone(),
        loads: loads(&server.curve, evidence.loads),
        validation: None,
        usage: None,
        usl: usl::fit(&points(evidence.steps)),
        documented: documented.iter().map(reference).collect(),
        notes: notes(question, evidence, rows.last().map_or(0, |row| row.nodes)),
        not_tested: not_tested(question, evidence),
        headroom: asked,
        rows,
    })
}

/// The users to plan with: those of the strictest target.
#[must_use]
pub fn plan_of(row: &Row) -> u32 {
    row.users.iter().map(|users| users.plan).min().unwrap_or(0)
}

/// The server that the evidence shows.
///
/// # Errors
/// Where it shows none: which run is missing.
pub fn server(evidence: &Evidence<'_>) -> Result<Server, Missing> {
    let result = evidence.result;
    let missing = |what: &str| Missing(format!("{what}: run `connect-bench ramp` against the same server"));
    match &result.outcome {
        Outcome::Aborted { reason } => {
            return Err(missing(&format!("the ramp was aborted ({reason}); what is missing is a whole one")));
        }
        Outcome::GeneratorLimited => {
            return Err(missing(
                "the generator was the limit of this ramp, not the server; what is missing is one from a machine with \
                 more or quieter cores",
            ));
        }
        Outcome::Saturated | Outcome::NotSaturated | Outcome::ObjectivesKept | Outcome::HighestStage => {}
    }
    if evidence.steps.iter().any(|step| step.rate.is_some()) {
        return Err(missing("this ramp raised the rate (--open), and a plan is made from one that raised VUs"));
    }
    let points = points(evidence.steps);
    if points.len() < 3 {
        let count = points.len();
        return Err(missing(&format!("the ramp measured {count} numbers of VUs, and a curve needs three")));
    }
    let tested = points.last().map_or(1.0, |point| point.vus) as u32;
    let knee = result.knee.as_ref().filter(|_| !result.misfit);
    let curve = match knee {
        Some(knee) => Curve::of_knee(knee, tested),
        None => Curve::of_points(&points.iter().map(|p| (p.vus, p.per_s)).collect::<Vec<_>>()),
    };
    let curve = curve.ok_or_else(|| missing("the ramp measured no throughput"))?;
    let usable: Vec<(u32, Latency)> = evidence
        .latencies
        .iter()
        .filter(|(vus, _)| evidence.steps.iter().any(|step| step.vus == *vus && step.kind != StepKind::Unusable))
        .cloned()
        .collect();
    Ok(Server { curve, latencies: Latencies::new(&usable) })
}

/// Usable stages in order of their VUs, those of the same number pooled by inverse variance.
fn points(steps: &[Step]) -> Vec<Point> {
    let mut usable: Vec<&Step> = steps.iter().filter(|s| s.kind != StepKind::Unusable && s.vus > 0).collect();
    usable.sort_by_key(|step| step.vus);
    usable
        .chunk_by(|a, b| a.vus == b.vus)
        .map(|same| {
            // A stage that shows no spread is not infinitely precise: one percent at least.
            let weight = |s: &Step| 1.0 / s.standard_error.hypot(0.01 * s.requests_per_second).powi(2).max(1e-12);
            let all: f64 = same.iter().map(|s| weight(s)).sum();
            let per_s = same.iter().map(|s| weight(s) * s.requests_per_second).sum::<f64>() / all;
            Point { vus: f64::from(same[0].vus), per_s, sigma: (1.0 / all).sqrt() }
        })
        .filter(|point| point.per_s > 0.0)
        .collect()
}

/// Shares of the greatest throughput that the table of forecasts shows.
const SHARES: [f64; 7] = [0.25, 0.5, 0.7, 0.8, 0.9, 1.0, 1.2];

fn forecasts(server: &Server, behaviour: Behaviour) -> Vec<Forecast> {
    let cycle_s = behaviour.think_per_request_s() + 1.0 / server.curve.at(1);
    let users = SHARES.map(|share| (share * server.curve.most() * cycle_s).round().max(1.0) as u32);
    users.iter().filter_map(|users| server.forecast(*users, behaviour)).collect()
}

fn loads(curve: &Curve, loads: &[(f64, f64)]) -> Vec<LoadCheck> {
    let check = |&(vus, per_s): &(f64, f64)| {
        let said = curve.at(vus.round().max(1.0) as u32);
        LoadCheck { vus, requests_per_second: per_s, difference: said / per_s - 1.0 }
    };
    loads.iter().filter(|(vus, per_s)| *vus > 0.0 && *per_s > 0.0).map(check).collect()
}

fn reference(baseline: &Baseline) -> Documented {
    let vcpus = baseline.nodes.count * baseline.nodes.vcpus;
    Documented {
        id: baseline.id.clone(),
        nodes: baseline.nodes.count,
        vcpus,
        requests_per_second: baseline.requests_per_second,
        per_node: baseline.requests_per_second / f64::from(baseline.nodes.count.max(1)),
        per_vcpu: baseline.requests_per_second / f64::from(vcpus.max(1)),
        users: baseline.users(),
    }
}

fn notes(question: &Question, evidence: &Evidence<'_>, shown: u32) -> Vec<String> {
    let result = evidence.result;
    let mut notes = Vec::new();
    if result.outcome == Outcome::NotSaturated {
        notes.push(
            "The ramp did not saturate the server: it carries at least this, and what it carries at most is not known. \
             A ramp with a higher --max-vus would say."
                .to_owned(),
        );
    }
    if result.misfit {
        notes.push("The knee curve does not fit the stages: straight lines between them were used.".to_owned());
    }
    if evidence.latencies.is_empty() {
        notes.push("The run directory has no histograms (windows.ndjson): percentiles cannot be forecast.".to_owned());
    }
    if evidence.with_publish {
        notes.push("Measured while one VU published without pause, as Posit's load tests are.".to_owned());
    }
    if question.tiers.is_empty() && question.most_nodes > shown {
        notes.push(format!(
            "More than {shown} nodes are not shown: what they share (database, storage, balancer) may be the limit. Say \
             how busy it was at the plateau, for example --tier db=35%."
        ));
    }
    if question.behaviour.think_s == 0.0 {
        notes.push("Users who never think are VUs: the figures are those of the ramp.".to_owned());
    }
    notes
}

fn not_tested(question: &Question, evidence: &Evidence<'_>) -> Vec<String> {
    let mut out = vec![
        "other content than the one fetched: an application with ten times the work serves a tenth".to_owned(),
        "interactive content (Shiny, Streamlit): it holds a connection and a process per session".to_owned(),
        "licence limits of named users".to_owned(),
        "hours: leaks, log rotation, credits of burstable machines".to_owned(),
    ];
    if !evidence.with_publish {
        out.push("publishing beside it".to_owned());
    }
    if question.most_nodes > 1 && question.tiers.is_empty() {
        out.push("database and storage under more nodes than were measured".to_owned());
    }
    if evidence.loads.is_empty() {
        out.push("a load test at the plateau: `connect-bench load --duration 30m`".to_owned());
    }
    out
}
