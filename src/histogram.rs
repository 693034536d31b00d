//! A latency distribution: an HDR histogram with its exact sum, mergeable, written as HdrHistogram V2.
//!
//! Knows no clock and no runtime. Values are microseconds, 3 significant digits, from 1 µs to [`MAX_US`], and
//! zero: what did not happen took no time, and a limit such as `max==0` must hold for it.

use std::io::Read as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::ZlibDecoder;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

/// Significant decimal digits that a recorded value keeps.
pub const SIGNIFICANT_DIGITS: u8 = 3;
/// Greatest value that is told apart, 1 hour in µs. A longer one is recorded as this and counted in `clamped`.
pub const MAX_US: u64 = 3_600_000_000;

/// So many of the first values have a counter each; further up, each doubling has [`HALF`] of them.
const LINEAR: u64 = 2 * HALF;
/// What 3 significant digits need, as in HdrHistogram: 1024 counters from a power of two to the next.
const HALF: u64 = 1024;

/// A distribution of durations. Empty costs nothing.
///
/// Counted in HdrHistogram's own buckets, but here: a request has seven values to record, and the library takes as long
/// for them as the rest of a fetch takes. Whatever reads a distribution does so through the library.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Latency {
    /// By bucket, up to the last one that is not empty.
    counts: Vec<u64>,
    count: u64,
    /// Exact, because the mean of a histogram's bucket midpoints is not.
    sum_ns: u128,
    clamped: u64,
}

/// The bucket of a value in microseconds.
fn bucket(us: u64) -> usize {
    let shift = u64::BITS - (us | (LINEAR - 1)).leading_zeros() - LINEAR.ilog2();
    // Fits: 32 shifts at most, for values up to an hour.
    (u64::from(shift) * HALF + (us >> shift)) as usize
}

/// The least value of a bucket.
fn least(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket / HALF).saturating_sub(1);
    (bucket - shift * HALF) << shift
}

/// The greatest value of a bucket.
fn greatest(bucket: usize) -> u64 {
    least(bucket + 1) - 1
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
        // In 64 bits, because a division of 128 costs more than all the rest; 584 years are enough.
        let ns = duration.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(duration.subsec_nanos()));
        let us = (ns.saturating_add(500) / 1000).max(u64::from(ns > 0));
        self.clamped += if us > MAX_US { n } else { 0 };
        let at = bucket(us.min(MAX_US));
        match self.counts.get_mut(at) {
            Some(count) => *count += n,
            None => self.grow(at, n),
        }
        self.count += n;
        self.sum_ns += u128::from(ns) * u128::from(n);
    }

    #[cold]
    fn grow(&mut self, at: usize, n: u64) {
        self.lengthen(at + 1);
        self.counts[at] = n;
    }

    /// Makes room for so many buckets: for whole doublings, because a vector's own growth would leave up to a half of it
    /// empty, and blocks of a few sizes only are used again by those who come after.
    fn lengthen(&mut self, buckets: usize) {
        let room = buckets.next_multiple_of(HALF as usize);
        self.counts.reserve_exact(room - self.counts.len());
        self.counts.resize(buckets, 0);
    }

    /// An empty one with room for what this one holds: for the next second, which will most likely be alike.
    #[must_use]
    pub fn successor(&self) -> Latency {
        let room = self.counts.len().next_multiple_of(HALF as usize);
        Latency { counts: Vec::with_capacity(room), ..Latency::default() }
    }

    /// Number of recorded values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
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
        // Counted here as the library counts, which would first have to be given all the buckets.
        let wanted = ((q.clamp(0.0, 1.0) * self.count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let at = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        })?;
        Some(if q > 0.0 { greatest(at) } else { least(at) } as f64 / 1e3)
    }

    /// How many of the values are in buckets above that of `limit`: longer than it by more than the precision.
    #[must_use]
    pub fn longer_than(&self, limit: Duration) -> u64 {
        let us = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
        self.counts.iter().skip(bucket(us.min(MAX_US)) + 1).sum()
    }

    /// Share of the values from one length to another, both to the precision of a bucket; `None` without data.
    #[must_use]
    pub fn share_between(&self, from: Duration, to: Duration) -> Option<f64> {
        let longer =
            self.longer_than(from.saturating_sub(Duration::from_micros(1))).saturating_sub(self.longer_than(to));
        (self.count > 0).then(|| longer as f64 / self.count as f64)
    }

    /// Smallest value in milliseconds; `None` without data.
    #[must_use]
    pub fn min_ms(&self) -> Option<f64> {
        self.counts.iter().position(|count| *count > 0).map(|at| least(at) as f64 / 1e3)
    }

    /// Greatest value in milliseconds; `None` without data.
    #[must_use]
    pub fn max_ms(&self) -> Option<f64> {
        self.counts.iter().rposition(|count| *count > 0).map(|at| greatest(at) as f64 / 1e3)
    }

    /// Standard deviation in milliseconds; `None` without data.
    #[must_use]
    pub fn stdev_ms(&self) -> Option<f64> {
        let histogram = self.histogram()?;
        Some(histogram.stdev() / 1e3)
    }

    /// The buckets that are not empty, ascending: the least value of each in µs, and how many values it has.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        self.counts.iter().enumerate().filter(|(_, count)| **count > 0).map(|(at, count)| (least(at), *count))
    }

    /// Adds another distribution to this one. Associative, commutative, the empty one is neutral.
    pub fn merge(&mut self, other: &Latency) {
        self.sum_ns += other.sum_ns;
        self.clamped += other.clamped;
        self.count += other.count;
        if self.counts.len() < other.counts.len() {
            self.lengthen(other.counts.len());
        }
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
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
        let hdr = self.histogram().map(|histogram| {
            let mut bytes = Vec::new();
            // Cannot fail: the bytes go to memory, and the histogram's range is one that the format has.
            let _ = V2DeflateSerializer::new().serialize(&histogram, &mut bytes);
            bytes.shrink_to_fit();
            bytes
        });
        Packed { hdr, sum_ns: self.sum_ns, clamped: self.clamped }
    }

    /// As a histogram of the library, in microseconds; `None` without data.
    #[must_use]
    pub fn histogram(&self) -> Option<Histogram<u64>> {
        let mut histogram = (self.count > 0).then(empty_histogram)??;
        for (at, &count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            // Cannot fail: the histogram resizes itself.
            let _ = histogram.record_n(least(at), count);
        }
        Some(histogram)
    }

    /// Of a histogram in microseconds; the sum is the caller's, because a histogram has none that is exact.
    fn of(histogram: &Histogram<u64>, sum_ns: u128, clamped: u64) -> Latency {
        let mut counts = Vec::new();
        for value in histogram.iter_recorded() {
            let at = bucket(value.value_iterated_to());
            counts.resize(at + 1, 0);
            counts[at] = value.count_at_value();
        }
        counts.shrink_to_fit();
        Latency { counts, count: histogram.len(), sum_ns, clamped }
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
        let unpacked = |histogram| Latency::of(&histogram, self.sum_ns, self.clamped);
        histogram.map(unpacked).unwrap_or_default()
    }
}

