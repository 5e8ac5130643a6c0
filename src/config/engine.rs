//! `[engine]`, `[limits]`, `[store]` and `[acme]`: durations, rates, and where things are kept.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use toml::Spanned;

use super::file::read_secret;
use super::format::{self, Text, TextOr, example};
use super::problem::{Problems, label, quoted};
use super::{Acme, Engine, Limits, Location, Quota, Store};

const STORE: &str = "[store]";

pub(super) fn check_engine(typed: format::EngineSection, problems: &mut Problems<'_>) -> Engine {
    let mut duration = |key, value, default, bounds| check_duration("[engine]", key, value, default, bounds, problems);
    let is_off = typed.defer.as_ref().is_some_and(|value| value.get_ref() == "off");
    Engine {
        deadline: duration("deadline", typed.deadline, "5s", ("100ms", "60s")),
        verify_interval: duration("verify_interval", typed.verify_interval, "60s", ("0s", "1d")),
        defer: (!is_off).then(|| duration("defer", typed.defer, "1h", ("1s", "7d"))),
    }
}

pub(super) fn check_acme(typed: format::AcmeSection, problems: &mut Problems<'_>) -> Acme {
    let keep = check_duration("[acme]", "keep", typed.keep, "1h", ("1s", "7d"), problems);
    Acme { dns01: typed.dns01, keep }
}

/// `default` and `bounds`, both included, are durations as one would type them.
fn check_duration(
    title: &str,
    key: &str,
    value: Option<Text>,
    default: &str,
    (least, most): (&str, &str),
    problems: &mut Problems<'_>,
) -> Duration {
    let (at, text) = match &value {
        Some(value) => (value.span().start, value.get_ref().as_str()),
        None => (0, default),
    };
    let (label, example) = (label(title, key), example(title, key));
    match parse_duration(text) {
        None => problems.add(
            at,
            format!("{label} is {}, which is not a duration", quoted(text)),
            format!("write an integer with ms, s, m, h or d, such as {example}"),
        ),
        found if found < parse_duration(least) || found > parse_duration(most) => {
            problems.add(at, format!("{label} is not between {least} and {most}"), format!("for example: {example}"));
        }
        Some(duration) => return duration,
    }
    Duration::ZERO
}

/// An integer and its unit (ms, s, m, h or d), without anything between.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let factor = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor).map(Duration::from_millis)
}

pub(super) fn check_limits(typed: format::LimitsSection, problems: &mut Problems<'_>) -> Limits {
    let mut limit = |key, value: Option<_>, default| value.map_or(default, |value| check_limit(key, value, problems));
    Limits {
        host: limit("host", typed.host, quota(10, 6)),
        account: limit("account", typed.account, quota(60, 60)),
        source: limit("source", typed.source, quota(120, 120)),
        failed_logins: limit("failed_logins", typed.failed_logins, quota(10, 2)),
        repeats: limit("repeats", typed.repeats, None),
    }
}

fn check_limit(key: &str, value: Spanned<TextOr<format::Limit>>, problems: &mut Problems<'_>) -> Option<Quota> {
    let at = value.span().start;
    let what = "a table with burst and per_minute";
    let format::Limit { burst, per_minute } = check_or_off("[limits]", key, what, value, problems)?;
    let title = format!("[limits] {key}");
    let burst = problems.required((&title, at), "burst", burst);
    let per_minute = problems.required((&title, at), "per_minute", per_minute);
    quota(burst?.0, per_minute?.0)
}

/// `what` the key may be, or `None` where it is "off"; a problem where it is another text.
pub(super) fn check_or_off<T>(
    title: &str,
    key: &str,
    what: &str,
    value: Spanned<TextOr<T>>,
    problems: &mut Problems<'_>,
) -> Option<T> {
    let at = value.span().start;
    match value.into_inner() {
        TextOr::Other(other) => return Some(other),
        TextOr::Text(text) if text == "off" => {}
        TextOr::Text(_) => {
            let help = format!("for example: {}, or {key} = \"off\"", example(title, key));
            problems.add(at, format!("{} is neither {what} nor \"off\"", label(title, key)), help);
        }
    }
    None
}

fn quota(burst: u32, per_minute: u32) -> Option<Quota> {
    Some(Quota { burst: NonZeroU32::new(burst)?, per_minute: NonZeroU32::new(per_minute)? })
}

