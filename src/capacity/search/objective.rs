//! An objective of latency or errors: `p(95)<500`, `avg<200ms`, `error_rate<0.1%`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::histogram::Latency;

/// What is to stay below a limit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Figure {
    /// A quantile of the latency, 0 to 1; limit in ms.
    Quantile(f64),
    /// The mean latency; limit in ms.
    Mean,
    /// Failed / (failed + completed); limit as a share.
    ErrorRate,
}

/// A figure, its limit, and how it was written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objective {
    figure: Figure,
    limit: f64,
    text: String,
}

/// A text that is no objective.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is no objective: {why}; write p(95)<500 (ms), p(99)<2s, avg<200ms, med<100 or error_rate<0.1%")]
pub struct NoObjective {
    text: String,
    why: &'static str,
}

impl FromStr for Objective {
    type Err = NoObjective;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |why| NoObjective { text: text.to_owned(), why };
        let (name, limit) = text.split_once('<').ok_or_else(|| wrong("it has no `<`"))?;
        let quantile = |percent: &str| percent.parse::<f64>().ok().filter(|p| *p > 0.0 && *p < 100.0);
        let figure = match name.trim() {
            "error_rate" => Figure::ErrorRate,
            "avg" | "mean" => Figure::Mean,
            "med" => Figure::Quantile(0.5),
            name => match name.strip_prefix("p(").and_then(|rest| rest.strip_suffix(')')).map(quantile) {
                Some(Some(percent)) => Figure::Quantile(percent / 100.0),
                Some(None) => return Err(wrong("a percentile lies between 0 and 100")),
                None => return Err(wrong("there is no figure of that name")),
            },
        };
        let limit = limit.strip_prefix('=').unwrap_or(limit).trim();
        let units: &[(&str, f64)] =
            if figure == Figure::ErrorRate { &[("%", 0.01), ("", 1.0)] } else { &[("ms", 1.0), ("s", 1e3), ("", 1.0)] };
        let number = units.iter().find_map(|(unit, factor)| {
            limit.strip_suffix(unit).and_then(|number| number.trim().parse::<f64>().ok()).map(|number| number * factor)
        });
        let limit = number
            .filter(|limit| limit.is_finite() && *limit > 0.0)
            .ok_or_else(|| wrong("its limit is no number above 0"))?;
        if figure == Figure::ErrorRate && limit > 1.0 {
            return Err(wrong("an error rate is a share or a percentage"));
        }
        Ok(Objective { figure, limit, text: text.to_owned() })
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Objective {
    /// How a stage breaks it, for people; `None` where it keeps it. A stage without an answer keeps no latency.
    #[must_use]
    pub fn broken(&self, latency: &Latency, error_rate: f64) -> Option<String> {
        let (value, shown) = match self.figure {
            Figure::ErrorRate => (Some(error_rate), format!("{:.2} %", 100.0 * error_rate)),
            Figure::Mean => (latency.mean_ms(), latency.mean_ms().map_or_else(String::new, |ms| format!("{ms:.0} ms"))),
            Figure::Quantile(q) => {
                let value = latency.quantile_ms(q);
                (value, value.map_or_else(String::new, |ms| format!("{ms:.0} ms")))
            }
        };
        match value {
            Some(value) if value < self.limit => None,
            Some(_) => Some(format!("breaks {self}: {shown}")),
            None => Some(format!("breaks {self}: no request was completed")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_is_written_is_what_is_judged() {
        let mut latency = Latency::default();
        latency.record_n(Duration::from_millis(100), 90);
        latency.record_n(Duration::from_millis(600), 10);
        let broken = |text: &str| text.parse::<Objective>().unwrap().broken(&latency, 0.002);
        for kept in ["p(90)<200", "p(95)<0.7s", "avg<151ms", "med<100.5", "error_rate<0.3%", "error_rate<0.003"] {
            assert_eq!(broken(kept), None, "{kept}");
        }
        for not_kept in ["p(95)<500", "avg<150", "med<99ms", "error_rate<0.1%", "error_rate<0.002"] {
            assert!(broken(not_kept).is_some_and(|why| why.contains(not_kept)), "{not_kept}");
        }
        assert!("avg<1".parse::<Objective>().unwrap().broken(&Latency::default(), 0.0).is_some());
    }

    #[test]
    fn what_is_no_objective_is_said() {
        for wrong in
            ["p(95)>500", "p(95)<", "p(0)<1", "p(100)<1", "rps<5", "p(95)<-1", "avg<nan", "error_rate<200%", ""]
        {
            let why = wrong.parse::<Objective>().unwrap_err().to_string();
            assert!(why.contains("error_rate<0.1%"), "{why}");
        }
    }
}
