//! A line for each second: CSV for spreadsheets, InfluxDB's line protocol for databases.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::super::archive::Recorded;
use super::super::course::Slot;
use super::super::foreign;
use crate::window::{Part, Second};

/// The columns of the CSV.
const HEAD: &str = "second,part,vus,requests_completed,requests_failed,iterations_dropped,fetches_completed,\
                    fetch_p50_ms,fetch_p95_ms,fetch_p99_ms,fetch_max_ms,bytes_received,bytes_sent,\
                    generator_busiest_share,generator_limited\n";

fn part(part: Part) -> &'static str {
    match part {
        Part::WarmUp => "warm_up",
        Part::Steady => "steady",
        Part::Paused => "paused",
        Part::Stopping => "stopping",
    }
}

fn bytes(second: &Second) -> (u64, u64) {
    let series = &second.window.series;
    (series.iter().map(|s| s.bytes_received).sum(), series.iter().map(|s| s.bytes_sent).sum())
}

/// CSV. A figure without data is empty. Nothing foreign is in it.
#[derive(Debug)]
pub struct Csv(String);

impl Csv {
    /// With its head.
    #[must_use]
    pub fn new() -> Csv {
        Csv(HEAD.to_owned())
    }

    /// Takes one second, as measured and as a slot.
    pub fn add(&mut self, second: &Second, slot: &Slot) {
        let figure = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
        let (received, sent) = bytes(second);
        let [p50, p95, p99, max] = [slot.p50_ms, slot.p95_ms, slot.p99_ms, slot.max_ms].map(figure);
        // Writing to a String cannot fail.
        let _ = writeln!(
            self.0,
            "{},{},{},{},{},{},{},{p50},{p95},{p99},{max},{received},{sent},{},{}",
            second.second,
            part(slot.part),
            slot.vus,
            slot.completed,
            slot.failed,
            slot.dropped,
            slot.fetched,
            slot.busiest,
            slot.limited_s,
        );
    }

    /// The file.
    #[must_use]
    pub fn finish(self) -> String {
        self.0
    }
}

impl Default for Csv {
    fn default() -> Self {
        Csv::new()
    }
}

/// InfluxDB's line protocol, in nanoseconds since 1970.
#[derive(Debug)]
pub struct Influx {
    out: String,
    tags: String,
    started: Timestamp,
}

/// The value of a tag: what separates is escaped, and it ends in no backslash.
fn tag(text: &str) -> String {
    let text = foreign::line(text, 200).replace('\\', "/");
    let escaped = text.replace(',', "\\,").replace('=', "\\=").replace(' ', "\\ ");
    if escaped.is_empty() { "none".to_owned() } else { escaped }
}

impl Influx {
    /// Of a run; its seconds follow.
    #[must_use]
    pub fn new(run: &Recorded) -> Influx {
        let plan = &run.summary.plan;
        let host = plan.target.url.host_str().unwrap_or("");
        let tags = format!("command={},run={},server={}", tag(&plan.command), tag(&run.name), tag(host));
        Influx { out: String::new(), tags, started: run.summary.environment.started }
    }

    /// Takes one second, as measured and as a slot.
    pub fn add(&mut self, second: &Second, slot: &Slot) {
        let at = self.started.as_nanosecond() + i128::from(second.second) * 1_000_000_000;
        let (received, sent) = bytes(second);
        let mut fields = format!(
            "vus={},completed={}i,failed={}i,dropped={}i,bytes_received={received}i,bytes_sent={sent}i",
            slot.vus, slot.completed, slot.failed, slot.dropped
        );
        let figures =
            [("p50_ms", slot.p50_ms), ("p95_ms", slot.p95_ms), ("p99_ms", slot.p99_ms), ("max_ms", slot.max_ms)];
        for (name, value) in figures {
            if let Some(value) = value {
                // Writing to a String cannot fail.
                let _ = write!(fields, ",{name}={value}");
            }
        }
        let _ = writeln!(self.out, "connect_bench,{},part={} {fields} {at}", self.tags, part(slot.part));
    }

    /// The file.
    #[must_use]
    pub fn finish(self) -> String {
        self.out
    }
}
