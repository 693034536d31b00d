//! What a run's figures say about the server, for those who run it: named rules, each with its evidence and advice.
//!
//! A rule is a pure function of a run. It speaks only where chance does not explain what it saw: on clean data none fires
//! (`benches/STATISTICS.md` has the rate of false alarms). `docs/insights.md` has a paragraph for each.

mod connections;
mod failures;
mod nodes;
mod server;
mod time;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::plan::Plan;
use crate::steady::SteadyState;
use crate::summary::{Figures, Summary};
use crate::window::SeriesWindow;

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The figures are not what they seem to be.
    Spoils,
    /// Something is wrong, or costs throughput.
    Warns,
    /// Worth knowing.
    Informs,
}

/// What a rule saw.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Insight {
    /// Which rule; stable.
    pub id: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// What was seen, in a sentence.
    pub finding: String,
    /// The numbers that it rests on; units last in the names, shares without one.
    pub evidence: BTreeMap<&'static str, f64>,
    /// What an administrator may do about it.
    pub advice: &'static str,
}

/// What rules look at.
struct Facts<'a> {
    summary: &'a Summary,
    plan: &'a Plan,
    figures: &'a Figures,
    steady: &'a SteadyState,
    /// The fetches of the measured part.
    fetch: &'a SeriesWindow,
}

impl Facts<'_> {
    /// Completed and failed fetches.
    fn ended(&self) -> f64 {
        (self.fetch.requests.completed + self.fetch.requests.failed) as f64
    }

    /// The most VUs that fetch.
    fn most_vus(&self) -> f64 {
        let vus: u32 = self.plan.fetch_scenarios().map(|at| self.plan.scenarios[at].executor.max_vus()).sum();
        f64::from(vus)
    }

    /// Nodes that were told apart; one where none were.
    fn nodes(&self) -> f64 {
        self.figures.nodes.len().max(1) as f64
    }
}

/// A rule: its id, and what sees it.
type Rule = (&'static str, fn(&Facts<'_>) -> Option<Seen>);

/// What a rule answers with; the id is the table's.
struct Seen {
    severity: Severity,
    finding: String,
    evidence: Vec<(&'static str, f64)>,
    advice: &'static str,
}

/// Every rule, in the order in which they are shown within a severity.
const RULES: [Rule; 21] = [
    ("generator-bound", time::generator_bound),
    ("clock-jump", time::clock_jump),
    ("little-open", time::little_open),
    ("warm-up-too-short", time::warm_up_too_short),
    ("stalls", time::stalls),
    ("latency-rising", time::latency_rising),
    ("throttled", time::throttled),
    ("process-limit", server::process_limit),
    ("server-cpu", server::cpu),
    ("cold-start", server::cold_start),
    ("publish-interference", server::publish_interference),
    ("delayed-ack", server::delayed_ack),
    ("node-imbalance", nodes::imbalance),
    ("slow-node", nodes::slow_node),
    ("affinity-lost", nodes::affinity_lost),
    ("cookies-dropped", nodes::cookies_dropped),
    ("keep-alive-broken", connections::keep_alive_broken),
    ("connection-per-request", connections::connection_per_request),
    ("tls-per-request", connections::tls_per_request),
    ("round-timeout", failures::round_timeout),
    ("unavailable", failures::unavailable),
];

/// The ids of all rules.
#[must_use]
pub fn ids() -> [&'static str; RULES.len()] {
    RULES.map(|(id, _)| id)
}

/// What the rules see in a run, what matters most first. Nothing where nothing was completed or failed.
#[must_use]
pub fn of(summary: &Summary, figures: &Figures, steady: &SteadyState) -> Vec<Insight> {
    let facts = Facts { summary, plan: &summary.plan, figures, steady, fetch: &figures.fetch };
    if facts.ended() == 0.0 {
        return Vec::new();
    }
    let see = |(id, rule): Rule| {
        rule(&facts).map(|seen| Insight {
            id,
            severity: seen.severity,
            finding: seen.finding,
            evidence: seen.evidence.into_iter().filter(|(_, value)| value.is_finite()).collect(),
            advice: seen.advice,
        })
    };
    let mut insights: Vec<Insight> = RULES.into_iter().filter_map(see).collect();
    insights.sort_by_key(|insight| insight.severity);
    insights
}

/// A share in whole or tenths of a percent, for sentences.
fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    if percent.abs() < 10.0 { format!("{percent:.1} %") } else { format!("{percent:.0} %") }
}

#[cfg(test)]
#[path = "insight/tests.rs"]
mod tests;