/// The store, in memory where the section is left out; and the file that holds its URL, where a password stands in that.
pub(super) fn check_store(
    typed: Option<Spanned<format::StoreSection>>,
    problems: &mut Problems<'_>,
) -> (Store, Option<PathBuf>) {
    let section = typed.as_ref().map(|typed| typed.span().start);
    let typed = typed.map(Spanned::into_inner).unwrap_or_default();
    let (mut location, mut holds_password) = (None, None);
    match (section, &typed.url, &typed.url_file) {
        (None, ..) => {}
        (Some(_), Some(url), Some(file)) => {
            let message = format!("`url_file` stands beside `url` at line {}", problems.line(url.span().start));
            problems.add(file.span().start, message, "keep one of the two");
        }
        (Some(_), None, Some(file)) => {
            let path = problems.folder().join(file.get_ref());
            let url = read_secret(file, problems);
            location = url.and_then(|url| check_url(url.expose_secret().trim(), file.span().start, problems));
            holds_password = Some(path);
        }
        (Some(at), url, None) => {
            let url = problems.required((STORE, at), "url", url.as_ref());
            if let Some(url) = url {
                location = check_url(url.get_ref().expose_secret(), url.span().start, problems);
                holds_password = Some(problems.path().to_owned());
            }
        }
    }
    let has_password = matches!(&location, Some(Location::Postgres(url)) if has_password(url.expose_secret()));
    let store = Store {
        location: location.unwrap_or(Location::Memory),
        grace: check_duration(STORE, "grace", typed.grace, "1h", ("0s", "7d"), problems),
        history: check_duration(STORE, "history", typed.history, "90d", ("1h", "3650d"), problems),
    };
    (store, holds_password.filter(|_| has_password))
}

fn has_password(url: &str) -> bool {
    let user = url.split_once("://").and_then(|(_, rest)| rest.split('/').next()?.rsplit_once('@'));
    user.is_some_and(|(user, _)| user.contains(':')) || url.contains("password=")
}

fn check_url(url: &str, at: usize, problems: &mut Problems<'_>) -> Option<Location> {
    if url == "memory:" {
        return Some(Location::Memory);
    }
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Some(Location::Postgres(url.into()));
    }
    let file = url.strip_prefix("sqlite:").map(|path| path.strip_prefix("//").unwrap_or(path));
    if let Some(path) = file.filter(|path| !path.is_empty()) {
        return Some(Location::Sqlite(problems.folder().join(path)));
    }
    // Not repeated: a password may stand in it.
    problems.add(
        at,
        "this is not the URL of a store",
        format!("write {}, or \"postgres://USER:PASSWORD@HOST/DATABASE\", or \"memory:\"", example(STORE, "url")),
    );
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_store_is_named_by_its_url_or_by_a_file_with_the_url_alone_and_no_error_repeats_it() {
        let folder = tempfile::tempdir().unwrap();
        let parse = |store: &str| {
            let toml = format!(
                "[store]\n{store}\n[[key]]\nname = \"k\"\nalgorithm = \"hmac-sha256\"\nsecret = \"c2VjcmV0\"\n\
                 [[zone]]\nname = \"dyn.example\"\nprimaries = [\"127.0.0.1\"]\nkey = \"k\"\n"
            );
            Config::parse(&toml, &folder.path().join("gateway.toml"))
        };
        let put = |text: &str| std::fs::write(folder.path().join("store.url"), text).unwrap();
        let url_file = "url_file = \"store.url\"";
        put("postgres://u:hunter2@h/d\n");
        let store = parse(url_file).unwrap().store;
        assert!(
            matches!(&store.location, Location::Postgres(url) if url.expose_secret() == "postgres://u:hunter2@h/d")
        );
        put("sqlite:store.db");
        let at_folder = folder.path().join("store.db");
        assert!(matches!(parse(url_file).unwrap().store.location, Location::Sqlite(path) if path == at_folder));
        for (store, text, says) in [
            ("url = \"memory:\"\nurl_file = \"store.url\"", "memory:", "`url_file` stands beside `url` at line 2"),
            (url_file, "mysql://u:hunter2@h/d", "gateway.toml:2:12: this is not the URL of a store"),
            ("url_file = \"none.url\"", "", "\"none.url\" cannot be read"),
            ("url_file = \"\"", "", "no file is named here"),
            ("grace = \"1h\"", "", "[store] has no `url`"),
        ] {
            put(text);
            let errors = parse(store).unwrap_err().to_string();
            assert!(errors.contains(says) && !errors.contains("hunter2"), "{says}: {errors}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_seen() {
        for url in
            ["postgres://u:p@h/d", "postgres://u:p@h", "postgresql://h/d?user=u&password=p", "postgres://u:a@b@h/d"]
        {
            assert!(has_password(url), "{url}");
        }
        for url in ["postgres://u@h/d", "postgres://h:5432/d", "postgres:///d?host=/run/postgresql"] {
            assert!(!has_password(url), "{url}");
        }
    }

    #[test]
    fn durations_are_an_integer_and_a_unit() {
        for (text, milliseconds) in [
            ("250ms", 250),
            ("5s", 5000),
            ("0s", 0),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("1d", 86_400_000),
            ("007s", 7000),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in [
            "",
            "5",
            "s",
            "5 s",
            " 5s",
            "5S",
            "1.5s",
            "-1s",
            "5sec",
            "1m30s",
            "99999999999999999999s",
            "9999999999999999d",
            "５s",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
