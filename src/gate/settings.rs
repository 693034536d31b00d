//! What a profile's file says: rules for each metric, limits, what may differ. Written once, then edited by people.

use serde::{Deserialize, Serialize};

use super::fingerprint;
use super::inference::{Better, Rule};
use super::record::Record;
use crate::threshold::{Limit, ThresholdFault};
use crate::units::nearest;

/// Version of the file's form; a reader refuses a newer one.
pub const SCHEMA: u32 = 1;

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsFault {
    /// It is no TOML, or has a key or a value that there is not.
    #[error("{what}{hint}")]
    Toml {
        /// What the reader says, with line and column.
        what: String,
        /// `did you mean …?`, or nothing.
        hint: String,
    },
    /// A newer form.
    #[error("written for a newer connect-bench (form {0}, this one reads up to {SCHEMA})")]
    Newer(u32),
    /// A value that makes no sense.
    #[error("{key} = {value}: {range}")]
    Range {
        /// The key.
        key: String,
        /// Its value.
        value: f64,
        /// What would do.
        range: &'static str,
    },
    /// A property that there is not.
    #[error("{key}: there is no property {name:?}; there are {}", fingerprint::names().join(", "))]
    Property {
        /// The key.
        key: &'static str,
        /// What was written.
        name: String,
    },
    /// A limit that makes no sense.
    #[error("limits: {0}")]
    Limit(#[from] ThresholdFault),
}

/// A metric that the gate looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Completed requests per second, of all scenarios.
    Rps,
    /// 95th percentile of the fetches' latency.
    P95,
    /// Its median.
    P50,
    /// Its 99th percentile.
    P99,
}

impl Measure {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Measure; 4] = [Measure::Rps, Measure::P50, Measure::P95, Measure::P99];

    /// Its name in documents.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Measure::Rps => "requests_per_second",
            Measure::P50 => "latency_p50_ms",
            Measure::P95 => "latency_p95_ms",
            Measure::P99 => "latency_p99_ms",
        }
    }

    /// Whether more or less is better.
    #[must_use]
    pub fn better(self) -> Better {
        if self == Measure::Rps { Better::Higher } else { Better::Lower }
    }

    /// Whether it decides. The others are shown: fewer tests, fewer false alarms.
    #[must_use]
    pub fn is_judged(self) -> bool {
        matches!(self, Measure::Rps | Measure::P95)
    }

    /// Its value in a run.
    #[must_use]
    pub fn of(self, record: &Record) -> Option<f64> {
        match self {
            Measure::Rps => Some(record.requests_per_second),
            Measure::P50 => record.p50_ms,
            Measure::P95 => record.p95_ms,
            Measure::P99 => record.p99_ms,
        }
    }
}

/// The limit on errors.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorRule {
    /// Share of failed requests that is no objection, 0..1. Earlier runs may have had more.
    pub max_rate: f64,
}

/// Rules for each metric.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// Requests per second.
    pub rps: Rule,
    /// Median latency; shown, not judged.
    pub p50_ms: Rule,
    /// 95th percentile of latency.
    pub p95_ms: Rule,
    /// 99th percentile; shown, not judged.
    pub p99_ms: Rule,
    /// Errors.
    pub errors: ErrorRule,
    /// Requests per second against a documented figure: another cloud, version and generator.
    pub documented: Rule,
}

const fn rule(min_effect: f64, prior_cv: f64) -> Rule {
    Rule { min_effect, alpha: 0.05, prior_cv }
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            rps: rule(0.05, 0.02),
            p50_ms: rule(0.10, 0.04),
            p95_ms: rule(0.10, 0.04),
            p99_ms: rule(0.20, 0.08),
            errors: ErrorRule { max_rate: 0.000_1 },
            documented: rule(0.10, 0.03),
        }
    }
}

/// A profile's file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What it is about, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// Hold runs against this documented figure, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documented: Option<String>,
    /// Properties in which runs may differ, though by default they may not.
    #[serde(default)]
    pub may_differ: Vec<String>,
    /// Properties in which they may not, though by default they may.
    #[serde(default)]
    pub must_match: Vec<String>,
    /// Absolute limits, as `load --threshold` takes them.
    #[serde(default)]
    pub limits: Vec<String>,
    /// Rules for each metric.
    #[serde(default)]
    pub gate: Rules,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            schema: SCHEMA,
            about: None,
            documented: None,
            may_differ: Vec::new(),
            must_match: Vec::new(),
            limits: Vec::new(),
            gate: Rules::default(),
        }
    }
}

