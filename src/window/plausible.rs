//! Whether a window that was read can have been measured: what adds windows up relies on it.

use super::{CheckWindow, Counts, Second, SeriesWindow, Window};
use crate::histogram::Latency;

/// More than any count of one second, or of a merge of seconds: a million of them can be added up.
const MOST: u64 = 1 << 44;
/// More than any sum of times, ns.
const MOST_NS: u128 = 1 << 90;

fn few(counts: &Counts) -> bool {
    let Counts { scheduled, completed, failed, dropped, interrupted, carried_in, carried_out } = *counts;
    [scheduled, completed, failed, dropped, interrupted, carried_in, carried_out].into_iter().all(|n| n < MOST)
}

fn short(latency: &Latency) -> bool {
    latency.count() < MOST && latency.clamped() < MOST && latency.sum_ns() < MOST_NS
}

fn checked(check: &CheckWindow) -> bool {
    check.passes < MOST && check.fails < MOST
}

fn series(s: &SeriesWindow) -> bool {
    let counts = [s.sent, s.retried, s.connections, s.resumed, s.http2, s.moved, s.bytes_sent, s.bytes_received];
    let latencies = [
        &s.duration,
        &s.failed_duration,
        &s.interrupted_age,
        &s.blocked,
        &s.connecting,
        &s.tls_handshaking,
        &s.sending,
        &s.waiting,
        &s.receiving,
        &s.response_time,
        &s.generator_delay,
        &s.duration_corrected,
    ];
    let sockets = |w: &super::SocketWindow| {
        let latencies = [&w.connecting, &w.duration, &w.failed_duration, &w.interrupted_age, &w.expected];
        few(&w.sessions)
            && [w.sent, w.received].into_iter().chain(w.errors.values().copied()).all(|n| n < MOST)
            && latencies.into_iter().all(short)
    };
    few(&s.requests)
        && counts.into_iter().chain([s.unstamped]).all(|n| n < MOST)
        && s.statuses.values().chain(s.errors.values()).all(|n| *n < MOST)
        && s.nodes.values().all(|node| node.completed < MOST && node.failed < MOST && short(&node.duration))
        && latencies.into_iter().all(short)
        && s.sockets.as_deref().is_none_or(sockets)
}

impl Window {
    /// Whether it can have been measured: counts that add up, none so great that adding windows would overflow.
    #[must_use]
    pub fn plausible(&self) -> bool {
        let scenarios = self.scenarios.iter().all(|s| {
            few(&s.iterations)
                && s.vus < MOST
                && s.dropped_late < MOST
                && [s.vu_time_ns, s.pause_ns, s.session_ns].into_iter().all(|ns| ns < MOST_NS)
                && [&s.iteration_duration, &s.response_time, &s.arrival_lateness].into_iter().all(short)
                && checked(&s.published)
        });
        let generator = &self.generator;
        scenarios
            && self.series.iter().all(series)
            && self.span_ns.is_none_or(|(from, to)| from <= to && to < 1 << 62)
            && self.trends.values().all(short)
            && self.checks.values().all(checked)
            && short(&generator.lag)
            && [generator.cpu_ns, generator.wall_ns, generator.queued_ns].into_iter().all(|ns| ns < 1 << 54)
            // After the bounds: this adds counts up.
            && self.balanced()
    }
}

impl Second {
    /// Whether it can have been measured.
    #[must_use]
    pub fn plausible(&self) -> bool {
        self.second < MOST && self.window.plausible()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::Part;

    #[test]
    fn what_cannot_have_been_measured_is_told() {
        let second = |counts: Counts| {
            let mut window = Window::new(1, 1);
            window.series[0].requests = counts;
            Second { second: 0, part: Part::Steady, window, host: super::super::HostSample::default() }
        };
        assert!(second(Counts::default()).plausible());
        let good = Counts { scheduled: 3, completed: 2, failed: 1, ..Counts::default() };
        assert!(second(good).plausible());
        assert!(!second(Counts { scheduled: 4, ..good }).plausible(), "it does not add up");
        let many = Counts { scheduled: MOST, completed: MOST, ..Counts::default() };
        assert!(!second(many).plausible(), "it could not be added up");
        let mut backwards = second(good);
        backwards.window.span_ns = Some((2, 1));
        assert!(!backwards.plausible());
    }
}
