//! What servers tell Prometheus, of which a load test wants to know: Connect's own metrics and those of node-exporter, on
//! the time line of the run.
//!
//! Samples are summed over their labels; counters become rates between two answers. Knows no clock and no network: text
//! and times come in.

mod record;
mod text;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use record::Recording;

/// Most points of a figure that are kept; when there are more, two become one.
pub const MOST_POINTS: usize = 360;
/// Most outages and restarts of a server that are listed; later ones are only counted.
pub const MOST_EVENTS: usize = 50;

/// One answer of a server, or that it gave none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scrape {
    /// When it was asked, seconds since the start of the run.
    pub at_s: f64,
    /// Where, without a user's name and password.
    pub url: String,
    /// What it said, by our names (see [`read`]); nothing where it did not answer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, f64>,
    /// Why there is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The metrics that are followed, out of Prometheus' text (version 0.0.4) or OpenMetrics', by our names: sums over labels,
/// of finite values only. Empty where there is none of them, whatever the text is.
#[must_use]
pub fn read(text: &str) -> BTreeMap<String, f64> {
    let mut values: BTreeMap<&'static str, f64> = BTreeMap::new();
    for sample in text::samples(text, |name| raw(name).is_some()) {
        let Some(name) = raw(sample.name).filter(|_| sample.value.is_finite()) else { continue };
        let entry = values.entry(name);
        match name {
            // Of several processes the youngest: any of them that starts again spoils a sum of counters.
            STARTED => {
                entry.and_modify(|at| *at = at.max(sample.value)).or_insert(sample.value);
            }
            CPU_ALL => {
                *entry.or_default() += sample.value;
                if !sample.labels.iter().any(|(name, mode)| *name == "mode" && IDLE.contains(&mode.as_ref())) {
                    *values.entry(CPU_BUSY).or_default() += sample.value;
                }
            }
            _ => *entry.or_default() += sample.value,
        }
    }
    values.into_iter().filter(|(_, value)| value.is_finite()).map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Modes of `node_cpu_seconds_total` in which a core does nothing.
const IDLE: [&str; 2] = ["idle", "iowait"];

// What is read off a server, by our names.
const CPU_ALL: &str = "machine_cpu_s";
const CPU_BUSY: &str = "machine_cpu_busy_s";
const MEMORY_ALL: &str = "machine_memory_bytes";
const MEMORY_FREE: &str = "machine_memory_available_bytes";
const LOAD: &str = "machine_load_1m";
const PROCESS_CPU: &str = "process_cpu_s";
const PROCESS_MEMORY: &str = "process_memory_bytes";
const PROCESS_FILES: &str = "process_open_files";
const STARTED: &str = "process_start_time_s";
const REQUESTS: &str = "requests";
const TIMED: &str = "timed_requests";
const TIME: &str = "request_time_s";
const IN_FLIGHT: &str = "requests_in_flight";
const SESSIONS: &str = "app_sessions";
const JOBS: &str = "jobs_queued";

/// Our name of a server's metric, where it is followed.
fn raw(theirs: &str) -> Option<&'static str> {
    Some(match theirs {
        "node_cpu_seconds_total" => CPU_ALL,
        "node_memory_MemTotal_bytes" => MEMORY_ALL,
        "node_memory_MemAvailable_bytes" => MEMORY_FREE,
        "node_load1" => LOAD,
        "process_cpu_seconds_total" => PROCESS_CPU,
        "process_resident_memory_bytes" => PROCESS_MEMORY,
        "process_open_fds" => PROCESS_FILES,
        "process_start_time_seconds" => STARTED,
        "connect_http_request_count" => REQUESTS,
        "connect_http_request_duration_seconds_count" => TIMED,
        "connect_http_request_duration_seconds_sum" => TIME,
        "connect_http_request_inflight_gauge" => IN_FLIGHT,
        "connect_content_app_sessions_current" => SESSIONS,
        "connect_jobs_queue_total_jobs_in_queue" => JOBS,
        _ => return None,
    })
}

