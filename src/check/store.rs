//! The store as a gateway would find it at its start: whether it can be opened and written, and agrees with the file. Its names
//! are asked about too. Changes nothing.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::secrets::store_files;
use super::{Advice, Finding, NamesByZone};
use crate::config::{Config, Location};
use crate::model::Families;
use crate::registry::clashes;
use crate::store::{Store, StoreError};

/// Names of the store that are asked about, and those that are read at once.
const MOST: usize = 20_000;
const PAGE: usize = 1000;

pub(super) async fn examine(config: &Config, names: &mut NamesByZone<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Location::Sqlite(file) = &config.store.location {
        findings.extend(not_writable(file).or_else(|| foreign(file)));
    }
    let store = match Store::open_read_only(&config.store.location).await {
        Ok(store) => store,
        // A gateway makes it.
        Err(StoreError::Memory | StoreError::Missing(_)) => return findings,
        // A gateway brings it to its version.
        Err(StoreError::Older { .. }) => {
            let what = "the store is of an older dyngate: a gateway of this version brings it to its own at its start, after \
                        which the older one cannot use it; its names were not asked about";
            let keep = Advice::new("shell", "dyngate export FILE    # with the older version, to be able to go back");
            findings.push(Finding::warning("store_older", what, vec![keep]));
            return findings;
        }
        // Of a file that cannot be written this is the same once more.
        Err(StoreError::Denied { .. } | StoreError::NoFolder(_)) if !findings.is_empty() => return findings,
        Err(error) => {
            findings.push(Finding::error("store", error.to_string(), Vec::new()));
            return findings;
        }
    };
    match read(&store, names).await {
        Ok(found) => findings.extend(found),
        Err(error) => findings.push(Finding::error("store", error.to_string(), Vec::new())),
    }
    store.close().await;
    findings
}

/// What file and store both have; adds the store's names, those below its wildcards among them.
async fn read(store: &Store, names: &mut NamesByZone<'_>) -> Result<Vec<Finding>, StoreError> {
    let clashes = clashes(store, &names.declared).await?;
    let mut findings: Vec<_> =
        clashes.into_iter().map(|what| Finding::error("declared_and_stored", what, Vec::new())).collect();
    let mut room = MOST;
    let mut after = None;
    loop {
        let page = store.accounts(after.as_deref(), PAGE).await?;
        page.iter().flat_map(|account| &account.wildcards).for_each(|above| names.add_below(above));
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.login.to_string()),
            _ => break,
        }
    }
    let mut after = None;
    while room > 0 {
        let page = store.hosts(None, after.as_ref(), PAGE.min(room)).await?;
        room -= page.len();
        after = page.last().map(|last| last.name.clone());
        for host in page {
            names.add_beside(&host.name, &host.extras);
            names.add(host.name, host.families);
        }
        if after.is_none() {
            break;
        }
    }
    let mut after = None;
    while room > 0 {
        let page = store.reservations().page(None, after.as_ref(), PAGE.min(room)).await?;
        room -= page.len();
        after = page.last().map(|(last, _)| last.clone());
        page.into_iter().for_each(|(name, _)| names.add(name, Families::Both));
        if after.is_none() {
            break;
        }
    }
    if room == 0 {
        let what = format!("the store has more names than {MOST}: the others were not asked about");
        findings.push(Finding::warning("not_all_asked", what, Vec::new()));
    }
    Ok(findings)
}

/// Neither is anything left behind in the folder, nor is the file changed.
fn not_writable(file: &Path) -> Option<Finding> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Before the first start under systemd there is none.
    if folder.metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        let folder = folder.display();
        let what = format!(
            "the store's folder {folder} does not exist: a unit with StateDirectory= makes it at its start, and who starts the \
             gateway otherwise must make it, for the user that it runs as"
        );
        return Some(Finding::warning(
            "store_folder",
            what,
            vec![Advice::new("shell", format!("mkdir -m 700 {folder}"))],
        ));
    }
    let there = fs::exists(file).unwrap_or(true);
    let opened = if there { OpenOptions::new().append(true).open(file).map(drop) } else { Ok(()) };
    let (place, error) = match (opened, tempfile::tempfile_in(folder)) {
        (Err(error), _) => (file, error),
        (Ok(()), Err(error)) => (folder, error),
        (Ok(()), Ok(_)) => return None,
    };
    let place = place.display();
    let user = rustix::process::geteuid().as_raw();
    let what = format!(
        "the store cannot be written: {place}: {error}; the user that dyngate runs as must be able to write the file and its \
         folder, and this was asked as user {user}"
    );
    Some(Finding::error("store_not_writable", what, vec![Advice::new("shell", format!("ls -ld {place}"))]))
}

/// Root may write everything: a file that it left behind in another user's folder is closed to that user.
fn foreign(file: &Path) -> Option<Finding> {
    let folder = file.parent()?;
    let owner = folder.metadata().ok()?.uid();
    let foreign = |file: &Path| file.metadata().is_ok_and(|found| found.uid() != owner);
    let file = store_files(file).into_iter().find(|file| foreign(file)).filter(|_| owner != 0)?;
    let (file, folder) = (file.display(), folder.display());
    let what =
        format!("{file} belongs to another user than its folder: a gateway that runs as the folder's cannot write it");
    let advice = Advice::new("shell", format!("chown --reference={folder} {file}"));
    Some(Finding::error("store_owner", what, vec![advice]))
}
