//! One gateway an SQLite file: a lock beside it, which the system takes from a process that dies. It knows no SQL.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::info;

use super::StoreError;
use super::open::of_the_system;

/// Between two tries.
const AGAIN: Duration = Duration::from_millis(50);

/// Locks the SQLite file at `path` for a gateway, as long as the result is open. Another gateway may take `wait` to stop.
pub(super) async fn lock(path: &Path, wait: Duration) -> Result<File, StoreError> {
    let (path, mut file) = open(path).map_err(|error| of_the_system(path, error))?;
    let deadline = Instant::now() + wait;
    let mut is_told = false;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(of_the_system(&path, error)),
        }
        let by = holder(&mut file);
        if Instant::now() >= deadline {
            return Err(StoreError::Served { path, by });
        }
        if !is_told {
            info!(store = %path.display(), by, ?wait, "another gateway still serves the store: waiting for its end");
            is_told = true;
        }
        sleep(AGAIN).await;
    }
    // For people alone: a full disk keeps nobody out.
    let _unknown = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

/// Opens the lock beside the file itself, whichever link or relative path leads there. SQLite's own locks end where its file is
/// closed a second time, and so it is left alone.
fn open(path: &Path) -> io::Result<(PathBuf, File)> {
    let path = path.canonicalize()?;
    let mut beside = path.clone().into_os_string();
    beside.push(".lock");
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(beside)?;
    Ok((path, file))
}

/// The process that has it, as far as it could write that down.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.take(20).read_to_string(&mut text));
    match read.ok().and_then(|_| text.trim().parse::<u32>().ok()) {
        Some(process) => format!("process {process}"),
        None => "a process that left no number".to_owned(),
    }
}