/// A figure of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Share of the machine's cores that is at work, 0 to 1: neither idle nor waiting for a disk.
    MachineCpuShare,
    /// Cores that the process uses.
    ProcessCpuCores,
    /// Share of the machine's memory that is not available, 0 to 1.
    MachineMemoryShare,
    /// Memory of the process, bytes.
    ProcessMemoryBytes,
    /// Requests that it answered, per second.
    RequestsPerS,
    /// Mean time that it took for them, ms.
    RequestMeanMs,
    /// Requests under way.
    RequestsInFlight,
    /// Sessions of applications.
    AppSessions,
    /// Jobs that wait.
    JobsQueued,
    /// Load average over one minute.
    #[serde(rename = "machine_load_1m")]
    MachineLoad1m,
    /// Open files of the process.
    ProcessOpenFiles,
}

impl Metric {
    /// All of them, what tells most first.
    pub const ALL: [Metric; 11] = [
        Metric::MachineCpuShare,
        Metric::ProcessCpuCores,
        Metric::RequestsInFlight,
        Metric::RequestsPerS,
        Metric::RequestMeanMs,
        Metric::MachineMemoryShare,
        Metric::ProcessMemoryBytes,
        Metric::AppSessions,
        Metric::JobsQueued,
        Metric::MachineLoad1m,
        Metric::ProcessOpenFiles,
    ];

    /// Its name in documents, with its unit last; a share has none.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Metric::MachineCpuShare => "machine_cpu_share",
            Metric::ProcessCpuCores => "process_cpu_cores",
            Metric::MachineMemoryShare => "machine_memory_share",
            Metric::ProcessMemoryBytes => "process_memory_bytes",
            Metric::RequestsPerS => "requests_per_s",
            Metric::RequestMeanMs => "request_mean_ms",
            Metric::RequestsInFlight => "requests_in_flight",
            Metric::AppSessions => "app_sessions",
            Metric::JobsQueued => "jobs_queued",
            Metric::MachineLoad1m => "machine_load_1m",
            Metric::ProcessOpenFiles => "process_open_files",
        }
    }

    /// What it is for people; with its unit where the value does not carry it.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Metric::MachineCpuShare => "CPU of the machine",
            Metric::ProcessCpuCores => "CPU of the process, cores",
            Metric::MachineMemoryShare => "memory of the machine",
            Metric::ProcessMemoryBytes => "memory of the process",
            Metric::RequestsPerS => "requests per second",
            Metric::RequestMeanMs => "time per request, ms",
            Metric::RequestsInFlight => "requests in flight",
            Metric::AppSessions => "app sessions",
            Metric::JobsQueued => "jobs queued",
            Metric::MachineLoad1m => "load average, 1 min",
            Metric::ProcessOpenFiles => "open files of the process",
        }
    }

    /// Its value, of the last answer and the one before where it is a rate.
    fn value(self, now: &Scrape, before: Option<&Scrape>) -> Option<f64> {
        let is = |name| now.values.get(name).copied();
        // What only grows: how much between the two. One that went back was started again.
        let more = |name| Some(is(name)? - before?.values.get(name)?).filter(|more| *more >= 0.0);
        let per_s = |name| more(name).zip(before).map(|(more, before)| more / (now.at_s - before.at_s));
        let ratio = |part: Option<f64>, of: Option<f64>| Some(part? / of.filter(|of| *of > 0.0)?);
        let value = match self {
            // Sums over modes and cores are rounded: of a machine that is never idle it would be a hair more than all.
            Metric::MachineCpuShare => ratio(more(CPU_BUSY), more(CPU_ALL)).map(|share| share.min(1.0)),
            Metric::ProcessCpuCores => per_s(PROCESS_CPU),
            Metric::MachineMemoryShare => ratio(is(MEMORY_FREE), is(MEMORY_ALL)).map(|free| 1.0 - free),
            Metric::ProcessMemoryBytes => is(PROCESS_MEMORY),
            Metric::RequestsPerS => per_s(REQUESTS).or_else(|| per_s(TIMED)),
            Metric::RequestMeanMs => ratio(more(TIME), more(TIMED)).map(|s| 1000.0 * s),
            Metric::RequestsInFlight => is(IN_FLIGHT),
            Metric::AppSessions => is(SESSIONS),
            Metric::JobsQueued => is(JOBS),
            Metric::MachineLoad1m => is(LOAD),
            Metric::ProcessOpenFiles => is(PROCESS_FILES),
        };
        value.filter(|value| value.is_finite())
    }

    /// Whether it is about the time between two answers, and not the moment of one.
    fn is_rate(self) -> bool {
        matches!(self, Metric::MachineCpuShare | Metric::ProcessCpuCores | Metric::RequestsPerS | Metric::RequestMeanMs)
    }
}

