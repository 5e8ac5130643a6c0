//! What is wrong with the file: where, what, and what would be right. Knows nothing of what the keys mean.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::Hash;
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};

use super::format::example;

/// Everything that is wrong with a configuration file, in the order of the file; at least one problem.
///
/// No text in it repeats a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Errors(Vec<Problem>);

/// One thing that is wrong, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file it stands in: the configuration, or a key file that it names.
    pub path: PathBuf,
    /// Where in that file; `None` where the file as a whole cannot be read.
    pub position: Option<Position>,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: String,
}

/// A place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl Errors {
    /// The problems, in the order of the file.
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }
}

impl From<Problem> for Errors {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if let Some(Position { line, column }) = self.position {
            write!(f, "{line}:{column}:")?;
        }
        write!(f, " {}\n  {}", self.message, self.help)
    }
}

impl Position {
    pub(super) fn of(text: &str, offset: usize) -> Self {
        Lines::new(text).position(offset)
    }
}

struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn new(text: &'t str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|&start| start <= offset).max(1)
    }

    fn position(&self, offset: usize) -> Position {
        let line = self.line(offset);
        let start = self.starts.get(line - 1).copied().unwrap_or(0);
        let before = self.text.get(start..offset.min(self.text.len())).unwrap_or("");
        // A byte order mark is invisible in every editor.
        let column = before.trim_start_matches('\u{feff}').chars().count() + 1;
        Position { line, column }
    }
}

pub(super) struct Problems<'t> {
    path: &'t Path,
    lines: Lines<'t>,
    /// Each with the octet of the configuration file that it is sorted by.
    found: Vec<(usize, Problem)>,
    /// Keys of the tables that begin there, about which enough is said.
    excused: HashSet<(usize, String)>,
    /// Over all that was read, this file first.
    content: Context,
}

impl<'t> Problems<'t> {
    pub(super) fn new(path: &'t Path, text: &'t str) -> Self {
        let mut problems = Self {
            path,
            lines: Lines::new(text),
            found: Vec::new(),
            excused: HashSet::new(),
            content: Context::new(&SHA256),
        };
        problems.has_read(text);
        problems
    }

    /// `text` is the content of a file that the configuration consists of.
    pub(super) fn has_read(&mut self, text: &str) {
        self.content.update(&text.len().to_be_bytes());
        self.content.update(text.as_bytes());
    }

    /// The digest of all that was read.
    pub(super) fn content(&self) -> Vec<u8> {
        self.content.clone().finish().as_ref().to_vec()
    }

    pub(super) fn path(&self) -> &'t Path {
        self.path
    }

    /// The folder at which relative paths begin.
    pub(super) fn folder(&self) -> &'t Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    pub(super) fn line(&self, at: usize) -> usize {
        self.lines.line(at)
    }

    pub(super) fn add(&mut self, at: usize, message: impl Into<String>, help: impl Into<String>) {
        self.add_in(at, self.path.to_owned(), self.lines.position(at), message.into(), help.into());
    }

    /// What was read at the octet `at`, or nothing where that is wrong: `say` tells what, and what would be right.
    pub(super) fn ok<T, E, H: Into<String>>(
        &mut self,
        at: usize,
        read: Result<T, E>,
        say: impl FnOnce(E) -> (String, H),
    ) -> Option<T> {
        let told = read.map_err(|error| {
            let (message, help) = say(error);
            self.add(at, message, help);
        });
        told.ok()
    }

    /// Something wrong in another file, which the octet `at` of this one names.
    pub(super) fn add_in(&mut self, at: usize, path: PathBuf, position: Position, message: String, help: String) {
        self.found.push((at, Problem { path, position: Some(position), message, help }));
    }

    /// Enough is said about `key` of the table that begins at `at`: it is wrong, or another was typed in its place.
    pub(super) fn excuse(&mut self, at: usize, key: &str) {
        self.excused.insert((at, key.to_owned()));
    }

    pub(super) fn is_excused(&self, at: usize, key: &str) -> bool {
        self.excused.contains(&(at, key.to_owned()))
    }

    /// The value of a key that must stand in the table `title` at `at`; a problem where it is not there.
    pub(super) fn required<T>(&mut self, (title, at): (&str, usize), key: &str, value: Option<T>) -> Option<T> {
        if value.is_none() && !self.is_excused(at, key) {
            let help = format!("add it, for example: {}", example(title, key));
            self.add(at, format!("{title} has no `{key}`"), help);
        }
        value
    }

    /// The collected problems; of a file that is right, none.
    pub(super) fn into_errors(mut self) -> Errors {
        self.found.sort_by_key(|(at, _)| *at);
        Errors(self.found.into_iter().map(|(_, problem)| problem).collect())
    }
}

/// How errors call a key of the section `title`.
pub(super) fn label(title: &str, key: &str) -> String {
    format!("`{key}` in {title}")
}

/// Names that may stand once, and where each stood first.
pub(super) struct Once<K>(HashMap<K, usize>);

impl<K: Hash + Eq> Once<K> {
    pub(super) fn new() -> Self {
        Self(HashMap::new())
    }

    /// Whether `name` is new; if not, a problem that calls it `what` and names its first line.
    pub(super) fn check(&mut self, name: K, at: usize, what: &str, problems: &mut Problems<'_>) -> bool {
        let first = *self.0.entry(name).or_insert(at);
        if first != at {
            let line = problems.line(first);
            problems.add(at, format!("{what} stands twice, first at line {line}"), "remove one of the two");
        }
        first == at
    }
}

/// `text` in quotes, without control characters and not at length.
pub(super) fn quoted(text: &str) -> String {
    const SHOWN: usize = 80;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or("")),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_count_from_one() {
        let text = "a\nöö = x\r\nlast";
        assert_eq!(Position::of(text, 0), Position { line: 1, column: 1 });
        assert_eq!(Position::of(text, text.find('x').unwrap()), Position { line: 2, column: 6 });
        assert_eq!(Position::of(text, text.len()), Position { line: 3, column: 5 });
        assert_eq!(Position::of("\u{feff}x", 3), Position { line: 1, column: 1 });
        assert_eq!(Position::of("", 9), Position { line: 1, column: 1 });
    }

    #[test]
    fn quoted_text_neither_rings_the_bell_nor_fills_the_screen() {
        assert_eq!(quoted("a\x07b"), r#""a\u{7}b""#);
        assert!(quoted(&"ö".repeat(10_000)).chars().count() < 100);
    }
}
