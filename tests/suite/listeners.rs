//! Listeners that are no plain TCP port: unix sockets, sockets of systemd, both families on one port; and what one source
//! or one client may hold.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use lab::http::{Connection, Request};
use lab::{Gateway, Key, Kind, Port, Server, Setup, soon};
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout};

use crate::deploying::{Running, command, find, run};
use crate::stage::{Config, LOGIN, SECRET, ZONE, program};

/// gateway.toml with other listeners, and other lines in `[http]`.
fn toml(config: &Config, listen: &str, more: &str) -> String {
    let toml = config.toml();
    assert!(toml.contains("[http]\nlisten = [\"127.0.0.1:0\"]\n"), "{toml}");
    toml.replace("[http]\nlisten = [\"127.0.0.1:0\"]\n", &format!("[http]\nlisten = {listen}\n{more}\n"))
}

async fn start(toml: &str) -> Gateway {
    Gateway::builder(program()).config(toml).start().await.unwrap()
}

fn curl(socket: &Path, target: &str, more: &[&str]) -> String {
    let mut curl = command("curl");
    curl.args(["--silent", "--show-error", "--user", &format!("{LOGIN}:{SECRET}"), "--unix-socket"]).arg(socket);
    run(curl.args(more).arg(format!("http://localhost{target}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_is_served_and_its_file_comes_and_goes() {
    let key = Key::generate("k");
    let primary = Server::start(Kind::Knot, Setup::new().key(&key).zone(ZONE)).await.unwrap();
    let config = Config::new(&key, primary.addr());
    let mut gateway = start(&toml(&config, "[\"unix:http.sock\", \"127.0.0.1:0\"]", "")).await;
    let socket = gateway.folder().join("http.sock");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
    let update = "/nic/update?hostname=home.dyn.example";
    assert_eq!(curl(&socket, &format!("{update}&myip=203.0.113.1"), &[]), "good 203.0.113.1");
    assert_eq!(curl(&socket, update, &[]), "badip", "a unix peer has no address");
    assert_eq!(curl(&socket, update, &["-H", "X-Forwarded-For: 203.0.113.2"]), "badip", "nor is it believed");
    assert_eq!(curl(&socket, "/myip", &[]), "badip");
    let ready = fs::read_to_string(gateway.folder().join("ready.json")).unwrap();
    assert!(ready.contains(&format!("\"http\":\"unix:{}\"", socket.display())), "{ready}");

    // A second one must not take it over; after SIGKILL the file is stale, and the next start takes it.
    let listen = format!("[\"unix:{}\"]", socket.display());
    let file = gateway.folder().join("second.toml");
    fs::write(&file, toml(&config, &listen, "")).unwrap();
    let second = command_of(&file).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("another program does"), "{said}");
    gateway.kill();
    assert!(socket.exists());
    gateway.start_again().await.unwrap();
    assert_eq!(curl(&socket, &format!("{update}&myip=203.0.113.1"), &[]), "nochg 203.0.113.1");
    assert_eq!(gateway.stop().await.unwrap().code(), Some(0));
    assert!(!socket.exists(), "removed at the stop");
}

fn command_of(file: &Path) -> std::process::Command {
    let mut command = std::process::Command::new(program());
    command.arg("serve").arg("--config").arg(file);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_on_a_unix_socket_names_the_client() {
    let key = Key::generate("k");
    let primary = Server::start(Kind::Knot, Setup::new().key(&key).zone(ZONE)).await.unwrap();
    let mut config = Config::new(&key, primary.addr());
    config.zone = "allow = [\"127.0.0.0/8\"]".to_owned();
    let gateway = start(&toml(&config, "[\"unix:http.sock\"]", "trusted_proxies = [\"unix\"]")).await;
    let (folder, socket) = (tempfile::tempdir().unwrap(), gateway.folder().join("http.sock"));
    let here = folder.path().display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {here}/{kind};\n"))
        .concat();
    let conf = folder.path().join("nginx.conf");
    let started = lab::elsewhere(async || {
        let address = crate::deploying::address();
        let text = format!(
            "daemon off;\nmaster_process off;\npid {here}/nginx.pid;\nerror_log {here}/error.log info;\n\
             events {{ worker_connections 64; }}\nhttp {{\n{temporary}access_log off;\nserver {{\nlisten {address}:10080;\n\
             location / {{ proxy_pass http://unix:{}; proxy_http_version 1.1; proxy_set_header X-Forwarded-For $remote_addr; }}\n\
             }}\n}}\n",
            socket.display()
        );
        fs::write(&conf, text).unwrap();
        let mut nginx = command("nginx");
        nginx.arg("-e").arg(folder.path().join("start.log")).arg("-p").arg(folder.path()).arg("-c").arg(&conf);
        let mut running = Running::start(nginx, folder.path());
        let front = SocketAddr::from((address, 10080));
        running.until(|| async move { tokio::net::TcpStream::connect(front).await.is_ok() }).await?;
        Ok((running, front))
    });
    let (running, front) = started.await.unwrap();
    let request = Request::get("/nic/update?hostname=home.dyn.example").basic(LOGIN, SECRET);
    let forged = request.from([127, 0, 0, 7]).header("X-Forwarded-For", "203.0.113.66");
    assert_eq!(forged.send(front).await.unwrap().text(), "good 127.0.0.7", "{}", running.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn both_families_on_one_port() {
    let config = Config::new(&Key::generate("k"), "127.0.0.1:1".parse().unwrap());
    let started = lab::at_free_port(async |port: Port| {
        let listen = format!("[\"0.0.0.0:{0}\", \"[::]:{0}\"]", port.number());
        let gateway = Gateway::builder(program()).config(&toml(&config, &listen, "")).start().await?;
        Ok((gateway, port))
    });
    let (gateway, port) = started.await.unwrap();
    for (address, shown) in [("127.0.0.1", "127.0.0.1\n"), ("::1", "::1\n")] {
        let address = SocketAddr::new(address.parse::<IpAddr>().unwrap(), port.number());
        assert_eq!(Request::get("/myip").send(address).await.unwrap().text(), shown);
    }
    assert_eq!(gateway.log().matches("listening for routers").count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_hands_over_its_sockets_by_name() {
    let Some(activate) = find("systemd-socket-activate") else {
        eprintln!("SKIPPED: systemd-socket-activate is not installed, socket activation was not tried");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let config = Config::new(&Key::generate("k"), "127.0.0.1:1".parse().unwrap());
    let certificates = crate::tls::Certificates::new();
    let file = folder.path().join("gateway.toml");
    let tls = certificates.section("[\"systemd:https\"]");
    fs::write(&file, toml(&config, "[\"systemd:http\"]", &tls)).unwrap();
    let started = lab::elsewhere(async || {
        let scratch = tempfile::tempdir().unwrap();
        let [four, six, https] = [Port::reserve()?, Port::reserve()?, Port::reserve()?];
        let six_addr = SocketAddr::new("::1".parse().unwrap(), six.number());
        let (socket, ready) = (scratch.path().join("http.sock"), scratch.path().join("ready.json"));
        let mut activate = std::process::Command::new(&activate);
        for listen in [four.addr().to_string(), six_addr.to_string(), socket.display().to_string()] {
            activate.args(["-l", &listen]);
        }
        activate.args(["-l", &https.addr().to_string(), "-l", scratch.path().join("idle.sock").to_str().unwrap()]);
        activate.args(["--fdname=http:http:http:https:nobody", "--"]).arg(program());
        activate.args(["serve", "--config"]).arg(&file).arg("--ready-file").arg(&ready);
        let mut running = Running::start(activate, scratch.path());
        // It runs the program when the first one knocks, and that connection is served too.
        let knocks = four.addr();
        running.until(|| async move { tokio::net::TcpStream::connect(knocks).await.is_ok() }).await?;
        running.until(|| async { ready.exists() }).await?;
        Ok((running, scratch, [four, six, https], six_addr))
    });
    let (running, scratch, [four, _six, https], six) = started.await.unwrap();
    let (four, https) = (four.addr(), https.addr());
    let (socket, ready) = (scratch.path().join("http.sock"), scratch.path().join("ready.json"));
    assert_eq!(Request::get("/myip").send(four).await.unwrap().text(), "127.0.0.1\n", "{}", running.log());
    assert_eq!(Request::get("/myip").send(six).await.unwrap().text(), "::1\n");
    assert_eq!(curl(&socket, "/myip", &[]), "badip");
    assert_eq!(curl_insecure(https), "127.0.0.1\n");
    let log = running.log();
    assert!(log.contains("no listener takes") && log.contains("nobody"), "{log}");
    let said = fs::read_to_string(&ready).unwrap();
    assert!(
        said.contains(&format!("\"https\":\"{https}\"")) && said.contains(&format!("\"http\":\"{four}\"")),
        "{said}"
    );

    let alone = command_of(&file).output().unwrap();
    let said = String::from_utf8_lossy(&alone.stderr).into_owned();
    assert_eq!(alone.status.code(), Some(1));
    assert!(said.contains("FileDescriptorName=http"), "{said}");
}

fn curl_insecure(https: SocketAddr) -> String {
    run(command("curl").args(["--silent", "--insecure", "--noproxy", "*", &format!("https://{https}/myip")]))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_source_holds_so_many_connections_and_no_other_feels_it() {
    let mut config = Config::new(&Key::generate("k"), "127.0.0.1:1".parse().unwrap());
    config.more = "[limits]\nsource = { burst = 1000, per_minute = 1000 }\n".to_owned();
    let more = "connections_per_source = 3\ntrusted_proxies = [\"127.0.0.9/32\"]";
    let gateway = start(&toml(&config, "[\"127.0.0.1:0\", \"127.0.0.1:0\"]", more)).await;
    let open = |source: [u8; 4]| Connection::open(gateway.http(), Some(source.into()));
    let ask = Request::get("/myip");
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut connection = open([127, 0, 0, 1]).await.unwrap();
        assert_eq!(connection.send(&ask).await.unwrap().status, 200);
        held.push(connection);
    }
    let refused = open([127, 0, 0, 1]).await.unwrap().read(false).await.unwrap();
    assert_eq!((refused.status, refused.text().as_str()), (503, "911"));
    assert_eq!(refused.header("Retry-After"), Some("60"));
    for source in [[127, 0, 0, 2], [127, 0, 0, 9], [127, 0, 0, 9], [127, 0, 0, 9], [127, 0, 0, 9]] {
        let mut connection = open(source).await.unwrap();
        assert_eq!(connection.send(&ask).await.unwrap().status, 200, "{source:?}");
        held.push(connection);
    }
    held.remove(0);
    soon("the place is free again", async || {
        let mut again = open([127, 0, 0, 1]).await.unwrap();
        again.send(&ask).await.is_ok_and(|answer| answer.status == 200)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_reads_his_answers_is_cut() {
    let config = Config::new(&Key::generate("k"), "127.0.0.1:1".parse().unwrap());
    let gateway = start(&toml(&config, "[\"unix:http.sock\"]", "trusted_proxies = [\"unix\"]")).await;
    let mut stream = UnixStream::connect(gateway.folder().join("http.sock")).await.unwrap();
    let requests = "GET /nic/update HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100);
    let start = Instant::now();
    let ended = timeout(Duration::from_secs(120), async {
        loop {
            if let Err(error) = stream.write_all(requests.as_bytes()).await {
                return error;
            }
        }
    });
    let error = ended.await.expect("the gateway ends it");
    assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
    assert!(start.elapsed().as_secs() >= 19, "not before its time: {:?}", start.elapsed());
}
