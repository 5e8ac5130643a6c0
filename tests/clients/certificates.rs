//! Certificates for a dynamic host and the wildcard below it: Debian's `pebble` as the authority, `lego` and certbot with its
//! plugins as clients, and the gateway between them and a real name server, at which the authority looks.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lab::{Error, Gateway, Key, Kind, Port, RecordType, Server, Setup, at_free_port, digest, soon};
use tempfile::TempDir;

use crate::authority::Authority;
use crate::namespace::{IPV4, inside_with};
use crate::packages::{installed, modules};
use crate::program::{Program, Ran, find, said};

const ZONE: &str = "dyn.example";
const HOME: &str = "home.dyn.example";
const ANY: &str = "*.home.dyn.example";
const AT_HOME: &str = "_acme-challenge.home.dyn.example";
const LOGIN: &str = "router1";
const OTHER: &str = "router2";
const SECRET: &str = "a-generated-secret";
const OTHERS: &str = "another-generated-secret";
const DUCKDNS: &str = "duckdns.org";
const DUCK: &str = "duck.duckdns.org";
const LIMIT: Duration = Duration::from_secs(90);

/// A secret without a login is somebody's alone.
fn secret_of(login: &str) -> &'static str {
    if login == OTHER { OTHERS } else { SECRET }
}

/// A name server, the gateway, the authority that asks the one, and what its clients trust.
struct Stage {
    primary: Server,
    gateway: Gateway,
    pebble: Program,
    directory: String,
    folder: TempDir,
}

/// The programs of Debian, or the word that they are not there.
fn are_installed(programs: &[&str]) -> bool {
    let missing = programs.iter().find(|program| find(program).is_none());
    match missing {
        Some(program) => said("SKIPPED", program, "not installed; scripts/install-deps.sh"),
        None => said("RAN", &programs.join(", "), "Debian's"),
    }
    missing.is_none()
}

impl Stage {
    async fn new(kind: Kind, acme: &str) -> Self {
        Self::listening(kind, acme, "127.0.0.1:0", None).await
    }

    /// With the listener there, and one more for TLS under these names.
    async fn listening(kind: Kind, acme: &str, http: &str, tls: Option<(&str, &[&str])>) -> Self {
        let key = Key::generate("gateway-key");
        let setup = Setup::new().key(&key).zone(ZONE).zone(DUCKDNS);
        let primary = Server::start(kind, setup).await.expect("the primary starts");
        let folder = TempDir::with_prefix("dyngate-acme-").expect("a folder");
        let authority = Authority::new();
        let tls = tls.map_or_else(String::new, |(listen, names)| {
            let (certificate, private) = authority.issue(names);
            write(&folder, "gateway.pem", &certificate);
            write(&folder, "gateway.key", &private);
            let file = |name| folder.path().join(name);
            let (chain, key) = (file("gateway.pem"), file("gateway.key"));
            format!("[http.tls]\nlisten = [\"{listen}\"]\ncertificate = {chain:?}\nprivate_key = {key:?}\n")
        });
        let zone = |name| {
            let (key, primary) = (&key.name, primary.addr());
            format!("[[zone]]\nname = \"{name}\"\nkey = \"{key}\"\nprimaries = [\"{primary}\"]\n\n")
        };
        let account = |login, secret, hosts: &[&str]| {
            format!("[[account]]\nlogin = \"{login}\"\nsecret = \"{}\"\nhosts = {hosts:?}\n\n", digest(secret))
        };
        // Its limits are those that come with it.
        let toml = format!(
            "{}\n{}{}{}{}[http]\nlisten = [\"{http}\"]\n{tls}[admin]\nlisten = \"127.0.0.1:0\"\n[acme]\ndns01 = true\n{acme}",
            key.toml(),
            zone(ZONE),
            zone(DUCKDNS),
            account(LOGIN, SECRET, &[HOME, DUCK]),
            account(OTHER, OTHERS, &["other.dyn.example"]),
        );
        let built = Path::new(env!("CARGO_BIN_EXE_dyngate"));
        let gateway = Gateway::builder(built).config(&toml).start().await.expect("the gateway starts");
        let (certificate, private) = authority.issue(&["localhost"]);
        write(&folder, "gateway.toml", &toml);
        write(&folder, "ca.pem", authority.certificate());
        write(&folder, "pebble.pem", &certificate);
        write(&folder, "pebble.key", &private);
        let (pebble, port) =
            at_free_port(async |port| start_pebble(&folder, &primary, port).await).await.expect("pebble starts");
        let directory = format!("https://localhost:{}/dir", port.number());
        Self { primary, gateway, pebble, directory, folder }
    }

