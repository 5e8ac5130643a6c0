//! A configuration that changes while the gateway runs: what is in force at once, what stays, and what is lost (nothing).

mod command;
mod deferred;
mod engine;
mod rotation;

use lab::http::{Connection, Request, Response};
use lab::{Gateway, Kind, Server, Setup, digest};
use serde_json::Value;

use crate::stage::{Config, LOGIN, SECRET, Stage, ZONE, update};

/// `POST /reload` as `dyngate reload` sends it.
pub(crate) async fn order(gateway: &Gateway) -> Response {
    let request = Request::new("POST", "/reload").header("X-Dyngate-Reload", "yes").header("Content-Length", "0");
    request.send(gateway.admin()).await.expect("the gateway answers")
}

/// Writes `toml` and reloads; what the gateway says of it.
pub(crate) async fn reload(gateway: &Gateway, toml: &str) -> Value {
    gateway.write("gateway.toml", toml).unwrap();
    let response = order(gateway).await;
    assert_eq!(response.status, 200, "{}", response.text());
    serde_json::from_str(&response.text()).unwrap()
}

fn account(login: &str, secret: &str, hosts: &[&str]) -> String {
    format!("[[account]]\nlogin = \"{login}\"\nsecret = \"{}\"\nhosts = {hosts:?}\n", digest(secret))
}

async fn ask(connection: &mut Connection, login: &str, secret: &str, query: &str) -> String {
    let request = Request::get(&format!("/nic/update?{query}")).basic(login, secret);
    connection.send(&request).await.expect("the connection lives").text()
}

