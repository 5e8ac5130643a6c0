//! A real primary with the built gateway in front of it, and a storm through it that is read back.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use lab::load::{Plan, Ran, Reports, Updates, exchange, read_back};
use lab::{Gateway, Key, Kind, Server, Setup, digest, new_secret};
use serde_json::Value;
use tokio::time::Instant;

use crate::cpu::{Cpu, Watch};
use crate::row::float;
use crate::store::{Database, Store, account_line, host_line};
use crate::{Bench, Failure};

/// The zone of all hosts, where one is enough.
pub(crate) const ZONE: &str = "dyn.example";
/// The account of most of them.
pub(crate) const LOGIN: &str = "load";
/// How one UPDATE for each host is sent.
const CONNECTIONS: usize = 4;
const IN_FLIGHT: usize = 64;
/// Clients in a storm.
pub(crate) const CLIENTS: usize = 1000;

/// Every limit is off: all load comes from one source.
pub(crate) const UNLIMITED: &str =
    "[limits]\nhost = \"off\"\naccount = \"off\"\nsource = \"off\"\nfailed_logins = \"off\"\n";

/// What differs from one primary, one zone and one account with a generated token.
pub(crate) struct Plot {
    pub(crate) kind: Kind,
    pub(crate) zones: Vec<String>,
    pub(crate) grants: Grants,
    /// Where the accounts of `grants` are; in the file without one.
    pub(crate) database: Option<Database>,
    /// Further `[[account]]` tables.
    pub(crate) accounts: String,
    pub(crate) limits: &'static str,
    pub(crate) log: Option<String>,
}

impl Plot {
    pub(crate) fn new(bench: &Bench, kind: Kind) -> Self {
        let log = bench.options.log.clone();
        Self {
            kind,
            zones: vec![ZONE.to_owned()],
            grants: Grants::Wildcard,
            database: None,
            accounts: String::new(),
            limits: UNLIMITED,
            log,
        }
    }

    /// gateway.toml; where there are as many primaries as zones, each zone has its own.
    pub(crate) fn config(&self, key: &Key, secret: &str, primaries: &[SocketAddr]) -> String {
        let grants: Vec<_> = self.zones.iter().map(|zone| format!("*.{zone}")).collect();
        self.config_of(key, &account(LOGIN, &digest(secret), &grants), primaries)
    }

    fn config_of(&self, key: &Key, more: &str, primaries: &[SocketAddr]) -> String {
        let mut config = format!(
            "[http]\nlisten = [\"127.0.0.1:0\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n{}{}{more}{}",
            self.limits,
            key.toml(),
            self.accounts,
        );
        for (zone, primary) in self.zones.iter().zip(primaries.iter().cycle()) {
            let _ =
                write!(config, "[[zone]]\nname = \"{zone}\"\nprimaries = [\"{primary}\"]\nkey = \"{}\"\n", key.name);
        }
        config
    }

    fn members(&self) -> Vec<Member> {
        let member = |login: String, hosts, wildcards| Member { login, secret: new_secret(), hosts, wildcards };
        match self.grants {
            Grants::Wildcard => vec![member(LOGIN.to_owned(), vec![], self.zones.clone())],
            Grants::Exact(hosts) => {
                let count = hosts.div_ceil(10);
                let own = |account: usize| (account..hosts).step_by(count).map(host).collect();
                (0..count).map(|account| member(format!("customer{account}"), own(account), vec![])).collect()
            }
        }
    }

