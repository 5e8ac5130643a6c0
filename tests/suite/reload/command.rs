//! `dyngate reload` as an operator types it, and what may not reload.

use lab::Gateway;
use lab::http::Request;
use serde_json::Value;

use super::{account, stage};
use crate::command_line::{Output, run};
use crate::stage::Config;

/// A file for the command, whose `[admin] listen` names the port that the gateway really has.
fn file(config: &Config, gateway: &Gateway) -> String {
    let admin = format!("[admin]\nlisten = \"{}\"", gateway.admin());
    config.toml().replace("[admin]\nlisten = \"127.0.0.1:0\"", &admin)
}

fn command(gateway: &Gateway, name: &str, more: &[&str]) -> Output {
    let file = gateway.folder().join(name);
    run(&[&["reload", "--config", file.to_str().unwrap()], more].concat(), "")
}

#[tokio::test(flavor = "multi_thread")]
async fn it_checks_reloads_and_says_what_happened() {
    let (_primary, mut config, gateway) = stage("").await;
    config.more = account("new", "secret", &["new.dyn.example"]);
    gateway.write("gateway.toml", &file(&config, &gateway)).unwrap();
    let told = command(&gateway, "gateway.toml", &[]);
    let path = gateway.folder().join("gateway.toml");
    assert_eq!((told.code, told.stderr.as_str()), (Some(0), ""));
    let said = format!("reloaded: {}\n  accounts: 1 added\nrestart needed: [admin] listen\n", path.display());
    assert_eq!(told.stdout, said);
    let again: Value = serde_json::from_str(&command(&gateway, "gateway.toml", &["--json"]).stdout).unwrap();
    let expected = serde_json::json!({ "file": path, "changed": [], "restart": ["[admin] listen"] });
    assert_eq!(again, expected);

    gateway.write("other.toml", &file(&config, &gateway)).unwrap();
    let other = command(&gateway, "other.toml", &[]);
    assert_eq!(other.code, Some(0), "{}", other.stderr);
    assert!(other.stdout.contains("nothing has changed"), "{}", other.stdout);
    assert!(other.stderr.contains(&format!("the gateway reads {}, not ", path.display())), "{}", other.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_is_64_and_nothing_is_sent_and_a_gateway_that_refuses_is_2() {
    let (_primary, config, gateway) = stage("").await;
    gateway.write("bad.toml", &format!("{}\n[nonsense]\n", file(&config, &gateway))).unwrap();
    let bad = command(&gateway, "bad.toml", &[]);
    assert_eq!(bad.code, Some(64));
    assert!(bad.stderr.contains("nothing was sent") && bad.stderr.contains("bad.toml:"), "{}", bad.stderr);
    assert!(!gateway.log().contains("reloaded") && !gateway.log().contains("stays"), "{}", gateway.log());

    gateway.write("good.toml", &file(&config, &gateway)).unwrap();
    gateway.write("gateway.toml", "[nonsense]\n").unwrap();
    let refused = command(&gateway, "good.toml", &["--json"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("gateway.toml:1:1: there is no section \"nonsense\""), "{}", refused.stderr);
    let document: Value = serde_json::from_str(&refused.stdout).unwrap();
    assert!(document["problems"].as_array().is_some_and(|problems| !problems.is_empty()), "{document}");
}

/// What the gateway reads is a copy of what was edited, as systemd's LoadCredential= makes one, or has copies of the keys.
#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_the_gateway_does_not_read_is_2_and_changes_nothing() {
    let (_primary, mut config, gateway) = stage("").await;
    let toml = file(&config, &gateway);
    gateway.write("gateway.toml", &toml).unwrap();
    gateway.write("edited/gateway.toml", &toml).unwrap();
    let same = command(&gateway, "edited/gateway.toml", &[]);
    assert_eq!(same.code, Some(0), "nothing is edited yet: {}", same.stderr);
    config.more = account("new", "secret", &["new.dyn.example"]);
    gateway.write("edited/gateway.toml", &file(&config, &gateway)).unwrap();
    let lost = command(&gateway, "edited/gateway.toml", &["--json"]);
    assert_eq!(lost.code, Some(2), "{}", lost.stderr);
    let read = gateway.folder().join("gateway.toml");
    assert!(lost.stderr.contains(&format!("the gateway reads {}, not ", read.display())), "{}", lost.stderr);
    assert!(lost.stderr.contains("is other than what was checked"), "{}", lost.stderr);
    assert_eq!(gateway.log().matches("configuration reloaded").count(), 1, "{}", gateway.log());

    let (before, rest) = toml.split_once("secret = ").unwrap();
    let (secret, after) = rest.split_once('\n').unwrap();
    let toml = format!("{before}secret_file = \"k.secret\"\n{after}");
    let secret = secret.trim_matches('"');
    for folder in ["", "edited/"] {
        gateway.write(&format!("{folder}gateway.toml"), &toml).unwrap();
        gateway.write(&format!("{folder}k.secret"), secret).unwrap();
    }
    let same = command(&gateway, "edited/gateway.toml", &[]);
    assert_eq!(same.code, Some(0), "{}", same.stderr);
    gateway.write("edited/k.secret", &lab::Key::generate("k").secret).unwrap();
    let lost = command(&gateway, "edited/gateway.toml", &[]);
    assert_eq!(lost.code, Some(2), "a key alone: {}", lost.stderr);
    assert!(!lost.stderr.contains(secret) && !gateway.log().contains(secret), "no secret is told");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_cannot_be_reached_is_2_with_advice() {
    let (_primary, config, mut gateway) = stage("").await;
    gateway.write("any.toml", &config.toml()).unwrap();
    let any = command(&gateway, "any.toml", &[]);
    assert!(any.code == Some(2) && any.stderr.contains("SIGHUP"), "{:?} {}", any.code, any.stderr);
    gateway.write("gone.toml", &file(&config, &gateway)).unwrap();
    gateway.stop().await.unwrap();
    let gone = command(&gateway, "gone.toml", &[]);
    assert_eq!(gone.code, Some(2));
    assert!(gone.stderr.contains("no gateway answers at 127.0.0.1:"), "{}", gone.stderr);
    assert!(gone.stderr.contains("SIGHUP"), "{}", gone.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_web_page_can_reload() {
    let (_primary, _, gateway) = stage("").await;
    let post = || Request::new("POST", "/reload").header("Content-Length", "0");
    let with = |name, value| post().header("X-Dyngate-Reload", "yes").header(name, value);
    for (request, status) in [
        (post(), 403),
        (with("Origin", "http://evil.example"), 403),
        (with("Origin", "null"), 403),
        (with("Sec-Fetch-Site", "same-origin"), 403),
        (Request::new("OPTIONS", "/reload").header("Access-Control-Request-Headers", "x-dyngate-reload"), 405),
        (Request::get("/reload").header("X-Dyngate-Reload", "yes"), 405),
    ] {
        let response = request.send(gateway.admin()).await.unwrap();
        assert_eq!(response.status, status, "{request:?}");
        assert!(response.header("access-control-allow-origin").is_none());
    }
    assert!(!gateway.log().contains("configuration reloaded"), "{}", gateway.log());
}
