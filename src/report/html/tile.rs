//! Figures at a glance, above the plots.

use maud::{Markup, html};

use crate::report::foreign;
use crate::report::number::maybe;

/// A figure: name, value, what it means, and its path in the JSON document with the exact value.
pub(super) struct Tile {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) note: String,
    /// Empty where the document has no such figure.
    pub(super) path: String,
    pub(super) exact: Option<f64>,
}

impl Tile {
    /// With three significant digits.
    pub(super) fn of(name: &str, exact: Option<f64>, note: String, path: &str) -> Tile {
        Tile { name: name.to_owned(), value: maybe(exact), note, path: path.to_owned(), exact }
    }

    /// A figure as it is said.
    pub(super) fn said(self, value: String) -> Tile {
        Tile { value, ..self }
    }
}

/// The tiles, as a list of names and values.
pub(super) fn render(tiles: &[Tile]) -> Markup {
    html! {
        dl.tiles {
            @for tile in tiles {
                div {
                    dt { (foreign::line(&tile.name, 100)) }
                    dd {
                        b data-figure=[(!tile.path.is_empty()).then_some(&tile.path)] data-exact=[tile.exact] { (tile.value) }
                        @if !tile.note.is_empty() { span { (foreign::line(&tile.note, 200)) } }
                    }
                }
            }
        }
    }
}
