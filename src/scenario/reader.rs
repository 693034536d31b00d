//! Reads a TOML document key by key, and collects every fault with its line and column instead of ending at the first.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::template::Template;
use crate::units;

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Whose it is: `steps.browse, step "list"`; empty where it is the file's.
    pub place: String,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: ", self.line, self.column)?;
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.what)
    }
}

/// `; did you mean …?`, or what there is.
#[must_use]
pub fn hint(name: &str, known: &[&str]) -> String {
    match units::nearest(name, known.iter().copied()) {
        Some(near) => format!("; did you mean `{near}`?"),
        None if known.is_empty() => String::new(),
        None => format!("; there are {}", known.join(", ")),
    }
}

/// The text that is read, and what was found wrong with it.
pub(super) struct Faults<'t> {
    text: &'t str,
    found: RefCell<Vec<Fault>>,
}

impl<'t> Faults<'t> {
    pub(super) fn new(text: &'t str) -> Faults<'t> {
        Faults { text, found: RefCell::default() }
    }

    pub(super) fn add(&self, span: Range<usize>, place: &str, what: impl Into<String>) {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or(before).chars().count() + 1;
        self.found.borrow_mut().push(Fault { line, column, place: place.to_owned(), what: what.into() });
    }

    pub(super) fn none(&self) -> bool {
        self.found.borrow().is_empty()
    }

    /// All of them, in the order of the text.
    pub(super) fn finish(self) -> Vec<Fault> {
        let mut found = self.found.into_inner();
        found.sort_by(|a, b| (a.line, a.column, &a.what).cmp(&(b.line, b.column, &b.what)));
        found.dedup();
        found
    }
}

pub(super) type Value<'a> = Spanned<DeValue<'a>>;

/// A table whose keys are known.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    pub(super) table: &'a DeTable<'a>,
    /// Where it begins, for what is missing.
    pub(super) start: usize,
    pub(super) place: &'a str,
    pub(super) faults: &'a Faults<'a>,
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

impl<'a> Fields<'a> {
    /// The whole document; every key that is not known is a fault.
    pub(super) fn document(table: &'a DeTable<'a>, known: &[&str], faults: &'a Faults<'a>) -> Fields<'a> {
        let fields = Fields { table, start: 0, place: "", faults };
        fields.expect(known);
        fields
    }

    /// A value as a table with any keys.
    pub(super) fn any(value: &'a Value<'a>, place: &'a str, faults: &'a Faults<'a>) -> Option<Fields<'a>> {
        let start = value.span().start;
        let Some(table) = value.get_ref().as_table() else {
            faults.add(value.span(), place, format!("a table is expected, not {}", kind(value.get_ref())));
            return None;
        };
        Some(Fields { table, start, place, faults })
    }

    /// A value as a table; every key that is not known is a fault.
    pub(super) fn of(
        value: &'a Value<'a>,
        place: &'a str,
        known: &[&str],
        faults: &'a Faults<'a>,
    ) -> Option<Fields<'a>> {
        let fields = Fields::any(value, place, faults)?;
        fields.expect(known);
        Some(fields)
    }

    fn expect(&self, known: &[&str]) {
        for (key, _) in self.table.iter().filter(|(key, _)| !known.contains(&key.get_ref().as_ref())) {
            let name = key.get_ref();
            self.faults.add(key.span(), self.place, format!("unknown key `{name}`{}", hint(name, known)));
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a Value<'a>> {
        self.table.get(key)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    pub(super) fn fault(&self, what: impl Into<String>) {
        self.faults.add(self.start..self.start, self.place, what);
    }

    pub(super) fn fault_at(&self, value: &Value<'_>, what: impl Into<String>) {
        self.faults.add(value.span(), self.place, what);
    }

    /// At the value of a key; where it is not there, at the beginning of the table.
    pub(super) fn fault_in(&self, key: &str, what: impl Into<String>) {
        match self.get(key) {
            Some(value) => self.fault_at(value, what),
            None => self.fault(what),
        }
    }

    fn wrong(&self, key: &str, value: &Value<'_>, expected: &str) {
        self.fault_at(value, format!("`{key}` is {expected}, not {}", kind(value.get_ref())));
    }

    /// A text.
    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        let value = self.get(key)?;
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.wrong(key, value, "a text");
        }
        text
    }

    /// A text that something is made of.
    pub(super) fn parsed<T, E: fmt::Display>(&self, key: &str, make: impl Fn(&str) -> Result<T, E>) -> Option<T> {
        let text = self.text(key)?;
        match make(text) {
            Ok(made) => Some(made),
            Err(e) => {
                if let Some(value) = self.get(key) {
                    self.fault_at(value, format!("`{key}`: {e}"));
                }
                None
            }
        }
    }

