//! The one table of metrics: k6's names and kinds, and how each is read off a window.
//!
//! What k6 counts and we do not mix: `http_req_duration` is that of completed requests; that of failed ones is
//! `http_req_duration{expected_response:false}`.

use crate::histogram::Latency;
use crate::units::nearest;
use crate::window::{ScenarioWindow, SeriesWindow, SocketWindow, Window};

/// What a metric can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `count`, `rate` (per second).
    Counter,
    /// `value`: the last one.
    Gauge,
    /// `rate`: the share, 0..=1.
    Rate,
    /// `avg`, `min`, `med`, `max`, `p(N)`.
    Trend,
}

impl Kind {
    /// The aggregations that it knows, for people.
    #[must_use]
    pub fn aggregations(self) -> &'static str {
        match self {
            Kind::Counter => "count, rate",
            Kind::Gauge => "value",
            Kind::Rate => "rate",
            Kind::Trend => "avg, min, med, max, p(N)",
        }
    }
}

/// Which part of a request metric is meant; at most one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Narrow {
    /// All of it.
    All,
    /// Responses with this status.
    Status(u16),
    /// What this node answered: the value of its affinity cookie.
    Node(String),
    /// Completed requests, or failed ones.
    Expected(bool),
    /// The check of this name.
    Check(String),
}

/// Where a metric is kept.
#[derive(Debug, Clone, Copy)]
enum Source {
    Requests(fn(&SeriesWindow, &Narrow, &mut Reading)),
    Iterations(fn(&ScenarioWindow, &mut Reading)),
    /// Of the window, by the metric's own name: not of one scenario.
    Named,
    /// The checks of the window, by their names.
    Checks,
}

/// One metric.
#[derive(Debug)]
pub struct Metric {
    /// k6's name where k6 has it.
    pub name: &'static str,
    /// What it can be asked.
    pub kind: Kind,
    /// Unit of its values, empty where they are counts or shares.
    pub unit: &'static str,
    source: Source,
    /// Tags by which it can be narrowed, beside `scenario` and the tags of scenarios.
    pub tags: &'static [&'static str],
}

/// What was read of a metric, over one window or many.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    /// Windows that it was read off.
    pub windows: u64,
    /// Counter: events. Rate: those that count.
    pub count: u64,
    /// Rate: all events.
    pub total: u64,
    /// Trend: the values.
    pub latency: Latency,
    /// Gauge: the last value.
    pub value: f64,
}

impl Reading {
    /// Adds a later one.
    pub fn merge(&mut self, later: &Reading) {
        self.windows += later.windows;
        self.count += later.count;
        self.total += later.total;
        self.latency.merge(&later.latency);
        self.value = later.value;
    }

    fn all_of(&mut self, latency: &Latency) {
        self.latency.merge(latency);
    }

    /// A phase that is recorded only where it was not zero: the other requests had none of it.
    fn with_zeros(&mut self, latency: &Latency, series: &SeriesWindow) {
        self.latency.merge(latency);
        let ended = series.requests.completed + series.requests.failed;
        self.latency.record_n(std::time::Duration::ZERO, ended.saturating_sub(latency.count()));
    }
}

const STEP: &[&str] = &["step", "group"];

const fn requests(
    name: &'static str,
    kind: Kind,
    unit: &'static str,
    read: fn(&SeriesWindow, &Narrow, &mut Reading),
) -> Metric {
    Metric { name, kind, unit, source: Source::Requests(read), tags: STEP }
}

const fn iterations(
    name: &'static str,
    kind: Kind,
    unit: &'static str,
    read: fn(&ScenarioWindow, &mut Reading),
) -> Metric {
    Metric { name, kind, unit, source: Source::Iterations(read), tags: &[] }
}

const fn named(name: &'static str) -> Metric {
    Metric { name, kind: Kind::Trend, unit: "ms", source: Source::Named, tags: &[] }
}

