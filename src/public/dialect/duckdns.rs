//! DuckDNS (<https://www.duckdns.org/spec.jsp>): one token, labels without a zone, and one word for all of them, without a line
//! end: certbot's plugin, lego and acme.sh compare the whole body.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::stated::{Stated, apart, flag, gives, hosts, is_of_a_name, text, understood};
use super::{DialectRequest, Echo, Parsed, Rendered, secret, whole};
use crate::gateway::{Asked, BadAddress, ChallengeAsked, Labels, More, Verdicts};
use crate::model::{Families, Family, Outcome};

const KNOWN: [&str; 7] = ["domains", "token", "ip", "ipv6", "clear", "verbose", "txt"];

/// What clients know the service's own names by.
const ITS_ZONE: &str = ".duckdns.org";

/// No label is longer in a path. A host's token is, and who writes more behind that shows it to no log as a domain.
const LONGEST_IN_PATH: usize = 30;

/// `?domains=…&token=…`, or `/DOMAIN/TOKEN[/IP]`.
pub(super) fn claims(request: &DialectRequest<'_>) -> bool {
    if request.rest.is_empty() {
        return gives(request, &["domains", "token"]);
    }
    let mut segments = request.rest.split('/');
    let is_domain = |domain: &str| domain.contains('.') || domain.len() <= LONGEST_IN_PATH;
    segments.next().is_some_and(|domain| is_domain(domain) && is_of_a_name(domain))
        && (1..=2).contains(&segments.count())
}

/// Reads what is asked for.
pub(super) fn parse(request: &DialectRequest<'_>) -> Parsed {
    let parameters = request.parameters;
    let mut segments = request.rest.split('/').filter(|segment| !segment.is_empty()).map(decoded);
    let (domains, token, address) = match segments.next() {
        Some(domain) => (vec![domain.into_owned()], segments.next(), segments.next()),
        None => (hosts(parameters, "domains"), parameters.first_of(&["token"]), None),
    };
    let known: &[&str] = if request.rest.is_empty() { &KNOWN } else { &[] };
    let read = understood(parameters, known).and_then(|()| read(request, address.as_deref()));
    let (asked, echo) = apart(read);
    Parsed {
        identity: secret(token),
        hosts: domains.iter().map(|domain| without_its_zone(domain).to_owned()).collect(),
        labels: Labels::Begin(request.settings.default_zone.clone()),
        asked,
        echo,
    }
}

fn decoded(segment: &str) -> Cow<'_, str> {
    percent_decode_str(segment).decode_utf8_lossy()
}

fn without_its_zone(domain: &str) -> &str {
    let at = domain.len().checked_sub(ITS_ZONE.len());
    match at.and_then(|at| domain.split_at_checked(at)) {
        Some((label, zone)) if zone.eq_ignore_ascii_case(ITS_ZONE) && !label.is_empty() => label,
        _ => domain,
    }
}

/// `in_path` is the address of the path form, which has no parameters.
fn read(request: &DialectRequest<'_>, in_path: Option<&str>) -> Result<(Asked, Echo), BadAddress> {
    let DialectRequest { parameters, client, .. } = *request;
    let (clear, is_verbose) = (flag(parameters, "clear")?, flag(parameters, "verbose")?);
    if parameters.has("txt") {
        // Its addresses stay as they are, with `clear` too.
        let (challenge, txt) = if clear {
            (ChallengeAsked::RemoveAll, String::new())
        } else {
            let value = text(parameters, "txt")?;
            (ChallengeAsked::Present(value.clone()), value)
        };
        return Ok((Asked::of_challenge(challenge), Echo { txt: Some(txt), is_verbose, ..Echo::default() }));
    }
    if clear {
        let more = More { removals: Some(Families::Both), ..More::default() };
        return Ok((Asked::only(more), Echo { is_verbose, ..Echo::default() }));
    }
    let mut stated = Stated::default();
    for address in in_path.into_iter().chain(parameters.list("ip")) {
        stated.add(address)?;
    }
    for address in parameters.list("ipv6") {
        stated.add_of(Family::V6, address)?;
    }
    if stated.is_empty() {
        stated.add_caller(Family::V4, client.address)?;
    }
    let (asked, echo) = stated.into_asked();
    Ok((asked, Echo { is_verbose, ..echo }))
}

/// `OK` or `KO`. The service itself says all with 200; inadyn comes back after 5xx alone.
pub(super) fn render(verdicts: &Verdicts, echo: &Echo) -> Rendered {
    whole::once(verdicts, |outcome| match outcome {
        Outcome::Changed => (200, ok(echo, "UPDATED")),
        Outcome::Unchanged => (200, ok(echo, "NOCHANGE")),
        Outcome::BadCredentials
        | Outcome::NotAName
        | Outcome::NotYourHost
        | Outcome::TooMany
        | Outcome::Blocked
        | Outcome::NotAllowed
        | Outcome::BadAddress => (200, "KO".to_owned()),
        Outcome::TooFast | Outcome::Unreachable | Outcome::Refused => (503, "KO".to_owned()),
    })
}

