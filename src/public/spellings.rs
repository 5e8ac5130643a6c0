//! How the market spells hosts, addresses and prefixes in parameters, whatever the path: the names that clients give them, and
//! the values that mean something else than what they say. Pure.

use std::net::IpAddr;
use std::sync::Arc;

use super::authorization::{LOGIN, PAIR, PASSWORD};
use super::dialect::Echo;
use super::parameters::Parameters;
use crate::config::Dialects;
use crate::gateway::{Asked, BadAddress, MOST_HOSTS, More, PrefixAsked};
use crate::model::{Addresses, Families, Family, Hostname, InterfaceId, Ipv6Text, PrefixText, canonical, network_of};

/// What is counted and logged of a list of hosts that is too long anyway: each takes more room than its octets did.
pub(super) const MOST_READ: usize = 256;

/// What a host is called; the first that is given counts, and a later one may name a zone of it. A single letter, here and below,
/// is read where no longer name of its meaning is given.
const HOSTS: [&str; 11] =
    ["hostname", "host", "fqdn", "host_id", "domain", "domains", "updatehostname", "dn", "subdomain", "zone", "h"];

/// What an address is called: dyndnsd documents `myip6`, FreeDNS `address`, ZoneEdit `dnsto`, MyDNS.JP `ipv4addr`, njalla `a`,
/// others are seen from routers. Each takes both families.
const ADDRESSES: [(&str, Scope); 20] = [
    ("myip", Scope::Both),
    ("ip", Scope::Both),
    ("address", Scope::Both),
    ("addr", Scope::Both),
    ("dnsto", Scope::Both),
    ("myipv4", Scope::Only(Family::V4)),
    ("ipv4", Scope::Only(Family::V4)),
    ("ip4", Scope::Only(Family::V4)),
    ("myip4", Scope::Only(Family::V4)),
    ("ip4addr", Scope::Only(Family::V4)),
    ("ipv4addr", Scope::Only(Family::V4)),
    ("a", Scope::Only(Family::V4)),
    ("myipv6", Scope::Only(Family::V6)),
    ("ipv6", Scope::Only(Family::V6)),
    ("ip6", Scope::Only(Family::V6)),
    ("ip6addr", Scope::Only(Family::V6)),
    ("ipv6addr", Scope::Only(Family::V6)),
    ("myip6", Scope::Only(Family::V6)),
    ("myip2", Scope::Only(Family::V6)),
    ("aaaa", Scope::Only(Family::V6)),
];

/// What the network behind a router is called. ipv64's `praefix` is a label, and none of these.
const PREFIXES: [&str; 5] = ["ip6lanprefix", "ip6prefix", "ipv6prefix", "v6prefix", "prefix"];

/// A family is left alone where this says yes (core-networks.de).
const KEEPS: [(&str, Family); 2] = [("keepipv4", Family::V4), ("keepipv6", Family::V6)];

/// Whatever these say, it is no host and no address to set.
const OTHERS: [&str; 18] = [
    "offline",
    "wildcard",
    "mx",
    "backmx",
    "system",
    "url",
    "cmd",
    "action",
    "started",
    "location",
    "group",
    "alias",
    "forcehost",
    "authtype",
    "shortresponse",
    "quiet",
    "auto",
    "origin",
];

/// A TXT record is not set by this grammar, and an address is not what its client wants set.
const TXT: [&str; 2] = ["txt", "txtm"];

const LEFT_ALONE: [&str; 4] = ["no", "none", "nochg", "preserve"];
const YES: [&str; 4] = ["yes", "1", "on", "true"];
const NO: [&str; 5] = ["no", "nochg", "off", "0", "false"];

/// Which families a parameter speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Both,
    Only(Family),
}

/// The host names as they were sent.
pub(super) fn hosts(parameters: &Parameters) -> Vec<String> {
    let list = |key: &&str| parameters.list(key).filter(is_host).take(MOST_READ).map(str::to_owned).collect::<Vec<_>>();
    let mut hosts = HOSTS.iter().map(list).find(|list| !list.is_empty()).unwrap_or_default();
    // Dynu's way to name a host of a domain.
    let mut aliases = parameters.list("alias");
    if let ([only], Some(alias), None) = (hosts.as_mut_slice(), aliases.next(), aliases.next()) {
        *only = format!("{alias}.{only}");
    }
    hosts
}

/// Whether a host or an address is said under a name that is known: what tells a request for a change from any other.
pub(super) fn are_in(parameters: &Parameters) -> bool {
    HOSTS.iter().any(|key| parameters.list(key).next().is_some()) || address_is_in(parameters)
}

/// Whether an address or a prefix is.
pub(super) fn address_is_in(parameters: &Parameters) -> bool {
    let addresses = ADDRESSES.iter().map(|(key, _)| key);
    addresses.chain(&PREFIXES).any(|key| parameters.list(key).next().is_some())
}

