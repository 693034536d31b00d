//! The rows of the live view that are text.

use ratatui::style::Modifier;
use ratatui::text::{Line, Span};

use super::super::course::PHASES;
use super::super::number::{bytes, count, duration, in_seconds, maybe, percent, significant};
use super::super::watch::{Judged, Watch};
use super::super::{foreign, text};
use super::{Look, Palette};
use crate::capacity::search::Phase;
use crate::outcome::ErrorKind;
use crate::window::Part;

/// Columns of a row's name.
const NAME: usize = 10;
/// Eighths of a cell, from nothing to all of it.
pub(super) const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// The same, lying.
const LYING: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

fn named(palette: Palette, name: &str) -> Span<'static> {
    palette.name(format!("{name:NAME$}"))
}

/// A bar of so many cells, filled to a share.
pub(super) fn bar(share: f64, cells: usize) -> String {
    let eighths = (share.clamp(0.0, 1.0) * cells as f64 * 8.0).round() as usize;
    let mut out = "█".repeat(eighths / 8);
    if !eighths.is_multiple_of(8) {
        out.push(LYING[eighths % 8]);
    }
    out
}

/// Values as eighths of a line, the greatest as all of it.
pub(super) fn sparkline(values: impl Iterator<Item = f64> + Clone) -> String {
    let most = values.clone().fold(0.0_f64, f64::max);
    let eighth = |value: f64| if most > 0.0 { EIGHTHS[(value / most * 8.0).round() as usize] } else { ' ' };
    // Something is not nothing.
    values.map(|value| if value > 0.0 { eighth(value.max(most / 8.0)) } else { ' ' }).collect()
}

/// What runs, where, and how far it is.
pub(super) fn head(watch: &Watch, look: Look, width: u16) -> Vec<Line<'static>> {
    let (plan, palette) = (watch.plan(), look.palette);
    let what = foreign::line(&text::what(&plan.target), 200);
    // The rest of it has no place in 80 columns.
    let what = if plan.target.sandbox { what.split(':').next().unwrap_or_default().to_owned() } else { what };
    let style = if plan.target.sandbox { palette.warning() } else { palette.plain("").style };
    let title = vec![
        palette.name(format!("connect-bench {} ", plan.command)),
        palette.aside(format!("{} · ", plan.run_id.chars().take(8).collect::<String>())),
        Span::styled(what, style),
    ];
    let elapsed = watch.elapsed_s() as f64;
    let (left, done) = match &watch.search {
        Some(search) => {
            let left = search.progress.remaining_s;
            (format!("· about {} left", duration(left)), elapsed / (elapsed + left).max(1.0))
        }
        None => {
            let total = plan.duration.as_secs_f64();
            (format!("of {}", duration(total)), (elapsed / total.max(1.0)).min(1.0))
        }
    };
    let (part, style) = part(watch, palette);
    let begin = format!("{} {left} ", duration(elapsed));
    let end = format!("▏{:>4} ", percent(done));
    let frozen = if look.is_frozen { "DISPLAY FROZEN" } else { "" };
    let spaces = if frozen.is_empty() { 2 } else { 3 };
    let words = [begin.as_str(), &end, &part, frozen];
    let around = words.iter().map(|word| word.chars().count()).sum::<usize>() + spaces;
    let cells = usize::from(width).saturating_sub(around).min(40);
    let progress = vec![
        palette.plain(begin),
        palette.aside("▕"),
        Span::styled(format!("{:cells$}", bar(done, cells)), palette.drawn()),
        palette.aside(end),
        Span::styled(part, style),
        palette.plain("  "),
        Span::styled(frozen, palette.warning().add_modifier(Modifier::REVERSED)),
    ];
    vec![Line::from(title), Line::from(progress)]
}

fn part(watch: &Watch, palette: Palette) -> (String, ratatui::style::Style) {
    let stopping = (watch.part() == Some(Part::Stopping)).then_some("stopping");
    let word = match (stopping, &watch.search) {
        (Some(stopping), _) => stopping,
        (None, Some(search)) => match search.progress.phase {
            Phase::WarmUp => "warm-up",
            Phase::Sweep => "sweep",
            Phase::Probe => "probe",
            Phase::Finished => "done",
        },
        (None, None) => match watch.part() {
            None => "starting",
            Some(Part::WarmUp) => "warm-up",
            Some(Part::Paused) => "PAUSED",
            Some(Part::Steady | Part::Stopping) => "steady",
        },
    };
    let style = if ["PAUSED", "stopping"].contains(&word) { palette.warning() } else { palette.good() };
    (word.to_owned(), style)
}

