//! Was it the server, or was it us? Judges the generator's own health, second by second and over a run.
//!
//! Knows no clock: everything is in the windows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::capacity::search::GeneratorState;
use crate::histogram::Latency;
use crate::outcome::{Blame, ErrorKind};
use crate::window::{GeneratorWindow, Second, SeriesWindow};

/// Share of one core that a worker may use before its VUs wait for it (`docs`: k6 asks for 20 % idle, too).
const BUSY: f64 = 0.85;
/// Lag that matters at any latency, ms.
const LAG_MS: f64 = 2.0;
/// Lag that matters as a share of the median latency.
const LAG_SHARE: f64 = 0.05;
/// Delay in reading responses that matters at any latency, ms.
const DELAY_MS: f64 = 1.0;
/// Delay in reading responses that matters as a share of the median latency.
const DELAY_SHARE: f64 = 0.05;
/// Share of the time in which a worker may wait for a core that others have.
const QUEUED: f64 = 0.05;
/// Share of the machine's CPU that the hypervisor may give to others.
const STEAL: f64 = 0.20;
/// Lag after which the event loop was not late but stood still: the process was stopped, or the machine slept.
const STANDSTILL_MS: f64 = 500.0;
/// Why seconds are limited in which it did, in [`Health::reasons`].
pub const STOOD_STILL: &str = "the event loop stood still";
/// Share of the seconds that may be limited in a valid run.
const LIMITED_SHARE: f64 = 0.05;

/// Whether the generator kept up in one second.
#[must_use]
pub fn state(second: &Second) -> GeneratorState {
    let window = &second.window;
    let (mut latency, mut delay) = (Latency::default(), Latency::default());
    for series in &window.series {
        latency.merge(&series.duration);
        delay.merge(&series.generator_delay);
    }
    let median = latency.quantile_ms(0.5).unwrap_or(0.0);
    let limited = |reason: String| GeneratorState::Limited { reason };
    let own = |series: &SeriesWindow| -> Option<ErrorKind> {
        series.errors.keys().copied().find(|kind| kind.blame() == Blame::Generator)
    };
    // Before what only delays: this failed for certain, and by us.
    if let Some(kind) = window.series.iter().find_map(own) {
        return limited(kind.describe());
    }
    let longest = window.generator.lag.max_ms().unwrap_or(0.0);
    if longest > STANDSTILL_MS {
        // However few responses waited for it, and however busy it was afterwards: in that time no request was sent.
        return limited(format!("{STOOD_STILL}: for {:.1} s", longest / 1000.0));
    }
    let busiest = window.generator.busiest_permille as f64 / 1000.0;
    if busiest > BUSY {
        return limited(format!("a worker thread was busy: {:.0} % of its core", 100.0 * busiest));
    }
    let late = match delay.quantile_ms(0.99) {
        // The kernel says how long responses waited for us: the error itself, not a sign of it.
        Some(delay) => delayed(delay, median, &window.generator),
        None => lagging(median, &window.generator),
    };
    if let Some(reason) = late {
        return limited(reason);
    }
    if window.scenarios.iter().any(|scenario| scenario.dropped_late > 0) {
        return limited("iterations were dropped because they were begun too late".to_owned());
    }
    let mut lateness = Latency::default();
    window.scenarios.iter().for_each(|scenario| lateness.merge(&scenario.arrival_lateness));
    let late = lateness.quantile_ms(0.99).unwrap_or(0.0);
    // Response times count from the schedule, and are longer by this.
    if late > LAG_MS.max(LAG_SHARE * median) {
        return limited(format!("iterations began late: p99 {late:.1} ms"));
    }
    if let Some(steal) = second.host.steal_share.filter(|&steal| steal > STEAL) {
        return limited(format!("the hypervisor gave the CPU to others: {:.0} % of it", 100.0 * steal));
    }
    GeneratorState::Healthy
}

/// Why responses that waited for so long at the 99th percentile spoil a second.
fn delayed(delay_ms: f64, median_ms: f64, generator: &GeneratorWindow) -> Option<String> {
    let queued = generator.queued_ns as f64 / generator.wall_ns.max(1) as f64;
    let why = if queued > QUEUED { ", because other processes took the CPU" } else { "" };
    (delay_ms > DELAY_MS.max(DELAY_SHARE * median_ms))
        .then(|| format!("responses that had arrived waited for us{why}: p99 {delay_ms:.1} ms"))
}

