//! A latency distribution: an HDR histogram with its exact sum, mergeable, written as HdrHistogram V2.
//!
//! Knows no clock and no runtime. Values are microseconds, 3 significant digits, from 1 µs to [`MAX_US`], and
//! zero: what did not happen took no time, and a limit such as `max==0` must hold for it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

/// Significant decimal digits that a recorded value keeps.
pub const SIGNIFICANT_DIGITS: u8 = 3;
/// Greatest value that is told apart, 1 hour in µs. A longer one is recorded as this and counted in `clamped`.
pub const MAX_US: u64 = 3_600_000_000;

/// A distribution of durations. Empty costs nothing: the histogram is made at the first value.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Latency {
    histogram: Option<Box<Histogram<u64>>>,
    /// Exact, because the mean of a histogram's bucket midpoints is not.
    sum_ns: u128,
    clamped: u64,
}

impl Latency {
    /// Records one duration.
    pub fn record(&mut self, duration: Duration) {
        self.record_n(duration, 1);
    }

    /// Records the same duration `n` times.
    pub fn record_n(&mut self, duration: Duration, n: u64) {
        if n == 0 {
            return;
        }
        let ns = duration.as_nanos();
        // Rounded; in 64 bits, because a division of 128 costs more than all the rest.
        let us = duration.as_secs().saturating_mul(1_000_000);
        let us = us.saturating_add(u64::from((duration.subsec_nanos() + 500) / 1000)).max(u64::from(ns > 0));
        if us > MAX_US {
            self.clamped += n;
        }
        if self.histogram.is_none() {
            self.histogram = empty_histogram().map(Box::new);
        }
        if let Some(histogram) = &mut self.histogram {
            // Cannot fail: the histogram resizes itself and the value is clamped.
            let _ = histogram.record_n(us.min(MAX_US), n);
            self.sum_ns += ns * u128::from(n);
        }
    }

    /// Number of recorded values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.as_ref().map_or(0, |h| h.len())
    }

    /// Whether nothing was recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// How many values were longer than [`MAX_US`].
    #[must_use]
    pub fn clamped(&self) -> u64 {
        self.clamped
    }

    /// Sum of all values in nanoseconds, exact.
    #[must_use]
    pub fn sum_ns(&self) -> u128 {
        self.sum_ns
    }

    /// Mean in milliseconds, exact; `None` without data.
    #[must_use]
    pub fn mean_ms(&self) -> Option<f64> {
        let n = self.count();
        (n > 0).then(|| self.sum_ns as f64 / n as f64 / 1e6)
    }

    /// The value at quantile `q` in 0..=1, in milliseconds: the smallest recorded value with at least that share
    /// of all values at or below it (HdrHistogram's definition). `None` without data.
    #[must_use]
    pub fn quantile_ms(&self, q: f64) -> Option<f64> {
        let histogram = self.histogram.as_ref().filter(|h| !h.is_empty())?;
        Some(histogram.value_at_quantile(q.clamp(0.0, 1.0)) as f64 / 1e3)
    }

    /// Smallest value in milliseconds; `None` without data.
    #[must_use]
    pub fn min_ms(&self) -> Option<f64> {
        let histogram = self.histogram.as_ref().filter(|h| !h.is_empty())?;
        Some(histogram.min() as f64 / 1e3)
    }

    /// Greatest value in milliseconds; `None` without data.
    #[must_use]
    pub fn max_ms(&self) -> Option<f64> {
        let histogram = self.histogram.as_ref().filter(|h| !h.is_empty())?;
        Some(histogram.max() as f64 / 1e3)
    }

    /// Standard deviation in milliseconds; `None` without data.
    #[must_use]
    pub fn stdev_ms(&self) -> Option<f64> {
        let histogram = self.histogram.as_ref().filter(|h| !h.is_empty())?;
        Some(histogram.stdev() / 1e3)
    }

    /// Adds another distribution to this one. Associative, commutative, the empty one is neutral.
    pub fn merge(&mut self, other: &Latency) {
        self.sum_ns += other.sum_ns;
        self.clamped += other.clamped;
        match (&mut self.histogram, &other.histogram) {
            (_, None) => {}
            (Some(mine), Some(theirs)) => {
                // Cannot fail: a resizing histogram takes any other of the same precision.
                let _ = mine.add(theirs.as_ref());
            }
            (mine @ None, Some(theirs)) => *mine = Some(theirs.clone()),
        }
    }

    /// Takes the contents and leaves an empty distribution.
    #[must_use]
    pub fn take(&mut self) -> Latency {
        std::mem::take(self)
    }

    /// The same in a few kB, for distributions that are kept for long and looked at once.
    #[must_use]
    pub fn pack(&self) -> Packed {
        let hdr = self.histogram.as_deref().map(|histogram| {
            let mut bytes = Vec::new();
            // Cannot fail: the bytes go to memory, and the histogram's range is one that the format has.
            let _ = V2DeflateSerializer::new().serialize(histogram, &mut bytes);
            bytes.shrink_to_fit();
            bytes
        });
        Packed { hdr, sum_ns: self.sum_ns, clamped: self.clamped }
    }

    /// The histogram itself, in microseconds, for exports and plots; `None` without data.
    #[must_use]
    pub fn histogram(&self) -> Option<&Histogram<u64>> {
        self.histogram.as_deref()
    }
}

/// A [`Latency`] in HdrHistogram's V2 deflate encoding.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Packed {
    hdr: Option<Vec<u8>>,
    sum_ns: u128,
    clamped: u64,
}

