//! Scales, axes, lines and labels: numbers to SVG. Colours and dashes are the style sheet's, by class.

use std::fmt::Write as _;

use maud::{Markup, PreEscaped, html};

use super::super::number::significant;

/// Width of a plot that takes the page, in its own units.
pub(super) const WIDE: f64 = 860.0;
/// Width of a plot beside another one.
pub(super) const HALF: f64 = 520.0;

/// From values to units of the plot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    min: f64,
    max: f64,
    from: f64,
    to: f64,
    log: bool,
}

impl Scale {
    /// Linear. A range of nothing is widened.
    pub(super) fn linear(min: f64, max: f64, from: f64, to: f64) -> Scale {
        let (min, max) = if min.is_finite() && max.is_finite() { (min, max) } else { (0.0, 1.0) };
        let max = if max > min { max } else { min + 1.0 };
        Scale { min, max, from, to, log: false }
    }

    /// Logarithmic, of positive values.
    pub(super) fn log(min: f64, max: f64, from: f64, to: f64) -> Scale {
        let min = if min.is_finite() && min > 0.0 { min } else { 1.0 };
        let max = if max.is_finite() && max > min { max } else { min * 10.0 };
        Scale { min: min.log10(), max: max.log10(), from, to, log: true }
    }

    /// Where a value lies, cut to the plot.
    pub(super) fn at(&self, value: f64) -> f64 {
        let value = if self.log { value.max(1e-12).log10() } else { value };
        let share = ((value - self.min) / (self.max - self.min)).clamp(-0.02, 1.02);
        let share = if share.is_nan() { 0.0 } else { share };
        self.from + (self.to - self.from) * share
    }

    /// Whether a value lies in the plot.
    pub(super) fn has(&self, value: f64) -> bool {
        let value = if self.log { value.max(1e-12).log10() } else { value };
        value >= self.min - 1e-9 && value <= self.max + 1e-9
    }

    /// Round values to draw the grid at.
    pub(super) fn ticks(&self, about: usize) -> Vec<f64> {
        if self.log { self.log_ticks() } else { self.linear_ticks(about) }
    }

    fn linear_ticks(&self, about: usize) -> Vec<f64> {
        let rough = (self.max - self.min) / about.max(1) as f64;
        let magnitude = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * magnitude).into_iter().find(|s| *s >= rough).unwrap_or(rough);
        let first = (self.min / step).ceil();
        (0..=2 * about).map(|n| (first + n as f64) * step).take_while(|v| *v <= self.max + 1e-9 * step).collect()
    }

    fn log_ticks(&self) -> Vec<f64> {
        let steps: &[f64] = match self.max - self.min {
            span if span < 2.5 => &[1.0, 2.0, 5.0],
            _ => &[1.0],
        };
        let decades = self.min.floor() as i32..=self.max.ceil() as i32;
        let all = decades.flat_map(|decade| steps.iter().map(move |step| step * 10_f64.powi(decade)));
        all.filter(|value| self.has(*value)).collect()
    }

    /// For the page's script: `min max from to log`.
    pub(super) fn described(&self) -> String {
        format!("{} {} {} {} {}", self.min, self.max, px(self.from), px(self.to), u8::from(self.log))
    }
}

/// A greatest value with room above it.
pub(super) fn headroom(values: impl Iterator<Item = f64>) -> f64 {
    let most = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
    if most > 0.0 { most * 1.08 } else { 1.0 }
}

/// The part of a plot that is drawn in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Area {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

impl Area {
    /// With room for labels to the left, and to the right of lines.
    pub(super) fn wide(top: f64, bottom: f64) -> Area {
        Area { left: 60.0, right: WIDE - 92.0, top, bottom }
    }

    /// The same in a plot beside another one.
    pub(super) fn half(top: f64, bottom: f64) -> Area {
        Area { left: 52.0, right: HALF - 84.0, top, bottom }
    }