/// The thresholds with their margins: those that fail first. At most so many rows.
pub(super) fn thresholds(watch: &Watch, palette: Palette, most: usize) -> Vec<Line<'static>> {
    let mut all: Vec<&Judged> = watch.thresholds.iter().collect();
    let rank = |judged: &Judged| match judged.kept {
        Some(false) => 0,
        Some(true) => 1,
        None => 2,
    };
    all.sort_by(|a, b| {
        let margin = |judged: &Judged| judged.margin.unwrap_or(f64::INFINITY);
        rank(a).cmp(&rank(b)).then(margin(a).total_cmp(&margin(b)))
    });
    let rest = all.len().saturating_sub(most);
    let shown = if rest > 0 { most.saturating_sub(1) } else { all.len() };
    let mut out: Vec<Line<'static>> = all[..shown].iter().map(|judged| threshold(judged, palette)).collect();
    if shown < all.len() {
        let failing = all[shown..].iter().filter(|judged| judged.kept == Some(false)).count();
        let text = format!("{:NAME$}{} more thresholds, {failing} of them failing", "", all.len() - shown);
        out.push(Line::from(palette.aside(text)));
    }
    out
}

fn threshold(judged: &Judged, palette: Palette) -> Line<'static> {
    let (sign, style) = match judged.kept {
        Some(true) => ("✓ OK", palette.good()),
        Some(false) => ("✗ FAILS", palette.bad()),
        None => ("– no data", palette.dim()),
    };
    let observed = judged.observed.as_ref().map_or_else(String::new, |(value, unit)| match unit.as_str() {
        "" => format!("  {}", significant(*value)),
        unit => format!("  {} {unit}", significant(*value)),
    });
    let margin = judged.margin.map_or_else(String::new, |margin| match margin {
        margin if margin >= 0.0 => format!("  {} to spare", percent(margin)),
        margin => format!("  {} beyond it", percent(-margin)),
    });
    Line::from(vec![
        Span::styled(format!("{sign:NAME$}"), style),
        palette.plain(judged.what.clone()),
        palette.plain(observed),
        Span::styled(margin, style),
    ])
}

/// Scenarios that are shown one by one.
const SCENARIOS: usize = 4;

/// Asked against achieved, the rate and its course, latency.
pub(super) fn traffic(watch: &Watch, palette: Palette, width: u16) -> Vec<Line<'static>> {
    let fetching: Vec<usize> = watch.plan().fetch_scenarios().collect();
    let mut out = Vec::new();
    if fetching.len() > 1 {
        for &at in fetching.iter().take(SCENARIOS) {
            out.push(scenario(watch, at, palette));
        }
        if fetching.len() > SCENARIOS {
            let more = fetching.len() - SCENARIOS;
            out.push(Line::from(palette.aside(format!("{:NAME$}{more} more scenarios", ""))));
        }
    }
    let sum = |of: fn(&super::super::watch::Line) -> u64| fetching.iter().map(|&at| of(&watch.lines[at])).sum::<u64>();
    let (vus, asked) = (sum(|line| line.vus), sum(|line| line.asked));
    let short = vus < asked && watch.part() != Some(Part::Stopping);
    let rate = format!("  {} rps ", maybe(watch.fetches_per_s()));
    let begin = format!("VUs {}/{}", count(vus), count(asked));
    let cells = usize::from(width).saturating_sub(NAME + begin.chars().count() + rate.chars().count() + 1).min(120);
    let seconds = watch.seconds.iter().skip(watch.seconds.len().saturating_sub(cells));
    let course = sparkline(seconds.map(|slot| slot.fetched as f64 / slot.seconds.max(1) as f64));
    out.push(Line::from(vec![
        named(palette, "Fetch"),
        Span::styled(begin, if short { palette.warning() } else { palette.plain("").style }),
        palette.name(rate),
        Span::styled(course, palette.drawn()),
    ]));
    if let [only] = fetching[..]
        && watch.lines[only].is_open
    {
        out.push(open(watch, only, palette));
    }
    let latency = watch.recent_latency();
    let quantile = |q| maybe(latency.quantile_ms(q));
    let mut spans = vec![
        palette.plain(format!("{:NAME$}p50 ", "")),
        palette.name(quantile(0.5)),
        palette.plain("  p95 "),
        palette.name(quantile(0.95)),
        palette.plain("  p99 "),
        palette.name(quantile(0.99)),
        palette.plain(" ms  to first byte "),
        palette.name(maybe(watch.waiting_ms())),
        palette.plain(" ms"),
    ];
    spans.push(palette.aside(format!("  last {} s", super::super::watch::RECENT)));
    out.push(Line::from(spans));
    out
}

