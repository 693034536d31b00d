//! A saturation search while it goes on: throughput over VUs, the stage that is on, what comes next and why.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget as _;
use ratatui::widgets::canvas::{Canvas, Line as Stroke, Points};

use super::super::number::{maybe, plus_minus, short, significant};
use super::super::watch::Searching;
use super::{Palette, put};
use crate::capacity::search::{Phase, Step, StepKind};

/// Columns of the scale.
const SCALE: u16 = 8;
/// Columns of the table beside the plot, where there is room for it.
const TABLE: u16 = 46;
/// Least columns of a plot that has the table beside it.
const PLOT: u16 = 60;
/// Points of the curve.
const CURVE: u32 = 120;

/// Draws it.
pub(super) fn draw(search: &Searching, palette: Palette, area: Rect, buffer: &mut Buffer) {
    let mut left = area;
    for line in stage(search, palette) {
        put(line, &mut left, buffer);
    }
    if left.width >= PLOT + TABLE {
        let beside = Rect { x: left.right() - TABLE, width: TABLE, ..left };
        left.width -= TABLE + 2;
        table(search, palette, beside, buffer);
    }
    if left.height >= 4 {
        plot(search, palette, left, buffer);
    }
}

/// The stage that is on, and what follows.
fn stage(search: &Searching, palette: Palette) -> [Line<'static>; 2] {
    let progress = &search.progress;
    let rate = match (progress.requests_per_second, progress.plus_minus) {
        (Some(rate), Some(half)) => format!("{} rps (95 %)", plus_minus(rate, half)),
        (rate, _) => format!("{} rps", maybe(rate)),
    };
    let name = match progress.phase {
        Phase::WarmUp => "Warm-up   ".to_owned(),
        _ => format!("{:10}", format!("Stage {}", search.steps.len() + 1)),
    };
    let mut first = vec![
        palette.name(name),
        palette.plain(format!("{} for {:.0} s: ", progress.load(), progress.stage_s)),
        palette.name(rate),
    ];
    // While throughput still grows, a curve says only how far was tested.
    let widest = search.steps.iter().map(|step| step.vus).max().unwrap_or(0);
    let said =
        search.estimate.as_ref().filter(|_| !is_open(search)).filter(|estimate| estimate.vus < 0.9 * f64::from(widest));
    if let Some(estimate) = said {
        let about = format!("  so far: saturates near {} VUs", short(estimate.vus.ceil()));
        first.push(palette.plain(format!("{about}, plateau {} rps", significant(estimate.plateau_per_s))));
    }
    let next = Line::from(vec![palette.name("Next      "), palette.plain(progress.next.clone())]);
    [Line::from(first), next]
}

/// Whether requests per second are raised, and not VUs.
fn is_open(search: &Searching) -> bool {
    search.progress.rate.is_some()
}

/// Where VUs lie on the axis: each doubling is as wide as the last.
fn across(vus: f64) -> f64 {
    vus.max(1.0).log2()
}

