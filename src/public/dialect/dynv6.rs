//! dynv6 (<https://dynv6.com/docs/apis>): `/api/update`. What is not given stays as it is; the caller's own address is asked for by
//! name, `auto`.

use std::net::IpAddr;
use std::sync::Arc;

use super::stated::{Stated, apart, hosts, understood};
use super::{DialectRequest, Echo, Parsed, Rendered, secret, whole};
use crate::gateway::{Asked, BadAddress, Labels, More, PrefixAsked, Verdicts};
use crate::model::{Families, Family, Ipv6Text, Outcome, PrefixText, network_of};

const HOSTS: [&str; 2] = ["zone", "hostname"];
const KNOWN: [&str; 6] = ["zone", "hostname", "token", "ipv4", "ipv6", "ipv6prefix"];

/// Reads what is asked for.
pub(super) fn parse(request: &DialectRequest<'_>) -> Parsed {
    let DialectRequest { parameters, client, .. } = *request;
    let zones = hosts(parameters, &HOSTS);
    let is_clear = zones.as_ref().map(drop).map_err(|error| *error).and_then(|()| understood(parameters, &KNOWN));
    let (asked, echo) = apart(is_clear.and_then(|()| read(request, client.address)));
    Parsed {
        identity: secret(parameters.first_of(&["token"])),
        hosts: zones.unwrap_or_default(),
        labels: Labels::NoHost,
        asked,
        echo,
    }
}

fn read(request: &DialectRequest<'_>, caller: Option<IpAddr>) -> Result<(Asked, Echo), BadAddress> {
    let list = |name| request.parameters.list(name);
    let (mut stated, mut removed) = (Stated::default(), [false; 2]);
    let (mut told, mut network) = (None, None);
    for text in list("ipv4") {
        match text {
            "-" => removed[0] = true,
            text if is_auto(text) => stated.add_caller(Family::V4, caller)?,
            text => stated.add_of(Family::V4, text)?,
        }
    }
    for text in list("ipv6") {
        match text {
            "-" => removed[1] = true,
            text if is_auto(text) => stated.add_caller(Family::V6, caller)?,
            text if !text.contains('/') => stated.add_of(Family::V6, text)?,
            text => match Ipv6Text::parse(text).map_err(|_| BadAddress::Unparsable)? {
                Ipv6Text::Address(address) => stated.add_of(Family::V6, &address.to_string())?,
                Ipv6Text::Prefix(prefix) => one(&mut network, PrefixAsked::Is(prefix))?,
                Ipv6Text::Both(address, prefix) => {
                    stated.add_of(Family::V6, &address.to_string())?;
                    one(&mut network, PrefixAsked::Is(prefix))?;
                }
            },
        }
    }
    for text in list("ipv6prefix") {
        match PrefixText::parse(text).map_err(|_| BadAddress::Unparsable)? {
            PrefixText::NotGiven => {}
            PrefixText::Auto => match caller {
                Some(IpAddr::V6(own)) => one(&mut told, PrefixAsked::Is(network_of(own)))?,
                _ => return Err(BadAddress::None),
            },
            PrefixText::Gone => one(&mut told, PrefixAsked::Gone)?,
            PrefixText::Is(prefix) => one(&mut told, PrefixAsked::Is(prefix))?,
        }
    }
    let removals = match removed {
        [false, false] => None,
        [true, false] => Some(Families::V4),
        [false, true] => Some(Families::V6),
        [true, true] => Some(Families::Both),
    };
    let (asked, echo) = stated.into_asked();
    let is_both = |address| removals.is_some_and(|families| families.allow(Family::of(address)));
    if asked.addresses.iter().any(is_both) {
        return Err(BadAddress::Contradiction);
    }
    // Of an address with a length the network counts where no prefix is given.
    let more = More { removals, prefix: told.or(network), ..More::default() };
    let more = (more != More::default()).then(|| Arc::new(more));
    Ok((Asked { more, ..asked }, echo))
}

fn is_auto(text: &str) -> bool {
    text.eq_ignore_ascii_case("auto")
}

/// The same twice is one.
fn one(said: &mut Option<PrefixAsked>, prefix: PrefixAsked) -> Result<(), BadAddress> {
    if *said.get_or_insert(prefix) == prefix { Ok(()) } else { Err(BadAddress::Contradiction) }
}

