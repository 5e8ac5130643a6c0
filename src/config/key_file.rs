//! Key files as `tsig-keygen` (named.conf) and `keymgr -t` (knot.conf) print them. Pure; opens nothing, never panics.

use crate::model::{Algorithm, KeyName, TsigError, TsigKey};

use super::problem::Position;

/// Why a text is not the file of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) position: Position,
    pub(super) message: String,
    pub(super) help: String,
}

/// The one key in `text`, in either format, told apart by what stands behind the word `key`.
///
/// # Errors
/// The first fault; no text in it repeats a part of the file that could be a secret.
pub(super) fn parse(text: &str) -> Result<TsigKey, Fault> {
    let fields = read_fields(text);
    fields.and_then(Fields::into_key).map_err(|Wrong { at, message, help }| Fault {
        position: Position::of(text, at),
        message,
        help,
    })
}

/// The algorithm that `text` names, or what is wrong with it and how to mend it.
pub(super) fn parse_algorithm(text: &str, key: Option<&KeyName>) -> Result<Algorithm, (String, String)> {
    let name = key.map_or("NAME", KeyName::as_str);
    text.parse().map_err(|error| match error {
        TsigError::Weak(_) => (
            error.to_string(),
            format!(
                "make a new key with `tsig-keygen -a hmac-sha256 {name}` (BIND) or `keymgr -t {name} hmac-sha256` (Knot), \
                 and put it into the primary's configuration too"
            ),
        ),
        // Not repeated: a secret may have slipped into this place.
        TsigError::Unknown(_) | TsigError::Secret | TsigError::Name(_) => (
            "this is not a TSIG algorithm that we sign with".to_owned(),
            "write hmac-sha256, hmac-sha384 or hmac-sha512, as the primary's configuration does".to_owned(),
        ),
    })
}

/// What is wrong with a secret that is not base64, and how to mend it.
pub(super) fn secret_help(secret: &str) -> &'static str {
    if secret.trim().is_empty() {
        "the secret is empty: put in the base64 text that `tsig-keygen` or `keymgr -t` printed"
    } else if secret.contains(':') {
        "only what stands behind the last colon is the secret"
    } else if secret.contains('{') || secret.contains("secret") {
        "this is a whole key: put it into a file of its own and name that file with `file`, alone"
    } else {
        "copy the whole base64 text between the quotes, with the = at its end"
    }
}

/// A fault at an octet of the text.
struct Wrong {
    at: usize,
    message: String,
    help: String,
}

fn wrong(at: usize, message: impl Into<String>, help: impl Into<String>) -> Wrong {
    Wrong { at, message: message.into(), help: help.into() }
}

/// A word of the file and where it begins.
#[derive(Clone, Copy)]
struct Word<'t> {
    text: &'t str,
    at: usize,
}

/// A key's clause, not yet checked.
struct Fields<'t> {
    at: usize,
    name: Option<Word<'t>>,
    algorithm: Option<Word<'t>>,
    secret: Option<Word<'t>>,
}

impl<'t> Fields<'t> {
    fn new(at: usize) -> Self {
        Self { at, name: None, algorithm: None, secret: None }
    }

    fn into_key(self) -> Result<TsigKey, Wrong> {
        let missing = |what: &str| wrong(self.at, format!("this key has no {what}"), "copy all that the tool printed");
        let name = self.name.ok_or_else(|| missing("name"))?;
        let algorithm = self.algorithm.ok_or_else(|| missing("algorithm"))?;
        let secret = self.secret.ok_or_else(|| missing("secret"))?;
        let key_name = KeyName::parse(name.text).map_err(|error| {
            wrong(
                name.at,
                format!("the name of this key is not a domain name: {error}"),
                "make a key with another name",
            )
        })?;
        let algorithm = parse_algorithm(algorithm.text, Some(&key_name))
            .map_err(|(message, help)| wrong(algorithm.at, message, help))?;
        TsigKey::new(key_name, algorithm, secret.text)
            .map_err(|_| wrong(secret.at, "the secret is not base64", secret_help(secret.text)))
    }

