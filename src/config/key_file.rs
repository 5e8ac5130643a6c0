//! Key files as `tsig-keygen` (named.conf) and `keymgr -t` (knot.conf) print them. Pure; opens nothing, never panics.

use crate::model::{Algorithm, KeyName, TsigError, TsigKey};

/// Why a text is not the file of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) message: String,
    pub(super) help: String,
}

/// The one key in `text`, in either format, told apart by what stands behind the word `key`.
///
/// # Errors
/// The first fault; no text in it repeats a part of the file that could be a secret.
pub(super) fn parse(text: &str) -> Result<TsigKey, Fault> {
    let mut scanner = Scanner { text, at: 0, is_yaml: false };
    scanner.skip_blank()?;
    if scanner.rest().starts_with(YAML_START) {
        scanner.at += YAML_START.len();
        scanner.skip_blank()?;
    }
    let fields = match scanner.rest().strip_prefix("key") {
        Some(rest) if rest.trim_start().starts_with(':') => read_knot(Scanner { is_yaml: true, ..scanner }),
        Some(rest) if rest.starts_with(|c: char| c.is_whitespace() || c == '"') => read_named(scanner),
        _ if scanner.rest().is_empty() => {
            Err(fault(scanner.at, "there is no key in this file", "put in what `tsig-keygen` or `keymgr -t` prints"))
        }
        _ => Err(fault(
            scanner.at,
            "this is neither what `tsig-keygen` prints (key \"…\" { … };) nor what `keymgr -t` prints (key:)",
            "if the file holds the base64 secret alone, name it with `secret_file` in place of `file`",
        )),
    };
    fields?.into_key()
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

const YAML_START: &str = "---";
const ONE_KEY: &str = "put each key into a file and a [[key]] of its own";
const COPY_ALL: &str = "copy all that the tool printed";

fn fault(at: usize, message: impl Into<String>, help: impl Into<String>) -> Fault {
    Fault { at, message: message.into(), help: help.into() }
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

    fn into_key(self) -> Result<TsigKey, Fault> {
        let missing = |what: &str| fault(self.at, format!("this key has no {what}"), COPY_ALL);
        let name = self.name.ok_or_else(|| missing("name"))?;
        let algorithm = self.algorithm.ok_or_else(|| missing("algorithm"))?;
        let secret = self.secret.ok_or_else(|| missing("secret"))?;
        let key_name = KeyName::parse(name.text).map_err(|error| {
            let message = format!("the name of this key is not a domain name: {error}");
            fault(name.at, message, "make a key with another name")
        })?;
        let algorithm = parse_algorithm(algorithm.text, Some(&key_name))
            .map_err(|(message, help)| fault(algorithm.at, message, help))?;
        TsigKey::new(key_name, algorithm, secret.text)
            .map_err(|_| fault(secret.at, "the secret is not base64", secret_help(secret.text)))
    }

    /// Sets one of the options; each may stand once.
    fn set(&mut self, option: Word<'_>, value: Word<'t>) -> Result<(), Fault> {
        let field = match option.text.to_ascii_lowercase().as_str() {
            "algorithm" => &mut self.algorithm,
            "secret" => &mut self.secret,
            "id" => &mut self.name,
            _ => {
                let help = "leave only what `tsig-keygen` or `keymgr -t` printed";
                return Err(fault(option.at, "this is no part of a key", help));
            }
        };
        match field.replace(value) {
            None => Ok(()),
            Some(_) => {
                Err(fault(option.at, format!("`{}` stands twice in one key", option.text), "remove one of the two"))
            }
        }
    }
}

/// `key "name" { algorithm hmac-sha256; secret "…"; };`
fn read_named(mut scanner: Scanner<'_>) -> Result<Fields<'_>, Fault> {
    let mut fields = Fields::new(scanner.at);
    scanner.token()?;
    fields.name = Some(scanner.word("the key's name")?);
    scanner.mark('{')?;
    loop {
        match scanner.token()? {
            Token::Word(option) => {
                let value = scanner.word("a value")?;
                // The name stands before the brace in this format.
                let is_name = option.text.eq_ignore_ascii_case("id");
                fields.set(if is_name { Word { text: "", ..option } } else { option }, value)?;
                scanner.mark(';')?;
            }
            Token::Mark('}', _) => break,
            Token::Mark(_, at) => return Err(fault(at, "an option of the key should stand here", COPY_ALL)),
            Token::End => return Err(fault(scanner.at, "the key's clause is not closed", "end it with `};`")),
        }
    }
    loop {
        match scanner.token()? {
            Token::Mark(';', _) => {}
            Token::End => return Ok(fields),
            Token::Word(word) if word.text.eq_ignore_ascii_case("key") => {
                return Err(fault(word.at, "a second key stands in this file", ONE_KEY));
            }
            Token::Word(Word { at, .. }) | Token::Mark(_, at) => {
                return Err(fault(at, "more than a key stands in this file", ONE_KEY));
            }
        }
    }
}

/// `key:` and below it `- id: name`, `algorithm: hmac-sha256`, `secret: …`
fn read_knot(mut scanner: Scanner<'_>) -> Result<Fields<'_>, Fault> {
    let mut fields: Option<Fields<'_>> = None;
    let header = scanner.word("`key:`")?;
    scanner.key_of(header)?;
    while let Token::Word(mut option) = scanner.token()? {
        let begins_line = scanner.text.get(..option.at).is_some_and(|before| before.ends_with('\n'));
        if option.text == "-" {
            if fields.is_some() {
                return Err(fault(option.at, "a second key stands in this file", ONE_KEY));
            }
            fields = Some(Fields::new(option.at));
            option = scanner.word("`id: NAME`")?;
        } else if begins_line {
            return Err(fault(option.at, "more than the section `key:` stands in this file", ONE_KEY));
        }
        let Some(fields) = &mut fields else {
            return Err(fault(option.at, "a `-` should begin the key here", COPY_ALL));
        };
        fields.set(scanner.key_of(option)?, scanner.word("a value")?)?;
    }
    fields.ok_or_else(|| fault(0, "there is no key below `key:`", COPY_ALL))
}

struct Scanner<'t> {
    text: &'t str,
    at: usize,
    /// Whether it is knot.conf, where white space alone ends a word, and `#` alone begins a comment.
    is_yaml: bool,
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

    fn skip_blank(&mut self) -> Result<(), Fault> {
        loop {
            let rest = self.rest();
            let content = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
            self.at += rest.len() - content.len();
            if content.starts_with('#') || content.starts_with("//") && !self.is_yaml {
                self.at += content.find('\n').unwrap_or(content.len());
            } else if content.starts_with("/*") && !self.is_yaml {
                let Some(end) = content.find("*/") else {
                    return Err(fault(self.at, "this comment is not closed", "end it with */"));
                };
                self.at += end + 2;
            } else {
                return Ok(());
            }
        }
    }

    fn token(&mut self) -> Result<Token<'t>, Fault> {
        self.skip_blank()?;
        let (at, rest) = (self.at, self.rest());
        let Some(first) = rest.chars().next() else { return Ok(Token::End) };
        let is_mark = |c: char| !self.is_yaml && matches!(c, '{' | '}' | ';');
        if is_mark(first) {
            self.at += 1;
            return Ok(Token::Mark(first, at));
        }
        if let Some(quoted) = rest.strip_prefix(['"', '\'']) {
            let end = quoted.find([first, '\n']).filter(|&end| quoted[end..].starts_with(first));
            let text = end.and_then(|end| quoted.get(..end));
            let help = || format!("end it with {first} on the same line");
            let text = text.ok_or_else(|| fault(at, "this string is not closed", help()))?;
            self.at += text.len() + 2;
            return Ok(Token::Word(Word { text, at }));
        }
        let end = rest.find(|c: char| c.is_whitespace() || c == '"' || is_mark(c)).unwrap_or(rest.len());
        self.at += end;
        Ok(Token::Word(Word { text: rest.get(..end).unwrap_or(rest), at }))
    }

    fn word(&mut self, what: &str) -> Result<Word<'t>, Fault> {
        match self.token()? {
            Token::Word(word) => Ok(word),
            other => Err(self.missing(what, &other)),
        }
    }

    /// `word` without its colon, before which YAML lets blanks stand.
    fn key_of(&mut self, word: Word<'t>) -> Result<Word<'t>, Fault> {
        if let Some(text) = word.text.strip_suffix(':') {
            return Ok(Word { text, ..word });
        }
        match self.token()? {
            Token::Word(Word { text: ":", .. }) => Ok(word),
            _ => Err(fault(word.at, "this is not `name: value`", COPY_ALL)),
        }
    }

    fn mark(&mut self, wanted: char) -> Result<(), Fault> {
        match self.token()? {
            Token::Mark(mark, _) if mark == wanted => Ok(()),
            other => Err(self.missing(&format!("`{wanted}`"), &other)),
        }
    }

    fn missing(&self, what: &str, found: &Token<'_>) -> Fault {
        match found {
            Token::Mark(_, at) | Token::Word(Word { at, .. }) => {
                fault(*at, format!("{what} is missing before this"), COPY_ALL)
            }
            Token::End => fault(self.at, format!("{what} is missing at the end"), COPY_ALL),
        }
    }
}

#[cfg(test)]
mod tests;
