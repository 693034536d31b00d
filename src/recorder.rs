//! A worker's recorder: samples in, one window per second out. Owned by one thread; no lock, no channel per sample.
//!
//! Knows no clock: every call says when it happened, as the time since the start of the run.

mod sockets;
mod tap;

use std::time::Duration;

use crate::outcome::{Ended, Phases};
use crate::window::{MAX_NODES, OTHER_NODES, Window};
use tap::Tap;
pub use tap::{Point, Points, Sampling, What};

/// One request that is over.
#[derive(Debug, Clone)]
pub struct Sample {
    /// How it ended.
    pub ended: Ended,
    /// The status, where a response head came.
    pub status: Option<u16>,
    /// Its parts.
    pub phases: Phases,
    /// From the VU turning to it to its end.
    pub elapsed: Duration,
    /// Whether its head was written to a socket.
    pub sent: bool,
    /// Whether it was sent again because an idle connection turned out to be closed.
    pub retried: bool,
    /// Connections opened for it.
    pub connections: u64,
    /// Of them those whose TLS handshake resumed an earlier one.
    pub resumed: u64,
    /// Of them those that speak HTTP/2.
    pub http2: u64,
    /// Bytes written and read.
    pub bytes: (u64, u64),
    /// How long the end of the response waited in this machine before we read it, where the kernel told.
    pub delay: Option<Duration>,
    /// Reads for which the kernel should have told when the bytes came, and did not.
    pub unstamped: u64,
    /// The node that answered, as interned by [`Recorder::node`].
    pub node: Option<NodeId>,
    /// The node that had answered the VU before, where that is another one.
    pub left: Option<NodeId>,
}

/// A node's label, interned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeId(u16);

/// Collects a worker's samples and closes one window per second.
#[derive(Debug)]
pub struct Recorder {
    window: Window,
    closed: Vec<(u64, Window)>,
    second: u64,
    /// Where the open window ends.
    boundary: Duration,
    in_flight: Vec<u64>,
    iterating: Vec<u64>,
    vus: Vec<u64>,
    /// VUs that wait on purpose.
    pausing: Vec<u64>,
    /// VUs that are in a WebSocket session.
    in_session: Vec<u64>,
    /// Open sessions, by series.
    sessions: Vec<u64>,
    /// Up to when the VUs' time is integrated.
    integrated: Duration,
    nodes: Vec<String>,
    /// Boxed: hardly any run has one.
    tap: Option<Box<Tap>>,
}

const SECOND: Duration = Duration::from_secs(1);

impl Recorder {
    /// A recorder for so many series and scenarios.
    #[must_use]
    pub fn new(series: usize, scenarios: usize) -> Recorder {
        Recorder {
            window: Window::new(series, scenarios),
            closed: Vec::new(),
            second: 0,
            boundary: SECOND,
            in_flight: vec![0; series],
            iterating: vec![0; scenarios],
            vus: vec![0; scenarios],
            pausing: vec![0; scenarios],
            in_session: vec![0; scenarios],
            sessions: vec![0; series],
            integrated: Duration::ZERO,
            nodes: Vec::new(),
            tap: None,
        }
    }

    /// The same, which keeps single requests as well.
    #[must_use]
    pub fn tapped(self, sampling: Sampling) -> Recorder {
        Recorder { tap: Some(Box::new(Tap::new(sampling))), ..self }
    }

    /// Single requests since the last call; `None` where none were kept.
    pub fn take_points(&mut self) -> Option<Points> {
        self.tap.as_mut()?.take()
    }

    /// The id of a node's label. Beyond [`MAX_NODES`] labels, all are one.
    pub fn node(&mut self, label: &str) -> NodeId {
        if let Some(at) = self.nodes.iter().position(|known| known == label) {
            return NodeId(at as u16);
        }
        if self.nodes.len() < MAX_NODES {
            self.nodes.push(label.to_owned());
        } else if self.nodes.len() == MAX_NODES {
            self.nodes.push(OTHER_NODES.to_owned());
        }
        NodeId((self.nodes.len() - 1) as u16)
    }

    /// A request begins.
    pub fn request_started(&mut self, now: Duration, series: usize) {
        self.roll(now);
        self.window.series[series].requests.scheduled += 1;
        self.in_flight[series] += 1;
    }

