//! A port that another program takes between the look for it and its use.

#![expect(clippy::unwrap_used, reason = "a failed start fails the test")]

use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lab::fake::{Action, FakePrimary};
use lab::{Child, Error, Key, Kind, Port, ResponseCode, Server, Setup, at_free_port};

/// Starts `kind` at a port that a stranger has for TCP or for UDP; the second attempt finds it free.
async fn finds_another_port(kind: Kind) {
    let setup = Setup::new().zone("dyn.example");
    for is_tcp in [true, false] {
        let mut stranger = None;
        let server = at_free_port(async |port: Port| {
            if stranger.is_none() {
                let held = if is_tcp {
                    (Some(TcpListener::bind(port.addr()).unwrap()), None)
                } else {
                    (None, Some(UdpSocket::bind(port.addr()).unwrap()))
                };
                stranger = Some((port.addr(), held));
            }
            Server::start_at(port, &std::env::temp_dir(), kind, &setup).await
        });
        let server = server.await.unwrap_or_else(|error| panic!("{kind}, TCP {is_tcp}: {error}"));
        assert_ne!(Some(server.addr()), stranger.map(|(addr, _)| addr), "{kind}, TCP {is_tcp}");
    }
}

#[tokio::test]
async fn bind_finds_another_port() {
    finds_another_port(Kind::Bind).await;
}

#[tokio::test]
async fn knot_finds_another_port() {
    finds_another_port(Kind::Knot).await;
}

#[tokio::test]
async fn powerdns_finds_another_port() {
    finds_another_port(Kind::PowerDnsSqlite).await;
}

#[tokio::test]
async fn a_child_that_says_so_is_told_from_one_that_merely_ends() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let start = |words: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo \"$1\"; exit 1", "sh", words]);
        Child::spawn("sh", shell, &log).unwrap()
    };
    let never = async || Err("everything".to_owned());
    let limit = Duration::from_secs(60);
    let taken = start("bind() to 127.0.0.1:80 failed (98: Address already in use)").until(limit, never).await;
    assert!(matches!(taken, Err(Error::PortTaken { .. })), "{taken:?}");
    let ended = start("a mistake").until(limit, never).await;
    assert!(matches!(&ended, Err(Error::NotStarted { log, .. }) if log.contains("in use")), "of now only: {ended:?}");
}

#[tokio::test]
async fn what_fails_for_another_reason_is_not_tried_again() {
    let mut attempts = 0;
    let failed = at_free_port(async |_| -> Result<(), Error> {
        attempts += 1;
        Err(Error::Unsupported(Path::new("/").display().to_string()))
    });
    assert!(matches!(failed.await, Err(Error::Unsupported(_))));
    assert_eq!(attempts, 1);
}

#[tokio::test]
async fn a_fake_that_listens_again_finds_a_stranger_there() {
    let key = Key::generate("gateway-key");
    let fake = FakePrimary::start(&key, |_| Action::Answer(ResponseCode::NoError)).await.unwrap();
    fake.stop_listening().await;
    let _stranger = TcpListener::bind(fake.addr()).unwrap();
    assert!(matches!(fake.listen_again().await, Err(Error::Io { .. })));
}