/// More than any of ours is, inflated: 33 000 buckets of at most nine bytes each.
const MOST_BYTES: u64 = 1 << 20;
/// Most values of one: a thousand of them can be added up.
const MOST_VALUES: u64 = 1 << 53;
/// The greatest sum, ns: that of as many values of an hour.
const MOST_NS: u128 = 1 << 95;

/// Reads the V2 deflate encoding, of which nothing is believed: a header of a few bytes may promise gigabytes.
fn unpack_histogram(bytes: &[u8]) -> Result<Histogram<u64>, String> {
    let deflated = bytes.get(8..).ok_or("too short for a histogram")?;
    let mut plain = Vec::new();
    ZlibDecoder::new(deflated).take(MOST_BYTES + 1).read_to_end(&mut plain).map_err(|e| e.to_string())?;
    // Cookie, length of the counts, offset, significant digits, least and greatest value, ratio, counts.
    let field = |at: usize| plain.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
    let greatest = plain.get(24..32).and_then(|b| b.try_into().ok()).map_or(u64::MAX, u64::from_be_bytes);
    let counts = plain.len().saturating_sub(40);
    let known = field(4) == u32::try_from(counts).ok() && field(12) == Some(u32::from(SIGNIFICANT_DIGITS));
    if !known || plain.len() as u64 > MOST_BYTES || greatest > 1 << 42 {
        return Err("no histogram of durations with three digits".to_owned());
    }
    let mut histogram: Histogram<u64> =
        Deserializer::new().deserialize(&mut plain.as_slice()).map_err(|e| e.to_string())?;
    histogram.auto(true);
    if histogram.len() > MOST_VALUES {
        return Err("more values than can be".to_owned());
    }
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
        let Some(histogram) = self.histogram() else {
            return serializer.serialize_none();
        };
        let mut bytes = Vec::new();
        V2DeflateSerializer::new().serialize(&histogram, &mut bytes).map_err(serde::ser::Error::custom)?;
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
        let sum_ns: u128 = wire.sum_ns.parse().map_err(D::Error::custom)?;
        if sum_ns > MOST_NS || wire.clamped > MOST_VALUES {
            return Err(D::Error::custom("sums beyond what can be"));
        }
        Ok(Latency::of(&histogram, sum_ns, wire.clamped))
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
        let again: Latency = serde_json::from_str(&serde_json::to_string(&short).unwrap()).unwrap();
        assert_eq!((&again, &short.pack().unpack()), (&short, &short));
    }

    #[test]
    fn longer_than_an_hour_is_clamped_and_counted() {
        let mut latency = Latency::default();
        latency.record(Duration::from_secs(7200));
        assert_eq!((latency.count(), latency.clamped()), (1, 1));
    }

    proptest! {
        #[test]
        fn the_buckets_are_the_library_s(values in prop::collection::vec(0u64..MAX_US, 1..60)) {
            let mut theirs = empty_histogram().unwrap();
            for &us in &values {
                theirs.record(us).unwrap();
            }
            let ours = of(&values);
            prop_assert_eq!(ours.histogram().unwrap(), theirs.clone());
            for q in [0.0, 0.5, 0.9, 0.99, 1.0] {
                prop_assert_eq!(ours.quantile_ms(q), Some(theirs.value_at_quantile(q) as f64 / 1e3));
            }
            prop_assert_eq!(ours.min_ms(), Some(theirs.min() as f64 / 1e3));
            prop_assert_eq!(ours.max_ms(), Some(theirs.max() as f64 / 1e3));
            for &us in &values {
                prop_assert!(least(bucket(us)) <= us && us < least(bucket(us) + 1));
            }
        }

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
