//! HdrHistogram's own files: the interval log (`.hlog`) and the percentile distribution (`.hgrm`). Values in µs in the
//! log, in ms in the distribution and in the log's column of maxima.

use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use jiff::Timestamp;

use crate::histogram::Latency;
use crate::metric::{Kind, METRICS, Metric, Narrow};
use crate::plan::Plan;
use crate::window::Second;

/// An interval log: a line for each second and tag. `fetch` are completed fetches, `failed` those that failed; the other tags
/// are metrics by their names, over all scenarios.
#[derive(Debug)]
pub struct IntervalLog {
    started: Timestamp,
    fetching: Vec<usize>,
    series: Vec<usize>,
    scenarios: Vec<usize>,
    rows: Vec<(u64, Vec<(&'static str, Latency)>)>,
}

impl IntervalLog {
    /// Of a run that began then.
    #[must_use]
    pub fn new(plan: &Plan, started: Timestamp) -> IntervalLog {
        let series = plan.series();
        let fetching = (0..series.len()).filter(|&at| plan.fetches_in(at, &series[at])).collect();
        let (series, scenarios) = ((0..series.len()).collect(), (0..plan.scenarios.len()).collect());
        IntervalLog { started, fetching, series, scenarios, rows: Vec::new() }
    }

    /// Takes one second.
    pub fn add(&mut self, second: &Second) {
        let (mut done, mut failed) = (Latency::default(), Latency::default());
        for series in self.fetching.iter().filter_map(|&at| second.window.series.get(at)) {
            done.merge(&series.duration);
            failed.merge(&series.failed_duration);
        }
        let trends = METRICS.iter().filter(|metric| metric.kind == Kind::Trend && metric.name != "http_req_duration");
        let read = |metric: &'static Metric| {
            (metric.name, metric.read(&second.window, &self.series, &self.scenarios, &Narrow::All).latency)
        };
        let named = [("fetch", done), ("failed", failed)].into_iter().chain(trends.map(read));
        self.rows.push((second.second, named.filter(|(_, latency)| !latency.is_empty()).collect()));
    }

    /// The file; `None` where a histogram cannot be encoded, which does not happen to ours.
    #[must_use]
    pub fn finish(self) -> Option<String> {
        let (mut buffer, mut serializer) = (Vec::new(), V2DeflateSerializer::new());
        let start = std::time::SystemTime::UNIX_EPOCH
            + Duration::try_from(self.started.duration_since(Timestamp::UNIX_EPOCH)).ok()?;
        {
            let mut builder = IntervalLogWriterBuilder::new();
            builder.add_comment("connect-bench: durations by the second, in microseconds, tagged by what they are of");
            builder.with_start_time(start).with_base_time(start).with_max_value_divisor(1000.0);
            let mut log = builder.begin_log_with(&mut buffer, &mut serializer).ok()?;
            let one = Duration::from_secs(1);
            for (second, named) in &self.rows {
                let at = Duration::from_secs(*second);
                for (name, latency) in named {
                    if let Some(histogram) = latency.histogram() {
                        log.write_histogram(&histogram, at, one, Tag::new(name)).ok()?;
                    }
                }
            }
        }
        String::from_utf8(buffer).ok()
    }
}

/// The percentile distribution, five steps to each halving of what remains.
#[must_use]
pub fn percentiles(latency: &Latency) -> String {
    let mut out = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
    let histogram = latency.histogram();
    let mut total = 0;
    for value in histogram.iter().flat_map(|histogram| histogram.iter_quantiles(5)) {
        total += value.count_since_last_iteration();
        let (ms, q) = (value.value_iterated_to() as f64 / 1e3, value.quantile_iterated_to());
        // Writing to a String cannot fail.
        let _ = match q < 1.0 {
            true => writeln!(out, "{ms:12.3} {q:2.12} {total:10} {:14.2}", 1.0 / (1.0 - q)),
            false => writeln!(out, "{ms:12.3} {q:2.12} {total:10}"),
        };
    }
    let (mean, deviation) = (latency.mean_ms().unwrap_or(0.0), latency.stdev_ms().unwrap_or(0.0));
    let (max, n) = (latency.max_ms().unwrap_or(0.0), latency.count());
    let _ = writeln!(out, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]");
    let _ = writeln!(out, "#[Max     = {max:12.3}, Total count    = {n:12}]");
    let _ = writeln!(out, "#[Buckets = {:12}, SubBuckets     = {:12}]", 22, 2048);
    out
}