    /// A request is over.
    pub fn request_ended(&mut self, now: Duration, series: usize, sample: &Sample) {
        self.roll(now);
        self.in_flight[series] -= 1;
        if let Some(tap) = &mut self.tap {
            tap.request(now, series, sample);
        }
        let s = &mut self.window.series[series];
        s.requests.end(sample.ended);
        s.sent += u64::from(sample.sent);
        s.retried += u64::from(sample.retried);
        s.connections += sample.connections;
        s.resumed += sample.resumed;
        s.http2 += sample.http2;
        s.moved += u64::from(sample.left.is_some());
        s.bytes_sent += sample.bytes.0;
        s.bytes_received += sample.bytes.1;
        s.unstamped += sample.unstamped;
        if let Some(status) = sample.status {
            *s.statuses.entry(status).or_default() += 1;
        }
        let phases = &sample.phases;
        if !phases.blocked.is_zero() {
            s.blocked.record(phases.blocked);
        }
        if !phases.connecting.is_zero() {
            s.connecting.record(phases.connecting);
        }
        if !phases.tls_handshaking.is_zero() {
            s.tls_handshaking.record(phases.tls_handshaking);
        }
        match sample.ended {
            Ended::Completed => {
                let duration = phases.duration();
                s.duration.record(duration);
                s.sending.record(phases.sending);
                s.waiting.record(phases.waiting);
                s.receiving.record(phases.receiving);
                if let Some(delay) = sample.delay {
                    s.generator_delay.record(delay);
                    s.duration_corrected.record(duration.saturating_sub(delay));
                }
            }
            Ended::Failed(kind) => {
                *s.errors.entry(kind).or_default() += 1;
                s.failed_duration.record(sample.elapsed);
            }
            Ended::Interrupted => s.interrupted_age.record(sample.elapsed),
        }
        if let Some(NodeId(left)) = sample.left {
            let label = &self.nodes[usize::from(left)];
            s.nodes.entry(label.clone()).or_default().left += 1;
        }
        if let Some(NodeId(node)) = sample.node {
            let label = &self.nodes[usize::from(node)];
            // Not `entry`: it wants a copy of the label, request after request.
            if !s.nodes.contains_key(label) {
                s.nodes.insert(label.clone(), crate::window::NodeWindow::default());
            }
            if let Some(node) = s.nodes.get_mut(label) {
                match sample.ended {
                    Ended::Completed => {
                        node.completed += 1;
                        node.duration.record(phases.duration());
                    }
                    Ended::Failed(_) => node.failed += 1,
                    Ended::Interrupted => {}
                }
            }
        }
    }

    /// An iteration begins.
    pub fn iteration_started(&mut self, now: Duration, scenario: usize) {
        self.roll(now);
        self.window.scenarios[scenario].iterations.scheduled += 1;
        self.iterating[scenario] += 1;
    }

    /// An iteration is over.
    pub fn iteration_ended(&mut self, now: Duration, scenario: usize, ended: Ended, took: Duration) {
        self.roll(now);
        self.iterating[scenario] -= 1;
        if let Some(tap) = &mut self.tap {
            tap.iteration(now, scenario, ended, took);
        }
        let s = &mut self.window.scenarios[scenario];
        s.iterations.end(ended);
        if ended == Ended::Completed {
            s.iteration_duration.record(took);
        }
    }

    /// Iterations that were due and did not begin: no VU was free, or the time was over. `late`: the generator was
    /// behind its schedule, so that the VUs may not be to blame.
    pub fn iterations_dropped(&mut self, now: Duration, scenario: usize, count: u64, late: bool) {
        self.roll(now);
        let s = &mut self.window.scenarios[scenario];
        s.iterations.scheduled += count;
        s.iterations.dropped += count;
        s.dropped_late += if late { count } else { 0 };
    }

    /// How long after it was due an iteration began.
    pub fn arrival_lateness(&mut self, now: Duration, scenario: usize, late: Duration) {
        self.roll(now);
        self.window.scenarios[scenario].arrival_lateness.record(late);
    }

    /// How long after it was due an iteration was completed.
    pub fn iteration_response(&mut self, now: Duration, scenario: usize, response: Duration) {
        self.roll(now);
        self.window.scenarios[scenario].response_time.record(response);
    }

    /// How long after its iteration was due the first request of it was completed.
    pub fn request_response(&mut self, now: Duration, series: usize, response: Duration) {
        self.roll(now);
        self.window.series[series].response_time.record(response);
    }

    /// A VU begins to wait on purpose. Its time is counted where it passes, not where the wait ends.
    pub fn pause_started(&mut self, now: Duration, scenario: usize) {
        self.roll(now);
        self.integrate(now);
        self.pausing[scenario] += 1;
    }

