//! `aggregation operator number`: one comparison, as in k6.

use super::ThresholdFault;
use crate::histogram::Latency;
use crate::metric::Kind;

/// What is made of a metric's values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Aggregation {
    /// Number of events.
    Count,
    /// Of a counter: events per second; of a rate: the share.
    Rate,
    /// The last value.
    Value,
    /// Mean.
    Avg,
    /// Smallest.
    Min,
    /// Greatest.
    Max,
    /// The value at this quantile, 0..=1.
    Quantile(f64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    LessOrEqual,
    Less,
    GreaterOrEqual,
    Greater,
    Equal,
    NotEqual,
}

/// In the order in which k6 looks for them: none is hidden by a shorter one.
const OPERATORS: [(&str, Operator); 7] = [
    ("<=", Operator::LessOrEqual),
    ("<", Operator::Less),
    (">=", Operator::GreaterOrEqual),
    (">", Operator::Greater),
    ("===", Operator::Equal),
    ("==", Operator::Equal),
    ("!=", Operator::NotEqual),
];

/// One comparison.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expression {
    /// What is compared.
    pub aggregation: Aggregation,
    operator: Operator,
    limit: f64,
    /// The limit is a share of what a baseline had.
    pub is_relative: bool,
}

impl Aggregation {
    fn parse(text: &str) -> Result<Aggregation, ThresholdFault> {
        let fault = || ThresholdFault::Expression(text.to_owned());
        Ok(match text {
            "count" => Aggregation::Count,
            "rate" => Aggregation::Rate,
            "value" => Aggregation::Value,
            "avg" => Aggregation::Avg,
            "min" => Aggregation::Min,
            "max" => Aggregation::Max,
            "med" => Aggregation::Quantile(0.5),
            _ => {
                let percent = text.strip_prefix("p(").and_then(|rest| rest.strip_suffix(')')).ok_or_else(fault)?;
                let percent: f64 = percent.parse().map_err(|_e| fault())?;
                if !(0.0..=100.0).contains(&percent) {
                    return Err(ThresholdFault::Percentile(text.to_owned()));
                }
                Aggregation::Quantile(percent / 100.0)
            }
        })
    }

    /// Whether a metric of that kind has it.
    #[must_use]
    pub fn suits(self, kind: Kind) -> bool {
        match kind {
            Kind::Counter => matches!(self, Aggregation::Count | Aggregation::Rate),
            Kind::Gauge => self == Aggregation::Value,
            Kind::Rate => self == Aggregation::Rate,
            Kind::Trend => !matches!(self, Aggregation::Count | Aggregation::Rate | Aggregation::Value),
        }
    }

    /// Of a trend, in ms; `None` without data.
    #[must_use]
    pub fn of(self, latency: &Latency) -> Option<f64> {
        match self {
            Aggregation::Avg => latency.mean_ms(),
            Aggregation::Min => latency.min_ms(),
            Aggregation::Max => latency.max_ms(),
            Aggregation::Quantile(q) => latency.quantile_ms(q),
            Aggregation::Count | Aggregation::Rate | Aggregation::Value => None,
        }
    }
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// Where it is none.
    pub fn parse(text: &str) -> Result<Expression, ThresholdFault> {
        let fault = || ThresholdFault::Expression(text.to_owned());
        let found = OPERATORS.iter().find_map(|(sign, operator)| Some((text.split_once(sign)?, *operator)));
        let ((left, right), operator) = found.ok_or_else(fault)?;
        let aggregation = Aggregation::parse(left.trim()).map_err(|wrong| match wrong {
            ThresholdFault::Percentile(_) => ThresholdFault::Percentile(text.to_owned()),
            _ => fault(),
        })?;
        let (number, scale) = right.trim().strip_suffix('%').map_or((right.trim(), 1.0), |percent| (percent, 0.01));
        let limit: f64 = number.trim_end().parse().map_err(|_e| fault())?;
        if !limit.is_finite() {
            return Err(fault());
        }
        Ok(Expression { aggregation, operator, limit: limit * scale, is_relative: scale != 1.0 })
    }

    /// The number that a value is compared with: of a relative limit that share of what the baseline had, `None`
    /// where that is not known.
    #[must_use]
    pub fn limit(&self, baseline: Option<f64>) -> Option<f64> {
        if self.is_relative { baseline.map(|had| self.limit * had) } else { Some(self.limit) }
    }

    /// Whether a value keeps the limit; what cannot be compared does not.
    #[must_use]
    pub fn holds(&self, value: f64, baseline: Option<f64>) -> bool {
        let Some(limit) = self.limit(baseline) else { return false };
        match self.operator {
            Operator::LessOrEqual => value <= limit,
            Operator::Less => value < limit,
            Operator::GreaterOrEqual => value >= limit,
            Operator::Greater => value > limit,
            Operator::Equal => value == limit,
            Operator::NotEqual => value != limit,
        }
    }
}
