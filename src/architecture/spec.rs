//! What an architecture consists of: the files in `scenarios/architectures/`. Knows no process and no clock.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::Fault;
use crate::units;

/// Most nodes of an architecture.
const MOST_NODES: u8 = 9;
/// The architectures that come with the program.
const SHIPPED: [(&str, &str); 2] = [
    ("aws-single-server-robust", include_str!("../../scenarios/architectures/aws-single-server-robust.toml")),
    ("azure-load-balanced", include_str!("../../scenarios/architectures/azure-load-balanced.toml")),
];

/// An architecture.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// Its name, in letters, digits and `-`.
    pub name: String,
    /// What it stands for, for people.
    pub about: String,
    /// What is in front of the nodes.
    pub balancer: Balancer,
    /// Where the nodes keep metadata.
    #[serde(default)]
    pub database: Database,
    /// The nodes.
    pub nodes: Nodes,
    /// Links that have a fault proxy in them.
    #[serde(default)]
    pub links: Vec<Link>,
}

/// Whose load balancer it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// AWS Application Load Balancer: a cookie with each response, and with no healthy node all are tried.
    Alb,
    /// Azure Application Gateway: one cookie with its CORS twin, and with no healthy node 502.
    Appgw,
}

/// The load balancer. Times are shorter than the clouds' (30 s between checks), so that a rehearsal is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Balancer {
    /// Whose.
    pub kind: Kind,
    /// Whether it speaks TLS, with a certificate made for the occasion.
    #[serde(default = "yes")]
    pub tls: bool,
    /// Time between two checks of a node's health, on `/__ping__`.
    #[serde(default = "second", deserialize_with = "duration")]
    pub health_interval: Duration,
    /// Good checks until a node is used again.
    pub healthy: u8,
    /// Bad checks until it is not.
    pub unhealthy: u8,
    /// How long a node may take to answer a request.
    #[serde(default = "minute", deserialize_with = "duration")]
    pub timeout: Duration,
    /// Whether each request is logged, and not only those that went wrong.
    #[serde(default)]
    pub log_all: bool,
}

/// PostgreSQL.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Database {
    /// Whether commits wait for the disk, as in production.
    pub durable: bool,
}

/// The nodes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nodes {
    /// How many.
    pub count: u8,
    /// Further arguments of `connect-bench sandbox node`.
    #[serde(default)]
    pub args: Vec<String>,
}

impl Nodes {
    /// Gives their arguments this flag, instead of the value that it may have had.
    pub fn set(&mut self, flag: &str, value: &str) {
        if let Some(at) = self.args.iter().position(|arg| arg == flag) {
            self.args.drain(at..(at + 2).min(self.args.len()));
        }
        self.args.retain(|arg| arg.strip_prefix(flag).is_none_or(|rest| !rest.starts_with('=')));
        self.args.extend([flag, value].map(str::to_owned));
    }

    /// Whether what is deployed is really started.
    #[must_use]
    pub fn real_content(&self) -> bool {
        let apart = self.args.windows(2).any(|pair| pair == ["--content", "processes"]);
        apart || self.args.iter().any(|arg| arg == "--content=processes")
    }
}

/// A kind of link. Of the last two each node has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Link {
    /// From the load generator to the balancer.
    GeneratorBalancer,
    /// From the balancer to a node.
    BalancerNode,
    /// From a node to the database.
    NodeDatabase,
}

impl Link {
    /// Every kind, by name.
    pub const ALL: [(&str, Link); 3] = [
        ("generator-balancer", Link::GeneratorBalancer),
        ("balancer-node", Link::BalancerNode),
        ("node-database", Link::NodeDatabase),
    ];
}

impl std::str::FromStr for Link {
    type Err = String;

    fn from_str(text: &str) -> Result<Link, String> {
        let found = Link::ALL.iter().find(|(name, _)| *name == text).map(|(_, link)| *link);
        let names = Link::ALL.map(|(name, _)| name).join(", ");
        found.ok_or_else(|| format!("no link `{text}`; there are {names}"))
    }
}

