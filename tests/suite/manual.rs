//! `dyngate man`: every command has its page, and what reads manual pages has nothing to complain of.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::command_line::run;

fn pages(folder: &Path) -> Vec<String> {
    let output = run(&["man", folder.to_str().unwrap()], "");
    assert_eq!((output.code, output.stdout.as_str(), output.stderr.as_str()), (Some(0), "", ""));
    let mut pages: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path().to_str().unwrap().to_owned()).collect();
    pages.sort();
    pages
}

/// What a program says of a page; `None` and a loud line where it is not installed.
fn said(program: &str, arguments: &[&str], page: &str) -> Option<String> {
    match Command::new(program).args(arguments).arg(page).env("LC_ALL", "C.UTF-8").env("MANWIDTH", "100").output() {
        Ok(output) => {
            Some(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("SKIPPED: {program} is not installed, the manual pages were not read with it");
            None
        }
        Err(error) => panic!("{program}: {error}"),
    }
}

#[test]
fn each_command_has_a_page_and_the_help_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("share/man/man1");
    let names: BTreeSet<_> = pages(&made).iter().map(|page| page.rsplit('/').next().unwrap().to_owned()).collect();
    let help = run(&["--help"], "").stdout;
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let commands = commands.lines().take_while(|line| !line.is_empty());
    let commands = commands.filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '));
    let mut expected: BTreeSet<_> =
        commands.map(|line| format!("dyngate-{}.1", line.split(' ').next().unwrap())).collect();
    expected.insert("dyngate.1".to_owned());
    assert!(expected.len() > 7);
    assert!(names.is_superset(&expected), "{expected:?} in {names:?}");
    let serve = fs::read_to_string(made.join("dyngate-serve.1")).unwrap();
    for words in [".TH DYNGATE-SERVE 1 ", "\\-\\-ready\\-file", "DYNGATE_CONFIG", "EXIT STATUS", ".BR dyngate (1)"] {
        assert!(serve.contains(words), "{words} in {serve}");
    }
}

#[test]
fn mandoc_finds_nothing_where_installed() {
    let folder = tempfile::tempdir().unwrap();
    for page in pages(folder.path()) {
        let Some(found) = said("mandoc", &["-T", "lint", "-W", "warning"], &page) else { return };
        // A page has no date, so that the same source makes the same page.
        let found: Vec<_> = found.lines().filter(|line| !line.contains("missing date")).collect();
        assert!(found.is_empty(), "{found:?}");
    }
}

#[test]
fn man_shows_them_without_a_warning_where_installed() {
    let folder = tempfile::tempdir().unwrap();
    for page in pages(folder.path()) {
        // -Z: no terminal's typesetting, so that all of standard error is groff's warnings.
        let Some(shown) = said("man", &["--warnings", "-E", "UTF-8", "-l", "-T", "utf8", "-Z"], &page) else { return };
        assert!(!shown.contains("warning") && !shown.contains("error:"), "{shown}");
        let shown = said("man", &["-l"], &page).unwrap();
        assert!(shown.contains("EXIT STATUS") && shown.contains("SYNOPSIS"), "{shown}");
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_1() {
    let output = run(&["man", "/dev/null/man1"], "");
    assert_eq!(output.code, Some(1));
    assert!(
        output.stderr.starts_with("dyngate: cannot write the manual pages into /dev/null/man1: "),
        "{}",
        output.stderr
    );
}
