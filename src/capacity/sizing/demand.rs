//! A demand held against the capacity: headroom, growth, nodes and one to spare.

use serde::{Deserialize, Serialize};

use super::nodes::Nodes;
use super::{Behaviour, Forecast, Server, Target, Users};

/// What is asked of the server.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Demand {
    /// Users at once, at the busiest time.
    pub users: u32,
    /// Growth per month as a share; 0 for none.
    pub growth_per_month: f64,
    /// Highest utilisation of the nodes that is wanted, 0 to 1.
    pub utilisation: f64,
    /// Nodes that may fail without anybody noticing.
    pub spare: u32,
}

/// How the nodes do under the demand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Headroom {
    /// What was asked.
    pub demand: Demand,
    /// What the users get from what was measured.
    pub forecast: Option<Forecast>,
    /// Users of the plan (see [`super::PLANNING`]) per user that is asked for, less one; of the strictest target.
    pub headroom: Option<f64>,
    /// Months until the growth has used it up; `None` without growth. 0 where there is none now.
    pub months: Option<f64>,
    /// Nodes needed now and later.
    pub needed: Vec<Needed>,
}

/// Nodes needed at a time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Needed {
    /// Months from now.
    pub months: u32,
    /// Users at once then.
    pub users: u32,
    /// Requests per second then.
    pub requests_per_second: f64,
    /// Nodes that serve them at the utilisation wanted, without the spare ones. `None` where more are needed than may
    /// be said something of.
    pub nodes: Option<u32>,
    /// With the spare ones: what to buy.
    pub with_spare: Option<u32>,
    /// Utilisation with all of them.
    pub utilisation: Option<f64>,
    /// Utilisation when as many have failed as may.
    pub utilisation_degraded: Option<f64>,
}

/// Times that are looked at where there is growth, months from now.
const LATER: [u32; 4] = [0, 6, 12, 24];

/// Holds a demand against a server.
#[must_use]
pub fn headroom(
    (server, nodes): (&Server, &Nodes),
    behaviour: Behaviour,
    targets: &[Target],
    demand: Demand,
) -> Headroom {
    let users: Vec<Users> = targets.iter().map(|target| server.users(behaviour, *target)).collect();
    let planned = users.iter().map(|u| u.plan).min();
    let headroom = planned.map(|plan| f64::from(plan) / f64::from(demand.users.max(1)) - 1.0);
    let growth = (1.0 + demand.growth_per_month).ln();
    let months = headroom.filter(|_| demand.growth_per_month > 0.0).map(|h| ((1.0 + h).ln() / growth).max(0.0));
    let later: &[u32] = if demand.growth_per_month > 0.0 { &LATER } else { &LATER[..1] };
    Headroom {
        demand,
        forecast: server.forecast(demand.users, behaviour),
        headroom,
        months,
        needed: later.iter().map(|months| needed((server, nodes), behaviour, demand, *months)).collect(),
    }
}

fn needed((server, nodes): (&Server, &Nodes), behaviour: Behaviour, demand: Demand, months: u32) -> Needed {
    let users =
        f64::from(demand.users) * (1.0 + demand.growth_per_month).powi(i32::try_from(months).unwrap_or(i32::MAX));
    // What they would send if there were enough nodes: nobody waits for others.
    let per_s = users / (behaviour.think_per_request_s() + 1.0 / server.curve.at(1));
    let enough = nodes.needed(per_s, demand.utilisation);
    let with_spare = enough.map(|n| n + demand.spare);
    let share = |n: u32| per_s / nodes.throughput(n).0;
    Needed {
        months,
        users: users.round() as u32,
        requests_per_second: per_s,
        nodes: enough,
        with_spare,
        utilisation: with_spare.map(share),
        utilisation_degraded: enough.map(share),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{CLICKS, server};
    use super::*;

    const TARGET: Target = Target { quantile: Some(0.95), limit_ms: 200.0 };

    fn asked(users: u32, growth_per_month: f64) -> Headroom {
        let nodes = Nodes { measured: 1, per_s: 1270.0, tiers: Vec::new() };
        let demand = Demand { users, growth_per_month, utilisation: 0.7, spare: 1 };
        headroom((&server(), &nodes), CLICKS, &[TARGET], demand)
    }

    /// 3000 users every 10.06 s are 298 per second: 23 % of one node.
    #[test]
    fn few_users_need_one_node_and_a_spare_one() {
        let got = asked(3000, 0.0);
        let now = got.needed[0];
        assert_eq!((now.nodes, now.with_spare, got.needed.len()), (Some(1), Some(2), 1));
        assert!((now.requests_per_second - 298.2).abs() < 0.1, "{now:?}");
        assert!((now.utilisation_degraded.unwrap() - 0.2348).abs() < 1e-3, "{now:?}");
        assert!(got.headroom.unwrap() > 2.0 && got.months.is_none(), "{got:?}");
    }

    #[test]
    fn growth_uses_the_headroom_up() {
        let got = asked(8000, 0.05);
        let plan = f64::from(server().users(CLICKS, TARGET).plan);
        let months = got.months.unwrap();
        assert!((8000.0 * 1.05_f64.powf(months) / plan - 1.0).abs() < 1e-9, "{months}");
        let users: Vec<u32> = got.needed.iter().map(|n| n.users).collect();
        assert_eq!(users, [8000, 10_721, 14_367, 25_801]);
        let nodes: Vec<Option<u32>> = got.needed.iter().map(|n| n.nodes).collect();
        // 25,801 users need 2565 per second at 70 %: more than the two nodes that may be spoken of.
        assert_eq!(nodes, [Some(1), Some(2), Some(2), None]);
    }

    #[test]
    fn no_headroom_is_none_for_no_month() {
        let got = asked(20_000, 0.05);
        assert!(got.headroom.unwrap() < 0.0);
        assert_eq!(got.months, Some(0.0));
    }
}