impl Settings {
    /// Reads a profile's file.
    ///
    /// # Errors
    /// Where it is none, with line and column and the key that may be meant.
    pub fn read(text: &str) -> Result<Settings, SettingsFault> {
        let settings: Settings = toml::from_str(text).map_err(|fault| SettingsFault::Toml {
            hint: meant(fault.message()).map_or_else(String::new, |near| format!("did you mean `{near}`?")),
            what: fault.to_string(),
        })?;
        if settings.schema > SCHEMA {
            return Err(SettingsFault::Newer(settings.schema));
        }
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), SettingsFault> {
        let rules = &self.gate;
        let all = [
            ("rps", &rules.rps),
            ("p50_ms", &rules.p50_ms),
            ("p95_ms", &rules.p95_ms),
            ("p99_ms", &rules.p99_ms),
            ("documented", &rules.documented),
        ];
        let within = |key: String, value: f64, (low, high): (f64, f64), range| {
            if value > low && value < high { Ok(()) } else { Err(SettingsFault::Range { key, value, range }) }
        };
        for (name, rule) in all {
            let key = |field: &str| format!("gate.{name}.{field}");
            within(key("min_effect"), rule.min_effect, (0.0, 0.9), "a share more than 0, less than 0.9")?;
            within(key("alpha"), rule.alpha, (0.0, 0.5), "a chance more than 0, less than 0.5")?;
            within(key("prior_cv"), rule.prior_cv, (0.0, 1.0), "a share more than 0, less than 1")?;
        }
        let rate = rules.errors.max_rate;
        if !(0.0..1.0).contains(&rate) {
            let key = "gate.errors.max_rate".to_owned();
            return Err(SettingsFault::Range { key, value: rate, range: "a share from 0, less than 1" });
        }
        known("may_differ", &self.may_differ)?;
        known("must_match", &self.must_match)?;
        self.limits().map(drop)
    }

    /// The absolute limits.
    ///
    /// # Errors
    /// Where one makes no sense.
    pub fn limits(&self) -> Result<Vec<Limit>, SettingsFault> {
        self.limits.iter().map(|text| Limit::from_flag(text).map_err(SettingsFault::from)).collect()
    }

    /// The rule of a metric.
    #[must_use]
    pub fn rule(&self, measure: Measure) -> Rule {
        match measure {
            Measure::Rps => self.gate.rps,
            Measure::P50 => self.gate.p50_ms,
            Measure::P95 => self.gate.p95_ms,
            Measure::P99 => self.gate.p99_ms,
        }
    }

    /// The file as it is first written.
    #[must_use]
    pub fn template(about: &str) -> String {
        let about = toml::Value::String(about.to_owned());
        let Rules { rps, p95_ms, errors, documented, .. } = Rules::default();
        let rule = |rule: Rule| {
            let Rule { min_effect, alpha, prior_cv } = rule;
            format!("{{ min_effect = {min_effect}, alpha = {alpha}, prior_cv = {prior_cv} }}")
        };
        format!(
            "# How `connect-bench gate` judges runs of this profile; docs/gate.md explains each key. Yours to edit.\n\
             schema = {SCHEMA}\nabout = {about}\n\
             # documented = \"aws-single-server-robust\"       # hold runs against Posit's figure, too\n\
             # may_differ = [\"nodes\"]                         # compare runs that differ in these, too\n\
             # must_match = [\"connect_version\"]               # do not compare runs that differ in these\n\
             # limits = [\"http_req_duration: p(95)<500\"]      # absolute limits\n\n\
             [gate]\nrps = {}\np95_ms = {}\nerrors = {{ max_rate = {} }}\ndocumented = {}\n",
            rule(rps),
            rule(p95_ms),
            errors.max_rate,
            rule(documented),
        )
    }
}

/// Checks names of properties.
///
/// # Errors
/// The first that there is not.
pub fn known(key: &'static str, names: &[String]) -> Result<(), SettingsFault> {
    let is_known = |name: &&String| fingerprint::names().contains(&name.as_str());
    match names.iter().find(|name| !is_known(name)) {
        Some(name) => Err(SettingsFault::Property { key, name: name.clone() }),
        None => Ok(()),
    }
}

/// The key that may be meant, from what the reader says of one that it does not know.
fn meant(message: &str) -> Option<String> {
    let mut quoted = message.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2);
    let written = quoted.next()?;
    let names: Vec<&str> = quoted.collect();
    nearest(written, names).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_first_is_the_default() {
        let settings = Settings::read(&Settings::template("my \"server\"")).unwrap();
        assert_eq!(settings, Settings { about: Some("my \"server\"".to_owned()), ..Settings::default() });
        assert_eq!(Settings::read("schema = 1").unwrap(), Settings::default());
    }

    #[test]
    fn faults_say_where_and_what_may_be_meant() {
        let fault = |text: &str| Settings::read(text).unwrap_err().to_string();
        let unknown = fault("schema = 1\nmay_difer = []\n");
        assert!(unknown.contains("line 2") && unknown.contains("did you mean `may_differ`?"), "{unknown}");
        assert!(
            fault("schema = 1\n[gate]\nrps = { min_effect = 5, alpha = 0.05, prior_cv = 0.02 }")
                .contains("less than 0.9")
        );
        assert!(fault("schema = 1\nmay_differ = [\"nods\"]").contains("no property \"nods\""));
        assert!(fault("schema = 1\nlimits = [\"http_req_duration\"]").contains("METRIC: EXPRESSION"));
        assert!(fault("schema = 2").contains("newer"));
    }
}
