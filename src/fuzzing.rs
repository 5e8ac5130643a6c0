//! What fuzzers drive and the tests replay: every parser of foreign bytes, with what must hold whatever comes. Built for
//! `cargo fuzz` and for tests only; never a part of the program.

use crate::config;
use crate::dns;
use crate::net;
use crate::public;

/// A target takes any octets and panics where what it promises does not hold.
pub type FuzzTarget = fn(&[u8]);

/// All targets by name: `fuzz/fuzz_targets/NAME.rs` runs one, `fuzz/corpus/NAME/` holds its inputs.
pub const TARGETS: [(&str, FuzzTarget); 12] = [
    ("authorization", public::fuzzing::authorization),
    ("challenge", public::fuzzing::challenge),
    ("configuration", config::fuzzing::configuration),
    ("connection", public::fuzzing::connection),
    ("dialects", public::fuzzing::dialects),
    ("forwarding", net::fuzzing::forwarding),
    ("frames", dns::fuzzing::frames),
    ("key_file", config::fuzzing::key_file),
    ("name", dns::fuzzing::name),
    ("proxy_header", net::fuzzing::proxy_header),
    ("reply", dns::fuzzing::reply),
    ("update", public::fuzzing::update),
];

/// Runs the target `name` once.
///
/// # Panics
/// There is no such target, or it found something.
pub fn run(name: &str, octets: &[u8]) {
    match TARGETS.iter().find(|(known, _)| *known == name) {
        Some((_, target)) => target(octets),
        None => panic!("no target {name}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::panic::catch_unwind;
    use std::path::{Path, PathBuf};

    use super::*;

    /// What is in the folder `name` of the fuzz crate.
    fn list(name: &str) -> Vec<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name);
        let mut found: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        found.sort();
        found
    }

    fn stems(paths: &[PathBuf]) -> BTreeSet<&str> {
        paths.iter().map(|path| path.file_stem().unwrap().to_str().unwrap()).collect()
    }

    #[test]
    fn every_target_has_its_program_and_its_corpus_and_no_other_has() {
        let targets = TARGETS.iter().map(|(name, _)| *name).collect();
        assert_eq!(stems(&list("fuzz_targets")), targets);
        assert_eq!(stems(&list("corpus")), targets);
        let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/Cargo.toml")).unwrap();
        for name in targets {
            assert!(manifest.contains(&format!("[[bin]]\nname = \"{name}\"\n")), "{name} is not in fuzz/Cargo.toml");
        }
    }

    #[test]
    fn the_whole_corpus_holds_what_the_targets_promise() {
        let mut broken = Vec::new();
        for (name, target) in TARGETS {
            let inputs = list(&format!("corpus/{name}"));
            assert!((1..=200).contains(&inputs.len()), "{name} has {} inputs", inputs.len());
            for path in inputs {
                let octets = fs::read(&path).unwrap();
                assert!(octets.len() <= 4096, "{} is larger than 4 KiB", path.display());
                if catch_unwind(|| target(&octets)).is_err() {
                    broken.push(path);
                }
            }
        }
        assert!(broken.is_empty(), "{broken:?}");
    }

    #[test]
    fn no_target_is_upset_by_nothing_at_all_or_by_noise() {
        let noise: Vec<u8> = (0..=255).cycle().take(4096).map(|octet: u8| octet.wrapping_mul(167) ^ 0x5a).collect();
        for (name, _) in TARGETS {
            for end in [0, 1, 2, 3, 12, 255, 4096] {
                run(name, &noise[..end]);
            }
        }
    }
}
