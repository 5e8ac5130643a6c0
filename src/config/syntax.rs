//! Reads TOML and goes on after errors: every broken line is told, and what can be read is read. Knows no key.

use std::ops::Range;

use toml::de::{DeTable, Error};

use super::problem::Problems;

/// In how many rounds at most a text is mended: one for each list or table that is not closed, and three.
const ROUNDS: usize = 50;

/// Reads `text`; broken syntax goes to `problems`. What keeps the parser from the rest of the file is blanked in `mended`,
/// which lives as long as the tree; every offset in it is right for `text` too.
pub(super) fn parse<'t>(text: &str, mended: &'t mut String, problems: &mut Problems<'_>) -> DeTable<'t> {
    text.clone_into(mended);
    for round in 1..=ROUNDS {
        let mut errors = DeTable::parse_recoverable(mended).1;
        if errors.is_empty() {
            break;
        }
        errors.sort_by_key(offset);
        let obstacles = if round < ROUNDS { obstacles(mended, &errors) } else { Vec::new() };
        if obstacles.is_empty() {
            for error in errors {
                let (message, help) = explain(error.message());
                problems.add_syntax(offset(&error), message, help);
            }
            break;
        }
        let mut octets = std::mem::take(mended).into_bytes();
        for Obstacle { at, range, message } in obstacles {
            let (message, help) = explain(message);
            problems.add_syntax(at, message, help);
            let unread = octets.get_mut(range).unwrap_or_default().iter_mut();
            unread.filter(|octet| **octet != b'\n').for_each(|octet| *octet = b' ');
        }
        // Whole lines are blanked, so no character is cut.
        *mended = String::from_utf8(octets).unwrap_or_default();
    }
    DeTable::parse_recoverable(mended).0.into_inner()
}

fn offset(error: &Error) -> usize {
    error.span().map_or(0, |span| span.start)
}

/// Something that toml 1.2 does not get over, so that it misreads or leaves out what stands below.
struct Obstacle<'e> {
    at: usize,
    range: Range<usize>,
    message: &'e str,
}

/// What is in the way: an open list or table alone, as it explains the errors below it; or all broken lines.
fn obstacles<'e>(text: &str, errors: &'e [Error]) -> Vec<Obstacle<'e>> {
    let starts = |error: &Error, words: &[&str]| words.iter().any(|words| error.message().starts_with(words));
    // Not found where a stray bracket hides it.
    if errors.iter().any(|error| starts(error, &["unclosed array,", "unclosed inline table,"]))
        && let Some((mark, range)) = unclosed_value(text)
    {
        let message = if mark == '[' { "unclosed array" } else { "unclosed inline table" };
        return vec![Obstacle { at: range.start, range, message }];
    }
    let obstacle = |error: &'e Error| {
        let at = offset(error);
        let line = line_start(text, at);
        let end = if starts(error, &["unclosed table", "unclosed array table"]) {
            next_line(text, line, |line| line.starts_with('['))
        } else if starts(error, &["key with no value", "invalid key-value pair"]) {
            next_line(text, line, |_| true)
        } else {
            return None;
        };
        Some(Obstacle { at, range: line..end, message: error.message() })
    };
    errors.iter().filter_map(obstacle).collect()
}

