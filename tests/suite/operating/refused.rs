//! What is not done, with the words that say so: nothing is changed.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Stdio;

use lab::Kind;

use super::{Stage, on_both};
use crate::stage::on_every_primary;

on_both!(
    what_the_file_declares_is_not_changed,
    what_cannot_be_a_host_is_refused,
    a_refused_command_leaves_what_another_promised,
    a_clash_is_mended_by_removing,
);

on_every_primary!(a_name_is_asked_about_at_its_primary);

async fn a_name_is_asked_about_at_its_primary(kind: Kind) {
    let stage = Stage::new(kind, None).await;
    stage.done("account add bob");
    for (name, words) in [
        ("taken.dyn.example", "has 192.0.2.80, 2001:db8::80 in the zone already"),
        ("alias.dyn.example", "stands at a CNAME record"),
        ("sub.dyn.example", "stands at a delegation"),
        ("x.sub.dyn.example", "lies below the delegation at sub.dyn.example"),
        ("x.renamed.dyn.example", "lies below the DNAME record at renamed.dyn.example"),
        ("x.inner.dyn.example", "lies in inner.dyn.example, a zone of its own"),
    ] {
        stage.refused(&format!("host add {name} --account bob"), 64, &[words]);
    }
    for free in ["x.dyn.example", "dyn.example", "x.lent.dyn.example"] {
        stage.done(&format!("host add {free} --account bob"));
    }
    stage.sql("INSERT INTO reserved (login, name) VALUES ('router1', 'taken.dyn.example')").await;
    stage.refused("host add taken.dyn.example --account bob", 64, &["a router of account \"router1\" keeps them up"]);
    stage.done("host add taken.dyn.example --account bob --adopt");
}

async fn what_the_file_declares_is_not_changed(stage: Stage) {
    let file = stage.path("gateway.toml");
    let declared = format!("is declared in {file}: ");
    for command in [
        "account add router1",
        "account enable router1",
        "account disable router1",
        "account remove router1",
        "account grant router1 a.dyn.example",
        "account revoke router1 home.dyn.example",
        "account rotate router1",
        "host add a.dyn.example --account router1",
        "host set home.dyn.example --ttl 60",
        "host block home.dyn.example --reason spam",
        "host unblock home.dyn.example",
        "host token home.dyn.example",
        "host remove home.dyn.example",
    ] {
        stage.refused(command, 64, &[&declared]);
    }
    stage.done("account add alice");
    stage.refused("host add home.dyn.example --account alice", 64, &["host home.dyn.example of account", &declared]);
    stage.refused("account grant alice home.dyn.example", 64, &[&declared]);
    stage.refused("account add bob --host home.dyn.example", 64, &[&declared]);
    assert_eq!(stage.json("account list").as_array().unwrap().len(), 2);
}

