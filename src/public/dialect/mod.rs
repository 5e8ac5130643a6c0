//! The table of dialects. Each is one file and one row: a pure `parse` from a request to what is asked for, and a pure, total
//! `render` from outcomes to an answer. Knows no socket.

pub(super) mod acme_dns;
mod checkip;
mod duckdns;
mod dyndns1;
pub(super) mod dyndns2;
mod dynv6;
mod easydns;
mod freedns;
mod freemyip;
mod he_txt;
pub(super) mod httpreq;
mod namecheap;
mod nic_delete;
mod stated;
mod token;
mod whole;
mod zoneedit;

use std::borrow::Cow;
use std::time::Duration;

use hyper::http::request::Parts;

use super::parameters::Parameters;
use crate::config::Dialects;
use crate::gateway::{Asked, BadAddress, Identity, Labels, Verdicts};
use crate::model::ChallengeValue;
use crate::net::ClientAddress;

/// All dialects. Where several serve one path, the first that claims the request speaks, and the first of them where a request
/// is turned away before its parameters are read.
pub(super) static TABLE: [Dialect; 19] = [
    Dialect {
        name: "acme-dns",
        paths: &["/acme-dns/update", "/update"],
        claims: acme_dns::claims,
        parse: Parse::Update(acme_dns::parse),
        render: acme_dns::render,
        challenges: false,
    },
    Dialect {
        name: "acme-dns-register",
        paths: &["/acme-dns/register", "/register"],
        claims: acme_dns::registers,
        parse: Parse::Answer(acme_dns::register),
        render: acme_dns::render,
        challenges: false,
    },
    Dialect {
        name: "acme-dns-health",
        paths: &["/acme-dns/health", "/health"],
        claims: acme_dns::asks_for_health,
        parse: Parse::Answer(acme_dns::health),
        render: acme_dns::render,
        challenges: false,
    },
    Dialect {
        name: "httpreq",
        paths: &["/httpreq/present", "/httpreq/cleanup", "/present", "/cleanup"],
        claims: httpreq::claims,
        parse: Parse::Update(httpreq::parse),
        render: httpreq::render,
        challenges: true,
    },
    Dialect {
        name: "duckdns",
        paths: &["/update", "/update/…"],
        claims: duckdns::claims,
        parse: Parse::Update(duckdns::parse),
        render: duckdns::render,
        challenges: false,
    },
    Dialect {
        name: "namecheap",
        paths: &["/update"],
        claims: namecheap::claims,
        parse: Parse::Update(namecheap::parse),
        render: namecheap::render,
        challenges: false,
    },
    Dialect {
        name: "freemyip",
        paths: &["/update"],
        claims: freemyip::claims,
        parse: Parse::Update(freemyip::parse),
        render: freemyip::render,
        challenges: false,
    },
    Dialect {
        name: "he-txt",
        paths: &["/nic/update"],
        claims: he_txt::claims,
        parse: Parse::Update(he_txt::parse),
        render: he_txt::render,
        challenges: true,
    },
    Dialect {
        name: "dyndns2",
        // Those after the first five are of services whose clients send Basic only once they are challenged.
        paths: &[
            "/nic/update",
            "/v3/update",
            "/v2/update",
            "/dyndns/update",
            "/update",
            "/",
            "/XDynDNSServer/XDynDNS.php",
            "/api/v1/update",
            "/v0/dyndns/update",
            "/update.php",
            "/upd.php",
            "/setip",
            "/servlet/updateip",
            "/directip.html",
        ],
        claims: dyndns2::claims,
        parse: Parse::Update(dyndns2::parse),
        render: dyndns2::render,
        challenges: true,
    },
    Dialect {
        name: "token",
        paths: &["/update/…", "/cpanelwebcall/…"],
        claims: everything,
        parse: Parse::Update(token::parse),
        render: dyndns2::render,
        // There is no login to ask for.
        challenges: false,
    },
    Dialect {
        name: "dynv6",
        paths: &["/api/update"],
        claims: everything,
        parse: Parse::Update(dynv6::parse),
        render: dynv6::render,
        challenges: false,
    },
    Dialect {
        name: "freedns",
        paths: &["/u", "/u/…"],
        claims: everything,
        parse: Parse::Update(freedns::parse),
        render: freedns::render,
        challenges: false,
    },
    Dialect {
        name: "freedns-v1",
        paths: &["/dynamic/update.php"],
        claims: everything,
        parse: Parse::Update(freedns::parse_v1),
        render: freedns::render_v1,
        challenges: false,
    },
    Dialect {
        name: "easydns",
        paths: &["/dyn/generic.php", "/dyn/dynsite.php", "/dyn/dyndns.php", "/dyn/tomato.php", "/dyn/ez-ipupdate.php"],
        claims: everything,
        parse: Parse::Update(dyndns2::parse),
        render: easydns::render,
        challenges: true,
    },
    Dialect {
        name: "zoneedit",
        paths: &["/auth/dynamic.html"],
        claims: everything,
        parse: Parse::Update(dyndns2::parse),
        render: zoneedit::render,
        challenges: true,
    },
    Dialect {
        name: "dyndns1",
        paths: &["/nic/dyndns"],
        claims: everything,
        parse: Parse::Update(dyndns2::parse),
        render: dyndns1::render,
        challenges: true,
    },
    Dialect {
        name: "nic-delete",
        paths: &["/nic/delete"],
        claims: everything,
        parse: Parse::Update(nic_delete::parse),
        render: nic_delete::render,
        challenges: true,
    },
    Dialect {
        name: "checkip",
        paths: &["/nic/checkip", "/checkip"],
        claims: everything,
        parse: Parse::Answer(checkip::page),
        render: dyndns2::render,
        challenges: false,
    },
    Dialect {
        name: "myip",
        paths: &["/myip"],
        claims: everything,
        parse: Parse::Answer(checkip::bare),
        render: dyndns2::render,
        challenges: false,
    },
];