/// A primary, and a configuration whose accounts a test writes by itself.
async fn stage(more: &str) -> (Server, Config, Gateway) {
    let key = lab::Key::generate("k");
    let primary = Server::start(Kind::Knot, Setup::new().key(&key).zone(ZONE)).await.unwrap();
    let mut config = Config::new(&key, primary.addr());
    config.more = more.to_owned();
    let gateway = config.start().await;
    (primary, config, gateway)
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_secrets_and_grants_are_in_force_with_the_next_request_of_an_open_connection() {
    let a = account("a", "one", &["a.dyn.example", "shared.dyn.example"]);
    let (_primary, mut config, gateway) = stage(&a).await;
    let mut open = Connection::open(gateway.http(), None).await.unwrap();
    assert_eq!(ask(&mut open, "a", "one", "hostname=a.dyn.example&myip=203.0.113.1").await, "good 203.0.113.1");
    assert_eq!(ask(&mut open, "b", "two", "hostname=b.dyn.example&myip=203.0.113.1").await, "badauth");

    config.more = a.clone() + &account("b", "two", &["b.dyn.example"]);
    assert_eq!(reload(&gateway, &config.toml()).await["changed"], serde_json::json!(["accounts: 1 added"]));
    assert_eq!(ask(&mut open, "b", "two", "hostname=b.dyn.example&myip=203.0.113.1").await, "good 203.0.113.1");
    assert_eq!(ask(&mut open, "a", "one", "hostname=a.dyn.example&myip=203.0.113.1").await, "nochg 203.0.113.1");

    config.more = account("a", "other", &["a.dyn.example"]);
    let said = reload(&gateway, &config.toml()).await;
    assert_eq!(said["changed"], serde_json::json!(["accounts: 1 removed, 1 changed"]));
    assert_eq!(said["restart"], serde_json::json!([]));
    for (login, secret, host, answer) in [
        ("b", "two", "b", "badauth"),
        ("a", "one", "a", "badauth"),
        ("a", "other", "shared", "nohost"),
        ("a", "other", "a", "good 203.0.113.2"),
    ] {
        let query = format!("hostname={host}.dyn.example&myip=203.0.113.2");
        assert_eq!(ask(&mut open, login, secret, &query).await, answer, "{login} {host}");
    }
    assert!(gateway.log().contains("configuration reloaded"), "{}", gateway.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verified_password_is_remembered_over_a_reload_until_it_changes() {
    let hash = |password: &str| crate::command_line::run(&["hash"], &format!("{password}\n")).stdout.trim().to_owned();
    let account = |hash: &str| {
        let limits = "[limits]\nhost = \"off\"\nfailed_logins = { burst = 1, per_minute = 1 }\n";
        format!("{limits}[[account]]\nlogin = \"p\"\nsecret = \"{hash}\"\nhosts = [\"p.dyn.example\"]\n")
    };
    let (old, new) = (hash("hunter2"), hash("hunter3"));
    let (_primary, mut config, gateway) = stage(&account(&old)).await;
    let mut open = Connection::open(gateway.http(), None).await.unwrap();
    let query = "hostname=p.dyn.example&myip=203.0.113.1";
    assert_eq!(ask(&mut open, "p", "hunter2", query).await, "good 203.0.113.1");
    assert_eq!(ask(&mut open, "p", "guess", query).await, "badauth");
    config.more = account(&old) + "[engine]\nverify_interval = \"59s\"\n";
    reload(&gateway, &config.toml()).await;
    assert_eq!(ask(&mut open, "p", "hunter2", query).await, "nochg 203.0.113.1", "nothing had to be hashed");
    assert_eq!(ask(&mut open, "p", "guess2", query).await, "911", "and the guesser is not forgiven");
    config.more = account(&new).replace("burst = 1,", "burst = 9,");
    reload(&gateway, &config.toml()).await;
    assert_eq!(ask(&mut open, "p", "hunter2", query).await, "badauth", "at once");
    assert_eq!(ask(&mut open, "p", "hunter3", query).await, "nochg 203.0.113.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_limits_forgive_nobody() {
    let limits = |host: &str| format!("[limits]\nhost = {host}\naccount = \"off\"\nsource = \"off\"\n");
    let (_primary, mut config, gateway) = stage(&limits("{ burst = 2, per_minute = 1 }")).await;
    let set = async |n: u8| update(&gateway, &format!("hostname=h.dyn.example&myip=203.0.113.{n}")).await.text();
    assert_eq!((set(1).await.as_str(), set(2).await.as_str()), ("good 203.0.113.1", "good 203.0.113.2"));
    assert_eq!(set(3).await, "911");
    config.more = limits("{ burst = 2, per_minute = 2 }");
    assert_eq!(reload(&gateway, &config.toml()).await["changed"], serde_json::json!(["[limits] host"]));
    assert_eq!(set(3).await, "911", "used up before the reload is used up after it");
    config.more = limits("{ burst = 3, per_minute = 2 }");
    reload(&gateway, &config.toml()).await;
    assert_eq!((set(3).await.as_str(), set(4).await.as_str()), ("good 203.0.113.3", "911"));
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_and_proxies_change_for_open_connections_too() {
    let (_primary, mut config, gateway) = stage("").await;
    let mut open = Connection::open(gateway.http(), None).await.unwrap();
    let myip = Request::get("/myip").header("X-Forwarded-For", "198.51.100.7");
    assert_eq!(open.send(&myip).await.unwrap().text().trim(), "127.0.0.1");
    let private = "hostname=h.dyn.example&myip=10.0.0.1";
    assert_eq!(ask(&mut open, LOGIN, SECRET, private).await, "badip");
    config.more = "[addresses]\nrefuse = []\n".to_owned();
    let trusting = config.toml().replace("[http]\n", "[http]\ntrusted_proxies = [\"127.0.0.1/32\"]\n");
    let said = reload(&gateway, &trusting).await;
    assert_eq!(said["changed"], serde_json::json!(["[http] trusted_proxies", "[addresses] refuse"]));
    assert_eq!(open.send(&myip).await.unwrap().text().trim(), "198.51.100.7");
    assert_eq!(ask(&mut open, LOGIN, SECRET, private).await, "good 10.0.0.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_used_leaves_the_old_one_and_says_where() {
    let mut stage = Stage::new(Kind::Knot).await;
    assert_eq!(stage.set("h.dyn.example", "203.0.113.1").await, "good 203.0.113.1");
    stage.gateway.write("gateway.toml", "[http]\nlisten = [\"127.0.0.1:0\"]\nlisten_on = 1\n[admin]\n").unwrap();
    stage.gateway.reload().unwrap();
    crate::tls::until_logged(&stage.gateway, "the one in force stays").await;
    let log = stage.gateway.log();
    assert!(log.contains("gateway.toml:3:1: "), "{log}");
    assert!(log.contains("no key \"listen_on\""), "{log}");
    assert_eq!(stage.set("h.dyn.example", "203.0.113.2").await, "good 203.0.113.2");
    let refused = order(&stage.gateway).await;
    assert_eq!(refused.status, 422);
    let refused: Value = serde_json::from_str(&refused.text()).unwrap();
    assert!(refused["problems"].to_string().contains("gateway.toml:3:1: "), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_cannot_be_used_stops_all_of_it_and_other_files_are_shown() {
    let [first, second] = [crate::tls::Certificates::new(), crate::tls::Certificates::new()];
    let (_primary, mut config, _) = stage("").await;
    let tls = |certificates: &crate::tls::Certificates| certificates.section("[\"127.0.0.1:0\"]");
    config.more = tls(&first);
    let gateway = config.start().await;
    let https = gateway.https().unwrap();
    assert_eq!(first.shown(https).await, first.current());
    config.more = tls(&second) + &account("new", "secret", &["new.dyn.example"]);
    second.put("privkey.pem", "");
    gateway.write("gateway.toml", &config.toml()).unwrap();
    let refused = order(&gateway).await;
    assert_eq!(refused.status, 422);
    assert!(refused.text().contains("privkey.pem: this file is empty"), "{}", refused.text());
    let as_new = Request::get("/nic/update?hostname=new.dyn.example&myip=203.0.113.1").basic("new", "secret");
    assert_eq!(as_new.send(gateway.http()).await.unwrap().text(), "badauth", "none of it is in force");
    second.renew(std::time::Duration::from_secs(86_400 * 90));
    let said = reload(&gateway, &config.toml()).await;
    assert_eq!(said["changed"], serde_json::json!(["accounts: 1 added", "[http.tls] certificate, private_key"]));
    assert_eq!(second.shown(https).await, second.current());
    assert_eq!(as_new.send(gateway.http()).await.unwrap().text(), "good 203.0.113.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_restart_is_named_each_time_until_it_comes() {
    let (_primary, mut config, gateway) = stage("").await;
    config.more = "[store]\nurl = \"sqlite:new.db\"\n".to_owned();
    let toml = config.toml().replace("[admin]\nlisten = \"127.0.0.1:0\"", "[admin]\nlisten = \"127.0.0.1:1\"");
    for changed in 0..2 {
        let said = reload(&gateway, &toml).await;
        assert_eq!(said["restart"], serde_json::json!(["[admin] listen", "[store] url"]), "{changed}");
        assert_eq!(said["changed"], serde_json::json!([]));
    }
    assert_eq!(gateway.log().matches("restart needed").count(), 4, "{}", gateway.log());
    assert!(!gateway.folder().join("new.db").exists());
    config.more = String::new();
    assert_eq!(reload(&gateway, &config.toml()).await["restart"], serde_json::json!([]), "as it was started");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_keeps_cannot_be_declared_by_a_reload() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("[store]\nurl = \"sqlite:{}\"\n", folder.path().join("dyngate.db").display());
    let (_primary, mut config, gateway) = stage(&store).await;
    let file = gateway.folder().join("gateway.toml");
    let command = ["account", "add", "kept", "--config", file.to_str().unwrap()];
    let added = crate::command_line::run(&command, "");
    assert_eq!(added.code, Some(0), "{}", added.stderr);
    config.more = store + &account("kept", "secret", &["kept.dyn.example"]);
    gateway.write("gateway.toml", &config.toml()).unwrap();
    let refused = order(&gateway).await;
    assert_eq!(refused.status, 422);
    assert!(refused.text().contains("is declared in the file and kept in the store"), "{}", refused.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_signals_and_a_stop_in_its_middle_are_harmless() {
    let (_primary, _, mut gateway) = stage("").await;
    // What is ordered beyond ten reloads within ten seconds waits for the next.
    for _ in 0..4 {
        for _ in 0..50 {
            gateway.reload().unwrap();
        }
        assert_eq!(order(&gateway).await.status, 200);
    }
    gateway.reload().unwrap();
    gateway.terminate().unwrap();
    assert_eq!(gateway.wait(std::time::Duration::from_secs(15)).await.unwrap().code(), Some(0), "{}", gateway.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_waits_for_a_file_without_end_does_not_hold_up_the_stop() {
    let (_primary, _, mut gateway) = stage("").await;
    let file = gateway.folder().join("gateway.toml");
    std::fs::remove_file(&file).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
    gateway.reload().unwrap();
    // It opens once the gateway reads it.
    let opened = tokio::task::spawn_blocking(move || std::fs::OpenOptions::new().write(true).open(file));
    let _never_written = opened.await.unwrap().unwrap();
    assert_eq!(gateway.stop().await.unwrap().code(), Some(0));
}
