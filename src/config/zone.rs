//! `[[zone]]`: what we change, where and how; and which zone holds a name.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::model::{Hostname, ZoneName, listed};

use toml::Spanned;

use super::format::{self, Text, example};
use super::key::Keys;
use super::network::check_networks;
use super::primary;
use super::problem::{Once, Problems, label, quoted};
use super::{Primary, Zone};

const TITLE: &str = "[[zone]]";

const DEFAULT_TTL: u32 = 60;

pub(super) struct Zones {
    /// Those with nothing wrong.
    pub(super) checked: Vec<Zone>,
    apexes: HashMap<ZoneName, usize>,
    /// Whether every apex is known, and so whether a name that none holds has really none.
    complete: bool,
}

impl Zones {
    pub(super) fn check(typed: &[Spanned<format::ZoneSection>], keys: &mut Keys, problems: &mut Problems<'_>) -> Self {
        let mut zones = Self { checked: Vec::new(), apexes: HashMap::new(), complete: true };
        if typed.is_empty() {
            // Nothing else is said about keys and names that then have none.
            zones.complete = false;
            problems.add(0, "there is no [[zone]], so nothing can be updated", "add a [[zone]] and its [[key]]");
            return zones;
        }
        let mut names = Once::new();
        for typed in typed {
            let at = typed.span().start;
            let name = problems.required((TITLE, at), "name", typed.get_ref().name.as_ref());
            let apex = name.and_then(|text| check_name(text, problems));
            let zone = check_zone(typed.get_ref(), at, apex.as_ref(), keys, problems);
            let (Some(name), Some(apex)) = (name, apex) else {
                zones.complete = false;
                continue;
            };
            let at = name.span().start;
            if names.check(apex.clone(), at, &format!("zone \"{apex}\""), problems) {
                zones.apexes.insert(apex, at);
                zones.checked.extend(zone);
            }
        }
        keys.report_unused(problems);
        zones
    }

    /// Reports a name, `owner` without a wildcard label, that no zone holds.
    pub(super) fn check_holds(&self, owner: &str, text: &Text, problems: &mut Problems<'_>) {
        let mut names = std::iter::successors(Some(owner), |name| name.split_once('.').map(|(_, rest)| rest));
        if self.complete && !names.any(|name| self.apexes.contains_key(name)) {
            let help = format!("the zones here: {}; mend the name, or add a [[zone]]", self.shown());
            problems.add(text.span().start, format!("no [[zone]] holds {}", quoted(text.get_ref())), help);
        }
    }

    /// A host name in the first zone, for examples.
    pub(super) fn example(&self, label: &str) -> String {
        let first = self.apexes.iter().min_by_key(|(_, at)| **at);
        first.map_or_else(|| format!("{label}.dyn.example"), |(apex, _)| format!("{label}.{apex}"))
    }

    /// A few of the apexes, in the order of the file.
    fn shown(&self) -> String {
        let mut apexes: Vec<_> = self.apexes.iter().collect();
        apexes.sort_by_key(|(_, at)| **at);
        listed(&apexes.iter().map(|(apex, _)| apex.as_str()).collect::<Vec<_>>(), 5)
    }
}

/// A zone that begins at `at`; `None` where something that has no default is wrong.
fn check_zone(
    typed: &format::ZoneSection,
    at: usize,
    apex: Option<&ZoneName>,
    keys: &mut Keys,
    problems: &mut Problems<'_>,
) -> Option<Zone> {
    let primaries = problems.required((TITLE, at), "primaries", typed.primaries.as_ref());
    let primaries = primaries.map(|list| check_primaries(list, at, problems)).unwrap_or_default();
    let key = problems.required((TITLE, at), "key", typed.key.as_ref());
    let key = keys.resolve(key, problems);
    let source = typed.source.as_ref().and_then(|text| check_source(text, &primaries, problems));
    let allow = check_networks(&typed.allow, problems);
    let apex = apex?;
    Some(Zone {
        name: apex.clone(),
        primaries: primaries.into_iter().map(|(primary, _)| primary).collect(),
        protect: check_protect(apex, &typed.protect, problems),
        key: key?,
        ttl: typed.ttl.map_or(DEFAULT_TTL, |ttl| ttl.0),
        allow,
        source,
    })
}