fn yes() -> bool {
    true
}

fn second() -> Duration {
    Duration::from_secs(1)
}

fn minute() -> Duration {
    Duration::from_secs(60)
}

fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    units::duration(&text).map_err(serde::de::Error::custom)
}

impl Architecture {
    /// One that comes with the program, or else the file of that name.
    ///
    /// # Errors
    /// Where there is none, or it makes no sense; with the line.
    pub fn find(name: &str) -> Result<Architecture, Fault> {
        if let Some((_, text)) = SHIPPED.iter().find(|(shipped, _)| *shipped == name) {
            return Architecture::parse(text, Path::new(name));
        }
        let file = PathBuf::from(name);
        let names = SHIPPED.map(|(name, _)| name).join(", ");
        let text = std::fs::read_to_string(&file).map_err(|error| {
            let what = format!("{error}; an architecture is a file, or one of {names}");
            Fault::File { file: file.clone(), what }
        })?;
        Architecture::parse(&text, &file)
    }

    /// Reads one.
    ///
    /// # Errors
    /// Where it makes no sense; with the line.
    pub fn parse(text: &str, file: &Path) -> Result<Architecture, Fault> {
        let wrong = |what: String| Fault::File { file: file.to_owned(), what };
        let read: Architecture = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let named = !read.name.is_empty() && read.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        let problems = [
            (!named, "name: letters, digits and `-`"),
            (!(1..=MOST_NODES).contains(&read.nodes.count), "nodes.count: 1 to 9"),
            (
                read.balancer.healthy == 0 || read.balancer.unhealthy == 0,
                "balancer: healthy and unhealthy are at least 1",
            ),
            (read.balancer.health_interval < Duration::from_millis(100), "balancer.health_interval: at least 100ms"),
        ];
        match problems.iter().find(|(wrong, _)| *wrong) {
            Some((_, what)) => Err(wrong((*what).to_owned())),
            None => Ok(read),
        }
    }

    /// Names of the nodes.
    pub fn names(&self) -> impl Iterator<Item = String> {
        (1..=self.nodes.count).map(|n| format!("node-{n}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_ones_are_as_posit_documents_them() {
        let azure = Architecture::find("azure-load-balanced").unwrap();
        assert_eq!((azure.balancer.kind, azure.nodes.count, azure.balancer.tls), (Kind::Appgw, 2, true));
        let aws = Architecture::find("aws-single-server-robust").unwrap();
        assert_eq!((aws.balancer.kind, aws.nodes.count), (Kind::Alb, 1));
        for (name, text) in SHIPPED {
            assert_eq!(Architecture::parse(text, Path::new(name)).unwrap().name, name);
        }
    }

    #[test]
    fn a_flag_takes_the_place_of_what_the_file_says() {
        let mut nodes = Architecture::find("azure-load-balanced").unwrap().nodes;
        assert!(!nodes.real_content());
        nodes.set("--content", "processes");
        nodes.args.push("--content=processes".to_owned());
        assert!(nodes.real_content());
        nodes.set("--content", "simulated");
        assert_eq!(nodes.args, ["--profile", "azure-load-balanced", "--content", "simulated"]);
        assert!(!nodes.real_content());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let good = SHIPPED[1].1;
        for (from, to, says) in [
            ("count = 2", "count = 12", "nodes.count"),
            ("kind = \"appgw\"", "kind = \"nginx\"", "unknown variant"),
            ("kind = \"appgw\"", "kind = \"appgw\"\nsticky = true", "unknown field `sticky`"),
            ("name = \"azure-load-balanced\"", "name = \"a b\"", "name:"),
        ] {
            assert!(good.contains(from), "{from}");
            let fault = Architecture::parse(&good.replace(from, to), Path::new("x.toml")).unwrap_err().to_string();
            assert!(fault.contains(says) && fault.starts_with("x.toml: "), "{fault}");
        }
        assert!(Architecture::find("gcp").unwrap_err().to_string().contains("azure-load-balanced"));
    }
}
