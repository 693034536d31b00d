//! More nodes than were measured: how far throughput grows, and what stops it.

use serde::{Deserialize, Serialize};

use super::{Basis, Behaviour, Server, Target, Users};

/// Share of its throughput that each further node loses where nothing else is known.
pub const DERATE_PER_NODE: f64 = 0.03;
/// Without the utilisation of what the nodes share, no more than so many times the measured nodes.
const BLIND_FACTOR: u32 = 2;

/// Something that all nodes share, and how busy it was at the measured plateau.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// Its name: `db`, `nfs`, `balancer`.
    pub name: String,
    /// Share of its capacity, 0 to 1.
    pub utilisation: f64,
}

/// What is known of the nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct Nodes {
    /// How many were measured.
    pub measured: u32,
    /// Their greatest throughput, requests per second.
    pub per_s: f64,
    /// What they share.
    pub tiers: Vec<Tier>,
}

/// A number of nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// How many.
    pub nodes: u32,
    /// Their greatest throughput, requests per second.
    pub requests_per_second: f64,
    /// What it rests on.
    pub basis: Basis,
    /// What they share that is the limit then, where it is one.
    pub limit: Option<String>,
    /// Users by target.
    pub users: Vec<Users>,
}

impl Nodes {
    /// The greatest throughput of `nodes`, and the shared tier that limits it. Demand law: a tier that is busy to a
    /// share u at a throughput X is full at X/u.
    #[must_use]
    pub fn throughput(&self, nodes: u32) -> (f64, Option<&Tier>) {
        let times = f64::from(nodes) / f64::from(self.measured);
        let further = f64::from(nodes) - f64::from(self.measured);
        let own = self.per_s * times * (1.0 - DERATE_PER_NODE).powf(further.max(0.0));
        let full = |tier: &Tier| self.per_s / tier.utilisation;
        match self.tiers.iter().min_by(|a, b| full(a).total_cmp(&full(b))) {
            Some(tier) if full(tier) < own => (full(tier), Some(tier)),
            _ => (own, None),
        }
    }

    /// What a number of nodes rests on. `None` where nothing may be said of it.
    #[must_use]
    pub fn basis(&self, nodes: u32) -> Option<Basis> {
        match nodes {
            n if n == self.measured => Some(Basis::Measured),
            n if self.tiers.is_empty() && n > BLIND_FACTOR * self.measured => None,
            _ => Some(Basis::Extrapolated),
        }
    }

    /// As many rows as may be said something of, from one node up to `most`.
    #[must_use]
    pub fn rows(&self, server: &Server, behaviour: Behaviour, targets: &[Target], most: u32) -> Vec<Row> {
        (1..=most)
            .filter_map(|nodes| self.basis(nodes).map(|basis| (nodes, basis)))
            .map(|(nodes, basis)| {
                let (per_s, tier) = self.throughput(nodes);
                let these = server.scaled(per_s / self.per_s);
                Row {
                    nodes,
                    requests_per_second: per_s,
                    basis,
                    limit: tier.map(|tier| tier.name.clone()),
                    users: targets.iter().map(|target| these.users(behaviour, *target)).collect(),
                }
            })
            .collect()
    }

    /// The fewest nodes that serve `per_s` at a `utilisation` of at most so much; `None` where none do, or nothing may
    /// be said of as many.
    #[must_use]
    pub fn needed(&self, per_s: f64, utilisation: f64) -> Option<u32> {
        (1..=64).take_while(|n| self.basis(*n).is_some()).find(|n| self.throughput(*n).0 * utilisation >= per_s)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{CLICKS, server};
    use super::*;

    fn nodes(measured: u32, tiers: &[(&str, f64)]) -> Nodes {
        let tiers = tiers.iter().map(|(name, u)| Tier { name: (*name).to_owned(), utilisation: *u }).collect();
        Nodes { measured, per_s: 1000.0, tiers }
    }

    #[test]
    fn a_shared_tier_stops_the_growth() {
        let three = nodes(1, &[("db", 0.4), ("nfs", 0.1)]);
        assert_eq!(three.throughput(1), (1000.0, None));
        assert_eq!(three.throughput(2).0, 2.0 * 970.0);
        let (per_s, tier) = three.throughput(4);
        assert_eq!((per_s, tier.map(|t| t.name.as_str())), (2500.0, Some("db")));
        assert_eq!(three.needed(1300.0, 0.7), Some(2));
        assert_eq!(three.needed(2000.0, 0.7), None);
    }

    #[test]
    fn without_what_they_share_nothing_is_said_of_many_nodes() {
        let blind = nodes(2, &[]);
        let rows = blind.rows(&server(), CLICKS, &[Target { quantile: None, limit_ms: 100.0 }], 6);
        let got: Vec<(u32, Basis)> = rows.iter().map(|row| (row.nodes, row.basis)).collect();
        let beyond = Basis::Extrapolated;
        assert_eq!(got, [(1, beyond), (2, Basis::Measured), (3, beyond), (4, beyond)]);
        assert_eq!(rows[0].requests_per_second, 500.0);
        assert!(rows.windows(2).all(|pair| pair[0].users[0].model < pair[1].users[0].model));
        assert_eq!(blind.needed(5000.0, 0.7), None);
    }
}
