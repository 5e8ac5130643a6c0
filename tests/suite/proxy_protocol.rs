//! PROXY protocol, version 2: octets made by hand, and a real haproxy in front.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use lab::http::{Connection, Request};
use lab::{Gateway, Key, Kind, Server, Setup};
use tokio::time::Instant;

use crate::deploying::{Running, address, blocks, command, run, swap};
use crate::stage::{Config, LOGIN, SECRET, ZONE, program};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, rest].concat()
}

fn v4(source: [u8; 4]) -> Vec<u8> {
    header(0x21, 0x11, &[&source[..], &[192, 0, 2, 1], &[0x12, 0x67, 0x1f, 0x90]].concat())
}

fn v6(source: &str) -> Vec<u8> {
    let source = source.parse::<std::net::Ipv6Addr>().unwrap().octets();
    // A TLV behind the addresses: PP2_TYPE_NOOP.
    header(0x21, 0x21, &[&source[..], &[0; 16], &[0x12, 0x67, 0x1f, 0x90], &[4, 0, 2, 0, 0]].concat())
}

async fn gateway(key: &Key, primary: SocketAddr, tls: Option<&crate::tls::Certificates>) -> Gateway {
    let mut config = Config::new(key, primary);
    config.zone = "allow = [\"127.0.0.0/8\"]".to_owned();
    config.more = "[limits]\nsource = { burst = 1000, per_minute = 1000 }\n".to_owned();
    let listener = "[{ address = \"127.0.0.1:0\", proxy_protocol = true }]";
    let tls = tls.map(|tls| tls.section(listener)).unwrap_or_default();
    let http = format!(
        "[http]\nlisten = {listener}\ntrusted_proxies = [\"127.0.0.2/32\", \"127.0.0.64/26\"]\nconnections_per_source = 2\n{tls}"
    );
    let toml = config.toml().replace("[http]\nlisten = [\"127.0.0.1:0\"]\n", &http);
    Gateway::builder(program()).config(&toml).env("DYNGATE_LOG", "debug").start().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_is_whom_the_header_names_and_only_trusted_proxies_may_say_it() {
    let key = Key::generate("k");
    let primary = Server::start(Kind::Knot, Setup::new().key(&key).zone(ZONE)).await.unwrap();
    let gateway = gateway(&key, primary.addr(), None).await;
    let update = Request::get("/nic/update?hostname=home.dyn.example").basic(LOGIN, SECRET);
    let forged = update.clone().header("X-Forwarded-For", "198.51.100.66");
    let send = async |header: &[u8], request: &Request| {
        let mut connection = Connection::open(gateway.http(), Some([127, 0, 0, 2].into())).await.unwrap();
        connection.write(header).await.unwrap();
        connection.send(request).await.map(|answer| answer.text())
    };
    assert_eq!(send(&v4([203, 0, 113, 7]), &update).await.unwrap(), "good 203.0.113.7");
    assert_eq!(send(&v6("2001:db8::7"), &update).await.unwrap(), "good 2001:db8::7");
    assert_eq!(send(&v6("::ffff:203.0.113.8"), &update).await.unwrap(), "good 203.0.113.8");
    assert_eq!(send(&v4([203, 0, 113, 9]), &forged).await.unwrap(), "good 203.0.113.9", "the client is no proxy");
    assert_eq!(send(&v4([127, 0, 0, 2]), &forged).await.unwrap(), "good 198.51.100.66", "a proxy behind the proxy is");
    assert_eq!(send(&header(0x20, 0, &[]), &update).await.unwrap(), "good 127.0.0.2", "LOCAL: the proxy itself");
    for unnamed in [header(0x21, 0, &[]), header(0x21, 0x31, &[b'x'; 216])] {
        assert_eq!(send(&unnamed, &update).await.unwrap(), "badip");
        assert_eq!(send(&unnamed, &forged).await.unwrap(), "badip", "nobody says who that is, nor is it believed");
    }
    // Octet by octet, with the request in the same segment as the end.
    let mut connection = Connection::open(gateway.http(), Some([127, 0, 0, 2].into())).await.unwrap();
    let whole = [v4([203, 0, 113, 10]), update.octets(gateway.http())].concat();
    let (pieces, rest) = whole.split_at(27);
    for octet in pieces {
        connection.write(&[*octet]).await.unwrap();
    }
    connection.write(rest).await.unwrap();
    assert_eq!(connection.read(false).await.unwrap().text(), "good 203.0.113.10");

    for garbage in [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 80\r\n".to_vec(),
        header(0x22, 0x11, &[0; 12]),
        header(0x21, 0x11, &[0; 11]),
        header(0x21, 0x11, &[0; 600]),
        vec![0xff; 100],
    ] {
        let answer = send(&garbage, &update).await;
        assert!(answer.is_err(), "{garbage:?}: {answer:?}");
    }
    let mut stranger = Connection::open(gateway.http(), Some([127, 0, 0, 3].into())).await.unwrap();
    let sent = stranger.write(&v4([203, 0, 113, 7])).await;
    let answer =
        if sent.is_ok() { stranger.send(&update).await.map(|answer| answer.text()) } else { Ok(String::new()) };
    assert!(!matches!(&answer, Ok(text) if !text.is_empty()), "{answer:?}");
    let log = gateway.log();
    assert!(log.contains("is no trusted proxy") && log.contains("version 1 of the PROXY protocol"), "{log}");
    assert!(!log.contains("panic"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_a_48_does_not_fill_the_listener_with_connections() {
    let gateway = gateway(&Key::generate("k"), "127.0.0.1:1".parse().unwrap(), None).await;
    let ask = async |client: &str| {
        let mut connection = Connection::open(gateway.http(), Some([127, 0, 0, 2].into())).await.unwrap();
        connection.write(&v6(client)).await.unwrap();
        // A client that is turned away is told so whether it asks or not.
        let _turned_away = connection.write(&Request::get("/myip").octets(gateway.http())).await;
        let status = connection.read(false).await.map_or(503, |answer| answer.status);
        (connection, status)
    };
    let mut held = Vec::new();
    for network in 0..40 {
        // One /56 each, as a customer of a provider that gives out /48 has 256 of.
        let (connection, status) = ask(&format!("2001:db8:0:{network:02x}00::1")).await;
        assert_eq!(status, if network < 32 { 200 } else { 503 }, "16 times two: {network}");
        held.push(connection);
    }
    assert_eq!(ask("2001:db8:1::1").await.1, 200, "another customer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_must_come_in_time_and_sources_are_counted_behind_the_proxy() {
    let gateway = gateway(&Key::generate("k"), "127.0.0.1:1".parse().unwrap(), None).await;
    let open = async |octets: &[u8]| {
        let mut connection = Connection::open(gateway.http(), Some([127, 0, 0, 2].into())).await.unwrap();
        connection.write(octets).await.unwrap();
        connection
    };
    let start = Instant::now();
    let mut silent = open(b"").await;
    let mut half = open(&SIGNATURE[..8]).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut connection = open(&v4([203, 0, 113, 7])).await;
        assert_eq!(connection.send(&Request::get("/myip")).await.unwrap().text(), "203.0.113.7\n");
        held.push(connection);
    }
    let refused = open(&v4([203, 0, 113, 7])).await.read(false).await.unwrap();
    assert_eq!((refused.status, refused.text().as_str()), (503, "911"), "two of one source, behind whichever proxy");
    let other = open(&v4([203, 0, 113, 8])).await.send(&Request::get("/myip")).await.unwrap();
    assert_eq!(other.text(), "203.0.113.8\n");
    for connection in [&mut silent, &mut half] {
        assert_eq!(connection.closed(Duration::from_secs(60)).await.unwrap(), b"");
    }
    assert!(start.elapsed().as_secs() >= 4, "not before its time: {:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_names_its_client_before_plain_http_and_before_tls() {
    let (key, certificates) = (Key::generate("k"), crate::tls::Certificates::new());
    let primary = Server::start(Kind::Knot, Setup::new().key(&key).zone(ZONE)).await.unwrap();
    let gateway = gateway(&key, primary.addr(), Some(&certificates)).await;
    let folder = tempfile::tempdir().unwrap();
    let conf = folder.path().join("haproxy.cfg");
    let (http, https) = (gateway.http(), gateway.https().unwrap());
    // The page's own words, then the same for TLS.
    let [page] = blocks("haproxy")[..] else { panic!("one block for haproxy") };
    let started = lab::elsewhere(async || {
        let front = address();
        let page = swap(page, "bind :8245", &format!("bind {front}:10080"));
        let plain = swap(&page, "127.0.0.1:8247", &format!("{http} source 127.0.0.65"));
        let tls = swap(&swap(&page, "listen dyngate", "listen tls"), "10080", "10443");
        let tls = swap(&tls, "127.0.0.1:8247", &format!("{https} source 127.0.0.66"));
        let timeouts = "defaults\n    timeout connect 5s\n    timeout client 30s\n    timeout server 30s\n";
        fs::write(&conf, format!("global\n    maxconn 100\n{timeouts}{plain}{tls}")).unwrap();
        let mut haproxy = command("haproxy");
        haproxy.args(["-db", "-f"]).arg(&conf);
        let mut running = Running::start(haproxy, folder.path());
        running.until(|| async move { tokio::net::TcpStream::connect((front, 10080)).await.is_ok() }).await?;
        Ok((running, front))
    });
    let (running, front) = started.await.unwrap();
    let plain = SocketAddr::from((front, 10080));
    let update = Request::get("/nic/update?hostname=home.dyn.example").basic(LOGIN, SECRET);
    let answer = update.from([127, 0, 0, 7]).header("X-Forwarded-For", "203.0.113.66").send(plain).await;
    assert_eq!(answer.unwrap().text(), "good 127.0.0.7", "{}", running.log());
    let mut curl = command("curl");
    curl.args(["--silent", "--show-error", "--insecure", "--noproxy", "*", "--interface", "127.0.0.8"]);
    curl.args(["--user", &format!("{LOGIN}:{SECRET}")]);
    curl.arg(format!("https://{front}:10443/nic/update?hostname=home.dyn.example"));
    assert_eq!(run(&mut curl), "good 127.0.0.8");
}
