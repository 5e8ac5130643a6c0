//! What an operator may type: each section as a serde struct, and a right line for each key. Knows no meaning.

use std::fmt;
use std::marker::PhantomData;

use secrecy::SecretString;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, IntoDeserializer as _, MapAccess, Visitor};
use toml::Spanned;

/// The largest TTL in seconds (RFC 2181 section 8).
pub const MAX_TTL: u32 = 0x7fff_ffff;
/// What one listener takes of all sources.
const MOST_CONNECTIONS: u32 = 16_384;

pub(super) type Text = Spanned<String>;
pub(super) type SecretText = Spanned<SecretString>;
type Ttl = Within<0, MAX_TTL>;
type Positive = Within<1, { u32::MAX }>;

/// What may be typed in all of a `gateway.toml`; a section that is not there is an empty one.
pub(super) struct Document {
    pub(super) http: Spanned<HttpSection>,
    pub(super) tls: Option<Spanned<TlsSection>>,
    pub(super) admin: Spanned<AdminSection>,
    pub(super) keys: Vec<Spanned<KeySection>>,
    pub(super) zones: Vec<Spanned<ZoneSection>>,
    pub(super) accounts: Vec<Spanned<AccountSection>>,
    pub(super) hosts: Vec<Spanned<HostSection>>,
    pub(super) engine: Spanned<EngineSection>,
    pub(super) limits: Spanned<LimitsSection>,
    pub(super) addresses: Spanned<AddressesSection>,
    pub(super) dialects: Spanned<DialectsSection>,
    pub(super) store: Option<Spanned<StoreSection>>,
    pub(super) acme: Spanned<AcmeSection>,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HttpSection {
    pub(super) listen: Option<Spanned<Vec<Spanned<TextOr<EndpointTable>>>>>,
    #[serde(default)]
    pub(super) trusted_proxies: Vec<Text>,
    pub(super) client_address_header: Option<Text>,
    pub(super) connections_per_source: Option<Spanned<TextOr<Within<1, MOST_CONNECTIONS>>>>,
    pub(super) ipv4_name: Option<Text>,
    pub(super) ipv6_name: Option<Text>,
}

/// A table in `listen`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EndpointTable {
    pub(super) address: Option<Text>,
    #[serde(default)]
    pub(super) proxy_protocol: bool,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsSection {
    pub(super) listen: Option<Spanned<Vec<Spanned<TextOr<EndpointTable>>>>>,
    pub(super) certificate: Option<Text>,
    pub(super) private_key: Option<Text>,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AdminSection {
    pub(super) listen: Option<Text>,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeySection {
    pub(super) name: Option<Text>,
    pub(super) algorithm: Option<Text>,
    pub(super) secret: Option<SecretText>,
    pub(super) secret_file: Option<Text>,
    pub(super) file: Option<Text>,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ZoneSection {
    pub(super) name: Option<Text>,
    pub(super) primaries: Option<Spanned<Vec<Text>>>,
    pub(super) key: Option<Text>,
    pub(super) ttl: Option<Ttl>,
    #[serde(default)]
    pub(super) allow: Vec<Text>,
    #[serde(default)]
    pub(super) protect: Vec<Text>,
    pub(super) source: Option<Text>,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AccountSection {
    pub(super) login: Option<Text>,
    pub(super) secret: Option<SecretText>,
    pub(super) hosts: Option<Vec<Text>>,
    pub(super) max_hosts: Option<Positive>,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HostSection {
    pub(super) name: Option<Text>,
    pub(super) ttl: Option<Ttl>,
    pub(super) follow: Option<Text>,
    pub(super) interface_id: Option<Text>,
    pub(super) prefix_from: Option<Text>,
    #[serde(default)]
    pub(super) wildcard: bool,
    #[serde(default)]
    pub(super) offline: bool,
    #[serde(default)]
    pub(super) mx: Vec<Text>,
    #[serde(default)]
    pub(super) ptr: bool,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EngineSection {
    pub(super) deadline: Option<Text>,
    pub(super) verify_interval: Option<Text>,
    pub(super) defer: Option<Text>,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitsSection {
    pub(super) host: Option<Spanned<TextOr<Limit>>>,
    pub(super) account: Option<Spanned<TextOr<Limit>>>,
    pub(super) source: Option<Spanned<TextOr<Limit>>>,
    pub(super) failed_logins: Option<Spanned<TextOr<Limit>>>,
    pub(super) repeats: Option<Spanned<TextOr<Limit>>>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limit {
    pub(super) burst: Option<Positive>,
    pub(super) per_minute: Option<Positive>,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AddressesSection {
    pub(super) refuse: Option<Vec<Text>>,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DialectsSection {
    pub(super) default_zone: Option<Text>,
    #[serde(default)]
    pub(super) off: Vec<Text>,
    #[serde(default)]
    pub(super) empty_deletes: bool,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoreSection {
    pub(super) url: Option<SecretText>,
    pub(super) url_file: Option<Text>,
    pub(super) grace: Option<Text>,
    pub(super) history: Option<Text>,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AcmeSection {
    #[serde(default)]
    pub(super) dns01: bool,
    pub(super) keep: Option<Text>,
}

/// What a later version serves: sections, below no title, and keys.
pub(super) const LATER: [(&str, &[&str]); 4] = [
    ("", &["web", "token"]),
    ("[acme]", &["directory", "contact"]),
    ("[http.tls]", &["acme"]),
    ("[[host]]", &["certificate"]),
];

/// A right line for each key, below the title of its section.
const EXAMPLES: &str = r#"
[http]
listen = ["127.0.0.1:8245"]
trusted_proxies = ["127.0.0.1/32"]
client_address_header = "x-forwarded-for"
connections_per_source = 256
ipv4_name = "ipv4.ddns.example.net"
ipv6_name = "ipv6.ddns.example.net"

a table in `listen`
address = "0.0.0.0:8245"
proxy_protocol = true

[http.tls]
listen = ["0.0.0.0:8443"]
certificate = "fullchain.pem"
private_key = "privkey.pem"

[admin]
listen = "127.0.0.1:8246"

[[key]]
name = "gateway-key"
algorithm = "hmac-sha256"
secret = "…base64…"
secret_file = "gateway-key.secret"
file = "gateway.key"

[[zone]]
name = "dyn.example"
primaries = ["127.0.0.1:53"]
key = "gateway-key"
ttl = 60
allow = ["10.0.0.0/8"]
protect = ["www", "mail"]
source = "192.0.2.1"

[[account]]
login = "router1"
secret = '$argon2id$v=19$…'
hosts = ["home.dyn.example"]
max_hosts = 100

[[host]]
name = "home.dyn.example"
ttl = 120
follow = "router.dyn.example"
interface_id = "::10"
prefix_from = "address"
wildcard = true
offline = true
mx = ["mail.dyn.example"]
ptr = true

[engine]
deadline = "5s"
verify_interval = "60s"
defer = "1h"

[limits]
host = { burst = 10, per_minute = 6 }
account = { burst = 60, per_minute = 60 }
source = { burst = 120, per_minute = 120 }
failed_logins = { burst = 10, per_minute = 2 }
repeats = { burst = 30, per_minute = 1 }
burst = 10
per_minute = 6

[addresses]
refuse = ["10.0.0.0/8", "fc00::/7"]

[dialects]
default_zone = "dyn.example"
off = ["duckdns"]
empty_deletes = true

[store]
url = "sqlite:/var/lib/dyngate/dyngate.db"
url_file = "store.url"
grace = "1h"
history = "90d"

[acme]
dns01 = true
keep = "1h"
"#;

/// A right line for `key` in the section that errors call `title`.
pub(super) fn example(title: &str, key: &str) -> &'static str {
    let title = if title.starts_with("[limits]") { "[limits]" } else { title };
    let section = EXAMPLES.lines().skip_while(|line| *line != title).take_while(|line| !line.is_empty());
    let mut lines = section.filter(|line| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(" = ")));
    lines.next().unwrap_or_default()
}

/// A string, or a value without quotes.
#[derive(Clone)]
pub(super) enum TextOr<T> {
    Text(String),
    Other(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for TextOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not `untagged`, which forgets where things stand.
        deserializer.deserialize_any(TextOrVisitor(PhantomData))
    }
}

struct TextOrVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for TextOrVisitor<T> {
    type Value = TextOr<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("something else")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(TextOr::Text(text.to_owned()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        T::deserialize(number.into_deserializer()).map(TextOr::Other)
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Self::Value, M::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(TextOr::Other)
    }
}

/// An integer within bounds, both included.
#[derive(Clone, Copy)]
pub(super) struct Within<const LEAST: u32, const MOST: u32>(pub(super) u32);

impl<'de, const LEAST: u32, const MOST: u32> Deserialize<'de> for Within<LEAST, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = i64::deserialize(deserializer).ok().and_then(|number| u32::try_from(number).ok());
        let number = number.filter(|number| (LEAST..=MOST).contains(number));
        number.map(Self).ok_or_else(|| expected(format_args!("an integer from {LEAST} to {MOST}")))
    }
}

/// In serde's own words, which end with what was expected.
fn expected<E: Error>(what: impl fmt::Display) -> E {
    E::custom(format_args!("invalid value, expected {what}"))
}
