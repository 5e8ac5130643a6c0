//! `[[key]]`: TSIG keys and the files that hold them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};

use crate::model::{Algorithm, KeyName, TsigKey};

use super::file::read_text;
use super::key_file;
use super::problem::{Once, Position, Problems, quoted};
use super::section::{Key, Section, Text, Value};
use super::suggest::nearest;

const NAME: Key = Key::new("name", r#""gateway-key""#);
const ALGORITHM: Key = Key::new("algorithm", r#""hmac-sha256""#);
const SECRET: Key = Key::new("secret", r#""…base64…""#);
const SECRET_FILE: Key = Key::new("secret_file", r#""gateway-key.secret""#);
const FILE: Key = Key::new("file", r#""gateway.key""#);

/// The bound of a file with one key in it, in octets.
const MAX_FILE: u64 = 64 * 1024;

/// The keys of the file by name.
pub(super) struct Keys {
    by_name: HashMap<KeyName, Declared>,
    /// The files that hold the secrets: this one or others.
    files: Vec<PathBuf>,
    /// Whether every name is known, and so whether what is not here is really missing.
    complete: bool,
    /// Whether every zone's key was found, and so whether an unused one is really unused.
    resolved: bool,
}

struct Declared {
    /// `None` where something about it is wrong.
    key: Option<TsigKey>,
    at: usize,
    used: bool,
}

impl Keys {
    /// All `[[key]]` sections; files are relative to `folder`.
    pub(super) fn read(sections: Vec<Section<'_>>, folder: &Path, problems: &mut Problems<'_>) -> Self {
        let mut keys = Self { by_name: HashMap::new(), files: Vec::new(), complete: true, resolved: true };
        let mut names = Once::new();
        for section in sections {
            let Some((name, declared)) = read_key(section, folder, &mut keys.files, problems) else {
                keys.complete = false;
                continue;
            };
            if names.check(name.clone(), declared.at, &format!("key \"{name}\""), problems) {
                keys.by_name.insert(name, declared);
            }
        }
        keys
    }

    /// The files that the secrets stand in.
    pub(super) fn into_files(mut self) -> Vec<PathBuf> {
        self.files.sort_unstable();
        self.files.dedup();
        self.files
    }

    /// The key that a zone names, if it names one; a problem where there is no such key.
    pub(super) fn resolve(&mut self, text: Option<Text<'_>>, problems: &mut Problems<'_>) -> Option<TsigKey> {
        let name = text.map(|text| (text, KeyName::parse(text.text)));
        if let Some((_, Ok(name))) = &name
            && let Some(declared) = self.by_name.get_mut(name)
        {
            declared.used = true;
            return declared.key.clone();
        }
        self.resolved = false;
        match name? {
            // Not repeated: a secret may have slipped into this place.
            (text, Err(_)) => {
                problems.add(text.at, "this is not the name of a key", "write the name of one of the [[key]] sections");
            }
            (text, Ok(name)) if self.complete => {
                let help = match nearest(name.as_str(), self.by_name.keys().map(KeyName::as_str)) {
                    Some(meant) => format!("did you mean \"{meant}\"?"),
                    None => format!("add a [[key]] with name = {}", quoted(name.as_str())),
                };
                problems.absent(text.at, format!("no [[key]] has the name {}", quoted(name.as_str())), help);
            }
            // One of the keys whose name could not be read may be meant.
            (_, Ok(_)) => {}
        }
        None
    }

    /// Reports the keys that no zone has, once all zones are read.
    pub(super) fn report_unused(&self, problems: &mut Problems<'_>) {
        if !self.resolved {
            return;
        }
        for (name, declared) in self.by_name.iter().filter(|(_, declared)| !declared.used) {
            problems.absent(
                declared.at,
                format!("\"{name}\" is a key that no zone has"),
                format!("write key = \"{name}\" in the [[zone]] that it is for, or remove this [[key]]"),
            );
        }
    }
}

/// One key and where its name stands; `None` where not even the name is known.
fn read_key(
    mut section: Section<'_>,
    folder: &Path,
    files: &mut Vec<PathBuf>,
    problems: &mut Problems<'_>,
) -> Option<(KeyName, Declared)> {
    let section_at = section.at();
    let from_file = section.has(FILE);
    let name = if from_file { section.optional(NAME) } else { section.required(NAME) };
    let needs_algorithm = !from_file && (section.has(SECRET) || section.has(SECRET_FILE));
    let algorithm = if needs_algorithm { section.required(ALGORITHM) } else { section.optional(ALGORITHM) };
    let mut sources: Vec<_> = [SECRET, SECRET_FILE, FILE].into_iter().filter_map(|key| section.optional(key)).collect();
    section.finish(problems);
    sources.sort_by_key(Value::at);

    let name_at = name.as_ref().map(Value::at);
    let name_text = name.and_then(|value| value.text(problems));
    let name = name_text.and_then(|text| read_name(text, problems));
    let algorithm_text = algorithm.and_then(|value| value.text(problems));
    let algorithm = algorithm_text.and_then(|text| read_algorithm(text, name.as_ref(), problems));

    let stated = Stated { name: name_text.zip(name.clone()), algorithm: algorithm_text.zip(algorithm) };
    let key = match sources.as_slice() {
        [] => {
            problems.absent(
                section_at,
                "[[key]] has no secret",
                format!("add one of {}, {} and {}", SECRET.line(), SECRET_FILE.line(), FILE.line()),
            );
            None
        }
        [source] => source.text(problems).and_then(|text| {
            let how = source.key().name;
            files.push(if how == "secret" { problems.path().to_owned() } else { folder.join(text.text) });
            match how {
                "file" => stated.read_key_file(text, folder, problems),
                "secret_file" => stated.read_secret_file(text, folder, problems),
                _ => stated.read_secret(text, problems),
            }
        }),
        [first, second, ..] => {
            let line = problems.line(first.at());
            let (first, second, at) = (first.key().name, second.key().name, second.at());
            problems.add(
                at,
                format!("`{second}` stands beside `{first}` at line {line}"),
                "keep one of secret, secret_file and file",
            );
            None
        }
    };
    let name = name.or_else(|| key.as_ref().map(|key| key.name.clone()))?;
    Some((name, Declared { key, at: name_at.unwrap_or(section_at), used: false }))
}

fn read_name(text: Text<'_>, problems: &mut Problems<'_>) -> Option<KeyName> {
    let name = KeyName::parse(text.text);
    if let Err(error) = &name {
        let message = format!("the name of this key is not a domain name: {error}");
        problems.add(text.at, message, "write the name that the primary's configuration has, such as \"gateway-key\"");
    }
    name.ok()
}

fn read_algorithm(text: Text<'_>, name: Option<&KeyName>, problems: &mut Problems<'_>) -> Option<Algorithm> {
    let algorithm = key_file::parse_algorithm(text.text, name);
    algorithm.map_err(|(message, help)| problems.add(text.at, message, help)).ok()
}

/// What the section itself says about its key.
struct Stated<'t> {
    name: Option<(Text<'t>, KeyName)>,
    algorithm: Option<(Text<'t>, Algorithm)>,
}

impl Stated<'_> {
    fn read_secret(self, secret: Text<'_>, problems: &mut Problems<'_>) -> Option<TsigKey> {
        let help = key_file::secret_help(secret.text);
        let wrong = |problems: &mut Problems<'_>| problems.add(secret.at, "the secret of this key is not base64", help);
        self.with_secret(secret.text, wrong, problems)
    }

    fn read_secret_file(self, file: Text<'_>, folder: &Path, problems: &mut Problems<'_>) -> Option<TsigKey> {
        let text = read_file(file, folder, problems)?;
        let text = text.expose_secret();
        // `base64` and `openssl rand -base64` break their lines.
        let secret = SecretString::from(text.split_ascii_whitespace().collect::<String>());
        let place = Position::of(text, text.len() - text.trim_start().len());
        let wrong = |problems: &mut Problems<'_>| {
            let help = key_file::secret_help(text).to_owned();
            problems.add_in(
                file.at,
                folder.join(file.text),
                place,
                "the secret in this file is not base64".to_owned(),
                help,
            );
        };
        self.with_secret(secret.expose_secret(), wrong, problems)
    }

    /// The key, where name and algorithm are right; a bad secret is reported in any case.
    fn with_secret(
        self,
        secret: &str,
        wrong: impl FnOnce(&mut Problems<'_>),
        problems: &mut Problems<'_>,
    ) -> Option<TsigKey> {
        let placeholder = KeyName::parse("unnamed").ok();
        let name = self.name.as_ref().map(|(_, name)| name.clone()).or(placeholder)?;
        let algorithm = self.algorithm.as_ref().map_or(Algorithm::HmacSha256, |(_, algorithm)| *algorithm);
        match TsigKey::new(name, algorithm, secret) {
            Ok(key) => (self.name.is_some() && self.algorithm.is_some()).then_some(key),
            Err(_) => {
                wrong(problems);
                None
            }
        }
    }

    fn read_key_file(self, file: Text<'_>, folder: &Path, problems: &mut Problems<'_>) -> Option<TsigKey> {
        let text = read_file(file, folder, problems)?;
        let key = match key_file::parse(text.expose_secret()) {
            Ok(key) => key,
            Err(fault) => {
                problems.add_in(file.at, folder.join(file.text), fault.position, fault.message, fault.help);
                return None;
            }
        };
        if let Some((stated, _)) = self.name.filter(|(_, name)| *name != key.name) {
            problems.add(
                stated.at,
                format!("the key in {} has another name: \"{}\"", file.text, key.name),
                "remove this line, or name the file of the key that is meant",
            );
        }
        if let Some((stated, _)) = self.algorithm.filter(|(_, algorithm)| *algorithm != key.algorithm) {
            problems.add(
                stated.at,
                format!("the key in {} has another algorithm: \"{}\"", file.text, key.algorithm.name()),
                "remove this line; the algorithm comes from the file",
            );
        }
        Some(key)
    }
}

/// The text of the file that `file` names, relative to `folder`.
fn read_file(file: Text<'_>, folder: &Path, problems: &mut Problems<'_>) -> Option<SecretString> {
    if file.text.is_empty() {
        problems.add(
            file.at,
            "no file is named here",
            "write its path; a relative one begins at the folder of this file",
        );
        return None;
    }
    match read_text(&folder.join(file.text), MAX_FILE) {
        Ok(text) => Some(text.into()),
        Err(error) => {
            problems.add(
                file.at,
                format!("{} {}", quoted(file.text), error.message()),
                format!(
                    "looked for at {}; let the user that dyngate runs as read it",
                    folder.join(file.text).display()
                ),
            );
            None
        }
    }
}
