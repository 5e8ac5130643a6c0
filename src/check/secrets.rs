//! The files that hold secrets: nobody but the gateway has any business in them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{Finding, Mend};

/// One finding for each of `files` that every user of this machine may read or write.
pub(super) fn examine(files: &[PathBuf]) -> Vec<Finding> {
    files.iter().filter_map(|file| exposed(file)).collect()
}

fn exposed(file: &Path) -> Option<Finding> {
    let mode = file.metadata().ok()?.permissions().mode() & 0o7777;
    let may = match (mode & 0o004 != 0, mode & 0o002 != 0) {
        (_, true) => "written",
        (true, false) => "read",
        (false, false) => return None,
    };
    let file = file.display();
    Some(Finding::error(
        "exposed_secret",
        format!("{file} holds the secret of a key and can be {may} by every user of this machine (mode {mode:04o})"),
        vec![Mend::new("shell", format!("chmod o= {file}"))],
    ))
}
