//! dyndns2, the protocol of `/nic/update`: Dyn's "Members NIC Update API" as routers speak it.

use std::net::IpAddr;
use std::sync::Arc;

use super::{DialectRequest, Echo, Parsed, Rendered};
use crate::gateway::{Asked, BadAddress, Labels, MOST_HOSTS, More, Verdicts};
use crate::model::{Addresses, Families, Family, Hostname, Outcome, canonical};
use crate::public::authorization::{LOGIN, PASSWORD, identity};
use crate::public::parameters::Parameters;

/// What is counted and logged of a list of hosts that is too long anyway: each takes more room than its octets did.
const MOST_READ: usize = 256;

/// What a host is called; the first that is given counts, and a later one may name a zone of it.
const HOSTS: [&str; 8] = ["hostname", "host", "fqdn", "host_id", "domain", "domains", "subdomain", "zone"];

/// What an address is called: dyndnsd documents `myip6`, FreeDNS `address`, others are seen from routers. Each takes both
/// families.
const ADDRESSES: [(&str, Scope); 15] = [
    ("myip", Scope::Both),
    ("ip", Scope::Both),
    ("address", Scope::Both),
    ("addr", Scope::Both),
    ("dnsto", Scope::Both),
    ("myipv4", Scope::Only(Family::V4)),
    ("ipv4", Scope::Only(Family::V4)),
    ("ip4", Scope::Only(Family::V4)),
    ("ip4addr", Scope::Only(Family::V4)),
    ("myipv6", Scope::Only(Family::V6)),
    ("ipv6", Scope::Only(Family::V6)),
    ("ip6", Scope::Only(Family::V6)),
    ("ip6addr", Scope::Only(Family::V6)),
    ("myip6", Scope::Only(Family::V6)),
    ("myip2", Scope::Only(Family::V6)),
];

/// A prefix is not used, and is no address: the caller's own is not meant where one is given alone.
const PREFIXES: [&str; 5] = ["ip6lanprefix", "ip6prefix", "ipv6prefix", "v6prefix", "prefix"];

/// Whatever these say, it is no host and no address to set.
const OTHERS: [&str; 12] =
    ["offline", "wildcard", "mx", "backmx", "system", "url", "location", "group", "token", "key", "apikey", "pwd"];

/// Which families a parameter's `no` leaves alone.
#[derive(Clone, Copy)]
enum Scope {
    Both,
    Only(Family),
}

/// Reads what is asked for.
pub(in crate::public) fn parse(request: &DialectRequest<'_>) -> Parsed {
    let DialectRequest { head, parameters, client, .. } = *request;
    let mut lists = HOSTS.iter().map(|key| parameters.list(key).take(MOST_READ).map(str::to_owned).collect::<Vec<_>>());
    let hosts = lists.find(|list| !list.is_empty()).unwrap_or_default();
    let read = understood(parameters, &hosts).and_then(|()| read_addresses(parameters, client.address));
    let says = |key, words: &[&str]| parameters.list(key).any(|said| is_one_of(said, words));
    let is_offline = parameters.list("offline").any(|said| !is_one_of(said, &["no", "nochg", "off", "0", "false"]));
    let more = More {
        removals: is_offline.then_some(Families::Both),
        wildcard: says("wildcard", &["on"]),
        mx: parameters.list("mx").filter(|mx| !is_one_of(mx, &["nochg"])).map(str::to_owned).collect(),
        ..More::default()
    };
    let more = (more != More::default()).then(|| Arc::new(more));
    let (asked, echo) = match read {
        Ok((addresses, echo)) => (Ok(Asked { addresses, more }), echo),
        Err(error) => (Err(error), Echo::default()),
    };
    Parsed { identity: identity(&head.headers, parameters), hosts, labels: Labels::NoHost, asked, echo }
}

fn is_one_of(said: &str, words: &[&str]) -> bool {
    words.iter().any(|word| said.eq_ignore_ascii_case(word))
}

/// Whether nothing is said of a host or an address that is not read: to drop it would set something else than what somebody
/// tried to state, and call that good.
fn understood(parameters: &Parameters, hosts: &[String]) -> Result<(), BadAddress> {
    if parameters.has_foreign_body() {
        return Err(BadAddress::NotUnderstood("the body is no form"));
    }
    if parameters.list("alias").next().is_some() {
        return Err(BadAddress::NotUnderstood("alias stands beside the host's whole name"));
    }
    let is_known_name = |name: &str| {
        HOSTS.contains(&name)
            || ADDRESSES.iter().any(|(key, _)| *key == name)
            || [&PREFIXES[..], &OTHERS, &LOGIN, &PASSWORD].iter().any(|keys| keys.contains(&name))
    };
    for (name, value) in parameters.iter().filter(|(name, _)| !is_known_name(name)) {
        if let Some(known) = resembled(name) {
            return Err(BadAddress::AlmostKnown(known));
        }
        if std::iter::once(name).chain(value.split(',')).any(|text| read_address(text).is_some()) {
            return Err(BadAddress::NotUnderstood("an address stands under a name that is not known"));
        }
        if hosts.is_empty() && value.ends_with(|end: char| end.is_ascii_alphabetic()) && Hostname::parse(value).is_ok()
        {
            return Err(BadAddress::NotUnderstood("a host stands under a name that is not known"));
        }
    }
    let is_one_of_them = |named: &str| hosts.iter().any(|host| is_or_is_below(host.as_bytes(), named.as_bytes()));
    // More hosts than may be asked for are not looked at.
    let mut named = HOSTS.iter().flat_map(|key| parameters.list(key));
    if hosts.len() <= MOST_HOSTS && named.any(|named| !is_one_of_them(named)) {
        return Err(BadAddress::Contradiction);
    }
    Ok(())
}

