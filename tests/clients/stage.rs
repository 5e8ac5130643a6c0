//! Knot, the gateway in front of it with its limits as they come, one account, and a folder for the client's files.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lab::{Gateway, Key, Kind, Server, Setup, digest};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::authority::Authority;
use crate::program::{Program, Ran};
use crate::rounds::Row;

pub(crate) const ZONE: &str = "dyn.example";
pub(crate) const HOME: &str = "home.dyn.example";
pub(crate) const OFFICE: &str = "office.dyn.example";
/// No account has it.
pub(crate) const STRANGE: &str = "strange.dyn.example";
pub(crate) const LOGIN: &str = "router1";
pub(crate) const SECRET: &str = "a-generated-secret";

/// How long anything may take that a test waits for; two cores are shared with other tests.
const LIMIT: Duration = Duration::from_secs(60);

const AUTHORITY: &str = "authority.pem";

/// What a stage is built of.
struct Plan {
    http: String,
    https: Option<String>,
    /// Whose certificate it has.
    names: Vec<&'static str>,
    /// Zones beside the one of all.
    zones: Vec<&'static str>,
    hosts: Vec<&'static str>,
    /// Whole sections.
    more: &'static str,
}

/// A name server, the gateway and what a client needs of them.
pub(crate) struct Stage {
    pub(crate) primary: Server,
    pub(crate) gateway: Gateway,
    folder: TempDir,
    tokens: BTreeMap<&'static str, String>,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::listening("127.0.0.1:0").await
    }

    /// With the public listener there.
    pub(crate) async fn listening(http: &str) -> Self {
        let http = http.to_owned();
        Self::of(Plan { http, https: None, names: vec![], zones: vec![], hosts: vec![HOME, OFFICE], more: "" }).await
    }

    /// For the rows of many clients, from this machine's own address, which its zones may have.
    pub(crate) async fn of_rows(address: &str, ports: (u16, u16), names: &[&'static str], rows: &[Row]) -> Self {
        let (http, https) = ports;
        let names = names.iter().copied().chain(["127.0.0.1"]).collect();
        let (hosts, of_tokens): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| !row.has_token);
        let hosts: Vec<_> = hosts.iter().map(|row| row.host).collect();
        let zone = |host: &&'static str| host.split_once('.').map(|(_, zone)| zone);
        let mut zones: Vec<_> =
            rows.iter().map(|row| &row.host).filter_map(zone).filter(|&zone| zone != ZONE).collect();
        zones.sort_unstable();
        zones.dedup();
        // More clients than one source has, and more wrong secrets.
        let more = "[limits]\nsource = \"off\"\naccount = \"off\"\nfailed_logins = \"off\"\n";
        let (http, https) = (format!("{address}:{http}"), Some(format!("{address}:{https}")));
        let mut stage = Self::of(Plan { http, https, names, zones, hosts, more }).await;
        for row in of_tokens {
            stage.command(&["account", "add", &format!("owner-of-{}", row.host), "--host", row.host]).await;
            let printed = stage.command(&["host", "token", row.host, "--json"]).await;
            let printed: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
            let token = printed["path"].as_str().and_then(|path| path.strip_prefix("/update/")).expect("a path");
            stage.tokens.insert(row.host, token.to_owned());
        }
        stage
    }

    /// Runs a command of the gateway's that must succeed; what it prints.
    async fn command(&self, arguments: &[&str]) -> String {
        let program = std::env::var("DYNGATE_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_dyngate").to_owned());
        let config = self.gateway.folder().join("gateway.toml");
        let config = ["--config", config.to_str().expect("a path in UTF-8")];
        let ran = self.run(&program, &[arguments, &config].concat()).await;
        assert_eq!(ran.code, Some(0), "{arguments:?}: {}", ran.output);
        ran.output
    }

    async fn of(plan: Plan) -> Self {
        let Plan { http, https, names, zones, hosts, more } = plan;
        let key = Key::generate("gateway-key");
        let setup = zones.iter().fold(Setup::new().key(&key).zone(ZONE), |setup, zone| setup.zone(zone));
        let primary = Server::start(Kind::Knot, setup).await.expect("the primary starts");
        let mut toml = key.toml();
        for zone in [ZONE].iter().chain(&zones) {
            let (key, primary) = (&key.name, primary.addr());
            let _ = writeln!(
                toml,
                "[[zone]]\nname = \"{zone}\"\nkey = \"{key}\"\nprimaries = [\"{primary}\"]\nallow = [\"127.0.0.0/8\"]"
            );
        }
        let folder = TempDir::with_prefix("dyngate-client-").expect("a folder");
        let store = folder.path().join("store.db");
        let mut tls = String::new();
        if let Some(https) = https {
            let authority = Authority::new();
            let (certificate, private_key) = authority.issue(&names);
            write(&folder.path().join(AUTHORITY), authority.certificate());
            let (chain, key) = (folder.path().join("fullchain.pem"), folder.path().join("key.pem"));
            write(&chain, &certificate);
            write(&key, &private_key);
            let _ = writeln!(tls, "[http.tls]\nlisten = [\"{https}\"]\ncertificate = {chain:?}\nprivate_key = {key:?}");
        }
        // What is deferred may be set before the client tries again: whether that is told `good` or `nochg` would be chance.
        let _ = writeln!(
            toml,
            "[[account]]\nlogin = \"{LOGIN}\"\nsecret = \"{}\"\nhosts = {hosts:?}\n\n\
             [http]\nlisten = [\"{http}\"]\n{tls}[admin]\nlisten = \"127.0.0.1:0\"\n\
             [engine]\ndeadline = \"3s\"\ndefer = \"off\"\n\
             [store]\nurl = \"sqlite:{}\"\n{more}",
            digest(SECRET),
            store.display(),
        );
        let built = Path::new(env!("CARGO_BIN_EXE_dyngate"));
        let gateway = Gateway::builder(built).config(&toml).start().await.expect("the gateway starts");
        Self { primary, gateway, folder, tokens: BTreeMap::new() }
    }

    /// What the client of this row has for its host: its token, or the account's secret.
    pub(crate) fn secret(&self, row: &Row) -> &str {
        self.tokens.get(row.host).map_or(SECRET, String::as_str)
    }

    /// What a caller's address is at this gateway.
    pub(crate) fn callers(&self) -> String {
        self.gateway.http().ip().to_string()
    }

    /// The file with the certificate of the authority that vouches for the gateway.
    pub(crate) fn authority(&self) -> String {
        self.folder().join(AUTHORITY).to_str().expect("a path in UTF-8").to_owned()
    }

    /// A folder of its own for one of several clients.
    pub(crate) fn folder_of(&self, client: &str) -> PathBuf {
        let folder = self.folder().join(client);
        std::fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    /// Where the client keeps its files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes one of the client's files; ddclient wants its configuration private.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let file = self.folder().join(name);
        write(&file, text);
        file.to_str().expect("a path in UTF-8").to_owned()
    }

    /// One of the client's files; nothing when there is none.
    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder().join(name)).unwrap_or_default()
    }

    /// Runs a client to its end.
    pub(crate) async fn run(&self, program: &str, arguments: &[&str]) -> Ran {
        Program::start(program, arguments, self.folder()).ended(LIMIT).await
    }

    /// `http://ADDR/nic/update`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/nic/update", self.gateway.http())
    }

    /// The addresses that the primary serves for `host`.
    pub(crate) async fn served(&self, host: &str) -> Vec<String> {
        let addresses = self.primary.addresses(host).await.expect("the primary answers");
        addresses.iter().map(ToString::to_string).collect()
    }

    /// The gateway answers, and cannot reach its primary.
    pub(crate) async fn begin_outage(&mut self) {
        self.primary.stop().await.expect("the primary stops");
    }

    /// The primary is back with its data.
    pub(crate) async fn end_outage(&mut self) {
        self.primary.start_again().await.expect("the primary starts again");
    }

    /// How many hosts of requests ended in `outcome`.
    pub(crate) async fn count(&self, outcome: &str) -> f64 {
        self.outcomes("dyndns2", outcome).await
    }

    /// As `count`, in another dialect.
    pub(crate) async fn outcomes(&self, dialect: &str, outcome: &str) -> f64 {
        let sample = format!("dyngate_requests_total{{dialect=\"{dialect}\",outcome=\"{outcome}\"");
        self.gateway.metric(&sample).await.expect("metrics")
    }
}

/// Writes a file that nobody else may read, in a folder that comes with it.
fn write(file: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
    std::fs::write(file, text).expect("a file is written");
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).expect("a file is private");
}

/// Nudges again and again, with time between to do something about it, until `look` is satisfied.
pub(crate) async fn nudge(what: &str, mut nudge: impl FnMut(), mut look: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !look().await {
        assert!(Instant::now() < deadline, "nudged for {LIMIT:?} for: {what}");
        nudge();
        let next = Instant::now() + Duration::from_secs(3);
        while Instant::now() < next && !look().await {
            sleep(Duration::from_millis(20)).await;
        }
    }
}