/// What is asked for each of `hosts` from `caller`, and how it is spelled.
pub(super) fn asked(
    parameters: &Parameters,
    hosts: &[String],
    caller: Option<IpAddr>,
    settings: &Dialects,
) -> Result<(Asked, Echo), BadAddress> {
    understood(parameters, hosts)?;
    let says = |key, words: &[&str]| parameters.list(key).any(|said| is_one_of(said, words));
    let mx: Vec<_> = parameters.list("mx").filter(|mx| !is_one_of(mx, &["nochg"])).map(str::to_owned).collect();
    let backmx = !mx.is_empty() && says("backmx", &YES);
    let extras = More { wildcard: says("wildcard", &["on"]), mx, backmx, ..More::default() };
    let mut said = Said::default();
    said.read(parameters, caller, settings)?;
    let (addresses, echo, more) = if is_offline(parameters)? {
        (Addresses::default(), Echo::default(), More { removals: Some(Families::Both), ..extras })
    } else {
        said.meant(caller, extras)?
    };
    let more = (more != More::default()).then(|| Arc::new(more));
    Ok((Asked { addresses, more }, echo))
}

fn is_offline(parameters: &Parameters) -> Result<bool, BadAddress> {
    let mut is_offline = false;
    for said in parameters.list("offline") {
        if is_one_of(said, &YES) {
            is_offline = true;
        } else if !is_one_of(said, &NO) {
            return Err(BadAddress::NotUnderstood("offline says neither yes nor no"));
        }
    }
    Ok(is_offline)
}

fn is_one_of(said: &str, words: &[&str]) -> bool {
    words.iter().any(|word| said.eq_ignore_ascii_case(word))
}

/// A placeholder that a device did not fill: `<ip6addr>`.
fn is_placeholder(text: &str) -> bool {
    text.starts_with('<') && text.ends_with('>')
}

/// deSEC's clients say `YES`, and selfhost's `1`, where the account has one host alone.
fn is_host(text: &&str) -> bool {
    !is_placeholder(text) && !is_one_of(text, &["yes", "1"])
}

/// The letters that give way to a longer name, of the same meaning, that is given. Found once: a request may hold thousands of
/// letters.
fn shadowed_letters(parameters: &Parameters) -> Vec<&'static str> {
    let is_given = |name: &str| name.len() > 1 && name != "aaaa" && parameters.list(name).next().is_some();
    let longer = |family| {
        let is_of_it = |scope: &Scope| [Scope::Both, Scope::Only(family)].contains(scope);
        ADDRESSES.iter().any(|(name, scope)| is_of_it(scope) && is_given(name))
    };
    let host = HOSTS.iter().any(|name| is_given(name)).then_some("h");
    let (v4, v6) = (longer(Family::V4).then_some("a"), longer(Family::V6).then_some("aaaa"));
    [host, v4, v6].into_iter().flatten().collect()
}

/// Whether a parameter that is not read says no address, and its name is not almost `resembled`.
pub(super) fn unread(name: &str, value: &str, resembled: Option<&'static str>) -> Result<(), BadAddress> {
    if let Some(known) = resembled {
        return Err(BadAddress::AlmostKnown(known));
    }
    if std::iter::once(name).chain(value.split(',')).any(is_almost_address) {
        return Err(BadAddress::NotUnderstood("an address stands under a name that is not known"));
    }
    Ok(())
}

/// Whether nothing is said of a host or an address that is not read: to drop it would set something else than what somebody
/// tried to state, and call that good.
fn understood(parameters: &Parameters, hosts: &[String]) -> Result<(), BadAddress> {
    if parameters.has_foreign_body() {
        return Err(BadAddress::NotUnderstood("the body is no form"));
    }
    let mut aliases = parameters.list("alias");
    if aliases.next().is_some() && (aliases.next().is_some() || hosts.len() != 1) {
        return Err(BadAddress::NotUnderstood("alias stands beside no host, or beside several"));
    }
    if TXT.iter().any(|key| parameters.list(key).next().is_some()) {
        return Err(BadAddress::NotUnderstood("a TXT record is asked for"));
    }
    let shadowed = shadowed_letters(parameters);
    let is_known_name = |name: &str| {
        let is_read = HOSTS.contains(&name) || ADDRESSES.iter().any(|(key, _)| *key == name);
        is_read && !shadowed.contains(&name)
            || KEEPS.iter().any(|(key, _)| *key == name)
            || name == PAIR
            || [&PREFIXES[..], &OTHERS, &LOGIN, &PASSWORD].iter().any(|keys| keys.contains(&name))
    };
    for (name, value) in parameters.iter().filter(|(name, _)| !is_known_name(name)) {
        unread(name, value, resembled(name))?;
        if hosts.is_empty() && value.ends_with(|end: char| end.is_ascii_alphabetic()) && Hostname::parse(value).is_ok()
        {
            return Err(BadAddress::NotUnderstood("a host stands under a name that is not known"));
        }
    }
    let is_one_of_them = |named: &str| hosts.iter().any(|host| is_or_is_below(host.as_bytes(), named.as_bytes()));
    // More hosts than may be asked for are not looked at.
    let keys = HOSTS.iter().filter(|key| !shadowed.contains(key));
    let mut named = keys.flat_map(|key| parameters.list(key)).filter(is_host);
    if hosts.len() <= MOST_HOSTS && named.any(|named| !is_one_of_them(named)) {
        return Err(BadAddress::Contradiction);
    }
    Ok(())
}