    /// Sets one of the two options; each may stand once.
    fn set(&mut self, option: &str, at: usize, value: Word<'t>) -> Result<(), Wrong> {
        let field = match option {
            "algorithm" => &mut self.algorithm,
            "secret" => &mut self.secret,
            "id" => &mut self.name,
            _ => {
                return Err(wrong(
                    at,
                    "this is no part of a key",
                    "leave only what `tsig-keygen` or `keymgr -t` printed",
                ));
            }
        };
        match field.replace(value) {
            None => Ok(()),
            Some(_) => Err(wrong(at, format!("`{option}` stands twice in one key"), "remove one of the two")),
        }
    }
}

const YAML_START: &str = "---";
const ONE_KEY: &str = "put each key into a file and a [[key]] of its own";

fn read_fields(text: &str) -> Result<Fields<'_>, Wrong> {
    let mut scanner = Scanner { text, at: 0 };
    scanner.skip_blank()?;
    if scanner.rest().starts_with(YAML_START) {
        scanner.at += YAML_START.len();
        scanner.skip_blank()?;
    }
    let start = scanner.at;
    match scanner.rest().strip_prefix("key") {
        Some(rest) if rest.trim_start().starts_with(':') => read_knot(text),
        Some(rest) if rest.starts_with(|c: char| c.is_whitespace() || c == '"') => read_named(scanner),
        _ if scanner.rest().is_empty() => {
            Err(wrong(start, "there is no key in this file", "put in what `tsig-keygen` or `keymgr -t` prints"))
        }
        _ => Err(wrong(
            start,
            "this is neither what `tsig-keygen` prints (key \"…\" { … };) nor what `keymgr -t` prints (key:)",
            "if the file holds the base64 secret alone, name it with `secret_file` in place of `file`",
        )),
    }
}

/// `key "name" { algorithm hmac-sha256; secret "…"; };`
fn read_named(mut scanner: Scanner<'_>) -> Result<Fields<'_>, Wrong> {
    let mut fields = Fields::new(scanner.at);
    scanner.token()?;
    fields.name = Some(scanner.word("the key's name")?);
    scanner.mark('{')?;
    loop {
        match scanner.token()? {
            Token::Word(option) => {
                let value = scanner.word("a value")?;
                let name = option.text.to_ascii_lowercase();
                // The name stands before the brace in this format.
                fields.set(if name == "id" { "" } else { &name }, option.at, value)?;
                scanner.mark(';')?;
            }
            Token::Mark('}', _) => break,
            Token::Mark(_, at) => {
                return Err(wrong(at, "an option of the key should stand here", "copy all that the tool printed"));
            }
            Token::End => return Err(wrong(scanner.at, "the key's clause is not closed", "end it with `};`")),
        }
    }
    loop {
        match scanner.token()? {
            Token::Mark(';', _) => {}
            Token::End => return Ok(fields),
            Token::Word(word) if word.text.eq_ignore_ascii_case("key") => {
                return Err(wrong(word.at, "a second key stands in this file", ONE_KEY));
            }
            Token::Word(Word { at, .. }) | Token::Mark(_, at) => {
                return Err(wrong(at, "more than a key stands in this file", ONE_KEY));
            }
        }
    }
}

/// `key:` and below it `- id: name`, `algorithm: hmac-sha256`, `secret: …`
fn read_knot(text: &str) -> Result<Fields<'_>, Wrong> {
    let mut fields: Option<Fields<'_>> = None;
    let mut headed = false;
    let mut next = 0;
    for line in text.split_inclusive('\n') {
        let start = next;
        next += line.len();
        let line = without_comment(line).trim_end();
        let content = line.trim_start_matches('\u{feff}').trim_start();
        if content.is_empty() || content == YAML_START {
            continue;
        }
        let at = start + line.len() - content.len();
        let item = content.strip_prefix('-').filter(|rest| rest.starts_with(char::is_whitespace));
        if item.is_none() && content.len() == line.trim_start_matches('\u{feff}').len() {
            let is_header = content.strip_prefix("key").is_some_and(|rest| rest.trim() == ":");
            if headed || !is_header {
                return Err(wrong(at, "more than the section `key:` stands in this file", ONE_KEY));
            }
            headed = true;
            continue;
        }
        if item.is_some() && fields.is_some() {
            return Err(wrong(at, "a second key stands in this file", ONE_KEY));
        }
        let pair = item.unwrap_or(content).trim_start();
        let fields = match (&mut fields, item) {
            (Some(fields), None) => fields,
            (fields, Some(_)) => fields.insert(Fields::new(at)),
            (None, None) => {
                return Err(wrong(at, "a `-` should begin the key here", "copy all that `keymgr -t` printed"));
            }
        };
        let Some((option, value)) = pair.split_once(':') else {
            return Err(wrong(at, "this is not `name: value`", "copy all that `keymgr -t` printed"));
        };
        let value = value.trim();
        let value_at = start + line.len() - value.len();
        fields.set(option.trim_end(), at, Word { text: unquoted(value), at: value_at })?;
    }
    fields.ok_or_else(|| wrong(0, "there is no key below `key:`", "copy all that `keymgr -t` printed"))
}

