//! Where something stands in a file, for faults that a deserialiser does not see.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A file with the places of its keys.
pub(super) struct Places<'t> {
    text: &'t str,
    table: Spanned<DeTable<'t>>,
}

impl<'t> Places<'t> {
    pub(super) fn of(text: &'t str) -> Result<Places<'t>, toml::de::Error> {
        Ok(Places { text, table: DeTable::parse(text)? })
    }

    /// The table at a path of keys.
    pub(super) fn table(&self, path: &[&str]) -> Option<&DeTable<'t>> {
        let mut table = self.table.get_ref();
        for name in path {
            table = entry(table, name)?.1.get_ref().as_table()?;
        }
        Some(table)
    }

    /// Line and column, from 1, of the last key of a path.
    pub(super) fn at(&self, path: &[&str]) -> Option<(usize, usize)> {
        let (last, parents) = path.split_last()?;
        let (key, _) = entry(self.table(parents)?, last)?;
        Some(self.line_and_column(key.span().start))
    }

    pub(super) fn line_and_column(&self, byte: usize) -> (usize, usize) {
        let before = self.text.get(..byte).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

fn entry<'a, 't>(table: &'a DeTable<'t>, name: &str) -> Option<(&'a Key<'t>, &'a Spanned<DeValue<'t>>)> {
    table.iter().find(|(key, _)| key.get_ref() == name)
}

type Key<'t> = Spanned<std::borrow::Cow<'t, str>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_line_and_a_column() {
        let places = Places::of("a = 1\n[b.c]\n  d = 2\n").unwrap();
        assert_eq!(places.at(&["b", "c", "d"]), Some((3, 3)));
        assert_eq!(places.at(&["b", "c"]), Some((2, 4)));
        assert_eq!(places.at(&["b", "x"]), None);
    }
}