    /// A VU waits no longer.
    pub fn pause_ended(&mut self, now: Duration, scenario: usize) {
        self.roll(now);
        self.integrate(now);
        self.pausing[scenario] -= 1;
    }

    /// A VU becomes active.
    pub fn vu_started(&mut self, now: Duration, scenario: usize) {
        self.roll(now);
        self.integrate(now);
        self.vus[scenario] += 1;
    }

    /// A VU is no longer active.
    pub fn vu_stopped(&mut self, now: Duration, scenario: usize) {
        self.roll(now);
        self.integrate(now);
        self.vus[scenario] -= 1;
    }

    /// A duration that spans several exchanges.
    pub fn trend(&mut self, now: Duration, name: &str, value: Duration) {
        self.roll(now);
        if !self.window.trends.contains_key(name) {
            self.window.trends.insert(name.to_owned(), crate::histogram::Latency::default());
        }
        if let Some(trend) = self.window.trends.get_mut(name) {
            trend.record(value);
        }
    }

    /// A response passed a check, or did not.
    pub fn check(&mut self, now: Duration, name: &str, passed: bool) {
        self.roll(now);
        if let Some(tap) = &mut self.tap {
            tap.check(now, name, passed);
        }
        match self.window.checks.get_mut(name) {
            Some(check) => check.count(passed),
            None => self.window.checks.entry(name.to_owned()).or_default().count(passed),
        }
    }

    /// A publish that was a step is over.
    pub fn published(&mut self, now: Duration, scenario: usize, succeeded: bool) {
        self.roll(now);
        self.window.scenarios[scenario].published.count(succeeded);
    }

    /// How late the event loop was.
    pub fn lag(&mut self, now: Duration, lag: Duration) {
        self.roll(now);
        self.window.generator.lag.record(lag);
    }

    /// CPU and wall time of the worker's thread since the last call, and the time in which it was ready to run and
    /// others ran. Put into the window that is open.
    pub fn cpu(&mut self, cpu: Duration, wall: Duration, queued: Duration) {
        let generator = &mut self.window.generator;
        generator.queued_ns += nanos(queued);
        generator.cpu_ns += nanos(cpu);
        generator.wall_ns += nanos(wall);
        let permille = nanos(cpu) * 1000 / nanos(wall).max(1);
        generator.busiest_permille = generator.busiest_permille.max(permille);
    }

    /// Closes every window that is over at `now`.
    pub fn roll(&mut self, now: Duration) {
        while now >= self.boundary {
            self.close(self.boundary);
            self.second += 1;
            self.boundary += SECOND;
        }
    }

    /// Windows closed since the last call, oldest first, each with its second.
    pub fn take_closed(&mut self) -> Vec<(u64, Window)> {
        std::mem::take(&mut self.closed)
    }

    /// Counts all that is under way as interrupted: who would have ended it is gone. Its age is not known any more.
    pub fn abandon(&mut self, now: Duration) {
        self.roll(now);
        self.integrate(now);
        for (at, series) in self.window.series.iter_mut().enumerate() {
            series.requests.interrupted += std::mem::take(&mut self.in_flight[at]);
            let sessions = std::mem::take(&mut self.sessions[at]);
            if sessions > 0 {
                series.sockets.get_or_insert_default().sessions.interrupted += sessions;
            }
        }
        for (at, scenario) in self.window.scenarios.iter_mut().enumerate() {
            scenario.iterations.interrupted += std::mem::take(&mut self.iterating[at]);
        }
        for counts in [&mut self.vus, &mut self.pausing, &mut self.in_session] {
            counts.fill(0);
        }
    }

    /// Closes the last window at `now`, in the middle of its second, and returns what is left.
    #[must_use]
    pub fn finish(mut self, now: Duration) -> Vec<(u64, Window)> {
        self.roll(now);
        self.close(now);
        self.closed
    }

    fn close(&mut self, end: Duration) {
        self.integrate(end);
        let next = self.window.successor();
        let mut window = std::mem::replace(&mut self.window, next);
        let from = SECOND * u32::try_from(self.second).unwrap_or(u32::MAX);
        window.span_ns = Some((nanos(from), nanos(end)));
        for (at, series) in window.series.iter_mut().enumerate() {
            series.requests.carried_out = self.in_flight[at];
            self.window.series[at].requests.carried_in = self.in_flight[at];
            if let Some(sockets) = &mut series.sockets {
                sockets.sessions.carried_out = self.sessions[at];
            }
            if self.sessions[at] > 0 {
                self.window.series[at].sockets.get_or_insert_default().sessions.carried_in = self.sessions[at];
            }
        }
        for (at, scenario) in window.scenarios.iter_mut().enumerate() {
            scenario.iterations.carried_out = self.iterating[at];
            scenario.vus = self.vus[at];
            self.window.scenarios[at].iterations.carried_in = self.iterating[at];
        }
        assert!(window.balanced(), "a window's counts do not add up: {window:?}");
        self.closed.push((self.second, window));
    }