    /// Runs a client with variables, in a folder of its own, which is new.
    async fn run(&self, name: &str, variables: &[(&str, String)], program: &str, arguments: &[&str]) -> Ran {
        let folder = self.folder.path().join(name);
        fs::create_dir_all(&folder).expect("a folder");
        let variables: Vec<_> = variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let arguments: Vec<_> =
            variables.iter().map(String::as_str).chain([program]).chain(arguments.iter().copied()).collect();
        Program::start("env", &arguments, &folder).ended(LIMIT).await
    }

    fn ca(&self) -> String {
        self.path("ca.pem").display().to_string()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn base(&self, path: &str) -> String {
        format!("http://{}{path}", self.gateway.http())
    }

    async fn lego(&self, folder: &str, login: &str, mode: &str) -> Ran {
        let variables = [
            ("LEGO_CA_CERTIFICATES", self.ca()),
            ("HTTPREQ_ENDPOINT", self.base("/httpreq")),
            ("HTTPREQ_USERNAME", login.to_owned()),
            ("HTTPREQ_PASSWORD", secret_of(login).to_owned()),
            ("HTTPREQ_MODE", mode.to_owned()),
            ("HTTPREQ_POLLING_INTERVAL", "1".to_owned()),
        ];
        self.lego_with("httpreq", folder, &variables, &["-d", HOME, "-d", ANY]).await
    }

    async fn lego_with(&self, provider: &str, folder: &str, variables: &[(&str, String)], names: &[&str]) -> Ran {
        let resolver = self.primary.addr().to_string();
        let account = ["--server", &self.directory, "--accept-tos", "--email", "a@b.example", "--path", "."];
        let dns = ["--dns", provider, "--dns.resolvers", &resolver, "--dns.disable-cp"];
        self.run(folder, variables, "lego", &[&account[..], &dns, names, &["run"]].concat()).await
    }

    /// What `client-config` prints for a program, the secret filled in as it says.
    async fn printed(&self, program: &str) -> String {
        let (dyngate, config) = (env!("CARGO_BIN_EXE_dyngate"), self.path("gateway.toml").display().to_string());
        let url = self.base("");
        let arguments = ["client-config", HOME, "--for", program, "--url", &url, "--config", &config];
        let Ran { code, output } = self.run("printed", &[], dyngate, &arguments).await;
        assert_eq!(code, Some(0), "{output}");
        output.replace("'PASSWORD'", &format!("'{SECRET}'")).replace("\"PASSWORD\"", &format!("\"{SECRET}\""))
    }

    async fn certbot(&self, folder: &str, script: &str, plugin: &[&str]) -> Ran {
        let variables = [
            ("PYTHONPATH", modules(script).trim_start_matches("PYTHONPATH=").to_owned()),
            ("REQUESTS_CA_BUNDLE", self.ca()),
        ];
        let start = ["certonly", "-n", "--agree-tos", "--register-unsafely-without-email", "--server", &self.directory];
        let folders = ["--config-dir", ".", "--work-dir", ".", "--logs-dir", ".", "-d", HOME, "-d", ANY];
        self.run(folder, &variables, script, &[&start[..], &folders, plugin].concat()).await
    }

    /// A file of a client in its folder, which only its owner may read.
    fn write(&self, folder: &str, name: &str, text: &str) {
        fs::create_dir_all(self.path(folder)).expect("a folder");
        write(&self.folder, &format!("{folder}/{name}"), text);
    }

    /// The file is a certificate for the host and the wildcard.
    async fn assert_certificate(&self, file: &str) {
        let file = self.path(file).display().to_string();
        let show = ["x509", "-noout", "-ext", "subjectAltName", "-in", &file];
        let shown = self.run("openssl", &[], "openssl", &show).await;
        [HOME, ANY].iter().for_each(|name| shown.assert(0, &format!("DNS:{name}")));
    }

    async fn served(&self) -> usize {
        self.served_at(AT_HOME).await
    }

    async fn served_at(&self, name: &str) -> usize {
        self.primary.query(name, "TXT").await.expect("the primary answers").data(RecordType::TXT).len()
    }
}

fn write(folder: &TempDir, name: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let file = folder.path().join(name);
    fs::write(&file, text).expect("a file is written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("a file is private");
}

async fn start_pebble(folder: &TempDir, primary: &Server, port: Port) -> Result<(Program, Port), Error> {
    let config = format!(
        "{{\"pebble\": {{\"listenAddress\": \"127.0.0.1:{}\", \"certificate\": \"pebble.pem\", \"privateKey\": \"pebble.key\", \
         \"httpPort\": 5002, \"tlsPort\": 5001, \"externalAccountBindingRequired\": false}}}}",
        port.number()
    );
    write(folder, "pebble.json", &config);
    let (resolver, variables) = (primary.addr().to_string(), ["PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0"]);
    let arguments = [&variables[..], &["pebble", "-config", "pebble.json", "-dnsserver", &resolver]].concat();
    let mut pebble = Program::start("env", &arguments, folder.path());
    soon("pebble listens, or ends", async || {
        !pebble.runs() || pebble.output().contains("Listening on") && connects(&port).await
    })
    .await;
    if pebble.runs() { Ok((pebble, port)) } else { Err(Error::Protocol(pebble.output())) }
}

async fn connects(port: &Port) -> bool {
    tokio::net::TcpStream::connect(port.addr()).await.is_ok()
}

async fn lego_obtains_name_and_wildcard_in_both_modes(kind: Kind) {
    if !are_installed(&["pebble", "lego"]) {
        return;
    }
    let stage = Stage::new(kind, "").await;
    for mode in ["", "RAW"] {
        let folder = format!("lego{mode}");
        let ran = stage.lego(&folder, LOGIN, mode).await;
        assert_eq!(ran.code, Some(0), "{ran:#?}\n{}\n{}", stage.pebble.output(), stage.gateway.log());
        stage.assert_certificate(&format!("{folder}/certificates/{HOME}.crt")).await;
        assert_eq!(stage.served().await, 0, "nothing is left");
    }
    let log = stage.gateway.log();
    for path in ["/httpreq/present", "/httpreq/cleanup"] {
        assert_eq!(log.matches(&format!("path=\"{path}\"")).count(), 4, "{log}");
    }
    // Somebody else's credential gets no certificate, and the zone is as it was.
    let serial = stage.primary.serial(ZONE).await.expect("the primary answers");
    let refused = stage.lego("other", OTHER, "").await;
    refused.assert(1, "403");
    assert!(stage.gateway.log().contains("outcome=\"not_your_host\""), "{}", stage.gateway.log());
    assert_eq!(stage.primary.serial(ZONE).await.expect("the primary answers"), serial);
    stage.lego("stranger", "nobody", "").await.assert(1, "401");
}

#[tokio::test(flavor = "multi_thread")]
async fn lego_obtains_name_and_wildcard_on_knot_where_installed() {
    lego_obtains_name_and_wildcard_in_both_modes(Kind::Knot).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lego_obtains_name_and_wildcard_on_bind_where_installed() {
    lego_obtains_name_and_wildcard_in_both_modes(Kind::Bind).await;
}

/// The names of services that lego has built in are the gateway's here; each of them has a secret and no login.
#[tokio::test(flavor = "multi_thread")]
async fn lego_obtains_them_in_the_words_of_duckdns_and_he_net_where_namespaces_are_allowed() {
    let test = "certificates::lego_obtains_them_in_the_words_of_duckdns_and_he_net_where_namespaces_are_allowed";
    let names = ["www.duckdns.org", "dyn.dns.he.net"];
    if !are_installed(&["pebble", "lego"]) || !inside_with(test, &names).await {
        return;
    }
    let (http, https) = (format!("{IPV4}:80"), format!("{IPV4}:443"));
    let stage = Stage::listening(Kind::Knot, "", &http, Some((&https, &names))).await;
    let variables = |variable: &'static str, secret: String| {
        vec![
            ("LEGO_CA_CERTIFICATES", stage.ca()),
            ("SSL_CERT_FILE", stage.ca()),
            // Between the name and the wildcard it would rest for a minute.
            ("DUCKDNS_SEQUENCE_INTERVAL", "1".to_owned()),
            ("DUCKDNS_POLLING_INTERVAL", "1".to_owned()),
            ("HURRICANE_SEQUENCE_INTERVAL", "1".to_owned()),
            ("HURRICANE_POLLING_INTERVAL", "1".to_owned()),
            (variable, secret),
        ]
    };
    for (provider, variable, host, told, wrong) in [
        ("duckdns", "DUCKDNS_TOKEN", DUCK, SECRET.to_owned(), OTHERS.to_owned()),
        ("hurricane", "HURRICANE_TOKENS", HOME, format!("{HOME}:{SECRET}"), format!("{HOME}:{OTHERS}")),
    ] {
        let any = format!("*.{host}");
        let names = ["-d", host, "-d", &any];
        let refused =
            stage.lego_with(provider, &format!("{provider}-wrong"), &variables(variable, wrong), &names).await;
        assert_eq!(refused.code, Some(1), "{refused:#?}");
        let ran = stage.lego_with(provider, provider, &variables(variable, told), &names).await;
        assert_eq!(ran.code, Some(0), "{ran:#?}\n{}\n{}", stage.pebble.output(), stage.gateway.log());
        assert!(stage.path(&format!("{provider}/certificates/{host}.crt")).is_file(), "{ran:#?}");
        assert_eq!(stage.served_at(&format!("_acme-challenge.{host}")).await, 0, "nothing is left");
    }
}

/// The accounts that an acme-dns server would have registered, as its clients keep them.
fn registrations() -> String {
    format!(
        "{{\"{HOME}\": {{\"username\": \"{LOGIN}\", \"password\": \"{SECRET}\", \"fulldomain\": \"{AT_HOME}\", \
         \"subdomain\": \"{HOME}\", \"allowfrom\": []}}}}"
    )
}

/// The authority, its certificate and the folders are the test's; the rest is as it is printed.
#[tokio::test(flavor = "multi_thread")]
async fn what_client_config_prints_obtains_them_where_installed() {
    if !are_installed(&["pebble", "lego"]) {
        return;
    }
    let stage = Stage::new(Kind::Knot, "").await;
    let variables = [
        ("LEGO_CA_CERTIFICATES", stage.ca()),
        ("REQUESTS_CA_BUNDLE", stage.ca()),
        ("HTTPREQ_POLLING_INTERVAL", "1".to_owned()),
    ];
    let (directory, resolver) = (&stage.directory, stage.primary.addr());
    let ours = format!("\nlego --server {directory} --path . --dns.resolvers {resolver} --dns.disable-cp ");
    let lego = stage.printed("lego").await.replace("\nlego ", &ours);
    let lego = lego.replace(&format!("-d {HOME} run"), &format!("-d {HOME} -d '{ANY}' run"));
    let ran = stage.run("lego", &variables, "sh", &["-e", "-c", &lego]).await;
    assert_eq!(ran.code, Some(0), "{lego}\n{ran:#?}\n{}", stage.gateway.log());
    stage.assert_certificate(&format!("lego/certificates/{HOME}.crt")).await;
    assert_eq!(stage.served().await, 0, "nothing is left");

    let Some(script) = installed("certbot/bin/certbot") else { return };
    let folder = stage.path("certbot").display().to_string();
    let ours = format!(
        "\nenv {} {script} certonly -n --agree-tos --register-unsafely-without-email --server {directory} --config-dir . \
         --work-dir . --logs-dir . --dns-acmedns-propagation-seconds 1 -d '{ANY}' ",
        modules(&script)
    );
    let certbot = stage.printed("certbot").await.replace("\ncertbot certonly ", &ours);
    let certbot = certbot.replace("/etc/letsencrypt", &folder);
    let ran = stage.run("certbot", &variables, "sh", &["-e", "-c", &certbot]).await;
    assert_eq!(ran.code, Some(0), "{certbot}\n{ran:#?}\n{}", stage.gateway.log());
    stage.assert_certificate(&format!("certbot/live/{HOME}/cert.pem")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certbot_obtains_them_by_acme_dns_where_installed() {
    let Some(script) = installed("certbot/bin/certbot").filter(|_| are_installed(&["pebble"])) else { return };
    let stage = Stage::new(Kind::Knot, "keep = \"10s\"\n").await;
    let plugin =
        ["-a", "dns-acmedns", "--dns-acmedns-credentials", "acmedns.ini", "--dns-acmedns-propagation-seconds", "1"];
    let run = async |folder: &str, login: &str| {
        let ini = format!(
            "dns_acmedns_api_url = {}\ndns_acmedns_registration_file = {}\n",
            stage.base("/acme-dns"),
            stage.path(&format!("{folder}/accounts.json")).display()
        );
        stage.write(folder, "acmedns.ini", &ini);
        stage.write(folder, "accounts.json", &registrations().replace(LOGIN, login).replace(SECRET, secret_of(login)));
        stage.certbot(folder, &script, &plugin).await
    };
    let ran = run("ours", LOGIN).await;
    assert_eq!(ran.code, Some(0), "{ran:#?}\n{}\n{}", stage.pebble.output(), stage.gateway.log());
    stage.assert_certificate(&format!("ours/live/{HOME}/cert.pem")).await;
    soon("its values go by their age", async || stage.served().await == 0).await;
    run("others", OTHER).await.assert(1, "forbidden");
    assert_eq!(stage.served().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn certbot_obtains_them_by_httpreq_and_by_lego_inside_where_installed() {
    let Some(script) = installed("certbot/bin/certbot").filter(|_| are_installed(&["pebble"])) else { return };
    let stage = Stage::new(Kind::Bind, "").await;
    let ini = format!(
        "dns_httpreq_endpoint = {}\ndns_httpreq_username = {LOGIN}\ndns_httpreq_password = {SECRET}\n",
        stage.base("/httpreq")
    );
    stage.write("httpreq", "httpreq.ini", &ini);
    let plugin =
        ["-a", "dns-httpreq", "--dns-httpreq-credentials", "httpreq.ini", "--dns-httpreq-propagation-seconds", "1"];
    let ran = stage.certbot("httpreq", &script, &plugin).await;
    assert_eq!(ran.code, Some(0), "{ran:#?}\n{}\n{}", stage.pebble.output(), stage.gateway.log());
    stage.assert_certificate(&format!("httpreq/live/{HOME}/cert.pem")).await;
    assert_eq!(stage.served().await, 0);

    let ini = format!(
        "dns_multi_provider = acme-dns\nACME_DNS_API_BASE = {}\nACME_DNS_STORAGE_PATH = {}\nLEGO_DISABLE_CNAME_SUPPORT = true\n",
        stage.base("/acme-dns"),
        stage.path("multi/accounts.json").display()
    );
    stage.write("multi", "multi.ini", &ini);
    stage.write("multi", "accounts.json", &registrations());
    let plugin = ["-a", "dns-multi", "--dns-multi-credentials", "multi.ini", "--dns-multi-propagation-seconds", "1"];
    let ran = stage.certbot("multi", &script, &plugin).await;
    assert_eq!(ran.code, Some(0), "{ran:#?}\n{}\n{}", stage.pebble.output(), stage.gateway.log());
    stage.assert_certificate(&format!("multi/live/{HOME}/cert.pem")).await;
}
