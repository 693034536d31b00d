//! What a server was used for: the busiest hour of its own history, held against its capacity.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Requests in the busiest minutes of an hour, as a multiple of its mean: an assumption, and named as such.
pub const PEAK_FACTOR: f64 = 2.0;

const HOUR_S: i64 = 3600;

/// A server's history, by hour.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// Days that were asked for.
    pub days: f64,
    /// Requests to content in them.
    pub requests: u64,
    /// Content items that they went to.
    pub items: usize,
    /// Beginning of the hour with the most, UTC.
    pub busiest_hour: String,
    /// Requests in it.
    pub busiest_requests: u64,
    /// The same per second, on average over the hour.
    pub requests_per_second: f64,
    /// [`PEAK_FACTOR`].
    pub peak_factor: f64,
    /// Share of the measured plateau that the peak within that hour needs.
    pub share_of_plateau: f64,
}

/// Counts requests by hour.
#[derive(Debug, Default)]
pub struct Tally {
    hours: BTreeMap<i64, u64>,
    items: BTreeSet<String>,
}

impl Tally {
    /// A request to an item, seconds since 1970.
    pub fn add(&mut self, at_s: i64, item: &str) {
        *self.hours.entry(at_s.div_euclid(HOUR_S)).or_default() += 1;
        if !self.items.contains(item) {
            self.items.insert(item.to_owned());
        }
    }

    /// The history against a plateau; `None` where nothing was used.
    #[must_use]
    pub fn usage(&self, days: f64, plateau_per_s: f64) -> Option<Usage> {
        // Of equal hours the latest.
        let (hour, requests) = self.hours.iter().max_by_key(|(hour, requests)| (**requests, **hour))?;
        let requests_per_second = *requests as f64 / HOUR_S as f64;
        let busiest_hour = jiff::Timestamp::from_second(hour * HOUR_S).ok()?.to_string();
        Some(Usage {
            days,
            requests: self.hours.values().sum(),
            items: self.items.len(),
            busiest_hour,
            busiest_requests: *requests,
            requests_per_second,
            peak_factor: PEAK_FACTOR,
            share_of_plateau: PEAK_FACTOR * requests_per_second / plateau_per_s,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_hour_against_the_plateau() {
        let mut tally = Tally::default();
        (0..100).for_each(|n| tally.add(1_760_000_000 + 36 * n, "a"));
        let noon = 1_760_011_200;
        (0..7200).for_each(|n| tally.add(noon + n / 2, if n % 2 == 0 { "a" } else { "b" }));
        let usage = tally.usage(7.0, 40.0).unwrap();
        assert_eq!((usage.requests, usage.items, usage.busiest_requests), (7300, 2, 7200));
        assert_eq!(usage.busiest_hour, "2025-10-09T12:00:00Z");
        assert!((usage.requests_per_second - 2.0).abs() < 1e-12 && (usage.share_of_plateau - 0.1).abs() < 1e-12);
        assert_eq!(Tally::default().usage(7.0, 40.0), None);
    }
}
