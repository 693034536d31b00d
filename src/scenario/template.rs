//! Text with variables in it: `/stocks/${ticker}`. Read once, before the run.
//!
//! `${name}` is a variable, `$${` the text `${`, and any other `$` itself.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text, as it is.
    Text(String),
    /// The value of a variable: `ticker`, `tickers.symbol`, `env.NAME`.
    Variable(String),
}

/// Text with variables in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template {
    parts: Vec<Part>,
}

/// Text that is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateFault {
    /// A `${` without its `}`.
    #[error("`${{` without `}}` (write `$${{` for the text itself)")]
    Open,
    /// What stands between the braces is no name.
    #[error("`${{{0}}}` names no variable: a name has letters, digits, - and _, and at most one dot")]
    Name(String),
}

impl Template {
    /// A template of text alone.
    #[must_use]
    pub fn text(text: &str) -> Template {
        let parts = if text.is_empty() { Vec::new() } else { vec![Part::Text(text.to_owned())] };
        Template { parts }
    }

    /// Its parts: no two texts side by side, none empty.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The names of its variables, in order.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// Adds parts at its end.
    pub fn extend(&mut self, parts: impl IntoIterator<Item = Part>) {
        for part in parts {
            match part {
                Part::Text(text) => self.push_text(&text),
                variable @ Part::Variable(_) => self.parts.push(variable),
            }
        }
    }

    fn push_text(&mut self, text: &str) {
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(Part::Text(last)) => last.push_str(text),
            _ => self.parts.push(Part::Text(text.to_owned())),
        }
    }
}

/// Whether text can be the first part of a variable's name, or the name of a step list or of data.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let first = text.bytes().next();
    first.is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// A variable has a name, or a name, a dot and a column of a data file, which may have any characters.
fn is_variable(text: &str) -> bool {
    match text.split_once('.') {
        Some((name, column)) => is_name(name) && !column.trim().is_empty() && !column.contains(['{', '$']),
        None => is_name(text),
    }
}

impl FromStr for Template {
    type Err = TemplateFault;

    fn from_str(text: &str) -> Result<Template, TemplateFault> {
        let mut template = Template::default();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            // `$${` is the text `${`: the dollar before it is the escape.
            if let Some(before) = rest[..at].strip_suffix('$') {
                template.push_text(before);
                template.push_text("${");
                rest = &rest[at + 2..];
                continue;
            }
            template.push_text(&rest[..at]);
            let inner = &rest[at + 2..];
            let end = inner.find('}').ok_or(TemplateFault::Open)?;
            let name = inner[..end].trim();
            if !is_variable(name) {
                return Err(TemplateFault::Name(name.to_owned()));
            }
            template.parts.push(Part::Variable(name.to_owned()));
            rest = &inner[end + 1..];
        }
        template.push_text(rest);
        Ok(template)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, part) in self.parts.iter().enumerate() {
            match part {
                Part::Variable(name) => write!(f, "${{{name}}}")?,
                Part::Text(text) => {
                    let text = text.replace("${", "$${");
                    f.write_str(&text)?;
                    debug_assert!(at == 0 || !matches!(self.parts[at - 1], Part::Text(_)));
                }
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for Template {
    type Error = TemplateFault;

    fn try_from(text: String) -> Result<Template, TemplateFault> {
        text.parse()
    }
}

impl From<Template> for String {
    fn from(template: Template) -> String {
        template.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(text: &str) -> Vec<Part> {
        text.parse::<Template>().unwrap().parts
    }

    #[test]
    fn variables_stand_between_texts() {
        let text = |text: &str| Part::Text(text.to_owned());
        let variable = |name: &str| Part::Variable(name.to_owned());
        assert_eq!(parts("/stocks/${ticker}/x"), [text("/stocks/"), variable("ticker"), text("/x")]);
        assert_eq!(parts("${a.first name}${ b }"), [variable("a.first name"), variable("b")]);
        assert_eq!(parts("costs $5, $${a} and $"), [text("costs $5, ${a} and $")]);
        assert!(parts("").is_empty());
    }

    #[test]
    fn what_names_no_variable_is_a_fault() {
        let fault = |text: &str| text.parse::<Template>().unwrap_err();
        assert_eq!(fault("a ${b"), TemplateFault::Open);
        for wrong in ["${}", "${1a}", "${a b}", "${.a}", "${a.}", "${a/b}", "${${a}}"] {
            assert!(matches!(fault(wrong), TemplateFault::Name(_)), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic(text in ".{0,30}|[${}a.]{0,30}") {
            let _ = text.parse::<Template>();
        }

        #[test]
        fn what_was_read_is_written_and_read_again(text in ".{0,30}|[${}a.]{0,30}") {
            if let Ok(template) = text.parse::<Template>() {
                prop_assert_eq!(template.to_string().parse::<Template>().unwrap(), template);
            }
        }

        #[test]
        fn text_without_variables_stays_as_it_is(text in "[a-z /?&=$]{0,30}") {
            let template: Template = text.parse().unwrap();
            prop_assert_eq!(template, Template::text(&text));
        }
    }
}
