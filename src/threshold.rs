//! Limits on what is measured, with k6's grammar: `p(95)<500` on `http_req_duration{scenario:fetch}`.
//!
//! What k6 lacks: a time window (`window`), a time that is left out (`after`), the warm-up left out always, and no data
//! is a failure. Counts and latencies are those from the warm-up on to the end of the graceful stop, because the slowest
//! requests end there, and in the pauses that somebody asked for; a counter's `rate` is that of the measured part, up to
//! the end of the schedule. Percentiles are those of the histograms (three digits, no interpolation). A limit in percent
//! is relative to a baseline: a run that is over, or a documented one.

mod expression;
mod judge;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use expression::{Aggregation, Expression};
pub use judge::{Judge, Relative, Verdict, measured};

use crate::metric::{self, Kind, Metric, Narrow};
use crate::plan::Plan;
use crate::units::seconds;

/// A threshold as it was written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// The metric, with what it is narrowed by: `http_req_duration{scenario:fetch}`.
    pub metric: String,
    /// The expression: `p(95)<500`.
    pub expression: String,
    /// Whether the run ends as soon as it fails.
    #[serde(default)]
    pub abort_on_fail: bool,
    /// The run is not ended by it before so much time has passed.
    #[serde(default, with = "seconds")]
    pub delay_abort_eval: Duration,
    /// Only what was measured in so much time before it is looked at.
    #[serde(default, with = "maybe_seconds", skip_serializing_if = "Option::is_none")]
    pub window: Option<Duration>,
    /// Only what was measured after so much of the run.
    #[serde(default, with = "seconds")]
    pub after: Duration,
    /// What a limit in percent is relative to: a run directory, or the id of a documented baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<String>,
    /// What that had, once it was looked up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline_value: Option<f64>,
}

mod maybe_seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => serializer.serialize_some(&duration.as_secs_f64()),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let seconds = Option::<f64>::deserialize(deserializer)?;
        seconds.map(Duration::try_from_secs_f64).transpose().map_err(serde::de::Error::custom)
    }
}

/// A threshold that makes no sense.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ThresholdFault {
    /// There is no such metric.
    #[error("threshold on {name:?}: there is no such metric{}", hint(*near))]
    Metric {
        /// What was written.
        name: String,
        /// What may be meant.
        near: Option<&'static str>,
    },
    /// The braces after the metric's name are not `{tag:value,…}`.
    #[error("threshold on {0:?}: write METRIC or METRIC{{tag:value,tag:value}}")]
    Key(String),
    /// A tag that this metric is not kept by, or a value that no part of the plan has.
    #[error("threshold on {metric:?}: {what}")]
    Tag {
        /// The metric, as it was written.
        metric: String,
        /// What is wrong.
        what: String,
    },
    /// The expression is none.
    #[error(
        "threshold {0:?}: write AGGREGATION OPERATOR NUMBER, for example p(95)<500, rate<=0.01, or p(95)<=110% of a baseline"
    )]
    Expression(String),
    /// A percentile outside 0..=100.
    #[error("threshold {0:?}: a percentile is from 0 to 100")]
    Percentile(String),
    /// The metric's kind has no such aggregation.
    #[error("threshold {expression:?} on {metric}: it has {known}")]
    Aggregation {
        /// The expression.
        expression: String,
        /// The metric.
        metric: String,
        /// What it has.
        known: &'static str,
    },
    /// A flag without a metric.
    #[error("--threshold {0:?}: write 'METRIC: EXPRESSION', for example 'http_req_duration: p(95)<500'")]
    Flag(String),
}

fn hint(near: Option<&str>) -> String {
    near.map_or_else(String::new, |near| format!("; did you mean {near}?"))
}

impl Limit {
    /// A limit without further conditions.
    #[must_use]
    pub fn new(metric: &str, expression: &str) -> Limit {
        Limit {
            metric: metric.trim().to_owned(),
            expression: expression.trim().to_owned(),
            abort_on_fail: false,
            delay_abort_eval: Duration::ZERO,
            window: None,
            after: Duration::ZERO,
            baseline: None,
            baseline_value: None,
        }
    }

    /// Whether it is relative to a baseline.
    #[must_use]
    pub fn is_relative(&self) -> bool {
        Expression::parse(&self.expression).is_ok_and(|expression| expression.is_relative)
    }

    /// Reads `METRIC: EXPRESSION`.
    ///
    /// # Errors
    /// Where it is none, or makes no sense.
    pub fn from_flag(text: &str) -> Result<Limit, ThresholdFault> {
        let after_tags = text.find('}').unwrap_or(0);
        let colon = text[after_tags..].find(':').ok_or_else(|| ThresholdFault::Flag(text.to_owned()))? + after_tags;
        let limit = Limit::new(&text[..colon], &text[colon + 1..]);
        Threshold::new(&limit).map(|_| limit)
    }
}

/// Tags and the values that they must have.
type Tags = Vec<(String, String)>;

/// Tags that not every metric is kept by.
const SPECIAL: [&str; 5] = ["step", "status", "node", "expected_response", "check"];

/// A threshold that makes sense.
#[derive(Debug, Clone)]
pub struct Threshold {
    metric: &'static Metric,
    tags: Tags,
    narrow: Narrow,
    expression: Expression,
}

/// The series and scenarios of a plan that a threshold is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    series: Vec<usize>,
    scenarios: Vec<usize>,
}

