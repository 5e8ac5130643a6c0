//! `dyngate host`, for people and for scripts.

use super::{Stage, keys, on_both};

on_both!(
    a_host_is_added_set_blocked_and_removed,
    its_address_is_wanted_of_the_gateway,
    what_was_seen_is_shown,
    names_below_wildcards_are_told,
    a_token_is_handed_out_once_and_taken_back,
    a_host_moves_with_all_that_is_its_own,
    what_few_hosts_have_is_set_and_shown,
    two_commands_at_once_both_succeed,
);

const KEYS: [&str; 21] = [
    "account",
    "agent",
    "blocked",
    "declared",
    "description",
    "families",
    "follow",
    "from",
    "interface_id",
    "ipv4",
    "ipv6",
    "last_outcome",
    "last_seen",
    "last_update",
    "mx",
    "name",
    "offline",
    "prefix_from",
    "ptr",
    "ttl",
    "wildcard",
];

async fn a_host_is_added_set_blocked_and_removed(stage: Stage) {
    stage.done("account add alice");
    let added = stage.json("host add a.dyn.example --account alice --ttl 300 --description Attic");
    assert_eq!(keys(&added), KEYS);
    assert_eq!((&added["name"], &added["account"]), (&"a.dyn.example".into(), &"alice".into()));
    assert_eq!((&added["ttl"], &added["description"]), (&300.into(), &"Attic".into()));
    assert_eq!(added["families"], serde_json::json!(["ipv4", "ipv6"]));
    for key in ["blocked", "ipv4", "ipv6", "last_update", "last_seen", "last_outcome", "agent", "from", "follow"] {
        assert!(added[key].is_null(), "{key}");
    }
    assert_eq!(added["declared"], false);
    assert_eq!(stage.json("host show A.DYN.example."), added);
    let apex = stage.json("host add dyn.example --account alice");
    assert_eq!(apex["name"], "dyn.example", "the apex is fine where it is granted by name");

    let set = stage.json("host set a.dyn.example --ttl zone --families ipv6 --description Cellar");
    assert_eq!((&set["ttl"], &set["description"]), (&serde_json::Value::Null, &"Cellar".into()));
    assert_eq!(set["families"], serde_json::json!(["ipv6"]));
    let blocked = stage.run_words(&["host", "block", "a.dyn.example", "--reason", "not paid", "--json"], "");
    assert!(blocked.stdout.contains("\"blocked\":\"not paid\""), "{}", blocked.stderr);
    assert!(stage.done("host list").contains("blocked: not paid"));
    assert!(stage.json("host unblock a.dyn.example")["blocked"].is_null());

    let names = |words: &str| -> Vec<String> {
        let list = stage.json(words);
        list.as_array().unwrap().iter().map(|host| host["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("host list"), ["home.dyn.example", "a.dyn.example", "dyn.example"]);
    assert_eq!(names("host list --account alice"), ["a.dyn.example", "dyn.example"]);
    assert_eq!(names("host list --account router1"), ["home.dyn.example"]);

    let kept = stage.run("host remove dyn.example --keep-records --json");
    assert_eq!(kept.code, Some(0), "{}", kept.stderr);
    let pending = stage.sql("SELECT name, rtype, COALESCE(data, '-') FROM pending").await;
    assert_eq!(pending.trim(), "a.dyn.example|A|-", "the family that it may not have, and nothing of what was kept");
    let removed = stage.run("host remove a.dyn.example --json");
    assert!(removed.stdout.contains("\"name\":\"a.dyn.example\""), "{}", removed.stderr);
    assert!(removed.stderr.contains("its records: waits for the gateway"), "{}", removed.stderr);
    let pending = stage.sql("SELECT name, rtype, COALESCE(data, '-') FROM pending ORDER BY rtype").await;
    assert_eq!(pending.trim(), "a.dyn.example|A|-\na.dyn.example|AAAA|-");
    assert_eq!(names("host list --account alice"), [""; 0]);

    stage.done("host add a.dyn.example --account alice");
    assert_eq!(stage.sql("SELECT COUNT(*) FROM pending").await.trim(), "0", "the new host keeps its records");
}

async fn its_address_is_wanted_of_the_gateway(stage: Stage) {
    stage.done("account add alice");
    let words = "host add a.dyn.example --account alice --address 192.0.2.7 --address 2001:DB8::7 --ttl 90";
    let added = stage.run(words);
    assert_eq!(added.code, Some(0), "{}", added.stderr);
    assert!(added.stderr.contains("its address: waits for the gateway"), "{}", added.stderr);
    assert!(added.stdout.contains("waits for the gateway"), "{}", added.stdout);
    let wanted = stage.sql("SELECT name, rtype, data, ttl, account FROM pending ORDER BY rtype").await;
    assert_eq!(wanted.trim(), "a.dyn.example|A|192.0.2.7|90|alice\na.dyn.example|AAAA|2001:db8::7|90|alice");
    stage.done("host add b.dyn.example --account alice --address 192.0.2.8");
    let wanted = stage.sql("SELECT rtype, data, ttl FROM pending WHERE name = 'b.dyn.example'").await;
    assert_eq!(wanted.trim(), "A|192.0.2.8|60", "the zone's TTL, and IPv6 is left alone");
    let adopted = stage.json("host add taken.dyn.example --account alice --adopt");
    assert_eq!(adopted["name"], "taken.dyn.example");
    assert_eq!(stage.primary.addresses("taken.dyn.example").await.unwrap().len(), 2, "nothing is written");
}

async fn what_was_seen_is_shown(stage: Stage) {
    stage.done("account add alice --host a.dyn.example");
    for name in ["a.dyn.example", "home.dyn.example"] {
        stage
            .sql(&format!(
                "INSERT INTO state (name, ipv4, ipv6, last_update, last_seen, last_outcome, agent, source) VALUES \
                 ('{name}', '192.0.2.7', '2001:db8::7', 1795258230042, 1795258231000, 'changed', 'ddclient/3.10', '198.51.100.7')"
            ))
            .await;
        let shown = stage.json(&format!("host show {name}"));
        assert_eq!((&shown["ipv4"], &shown["ipv6"]), (&"192.0.2.7".into(), &"2001:db8::7".into()));
        assert_eq!(shown["last_update"], "2026-11-21T10:50:30.042Z");
        assert_eq!(shown["last_seen"], "2026-11-21T10:50:31.000Z");
        assert_eq!((&shown["last_outcome"], &shown["agent"]), (&"changed".into(), &"ddclient/3.10".into()));
        assert_eq!(shown["from"], "198.51.100.7");
        assert_eq!(shown["declared"], name == "home.dyn.example");
        let block = stage.done(&format!("host show {name}"));
        assert!(block.starts_with(&format!("{name}\n  account ")), "{block}");
        assert!(block.contains("\n  last update   2026-11-21T10:50:30Z ("), "{block}");
    }
    assert_eq!(stage.json("host show home.dyn.example")["ttl"], 120);
    let ever = |only: &str, other: &str| format!("only {only} has ever been reported; if it has both, see {other}");
    let (v4, v6) = (ever("IPv4", "ipv6_name"), ever("IPv6", "ipv4_name"));
    for (set, says) in
        [("ipv6 = ''", Some(&v4)), ("ipv4 = NULL, ipv6 = '2001:db8::7'", Some(&v6)), ("ipv6 = NULL", None)]
    {
        stage.sql(&format!("UPDATE state SET {set} WHERE name = 'a.dyn.example'")).await;
        let block = stage.done("host show a.dyn.example");
        assert!([&v4, &v6].iter().all(|ever| block.contains(*ever) == (Some(*ever) == says)), "{set}: {block}");
    }
    stage.sql("UPDATE state SET ipv6 = '2001:db8::7' WHERE name = 'a.dyn.example'").await;
    stage.done("host set a.dyn.example --families ipv6");
    assert!(!stage.done("host show a.dyn.example").contains("ever been"), "it may have no more");

    stage
        .sql(
            "INSERT INTO history (name, at, outcome, source, agent, old, new) VALUES \
             ('a.dyn.example', 1795258230042, 'changed', '198.51.100.7', 'curl', '', '192.0.2.7 2001:db8::7'), \
             ('a.dyn.example', 1795258240000, 'changed', NULL, NULL, '192.0.2.7', '192.0.2.8')",
        )
        .await;
    let history = stage.json("host history a.dyn.example");
    assert_eq!(keys(&history[0]), ["agent", "at", "from", "new", "old", "outcome"]);
    assert_eq!((&history[0]["old"], &history[0]["new"]), (&"192.0.2.7".into(), &"192.0.2.8".into()));
    assert_eq!(history[1]["new"], "192.0.2.7,2001:db8::7");
    assert!(history[1]["old"].is_null() && history[0]["from"].is_null());
    assert_eq!(history[1]["at"], "2026-11-21T10:50:30.042Z");
    assert_eq!(stage.json("host history a.dyn.example --limit 1").as_array().unwrap().len(), 1);
    assert_eq!(stage.json("host history home.dyn.example"), serde_json::json!([]));
    assert!(stage.done("host history a.dyn.example").starts_with("AT "));
}

async fn names_below_wildcards_are_told(stage: Stage) {
    stage.done("account add alice --host a.dyn.example --host *.alice.dyn.example");
    stage
        .sql(
            "INSERT INTO reserved (login, name) VALUES ('alice', 'x.alice.dyn.example'), ('alice', 'a.dyn.example'), \
             ('alice', 'both.office.dyn.example'), ('router1', 'both.office.dyn.example'), \
             ('router1', 'home.dyn.example'), ('router1', 'desk.office.dyn.example')",
        )
        .await;
    stage
        .sql(
            "INSERT INTO state (name, ipv4, last_seen, last_outcome) VALUES \
             ('x.alice.dyn.example', '192.0.2.7', 1795258231000, 'changed')",
        )
        .await;
    let list = |words: &str| -> Vec<(String, String)> {
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let list = stage.json(words);
        list.as_array().unwrap().iter().map(|host| (text(&host["name"]), text(&host["account"]))).collect()
    };
    let pairs = |pairs: &[(&str, &str)]| -> Vec<_> {
        pairs.iter().map(|(name, login)| ((*name).to_owned(), (*login).to_owned())).collect()
    };
    let all = [
        ("home.dyn.example", "router1"),
        ("a.dyn.example", "alice"),
        ("both.office.dyn.example", "alice"),
        ("desk.office.dyn.example", "router1"),
        ("x.alice.dyn.example", "alice"),
    ];
    assert_eq!(list("host list"), pairs(&all), "each name once");
    let of_alice = [all[1], all[2], all[4]];
    assert_eq!(list("host list --account alice"), pairs(&of_alice));
    let of_router = [all[0], ("both.office.dyn.example", "router1"), all[3]];
    assert_eq!(list("host list --account router1"), pairs(&of_router));
    assert!(stage.done("host list").lines().last().unwrap().ends_with("changed  wildcard"));

    let shown = stage.json("host show x.alice.dyn.example");
    assert_eq!(keys(&shown), KEYS);
    assert_eq!((&shown["ipv4"], &shown["last_seen"]), (&"192.0.2.7".into(), &"2026-11-21T10:50:31.000Z".into()));
    assert_eq!((&shown["declared"], &shown["ttl"]), (&false.into(), &serde_json::Value::Null));
    assert_eq!(stage.json("host show desk.office.dyn.example")["declared"], true, "its wildcard stands in the file");
    assert!(stage.done("host show x.alice.dyn.example").ends_with("  store, below a wildcard\n"));
    assert_eq!(stage.json("host history x.alice.dyn.example"), serde_json::json!([]));
    for command in ["host set NAME --ttl 60", "host token NAME", "host remove NAME"] {
        let command = command.replace("NAME", "x.alice.dyn.example");
        stage.refused(&command, 64, &["below a wildcard that account \"alice\" is granted"]);
    }
    stage.done("host add x.alice.dyn.example --account alice --ttl 90");
    assert_eq!(stage.json("host show x.alice.dyn.example")["ttl"], 90, "a host of its own now");
    assert_eq!(list("host list --account alice"), pairs(&[all[1], all[4], all[2]]));
}

async fn a_token_is_handed_out_once_and_taken_back(stage: Stage) {
    stage.done("account add alice --host a.dyn.example");
    let token = |words: &str| {
        let handed = stage.json(words);
        assert_eq!(keys(&handed), ["name", "path"]);
        assert_eq!(handed["name"], "a.dyn.example");
        handed["path"].as_str().map(|path| path.strip_prefix("/update/").unwrap().to_owned())
    };
    let first = token("host token a.dyn.example").unwrap();
    assert_eq!(first.len(), 39);
    let count = async || stage.sql("SELECT COUNT(*) FROM token").await.trim().to_owned();
    token("host token a.dyn.example --keep-old 1h").unwrap();
    assert_eq!(count().await, "2");
    token("host token a.dyn.example").unwrap();
    assert_eq!(count().await, "1", "the old ones are gone at once");
    assert!(!stage.done("export").contains(&first));
    assert_eq!(token("host token a.dyn.example --revoke"), None);
    assert_eq!(count().await, "0");
    let shown = stage.done("host token a.dyn.example");
    assert!(shown.starts_with("a.dyn.example\n  path  /update/") && shown.contains("shown this once"), "{shown}");
    assert!(stage.done("host token a.dyn.example --revoke").contains("1 URL taken back"));
}

async fn what_few_hosts_have_is_set_and_shown(stage: Stage) {
    stage.done("account add alice");
    for host in ["router", "nas", "cam"] {
        stage.done(&format!("host add {host}.dyn.example --account alice"));
    }
    let set = stage.json(
        "host set nas.dyn.example --follow router.dyn.example --interface-id ::3:0:0:0:10 --prefix-from address \
         --wildcard true --offline true --mx mail.dyn.example,mx.example --ptr true",
    );
    let expected = serde_json::json!({
        "follow": "router.dyn.example", "interface_id": "::3:0:0:0:10", "prefix_from": "address", "wildcard": true,
        "offline": true, "mx": ["mail.dyn.example", "mx.example"], "ptr": true,
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&set[key], value, "{key}");
    }
    assert_eq!(stage.json("host show nas.dyn.example"), set);
    let shown = stage.done("host show nas.dyn.example");
    for line in ["follows       router.dyn.example, its address too", "mx            mail.dyn.example, mx.example"] {
        assert!(shown.contains(line), "{shown}");
    }
    assert!(stage.done("host show router.dyn.example").contains("followed by  nas.dyn.example"));
    let unset: Vec<_> =
        "host set nas.dyn.example --interface-id  --follow  --mx  --wildcard false --offline false --ptr false"
            .split(' ')
            .chain(["--json"])
            .collect();
    assert_eq!(stage.run_words(&unset, "").code, Some(0));
    let plain = stage.json("host show cam.dyn.example");
    let shown = stage.json("host show nas.dyn.example");
    for key in expected.as_object().unwrap().keys() {
        assert_eq!(shown[key], plain[key], "{key}");
    }
    for (command, said) in [
        ("--follow home.dyn.example --interface-id ::1", "only hosts of the file follow it"),
        ("--follow nowhere.dyn.example --interface-id ::1", "the store has no host \"nowhere.dyn.example\""),
        ("--follow router.dyn.example", "a host that follows another needs an interface id"),
        ("--interface-id ::", "it is zero"),
        ("--interface-id 192.0.2.1", "it is not written like an IPv6 address"),
        ("--interface-id 2001:db8::1", "it is a whole address"),
        ("--prefix-from both", "possible values: prefix, address"),
        ("--mx mail", "the name is not fully qualified"),
        ("--wildcard perhaps", "possible values: true, false"),
    ] {
        stage.refused(&format!("host set cam.dyn.example {command}"), 64, &[said]);
    }
}

async fn a_host_moves_with_all_that_is_its_own(stage: Stage) {
    stage.done("account add alice --host a.dyn.example");
    stage.done("account add bob");
    stage.refused(
        "account grant bob a.dyn.example --adopt",
        64,
        &["host move a.dyn.example --to ", "records untouched"],
    );
    stage.done("host set a.dyn.example --ttl 90 --description Attic");
    stage.done("host token a.dyn.example");
    stage.sql("INSERT INTO state (name, ipv4) VALUES ('a.dyn.example', '192.0.2.7')").await;
    let seen =
        stage.sql("SELECT COUNT(*) FROM change WHERE subject LIKE '%a.dyn.example' OR subject LIKE '%bob'").await;

    stage.refused("host move a.dyn.example --to nobody", 64, &["there is no account \"nobody\""]);
    stage.refused(
        "host move a.dyn.example --to alice",
        64,
        &["host \"a.dyn.example\" of account \"alice\" is already"],
    );
    stage.refused("host move a.dyn.example --to router1", 64, &["is declared in"]);
    stage.refused("host move home.dyn.example --to bob", 64, &["is declared in"]);
    stage.refused("host move x.dyn.example --to bob", 64, &["there is no host x.dyn.example"]);
    assert_eq!(stage.json("host show a.dyn.example")["account"], "alice");

    let moved = stage.run("host move a.dyn.example --to bob --json");
    assert!(moved.stderr.contains("1 URL taken back"), "{}", moved.stderr);
    let moved: serde_json::Value = serde_json::from_str(&moved.stdout).unwrap();
    assert_eq!(keys(&moved), KEYS);
    assert_eq!((&moved["account"], &moved["ttl"], &moved["description"]), (&"bob".into(), &90.into(), &"Attic".into()));
    assert_eq!(moved["ipv4"], "192.0.2.7");
    assert_eq!(stage.sql("SELECT COUNT(*) FROM token").await.trim(), "0");
    assert_eq!(stage.sql("SELECT COUNT(*) FROM pending").await.trim(), "0", "no record is to be changed");
    assert_eq!(stage.json("account show alice")["hosts"], serde_json::json!([]));
    assert_eq!(stage.json("account show bob")["hosts"], serde_json::json!(["a.dyn.example"]));
    let now = stage.sql("SELECT COUNT(*) FROM change WHERE subject LIKE '%a.dyn.example' OR subject LIKE '%bob'").await;
    assert_eq!(now.trim().parse::<u32>().unwrap(), seen.trim().parse::<u32>().unwrap() + 2, "gateways hear of both");
}

async fn two_commands_at_once_both_succeed(stage: Stage) {
    let logins: Vec<_> = (0..6).map(|number| format!("account{number}")).collect();
    let children: Vec<_> = logins.iter().map(|login| stage.start(&format!("account add {login}"))).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(stage.json("account list").as_array().unwrap().len(), 7);
}
