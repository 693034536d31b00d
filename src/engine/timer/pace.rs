//! How often the kernel's timer may wake a worker: the switch between precision and cheapness.
//!
//! A wake-up costs more than a request. Up to some thousands of them per second each wait has its own, and is late by
//! some tens of microseconds. Beyond that they are held apart, and what is due in between is released together.

use std::time::Duration;

use tokio::time::Instant;

/// Between two wake-ups when there are many: 12,500 per second. Twenty thousand and more cost a core's better half.
pub(super) const MANY: Duration = Duration::from_micros(80);
/// The same for a worker whose core is nearly used up.
pub(super) const BUSY: Duration = Duration::from_micros(200);
/// So many may be ahead of that: arrivals at random come in clusters, and a cluster is not a rate.
const AHEAD: u32 = 64;

/// Decides when the next wake-up may be. A leaky bucket: each wake-up is worth one interval of time, and [`AHEAD`] of
/// them may be had in advance.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// The last wake-up, and when those so far are paid for.
    last: Option<(Instant, Instant)>,
    busy: bool,
}

impl Pace {
    /// Whether the worker's core is nearly used up.
    pub(super) fn set_busy(&mut self, busy: bool) {
        self.busy = busy;
    }

    fn interval(&self) -> Duration {
        if self.busy { BUSY } else { MANY }
    }

    /// The worker was woken.
    pub(super) fn woke(&mut self, now: Instant) {
        let interval = self.interval();
        // At most what may be in advance is owed, also by one who was woken for other reasons.
        let most = now + interval * AHEAD;
        let paid = self.last.map_or(now, |(_, paid)| paid.max(now)) + interval;
        self.last = Some((now, paid.min(most)));
    }

    /// When to be woken for something that is due at `due`: then, or later.
    pub(super) fn next(&self, due: Instant) -> Instant {
        let Some((woke, paid)) = self.last else { return due };
        let ahead = self.interval() * (AHEAD - 1);
        // Never longer than one interval, also where more is owed from a time in which it was a longer one.
        let earliest = paid.checked_sub(ahead).unwrap_or(woke).min(woke + self.interval());
        due.max(earliest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wakes for arrivals at these offsets (ns) as a timer without any lateness would: how late each was, in ns, and
    /// how many wake-ups there were.
    fn lateness(pace: &mut Pace, start: Instant, due: &[u64]) -> (Vec<u64>, usize) {
        let (mut late, mut wakes, mut at) = (Vec::new(), 0, 0);
        while at < due.len() {
            let now = pace.next(start + Duration::from_nanos(due[at]));
            pace.woke(now);
            wakes += 1;
            let now = u64::try_from((now - start).as_nanos()).unwrap();
            while at < due.len() && due[at] <= now {
                late.push(now - due[at]);
                at += 1;
            }
        }
        (late, wakes)
    }

    fn even(per_second: u64, count: u64) -> Vec<u64> {
        (0..count).map(|i| i * 1_000_000_000 / per_second).collect()
    }

    #[test]
    fn ten_thousand_per_second_are_woken_for_one_by_one() {
        let (late, wakes) = lateness(&mut Pace::default(), Instant::now(), &even(10_000, 10_000));
        assert_eq!((late.iter().max(), wakes), (Some(&0), 10_000));
    }

    #[test]
    fn fifty_thousand_per_second_share_their_wake_ups() {
        let (late, wakes) = lateness(&mut Pace::default(), Instant::now(), &even(50_000, 50_000));
        assert!(late.iter().all(|&ns| ns <= 80_000), "{:?}", late.iter().max());
        assert!((12_500..12_700).contains(&wakes), "{wakes}");
    }

    #[test]
    fn a_busy_worker_is_woken_less_often_and_recovers() {
        let mut pace = Pace::default();
        let start = Instant::now();
        pace.set_busy(true);
        let (late, wakes) = lateness(&mut pace, start, &even(50_000, 50_000));
        assert!(late.iter().all(|&ns| ns <= 200_000));
        assert!((5_000..5_200).contains(&wakes), "{wakes}");
        pace.set_busy(false);
        let later: Vec<u64> = even(10_000, 10_000).iter().map(|ns| ns + 1_000_000_000).collect();
        let (late, _) = lateness(&mut pace, start, &later);
        assert!(late.iter().all(|&ns| ns <= 80_000), "{:?}", late.iter().max());
        assert!(late[1_000..].iter().all(|&ns| ns == 0), "what was owed is paid within a tenth of a second");
    }

    #[test]
    fn a_cluster_of_arrivals_is_not_a_rate() {
        let mut pace = Pace::default();
        // Fifty within 50 µs, a hundred times per second.
        let due: Vec<u64> = (0..5_000).map(|i| i / 50 * 10_000_000 + i % 50 * 1_000).collect();
        let (late, wakes) = lateness(&mut pace, Instant::now(), &due);
        assert_eq!((late.iter().max(), wakes), (Some(&0), 5_000));
    }

    #[test]
    fn a_rate_between_the_two_is_never_late_by_more_than_the_interval() {
        for per_second in [12_000, 13_000, 15_000, 20_000, 30_000] {
            let (late, wakes) = lateness(&mut Pace::default(), Instant::now(), &even(per_second, 30_000));
            assert!(late.iter().all(|&ns| ns <= 80_000), "{per_second}");
            assert!(wakes as u64 * per_second <= 30_000 * 12_700, "{per_second}: {wakes}");
        }
    }
}
