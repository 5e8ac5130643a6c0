//! `[store]`: where accounts, hosts and what was seen of them are kept.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::engine::read_duration;
use super::problem::Problems;
use super::section::{Key, Section, Text};
use super::{Location, Store};

const URL: Key = Key::new("url", r#""sqlite:/var/lib/dyngate/dyngate.db""#);
const GRACE: Key = Key::new("grace", r#""1h""#);
const HISTORY: Key = Key::new("history", r#""90d""#);

/// A relative SQLite file begins at `folder`.
pub(super) fn read_store(
    mut section: Section<'_>,
    is_there: bool,
    folder: &Path,
    problems: &mut Problems<'_>,
) -> Store {
    let url = if is_there { section.required(URL) } else { section.optional(URL) };
    let grace = section.optional(GRACE).and_then(|value| read_duration(&value, ("0s", "7d"), problems));
    let history = section.optional(HISTORY).and_then(|value| read_duration(&value, ("1h", "3650d"), problems));
    section.finish(problems);
    let location = url.and_then(|value| value.text(problems)).and_then(|text| read_url(text, folder, problems));
    Store {
        location: location.unwrap_or(Location::Memory),
        grace: grace.unwrap_or(Duration::from_secs(3600)),
        history: history.unwrap_or(Duration::from_secs(90 * 86_400)),
    }
}

fn read_url(text: Text<'_>, folder: &Path, problems: &mut Problems<'_>) -> Option<Location> {
    let url = text.text;
    if url == "memory:" {
        return Some(Location::Memory);
    }
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Some(Location::Postgres(url.into()));
    }
    let file = url.strip_prefix("sqlite:").map(|path| path.strip_prefix("//").unwrap_or(path));
    if let Some(path) = file.filter(|path| !path.is_empty()) {
        return Some(Location::Sqlite(folder.join(PathBuf::from(path))));
    }
    // Not repeated: a password may stand in it.
    problems.add(
        text.at,
        "this is not the URL of a store",
        format!("write {}, or \"postgres://USER:PASSWORD@HOST/DATABASE\", or \"memory:\"", URL.line()),
    );
    None
}
