//! What one worker measured in one second: histograms and counters. The only thing that leaves a worker.
//!
//! Windows merge in any order: over workers, over seconds, over generators. Knows no clock and no runtime.

mod counts;
mod plausible;
mod sockets;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::counts::Counts;
pub use self::sockets::SocketWindow;

use crate::histogram::Latency;
use crate::outcome::ErrorKind;

/// Most nodes that are told apart in one series; what more a server claims is counted as [`OTHER_NODES`].
pub const MAX_NODES: usize = 32;
/// Label of the nodes beyond [`MAX_NODES`].
pub const OTHER_NODES: &str = "other";

/// Figures of one node behind one URL, told by its affinity cookie.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeWindow {
    /// Completed requests.
    pub completed: u64,
    /// Failed requests.
    pub failed: u64,
    /// VUs that it had answered before, and that another node answered now.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left: u64,
    /// `http_req_duration` of the completed ones.
    pub duration: Latency,
}

/// Figures of one series (a step of a scenario) in one window.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SeriesWindow {
    /// The requests and their ends.
    pub requests: Counts,
    /// Requests that were written to a socket. A server has seen at least these, and at most `sent + retried`.
    pub sent: u64,
    /// Requests sent again because a kept connection turned out to be closed; the first try is not in `sent`.
    pub retried: u64,
    /// Connections opened.
    pub connections: u64,
    /// Of them those whose TLS handshake resumed an earlier one, and so was cheaper.
    #[serde(skip_serializing_if = "is_zero")]
    pub resumed: u64,
    /// Of them those that speak HTTP/2.
    #[serde(skip_serializing_if = "is_zero")]
    pub http2: u64,
    /// Responses whose affinity cookie named another node than the one before them of the same VU.
    #[serde(skip_serializing_if = "is_zero")]
    pub moved: u64,
    /// Bytes written to the sockets, TLS included where there is TLS.
    pub bytes_sent: u64,
    /// Bytes read from the sockets.
    pub bytes_received: u64,
    /// Responses by status.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub statuses: BTreeMap<u16, u64>,
    /// Failures by kind.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub errors: BTreeMap<ErrorKind, u64>,
    /// By node, where nodes can be told apart.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub nodes: BTreeMap<String, NodeWindow>,
    /// `http_req_duration` of completed requests.
    #[serde(skip_serializing_if = "Latency::is_empty")]
    pub duration: Latency,
    /// From the VU turning to it until it failed, of failed requests. Never mixed with `duration`.
    #[serde(skip_serializing_if = "Latency::is_empty")]
    pub failed_duration: Latency,
    /// Age of the requests that the hard stop cut off: a censored latency, each would have taken longer.
    #[serde(skip_serializing_if = "Latency::is_empty")]
    pub interrupted_age: Latency,
    /// `http_req_blocked`, where it was not zero.
    #[serde(skip_serializing_if = "Latency::is_empty")]
    pub blocked: Latency,
    /// `http_req_connecting`, where a connection was opened.
    #[serde(skip_serializing_if = "Latency::is_empty")]
    pub connecting: Latency,
    /// `http_req_tls_handshaking`, where there was a handshake.
    #[serde(skip_serializing_if = "Latency::is_empty")]
    pub tls_handshaking: Latency,
    /// `http_req_sending` of completed requests.
    #[serde(skip_serializing_if = "Latency::is_empty")]
    pub sending: Latency,
    /// `http_req_waiting` of completed requests.
    #[serde(skip_serializing_if = "Latency::is_empty")]
    pub waiting: Latency,
    /// `http_req_receiving` of completed requests.
    #[serde(skip_serializing_if = "Latency::is_empty")]
    pub receiving: Latency,
    /// Open model: from the time when the iteration was due to the end of its first request, of completed ones.
    #[serde(skip_serializing_if = "Latency::is_empty")]
    pub response_time: Latency,
    /// How long the end of a completed response waited between the kernel's receipt and our reading it: the error that
    /// the generator made. Empty where the kernel does not say.
    #[serde(skip_serializing_if = "Latency::is_empty")]
    pub generator_delay: Latency,
    /// `duration` less `generator_delay`, of the same requests.
    #[serde(skip_serializing_if = "Latency::is_empty")]
    pub duration_corrected: Latency,
    /// Reads for which the kernel should have told when the bytes came, and did not.
    #[serde(skip_serializing_if = "is_zero")]
    pub unstamped: u64,
    /// WebSocket sessions, of a step that has some. Boxed: other steps do not pay for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sockets: Option<Box<SocketWindow>>,
}