async fn what_cannot_be_a_host_is_refused(mut stage: Stage) {
    stage.done("account add alice --host a.dyn.example");
    stage.done("account add bob");
    let add = |name: &str, more: &str| format!("host add {name} --account bob{more}");
    for (command, words) in [
        (add("a.other.example", ""), "no [[zone]] of "),
        (add("a.dyn.example", ""), "is a host of account \"alice\" already"),
        (add("alias.dyn.example", ""), "stands at a CNAME record"),
        (add("sub.dyn.example", ""), "stands at a delegation"),
        (add("x.sub.dyn.example", ""), "lies below the delegation at sub.dyn.example"),
        (add("x.renamed.dyn.example", ""), "lies below the DNAME record at renamed.dyn.example"),
        (add("alias.dyn.example", " --adopt"), "stands at a CNAME record"),
        (add("taken.dyn.example", ""), "has 192.0.2.80, 2001:db8::80 in the zone already"),
        (add("taken.dyn.example", ""), "--adopt"),
        (add("x.dyn.example", " --ttl 2147483648"), "0..=2147483647"),
        (add("x.dyn.example", " --ttl -1"), "0..=2147483647"),
        (add("x.dyn.example", " --address 10.0.0.1"), "10.0.0.1 is refused"),
        (add("x.dyn.example", " --address 192.0.2.1 --address 192.0.2.2"), "are of one family"),
        (add("x.dyn.example", " --address nonsense"), "invalid IP address"),
        (add("x", ""), "not fully qualified"),
        (add("-.dyn.example", ""), ""),
        (add("a..dyn.example", ""), "a label is empty"),
        (add("*.dyn.example", ""), "is not one name"),
        ("host add x.dyn.example --account nobody".to_owned(), "there is no account \"nobody\""),
        ("account grant bob *.other.example".to_owned(), "no [[zone]] of "),
        ("account grant bob a.dyn.example".to_owned(), "is a host of account \"alice\" already"),
        ("account grant bob alias.dyn.example *.x.dyn.example".to_owned(), "stands at a CNAME record"),
        ("account grant bob taken.dyn.example".to_owned(), "in the zone already"),
        ("account add carl --host alias.dyn.example".to_owned(), "stands at a CNAME record"),
        ("account revoke bob a.dyn.example".to_owned(), "there is no grant of a.dyn.example"),
        ("account revoke bob *.x.dyn.example".to_owned(), "there is no grant of *.x.dyn.example"),
        ("account add alice".to_owned(), "account \"alice\" is already in the store"),
        ("account add a:b".to_owned(), "a colon"),
        ("account add carl --max-hosts 0".to_owned(), "1..="),
        ("account rotate alice --keep-old 1w".to_owned(), "ms, s, m, h or d"),
        ("account show nobody".to_owned(), "there is no account \"nobody\""),
        ("host show x.dyn.example".to_owned(), "there is no host x.dyn.example"),
        ("host history x.dyn.example".to_owned(), "there is no host x.dyn.example"),
        ("host list --account nobody".to_owned(), "there is no account \"nobody\""),
        ("host set a.dyn.example".to_owned(), "--ttl"),
        ("host set a.dyn.example --families ipv5".to_owned(), "ipv5"),
        ("host token a.dyn.example --revoke --keep-old 1h".to_owned(), "cannot be used with"),
    ] {
        stage.refused(&command, 64, &[words]);
    }
    let long = "x".repeat(201);
    stage.refused(
        &add("x.dyn.example", &format!(" --description {long}")),
        64,
        &["the description is longer than 200"],
    );
    let empty = stage.run_words(&["host", "block", "a.dyn.example", "--reason", ""], "");
    assert_eq!(empty.code, Some(64), "{}", empty.stderr);
    assert_eq!(stage.json("host list").as_array().unwrap().len(), 2, "nothing half done");
    assert_eq!(stage.json("account show bob")["hosts"], serde_json::json!([]));

    stage.primary.stop().await.unwrap();
    let words = ["no primary of zone dyn.example answers", "dyngate check", "nothing was changed"];
    stage.refused(&add("x.dyn.example", ""), 1, &words);
    stage.refused(&add("x.dyn.example", " --adopt"), 1, &words);
    stage.done("account grant bob *.x.dyn.example");
}

/// A host that was removed takes its records with it, whatever is tried with its name before a gateway has done so.
async fn a_refused_command_leaves_what_another_promised(stage: Stage) {
    stage.done("account add alice --host a.dyn.example");
    stage.done("account add bob");
    let removed = stage.run("host remove a.dyn.example");
    assert!(removed.stderr.contains("its records: waits for the gateway"), "{}", removed.stderr);
    let long = "x".repeat(201);
    let wildcards: Vec<_> = (0..=1000).map(|number| format!("*.w{number}.dyn.example")).collect();
    for command in [
        "account add a:b --host a.dyn.example".to_owned(),
        "account add alice --host a.dyn.example".to_owned(),
        format!("account add carl --host a.dyn.example --host {}", wildcards.join(" --host ")),
        format!("account grant bob a.dyn.example {}", wildcards.join(" ")),
        "account grant bob a.dyn.example alias.dyn.example".to_owned(),
        format!("host add a.dyn.example --account bob --description {long}"),
        "host add a.dyn.example --account nobody".to_owned(),
        "host add a.dyn.example --account bob --address 10.0.0.1".to_owned(),
    ] {
        stage.refused(&command, 64, &[""]);
        let pending = stage.sql("SELECT name, rtype, COALESCE(data, '-') FROM pending ORDER BY rtype").await;
        assert_eq!(pending.trim(), "a.dyn.example|A|-\na.dyn.example|AAAA|-", "{command}");
    }
    assert_eq!(stage.json("account show bob")["hosts"], serde_json::json!([]));
    stage.done("account grant bob a.dyn.example *.b.dyn.example");
    assert_eq!(stage.sql("SELECT COUNT(*) FROM pending").await.trim(), "0", "the new host keeps its records");
}

