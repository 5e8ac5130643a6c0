//! Takes keys out of a parsed table with the types they must have; what nobody took is unknown. Knows no key by name.

use std::ops::RangeInclusive;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Problems, quoted};
use super::suggest::nearest;

/// A key of a section, and a right value for it, as it would be typed.
#[derive(Clone, Copy)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) example: &'static str,
}

impl Key {
    pub(super) const fn new(name: &'static str, example: &'static str) -> Self {
        Self { name, example }
    }

    /// A whole right line.
    pub(super) fn line(self) -> String {
        format!("{} = {}", self.name, self.example)
    }
}

/// One table of the file while it is read.
pub(super) struct Section<'t> {
    title: &'static str,
    table: &'t DeTable<'t>,
    at: usize,
    known: Vec<&'static str>,
    tables: Vec<&'static str>,
    missing: Vec<Key>,
}

impl<'t> Section<'t> {
    /// `title` is how the file spells it, with its brackets; `at` is where it begins.
    pub(super) fn new(title: &'static str, table: &'t DeTable<'t>, at: usize) -> Self {
        Self { title, table, at, known: Vec::new(), tables: Vec::new(), missing: Vec::new() }
    }

    /// Where the section begins.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Whether the key stands here; says nothing about whether it may.
    pub(super) fn has(&self, key: Key) -> bool {
        self.find(key).is_some()
    }

    /// The value of a key that may be left out.
    pub(super) fn optional(&mut self, key: Key) -> Option<Value<'t>> {
        self.known.push(key.name);
        let raw = self.find(key)?;
        Some(Value { key, section: self.title, raw })
    }

    /// The value of a key that must stand here.
    pub(super) fn required(&mut self, key: Key) -> Option<Value<'t>> {
        let value = self.optional(key);
        if value.is_none() {
            self.missing.push(key);
        }
        value
    }

    /// A section below this one, which may be left out.
    pub(super) fn table(
        &mut self,
        name: &'static str,
        title: &'static str,
        problems: &mut Problems<'_>,
    ) -> Option<Section<'t>> {
        self.tables.push(name);
        let raw = self.table.get(name)?;
        let at = raw.span().start;
        match raw.get_ref() {
            DeValue::Table(table) => Some(Section::new(title, table, at)),
            _ => {
                problems.add(at, format!("{title} is a section"), format!("write it with one bracket, as {title}"));
                None
            }
        }
    }

    /// Reports the keys that nobody took, and the missing ones, unless an unknown key was meant for them.
    pub(super) fn finish(self, problems: &mut Problems<'_>) {
        let Self { title, table, at, known, tables, mut missing } = self;
        for key in table.keys() {
            let name = key.get_ref().as_ref();
            if known.contains(&name) || tables.contains(&name) {
                continue;
            }
            let meant = nearest(name, known.iter().copied());
            missing.retain(|missing| Some(missing.name) != meant);
            let question = meant.map(|meant| format!("did you mean `{meant}`? ")).unwrap_or_default();
            problems.add(
                key.span().start,
                format!("{title} has no key {}", quoted(name)),
                format!("{question}known here: {}", known.join(", ")),
            );
        }
        for key in missing {
            problems.absent(
                at,
                format!("{title} has no `{}`", key.name),
                format!("add it, for example: {}", key.line()),
            );
        }
    }

    fn find(&self, key: Key) -> Option<&'t Spanned<DeValue<'t>>> {
        self.table.get(key.name)
    }
}

/// The value of a key, of a type yet unknown.
pub(super) struct Value<'t> {
    key: Key,
    section: &'static str,
    raw: &'t Spanned<DeValue<'t>>,
}

/// A string of the file.
#[derive(Clone, Copy)]
pub(super) struct Text<'t> {
    pub(super) text: &'t str,
    pub(super) at: usize,
}

impl<'t> Value<'t> {
    /// Where the value begins.
    pub(super) fn at(&self) -> usize {
        self.raw.span().start
    }

    /// How messages call it.
    pub(super) fn label(&self) -> String {
        format!("`{}` in {}", self.key.name, self.section)
    }

    /// The key, with its example.
    pub(super) fn key(&self) -> Key {
        self.key
    }

    /// The value, for those of more than one type.
    pub(super) fn raw(&self) -> &'t DeValue<'t> {
        self.raw.get_ref()
    }

    /// A string.
    pub(super) fn text(&self, problems: &mut Problems<'_>) -> Option<Text<'t>> {
        match self.raw() {
            DeValue::String(text) => Some(Text { text, at: self.at() }),
            other => {
                self.wrong_type("a string in quotes", other, self.at(), problems);
                None
            }
        }
    }

    /// A list of strings; members of another type are reported and left out.
    pub(super) fn texts(&self, problems: &mut Problems<'_>) -> Option<Vec<Text<'t>>> {
        let DeValue::Array(members) = self.raw() else {
            self.wrong_type("a list of strings", self.raw(), self.at(), problems);
            return None;
        };
        let mut texts = Vec::with_capacity(members.len());
        for member in members.iter() {
            let at = member.span().start;
            match member.get_ref() {
                DeValue::String(text) => texts.push(Text { text, at }),
                other => self.wrong_type("a list of strings", other, at, problems),
            }
        }
        Some(texts)
    }

    /// Whether it is "off", for a limit that may be lifted.
    pub(super) fn is_off(&self) -> bool {
        self.raw().as_str() == Some("off")
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self, problems: &mut Problems<'_>) -> Option<bool> {
        let boolean = self.raw().as_bool();
        if boolean.is_none() {
            self.wrong_type("true or false", self.raw(), self.at(), problems);
        }
        boolean
    }

    /// An integer within `bounds`.
    pub(super) fn integer(&self, bounds: RangeInclusive<u32>, problems: &mut Problems<'_>) -> Option<u32> {
        let number = match self.raw() {
            DeValue::Integer(integer) => u32::from_str_radix(integer.as_str(), integer.radix()).ok(),
            _ => None,
        };
        let number = number.filter(|number| bounds.contains(number));
        if number.is_none() {
            let message = format!("{} is not an integer from {} to {}", self.label(), bounds.start(), bounds.end());
            problems.add(self.at(), message, format!("for example: {}", self.key.line()));
        }
        number
    }

    /// Reports that `found` stands where `wanted` must stand.
    pub(super) fn wrong_type(&self, wanted: &str, found: &DeValue<'_>, at: usize, problems: &mut Problems<'_>) {
        let found = match found {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        problems.add(
            at,
            format!("{} must be {wanted}, and here is {found}", self.label()),
            format!("for example: {}", self.key.line()),
        );
    }
}
