//! `dyngate export` and `dyngate import`: all of it or nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::{Stage, on_both};

on_both!(what_goes_out_comes_in_again, one_bad_line_and_nothing_is_applied, what_the_file_declares_does_not_come_in);

async fn what_goes_out_comes_in_again(stage: Stage) {
    stage.done("account add alice --host a.dyn.example");
    stage.done("host token a.dyn.example");
    let written = stage.run(&format!("export {}", stage.path("out.jsonl")));
    assert_eq!((written.code, written.stdout.as_str()), (Some(0), ""), "{}", written.stderr);
    let mode = fs::metadata(stage.path("out.jsonl")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "digests of secrets are nobody else's");
    let text = fs::read_to_string(stage.path("out.jsonl")).unwrap();
    assert_eq!(text, stage.done("export"));
    let left: Vec<_> = fs::read_dir(stage.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("export-")), "{left:?}");

    stage.configure("other.toml", "sqlite:other.db", "");
    let run = |words: &str, input: &str| {
        let other = stage.path("other.toml");
        let words: Vec<_> = words.split(' ').chain(["--config", &other]).collect();
        crate::command_line::run(&words, input)
    };
    let imported = run("import - --json", &text);
    assert_eq!(imported.stdout, "{\"accounts\":1,\"hosts\":1,\"tokens\":1}\n", "{}", imported.stderr);
    assert_eq!(run("export", "").stdout, text);
    let again = run(&format!("import {}", stage.path("out.jsonl")), "");
    assert_eq!(again.code, Some(64));
    assert!(again.stderr.contains("account \"alice\" of line 2 is already in the store"), "{}", again.stderr);
    let nowhere = stage.run("export /nowhere/out.jsonl");
    assert!(
        nowhere.code == Some(64) && nowhere.stderr.contains("cannot write /nowhere/out.jsonl"),
        "{}",
        nowhere.stderr
    );
    stage.refused("import /nowhere/in.jsonl", 64, &["cannot read /nowhere/in.jsonl"]);
    assert_eq!(stage.done("export /dev/stdout").lines().count(), text.lines().count());
}

const START: &str = "{\"kind\":\"dyngate-export\",\"version\":2}\n";

fn account(login: &str) -> String {
    let secret = lab::digest("x");
    format!(
        "{{\"kind\":\"account\",\"login\":\"{login}\",\"secrets\":[{{\"digest\":\"{secret}\",\"expires\":null}}],\
         \"wildcards\":[],\"max_hosts\":1,\"enabled\":true,\"created\":0}}\n"
    )
}

fn host(name: &str) -> String {
    format!(
        "{{\"kind\":\"host\",\"name\":\"{name}\",\"account\":\"bob\",\"ttl\":null,\"families\":\"46\",\
         \"description\":\"\",\"blocked\":null,\"created\":0}}\n"
    )
}

fn refused(stage: &Stage, text: &str, words: &[&str]) {
    fs::write(stage.path("in.jsonl"), text).unwrap();
    stage.refused(&format!("import {}", stage.path("in.jsonl")), 64, words);
    assert_eq!(stage.json("account list").as_array().unwrap().len(), 1, "nothing was imported");
}

async fn one_bad_line_and_nothing_is_applied(stage: Stage) {
    let good = format!("{START}{}", account("bob"));
    refused(&stage, &format!("{good}nonsense\n"), &["line 3: ", "nothing was imported"]);
    refused(&stage, &format!("{good}{}", host("a..dyn.example")), &["line 3: ", "nothing was imported"]);
    refused(&stage, &format!("{good}{}", account("bob")), &["account \"bob\" of line 3"]);
    refused(&stage, &account("bob"), &["line 1: ", "not an export"]);
    refused(&stage, "", &["line 1: ", "it is empty"]);
    refused(&stage, &good.replace("\"version\":2", "\"version\":3"), &["line 1: ", "version 3"]);
    fs::write(stage.path("in.jsonl"), format!("{good}{}", host("a.elsewhere.example"))).unwrap();
    let imported = stage.run(&format!("import {}", stage.path("in.jsonl")));
    assert_eq!((imported.code, imported.stdout.as_str()), (Some(0), "imported: 1 account, 1 host, 0 URL tokens\n"));
    assert!(imported.stderr.contains("no [[zone]] of the configuration holds 1 host"), "{}", imported.stderr);
}

async fn what_the_file_declares_does_not_come_in(stage: Stage) {
    refused(
        &stage,
        &format!("{START}{}{}", account("bob"), account("router1")),
        &["line 3: account \"router1\" is declared in"],
    );
    refused(
        &stage,
        &format!("{START}{}{}", account("bob"), host("home.dyn.example")),
        &["line 3: host home.dyn.example of account"],
    );
}
