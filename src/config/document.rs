//! The whole file: which sections there are, in which order they are read, and what becomes of them.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::account::{read_accounts, read_hosts};
use super::engine::{read_engine, read_limits};
use super::key::Keys;
use super::listener::read_listeners;
use super::network::read_addresses;
use super::problem::{Problems, quoted};
use super::section::Section;
use super::store::read_store;
use super::suggest::nearest;
use super::syntax;
use super::zone::Zones;
use super::{Config, Errors};

/// Every section of the format: its name and its title.
const SECTIONS: [(&str, &str); 10] = [
    ("http", "[http]"),
    ("admin", "[admin]"),
    ("key", "[[key]]"),
    ("zone", "[[zone]]"),
    ("account", "[[account]]"),
    ("host", "[[host]]"),
    ("engine", "[engine]"),
    ("limits", "[limits]"),
    ("addresses", "[addresses]"),
    ("store", "[store]"),
];

/// Reads the text of the file at `path`.
pub(super) fn read(text: &str, path: &Path) -> Result<Config, Errors> {
    let mut problems = Problems::new(path, text);
    let mut mended = String::new();
    let root = syntax::parse(text, &mut mended, &mut problems);
    refuse_unknown(&root, &mut problems);

    let empty = DeTable::new();
    let sections = Sections { root: &root, empty: &empty };
    let folder = path.parent().unwrap_or(Path::new(""));
    let (http, admin) = (sections.single("[http]", &mut problems), sections.single("[admin]", &mut problems));
    let (http, admin) = read_listeners(http, admin, folder, &mut problems);
    let mut keys = Keys::read(sections.repeated("[[key]]", &mut problems), folder, &mut problems);
    let zones = Zones::read(sections.repeated("[[zone]]", &mut problems), &mut keys, &mut problems);
    let accounts = read_accounts(sections.repeated("[[account]]", &mut problems), &zones, &mut problems);
    let hosts = read_hosts(sections.repeated("[[host]]", &mut problems), &zones, &mut problems);
    let engine = read_engine(sections.single("[engine]", &mut problems), &mut problems);
    let limits = read_limits(sections.single("[limits]", &mut problems), &mut problems);
    let refuse = read_addresses(sections.single("[addresses]", &mut problems), &mut problems);
    let store = read_store(sections.single("[store]", &mut problems), sections.has("[store]"), folder, &mut problems);
    match problems.into_errors() {
        Some(errors) => Err(errors),
        None => Ok(Config {
            http,
            admin,
            engine,
            limits,
            refuse,
            zones: zones.checked,
            accounts,
            hosts,
            store,
            secret_files: keys.into_files(),
        }),
    }
}

/// The parsed file as its sections.
struct Sections<'t> {
    root: &'t DeTable<'t>,
    empty: &'t DeTable<'t>,
}

impl<'t> Sections<'t> {
    /// A section that stands once, or an empty one in its place.
    fn single(&self, title: &'static str, problems: &mut Problems<'_>) -> Section<'t> {
        let value = self.find(title);
        let at = value.map_or(0, |value| value.span().start);
        let table = value.and_then(|value| match value.get_ref() {
            DeValue::Table(table) => Some(table),
            other => {
                problems.add(at, wrong_kind(title, other), format!("write the section with one bracket, as {title}"));
                None
            }
        });
        Section::new(title, table.unwrap_or(self.empty), at)
    }

    /// All sections of a kind that may be repeated.
    fn repeated(&self, title: &'static str, problems: &mut Problems<'_>) -> Vec<Section<'t>> {
        let Some(value) = self.find(title) else { return Vec::new() };
        let help = format!("begin each one with a line {title}");
        let DeValue::Array(members) = value.get_ref() else {
            problems.add(value.span().start, wrong_kind(title, value.get_ref()), help);
            // Read as the one that it is, so that what is in it and what refers to it is judged too.
            let table = value.get_ref().as_table();
            return table.map(|table| Section::new(title, table, value.span().start)).into_iter().collect();
        };
        let mut sections = Vec::with_capacity(members.len());
        for member in members.iter() {
            let at = member.span().start;
            match member.get_ref() {
                DeValue::Table(table) => sections.push(Section::new(title, table, at)),
                other => problems.add(at, wrong_kind(title, other), help.clone()),
            }
        }
        sections
    }

    fn has(&self, title: &str) -> bool {
        self.find(title).is_some()
    }

    fn find(&self, title: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.root.get(title.trim_matches(['[', ']']))
    }
}

fn wrong_kind(title: &str, found: &DeValue<'_>) -> String {
    match found {
        DeValue::Array(_) => format!("{title} may stand only once, and here is a list"),
        DeValue::Table(_) => format!("{title} may be repeated, and so has two brackets on each side"),
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {
            format!("{title} is a section, and here is a single value")
        }
    }
}

/// Reports sections that are no part of the format.
fn refuse_unknown(root: &DeTable<'_>, problems: &mut Problems<'_>) {
    for (key, value) in root.iter() {
        let name = key.get_ref().as_ref();
        match SECTIONS.iter().find(|(known, _)| *known == name) {
            Some(_) => {}
            None if is_section(value.get_ref()) => {
                let meant = nearest(name, SECTIONS.iter().map(|(known, _)| *known));
                let title = SECTIONS.iter().find(|(known, _)| Some(*known) == meant);
                let question = title.map(|(_, title)| format!("did you mean {title}? ")).unwrap_or_default();
                let message = format!("there is no section {}", quoted(name));
                problems.add(value.span().start, message, format!("{question}known sections: {}", titles()));
            }
            None => problems.add(
                key.span().start,
                format!("key {} stands outside of every section", quoted(name)),
                format!("put it below the line of its section, one of {}", titles()),
            ),
        }
    }
}

/// Whether a value at the root was written with brackets, as far as the tree shows it.
fn is_section(value: &DeValue<'_>) -> bool {
    match value {
        DeValue::Table(_) => true,
        DeValue::Array(members) => members.first().is_some_and(|member| member.get_ref().is_table()),
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {
            false
        }
    }
}

fn titles() -> String {
    SECTIONS.iter().map(|(_, title)| *title).collect::<Vec<_>>().join(", ")
}
