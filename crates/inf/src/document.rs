//! The file as sections, entries and fields.

use std::collections::HashMap;

use crate::{error::Position, text::Encoding};

/// An INF file.
#[derive(Clone, Debug)]
pub struct Inf {
    /// How it was written.
    pub encoding: Encoding,
    /// The sections in the order in which their names first appear. Sections of one name are one section, as SetupAPI has it.
    pub sections: Vec<Section>,
    /// String tokens that `[Strings]` does not define, and where they are used.
    pub undefined_tokens: Vec<(Position, String)>,
}

/// A section.
#[derive(Clone, Debug)]
pub struct Section {
    /// Its name as it stands where it first appears.
    pub name: String,
    /// Where that is.
    pub at: Position,
    /// The entries.
    pub entries: Vec<Entry>,
}

/// A line, or several that continue each other: `key = field, field` or `field, field`.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What stands before `=`.
    pub key: Option<Field>,
    /// What stands after it, or all of it; never empty.
    pub fields: Vec<Field>,
    /// Where it begins.
    pub at: Position,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Without quotation marks, string tokens as they stand.
    pub raw: String,
    /// With string tokens replaced.
    pub text: String,
    /// Where it begins.
    pub at: Position,
}

impl Inf {
    /// A section; letters of either case are the same.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.is(name))
    }

    /// The entries of a section, none where there is no such section.
    pub fn entries(&self, section: &str) -> impl Iterator<Item = &Entry> {
        self.section(section)
            .into_iter()
            .flat_map(|section| &section.entries)
    }

    /// The first value of a directive in a section.
    #[must_use]
    pub fn value(&self, section: &str, key: &str) -> Option<&Field> {
        self.section(section)?.directive(key)?.fields.first()
    }
}

impl Section {
    /// Whether it has this name.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        same(&self.name, name)
    }

    /// The entries with a key.
    pub fn directives<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |entry| entry.is(key))
    }

    /// The first entry with a key.
    #[must_use]
    pub fn directive(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.is(key))
    }
}

impl Entry {
    /// Whether it has this key.
    #[must_use]
    pub fn is(&self, key: &str) -> bool {
        self.key.as_ref().is_some_and(|own| same(&own.text, key))
    }

    /// A field that is there and not empty.
    #[must_use]
    pub fn field(&self, index: usize) -> Option<&Field> {
        self.fields
            .get(index)
            .filter(|field| !field.text.is_empty())
    }

    /// The text of a field, empty where it is left out.
    #[must_use]
    pub fn text(&self, index: usize) -> &str {
        self.fields.get(index).map_or("", |field| &field.text)
    }
}

/// Whether two names are the same: INF files do not tell cases apart.
pub(crate) fn same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other) || one.to_lowercase() == other.to_lowercase()
}

/// The string tokens.
pub(crate) struct Tokens(HashMap<String, String>);

impl Tokens {
    /// Those of [Strings]. Of two with one name the first counts. Values are not looked into: SetupAPI replaces once.
    pub(crate) fn of(sections: &[Section]) -> Self {
        let mut tokens = HashMap::new();
        let strings = sections.iter().filter(|section| section.is("Strings"));
        for entry in strings.flat_map(|section| &section.entries) {
            if let (Some(key), Some(value)) = (&entry.key, entry.fields.first()) {
                tokens
                    .entry(key.raw.to_lowercase())
                    .or_insert_with(|| value.raw.clone());
            }
        }
        Self(tokens)
    }

    /// Replaces the tokens in `raw`; `undefined` hears of those that are not there. They stay as they stand, like a `%` that opens none. A
    /// number between the signs is a directory, not a token.
    pub(crate) fn replace(&self, raw: &str, undefined: &mut dyn FnMut(&str)) -> String {
        let mut text = String::with_capacity(raw.len());
        let mut rest = raw;
        while let Some(start) = rest.find('%') {
            let (before, after) = (&rest[..start], &rest[start + 1..]);
            text.push_str(before);
            let Some(end) = after.find('%') else {
                undefined(after);
                text.push('%');
                rest = after;
                continue;
            };
            let name = &after[..end];
            rest = &after[end + 1..];
            if name.is_empty() {
                text.push('%');
            } else if let Some(value) = self.0.get(&name.to_lowercase()) {
                text.push_str(value);
            } else {
                if !name.bytes().all(|byte| byte.is_ascii_digit()) {
                    undefined(name);
                }
                text.push('%');
                text.push_str(name);
                text.push('%');
            }
        }
        text.push_str(rest);
        text
    }
}
