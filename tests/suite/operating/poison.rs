//! A row of the store that cannot be read: it takes neither the gateway nor a command away, and is mended by removing it.

use lab::http::Request;
use lab::{Gateway, soon};

use super::{Stage, on_both};
use crate::stage::program;

on_both!(an_unreadable_row_stops_neither_a_gateway_nor_a_command);

async fn an_unreadable_row_stops_neither_a_gateway_nor_a_command(stage: Stage) {
    let secret = |login: &str, host: &str| {
        let added = stage.json(&format!("account add {login} --host {host}"));
        added["secret"].as_str().expect("a secret").to_owned()
    };
    let (good, poor) = (secret("good", "good.dyn.example"), secret("poor", "poor.dyn.example"));
    stage.done("host add broken.dyn.example --account good");
    stage.done("host add misnamed.dyn.example --account good");
    for sql in [
        "UPDATE account SET secrets = 'none' WHERE login = 'poor'",
        "UPDATE host SET ttl = -1 WHERE name = 'broken.dyn.example'",
        "UPDATE host SET name = 'Mis named' WHERE name = 'misnamed.dyn.example'",
        "INSERT INTO state (name, ipv4) VALUES ('good.dyn.example', 'nowhere')",
        "INSERT INTO pending (name, rtype, data, ttl, account, accepted) VALUES ('no name', 'A', 'x', 1, 'x', 1)",
        "INSERT INTO reserved (login, name) VALUES ('router1', 'no name')",
        "INSERT INTO change (subject, at) VALUES ('nothing', 1)",
    ] {
        stage.sql(sql).await;
    }
    let toml = std::fs::read_to_string(stage.path("gateway.toml")).unwrap();
    let toml = toml.replace("sqlite:store.db", &format!("sqlite:{}", stage.path("store.db")));
    let mut gateway = Gateway::builder(program()).config(&toml).start().await.expect("it starts");
    let ask = async |gateway: &Gateway, login: &str, secret: &str, host: &str, address: &str| {
        let request = Request::get(&format!("/nic/update?hostname={host}&myip={address}")).basic(login, secret);
        request.send(gateway.http()).await.unwrap().text()
    };
    let ready = async |gateway: &Gateway| Request::get("/readyz").send(gateway.admin()).await.unwrap().text();
    for round in 1..4 {
        let address = format!("203.0.113.{round}");
        for _ in 0..3 {
            assert_eq!(ask(&gateway, "poor", &poor, "poor.dyn.example", &address).await, "911");
            assert_eq!(ask(&gateway, "good", &good, "broken.dyn.example", &address).await, "911");
        }
        assert_eq!(ask(&gateway, "good", &good, "good.dyn.example", &address).await, format!("good {address}"));
        assert_eq!(ask(&gateway, "stranger", "x", "good.dyn.example", &address).await, "badauth");
        assert_eq!(ready(&gateway).await, "ready\n", "{}", gateway.log());
        let log = gateway.log();
        let told = |what: &str| log.lines().filter(|line| line.contains(what)).count();
        assert!(told("of account \"poor\" cannot be read in the store") >= 1, "{log}");
        assert!(told("the TTL of host \"broken.dyn.example\" cannot be read in the store") >= 1, "{log}");
        assert!(told("is answered 911") <= 4 * round, "once after each start and each loss of the feed: {log}");
        assert_eq!(told("the store is away: "), 0, "{log}");
        match round {
            1 => gateway.reload().unwrap(),
            2 => {
                gateway.stop().await.unwrap();
                gateway.start_again().await.expect("it starts again");
            }
            _ => {}
        }
    }
    for (list, in_it) in [("account list", "good"), ("host list", "good.dyn.example"), ("export", "good.dyn.example")] {
        let listed = stage.run(list);
        assert_eq!(listed.code, Some(0), "{list}: {}", listed.stderr);
        assert!(listed.stdout.contains(in_it) && !listed.stdout.contains("Mis named"), "{list}: {}", listed.stdout);
        assert!(
            !listed.stdout.contains("\"poor\"") && listed.stderr.contains("cannot be read in the store"),
            "{list}: {}",
            listed.stderr
        );
    }
    stage.refused("account show poor", 1, &["of account \"poor\" cannot be read", "remove that account or host"]);
    stage.refused("host show broken.dyn.example", 1, &["host \"broken.dyn.example\"", "remove that account or host"]);

    assert_eq!(stage.json("account remove poor")["hosts"], serde_json::json!(["poor.dyn.example"]));
    assert_eq!(stage.json("host remove broken.dyn.example")["name"], "broken.dyn.example");
    let misnamed = stage.run_words(&["host", "remove", "Mis named"], "");
    assert_eq!(misnamed.code, Some(0), "{}", misnamed.stderr);
    stage.refused("account remove poor", 64, &["there is no account"]);
    let added = stage.json("account add poor --host poor.dyn.example");
    let secret = added["secret"].as_str().unwrap();
    soon("anew", async || ask(&gateway, "poor", secret, "poor.dyn.example", "203.0.113.9").await == "good 203.0.113.9")
        .await;
    assert!(!stage.run("account list").stderr.contains("cannot be read"), "nothing is left of it");
}
