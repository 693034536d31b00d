//! Single requests as k6 writes them: a JSON document a line (`--out json`), or CSV (`--out csv`). Pure: what ended goes in,
//! text comes out, and whoever asked writes it.
//!
//! Forms after k6's documentation of its outputs. What a tag would need that no request carries here (`ip`, `tls_version`,
//! `group`'s path) is left out, as k6 leaves out tags without a value.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::foreign;
use crate::outcome::{Ended, Phases};
use crate::plan::{Plan, ProgramPlan};
use crate::recorder::{Point, Points, What};

/// Which of k6's forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A JSON document a line.
    Json,
    /// CSV with k6's columns.
    Csv,
}

/// Longest tag: a path, a name of a step.
const MOST_OF_A_TAG: usize = 500;

/// Tags in the order of their names, as k6 writes them.
type Tags = BTreeMap<&'static str, String>;

/// A metric: k6's name, type, and what it contains.
type Metric = (&'static str, &'static str, &'static str);

const REQS: Metric = ("http_reqs", "counter", "default");
const FAILED: Metric = ("http_req_failed", "rate", "default");
const SENT: Metric = ("data_sent", "counter", "data");
const RECEIVED: Metric = ("data_received", "counter", "data");
const ITERATIONS: Metric = ("iterations", "counter", "default");
const ITERATION: Metric = ("iteration_duration", "trend", "time");
const CHECKS: Metric = ("checks", "rate", "default");
const VUS: Metric = ("vus", "gauge", "default");
const VUS_MAX: Metric = ("vus_max", "gauge", "default");
/// A part of a request, and how it is read.
type Time = (Metric, fn(&Phases) -> Duration);

const TIMES: [Time; 7] = [
    (("http_req_duration", "trend", "time"), Phases::duration),
    (("http_req_blocked", "trend", "time"), |p| p.blocked),
    (("http_req_connecting", "trend", "time"), |p| p.connecting),
    (("http_req_tls_handshaking", "trend", "time"), |p| p.tls_handshaking),
    (("http_req_sending", "trend", "time"), |p| p.sending),
    (("http_req_waiting", "trend", "time"), |p| p.waiting),
    (("http_req_receiving", "trend", "time"), |p| p.receiving),
];

/// k6's columns; its tags between the value and the last two.
const COLUMNS: [&str; 14] = [
    "check",
    "error",
    "error_code",
    "expected_response",
    "group",
    "method",
    "name",
    "proto",
    "scenario",
    "service",
    "status",
    "subproto",
    "tls_version",
    "url",
];

/// A point, with its fields in k6's order.
#[derive(Serialize)]
struct Line<'l> {
    metric: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    data: Sample<'l>,
}

#[derive(Serialize)]
struct Sample<'l> {
    time: String,
    value: f64,
    tags: Option<&'l Tags>,
}

/// What a metric is, before its first point.
#[derive(Serialize)]
struct Declaration {
    #[serde(rename = "type")]
    kind: &'static str,
    data: Declared,
    metric: &'static str,
}

#[derive(Serialize)]
struct Declared {
    name: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    contains: &'static str,
    thresholds: Vec<String>,
    /// None of ours.
    submetrics: (),
}

/// Adds a document as a line; what has no JSON form, which these have, is left out.
fn put(out: &mut String, line: &impl Serialize) {
    if let Ok(json) = serde_json::to_string(line) {
        out.push_str(&json);
        out.push('\n');
    }
}

/// Writes the points of a run.
#[derive(Debug)]
pub struct Writer {
    form: Form,
    /// The wall clock at the start of the run.
    start: Timestamp,
    series: Vec<Tags>,
    scenarios: Vec<Tags>,
    thresholds: BTreeMap<String, Vec<String>>,
    declared: BTreeSet<&'static str>,
    most_vus: u32,
}

impl Writer {
    /// For the points of a plan whose run began then.
    #[must_use]
    pub fn new(form: Form, plan: &Plan, start: Timestamp) -> Writer {
        let mut thresholds: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for limit in &plan.thresholds {
            thresholds.entry(limit.metric.clone()).or_default().push(limit.expression.clone());
        }
        let scenario = |at: usize| {
            let name = plan.scenarios.get(at).map_or("", |scenario| scenario.name.as_str());
            Tags::from([("group", String::new()), ("scenario", foreign::line(name, MOST_OF_A_TAG))])
        };
        let series = plan.series();
        let of_series = |(at, series): (usize, &crate::plan::Series)| {
            let step = at - plan.first_series(series.scenario);
            let mut tags = scenario(series.scenario);
            tags.extend(named(plan, series.scenario, step, &series.step));
            tags
        };
        Writer {
            form,
            start,
            series: series.iter().enumerate().map(of_series).collect(),
            scenarios: (0..plan.scenarios.len()).map(scenario).collect(),
            thresholds,
            declared: BTreeSet::new(),
            most_vus: plan.max_vus(),
        }
    }

    /// What the file begins with.
    #[must_use]
    pub fn head(&self) -> String {
        match self.form {
            Form::Json => String::new(),
            Form::Csv => format!("metric_name,timestamp,metric_value,{},extra_tags,metadata\n", COLUMNS.join(",")),
        }
    }

