//! `[[key]]`: TSIG keys and the files that hold them.

use std::collections::HashMap;
use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};
use toml::Spanned;

use crate::model::{Algorithm, KeyName, TsigError, TsigKey};

use super::file::read_secret;
use super::format::{self, SecretText, Text, example};
use super::key_file;
use super::problem::{Once, Position, Problems, quoted};
use super::suggest::nearest;

const TITLE: &str = "[[key]]";

pub(super) struct Keys {
    by_name: HashMap<KeyName, DeclaredKey>,
    /// The files that hold the secrets: this one or others.
    files: Vec<PathBuf>,
    /// Whether every name is known, and so whether what is not here is really missing.
    complete: bool,
    /// Whether every zone's key was found, and so whether an unused one is really unused.
    resolved: bool,
}

struct DeclaredKey {
    /// `None` where something about it is wrong.
    key: Option<TsigKey>,
    at: usize,
    used: bool,
}

impl Keys {
    pub(super) fn check(typed: &[Spanned<format::KeySection>], problems: &mut Problems<'_>) -> Self {
        let mut keys = Self { by_name: HashMap::new(), files: Vec::new(), complete: true, resolved: true };
        let mut names = Once::new();
        for typed in typed {
            let at = typed.span().start;
            let Some((name, declared)) = check_key(typed.get_ref(), at, &mut keys.files, problems) else {
                keys.complete = false;
                continue;
            };
            if names.check(name.clone(), declared.at, &format!("key \"{name}\""), problems) {
                keys.by_name.insert(name, declared);
            }
        }
        keys
    }

    pub(super) fn into_files(self) -> Vec<PathBuf> {
        self.files
    }

    /// The key that a zone names, if it names one; a problem where there is no such key.
    pub(super) fn resolve(&mut self, text: Option<&Text>, problems: &mut Problems<'_>) -> Option<TsigKey> {
        let name = text.map(|text| (text.span().start, KeyName::parse(text.get_ref())));
        if let Some((_, Ok(name))) = &name
            && let Some(declared) = self.by_name.get_mut(name)
        {
            declared.used = true;
            return declared.key.clone();
        }
        self.resolved = false;
        match name? {
            // Not repeated: a secret may have slipped into this place.
            (at, Err(_)) => {
                problems.add(at, "this is not the name of a key", "write the name of one of the [[key]] sections");
            }
            (at, Ok(name)) if self.complete => {
                let help = match nearest(name.as_str(), self.by_name.keys().map(KeyName::as_str)) {
                    Some(meant) => format!("did you mean \"{meant}\"?"),
                    None => format!("add a [[key]] with name = {}", quoted(name.as_str())),
                };
                problems.add(at, format!("no [[key]] has the name {}", quoted(name.as_str())), help);
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
            problems.add(
                declared.at,
                format!("\"{name}\" is a key that no zone has"),
                format!("write key = \"{name}\" in the [[zone]] that it is for, or remove this [[key]]"),
            );
        }
    }
}

/// The key at `section` and where its name stands; `None` where not even the name is known.
fn check_key(
    typed: &format::KeySection,
    section: usize,
    files: &mut Vec<PathBuf>,
    problems: &mut Problems<'_>,
) -> Option<(KeyName, DeclaredKey)> {
    let format::KeySection { name, algorithm, secret, secret_file, file } = typed;
    let here = (TITLE, section);
    let name = name.as_ref();
    if file.is_none() && !problems.is_excused(section, "file") {
        problems.required(here, "name", name);
        if secret.is_some() || secret_file.is_some() {
            problems.required(here, "algorithm", algorithm.as_ref());
        }
    }
    let name_at = name.map_or(section, |text| text.span().start);
    let name = name.and_then(|text| check_name(text, problems));
    let algorithm_at = algorithm.as_ref().map_or(section, |text| text.span().start);
    let algorithm = algorithm.as_ref().and_then(|text| check_algorithm(text, name.as_ref(), problems));
    let stated = Stated { name: name.clone(), name_at, algorithm, algorithm_at };

    let at = |text: &Option<Text>| text.as_ref().map(|text| text.span().start);
    let sources = [
        ("secret", secret.as_ref().map(|secret| secret.span().start)),
        ("secret_file", at(secret_file)),
        ("file", at(file)),
    ];
    let mut places: Vec<_> = sources.iter().filter_map(|(source, at)| Some(((*at)?, *source))).collect();
    places.sort_unstable();
    let key = if let [(first_at, first), (at, second), ..] = places.as_slice() {
        let message = format!("`{second}` stands beside `{first}` at line {}", problems.line(*first_at));
        problems.add(*at, message, "keep one of secret, secret_file and file");
        None
    } else if let Some(secret) = secret {
        files.push(problems.path().to_owned());
        stated.check_secret(secret, problems)
    } else if let Some(file) = secret_file {
        files.push(problems.folder().join(file.get_ref()));
        stated.check_secret_file(file, problems)
    } else if let Some(file) = file {
        files.push(problems.folder().join(file.get_ref()));
        stated.check_key_file(file, problems)
    } else {
        if !sources.iter().any(|(source, _)| problems.is_excused(section, source)) {
            let [secret, secret_file, file] = sources.map(|(source, _)| example(TITLE, source));
            let help = format!("add one of {secret}, {secret_file} and {file}");
            problems.add(section, "[[key]] has no secret", help);
        }
        None
    };
    let name = name.or_else(|| key.as_ref().map(|key| key.name.clone()))?;
    Some((name, DeclaredKey { key, at: name_at, used: false }))
}

fn check_name(text: &Text, problems: &mut Problems<'_>) -> Option<KeyName> {
    problems.ok(text.span().start, KeyName::parse(text.get_ref()), |error| {
        let message = format!("the name of this key is not a domain name: {error}");
        (message, "write the name that the primary's configuration has, such as \"gateway-key\"")
    })
}

fn check_algorithm(text: &Text, name: Option<&KeyName>, problems: &mut Problems<'_>) -> Option<Algorithm> {
    problems.ok(text.span().start, key_file::parse_algorithm(text.get_ref(), name), |said| said)
}

/// What the section itself says about its key, as far as it is right.
struct Stated {
    name: Option<KeyName>,
    name_at: usize,
    algorithm: Option<Algorithm>,
    algorithm_at: usize,
}

impl Stated {
    fn check_secret(self, secret: &SecretText, problems: &mut Problems<'_>) -> Option<TsigKey> {
        let text = secret.get_ref().expose_secret();
        let key = problems.ok(secret.span().start, self.with_secret(text), |_| {
            ("the secret of this key is not base64".to_owned(), key_file::secret_help(text))
        });
        key.flatten()
    }

