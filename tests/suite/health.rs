//! `dyngate health` as a container engine and a script ask it.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use lab::http::{Request, Response};
use lab::{Gateway, Key, Kind, Server, Setup, soon};

use crate::command_line::{Output, run};
use crate::stage::{Config, NOBODY, Stage, ZONE};

/// `dyngate health` with a file that names `admin`.
fn health(admin: &str, options: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    let config = Config::new(&Key::generate("k"), "127.0.0.1:53".parse().unwrap());
    let toml = config.toml().replace("[admin]\nlisten = \"127.0.0.1:0\"", &format!("[admin]\nlisten = \"{admin}\""));
    std::fs::write(&file, toml).unwrap();
    run(&[&["health", "--config", file.to_str().unwrap()], options].concat(), "")
}

async fn get(gateway: &Gateway, path: &str) -> Response {
    Request::get(path).send(gateway.admin()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_0_while_the_gateway_serves_and_2_once_it_is_gone() {
    let mut stage = Stage::new(Kind::Knot).await;
    let admin = stage.gateway.admin();
    let well = health(&admin.to_string(), &[]);
    assert_eq!((well.code, well.stdout.as_str(), well.stderr.as_str()), (Some(0), "ready\n", ""));
    // What listens on every address is asked on this machine's own.
    let file = health(&format!("0.0.0.0:{}", admin.port()), &[]);
    assert_eq!(file.code, Some(0), "{}", file.stderr);
    stage.gateway.stop().await.unwrap();
    let gone = health(&admin.to_string(), &[]);
    assert_eq!(gone.code, Some(2));
    assert!(gone.stderr.contains(&format!("no gateway answers at {admin} ([admin] listen)")), "{}", gone.stderr);
}

#[test]
fn a_gateway_that_cannot_serve_is_2_with_its_own_words() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = listener.local_addr().unwrap();
    let answering = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            let mut octet = [0];
            stream.read_exact(&mut octet).unwrap();
            asked.extend(octet);
        }
        let body = "not ready\nstore: cannot be reached\n";
        write!(stream, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        String::from_utf8(asked).unwrap()
    });
    let told = health(&admin.to_string(), &[]);
    assert_eq!((told.code, told.stdout.as_str()), (Some(2), ""));
    assert_eq!(told.stderr, "dyngate: the gateway cannot serve now: not ready\nstore: cannot be reached\n");
    let asked = answering.join().unwrap();
    assert!(asked.starts_with(&format!("GET /readyz HTTP/1.1\r\nHost: {admin}\r\n")), "{asked}");
}

#[test]
fn a_port_that_nobody_can_know_is_2() {
    let told = health("127.0.0.1:0", &[]);
    assert_eq!(told.code, Some(2));
    assert!(told.stderr.contains("takes a free port"), "{}", told.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_primaries_it_is_2_while_none_of_a_zone_can_be_reached() {
    let mut stage = Stage::new(Kind::Knot).await;
    let admin = stage.gateway.admin().to_string();
    let is_ready = async |gateway: &Gateway| get(gateway, "/readyz?primaries").await.status == 200;
    soon("the primary was reached", async || is_ready(&stage.gateway).await).await;
    let well = health(&admin, &["--primaries"]);
    assert_eq!((well.code, well.stdout.as_str(), well.stderr.as_str()), (Some(0), "ready\n", ""));
    stage.primary.stop().await.unwrap();
    // Nobody changes anything.
    soon("it is missed", async || !is_ready(&stage.gateway).await).await;
    let missed = get(&stage.gateway, "/readyz?primaries").await;
    let expected = format!("not ready\nzone {ZONE}: no primary can be reached: {}: ", stage.primary.addr());
    assert_eq!((missed.status, missed.text().starts_with(&expected)), (503, true), "{}", missed.text());
    let told = health(&admin, &["--primaries"]);
    assert_eq!((told.code, told.stdout.as_str()), (Some(2), ""));
    assert!(told.stderr.starts_with(&format!("dyngate: the gateway cannot serve now: {expected}")), "{}", told.stderr);
    assert_eq!(health(&admin, &[]).code, Some(0), "it serves all the same");
    assert_eq!(get(&stage.gateway, "/readyz?primary").await.status, 200);
    stage.primary.start_again().await.unwrap();
    soon("it is back", async || is_ready(&stage.gateway).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_primary_of_each_zone_is_enough() {
    let key = Key::generate("gateway-key");
    let primary = Server::start(Kind::Knot, Setup::new().key(&key).zone(ZONE)).await.unwrap();
    let mut config = Config::new(&key, primary.addr());
    config.primaries.insert(0, NOBODY.parse().unwrap());
    let gateway = config.start().await;
    soon("the second is in use", async || get(&gateway, "/readyz?primaries").await.status == 200).await;
    config.more = format!("[[zone]]\nname = \"other.example\"\nkey = \"gateway-key\"\nprimaries = [\"{NOBODY}\"]\n");
    let gateway = config.start().await;
    let asked = async |path: &str| get(&gateway, path).await;
    let missed = format!("not ready\nzone other.example: no primary can be reached: {NOBODY}: ");
    soon("one zone has none", async || asked("/readyz?primaries=").await.text().starts_with(&missed)).await;
    let plain = asked("/readyz").await;
    assert_eq!(plain.status, 200);
    assert!(plain.text().starts_with(&format!("ready\nzone other.example: {NOBODY}: ")), "{}", plain.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn however_often_somebody_asks_the_primary_is_asked_now_and_then() {
    let stage = Stage::new(Kind::Knot).await;
    let asked = async || stage.gateway.metric("dyngate_updates_total").await.unwrap();
    for _ in 0..200 {
        get(&stage.gateway, "/readyz?primaries").await;
    }
    soon("it was asked", async || asked().await >= 1.0).await;
    assert!(asked().await <= 2.0, "{}", asked().await);
}
