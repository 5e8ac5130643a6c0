//! `[[account]]` and `[[host]]`: who may update what.

use crate::model::{Hostname, LoginError, NameError, PasswordDigest, PasswordError, ZoneName, check_login};

use super::problem::{Once, Problems, quoted};
use super::section::{Key, Section, Text};
use super::zone::{MAX_TTL, Zones};
use super::{Account, Host};

const LOGIN: Key = Key::new("login", r#""router1""#);
const SECRET: Key = Key::new("secret", "'$argon2id$v=19$…'");
const HOSTS: Key = Key::new("hosts", r#"["home.dyn.example"]"#);
const MAX_HOSTS: Key = Key::new("max_hosts", "100");

const NAME: Key = Key::new("name", r#""home.dyn.example""#);
const TTL: Key = Key::new("ttl", "120");

/// How many names an account's wildcard grants may bring into being, where it does not say.
pub const DEFAULT_MAX_HOSTS: u32 = 100;

/// All `[[account]]` sections; those with something wrong are left out.
pub(super) fn read_accounts(sections: Vec<Section<'_>>, zones: &Zones, problems: &mut Problems<'_>) -> Vec<Account> {
    let mut logins = Once::new();
    let mut accounts = Vec::with_capacity(sections.len());
    for mut section in sections {
        let login = section.required(LOGIN).and_then(|value| value.text(problems));
        let login = login.filter(|text| is_login(*text, problems));
        let secret = section.required(SECRET).and_then(|value| value.text(problems));
        let secret = secret.and_then(|text| read_secret(text, login, problems));
        let hosts = section.required(HOSTS).and_then(|value| value.texts(problems));
        let (hosts, wildcards) = read_grants(hosts.unwrap_or_default(), zones, problems);
        let max_hosts = section.optional(MAX_HOSTS).and_then(|value| value.integer(1..=u32::MAX, problems));
        section.finish(problems);
        let Some(Text { text: login, at }) = login else { continue };
        if logins.check(login, at, &format!("login {}", quoted(login)), problems)
            && let Some(secret) = secret
        {
            let max_hosts = max_hosts.unwrap_or(DEFAULT_MAX_HOSTS);
            accounts.push(Account { login: login.to_owned(), secret, hosts, wildcards, max_hosts });
        }
    }
    accounts
}

/// All `[[host]]` sections.
pub(super) fn read_hosts(sections: Vec<Section<'_>>, zones: &Zones, problems: &mut Problems<'_>) -> Vec<Host> {
    let mut names = Once::new();
    let mut hosts = Vec::with_capacity(sections.len());
    for mut section in sections {
        let text = section.required(NAME).and_then(|value| value.text(problems));
        let ttl = section.optional(TTL).and_then(|value| value.integer(0..=MAX_TTL, problems));
        section.finish(problems);
        let Some(text) = text else { continue };
        if text.text.starts_with('*') {
            let message = format!("{} is not the name of one host", quoted(text.text));
            problems.add(text.at, message, "a [[host]] is one name; a wildcard may stand in an account's `hosts`");
            continue;
        }
        let Some(name) = read_exact(text, zones, problems) else { continue };
        zones.check_holds(name.as_str(), text, problems);
        if names.check(name.clone(), text.at, &format!("host \"{name}\""), problems) {
            hosts.push(Host { name, ttl });
        }
    }
    hosts
}

/// Whether Basic (RFC 7617 section 2) can carry `login`.
fn is_login(login: Text<'_>, problems: &mut Problems<'_>) -> bool {
    let Err(error) = check_login(login.text) else { return true };
    let help = match error {
        LoginError::Empty => "write the user name that the router sends",
        LoginError::Colon => "write the user name alone",
        LoginError::Control => "write the user name as the router sends it",
        LoginError::Long => "give the account and its router a shorter one",
    };
    problems.add(login.at, format!("this login {error}"), help);
    false
}

fn read_secret(secret: Text<'_>, login: Option<Text<'_>>, problems: &mut Problems<'_>) -> Option<PasswordDigest> {
    let error = match PasswordDigest::parse(secret.text) {
        Ok(digest) => return Some(digest),
        Err(error) => error,
    };
    let owner = login.map_or_else(|| "this account".to_owned(), |login| format!("account {}", quoted(login.text)));
    let (what, help) = match &error {
        PasswordError::PlainText if secret.text.is_empty() => {
            ("is empty".to_owned(), "run `dyngate hash` and paste what it prints here")
        }
        PasswordError::PlainText => ("is in plain text".to_owned(), "run `dyngate hash` and paste what it prints here"),
        PasswordError::Sha256 => (
            format!("is broken: {error}"),
            "paste the whole second line that `dyngate hash --generate` printed; line 1 is for the router",
        ),
        PasswordError::Phc => (
            format!("is broken: {error}"),
            "run `dyngate hash` and paste the whole line that it prints, between single quotes",
        ),
        PasswordError::Algorithm(_) => (
            format!("cannot be checked: {error}"),
            "run `dyngate hash` with the password and paste what it prints here",
        ),
        PasswordError::Cost { .. } => (
            format!("is too costly to check: {error}"),
            "run `dyngate hash` with the password and paste what it prints here (m=19456, t=2)",
        ),
    };
    problems.add(secret.at, format!("the secret of {owner} {what}"), help);
    None
}

/// The names of `hosts`: granted exactly, and granted with everything below.
fn read_grants(texts: Vec<Text<'_>>, zones: &Zones, problems: &mut Problems<'_>) -> (Vec<Hostname>, Vec<ZoneName>) {
    let (mut exact, mut wildcards) = (Vec::new(), Vec::new());
    let mut once = Once::new();
    for text in texts {
        if let Some(above) = text.text.strip_prefix("*.") {
            let Some(above) = read_wildcard(above, text, zones, problems) else { continue };
            if once.check(format!("*.{above}"), text.at, &format!("name \"*.{above}\""), problems) {
                zones.check_holds(above.as_str(), text, problems);
                wildcards.push(above);
            }
        } else {
            let Some(name) = read_exact(text, zones, problems) else { continue };
            if once.check(name.to_string(), text.at, &format!("name \"{name}\""), problems) {
                zones.check_holds(name.as_str(), text, problems);
                exact.push(name);
            }
        }
    }
    (exact, wildcards)
}

/// `above` is what follows the `*.` of `text`.
fn read_wildcard(above: &str, text: Text<'_>, zones: &Zones, problems: &mut Problems<'_>) -> Option<ZoneName> {
    let parsed = ZoneName::parse(above);
    if let Err(error) = &parsed {
        let message = format!("{} is not a wildcard grant: {error}", quoted(text.text));
        let example = zones.example("*.office");
        problems.add(text.at, message, format!("write `*.` once, at the beginning, and a whole name: \"{example}\""));
    }
    parsed.ok()
}

fn read_exact(text: Text<'_>, zones: &Zones, problems: &mut Problems<'_>) -> Option<Hostname> {
    let error = match Hostname::parse(text.text) {
        Ok(name) => return Some(name),
        Err(error) => error,
    };
    let help = match error {
        NameError::NotQualified => {
            format!(
                "write the whole name: \"{}\"",
                zones.example(&text.text.trim_end_matches('.').to_ascii_lowercase())
            )
        }
        NameError::ForeignCharacter if text.text.contains('*') => {
            format!("`*.` stands once, at the beginning: \"{}\"", zones.example("*.office"))
        }
        NameError::ForeignCharacter | NameError::EmptyLabel | NameError::LongLabel | NameError::LongName => {
            format!("for example: \"{}\"", zones.example("home"))
        }
    };
    problems.add(text.at, format!("{} is not a host name: {error}", quoted(text.text)), help);
    None
}