    pub(crate) async fn start(self) -> Result<Stage, Failure> {
        let (key, members) = (Key::generate("gateway-key"), self.members());
        let setup = self.zones.iter().fold(Setup::new().key(&key), |setup, zone| setup.zone(zone));
        let primary = Server::start(self.kind, setup).await?;
        let store = match self.database {
            Some(database) => Some(Store::new(database).await?),
            None => None,
        };
        let tables = || members.iter().map(Member::table).collect();
        let more = store.as_ref().map_or_else(tables, Store::section);
        let config = self.config_of(&key, &more, &[primary.addr()]);
        if let Some(store) = &store {
            let accounts = members.iter().map(Member::account_line);
            store.import(&config, accounts.chain(members.iter().flat_map(Member::host_lines))).await?;
        }
        let mut gateway = Gateway::builder(env!("CARGO_BIN_EXE_dyngate")).config(&config);
        if let Some(log) = &self.log {
            gateway = gateway.env("DYNGATE_LOG", log);
        }
        let gateway = gateway.start().await?;
        let credentials = members.into_iter().map(|member| (member.login, member.secret)).collect();
        Ok(Stage { key, credentials, primary, gateway, config, store })
    }
}

/// Who may change the names of the zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grants {
    /// One account, by a wildcard.
    Wildcard,
    /// The first so many, ten to an account, each by its name.
    Exact(usize),
}

/// An account.
struct Member {
    login: String,
    secret: String,
    hosts: Vec<String>,
    wildcards: Vec<String>,
}

impl Member {
    fn table(&self) -> String {
        let wildcards = self.wildcards.iter().map(|zone| format!("*.{zone}"));
        account(&self.login, &digest(&self.secret), &self.hosts.iter().cloned().chain(wildcards).collect::<Vec<_>>())
    }

    fn account_line(&self) -> Value {
        account_line(&self.login, &self.secret, &self.wildcards)
    }

    fn host_lines(&self) -> impl Iterator<Item = Value> {
        self.hosts.iter().map(|host| host_line(host, &self.login))
    }
}

/// An `[[account]]` table.
pub(crate) fn account(login: &str, secret: &str, grants: &[String]) -> String {
    format!("[[account]]\nlogin = \"{login}\"\nsecret = \"{secret}\"\nhosts = {grants:?}\nmax_hosts = 1000000\n")
}

/// A running primary and a running gateway.
pub(crate) struct Stage {
    pub(crate) key: Key,
    /// The accounts, all with generated tokens: host n belongs to number n modulo their number.
    pub(crate) credentials: Vec<(String, String)>,
    pub(crate) primary: Server,
    pub(crate) gateway: Gateway,
    config: String,
    store: Option<Store>,
}

/// What a storm gave.
pub(crate) struct Storm {
    /// Hosts a second.
    pub(crate) rate: f64,
    /// Hosts in an UPDATE, on average.
    pub(crate) batch: f64,
    pub(crate) ran: Ran,
    pub(crate) cpu: Cpu,
}

impl Stage {
    pub(crate) async fn start(bench: &Bench, kind: Kind) -> Result<Self, Failure> {
        Plot::new(bench, kind).start().await
    }

    pub(crate) fn watch(&self) -> Watch {
        self.watch_with(None)
    }

    /// As [`Self::watch`], with another gateway.
    pub(crate) fn watch_with(&self, other: Option<&Gateway>) -> Watch {
        let gateways = [Some(&self.gateway), other].into_iter().flatten().filter_map(Gateway::pid).collect();
        Watch::of(gateways, self.primary.pid(), self.store.as_ref().and_then(Store::pid))
    }

    /// Another gateway on the same store and the same primary.
    pub(crate) async fn another(&self) -> Result<Gateway, Failure> {
        Ok(Gateway::builder(env!("CARGO_BIN_EXE_dyngate")).config(&self.config).start().await?)
    }

    /// Reports of `hosts` by their accounts.
    pub(crate) fn reports(&self, hosts: Vec<(String, IpAddr)>) -> Reports {
        Reports::new(self.gateway.http(), &self.credentials, hosts, "")
    }

    /// A storm of 1 000 clients over connections that are kept.
    pub(crate) async fn storm(&self, hosts: Vec<(String, IpAddr)>) -> Result<Storm, Failure> {
        let plan = Plan::new(hosts.len(), CLIENTS);
        self.storm_of(self.reports(hosts), plan).await
    }

