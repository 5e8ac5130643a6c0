//! From text to typed sections: syntax, which sections and keys there are, and types. Knows no meaning.

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Error, ValueDeserializer};

use super::format::{Document, LATER, example};
use super::problem::{Problems, label, quoted};
use super::suggest::nearest;

/// How the sections of the file's root are written.
const TITLES: &str = "[http], [admin], [[key]], [[zone]], [[account]], [[host]], [engine], [limits], [addresses], [dialects], [store], [acme]";

/// How many unknown keys and wrong types of one section are told; each one costs another reading of the section.
const MOST_TOLD: usize = 100;

/// Reads `text`. `None` where its syntax is broken, of which the first place is told.
pub(super) fn read(text: &str, problems: &mut Problems<'_>) -> Option<Document> {
    let root = match DeTable::parse(text) {
        Ok(root) => root.into_inner(),
        Err(error) => {
            let (message, help) = explain(error.message());
            problems.add(error.span().map_or(0, |span| span.start), message, help);
            return None;
        }
    };
    let mut sections = Sections { root, complete: true, problems };
    // It stands in [http], and is taken out before that is read.
    let tls = sections.once("[http.tls]");
    let document = Document {
        http: sections.once("[http]").unwrap_or_else(absent),
        tls,
        admin: sections.once("[admin]").unwrap_or_else(absent),
        keys: sections.take("[[key]]"),
        zones: sections.take("[[zone]]"),
        accounts: sections.take("[[account]]"),
        hosts: sections.take("[[host]]"),
        engine: sections.once("[engine]").unwrap_or_else(absent),
        limits: sections.once("[limits]").unwrap_or_else(absent),
        addresses: sections.once("[addresses]").unwrap_or_else(absent),
        dialects: sections.once("[dialects]").unwrap_or_else(absent),
        store: sections.once("[store]"),
        acme: sections.once("[acme]").unwrap_or_else(absent),
    };
    sections.refuse_unknown();
    sections.complete.then_some(document)
}

fn absent<T: Default>() -> Spanned<T> {
    Spanned::new(0..0, T::default())
}

/// The sections of the file that were not taken yet.
struct Sections<'t, 'p, 'f> {
    root: DeTable<'t>,
    /// Whether all that was taken was read to its end.
    complete: bool,
    problems: &'p mut Problems<'f>,
}

impl<'t> Sections<'t, '_, '_> {
    fn once<T: DeserializeOwned + Default>(&mut self, title: &str) -> Option<Spanned<T>> {
        self.take(title).pop()
    }

    /// All sections of a title: at most one where it has one bracket.
    fn take<T: DeserializeOwned + Default>(&mut self, title: &str) -> Vec<Spanned<T>> {
        let value = match name(title).split_once('.') {
            None => self.root.remove(name(title)),
            Some((outer, inner)) => match self.root.get_mut(outer).map(Spanned::get_mut) {
                Some(DeValue::Table(outer)) => outer.remove(inner),
                _ => None,
            },
        };
        let Some(value) = value else { return Vec::new() };
        let (span, is_repeated) = (value.span(), title.starts_with("[["));
        let help = match is_repeated {
            true => format!("begin each one with a line {title}"),
            false => format!("write the section with one bracket, as {title}"),
        };
        let (is_list, members): (_, Vec<_>) = match value.into_inner() {
            DeValue::Array(members) if is_repeated => (true, members.into_iter().collect()),
            single => (false, vec![Spanned::new(span, single)]),
        };
        let mut sections = Vec::with_capacity(members.len());
        for member in members {
            let is_table = member.get_ref().is_table();
            if is_list != is_repeated || !is_table {
                self.problems.add(member.span().start, wrong_kind(title, member.get_ref()), help.clone());
            }
            // A single one with one bracket is read, so that what is in it and what refers to it is judged too.
            if is_table {
                sections.push(self.typed(title, member));
            }
        }
        sections
    }