fn check_name(text: &Text, problems: &mut Problems<'_>) -> Option<ZoneName> {
    problems.ok(text.span().start, ZoneName::parse(text.get_ref()), |error| {
        let message = format!("{} is not the name of a zone: {error}", quoted(text.get_ref()));
        (message, format!("for example: {}", example(TITLE, "name")))
    })
}

/// The primaries of the zone at `at`, each with its address where the file gives one.
fn check_primaries(
    list: &Spanned<Vec<Text>>,
    at: usize,
    problems: &mut Problems<'_>,
) -> Vec<(Primary, Option<IpAddr>)> {
    if list.get_ref().is_empty() && !problems.is_excused(at, "primaries") {
        let message = format!("{} is empty: nobody could be asked for a change", label(TITLE, "primaries"));
        problems.add(list.span().start, message, format!("for example: {}", example(TITLE, "primaries")));
    }
    let mut primaries = Vec::new();
    let mut once = Once::new();
    for text in list.get_ref() {
        let (at, text) = (text.span().start, text.get_ref());
        let read = problems.ok(at, primary::parse(text), |help| (format!("{} is not a primary", quoted(text)), help));
        let Some((primary, address)) = read else { continue };
        let same = (primary.host.trim_end_matches('.').to_owned(), primary.port);
        if once.check(same, at, &format!("primary {}", quoted(text)), problems) {
            primaries.push((primary, address));
        }
    }
    primaries
}

fn check_source(text: &Text, primaries: &[(Primary, Option<IpAddr>)], problems: &mut Problems<'_>) -> Option<IpAddr> {
    let at = text.span().start;
    let source = problems.ok(at, text.get_ref().parse::<IpAddr>(), |_| {
        let help = format!("write one of this machine's addresses, without a port: {}", example(TITLE, "source"));
        (format!("{} is not an IP address", quoted(text.get_ref())), help)
    });
    let source = source?.to_canonical();
    if source.is_unspecified() {
        return None;
    }
    let mut addresses = primaries.iter().filter_map(|(_, address)| *address);
    if let Some(primary) = addresses.find(|address| address.is_ipv4() != source.is_ipv4()) {
        problems.add(
            at,
            format!("primary {primary} cannot be reached from {source}: one is IPv4, the other IPv6"),
            "remove `source`, or let it and all primaries be of one family",
        );
    }
    Some(source)
}

fn check_protect(apex: &ZoneName, texts: &[Text], problems: &mut Problems<'_>) -> Vec<Hostname> {
    let mut names = Vec::new();
    let mut once = Once::new();
    for text in texts {
        let (at, text) = (text.span().start, text.get_ref());
        let name = problems.ok(at, protected(apex, text), |why| {
            let help = format!("write a single label such as \"www\", or the whole name such as \"www.office.{apex}\"");
            (format!("{} is not a name in zone \"{apex}\": {why}", quoted(text)), help)
        });
        let Some(name) = name else { continue };
        if once.check(name.clone(), at, &format!("name \"{name}\""), problems) {
            names.push(name);
        }
    }
    names
}

/// The name that an entry of `protect` means: a single label is relative to the zone, anything else a whole name.
fn protected(apex: &ZoneName, text: &str) -> Result<Hostname, String> {
    if text.starts_with('*') {
        return Err("a wildcard cannot be protected".to_owned());
    }
    let whole = if text.contains('.') { text.to_owned() } else { format!("{text}.{apex}") };
    let name = Hostname::parse(&whole).map_err(|error| error.to_string())?;
    if name.is_within(apex) { Ok(name) } else { Err("it lies outside".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_relative_and_a_dotted_name_is_whole() {
        let apex = ZoneName::parse("dyn.example").unwrap();
        for (text, name) in [
            ("www", "www.dyn.example"),
            ("WWW.dyn.example.", "www.dyn.example"),
            ("a.b.dyn.example", "a.b.dyn.example"),
            ("dyn.example", "dyn.example"),
        ] {
            assert_eq!(protected(&apex, text).unwrap().as_str(), name);
        }
        for text in ["", ".", "www.", "a.b", "www.example", "xdyn.example", "*", "*.dyn.example", "@"] {
            assert!(protected(&apex, text).is_err(), "{text}");
        }
    }
}
