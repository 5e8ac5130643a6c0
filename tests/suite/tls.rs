//! `[http.tls]` as clients meet it, and as an operator does who renews, forgets or breaks a certificate.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lab::http::{Connection, Request, raw};
use lab::{Gateway, Key, Kind, Server, Setup, soon};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::deploying::{command, run};
use crate::stage::{Config, LOGIN, SECRET, ZONE, program};

const NAME: &str = "dyndns.example.net";
const DAY: Duration = Duration::from_secs(86_400);

/// An authority of the test's own and the files that its certificates are written to.
pub(crate) struct Certificates {
    issuer: Issuer<'static, KeyPair>,
    folder: TempDir,
}

impl Certificates {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "the authority of a test");
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("authority.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        let this = Self { issuer: Issuer::new(params, key), folder };
        this.renew(90 * DAY);
        this
    }

    /// A certificate that is valid for so long, and its key.
    pub(crate) fn issue(&self, valid: Duration) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
        params.not_before = (SystemTime::now() - 100 * DAY).into();
        params.not_after = (SystemTime::now() - DAY + valid + DAY).into();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file as certbot does: a new one is put in the place of the old.
    pub(crate) fn put(&self, name: &str, text: &str) {
        let new = self.path("new");
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(&new, self.path(name)).unwrap();
    }

    pub(crate) fn renew(&self, valid: Duration) {
        let (certificate, key) = self.issue(valid);
        self.put("fullchain.pem", &certificate);
        self.put("privkey.pem", &key);
    }

    pub(crate) fn section(&self, listen: &str) -> String {
        let (certificate, key) = (self.path("fullchain.pem"), self.path("privkey.pem"));
        format!("[http.tls]\nlisten = {listen}\ncertificate = {certificate:?}\nprivate_key = {key:?}\n")
    }

    /// A TLS connection, verified.
    async fn connect(&self, address: SocketAddr) -> TlsStream<TcpStream> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.path("authority.pem")).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let connector = TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth()));
        let stream = TcpStream::connect(address).await.unwrap();
        connector.connect(ServerName::try_from(NAME).unwrap(), stream).await.unwrap()
    }

    /// The certificate that a new connection is shown.
    pub(crate) async fn shown(&self, address: SocketAddr) -> Vec<u8> {
        let stream = self.connect(address).await;
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    }

    pub(crate) fn current(&self) -> Vec<u8> {
        CertificateDer::from_pem_file(self.path("fullchain.pem")).unwrap().to_vec()
    }
}

async fn gateway(certificates: &Certificates, primary: SocketAddr, key: &Key) -> Gateway {
    let mut config = Config::new(key, primary);
    config.more = certificates.section("[\"127.0.0.1:0\", \"127.0.0.1:0\"]");
    config.start().await
}

/// Waits for what a log will hold.
pub(crate) async fn until_logged(gateway: &Gateway, words: &str) {
    soon(words, async || gateway.log().contains(words)).await;
}

async fn on(stream: &mut TlsStream<TcpStream>, target: &str) -> String {
    let request = Request::get(target).basic(LOGIN, SECRET).octets(([127, 0, 0, 1], 443).into());
    stream.write_all(&request).await.unwrap();
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer).await.unwrap();
    String::from_utf8(answer[..length].to_vec()).unwrap()
}