pub(super) fn is_or_is_below(host: &[u8], named: &[u8]) -> bool {
    let [host, named] = [host, named].map(|name| name.strip_suffix(b".").unwrap_or(name));
    let at = host.len().checked_sub(named.len());
    let parts = at.and_then(|at| host.split_at_checked(at));
    parts.is_some_and(|(below, end)| end.eq_ignore_ascii_case(named) && (below.is_empty() || below.ends_with(b".")))
}

/// The name that `name` is of those that are read here, or almost is.
pub(super) fn meant_by(name: &str) -> Option<&'static str> {
    let addresses = ADDRESSES.iter().map(|(key, _)| *key);
    let mut known = HOSTS.into_iter().chain(addresses).chain(PREFIXES);
    known.find(|known| *known == name && name.len() > 1).or_else(|| resembled(name))
}

/// The known name that somebody meant by `name`: one that ends in it, as `amp;myip` does, and `wanip`.
fn resembled(name: &str) -> Option<&'static str> {
    let addresses = ADDRESSES.iter().map(|(key, _)| *key);
    let known = HOSTS.into_iter().chain(addresses).chain(PREFIXES).chain(["offline"]);
    known.filter(|known| *known != name).find(|known| {
        let is_telling = ["hostname", "myip", "offline"].contains(known);
        match name.strip_suffix(known) {
            // Other words end in these too: `timezone`, `mac_addr`.
            Some(before) => {
                let is_apart = before.ends_with(|end: char| !end.is_ascii_alphanumeric() && !"_-.".contains(end));
                let is_of_ip = known.contains("ip") || known.starts_with("addr") && before.contains("ip");
                is_apart || is_telling || is_of_ip
            }
            None => is_telling && name.contains(known),
        }
    })
}

/// An address; the brackets of a URL are no part of an IPv6 address.
pub(super) fn read_address(text: &str) -> Option<(IpAddr, &str)> {
    let text = text.trim_ascii();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).filter(|bare| bare.contains(':'));
    let text = bare.unwrap_or(text);
    text.parse().ok().map(|address| (address, text))
}

/// Whether somebody wrote an address, readable or not: four numbers with dots between them, or groups of hexadecimal digits with
/// `::` somewhere; a length, a port or a scope may follow. `1.2.3` is a version, `00:00:5e:00:53:01` a network card.
pub(super) fn is_almost_address(text: &str) -> bool {
    if read_address(text).is_some() {
        return true;
    }
    let text = text.trim_ascii().trim_start_matches('[');
    let numbers = text.split(['/', ':', ']', '%']).next().unwrap_or_default();
    let is_number = |part: &str| (1..=4).contains(&part.len()) && part.bytes().all(|octet| octet.is_ascii_digit());
    let is_v4 = numbers.split('.').count() == 4 && numbers.split('.').all(is_number);
    let groups = text.split(['/', ']', '%']).next().unwrap_or_default();
    let is_v6 =
        groups.contains("::") && groups.bytes().all(|octet| octet.is_ascii_hexdigit() || b":.".contains(&octet));
    is_v4 || is_v6
}

/// What the parameters say of addresses, taken together.
#[derive(Debug, Default)]
struct Said {
    addresses: Addresses,
    echo: Echo,
    prefix: Option<PrefixAsked>,
    interface_id: Option<InterfaceId>,
    /// Under which names `no` is said; the caller's address is forbidden then.
    left_alone: Marks,
    /// `-` is said.
    removed: Marks,
    /// A value under a name of both families.
    is_any_given: bool,
    /// Something is said that sets nothing: a zero address, a placeholder, a prefix that is none.
    is_hollow: bool,
}

/// What is said of each family, and of both at once.
#[derive(Debug, Default)]
struct Marks {
    both: bool,
    v4: bool,
    v6: bool,
}

impl Marks {
    fn mark(&mut self, scope: Scope) {
        match scope {
            Scope::Both => self.both = true,
            Scope::Only(Family::V4) => self.v4 = true,
            Scope::Only(Family::V6) => self.v6 = true,
        }
    }

