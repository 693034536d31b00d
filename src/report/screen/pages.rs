//! The pages of the live view beside the overview.

use std::cmp::Reverse;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::super::course::PER_DECADE;
use super::super::number::{count, duration, maybe, percent};
use super::super::watch::Watch;
use super::super::{foreign, text};
use super::heat::{bucket_ms, short_ms};
use super::rows::{bar, sparkline};
use super::{Palette, put};

/// Lines of a page below a blank one.
fn page(lines: Vec<Line<'static>>, area: Rect, buffer: &mut Buffer) {
    let mut left = area;
    put(Line::default(), &mut left, buffer);
    lines.into_iter().for_each(|line| put(line, &mut left, buffer));
}

fn titled(palette: Palette, title: &str) -> Vec<Line<'static>> {
    vec![Line::from(palette.name(title.to_owned()))]
}

/// Rows in columns, the first column to the left, the others as `left` says.
fn table(rows: &[Vec<String>], left: &[usize]) -> Vec<Line<'static>> {
    text::table(rows, 1, left).lines().map(|line| Line::from(line.to_owned())).collect()
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|&cell| cell.to_owned()).collect()
}

/// What failed.
pub(super) fn errors(watch: &Watch, palette: Palette, area: Rect, buffer: &mut Buffer) {
    let mut lines = titled(palette, "Errors since the start, by kind");
    if watch.errors.is_empty() {
        lines.push(Line::from(" none"));
    }
    let mut kinds: Vec<_> = watch.errors.iter().collect();
    kinds.sort_by_key(|(_, seen)| Reverse(seen.count));
    let mut rows = vec![row(&["count", "first", "last", "what"])];
    for (kind, seen) in kinds {
        let at = |second: u64| duration(second as f64);
        rows.push(vec![count(seen.count), at(seen.first_s), at(seen.last_s), kind.describe()]);
    }
    if rows.len() > 1 {
        lines.extend(table(&rows, &[3]));
        let recent = watch.seconds.iter().skip(watch.seconds.len().saturating_sub(usize::from(area.width) - 20));
        let course = sparkline(recent.map(|slot| slot.failed as f64));
        lines.push(Line::from(vec![palette.plain(" per second "), Span::styled(course, palette.bad())]));
    }
    if !watch.failures.is_empty() {
        lines.push(Line::default());
        lines.extend(titled(palette, "What was said"));
        for failure in &watch.failures {
            let (place, why) = (&failure.place, &failure.why);
            lines.push(Line::from(format!(" {} × {place}: {why}", count(failure.count))));
        }
    }
    page(lines, area, buffer);
}

/// The nodes.
pub(super) fn nodes(watch: &Watch, palette: Palette, area: Rect, buffer: &mut Buffer) {
    let mut lines = titled(palette, "Nodes since the start, by affinity cookie");
    if watch.nodes.is_empty() {
        lines.push(Line::from(" none seen: the server sets no affinity cookie that is known to us"));
        return page(lines, area, buffer);
    }
    let all: u64 = watch.nodes.values().map(|node| node.completed).sum();
    let mut rows = vec![row(&["node", "share", "", "completed", "failed", "p50 ms", "p95 ms", "p99 ms"])];
    for (name, node) in &watch.nodes {
        let share = node.completed as f64 / all.max(1) as f64;
        let quantile = |q| maybe(node.latency.quantile_ms(q));
        rows.push(vec![
            foreign::line(name, 16),
            percent(share),
            format!("{:12}", bar(share, 12)),
            count(node.completed),
            count(node.failed),
            quantile(0.5),
            quantile(0.95),
            quantile(0.99),
        ]);
    }
    lines.extend(table(&rows, &[0, 2]));
    page(lines, area, buffer);
}