    fn check_secret_file(self, file: &Text, problems: &mut Problems<'_>) -> Option<TsigKey> {
        let text = read_secret(file, problems)?;
        let text = text.expose_secret();
        // `base64` and `openssl rand -base64` break their lines.
        let secret = SecretString::from(text.split_ascii_whitespace().collect::<String>());
        let key = self.with_secret(secret.expose_secret());
        if key.is_err() {
            let place = Position::of(text, text.len() - text.trim_start().len());
            let path = problems.folder().join(file.get_ref());
            let (message, help) = ("the secret in this file is not base64".to_owned(), key_file::secret_help(text));
            problems.add_in(file.span().start, path, place, message, help.to_owned());
        }
        key.ok().flatten()
    }

    /// The key, where name and algorithm are right; a bad secret is an error in any case.
    fn with_secret(self, secret: &str) -> Result<Option<TsigKey>, TsigError> {
        let is_right = self.name.is_some() && self.algorithm.is_some();
        let name = self.name.map_or_else(|| KeyName::parse("unnamed").map_err(TsigError::Name), Ok)?;
        let key = TsigKey::new(name, self.algorithm.unwrap_or(Algorithm::HmacSha256), secret)?;
        Ok(is_right.then_some(key))
    }

    fn check_key_file(self, file: &Text, problems: &mut Problems<'_>) -> Option<TsigKey> {
        let (at, shown) = (file.span().start, file.get_ref());
        let text = read_secret(file, problems)?;
        let key = match key_file::parse(text.expose_secret()) {
            Ok(key) => key,
            Err(fault) => {
                let place = Position::of(text.expose_secret(), fault.at);
                problems.add_in(at, problems.folder().join(shown), place, fault.message, fault.help);
                return None;
            }
        };
        if self.name.is_some_and(|name| name != key.name) {
            let message = format!("the key in {shown} has another name: \"{}\"", key.name);
            problems.add(self.name_at, message, "remove this line, or name the file of the key that is meant");
        }
        if self.algorithm.is_some_and(|algorithm| algorithm != key.algorithm) {
            let message = format!("the key in {shown} has another algorithm: \"{}\"", key.algorithm.name());
            problems.add(self.algorithm_at, message, "remove this line; the algorithm comes from the file");
        }
        Some(key)
    }
}