/// inadyn and OpenWrt look for `updated` and `unchanged` anywhere.
pub(super) fn render(verdicts: &Verdicts, _: &Echo) -> Rendered {
    whole::once(verdicts, |outcome| {
        let (status, words) = match outcome {
            Outcome::Changed => (200, "addresses updated"),
            Outcome::Unchanged => (200, "addresses unchanged"),
            Outcome::BadCredentials => (401, "unauthorized"),
            Outcome::NotAName | Outcome::NotYourHost => (404, "zone not found"),
            Outcome::TooMany => (400, "too many zones"),
            Outcome::Blocked | Outcome::NotAllowed => (403, "forbidden"),
            Outcome::BadAddress => (400, "bad address"),
            Outcome::TooFast | Outcome::Unreachable | Outcome::Refused => (503, "try again later"),
        };
        (status, words.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::public::dialect::tests::{read, told};

    #[test]
    fn what_clients_send_is_read() {
        for (query, expected) in [
            ("zone=home.dyn.example&token=t&ipv4=192.0.2.1", "home.dyn.example: 192.0.2.1"),
            ("ipv4=auto&hostname=home.dyn.example&token=t", "home.dyn.example: 198.51.100.1"),
            ("zone=a.b&token=t&ipv4=&ipv6=", "a.b: "),
            ("zone=a.b&token=t&ipv4=2001:db8::1", "a.b: not an address"),
            ("zone=a.b&token=t&ipv6=192.0.2.1", "a.b: not an address"),
            ("zone=a.b&token=t&ipv6=auto", "a.b: no address is left to set"),
            ("zone=a.b&token=t&ipv6=6to4", "a.b: not an address"),
            ("zone=a.b&token=t&ipv6prefix=6to4", "a.b: not an address"),
            ("zone=a.b&token=t&ipv4=-", "a.b:  removals: Some(V4)"),
            ("zone=a.b&token=t&ipv4=-&ipv6=-", "a.b:  removals: Some(Both)"),
            ("zone=a.b&token=t&ipv4=192.0.2.1&ipv6=-", "a.b: 192.0.2.1 removals: Some(V6)"),
            ("zone=a.b&token=t&ipv4=192.0.2.1,-", "a.b: it says two things at once"),
            ("zone=a.b&hostname=c.d&token=t", ": it says two things at once"),
            ("zone=a.b&token=t&ipv6=2001:db8:1:2::10/128", "a.b: 2001:db8:1:2::10"),
            ("zone=a.b&token=t&ipv6=2001:db8:1:2::10/64", "a.b: 2001:db8:1:2::10 prefix: Some(Is(2001:db8:1:2::/64))"),
            ("zone=a.b&token=t&ipv6=2001:db8:1:2::/56", "a.b:  prefix: Some(Is(2001:db8:1::/56))"),
            ("zone=a.b&token=t&ipv6=2001:db8::1/65", "a.b: not an address"),
            (
                "zone=a.b&token=t&ipv6=2001:db8::1&ipv6prefix=2001:db8:1::/56",
                "a.b: 2001:db8::1 prefix: Some(Is(2001:db8:1::/56))",
            ),
            (
                "zone=a.b&token=t&ipv6=2001:db8::1/64&ipv6prefix=2001:db8:1::/56",
                "a.b: 2001:db8::1 prefix: Some(Is(2001:db8:1::/56))",
            ),
            ("zone=a.b&token=t&ipv6prefix=-", "a.b:  prefix: Some(Gone)"),
            ("zone=a.b&token=t&ipv6prefix=auto", "a.b: no address is left to set"),
            ("zone=a.b&token=t&ip=192.0.2.1", "a.b: a parameter is called almost like ip, and is not understood"),
        ] {
            assert_eq!(told("dynv6", &format!("/api/update?{query}"), "198.51.100.1"), expected, "{query}");
        }
        let own = told("dynv6", "/api/update?zone=a.b&token=t&ipv6=auto&ipv6prefix=auto", "2001:db8:1:2::9");
        assert_eq!(own, "a.b: 2001:db8:1:2::9 prefix: Some(Is(2001:db8:1:2::/64))");
        let nothing = read("dynv6", "/api/update?zone=a.b&token=t", "198.51.100.1");
        assert_eq!(nothing.asked, Ok(Asked::default()), "the caller's own address is asked for by name alone");
    }
}