    /// Adds what ended.
    pub fn points(&mut self, points: &Points, out: &mut String) {
        points.points.iter().for_each(|point| self.point(point, out));
    }

    /// Adds the VUs of a second, as k6 does once a second.
    pub fn second(&mut self, second: u64, vus: u64, out: &mut String) {
        let at = Duration::from_secs(second + 1);
        self.line(out, VUS, (at, vus as f64), &Tags::new());
        self.line(out, VUS_MAX, (at, f64::from(self.most_vus)), &Tags::new());
    }

    fn point(&mut self, point: &Point, out: &mut String) {
        match &point.what {
            What::Request { series, ended, status, phases, bytes, .. } => {
                let mut tags = self.tags(&self.series, *series);
                let expected = *ended == Ended::Completed;
                tags.insert("expected_response", expected.to_string());
                tags.insert("status", status.unwrap_or(0).to_string());
                if let Ended::Failed(kind) = ended {
                    tags.insert("error", kind.describe());
                    tags.insert("error_code", kind.k6_code().to_string());
                }
                self.line(out, REQS, (point.at, 1.0), &tags);
                for (metric, of) in TIMES {
                    self.line(out, metric, (point.at, of(phases).as_secs_f64() * 1000.0), &tags);
                }
                self.line(out, FAILED, (point.at, f64::from(u8::from(!expected))), &tags);
                let scenario = tags.into_iter().filter(|(name, _)| ["group", "scenario"].contains(name)).collect();
                self.line(out, SENT, (point.at, bytes.0 as f64), &scenario);
                self.line(out, RECEIVED, (point.at, bytes.1 as f64), &scenario);
            }
            What::Iteration { scenario, took, .. } => {
                let tags = self.tags(&self.scenarios, *scenario);
                self.line(out, ITERATION, (point.at, took.as_secs_f64() * 1000.0), &tags);
                self.line(out, ITERATIONS, (point.at, 1.0), &tags);
            }
            What::Check { name, passed } => {
                let name = foreign::line(name, MOST_OF_A_TAG);
                let tags = Tags::from([("check", name), ("group", String::new())]);
                self.line(out, CHECKS, (point.at, f64::from(u8::from(*passed))), &tags);
            }
        }
    }

    fn tags(&self, of: &[Tags], at: u32) -> Tags {
        usize::try_from(at).ok().and_then(|at| of.get(at)).cloned().unwrap_or_default()
    }

    fn line(&mut self, out: &mut String, metric: Metric, (at, value): (Duration, f64), tags: &Tags) {
        let nanos = i128::from(u64::try_from(at.as_nanos()).unwrap_or(u64::MAX));
        let time = self.start.checked_add(SignedDuration::from_nanos_i128(nanos)).unwrap_or(self.start);
        match self.form {
            Form::Json => {
                self.declare(out, metric);
                let tags = (!tags.is_empty()).then_some(tags);
                let data = Sample { time: time.to_string(), value, tags };
                put(out, &Line { metric: metric.0, kind: "Point", data });
            }
            Form::Csv => {
                let _ = write!(out, "{},{},{value:.6}", metric.0, time.as_second());
                for column in COLUMNS {
                    out.push(',');
                    out.push_str(&cell(tags.get(column).map_or("", String::as_str)));
                }
                out.push_str(",,\n");
            }
        }
    }

    /// k6 describes a metric before its first point.
    fn declare(&mut self, out: &mut String, (name, kind, contains): Metric) {
        if !self.declared.insert(name) {
            return;
        }
        let thresholds = self.thresholds.get(name).cloned().unwrap_or_default();
        let data = Declared { name, kind, contains, thresholds, submetrics: () };
        put(out, &Declaration { kind: "Metric", data, metric: name });
    }
}

/// What k6 calls a request by.
fn named(plan: &Plan, scenario: usize, step: usize, name: &str) -> Vec<(&'static str, String)> {
    let line = |text: &str| foreign::line(text, MOST_OF_A_TAG);
    let mut tags = Vec::new();
    // Over TLS it may have been HTTP/2, which is agreed per connection.
    if plan.target.url.scheme() == "http" {
        tags.push(("proto", "HTTP/1.1".to_owned()));
    }
    match plan.scenarios.get(scenario).map(|scenario| &scenario.program) {
        Some(ProgramPlan::Fetch(fetch)) => {
            let url = plan.target.url.join(&fetch.path).map_or_else(|_| fetch.path.clone(), |url| url.to_string());
            tags.extend([("method", "GET".to_owned()), ("name", line(&url)), ("url", line(&url))]);
        }
        Some(ProgramPlan::Steps(steps)) => {
            let method = steps.steps().nth(step).map(|step| line(&step.method));
            tags.extend(method.map(|method| ("method", method)));
            tags.extend([("name", line(name)), ("url", line(name))]);
        }
        _ => tags.extend([("name", line(name)), ("url", line(name))]),
    }
    tags
}

/// A cell of CSV, quoted where it has to be.
fn cell(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}