impl SeriesWindow {
    /// Of those that most requests have; the others grow where they are needed.
    fn successor(&self) -> SeriesWindow {
        SeriesWindow {
            duration: self.duration.successor(),
            failed_duration: self.failed_duration.successor(),
            sending: self.sending.successor(),
            waiting: self.waiting.successor(),
            receiving: self.receiving.successor(),
            response_time: self.response_time.successor(),
            generator_delay: self.generator_delay.successor(),
            duration_corrected: self.duration_corrected.successor(),
            ..SeriesWindow::default()
        }
    }

    /// Adds another window's figures of the same series.
    pub fn merge(&mut self, other: &SeriesWindow) {
        self.requests.merge(&other.requests);
        self.sent += other.sent;
        self.retried += other.retried;
        self.connections += other.connections;
        self.resumed += other.resumed;
        self.http2 += other.http2;
        self.moved += other.moved;
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        for (status, n) in &other.statuses {
            *self.statuses.entry(*status).or_default() += n;
        }
        for (kind, n) in &other.errors {
            *self.errors.entry(*kind).or_default() += n;
        }
        for (label, node) in &other.nodes {
            let mine = self.nodes.entry(label.clone()).or_default();
            mine.completed += node.completed;
            mine.failed += node.failed;
            mine.left += node.left;
            mine.duration.merge(&node.duration);
        }
        self.duration.merge(&other.duration);
        self.failed_duration.merge(&other.failed_duration);
        self.interrupted_age.merge(&other.interrupted_age);
        self.blocked.merge(&other.blocked);
        self.connecting.merge(&other.connecting);
        self.tls_handshaking.merge(&other.tls_handshaking);
        self.sending.merge(&other.sending);
        self.waiting.merge(&other.waiting);
        self.receiving.merge(&other.receiving);
        self.response_time.merge(&other.response_time);
        self.generator_delay.merge(&other.generator_delay);
        self.duration_corrected.merge(&other.duration_corrected);
        self.unstamped += other.unstamped;
        if let Some(sockets) = &other.sockets {
            self.sockets.get_or_insert_default().merge(sockets);
        }
    }
}

/// How often responses passed a check. There are as many checks as the plan has names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckWindow {
    /// Responses that passed.
    pub passes: u64,
    /// Responses that did not, and requests without a response.
    pub fails: u64,
}

impl CheckWindow {
    /// Counts one response.
    pub fn count(&mut self, passed: bool) {
        *if passed { &mut self.passes } else { &mut self.fails } += 1;
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.passes + self.fails == 0
    }

    /// Adds other counts of the same check.
    pub fn merge(&mut self, other: &CheckWindow) {
        self.passes += other.passes;
        self.fails += other.fails;
    }

    /// Share of the responses that passed (k6's `checks`).
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        let all = self.passes + self.fails;
        (all > 0).then(|| self.passes as f64 / all as f64)
    }
}

/// Figures of one scenario in one window.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScenarioWindow {
    /// The iterations and their ends.
    pub iterations: Counts,
    /// Duration of completed iterations.
    #[serde(skip_serializing_if = "Latency::is_empty")]
    pub iteration_duration: Latency,
    /// VUs that were active when the window ended.
    pub vus: u64,
    /// Integral of the active VUs over the window, VU·ns.
    pub vu_time_ns: u128,
    /// Part of it in which VUs waited on purpose: think time, pacing, back-off after a failed connection.
    pub pause_ns: u128,
    /// Part of it in which VUs were in a WebSocket session, its think times included.
    #[serde(skip_serializing_if = "is_no_time")]
    pub session_ns: u128,
    /// Open model: from the time when they were due to their end, of completed iterations.
    #[serde(skip_serializing_if = "Latency::is_empty")]
    pub response_time: Latency,
    /// Open model: from the time when they were due to their beginning, of all that began.
    #[serde(skip_serializing_if = "Latency::is_empty")]
    pub arrival_lateness: Latency,
    /// Of the dropped iterations those whose VUs were busy with what had begun late: the generator's fault.
    #[serde(skip_serializing_if = "is_zero")]
    pub dropped_late: u64,
    /// Publishes that were steps of iterations: those that succeeded, and those that did not.
    #[serde(skip_serializing_if = "CheckWindow::is_empty")]
    pub published: CheckWindow,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes a reference")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