    fn of(&self, family: Family) -> bool {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }
}

impl Said {
    fn read(&mut self, parameters: &Parameters, caller: Option<IpAddr>, settings: &Dialects) -> Result<(), BadAddress> {
        for key in PREFIXES {
            for text in parameters.list(key) {
                self.read_prefix(text, caller)?;
            }
        }
        let shadowed = shadowed_letters(parameters);
        for (key, scope) in ADDRESSES.into_iter().filter(|(key, _)| !shadowed.contains(key)) {
            for text in parameters.list(key) {
                self.read_value(text, scope, caller)?;
            }
            if settings.empty_deletes && scope != Scope::Both && parameters.is_empty(key) {
                self.removed.mark(scope);
            }
        }
        for (key, family) in KEEPS {
            if parameters.list(key).any(|said| is_one_of(said, &YES)) {
                self.left_alone.mark(Scope::Only(family));
            }
        }
        Ok(())
    }

    fn read_prefix(&mut self, text: &str, caller: Option<IpAddr>) -> Result<(), BadAddress> {
        let found = match PrefixText::parse(text).map_err(|_| BadAddress::Unparsable) {
            _ if is_one_of(text, &LEFT_ALONE) => None,
            Ok(PrefixText::NotGiven) => None,
            Ok(PrefixText::Auto) => match caller.map(canonical) {
                Some(IpAddr::V6(own)) => Some(PrefixAsked::Is(network_of(own))),
                Some(IpAddr::V4(_)) | None => None,
            },
            Ok(PrefixText::Gone) => Some(PrefixAsked::Gone),
            Ok(PrefixText::Is(network)) => Some(PrefixAsked::Is(network)),
            Err(error) => return Err(error),
        };
        match (found, self.prefix) {
            (Some(found), Some(other)) if found != other => return Err(BadAddress::Contradiction),
            (Some(found), _) => self.prefix = Some(found),
            (None, _) => self.is_hollow = true,
        }
        Ok(())
    }

    fn read_value(&mut self, text: &str, scope: Scope, caller: Option<IpAddr>) -> Result<(), BadAddress> {
        if is_one_of(text, &LEFT_ALONE) {
            self.left_alone.mark(scope);
            return Ok(());
        }
        if text == "-" && scope != Scope::Both {
            self.removed.mark(scope);
            return Ok(());
        }
        self.is_any_given |= scope == Scope::Both;
        if is_placeholder(text) {
            self.is_hollow = true;
            return Ok(());
        }
        if is_one_of(text, &["auto"]) {
            let is_meant = |own: &IpAddr| scope == Scope::Both || scope == Scope::Only(Family::of(*own));
            match caller.map(canonical).filter(is_meant) {
                Some(own) => return self.add(own, &own.to_string()),
                None => self.is_hollow = true,
            }
            return Ok(());
        }
        if let Some((address, text)) = read_address(text) {
            return self.add(address, text);
        }
        let bare = text.trim_ascii();
        match Ipv6Text::parse(bare).map_err(|_| BadAddress::Unparsable)? {
            Ipv6Text::Address(address) => self.add(address.into(), bare.split('/').next().unwrap_or(bare)),
            Ipv6Text::Prefix(network) => self.add_prefix(PrefixAsked::Moves(network)),
            Ipv6Text::Both(address, network) => {
                self.add_prefix(PrefixAsked::Is(network))?;
                self.add(address.into(), bare.split('/').next().unwrap_or(bare))
            }
        }
    }

    /// A prefix in the place of an address; what a parameter of its own says counts before it.
    fn add_prefix(&mut self, found: PrefixAsked) -> Result<(), BadAddress> {
        match *self.prefix.get_or_insert(found) {
            PrefixAsked::Moves(other) if found != PrefixAsked::Moves(other) => Err(BadAddress::Contradiction),
            PrefixAsked::Is(_) | PrefixAsked::Moves(_) | PrefixAsked::Gone => Ok(()),
        }
    }

    fn add(&mut self, address: IpAddr, text: &str) -> Result<(), BadAddress> {
        if address.is_unspecified() {
            self.is_hollow = true;
            return Ok(());
        }
        let (is_first_or_same, spelled) = match canonical(address) {
            IpAddr::V4(v4) => (*self.addresses.v4.get_or_insert(v4) == v4, &mut self.echo.v4),
            IpAddr::V6(v6) => {
                if let Some(id) = InterfaceId::of_address(v6) {
                    let is_first_or_same = *self.interface_id.get_or_insert(id) == id;
                    return if is_first_or_same { Ok(()) } else { Err(BadAddress::TwoOfAFamily) };
                }
                (*self.addresses.v6.get_or_insert(v6) == v6, &mut self.echo.v6)
            }
        };
        spelled.get_or_insert_with(|| text.to_owned());
        if is_first_or_same { Ok(()) } else { Err(BadAddress::TwoOfAFamily) }
    }

