//! The files that hold secrets: nobody but the gateway has any business in them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{Advice, Finding};
use crate::config::{Config, Location};

/// One finding for each file of the keys, and of a store, that every user of this machine may read or write.
pub(super) fn examine(config: &Config) -> Vec<Finding> {
    let keys = config.secret_files.iter().filter_map(|file| exposed(file, "the secret of a key"));
    let store = match &config.store.location {
        Location::Sqlite(file) => store_files(file),
        Location::Postgres(_) | Location::Memory => Vec::new(),
    };
    keys.chain(store.iter().filter_map(|file| exposed(file, "what stands for every secret of the store"))).collect()
}

/// The file, and the log and the shared memory that SQLite puts beside it with the same rights.
pub(super) fn store_files(file: &Path) -> Vec<PathBuf> {
    let beside = |suffix| {
        let mut name = file.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    ["", "-wal", "-shm"].map(beside).to_vec()
}

fn exposed(file: &Path, what: &str) -> Option<Finding> {
    let mode = file.metadata().ok()?.permissions().mode() & 0o7777;
    let may = match (mode & 0o004 != 0, mode & 0o002 != 0) {
        (_, true) => "written",
        (true, false) => "read",
        (false, false) => return None,
    };
    let file = file.display();
    Some(Finding::error(
        "exposed_secret",
        format!("{file} holds {what} and can be {may} by every user of this machine (mode {mode:04o})"),
        vec![Advice::new("shell", format!("chmod o= {file}"))],
    ))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    #[test]
    fn a_store_that_everybody_may_read_is_named_with_what_lies_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let toml = "[store]\nurl = \"sqlite:store.db\"\n[[key]]\nname = \"k\"\nalgorithm = \"hmac-sha256\"\n\
            secret = \"c2VjcmV0IG9mIHRoZSB0ZXN0cw==\"\n\
            [[zone]]\nname = \"dyn.example\"\nprimaries = [\"127.0.0.1\"]\nkey = \"k\"\n";
        let config = Config::parse(toml, &folder.path().join("gateway.toml")).unwrap();
        let set = |name: &str, mode| {
            fs::write(folder.path().join(name), "").unwrap();
            fs::set_permissions(folder.path().join(name), Permissions::from_mode(mode)).unwrap();
        };
        assert!(examine(&config).is_empty(), "there is none yet");
        set("store.db", 0o600);
        set("store.db-wal", 0o640);
        assert!(examine(&config).is_empty());
        set("store.db", 0o644);
        set("store.db-wal", 0o646);
        let texts: Vec<_> = examine(&config).into_iter().map(|finding| finding.what).collect();
        assert_eq!(texts.len(), 2, "{texts:?}");
        assert!(texts[0].contains("store.db holds") && texts[0].contains("can be read"), "{texts:?}");
        assert!(texts[1].contains("store.db-wal holds") && texts[1].contains("can be written"), "{texts:?}");
    }
}