    /// Sends all `reports`; each must be acknowledged, and each name must hold its address at the primary then.
    pub(crate) async fn storm_of(&self, reports: Reports, plan: Plan) -> Result<Storm, Failure> {
        let storm = self.storm_or_911(reports, plan).await?;
        self.all_right(&storm.ran)?;
        Ok(storm)
    }

    /// As [`Self::storm_of`], where some may be told to come back: the rate is of those that were acknowledged.
    pub(crate) async fn storm_or_911(&self, reports: Reports, plan: Plan) -> Result<Storm, Failure> {
        let sent = messages(&self.gateway).await?;
        let watch = self.watch();
        let shared = Arc::new(reports);
        let ran = exchange(self.gateway.http(), &shared, plan).await?;
        let cpu = watch.stop();
        let messages = messages(&self.gateway).await? - sent;
        if ran.wrong.iter().any(|(_, answer)| answer != "911") {
            self.all_right(&ran)?;
        }
        let later: BTreeSet<_> = ran.wrong.iter().map(|(index, _)| *index).collect();
        let reports = Arc::into_inner(shared).ok_or("a client is still there")?;
        let hosts = reports.hosts.into_iter().enumerate().filter(|(index, _)| !later.contains(index));
        let hosts: Vec<_> = hosts.map(|(_, host)| host).collect();
        read_back(self.primary.addr(), &hosts).await?;
        let acknowledged = float(hosts.len());
        Ok(Storm { rate: acknowledged / ran.took.as_secs_f64(), batch: acknowledged / messages.max(1.0), ran, cpu })
    }

    /// An error that shows the wrong answers, each with how often it came.
    pub(crate) fn all_right(&self, ran: &Ran) -> Result<(), Failure> {
        let mut wrong = BTreeMap::new();
        for (_, answer) in &ran.wrong {
            *wrong.entry(answer.as_str()).or_insert(0) += 1;
        }
        if wrong.is_empty() {
            return Ok(());
        }
        Err(format!("answers {wrong:?}\n{}", self.complaints()).into())
    }

    /// What the gateway logged beside requests that were served, each kind with how often.
    fn complaints(&self) -> String {
        let (log, mut kinds) = (self.gateway.log(), BTreeMap::new());
        for line in log
            .lines()
            .filter(|line| [" WARN ", " ERROR ", "outcome=\"unreachable\""].iter().any(|it| line.contains(it)))
        {
            let reason =
                line.split_once("reason=").or_else(|| line.split_once(" WARN ")).map_or(line, |(_, rest)| rest);
            *kinds.entry(reason.split(" ms=").next().unwrap_or(reason)).or_insert(0) += 1;
        }
        let lines = kinds.iter().take(10).map(|(reason, times)| format!("{times} times: {reason}"));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Sends one UPDATE for each host straight to the primary: hosts a second.
    pub(crate) async fn one_update_each(&self, hosts: &[(String, IpAddr)]) -> Result<f64, Failure> {
        let began = Instant::now();
        let updates = Updates { key: &self.key, zone: ZONE, hosts, batch: 1 };
        updates.send(self.primary.addr(), CONNECTIONS, IN_FLIGHT).await?;
        Ok(float(hosts.len()) / began.elapsed().as_secs_f64())
    }

    pub(crate) async fn stop(mut self) -> Result<(), Failure> {
        self.gateway.stop().await?;
        self.primary.stop().await?;
        Ok(())
    }
}

/// How many UPDATEs a gateway has sent.
pub(crate) async fn messages(gateway: &Gateway) -> Result<f64, lab::Error> {
    gateway.metric("dyngate_update_batch_hosts_count").await
}

/// `count` names in the zone.
pub(crate) fn names(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(host)
}

fn host(n: usize) -> String {
    format!("h{n}.{ZONE}")
}