    /// A text with variables; what is wrong with it is reported where variables are looked at.
    pub(super) fn template(&self, key: &str) -> Option<Template> {
        self.text(key).map(|text| text.parse().unwrap_or_default())
    }

    pub(super) fn duration(&self, key: &str) -> Option<Duration> {
        self.parsed(key, units::duration)
    }

    pub(super) fn boolean(&self, key: &str) -> Option<bool> {
        let value = self.get(key)?;
        let boolean = value.get_ref().as_bool();
        if boolean.is_none() {
            self.wrong(key, value, "true or false");
        }
        boolean
    }

    /// A number.
    pub(super) fn number(&self, key: &str) -> Option<serde_json::Number> {
        let value = self.get(key)?;
        match json(value.get_ref()) {
            Some(serde_json::Value::Number(number)) => Some(number),
            _ => {
                self.wrong(key, value, "a number");
                None
            }
        }
    }

    /// A whole number up to a limit.
    pub(super) fn whole(&self, key: &str, most: u64) -> Option<u64> {
        self.number_within(key, 0, most)
    }

    /// A whole number between two limits.
    pub(super) fn number_within(&self, key: &str, least: u64, most: u64) -> Option<u64> {
        let number = self.number(key)?;
        let whole = number.as_u64().filter(|n| (least..=most).contains(n));
        if let (None, Some(value)) = (whole, self.get(key)) {
            self.fault_at(value, format!("`{key}` is a whole number from {least} to {most}"));
        }
        whole
    }

    /// A table of texts.
    pub(super) fn texts(&self, key: &str) -> BTreeMap<String, String> {
        let mut read = BTreeMap::new();
        for (name, value) in self.named(key) {
            match value.get_ref().as_str() {
                Some(text) => {
                    read.insert(name.to_owned(), text.to_owned());
                }
                None => self.fault_at(value, format!("`{key}.{name}` is a text, not {}", kind(value.get_ref()))),
            }
        }
        read
    }

    /// A list.
    pub(super) fn list(&self, key: &str) -> &'a [Value<'a>] {
        let Some(value) = self.get(key) else { return &[] };
        let Some(list) = value.get_ref().as_array() else {
            self.wrong(key, value, "a list");
            return &[];
        };
        list
    }

    /// A table of names that are the user's own.
    pub(super) fn named(&self, key: &str) -> Vec<(&'a str, &'a Value<'a>)> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let Some(table) = value.get_ref().as_table() else {
            self.wrong(key, value, "a table");
            return Vec::new();
        };
        table.iter().map(|(name, value)| (name.get_ref().as_ref(), value)).collect()
    }

    /// A table of templates; numbers and booleans are written as text.
    pub(super) fn templates(&self, key: &str) -> Vec<(String, Template)> {
        let mut read = Vec::new();
        for (name, value) in self.named(key) {
            let template = match value.get_ref() {
                DeValue::String(text) => Ok(text.parse().unwrap_or_default()),
                other => json(other)
                    .filter(|value| !value.is_array() && !value.is_object())
                    .map(|value| Template::text(&value.to_string()))
                    .ok_or_else(|| format!("`{key}.{name}` is a text, not {}", kind(other))),
            };
            match template {
                Ok(template) => read.push((name.to_owned(), template)),
                Err(what) => self.fault_at(value, what),
            }
        }
        read
    }
}

/// A TOML value as JSON; a date as text. `None` for a number that JSON does not have.
pub(super) fn json(value: &DeValue<'_>) -> Option<serde_json::Value> {
    Some(match value {
        DeValue::String(text) => serde_json::Value::String(text.to_string()),
        DeValue::Boolean(boolean) => (*boolean).into(),
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix()).ok()?.into(),
        DeValue::Float(float) => serde_json::Number::from_f64(float.as_str().parse().ok()?)?.into(),
        DeValue::Datetime(date) => date.to_string().into(),
        DeValue::Array(list) => list.iter().map(|value| json(value.get_ref())).collect::<Option<Vec<_>>>()?.into(),
        DeValue::Table(table) => {
            let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
                let key: &std::borrow::Cow<'_, str> = key.get_ref();
                Some((key.to_string(), json(value.get_ref())?))
            };
            serde_json::Value::Object(table.iter().map(entry).collect::<Option<_>>()?)
        }
    })
}