fn ok(echo: &Echo, word: &str) -> String {
    let line = |text: &Option<String>| text.clone().unwrap_or_default();
    match echo {
        Echo { is_verbose: false, .. } => "OK".to_owned(),
        Echo { txt: Some(txt), .. } => ["OK", txt, word].join("\n"),
        Echo { v4, v6, .. } => ["OK", &line(v4), &line(v6), word].join("\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::HostVerdict;
    use crate::public::dialect::tests::{read, told};

    #[test]
    fn what_clients_send_is_read() {
        for (target, expected) in [
            ("/update?domains=home&token=t&ip=192.0.2.1", "home: 192.0.2.1"),
            ("/update?domains=home&token=t&ip=2001:db8::1", "home: 2001:db8::1"),
            ("/update?domains=home,other.DuckDNS.org&token=t&ip=&ipv6=", "home,other: 198.51.100.1"),
            ("/update?domains=home&token=t&ip=192.0.2.1&ipv6=2001:db8::1&verbose=true", "home: 192.0.2.1,2001:db8::1"),
            ("/update?domains=home&token=t&ipv6=2001:db8::1", "home: 2001:db8::1"),
            ("/update?domains=home&token=t&ipv6=192.0.2.1", "home: not an address"),
            ("/update?domains=home&token=t&ip=192.0.2.1,192.0.2.2", "home: two addresses of one family"),
            ("/update?domains=home&token=t&clear=false", "home: 198.51.100.1"),
            ("/update?domains=home&token=t&clear=true&ip=no", "home:  removals: Some(Both)"),
            (
                "/update?domains=home&token=t&clear=yes",
                "home: a switch is neither true nor false, and is not understood",
            ),
            ("/update?domains=home&token=t&txt=abc&ip=192.0.2.1", "home:  challenge: Some(Present(\"abc\"))"),
            ("/update?clear=false&domains=home&token=t&txt=abc", "home:  challenge: Some(Present(\"abc\"))"),
            ("/update?clear=true&domains=home&token=t&txt=", "home:  challenge: Some(RemoveAll)"),
            ("/update?domains=home&token=t&txt=", "home: the value is no TXT record's, and is not understood"),
            ("/update?domains=&token=t", ": 198.51.100.1"),
            (
                "/update?domains=home&token=t&myip=192.0.2.1",
                "home: a parameter is called almost like myip, and is not understood",
            ),
            ("/update/home/t", "home: 198.51.100.1"),
            ("/update/home.duckdns.org/t/192.0.2.1", "home: 192.0.2.1"),
            ("/update/home/t/2001:db8%3A%3a1", "home: 2001:db8::1"),
            ("/update/home/t/t", "home: not an address"),
            (
                "/update/home.dyn.example/t?ip=192.0.2.1",
                "home.dyn.example: a parameter is called almost like ip, and is not understood",
            ),
        ] {
            assert_eq!(told("duckdns", target, "198.51.100.1"), expected, "{target}");
        }
        let v6 = told("duckdns", "/update?domains=home&token=t", "2001:db8::9");
        assert_eq!(v6, "home: no address is left to set", "the caller's own is of IPv4 alone");
        let parsed = read("duckdns", "/update?domains=home&token=t", "198.51.100.1");
        assert!(matches!(parsed.labels, Labels::Begin(Some(zone)) if zone.as_str() == "dyn.example"));
    }

    #[test]
    fn more_than_a_word_is_said_where_it_is_wanted() {
        let said = |target: &str, outcome| {
            let verdicts = Verdicts::once(None, HostVerdict::new(outcome, ""));
            render(&verdicts, &read("duckdns", target, "198.51.100.1").echo).body
        };
        let both = "/update?domains=home&token=t&verbose=true&ip=192.0.2.1&ipv6=2001:DB8::1";
        assert_eq!(said(both, Outcome::Changed), "OK\n192.0.2.1\n2001:DB8::1\nUPDATED");
        assert_eq!(said(both, Outcome::NotYourHost), "KO");
        let own = "/update?domains=home&token=t&verbose=true";
        assert_eq!(said(own, Outcome::Unchanged), "OK\n198.51.100.1\n\nNOCHANGE");
        let clear = "/update?domains=home&token=t&verbose=true&clear=true";
        assert_eq!(said(clear, Outcome::Changed), "OK\n\n\nUPDATED");
        let text = "/update?domains=home&token=t&verbose=true&txt=abc";
        assert_eq!(said(text, Outcome::Unchanged), "OK\nabc\nNOCHANGE");
        assert_eq!(said(&format!("{text}&clear=true"), Outcome::Changed), "OK\n\nUPDATED");
    }
}
