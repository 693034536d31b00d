//! How things look. The colours are the terminal's own sixteen, so that they fit its theme; none is needed to read.

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Span;

/// Colours, or none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Palette {
    /// Whether there are colours.
    pub has_colour: bool,
}

impl Palette {
    fn of(self, colour: Color, without: Modifier) -> Style {
        if self.has_colour { Style::new().fg(colour) } else { Style::new().add_modifier(without) }
    }

    /// What is as it should be.
    pub(super) fn good(self) -> Style {
        self.of(Color::Cyan, Modifier::empty())
    }

    /// What is not.
    pub(super) fn bad(self) -> Style {
        // Not red against green: the two look alike to many.
        self.of(Color::LightRed, Modifier::REVERSED).add_modifier(Modifier::BOLD)
    }

    /// What has to be looked at.
    pub(super) fn warning(self) -> Style {
        self.of(Color::Yellow, Modifier::BOLD)
    }

    /// What is beside the point.
    pub(super) fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// What is drawn.
    pub(super) fn drawn(self) -> Style {
        self.of(Color::LightBlue, Modifier::empty())
    }

    /// Another thing that is drawn.
    pub(super) fn second(self) -> Color {
        if self.has_colour { Color::Yellow } else { Color::Reset }
    }

    /// As [`Self::drawn`], for a canvas.
    pub(super) fn first(self) -> Color {
        if self.has_colour { Color::LightBlue } else { Color::Reset }
    }

    /// The name of a row.
    pub(super) fn name(self, text: impl Into<String>) -> Span<'static> {
        Span::styled(text.into(), Style::new().add_modifier(Modifier::BOLD))
    }

    /// A key.
    pub(super) fn key(self, text: impl Into<String>) -> Span<'static> {
        Span::styled(text.into(), Style::new().add_modifier(Modifier::REVERSED))
    }

    /// Text.
    pub(super) fn plain(self, text: impl Into<String>) -> Span<'static> {
        Span::raw(text.into())
    }

    /// Text beside the point.
    pub(super) fn aside(self, text: impl Into<String>) -> Span<'static> {
        Span::styled(text.into(), self.dim())
    }
}
