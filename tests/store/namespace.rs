//! A test in a mount namespace of its own, where a small disk can be had.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::stage::folder;

const INSIDE: &str = "DYNGATE_STORE_TEST_INSIDE";

/// Root may make namespaces; anybody else needs one of users first, in which they are root.
const WAYS: [&[&str]; 2] = [&["--mount"], &["--user", "--map-root-user", "--mount"]];

/// The folder in which the caller, the test of this name, is to do its work after `prepare` was done there: it is run again
/// inside. Outside there is none, and all is said and done when this returns.
pub(crate) fn inside(test: &str, prepare: &str) -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os(INSIDE) {
        return Some(folder.into());
    }
    let folder = folder();
    let own = std::env::current_exe().expect("the path of this test");
    let mut why = String::new();
    for way in WAYS {
        let mut command = Command::new("unshare");
        command.args(way).args(["sh", "-c", &format!("{prepare} && echo prepared && exec \"$@\""), "sh"]);
        command.arg(&own).args(["--exact", test, "--nocapture"]);
        let Ok(ran) = command.current_dir(folder.path()).env(INSIDE, folder.path()).output() else {
            why = "unshare is not installed".into();
            break;
        };
        let output = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        if output.contains("prepared") {
            assert!(ran.status.success() && output.contains("1 passed"), "{output}");
            return None;
        }
        why = output;
    }
    eprintln!("SKIPPED {test}: no disk of its own here: {}", why.trim());
    None
}

/// A command of the shell in `folder`.
pub(crate) fn run(command: &str, folder: &Path) {
    let ran = Command::new("sh").args(["-c", command]).current_dir(folder).output().expect("a shell");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}
