//! One slot of a course: some seconds, merged.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::histogram::{Latency, Packed};
use crate::outcome::ErrorKind;
use crate::window::{Part, Second, SeriesWindow};

/// Buckets of the heat map in a tenfold of latency.
pub const PER_DECADE: f64 = 10.0;

/// One node in one slot.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSlot {
    /// Completed fetches.
    pub completed: u64,
    /// Failed fetches.
    pub failed: u64,
    /// Sum of the latencies of the completed ones, ms.
    pub sum_ms: f64,
}

impl NodeSlot {
    fn add(&mut self, other: &NodeSlot) {
        self.completed += other.completed;
        self.failed += other.failed;
        self.sum_ms += other.sum_ms;
    }
}

/// Some seconds of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    /// Its first second.
    pub from_s: u64,
    /// How many seconds are in it.
    pub seconds: u64,
    /// Which part of the run it belongs to.
    pub part: Part,
    /// Fetching VUs, mean.
    pub vus: f64,
    /// Completed requests of all scenarios.
    pub completed: u64,
    /// Failed requests of all scenarios.
    pub failed: u64,
    /// Iterations that were due in an open model and never began.
    pub dropped: u64,
    /// Completed fetches.
    pub fetched: u64,
    /// Median latency of fetches, ms.
    pub p50_ms: Option<f64>,
    /// 95th percentile, ms.
    pub p95_ms: Option<f64>,
    /// 99th percentile, ms.
    pub p99_ms: Option<f64>,
    /// Greatest, ms.
    pub max_ms: Option<f64>,
    /// Fetches by latency: in bucket b are those from 10^(b/10) µs on.
    pub heat: Vec<(u8, u64)>,
    /// Mean of each phase over the completed fetches, ms: blocked, connecting, TLS, sending, waiting, receiving.
    pub phases_ms: Option<[f64; 6]>,
    /// Failures of all scenarios by kind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub errors: BTreeMap<ErrorKind, u64>,
    /// Fetches by node.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub nodes: BTreeMap<String, NodeSlot>,
    /// Greatest share of its core that one worker used in a second.
    pub busiest: f64,
    /// The 99th percentile of the event loops' lag in the worst second, ms.
    pub lag_p99_ms: Option<f64>,
    /// The 99th percentile of the wait before responses were read in the worst second, ms.
    pub delay_p99_ms: Option<f64>,
    /// Resident memory of the generator at the end, bytes.
    pub memory_bytes: Option<u64>,
    /// Seconds in which the generator was the limit.
    pub limited_s: u64,
}

/// A slot that can still take seconds.
#[derive(Debug, Clone)]
pub(super) struct Open {
    pub(super) from_s: u64,
    pub(super) part: Part,
    /// Latency of the fetches; moved to `packed` when the slot is closed, because hundreds of open histograms are large.
    pub(super) latency: Latency,
    packed: Packed,
    seconds: u64,
    vu_seconds: f64,
    counts: [u64; 4],
    phases_ns: [u128; 6],
    errors: BTreeMap<ErrorKind, u64>,
    nodes: BTreeMap<String, NodeSlot>,
    busiest: f64,
    lag_ms: Option<f64>,
    delay_ms: Option<f64>,
    memory_bytes: Option<u64>,
    limited_s: u64,
}

impl Open {
    /// One second. `fetching` are the series that fetch, `scenarios` the scenarios.
    pub(super) fn of(second: &Second, fetching: &[usize], scenarios: &[usize], limited: bool) -> Open {
        let window = &second.window;
        let mut fetch = SeriesWindow::default();
        fetching.iter().filter_map(|&at| window.series.get(at)).for_each(|series| fetch.merge(series));
        let sum = |count: fn(&SeriesWindow) -> u64| window.series.iter().map(count).sum::<u64>();
        let dropped = window.scenarios.iter().map(|scenario| scenario.iterations.dropped).sum();
        let vu_ns: u128 = scenarios.iter().filter_map(|&at| window.scenarios.get(at)).map(|s| s.vu_time_ns).sum();
        let mut errors = BTreeMap::new();
        for (kind, n) in window.series.iter().flat_map(|series| &series.errors) {
            *errors.entry(*kind).or_default() += n;
        }
        let node = |(label, node): (&String, &crate::window::NodeWindow)| {
            let sum_ms = node.duration.sum_ns() as f64 / 1e6;
            (label.clone(), NodeSlot { completed: node.completed, failed: node.failed, sum_ms })
        };
        Open {
            from_s: second.second,
            part: second.part,
            seconds: 1,
            vu_seconds: vu_ns as f64 / 1e9,
            counts: [sum(|s| s.requests.completed), sum(|s| s.requests.failed), dropped, fetch.requests.completed],
            phases_ns: [
                fetch.blocked.sum_ns(),
                fetch.connecting.sum_ns(),
                fetch.tls_handshaking.sum_ns(),
                fetch.sending.sum_ns(),
                fetch.waiting.sum_ns(),
                fetch.receiving.sum_ns(),
            ],
            errors,
            nodes: fetch.nodes.iter().map(node).collect(),
            busiest: window.generator.busiest_permille as f64 / 1000.0,
            lag_ms: window.generator.lag.quantile_ms(0.99),
            delay_ms: fetch.generator_delay.quantile_ms(0.99),
            memory_bytes: second.host.memory_bytes,
            limited_s: u64::from(limited),
            latency: fetch.duration,
            packed: Packed::default(),
        }
    }