/// A row of the table.
pub(super) struct Dialect {
    /// The label of the metrics.
    pub(super) name: &'static str,
    /// Where it is spoken. A path that ends in `…` stands for all below it; what follows may be a secret, and a log shows the
    /// `…` in its place.
    pub(super) paths: &'static [&'static str],
    /// Whether a request is of this dialect, where others are spoken at the same path.
    pub(super) claims: fn(&DialectRequest<'_>) -> bool,
    pub(super) parse: Parse,
    /// One answer for all that became of a request.
    pub(super) render: fn(&Verdicts, &Echo) -> Rendered,
    /// Whether bad credentials are answered with `WWW-Authenticate: Basic`.
    pub(super) challenges: bool,
}

/// What a dialect makes of a request.
#[derive(Clone, Copy)]
pub(super) enum Parse {
    /// Changes are asked for.
    Update(fn(&DialectRequest<'_>) -> Parsed),
    /// Nothing is asked of the gateway, and no cache may keep the answer.
    Answer(fn(&DialectRequest<'_>) -> Rendered),
}

/// What is known of a request.
#[derive(Clone, Copy)]
pub(super) struct DialectRequest<'a> {
    /// Its method, GET, HEAD or POST, and its headers.
    pub(super) head: &'a Parts,
    /// What the path says in the place of the row's `…`.
    pub(super) rest: &'a str,
    /// Those of the query, then those of the body.
    pub(super) parameters: &'a Parameters,
    /// The body as it came.
    pub(super) body: &'a [u8],
    pub(super) client: ClientAddress,
    pub(super) settings: &'a Dialects,
}

/// What is asked for.
pub(super) struct Parsed {
    pub(super) identity: Identity,
    /// The host names as they were sent.
    pub(super) hosts: Vec<String>,
    pub(super) labels: Labels,
    pub(super) asked: Result<Asked, BadAddress>,
    pub(super) echo: Echo,
}

/// What the answer says again of the request. Addresses are as the client spelled them: pfSense compares with strcmp, OpenWrt
/// sends IPv6 expanded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Echo {
    pub(super) v4: Option<String>,
    pub(super) v6: Option<String>,
    /// The owner name of a challenge.
    pub(super) fqdn: Option<String>,
    /// The value of a TXT record, where that is asked for; empty where it is to go.
    pub(super) txt: Option<String>,
    /// Whether more than a word is wanted.
    pub(super) is_verbose: bool,
}

/// An answer, before it is HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rendered {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    /// The body, whole.
    pub(super) body: String,
    /// `X-Dyngate-Reason`: a fixed phrase for each line, or nothing.
    pub(super) reason: String,
    /// `Retry-After`, rounded up to whole seconds.
    pub(super) retry_after: Option<Duration>,
}

/// A row that serves a path.
#[derive(Clone, Copy)]
pub(super) struct Spoken<'a> {
    /// The number of the row.
    pub(super) row: usize,
    pub(super) dialect: &'static Dialect,
    pattern: &'static str,
    /// What the path says in the place of the row's `…`.
    pub(super) rest: &'a str,
}

