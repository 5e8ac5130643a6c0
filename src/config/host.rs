//! `[[host]]`: settings of one host, and who follows whom.

use std::collections::{HashMap, HashSet};

use toml::Spanned;

use crate::model::{ExtrasError, HostExtras, Hostname, InterfaceIdError, MAX_FOLLOWERS};

use super::Host;
use super::account::{Accounts, check_exact};
use super::format::{self, Text, example};
use super::problem::{Once, Problems, label, quoted};
use super::zone::Zones;

const TITLE: &str = "[[host]]";

/// All `[[host]]` sections; those with something wrong are left out.
pub(super) fn check_hosts(
    typed: Vec<Spanned<format::HostSection>>,
    accounts: &Accounts,
    zones: &Zones,
    problems: &mut Problems<'_>,
) -> Vec<Host> {
    let count = typed.len();
    let mut names = Once::new();
    let mut hosts = Vec::with_capacity(count);
    // Where each says whom it follows.
    let mut places = HashMap::new();
    for typed in typed {
        let start = typed.span().start;
        let typed = typed.into_inner();
        let Some(text) = problems.required((TITLE, start), "name", typed.name.as_ref()) else { continue };
        let at = text.span().start;
        if text.get_ref().starts_with('*') {
            let message = format!("{} is not the name of one host", quoted(text.get_ref()));
            problems.add(at, message, "a [[host]] is one name; a wildcard may stand in an account's `hosts`");
            continue;
        }
        let Some(name) = check_exact(text, zones, problems) else { continue };
        zones.check_holds(name.as_str(), text, problems);
        let extras = check_extras(&name, at, &typed, zones, problems);
        if names.check(name.clone(), at, &format!("host \"{name}\""), problems)
            && let Some(extras) = extras
        {
            places.extend(typed.follow.map(|text| (name.clone(), text.span().start)));
            hosts.push(Host { name, ttl: typed.ttl.map(|ttl| ttl.0), extras });
        }
    }
    let granted = accounts.checked.iter().flat_map(|account| &account.hosts);
    let known = hosts.iter().map(|host| &host.name).chain(granted).collect();
    let is_complete = accounts.is_complete && hosts.len() == count;
    check_leaders(&hosts, &places, &known, is_complete, problems);
    hosts
}

/// What few hosts have of `name`, which stands at `at`; `None` where something of it is wrong.
fn check_extras(
    name: &Hostname,
    at: usize,
    typed: &format::HostSection,
    zones: &Zones,
    problems: &mut Problems<'_>,
) -> Option<HostExtras> {
    let mut is_right = true;
    let mut found = |right: bool| is_right &= right;
    let follow = typed.follow.as_ref().map(|text| check_exact(text, zones, problems));
    found(follow != Some(None));
    let interface_id = typed.interface_id.as_ref().map(|text| {
        problems.ok(text.span().start, text.get_ref().parse(), |error: InterfaceIdError| {
            let help = format!("write the bits of the host alone, for example: {}", example(TITLE, "interface_id"));
            (format!("{} is not an interface id: {error}", quoted(text.get_ref())), help)
        })
    });
    found(interface_id != Some(None));
    let prefix_from = typed.prefix_from.as_ref().map(|text| {
        problems.ok(text.span().start, text.get_ref().parse(), |error| {
            let message = format!("{} is {}: {error}", label(TITLE, "prefix_from"), quoted(text.get_ref()));
            (message, "write \"address\" where the leader is a machine in the same network, or leave it out")
        })
    });
    found(prefix_from != Some(None));
    let mut once = Once::new();
    let mut mx = Vec::new();
    for text in &typed.mx {
        let name = check_exact(text, zones, problems);
        found(name.is_some());
        let at = text.span().start;
        mx.extend(name.filter(|name| once.check(name.clone(), at, &format!("name \"{name}\""), problems)));
    }
    if !is_right {
        return None;
    }
    let extras = HostExtras {
        follow: follow.flatten(),
        interface_id: interface_id.flatten(),
        prefix_from: prefix_from.flatten().unwrap_or_default(),
        wildcard: typed.wildcard,
        offline: typed.offline,
        mx,
        ptr: typed.ptr,
    };
    let begins = |text: &Option<Text>| text.as_ref().map_or(at, |text| text.span().start);
    match extras.check(name) {
        Ok(()) => Some(extras),
        Err(error) => {
            let (at, help) = match error {
                ExtrasError::Itself => (begins(&typed.follow), "name the host that reports the prefix".to_owned()),
                ExtrasError::NoInterfaceId => {
                    (begins(&typed.follow), format!("add it, for example: {}", example(TITLE, "interface_id")))
                }
                ExtrasError::FollowsNobody => {
                    (begins(&typed.prefix_from), format!("add for example: {}", example(TITLE, "follow")))
                }
                ExtrasError::NoWildcard => (at, "remove its `wildcard`".to_owned()),
                ExtrasError::ManyMx => (at, "name fewer in `mx`".to_owned()),
            };
            problems.add(at, format!("host \"{name}\": {error}"), help);
            None
        }
    }
}

/// Whether who is followed is there, follows nobody, and is not followed by too many.
fn check_leaders(
    hosts: &[Host],
    places: &HashMap<Hostname, usize>,
    known: &HashSet<&Hostname>,
    is_complete: bool,
    problems: &mut Problems<'_>,
) {
    let leader_of: HashMap<_, _> =
        hosts.iter().filter_map(|host| Some((&host.name, host.extras.follow.as_ref()?))).collect();
    let mut counts: HashMap<&Hostname, usize> = HashMap::new();
    for host in hosts {
        let (Some(leader), Some(at)) = (&host.extras.follow, places.get(&host.name)) else { continue };
        if is_complete && !known.contains(leader) {
            let message = format!("host \"{}\" follows \"{leader}\", which is granted to nobody", host.name);
            problems.add(*at, message, "name a host of the file: one in an account's `hosts`, or a [[host]]");
        }
        if let Some(further) = leader_of.get(leader) {
            let message = format!("host \"{}\" follows \"{leader}\", which follows \"{further}\" itself", host.name);
            problems.add(*at, message, format!("let it follow \"{further}\"; a host that follows another leads none"));
        }
        let count = counts.entry(leader).or_default();
        *count += 1;
        if *count == MAX_FOLLOWERS + 1 {
            let message = format!("more than {MAX_FOLLOWERS} hosts follow \"{leader}\"");
            problems.add(*at, message, "let some of them follow another name that the router reports");
        }
    }
}
