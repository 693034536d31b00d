//! What every plot has around it: its name, what it shows, how to read it, and its data as a table.

use maud::{Markup, html};

use super::chart::{HALF, Scale, WIDE};

/// A table: the data of a plot, or a result of its own.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// Heads of the columns, with units.
    pub(super) head: Vec<String>,
    /// Rows, and where a row lies on the plot's x axis.
    pub(super) rows: Vec<(Option<f64>, Vec<String>)>,
    /// Columns that are text, to the left.
    pub(super) left: Vec<usize>,
}

impl Table {
    pub(super) fn new(head: &[&str]) -> Table {
        Table { head: head.iter().map(|head| (*head).to_owned()).collect(), rows: Vec::new(), left: vec![0] }
    }

    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push((None, cells));
    }

    pub(super) fn row_at(&mut self, x: f64, cells: Vec<String>) {
        self.rows.push((Some(x), cells));
    }

    pub(super) fn left(mut self, columns: &[usize]) -> Table {
        self.left = columns.to_vec();
        self
    }

    /// With its name for those who do not see it.
    pub(super) fn render(&self, name: &str) -> Markup {
        html! {
            div.scroll role="region" aria-label=(name) tabindex="0" {
                table {
                    thead { tr { @for (at, head) in self.head.iter().enumerate() {
                        th scope="col" class=[self.left.contains(&at).then_some("l")] { (head) }
                    } } }
                    tbody { @for (x, cells) in &self.rows {
                        tr data-x=[x] { @for (at, cell) in cells.iter().enumerate() {
                            @if at == 0 {
                                th scope="row" class=[self.left.contains(&at).then_some("l")] { (cell) }
                            } @else {
                                td class=[self.left.contains(&at).then_some("l")] { (cell) }
                            }
                        } }
                    } }
                }
            }
        }
    }
}

/// A plot.
#[derive(Debug)]
pub(super) struct Figure {
    /// Unique in the page.
    pub(super) id: String,
    pub(super) title: String,
    /// What it shows, with figures: for those who do not see it, too.
    pub(super) finding: String,
    /// One sentence on how to read it.
    pub(super) how: &'static str,
    pub(super) height: f64,
    pub(super) body: Markup,
    /// The x axis, where a row of the table can be found by it.
    pub(super) x: Option<Scale>,
    pub(super) table: Table,
    /// Whether it takes the whole width of a printed page.
    pub(super) wide: bool,
}

impl Figure {
    pub(super) fn render(&self) -> Markup {
        let id = &self.id;
        html! {
            figure id=(id) class=[self.wide.then_some("wide")] {
                h3 id={ (id) "-t" } { (self.title) }
                p.finding id={ (id) "-f" } { (self.finding) }
                svg role="img" aria-labelledby={ (id) "-t " (id) "-f" } viewBox={ "0 0 " (if self.wide { WIDE } else { HALF }) " " (self.height) }
                    data-scale=[self.x.map(|x| x.described())] {
                    (self.body)
                }
                figcaption { b { "How to read it: " } (self.how) }
                @if !self.table.rows.is_empty() {
                    details {
                        summary { "Data of this plot (" (self.table.rows.len()) " rows)" }
                        (self.table.render(&format!("{}: data", self.title)))
                    }
                }
            }
        }
    }
}