impl Spoken<'_> {
    /// `path` as a log may show it.
    pub(super) fn shown<'p>(&self, path: &'p str) -> &'p str {
        if self.pattern.ends_with('…') { self.pattern } else { path }
    }
}

/// The rows of `table` that serve `path`, in their order.
pub(super) fn at<'a>(table: &'static [Dialect], path: &'a str) -> impl Iterator<Item = Spoken<'a>> {
    table.iter().enumerate().filter_map(move |(row, dialect)| {
        dialect.paths.iter().find_map(|&pattern| {
            let rest = match pattern.strip_suffix('…') {
                Some(prefix) => path.strip_prefix(prefix)?,
                None => (path == pattern).then_some("")?,
            };
            Some(Spoken { row, dialect, pattern, rest })
        })
    })
}

/// What is spoken where no row claims `request`: dyndns2, where somebody says who asks, and for a host or an address.
pub(super) fn fallback<'a>(request: &DialectRequest<'_>) -> Option<Spoken<'a>> {
    let (row, dialect) = common()?;
    let spoken = Spoken { row, dialect, pattern: "/…", rest: "" };
    (!request.settings.off.contains(&dialect.name) && dyndns2::is_meant(request)).then_some(spoken)
}

/// Of `path` what a log may show where no dialect is spoken: the words that the table has too. Any other may be a secret that
/// somebody put in the wrong place.
pub(super) fn known_words(path: &str) -> String {
    let is_known = |word: &str| {
        TABLE.iter().flat_map(|dialect| dialect.paths).any(|path| path.split('/').any(|known| known == word))
    };
    let words = path.split('/').take(8).map(|word| if is_known(word) { word } else { "…" });
    words.collect::<Vec<_>>().join("/")
}

/// Whether a path of several words begins with `base`.
fn is_below(head: &Parts, base: &str) -> bool {
    head.uri.path().split('/').find(|segment| !segment.is_empty()) == Some(base)
}

/// The value of a challenge: a client learns at once that it has another shape.
fn challenge_value(text: &str) -> Result<String, BadAddress> {
    let value = ChallengeValue::parse(text);
    value.map(|value| value.as_str().to_owned()).map_err(|_| BadAddress::NotUnderstood("the value is no challenge's"))
}

/// What a client is answered in of which nobody knows what it speaks.
pub(super) fn spoken_to_strangers() -> &'static Dialect {
    common().map_or(&TABLE[0], |(_, dialect)| dialect)
}

/// The row of what most clients speak.
fn common() -> Option<(usize, &'static Dialect)> {
    TABLE.iter().enumerate().find(|(_, dialect)| dialect.name == "dyndns2")
}

fn everything(_: &DialectRequest<'_>) -> bool {
    true
}

