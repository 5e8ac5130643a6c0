//! What is kept in the store is checked with the file: it is opened as it is, and its names are asked about.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};

use std::process::Command;

use serde_json::Value;

use crate::operating::{Stage, on_both};
use crate::stage::program;

/// Nobody has that name (RFC 6761 section 6.4).
const NOBODYS: &str = "[http]\nipv4_name = \"ipv4.gateway.invalid\"\nlisten";

#[tokio::test(flavor = "multi_thread")]
async fn a_name_of_one_family_that_nobody_has_is_found() {
    let stage = Stage::sqlite().await;
    let file = stage.path("gateway.toml");
    let toml = fs::read_to_string(&file).unwrap().replace("[http]\nlisten", NOBODYS);
    fs::write(&file, toml).unwrap();
    let report = check(&stage);
    assert_eq!(codes(&report), ["gateway_name_unknown"], "{report}");
    let what = report["findings"][0]["what"].as_str().unwrap();
    assert!(what.contains("[http] ipv4_name: ipv4.gateway.invalid"), "{what}");
}

on_both!(the_stores_names_are_asked_about, what_serve_refuses_of_the_store_is_found);

fn check(stage: &Stage) -> Value {
    // It holds the secret of the key.
    fs::set_permissions(stage.path("gateway.toml"), fs::Permissions::from_mode(0o600)).unwrap();
    let output = stage.run("check --json");
    let report: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{}", output.stderr));
    let errors = report["errors"].as_u64().unwrap();
    assert_eq!(output.code, Some(if errors > 0 { 2 } else { 0 }), "{report}");
    report
}

fn codes(report: &Value) -> Vec<&str> {
    report["findings"].as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap()).collect()
}

async fn the_stores_names_are_asked_about(stage: Stage) {
    // No store yet: the gateway will make it, and the check does not.
    let report = check(&stage);
    assert_eq!((codes(&report), &report["checked"][0]["names"]), (vec![], &2.into()));
    assert!(stage.postgres.is_some() || !fs::exists(stage.path("store.db")).unwrap(), "nothing is made");

    stage.done("account add alice --host a.dyn.example --host *.alice.dyn.example");
    let more = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500) \
                INSERT INTO host (name, login, ttl, families, description, blocked, created) \
                SELECT 'h' || i || '.dyn.example', 'alice', NULL, '46', '', NULL, 0 FROM n";
    stage.sql(more).await;
    stage
        .sql(
            "INSERT INTO host (name, login, ttl, families, description, blocked, created) \
             VALUES ('alias.dyn.example', 'alice', NULL, '4', '', NULL, 0)",
        )
        .await;
    stage.sql("INSERT INTO reserved (login, name) VALUES ('alice', 'x.sub.dyn.example')").await;
    let report = check(&stage);
    assert_eq!(report["checked"][0]["names"], 2506, "2 of the file, 2504 of the store");
    if stage.postgres.is_none() {
        let command = format!("{} check --config {}", program().display(), stage.path("gateway.toml"));
        let seen = Command::new("script").args(["-qec", &command, "/dev/null"]).output().unwrap();
        let seen = String::from_utf8_lossy(&seen.stdout).into_owned();
        assert!(seen.contains("2506 of 2506 names asked about"), "a person sees how far it is: {seen}");
    }
    let mut found = codes(&report);
    found.sort_unstable();
    assert_eq!(found, ["at_cname", "delegated"], "{report}");
}

async fn what_serve_refuses_of_the_store_is_found(stage: Stage) {
    stage.done("account add alice --host a.dyn.example");
    let secret = lab::digest("x");
    let declared = format!("[[account]]\nlogin = \"alice\"\nsecret = \"{secret}\"\nhosts = [\"a.dyn.example\"]");
    stage.configure("gateway.toml", &stage.url(), &declared);
    let report = check(&stage);
    assert_eq!(codes(&report), ["declared_and_stored"; 2]);
    for finding in report["findings"].as_array().unwrap() {
        assert!(finding["what"].as_str().unwrap().contains("--keep-records"), "no live record goes: {finding}");
    }
    stage.configure("gateway.toml", &stage.url(), "");

    stage.sql("UPDATE dyngate_migrations SET version = version + 1000").await;
    assert_eq!(codes(&check(&stage)), ["store"], "a later version's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_the_gateway_cannot_write_is_found() {
    let stage = Stage::sqlite().await;
    stage.done("account add alice");
    let (file, folder) = (stage.path("store.db"), stage.folder.path());
    if fs::metadata(folder).unwrap().uid() == 0 {
        // What root leaves behind in the folder of the gateway's user.
        chown(folder, Some(65_534), None).unwrap();
        assert_eq!(codes(&check(&stage)), ["store_owner"]);
        chown(&file, Some(65_534), None).unwrap();
    } else {
        fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).unwrap();
        assert_eq!(codes(&check(&stage)), ["store_not_writable"]);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }
    assert_eq!(codes(&check(&stage)), [""; 0]);
    // As before the first start under systemd, which makes it: `serve` is not to be despaired of.
    stage.configure("gateway.toml", "sqlite:none/store.db", "");
    let report = check(&stage);
    assert_eq!((codes(&report), &report["errors"]), (vec!["store_folder"], &0.into()));
    stage.configure("gateway.toml", &stage.url(), "");
    fs::write(&file, "no database, but longer than the first octets of one").unwrap();
    assert_eq!(codes(&check(&stage)), ["store"]);
}