    /// Ticks of its time axis.
    pub(super) fn time_ticks(&self, end_s: u64) -> Vec<(f64, String)> {
        time_ticks(end_s as f64, (self.right - self.left) / 78.0)
    }
}

/// A coordinate with one decimal.
pub(super) fn px(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// Horizontal grid lines with their values, and the axis' name above them.
pub(super) fn y_axis(area: Area, scale: &Scale, name: &str, about: usize) -> Markup {
    html! {
        @for tick in scale.ticks(about) {
            @let y = px(scale.at(tick));
            line.grid x1=(px(area.left)) x2=(px(area.right)) y1=(y) y2=(y) {}
            text.tick x=(px(area.left - 7.0)) y=(px(scale.at(tick) + 4.0)) text-anchor="end" { (round(tick)) }
        }
        text.axis x="2" y=(px(area.top - 8.0)) { (name) }
    }
}

/// Vertical grid lines with what they are called, and the axis' name below them.
pub(super) fn x_axis(area: Area, scale: &Scale, ticks: &[(f64, String)], name: &str) -> Markup {
    html! {
        @for (tick, text) in ticks {
            @let x = px(scale.at(*tick));
            line.grid x1=(x) x2=(x) y1=(px(area.top)) y2=(px(area.bottom)) {}
            text.tick x=(x) y=(px(area.bottom + 16.0)) text-anchor="middle" { (text) }
        }
        text.axis x=(px(area.right)) y=(px(area.bottom + 32.0)) text-anchor="end" { (name) }
    }
}

/// Ticks with three significant digits.
pub(super) fn plain_ticks(scale: &Scale, about: usize) -> Vec<(f64, String)> {
    scale.ticks(about).into_iter().map(|value| (value, round(value))).collect()
}

/// A value of the grid, which is round: without the zeros that a measured value has.
fn round(value: f64) -> String {
    let text = significant(value);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Ticks of a time axis in seconds, at round minutes or hours.
fn time_ticks(end_s: f64, most: f64) -> Vec<(f64, String)> {
    const STEPS: [u64; 16] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 86_400];
    let step = STEPS.into_iter().find(|step| end_s / *step as f64 <= most).unwrap_or(86_400 * 7);
    let most = (end_s / step as f64) as u64;
    (0..=most.min(60)).map(|n| (n * step) as f64).map(|s| (s, clock(s))).collect()
}

/// A time since the start as `m:ss` or `h:mm:ss`.
pub(super) fn clock(seconds: f64) -> String {
    let s = seconds.max(0.0).round() as u64;
    match s {
        0..3600 => format!("{}:{:02}", s / 60, s % 60),
        _ => format!("{}:{:02}:{:02}", s / 3600, s % 3600 / 60, s % 60),
    }
}

/// A line through points; it breaks where there is no value.
pub(super) fn path(points: impl Iterator<Item = (f64, Option<f64>)>) -> String {
    let (mut d, mut pen) = (String::new(), 'M');
    for (x, y) in points {
        match y {
            Some(y) => {
                // Writing to a String cannot fail.
                let _ = write!(d, "{pen}{},{}", px(x), px(y));
                pen = 'L';
            }
            None => pen = 'M',
        }
    }
    d
}

/// Steps that hold each value until the next.
pub(super) fn stairs(points: &[(f64, f64)], end: f64) -> String {
    let mut d = String::new();
    for (at, (x, y)) in points.iter().enumerate() {
        let next = points.get(at + 1).map_or(end, |(x, _)| *x);
        let _ = write!(d, "{}{},{}H{}", if at == 0 { 'M' } else { 'L' }, px(*x), px(*y), px(next));
    }
    d
}

/// The area between two lines, both from left to right.
pub(super) fn band(upper: &[(f64, f64)], lower: &[(f64, f64)]) -> String {
    let mut d = path(upper.iter().map(|(x, y)| (*x, Some(*y))));
    for (x, y) in lower.iter().rev() {
        let _ = write!(d, "L{},{}", px(*x), px(*y));
    }
    d.push('Z');
    d
}

/// Names of lines at their right ends, moved apart where they would cover each other: (y, class, text).
pub(super) fn end_labels(x: f64, mut labels: Vec<(f64, &str, String)>) -> Markup {
    labels.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut last = f64::NEG_INFINITY;
    for label in &mut labels {
        label.0 = label.0.max(last + 13.0);
        last = label.0;
    }
    html! {
        @for (y, class, text) in labels {
            text class={ "label " (class) } x=(px(x + 6.0)) y=(px(y + 4.0)) { (text) }
        }
    }
}

/// A point: a shape for each class, so that colour is never the only difference.
pub(super) fn marker(x: f64, y: f64, class: &str) -> Markup {
    let d = match class {
        "c2" => format!("M{},{}l5,9h-10z", px(x), px(y - 6.0)),
        "c3" => format!("M{},{}h8v8h-8z", px(x - 4.0), px(y - 4.0)),
        "c4" => format!("M{},{}l6,6l-6,6l-6,-6z", px(x), px(y - 6.0)),
        _ => format!("M{},{}a4,4 0 1,0 8,0a4,4 0 1,0 -8,0z", px(x - 4.0), px(y)),
    };
    html! { path class={ "mark " (class) } d=(d) {} }
}

/// Boxes with what they stand for: (class, text), from the left.
pub(super) fn legend(x: f64, y: f64, entries: &[(String, String)]) -> Markup {
    let mut at = x;
    let placed: Vec<(f64, &(String, String))> = entries
        .iter()
        .map(|entry| {
            let here = at;
            at += 26.0 + 6.6 * entry.1.chars().count() as f64;
            (here, entry)
        })
        .collect();
    html! {
        @for (x, (class, text)) in placed {
            rect class={ "fill " (class) } x=(px(x)) y=(px(y - 9.0)) width="11" height="11" {}
            text.tick x=(px(x + 15.0)) y=(px(y + 1.0)) { (text) }
        }
    }
}

/// SVG that was written as text of our own: coordinates only.
pub(super) fn raw(d: String) -> PreEscaped<String> {
    PreEscaped(d)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_in_the_plot() {
        assert_eq!(Scale::linear(0.0, 97.0, 0.0, 1.0).ticks(5), [0.0, 20.0, 40.0, 60.0, 80.0]);
        assert_eq!(Scale::log(3.0, 40.0, 0.0, 1.0).ticks(5), [5.0, 10.0, 20.0]);
        assert_eq!(Scale::log(0.5, 40_000.0, 0.0, 1.0).ticks(5), [1.0, 10.0, 100.0, 1000.0, 10_000.0]);
        let times: Vec<String> = time_ticks(1920.0, 9.0).into_iter().map(|(_, text)| text).collect();
        assert_eq!(times, ["0:00", "5:00", "10:00", "15:00", "20:00", "25:00", "30:00"]);
    }

    #[test]
    fn nothing_that_is_measured_makes_a_coordinate_that_is_no_number() {
        for (min, max) in [(f64::NAN, f64::INFINITY), (0.0, 0.0), (5.0, -5.0), (0.0, 1e300)] {
            for scale in [Scale::linear(min, max, 0.0, 100.0), Scale::log(min, max, 0.0, 100.0)] {
                assert!(scale.ticks(5).len() < 700, "{scale:?}");
                assert!([0.0, 1.0, 1e300].into_iter().all(|v| scale.at(v).is_finite()), "{scale:?}");
            }
        }
    }

    #[test]
    fn a_line_breaks_where_there_is_no_value() {
        let points = [(0.0, Some(1.0)), (1.0, None), (2.0, Some(3.25)), (3.0, Some(4.0))];
        assert_eq!(path(points.into_iter()), "M0,1M2,3.2L3,4");
        assert_eq!(stairs(&[(0.0, 1.0), (2.0, 3.0)], 5.0), "M0,1H2L2,3H5");
    }
}