fn is_no_time(n: &u128) -> bool {
    *n == 0
}

impl ScenarioWindow {
    fn successor(&self) -> ScenarioWindow {
        ScenarioWindow {
            iteration_duration: self.iteration_duration.successor(),
            response_time: self.response_time.successor(),
            arrival_lateness: self.arrival_lateness.successor(),
            ..ScenarioWindow::default()
        }
    }

    /// Adds another window's figures of the same scenario, or of one that is shown together with it.
    pub fn merge(&mut self, other: &ScenarioWindow) {
        self.iterations.merge(&other.iterations);
        self.iteration_duration.merge(&other.iteration_duration);
        self.vus += other.vus;
        self.vu_time_ns += other.vu_time_ns;
        self.pause_ns += other.pause_ns;
        self.session_ns += other.session_ns;
        self.response_time.merge(&other.response_time);
        self.arrival_lateness.merge(&other.arrival_lateness);
        self.dropped_late += other.dropped_late;
        self.published.merge(&other.published);
    }
}

/// The generator's own health in one window.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GeneratorWindow {
    /// How late the workers' event loops were.
    #[serde(skip_serializing_if = "Latency::is_empty")]
    pub lag: Latency,
    /// CPU time of the worker threads.
    pub cpu_ns: u64,
    /// Wall time that the worker threads lived through: one second per worker.
    pub wall_ns: u64,
    /// Greatest CPU share of a single worker in one second, in parts per thousand: one full thread limits its VUs.
    pub busiest_permille: u64,
    /// Time in which the worker threads were ready to run and others ran on their cores.
    #[serde(skip_serializing_if = "is_zero")]
    pub queued_ns: u64,
}

impl GeneratorWindow {
    fn merge(&mut self, other: &GeneratorWindow) {
        self.lag.merge(&other.lag);
        self.cpu_ns += other.cpu_ns;
        self.wall_ns += other.wall_ns;
        self.queued_ns += other.queued_ns;
        self.busiest_permille = self.busiest_permille.max(other.busiest_permille);
    }
}

/// What one worker measured in one second, or any merge of such windows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Window {
    /// Start and end of the time that it covers, ns since the start of the run; `None` for the empty window.
    pub span_ns: Option<(u64, u64)>,
    /// By series, in the plan's order.
    pub series: Vec<SeriesWindow>,
    /// By scenario, in the plan's order.
    pub scenarios: Vec<ScenarioWindow>,
    /// Named durations that span several exchanges, such as the phases of a publish.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub trends: BTreeMap<String, Latency>,
    /// Checks by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub checks: BTreeMap<String, CheckWindow>,
    /// The generator's own health.
    pub generator: GeneratorWindow,
}

impl Window {
    /// An empty window for so many series and scenarios.
    #[must_use]
    pub fn new(series: usize, scenarios: usize) -> Window {
        Window {
            series: vec![SeriesWindow::default(); series],
            scenarios: vec![ScenarioWindow::default(); scenarios],
            ..Window::default()
        }
    }

    /// An empty window for the next second, with room for what this one holds: the next one will most likely be alike.
    #[must_use]
    pub fn successor(&self) -> Window {
        Window {
            series: self.series.iter().map(SeriesWindow::successor).collect(),
            scenarios: self.scenarios.iter().map(ScenarioWindow::successor).collect(),
            ..Window::default()
        }
    }

