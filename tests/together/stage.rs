//! Two gateways on one PostgreSQL, in front of one primary, and what goes wrong there.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dyngate::config::Location;
use dyngate::model::{Families, Hostname, PasswordDigest};
use dyngate::store::{NewAccount, NewHost, Store};
use hickory_proto::op::Message;
use hickory_proto::rr::RData;
use lab::path::Path;
use lab::{Chance, Gateway, Key, Kind, Postgres, Server, Setup, digest, faketime};
use tokio::time::{Instant, sleep};

use crate::log::Log;

const ZONE: &str = "dyn.example";
pub const LOGIN: &str = "kept";
pub const SECRET: &str = "a-generated-secret";
const GATEWAYS: usize = 2;
/// The longest that anything is broken, in milliseconds: the gateways' deadline is a second.
const LASTS: u64 = 4000;
/// What was deferred is done by then, and what came late is undone.
const SETTLES: Duration = Duration::from_secs(60);

pub struct Stage {
    pub primary: Server,
    postgres: Postgres,
    store: Store,
    paths: Vec<Path>,
    gateways: Vec<Gateway>,
    /// Where the gateways listen now.
    pub addrs: Arc<Mutex<Vec<SocketAddr>>>,
}

/// What goes wrong but for the primary, the ways to it, and gateways that are stopped and started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Troubles {
    /// Nothing.
    NoMore,
    /// The clock of one gateway is a minute ahead.
    Clock,
    /// The store hangs and dies.
    Store,
}

pub fn name(host: u64) -> String {
    format!("h{host}.{ZONE}")
}

impl Stage {
    pub async fn new(hosts: u64, troubles: Troubles, log: &Log) -> Self {
        let key = Key::generate("gateway-key");
        let primary = Server::start(Kind::Knot, Setup::new().key(&key).zone(ZONE)).await.unwrap();
        let postgres = Postgres::start().await.unwrap();
        let store = Store::open(&Location::Postgres(postgres.url().into())).await.unwrap();
        add_hosts(&store, hosts).await;
        let (mut paths, mut gateways) = (Vec::new(), Vec::new());
        for number in 0..GATEWAYS {
            let path = Path::to(primary.addr()).await.unwrap();
            let log = log.clone();
            path.watch(move |message| note(&log, number, message));
            let toml = format!(
                "{}\n[[zone]]\nname = \"{ZONE}\"\nkey = \"{}\"\nprimaries = [\"{}\"]\n\
                 [http]\nlisten = [\"127.0.0.1:0\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n[store]\nurl = \"{}\"\n\
                 [engine]\ndeadline = \"1s\"\n\
                 [limits]\nhost = \"off\"\naccount = \"off\"\nsource = \"off\"\nfailed_logins = \"off\"\n",
                key.toml(),
                key.name,
                path.addr(),
                postgres.url(),
            );
            let is_ahead = troubles == Troubles::Clock && number == 0;
            let clock = if is_ahead { faketime(60).unwrap() } else { Vec::new() };
            let gateway = Gateway::builder(env!("CARGO_BIN_EXE_dyngate"))
                .config(&toml)
                .envs(clock)
                .env("DYNGATE_LOG", "info,dyngate::gateway=debug");
            gateways.push(gateway.start().await.expect("the gateway starts"));
            paths.push(path);
        }
        let addrs = Arc::new(Mutex::new(gateways.iter().map(Gateway::http).collect()));
        Self { primary, postgres, store, paths, gateways, addrs }
    }

    /// Something goes wrong for a while, and right again.
    pub async fn trouble(&mut self, troubles: Troubles, chance: &mut Chance, log: &Log) {
        sleep(chance.millis(2000)).await;
        let number = usize::try_from(chance.below(GATEWAYS as u64)).unwrap();
        let lasts = chance.millis(LASTS);
        match chance.below(if troubles == Troubles::Store { 9 } else { 7 }) {
            0..2 => {
                log.note("the primary hangs");
                self.primary.pause().await.unwrap();
                sleep(lasts).await;
                self.primary.resume().unwrap();
                log.note("the primary goes on");
            }
            2 => {
                log.note("the primary stops");
                self.primary.stop().await.unwrap();
                sleep(lasts).await;
                self.primary.start_again().await.unwrap();
                log.note("the primary is back");
            }
            3..5 => {
                log.note(&format!("gateway {number} is cut off"));
                self.paths[number].cut(true);
                sleep(lasts).await;
                self.paths[number].cut(false);
                log.note(&format!("gateway {number} reaches the primary"));
            }
            5 => {
                log.note(&format!("what gateway {number} sends vanishes"));
                self.paths[number].swallow(true);
                sleep(lasts).await;
                self.paths[number].swallow(false);
                log.note(&format!("gateway {number} may be heard"));
            }
            6 => {
                log.note(&format!("gateway {number} stops"));
                self.gateways[number].stop().await.unwrap();
                sleep(lasts).await;
                self.gateways[number].start_again().await.unwrap();
                self.addrs.lock().unwrap()[number] = self.gateways[number].http();
                log.note(&format!("gateway {number} is back"));
            }
            7 => {
                log.note("the store hangs");
                self.postgres.pause().unwrap();
                sleep(lasts).await;
                self.postgres.resume().unwrap();
                log.note("the store goes on");
            }
            _ => {
                log.note("the store dies");
                self.postgres.kill();
                sleep(lasts).await;
                self.postgres.start_again().await.unwrap();
                log.note("the store is back");
            }
        }
    }

    /// Waits until nothing is deferred any longer.
    pub async fn settle(&self) {
        let deadline = Instant::now() + SETTLES;
        loop {
            let left = self.store.pending().page(None, 100).await;
            let mut deferred = 0.0;
            for gateway in &self.gateways {
                deferred += gateway.metric("dyngate_deferred_changes{zone=\"dyn.example\"").await.unwrap();
            }
            if left.as_ref().is_ok_and(Vec::is_empty) && deferred == 0.0 {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{deferred} are deferred, the store keeps {left:?}\n{}",
                self.logs(ZONE)
            );
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// The gateways' lines about `host`, but those of requests.
    pub fn logs(&self, host: &str) -> String {
        let mut logs = String::new();
        for (number, gateway) in self.gateways.iter().enumerate() {
            let log = gateway.log();
            let lines = log.lines().filter(|line| line.contains(host) && !line.contains("access: request"));
            logs.extend(lines.map(|line| format!("gateway {number}: {line}\n")));
        }
        logs
    }
}

async fn add_hosts(store: &Store, hosts: u64) {
    let host = |host| NewHost {
        name: Hostname::parse(&name(host)).unwrap(),
        login: LOGIN.to_owned(),
        ttl: None,
        families: Families::Both,
        description: String::new(),
    };
    let account = NewAccount {
        login: LOGIN.to_owned(),
        secret: PasswordDigest::parse(&digest(SECRET)).unwrap(),
        max_hosts: 1000,
        wildcards: Vec::new(),
    };
    store.add_account(&account, &(0..hosts).map(host).collect::<Vec<_>>()).await.unwrap();
}

/// Which addresses passed to the primary.
fn note(log: &Log, gateway: usize, message: &[u8]) {
    let Ok(message) = Message::from_vec(message) else { return };
    for record in &message.authorities {
        let address = match &record.data {
            RData::A(v4) => v4.to_string(),
            RData::AAAA(v6) => v6.to_string(),
            _ => continue,
        };
        let name = record.name.to_string();
        log.note(&format!("{} {address} passes from gateway {gateway}", name.trim_end_matches('.')));
    }
}