    /// A section as its struct. What serde refuses is told and taken out, until it refuses nothing.
    fn typed<T: DeserializeOwned + Default>(&mut self, title: &str, mut value: Spanned<DeValue<'t>>) -> Spanned<T> {
        let span = value.span();
        for _ in 0..MOST_TOLD {
            let error = match T::deserialize(ValueDeserializer::from(value.clone())) {
                Ok(section) => return Spanned::new(span, section),
                Err(error) => error,
            };
            let DeValue::Table(table) = value.get_mut() else { break };
            let Some(refused) = Refused::take(title, span.start, table, &error) else { break };
            refused.tell(&error, self.problems);
        }
        self.complete = false;
        let message = format!("more is wrong with {title} than is told here");
        self.problems.add(span.start, message, "mend what is told, and try again");
        Spanned::new(span, T::default())
    }

    fn refuse_unknown(&mut self) {
        for (key, value) in std::mem::take(&mut self.root) {
            let (name_at, at) = (key.span().start, value.span().start);
            let name = key.into_inner();
            let message = match value.get_ref() {
                value if !is_section(value) => {
                    let message = format!("key {} stands outside of every section", quoted(&name));
                    let help = format!("put it below the line of its section, one of {TITLES}");
                    self.problems.add(name_at, message, help);
                    continue;
                }
                DeValue::Array(_) if is_later("", &name) => format!("[[{name}]] is not in this version"),
                _ if is_later("", &name) => format!("[{name}] is not in this version"),
                _ => format!("there is no section {}", quoted(&name)),
            };
            let titles = TITLES.split(", ");
            let meant = nearest(&name, titles.clone().map(self::name));
            let title = titles.clone().find(|title| Some(self::name(title)) == meant);
            let question = title.map(|title| format!("did you mean {title}? ")).unwrap_or_default();
            self.problems.add(at, message, format!("{question}known sections: {TITLES}"));
        }
    }
}

/// The key of a section in the file's root.
fn name(title: &str) -> &str {
    title.trim_matches(['[', ']'])
}

fn is_later(title: &str, key: &str) -> bool {
    LATER.iter().any(|(of, keys)| *of == title && keys.contains(&key))
}

fn wrong_kind(title: &str, found: &DeValue<'_>) -> String {
    match found {
        DeValue::Array(_) => format!("{title} may stand only once, and here is a list"),
        DeValue::Table(_) => format!("{title} may be repeated, and so has two brackets on each side"),
        _ => format!("{title} is a section, and here is a single value"),
    }
}

/// Whether a value at the root was written with brackets, as far as the tree shows it.
fn is_section(value: &DeValue<'_>) -> bool {
    match value {
        DeValue::Array(members) => members.first().is_some_and(|member| member.get_ref().is_table()),
        value => value.is_table(),
    }
}

/// What serde refused, taken out of its section.
struct Refused<'t> {
    /// How errors call the table that it stood in, and where that begins.
    title: String,
    table_at: usize,
    key: String,
    /// Where the key was refused, or the value.
    at: usize,
    /// The value that was refused; `None` where the key is unknown.
    value: Option<DeValue<'t>>,
    /// Whether the value is a member of the key's list.
    is_member: bool,
}