/// What a secret without a login proves.
fn secret(said: Option<Cow<'_, str>>) -> Identity {
    said.map_or(Identity::Nobody, |secret| Identity::Secret(secret.into_owned().into()))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use hyper::{Method, Request};
    use proptest::prelude::*;
    use proptest::{collection, sample};

    use super::*;
    use crate::gateway::HostVerdict;
    use crate::model::{Outcome, ZoneName};
    use crate::public::fuzzing::check_answer;

    /// What speaks for a request, and what it sees of the path.
    fn spoken<'a>(table: &'static [Dialect], method: &Method, target: &'a str) -> Option<(&'static str, &'a str)> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (head, ()) = Request::builder().method(method).uri(path).body(()).unwrap().into_parts();
        let parameters = Parameters::parse(query.as_bytes());
        let client = ClientAddress { source: std::net::Ipv4Addr::LOCALHOST.into(), address: None };
        let settings = Dialects::default();
        let request = |rest| DialectRequest {
            head: &head,
            rest,
            parameters: &parameters,
            body: b"",
            client,
            settings: &settings,
        };
        let found = at(table, path).find(|spoken| (spoken.dialect.claims)(&request(spoken.rest)));
        found.map(|spoken| (spoken.dialect.name, spoken.rest))
    }

    /// What `dialect` makes of a request for `target` from `caller`.
    pub(super) fn read(dialect: &str, target: &str, caller: &str) -> Parsed {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (head, ()) = Request::builder().uri(target).body(()).unwrap().into_parts();
        let parameters = &Parameters::parse(query.as_bytes());
        let client = ClientAddress { source: std::net::Ipv4Addr::LOCALHOST.into(), address: caller.parse().ok() };
        let settings = &Dialects { default_zone: ZoneName::parse("dyn.example").ok(), ..Dialects::default() };
        let spoken = at(&TABLE, path).find(|spoken| spoken.dialect.name == dialect).unwrap();
        let request = DialectRequest { head: &head, rest: spoken.rest, parameters, body: b"", client, settings };
        assert!((spoken.dialect.claims)(&request), "{target} is {dialect}'s");
        match spoken.dialect.parse {
            Parse::Update(parse) => parse(&request),
            Parse::Answer(_) => panic!("{dialect} asks for nothing"),
        }
    }

    /// The same in short: hosts, addresses or why there are none, removals.
    pub(super) fn told(dialect: &str, target: &str, caller: &str) -> String {
        let Parsed { hosts, asked, echo, .. } = read(dialect, target, caller);
        let asked = match asked {
            Ok(asked) => asked,
            Err(error) => return format!("{}: {error}", hosts.join(",")),
        };
        let addresses: Vec<_> = asked.addresses.iter().map(|address| address.to_string()).collect();
        let echoed: Vec<_> = echo.v4.iter().chain(&echo.v6).map(|text| text.parse::<IpAddr>().unwrap()).collect();
        let is_echoed = asked.more.is_some()
            || asked.addresses.iter().map(|set| set.to_string()).eq(echoed.iter().map(ToString::to_string));
        assert!(is_echoed, "{target}: {echo:?}");
        let more = asked.more.map(|more| format!(" {more:?}")).unwrap_or_default();
        format!("{}: {}{}", hosts.join(","), addresses.join(","), shortened(&more))
    }

    /// Without what is not asked for.
    fn shortened(more: &str) -> String {
        let nothing = [
            "removals: None",
            "prefix: None",
            "interface_id: None",
            "wildcard: false",
            "mx: []",
            "backmx: false",
            "challenge: None",
        ];
        let text = nothing.iter().fold(more.to_owned(), |text, part| text.replace(part, ""));
        let words = text.split([' ', ',']).filter(|word| !word.is_empty() && !["More", "{", "}"].contains(word));
        words.map(|word| format!(" {word}")).collect()
    }

    /// Somebody who has the URL of a host puts the address behind it: no log may show that as a host.
    const TOO_MUCH: &str = "/update/abcd-efgh-ijkl-mnop-qrst-uvwx-yz23-4567/192.0.2.1";

    #[test]
    fn a_path_has_its_dialect_and_no_log_shows_a_secret_of_it() {
        for (path, expected, shown) in [
            ("/nic/update", Some(("dyndns2", "")), "/nic/update"),
            ("/update/abcd-efgh", Some(("token", "abcd-efgh")), "/update/…"),
            ("/cpanelwebcall/abcd-efgh", Some(("token", "abcd-efgh")), "/cpanelwebcall/…"),
            ("/update/a/b", Some(("duckdns", "a/b")), "/update/…"),
            ("/update/a.dyn.example/b/192.0.2.1", Some(("duckdns", "a.dyn.example/b/192.0.2.1")), "/update/…"),
            ("/update/a/b/c/d", Some(("token", "a/b/c/d")), "/update/…"),
            (TOO_MUCH, Some(("token", &TOO_MUCH[8..])), "/update/…"),
            ("/update?domains=a&token=b", Some(("duckdns", "")), "/update"),
            ("/update?domains=&token=b", Some(("duckdns", "")), "/update"),
            ("/update?domain=a&token=b", Some(("freemyip", "")), "/update"),
            ("/update?hostname=a&domain=a&token=b", Some(("dyndns2", "")), "/update"),
            ("/update?host=a&domain=b&password=c", Some(("namecheap", "")), "/update"),
            ("/update?domain=a&key=b", Some(("dyndns2", "")), "/update"),
            ("/update/a?domains=b&token=c", Some(("token", "a")), "/update/…"),
            ("/nic/update?hostname=a&txt=", Some(("he-txt", "")), "/nic/update"),
            ("/api/update", Some(("dynv6", "")), "/api/update"),
            ("/u/abcd-efgh", Some(("freedns", "abcd-efgh")), "/u/…"),
            ("/u", Some(("freedns", "")), "/u"),
            ("/dynamic/update.php?abcd-efgh", Some(("freedns-v1", "")), "/dynamic/update.php"),
            ("/dyn/tomato.php", Some(("easydns", "")), "/dyn/tomato.php"),
            ("/auth/dynamic.html", Some(("zoneedit", "")), "/auth/dynamic.html"),
            ("/nic/dyndns", Some(("dyndns1", "")), "/nic/dyndns"),
            ("/nic/delete", Some(("nic-delete", "")), "/nic/delete"),
            ("/checkip", Some(("checkip", "")), "/checkip"),
            ("/myip", Some(("myip", "")), "/myip"),
            ("/update", Some(("dyndns2", "")), "/update"),
            ("/updates/abcd", None, "/…/…"),
            ("/UPDATE/abcd", None, "/…/…"),
            ("/update/…", Some(("token", "…")), "/update/…"),
            ("/nic/abcd/update", None, "/nic/…/update"),
            ("/", None, "/"),
            ("/?hostname=a.example", Some(("dyndns2", "")), "/"),
            ("/?page=a.example", None, "/"),
            ("/update.php", Some(("dyndns2", "")), "/update.php"),
            ("/update.php/abcd", None, "/update.php/…"),
            ("*", None, "…"),
        ] {
            assert_eq!(spoken(&TABLE, &Method::GET, path), expected, "{path}");
            let path = path.split('?').next().unwrap();
            let said =
                at(&TABLE, path).next().map_or_else(|| known_words(path), |spoken| spoken.shown(path).to_owned());
            assert_eq!(said, shown, "{path}");
        }
    }

    #[test]
    fn elsewhere_only_who_says_who_asks_and_for_what_is_heard() {
        for (query, login, is_heard) in [
            ("hostname=a.example", None, false),
            ("hostname=a.example&myip=192.0.2.1", None, false),
            ("hostname=a.example", Some("router1"), true),
            ("myip=192.0.2.1", Some("router1"), true),
            ("myip=", Some("router1"), false),
            ("", Some("router1"), false),
            ("page=1", Some("router1"), false),
            ("", Some("a.example"), true),
            ("hostname=a.example&token=x", None, true),
            ("hostname=a.example&token=", None, false),
            ("token=x", None, false),
            ("username=a&hostname=a.example", None, false),
        ] {
            let basic = login.map(|login| {
                format!(
                    "Basic {}",
                    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("{login}:x"))
                )
            });
            let request = Request::builder().uri("/elsewhere");
            let request = basic.into_iter().fold(request, |request, basic| request.header("Authorization", basic));
            let (head, ()) = request.body(()).unwrap().into_parts();
            let parameters = &Parameters::parse(query.as_bytes());
            let client = ClientAddress { source: std::net::Ipv4Addr::LOCALHOST.into(), address: None };
            let off = Dialects { off: vec!["dyndns2"], ..Dialects::default() };
            for (settings, is_heard) in [(&Dialects::default(), is_heard), (&off, false)] {
                let request = DialectRequest { head: &head, rest: "", parameters, body: b"", client, settings };
                assert_eq!(fallback(&request).is_some(), is_heard, "{query} as {login:?}");
            }
        }
    }

    #[test]
    fn every_pattern_can_be_met_and_every_update_has_a_name_of_its_own() {
        for (row, dialect) in TABLE.iter().enumerate() {
            for pattern in dialect.paths {
                assert!(pattern.starts_with('/') && !pattern.trim_end_matches('…').contains('…'), "{pattern}");
                assert!(at(&TABLE, pattern).any(|spoken| spoken.row == row), "{pattern}");
            }
            assert!(TABLE.iter().skip(row + 1).all(|other| other.name != dialect.name), "{}", dialect.name);
        }
        let names: std::collections::BTreeSet<_> = TABLE.iter().map(|dialect| dialect.name).collect();
        assert!(names.into_iter().eq(crate::config::dialects::NAMES), "what `off` may name");
    }

    /// Each answer as status and body, in the order of [`Outcome::ALL`]. Where a body is long, what its clients look for in it.
    #[rustfmt::skip]
    const MATRIX: [(&str, [(u16, &str); 12]); 13] = [
        ("dyndns2", [
            (200, "good 203.0.113.7"), (200, "nochg 203.0.113.7"), (401, "badauth"), (200, "notfqdn"), (200, "nohost"), (200, "numhost"),
            (200, "abuse"), (200, "!donator"), (400, "badip"), (503, "911"), (503, "911"), (503, "dnserr"),
        ]),
        ("token", [
            (200, "good 203.0.113.7"), (200, "nochg 203.0.113.7"), (401, "badauth"), (200, "notfqdn"), (200, "nohost"), (200, "numhost"),
            (200, "abuse"), (200, "!donator"), (400, "badip"), (503, "911"), (503, "911"), (503, "dnserr"),
        ]),
        ("duckdns", [
            (200, "OK"), (200, "OK"), (200, "KO"), (200, "KO"), (200, "KO"), (200, "KO"),
            (200, "KO"), (200, "KO"), (200, "KO"), (503, "KO"), (503, "KO"), (503, "KO"),
        ]),
        ("freemyip", [
            (200, "OK"), (200, "OK"), (200, "ERROR"), (200, "ERROR"), (200, "ERROR"), (200, "ERROR"),
            (200, "ERROR"), (200, "ERROR"), (200, "ERROR"), (503, "ERROR"), (503, "ERROR"), (503, "ERROR"),
        ]),
        ("dynv6", [
            (200, "addresses updated"), (200, "addresses unchanged"), (401, "unauthorized"), (404, "zone not found"),
            (404, "zone not found"), (400, "too many zones"), (403, "forbidden"), (403, "forbidden"), (400, "bad address"),
            (503, "try again later"), (503, "try again later"), (503, "try again later"),
        ]),
        ("freedns", [
            (200, "Updated home.dyn.example to 203.0.113.7 in 0.1 seconds"),
            (200, "No IP change detected for home.dyn.example with IP 203.0.113.7, skipping update"),
            (401, "ERROR: Unable to locate this record"), (404, "ERROR: Unable to locate this record"),
            (404, "ERROR: Unable to locate this record"), (400, "ERROR: Too many hosts"), (403, "ERROR: Forbidden"),
            (403, "ERROR: Forbidden"), (400, "ERROR: Invalid address"), (503, "ERROR: Too fast"),
            (503, "ERROR: Temporary failure"), (503, "ERROR: Temporary failure"),
        ]),
        ("freedns-v1", [
            (200, "Updated home.dyn.example to 203.0.113.7 in 0.1 seconds"), (200, "ERROR: Address 203.0.113.7 has not changed."),
            (401, "ERROR: Unable to locate this record"), (404, "ERROR: Unable to locate this record"),
            (404, "ERROR: Unable to locate this record"), (400, "ERROR: Too many hosts"), (403, "ERROR: Forbidden"),
            (403, "ERROR: Forbidden"), (400, "ERROR: Invalid address"), (503, "ERROR: Too fast"),
            (503, "ERROR: Temporary failure"), (503, "ERROR: Temporary failure"),
        ]),
        ("namecheap", [
            (200, "<IP>203.0.113.7</IP><ErrCount>0</ErrCount>"), (200, "<IP>203.0.113.7</IP><ErrCount>0</ErrCount>"),
            (200, "<ErrCount>1</ErrCount>"), (200, "<ErrCount>1</ErrCount>"), (200, "<ErrCount>1</ErrCount>"),
            (200, "<ErrCount>1</ErrCount>"), (200, "<ErrCount>1</ErrCount>"), (200, "<ErrCount>1</ErrCount>"),
            (200, "<ErrCount>1</ErrCount>"), (503, "<ErrCount>1</ErrCount>"), (503, "<ErrCount>1</ErrCount>"),
            (503, "<ErrCount>1</ErrCount>"),
        ]),
        ("easydns", [
            (200, "NOERROR OK"), (200, "NOERROR OK"), (401, "NOACCESS"), (200, "NOACCESS"), (200, "NOACCESS"),
            (200, "ILLEGAL INPUT"), (200, "NOSERVICE"), (200, "NOSERVICE"), (200, "ILLEGAL INPUT"), (503, "TOOSOON"),
            (503, "NOSERVICE"), (503, "NOSERVICE"),
        ]),
        ("zoneedit", [
            (200, "<SUCCESS CODE=\"200\" TEXT=\"updated\" IP=\"203.0.113.7\">"),
            (200, "<SUCCESS CODE=\"201\" TEXT=\"not changed\" IP=\"203.0.113.7\">"), (401, "<ERROR CODE=\"708\" "),
            (200, "<ERROR CODE=\"709\" "), (200, "<ERROR CODE=\"709\" "), (200, "<ERROR CODE=\"700\" "),
            (200, "<ERROR CODE=\"700\" "), (200, "<ERROR CODE=\"700\" "), (200, "<ERROR CODE=\"701\" "),
            (503, "<ERROR CODE=\"702\" "), (503, "<ERROR CODE=\"700\" "), (503, "<ERROR CODE=\"700\" "),
        ]),
        ("dyndns1", [
            (200, "return code: NOERROR\nerror code: NOERROR"), (200, "return code: NOERROR\nerror code: NOERROR"),
            (401, "return code: NOACCESS"), (200, "return code: NOACCESS"), (200, "return code: NOACCESS"),
            (200, "return code: ILLEGAL"), (200, "return code: NOSERVICE"), (200, "return code: NOSERVICE"),
            (200, "return code: ILLEGAL"), (503, "return code: TOOSOON"), (503, "return code: NOSERVICE"),
            (503, "return code: NOSERVICE"),
        ]),
        ("nic-delete", [
            (200, "deleted A"), (200, "deleted A"), (401, "badauth"), (200, "notfqdn"), (200, "nohost"), (200, "numhost"),
            (200, "abuse"), (200, "!donator"), (400, "badip"), (503, "911"), (503, "911"), (503, "dnserr"),
        ]),
        ("he-txt", [
            (200, "good abc"), (200, "good abc"), (401, "badauth"), (200, "notfqdn"), (200, "nohost"), (200, "numhost"),
            (200, "abuse"), (200, "abuse"), (200, "badtxt"), (503, "interval"), (503, "911"), (503, "911"),
        ]),
    ];

    #[test]
    fn every_outcome_has_its_answer_in_every_dialect() {
        let is_matched = |dialect: &&Dialect| MATRIX.iter().filter(|(name, _)| *name == dialect.name).count() == 1;
        let updates = TABLE.iter().filter(|dialect| matches!(dialect.parse, Parse::Update(_)));
        assert_eq!(updates.filter(is_matched).count(), MATRIX.len());
        for (name, answers) in MATRIX {
            let dialect = TABLE.iter().find(|dialect| dialect.name == name).unwrap();
            let echo = match name {
                "he-txt" => Echo { txt: Some("abc".to_owned()), ..Echo::default() },
                _ => Echo { v4: Some("203.0.113.7".to_owned()), ..Echo::default() },
            };
            let is_in_part = ["namecheap", "zoneedit", "dyndns1"].contains(&name);
            for (outcome, (status, body)) in Outcome::ALL.into_iter().zip(answers) {
                let retry_after = whole::is_temporary(outcome).then_some(Duration::from_secs(1));
                let verdict = HostVerdict { retry_after, ..HostVerdict::new(outcome, "") };
                let verdicts = Verdicts { hosts: vec!["home.dyn.example".to_owned()], ..Verdicts::once(None, verdict) };
                let answer = (dialect.render)(&verdicts, &echo);
                let is_as_said = answer.body == body || is_in_part && answer.body.contains(body);
                assert!(is_as_said && answer.status == status, "{name} {outcome:?}: {answer:?}");
                assert!(!answer.reason.is_empty(), "{name} {outcome:?}");
                check_answer(name, outcome, &answer);
            }
        }
    }

    proptest! {
        #[test]
        fn no_soup_of_its_own_words_is_misread(
            path in sample::select(TABLE.iter().flat_map(|dialect| dialect.paths).collect::<Vec<_>>()),
            rest in sample::select(vec!["t", "home/t", "home.a.b/t/192.0.2.1", "t/x/y/z"]),
            pairs in collection::vec((sample::select(&NAMES[..]), sample::select(&VALUES[..])), 0..6),
            in_form in any::<bool>(),
        ) {
            let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let path = path.replace('…', rest);
            let (query, form) = if in_form { (String::new(), pairs.join("&")) } else { (pairs.join("&"), String::new()) };
            crate::public::fuzzing::dialects(format!("{path}?{query}\nBasic YTpi\n{form}").as_bytes());
        }
    }

    #[rustfmt::skip]
    const NAMES: [&str; 28] = [
        "domains", "token", "ip", "ipv6", "clear", "verbose", "txt", "zone", "hostname", "ipv4", "ipv6prefix", "host", "domain",
        "password", "address", "dnsto", "host_id", "myip", "myipv6", "offline", "amp;ip", "wan", "alias", "a", "h", "t",
        "ip6lanprefix", "keepipv4",
    ];
    #[rustfmt::skip]
    const VALUES: [&str; 22] = [
        "", "home", "a.b", "192.0.2.1", "2001:db8::1", "2001:db8::1/64", "2001:db8:1::/56", "::10", "0.0.0.0", "auto", "-", "true",
        "false", "no", ".", "abc", "home.duckdns.org", "_acme-challenge.a.b", "@", "*", "192.0.2.1,2001:db8::2", "203.0.113.250",
    ];

    /// The paths and the dialect of each line of the table in docs/DIALECTS.md.
    fn documented() -> Vec<(Vec<&'static str>, &'static str)> {
        let docs = include_str!("../../../docs/DIALECTS.md");
        let (_, paths) = docs.split_once("\n## Paths\n").unwrap();
        let lines = paths.split("\n## ").next().unwrap().lines().filter(|line| line.starts_with("| `/"));
        let code = |cell: &'static str| cell.split('`').skip(1).step_by(2).collect::<Vec<_>>();
        let line = |line: &'static str| {
            let cells: Vec<_> = line.split(" | ").collect();
            (code(cells[0]), code(cells[2])[0])
        };
        lines.map(line).collect()
    }

    #[test]
    fn every_path_stands_in_the_docs_with_its_dialect() {
        let documented = documented();
        for (paths, name) in &documented {
            for path in paths {
                // What stands in capitals is the reader's.
                let filled = path.replace("DOMAIN", "home").replace("TOKEN", "abcd").replace("ADDRESS", "192.0.2.1");
                let is_served = at(&TABLE, &filled).any(|spoken| spoken.dialect.name == *name);
                assert!(is_served, "docs/DIALECTS.md says that {name} is spoken at {path}");
            }
        }
        for dialect in &TABLE {
            for pattern in dialect.paths {
                let is_shown = |path: &&str| match pattern.strip_suffix('…') {
                    Some(prefix) => path.starts_with(prefix),
                    None => path == pattern,
                };
                let told = documented.iter().any(|(paths, name)| *name == dialect.name && paths.iter().any(is_shown));
                assert!(told, "docs/DIALECTS.md does not say that {} is spoken at {pattern}", dialect.name);
            }
        }
    }

    #[test]
    fn dialects_of_one_path_are_told_apart_by_what_is_asked() {
        const fn row(
            name: &'static str,
            paths: &'static [&'static str],
            claims: fn(&DialectRequest<'_>) -> bool,
        ) -> Dialect {
            let (parse, render) = (Parse::Answer(checkip::bare), dyndns2::render);
            Dialect { name, paths, claims, parse, render, challenges: false }
        }
        static CROWDED: [Dialect; 5] = [
            row("acme-dns", &["/update", "/update/"], |request| request.head.method == Method::POST),
            row("duckdns", &["/update", "/update/"], |request| request.parameters.list("domains").next().is_some()),
            row("duckdns-path", &["/update/…"], |request| request.rest.contains('/')),
            row("token", &["/update/…"], |request| !request.rest.is_empty()),
            row("dyndns2", &["/update", "/update/"], everything),
        ];
        for (method, target, expected) in [
            (Method::POST, "/update", ("acme-dns", "")),
            (Method::GET, "/update?domains=a", ("duckdns", "")),
            (Method::GET, "/update/?domains=a", ("duckdns", "")),
            (Method::GET, "/update/?hostname=a", ("dyndns2", "")),
            (Method::GET, "/update/a/b?domains=a", ("duckdns-path", "a/b")),
            (Method::GET, "/update/a?domains=a", ("token", "a")),
            (Method::GET, "/update", ("dyndns2", "")),
        ] {
            assert_eq!(spoken(&CROWDED, &method, target), Some(expected), "{method} {target}");
        }
    }
}
