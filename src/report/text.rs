//! The result as people read it in a terminal: the verdict first, one screen, units said.

mod load;
mod ramp;
mod steps;

pub use load::load;
pub use ramp::ramp;

use crate::plan::Target;

/// Lays out rows in columns: the first to the left, the others to the right.
fn table(rows: &[Vec<String>], indent: usize) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|r| r.get(column)).map(|c| c.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = " ".repeat(indent);
        for (column, cell) in row.iter().enumerate() {
            let fill = " ".repeat(widths[column].saturating_sub(cell.chars().count()));
            match column {
                0 => line.push_str(&format!("{cell}{fill}")),
                // The last column is prose.
                _ if column + 1 == columns && columns > 2 => line.push_str(&format!("  {cell}")),
                _ => line.push_str(&format!("  {fill}{cell}")),
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// The first line of every result: what it is a result of.
fn what(target: &Target) -> String {
    if target.sandbox {
        let profile = target.sandbox_profile.as_deref().unwrap_or("own");
        return format!("SANDBOX ({profile}), not Posit Connect: a stand-in with a known capacity");
    }
    match &target.connect_version {
        Some(version) => format!("Posit Connect {version} at {}", target.url),
        None if target.content_guid.is_some() => format!("Posit Connect at {}", target.url),
        None => format!("{}", target.url),
    }
}
