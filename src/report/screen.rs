//! The live view in a terminal: a [`Watch`] drawn into a buffer of cells. Knows neither the terminal nor its keys, and
//! no clock; nothing that somebody else wrote reaches a cell without having been made fit by `foreign`.
//!
//! Whatever colour says, a word or a sign says too.

mod heat;
mod knee;
mod pages;
mod rows;
mod style;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Widget as _};

use super::watch::Watch;
pub use style::Palette;

/// What is shown below the head.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Page {
    /// Everything at a glance.
    #[default]
    Overview,
    /// What failed, when and how often.
    Errors,
    /// The nodes.
    Nodes,
    /// The distribution of latency.
    Histogram,
    /// The keys.
    Help,
}

/// How it is to be drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Look {
    /// What is shown.
    pub page: Page,
    /// The display stands still.
    pub is_frozen: bool,
    /// Whether colours may be used.
    pub palette: Palette,
}

/// The least size that is drawn in; below, one line says so.
const LEAST: (u16, u16) = (40, 8);

/// Draws a run.
pub fn draw(watch: &Watch, look: Look, area: Rect, buffer: &mut Buffer) {
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let text = format!("{} s; this terminal is too small: {}×{} at least", watch.elapsed_s(), LEAST.0, LEAST.1);
        return Paragraph::new(text).render(area, buffer);
    }
    let mut left = area;
    for line in rows::head(watch, look, area.width) {
        put(line, &mut left, buffer);
    }
    let foot = Rect { y: area.bottom() - 1, height: 1, ..area };
    left.height -= 1;
    keys(watch, look).render(foot, buffer);
    match look.page {
        Page::Overview => overview(watch, look, left, buffer),
        Page::Errors => pages::errors(watch, look.palette, left, buffer),
        Page::Nodes => pages::nodes(watch, look.palette, left, buffer),
        Page::Histogram => pages::histogram(watch, look.palette, left, buffer),
        Page::Help => pages::help(watch, look.palette, left, buffer),
    }
}

/// One line at the top of what is left.
fn put(line: Line<'_>, left: &mut Rect, buffer: &mut Buffer) {
    if left.height > 0 {
        line.render(Rect { height: 1, ..*left }, buffer);
        *left = Rect { y: left.y + 1, height: left.height - 1, ..*left };
    }
}

/// Rows that are left to the plot if there is room for anything at all.
const PLOT: usize = 5;

/// Rows by what they are worth: in a low terminal the last of them go first.
fn overview(watch: &Watch, look: Look, area: Rect, buffer: &mut Buffer) {
    let palette = look.palette;
    let (width, height) = (area.width, usize::from(area.height));
    let mut above = rows::traffic(watch, palette, width);
    let mut below = vec![rows::generator(watch, palette, width)];
    let room = |above: &Vec<Line<'_>>, below: &Vec<Line<'_>>| height.saturating_sub(above.len() + below.len());
    // With the blank line above the plot.
    let wants_plot = PLOT + 1;
    let thresholds = rows::thresholds(watch, palette, room(&above, &below).saturating_sub(wants_plot).clamp(1, 4));
    if room(&above, &below) >= thresholds.len() {
        above.splice(0..0, thresholds);
    }
    let codes = rows::codes(watch, palette);
    if room(&above, &below) >= codes.len() {
        below.splice(0..0, codes);
    }
    for more in [rows::publish(watch, palette, width), rows::nodes(watch, palette, width)] {
        if !more.is_empty() && room(&above, &below) >= more.len() + wants_plot {
            above.extend(more);
        }
    }
    let most = room(&above, &below).saturating_sub(wants_plot).min(if height > 30 { 4 } else { 1 });
    below.extend(rows::messages(watch, palette, most));
    let mut left = area;
    let plot = room(&above, &below);
    above.into_iter().for_each(|line| put(line, &mut left, buffer));
    if plot > PLOT {
        let middle = Rect { y: left.y + 1, height: u16::try_from(plot).unwrap_or(u16::MAX) - 1, ..left };
        match &watch.search {
            Some(search) => knee::draw(search, palette, middle, buffer),
            None => heat::draw(watch, palette, middle, buffer),
        }
    }
    left = Rect { y: area.bottom() - u16::try_from(below.len()).unwrap_or(0).min(area.height), ..left };
    left.height = area.bottom() - left.y;
    below.into_iter().for_each(|line| put(line, &mut left, buffer));
}

/// The keys that mean something.
fn keys(watch: &Watch, look: Look) -> Line<'static> {
    let palette = look.palette;
    let control: &[(&str, &str)] =
        if watch.search.is_some() { &[("q", "stop")] } else { &[("q", "stop"), ("p", "pause"), ("+ -", "VUs")] };
    let pages = [("e", "errors"), ("n", "nodes"), ("h", "histogram")];
    let last = match (look.page, look.is_frozen) {
        (_, true) => ("space", "go on"),
        (Page::Overview, false) => ("space", "freeze"),
        _ => ("Esc", "back"),
    };
    let all = control.iter().copied().chain(pages).chain([last, ("?", "help")]);
    let mut spans = vec![];
    for (key, what) in all {
        spans.push(palette.key(key));
        spans.push(palette.plain(format!(" {what}  ")));
    }
    Line::from(spans)
}

#[cfg(test)]
mod tests;
