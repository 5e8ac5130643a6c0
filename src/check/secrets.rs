//! The files that hold secrets: nobody but the gateway has any business in them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{Advice, Finding};
use crate::config::file::in_time;
use crate::config::{Config, Location};

/// One finding for each file of the configuration, and of a store, that every user of this machine may read or write.
pub(super) fn examine(config: &Config) -> Vec<Finding> {
    let mut files = config.secret_files.clone();
    if let Location::Sqlite(file) = &config.store.location {
        let what = Some("what stands for every secret of the store");
        files.extend(store_files(file).into_iter().map(|file| (file, what)));
    }
    // Metadata of a server that is away never come.
    let found = in_time(Path::new("secrets"), move || {
        files.into_iter().filter_map(|(file, what)| exposed(&file, what)).collect()
    });
    found.unwrap_or_else(|error| {
        vec![Finding::error(
            "exposed_secret",
            format!("whether others may read the secrets is unknown: {error}"),
            vec![],
        )]
    })
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

/// `what` is the secret that stands there; where there is none, everybody may read it.
fn exposed(file: &Path, what: Option<&str>) -> Option<Finding> {
    let mode = file.metadata().ok()?.permissions().mode() & 0o7777;
    let may = match (mode & 0o002 != 0, mode & 0o004 != 0 && what.is_some()) {
        (true, _) => "written",
        (false, true) => "read",
        (false, false) => return None,
    };
    let file = file.display();
    Some(Finding::error(
        "exposed_secret",
        match what {
            Some(what) => {
                format!("{file} holds {what} and can be {may} by every user of this machine (mode {mode:04o})")
            }
            None => format!("{file} can be {may} by every user of this machine (mode {mode:04o})"),
        },
        vec![Advice::new("shell", format!("chmod o{} {file}", if what.is_some() { "=" } else { "-w" }))],
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
        fs::write(folder.path().join("gateway.toml"), toml).unwrap();
        fs::set_permissions(folder.path().join("gateway.toml"), Permissions::from_mode(0o600)).unwrap();
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

    #[test]
    fn whatever_secret_a_file_holds_others_may_neither_read_nor_write_it() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str, mode| {
            fs::write(folder.path().join(name), text).unwrap();
            fs::set_permissions(folder.path().join(name), Permissions::from_mode(mode)).unwrap();
        };
        let least = "[[key]]\nname = \"k\"\nalgorithm = \"hmac-sha256\"\nsecret_file = \"k.secret\"\n\
            [[zone]]\nname = \"dyn.example\"\nprimaries = [\"127.0.0.1\"]\nkey = \"k\"\n";
        let digest = format!("$sha256${}A=", "A".repeat(42));
        let account = format!("[[account]]\nlogin = \"a\"\nsecret = \"{digest}\"\nhosts = []\n");
        let tls = "[http.tls]\nlisten = [\"127.0.0.1:0\"]\ncertificate = \"cert.pem\"\nprivate_key = \"key.pem\"\n";
        let password = "the password of a database";
        for (more, exposed, mode, says) in [
            ("", "k.secret", 0o604, Some(("the secret of a key", "read"))),
            ("", "k.secret", 0o602, Some(("the secret of a key", "written"))),
            ("", "gateway.toml", 0o644, None),
            ("", "gateway.toml", 0o646, Some(("gateway.toml can be", "written"))),
            (&account, "gateway.toml", 0o644, Some(("what stands for the passwords", "read"))),
            ("[store]\nurl = \"postgres://u:p@h/d\"\n", "gateway.toml", 0o644, Some((password, "read"))),
            ("[store]\nurl = \"postgres://u@h/d\"\n", "gateway.toml", 0o644, None),
            ("[store]\nurl_file = \"store.url\"\n", "gateway.toml", 0o644, None),
            ("[store]\nurl_file = \"store.url\"\n", "store.url", 0o644, Some((password, "read"))),
            (tls, "cert.pem", 0o644, None),
            (tls, "cert.pem", 0o646, Some(("cert.pem can be", "written"))),
        ] {
            for (name, text) in
                [("k.secret", "c2VjcmV0IG9mIHRoZSB0ZXN0cw=="), ("store.url", "postgres://u:p@h/d\n"), ("cert.pem", "")]
            {
                put(name, text, 0o600);
            }
            let toml = format!("{least}{more}");
            put("gateway.toml", &toml, 0o600);
            fs::set_permissions(folder.path().join(exposed), Permissions::from_mode(mode)).unwrap();
            let config = Config::load(&folder.path().join("gateway.toml")).unwrap();
            let found = examine(&config);
            match says {
                None => assert!(found.is_empty(), "{more} {exposed}: {found:?}"),
                Some((what, may)) => {
                    let [found] = found.as_slice() else { panic!("{more} {exposed} {mode:o}: {found:?}") };
                    let is_told = found.what.contains(what) && found.what.contains(&format!("can be {may} by"));
                    assert!(is_told && found.what.contains(exposed), "{}", found.what);
                }
            }
        }
    }
}