impl<'t> Refused<'t> {
    /// Takes the key or value that `error` is about out of `table`.
    fn take(title: &str, table_at: usize, table: &mut DeTable<'t>, error: &Error) -> Option<Self> {
        let span = error.span()?;
        let here = |key: &str, value, is_member| {
            let (title, key) = (title.to_owned(), key.to_owned());
            Some(Self { title, table_at, key, at: span.start, value, is_member })
        };
        // A table that dotted keys make may stand where its key does.
        let is_key = error.message().starts_with("unknown field");
        let found = table.iter().find(|(key, value)| is_key && key.span() == span || value.span() == span);
        if let Some((key, is_key)) = found.map(|(key, _)| (key.get_ref().clone(), is_key && key.span() == span)) {
            let value = table.remove(&*key)?.into_inner();
            return here(&key, (!is_key).then_some(value), false);
        }
        for (key, value) in table.iter_mut() {
            let (key, at) = (key.get_ref(), value.span().start);
            match value.get_mut() {
                DeValue::Table(inner) => {
                    if let Some(refused) = Self::take(&format!("{title} {key}"), at, inner, error) {
                        return Some(refused);
                    }
                }
                DeValue::Array(members) => {
                    if let Some(member) = members.iter().find(|member| member.span() == span).cloned() {
                        *members = members.iter().filter(|member| member.span() != span).cloned().collect();
                        return here(key, Some(member.into_inner()), true);
                    }
                    for member in members.iter_mut() {
                        let at = member.span().start;
                        if let DeValue::Table(inner) = member.get_mut()
                            && let Some(refused) = Self::take(&format!("a table in `{key}`"), at, inner, error)
                        {
                            return Some(refused);
                        }
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// Serde's words are not repeated, since they quote the value, but for what they end with: what was expected.
    fn tell(self, error: &Error, problems: &mut Problems<'_>) {
        let Self { title, table_at, key, at, value, is_member } = self;
        let expected = error.message().rsplit_once(", expected ").map_or("", |(_, expected)| expected);
        let label = label(&title, &key);
        let Some(value) = value else {
            let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
            let meant = nearest(&key, known.iter().copied());
            let question = meant.map(|meant| format!("did you mean `{meant}`? ")).unwrap_or_default();
            let message = match is_later(&title, &key) {
                true => format!("{label} is not in this version"),
                false => format!("{title} has no key {}", quoted(&key)),
            };
            problems.add(at, message, format!("{question}known here: {}", known.join(", ")));
            problems.excuse(table_at, meant.unwrap_or_default());
            return;
        };
        let found = match value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let message = match expected {
            _ if is_member => format!("{label} must be a list of strings, and here is {found}"),
            "a sequence" => format!("{label} must be a list of strings, and here is {found}"),
            "a string" => format!("{label} must be a string in quotes, and here is {found}"),
            "a boolean" => format!("{label} must be true or false, and here is {found}"),
            integer if integer.starts_with("an integer") => format!("{label} is not {integer}"),
            _ => format!("{label} cannot be {found}"),
        };
        problems.add(at, message, format!("for example: {}", example(&title, &key)));
        problems.excuse(table_at, &key);
    }
}

/// The parser's words, and what an operator would do. The parser never repeats a part of the file.
fn explain(message: &str) -> (String, &'static str) {
    let what = message.split(", expected").next().unwrap_or(message);
    let broken = |help| (format!("broken syntax: {what}"), help);
    let plain = |what: &str, help| (what.to_owned(), help);
    match what {
        "duplicate key" => plain(
            "this key or section stands twice",
            "remove one of the two; only [[key]], [[zone]], [[account]] and [[host]] may be repeated, with two brackets",
        ),
        "string values must be quoted" => plain(
            "a value is missing, or stands without quotes",
            "write strings in quotes, durations and networks too: \"5s\", \"off\", \"10.0.0.0/8\"",
        ),
        "key with no value" | "invalid key-value pair" | "invalid unquoted key" => {
            plain("this is not `key = value`", "write `key = value`, or begin the line with # for a comment")
        }
        "unclosed array" => plain("this list is not closed", "end it with `]`"),
        "unclosed inline table" => plain("this table is not closed", "end it with `}`"),
        "unclosed table" => plain("the name of this section is not closed", "end it with `]`"),
        "unclosed array table" => plain("the name of this section is not closed", "end it with `]]`"),
        "invalid basic string" => broken("end the string with \" on the same line"),
        "invalid literal string" => broken("end the string with ' on the same line"),
        "missing escaped value" => broken("write \\\\ for a backslash, or put the string in single quotes"),
        "missing comma between array elements" => plain(
            "a comma is missing before this, or the end of a list",
            "put a comma between the members of the list, and `]` at its end",
        ),
        "missing comma between key-value pairs" => plain(
            "a comma is missing before this, or the end of a table",
            "put a comma between the keys, and `}` at the end",
        ),
        "unexpected key or value" => broken("one `key = value` a line"),
        "invalid boolean" => broken("write true or false"),
        _ => (format!("broken syntax: {message}"), "see https://toml.io for the syntax"),
    }
}
