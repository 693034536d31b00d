//! Text that others wrote (a server, a node, a scenario), made fit for a line of ours: markup is escaped where the page
//! is written, what a terminal or a reader would obey is taken out here.

/// The beginning of a text as one line: no control characters, no escapes, no marks that turn the direction of reading;
/// at most `most` characters, and an ellipsis where there were more.
#[must_use]
pub fn line(text: &str, most: usize) -> String {
    let mut short = String::new();
    for (at, c) in text.chars().enumerate() {
        if at == most {
            short.push('…');
            break;
        }
        short.push(if is_obeyed(c) { '\u{fffd}' } else { c });
    }
    short
}

/// Whether a terminal or a browser does something else with a character than to show it.
fn is_obeyed(c: char) -> bool {
    let directions = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || directions || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_directions_are_taken_out_and_megabytes_cut() {
        assert_eq!(line("a\u{1b}[31mb\r\nc\u{202e}d", 20), "a\u{fffd}[31mb\u{fffd}\u{fffd}c\u{fffd}d");
        assert_eq!(line(&"x".repeat(5_000_000), 3), "xxx…");
        assert_eq!(line("<b>Zoë", 6), "<b>Zoë");
    }
}
