//! What a name server is to serve and who may change it, in words that fit BIND, Knot and PowerDNS.

use std::fmt;
use std::fmt::Write as _;
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hickory_proto::rr::Name;
use hickory_proto::rr::rdata::tsig::TsigAlgorithm;
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::Error;

/// The name servers that are tested against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// named of BIND 9.
    Bind,
    /// knotd of Knot DNS.
    Knot,
    /// pdns_server with its LMDB backend.
    PowerDnsLmdb,
    /// pdns_server with its SQLite backend.
    PowerDnsSqlite,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Bind, Self::Knot, Self::PowerDnsLmdb, Self::PowerDnsSqlite];

    /// Whether this is one of the two PowerDNS.
    #[must_use]
    pub fn is_powerdns(self) -> bool {
        match self {
            Self::PowerDnsLmdb | Self::PowerDnsSqlite => true,
            Self::Bind | Self::Knot => false,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bind => "BIND",
            Self::Knot => "Knot",
            Self::PowerDnsLmdb => "PowerDNS (LMDB)",
            Self::PowerDnsSqlite => "PowerDNS (SQLite)",
        })
    }
}

/// A TSIG key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its name, without the final dot.
    pub name: String,
    /// `hmac-sha256`, `hmac-sha384` or `hmac-sha512`.
    pub algorithm: String,
    /// The secret in base64.
    pub secret: String,
}

impl Key {
    /// A key with all three parts given.
    #[must_use]
    pub fn new(name: &str, algorithm: &str, secret: &str) -> Self {
        Self { name: name.to_owned(), algorithm: algorithm.to_owned(), secret: secret.to_owned() }
    }

    /// A new hmac-sha256 key with a secret of 32 random octets.
    #[must_use]
    pub fn generate(name: &str) -> Self {
        let mut octets = [0; 32];
        #[expect(clippy::expect_used, reason = "a test machine without randomness cannot test anything")]
        SystemRandom::new().fill(&mut octets).expect("the system has randomness");
        Self::new(name, "hmac-sha256", &STANDARD.encode(octets))
    }

    /// The `[[key]]` table of gateway.toml for this key.
    #[must_use]
    pub fn toml(&self) -> String {
        let Self { name, algorithm, secret } = self;
        format!("[[key]]\nname = \"{name}\"\nalgorithm = \"{algorithm}\"\nsecret = \"{secret}\"\n")
    }

    /// The signer of hickory for this key.
    pub(crate) fn signer(&self) -> Result<hickory_proto::rr::TSigner, Error> {
        let wrong = |why: String| Error::Protocol(format!("key {}: {why}", self.name));
        let name = Name::from_ascii(&self.name).map_err(|error| wrong(error.to_string()))?;
        let algorithm = Name::from_ascii(&self.algorithm).map_err(|error| wrong(error.to_string()))?;
        let secret = STANDARD.decode(&self.secret).map_err(|error| wrong(error.to_string()))?;
        hickory_proto::rr::TSigner::new(secret, TsigAlgorithm::from_name(algorithm), name, 300)
            .map_err(|error| wrong(error.to_string()))
    }
}

/// A zone with its apex records and the lines that a test adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// Its name, without the final dot.
    pub name: String,
    /// Further lines in zone-file syntax, relative to the zone.
    pub lines: Vec<String>,
    /// Where a secondary gets the zone from; `None` makes a primary.
    pub primary: Option<SocketAddr>,
}

impl Zone {
    /// The zone file: SOA, NS ns1 and its address, then the further lines.
    pub(crate) fn file(&self) -> String {
        let name = &self.name;
        let mut text = format!("$ORIGIN {name}.\n$TTL 3600\n");
        // With a slash it has no host names (RFC 2317).
        text.push_str(&match name.contains('/') {
            true => "@ IN SOA ns1.example. hostmaster.example. 1 3600 600 86400 60\n@ IN NS ns1.example.\n".to_owned(),
            false => format!(
                "@ IN SOA ns1.{name}. hostmaster.{name}. 1 3600 600 86400 60\n@ IN NS ns1.{name}.\nns1 IN A 127.0.0.1\n"
            ),
        });
        for line in &self.lines {
            let _ = writeln!(text, "{line}");
        }
        text
    }

    /// The name of its file: that of a part of a network has a slash (RFC 2317).
    pub(crate) fn file_name(&self) -> String {
        self.name.replace('/', "_")
    }

