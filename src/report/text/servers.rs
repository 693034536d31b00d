//! What servers told of themselves: a line or two for each.

use super::super::foreign;
use super::super::number::{bytes, count, duration, percent, significant};
use super::wrap;
use crate::server_metrics::{Metric, Place};
use crate::summary::Summary;

/// So many figures of a server are shown.
const SHOWN: usize = 5;
/// So many outages are listed.
const OUTAGES: usize = 3;
/// Characters of an address, and of a reason, that are shown.
const ADDRESS: usize = 80;
const REASON: usize = 120;

/// Every server.
pub(super) fn servers(summary: &Summary) -> String {
    let mut out = String::new();
    for place in &summary.server_metrics {
        out.push_str(if out.is_empty() { "\n" } else { "" });
        out.push_str(&wrap(&figures(place), &format!("Server {}: ", foreign::line(&place.url, ADDRESS)), 2));
        out.push_str(&silences(place).map_or_else(String::new, |line| wrap(&line, "  ", 2)));
    }
    out
}

/// Its figures in the measured part.
pub(in crate::report) fn figures(place: &Place) -> String {
    let figure = |figure: &crate::server_metrics::Figure| {
        let (mean, max) = (figure.mean?, figure.max?);
        let [mean, max] = [mean, max].map(|value| shown(figure.metric, value));
        Some(format!("{} (at most {max})", phrase(figure.metric, &mean)))
    };
    let all: Vec<String> = place.figures.iter().filter_map(figure).take(SHOWN).collect();
    match (all.is_empty(), place.answers) {
        (false, _) => all.join("; "),
        (true, 0) => "it never answered".to_owned(),
        (true, n) => format!("{} answers, too few for a figure of the measured part", count(n)),
    }
}

fn phrase(metric: Metric, value: &str) -> String {
    match metric {
        Metric::MachineCpuShare => format!("CPU {value} busy"),
        Metric::ProcessCpuCores => format!("{value} cores used"),
        Metric::MachineMemoryShare => format!("memory {value} used"),
        Metric::ProcessMemoryBytes => format!("{value} of memory"),
        Metric::RequestMeanMs => format!("{value} ms per request"),
        Metric::MachineLoad1m => format!("load {value}"),
        Metric::ProcessOpenFiles => format!("{value} open files"),
        Metric::RequestsPerS | Metric::RequestsInFlight | Metric::AppSessions | Metric::JobsQueued => {
            format!("{value} {}", metric.words())
        }
    }
}

/// When it did not answer, and when it started again; `None` where neither.
pub(in crate::report) fn silences(place: &Place) -> Option<String> {
    let outage = |outage: &crate::server_metrics::Outage| {
        let until = outage.to_s.map_or_else(|| "to the end".to_owned(), |to| format!("to {}", duration(to)));
        format!("from {} {until} ({})", duration(outage.from_s), foreign::line(&outage.reason, REASON))
    };
    let mut parts: Vec<String> = Vec::new();
    if !place.outages.is_empty() {
        let listed: Vec<String> = place.outages.iter().take(OUTAGES).map(outage).collect();
        let more = place.outages.len().saturating_sub(OUTAGES);
        let more = if more > 0 { format!(", and {more} more times") } else { String::new() };
        parts.push(format!("no answer {}{more}", listed.join(", ")));
    }
    if !place.restarts_s.is_empty() {
        let times: Vec<String> = place.restarts_s.iter().take(OUTAGES).map(|at| duration(*at)).collect();
        parts.push(format!("its process had started again at {}", times.join(", ")));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// A value as people read it.
pub(in crate::report) fn shown(metric: Metric, value: f64) -> String {
    match metric {
        Metric::MachineCpuShare | Metric::MachineMemoryShare => percent(value),
        Metric::ProcessMemoryBytes => bytes(value.max(0.0) as u64),
        _ => significant(value),
    }
}