fn is_or_is_below(host: &[u8], named: &[u8]) -> bool {
    let [host, named] = [host, named].map(|name| name.strip_suffix(b".").unwrap_or(name));
    let at = host.len().checked_sub(named.len());
    let parts = at.and_then(|at| host.split_at_checked(at));
    parts.is_some_and(|(below, end)| end.eq_ignore_ascii_case(named) && (below.is_empty() || below.ends_with(b".")))
}

/// The known name that somebody meant by `name`: one that ends in it, as `amp;myip` does, and `wanip`.
fn resembled(name: &str) -> Option<&'static str> {
    let addresses = ADDRESSES.iter().map(|(key, _)| *key);
    HOSTS.into_iter().chain(addresses).chain(PREFIXES).chain(["offline"]).find(|known| {
        let is_telling = ["hostname", "myip", "offline"].contains(known);
        match name.strip_suffix(known) {
            // Other words end in these too: `timezone`, `mac_addr`.
            Some(before) => {
                let is_apart = before.ends_with(|end: char| !end.is_ascii_alphanumeric() && !"_-.".contains(end));
                is_apart || is_telling || known.contains("ip")
            }
            None => is_telling && name.contains(known),
        }
    })
}

/// An address; the brackets of a URL are no part of an IPv6 address.
fn read_address(text: &str) -> Option<(IpAddr, &str)> {
    let text = text.trim_ascii();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).filter(|bare| bare.contains(':'));
    let text = bare.unwrap_or(text);
    text.parse().ok().map(|address| (address, text))
}

fn read_addresses(parameters: &Parameters, caller: Option<IpAddr>) -> Result<(Addresses, Echo), BadAddress> {
    let mut addresses = Addresses::default();
    let mut echo = Echo::default();
    let (mut left_alone, mut is_any_left_alone, mut is_any_given) = ([false; 2], false, false);
    let of = |family| usize::from(family == Family::V6);
    for (key, scope) in ADDRESSES {
        for text in parameters.list(key) {
            match (is_one_of(text, &["no", "preserve", "nochg"]), scope) {
                (true, Scope::Both) => is_any_left_alone = true,
                (true, Scope::Only(family)) => left_alone[of(family)] = true,
                (false, _) => {
                    is_any_given |= matches!(scope, Scope::Both);
                    let (address, text) = read_address(text).ok_or(BadAddress::Unparsable)?;
                    add(&mut addresses, &mut echo, address, text)?;
                }
            }
        }
    }
    let is_left_alone = |address| left_alone[of(Family::of(address))];
    if addresses.iter().any(is_left_alone) || is_any_left_alone && is_any_given {
        return Err(BadAddress::Contradiction);
    }
    if addresses.is_empty() {
        let is_else_meant = is_any_left_alone || PREFIXES.iter().any(|key| parameters.list(key).next().is_some());
        let own = caller.filter(|own| !is_else_meant && !is_left_alone(*own)).ok_or(BadAddress::None)?;
        add(&mut addresses, &mut echo, own, &own.to_string())?;
    }
    Ok((addresses, echo))
}

fn add(addresses: &mut Addresses, echo: &mut Echo, address: IpAddr, text: &str) -> Result<(), BadAddress> {
    let (is_first_or_same, spelled) = match canonical(address) {
        IpAddr::V4(v4) => (*addresses.v4.get_or_insert(v4) == v4, &mut echo.v4),
        IpAddr::V6(v6) => (*addresses.v6.get_or_insert(v6) == v6, &mut echo.v6),
    };
    spelled.get_or_insert_with(|| text.to_owned());
    if is_first_or_same { Ok(()) } else { Err(BadAddress::TwoOfAFamily) }
}