    /// Whether `name` is in this zone.
    pub(crate) fn holds(&self, name: &str) -> bool {
        name == self.name || name.strip_suffix(&self.name).is_some_and(|rest| rest.ends_with('.'))
    }
}

/// What a restricted key may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Right {
    /// Exactly this name.
    Name(String),
    /// This name and all below it.
    Below(String),
    /// Records of this type alone, at any name.
    Type(&'static str),
}

/// The key of hand edits: every server that takes updates knows it, whatever the other keys may do.
pub(crate) const HAND: (&str, &str) = ("lab-hand", "aGFuZCBlZGl0cyBvZiB0aGUgbGFib3JhdG9yeSwgMzI=");

/// What a server serves, and who may change it.
#[derive(Debug, Clone)]
pub struct Setup {
    pub(crate) zones: Vec<Zone>,
    pub(crate) keys: Vec<Key>,
    pub(crate) rights: Vec<(String, Vec<Right>)>,
    pub(crate) options: Vec<(Kind, String)>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) signed: bool,
    pub(crate) allow_update: bool,
    pub(crate) views: bool,
}

impl Setup {
    /// Nothing yet, except that updates are allowed.
    #[must_use]
    pub fn new() -> Self {
        let (name, secret) = HAND;
        let keys = vec![Key::new(name, "hmac-sha256", secret)];
        Self {
            zones: vec![],
            keys,
            rights: vec![],
            options: vec![],
            env: vec![],
            signed: false,
            allow_update: true,
            views: false,
        }
    }

    /// Adds a zone with nothing but its apex records and ns1.
    #[must_use]
    pub fn zone(self, name: &str) -> Self {
        self.zone_with(name, &[])
    }

    /// Adds a zone with further lines in zone-file syntax, such as `www 60 IN A 192.0.2.1`.
    #[must_use]
    pub fn zone_with(mut self, name: &str, lines: &[&str]) -> Self {
        let lines = lines.iter().map(|&line| line.to_owned()).collect();
        self.zones.push(Zone { name: name.trim_end_matches('.').to_owned(), lines, primary: None });
        self
    }

    /// Adds a zone that this server gets from `primary`, and for which it forwards updates.
    #[must_use]
    pub fn secondary(mut self, name: &str, primary: SocketAddr) -> Self {
        self.zones.push(Zone { name: name.to_owned(), lines: vec![], primary: Some(primary) });
        self
    }

    /// Adds a key that may change every name of every zone, unless `restrict` says otherwise.
    #[must_use]
    pub fn key(mut self, key: &Key) -> Self {
        self.keys.push(key.clone());
        self
    }

    /// The key may change these names only. PowerDNS has no right for single names, and says so at the start.
    #[must_use]
    pub fn restrict(mut self, key: &Key, rights: &[Right]) -> Self {
        self.rights.push((key.name.clone(), rights.to_vec()));
        self
    }

    /// Every zone is signed with DNSSEC by the server itself.
    #[must_use]
    pub fn signed(mut self) -> Self {
        self.signed = true;
        self
    }

    /// With false the server takes no update at all (PowerDNS: `dnsupdate=no`, its default).
    #[must_use]
    pub fn allow_update(mut self, allow: bool) -> Self {
        self.allow_update = allow;
        self
    }

    /// BIND shows its zones to whoever has a key in one view, and copies of them to everybody else in another.
    #[must_use]
    pub fn views(mut self) -> Self {
        self.views = true;
        self
    }

    /// A line for one kind of server: in BIND's `options`, in Knot's `server` section, in pdns.conf.
    #[must_use]
    pub fn option(mut self, kind: Kind, line: &str) -> Self {
        self.options.push((kind, line.to_owned()));
        self
    }

    /// Variables of the server's environment, such as those of [`crate::faketime`].
    #[must_use]
    pub fn envs(mut self, all: impl IntoIterator<Item = (String, String)>) -> Self {
        self.env.extend(all);
        self
    }

    /// The names that `key` may change; `None` when it may change all.
    pub(crate) fn rights_of(&self, key: &Key) -> Option<&[Right]> {
        self.rights.iter().find(|(name, _)| *name == key.name).map(|(_, rights)| rights.as_slice())
    }

    /// The lines that `option` added for `kind`.
    pub(crate) fn options_of(&self, kind: Kind) -> impl Iterator<Item = &str> {
        self.options.iter().filter(move |(of, _)| *of == kind).map(|(_, line)| line.as_str())
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}