/// A figure of a server over the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// What.
    pub metric: Metric,
    /// Mean over the samples of the measured part; `None` without one.
    pub mean: Option<f64>,
    /// Least of them.
    pub min: Option<f64>,
    /// Greatest of them.
    pub max: Option<f64>,
    /// How many.
    pub samples: u64,
    /// The whole run: seconds since its start, and the value. At most [`MOST_POINTS`].
    pub points: Vec<(f64, f64)>,
}

/// A time in which a server did not answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outage {
    /// When it was first asked in vain, seconds since the start of the run.
    pub from_s: f64,
    /// When it answered again; `None`: not before the end.
    pub to_s: Option<f64>,
    /// Why there was no answer at first.
    pub reason: String,
}

/// What one server told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Where it was asked.
    pub url: String,
    /// How often it answered.
    pub answers: u64,
    /// How often it did not.
    pub failures: u64,
    /// When it did not answer, in order.
    pub outages: Vec<Outage>,
    /// When it had started again, seconds since the start of the run: counters began anew.
    pub restarts_s: Vec<f64>,
    /// What it told, in the order of [`Metric::ALL`].
    pub figures: Vec<Figure>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP node_cpu_seconds_total x\n# TYPE node_cpu_seconds_total counter\n\
                        node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} 100\nnode_cpu_seconds_total{cpu=\"0\",mode=\"user\"} 5\n\
                        node_cpu_seconds_total{cpu=\"1\",mode=\"user\"} 7.5\nnode_cpu_seconds_total{cpu=\"1\",mode=\"iowait\"} 1\n\
                        node_load1 0.5 1700000000000\nconnect_http_request_count{code=\"200\",route=\"/a} b\"} 10\n\
                        connect_http_request_count{code=\"500\"} 2\nprocess_open_fds NaN\nother_metric 9\n\
                        process_start_time_seconds 5\nprocess_start_time_seconds{other=\"one\"} 3\n";

    #[test]
    fn labels_are_summed_and_idle_time_is_kept_apart() {
        let expected = [(CPU_ALL, 113.5), (CPU_BUSY, 12.5), (LOAD, 0.5), (REQUESTS, 12.0), (STARTED, 5.0)];
        assert_eq!(read(TEXT), expected.map(|(name, value)| (name.to_owned(), value)).into());
    }

    #[test]
    fn what_is_not_followed_or_no_text_of_prometheus_is_nothing() {
        for text in ["", "<html>\n", "\u{0}\u{1}", "{", "node_load1", "node_load1 x", "node_load1 +Inf", "go_threads 5"]
        {
            assert!(read(text).is_empty(), "{text}");
        }
        let great = "process_open_fds{a=\"1\"} 1e308\nprocess_open_fds{a=\"2\"} 1.7e308\nnode_load1 2\n";
        assert_eq!(read(great), [(LOAD.to_owned(), 2.0)].into(), "a sum that is no number");
    }

    #[test]
    fn names_in_documents_are_those_that_are_written() {
        for metric in Metric::ALL {
            assert_eq!(serde_json::to_value(metric).unwrap(), metric.name());
        }
    }
}