fn plot(search: &Searching, palette: Palette, area: Rect, buffer: &mut Buffer) {
    let usable = |step: &&Step| step.kind != StepKind::Unusable;
    let steps: Vec<&Step> = search.steps.iter().filter(usable).collect();
    let now = search.progress.requests_per_second.filter(|_| search.progress.phase != Phase::WarmUp);
    let level = search.progress.rate.unwrap_or(search.progress.vus);
    let now = now.map(|rate| (f64::from(level), rate));
    let points = steps.iter().map(|step| (f64::from(step.level()), step.requests_per_second)).chain(now);
    let (widest, highest) = points.fold((2.0_f64, 0.0_f64), |(x, y), point| (x.max(point.0), y.max(point.1)));
    let title = match is_open(search) {
        true => "answered per second over those due: ● a stage, ◆ this one",
        false => "rps over VUs: ● a stage, ◆ this one, ⠒ the curve",
    };
    Line::from(palette.aside(title)).render(Rect { height: 1, ..area }, buffer);
    if highest <= 0.0 {
        return;
    }
    let (most_x, most_y) = (across(widest) * 1.02, highest * 1.15);
    let inner = Rect { x: area.x + SCALE, y: area.y + 1, width: area.width - SCALE, height: area.height - 2 };
    let canvas = Canvas::default().marker(Marker::Braille).x_bounds([0.0, most_x]).y_bounds([0.0, most_y]);
    let canvas = canvas.paint(|context| {
        let knee = search.estimate.as_ref().filter(|_| !is_open(search)).and_then(|estimate| estimate.knee);
        if let Some(knee) = knee {
            let at = |n: u32| most_x * f64::from(n) / f64::from(CURVE);
            let coords: Vec<(f64, f64)> = (0..=CURVE).map(|n| (at(n), knee.throughput(at(n).exp2()))).collect();
            context.draw(&Points { coords: &coords, color: palette.first() });
        }
        for step in &steps {
            let (x, y) = (across(step.level().into()), step.requests_per_second);
            let half = 1.96 * step.standard_error;
            context.draw(&Stroke { x1: x, y1: y - half, x2: x, y2: y + half, color: palette.first() });
        }
        context.layer();
        for step in &steps {
            let dot = Line::from(Span::styled("●", Style::new().fg(palette.first())));
            context.print(across(step.level().into()), step.requests_per_second, dot);
        }
        if let Some((vus, rate)) = now {
            let style = Style::new().fg(palette.second());
            context.print(across(vus), rate, Line::from(Span::styled("◆", style)));
        }
    });
    canvas.render(inner, buffer);
    let unit = if is_open(search) { " due/s " } else { "   VUs " };
    scales((most_x, most_y), unit, (area, inner), palette, buffer);
}

fn scales(
    (most_x, most_y): (f64, f64),
    unit: &str,
    (area, inner): (Rect, Rect),
    palette: Palette,
    buffer: &mut Buffer,
) {
    let rows = inner.height.saturating_sub(1).max(1);
    for row in [0, rows / 2, rows] {
        let value = most_y * f64::from(rows - row) / f64::from(rows);
        let label = format!("{:>6} ▏", short(if value < 10.0 { value } else { value.round() }));
        buffer.set_span(area.x, inner.y + row, &palette.aside(label), SCALE);
    }
    let mut free = inner.x;
    for power in 0..=most_x.floor() as u32 {
        let label = (1_u64 << power.min(40)).to_string();
        let columns = f64::from(inner.width.saturating_sub(1));
        let x = inner.x + (f64::from(power) / most_x * columns).round() as u16;
        let wide = u16::try_from(label.len()).unwrap_or(1);
        let from = x.saturating_sub(wide / 2).max(inner.x);
        if from >= free && from + wide <= inner.right() {
            buffer.set_span(from, area.bottom() - 1, &palette.aside(label), wide);
            free = from + wide + 1;
        }
    }
    buffer.set_span(area.x, area.bottom() - 1, &palette.aside(unit), SCALE);
}

/// The last stages.
fn table(search: &Searching, palette: Palette, area: Rect, buffer: &mut Buffer) {
    let mut left = area;
    let head = if is_open(search) { "due/s          rps  decision" } else { "  VUs          rps  decision" };
    put(Line::from(palette.aside(head)), &mut left, buffer);
    let room = usize::from(left.height);
    for step in search.steps.iter().skip(search.steps.len().saturating_sub(room)) {
        let rate = plus_minus(step.requests_per_second, 1.96 * step.standard_error);
        let text = format!("{:>5} {rate:>12}  {}", step.level(), step.decision);
        let style = if step.kind == StepKind::Unusable { palette.warning() } else { Style::new() };
        put(Line::from(Span::styled(text, style)), &mut left, buffer);
    }
}
