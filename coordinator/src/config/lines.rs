//! On which line of a TOML text something stands.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One step on the way to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// Into a table.
    Key(&'a str),
    /// Into a list, from 0.
    At(usize),
}

/// The line of a value, from 1; `None` where it is not written, or where the text is no TOML.
pub(super) fn line_of(text: &str, steps: &[Step<'_>]) -> Option<usize> {
    let table = DeTable::parse(text).ok()?;
    let (first, rest) = steps.split_first()?;
    let value = match first {
        Step::Key(key) => entry(table.get_ref(), key)?,
        Step::At(_) => return None,
    };
    let value = rest.iter().try_fold(value, |value, step| match step {
        Step::Key(key) => entry(value.get_ref().as_table()?, key),
        Step::At(index) => value.get_ref().as_array()?.get(*index),
    })?;
    Some(at(text, value.span().start))
}

fn entry<'t, 'i>(table: &'t DeTable<'i>, key: &str) -> Option<&'t Spanned<DeValue<'i>>> {
    let mut entries = table.iter();
    let found = entries.find(|(name, _)| name.get_ref() == key);
    found.map(|(_, value)| value)
}

/// The line in which a byte stands, from 1.
pub(super) fn at(text: &str, byte: usize) -> usize {
    let before = text.get(..byte).unwrap_or(text);
    before.matches('\n').count() + 1
}
