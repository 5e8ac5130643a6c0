//! dyndns2, the protocol of `/nic/update`: Dyn's "Members NIC Update API" as routers speak it.

use std::net::IpAddr;

use super::{DialectRequest, Parsed, Rendered, Spelling};
use crate::gateway::{BadAddress, HostVerdict, Identity};
use crate::model::{Addresses, Family, Outcome, canonical};
use crate::public::authorization::credentials;
use crate::public::parameters::Parameters;

/// What is counted and logged of a list of hosts that is too long anyway: each takes more room than its octets did.
const MOST_READ: usize = 256;

// `ip4addr` and `ip6addr` are seen from routers; each parameter takes both families.
const ADDRESSES: [(&str, Scope); 9] = [
    ("myip", Scope::Both),
    ("myipv4", Scope::Only(Family::V4)),
    ("myipv6", Scope::Only(Family::V6)),
    ("ip", Scope::Both),
    ("ipv4", Scope::Only(Family::V4)),
    ("ipv6", Scope::Only(Family::V6)),
    ("ip6", Scope::Only(Family::V6)),
    ("ip4addr", Scope::Only(Family::V4)),
    ("ip6addr", Scope::Only(Family::V6)),
];

/// Which families a parameter's `no` leaves alone.
#[derive(Clone, Copy)]
enum Scope {
    Both,
    Only(Family),
}

/// Reads what is asked for.
pub(in crate::public) fn parse(request: &DialectRequest<'_>) -> Parsed {
    let DialectRequest { head, parameters, client, .. } = *request;
    let (addresses, spelling) = match read_addresses(parameters, client.address) {
        Ok((addresses, spelling)) => (Ok(addresses), spelling),
        Err(error) => (Err(error), Spelling::default()),
    };
    let hosts = parameters.first("hostname").unwrap_or_default().split(',').map(str::trim_ascii);
    let is = |key, value: &str| parameters.first(key).is_some_and(|given| given.eq_ignore_ascii_case(value));
    let mx = parameters.first("mx").is_some_and(|mx| !mx.is_empty() && !mx.eq_ignore_ascii_case("nochg"));
    Parsed {
        identity: credentials(&head.headers, parameters).map_or(Identity::Nobody, Identity::Password),
        hosts: hosts.filter(|host| !host.is_empty()).take(MOST_READ).map(str::to_owned).collect(),
        addresses,
        wants_extra: is("offline", "yes") || is("wildcard", "on") || mx,
        spelling,
    }
}

fn read_addresses(parameters: &Parameters, caller: Option<IpAddr>) -> Result<(Addresses, Spelling), BadAddress> {
    let mut addresses = Addresses::default();
    let mut spelling = Spelling::default();
    let mut left_alone = [false; 2];
    for (key, scope) in ADDRESSES {
        for text in
            parameters.first(key).unwrap_or_default().split(',').map(str::trim_ascii).filter(|text| !text.is_empty())
        {
            if ["no", "preserve", "nochg"].iter().any(|word| text.eq_ignore_ascii_case(word)) {
                match scope {
                    Scope::Both => left_alone = [true; 2],
                    Scope::Only(Family::V4) => left_alone[0] = true,
                    Scope::Only(Family::V6) => left_alone[1] = true,
                }
                continue;
            }
            // The brackets of a URL are no part of an IPv6 address.
            let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).filter(|bare| bare.contains(':'));
            let text = bare.unwrap_or(text);
            add(&mut addresses, &mut spelling, text.parse().map_err(|_| BadAddress::Unparsable)?, text)?;
        }
    }
    if addresses.is_empty() {
        let family_is_left_alone = |address| match Family::of(address) {
            Family::V4 => left_alone[0],
            Family::V6 => left_alone[1],
        };
        let own = caller.filter(|own| !family_is_left_alone(*own)).ok_or(BadAddress::None)?;
        add(&mut addresses, &mut spelling, own, &own.to_string())?;
    }
    Ok((addresses, spelling))
}

fn add(addresses: &mut Addresses, spelling: &mut Spelling, address: IpAddr, text: &str) -> Result<(), BadAddress> {
    let (is_first_or_same, spelled) = match canonical(address) {
        IpAddr::V4(v4) => (*addresses.v4.get_or_insert(v4) == v4, &mut spelling.v4),
        IpAddr::V6(v6) => (*addresses.v6.get_or_insert(v6) == v6, &mut spelling.v6),
    };
    spelled.get_or_insert_with(|| text.to_owned());
    if is_first_or_same { Ok(()) } else { Err(BadAddress::TwoOfAFamily) }
}

/// The answer for `verdicts`: one line for each.
pub(in crate::public) fn render(verdicts: &[HostVerdict], spelling: &Spelling) -> Rendered {
    let outcomes = || verdicts.iter().map(|verdict| verdict.outcome);
    let lines: Vec<_> = outcomes().map(|outcome| line(outcome, spelling)).collect();
    let reasons: Vec<_> = outcomes().map(reason).collect();
    Rendered {
        status: match verdicts {
            [only] => status(only.outcome),
            _ if outcomes().any(|outcome| status(outcome) == 503) => 503,
            _ => 200,
        },
        content_type: "text/plain",
        body: lines.join("\n"),
        reason: reasons.join(", "),
        retry_after: verdicts.iter().filter_map(|verdict| verdict.retry_after).max(),
    }
}

