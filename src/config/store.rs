//! `[store]`: where accounts, hosts and what was seen of them are kept.

use secrecy::{ExposeSecret as _, SecretString};
use toml::Spanned;

use super::engine::check_duration;
use super::format::{self, example};
use super::problem::Problems;
use super::{Location, Store};

const TITLE: &str = "[store]";

/// The store; in memory where the section is left out.
pub(super) fn check_store(typed: Option<Spanned<format::StoreSection>>, problems: &mut Problems<'_>) -> Store {
    let mut url = None;
    if let Some(typed) = &typed {
        url = problems.required((TITLE, typed.span().start), "url", typed.get_ref().url.as_ref());
    }
    let location = url.map_or(Some(Location::Memory), |url| check_url(url, problems));
    let typed = typed.map(Spanned::into_inner).unwrap_or_default();
    Store {
        location: location.unwrap_or(Location::Memory),
        grace: check_duration(TITLE, "grace", typed.grace, "1h", ("0s", "7d"), problems),
        history: check_duration(TITLE, "history", typed.history, "90d", ("1h", "3650d"), problems),
    }
}

fn check_url(text: &Spanned<SecretString>, problems: &mut Problems<'_>) -> Option<Location> {
    let url = text.get_ref().expose_secret();
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
        text.span().start,
        "this is not the URL of a store",
        format!("write {}, or \"postgres://USER:PASSWORD@HOST/DATABASE\", or \"memory:\"", example(TITLE, "url")),
    );
    None
}
