//! The gateway's cage, with a stand-in for the gateway; the HTTP client and the load, with a few lines of a server.

#![expect(clippy::expect_used, reason = "a test reports by its panic")]

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lab::http::{Connection, Request, raw};
use lab::load::storm;
use lab::{Builder, Error, Gateway};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

fn stub() -> Builder {
    Builder::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stub-gateway.sh")).env("STUB_HTTP", "127.0.0.1:1")
}

/// Answers each request with its own request line, the caller's address and a few metrics.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        while let Ok((mut stream, from)) = listener.accept().await {
            tokio::spawn(async move {
                let mut octets = vec![];
                while stream.read_buf(&mut octets).await.is_ok_and(|count| count > 0) {
                    while let Some(end) = octets.windows(4).position(|four| four == b"\r\n\r\n") {
                        let head: Vec<u8> = octets.drain(..end + 4).collect();
                        let head = String::from_utf8_lossy(&head).into_owned();
                        let line = head.lines().next().expect("a line");
                        let body = format!("{line} from {}\nx_total{{a=\"1\"}} 2\nx_total{{a=\"2\"}} 3.5\n", from.ip());
                        let close = if head.contains("close") { "Connection: close\r\n" } else { "" };
                        let answer = format!("HTTP/1.1 200 OK\r\n{close}Content-Length: {}\r\n\r\n{body}", body.len());
                        if stream.write_all(answer.as_bytes()).await.is_err() || !close.is_empty() {
                            return;
                        }
                    }
                }
            });
        }
    });
    addr
}

#[tokio::test]
async fn starts_reloads_and_stops() -> Result<(), Error> {
    let addr = echo().await;
    let mut gateway =
        stub().env("STUB_HTTP", &addr.to_string()).config("# mine").file("keys/a.key", "x").start().await?;
    assert_eq!((gateway.http(), gateway.https(), gateway.admin()), (addr, None, addr));
    assert!(gateway.log().contains("# mine"));
    assert!(gateway.folder().join("keys/a.key").is_file());
    assert!(gateway.pid().is_some());
    assert_eq!(gateway.metric("x_total{").await?, 5.5);
    assert_eq!(gateway.metric("x_total{a=\"2\"").await?, 3.5);
    gateway.reload()?;
    lab::soon("it is reloaded", async || gateway.log().contains("reloaded")).await;
    assert!(gateway.stop().await?.success());
    assert_eq!(gateway.pid(), None);
    gateway.start_again().await?;
    gateway.terminate()?;
    assert!(gateway.wait(Duration::from_secs(60)).await?.success());
    Ok(())
}

#[tokio::test]
async fn one_that_does_not_come_up_shows_its_status_and_log() {
    let error = stub().config("broken = 1").start().await.expect_err("it ends").to_string();
    assert!(error.contains("exit status: 64") && error.contains("broken = 1"), "{error}");
    let error = Builder::new("/nonexistent/dyngate").start().await.expect_err("no program").to_string();
    assert!(error.contains("cargo build"), "{error}");
}

#[tokio::test]
async fn is_gone_once_dropped() -> Result<(), Error> {
    let gateway = stub().config("stubborn").start().await?;
    let (pid, folder) = (gateway.pid().expect("it runs"), gateway.folder().to_owned());
    drop(gateway);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    assert!(!folder.exists());
    Ok(())
}

#[tokio::test]
async fn the_clock_of_a_child_can_be_shifted() -> Result<(), Error> {
    let gateway = stub().envs(lab::faketime(-20 * 365 * 86_400)?).start().await?;
    let year: u32 = gateway.log().lines().last().and_then(|line| line.parse().ok()).expect("a year");
    let real =
        1970 + std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs() / (365 * 86_400 + 21_600);
    assert!((19..=21).contains(&(real - u64::from(year))), "{year}");
    Ok(())
}

#[tokio::test]
async fn requests_go_out_as_written() -> Result<(), Error> {
    let addr = echo().await;
    let response = Request::new("PUT", "//x?%zz").http10().from([127, 0, 0, 2]).send(addr).await?;
    assert!(response.text().starts_with("PUT //x?%zz HTTP/1.0 from 127.0.0.2\n"));
    assert_eq!((response.version.as_str(), response.status), ("HTTP/1.1", 200));
    let mut connection = Connection::open(addr, None).await?;
    for target in ["/1", "/2"] {
        assert!(connection.send(&Request::get(target)).await?.text().contains(target));
    }
    connection.write(b"GET /3 HTTP/1.1\r\n\r\nGET /4 HTTP/1.1\r\nConnection: close\r\n\r\n").await?;
    assert!(connection.read(false).await?.text().contains("/3"));
    assert!(String::from_utf8_lossy(&connection.closed(Duration::from_secs(60)).await?).contains("GET /4"));
    let all = raw(addr, b"X / HTTP/1.0\r\nConnection: close\r\n\r\n").await?;
    assert!(all.starts_with(b"HTTP/1.1 200 OK\r\n"));
    Ok(())
}

#[tokio::test]
async fn a_storm_asks_for_every_host_once_and_keeps_their_order() -> Result<(), Error> {
    let addr = echo().await;
    let ip: IpAddr = [192, 0, 2, 1].into();
    let hosts: Vec<_> = (0..500).map(|number| (format!("h{number}.dyn.example"), ip)).collect();
    let bodies = storm(addr, ("router1", "secret"), &hosts, 20).await?;
    for ((host, _), body) in hosts.iter().zip(&bodies) {
        assert!(body.starts_with(&format!("GET /nic/update?hostname={host}&myip=192.0.2.1 HTTP/1.1 ")), "{body}");
    }
    assert_eq!(bodies.len(), 500);
    Ok(())
}

#[test]
fn a_digest_is_that_of_the_contract() {
    assert_eq!(lab::digest("abc"), "$sha256$ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
    assert_ne!(lab::new_secret(), lab::new_secret());
}

#[tokio::test]
async fn the_program_is_looked_for_beside_the_tests() {
    if let Err(error) = Gateway::start("nonsense = 1").await {
        assert!(error.to_string().contains("dyngate"), "{error}");
    }
}
