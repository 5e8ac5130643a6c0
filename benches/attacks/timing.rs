//! Whether the time of an answer tells who has an account, or which names are taken: a rank statistic, which a slow machine
//! moves as little as a fast one.

use std::fmt::Write as _;
use std::time::Duration;

use dyngate::auth::secret;
use dyngate::config::Location;
use dyngate::model::{Families, Hostname, PasswordDigest};
use dyngate::store::{NewAccount, NewHost, Store};
use lab::http::{Connection, Request};
use lab::load::quantile;
use lab::{Gateway, Key, Kind, Server, Setup, digest, new_secret};
use tokio::time::Instant;

use crate::Failure;
use crate::stage::ZONE;

pub(crate) const NAME: &str = "known and unknown told apart by time";
pub(crate) const HEADING: &str = "\
| what is tried, once each | against | of each | p50, ms | of the other | AUC |
| --- | --- | --- | --- | --- | --- |";
/// Logins and names of each kind.
const MANY: usize = 400;
/// The same where each costs a hash.
const SLOW: usize = 60;
const OFF: &str = "[limits]\nhost = \"off\"\naccount = \"off\"\nsource = \"off\"\nfailed_logins = \"off\"\n";

struct Stage {
    gateway: Gateway,
    secret: String,
    _primary: Server,
    _folder: tempfile::TempDir,
}

/// Accounts of the store, each with the secrets that the function says and a host of its name; and some that the file declares.
async fn start(
    kinds: &[&str],
    of_each: usize,
    secrets: impl Fn(&str) -> Result<Vec<String>, Failure>,
) -> Result<Stage, Failure> {
    let key = Key::generate("gateway-key");
    let primary = Server::start(Kind::Bind, Setup::new().key(&key).zone(ZONE)).await?;
    let folder = tempfile::tempdir()?;
    let (file, secret) = (folder.path().join("dyngate.db"), new_secret());
    let store = Store::open(&Location::Sqlite(file.clone())).await?;
    for kind in kinds {
        for number in 0..of_each {
            let login = format!("{kind}{number}");
            let mut digests = secrets(kind)?.into_iter();
            let first = PasswordDigest::parse(&digests.next().unwrap_or_else(|| digest(&secret)))?;
            let name = Hostname::parse(&format!("{login}.{ZONE}"))?;
            let (ttl, families, description) = (None, Families::Both, String::new());
            let account = NewAccount { login: login.clone(), secret: first, max_hosts: 1, wildcards: Vec::new() };
            let host = NewHost { name, login: login.clone(), ttl, families, description };
            store.add_account(&account, &[host]).await?;
            for digest in digests {
                let until = dyngate::model::Timestamp(i64::MAX);
                store.rotate(&login, &PasswordDigest::parse(&digest)?, Some(until)).await?;
            }
        }
    }
    store.close().await;
    let mut config = format!(
        "[http]\nlisten = [\"127.0.0.1:0\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n{OFF}[engine]\ndeadline = \"60s\"\n[store]\n\
         url = \"sqlite:{}\"\n{}[[zone]]\nname = \"{ZONE}\"\nprimaries = [\"{}\"]\nkey = \"{}\"\n",
        file.display(),
        key.toml(),
        primary.addr(),
        key.name,
    );
    for number in 0..of_each {
        let _ = write!(
            config,
            "[[account]]\nlogin = \"declared{number}\"\nsecret = \"{}\"\nhosts = [\"declared{number}.{ZONE}\"]\n",
            secrets("declared")?.pop().unwrap_or_else(|| digest(&secret)),
        );
    }
    let gateway = Gateway::builder(env!("CARGO_BIN_EXE_dyngate")).config(&config).start().await?;
    Ok(Stage { gateway, secret, _primary: primary, _folder: folder })
}

impl Stage {
    async fn ask(
        &self,
        to: &mut Connection,
        login: &str,
        password: &str,
        host: &str,
    ) -> Result<(Duration, String), Failure> {
        let request =
            Request::get(&format!("/nic/update?hostname={host}.{ZONE}&myip=203.0.113.9")).basic(login, password);
        let began = Instant::now();
        let answer = to.send(&request).await?;
        Ok((began.elapsed(), answer.text()))
    }