/// Every metric. A new one is a new row.
pub const METRICS: &[Metric] = &[
    Metric {
        tags: &["step", "group", "status", "node", "expected_response"],
        ..requests("http_reqs", Kind::Counter, "", http_reqs)
    },
    Metric { tags: &["step", "group", "node"], ..requests("http_req_failed", Kind::Rate, "", http_req_failed) },
    Metric {
        tags: &["step", "group", "node", "expected_response"],
        ..requests("http_req_duration", Kind::Trend, "ms", http_req_duration)
    },
    requests("http_req_blocked", Kind::Trend, "ms", |s, _, r| r.with_zeros(&s.blocked, s)),
    requests("http_req_connecting", Kind::Trend, "ms", |s, _, r| r.with_zeros(&s.connecting, s)),
    requests("http_req_tls_handshaking", Kind::Trend, "ms", |s, _, r| r.with_zeros(&s.tls_handshaking, s)),
    requests("http_req_sending", Kind::Trend, "ms", |s, _, r| r.all_of(&s.sending)),
    requests("http_req_waiting", Kind::Trend, "ms", |s, _, r| r.all_of(&s.waiting)),
    requests("http_req_receiving", Kind::Trend, "ms", |s, _, r| r.all_of(&s.receiving)),
    requests("http_req_response_time", Kind::Trend, "ms", |s, _, r| r.all_of(&s.response_time)),
    requests("http_req_duration_corrected", Kind::Trend, "ms", |s, _, r| r.all_of(&s.duration_corrected)),
    requests("generator_delay", Kind::Trend, "ms", |s, _, r| r.all_of(&s.generator_delay)),
    requests("data_sent", Kind::Counter, "bytes", |s, _, r| r.count += s.bytes_sent),
    requests("data_received", Kind::Counter, "bytes", |s, _, r| r.count += s.bytes_received),
    iterations("iterations", Kind::Counter, "", |s, r| r.count += s.iterations.completed + s.iterations.failed),
    iterations("iteration_duration", Kind::Trend, "ms", |s, r| r.all_of(&s.iteration_duration)),
    iterations("iteration_response_time", Kind::Trend, "ms", |s, r| r.all_of(&s.response_time)),
    iterations("arrival_lateness", Kind::Trend, "ms", |s, r| r.all_of(&s.arrival_lateness)),
    iterations("dropped_iterations", Kind::Counter, "", |s, r| r.count += s.iterations.dropped),
    iterations("interrupted_iterations", Kind::Counter, "", |s, r| r.count += s.iterations.interrupted),
    iterations("vus", Kind::Gauge, "", |s, r| r.value += s.vus as f64),
    requests("ws_connecting", Kind::Trend, "ms", |s, _, r| sockets(s, |ws| r.all_of(&ws.connecting))),
    requests("ws_session_duration", Kind::Trend, "ms", |s, _, r| sockets(s, |ws| r.all_of(&ws.duration))),
    requests("ws_expect_duration", Kind::Trend, "ms", |s, _, r| sockets(s, |ws| r.all_of(&ws.expected))),
    requests("ws_sessions", Kind::Counter, "", |s, _, r| {
        sockets(s, |ws| r.count += ws.sessions.completed + ws.sessions.failed);
    }),
    requests("ws_session_failed", Kind::Rate, "", |s, _, r| {
        sockets(s, |ws| {
            r.count += ws.sessions.failed;
            r.total += ws.sessions.completed + ws.sessions.failed;
        });
    }),
    requests("ws_msgs_sent", Kind::Counter, "", |s, _, r| sockets(s, |ws| r.count += ws.sent)),
    requests("ws_msgs_received", Kind::Counter, "", |s, _, r| sockets(s, |ws| r.count += ws.received)),
    Metric { name: "checks", kind: Kind::Rate, unit: "", source: Source::Checks, tags: &["check"] },
    named("publish_create"),
    named("publish_upload"),
    named("publish_queue"),
    named("publish_restore"),
    named("publish_launch"),
    named("publish_first_response"),
    named("publish_total"),
];

fn sockets(series: &SeriesWindow, mut read: impl FnMut(&SocketWindow)) {
    series.sockets.iter().for_each(|sockets| read(sockets));
}

fn http_reqs(series: &SeriesWindow, narrow: &Narrow, reading: &mut Reading) {
    let requests = &series.requests;
    reading.count += match narrow {
        Narrow::All | Narrow::Check(_) => requests.completed + requests.failed,
        Narrow::Status(status) => series.statuses.get(status).copied().unwrap_or(0),
        Narrow::Node(node) => series.nodes.get(node).map_or(0, |node| node.completed + node.failed),
        Narrow::Expected(true) => requests.completed,
        Narrow::Expected(false) => requests.failed,
    };
}

fn http_req_failed(series: &SeriesWindow, narrow: &Narrow, reading: &mut Reading) {
    let (completed, failed) = match narrow {
        Narrow::Node(node) => series.nodes.get(node).map_or((0, 0), |node| (node.completed, node.failed)),
        _ => (series.requests.completed, series.requests.failed),
    };
    reading.count += failed;
    reading.total += completed + failed;
}

fn http_req_duration(series: &SeriesWindow, narrow: &Narrow, reading: &mut Reading) {
    match narrow {
        Narrow::Node(node) => {
            if let Some(node) = series.nodes.get(node) {
                reading.all_of(&node.duration);
            }
        }
        Narrow::Expected(false) => reading.all_of(&series.failed_duration),
        _ => reading.all_of(&series.duration),
    }
}

/// The metric of that name.
///
/// # Errors
/// The nearest known name, if one is near.
pub fn find(name: &str) -> Result<&'static Metric, Option<&'static str>> {
    METRICS.iter().find(|metric| metric.name == name).ok_or_else(|| {
        let names: Vec<&'static str> = METRICS.iter().map(|metric| metric.name).collect();
        nearest(name, names)
    })
}

