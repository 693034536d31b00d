//! The runtime settings of a content item, with Connect's defaults where it sets none.

use std::time::Duration;

use serde_json::{Map, Value, json};

/// Seconds that a process stays without requests, unless the content item says otherwise.
pub(in super::super) const IDLE_TIMEOUT_S: u64 = 120;

const MIN_PROCESSES: u64 = 0;
const MAX_PROCESSES: u64 = 3;
const MAX_CONNS: u64 = 20;
const LOAD_FACTOR: f64 = 0.5;
const INIT_TIMEOUT_S: u64 = 60;
/// What Connect's defaults are could not be established; an hour acts only on what hangs.
const CONNECTION_TIMEOUT_S: u64 = 3600;
const READ_TIMEOUT_S: u64 = 3600;

/// How a content item's processes are run on each node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) struct Runtime {
    /// Processes that are kept, also without requests.
    pub(in super::super) min: usize,
    /// Most processes.
    pub(super) max: usize,
    /// Most requests that a process has at once.
    pub(super) conns: usize,
    /// 0 to 1: another process is started when the requests exceed this share of what the processes take at once.
    pub(super) load_factor: f64,
    /// How long a process may take until it accepts connections.
    pub(super) init: Duration,
    /// How long a process stays without requests.
    pub(super) idle: Duration,
    /// How long a connection lasts without data in either direction; `None`: for ever.
    pub(super) connection: Option<Duration>,
    /// How long a connection lasts without data from the client; `None`: for ever.
    pub(super) read: Option<Duration>,
    /// Most memory of a process in bytes, where the item sets it.
    pub(super) memory: Option<u64>,
}

impl Runtime {
    /// From the settings of a content item.
    pub(in super::super) fn of(settings: &Map<String, Value>) -> Self {
        let number = |name: &str, unset| settings.get(name).and_then(Value::as_u64).unwrap_or(unset);
        let count = |name, unset| usize::try_from(number(name, unset)).unwrap_or(usize::MAX);
        let seconds = |name, unset| Duration::from_secs(number(name, unset));
        let endless = |time: Duration| (!time.is_zero()).then_some(time);
        let max = count("max_processes", MAX_PROCESSES).max(1);
        Self {
            min: count("min_processes", MIN_PROCESSES).min(max),
            max,
            conns: count("max_conns_per_process", MAX_CONNS).max(1),
            load_factor: settings.get("load_factor").and_then(Value::as_f64).unwrap_or(LOAD_FACTOR),
            init: seconds("init_timeout", INIT_TIMEOUT_S),
            idle: seconds("idle_timeout", IDLE_TIMEOUT_S),
            connection: endless(seconds("connection_timeout", CONNECTION_TIMEOUT_S)),
            read: endless(seconds("read_timeout", READ_TIMEOUT_S)),
            memory: settings.get("memory_limit").and_then(Value::as_u64).filter(|bytes| *bytes > 0),
        }
    }

    /// Requests that the processes of a node take at once.
    pub(super) fn slots(&self) -> usize {
        self.max.saturating_mul(self.conns)
    }
}

/// The defaults as `GET /__api__/server_settings/scheduler` shows them.
pub(in super::super) fn defaults() -> Value {
    json!({
        "min_processes": MIN_PROCESSES, "max_processes": MAX_PROCESSES, "max_conns_per_process": MAX_CONNS,
        "load_factor": LOAD_FACTOR, "init_timeout": INIT_TIMEOUT_S, "idle_timeout": IDLE_TIMEOUT_S,
        "connection_timeout": CONNECTION_TIMEOUT_S, "read_timeout": READ_TIMEOUT_S,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_set_is_the_default_that_the_server_tells() {
        let unset = Runtime::of(&Map::new());
        let Value::Object(told) = defaults() else { unreachable!() };
        assert_eq!(unset, Runtime::of(&told));
        assert_eq!((unset.slots(), unset.min, unset.memory), (60, 0, None));
    }

    #[test]
    fn zero_is_for_ever_where_connect_says_so() {
        let Value::Object(set) = json!({
            "connection_timeout": 0, "read_timeout": 7, "idle_timeout": 0, "min_processes": 2, "max_processes": 4,
            "max_conns_per_process": 5, "load_factor": 0.0,
        }) else {
            unreachable!()
        };
        let runtime = Runtime::of(&set);
        assert_eq!((runtime.connection, runtime.read), (None, Some(Duration::from_secs(7))));
        assert_eq!((runtime.idle, runtime.min, runtime.slots(), runtime.load_factor), (Duration::ZERO, 2, 20, 0.0));
    }
}
