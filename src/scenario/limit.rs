//! `[thresholds]`: an expression, or a table with that and more; one, or a list of them.

use toml::de::DeValue;

use super::reader::{Fields, Value};
use crate::threshold::Limit;

pub(super) const KEYS: [&str; 6] = ["threshold", "abortOnFail", "delayAbortEval", "window", "after", "baseline"];

/// Reads all limits.
pub(super) fn read(top: &Fields<'_>) -> Vec<Limit> {
    let mut limits = Vec::new();
    for (metric, value) in top.named("thresholds") {
        let place = format!("thresholds.{metric:?}");
        match value.get_ref() {
            DeValue::Array(several) => {
                limits.extend(several.iter().filter_map(|value| one(metric, value, &place, top)));
            }
            _ => limits.extend(one(metric, value, &place, top)),
        }
    }
    limits
}

fn one(metric: &str, value: &Value<'_>, place: &str, top: &Fields<'_>) -> Option<Limit> {
    if let Some(expression) = value.get_ref().as_str() {
        return Some(Limit::new(metric, expression));
    }
    if !value.get_ref().is_table() {
        let what = "a threshold is an expression such as \"p(95)<500\", or a table with `threshold`";
        top.faults.add(value.span(), place, what);
        return None;
    }
    let fields = Fields::of(value, place, &KEYS, top.faults)?;
    if !fields.has("threshold") {
        fields.fault("`threshold` is missing: the expression, such as \"p(95)<500\"");
    }
    Some(Limit {
        abort_on_fail: fields.boolean("abortOnFail").unwrap_or_default(),
        delay_abort_eval: fields.duration("delayAbortEval").unwrap_or_default(),
        window: fields.duration("window"),
        after: fields.duration("after").unwrap_or_default(),
        baseline: fields.text("baseline").map(str::to_owned),
        ..Limit::new(metric, fields.text("threshold")?)
    })
}