/// Why an event loop that was late spoils a second, where the kernel does not say how long responses waited.
fn lagging(median_ms: f64, generator: &GeneratorWindow) -> Option<String> {
    let lag = generator.lag.quantile_ms(0.9).unwrap_or(0.0);
    (lag > LAG_MS.max(LAG_SHARE * median_ms)).then(|| format!("the event loop was late: p90 {lag:.1} ms"))
}

/// The generator's health over the measured part of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// Seconds that were looked at.
    pub seconds: u64,
    /// Seconds in which the generator was the limit.
    pub limited_seconds: u64,
    /// Why, with the number of seconds: the first reason of each kind.
    pub reasons: BTreeMap<String, u64>,
    /// How late the event loops were.
    pub lag: Latency,
    /// How long responses waited between the kernel's receipt and our reading them; empty where the kernel does not say.
    #[serde(default)]
    pub delay: Latency,
    /// Reads for which the kernel should have told when the bytes came, and did not.
    #[serde(default)]
    pub unstamped: u64,
    /// CPU time of the workers, ns.
    pub cpu_ns: u64,
    /// Wall time of the workers, ns.
    pub wall_ns: u64,
    /// Greatest share of its core that one worker used in a second.
    pub busiest_worker: f64,
    /// Greatest share of all cores that this process used in a second.
    pub cpu_share_max: Option<f64>,
    /// Greatest share of all cores that the hypervisor gave to others in a second.
    pub steal_share_max: Option<f64>,
    /// Resident memory at the first and at the last of the seconds, bytes.
    pub memory_bytes: Option<(u64, u64)>,
    /// The most resident memory, bytes.
    pub peak_memory_bytes: Option<u64>,
    /// Most open files, and how many there may be.
    pub open_files: Option<(u64, u64)>,
}

impl Health {
    /// Takes one second into account.
    pub fn add(&mut self, second: &Second) {
        self.seconds += 1;
        if let GeneratorState::Limited { reason } = state(second) {
            // The second in which a loop goes on tells of those in which it stood still, of which nothing is known.
            let lost = second.window.generator.lag.max_ms().map_or(0, |lag_ms| (lag_ms / 1000.0) as u64);
            let seconds = 1 + lost.saturating_sub(1);
            self.limited_seconds = (self.limited_seconds + seconds).min(self.seconds);
            // The figure in a reason differs from second to second; what comes before it does not.
            let class = reason.split_once(": ").map_or(reason.as_str(), |(class, _)| class);
            *self.reasons.entry(class.to_owned()).or_default() += seconds;
        }
        let generator = &second.window.generator;
        self.lag.merge(&generator.lag);
        for series in &second.window.series {
            self.delay.merge(&series.generator_delay);
            self.unstamped += series.unstamped;
        }
        self.cpu_ns += generator.cpu_ns;
        self.wall_ns += generator.wall_ns;
        self.busiest_worker = self.busiest_worker.max(generator.busiest_permille as f64 / 1000.0);
        let host = &second.host;
        self.cpu_share_max = greatest(self.cpu_share_max, host.cpu_share);
        self.steal_share_max = greatest(self.steal_share_max, host.steal_share);
        if let Some(now) = host.memory_bytes {
            self.memory_bytes = Some((self.memory_bytes.map_or(now, |(first, _)| first), now));
        }
        self.peak_memory_bytes = self.peak_memory_bytes.max(host.peak_memory_bytes);
        if let (Some(open), Some(limit)) = (host.open_files, host.open_files_limit) {
            self.open_files = Some((self.open_files.map_or(open, |(most, _)| most.max(open)), limit));
        }
    }

    /// Whether the generator kept up: at most 5 % of the seconds were limited.
    #[must_use]
    pub fn kept_up(&self) -> bool {
        self.limited_seconds as f64 <= LIMITED_SHARE * self.seconds as f64
    }

    /// CPU time of the workers as a share of their cores.
    #[must_use]
    pub fn cpu_share(&self) -> Option<f64> {
        (self.wall_ns > 0).then(|| self.cpu_ns as f64 / self.wall_ns as f64)
    }
}

