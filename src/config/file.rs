//! Reads files of bounded size in bounded time. Knows nothing of what is in them.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use secrecy::SecretString;
use tokio::time::Instant;

use super::format::Text;
use super::problem::{Position, Problems, quoted};

/// The bound of a file with one key or one URL in it, in octets.
const MAX_SECRET: u64 = 64 * 1024;
/// How long one file may take: it may be a pipe that nobody writes.
const FILE_WITHIN: Duration = Duration::from_secs(5);
/// How long all files of a piece of work may take: one may lie on a server that is away, and nothing interrupts its reader.
const WORK_WITHIN: Duration = Duration::from_secs(10);
/// How many readers of the same may go on that nobody waits for any longer.
const MOST_LATE: usize = 2;

static READERS: Readers = Readers { late: Mutex::new(Vec::new()) };

struct Readers {
    late: Mutex<Vec<(PathBuf, JoinHandle<()>)>>,
}

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

/// Does `work`, which reads the file at `path` and perhaps others, on a thread of its own, and waits no longer than [`WORK_WITHIN`]
/// for it. What is away holds up nothing else.
///
/// # Panics
/// With the panic of `work`.
pub(crate) fn in_time<T: Send + 'static>(path: &Path, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    READERS.within(WORK_WITHIN, path, work)
}

impl Readers {
    fn within<T: Send + 'static>(
        &self,
        limit: Duration,
        path: &Path,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let late = || self.late.lock().unwrap_or_else(PoisonError::into_inner);
        late().retain(|(_, reader)| !reader.is_finished());
        if late().iter().filter(|(of, _)| of == path).count() >= MOST_LATE {
            return Err(timed_out("earlier tries still wait for a file (on a server that is away?)"));
        }
        let (done, result) = mpsc::sync_channel(1);
        let reader = thread::Builder::new().spawn(move || {
            let _nobody_waits = done.send(work());
        })?;
        match result.recv_timeout(limit) {
            Ok(result) => Ok(result),
            Err(RecvTimeoutError::Timeout) => {
                late().push((path.to_owned(), reader));
                Err(timed_out("a file is still not read (on a server that is away?)"))
            }
            Err(RecvTimeoutError::Disconnected) => match reader.join() {
                Err(panic) => resume_unwind(panic),
                Ok(()) => Err(timed_out("nothing was read")),
            },
        }
    }
}

fn timed_out(why: &'static str) -> io::Error {
    io::Error::new(ErrorKind::TimedOut, why)
}

/// Opens a file to be read by [`read`]; does not wait for the writer of a pipe.
pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)
}

/// What an open file holds; more than `limit` octets where there are more.
pub(super) fn read(mut file: File, limit: u64) -> io::Result<Vec<u8>> {
    let end = Instant::now() + FILE_WITHIN;
    let (mut octets, mut part) = (Vec::new(), vec![0; 64 * 1024]);
    while octets.len() as u64 <= limit {
        let left = Timespec::try_from(end.saturating_duration_since(Instant::now())).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&file, PollFlags::IN)], Some(&left)) {
            Ok(0) => return Err(timed_out("nothing came of it in 5 s (a pipe?)")),
            Ok(_) => {}
            Err(error) if io::Error::from(error).kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        }
        match file.read(&mut part) {
            Ok(0) => break,
            Ok(count) => octets.extend_from_slice(part.get(..count).unwrap_or_default()),
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(octets)
}

pub(super) fn read_text(path: &Path, limit: u64) -> Result<String, Unreadable> {
    let octets = open(path).and_then(|file| read(file, limit)).map_err(Unreadable::Io)?;
    if octets.len() as u64 > limit {
        return Err(Unreadable::TooLarge(limit));
    }
    String::from_utf8(octets).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(error.as_bytes().get(..valid).unwrap_or_default());
        Unreadable::NotUtf8(Position::of(&before, valid))
    })
}

/// The file of one secret that the configuration names; a problem where it cannot be read.
pub(super) fn read_secret(file: &Text, problems: &mut Problems<'_>) -> Option<SecretString> {
    let (at, name) = (file.span().start, file.get_ref());
    if name.is_empty() {
        let help = "write its path; a relative one begins at the folder of this file";
        problems.add(at, "no file is named here", help);
        return None;
    }
    let path = problems.folder().join(name);
    let text = problems.ok(at, read_text(&path, MAX_SECRET), |error| {
        (format!("{} {}", quoted(name), error.message()), error.advice(&path))
    })?;
    problems.has_read(&text);
    Some(text.into())
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

    #[test]
    fn nobody_waits_for_ever_and_few_threads_hang() {
        let readers = Readers { late: Mutex::default() };
        let mut ends = Vec::new();
        for _ in 0..MOST_LATE {
            let (end, ended) = mpsc::channel::<()>();
            let late = readers.within(Duration::ZERO, Path::new("away"), move || ended.recv().is_err());
            assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut);
            ends.push(end);
        }
        let more = || readers.within(WORK_WITHIN, Path::new("away"), || true);
        assert!(more().unwrap_err().to_string().contains("earlier tries"));
        assert!(readers.within(WORK_WITHIN, Path::new("here"), || true).unwrap(), "another file is read");
        ends.pop();
        while let Err(error) = more() {
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            thread::yield_now();
        }
    }

    #[test]
    fn a_pipe_is_read_to_its_end_and_one_that_nobody_writes_keeps_no_thread() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        let (from, to) = (path.clone(), path.clone());
        let reader = thread::spawn(move || read_text(&from, 10));
        let mut writer = OpenOptions::new().write(true).open(&to).unwrap();
        for part in ["ab", "c\n"] {
            std::io::Write::write_all(&mut writer, part.as_bytes()).unwrap();
        }
        drop(writer);
        assert_eq!(reader.join().unwrap().unwrap(), "abc\n");
        let empty = read_text(&path, 10).unwrap_err();
        assert!(empty.message().contains("(a pipe?)"), "{}", empty.message());
    }
}