async fn a_clash_is_mended_by_removing(stage: Stage) {
    stage.done("account add bob --host b.dyn.example");
    let secret = lab::digest("x");
    let more = format!("[[account]]\nlogin = \"bob\"\nsecret = \"{secret}\"\nhosts = [\"b.dyn.example\"]");
    stage.configure("gateway.toml", &stage.url(), &more);
    stage.refused("host remove b.dyn.example", 64, &["--keep-records"]);
    assert_eq!(stage.json("host remove b.dyn.example --keep-records")["account"], "bob");
    assert_eq!(stage.json("account remove bob --keep-records")["login"], "bob");
    stage.refused("account remove bob", 64, &["is declared in"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_store_there_is_nothing_to_command() {
    let stage = Stage::sqlite().await;
    stage.configure("gateway.toml", "memory:", "");
    for command in ["account list", "host list", "host show home.dyn.example", "export", "import /dev/null"] {
        stage.refused(command, 64, &["there is no store", "[store] url"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_serve_says_why() {
    let stage = Stage::sqlite().await;
    stage.configure("gateway.toml", "sqlite:nowhere/store.db", "");
    stage.refused("account list", 1, &["nowhere", "does not exist"]);
    stage.configure("gateway.toml", "sqlite:store.db", "");
    for command in ["account list", "account show alice", "host list", "host show home.dyn.example", "export"] {
        stage.refused(command, 1, &["there is no store at", "store.db yet: the gateway makes it at its start"]);
    }
    assert!(!std::fs::exists(stage.path("store.db")).unwrap(), "a command that reads makes none");
    stage.done("account add alice");
    let is_root = std::fs::metadata(stage.folder.path()).unwrap().uid() == 0;
    if is_root {
        // What root makes in the folder of the gateway's user is that user's, or no gateway could start.
        let folder = stage.folder.path().join("theirs");
        std::fs::create_dir(&folder).unwrap();
        std::os::unix::fs::chown(&folder, Some(65_534), Some(65_534)).unwrap();
        stage.configure("gateway.toml", "sqlite:theirs/store.db", "");
        stage.done("account add alice");
        for file in std::fs::read_dir(&folder).unwrap() {
            let file = file.unwrap();
            assert_eq!(file.metadata().unwrap().uid(), 65_534, "{}", file.path().display());
        }
        stage.configure("gateway.toml", "sqlite:store.db", "");
    }

    let mut holder = std::process::Command::new("sqlite3")
        .arg(stage.path("store.db"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("sqlite3");
    {
        use std::io::{BufRead as _, Write as _};
        let input = holder.stdin.as_mut().unwrap();
        input.write_all(b"BEGIN EXCLUSIVE;\nSELECT 'held';\n").unwrap();
        let mut line = String::new();
        std::io::BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "held\n");
    }
    stage.refused("account disable alice", 1, &["locked"]);
    holder.kill().unwrap();
    holder.wait().unwrap();

    stage.sql("UPDATE dyngate_migrations SET version = 9999 WHERE version = 1").await;
    stage.refused("account disable alice", 1, &["newer dyngate", "nothing was changed"]);
    std::fs::write(stage.path("store.db"), "not a database, surely").unwrap();
    std::fs::set_permissions(stage.path("store.db"), std::fs::Permissions::from_mode(0o600)).unwrap();
    for more in ["store.db-wal", "store.db-shm"] {
        let _none = std::fs::remove_file(stage.path(more));
    }
    stage.refused("account list", 1, &["is not an SQLite database"]);
}
