//! nginx and Caddy with the page's own words between a client and the gateway.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use lab::http::{Connection, Request, Response};
use lab::{Gateway, Key, Kind, Server, Setup};
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::{Running, address, blocks, command, run, swap};
use crate::stage::{Config, LOGIN, SECRET, ZONE, program};

const HTTP: u16 = 10080;
const HTTPS: u16 = 10443;
const NAME: &str = "dyndns.example.net";

/// A proxy with the gateway and the primary behind it.
struct Front {
    running: Running,
    address: Ipv4Addr,
    gateway: Gateway,
    primary: Server,
    scratch: TempDir,
}

impl Front {
    /// `start` writes the configuration for a gateway into a folder, and says what to run.
    async fn new(start: impl Fn(&Path, Ipv4Addr, SocketAddr) -> std::process::Command) -> Self {
        let key = Key::generate("gateway-key");
        let primary = Server::start(Kind::Knot, Setup::new().key(&key).zone_with(ZONE, &[])).await.unwrap();
        let mut config = Config::new(&key, primary.addr());
        // The client comes from a loopback address, too.
        config.zone = "allow = [\"127.0.0.0/8\"]".to_owned();
        let http = blocks("toml").into_iter().find(|block| block.contains("trusted_proxies")).unwrap();
        let http = swap(http, "\"0.0.0.0:8245\", \"[::]:8245\"", "\"127.0.0.1:0\"");
        let toml = swap(&config.toml(), "[http]\nlisten = [\"127.0.0.1:0\"]\n", &http);
        let gateway = Gateway::builder(program()).config(&toml).start().await.unwrap();

        let proxy = lab::elsewhere(async || {
            let (scratch, address) = (tempfile::tempdir().unwrap(), address());
            let mut running = Running::start(start(scratch.path(), address, gateway.http()), scratch.path());
            running.until(|| async move { TcpStream::connect((address, HTTP)).await.is_ok() }).await?;
            running.until(|| async move { TcpStream::connect((address, HTTPS)).await.is_ok() }).await?;
            Ok((running, address, scratch))
        });
        let (running, address, scratch) = proxy.await.unwrap();
        Self { running, address, gateway, primary, scratch }
    }

    async fn send(&self, request: Request) -> Response {
        let answer = request.send((self.address, HTTP).into()).await;
        answer.unwrap_or_else(|error| panic!("{error}\n{}", self.running.log()))
    }

    async fn served(&self, host: &str) -> Vec<String> {
        self.primary.addresses(host).await.unwrap().iter().map(ToString::to_string).collect()
    }

    /// All that the proxy wrote down, wherever.
    fn written(&self) -> String {
        let files = fs::read_dir(self.scratch.path()).unwrap().map(|entry| entry.unwrap().path());
        let logs = files.filter(|file| file.extension().is_some_and(|extension| extension == "log"));
        logs.map(|log| fs::read_to_string(log).unwrap()).collect()
    }