/// The answer for `verdicts`: one line for each.
pub(in crate::public) fn render(verdicts: &Verdicts, echo: &Echo) -> Rendered {
    let verdicts = &verdicts.each;
    let outcomes = || verdicts.iter().map(|verdict| verdict.outcome);
    let lines: Vec<_> = outcomes().map(|outcome| line(outcome, echo)).collect();
    let reasons: Vec<_> = outcomes().map(reason).collect();
    Rendered {
        status: match verdicts.as_slice() {
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

fn line(outcome: Outcome, echo: &Echo) -> String {
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
    match (outcome, &echo.v4, &echo.v6) {
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
    use std::net::Ipv4Addr;

    use hyper::Request;

    use super::*;
    use crate::config::Dialects;
    use crate::net::ClientAddress;

    fn read(query: &str, caller: &str) -> Result<(Addresses, Echo), BadAddress> {
        read_addresses(&Parameters::parse(query.as_bytes()), caller.parse().ok())
    }

    fn echo(query: &str, caller: &str) -> String {
        read(query, caller).map_or_else(|error| error.to_string(), |(_, echo)| line(Outcome::Changed, &echo))
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
            ("myip=192.0.2.1&myip6=2001:db8::1", "198.51.100.1", "good 192.0.2.1,2001:db8::1"),
            ("myip=192.0.2.1&MYIP=2001:db8::1&myip=192.0.2.1", "198.51.100.1", "good 192.0.2.1,2001:db8::1"),
            ("myip=192.0.2.1&ip6lanprefix=2001:db8:1::/64", "198.51.100.1", "good 192.0.2.1"),
            ("ip6lanprefix=2001:db8:1::/64", "198.51.100.1", "no address is left to set"),
            ("myip=192.0.2.1&myipv4=no", "198.51.100.1", "it says two things at once"),
            ("myip=192.0.2.1&myip=no", "198.51.100.1", "it says two things at once"),
            ("myip=192.0.2.1&myip=192.0.2.2", "198.51.100.1", "two addresses of one family"),
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

    fn asked(query: &str) -> (Vec<String>, Result<Asked, BadAddress>) {
        let parameters = &Parameters::parse(query.as_bytes());
        let client = ClientAddress { source: Ipv4Addr::LOCALHOST.into(), address: "198.51.100.1".parse().ok() };
        let (head, ()) = Request::new(()).into_parts();
        let Parsed { hosts, asked, .. } =
            parse(&DialectRequest { head: &head, rest: "", parameters, client, settings: &Dialects::default() });
        (hosts, asked)
    }

    #[test]
    fn a_host_has_as_many_names_as_clients_give_it() {
        for query in [
            "hostname=a.example",
            "host=a.example",
            "domain=&fqdn=a.example",
            "hostname=a.example&host=A.example.",
            "hostname=a.example&zone=example",
            "host_id=a.example&location=&group=b.example&username=c.example&url=d.example&timezone=Europe/Berlin",
        ] {
            let (hosts, addresses) = asked(query);
            assert_eq!((hosts.as_slice(), addresses.is_ok()), (&["a.example".to_owned()][..], true), "{query}");
        }
        assert_eq!(asked("hostname=a.example&hostname=b.example,c.example").0.len(), 3);
        for query in
            ["host=home&domain=dyn.example", "hostname=a.example&host=b.example", "host=a.example&host_id=xa.example"]
        {
            assert_eq!(asked(query).1, Err(BadAddress::Contradiction), "{query}");
        }
    }

    #[test]
    fn what_is_not_understood_is_not_taken_for_not_said() {
        for (garbled, known) in [
            ("amp;myip=192.0.2.1", "myip"),
            ("amp;ip=192.0.2.1", "ip"),
            ("wanip=router", "ip"),
            ("+myip=", "myip"),
            ("myip[]=x", "myip"),
            ("hostname=a.example&amp;hostname=b.example", "hostname"),
            ("hostname=a.example&hostname2=b.example", "hostname"),
            ("hostname=a.example&amp;host=b.example", "host"),
            ("hostname=a.example&amp;zone=example", "zone"),
            ("amp;offline=YES", "offline"),
            ("amp;ip6lanprefix=x", "ip6lanprefix"),
            ("hostname%3Da.example%26myip%3D192.0.2.1", "hostname"),
        ] {
            assert_eq!(asked(garbled).1, Err(BadAddress::AlmostKnown(known)), "{garbled}");
        }
        for strange in [
            "hostname=a.example&wan=192.0.2.1",
            "hostname=a.example&myip=192.0.2.1&wan6=192.0.2.1,2001:db8::1",
            "hostname=a.example&x=[2001:db8::1]",
            "hostname=a.example&192.0.2.1",
            "name=a.example",
            "hostname=example&alias=a",
        ] {
            assert!(matches!(asked(strange).1, Err(BadAddress::NotUnderstood(_))), "{strange}");
        }
        for harmless in [
            "hostname=a.example&timezone=UTC&mac_addr=00:00:5e:00:53:01&v=1.2.3&agent=b.example&dualstack=1&praefix=x",
            "wildcard=NOCHG&backmx=NO&mx=&version=1.2.3.4.5&username:password=x",
        ] {
            assert!(asked(harmless).1.is_ok(), "{harmless}");
        }
    }
}
