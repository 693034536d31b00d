//! Rules about nodes and how clients are kept on them.

use super::{Facts, Seen, Severity, percent};
use crate::summary::NodeFigures;

/// The busiest node's requests against an even share, from which on a balancer is not even.
const UNEVEN: f64 = 1.25;
/// A node whose 95th percentile is longer than the others' by this is slow.
const SLOW: f64 = 1.5;
/// Fewest requests of a node that are compared.
const FEWEST: f64 = 200.0;

/// One node has more than its share, and by more than dealing VUs out at random would give it.
pub(super) fn imbalance(facts: &Facts<'_>) -> Option<Seen> {
    let nodes = &facts.figures.nodes;
    let even = 1.0 / nodes.len().max(1) as f64;
    let most = nodes.iter().max_by(|a, b| a.share.total_cmp(&b.share)).filter(|_| nodes.len() > 1)?;
    // A VU stays on its node, so that VUs are dealt out, not requests.
    let by_chance = (even * (1.0 - even) / facts.figures.vus.max(1.0)).sqrt();
    if most.share < UNEVEN * even || most.share - even < 3.5 * by_chance || facts.ended() < FEWEST {
        return None;
    }
    Some(Seen {
        severity: Severity::Warns,
        finding: format!(
            "node {} answered {} of the fetches; an even share of {} nodes is {}",
            most.node,
            percent(most.share),
            nodes.len(),
            percent(even)
        ),
        evidence: vec![
            ("nodes", nodes.len() as f64),
            ("greatest_share", most.share),
            ("imbalance", most.share / even),
            ("by_chance_sd", by_chance),
        ],
        advice: "With affinity a balancer decides once for each client. Let it choose the node with the fewest connections, \
                 or at random, but not by address: all VUs of a load generator have one. Check that every node is in \
                 service and has the same weight; throughput of the cluster is that of its busiest node.",
    })
}

/// One node answers more slowly.
pub(super) fn slow_node(facts: &Facts<'_>) -> Option<Seen> {
    let nodes = &facts.figures.nodes;
    let enough = |node: &&NodeFigures| node.requests_per_second * facts.figures.seconds >= FEWEST;
    let mut timed: Vec<(&NodeFigures, f64)> =
        nodes.iter().filter(enough).filter_map(|node| node.p95_ms.map(|p95| (node, p95))).collect();
    timed.sort_by(|a, b| a.1.total_cmp(&b.1));
    let ((slowest, slow_ms), (fastest, _)) = (timed.pop()?, *timed.first()?);
    let (_, next_ms) = *timed.last()?;
    let means = slowest.mean_ms? / fastest.mean_ms?;
    // More load explains more latency; that is the rule above.
    if slow_ms < SLOW * next_ms || means < 1.3 || slowest.share > 1.1 / nodes.len() as f64 {
        return None;
    }
    Some(Seen {
        severity: Severity::Warns,
        finding: format!(
            "node {} is slower than the others with no more of the load: p95 {slow_ms:.0} ms, the next {next_ms:.0} ms",
            slowest.node
        ),
        evidence: vec![
            ("slowest_p95_ms", slow_ms),
            ("next_p95_ms", next_ms),
            ("mean_ratio", means),
            ("share", slowest.share),
        ],
        advice: "Compare that node with the others: size and CPU credits, neighbours on its host, its path to the database \
                 and to shared storage, and whether it also runs the builds of the publishes.",
    })
}

/// Share of the fetches that came from another node than the one before, from which on affinity does not work.
const MOVED: f64 = 0.02;

/// VUs keep their cookies and change nodes all the same.
pub(super) fn affinity_lost(facts: &Facts<'_>) -> Option<Seen> {
    let moved = facts.fetch.moved as f64;
    let nodes = facts.figures.nodes.len();
    if facts.plan.http.reset_cookies || nodes < 2 || moved < MOVED * facts.ended() {
        return None;
    }
    Some(Seen {
        severity: Severity::Warns,
        finding: format!(
            "{} of the fetches were answered by another node than the fetch before them, although the affinity cookie was sent",
            percent(moved / facts.ended())
        ),
        evidence: vec![("moved", moved), ("moved_share", moved / facts.ended()), ("nodes", nodes as f64)],
        advice: "Connect needs a client to stay on one node. Check cookie affinity at the balancer: its lifetime, its path and \
                 domain (a path that does not match is never sent back), and whether nodes drop out of service in between, \
                 for then their clients are dealt out again.",
    })
}

/// VUs drop their cookies, and so lose their node with each iteration.
pub(super) fn cookies_dropped(facts: &Facts<'_>) -> Option<Seen> {
    let nodes = facts.figures.nodes.len();
    if !facts.plan.http.reset_cookies || nodes < 2 {
        return None;
    }
    let moved = facts.fetch.moved as f64;
    Some(Seen {
        severity: Severity::Warns,
        finding: format!(
            "cookies were emptied before each iteration, and with them the affinity to one of {nodes} nodes"
        ),
        evidence: vec![("nodes", nodes as f64), ("moved", moved), ("moved_share", moved / facts.ended())],
        advice: "Browsers keep their cookies. k6 empties them with each iteration unless noCookiesReset is set; leave out \
                 --reset-cookies (or resetCookies in the scenario file) to measure what users will see.",
    })
}
