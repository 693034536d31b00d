//! The heat strip: fetch latency over the last seconds, the darker the more.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Widget as _;

use super::super::course::{PER_DECADE, Slot};
use super::super::number::short;
use super::super::watch::Watch;
use super::Palette;

/// Columns of the scale.
const SCALE: u16 = 10;
/// From few to many. Nothing is a blank.
const SHADES: [char; 4] = ['░', '▒', '▓', '█'];

/// The lower end of a bucket, ms.
pub(super) fn bucket_ms(bucket: u8) -> f64 {
    10_f64.powf(f64::from(bucket) / PER_DECADE) / 1000.0
}

/// A latency with its unit, short.
pub(super) fn short_ms(ms: f64) -> String {
    let rounded = |value: f64| if value < 10.0 { (value * 10.0).round() / 10.0 } else { value.round() };
    if ms < 1000.0 { format!("{} ms", short(rounded(ms))) } else { format!("{} s", short(rounded(ms / 1000.0))) }
}

/// Draws it: time to the right, latency upwards.
pub(super) fn draw(watch: &Watch, palette: Palette, area: Rect, buffer: &mut Buffer) {
    let columns = usize::from(area.width.saturating_sub(SCALE + 1));
    let slots: Vec<&Slot> = watch.seconds.iter().skip(watch.seconds.len().saturating_sub(columns)).collect();
    let seconds = slots.len();
    let title = format!("Latency of fetches, last {seconds} s, darker is more; the newest is on the right");
    Line::from(palette.aside(title)).render(Rect { height: 1, ..area }, buffer);
    let buckets = slots.iter().flat_map(|slot| slot.heat.iter().map(|(bucket, _)| *bucket));
    let (Some(low), Some(high)) = (buckets.clone().min(), buckets.max()) else { return };
    let rows = usize::from(area.height.saturating_sub(1)).max(1);
    // Whole buckets in a row, and as many rows as have some.
    let per_row = (usize::from(high - low) + 1).div_ceil(rows);
    let used = (usize::from(high - low) + 1).div_ceil(per_row);
    let cells: Vec<Vec<u64>> = slots
        .iter()
        .map(|slot| {
            let mut column = vec![0; used];
            for (bucket, n) in &slot.heat {
                column[usize::from(bucket - low) / per_row] += n;
            }
            column
        })
        .collect();
    let most = cells.iter().flatten().copied().max().unwrap_or(1).max(1) as f64;
    for row in 0..used {
        let y = area.y + 1 + u16::try_from(used - 1 - row).unwrap_or(0);
        let from = low + u8::try_from(row * per_row).unwrap_or(0);
        let label = palette.aside(format!("{:>9} ", short_ms(bucket_ms(from))));
        buffer.set_span(area.x, y, &label, SCALE);
        for (at, column) in cells.iter().enumerate() {
            // As the root: half as many shall not look like nothing.
            let share = (column[row] as f64 / most).sqrt();
            if column[row] > 0 {
                let shade = SHADES[((share * SHADES.len() as f64) as usize).min(SHADES.len() - 1)];
                let x = area.x + SCALE + u16::try_from(columns - cells.len() + at).unwrap_or(0);
                buffer.set_string(x, y, shade.to_string(), palette.drawn());
            }
        }
    }
}
