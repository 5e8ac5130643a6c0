//! PowerDNS: pdns_server in the foreground with an LMDB or SQLite database in the scratch folder, caches as they come.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::program::{find, folder, run, write};
use crate::{Error, Kind, Setup};

const SCHEMA: &str = "/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql";

/// Writes pdns.conf, fills the database through pdnsutil.
pub(super) async fn prepare(kind: Kind, scratch: &Path, port: u16, setup: &Setup) -> Result<Command, Error> {
    if !setup.rights.is_empty() {
        let why = "PowerDNS has no right for single names (only its Lua policy script could): a key that may change a zone \
                   may change all of it; leave `restrict` out for PowerDNS";
        return Err(Error::Unsupported(why.to_owned()));
    }
    let server = find("pdns_server", "pdns-server")?;
    let pdnsutil = find("pdnsutil", "pdns-server")?;
    folder(&scratch.join("zones"))?;
    write(&scratch.join("pdns.conf"), &configuration(kind, scratch, port, setup)?)?;
    if kind == Kind::PowerDnsSqlite {
        create(scratch).await?;
    }
    fill(&pdnsutil, scratch, setup).await?;
    let mut command = Command::new(server);
    command.arg(format!("--config-dir={}", scratch.display())).current_dir(scratch);
    Ok(command)
}

fn configuration(kind: Kind, scratch: &Path, port: u16, setup: &Setup) -> Result<String, Error> {
    let backend = match kind {
        Kind::PowerDnsSqlite => {
            format!("launch=gsqlite3\ngsqlite3-database={}/pdns.sqlite3\ngsqlite3-dnssec=yes\n", scratch.display())
        }
        Kind::PowerDnsLmdb | Kind::Bind | Kind::Knot => {
            format!("launch=lmdb\nlmdb-filename={}/pdns.lmdb\n", scratch.display())
        }
    };
    let library = if kind == Kind::PowerDnsLmdb { "liblmdbbackend.so" } else { "libgsqlite3backend.so" };
    let package = if kind == Kind::PowerDnsLmdb { "pdns-backend-lmdb" } else { "pdns-backend-sqlite3" };
    if !installed(library) {
        return Err(Error::Missing { program: library.to_owned(), package });
    }
    let dnsupdate = if setup.allow_update { "yes" } else { "no" };
    // security-poll-suffix: no question to the outside world at the start.
    let mut text = format!(
        "{backend}\
         local-address=127.0.0.1\nlocal-port={port}\nsocket-dir={}\nwrite-pid=no\ndaemon=no\nguardian=no\n\
         disable-syslog=yes\nloglevel=5\nsecurity-poll-suffix=\n\
         primary=yes\nsecondary=yes\ndnsupdate={dnsupdate}\nallow-dnsupdate-from=127.0.0.0/8\nallow-axfr-ips=127.0.0.0/8\n",
        scratch.display()
    );
    for line in setup.options_of(kind) {
        let _ = writeln!(text, "{line}");
    }
    Ok(text)
}

/// Whether a backend's library is in the folder of any architecture.
fn installed(library: &str) -> bool {
    let Ok(folders) = fs::read_dir("/usr/lib") else { return false };
    let places = folders.flatten().map(|folder| folder.path()).chain([PathBuf::from("/usr/lib")]);
    places.map(|place| place.join("pdns").join(library)).any(|file| file.exists())
}

/// The empty SQLite database.
async fn create(scratch: &Path) -> Result<(), Error> {
    let schema = fs::read_to_string(SCHEMA)
        .map_err(|_| Error::Missing { program: SCHEMA.to_owned(), package: "pdns-backend-sqlite3" })?;
    let mut command = Command::new(find("sqlite3", "sqlite3")?);
    command.arg(scratch.join("pdns.sqlite3"));
    run(command, schema).await.map(drop)
}

/// Keys, zones and what the keys may do.
async fn fill(pdnsutil: &Path, scratch: &Path, setup: &Setup) -> Result<(), Error> {
    let call = |arguments: &[&str]| {
        let mut command = Command::new(pdnsutil);
        command.arg(format!("--config-dir={}", scratch.display())).args(arguments).current_dir(scratch);
        run(command, String::new())
    };
    for key in &setup.keys {
        call(&["import-tsig-key", &key.name, &key.algorithm, &key.secret]).await?;
    }
    let keys: Vec<_> = setup.keys.iter().map(|key| key.name.as_str()).collect();
    for zone in &setup.zones {
        let file = scratch.join("zones").join(zone.file_name());
        write(&file, &zone.file())?;
        call(&["load-zone", &zone.name, &file.to_string_lossy()]).await?;
        match zone.primary {
            None => call(&["set-kind", &zone.name, "primary"]).await?,
            Some(primary) => {
                call(&["set-kind", &zone.name, "secondary"]).await?;
                call(&["change-secondary-zone-primary", &zone.name, &primary.to_string()]).await?
            }
        };
        call(&["set-meta", &zone.name, "ALLOW-AXFR", "127.0.0.0/8"]).await?;
        if setup.allow_update {
            call(&[&["set-meta", &zone.name, "TSIG-ALLOW-DNSUPDATE"], keys.as_slice()].concat()).await?;
        }
        if setup.signed {
            call(&["secure-zone", &zone.name]).await?;
        }
        call(&["rectify-zone", &zone.name]).await?;
    }
    Ok(())
}
