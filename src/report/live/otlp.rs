//! OTLP metrics: an `ExportMetricsServiceRequest` in protobuf, for `POST /v1/metrics`.
//!
//! Messages after the published definition (opentelemetry-proto: metrics_service.proto, metrics.proto, common.proto,
//! resource.proto), as far as they are written here. Counters are cumulative sums, trends cumulative histograms in ms.

use prost::Message;

use super::{Measurement, Snapshot, Value};
use crate::histogram::Latency;

/// What the request says of itself.
pub const HEADERS: [(&str, &str); 1] = [("content-type", "application/x-protobuf")];

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`.
const CUMULATIVE: i32 = 2;

/// Upper bounds of the buckets of a histogram, ms.
const BOUNDS: [f64; 18] = [
    1.0, 2.0, 5.0, 10.0, 20.0, 35.0, 50.0, 75.0, 100.0, 150.0, 250.0, 500.0, 750.0, 1000.0, 2500.0, 5000.0, 10_000.0,
    60_000.0,
];

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, repeated, tag = "1")]
    resource_metrics: Vec<ResourceMetrics>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceMetrics {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_metrics: Vec<ScopeMetrics>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeMetrics {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    metrics: Vec<Metric>,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(string, tag = "1")]
    string_value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "3")]
    unit: String,
    #[prost(oneof = "Data", tags = "5, 7, 9")]
    data: Option<Data>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Data {
    #[prost(message, tag = "5")]
    Gauge(Gauge),
    #[prost(message, tag = "7")]
    Sum(Sum),
    #[prost(message, tag = "9")]
    Histogram(Histogram),
}

#[derive(Clone, PartialEq, Message)]
struct Gauge {
    #[prost(message, repeated, tag = "1")]
    data_points: Vec<Number>,
}

#[derive(Clone, PartialEq, Message)]
struct Sum {
    #[prost(message, repeated, tag = "1")]
    data_points: Vec<Number>,
    #[prost(int32, tag = "2")]
    aggregation_temporality: i32,
    #[prost(bool, tag = "3")]
    is_monotonic: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Number {
    #[prost(fixed64, tag = "2")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "3")]
    time_unix_nano: u64,
    #[prost(double, tag = "4")]
    as_double: f64,
    #[prost(message, repeated, tag = "7")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct Histogram {
    #[prost(message, repeated, tag = "1")]
    data_points: Vec<HistogramPoint>,
    #[prost(int32, tag = "2")]
    aggregation_temporality: i32,
}

#[derive(Clone, PartialEq, Message)]
struct HistogramPoint {
    #[prost(fixed64, tag = "2")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "3")]
    time_unix_nano: u64,
    #[prost(fixed64, tag = "4")]
    count: u64,
    #[prost(double, optional, tag = "5")]
    sum: Option<f64>,
    #[prost(fixed64, repeated, tag = "6")]
    bucket_counts: Vec<u64>,
    #[prost(double, repeated, tag = "7")]
    explicit_bounds: Vec<f64>,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
}

/// The body of a request with these seconds, in their order.
#[must_use]
pub fn encode(snapshots: &[Snapshot]) -> Vec<u8> {
    let Some(first) = snapshots.first() else { return Vec::new() };
    let text = |key: &str, value: &str| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { string_value: value.to_owned() }),
    };
    let resource = Resource { attributes: vec![text("service.name", "connect-bench"), text("testid", &first.run)] };
    let scope = Scope { name: "connect-bench".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
    let metrics = snapshots.iter().flat_map(|snapshot| snapshot.measured.iter().map(|one| metric(snapshot, one)));
    let scoped = ScopeMetrics { scope: Some(scope), metrics: metrics.collect() };
    let resource = ResourceMetrics { resource: Some(resource), scope_metrics: vec![scoped] };
    Request { resource_metrics: vec![resource] }.encode_to_vec()
}

fn nanos(at: jiff::Timestamp) -> u64 {
    u64::try_from(at.as_nanosecond()).unwrap_or(0)
}

fn metric(snapshot: &Snapshot, one: &Measurement) -> Metric {
    let (start_time_unix_nano, time_unix_nano) = (nanos(snapshot.start), nanos(snapshot.at));
    let scenario = one.scenario.as_ref().map(|scenario| KeyValue {
        key: "scenario".to_owned(),
        value: Some(AnyValue { string_value: scenario.clone() }),
    });
    let attributes: Vec<KeyValue> = scenario.into_iter().collect();
    let number =
        |as_double: f64| Number { start_time_unix_nano, time_unix_nano, as_double, attributes: attributes.clone() };
    let data = match &one.value {
        Value::Counter(count) => Data::Sum(Sum {
            data_points: vec![number(*count as f64)],
            aggregation_temporality: CUMULATIVE,
            is_monotonic: true,
        }),
        Value::Gauge(value) | Value::Rate(value) => Data::Gauge(Gauge { data_points: vec![number(*value)] }),
        Value::Trend { all, .. } => Data::Histogram(Histogram {
            data_points: vec![HistogramPoint {
                start_time_unix_nano,
                time_unix_nano,
                count: all.count(),
                sum: Some(all.sum_ns() as f64 / 1e6),
                bucket_counts: counts(all),
                explicit_bounds: BOUNDS.to_vec(),
                attributes: attributes.clone(),
            }],
            aggregation_temporality: CUMULATIVE,
        }),
    };
    // UCUM, as the protocol wants units.
    let unit = match one.unit {
        "bytes" => "By",
        "" => "1",
        unit => unit,
    };
    Metric { name: one.name.to_owned(), unit: unit.to_owned(), data: Some(data) }
}

/// One more than there are bounds: the last one has what is above all of them.
fn counts(latency: &Latency) -> Vec<u64> {
    let mut counts = vec![0; BOUNDS.len() + 1];
    for (us, n) in latency.buckets() {
        let ms = us as f64 / 1000.0;
        let at = BOUNDS.iter().position(|bound| ms <= *bound).unwrap_or(BOUNDS.len());
        counts[at] += n;
    }
    counts
}
