//! Limits in percent: what they are relative to, looked up before the run begins.

use std::path::{Path, PathBuf};

use anyhow::anyhow;

use super::failure::Failure;
use super::output;
use crate::baseline::Baseline;
use crate::rundir;
use crate::threshold::{self, Aggregation, Expression, Limit};

/// Looks up the baseline of each limit that is relative to one: its own, or that of the command line.
pub(super) fn resolve(limits: &mut [Limit], flag: Option<&str>, runs_dir: &Path) -> Result<(), Failure> {
    let documented = output::baselines(&[])?;
    for limit in limits {
        let about = format!("threshold {:?} on {}", limit.expression, limit.metric);
        let invalid = |why: String| Failure::invalid(anyhow!("{about}: {why}"));
        if !limit.is_relative() {
            if limit.baseline.is_some() {
                return Err(invalid("it names a baseline, and its limit is no percentage of one".to_owned()));
            }
            continue;
        }
        let name = limit.baseline.clone().or_else(|| flag.map(str::to_owned)).ok_or_else(|| {
            invalid(
                "percent of what? Say `baseline = \"RUN\"` beside it, or --threshold-baseline RUN: a run directory, or \
                 the id of a documented baseline"
                    .to_owned(),
            )
        })?;
        let value = value(limit, &name, &documented, runs_dir).map_err(invalid)?;
        limit.baseline_value = Some(value);
        limit.baseline = Some(name);
    }
    Ok(())
}

fn value(limit: &Limit, name: &str, documented: &[Baseline], runs_dir: &Path) -> Result<f64, String> {
    if let Some(baseline) = documented.iter().find(|baseline| baseline.id == name) {
        return of_document(limit, baseline);
    }
    let places = [PathBuf::from(name), runs_dir.join(name)];
    let Some(directory) = places.iter().find(|place| place.join("plan.json").exists()) else {
        let ids: Vec<&str> = documented.iter().map(|baseline| baseline.id.as_str()).collect();
        return Err(format!("{name} is no run directory, nor a documented baseline ({})", ids.join(", ")));
    };
    let summary = rundir::read(directory).map_err(|fault| fault.to_string())?;
    let measured = threshold::measured(limit, &summary.plan, &summary.steady).map_err(|fault| fault.to_string())?;
    measured.ok_or_else(|| format!("{name} has no data for it"))
}

/// What Posit documents: requests per second, the mean latency of the fetches, and the errors.
fn of_document(limit: &Limit, baseline: &Baseline) -> Result<f64, String> {
    let aggregation = Expression::parse(&limit.expression).map_err(|fault| fault.to_string())?.aggregation;
    let metric = limit.metric.split('{').next().unwrap_or_default().trim();
    let value = match (metric, aggregation) {
        ("http_reqs", Aggregation::Rate) => Some(baseline.requests_per_second),
        ("http_req_duration", Aggregation::Avg) => baseline.fetch_latency_mean_ms,
        ("http_req_failed", Aggregation::Rate) => baseline.error_rate,
        _ => None,
    };
    let known = "`rate` of http_reqs, `avg` of http_req_duration, `rate` of http_req_failed";
    value.ok_or_else(|| format!("{} does not document it; documented are at most: {known}", baseline.id))
}