/// The line up to a `#` that begins it or stands behind a blank.
fn without_comment(line: &str) -> &str {
    let mut previous = ' ';
    for (at, letter) in line.char_indices() {
        if letter == '#' && previous.is_whitespace() {
            return line.get(..at).unwrap_or(line);
        }
        previous = letter;
    }
    line
}

fn unquoted(value: &str) -> &str {
    ['"', '\''].iter().find_map(|&quote| value.strip_prefix(quote)?.strip_suffix(quote)).unwrap_or(value)
}

/// Cuts named.conf into words and marks.
struct Scanner<'t> {
    text: &'t str,
    at: usize,
}

enum Token<'t> {
    Word(Word<'t>),
    /// `{`, `}` or `;`
    Mark(char, usize),
    End,
}

impl<'t> Scanner<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or("")
    }

    /// Skips white space and the three kinds of comments.
    fn skip_blank(&mut self) -> Result<(), Wrong> {
        loop {
            let rest = self.rest();
            let content = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
            self.at += rest.len() - content.len();
            if content.starts_with('#') || content.starts_with("//") {
                self.at += content.find('\n').unwrap_or(content.len());
            } else if content.starts_with("/*") {
                let Some(end) = content.find("*/") else {
                    return Err(wrong(self.at, "this comment is not closed", "end it with */"));
                };
                self.at += end + 2;
            } else {
                return Ok(());
            }
        }
    }

    fn token(&mut self) -> Result<Token<'t>, Wrong> {
        self.skip_blank()?;
        let (at, rest) = (self.at, self.rest());
        let Some(first) = rest.chars().next() else { return Ok(Token::End) };
        if let '{' | '}' | ';' = first {
            self.at += 1;
            return Ok(Token::Mark(first, at));
        }
        if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find(['"', '\n']).filter(|&end| quoted.get(end..).is_some_and(|end| end.starts_with('"')));
            let text = end.and_then(|end| quoted.get(..end));
            let text = text.ok_or_else(|| wrong(at, "this string is not closed", "end it with \" on the same line"))?;
            self.at += text.len() + 2;
            return Ok(Token::Word(Word { text, at }));
        }
        let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '{' | '}' | ';' | '"')).unwrap_or(rest.len());
        self.at += end;
        Ok(Token::Word(Word { text: rest.get(..end).unwrap_or(rest), at }))
    }

    fn word(&mut self, what: &str) -> Result<Word<'t>, Wrong> {
        match self.token()? {
            Token::Word(word) => Ok(word),
            Token::Mark(_, at) => Err(wrong(at, format!("{what} is missing here"), "copy all that the tool printed")),
            Token::End => {
                Err(wrong(self.at, format!("{what} is missing at the end"), "copy all that the tool printed"))
            }
        }
    }

    fn mark(&mut self, wanted: char) -> Result<(), Wrong> {
        match self.token()? {
            Token::Mark(mark, _) if mark == wanted => Ok(()),
            Token::Mark(_, at) | Token::Word(Word { at, .. }) => {
                Err(wrong(at, format!("`{wanted}` is missing before this"), "copy all that the tool printed"))
            }
            Token::End => {
                Err(wrong(self.at, format!("`{wanted}` is missing at the end"), "copy all that the tool printed"))
            }
        }
    }
}

#[cfg(test)]
mod tests;