    fn integrate(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.integrated).as_nanos();
        self.integrated = self.integrated.max(now);
        for (at, scenario) in self.window.scenarios.iter_mut().enumerate() {
            scenario.vu_time_ns += passed * u128::from(self.vus[at]);
            scenario.pause_ns += passed * u128::from(self.pausing[at]);
            scenario.session_ns += passed * u128::from(self.in_session[at]);
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::ErrorKind;
    use proptest::prelude::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn sample(ended: Ended) -> Sample {
        Sample {
            ended,
            status: None,
            phases: Phases { waiting: ms(3), ..Phases::default() },
            elapsed: ms(3),
            sent: true,
            retried: false,
            connections: 0,
            resumed: 0,
            http2: 0,
            bytes: (10, 20),
            delay: None,
            unstamped: 0,
            node: None,
            left: None,
        }
    }

    #[test]
    fn a_request_over_a_boundary_is_carried() {
        let mut recorder = Recorder::new(1, 1);
        recorder.request_started(ms(900), 0);
        recorder.request_ended(ms(2100), 0, &sample(Ended::Completed));
        let windows = recorder.finish(ms(2500));
        let carries: Vec<(u64, u64)> =
            windows.iter().map(|(_, w)| (w.series[0].requests.carried_in, w.series[0].requests.carried_out)).collect();
        assert_eq!(carries, [(0, 1), (1, 1), (1, 0)]);
        assert_eq!(windows[2].1.span_ns, Some((2_000_000_000, 2_500_000_000)));
    }

    #[test]
    fn vu_time_is_integrated_exactly() {
        let mut recorder = Recorder::new(1, 1);
        recorder.vu_started(ms(250), 0);
        recorder.vu_started(ms(500), 0);
        recorder.pause_started(ms(600), 0);
        recorder.pause_ended(ms(1400), 0);
        recorder.vu_stopped(ms(1500), 0);
        let windows = recorder.finish(ms(2000));
        let vu_ms: Vec<u128> = windows.iter().map(|(_, w)| w.scenarios[0].vu_time_ns / 1_000_000).collect();
        assert_eq!(vu_ms, [750 + 500, 1000 + 500, 0]);
        let pause_ms: Vec<u128> = windows.iter().map(|(_, w)| w.scenarios[0].pause_ns / 1_000_000).collect();
        assert_eq!(pause_ms, [400, 400, 0]);
        assert_eq!(windows[0].1.scenarios[0].vus, 2);
    }

    #[test]
    fn nodes_beyond_the_limit_are_one() {
        let mut recorder = Recorder::new(1, 1);
        let ids: Vec<NodeId> = (0..100).map(|n| recorder.node(&format!("node{n}"))).collect();
        assert_eq!(ids[MAX_NODES], ids[99]);
        assert_ne!(ids[0], ids[1]);
        assert_eq!(recorder.node("node0"), ids[0]);
    }

    proptest! {
        #[test]
        fn whatever_happens_the_counts_are_conserved(steps in prop::collection::vec((0u64..700, 0u8..4), 1..200)) {
            let mut recorder = Recorder::new(1, 1);
            let (mut now, mut open, mut started) = (0, 0u64, 0u64);
            for (pause, what) in steps {
                now += pause;
                if what == 0 || open == 0 {
                    recorder.request_started(ms(now), 0);
                    (open, started) = (open + 1, started + 1);
                } else {
                    let ended = [Ended::Completed, Ended::Failed(ErrorKind::Reset), Ended::Interrupted][usize::from(what - 1)];
                    recorder.request_ended(ms(now), 0, &sample(ended));
                    open -= 1;
                }
            }
            let mut all = Window::default();
            for (_, window) in recorder.finish(ms(now)) {
                prop_assert!(window.balanced());
                all.merge(&window);
            }
            let requests = all.series[0].requests;
            prop_assert_eq!(requests.scheduled, started);
            prop_assert_eq!(requests.ended() + open, started);
        }
    }
}