impl Packed {
    /// The distribution as it was.
    #[must_use]
    pub fn unpack(&self) -> Latency {
        let histogram = self.hdr.as_deref().and_then(|bytes| unpack_histogram(bytes).ok());
        Latency { histogram: histogram.map(Box::new), sum_ns: self.sum_ns, clamped: self.clamped }
    }
}

fn unpack_histogram(mut bytes: &[u8]) -> Result<Histogram<u64>, hdrhistogram::serialization::DeserializeError> {
    let mut histogram: Histogram<u64> = Deserializer::new().deserialize(&mut bytes)?;
    histogram.auto(true);
    Ok(histogram)
}

fn empty_histogram() -> Option<Histogram<u64>> {
    let mut histogram = Histogram::new(SIGNIFICANT_DIGITS).ok()?;
    histogram.auto(true);
    Some(histogram)
}

/// The form on disk and on the wire. `hdr` is HdrHistogram's V2 deflate encoding in base64, which the reference
/// tools of other languages read.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    n: u64,
    sum_ns: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    clamped: u64,
    hdr: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes a reference")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Serialize for Latency {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(histogram) = &self.histogram else {
            return serializer.serialize_none();
        };
        let mut bytes = Vec::new();
        V2DeflateSerializer::new().serialize(histogram.as_ref(), &mut bytes).map_err(serde::ser::Error::custom)?;
        let wire = Wire {
            n: self.count(),
            sum_ns: self.sum_ns.to_string(),
            clamped: self.clamped,
            hdr: STANDARD.encode(bytes),
        };
        wire.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Latency {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let Some(wire) = Option::<Wire>::deserialize(deserializer)? else {
            return Ok(Latency::default());
        };
        let bytes = STANDARD.decode(&wire.hdr).map_err(D::Error::custom)?;
        let histogram = unpack_histogram(&bytes).map_err(D::Error::custom)?;
        if histogram.len() != wire.n {
            return Err(D::Error::custom(format!(
                "histogram has {} values, its line says {}",
                histogram.len(),
                wire.n
            )));
        }
        let sum_ns = wire.sum_ns.parse().map_err(D::Error::custom)?;
        Ok(Latency { histogram: Some(Box::new(histogram)), sum_ns, clamped: wire.clamped })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values_us: &[u64]) -> Latency {
        let mut latency = Latency::default();
        for &us in values_us {
            latency.record(Duration::from_micros(us));
        }
        latency
    }

    #[test]
    fn the_mean_is_exact_and_quantiles_keep_three_digits() {
        let latency = of(&[1_000, 2_000, 3_000, 4_000, 1_234_567]);
        assert_eq!(latency.mean_ms(), Some(1_244.567 / 5.0));
        let p100 = latency.quantile_ms(1.0).unwrap();
        assert!((p100 / 1_234.567 - 1.0).abs() < 1e-3, "{p100}");
        assert_eq!(latency.quantile_ms(0.2), Some(1.0));
    }

    #[test]
    fn no_data_is_none_never_zero() {
        let latency = Latency::default();
        assert_eq!((latency.mean_ms(), latency.quantile_ms(0.5), latency.max_ms()), (None, None, None));
        assert_eq!(serde_json::to_string(&latency).unwrap(), "null");
    }

    #[test]
    fn zero_is_zero_and_less_than_a_microsecond_is_one() {
        let zero = of(&[0]);
        assert_eq!((zero.min_ms(), zero.quantile_ms(0.5), zero.max_ms()), (Some(0.0), Some(0.0), Some(0.0)));
        let mut short = Latency::default();
        short.record(Duration::from_nanos(1));
        assert_eq!((short.min_ms(), short.max_ms()), (Some(0.001), Some(0.001)));
        short.merge(&zero);
        assert_eq!((short.count(), short.min_ms(), short.max_ms()), (2, Some(0.0), Some(0.001)));
    }

    #[test]
    fn longer_than_an_hour_is_clamped_and_counted() {
        let mut latency = Latency::default();
        latency.record(Duration::from_secs(7200));
        assert_eq!((latency.count(), latency.clamped()), (1, 1));
    }

    proptest! {
        #[test]
        fn merging_is_associative_and_commutative(a in prop::collection::vec(0u64..10_000_000, 0..40),
                                                  b in prop::collection::vec(0u64..10_000_000, 0..40),
                                                  c in prop::collection::vec(0u64..10_000_000, 0..40)) {
            let all: Vec<u64> = a.iter().chain(&b).chain(&c).copied().collect();
            let (a, b, c) = (of(&a), of(&b), of(&c));
            let mut left = a.clone();
            left.merge(&b);
            left.merge(&c);
            let mut right = c;
            right.merge(&b);
            right.merge(&a);
            prop_assert_eq!(left.sum_ns(), right.sum_ns());
            prop_assert_eq!(left.histogram(), right.histogram());
            let whole = of(&all);
            prop_assert_eq!(left.histogram(), whole.histogram());
        }

        #[test]
        fn written_and_read_again_it_is_the_same(values in prop::collection::vec(0u64..4_000_000_000, 1..60)) {
            let latency = of(&values);
            let json = serde_json::to_string(&latency).unwrap();
            let again: Latency = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(again.histogram(), latency.histogram());
            prop_assert_eq!(again.sum_ns(), latency.sum_ns());
            let again = latency.pack().unpack();
            prop_assert_eq!(again.histogram(), latency.histogram());
            prop_assert_eq!(again.sum_ns(), latency.sum_ns());
        }
    }
}