    /// What all of it means; with nothing said, the caller's own address, that family only.
    fn meant(mut self, caller: Option<IpAddr>, extras: More) -> Result<(Addresses, Echo, More), BadAddress> {
        let moves = matches!(self.prefix, Some(PrefixAsked::Moves(_)));
        let is_set = |family| match family {
            Family::V4 => self.addresses.v4.is_some(),
            Family::V6 => self.addresses.v6.is_some() || self.interface_id.is_some() || moves,
        };
        let says_two = |family| {
            [is_set(family), self.left_alone.of(family), self.removed.of(family)].into_iter().filter(|it| *it).count()
                > 1
        };
        if says_two(Family::V4) || says_two(Family::V6) || self.left_alone.both && self.is_any_given {
            return Err(BadAddress::Contradiction);
        }
        if let Some(PrefixAsked::Moves(network)) = self.prefix
            && (self.addresses.v6.is_some() || self.interface_id.is_some())
        {
            self.prefix = Some(PrefixAsked::Is(network));
        }
        if self.interface_id.is_some() {
            if self.addresses.v6.is_some() {
                return Err(BadAddress::TwoOfAFamily);
            }
            if !matches!(self.prefix, Some(PrefixAsked::Is(_))) {
                return Err(BadAddress::NotUnderstood("an interface id stands beside no prefix"));
            }
        }
        let removals = Families::of(self.removed.v4, self.removed.v6);
        let is_else_meant = removals.is_some() || self.prefix.is_some() || self.interface_id.is_some();
        if self.addresses.is_empty() && !is_else_meant {
            if self.is_hollow {
                return Err(BadAddress::Unparsable);
            }
            let is_meant = |own: &IpAddr| !self.left_alone.both && !self.left_alone.of(Family::of(canonical(*own)));
            let own = caller.filter(is_meant).ok_or(BadAddress::None)?;
            self.add(own, &own.to_string())?;
            if self.addresses.is_empty() {
                return Err(BadAddress::None);
            }
        }
        let Self { addresses, echo, prefix, interface_id, .. } = self;
        Ok((addresses, echo, More { removals, prefix, interface_id, ..extras }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_with(query: &str, caller: &str, settings: &Dialects) -> Result<(Asked, Echo), BadAddress> {
        let parameters = &Parameters::parse(query.as_bytes());
        asked(parameters, &hosts(parameters), caller.parse().ok(), settings)
    }

    fn read(query: &str) -> Result<(Asked, Echo), BadAddress> {
        read_with(query, "198.51.100.1", &Dialects::default())
    }

    /// What is asked for, in short: addresses as they are echoed, then the rest.
    fn shown(read: Result<(Asked, Echo), BadAddress>) -> String {
        let (Asked { addresses, more }, echo) = match read {
            Ok(read) => read,
            Err(error) => return error.to_string(),
        };
        let spelled = echo.v4.iter().chain(&echo.v6);
        assert!(spelled.clone().map(|text| canonical(text.parse().unwrap())).eq(addresses.iter()), "{echo:?}");
        let mut words: Vec<String> = spelled.cloned().collect();
        if let Some(more) = more {
            words.extend(more.removals.map(|families| format!("-{families:?}")));
            words.extend(more.prefix.map(|prefix| match prefix {
                PrefixAsked::Is(network) => format!("prefix {network}"),
                PrefixAsked::Moves(network) => format!("moves to {network}"),
                PrefixAsked::Gone => "no prefix".to_owned(),
            }));
            words.extend(more.interface_id.map(|id| format!("id {id}")));
            words.extend(more.wildcard.then(|| "wildcard".to_owned()));
            words.extend(more.mx.iter().map(|mx| format!("mx {mx}")));
            words.extend(more.backmx.then(|| "backup".to_owned()));
        }
        words.join(" ")
    }

    #[test]
    fn addresses_are_read_as_clients_send_them() {
        for (query, caller, expected) in [
            ("myip=192.0.2.1", "198.51.100.1", "192.0.2.1"),
            ("myip=192.0.2.1,2001:DB8:0::1", "198.51.100.1", "192.0.2.1 2001:DB8:0::1"),
            ("myipv6=2001:db8::1&myipv4=192.0.2.1", "198.51.100.1", "192.0.2.1 2001:db8::1"),
            ("myip=2001:0db8:0000:0000:0000:0000:0000:0001", "::1", "2001:0db8:0000:0000:0000:0000:0000:0001"),
            ("myip=", "198.51.100.1", "198.51.100.1"),
            ("myipv6=", "198.51.100.1", "198.51.100.1"),
            ("", "2001:db8::7", "2001:db8::7"),
            ("myip=&myipv6=2001:db8::1", "198.51.100.1", "2001:db8::1"),
            ("myip=[2001:db8::1]", "198.51.100.1", "2001:db8::1"),
            ("myip=::ffff:192.0.2.1", "198.51.100.1", "::ffff:192.0.2.1"),
            ("myip=+192.0.2.1+", "198.51.100.1", "192.0.2.1"),
            ("myip=192.0.2.1&ip=192.0.2.1", "198.51.100.1", "192.0.2.1"),
            ("myip=192.0.2.1&myip6=2001:db8::1", "198.51.100.1", "192.0.2.1 2001:db8::1"),
            ("myip=192.0.2.1&MYIP=2001:db8::1&myip=192.0.2.1", "198.51.100.1", "192.0.2.1 2001:db8::1"),
            ("dnsto=192.0.2.1", "198.51.100.1", "192.0.2.1"),
            ("IPV4ADDR=192.0.2.1&IPV6ADDR=2001:db8::1", "198.51.100.1", "192.0.2.1 2001:db8::1"),
            ("h=a.example&k=x&a=192.0.2.1&aaaa=2001:db8::1", "198.51.100.1", "192.0.2.1 2001:db8::1"),
            ("h=a.example&k=x&auto&quiet", "198.51.100.1", "198.51.100.1"),
            ("ipv4=auto&ipv6=2001:db8::1", "198.51.100.1", "198.51.100.1 2001:db8::1"),
            ("ipv4=auto&ipv6=auto", "2001:db8::7", "2001:db8::7"),
            ("ip=auto", "2001:db8::7", "2001:db8::7"),
            ("ipv6=auto", "198.51.100.1", "not an address"),
            ("ipv6=6to4", "198.51.100.1", "not an address"),
            ("myip=192.0.2.1&myip=192.0.2.2", "198.51.100.1", "two addresses of one family"),
            ("myip=192.0.2.1,192.0.2.2", "198.51.100.1", "two addresses of one family"),
            ("myip=192.0.2.1&ip=192.0.2.2", "198.51.100.1", "two addresses of one family"),
            ("myip=::ffff:192.0.2.1,192.0.2.2", "198.51.100.1", "two addresses of one family"),
            ("myip=fe80::1%25eth0", "198.51.100.1", "not an address"),
            ("myip=192.0.2.1:80", "198.51.100.1", "not an address"),
            ("myip=192.0.2.1/32", "198.51.100.1", "not an address"),
            ("myip=[2001:db8::1]:80", "198.51.100.1", "not an address"),
            ("myip=[192.0.2.1]", "198.51.100.1", "not an address"),
            ("myip=192.0.2.01", "198.51.100.1", "not an address"),
            ("myip=1.1.1.1domain2.example.com", "198.51.100.1", "not an address"),
            ("myip=", "unknown", "no address is left to set"),
        ] {
            assert_eq!(shown(read_with(query, caller, &Dialects::default())), expected, "{query} from {caller}");
        }
        let (mapped, _) = read("myip=::ffff:192.0.2.1").unwrap();
        assert_eq!(mapped.addresses, Addresses { v4: Some([192, 0, 2, 1].into()), v6: None }, "mapped is IPv4");
    }

    #[test]
    fn some_values_leave_a_family_alone() {
        for (query, expected) in [
            ("myip=no&myipv6=2001:db8::1", "2001:db8::1"),
            ("myipv4=preserve&myipv6=2001:db8::1", "2001:db8::1"),
            ("ipv4=None&ipv6=2001:db8::1", "2001:db8::1"),
            ("ip4=NOCHG&ip6=2001:db8::1", "2001:db8::1"),
            ("myipv6=preserve", "198.51.100.1"),
            ("myip=2001:db8::1&keepipv4=1", "2001:db8::1"),
            ("myip=192.0.2.1&keepipv6=1", "192.0.2.1"),
            ("myip=192.0.2.1&keepipv4=0", "192.0.2.1"),
            ("myip=192.0.2.1&myipv6=::", "192.0.2.1"),
            ("myip=0.0.0.0&myipv6=2001:db8::1", "2001:db8::1"),
            ("myip=192.0.2.1&myipv6=<ip6addr>&ip6lanprefix=<ip6lanprefix>", "192.0.2.1"),
            // Alone they are no address, and never the caller's.
            ("myip=0.0.0.0", "not an address"),
            ("myip=::", "not an address"),
            ("myip=<ipaddr>", "not an address"),
            ("ip6lanprefix=<ip6lanprefix>", "not an address"),
            ("myipv4=no", "no address is left to set"),
            ("keepipv4=1", "no address is left to set"),
            ("myip=none", "no address is left to set"),
            ("myip=192.0.2.1&myipv4=no", "it says two things at once"),
            ("myip=192.0.2.1&keepipv4=1", "it says two things at once"),
            ("myip=192.0.2.1&myip=no", "it says two things at once"),
        ] {
            assert_eq!(shown(read(query)), expected, "{query}");
        }
    }

    #[test]
    fn a_family_may_be_taken_away() {
        for (query, expected) in [
            ("ipv4=192.0.2.1&ipv6=-", "192.0.2.1 -V6"),
            ("ipv4=-", "-V4"),
            ("ipv4=-&ipv6=-", "-Both"),
            ("offline=YES", "-Both"),
            ("hostname=a.example&offline=1&myip=192.0.2.1", "-Both"),
            ("offline=yes&wildcard=ON", "-Both wildcard"),
            ("myip=192.0.2.1&offline=NO&wildcard=ON&mx=mail.example,NOCHG", "192.0.2.1 wildcard mx mail.example"),
            ("myip=192.0.2.1&mx=mail.example&backmx=YES", "192.0.2.1 mx mail.example backup"),
            ("myip=192.0.2.1&mx=&backmx=YES", "192.0.2.1"),
            ("myip=192.0.2.1&offline=nochg&wildcard=NOCHG&mx=&backmx=NO", "192.0.2.1"),
            ("myip=192.0.2.1&offline=perhaps", "offline says neither yes nor no, and is not understood"),
            ("myip=-", "not an address"),
            ("ipv4=-&myip=192.0.2.1", "it says two things at once"),
            ("ipv4=-&ipv4=no", "it says two things at once"),
            ("offline=YES&myip=192.0.2.1,192.0.2.2", "two addresses of one family"),
        ] {
            assert_eq!(shown(read(query)), expected, "{query}");
        }
        let deletes = Dialects { empty_deletes: true, ..Dialects::default() };
        for (query, expected) in [
            ("myipv4=192.0.2.1&myipv6=", "192.0.2.1 -V6"),
            ("myipv4=&myipv6=", "-Both"),
            ("myip=", "198.51.100.1"),
            ("myipv4=&myipv4=192.0.2.1", "192.0.2.1"),
            ("myipv4=preserve&myipv6=2001:db8::1", "2001:db8::1"),
        ] {
            assert_eq!(shown(read_with(query, "198.51.100.1", &deletes)), expected, "{query}");
        }
    }

    #[test]
    fn a_prefix_is_no_address_and_may_come_with_one() {
        for (query, expected) in [
            ("myip=192.0.2.1&ip6lanprefix=2001:db8:1::/64", "192.0.2.1 prefix 2001:db8:1::/64"),
            ("ip6lanprefix=2001:db8:1:23ff::/56", "prefix 2001:db8:1:2300::/56"),
            ("myipv6=2001:db8::1&ip6lanprefix=&dualstack=1", "2001:db8::1"),
            ("myipv6=2001:db8::1&ip6lanprefix=::", "2001:db8::1"),
            ("myipv6=2001:db8::1&ipv6prefix=-", "2001:db8::1 no prefix"),
            ("myipv6=2001:db8:2::/64", "moves to 2001:db8:2::/64"),
            ("myip=192.0.2.1&myipv6=2001:db8:2::/56", "192.0.2.1 moves to 2001:db8:2::/56"),
            ("ipv6=2001:db8:1:2::10/56", "2001:db8:1:2::10 prefix 2001:db8:1::/56"),
            ("ipv6=2001:db8:1:2::10/56&ipv6prefix=2001:db8:9::/48", "2001:db8:1:2::10 prefix 2001:db8:9::/48"),
            ("ipv6=2001:db8:1:2::10/128", "2001:db8:1:2::10"),
            ("ipv6=::10&ipv6prefix=2001:db8:1:23ff::/56", "prefix 2001:db8:1:2300::/56 id ::10"),
            ("myip=192.0.2.1&ipv6prefix=auto", "192.0.2.1"),
            ("ipv6=::10", "an interface id stands beside no prefix, and is not understood"),
            ("ipv6=::10&ipv6prefix=-", "an interface id stands beside no prefix, and is not understood"),
            ("ipv6=::10&myip6=2001:db8::1&prefix=2001:db8::/64", "two addresses of one family"),
            ("ipv6=2001:db8::/64&myipv6=no", "it says two things at once"),
            ("prefix=2001:db8::/64&ip6lanprefix=2001:db8:1::/64", "it says two things at once"),
            ("prefix=2001:db8::/65", "not an address"),
            ("prefix=2001:db8::/15", "not an address"),
            ("prefix=192.0.2.0/24", "not an address"),
            ("myipv6=2001:db8::1/65", "not an address"),
            ("myipv6=2001:db8::/8", "not an address"),
        ] {
            assert_eq!(shown(read(query)), expected, "{query}");
        }
        let own = read_with("ipv6prefix=auto", "2001:db8:1:2::7", &Dialects::default());
        assert_eq!(shown(own), "prefix 2001:db8:1:2::/64");
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
            "action=edit&started=1&hostname=YES&host_id=a.example",
            "h=a.example",
            "hostname=a.example&h=something",
            "hostname=<domain>&domain=a.example",
            "alias=a&hostname=example",
            "alias=&hostname=a.example",
            "updatehostname=a.example&clientname=openwrt&clientversion=8.09",
            "&hostname=a.example&",
        ] {
            let parameters = Parameters::parse(query.as_bytes());
            assert_eq!((hosts(&parameters), read(query).is_ok()), (vec!["a.example".to_owned()], true), "{query}");
        }
        for query in ["hostname=YES", "hostname=1&myip=192.0.2.1", "hostname=<domain>", "hostname=,"] {
            let parameters = Parameters::parse(query.as_bytes());
            assert_eq!((hosts(&parameters), read(query).is_ok()), (Vec::new(), true), "{query}");
        }
        let three = Parameters::parse(b"hostname=a.example&hostname=b.example,c.example");
        assert_eq!(hosts(&three).len(), 3);
        for query in
            ["host=home&domain=dyn.example", "hostname=a.example&host=b.example", "host=a.example&host_id=xa.example"]
        {
            assert_eq!(read(query), Err(BadAddress::Contradiction), "{query}");
        }
        for query in ["alias=a", "alias=a&hostname=b.example,c.example", "alias=a,b&hostname=c.example"] {
            assert!(matches!(read(query), Err(BadAddress::NotUnderstood(_))), "{query}");
        }
    }

    #[test]
    fn what_is_not_understood_is_not_taken_for_not_said() {
        for (garbled, known) in [
            ("amp;myip=192.0.2.1", "myip"),
            ("amp;ip=192.0.2.1", "ip"),
            ("wanip=router", "ip"),
            ("ipaddr=192.0.2.01", "addr"),
            ("ip_address=", "address"),
            ("+myip=", "myip"),
            ("myip[]=x", "myip"),
            ("hostname=a.example&amp;hostname=b.example", "hostname"),
            ("hostname=a.example&hostname2=b.example", "hostname"),
            ("hostname=a.example&amp;host=b.example", "host"),
            ("hostname=a.example&amp;zone=example", "zone"),
            ("amp;offline=YES", "offline"),
            ("amp;ip6lanprefix=x", "ip6lanprefix"),
            ("amp;h=a.example", "h"),
            ("hostname%3Da.example%26myip%3D192.0.2.1", "hostname"),
        ] {
            assert_eq!(read(garbled), Err(BadAddress::AlmostKnown(known)), "{garbled}");
        }
        for strange in [
            "hostname=a.example&wan=192.0.2.1",
            "hostname=a.example&myip=192.0.2.1&wan6=192.0.2.1,2001:db8::1",
            "hostname=a.example&x=[2001:db8::1]",
            "hostname=a.example&192.0.2.1",
            "name=a.example",
            "hostname=a.example&myip=192.0.2.1&a=192.0.2.2",
            "hostname=a.example&txt=x",
            // Spelled so that nobody can read it, and meant for an address all the same.
            "wan=192.0.2.007",
            "wan=192.0.2.1/24",
            "wan=192.0.2.1:80",
            "wan=192.0.2.256",
            "wan=2001:db8::1/64",
            "wan=fe80::1%25eth0",
            "192.0.2.007",
            "[2001:db8::1]:443",
        ] {
            assert!(matches!(read(strange), Err(BadAddress::NotUnderstood(_))), "{strange}");
        }
        for harmless in [
            "hostname=a.example&timezone=UTC&mac_addr=00:00:5e:00:53:01&v=1.2.3&agent=b.example&dualstack=1&praefix=x",
            "wildcard=NOCHG&backmx=NO&mx=&version=1.2.3.4.5&username:password=x",
            "hostname=a.example&cmd=update&system=dyndns&url=&quiet&shortResponse=true&forcehost=1&authtype=secure",
            "token=192.0.2.1&key=2001:db8::1&password=a.example",
        ] {
            assert!(read(harmless).is_ok(), "{harmless}");
        }
    }

    proptest! {
        #[test]
        fn no_query_panics(names in proptest::collection::vec(0_usize..60, 0..6), values in proptest::collection::vec("\\PC{0,20}", 6)) {
            let addresses = ADDRESSES.iter().map(|(key, _)| *key);
            let known: Vec<_> = HOSTS.into_iter().chain(addresses).chain(PREFIXES).chain(OTHERS).collect();
            let pairs = names.iter().zip(&values).map(|(name, value)| format!("{}={value}", known[name % known.len()]));
            let _read = read(&pairs.collect::<Vec<_>>().join("&"));
        }
    }
}