/// The distribution of latency.
pub(super) fn histogram(watch: &Watch, palette: Palette, area: Rect, buffer: &mut Buffer) {
    let measured = !watch.measured.is_empty();
    let latency = if measured { watch.measured.clone() } else { watch.recent_latency() };
    let of = if measured { "the measured part" } else { "the last seconds" };
    let mut lines = titled(palette, &format!("Latency of fetches, {of}: n = {}", count(latency.count())));
    let quantile = |q| maybe(latency.quantile_ms(q));
    let mut figures = format!(" p50 {}  p90 {}  p95 {}", quantile(0.5), quantile(0.9), quantile(0.95));
    figures.push_str(&format!("  p99 {}", quantile(0.99)));
    // Fewer say nothing about one in a thousand.
    if latency.count() >= 10_000 {
        figures.push_str(&format!("  p99.9 {}", quantile(0.999)));
    }
    lines.push(Line::from(format!("{figures}  max {} ms", maybe(latency.max_ms()))));
    let mut buckets: Vec<(u8, u64)> = Vec::new();
    for (us, n) in latency.buckets() {
        let bucket = (PER_DECADE * (us.max(1) as f64).log10()).floor().clamp(0.0, 95.0) as u8;
        match buckets.last_mut() {
            Some((last, sum)) if *last == bucket => *sum += n,
            _ => buckets.push((bucket, n)),
        }
    }
    let room = usize::from(area.height).saturating_sub(lines.len() + 1).max(1);
    let (Some(low), Some(high)) = (buckets.first(), buckets.last()) else { return page(lines, area, buffer) };
    let (low, per_row) = (low.0, (usize::from(high.0 - low.0) + 1).div_ceil(room));
    let mut sums = vec![0; (usize::from(high.0 - low) + 1).div_ceil(per_row)];
    for (bucket, n) in buckets {
        sums[usize::from(bucket - low) / per_row] += n;
    }
    let most = sums.iter().copied().max().unwrap_or(1).max(1) as f64;
    for (at, n) in sums.iter().enumerate() {
        let from = low + u8::try_from(at * per_row).unwrap_or(0);
        let cells = usize::from(area.width).saturating_sub(30);
        let share = *n as f64 / latency.count() as f64;
        lines.push(Line::from(vec![
            palette.aside(format!("{:>9} ", short_ms(bucket_ms(from)))),
            Span::styled(bar(*n as f64 / most, cells), palette.drawn()),
            palette.plain(if *n > 0 { format!(" {}", percent(share)) } else { String::new() }),
        ]));
    }
    page(lines, area, buffer);
}

/// The keys, and how to read what is shown.
pub(super) fn help(watch: &Watch, palette: Palette, area: Rect, buffer: &mut Buffer) {
    let mut keys = vec![("q", "stop: what was begun is finished; Ctrl-C twice cuts it off")];
    if watch.search.is_none() {
        keys.push(("p", "pause and resume"));
        keys.push(("+ -", "a tenth more or fewer VUs"));
    }
    keys.extend([
        ("e n h", "errors, nodes, histogram; again or Esc: back"),
        ("space", "freeze the display; the run goes on"),
        ("Ctrl-Z", "stop this process until `fg`: the load stops too, and is spoilt"),
    ]);
    let mut lines = titled(palette, "Keys");
    for (key, what) in keys {
        lines.push(Line::from(vec![
            palette.plain(" "),
            palette.key(format!(" {key:6} ")),
            palette.plain(format!(" {what}")),
        ]));
    }
    lines.push(Line::default());
    lines.extend(titled(palette, "Reading it"));
    let reading = [
        "VUs 48/50: active of those asked for. rps: completed fetches per second.",
        "rps, p50, p95, p99: the last 5 s. Codes, errors, nodes: since the start.",
        "Thresholds are judged on the measured part, as in the result.",
        "Generator LIMITED: this machine was the limit; such seconds say nothing.",
        "In a browser: --web. For scripts: --address. A line instead of this: --no-tui.",
    ];
    lines.extend(reading.map(|line| Line::from(format!(" {line}"))));
    page(lines, area, buffer);
}
