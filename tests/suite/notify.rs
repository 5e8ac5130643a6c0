//! What systemd is told: sd_notify(3) with a socket of our own.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use lab::{Gateway, Key};

use crate::stage::{Config, program};

fn heard(socket: &UnixDatagram) -> String {
    let mut octets = [0; 1024];
    let length = socket.recv(&mut octets).unwrap();
    String::from_utf8(octets[..length].to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_hears_when_it_is_ready_when_it_reloads_and_when_it_stops() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let toml = Config::new(&Key::generate("k"), "127.0.0.1:1".parse().unwrap()).toml();
    let builder = Gateway::builder(program()).config(&toml).env("NOTIFY_SOCKET", path.to_str().unwrap());
    let mut gateway = builder.start().await.unwrap();
    let status = format!("zones: 1; routers: {}", gateway.http());
    assert_eq!(heard(&socket), format!("READY=1\nSTATUS={status}\n"));
    assert!(tokio::net::TcpStream::connect(gateway.http()).await.is_ok(), "the listeners accept");
    gateway.reload().unwrap();
    let reloading = heard(&socket);
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(heard(&socket), format!("READY=1\nSTATUS={status}\n"));
    gateway.stop().await.unwrap();
    assert!(heard(&socket).starts_with("STOPPING=1\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_nobody_reads_is_said_and_changes_nothing() {
    let toml = Config::new(&Key::generate("k"), "127.0.0.1:1".parse().unwrap()).toml();
    let builder = Gateway::builder(program()).config(&toml).env("NOTIFY_SOCKET", "/nonexistent/notify");
    let mut gateway = builder.start().await.unwrap();
    assert_eq!(gateway.stop().await.unwrap().code(), Some(0));
    assert!(gateway.log().contains("NOTIFY_SOCKET"), "{}", gateway.log());
}