    /// Times of one try of each kind in turn, so that whatever slows the machine down meets all of them.
    async fn wrong_passwords(&self, kinds: &[&str], of_each: usize) -> Result<Vec<Vec<Duration>>, Failure> {
        let mut to = Connection::open(self.gateway.http(), None).await?;
        let mut times = vec![Vec::with_capacity(of_each); kinds.len()];
        for number in 0..of_each {
            for at in order(kinds.len(), number) {
                let (took, body) = self.ask(&mut to, &format!("{}{number}", kinds[at]), "wrong", "x").await?;
                if body != "badauth" {
                    return Err(format!("{}{number}: {body}", kinds[at]).into());
                }
                times[at].push(took);
            }
        }
        Ok(times)
    }
}

/// The rows, as they come.
pub(crate) async fn run() -> Result<Vec<String>, Failure> {
    let mut rows = Vec::new();
    let stage = start(&["active", "idle", "neighbour"], MANY, |_| Ok(Vec::new())).await?;
    let mut to = Connection::open(stage.gateway.http(), None).await?;
    for number in 0..MANY {
        for kind in ["active", "neighbour"] {
            let login = format!("{kind}{number}");
            stage.ask(&mut to, &login, &stage.secret, &login).await?;
        }
    }
    let kinds = ["nobody", "active", "idle", "declared"];
    for time in ["a wrong password", "a wrong password for the second time"] {
        let times = stage.wrong_passwords(&kinds, MANY).await?;
        for (kind, known) in kinds.iter().zip(&times).skip(1) {
            rows.push(row(&format!("{time}, {kind} login"), "unknown login", known, &times[0]));
        }
    }
    // The first one was idle for too long.
    let mut to = Connection::open(stage.gateway.http(), None).await?;
    let mut times = [const { Vec::new() }; 2];
    for number in 0..MANY {
        for at in order(2, number) {
            let host = format!("{}{number}", ["neighbour", "nothing"][at]);
            let (took, body) = stage.ask(&mut to, "active0", &stage.secret, &host).await?;
            if body != "nohost" {
                return Err(format!("{host}: {body}").into());
            }
            times[at].push(took);
        }
    }
    rows.push(row("another account's active host", "a name that nobody has", &times[0], &times[1]));
    drop(stage);

    let stage = start(&["rotating", "steady"], SLOW, |kind| {
        let old = secret::hash("the old password")?;
        let new = secret::hash_beside("the new password", &old)?;
        Ok(if kind == "rotating" { vec![old, new] } else { vec![old] })
    })
    .await?;
    let times = stage.wrong_passwords(&["nobody", "rotating", "steady", "declared"], SLOW).await?;
    rows.push(row(
        "a wrong password, account in rotation",
        "unknown login, all passwords chosen",
        &times[1],
        &times[0],
    ));
    rows.push(row("a wrong password, steady account", "unknown login, all passwords chosen", &times[2], &times[0]));
    Ok(rows)
}

/// Each order of so many in its turn, so that none always comes after the same other.
fn order(many: usize, mut turn: usize) -> Vec<usize> {
    let mut order: Vec<_> = (0..many).collect();
    for at in (1..many).rev() {
        order.swap(at, turn % (at + 1));
        turn /= at + 1;
    }
    order
}

fn row(what: &str, against: &str, known: &[Duration], unknown: &[Duration]) -> String {
    let median = |times: &[Duration]| {
        let mut times = times.to_vec();
        times.sort_unstable();
        quantile(&times, 0.5).as_secs_f64() * 1e3
    };
    let (one, other) = (median(known), median(unknown));
    format!("| {what} | {against} | {} | {one:.3} | {other:.3} | {:.3} |", known.len(), area(known, unknown))
}

/// How often one of `known` takes longer than one of `unknown`, of all pairs (Mann and Whitney): 0.5 tells nothing.
#[expect(clippy::cast_precision_loss, reason = "some hundred thousand pairs")]
fn area(known: &[Duration], unknown: &[Duration]) -> f64 {
    let longer = |one: &Duration, other: &Duration| f64::from(u8::from(one > other) + u8::from(one >= other)) / 2.0;
    known.iter().flat_map(|one| unknown.iter().map(move |other| longer(one, other))).sum::<f64>()
        / (known.len() * unknown.len()) as f64
}
