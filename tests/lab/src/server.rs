//! A running name server: start, ask, edit by hand, pause, stop, start again on the same port with the same data.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::child::{Child, read_log};
use crate::port::{Port, at_free_port};
use crate::program::{find, run};
use crate::query::{query, query_dnssec};
use crate::setup::HAND;
use crate::{Answer, Error, Key, Kind, RecordType, ResponseCode, Setup, primary};

/// How long a server may take until it serves its zones; generous, since tests share two cores.
const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(15);

/// A name server in a scratch folder of its own; killed and removed when dropped.
#[derive(Debug)]
pub struct Server {
    // The child comes first: it is dead before its folder goes.
    child: Option<Child>,
    kind: Kind,
    setup: Setup,
    port: Port,
    command: Command,
    scratch: TempDir,
}

impl Server {
    /// Starts a server and waits until it serves every zone (signed, where asked for).
    ///
    /// # Errors
    /// A missing program with the package to install; what PowerDNS cannot do; a server that does not come up, with its
    /// log.
    pub async fn start(kind: Kind, setup: Setup) -> Result<Self, Error> {
        Self::start_in(&std::env::temp_dir(), kind, setup).await
    }

    /// As [`Server::start`], with its scratch folder in this one: a small disk, for example.
    ///
    /// # Errors
    /// As for [`Server::start`].
    pub async fn start_in(folder: &Path, kind: Kind, setup: Setup) -> Result<Self, Error> {
        at_free_port(async |port| Self::start_at(port, folder, kind, &setup).await).await
    }

    /// As [`Server::start_in`], at this port.
    ///
    /// # Errors
    /// As for [`Server::start`], or the port is taken.
    pub async fn start_at(port: Port, folder: &Path, kind: Kind, setup: &Setup) -> Result<Self, Error> {
        let scratch = TempDir::with_prefix_in("dyngate-lab-", folder).map_err(Error::io("make a scratch folder"))?;
        let command = primary::prepare(kind, scratch.path(), port.number(), setup).await?;
        let mut server = Self { child: None, kind, setup: setup.clone(), port, command, scratch };
        server.start_again().await?;
        Ok(server)
    }

    /// Starts it again after `stop` or `kill`: same port, same data.
    ///
    /// # Errors
    /// As for [`Server::start`].
    pub async fn start_again(&mut self) -> Result<(), Error> {
        let mut command = Command::new(self.command.get_program());
        command.args(self.command.get_args()).envs(self.setup.env.iter().map(|(name, value)| (name, value)));
        if let Some(folder) = self.command.get_current_dir() {
            command.current_dir(folder);
        }
        self.child = None;
        let mut child = Child::spawn(&self.kind.to_string(), command, &self.log_file())?;
        let missing = async || match self.missing().await {
            Some(missing) => Err(missing),
            None => Ok(()),
        };
        child.until(START, missing).await?;
        self.child = Some(child);
        Ok(())
    }

    /// What of its zones it does not serve yet.
    async fn missing(&self) -> Option<String> {
        for zone in &self.setup.zones {
            let name = &zone.name;
            match query_dnssec(self.addr(), name, "SOA").await {
                Ok(answer) if self.serves(&answer) => {}
                Ok(answer) => return Some(format!("{name} SOA: {answer:?}")),
                Err(error) => return Some(error.to_string()),
            }
        }
        None
    }

    fn serves(&self, answer: &Answer) -> bool {
        let has = |kind| answer.records.iter().any(|record| record.kind == kind);
        answer.rcode == ResponseCode::NoError
            && answer.authoritative
            && has(RecordType::SOA)
            && (!self.setup.signed || has(RecordType::RRSIG))
    }

    /// Which server this is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where it listens, TCP and UDP.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// Whether its process runs: it may have ended by itself.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn runs(&mut self) -> Result<bool, Error> {
        self.child.as_mut().map_or(Ok(false), |child| child.ended().map(|status| status.is_none()))
    }

    /// Its process id; `None` when it is stopped.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::pid)
    }

    /// Its scratch folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    fn log_file(&self) -> PathBuf {
        self.scratch.path().join("server.log")
    }

    /// All it wrote, over all its starts.
    #[must_use]
    pub fn log(&self) -> String {
        read_log(&self.log_file())
    }

    /// SIGTERM and the wait for its end; after 15 seconds SIGKILL and an error.
    ///
    /// # Errors
    /// It did not heed SIGTERM.
    pub async fn stop(&mut self) -> Result<(), Error> {
        match self.child.take() {
            Some(mut child) => child.stop(STOP).await.map(drop),
            None => Ok(()),
        }
    }

    /// SIGKILL, as a power cut would.
    pub fn kill(&mut self) {
        self.child = None;
    }

    /// SIGSTOP: it keeps its connections, accepts in the kernel only and answers nothing from the moment this returns.
    ///
    /// # Errors
    /// The system refused the signal.
    pub async fn pause(&mut self) -> Result<(), Error> {
        match self.child.as_mut() {
            Some(child) => child.pause(STOP).await,
            None => Ok(()),
        }
    }

    /// SIGCONT after [`Server::pause`].
    ///
    /// # Errors
    /// The system refused the signal.
    pub fn resume(&mut self) -> Result<(), Error> {
        self.child.as_mut().map_or(Ok(()), |child| child.signal(Signal::CONT))
    }

    /// Asks for `kind` at `name`, unsigned, over TCP.
    ///
    /// # Errors
    /// No answer, or none to this question.
    pub async fn query(&self, name: &str, kind: &str) -> Result<Answer, Error> {
        query(self.addr(), name, kind).await
    }

    /// The addresses at `name`, IPv4 first, sorted.
    ///
    /// # Errors
    /// As for [`Server::query`].
    pub async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, Error> {
        let mut all = self.query(name, "A").await?.addresses();
        all.extend(self.query(name, "AAAA").await?.addresses());
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }

    /// The serial number of `zone`.
    ///
    /// # Errors
    /// As for [`Server::query`], or there is no SOA.
    pub async fn serial(&self, zone: &str) -> Result<u32, Error> {
        let answer = self.query(zone, "SOA").await?;
        let soa = answer.data(RecordType::SOA);
        soa.first()
            .and_then(|data| data.split_whitespace().nth(2))
            .and_then(|serial| serial.parse().ok())
            .ok_or_else(|| Error::Protocol(format!("no SOA of {zone} in {answer:?}")))
    }

    /// A hand edit: these lines (such as `update add www.dyn.example 60 A 192.0.2.1`) through `nsupdate`, with a key of
    /// the laboratory's own that may change everything.
    ///
    /// # Errors
    /// nsupdate is missing, or what it said, with the response code.
    pub async fn edit(&self, lines: &[&str]) -> Result<(), Error> {
        let (name, secret) = HAND;
        self.edit_as(&Key::new(name, "hmac-sha256", secret), lines).await
    }

    /// As [`Server::edit`] with another key.
    ///
    /// # Errors
    /// As for [`Server::edit`].
    pub async fn edit_as(&self, key: &Key, lines: &[&str]) -> Result<(), Error> {
        let mut command = Command::new(find("nsupdate", "bind9-dnsutils")?);
        command.arg("-v");
        let Key { name, algorithm, secret } = key;
        let input = format!(
            "server 127.0.0.1 {}\nkey {algorithm}:{name} {secret}\n{}\nsend\n",
            self.port.number(),
            lines.join("\n")
        );
        run(command, input).await.map(drop)
    }
}
