//! A primary, a gateway in front of it, and an account.

use std::net::SocketAddr;
use std::path::Path;

use lab::http::{Request, Response};
use lab::{Gateway, Key, Kind, Server, Setup, digest};

pub(crate) const ZONE: &str = "dyn.example";
pub(crate) const LOGIN: &str = "router1";
pub(crate) const SECRET: &str = "a-generated-secret";
/// Nobody listens there: a port that was free a moment ago may be anybody's by now.
pub(crate) const NOBODY: &str = "127.0.0.1:1";

pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::TempDir::with_prefix("dyngate-suite-").expect("a folder")
}

pub(crate) fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_dyngate"))
}

/// What is written into gateway.toml.
pub(crate) struct Config {
    pub(crate) key: Key,
    pub(crate) primaries: Vec<SocketAddr>,
    pub(crate) grants: Vec<&'static str>,
    /// Lines of the zone's table.
    pub(crate) zone: String,
    /// Whole sections.
    pub(crate) more: String,
}

impl Config {
    pub(crate) fn new(key: &Key, primary: SocketAddr) -> Self {
        Self {
            key: key.clone(),
            primaries: vec![primary],
            grants: vec!["*.dyn.example"],
            zone: String::new(),
            more: String::new(),
        }
    }

    pub(crate) fn toml(&self) -> String {
        let Self { key, primaries, grants, zone, more } = self;
        let primaries: Vec<_> = primaries.iter().map(ToString::to_string).collect();
        format!(
            "{}\n[[zone]]\nname = \"{ZONE}\"\nkey = \"{}\"\nprimaries = {primaries:?}\n{zone}\n\
             [[account]]\nlogin = \"{LOGIN}\"\nsecret = \"{}\"\nhosts = {grants:?}\nmax_hosts = 10000\n\n\
             [http]\nlisten = [\"127.0.0.1:0\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n{}\n{more}\n",
            key.toml(),
            key.name,
            digest(SECRET),
            if more.contains("[limits]") {
                ""
            } else {
                "[limits]\nhost = \"off\"\naccount = \"off\"\nsource = \"off\"\nfailed_logins = \"off\""
            },
        )
    }

    pub(crate) async fn start(&self) -> Gateway {
        Gateway::builder(program()).config(&self.toml()).start().await.expect("the gateway starts")
    }
}

/// A real primary with a gateway in front.
pub(crate) struct Stage {
    pub(crate) primary: Server,
    pub(crate) gateway: Gateway,
}

impl Stage {
    pub(crate) async fn new(kind: Kind) -> Self {
        Self::with(kind, |setup| setup, &[], |_| {}).await
    }

    pub(crate) async fn with(
        kind: Kind,
        setup: impl FnOnce(Setup) -> Setup,
        lines: &[&str],
        config: impl FnOnce(&mut Config),
    ) -> Self {
        let key = Key::generate("Gateway-Key");
        let setup = setup(Setup::new().key(&key)).zone_with(ZONE, lines);
        let primary = Server::start(kind, setup).await.expect("the primary starts");
        let mut written = Config::new(&key, primary.addr());
        config(&mut written);
        let gateway = written.start().await;
        Self { primary, gateway }
    }

    /// `GET /nic/update?QUERY` as the account.
    pub(crate) async fn get(&self, query: &str) -> Response {
        update(&self.gateway, query).await
    }

    /// Sets `host` to `address`; the body of the answer.
    pub(crate) async fn set(&self, host: &str, address: &str) -> String {
        self.get(&format!("hostname={host}&myip={address}")).await.text()
    }

    /// The addresses that the primary serves for `host`.
    pub(crate) async fn served(&self, host: &str) -> Vec<String> {
        let addresses = self.primary.addresses(host).await.expect("the primary answers");
        addresses.iter().map(ToString::to_string).collect()
    }
}

pub(crate) async fn update(gateway: &Gateway, query: &str) -> Response {
    let request = Request::get(&format!("/nic/update?{query}")).basic(LOGIN, SECRET);
    request.send(gateway.http()).await.expect("the gateway answers")
}

/// One test a kind of primary.
macro_rules! on_every_primary {
    ($($test:ident),* $(,)?) => {
        on_every_primary!(@ bind Bind $($test)*);
        on_every_primary!(@ knot Knot $($test)*);
        on_every_primary!(@ powerdns_lmdb PowerDnsLmdb $($test)*);
        on_every_primary!(@ powerdns_sqlite PowerDnsSqlite $($test)*);
    };
    (@ $module:ident $kind:ident $($test:ident)*) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    super::$test(lab::Kind::$kind).await;
                }
            )*
        }
    };
}
pub(crate) use on_every_primary;

/// One test for BIND and one for Knot DNS.
macro_rules! on_bind_and_knot {
    ($($test:ident),* $(,)?) => {
        $crate::stage::on_every_primary!(@ bind Bind $($test)*);
        $crate::stage::on_every_primary!(@ knot Knot $($test)*);
    };
}
pub(crate) use on_bind_and_knot;

/// Runs each of these functions as a test on the module's `Stage` with SQLite, and as one with PostgreSQL.
macro_rules! on_both {
    ($($test:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(super::Stage::sqlite().await).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(super::Stage::postgres().await).await;
            })*
        }
    };
}
pub(crate) use on_both;