fn greatest(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::{HostSample, Part, Window};
    use std::time::Duration;

    fn second(lag_ms: u64, permille: u64, latency_ms: u64) -> Second {
        let mut window = Window::new(1, 1);
        window.generator.lag.record_n(Duration::from_millis(lag_ms), 50);
        window.generator.busiest_permille = permille;
        window.series[0].duration.record_n(Duration::from_millis(latency_ms), 100);
        Second { second: 0, part: Part::Steady, window, host: HostSample::default() }
    }

    #[test]
    fn a_lag_counts_against_the_latency_that_it_spoils() {
        assert_eq!(state(&second(1, 300, 20)), GeneratorState::Healthy);
        assert!(matches!(state(&second(9, 300, 20)), GeneratorState::Limited { .. }));
        assert_eq!(state(&second(9, 300, 1000)), GeneratorState::Healthy);
        assert!(matches!(state(&second(1, 900, 20)), GeneratorState::Limited { .. }));
    }

    #[test]
    fn where_the_kernel_says_how_long_responses_waited_nothing_else_is_asked() {
        let delayed = |delay_us: u64, latency_ms: u64, queued_permille: u64| {
            let mut second = second(9, 300, latency_ms);
            second.window.series[0].generator_delay.record_n(Duration::from_micros(delay_us), 100);
            second.window.generator.wall_ns = 1_000;
            second.window.generator.queued_ns = queued_permille;
            state(&second)
        };
        assert_eq!(delayed(900, 20, 0), GeneratorState::Healthy);
        assert_eq!(delayed(9_000, 200, 0), GeneratorState::Healthy);
        let reason = |state| match state {
            GeneratorState::Limited { reason } => reason,
            GeneratorState::Healthy => String::new(),
        };
        assert!(reason(delayed(1_100, 20, 10)).contains("waited for us: p99 1.1 ms"));
        assert!(reason(delayed(11_000, 200, 60)).contains("because other processes took the CPU"));
    }

    #[test]
    fn response_times_are_not_the_servers_where_iterations_begin_late() {
        let late = |late_us: u64, latency_ms: u64| {
            let mut second = second(0, 300, latency_ms);
            second.window.scenarios[0].arrival_lateness.record_n(Duration::from_micros(20), 98);
            second.window.scenarios[0].arrival_lateness.record_n(Duration::from_micros(late_us), 2);
            state(&second)
        };
        assert_eq!(late(1_900, 20), GeneratorState::Healthy);
        assert_eq!(late(9_000, 200), GeneratorState::Healthy);
        assert!(
            matches!(late(2_100, 20), GeneratorState::Limited { reason } if reason.contains("began late: p99 2.1 ms"))
        );
        let mut dropped = second(0, 300, 20);
        dropped.window.scenarios[0].dropped_late = 1;
        assert!(matches!(state(&dropped), GeneratorState::Limited { .. }));
    }

    #[test]
    fn ports_used_up_are_our_fault() {
        let mut spoilt = second(1, 100, 20);
        spoilt.window.series[0].errors.insert(ErrorKind::Ports, 1);
        assert!(matches!(state(&spoilt), GeneratorState::Limited { .. }));
    }

    #[test]
    fn a_loop_that_stood_still_spoils_the_seconds_that_it_slept() {
        let mut health = Health::default();
        (0..100).for_each(|_| health.add(&second(1, 300, 20)));
        let mut woken = second(0, 300, 1);
        woken.window.generator.lag.record(Duration::from_millis(7_900));
        // Hardly a response waited: the server was not asked.
        woken.window.series[0].generator_delay.record_n(Duration::from_micros(10), 1_000);
        assert!(
            matches!(state(&woken), GeneratorState::Limited { reason } if reason.ends_with("stood still: for 7.9 s"))
        );
        health.add(&woken);
        assert_eq!((health.limited_seconds, health.kept_up()), (7, false));
        // Nor is it hidden by how busy it was before and afterwards.
        woken.window.generator.busiest_permille = 990;
        assert!(matches!(state(&woken), GeneratorState::Limited { reason } if reason.starts_with(STOOD_STILL)));
    }

    #[test]
    fn one_bad_second_in_twenty_is_forgiven() {
        let mut health = Health::default();
        (0..19).for_each(|_| health.add(&second(1, 300, 20)));
        health.add(&second(1, 950, 20));
        assert!(health.kept_up());
        health.add(&second(1, 990, 20));
        assert!(!health.kept_up());
        assert_eq!(health.reasons.values().sum::<u64>(), 2);
        assert_eq!(health.reasons.len(), 1);
    }
}