impl Threshold {
    /// Reads a limit.
    ///
    /// # Errors
    /// Where there is no such metric, tag or aggregation, or the expression is none.
    pub fn new(limit: &Limit) -> Result<Threshold, ThresholdFault> {
        let (name, tags) = key(&limit.metric)?;
        let metric = metric::find(name).map_err(|near| ThresholdFault::Metric { name: name.to_owned(), near })?;
        let fault = |what: String| ThresholdFault::Tag { metric: limit.metric.clone(), what };
        let mut narrow = Narrow::All;
        for (tag, value) in &tags {
            let one = match tag.as_str() {
                "status" => value.parse().map(Narrow::Status).map_err(|_e| fault(format!("{value} is no status"))),
                "node" => Ok(Narrow::Node(value.clone())),
                "check" => Ok(Narrow::Check(value.clone())),
                "expected_response" => {
                    value.parse().map(Narrow::Expected).map_err(|_e| fault("it is true or false".to_owned()))
                }
                _ => continue,
            }?;
            if std::mem::replace(&mut narrow, one) != Narrow::All {
                return Err(fault("only one of status, node and expected_response".to_owned()));
            }
        }
        for (tag, _) in &tags {
            let special = SPECIAL.contains(&tag.as_str());
            if (special && !metric.tags.contains(&tag.as_str())) || (!special && !metric.is_by_scenario()) {
                let own = if metric.is_by_scenario() { "scenario and its tags" } else { "no tag of a scenario" };
                let known: Vec<&str> = metric.tags.iter().copied().chain([own]).collect();
                return Err(fault(format!("it is not kept by {tag}; it is by {}", known.join(", "))));
            }
        }
        let expression = Expression::parse(&limit.expression)?;
        if !expression.aggregation.suits(metric.kind) {
            let (expression, known) = (limit.expression.clone(), metric.kind.aggregations());
            return Err(ThresholdFault::Aggregation { expression, metric: name.to_owned(), known });
        }
        Ok(Threshold { metric, tags, narrow, expression })
    }

    /// What of a plan it is about.
    ///
    /// # Errors
    /// Where no part of the plan has the tags.
    pub fn scope(&self, plan: &Plan) -> Result<Scope, ThresholdFault> {
        let mut scope = Scope { series: Vec::new(), scenarios: Vec::new() };
        for (at, scenario) in plan.scenarios.iter().enumerate() {
            let first = plan.first_series(at);
            let steps = (0..scenario.steps.len()).filter(|step| self.suits(&plan.labels(at, *step)));
            scope.series.extend(steps.map(|step| first + step));
            if self.suits(&scenario.labels()) {
                scope.scenarios.push(at);
            }
        }
        let nothing = if self.metric.is_by_step() { scope.series.is_empty() } else { scope.scenarios.is_empty() };
        if nothing && !self.tags.is_empty() { Err(self.nothing()) } else { Ok(scope) }
    }

    /// Whether it is about what has these labels.
    fn suits(&self, labels: &BTreeMap<&str, &str>) -> bool {
        let kept = |tag: &str| ["status", "node", "expected_response", "check"].contains(&tag);
        self.tags.iter().all(|(tag, value)| kept(tag) || labels.get(tag.as_str()) == Some(&value.as_str()))
    }

    /// Looks for scenarios, or steps, that it can be about, before there is a plan. What has no label `step` is a
    /// scenario whose steps are not known yet.
    ///
    /// # Errors
    /// Where there is none.
    pub fn expect_one_of<'s>(
        &'s self,
        parts: impl IntoIterator<Item = BTreeMap<&'s str, &'s str>>,
    ) -> Result<(), ThresholdFault> {
        let step = self.tags.iter().find(|(tag, _)| tag == "step").map(|(_, step)| step.as_str());
        let suits = |mut labels: BTreeMap<&'s str, &'s str>| {
            // Of such a scenario it is settled when there is a plan.
            if !labels.contains_key("step") {
                labels.extend(step.map(|step| ("step", step)));
            }
            self.suits(&labels)
        };
        if parts.into_iter().any(suits) { Ok(()) } else { Err(self.nothing()) }
    }

    fn nothing(&self) -> ThresholdFault {
        let tags: Vec<String> = self.tags.iter().map(|(tag, value)| format!("{tag}:{value}")).collect();
        let what = format!("no scenario or step is {}", tags.join(","));
        ThresholdFault::Tag { metric: self.metric.name.to_owned(), what }
    }

    /// Unit of what is observed.
    fn unit(&self) -> &'static str {
        match (self.metric.kind, self.expression.aggregation) {
            (Kind::Counter, Aggregation::Rate) if self.metric.unit.is_empty() => "per second",
            (Kind::Counter, Aggregation::Rate) => "bytes per second",
            _ => self.metric.unit,
        }
    }
}

/// Checks all limits against a plan.
///
/// # Errors
/// The first that makes no sense.
pub fn check(limits: &[Limit], plan: &Plan) -> Result<(), ThresholdFault> {
    limits.iter().try_for_each(|limit| Threshold::new(limit)?.scope(plan).map(|_| ()))
}

/// The metric's name and the tags in `name{tag:value,…}`.
fn key(text: &str) -> Result<(&str, Tags), ThresholdFault> {
    let fault = || ThresholdFault::Key(text.to_owned());
    let Some((name, rest)) = text.split_once('{') else { return Ok((text.trim(), Vec::new())) };
    let inside = rest.trim_end().strip_suffix('}').ok_or_else(fault)?;
    let bare = |text: &str| text.trim().trim_matches(['"', '\'']).trim().to_owned();
    let mut tags = Vec::new();
    for tag in inside.split(',').filter(|tag| !tag.trim().is_empty()) {
        let (tag, value) = tag.split_once(':').ok_or_else(fault)?;
        let (tag, mut value) = (bare(tag), bare(value));
        // k6 writes `::a::b` of a group that scripts and files call `a::b`.
        if tag == "group" {
            value = value.trim_start_matches("::").to_owned();
        }
        tags.push((tag, value));
    }
    Ok((name.trim(), tags))
}

#[cfg(test)]
mod tests;