fn line(outcome: Outcome, spelling: &Spelling) -> String {
    let word = match outcome {
        Outcome::Changed => "good",
        Outcome::Unchanged => "nochg",
        Outcome::BadCredentials => "badauth",
        Outcome::NotAName => "notfqdn",
        Outcome::NotYourHost => "nohost",
        Outcome::TooMany => "numhost",
        Outcome::Blocked => "abuse",
        Outcome::NotAllowed => "!donator",
        Outcome::BadAddress => "badip",
        Outcome::TooFast | Outcome::Unreachable => "911",
        Outcome::Refused => "dnserr",
    };
    match (outcome, &spelling.v4, &spelling.v6) {
        (Outcome::Changed | Outcome::Unchanged, Some(v4), Some(v6)) => format!("{word} {v4},{v6}"),
        (Outcome::Changed | Outcome::Unchanged, Some(only), None)
        | (Outcome::Changed | Outcome::Unchanged, None, Some(only)) => format!("{word} {only}"),
        _ => word.to_owned(),
    }
}

fn status(outcome: Outcome) -> u16 {
    match outcome {
        Outcome::BadCredentials => 401,
        Outcome::BadAddress => 400,
        // inadyn `custom` and ez-ipupdate end for good on 200 with 911, inadyn on 429.
        Outcome::TooFast | Outcome::Unreachable | Outcome::Refused => 503,
        Outcome::Changed
        | Outcome::Unchanged
        | Outcome::NotAName
        | Outcome::NotYourHost
        | Outcome::TooMany
        | Outcome::Blocked
        | Outcome::NotAllowed => 200,
    }
}

fn reason(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Changed => "changed",
        Outcome::Unchanged => "unchanged",
        Outcome::BadCredentials => "bad credentials",
        Outcome::NotAName => "not a host name",
        Outcome::NotYourHost => "not your host",
        Outcome::TooMany => "too many hosts",
        Outcome::Blocked => "blocked",
        Outcome::NotAllowed => "not allowed",
        Outcome::BadAddress => "bad address",
        Outcome::TooFast => "too fast",
        Outcome::Unreachable => "primary unreachable",
        Outcome::Refused => "primary refuses us",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str, caller: &str) -> Result<(Addresses, Spelling), BadAddress> {
        read_addresses(&Parameters::parse(query.as_bytes()), caller.parse().ok())
    }

    fn echo(query: &str, caller: &str) -> String {
        read(query, caller).map_or_else(|error| error.to_string(), |(_, spelling)| line(Outcome::Changed, &spelling))
    }

    #[test]
    fn addresses_are_read_as_clients_send_them() {
        for (query, caller, expected) in [
            ("myip=192.0.2.1", "198.51.100.1", "good 192.0.2.1"),
            ("myip=192.0.2.1,2001:DB8:0::1", "198.51.100.1", "good 192.0.2.1,2001:DB8:0::1"),
            ("myipv6=2001:db8::1&myipv4=192.0.2.1", "198.51.100.1", "good 192.0.2.1,2001:db8::1"),
            ("myip=2001:0db8:0000:0000:0000:0000:0000:0001", "::1", "good 2001:0db8:0000:0000:0000:0000:0000:0001"),
            ("myip=", "198.51.100.1", "good 198.51.100.1"),
            ("", "2001:db8::7", "good 2001:db8::7"),
            ("myip=&myipv6=2001:db8::1", "198.51.100.1", "good 2001:db8::1"),
            ("myip=[2001:db8::1]", "198.51.100.1", "good 2001:db8::1"),
            ("myip=::ffff:192.0.2.1", "198.51.100.1", "good ::ffff:192.0.2.1"),
            ("myip=+192.0.2.1+", "198.51.100.1", "good 192.0.2.1"),
            ("myip=192.0.2.1&ip=192.0.2.1", "198.51.100.1", "good 192.0.2.1"),
            ("myip=no&myipv6=2001:db8::1", "198.51.100.1", "good 2001:db8::1"),
            ("myipv4=preserve&myipv6=2001:db8::1", "198.51.100.1", "good 2001:db8::1"),
            ("myipv6=preserve", "198.51.100.1", "good 198.51.100.1"),
            ("myipv4=no", "198.51.100.1", "no address is left to set"),
            ("myip=no", "2001:db8::7", "no address is left to set"),
            ("myip=192.0.2.1,192.0.2.2", "198.51.100.1", "two addresses of one family"),
            ("myip=192.0.2.1&ip=192.0.2.2", "198.51.100.1", "two addresses of one family"),
            ("myip=::ffff:192.0.2.1,192.0.2.2", "198.51.100.1", "two addresses of one family"),
            ("myip=fe80::1%25eth0", "198.51.100.1", "not an address"),
            ("myip=192.0.2.1:80", "198.51.100.1", "not an address"),
            ("myip=[2001:db8::1]:80", "198.51.100.1", "not an address"),
            ("myip=[192.0.2.1]", "198.51.100.1", "not an address"),
            ("myip=192.0.2.01", "198.51.100.1", "not an address"),
            ("myip=1.1.1.1domain2.example.com", "198.51.100.1", "not an address"),
        ] {
            assert_eq!(echo(query, caller), expected, "{query} from {caller}");
        }
        let (mapped, _) = read("myip=::ffff:192.0.2.1", "198.51.100.1").unwrap();
        assert_eq!(mapped, Addresses { v4: Some("192.0.2.1".parse().unwrap()), v6: None }, "a mapped address is IPv4");
        assert_eq!(read("myip=", "unknown"), Err(BadAddress::None), "a proxy that names no address");
    }
}
