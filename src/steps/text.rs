//! Templates, compiled: text and places for values, each written as where it stands needs it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::scenario::data::DataSet;
use crate::scenario::template::{Part, Template};

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escape {
    /// As it is.
    None,
    /// In a path: everything but unreserved characters as `%XX`.
    Path,
    /// In a query or a form.
    Form,
    /// Inside a JSON string.
    Json,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Extracted: an index into [`Values::slots`].
    Slot(usize),
    /// Data: an index into [`Values::rows`], and a column.
    Data(usize, usize),
    Vu,
    Iteration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Value(Place, Escape),
}

/// A compiled template.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Text {
    pieces: Vec<Piece>,
}

/// The names that templates may have.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    /// Extracted variables of the list.
    pub(super) slots: Vec<String>,
    /// Data sets with their columns.
    pub(super) data: Vec<(String, Arc<DataSet>)>,
    pub(super) env: BTreeMap<String, String>,
}

enum Found<'a> {
    Place(Place),
    Text(&'a str),
}

impl Names {
    fn find(&self, name: &str) -> Option<Found<'_>> {
        match name.split_once('.') {
            None => match name {
                "vu" => Some(Found::Place(Place::Vu)),
                "iteration" => Some(Found::Place(Place::Iteration)),
                _ => self.slots.iter().position(|slot| slot == name).map(|slot| Found::Place(Place::Slot(slot))),
            },
            Some(("env", name)) => self.env.get(name).map(|value| Found::Text(value)),
            Some((data, column)) => {
                let at = self.data.iter().position(|(name, _)| name == data)?;
                let column = self.data[at].1.columns.iter().position(|name| name == column)?;
                Some(Found::Place(Place::Data(at, column)))
            }
        }
    }
}

/// What variables stand for in one iteration of one VU.
#[derive(Debug, Clone, Default)]
pub(super) struct Values {
    /// From 1.
    pub(super) vu: u64,
    /// From 0.
    pub(super) iteration: u64,
    pub(super) slots: Vec<Option<Arc<str>>>,
    /// The row of each data set.
    pub(super) rows: Vec<(Arc<DataSet>, usize)>,
}

impl Text {
    pub(super) fn push(&mut self, text: &str) {
        match self.pieces.last_mut() {
            _ if text.is_empty() => {}
            Some(Piece::Text(last)) => last.push_str(text),
            _ => self.pieces.push(Piece::Text(text.to_owned())),
        }
    }

    /// Adds a template: its values are escaped as said, its text is written by `text`.
    ///
    /// # Errors
    /// The variable that nobody knows.
    pub(super) fn push_template(
        &mut self,
        template: &Template,
        names: &Names,
        escape: Escape,
        text: impl Fn(&str) -> String,
    ) -> Result<(), String> {
        for part in template.parts() {
            match part {
                Part::Text(fixed) => self.push(&text(fixed)),
                Part::Variable(name) => match names.find(name) {
                    Some(Found::Place(place)) => self.pieces.push(Piece::Value(place, escape)),
                    Some(Found::Text(fixed)) => self.push(&escaped(fixed, escape)),
                    None => return Err(name.clone()),
                },
            }
        }
        Ok(())
    }

    /// A template as it is.
    ///
    /// # Errors
    /// The variable that nobody knows.
    pub(super) fn plain(template: &Template, names: &Names) -> Result<Text, String> {
        let mut text = Text::default();
        text.push_template(template, names, Escape::None, str::to_owned)?;
        Ok(text)
    }

    /// The text, where it has no variables.
    pub(super) fn fixed(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    pub(super) fn write(&self, values: &Values, out: &mut String) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Value(place, escape) => match place {
                    Place::Vu => out.push_str(&values.vu.to_string()),
                    Place::Iteration => out.push_str(&values.iteration.to_string()),
                    // A step before has extracted it, or the iteration would be over.
                    Place::Slot(slot) => append(out, values.slots[*slot].as_deref().unwrap_or_default(), *escape),
                    Place::Data(set, column) => {
                        let (set, row) = &values.rows[*set];
                        append(out, &set.rows[*row][*column], *escape);
                    }
                },
            }
        }
    }

    pub(super) fn render(&self, values: &Values) -> String {
        let mut out = String::new();
        self.write(values, &mut out);
        out
    }
}

fn append(out: &mut String, value: &str, escape: Escape) {
    match escape {
        Escape::None => out.push_str(value),
        _ => out.push_str(&escaped(value, escape)),
    }
}

/// A value as it is written where it stands.
pub(super) fn escaped(value: &str, escape: Escape) -> String {
    match escape {
        Escape::None => value.to_owned(),
        Escape::Path => encoded(value, |b| b.is_ascii_alphanumeric() || b"-._~".contains(&b)),
        Escape::Form => url::form_urlencoded::byte_serialize(value.as_bytes()).collect(),
        Escape::Json => {
            let quoted = serde_json::Value::from(value).to_string();
            quoted[1..quoted.len() - 1].to_owned()
        }
    }
}

/// Text of a URL as a person writes it: what may not stand in a URL is encoded, what may stays.
pub(super) fn url_text(text: &str) -> String {
    encoded(text, |b| b.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&b))
}

fn encoded(text: &str, stays: impl Fn(u8) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if stays(byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_escaped_as_its_place_needs_it() {
        let value = "a b/\"ü\"&=\n";
        assert_eq!(escaped(value, Escape::Path), "a%20b%2F%22%C3%BC%22%26%3D%0A");
        assert_eq!(escaped(value, Escape::Form), "a+b%2F%22%C3%BC%22%26%3D%0A");
        assert_eq!(escaped(value, Escape::Json), "a b/\\\"ü\\\"&=\\n");
        assert_eq!(escaped(value, Escape::None), value);
        assert_eq!(url_text("/a b/{x}?q=ü%20"), "/a%20b/%7Bx%7D?q=%C3%BC%20");
    }

    #[test]
    fn every_kind_of_variable_has_a_value() {
        let set = DataSet { columns: vec!["symbol".to_owned()], rows: vec![vec!["AAPL".into()], vec!["B/C".into()]] };
        let set = Arc::new(set);
        let names = Names {
            slots: vec!["id".to_owned()],
            data: vec![("tickers".to_owned(), set.clone())],
            env: BTreeMap::from([("HOST".to_owned(), "h h".to_owned())]),
        };
        let template: Template = "/${tickers.symbol}/${id}?${env.HOST}-${vu}-${iteration}".parse().unwrap();
        let mut text = Text::default();
        text.push_template(&template, &names, Escape::Path, url_text).unwrap();
        let values = Values { vu: 3, iteration: 7, slots: vec![Some("x y".into())], rows: vec![(set, 1)] };
        assert_eq!(text.render(&values), "/B%2FC/x%20y?h%20h-3-7");
        assert_eq!(text.fixed(), None);
        let unknown: Template = "${nobody}".parse().unwrap();
        assert_eq!(Text::plain(&unknown, &names), Err("nobody".to_owned()));
    }
}
