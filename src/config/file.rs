//! Reads a text file of bounded size. Knows nothing of what is in it.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use super::problem::Position;

/// Why a file is not a text that we take.
#[derive(Debug)]
pub(super) enum Unreadable {
    Io(io::Error),
    TooLarge(u64),
    /// Not UTF-8, from here on.
    NotUtf8(Position),
}

impl Unreadable {
    /// What is wrong, to follow the file's name.
    pub(super) fn message(&self) -> String {
        match self {
            Self::Io(error) => {
                let text = error.to_string();
                format!("cannot be read: {}", text.split(" (os error").next().unwrap_or(&text))
            }
            Self::TooLarge(limit) if *limit >= 1024 * 1024 => format!("is larger than {} MiB", limit / 1024 / 1024),
            Self::TooLarge(limit) => format!("is larger than {} KiB", limit / 1024),
            Self::NotUtf8(Position { line, column }) => format!("is not UTF-8 text at line {line}, column {column}"),
        }
    }

    /// What to do about a file that is meant to be at `path`.
    pub(super) fn advice(&self, path: &Path) -> String {
        let path = path.display();
        match self {
            Self::Io(error) if error.kind() == io::ErrorKind::NotFound => {
                format!("looked for at {path}; put it there, or name the right file")
            }
            Self::Io(_) => format!("looked for at {path}; let the user that dyngate runs as read it"),
            Self::TooLarge(_) | Self::NotUtf8(_) => format!("looked for at {path}; name the right file"),
        }
    }
}

pub(super) fn read_text(path: &Path, limit: u64) -> Result<String, Unreadable> {
    let mut octets = Vec::new();
    let file = File::open(path).map_err(Unreadable::Io)?;
    file.take(limit + 1).read_to_end(&mut octets).map_err(Unreadable::Io)?;
    if octets.len() as u64 > limit {
        return Err(Unreadable::TooLarge(limit));
    }
    String::from_utf8(octets).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(error.as_bytes().get(..valid).unwrap_or_default());
        Unreadable::NotUtf8(Position::of(&before, valid))
    })
}
