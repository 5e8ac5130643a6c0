//! `[[account]]`: who may update what.

use secrecy::ExposeSecret as _;
use toml::Spanned;

use crate::model::{Hostname, LoginError, NameError, PasswordDigest, PasswordError, ZoneName, check_login};

use super::Account;
use super::format::{self, SecretText, Text};
use super::problem::{Once, Problems, quoted};
use super::zone::Zones;

/// How many names an account's wildcard grants may bring into being, where it does not say.
pub const DEFAULT_MAX_HOSTS: u32 = 100;

/// All `[[account]]` sections.
pub(super) struct Accounts {
    /// Those with nothing wrong.
    pub(super) checked: Vec<Account>,
    /// Whether none is left out, and so whether a name that none is granted is really none's.
    pub(super) is_complete: bool,
}

pub(super) fn check_accounts(
    typed: Vec<Spanned<format::AccountSection>>,
    zones: &Zones,
    problems: &mut Problems<'_>,
) -> Accounts {
    let count = typed.len();
    let mut logins = Once::new();
    let mut accounts = Vec::with_capacity(typed.len());
    for typed in typed {
        let here = ("[[account]]", typed.span().start);
        let typed = typed.into_inner();
        let login = problems.required(here, "login", typed.login).filter(|login| is_login(login, problems));
        let secret = problems.required(here, "secret", typed.secret);
        let secret = secret.and_then(|secret| check_secret(&secret, login.as_ref(), problems));
        let hosts = problems.required(here, "hosts", typed.hosts).unwrap_or_default();
        let (hosts, wildcards) = check_grants(&hosts, zones, problems);
        let Some(login) = login else { continue };
        let (at, login) = (login.span().start, login.into_inner());
        if logins.check(login.clone(), at, &format!("login {}", quoted(&login)), problems)
            && let Some(secret) = secret
        {
            let max_hosts = typed.max_hosts.map_or(DEFAULT_MAX_HOSTS, |hosts| hosts.0);
            accounts.push(Account { login, secret, hosts, wildcards, max_hosts });
        }
    }
    Accounts { is_complete: accounts.len() == count, checked: accounts }
}

/// Whether Basic (RFC 7617 section 2) can carry `login`.
fn is_login(login: &Text, problems: &mut Problems<'_>) -> bool {
    let checked = problems.ok(login.span().start, check_login(login.get_ref()), |error| {
        let help = match error {
            LoginError::Empty => "write the user name that the router sends",
            LoginError::Colon => "write the user name alone",
            LoginError::Control => "write the user name as the router sends it",
            LoginError::Long => "give the account and its router a shorter one",
        };
        (format!("this login {error}"), help)
    });
    checked.is_some()
}

fn check_secret(secret: &SecretText, login: Option<&Text>, problems: &mut Problems<'_>) -> Option<PasswordDigest> {
    let text = secret.get_ref().expose_secret();
    let owner = login.map_or_else(|| "this account".to_owned(), |login| format!("account {}", quoted(login.get_ref())));
    problems.ok(secret.span().start, PasswordDigest::parse(text), |error| {
        let (what, help) = match &error {
            PasswordError::PlainText if text.is_empty() => {
                ("is empty".to_owned(), "run `dyngate hash` and paste what it prints here")
            }
            PasswordError::PlainText => {
                ("is in plain text".to_owned(), "run `dyngate hash` and paste what it prints here")
            }
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
        (format!("the secret of {owner} {what}"), help)
    })
}

/// The names of `hosts`: granted exactly, and granted with everything below.
fn check_grants(texts: &[Text], zones: &Zones, problems: &mut Problems<'_>) -> (Vec<Hostname>, Vec<ZoneName>) {
    let (mut exact, mut wildcards) = (Vec::new(), Vec::new());
    let mut once = Once::new();
    for text in texts {
        let at = text.span().start;
        if let Some(above) = text.get_ref().strip_prefix("*.") {
            let Some(above) = check_wildcard(above, text, zones, problems) else { continue };
            if once.check(format!("*.{above}"), at, &format!("name \"*.{above}\""), problems) {
                zones.check_holds(above.as_str(), text, problems);
                wildcards.push(above);
            }
        } else {
            let Some(name) = check_exact(text, zones, problems) else { continue };
            if once.check(name.to_string(), at, &format!("name \"{name}\""), problems) {
                zones.check_holds(name.as_str(), text, problems);
                exact.push(name);
            }
        }
    }
    (exact, wildcards)
}

/// `above` is what follows the `*.` of `text`.
fn check_wildcard(above: &str, text: &Text, zones: &Zones, problems: &mut Problems<'_>) -> Option<ZoneName> {
    problems.ok(text.span().start, ZoneName::parse(above), |error| {
        let message = format!("{} is not a wildcard grant: {error}", quoted(text.get_ref()));
        (message, format!("write `*.` once, at the beginning, and a whole name: \"{}\"", zones.example("*.office")))
    })
}

pub(super) fn check_exact(text: &Text, zones: &Zones, problems: &mut Problems<'_>) -> Option<Hostname> {
    let (at, text) = (text.span().start, text.get_ref());
    problems.ok(at, Hostname::parse(text), |error| {
        let help = match error {
            NameError::NotQualified => {
                let label = text.trim_end_matches('.').to_ascii_lowercase();
                format!("write the whole name: \"{}\"", zones.example(&label))
            }
            NameError::ForeignCharacter if text.contains('*') => {
                format!("`*.` stands once, at the beginning: \"{}\"", zones.example("*.office"))
            }
            NameError::ForeignCharacter | NameError::EmptyLabel | NameError::LongLabel | NameError::LongName => {
                format!("for example: \"{}\"", zones.example("home"))
            }
        };
        (format!("{} is not a host name: {error}", quoted(text)), help)
    })
}
