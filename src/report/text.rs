//! The result as people read it in a terminal: the verdict first, one screen, units said.

mod capacity;
mod connections;
mod control;
mod incidents;
mod insights;
mod load;
mod model;
mod ramp;
pub(in crate::report) mod rehearsal;
pub(in crate::report) mod servers;
mod sockets;
mod steps;

pub use capacity::capacity;
pub use load::load;
pub use ramp::{agreement, ramp};

use crate::capacity::search::SearchResult;
use crate::plan::Target;
use crate::steady::SteadyState;
use crate::summary::{Figures, Summary};

/// As wide as a terminal may be expected to be.
const WIDTH: usize = 100;

/// The verdict on a load test, in sentences.
pub(super) fn load_sentences(summary: &Summary, figures: &Figures) -> Vec<String> {
    load::sentences(summary, figures)
}

/// The verdict on a ramp.
pub(super) fn ramp_sentence(summary: &Summary, result: &SearchResult) -> String {
    ramp::sentences(summary, result).into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// How steady a run was, in sentences.
pub(super) fn steady_lines(steady: &SteadyState) -> Vec<String> {
    insights::steady_lines(steady)
}

/// Lays out rows in columns: those of `left` to the left, the others, which are numbers, to the right.
pub fn table(rows: &[Vec<String>], indent: usize, left: &[usize]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|r| r.get(column)).map(|c| c.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let mut cells = Vec::with_capacity(columns);
        for (column, cell) in row.iter().enumerate() {
            let fill = " ".repeat(widths[column].saturating_sub(cell.chars().count()));
            cells.push(if left.contains(&column) { format!("{cell}{fill}") } else { format!("{fill}{cell}") });
        }
        let line = format!("{}{}", " ".repeat(indent), cells.join("  "));
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// Breaks prose into lines of at most [`WIDTH`] columns, the second and later ones indented; not between a number and
/// its unit. Ends with a line break.
pub(crate) fn wrap(prose: &str, first: &str, indent: usize) -> String {
    let mut out = first.to_owned();
    let mut column = first.chars().count();
    let mut begins = true;
    for words in prose.split(' ').collect::<Vec<_>>().chunk_by(|number, _| ends_in_digit(number)) {
        let words = words.join(" ");
        let length = words.chars().count();
        if !begins && column + 1 + length > WIDTH {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = indent;
        } else if !begins {
            out.push(' ');
            column += 1;
        }
        out.push_str(&words);
        column += length;
        begins = false;
    }
    out.push('\n');
    out
}

fn ends_in_digit(word: &str) -> bool {
    word.ends_with(|c: char| c.is_ascii_digit())
}

/// The first line of every result: what it is a result of.
pub(crate) fn what(target: &Target) -> String {
    if target.sandbox {
        let profile = target.sandbox_profile.as_deref().unwrap_or("own");
        let what = if target.is_simulated() {
            "a stand-in with a known capacity"
        } else {
            "a stand-in that ran the content in real processes on this machine"
        };
        return format!("SANDBOX ({profile}), not Posit Connect: {what}");
    }
    match &target.connect_version {
        Some(version) => format!("Posit Connect {version} at {}", target.url),
        None if target.content_guid.is_some() => format!("Posit Connect at {}", target.url),
        None => format!("{}", target.url),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_is_broken_between_words_and_nothing_is_lost() {
        let prose = ["word"; 60].join(" ");
        let wrapped = wrap(&prose, "* ", 2);
        assert!(wrapped.lines().all(|line| line.chars().count() <= WIDTH), "{wrapped}");
        assert!(wrapped.starts_with("* word") && wrapped.lines().skip(1).all(|line| line.starts_with("  word")));
        assert_eq!(wrapped.matches("word").count(), 60);
        assert_eq!(wrap("", "", 2), "\n");
        let numbers = format!("{} 41 s", "x".repeat(WIDTH - 4));
        assert!(wrap(&numbers, "", 0).ends_with("\n41 s\n"));
    }

    #[test]
    fn columns_line_up() {
        let rows = [["a", "1", "x"], ["bb", "100", "long"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows, 1, &[0, 2]), " a     1  x\n bb  100  long\n");
    }
}