    async fn client_is_told_from_proxy(&self) {
        let update = |host: &str| Request::get(&format!("/nic/update?hostname={host}")).basic(LOGIN, SECRET);
        let answer = self.send(update("own.dyn.example").from([127, 0, 0, 2])).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "good 127.0.0.2"));
        assert_eq!(answer.header("content-length"), Some("14"), "{:?}", answer.headers);
        assert_eq!(answer.header("x-dyngate-reason"), Some("changed"), "{:?}", answer.headers);
        assert_eq!(self.served("own.dyn.example").await, ["127.0.0.2"]);

        let mut forged = update("forged.dyn.example").from([127, 0, 0, 3]);
        for (name, value) in [
            ("X-Forwarded-For", "203.0.113.66"),
            ("X-Forwarded-For", "203.0.113.67, 127.0.0.1"),
            ("Forwarded", "for=203.0.113.68"),
            ("X-Real-IP", "203.0.113.69"),
        ] {
            forged = forged.header(name, value);
        }
        assert_eq!(self.send(forged).await.text(), "good 127.0.0.3");
        assert_eq!(self.served("forged.dyn.example").await, ["127.0.0.3"]);

        let direct = update("direct.dyn.example").from([127, 0, 0, 4]).header("X-Forwarded-For", "203.0.113.66");
        assert_eq!(direct.send(self.gateway.http()).await.unwrap().text(), "good 127.0.0.4", "beside the proxy");
    }

    async fn answers_pass_as_they_are(&self) {
        let bare = Request::get("/nic/update?hostname=a.dyn.example&myip=198.51.100.1");
        let answer = self.send(bare.clone()).await;
        assert_eq!((answer.status, answer.text().as_str()), (401, "badauth"));
        assert_eq!(answer.header("www-authenticate"), Some("Basic realm=\"dyngate\""));

        let bad = Request::get("/nic/update?hostname=a.dyn.example&myip=10.0.0.1").basic(LOGIN, SECRET);
        let answer = self.send(bad).await;
        assert_eq!((answer.status, answer.text().as_str()), (400, "badip"));

        let twice = Request::get("//nic//update?hostname=a.dyn.example,b.dyn.example&myip=198.51.100.1");
        let answer = self.send(twice.basic(LOGIN, SECRET).header("Host", "192.0.2.1")).await;
        assert_eq!(answer.text(), "good 198.51.100.1\ngood 198.51.100.1");

        let form = Request::post("/nic/update", "hostname=c.dyn.example&myip=198.51.100.3").basic(LOGIN, SECRET);
        assert_eq!(self.send(form).await.text(), "good 198.51.100.3");

        // lab::http takes no chunked answer for one.
        let page = self.send(Request::get("/checkip").header("Accept-Encoding", "gzip").from([127, 0, 0, 5])).await;
        assert_eq!(page.header("content-encoding"), None);
        assert!(page.text().contains("Current IP Address: 127.0.0.5<"), "{}", page.text());

        let mut old = Connection::open((self.address, HTTP).into(), None).await.unwrap();
        let answer = old.send(&bare.clone().basic(LOGIN, SECRET).http10().header("Host", NAME)).await.unwrap();
        assert_eq!(answer.text(), "nochg 198.51.100.1");
        assert_eq!(old.closed(std::time::Duration::from_secs(60)).await.unwrap(), b"", "an HTTP/1.0 connection ends");
    }

    fn tls_works(&self) {
        let mut curl = command("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--insecure",
            "--http1.1",
            "--interface",
            "127.0.0.6",
            "--noproxy",
            "*",
        ]);
        curl.args(["--user", &format!("{LOGIN}:{SECRET}"), "--resolve", &format!("{NAME}:{HTTPS}:{}", self.address)]);
        curl.arg(format!("https://{NAME}:{HTTPS}/nic/update?hostname=tls.dyn.example"));
        assert_eq!(run(&mut curl), "good 127.0.0.6");
    }

    async fn trouble_is_911_and_no_password_is_written(mut self) {
        let update = format!("/nic/update?hostname=a.dyn.example&myip=198.51.100.9&username={LOGIN}&password={SECRET}");
        self.primary.kill();
        let answer = self.send(Request::get(&update)).await;
        assert_eq!((answer.status, answer.text().as_str()), (503, "911"), "the primary is down");
        assert_eq!(answer.header("x-dyngate-reason"), Some("primary unreachable"), "{:?}", answer.headers);
        assert!(answer.header("retry-after").is_some(), "{:?}", answer.headers);

        self.gateway.stop().await.unwrap();
        let answer = self.send(Request::get(&update)).await;
        assert_eq!((answer.status, answer.text().as_str()), (503, "911"), "the gateway is down");
        assert_eq!(answer.header("retry-after"), Some("60"), "{:?}", answer.headers);
        assert_eq!(answer.header("content-length"), Some("3"), "{:?}", answer.headers);
        let written = self.written();
        assert!(!written.contains(SECRET), "{written}");
    }

    async fn holds(self) {
        self.client_is_told_from_proxy().await;
        self.answers_pass_as_they_are().await;
        self.tls_works();
        self.trouble_is_911_and_no_password_is_written().await;
    }
}

fn nginx(folder: &Path, address: Ipv4Addr, gateway: SocketAddr) -> std::process::Command {
    let [snippet] = blocks("nginx")[..] else { panic!("one block for nginx") };
    let pem = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/deploying");
    let here = folder.display();
    let mut server = snippet.to_owned();
    for (from, to) in [
        ("listen [::]:80 default_server;", String::new()),
        ("listen [::]:443 ssl default_server;", String::new()),
        ("listen 80 ", format!("listen {address}:{HTTP} ")),
        ("listen 443 ", format!("listen {address}:{HTTPS} ")),
        ("/etc/letsencrypt/live/dyndns.example.net", pem.display().to_string()),
        ("/var/log/nginx", here.to_string()),
        ("http://127.0.0.1:8245", format!("http://{gateway}")),
    ] {
        server = swap(&server, from, &to);
    }
    // What stands around it compresses and logs more than Debian's nginx.conf does.
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {here}/{kind};\n"))
        .concat();
    let file = write(
        folder,
        "nginx.conf",
        &format!(
            "daemon off;\nmaster_process off;\npid {here}/nginx.pid;\nerror_log {here}/error.log info;\n\
             events {{ worker_connections 64; }}\nhttp {{\n{temporary}access_log {here}/access.log;\n\
             gzip on;\ngzip_min_length 1;\ngzip_proxied any;\ngzip_types *;\n{server}\n}}\n"
        ),
    );
    let mut nginx = command("nginx");
    nginx.arg("-e").arg(folder.join("start.log")).arg("-p").arg(folder).arg("-c").arg(file);
    nginx
}

fn caddy(folder: &Path, address: Ipv4Addr, gateway: SocketAddr) -> std::process::Command {
    let [snippet] = blocks("caddy")[..] else { panic!("one block for Caddy") };
    // A port, an address and a certificate authority of the test's own.
    let options = format!(
        "{{\n\tadmin off\n\thttp_port {HTTP}\n\thttps_port {HTTPS}\n\tdefault_bind {address}\n\tlocal_certs\n\
         \tskip_install_trust\n\tstorage file_system {}\n",
        folder.join("store").display()
    );
    let snippet = swap(snippet, "\n{\n", &format!("\n{options}"));
    let file = write(folder, "Caddyfile", &swap(&snippet, "127.0.0.1:8245", &gateway.to_string()));
    let mut caddy = command("caddy");
    caddy.args(["run", "--adapter", "caddyfile", "--config"]).arg(file).env("HOME", folder);
    caddy.env_remove("XDG_DATA_HOME").env_remove("XDG_CONFIG_HOME");
    caddy
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let file = folder.join(name);
    fs::write(&file, text).unwrap();
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_nginx() {
    Front::new(nginx).await.holds().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_caddy() {
    Front::new(caddy).await.holds().await;
}
