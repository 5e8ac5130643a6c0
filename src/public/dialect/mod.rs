//! The table of dialects. Each is one file and one row: a pure `parse` from a request to what is asked for, and a pure, total
//! `render` from outcomes to an answer. Knows no socket.

mod checkip;
pub(super) mod dyndns2;
mod token;

use std::time::Duration;

use hyper::http::request::Parts;

use super::parameters::Parameters;
use crate::config::Dialects;
use crate::gateway::{Asked, BadAddress, Identity, Labels, Verdicts};
use crate::net::ClientAddress;

/// All dialects. Where several serve one path, the first that claims the request speaks, and the first of them where a request
/// is turned away before its parameters are read.
pub(super) static TABLE: [Dialect; 4] = [
    Dialect {
        name: "dyndns2",
        paths: &["/nic/update", "/v3/update", "/v2/update", "/dyndns/update", "/update"],
        claims: everything,
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

/// Of `path` what a log may show where no dialect is spoken: the words that the table has too. Any other may be a secret that
/// somebody put in the wrong place.
pub(super) fn known_words(path: &str) -> String {
    let is_known = |word: &str| {
        TABLE.iter().flat_map(|dialect| dialect.paths).any(|path| path.split('/').any(|known| known == word))
    };
    let words = path.split('/').take(8).map(|word| if is_known(word) { word } else { "…" });
    words.collect::<Vec<_>>().join("/")
}

fn everything(_: &DialectRequest<'_>) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use hyper::{Method, Request};

    use super::*;

    /// What speaks for a request, and what it sees of the path.
    fn spoken<'a>(table: &'static [Dialect], method: &Method, target: &'a str) -> Option<(&'static str, &'a str)> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (head, _) = Request::builder().method(method).body(()).unwrap().into_parts();
        let parameters = Parameters::parse(query.as_bytes());
        let client = ClientAddress { source: std::net::Ipv4Addr::LOCALHOST.into(), address: None };
        let settings = Dialects::default();
        let request = |rest| DialectRequest { head: &head, rest, parameters: &parameters, client, settings: &settings };
        let found = at(table, path).find(|spoken| (spoken.dialect.claims)(&request(spoken.rest)));
        found.map(|spoken| (spoken.dialect.name, spoken.rest))
    }

    #[test]
    fn a_path_has_its_dialect_and_no_log_shows_a_secret_of_it() {
        for (path, expected, shown) in [
            ("/nic/update", Some(("dyndns2", "")), "/nic/update"),
            ("/update/abcd-efgh", Some(("token", "abcd-efgh")), "/update/…"),
            ("/cpanelwebcall/abcd-efgh", Some(("token", "abcd-efgh")), "/cpanelwebcall/…"),
            ("/update/a/b", Some(("token", "a/b")), "/update/…"),
            ("/checkip", Some(("checkip", "")), "/checkip"),
            ("/myip", Some(("myip", "")), "/myip"),
            ("/update", Some(("dyndns2", "")), "/update"),
            ("/updates/abcd", None, "/…/…"),
            ("/UPDATE/abcd", None, "/…/…"),
            ("/update/…", Some(("token", "…")), "/update/…"),
            ("/nic/abcd/update", None, "/nic/…/update"),
            ("/", None, "/"),
            ("*", None, "…"),
        ] {
            assert_eq!(spoken(&TABLE, &Method::GET, path), expected, "{path}");
            let said =
                at(&TABLE, path).next().map_or_else(|| known_words(path), |spoken| spoken.shown(path).to_owned());
            assert_eq!(said, shown, "{path}");
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
