//! `dyngate account`, for people and for scripts.

use super::{Stage, keys, on_both};

on_both!(an_account_is_added_granted_disabled_rotated_and_removed, people_read_a_table_and_a_block);

async fn an_account_is_added_granted_disabled_rotated_and_removed(stage: Stage) {
    let added = stage.json("account add alice --host a.dyn.example --host *.b.dyn.example --max-hosts 7");
    assert_eq!(keys(&added), ["login", "secret"]);
    assert_eq!(added["login"], "alice");
    let secret = added["secret"].as_str().unwrap();
    assert!(secret.split('-').count() == 8 && secret.len() == 39, "{secret}");
    let export = stage.done("export");
    assert!(export.contains(&lab::digest(secret)) && !export.contains(secret), "kept as a digest");

    let shown = stage.json("account show alice");
    assert_eq!(keys(&shown), ["created", "declared", "enabled", "hosts", "login", "max_hosts"]);
    assert_eq!(shown["hosts"], serde_json::json!(["a.dyn.example", "*.b.dyn.example"]));
    assert_eq!((&shown["max_hosts"], &shown["enabled"], &shown["declared"]), (&7.into(), &true.into(), &false.into()));
    let created = shown["created"].as_str().unwrap();
    assert!(created.starts_with("20") && created.ends_with('Z') && created.len() == 24, "{created}");

    let hosts = |words: &str| stage.json(words)["hosts"].clone();
    let granted = hosts("account grant alice c.dyn.example *.d.dyn.example a.dyn.example");
    assert_eq!(granted, serde_json::json!(["a.dyn.example", "c.dyn.example", "*.b.dyn.example", "*.d.dyn.example"]));
    assert_eq!(stage.json("host show c.dyn.example")["account"], "alice", "an exact grant is a host");
    let revoked = hosts("account revoke alice a.dyn.example *.b.dyn.example");
    assert_eq!(revoked, serde_json::json!(["c.dyn.example", "*.d.dyn.example"]));
    assert_eq!(stage.sql("SELECT COUNT(*) FROM pending").await.trim(), "0", "its records stay");

    assert_eq!(stage.json("account disable alice")["enabled"], false);
    assert_eq!(stage.json("account enable alice")["enabled"], true);

    let rotated = stage.json("account rotate alice --keep-old 1h");
    assert_eq!(keys(&rotated), ["login", "secret"]);
    assert_ne!(rotated["secret"], added["secret"]);
    assert!(stage.done("export").contains(&lab::digest(secret)), "the old one serves for an hour");
    stage.json("account rotate alice");
    assert!(!stage.done("export").contains(&lab::digest(secret)), "the old one is gone at once");
    let chosen = stage.run_with("account rotate alice --password-stdin --json", "hunter2\n");
    assert_eq!((chosen.code, chosen.stdout.as_str()), (Some(0), "{\"login\":\"alice\",\"secret\":null}\n"));
    let export = stage.done("export");
    assert!(export.contains("$argon2id$v=19$m=19456,t=2,p=1$") && !export.contains("hunter2"));

    let all = stage.json("account list");
    let logins: Vec<_> = all.as_array().unwrap().iter().map(|account| account["login"].as_str().unwrap()).collect();
    assert_eq!(logins, ["router1", "alice"]);
    assert_eq!(all[0]["declared"], true);

    let removed = stage.run("account remove alice --json");
    assert_eq!(removed.code, Some(0), "{}", removed.stderr);
    assert!(removed.stderr.contains("account alice is removed, with 1 host"), "{}", removed.stderr);
    assert!(removed.stderr.contains("their records: waits for the gateway"), "{}", removed.stderr);
    assert!(removed.stdout.contains("\"hosts\":[\"c.dyn.example\",\"*.d.dyn.example\"]"), "{}", removed.stdout);
    assert_eq!(stage.sql("SELECT DISTINCT name FROM pending").await.trim(), "c.dyn.example");
    stage.refused("account show alice", 64, &["there is no account \"alice\""]);
}

async fn people_read_a_table_and_a_block(stage: Stage) {
    let added = stage.done("account add alice --host *.b.dyn.example");
    assert!(added.starts_with("account alice was added\n  secret  "), "{added}");
    assert_eq!(added.lines().count(), 2);
    assert!(added.contains("shown this once"), "{added}");
    let table = stage.done("account list");
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert!(lines[0].starts_with("LOGIN    HOSTS "), "{table}");
    assert!(lines[1].starts_with("router1  home.dyn.example, *.office.dyn.example  100 "), "{table}");
    assert!(lines[2].starts_with("alice    *.b.dyn.example "), "{table}");
    let block = stage.done("account show router1");
    assert!(block.contains("\n  kept in    file\n"), "{block}");
}
