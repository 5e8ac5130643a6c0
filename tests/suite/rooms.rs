//! The order of the rooms: a module imports only modules of a later row (docs/ARCHITECTURE.md).

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

const ROWS: [&[&str]; 12] = [
    &["main", "cli", "fuzzing"],
    &["demo"],
    &["app"],
    &["public", "api"],
    &["net"],
    &["gateway", "check", "operator", "guide"],
    &["auth", "limit"],
    &["registry"],
    &["engine", "store"],
    &["dns"],
    &["config"],
    &["metrics"],
];

/// `model` comes last and imports nothing of ours.
fn row(room: &str) -> usize {
    ROWS.iter().position(|row| row.contains(&room)).unwrap_or_else(|| {
        assert_eq!(room, "model", "a room without a row");
        ROWS.len()
    })
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn all() -> Vec<(String, PathBuf, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources(&src, &mut paths);
    assert!(paths.len() > 30, "the sources were found");
    let read = |path: PathBuf| {
        let inside = path.strip_prefix(&src).unwrap().to_owned();
        let room = inside.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned();
        (room, inside, fs::read_to_string(&path).unwrap())
    };
    paths.into_iter().map(read).collect()
}

#[test]
fn a_room_imports_only_from_later_rows() {
    for (room, path, text) in all().into_iter().filter(|(room, ..)| room != "lib") {
        for import in text.split("crate::").skip(1) {
            let name: String = import.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            assert!(name == room || row(&name) > row(&room), "{} reaches up to {name}", path.display());
        }
    }
}

#[test]
fn the_gateway_speaks_of_accounts_and_changes_and_never_of_rows() {
    for (_, path, text) in all().into_iter().filter(|(room, ..)| room == "gateway") {
        assert!(!text.contains("crate::store"), "{} knows the store", path.display());
    }
}

#[test]
fn only_dns_knows_hickory_and_only_what_serves_http_knows_hyper() {
    for (room, path, text) in all() {
        let uses = |name: &str| text.contains(&format!("use {name}"));
        assert!(room == "dns" || !uses("hickory"), "{} uses hickory", path.display());
        let may_use_hyper = ["public", "api", "net", "app"].contains(&room.as_str());
        assert!(may_use_hyper || !uses("hyper"), "{} uses hyper", path.display());
    }
}

#[test]
fn each_file_begins_with_its_job_and_stays_readable() {
    for (_, path, text) in all() {
        assert!(text.starts_with("//! "), "{} does not begin with its job", path.display());
        let lines = text.lines().count();
        assert!(lines <= 900, "{} has {lines} lines", path.display());
    }
}

#[test]
fn a_type_is_read_in_few_places() {
    let mut files: HashMap<(String, String), HashSet<PathBuf>> = HashMap::new();
    for (room, path, text) in all() {
        for line in text.lines().filter(|line| line.starts_with("impl") && !line.contains(" for ")) {
            let name = line.split(' ').nth(1).and_then(|name| name.split('<').next()).unwrap();
            files.entry((room.clone(), name.to_owned())).or_default().insert(path.clone());
        }
    }
    assert!(files.len() > 100, "types were found");
    for ((room, name), files) in files {
        assert!(files.len() <= 4, "{name} of {room} has its methods in {files:?}");
    }
}