/// The lines of the first list or table without its end: from its key to the next section or, in a list, the next key.
fn unclosed_value(text: &str) -> Option<(char, Range<usize>)> {
    let mut open: Vec<(char, usize)> = Vec::new();
    let mut rest = text;
    let mut new_line = true;
    while let Some(first) = rest.chars().next() {
        let at = text.len() - rest.len();
        if std::mem::take(&mut new_line) {
            let line = line_at(text, at);
            match open.as_slice() {
                [] if line.starts_with('[') => {
                    rest = rest.get(rest.find('\n').unwrap_or(rest.len())..).unwrap_or("");
                    continue;
                }
                [(mark, start), ..] if is_header(line) => return Some((*mark, line_start(text, *start)..at)),
                [(mark, start), .., ('[', _)] | [(mark @ '[', start)] if is_pair(line) => {
                    return Some((*mark, line_start(text, *start)..at));
                }
                _ => {}
            }
        }
        let length = match first {
            '"' | '\'' => string_length(rest, first),
            '#' => rest.find('\n').unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        match first {
            '\n' => new_line = true,
            '[' | '{' => open.push((first, at)),
            ']' | '}' => drop(open.pop()),
            _ => {}
        }
        rest = rest.get(length..).unwrap_or("");
    }
    open.first().map(|(mark, start)| (*mark, line_start(text, *start)..text.len()))
}

/// The octets of the string that begins `rest`; one that is not closed ends with its line.
fn string_length(rest: &str, quote: char) -> usize {
    let triple = String::from_iter([quote; 3]);
    let many_lines = rest.starts_with(&triple);
    let mark = if many_lines { triple.as_str() } else { rest.get(..1).unwrap_or("") };
    let mut escaped = false;
    for (at, letter) in rest.char_indices().skip(mark.len()) {
        if letter == '\n' && !many_lines {
            return at;
        }
        if !escaped && rest.get(at..).is_some_and(|rest| rest.starts_with(mark)) {
            return at + mark.len();
        }
        escaped = letter == '\\' && quote == '"' && !escaped;
    }
    rest.len()
}

/// Whether a line is `[name]` or `[[name]]`, closed or not, and no member of a list, whose strings have quotes.
fn is_header(line: &str) -> bool {
    let line = line.split('#').next().unwrap_or("").trim_end();
    line.strip_prefix('[').is_some_and(|name| is_bare(name.trim_start_matches('[').trim_end_matches(']')))
}

/// Whether a line begins with `key =`.
fn is_pair(line: &str) -> bool {
    line.split_once('=').is_some_and(|(key, _)| is_bare(key))
}

/// Whether a text is a key without quotes.
fn is_bare(key: &str) -> bool {
    let key = key.trim();
    !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

fn line_start(text: &str, at: usize) -> usize {
    text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1)
}

/// The line that begins at `start`, without the blanks before it.
fn line_at(text: &str, start: usize) -> &str {
    text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or("").trim_start()
}

/// Where the first line below the one at `start` begins for which `wanted` holds, or the end.
fn next_line(text: &str, start: usize, wanted: impl Fn(&str) -> bool) -> usize {
    let below = text.get(start..).unwrap_or("").match_indices('\n').map(|(newline, _)| start + newline + 1);
    below.into_iter().find(|&start| wanted(line_at(text, start))).unwrap_or(text.len())
}

/// The parser's words, and what an operator would do. The parser never repeats a part of the file.
fn explain(message: &str) -> (String, &'static str) {
    let what = message.split(", expected").next().unwrap_or(message);
    let help = match what {
        "duplicate key" => {
            return (
                "this key or section stands twice".to_owned(),
                "remove one of the two; only [[key]], [[zone]], [[account]] and [[host]] may be repeated, with two brackets",
            );
        }
        "string values must be quoted" => {
            return (
                "a value is missing, or stands without quotes".to_owned(),
                "write strings in quotes, durations and networks too: \"5s\", \"off\", \"10.0.0.0/8\"",
            );
        }
        "key with no value" | "invalid key-value pair" | "invalid unquoted key" => {
            return (
                "this is not `key = value`".to_owned(),
                "write `key = value`, or begin the line with # for a comment",
            );
        }
        "unclosed array" => return ("this list is not closed".to_owned(), "end it with `]`"),
        "unclosed inline table" => return ("this table is not closed".to_owned(), "end it with `}`"),
        "unclosed table" => return ("the name of this section is not closed".to_owned(), "end it with `]`"),
        "unclosed array table" => return ("the name of this section is not closed".to_owned(), "end it with `]]`"),
        "invalid basic string" => "end the string with \" on the same line",
        "invalid literal string" => "end the string with ' on the same line",
        "missing escaped value" => "write \\\\ for a backslash, or put the string in single quotes",
        "missing comma between array elements" => "put a comma between the members of the list, and `]` at its end",
        "missing comma between key-value pairs" => "put a comma between the keys, and `}` at the end",
        "unexpected key or value" => "one `key = value` a line",
        "invalid boolean" => "write true or false",
        _ => return (format!("broken syntax: {message}"), "see https://toml.io for the syntax"),
    };
    (format!("broken syntax: {what}"), help)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(text: &str) -> (Vec<String>, Vec<String>) {
        let mut problems = Problems::new(Path::new("f"), text);
        let mut mended = String::new();
        let tree = parse(text, &mut mended, &mut problems);
        let keys = tree.keys().map(|key| key.get_ref().to_string()).collect();
        let errors = problems.into_errors().map(|errors| errors.to_string()).unwrap_or_default();
        (keys, errors.lines().filter(|line| !line.starts_with(' ')).map(str::to_owned).collect())
    }

    #[test]
    fn what_stands_below_a_broken_line_is_read() {
        let (keys, errors) = read("[a]\nfoo\n[b]\nbar baz\n[c]\nx = 1\n");
        assert_eq!(keys, ["a", "b", "c"]);
        assert_eq!(errors, ["f:2:4: this is not `key = value`", "f:4:5: this is not `key = value`"]);
    }

    #[test]
    fn what_is_not_closed_is_one_problem_and_the_rest_is_read() {
        let text =
            "[a]\nx = ['1' '2']\ny = [\"1\",\n  \"2\"\n\n[b]\nz = { u = 1\nv = 5s\n[[c\nw = 2\n[d]\nk\n[e]\nm = [";
        let (keys, errors) = read(text);
        assert_eq!(keys, ["a", "b", "d", "e"]);
        assert_eq!(
            errors,
            [
                "f:2:10: broken syntax: missing comma between array elements",
                "f:3:1: this list is not closed",
                "f:7:1: this table is not closed",
                "f:9:4: the name of this section is not closed",
                "f:12:2: this is not `key = value`",
                "f:14:1: this list is not closed",
            ]
        );
    }
}