    /// Gives nodes their names; labels of one node become one.
    pub(super) fn name_nodes(&mut self, names: &BTreeMap<String, String>) {
        for (label, node) in std::mem::take(&mut self.nodes) {
            let name = names.get(&label).cloned().unwrap_or(label);
            self.nodes.entry(name).or_default().add(&node);
        }
    }

    /// No more is expected.
    pub(super) fn close(&mut self) {
        if !self.latency.is_empty() {
            let mut all = self.packed.unpack();
            all.merge(&self.latency.take());
            self.packed = all.pack();
        }
    }

    /// Adds a later one.
    pub(super) fn merge(&mut self, later: Open) {
        self.seconds += later.seconds;
        self.vu_seconds += later.vu_seconds;
        for (mine, theirs) in self.counts.iter_mut().zip(later.counts) {
            *mine += theirs;
        }
        for (mine, theirs) in self.phases_ns.iter_mut().zip(later.phases_ns) {
            *mine += theirs;
        }
        for (kind, n) in later.errors {
            *self.errors.entry(kind).or_default() += n;
        }
        for (label, node) in later.nodes {
            self.nodes.entry(label).or_default().add(&node);
        }
        self.busiest = self.busiest.max(later.busiest);
        self.lag_ms = greatest(self.lag_ms, later.lag_ms);
        self.delay_ms = greatest(self.delay_ms, later.delay_ms);
        self.memory_bytes = later.memory_bytes.or(self.memory_bytes);
        self.limited_s += later.limited_s;
        self.latency.merge(&later.latency);
        let packed = later.packed.unpack();
        self.latency.merge(&packed);
    }

    /// The slot as it is drawn.
    pub(super) fn finish(mut self) -> Slot {
        self.close();
        let latency = self.packed.unpack();
        let [completed, failed, dropped, fetched] = self.counts;
        let mean = |ns: u128| ns as f64 / 1e6 / fetched as f64;
        let mut heat: Vec<(u8, u64)> = Vec::new();
        for (us, n) in latency.buckets() {
            let bucket = bucket(us);
            match heat.last_mut() {
                Some((last, count)) if *last == bucket => *count += n,
                _ => heat.push((bucket, n)),
            }
        }
        Slot {
            from_s: self.from_s,
            seconds: self.seconds,
            part: self.part,
            vus: self.vu_seconds / self.seconds as f64,
            completed,
            failed,
            dropped,
            fetched,
            p50_ms: latency.quantile_ms(0.5),
            p95_ms: latency.quantile_ms(0.95),
            p99_ms: latency.quantile_ms(0.99),
            max_ms: latency.max_ms(),
            heat,
            phases_ms: (fetched > 0).then(|| self.phases_ns.map(mean)),
            errors: self.errors,
            nodes: self.nodes,
            busiest: self.busiest,
            lag_p99_ms: self.lag_ms,
            delay_p99_ms: self.delay_ms,
            memory_bytes: self.memory_bytes,
            limited_s: self.limited_s,
        }
    }
}

/// The bucket of the heat map that a latency belongs to; an hour is in the 95th.
fn bucket(us: u64) -> u8 {
    (PER_DECADE * (us.max(1) as f64).log10()).floor().clamp(0.0, 95.0) as u8
}

fn greatest(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (a, b) => a.or(b),
    }
}
