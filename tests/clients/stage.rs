//! Knot, the gateway in front of it with its limits as they come, one account, and a folder for the client's files.

use std::path::Path;
use std::time::Duration;

use lab::{Gateway, Key, Kind, Server, Setup, digest};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::program::{Program, Ran};

pub(crate) const ZONE: &str = "dyn.example";
pub(crate) const HOME: &str = "home.dyn.example";
pub(crate) const OFFICE: &str = "office.dyn.example";
/// No account has it.
pub(crate) const STRANGE: &str = "strange.dyn.example";
pub(crate) const LOGIN: &str = "router1";
pub(crate) const SECRET: &str = "a-generated-secret";

/// How long anything may take that a test waits for; two cores are shared with other tests.
const LIMIT: Duration = Duration::from_secs(60);

/// A name server, the gateway and what a client needs of them.
pub(crate) struct Stage {
    pub(crate) primary: Server,
    pub(crate) gateway: Gateway,
    folder: TempDir,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::listening("127.0.0.1:0").await
    }

    /// With the public listener there.
    pub(crate) async fn listening(http: &str) -> Self {
        let key = Key::generate("gateway-key");
        let setup = Setup::new().key(&key).zone(ZONE);
        let primary = Server::start(Kind::Knot, setup).await.expect("the primary starts");
        // What is deferred may be set before the client tries again: whether that is told `good` or `nochg` would be chance.
        let toml = format!(
            "{}\n[[zone]]\nname = \"{ZONE}\"\nkey = \"{}\"\nprimaries = [\"{}\"]\n\n\
             [[account]]\nlogin = \"{LOGIN}\"\nsecret = \"{}\"\nhosts = [\"{HOME}\", \"{OFFICE}\"]\n\n\
             [http]\nlisten = [\"{http}\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n[engine]\ndeadline = \"3s\"\ndefer = \"off\"\n",
            key.toml(),
            key.name,
            primary.addr(),
            digest(SECRET),
        );
        let built = Path::new(env!("CARGO_BIN_EXE_dyngate"));
        let gateway = Gateway::builder(built).config(&toml).start().await.expect("the gateway starts");
        Self { primary, gateway, folder: TempDir::with_prefix("dyngate-client-").expect("a folder") }
    }

    /// Where the client keeps its files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes one of the client's files; ddclient wants its configuration private.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        use std::os::unix::fs::PermissionsExt as _;
        let file = self.folder().join(name);
        std::fs::write(&file, text).expect("a file is written");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("a file is private");
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
        let sample = format!("dyngate_requests_total{{dialect=\"dyndns2\",outcome=\"{outcome}\"");
        self.gateway.metric(&sample).await.expect("metrics")
    }
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
