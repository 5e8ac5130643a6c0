//! Targets for the files that an operator writes: whatever is in them, the words about it are bounded, at a place that
//! exists, always the same, and never a secret.

use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};
use toml::de::{DeTable, DeValue};

use super::key_file;
use super::problem::Position;
use super::{Config, Problem};
use crate::model::TsigKey;

/// gateway.toml; the key files that it names are not there.
pub fn configuration(octets: &[u8]) {
    let Ok(text) = std::str::from_utf8(octets) else { return };
    let path = Path::new("/nonexistent/gateway.toml");
    let secrets = secrets_in(text);
    let errors = match Config::parse(text, path) {
        Ok(config) => {
            assert!(!config.http.listen.is_empty() && config.zones.iter().all(|zone| !zone.primaries.is_empty()));
            return assert_silent(&format!("{config:?}"), &secrets);
        }
        Err(errors) => errors,
    };
    assert!(!errors.problems().is_empty());
    assert_eq!(Config::parse(text, path).err(), Some(errors.clone()), "the same words each time");
    for Problem { path: of, position, message, help } in errors.problems() {
        assert!(!message.is_empty() && !help.is_empty());
        assert!(message.len() + help.len() < 2048, "{message}\n{help}");
        if of == path {
            assert_exists(*position, text);
        }
    }
    assert_silent(&errors.to_string(), &secrets);
}

/// Secrets of a file that is TOML, as far as they are long and stand only there.
fn secrets_in(text: &str) -> Vec<SecretString> {
    let Ok(root) = DeTable::parse(text) else { return Vec::new() };
    let mut found = Vec::new();
    for section in ["key", "account"] {
        let Some(DeValue::Array(members)) = root.get_ref().get(section).map(|value| value.get_ref()) else { continue };
        for member in members.iter().filter_map(|member| member.get_ref().as_table()) {
            // Of a wrong type, it is a secret all the same.
            let secret = match member.get("secret").map(|value| value.get_ref()) {
                Some(DeValue::String(secret)) => secret.as_ref(),
                Some(DeValue::Integer(secret)) => secret.as_str(),
                Some(DeValue::Array(list)) => list.first().and_then(|first| first.get_ref().as_str()).unwrap_or(""),
                _ => continue,
            };
            if secret.len() >= 8 && secret.is_ascii() && text.matches(secret).count() == 1 {
                found.push(SecretString::from(secret));
            }
        }
    }
    found
}

fn assert_silent(said: &str, secrets: &[SecretString]) {
    for secret in secrets {
        assert!(!said.contains(secret.expose_secret()), "a secret is repeated in\n{said}");
    }
}

fn assert_exists(position: Option<Position>, text: &str) {
    let Some(Position { line, column }) = position else { return };
    let longest = text.split('\n').nth(line.saturating_sub(1)).map(|line| line.chars().count());
    assert!(longest.is_some_and(|longest| (1..=longest + 1).contains(&column)), "no place {line}:{column}");
}

/// What tsig-keygen or `keymgr -t` printed. A key that was read can be written in both forms and read again.
pub fn key_file(octets: &[u8]) {
    let Ok(text) = std::str::from_utf8(octets) else { return };
    match key_file::parse(text) {
        Ok(key) => {
            let (name, algorithm) = (key.name.as_str(), key.algorithm.name());
            let secret = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, key.expose());
            let named = format!("key \"{name}\" {{\n\talgorithm {algorithm};\n\tsecret \"{secret}\";\n}};\n");
            let knot = format!(
                "# {algorithm}:{name}:{secret}\nkey:\n- id: {name}\n  algorithm: {algorithm}\n  secret: {secret}\n"
            );
            assert_same(&key, &named);
            assert_same(&key, &knot);
            // A short one may stand there by chance, and one that is a part of the name does.
            assert!(!format!("{key:?}").contains(&secret) || secret.len() < 8 || name.contains(&secret));
        }
        Err(fault) => {
            assert_exists(Some(Position::of(text, fault.at)), text);
            assert!(!fault.message.is_empty() && fault.message.len() + fault.help.len() < 1024, "{fault:?}");
            let said = fault.message + &fault.help;
            for secret in words_after_secret(text).chain(base64_words(text)) {
                assert!(!said.contains(secret), "a secret is repeated in\n{said}");
            }
        }
    }
}

fn assert_same(key: &TsigKey, text: &str) {
    match key_file::parse(text) {
        Ok(again) => {
            assert_eq!((&again.name, again.algorithm, again.expose()), (&key.name, key.algorithm, key.expose()));
        }
        Err(fault) => panic!("{fault:?} in\n{text}"),
    }
}

/// Long words right behind the word `secret` that stand only there.
fn words_after_secret(text: &str) -> impl Iterator<Item = &str> {
    text.split("secret").skip(1).filter_map(move |rest| {
        let rest = rest.trim_start_matches([':', ' ', '\t', '"', '\'']);
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"+/=".contains(c)).unwrap_or(rest.len());
        rest.get(..end).filter(|word| word.len() >= 16 && text.matches(word).count() == 1)
    })
}

/// Long words that no name can be, wherever they stand: a secret may have slipped into another place.
fn base64_words(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && !"+/=".contains(c));
    words.filter(|word| word.len() >= 16 && word.contains(['+', '/', '=']))
}
