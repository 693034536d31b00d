//! Named stand-ins: how many nodes, how fast, behind which balancer.
//!
//! The figures of the documented reference architectures are written here a second time on purpose: the sandbox
//! shares nothing with the side that measures it.

use std::str::FromStr;

use super::balancer::BalancerKind;
use super::curve::{Curve, CurveError};

/// How sharp the bend of the calibrated profiles is: eight cores, eight servers.
const SHARPNESS: f64 = 8.0;

/// A named stand-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// One node that a laptop can saturate.
    #[default]
    Small,
    /// One node, saturated by 250 VUs at 1270 requests per second.
    AwsSingleServerRobust,
    /// Two nodes behind a gateway with cookie affinity, saturated by 400 VUs at 2716 requests per second.
    AzureLoadBalanced,
}

/// What a profile stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// The curve of each node.
    pub curve: Curve,
    /// How many nodes.
    pub nodes: usize,
    /// What is in front of them.
    pub balancer: BalancerKind,
}

impl Profile {
    /// Every profile, in the order of its size.
    pub const ALL: [Profile; 3] = [Profile::Small, Profile::AwsSingleServerRobust, Profile::AzureLoadBalanced];

    /// The name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Profile::Small => "small",
            Profile::AwsSingleServerRobust => "aws-single-server-robust",
            Profile::AzureLoadBalanced => "azure-load-balanced",
        }
    }

    /// Nodes, curve and balancer.
    ///
    /// # Errors
    /// Never for the profiles here; their figures go through the same checks as typed ones.
    pub fn shape(self) -> Result<Shape, CurveError> {
        let (curve, nodes, balancer) = match self {
            Profile::Small => (Curve::new(400.0, 0.05, 6.0, 0.0)?, 1, BalancerKind::None),
            Profile::AwsSingleServerRobust => (Curve::calibrated(250.0, 1270.0, SHARPNESS)?, 1, BalancerKind::None),
            Profile::AzureLoadBalanced => (Curve::calibrated(200.0, 1358.0, SHARPNESS)?, 2, BalancerKind::AppGw),
        };
        Ok(Shape { curve, nodes, balancer })
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Profile::ALL.into_iter().find(|profile| profile.name() == text).ok_or_else(|| {
            let names: Vec<&str> = Profile::ALL.iter().map(|profile| profile.name()).collect();
            format!("no profile `{text}`; there are {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profiles_saturate_at_the_documented_vus_and_throughput() {
        for (profile, vus, rps) in
            [(Profile::AwsSingleServerRobust, 250, 1270.0), (Profile::AzureLoadBalanced, 400, 2716.0)]
        {
            let shape = profile.shape().unwrap();
            let nodes = u32::try_from(shape.nodes).unwrap();
            assert_eq!(shape.curve.n_sat() * nodes, vus);
            let at = f64::from(nodes) * shape.curve.throughput(f64::from(vus / nodes));
            assert!((at / rps - 1.0).abs() < 1e-9, "{at}");
        }
        assert_eq!(Profile::Small.shape().unwrap().curve.n_sat(), 29);
    }

    #[test]
    fn every_name_parses_to_its_profile() {
        for profile in Profile::ALL {
            assert_eq!(profile.name().parse(), Ok(profile));
        }
        assert!("big".parse::<Profile>().unwrap_err().contains("azure-load-balanced"));
    }
}
