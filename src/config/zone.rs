//! `[[zone]]`: what we change, where and how; and which zone holds a name.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::model::{Hostname, ZoneName};

use super::key::Keys;
use super::network::read_networks;
use super::primary;
use super::problem::{Once, Problems, quoted};
use super::section::{Key, Section, Text, Value};
use super::{Primary, Zone};

const NAME: Key = Key::new("name", r#""dyn.example""#);
const PRIMARIES: Key = Key::new("primaries", r#"["127.0.0.1:53"]"#);
const KEY: Key = Key::new("key", r#""gateway-key""#);
const TTL: Key = Key::new("ttl", "60");
const ALLOW: Key = Key::new("allow", r#"["10.0.0.0/8"]"#);
const PROTECT: Key = Key::new("protect", r#"["www", "mail"]"#);
const SOURCE: Key = Key::new("source", r#""192.0.2.1""#);

/// The TTL of a zone that names none, in seconds.
const DEFAULT_TTL: u32 = 60;
/// The largest TTL in seconds (RFC 2181 section 8).
pub const MAX_TTL: u32 = 0x7fff_ffff;

/// The zones of the file.
pub(super) struct Zones {
    /// Those with nothing wrong.
    pub(super) checked: Vec<Zone>,
    apexes: HashMap<ZoneName, usize>,
    /// Whether every apex is known, and so whether a name that none holds has really none.
    complete: bool,
}

impl Zones {
    /// All `[[zone]]` sections.
    pub(super) fn read(sections: Vec<Section<'_>>, keys: &mut Keys, problems: &mut Problems<'_>) -> Self {
        let mut zones = Self { checked: Vec::new(), apexes: HashMap::new(), complete: true };
        if sections.is_empty() {
            // Nothing else is said about keys and names that then have none.
            zones.complete = false;
            problems.absent(0, "there is no [[zone]], so nothing can be updated", "add a [[zone]] and its [[key]]");
            return zones;
        }
        let mut names = Once::new();
        for mut section in sections {
            let name = section.required(NAME).and_then(|value| value.text(problems));
            let apex = name.and_then(|text| read_name(text, problems));
            let zone = read_zone(section, apex.as_ref(), keys, problems);
            let (Some(Text { at, .. }), Some(apex)) = (name, apex) else {
                zones.complete = false;
                continue;
            };
            if names.check(apex.clone(), at, &format!("zone \"{apex}\""), problems) {
                zones.apexes.insert(apex, at);
                zones.checked.extend(zone);
            }
        }
        keys.report_unused(problems);
        zones
    }

    /// Reports a name, `owner` without a wildcard label, that no zone holds.
    pub(super) fn check_holds(&self, owner: &str, text: Text<'_>, problems: &mut Problems<'_>) {
        let mut names = std::iter::successors(Some(owner), |name| name.split_once('.').map(|(_, rest)| rest));
        if self.complete && !names.any(|name| self.apexes.contains_key(name)) {
            let help = format!("the zones here: {}; mend the name, or add a [[zone]]", self.shown());
            problems.absent(text.at, format!("no [[zone]] holds {}", quoted(text.text)), help);
        }
    }

    /// A host name in the first zone, for examples.
    pub(super) fn example(&self, label: &str) -> String {
        let first = self.apexes.iter().min_by_key(|(_, at)| **at);
        first.map_or_else(|| format!("{label}.dyn.example"), |(apex, _)| format!("{label}.{apex}"))
    }

    /// A few of the apexes, in the order of the file.
    fn shown(&self) -> String {
        const SHOWN: usize = 5;
        let mut apexes: Vec<_> = self.apexes.iter().collect();
        apexes.sort_by_key(|(_, at)| **at);
        let more = if apexes.len() > SHOWN { ", …" } else { "" };
        let names: Vec<&str> = apexes.iter().take(SHOWN).map(|(apex, _)| apex.as_str()).collect();
        names.join(", ") + more
    }
}

/// All of a zone but its name; `None` where something that has no default is wrong.
fn read_zone(
    mut section: Section<'_>,
    apex: Option<&ZoneName>,
    keys: &mut Keys,
    problems: &mut Problems<'_>,
) -> Option<Zone> {
    let primaries = section.required(PRIMARIES).map(|value| read_primaries(&value, problems));
    let key = section.required(KEY).and_then(|value| value.text(problems));
    let key = keys.resolve(key, problems);
    let ttl = section.optional(TTL).and_then(|value| value.integer(0..=MAX_TTL, problems));
    let allow = section.optional(ALLOW);
    let allow = allow.map(|value| read_networks(value.texts(problems).unwrap_or_default(), problems));
    let protect = section.optional(PROTECT).and_then(|value| value.texts(problems));
    let source = section.optional(SOURCE).and_then(|value| value.text(problems));
    section.finish(problems);

    let primaries = primaries.unwrap_or_default();
    let source = source.and_then(|text| read_source(text, &primaries, problems));
    let apex = apex?;
    Some(Zone {
        name: apex.clone(),
        primaries: primaries.into_iter().map(|(primary, _)| primary).collect(),
        protect: read_protect(apex, protect.unwrap_or_default(), problems),
        key: key?,
        ttl: ttl.unwrap_or(DEFAULT_TTL),
        allow: allow.unwrap_or_default(),
        source,
    })
}

fn read_name(text: Text<'_>, problems: &mut Problems<'_>) -> Option<ZoneName> {
    let name = ZoneName::parse(text.text);
    if let Err(error) = &name {
        let message = format!("{} is not the name of a zone: {error}", quoted(text.text));
        problems.add(text.at, message, format!("for example: {}", NAME.line()));
    }
    name.ok()
}

/// The primaries, each with its address where the file gives one.
fn read_primaries(value: &Value<'_>, problems: &mut Problems<'_>) -> Vec<(Primary, Option<IpAddr>)> {
    let mut primaries = Vec::new();
    let Some(texts) = value.texts(problems) else { return primaries };
    if texts.is_empty() {
        let message = format!("{} is empty: nobody could be asked for a change", value.label());
        problems.add(value.at(), message, format!("for example: {}", PRIMARIES.line()));
    }
    let mut once = Once::new();
    for text in texts {
        match primary::parse(text.text) {
            Ok((primary, address)) => {
                let same = (primary.host.trim_end_matches('.').to_owned(), primary.port);
                if once.check(same, text.at, &format!("primary {}", quoted(text.text)), problems) {
                    primaries.push((primary, address));
                }
            }
            Err(help) => problems.add(text.at, format!("{} is not a primary", quoted(text.text)), help),
        }
    }
    primaries
}

fn read_source(text: Text<'_>, primaries: &[(Primary, Option<IpAddr>)], problems: &mut Problems<'_>) -> Option<IpAddr> {
    let Ok(source) = text.text.parse::<IpAddr>().map(|address| address.to_canonical()) else {
        let message = format!("{} is not an IP address", quoted(text.text));
        problems.add(
            text.at,
            message,
            format!("write one of this machine's addresses, without a port: {}", SOURCE.line()),
        );
        return None;
    };
    if source.is_unspecified() {
        return None;
    }
    let mut addresses = primaries.iter().filter_map(|(_, address)| *address);
    if let Some(primary) = addresses.find(|address| address.is_ipv4() != source.is_ipv4()) {
        problems.add(
            text.at,
            format!("primary {primary} cannot be reached from {source}: one is IPv4, the other IPv6"),
            "remove `source`, or let it and all primaries be of one family",
        );
    }
    Some(source)
}

fn read_protect(apex: &ZoneName, texts: Vec<Text<'_>>, problems: &mut Problems<'_>) -> Vec<Hostname> {
    let mut names = Vec::new();
    let mut once = Once::new();
    for text in texts {
        match protected(apex, text.text) {
            Ok(name) => {
                if once.check(name.clone(), text.at, &format!("name \"{name}\""), problems) {
                    names.push(name);
                }
            }
            Err(why) => problems.add(
                text.at,
                format!("{} is not a name in zone \"{apex}\": {why}", quoted(text.text)),
                format!("write a single label such as \"www\", or the whole name such as \"www.office.{apex}\""),
            ),
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