impl Metric {
    /// Whether it is kept by scenario.
    #[must_use]
    pub fn is_by_scenario(&self) -> bool {
        !matches!(self.source, Source::Named | Source::Checks)
    }

    /// Whether it is kept by step.
    #[must_use]
    pub fn is_by_step(&self) -> bool {
        matches!(self.source, Source::Requests(_))
    }

    /// Whether it can be read of one scenario alone.
    #[must_use]
    pub fn is_of_scenarios(&self) -> bool {
        matches!(self.source, Source::Requests(_) | Source::Iterations(_))
    }

    /// Reads it off a window: of these series and these scenarios.
    #[must_use]
    pub fn read(&self, window: &Window, series: &[usize], scenarios: &[usize], narrow: &Narrow) -> Reading {
        let mut reading = Reading { windows: 1, ..Reading::default() };
        match self.source {
            Source::Requests(read) => {
                let measured = series.iter().filter_map(|&at| window.series.get(at));
                measured.for_each(|series| read(series, narrow, &mut reading));
            }
            Source::Iterations(read) => {
                let measured = scenarios.iter().filter_map(|&at| window.scenarios.get(at));
                measured.for_each(|scenario| read(scenario, &mut reading));
            }
            Source::Checks => {
                let of = |name: &str| !matches!(narrow, Narrow::Check(wanted) if wanted != name);
                for (_, check) in window.checks.iter().filter(|(name, _)| of(name)) {
                    reading.count += check.passes;
                    reading.total += check.passes + check.fails;
                }
            }
            Source::Named => {
                if let Some(latency) = window.trends.get(self.name) {
                    reading.latency.merge(latency);
                }
            }
        }
        reading
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Ended, ErrorKind};
    use std::time::Duration;

    fn window() -> Window {
        let mut window = Window::new(2, 1);
        for series in &mut window.series {
            series.requests.scheduled = 4;
            for _ in 0..3 {
                series.requests.end(Ended::Completed);
            }
            series.requests.end(Ended::Failed(ErrorKind::Status(503)));
            series.statuses.extend([(200, 3), (503, 1)]);
            series.duration.record_n(Duration::from_millis(2), 3);
            series.failed_duration.record(Duration::from_millis(90));
            series.connecting.record(Duration::from_millis(4));
        }
        window
    }

    #[test]
    fn a_metric_is_read_off_the_series_that_are_meant() {
        let window = window();
        let read = |name: &str, series: &[usize], narrow| find(name).unwrap().read(&window, series, &[0], &narrow);
        assert_eq!(read("http_reqs", &[0, 1], Narrow::All).count, 8);
        assert_eq!(read("http_reqs", &[1], Narrow::Status(503)).count, 1);
        let failed = read("http_req_failed", &[0, 1], Narrow::All);
        assert_eq!((failed.count, failed.total), (2, 8));
        assert_eq!(read("http_req_duration", &[0], Narrow::All).latency.max_ms(), Some(2.0));
        assert_eq!(read("http_req_duration", &[0], Narrow::Expected(false)).latency.count(), 1);
    }

    #[test]
    fn requests_without_a_phase_have_zero_of_it() {
        let connecting = find("http_req_connecting").unwrap().read(&window(), &[0], &[], &Narrow::All);
        assert_eq!((connecting.latency.count(), connecting.latency.mean_ms()), (4, Some(1.0)));
    }

    #[test]
    fn sessions_are_no_requests() {
        let mut window = Window::new(2, 1);
        let ws = window.series[1].sockets.get_or_insert_default();
        (ws.sessions.completed, ws.sessions.failed, ws.sent, ws.received) = (3, 1, 7, 9);
        ws.expected.record_n(Duration::from_millis(4), 7);
        let read = |name: &str, series: &[usize]| find(name).unwrap().read(&window, series, &[0], &Narrow::All);
        assert_eq!((read("ws_sessions", &[0, 1]).count, read("ws_sessions", &[0]).count), (4, 0));
        assert_eq!((read("ws_msgs_sent", &[1]).count, read("ws_msgs_received", &[1]).count), (7, 9));
        let failed = read("ws_session_failed", &[1]);
        assert_eq!((failed.count, failed.total, read("http_reqs", &[1]).count), (1, 4, 0));
        assert_eq!(read("ws_expect_duration", &[1]).latency.count(), 7);
    }

    #[test]
    fn names_are_unique_and_a_wrong_one_is_guessed() {
        let names: std::collections::BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), METRICS.len());
        assert_eq!(find("http_req_duratoin").unwrap_err(), Some("http_req_duration"));
        assert_eq!(find("temperature").unwrap_err(), None);
    }
}
