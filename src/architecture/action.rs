//! What a rehearsal does to an architecture, as people write it: `node kill 2`, `database restart`, `link balancer-node 2
//! delay 50ms`. Knows no process and no clock.

use std::fmt;
use std::str::FromStr;

use super::spec::Link;

/// Something that is done to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeAction {
    /// SIGKILL to its process and that one's children.
    Kill,
    /// It ends in an orderly way.
    Stop,
    /// It is started again, and waited for.
    Start,
    /// SIGSTOP: it is there and says nothing.
    Freeze,
    /// SIGCONT.
    Thaw,
    /// The balancer sends no new sessions to it.
    Drain,
    /// The balancer does again.
    Ready,
}

/// Something that is done to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseAction {
    /// It drops everything, as in a failover.
    Kill,
    /// It ends in an orderly way.
    Stop,
    /// It is started again, and waited for.
    Start,
    /// Both, without a pause.
    Restart,
}

/// What the shared folder is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// As usual.
    Ok,
    /// Nothing can be written.
    ReadOnly,
    /// There is no room left.
    Full,
}

impl Storage {
    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Storage::Ok => "ok",
            Storage::ReadOnly => "read-only",
            Storage::Full => "full",
        }
    }
}

/// Something that is done to an architecture. Nodes count from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// To a node.
    Node(NodeAction, u8),
    /// To the database.
    Database(DatabaseAction),
    /// To the shared folder, as all nodes see it.
    Storage(Storage),
    /// To a link, of one node where links are by node: faults as `fault_proxy` reads them.
    Link(Link, Option<u8>, String),
    /// Nothing: how is it?
    Status,
    /// The end.
    Down,
}

const SYNTAX: &str = "an action is `node kill|stop|start|freeze|thaw|drain|ready N`, `database kill|stop|start|restart`, \
                      `storage read-only|full|ok`, `link generator-balancer FAULTS`, `link balancer-node|node-database N \
                      FAULTS` (delay 50ms, bandwidth 1MB, blackhole, refuse, clear, …), `status` or `down`";

const NODE: [(&str, NodeAction); 7] = [
    ("kill", NodeAction::Kill),
    ("stop", NodeAction::Stop),
    ("start", NodeAction::Start),
    ("freeze", NodeAction::Freeze),
    ("thaw", NodeAction::Thaw),
    ("drain", NodeAction::Drain),
    ("ready", NodeAction::Ready),
];
const DATABASE: [(&str, DatabaseAction); 4] = [
    ("kill", DatabaseAction::Kill),
    ("stop", DatabaseAction::Stop),
    ("start", DatabaseAction::Start),
    ("restart", DatabaseAction::Restart),
];
const STORAGE: [Storage; 3] = [Storage::Ok, Storage::ReadOnly, Storage::Full];

fn number(word: &str) -> Result<u8, String> {
    word.parse().ok().filter(|n| *n >= 1).ok_or_else(|| format!("`{word}` is no node: they count from 1"))
}

impl FromStr for Action {
    type Err = String;

    fn from_str(text: &str) -> Result<Action, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let unknown = || format!("`{text}`: {SYNTAX}");
        match words.as_slice() {
            ["status"] => Ok(Action::Status),
            ["down"] => Ok(Action::Down),
            ["node", verb, node] => {
                let action = NODE.iter().find(|(name, _)| name == verb).ok_or_else(unknown)?.1;
                Ok(Action::Node(action, number(node)?))
            }
            ["database", verb] => {
                let action = DATABASE.iter().find(|(name, _)| name == verb).ok_or_else(unknown)?.1;
                Ok(Action::Database(action))
            }
            ["storage", state] => {
                let storage = STORAGE.into_iter().find(|storage| storage.name() == *state).ok_or_else(unknown)?;
                Ok(Action::Storage(storage))
            }
            ["link", link, rest @ ..] => {
                let link: Link = link.parse()?;
                let (node, faults) = match (link, rest) {
                    (Link::GeneratorBalancer, faults) => (None, faults),
                    (_, [node, faults @ ..]) => (Some(number(node)?), faults),
                    (_, []) => return Err(unknown()),
                };
                let faults: crate::fault_proxy::Faults = faults.join(" ").parse()?;
                Ok(Action::Link(link, node, faults.to_string()))
            }
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Node(action, node) => {
                let name = NODE.iter().find(|(_, known)| known == action).map_or("", |(name, _)| name);
                write!(f, "node {name} {node}")
            }
            Action::Database(action) => {
                let name = DATABASE.iter().find(|(_, known)| known == action).map_or("", |(name, _)| name);
                write!(f, "database {name}")
            }
            Action::Storage(storage) => write!(f, "storage {}", storage.name()),
            Action::Link(link, node, faults) => {
                let name = Link::ALL.iter().find(|(_, known)| known == link).map_or("", |(name, _)| name);
                let node = node.map(|node| format!(" {node}")).unwrap_or_default();
                write!(f, "link {name}{node} {faults}")
            }
            Action::Status => f.write_str("status"),
            Action::Down => f.write_str("down"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_reads_as_it_is_written() {
        for text in [
            "node kill 2",
            "node start 1",
            "node freeze 2",
            "node drain 9",
            "database restart",
            "storage read-only",
            "storage ok",
            "link generator-balancer blackhole",
            "link balancer-node 2 delay 50ms jitter 10ms",
            "link node-database 1 clear",
            "status",
            "down",
        ] {
            assert_eq!(text.parse::<Action>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_action_is_refused_with_what_there_is() {
        for (text, says) in [
            ("", "an action is"),
            ("node explode 1", "an action is"),
            ("node kill", "an action is"),
            ("node kill 0", "count from 1"),
            ("link moon 1 clear", "generator-balancer"),
            ("link balancer-node delay 50ms", "is no node"),
            ("link balancer-node 1 slow", "delay 50ms"),
            ("link balancer-node", "an action is"),
        ] {
            let fault = text.parse::<Action>().unwrap_err();
            assert!(fault.contains(says), "{text}: {fault}");
        }
    }
}
