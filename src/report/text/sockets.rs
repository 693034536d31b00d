//! WebSocket sessions as text.

use std::fmt::Write as _;

use super::super::number::{count, maybe, significant};
use super::table;
use crate::summary::{self, Figures, Summary};

/// The sessions: all together, and by step where there are several.
pub(super) fn sockets(summary: &Summary, figures: &Figures) -> String {
    let Some(all) = &figures.sockets else { return String::new() };
    let per_s = |n: u64| significant(if figures.seconds > 0.0 { n as f64 / figures.seconds } else { 0.0 });
    let mut out = format!(
        "\nWebSocket sessions: {} completed, {} failed, {} interrupted; messages: {} sent ({}/s), {} received ({}/s)\n",
        count(all.sessions.completed),
        count(all.sessions.failed),
        count(all.sessions.interrupted),
        count(all.sent),
        per_s(all.sent),
        count(all.received),
        per_s(all.received),
    );
    let head = ["step", "", "n", "mean ms", "p50", "p95", "p99", "max"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for step in summary::steps(summary) {
        let Some(sockets) = &step.window.sockets else { continue };
        let mut name = step.step.clone();
        let parts = [
            ("ws_connecting", &sockets.connecting),
            ("ws_session_duration", &sockets.duration),
            ("ws_expect_duration", &sockets.expected),
        ];
        for (metric, latency) in parts.into_iter().filter(|(_, latency)| !latency.is_empty()) {
            let quantile = |q| maybe(latency.quantile_ms(q));
            rows.push(vec![
                std::mem::take(&mut name),
                metric.to_owned(),
                count(latency.count()),
                maybe(latency.mean_ms()),
                quantile(0.5),
                quantile(0.95),
                quantile(0.99),
                maybe(latency.max_ms()),
            ]);
        }
    }
    if rows.len() > 1 {
        out.push_str(&table(&rows, 2, &[0, 1]));
    }
    let mut kinds: Vec<_> = all.errors.iter().collect();
    kinds.sort_by(|a, b| b.1.cmp(a.1));
    for (kind, n) in kinds.iter().take(8) {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "  {} × {}", count(**n), kind.describe());
    }
    if kinds.len() > 8 {
        let _ = writeln!(out, "  and {} more kinds", kinds.len() - 8);
    }
    out
}
