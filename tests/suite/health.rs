//! `dyngate health` as a container engine and a script ask it.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use lab::{Key, Kind};

use crate::command_line::{Output, run};
use crate::stage::{Config, Stage};

/// `dyngate health` with a file that names `admin`.
fn health(admin: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    let config = Config::new(&Key::generate("k"), "127.0.0.1:53".parse().unwrap());
    let toml = config.toml().replace("[admin]\nlisten = \"127.0.0.1:0\"", &format!("[admin]\nlisten = \"{admin}\""));
    std::fs::write(&file, toml).unwrap();
    run(&["health", "--config", file.to_str().unwrap()], "")
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_0_while_the_gateway_serves_and_2_once_it_is_gone() {
    let mut stage = Stage::new(Kind::Knot).await;
    let admin = stage.gateway.admin();
    let well = health(&admin.to_string());
    assert_eq!((well.code, well.stdout.as_str(), well.stderr.as_str()), (Some(0), "ready\n", ""));
    // What listens on every address is asked on this machine's own.
    let file = health(&format!("0.0.0.0:{}", admin.port()));
    assert_eq!(file.code, Some(0), "{}", file.stderr);
    stage.gateway.stop().await.unwrap();
    let gone = health(&admin.to_string());
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
    let told = health(&admin.to_string());
    assert_eq!((told.code, told.stdout.as_str()), (Some(2), ""));
    assert_eq!(told.stderr, "dyngate: the gateway cannot serve now: not ready\nstore: cannot be reached\n");
    let asked = answering.join().unwrap();
    assert!(asked.starts_with(&format!("GET /readyz HTTP/1.1\r\nHost: {admin}\r\n")), "{asked}");
}

#[test]
fn a_port_that_nobody_can_know_is_2() {
    let told = health("127.0.0.1:0");
    assert_eq!(told.code, Some(2));
    assert!(told.stderr.contains("takes a free port"), "{}", told.stderr);
}
