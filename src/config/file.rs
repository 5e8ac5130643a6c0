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
        let mend = match self {
            Self::Io(error) => mend(error),
            Self::TooLarge(_) | Self::NotUtf8(_) => "name the right file",
        };
        format!("looked for at {}; {mend}", path.display())
    }
}

/// What to do about a file that cannot be read.
pub(super) fn mend(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => "put it there, or name the right file",
        io::ErrorKind::PermissionDenied => {
            "let the user that dyngate runs as read it, and enter the folders that it lies in"
        }
        io::ErrorKind::IsADirectory => "name the file, and not its folder",
        io::ErrorKind::TimedOut => "put a file there, or bring back the server that it lies on",
        _ => "see that its disk can be read, or name another file",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_can_mend_it_depends_on_what_is_wrong() {
        for (kind, words) in [
            (io::ErrorKind::NotFound, "put it there"),
            (io::ErrorKind::PermissionDenied, "let the user that dyngate runs as read it"),
            (io::ErrorKind::IsADirectory, "not its folder"),
            (io::ErrorKind::TimedOut, "bring back the server"),
            (io::ErrorKind::Other, "its disk"),
        ] {
            let advice = Unreadable::Io(kind.into()).advice(Path::new("/etc/dyngate/k.key"));
            assert!(advice.contains("/etc/dyngate/k.key") && advice.contains(words), "{advice}");
            assert_eq!(advice.contains("let the user"), kind == io::ErrorKind::PermissionDenied, "{advice}");
        }
    }
}
