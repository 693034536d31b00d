//! Changes with their intervals below each other, around a line of no change: a forest plot.

use maud::{Markup, html};

use super::chart::{Area, Scale, WIDE, marker, px, raw, x_axis};
use crate::report::foreign;
use crate::report::number::short;

/// A change.
pub(super) struct Row {
    /// What changed.
    pub(super) name: String,
    /// As a share.
    pub(super) change: f64,
    /// 95 % interval, as shares.
    pub(super) interval: [f64; 2],
    /// The change beyond which it is large; `None` where there is no limit.
    pub(super) limit: Option<f64>,
    /// Colour and shape.
    pub(super) class: &'static str,
    /// What follows, to the right of it.
    pub(super) words: String,
}

const HEIGHT: f64 = 30.0;
/// Changes beyond it are drawn at the edge.
const MOST: f64 = 3.0;

/// The plot and its height. No rows make an empty one.
pub(super) fn plot(rows: &[Row]) -> (Markup, f64) {
    let bottom = 14.0 + HEIGHT * rows.len() as f64;
    let area = Area { left: 190.0, right: WIDE - 210.0, top: 10.0, bottom };
    let ends = || rows.iter().flat_map(|row| row.interval.into_iter().chain(row.limit).chain([row.change]));
    let inside = |v: f64| v.is_finite() && v.abs() <= MOST;
    let low = ends().filter(|v| inside(*v)).fold(-0.02, f64::min) * 1.12;
    let high = ends().filter(|v| inside(*v)).fold(0.02, f64::max) * 1.12;
    let x = Scale::linear(low, high, area.left, area.right);
    let ticks: Vec<(f64, String)> = x.ticks(6).into_iter().map(|v| (v, signed(v))).collect();
    let body = html! {
        (x_axis(area, &x, &ticks, "change, with its 95 % interval"))
        line.zero x1=(px(x.at(0.0))) x2=(px(x.at(0.0))) y1=(px(area.top)) y2=(px(area.bottom)) {}
        @for (at, row) in rows.iter().enumerate() {
            @let y = area.top + HEIGHT * (at as f64 + 0.5);
            @let [from, to] = row.interval.map(|v| x.at(v));
            text.label x="2" y=(px(y + 4.0)) { (foreign::line(&row.name, 34)) }
            @if let Some(limit) = row.limit {
                path.limit d=(raw(format!("M{},{}v18", px(x.at(limit)), px(y - 9.0)))) {}
            }
            path class={ "whisker " (row.class) } d=(raw(format!("M{0},{2}H{1}M{0},{3}v8M{1},{3}v8", px(from), px(to), px(y), px(y - 4.0)))) {}
            (marker(x.at(row.change), y, row.class))
            text.tick x=(px(area.right + 10.0)) y=(px(y + 4.0)) { (foreign::line(&row.words, 40)) }
        }
    };
    (body, bottom + 40.0)
}

fn signed(share: f64) -> String {
    // A tick at zero may be computed as slightly less.
    let percent = short((100.0 * share).abs());
    match share {
        s if s.abs() < 1e-9 => "0 %".to_owned(),
        s if s > 0.0 => format!("+{percent} %"),
        _ => format!("\u{2212}{percent} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_without_bounds_is_drawn_inside_the_plot() {
        let row = |change: f64, interval| Row {
            name: "a".to_owned(),
            change,
            interval,
            limit: None,
            class: "c1",
            words: String::new(),
        };
        for rows in [vec![], vec![row(f64::NAN, [f64::NEG_INFINITY, 1e300])], vec![row(0.1, [-0.1, 0.3])]] {
            let svg = plot(&rows).0.into_string();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
        assert_eq!([-0.05, 0.0, 0.1].map(signed), ["\u{2212}5 %", "0 %", "+10 %"]);
    }
}
