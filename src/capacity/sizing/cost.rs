//! What it costs: sizes and counts of nodes from a file of prices, and which of them are worth a look.

use serde::{Deserialize, Serialize};

use super::Basis;
use super::nodes::Nodes;

/// A file of prices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// ISO 4217.
    pub currency: String,
    /// Name of the size that was measured.
    pub measured_on: String,
    /// Cost of everything that does not depend on the nodes (database, storage, balancer), per hour.
    #[serde(default)]
    pub fixed_per_hour: f64,
    /// The sizes.
    pub size: Vec<Size>,
}

/// A size of node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    /// Its name: `m6i.2xlarge`.
    pub name: String,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Price per hour.
    pub per_hour: f64,
}

/// One choice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// Size of the nodes.
    pub size: String,
    /// How many.
    pub nodes: u32,
    /// Greatest throughput, requests per second.
    pub requests_per_second: f64,
    /// Users of the plan.
    pub users: u32,
    /// Cost per hour.
    pub per_hour: f64,
    /// Cost per month of 730 hours and 1000 users.
    pub per_month_and_1000_users: Option<f64>,
    /// Whether it serves the demand with the spare nodes failed; `None` without a demand.
    pub enough: Option<bool>,
    /// Nothing that costs no more serves more.
    pub pareto: bool,
    /// What it rests on.
    pub basis: Basis,
}

/// What is wrong with a file of prices, for people; `None` where nothing is.
#[must_use]
pub fn fault(prices: &Prices) -> Option<String> {
    if !prices.size.iter().any(|size| size.name == prices.measured_on) {
        return Some(format!("measured_on = \"{}\" is none of the sizes", prices.measured_on));
    }
    let bad = prices.size.iter().find(|size| size.vcpus == 0 || !(size.per_hour.is_finite() && size.per_hour >= 0.0));
    bad.map(|size| format!("size \"{}\" needs vcpus of at least 1 and a price per hour", size.name))
}

/// Hours of a month.
const HOURS: f64 = 730.0;

/// All choices of at most `most` nodes. `users` and `needed` say how many users of the plan a throughput serves, and
/// which throughput the demand needs with so many nodes failed.
#[must_use]
pub fn choices(
    prices: &Prices,
    nodes: &Nodes,
    most: u32,
    users_per_rps: f64,
    needed: Option<(f64, u32)>,
) -> Vec<Choice> {
    let Some(measured) = prices.size.iter().find(|size| size.name == prices.measured_on) else { return Vec::new() };
    let mut out = Vec::new();
    for size in &prices.size {
        let times = f64::from(size.vcpus) / f64::from(measured.vcpus);
        // Linear in virtual CPUs of one family: an assumption. What is shared does not grow with the nodes' size.
        let tiers =
            nodes.tiers.iter().map(|tier| super::nodes::Tier { utilisation: tier.utilisation * times, ..tier.clone() });
        let scaled = Nodes { per_s: nodes.per_s * times, tiers: tiers.collect(), ..nodes.clone() };
        for count in (1..=most).filter(|n| scaled.basis(*n).is_some()) {
            let (per_s, _) = scaled.throughput(count);
            let users = (per_s * users_per_rps).floor();
            let per_hour = f64::from(count) * size.per_hour + prices.fixed_per_hour;
            let basis =
                if size.name == measured.name { scaled.basis(count).unwrap_or(Basis::Assumed) } else { Basis::Assumed };
            let serves = |(wanted, spare): (f64, u32)| count > spare && scaled.throughput(count - spare).0 >= wanted;
            out.push(Choice {
                size: size.name.clone(),
                nodes: count,
                requests_per_second: per_s,
                users: users as u32,
                per_hour,
                per_month_and_1000_users: (users > 0.0).then(|| per_hour * HOURS * 1000.0 / users),
                enough: needed.map(serves),
                pareto: false,
                basis,
            });
        }
    }
    let better = |a: &Choice, b: &Choice| {
        b.per_hour <= a.per_hour && b.users >= a.users && (b.per_hour < a.per_hour || b.users > a.users)
    };
    let pareto: Vec<bool> = out.iter().map(|a| !out.iter().any(|b| better(a, b))).collect();
    for (choice, pareto) in out.iter_mut().zip(pareto) {
        choice.pareto = pareto;
    }
    out.sort_by(|a, b| a.per_hour.total_cmp(&b.per_hour).then(b.users.cmp(&a.users)));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prices() -> Prices {
        let size = |name: &str, vcpus, per_hour| Size { name: name.to_owned(), vcpus, per_hour };
        Prices {
            currency: "USD".to_owned(),
            measured_on: "medium".to_owned(),
            fixed_per_hour: 0.1,
            size: vec![size("small", 4, 0.25), size("medium", 8, 0.4), size("large", 16, 0.8)],
        }
    }

    #[test]
    fn the_dear_ones_are_told_from_the_worthwhile() {
        let nodes = Nodes { measured: 1, per_s: 1000.0, tiers: Vec::new() };
        let got = choices(&prices(), &nodes, 3, 8.5, Some((900.0, 1)));
        let rows: Vec<(&str, u32, bool, Option<bool>)> =
            got.iter().map(|c| (c.size.as_str(), c.nodes, c.pareto, c.enough)).collect();
        assert_eq!(
            rows,
            [
                ("small", 1, true, Some(false)),
                ("medium", 1, true, Some(false)),
                ("small", 2, false, Some(false)),
                ("large", 1, true, Some(false)),
                ("medium", 2, false, Some(true)),
                ("large", 2, true, Some(true)),
            ]
        );
        let medium = got.iter().find(|c| c.size == "medium" && c.nodes == 1).unwrap();
        assert_eq!((medium.users, medium.per_hour, medium.basis), (8500, 0.5, Basis::Measured));
        assert!((medium.per_month_and_1000_users.unwrap() - 0.5 * 730.0 / 8.5).abs() < 1e-9);
        assert_eq!(got[0].basis, Basis::Assumed);
    }

    #[test]
    fn a_bad_file_is_told() {
        assert_eq!(fault(&prices()), None);
        let other = Prices { measured_on: "huge".to_owned(), ..prices() };
        assert_eq!(fault(&other).unwrap(), "measured_on = \"huge\" is none of the sizes");
        let mut zero = prices();
        zero.size[0].vcpus = 0;
        assert!(fault(&zero).unwrap().contains("\"small\""));
    }
}