fn scenario(watch: &Watch, at: usize, palette: Palette) -> Line<'static> {
    let line = &watch.lines[at];
    let mut spans = vec![palette.plain(format!("{:NAME$}", foreign::line(&line.name, NAME - 2)))];
    spans.extend(asked(watch, at, palette));
    Line::from(spans)
}

fn open(watch: &Watch, at: usize, palette: Palette) -> Line<'static> {
    let mut spans = vec![palette.plain(format!("{:NAME$}", ""))];
    spans.extend(asked(watch, at, palette));
    Line::from(spans)
}

/// Asked against achieved, of one scenario.
fn asked(watch: &Watch, at: usize, palette: Palette) -> Vec<Span<'static>> {
    let line = &watch.lines[at];
    let ended = significant(line.ended_per_s);
    if !line.is_open {
        return vec![palette.plain(format!("VUs {}/{}  {ended} iterations/s", count(line.vus), count(line.asked)))];
    }
    let due = significant(line.due_per_s);
    let dropped = format!("  dropped {}", count(line.dropped));
    let style = if line.dropped > 0 { palette.warning() } else { palette.dim() };
    vec![
        palette.plain(format!("arrivals {due}/s asked, {ended}/s ended, VUs {}", count(line.vus))),
        Span::styled(dropped, style),
    ]
}

/// The publish loop: how often, and the phases of the last publish.
pub(super) fn publish(watch: &Watch, palette: Palette, width: u16) -> Vec<Line<'static>> {
    let plan = watch.plan();
    let published = &watch.published;
    if !(0..plan.scenarios.len()).any(|at| plan.publishes(at)) && published.last.is_none() {
        return Vec::new();
    }
    let counts = format!("{} ok, ", count(published.ok));
    let failed = format!("{} failed", count(published.failed));
    let style = if published.failed > 0 { palette.bad() } else { palette.plain("").style };
    let mut first = vec![named(palette, "Publish"), palette.plain(counts), Span::styled(failed, style)];
    let Some(last) = &published.last else {
        first.push(palette.aside("  the first one is under way"));
        return vec![Line::from(first)];
    };
    let took = in_seconds(Some(last.finished_ms - last.started_ms));
    let how = match (&last.interrupted, last.ok) {
        (Some(_), _) => "cut off",
        (None, true) => "ok",
        (None, false) => "FAILED",
    };
    first.push(palette.plain(format!("  #{} {how} in {took} s: ", last.n)));
    let phase = |&(kind, ms): &(usize, f64)| {
        let name = PHASES.get(kind).map_or("", |(_, name)| *name);
        format!("{} {}", name.split(' ').next().unwrap_or_default(), brief_s(ms))
    };
    let phases: Vec<String> = last.phases.iter().map(phase).collect();
    let phases = phases.join(" · ");
    let used: usize = first.iter().map(Span::width).sum();
    if used + phases.chars().count() <= usize::from(width) {
        first.push(palette.plain(phases));
        return vec![Line::from(first)];
    }
    vec![Line::from(first), Line::from(palette.plain(format!("  {phases}")))]
}

/// Seconds in two digits.
fn brief_s(ms: f64) -> String {
    match ms / 1000.0 {
        s if s < 0.01 => "<0.01".to_owned(),
        s if s < 1.0 => format!("{s:.2}"),
        s if s < 100.0 => format!("{s:.1}"),
        s => significant(s),
    }
}

