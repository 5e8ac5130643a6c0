//! A real primary with the built gateway in front of it, and a storm through it that is read back.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use lab::load::{Plan, Ran, Reports, Updates, exchange, read_back};
use lab::{Gateway, Key, Kind, Server, Setup, digest, new_secret};
use tokio::time::Instant;

use crate::cpu::{Cpu, Watch};
use crate::row::float;
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
    /// Further `[[account]]` tables.
    pub(crate) accounts: String,
    pub(crate) limits: &'static str,
    pub(crate) log: Option<String>,
}

impl Plot {
    pub(crate) fn new(bench: &Bench, kind: Kind) -> Self {
        let log = bench.options.log.clone();
        Self { kind, zones: vec![ZONE.to_owned()], accounts: String::new(), limits: UNLIMITED, log }
    }

    /// gateway.toml; where there are as many primaries as zones, each zone has its own.
    pub(crate) fn config(&self, key: &Key, secret: &str, primaries: &[SocketAddr]) -> String {
        let grants: Vec<_> = self.zones.iter().map(|zone| format!("*.{zone}")).collect();
        let mut config = format!(
            "[http]\nlisten = [\"127.0.0.1:0\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n{}{}{}{}",
            self.limits,
            key.toml(),
            account(LOGIN, &digest(secret), &grants),
            self.accounts,
        );
        for (zone, primary) in self.zones.iter().zip(primaries.iter().cycle()) {
            let _ =
                write!(config, "[[zone]]\nname = \"{zone}\"\nprimaries = [\"{primary}\"]\nkey = \"{}\"\n", key.name);
        }
        config
    }

    pub(crate) async fn start(self) -> Result<Stage, Failure> {
        let (key, secret) = (Key::generate("gateway-key"), new_secret());
        let setup = self.zones.iter().fold(Setup::new().key(&key), |setup, zone| setup.zone(zone));
        let primary = Server::start(self.kind, setup).await?;
        let config = self.config(&key, &secret, &[primary.addr()]);
        let mut gateway = Gateway::builder(env!("CARGO_BIN_EXE_dyngate")).config(&config);
        if let Some(log) = &self.log {
            gateway = gateway.env("DYNGATE_LOG", log);
        }
        let gateway = gateway.start().await?;
        Ok(Stage { key, credentials: vec![(LOGIN.to_owned(), secret)], primary, gateway })
    }
}

/// An `[[account]]` table.
pub(crate) fn account(login: &str, secret: &str, grants: &[String]) -> String {
    format!("[[account]]\nlogin = \"{login}\"\nsecret = \"{secret}\"\nhosts = {grants:?}\nmax_hosts = 1000000\n")
}

/// A running primary and a running gateway.
pub(crate) struct Stage {
    pub(crate) key: Key,
    /// The account with the generated token.
    pub(crate) credentials: Vec<(String, String)>,
    pub(crate) primary: Server,
    pub(crate) gateway: Gateway,
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
        Watch::start(self.gateway.pid(), self.primary.pid())
    }

    /// Reports of `hosts` by the account with the token.
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
        let sent = self.messages().await?;
        let watch = self.watch();
        let shared = Arc::new(reports);
        let ran = exchange(self.gateway.http(), &shared, plan).await?;
        let cpu = watch.stop();
        let messages = self.messages().await? - sent;
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

    async fn messages(&self) -> Result<f64, lab::Error> {
        self.gateway.metric("dyngate_update_batch_hosts_count").await
    }

    pub(crate) async fn stop(mut self) -> Result<(), Failure> {
        self.gateway.stop().await?;
        self.primary.stop().await?;
        Ok(())
    }
}

/// `count` names in the zone.
pub(crate) fn names(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|n| format!("h{n}.{ZONE}"))
}
