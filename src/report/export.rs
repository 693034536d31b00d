//! The forms of others in which a result is handed out: k6's, JUnit, Markdown, OpenMetrics, HdrHistogram's, CSV, InfluxDB.
//! A file each; pure functions of a recorded run, and for what goes by the second, of its seconds.

mod hdr;
mod junit;
mod k6;
mod k6_text;
mod lines;
mod markdown;
mod openmetrics;

pub use hdr::{IntervalLog, percentiles};
pub use junit::junit;
pub use k6::{handle_summary, summary_export};
pub use k6_text::summary as k6_text;
pub use lines::{Csv, Influx};
pub use markdown::markdown;
pub use openmetrics::openmetrics;

use super::archive::Recorded;
use crate::metric::{METRICS, Metric, Narrow, Reading};

/// A metric with what was read of it over the measured part.
struct Read {
    metric: &'static Metric,
    reading: Reading,
}

/// All metrics of a run that something was measured of.
fn readings(run: &Recorded) -> Vec<Read> {
    let plan = &run.summary.plan;
    let series: Vec<usize> = (0..plan.series().len()).collect();
    let scenarios: Vec<usize> = (0..plan.scenarios.len()).collect();
    let read = |metric: &'static Metric| {
        let reading = metric.read(&run.summary.steady, &series, &scenarios, &Narrow::All);
        Read { metric, reading }
    };
    let measured = |read: &Read| match read.metric.kind {
        crate::metric::Kind::Counter => read.reading.count > 0 || read.metric.name == "http_reqs",
        crate::metric::Kind::Gauge => false,
        crate::metric::Kind::Rate => read.reading.total > 0,
        crate::metric::Kind::Trend => !read.reading.latency.is_empty(),
    };
    METRICS.iter().map(read).filter(measured).collect()
}

/// VUs as k6 tells them: the last, the fewest, the most, in the measured part.
fn vus(run: &Recorded) -> [f64; 3] {
    let steady = run.course.slots.iter().filter(|slot| slot.part == crate::window::Part::Steady);
    let vus: Vec<f64> = steady.map(|slot| slot.vus.round()).collect();
    let last = vus.last().copied().unwrap_or(0.0);
    [last, vus.iter().copied().reduce(f64::min).unwrap_or(0.0), vus.iter().copied().fold(0.0, f64::max)]
}