/// The shares of the nodes, where nodes can be told apart.
pub(super) fn nodes(watch: &Watch, palette: Palette, width: u16) -> Vec<Line<'static>> {
    let all: u64 = watch.nodes.values().map(|node| node.completed).sum();
    if watch.nodes.is_empty() || all == 0 {
        return Vec::new();
    }
    let room = usize::from(width).saturating_sub(NAME + 18) / watch.nodes.len();
    let mut spans = vec![named(palette, "Nodes")];
    for (name, node) in watch.nodes.iter().take(usize::from(width) / 20) {
        let share = node.completed as f64 / all as f64;
        let cells = room.saturating_sub(18).clamp(2, 30);
        spans.push(palette.plain(format!("{} {} ", foreign::line(name, 8), percent(share))));
        spans.push(Span::styled(bar(share, cells), palette.drawn()));
        spans.push(palette.plain("  "));
    }
    let most = watch.nodes.values().map(|node| node.completed).max().unwrap_or(0) as f64;
    let imbalance = most * watch.nodes.len() as f64 / all as f64;
    spans.push(palette.plain(format!("imbalance {imbalance:.2}")));
    vec![Line::from(spans)]
}

/// Responses by status, and the failures that were seen most often.
pub(super) fn codes(watch: &Watch, palette: Palette) -> Vec<Line<'static>> {
    let (completed, failed) = watch.requests;
    let rate = if completed + failed == 0 { 0.0 } else { failed as f64 / (completed + failed) as f64 };
    let mut spans = vec![named(palette, "Codes")];
    for (status, n) in watch.statuses.iter().take(8) {
        spans.push(palette.plain(format!("{status}: {}  ", count(*n))));
    }
    let style = if failed > 0 { palette.bad() } else { palette.dim() };
    spans.push(Span::styled(format!("errors {} ({})", count(failed), percent(rate)), style));
    let mut out = vec![Line::from(spans)];
    let mut errors: Vec<(&ErrorKind, _)> = watch.errors.iter().collect();
    errors.sort_by_key(|(_, seen)| std::cmp::Reverse(seen.count));
    let top = errors.iter().take(3).map(|(kind, seen)| {
        format!("{} ×{} (first at {})", kind.describe(), count(seen.count), duration(seen.first_s as f64))
    });
    let top: Vec<String> = top.collect();
    if !top.is_empty() {
        out.push(Line::from(vec![named(palette, "Errors"), palette.plain(top.join("  "))]));
    }
    out
}

/// Whether we keep up.
pub(super) fn generator(watch: &Watch, palette: Palette, width: u16) -> Line<'static> {
    let health = &watch.health;
    let (word, style) = match &health.limited {
        Some(_) => ("LIMITED", palette.bad()),
        None => ("healthy", palette.good()),
    };
    let mut spans = vec![named(palette, "Generator"), Span::styled(word, style)];
    if let Some(reason) = &health.limited {
        spans.push(Span::styled(format!(": {reason}"), style));
    }
    let mut facts = Vec::new();
    if health.limited_s > 0 {
        facts.push(format!("{} of {} s limited", count(health.limited_s), count(health.measured_s)));
    }
    facts.push(format!("worker {}", percent(health.busiest)));
    facts.push(format!("lag {} ms", maybe(health.lag_ms)));
    if let (Some(open), Some(limit)) = (health.host.open_files, health.host.open_files_limit) {
        facts.push(format!("files {}/{}", count(open), count(limit)));
    }
    facts.extend(health.host.memory_bytes.map(bytes));
    for fact in facts {
        let used: usize = spans.iter().map(Span::width).sum();
        if used + 2 + fact.chars().count() <= usize::from(width) {
            spans.push(palette.plain(format!("  {fact}")));
        }
    }
    Line::from(spans)
}

/// The last things that were said.
pub(super) fn messages(watch: &Watch, palette: Palette, most: usize) -> Vec<Line<'static>> {
    let skip = watch.messages.len().saturating_sub(most);
    let line = |message: &super::super::watch::Message| {
        let style = if message.is_warning { palette.warning() } else { palette.plain("").style };
        let at = palette.aside(format!("{:NAME$} ", duration(message.at_s as f64)));
        Line::from(vec![at, Span::styled(message.text.clone(), style)])
    };
    watch.messages.iter().skip(skip).map(line).collect()
}