fn s_client(address: SocketAddr, arguments: &[&str]) -> Output {
    let mut openssl = command("openssl");
    openssl.args(["s_client", "-connect", &address.to_string(), "-servername", NAME]).args(arguments);
    openssl.stdin(Stdio::null()).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn real_clients_speak_tls_1_2_and_1_3_and_nothing_older_beside_plain_http() {
    let (key, certificates) = (Key::generate("k"), Certificates::new());
    let primary = Server::start(Kind::Knot, Setup::new().key(&key).zone(ZONE)).await.unwrap();
    let gateway = gateway(&certificates, primary.addr(), &key).await;
    let https = gateway.https().unwrap();
    let authority = certificates.path("authority.pem");
    let curl = |more: &[&str], last: u8| {
        let mut curl = command("curl");
        curl.args(["--silent", "--show-error", "--noproxy", "*", "--cacert"]).arg(&authority);
        curl.args(["--user", &format!("{LOGIN}:{SECRET}"), "--resolve", &format!("{NAME}:{}:127.0.0.1", https.port())]);
        curl.args(more);
        curl.arg(format!("https://{NAME}:{}/nic/update?hostname=home.dyn.example&myip=203.0.113.{last}", https.port()));
        curl
    };
    assert_eq!(run(&mut curl(&[], 1)), "good 203.0.113.1");
    assert_eq!(run(&mut curl(&["--tls-max", "1.2"], 2)), "good 203.0.113.2");
    assert_eq!(run(&mut curl(&["--tlsv1.3", "--http2"], 3)), "good 203.0.113.3");
    assert_eq!(run(&mut curl(&["--http1.0"], 4)), "good 203.0.113.4");
    let old = curl(&["--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0", "--tlsv1.0"], 5).output().unwrap();
    assert!(!old.status.success() && old.stdout.is_empty(), "{old:?}");
    let stranger = command("curl").args(["--silent", "--noproxy", "*", &format!("https://{https}/")]).output().unwrap();
    assert_eq!(stranger.status.code(), Some(60), "an authority that nobody knows");

    for (arguments, says) in [
        (&["-tls1_2", "-alpn", "h2,http/1.1"][..], "ALPN protocol: http/1.1"),
        (&["-tls1_3", "-alpn", "h2,http/1.1"], "ALPN protocol: http/1.1"),
        (&["-tls1_2"], "Protocol  : TLSv1.2"),
        (&["-tls1_3"], "New, TLSv1.3"),
    ] {
        let output = s_client(https, arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains(says), "{arguments:?} {says}\n{text}");
    }
    for version in ["-tls1", "-tls1_1"] {
        let output = s_client(https, &[version, "-cipher", "DEFAULT@SECLEVEL=0"]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains(" alert "), "{version}\n{text}");
    }

    // Plain HTTP beside it, on a port of its own; on the TLS port it is ended, not reset.
    let plain = Request::get("/nic/update?hostname=home.dyn.example&myip=203.0.113.9").basic(LOGIN, SECRET);
    assert_eq!(plain.send(gateway.http()).await.unwrap().text(), "good 203.0.113.9");
    let alert = raw(https, &plain.octets(https)).await.expect("closed, not reset");
    assert!(alert.len() < 10 && !alert.starts_with(b"HTTP"), "{alert:?}");
    assert_eq!(run(&mut curl(&[], 10)), "good 203.0.113.10", "the listener lives on");
    assert!(!gateway.log().contains("panic"), "{}", gateway.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_shown_and_no_connection_is_dropped() {
    let (key, certificates) = (Key::generate("k"), Certificates::new());
    let primary = Server::start(Kind::Knot, Setup::new().key(&key).zone(ZONE)).await.unwrap();
    let mut gateway = gateway(&certificates, primary.addr(), &key).await;
    let https = gateway.https().unwrap();
    let update = |last: u8| format!("/nic/update?hostname=home.dyn.example&myip=203.0.113.{last}");
    let mut open = certificates.connect(https).await;
    assert!(on(&mut open, &update(1)).await.ends_with("good 203.0.113.1"));
    let first = certificates.shown(https).await;
    assert_eq!(first, certificates.current());

    certificates.renew(90 * DAY);
    until_logged(&gateway, "new connections get the new certificate").await;
    assert!(on(&mut open, "/myip").await.contains("127.0.0.1"), "an idle one would end after 10 s");
    let second = certificates.shown(https).await;
    assert!(second == certificates.current() && second != first);

    // Half a renewal, and then nonsense: the old one stays, and each is told once.
    let (_, foreign_key) = certificates.issue(90 * DAY);
    certificates.put("privkey.pem", &foreign_key);
    until_logged(&gateway, "this is not the private key of the certificate").await;
    assert!(on(&mut open, "/myip").await.contains("127.0.0.1"), "an idle one would end after 10 s");
    assert_eq!(certificates.shown(https).await, second);
    certificates.put("fullchain.pem", "");
    until_logged(&gateway, "this file is empty").await;
    assert!(on(&mut open, "/myip").await.contains("127.0.0.1"), "an idle one would end after 10 s");
    assert_eq!(certificates.shown(https).await, second);
    fs::remove_file(certificates.path("fullchain.pem")).unwrap();
    until_logged(&gateway, "No such file").await;
    assert!(on(&mut open, "/myip").await.contains("127.0.0.1"), "an idle one would end after 10 s");
    assert_eq!(certificates.shown(https).await, second);
    let (certificate, good_key) = certificates.issue(Duration::ZERO);
    certificates.put("privkey.pem", &good_key);
    certificates.put("fullchain.pem", &certificate);
    until_logged(&gateway, "the certificate expired at").await;
    assert!(on(&mut open, "/myip").await.contains("127.0.0.1"), "an idle one would end after 10 s");
    assert_eq!(certificates.shown(https).await, second);

    certificates.renew(90 * DAY);
    soon("the new certificate", async || certificates.shown(https).await == certificates.current()).await;
    // The connection of the beginning has outlived them all.
    assert!(on(&mut open, &update(2)).await.ends_with("good 203.0.113.2"));
    let log = gateway.log();
    for words in ["this is not the private key", "this file is empty", "No such file", "the certificate expired at"] {
        assert_eq!(log.matches(words).count(), 1, "{words}\n{log}");
    }
    let body = good_key.lines().nth(1).unwrap();
    assert!(!log.contains(body), "no key in a log");

    gateway.reload().unwrap();
    until_logged(&gateway, "the certificate is the same").await;
    assert_eq!(gateway.stop().await.unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_reads_the_pair_at_once() {
    let certificates = Certificates::new();
    let mut gateway = gateway(&certificates, "127.0.0.1:1".parse().unwrap(), &Key::generate("k")).await;
    certificates.renew(90 * DAY);
    gateway.reload().unwrap();
    until_logged(&gateway, "new connections get the new certificate").await;
    assert_eq!(certificates.shown(gateway.https().unwrap()).await, certificates.current());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_pair_at_the_start_is_64_and_check_finds_it() {
    let certificates = Certificates::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    let mut config = Config::new(&Key::generate("k"), "127.0.0.1:1".parse().unwrap());
    config.more = certificates.section("[\"127.0.0.1:0\"]");
    fs::write(&file, config.toml()).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let dyngate = |arguments: &[&str]| {
        let output = Command::new(program()).args(arguments).arg("--config").arg(&file).output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code(), text)
    };
    let check = || dyngate(&["check", "--offline"]);
    let (code, text) = check();
    assert!(code == Some(0) && text.contains("All well."), "{text}");

    certificates.renew(13 * DAY + DAY / 2);
    let (code, text) = check();
    assert!(code == Some(0) && text.contains("warning: ") && text.contains("in 13 days"), "{text}");

    let expired = |certificates: &Certificates| certificates.renew(Duration::ZERO);
    let foreign = |certificates: &Certificates| {
        certificates.renew(90 * DAY);
        certificates.put("privkey.pem", &certificates.issue(90 * DAY).1);
    };
    let empty = |certificates: &Certificates| certificates.put("privkey.pem", "");
    let open = |certificates: &Certificates| {
        certificates.renew(90 * DAY);
        fs::set_permissions(certificates.path("privkey.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    };
    type Breaks<'a> = &'a dyn Fn(&Certificates);
    let cases: [(Breaks<'_>, &str); 4] = [
        (&expired, "fullchain.pem: the certificate expired at"),
        (&foreign, "privkey.pem: this is not the private key of the certificate in"),
        (&empty, "privkey.pem: this file is empty"),
        (&open, "privkey.pem: others may read this private key (mode 0644)"),
    ];
    for (break_it, says) in cases {
        break_it(&certificates);
        let (code, text) = dyngate(&["serve"]);
        assert!(code == Some(64) && text.contains(says), "{code:?} {text}");
        let (code, text) = check();
        assert!(code == Some(2) && text.contains(says), "{code:?} {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_dawdles_in_the_handshake_is_cut_and_holds_nobody_up() {
    let certificates = Certificates::new();
    let gateway = gateway(&certificates, "127.0.0.1:1".parse().unwrap(), &Key::generate("k")).await;
    let https = gateway.https().unwrap();
    let start = Instant::now();
    let mut slow = Vec::new();
    for _ in 0..50 {
        let mut connection = Connection::open(https, None).await.unwrap();
        // The beginning of a ClientHello that never goes on.
        connection.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc").await.unwrap();
        slow.push(connection);
    }
    assert_eq!(certificates.shown(https).await, certificates.current());
    for mut connection in slow {
        connection.closed(Duration::from_secs(60)).await.unwrap();
    }
    assert!(start.elapsed().as_secs() >= 9, "not before its time: {:?}", start.elapsed());
}
