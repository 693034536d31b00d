//! Prometheus' remote write 1.0: a `WriteRequest` in protobuf, in one block of Snappy.
//!
//! Messages after the published definition (prometheus/prompb: remote.proto, types.proto), as far as they are written here.

use prost::Message;

use super::{Measurement, Snapshot, Value};
use crate::histogram::Latency;

/// What the request says of itself.
pub const HEADERS: [(&str, &str); 3] = [
    ("content-type", "application/x-protobuf"),
    ("content-encoding", "snappy"),
    ("x-prometheus-remote-write-version", "0.1.0"),
];

#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    /// Milliseconds since 1970.
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

/// A statistic of a trend: the end of its name, and how it is read, ms.
type Stat = (&'static str, fn(&Latency) -> Option<f64>);

const STATS: [Stat; 6] = [
    ("avg", Latency::mean_ms),
    ("med", |l| l.quantile_ms(0.5)),
    ("p90", |l| l.quantile_ms(0.9)),
    ("p95", |l| l.quantile_ms(0.95)),
    ("p99", |l| l.quantile_ms(0.99)),
    ("max", Latency::max_ms),
];

/// The body of a request with these seconds, in their order.
///
/// # Errors
/// Where it is too long for one block of Snappy, which 4 GiB are.
pub fn encode(snapshots: &[Snapshot]) -> Result<Vec<u8>, snap::Error> {
    let timeseries = snapshots
        .iter()
        .flat_map(|snapshot| snapshot.measured.iter().flat_map(|one| series(snapshot, one).into_iter()));
    let request = WriteRequest { timeseries: timeseries.collect() };
    snap::raw::Encoder::new().compress_vec(&request.encode_to_vec())
}

fn series(snapshot: &Snapshot, one: &Measurement) -> Vec<TimeSeries> {
    let of = |suffix: &str, value: f64| {
        let name = if suffix.is_empty() { format!("k6_{}", one.name) } else { format!("k6_{}_{suffix}", one.name) };
        let label = |name: &str, value: &str| Label { name: name.to_owned(), value: value.to_owned() };
        // In the order of their names, as the protocol wants them.
        let mut labels = vec![label("__name__", &name)];
        labels.extend(one.scenario.as_ref().map(|scenario| label("scenario", scenario)));
        labels.push(label("testid", &snapshot.run));
        TimeSeries { labels, samples: vec![Sample { value, timestamp: snapshot.at.as_millisecond() }] }
    };
    match &one.value {
        Value::Counter(count) => vec![of("total", *count as f64)],
        Value::Gauge(value) => vec![of("", *value)],
        Value::Rate(share) => vec![of("rate", *share)],
        // Prometheus' base unit is the second, and k6 keeps to it.
        Value::Trend { last, .. } => {
            STATS.iter().filter_map(|(name, stat)| Some(of(name, stat(last)? / 1000.0))).collect()
        }
    }
}