    /// Adds another window: associative and commutative, with the empty one as identity.
    pub fn merge(&mut self, other: &Window) {
        self.span_ns = match (self.span_ns, other.span_ns) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (mine, theirs) => mine.or(theirs),
        };
        self.series.resize_with(self.series.len().max(other.series.len()), SeriesWindow::default);
        for (mine, theirs) in self.series.iter_mut().zip(&other.series) {
            mine.merge(theirs);
        }
        self.scenarios.resize_with(self.scenarios.len().max(other.scenarios.len()), ScenarioWindow::default);
        for (mine, theirs) in self.scenarios.iter_mut().zip(&other.scenarios) {
            mine.merge(theirs);
        }
        for (name, latency) in &other.trends {
            self.trends.entry(name.clone()).or_default().merge(latency);
        }
        for (name, check) in &other.checks {
            match self.checks.get_mut(name) {
                Some(mine) => mine.merge(check),
                None => {
                    self.checks.insert(name.clone(), *check);
                }
            }
        }
        self.generator.merge(&other.generator);
    }

    /// Whether every count adds up.
    #[must_use]
    pub fn balanced(&self) -> bool {
        let sockets = |s: &SeriesWindow| s.sockets.as_ref().is_none_or(|sockets| sockets.sessions.balanced());
        self.series.iter().all(|s| s.requests.balanced() && sockets(s))
            && self.scenarios.iter().all(|s| s.iterations.balanced())
    }

    /// Length of the covered time in seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.span_ns.map_or(0.0, |(from, to)| to.saturating_sub(from) as f64 / 1e9)
    }
}

/// Which part of the run a second belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Kept apart: caches fill, processes start.
    WarmUp,
    /// What the figures are made of.
    Steady,
    /// A pause that was asked for lies in it, whole or in part.
    Paused,
    /// After the end of the schedule: VUs finish what they have begun.
    Stopping,
}

/// What the system says of the whole process at the end of a second. What cannot be read is `None`, never zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HostSample {
    /// CPU time of this process as a share of all cores, 0..=1.
    pub cpu_share: Option<f64>,
    /// CPU time that the hypervisor gave to others, as a share of all cores.
    pub steal_share: Option<f64>,
    /// Resident memory, bytes.
    pub memory_bytes: Option<u64>,
    /// The most resident memory so far, bytes.
    pub peak_memory_bytes: Option<u64>,
    /// Open file descriptors.
    pub open_files: Option<u64>,
    /// How many may be open.
    pub open_files_limit: Option<u64>,
    /// How far the wall clock has run ahead of the monotonic one since the run began, ms; negative where it fell behind.
    /// It moves when somebody sets the clock, or when this machine was suspended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall_ahead_ms: Option<f64>,
}

/// One second of the run, all workers merged: one line of `windows.ndjson`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Second {
    /// The second since the start of the run, from 0.
    pub second: u64,
    /// Which part of the run it belongs to.
    pub part: Part,
    /// What was measured.
    pub window: Window,
    /// What the system says of this process.
    #[serde(default)]
    pub host: HostSample,
}

/// Puts the windows of several workers together, second by second, in order.
#[derive(Debug)]
pub struct Alignment {
    workers: usize,
    next: u64,
    pending: BTreeMap<u64, (usize, Window)>,
}

impl Alignment {
    /// For so many workers, each of which hands in exactly one window per second.
    #[must_use]
    pub fn new(workers: usize) -> Alignment {
        Alignment { workers, next: 0, pending: BTreeMap::new() }
    }

    /// Takes one worker's window and returns the seconds that are complete now, oldest first.
    pub fn push(&mut self, second: u64, window: Window) -> Vec<(u64, Window)> {
        match self.pending.get_mut(&second) {
            None => {
                self.pending.insert(second, (1, window));
            }
            Some((count, merged)) => {
                *count += 1;
                merged.merge(&window);
            }
        }
        let mut complete = Vec::new();
        while self.pending.get(&self.next).is_some_and(|(count, _)| *count >= self.workers) {
            if let Some((_, window)) = self.pending.remove(&self.next) {
                complete.push((self.next, window));
            }
            self.next += 1;
        }
        complete
    }

    /// What is left when all workers are gone: seconds that some worker did not reach.
    #[must_use]
    pub fn finish(self) -> Vec<(u64, Window)> {
        self.pending.into_iter().map(|(second, (_, window))| (second, window)).collect()
    }
}

#[cfg(test)]
mod tests;
